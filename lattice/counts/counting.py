"""Numbers of paths in exact integers: the pull-back with every weight 1."""

from dataclasses import replace
from fractions import Fraction
from functools import singledispatch
from math import prod
from typing import Any

import numpy as np

from lattice.checks import is_whole
from lattice.counts.chains import chain_counts, pull_stem, stem_top
from lattice.counts.cost import Estimate, check_size, estimate
from lattice.counts.limbs import pull_back_limbs
from lattice.errors import SpecificationError, UnsupportedError
from lattice.network.lattice import Lattice, Node, Unit, check_lattice
from lattice.network.ops import (
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Flatten,
    Input,
    Norm,
    Op,
    PixelShuffle,
    Pointwise,
    Slice,
    Summed,
    WeightedWindow,
    Windowed,
)
from lattice.sweep.pullback import pull_back

__all__ = ["mean_path_counts", "one_unit", "path_counts", "spatial_lattice"]

Array = np.ndarray[Any, Any]
Where = Unit | tuple[int, ...] | int

ADDITIONS_PER_LAYER = 400  # measured: what a layer costs in numpy calls, in additions of Python ints


def path_counts(
    lattice: Lattice, output: Where | None = None, channels: bool = True, input_channel: int | None = None
) -> Array:
    """#p (Definition 2, Eq. 2): the number of paths from the output to each input position, per input channel.

        #p_(j -> i) = |{C : route(C) from j = i}|

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int, int or None, default None
        The output unit; a bare position means channel 0, None is the sum over all output units.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.
    input_channel : int or None, default None
        The input channel; needed where input channels have different counts.

    Returns
    -------
    ndarray of object
        Exact Python ints over input positions.

    Raises
    ------
    SpecificationError
        If the output does not exist, or input channels differ and none is named.
    ResourceError
        If numbers too many or too long would take more than 16 GiB or an hour.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain(
    ...     (1, 6), [Conv(4, kernel=3, padding=1), Conv(4, kernel=3, padding=1)]
    ... )
    >>> path_counts(net, channels=False)
    array([5, 8, 9, 9, 8, 5], dtype=object)
    >>> path_counts(net, output=(2,))
    array([4, 8, 12, 8, 4, 0], dtype=object)
    """
    check_lattice(lattice, "path_counts")
    if not channels:
        lattice = spatial_lattice(lattice)
    size = estimate(lattice, one_output=output is not None)
    check_size(f"path_counts of {len(lattice.nodes) - 1} layers over {lattice.input_shape}", size)
    counts = chain_counts(lattice, None if output is None else lattice.unit(output))
    if counts is None:
        counts = _pull_back_ones(lattice, one_unit(lattice, output, one=1), size)
    return _one_channel(counts, lattice, input_channel)


def mean_path_counts(lattice: Lattice, channels: bool = True, input_channel: int | None = None) -> Array:
    """#p-bar = (1/Z) sum_j #p_j, the mean number of paths over the Z output units (Section 3.1).

    Parameters
    ----------
    lattice : Lattice
        The network.
    channels : bool, default True
        Whether paths that differ in a channel are told apart; False counts spatial commands only.
    input_channel : int or None, default None
        The input channel; needed where input channels have different counts.

    Returns
    -------
    ndarray of object
        Exact `Fraction` entries over input positions.

    Raises
    ------
    SpecificationError
        If input channels differ and none is named.
    ResourceError
        If it would take too much memory or time, as for `path_counts`.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> mean_path_counts(Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1)]))
    array([Fraction(1, 2), Fraction(3, 4), Fraction(3, 4), Fraction(1, 2)],
          dtype=object)
    """
    check_lattice(lattice, "mean_path_counts")
    counts = path_counts(lattice, None, channels, input_channel)
    units = prod((spatial_lattice(lattice) if not channels else lattice).output_shape)
    return np.array([Fraction(count, units) for count in counts.ravel()], dtype=object).reshape(counts.shape)


