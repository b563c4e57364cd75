r"""Regular lattices: where the order of the commands does not matter, and what the multinomial formula counts (Eq. 3).

A lattice is regular when it is a stack of layers and every arrangement of a command vector leads to the same position:

    route(c^(pi(0)), ..., c^(pi(L-1))) = route(c^(0), ..., c^(L-1))    for every permutation pi,

where "leads nowhere" (a tap reads padding) counts as a place. On one axis of an unpadded stack the route from cell j ends
at S_L j + sum_l S_l d_l c_l, S_l being the product of the strides below layer l; so regular means that every step S_l d_l is
the same: equal kernels and dilations, and stride 1 except in the last (top) layer, whose stride multiplies j alone.
The paper leaves "regular" open. Padding breaks it at the edges; a stride anywhere below the top breaks it everywhere.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, groupby, product
from typing import Any

import numpy as np

from lattice.counts.counting import Where, spatial_lattice
from lattice.counts.multisets import SortedWords, arrangements, pair_tables, restrict
from lattice.counts.stacks import StackLayer, regular_stack
from lattice.errors import IrregularLatticeError, ResourceError
from lattice.network.lattice import Lattice, Unit, check_lattice
from lattice.sweep.choices import Branch, Command
from lattice.sweep.routes import commands

__all__ = ["combinations", "is_regular", "multinomial_count"]

Array = np.ndarray[Any, Any]

MOST_MULTISETS = 10**6  # of one axis: seconds


def is_regular(lattice: Lattice, channels: bool = True) -> bool:
    """Whether the order of the commands never matters, so that the multinomial formula (after Eq. 3) holds.

    Exact: decided from the axis maps of the layers, for every output unit at once. It holds for a stack of unpadded
    layers with equal kernels and dilations and stride 1 except in the last layer, and equally wherever else commands
    commute: for one layer of any kind, around a circle at stride 1, where a dilation makes up for a stride below.

    Parameters
    ----------
    lattice : Lattice
        The network.
    channels : bool, default True
        Whether every layer must also offer the same channels; False looks at spatial commands only.

    Returns
    -------
    bool
        True if `multinomial_count` holds.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> is_regular(Lattice.chain((1, 9), [Conv(1, kernel=3), Conv(1, kernel=3, stride=2)]))
    True
    >>> is_regular(Lattice.chain((1, 9), [Conv(1, kernel=3, stride=2), Conv(1, kernel=3)]))
    False
    """
    check_lattice(lattice, "is_regular")
    try:
        regular_stack(lattice if channels else spatial_lattice(lattice))
    except IrregularLatticeError:
        return False
    return True


def multinomial_count(lattice: Lattice, output: Where, input: Where, channels: bool = True) -> int:
    """#p from unit `output` to unit `input` of a regular lattice (the equation after Eq. 3): a sum over multisets.

        #p = sum over combinations C that lead to i of L! / prod_c #(C)_c!

    Taps of different axes and channels are chosen independently, so the sum is taken axis by axis and the results are
    multiplied. The channel where a route ends is that of its bottom command, whatever the order of the others: of the
    arrangements of C, the share #(C)_channel / L ends in the channel of `input`. Erratum: without that share the formula
    counts the paths to all channels of the position, C_in times too many.

    Parameters
    ----------
    lattice : Lattice
        A regular network (`is_regular`).
    output : Unit, tuple of int or int
        The output unit; a bare position means channel 0.
    input : Unit, tuple of int or int
        The input unit.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.

    Returns
    -------
    int
        The exact count, `path_counts(lattice, output)[input]`.

    Raises
    ------
    IrregularLatticeError
        If the formula does not hold; the message names the layer.
    ResourceError
        If there are too many multisets to sum over.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 9), [Conv(1, kernel=3)] * 4)
    >>> [multinomial_count(net, (0,), (i,)) for i in range(9)]
    [1, 4, 10, 16, 19, 16, 10, 4, 1]
    """
    check_lattice(lattice, "multinomial_count")
    if not channels:
        lattice = spatial_lattice(lattice)
    stack = regular_stack(lattice)
    top, end = _ends(lattice, output, input, channels)
    assert end is not None
    count = _channel_words(stack, top.channel, end.channel)
    axes = [restrict([layer.tables[axis] for layer in stack], start) for axis, start in enumerate(top.position)]
    wanted = [cells == target for (_, cells), target in zip(axes, end.position, strict=True)]
    if not all(here.any() for here in wanted):
        return 0  # in a stack without any path layers may be as different as they like
    for axis, ((tables, _), here) in enumerate(zip(axes, wanted, strict=True)):
        words = SortedWords(tables, here)
        if words.number > MOST_MULTISETS:
            raise ResourceError(
                f"multinomial_count over {len(stack)} layers: axis {axis} has about {words.number:.1e} combinations to sum "
                f"over (the limit is {MOST_MULTISETS:.0e}); path_counts(net, output) needs a step per layer and position only"
            )
        count *= sum(arrangements(word) for word in words)
    return count


def combinations(
    lattice: Lattice, output: Where, input: Where | None = None, channels: bool = True
) -> Iterator[tuple[Any, ...]]:
    """The multisets of commands of the routes from unit `output` to unit `input` (Eq. 3), lazily.

    In a regular lattice all arrangements of a multiset lead to the same position (with several channels, to the channel of
    whichever command comes to stand at the bottom). In an irregular one these are the multisets of the vectors of Eq. 2; those
    already listed are then remembered.

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int or int
        The output unit; a bare position means channel 0.
    input : Unit, tuple of int, int or None, default None
        The input unit; None is any.
    channels : bool, default True
        Whether commands that differ in a channel are told apart; False lists spatial commands.

    Returns
    -------
    iterator of tuple
        Sorted tuples of commands.

    Raises
    ------
    SpecificationError
        If a unit does not exist.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 7), [Conv(1, kernel=3)] * 3)
    >>> list(combinations(net, (0,), (2,)))
    [((0, 0), (0, 0), (2, 0)), ((0, 0), (1, 0), (1, 0))]
    """
    check_lattice(lattice, "combinations")
    if not channels:
        lattice = spatial_lattice(lattice)
    top, end = _ends(lattice, output, input, channels)
    try:
        stack = regular_stack(lattice)
    except IrregularLatticeError:
        return _distinct_multisets(lattice, top, end)
    if not stack or any(
        getattr(layer.node.op, "groups", 1) > 1 or layer.moves_channels != stack[0].moves_channels for layer in stack
    ):
        return _distinct_multisets(lattice, top, end)  # the channels at hand depend on where the route stands
    return _regular_multisets(stack, top, end)


# --- multisets as sorted words ---------------------------------------------------------------------------------------------


def _ends(lattice: Lattice, output: Where, input: Where | None, channels: bool) -> tuple[Unit, Unit | None]:
    """The two units that are meant; spatial commands know channel 0 only."""

    def position_of(where: Where, node: int) -> Unit:
        if isinstance(where, Unit) and not channels:
            where = where.position
        return lattice.unit(where, node)

    return position_of(output, -1), None if input is None else position_of(input, 0)


def _channel_words(stack: Sequence[StackLayer], start: int, target: int) -> int:
    """How many channel words lead from an output channel to an input channel."""
    here = {start: 1}
    for layer in reversed(stack):
        below: dict[int, int] = {}
        if layer.moves_channels and (layer.channels >= 0).all():  # every channel reads every channel
            here = dict.fromkeys(range(len(layer.channels)), sum(here.values()))
            continue
        for channel, number in here.items():
            for to in layer.channels[:, channel].tolist():
                if to >= 0:
                    below[to] = below.get(to, 0) + number
        here = below
    return here.get(target, 0)


def _regular_multisets(stack: Sequence[StackLayer], top: Unit, end: Unit | None) -> Iterator[tuple[Command, ...]]:
    axes = [restrict([layer.tables[axis] for layer in stack], start) for axis, start in enumerate(top.position)]
    wanted, tables = np.ones(1, dtype=bool), [np.zeros((1, 1), dtype=np.int64)] * len(stack)
    for axis, (more, cells) in enumerate(axes):
        tables = pair_tables(tables, more, len(cells))
        here = np.ones(len(cells), dtype=bool) if end is None else cells == end.position[axis]
        wanted = (wanted[:, None] & here[None, :]).ravel()
    if not wanted.any() or (end is not None and not _channel_words(stack, top.channel, end.channel)):
        return
    taps = list(product(*(range(len(more[0])) for more, _ in axes)))
    changes_channels = stack[0].moves_channels
    alphabet: Sequence[int | None] = range(len(stack[0].channels)) if changes_channels else (None,)
    for word in SortedWords(tables, wanted):
        same = [(tap, len(list(run))) for tap, run in groupby(reversed(word))]
        for choice in product(*(combinations_with_replacement(alphabet, many) for _, many in same)):
            if end is None or not changes_channels or any(end.channel in chosen for chosen in choice):
                yield tuple(
                    Command(taps[tap], channel) for (tap, _), chosen in zip(same, choice, strict=True) for channel in chosen
                )


def _distinct_multisets(lattice: Lattice, top: Unit, end: Unit | None) -> Iterator[tuple[Any, ...]]:
    seen: set[tuple[Any, ...]] = set()
    for vector in commands(lattice, top, end):
        multiset = tuple(sorted(vector, key=_order))
        if multiset not in seen:
            seen.add(multiset)
            yield multiset


def _order(command: Any) -> tuple[Any, ...]:
    match command:
        case Command(taps, channel):
            return 0, taps, -1 if channel is None else channel
        case Branch(index):
            return 1, (index,), 0
        case _:  # SKIP
            return 2, (), 0
