"""Hypothesis strategies for lattices: valid by construction, small enough to list every path, reaching every op.

State a theorem about path counts in two lines:

    @given(lattices())
    def test_every_count_is_a_number_of_commands(net): ...

`lattices` draws whole nets, `above` nets that read the output of a given one, `layers` and `blocks` what fits a shape,
`windows` one axis of a layer, `units` a unit of a given lattice and `routes` a command vector with the unit where it starts.
Needs hypothesis: the extra `strategies`. Layers are chosen from those that fit the shape so far, so nothing is filtered away;
hypothesis shrinks towards one-dimensional chains of plain convolutions.
"""

from collections.abc import Sequence
from typing import Any

try:
    from hypothesis import strategies as st
except ImportError as error:
    from lattice.lazy import to_install

    raise ImportError(f"lattice.strategies draws lattices with hypothesis: {to_install('strategies')}") from error

from lattice.checks import whole
from lattice.errors import SpecificationError
from lattice.network.branches import Branches, Layer
from lattice.network.lattice import Lattice, Unit
from lattice.network.ops import Dense, Flatten, Op, PixelShuffle, Shape
from lattice.sweep.choices import AnyCommand, Choice, all_units, choices_at
from lattice.testing.fixed_windows import FixedWindows, fixed_chains
from lattice.testing.layer_strategies import EVERY_MODE, EVERY_OP, MOST_UNITS, blocks, layers, windows

__all__ = ["EVERY_MODE", "EVERY_OP", "above", "blocks", "lattices", "layers", "routes", "units", "windows"]


@st.composite
def lattices(
    draw: st.DrawFn,
    *,
    axes: int | st.SearchStrategy[int] | None = None,
    depth: int | tuple[int, int] = 3,
    channels: int = 3,
    size: int = 6,
    modes: Sequence[str] = EVERY_MODE,
    ops: Sequence[type[Op]] = EVERY_OP,
    branches: bool = True,
    heads: bool = True,
    kernel: int | None = None,
    stride: int | None = None,
    padding: int | None = None,
    dilation: int | None = None,
    regular: bool = False,
    symmetric: bool = False,
) -> Lattice:
    """Lattices with up to `depth` layers over an input with up to `channels` channels and `size` cells per axis.

    `depth=(least, most)` fixes both ends; activations, norms, skips and a head are beside it. A pixel shuffle needs 2^axes
    channels, so that there may be as many where `ops` has it.

    `axes` is the number of spatial axes, or draws it (1 to 3 by default), `ops` and `modes` restrict the layers and paddings,
    `branches` allows residual blocks and concatenations (strided ones too), `heads` a final Flatten and Dense.

    What a theorem assumes is fixed by the rest, and sizes follow from it: `kernel`, `stride`, `padding` and `dilation` hold
    for every window, `regular` nets are those of `is_regular`, and `symmetric` ones have windows that are their own mirror
    images (`evenness`). Such nets are chains of convolutions and pools with pointwise layers and, where a skip fits,
    identity skips; they may be larger than `size`.

    >>> from hypothesis import given
    >>> from lattice import Conv, path_counts
    >>> @given(lattices(ops=[Conv], modes=["circular"], channels=1))
    ... def test_with_circular_padding_every_net_has_paths(net):
    ...     assert path_counts(net).sum() > 0
    >>> test_with_circular_padding_every_net_has_paths()

    >>> from lattice import is_regular
    >>> @given(lattices(regular=True, kernel=3))
    ... def test_the_order_of_commands_does_not_matter(net):
    ...     assert is_regular(net, channels=False)
    >>> test_the_order_of_commands_does_not_matter()
    """
    fixed = FixedWindows(kernel, stride, padding, dilation, regular, symmetric)
    axes = (
        st.just(whole("lattices: axes", axes, 1, 3)) if axes is not None and not isinstance(axes, st.SearchStrategy) else axes
    )
    layer_counts = _depth("lattices", depth)
    ops, modes = _listed("lattices", ops, modes)
    whole("lattices: channels", channels, 1)
    if fixed:
        shape, result = draw(fixed_chains(fixed, axes, layer_counts, channels, tuple(modes), tuple(ops), branches))
        if heads and not regular and draw(st.booleans()):
            result += [Flatten(), Dense(draw(st.integers(1, 3)))]
        return Lattice.chain(shape, result)
    dimensions = draw(axes if axes is not None else st.sampled_from((1, 1, 1, 2, 2, 3)))
    count = draw(st.integers(1, channels + (PixelShuffle in ops)))
    count = count if count <= channels else 2**dimensions
    limit = max(2, min(size, round((MOST_UNITS / max(1, count / channels)) ** (1 / dimensions) / 2)))
    shape = (count, *(draw(st.integers(2, limit)) for _ in range(dimensions)))
    result = draw(_chains(shape, layer_counts, channels, tuple(modes), tuple(ops), branches))
    if heads and draw(st.booleans()):
        result += [Flatten(), Dense(draw(st.integers(1, 3)))]
    return Lattice.chain(shape, result)