def one_unit(lattice: Lattice, output: Where | None, one: Any) -> Array:
    """The cotangent that selects one output unit, or, for None, all of them; `one` is the 1 of the number type.

    Shape (channels or 1, *spatial) of the output; dtype that of `one` (object for Python ints and other numbers).
    """
    shape = lattice.output_shape
    dtype = type(one) if isinstance(one, bool | float) else object
    if output is None:
        return np.full((1, *shape[1:]), one, dtype=dtype)
    unit = lattice.unit(output)
    cotangent = np.zeros(shape, dtype=dtype)
    cotangent[(unit.channel, *unit.position)] = one
    return cotangent


def _pull_back_ones(lattice: Lattice, cotangent: Array, size: Estimate) -> Array:
    """`pull_back` with every weight 1: in objects where that is little work, else in limbs as far as they are faster."""
    top, additions = stem_top(lattice)
    if size.additions > additions + ADDITIONS_PER_LAYER * len(lattice.nodes):
        try:
            return pull_stem(lattice, top, pull_back_limbs(lattice, cotangent, top))
        except OverflowError:
            pass
    return pull_back(lattice, lambda node: 1, cotangent)


def _one_channel(counts: Array, lattice: Lattice, input_channel: int | None) -> Array:
    """The map of one input channel; without a name for it, all channels must agree."""
    if input_channel is not None:
        if not is_whole(input_channel) or not 0 <= input_channel < lattice.input_shape[0]:
            raise SpecificationError(f"input_channel is {input_channel!r}; the input has {lattice.input_shape[0]} channels")
        return counts[input_channel if counts.shape[0] > 1 else 0]
    if counts.shape[0] > 1 and (counts != counts[:1]).any():
        raise SpecificationError(
            f"the {counts.shape[0]} input channels have different path counts; name one with input_channel=..."
        )
    return counts[0]


def spatial_lattice(lattice: Lattice) -> Lattice:
    """The same lattice with one channel everywhere: its commands are the spatial parts of the commands.

    Branches that were told apart by their channels (concatenation) become branches of a sum.

    Parameters
    ----------
    lattice : Lattice
        The network.

    Returns
    -------
    Lattice
        Of the same positions.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> spatial_lattice(Lattice.chain((3, 8), [Conv(16, kernel=3)])).shapes
    ((1, 8), (1, 6))
    """
    check_lattice(lattice, "spatial_lattice")
    nodes: list[Node] = []
    moved: dict[int, int] = {}  # nodes that only rearrange channels vanish
    for position, node in enumerate(lattice.nodes):
        op = _spatial_op(node.op)
        if op is None:
            moved[position] = moved[node.inputs[0]]
        else:
            moved[position] = len(nodes)
            nodes.append(Node(node.name, op, tuple(moved[i] for i in node.inputs)))
    return Lattice(tuple(nodes))


@singledispatch
def _spatial_op(op: Op) -> Op | None:
    """The op without its channels, or None where nothing is left of it."""
    raise UnsupportedError(f"no spatial commands of {op!r}; add a rule with lattice.counts.counting._spatial_op.register")


@_spatial_op.register(Flatten)
@_spatial_op.register(Pointwise)
@_spatial_op.register(Summed)
@_spatial_op.register(Windowed)
def _(op: Op) -> Op:
    return op


@_spatial_op.register
def _(op: WeightedWindow) -> Any:
    return replace(op, channels=1, groups=1)  # type: ignore[type-var]


@_spatial_op.register
def _(op: Norm) -> Op:
    return replace(op, groups=1)


@_spatial_op.register
def _(op: Dense) -> Op:
    return Dense(1)


@_spatial_op.register
def _(op: Concat) -> Op:
    return Add()


@_spatial_op.register
def _(op: Input) -> Op:
    return Input((1, *op.shape[1:]))


@_spatial_op.register(Slice)
@_spatial_op.register(ChannelShuffle)
def _(op: Op) -> None:
    return None


@_spatial_op.register
def _(op: PixelShuffle) -> Op:
    raise SpecificationError(
        f"{op}: turns channels into positions, so its spatial commands are not defined; count with channels"
    )