@st.composite
def above(
    draw: st.DrawFn,
    net: Lattice,
    *,
    depth: int | tuple[int, int] = 3,
    channels: int = 3,
    modes: Sequence[str] = EVERY_MODE,
    ops: Sequence[type[Op]] = EVERY_OP,
    branches: bool = True,
) -> Lattice:
    """Lattices whose input has the shape of the output of `net`, for `compose`; the options are those of `lattices`.

    >>> from hypothesis import given
    >>> from lattice import compose, families
    >>> net = families.plain(9, depth=2)
    >>> @given(above(net))
    ... def test_the_upper_net_has_the_last_word(upper):
    ...     assert compose(net, upper).output_shape == upper.output_shape
    >>> test_the_upper_net_has_the_last_word()
    """
    ops, modes = _listed("above", ops, modes)
    chain = _chains(net.output_shape, _depth("above", depth), channels, tuple(modes), tuple(ops), branches)
    return Lattice.chain(net.output_shape, draw(chain))


def _depth(request: str, depth: int | tuple[int, int]) -> tuple[int, int]:
    """The least and the largest number of layers."""
    least, most = (1, depth) if not isinstance(depth, Sequence) else depth if len(depth) == 2 else (0, 0)
    whole(f"{request}: depth", least, 1)
    return least, whole(f"{request}: depth", most, least)


def _listed(request: str, ops: Any, modes: Any) -> tuple[tuple[type[Op], ...], tuple[str, ...]]:
    """Both as tuples of what there is."""
    ops, modes = ((ops,) if isinstance(ops, type) else tuple(ops)), ((modes,) if isinstance(modes, str) else tuple(modes))
    for name, given, known in (("ops", ops, EVERY_OP), ("modes", modes, EVERY_MODE)):
        strangers = [one for one in given if one not in known]
        if strangers or not given:
            shown = ", ".join(getattr(one, "__name__", str(one)) for one in known)
            raise SpecificationError(f"{request}: {name} is {given!r:.80}; it lists one or more of {shown}")
    return ops, modes


@st.composite
def _chains(
    draw: st.DrawFn,
    shape: Shape,
    depth: tuple[int, int],
    channels: int,
    modes: tuple[str, ...],
    ops: tuple[type[Op], ...],
    branches: bool,
) -> list[Layer]:
    result: list[Layer] = []
    for _ in range(draw(st.integers(*depth))):
        fits = layers(shape, channels=channels, modes=modes, ops=ops)
        wide = shape[0] > 2 * channels  # what a concatenation or a pixel shuffle left
        block = branches and not wide and draw(st.integers(0, 3)) == 3
        layer: Op | Branches = draw(blocks(shape, channels=channels, modes=modes, ops=ops) if block else fits)
        shape = Lattice.chain(shape, [layer]).output_shape
        result.append(layer)
    return result


def units(lattice: Lattice, node: int = -1) -> st.SearchStrategy[Unit]:
    """Units of a layer, by default the output."""
    channels, *spatial = lattice.shapes[node]
    return st.builds(Unit, st.tuples(*(st.integers(0, n - 1) for n in spatial)), st.integers(0, channels - 1))


@st.composite
def routes(draw: st.DrawFn, lattice: Lattice) -> tuple[tuple[AnyCommand, ...], Unit]:
    """A command vector that exists, bottom layer first, and the output unit where its route starts.

    One route is walked and none is listed, so this serves lattices with any number of paths. `SpecificationError` where
    no output unit reaches the input.

    >>> from hypothesis import given
    >>> from lattice import families, path_exists, route
    >>> net = families.plain(61, depth=30, channels=4)
    >>> @given(routes(net))
    ... def test_a_route_is_a_sum_of_taps(drawn):
    ...     commands, output = drawn
    ...     assert route(net, commands, output).position[0] == output.position[0] + sum(
    ...         c.taps[0] for c in commands
    ...     )
    >>> test_a_route_is_a_sum_of_taps()
    """
    known: dict[tuple[int, Unit], bool] = {}
    top = len(lattice.nodes) - 1
    output = draw(units(lattice))
    if not _reaches_input(lattice, top, output, known):
        reaching = [other for other in all_units(lattice.output_shape) if _reaches_input(lattice, top, other, known)]
        if not reaching:
            raise SpecificationError("no output unit of this lattice reaches its input: there is no route to draw")
        output = draw(st.sampled_from(reaching))
    position, unit, vector = top, output, list[AnyCommand]()
    while position:
        ways = list(choices_at(lattice, position, unit))
        first = draw(st.integers(0, len(ways) - 1))
        around: list[Choice] = ways[first:] + ways[:first]  # the next one that does not end in padding or in a hole
        command, position, unit = next(way for way in around if _reaches_input(lattice, *way[1:], known))
        vector += [] if command is None else [command]
    return tuple(reversed(vector)), output


def _reaches_input(lattice: Lattice, position: int, unit: Unit, known: dict[tuple[int, Unit], bool]) -> bool:
    """Does some route lead from this unit to the input? Depth first, without recursion; remembers what it found."""
    stack = [(position, unit)]
    while (position, unit) not in known:
        here = stack[-1]
        below = [(node, where) for _, node, where in choices_at(lattice, *here)] if here[0] else []
        unknown = [unit_below for unit_below in below if unit_below not in known]
        if not here[0] or any(known.get(unit_below) for unit_below in below) or not unknown:
            known[here] = not here[0] or any(known[unit_below] for unit_below in below if unit_below in known)
            stack.pop()
        else:
            stack.append(unknown[0])
    return known[position, unit]
