r"""What reaches each input unit from the output, over all paths, in any number type: one reverse sweep.

    c(u) = sum over the units v that read u of weight(layer of v) * c(v),        c(output) = the given cotangent,

so that c(input i) = sum over paths from the output to i of the product of the weights of the layers crossed: the number
of paths when every weight is 1 (Definition 2, Eq. 2), Eq. 8 when they are variances, the receptive field when they are
True. Paths are summed layer by layer, so the cost is linear in positions x layers while the paths are exponential.

A cotangent is an array (..., channels, *spatial) whose channel axis has length 1 where all channels are alike; leading
axes are a batch. Numbers need `+` and `*` only: bool (or, and), float64, and, in object arrays, int, Fraction, sympy.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, singledispatch
from math import prod
from typing import Any

import numpy as np

from lattice.errors import SpecificationError
from lattice.network.lattice import Lattice, Node, check_lattice
from lattice.network.ops import (
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Flatten,
    Multiply,
    Op,
    PixelShuffle,
    Pointwise,
    Rearrangement,
    Shape,
    Slice,
    WeightedWindow,
    Windowed,
)
from lattice.network.shapes import sources
from lattice.network.windows.axis import AxisMap
from lattice.sweep.reverse import bottom, sweep

__all__ = ["node_cotangents", "gain", "pull", "pull_back", "sum_broadcast", "sum_channels"]

Array = np.ndarray[Any, Any]
Weight = Callable[[Node], Any]


def pull_back(lattice: Lattice, weight: Weight, cotangent: Array) -> Array:
    """The sum over paths of the product of weights, by one sweep from the output to the input (Eq. 8).

        cotangent_in(i) = sum_j cotangent(j) sum over paths from j to i of prod_(nodes on the path) weight(node)

    Parameters
    ----------
    lattice : Lattice
        The network.
    weight : callable
        `weight(node)` multiplies the cotangent of a node before it is passed down: a number, or an array that broadcasts
        against (channels, *spatial) of the node's output.
    cotangent : ndarray
        Of the output of the lattice, (..., channels or 1, *spatial), of any number type that adds; a channel axis of 1 means
        that all channels have the same.

    Returns
    -------
    ndarray
        The cotangent of the input, (..., channels or 1, *spatial).

    Raises
    ------
    SpecificationError
        If the shape of the cotangent does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 5), [Conv(1, kernel=3), Conv(1, kernel=3)])
    >>> pull_back(net, lambda node: 1, np.array([[1]], dtype=object))
    array([[1, 2, 3, 2, 1]], dtype=object)
    """
    check_lattice(lattice, "pull_back")
    return bottom(node_cotangents(lattice, weight, cotangent))


def node_cotangents(lattice: Lattice, weight: Weight, cotangent: Array) -> Iterator[tuple[Node, Array]]:
    """The same, one node at a time from the output down: yields (node, cotangent of its output), the input last."""
    top = lattice.output_shape
    if not isinstance(cotangent, np.ndarray | np.generic):
        raise SpecificationError(f"cotangent is a {type(cotangent).__name__}; it is an array over the output, {top}")
    if not callable(weight):
        raise SpecificationError(f"weight is {weight!r}; it is a function of a node, for example lambda node: 1")
    if cotangent.ndim < len(top) or not _fits(cotangent.shape[cotangent.ndim - len(top) :], top):
        raise SpecificationError(f"a cotangent of shape {cotangent.shape} does not fit the output {top} of the lattice")
    nodes, shapes = lattice.nodes, lattice.shapes

    def step(position: int, here: Array) -> tuple[Array, ...]:
        node = nodes[position]
        own = weight(node)
        try:
            weighted = _times(own, here)
        except ValueError as error:
            raise SpecificationError(
                f"{node.name}: its weight does not broadcast against its cotangent of shape {here.shape}: {error}"
            ) from error
        return pull(node.op, tuple([shapes[i] for i in node.inputs]), weighted, shapes[position])

    for position, here in sweep(lattice, cotangent, step):
        yield nodes[position], here


@lru_cache(maxsize=4096)
def gain(op: Op, inputs: tuple[Shape, ...], output: Shape) -> int:
    """How often an op reads a unit, at most: the largest number in its pull-back of ones (exact in float64 below 2^53).

    >>> from lattice import Conv
    >>> gain(Conv(4, kernel=3), ((2, 9),), (4, 7))
    12
    """
    return int(max(passed.max() for passed in pull(op, inputs, np.ones((1, *output[1:])), output)))


def _fits(shape: Shape, full: Shape) -> bool:
    return shape[0] in (1, full[0]) and shape[1:] == full[1:]


def _times(weight: Any, cotangent: Array) -> Array:
    if isinstance(weight, int) and weight == 1:  # also True
        return cotangent
    return cotangent * weight


# --- what one op passes down: topology only, in any number type -----------------------------------------------------------


@singledispatch
def pull(op: Op, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    """The cotangents of an op's inputs, one each, given the cotangent of its output; every connection has weight 1."""
    raise SpecificationError(f"no pull-back rule for {op!r}; add one with lattice.sweep.pullback.pull.register")


@pull.register
def _(op: Pointwise, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    return (cotangent,)


@pull.register
def _(op: Add, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    return (cotangent,) * len(inputs)


@pull.register
def _(op: Multiply, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    return tuple(sum_broadcast(cotangent, shape, output) for shape in inputs)


@lru_cache(maxsize=512)
def _moving_axes(op: Windowed, spatial: Shape) -> tuple[tuple[AxisMap, int, int], ...]:
    """(axis map, cells, axis counted from the end) of the axes on which an op does more than read each cell once.

    The last axis comes first: single cells apart are slow to add, and going down most layers make more of them.
    """
    axes = zip(op.windows(spatial), spatial, range(-len(spatial), 0), strict=True)
    return tuple((window, n, axis) for window, n, axis in reversed(list(axes)) if not window.is_identity(n))


@pull.register
def _(op: Windowed, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    ((channels, *spatial),) = inputs
    if isinstance(op, WeightedWindow):
        cotangent = sum_channels(cotangent, len(spatial), op.channels, channels, op.groups)
    for window, n, axis in _moving_axes(op, tuple(spatial)):
        cotangent = window.pull(cotangent, n, axis)
    return (cotangent,)


@pull.register
def _(op: Dense, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    return (sum_channels(cotangent, 0, op.units, inputs[0][0], 1),)


@pull.register
def _(op: Rearrangement, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    (shape,) = inputs
    cotangent = _all_channels(cotangent, output)
    batch = cotangent.shape[: cotangent.ndim - len(output)]
    result = np.zeros((prod(shape), *batch), cotangent.dtype)  # a unit may be read several times
    np.add.at(result, sources(op, shape).ravel(), np.moveaxis(cotangent.reshape(*batch, -1), -1, 0))
    return (np.moveaxis(result, 0, -1).reshape(*batch, *shape),)


@pull.register
def _(op: Flatten, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    ((channels, *spatial),) = inputs
    batch = cotangent.shape[:-1]
    if cotangent.shape[-1] == 1:
        return (np.broadcast_to(cotangent.reshape(*batch, 1, *(1 for _ in spatial)), (*batch, 1, *spatial)),)
    return (cotangent.reshape(*batch, channels, *spatial),)


@pull.register
def _(op: Concat, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    if _channels(cotangent, output) == 1:
        return (cotangent,) * len(inputs)
    ends = np.cumsum([shape[0] for shape in inputs])[:-1]
    return tuple(np.split(cotangent, ends, axis=-len(output)))


@pull.register
def _(op: Slice, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    ((channels, *spatial),) = inputs
    batch = cotangent.shape[: cotangent.ndim - len(output)]
    result = np.zeros((*batch, channels, *spatial), cotangent.dtype)
    np.moveaxis(result, -len(output), 0)[op.start : op.stop] = np.moveaxis(cotangent, -len(output), 0)
    return (result,)


@pull.register
def _(op: ChannelShuffle, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    if _channels(cotangent, output) == 1:
        return (cotangent,)
    order = np.arange(output[0]).reshape(op.groups, -1).T.ravel()  # output channel -> the input channel that it reads
    return (np.take(cotangent, np.argsort(order), axis=-len(output)),)


@pull.register
def _(op: PixelShuffle, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    ((channels, *spatial),) = inputs
    axes, r = len(spatial), op.factor
    cotangent = _all_channels(cotangent, output)
    batch = cotangent.shape[: cotangent.ndim - len(output)]
    split = cotangent.reshape(*batch, output[0], *(size for n in spatial for size in (n, r)))
    first = len(batch) + 1
    order = (*range(first), *range(first + 1, first + 2 * axes, 2), *range(first, first + 2 * axes, 2))
    return (split.transpose(order).reshape(*batch, channels, *spatial),)


def _channels(cotangent: Array, shape: Shape) -> int:
    return int(cotangent.shape[cotangent.ndim - len(shape)])


def _all_channels(cotangent: Array, shape: Shape) -> Array:
    """The cotangent with its channel axis written out."""
    batch = cotangent.shape[: cotangent.ndim - len(shape)]
    return np.broadcast_to(cotangent, (*batch, *shape))


def sum_broadcast(cotangent: Array, shape: Shape, output: Shape) -> Array:
    """What an input of this shape collects where it was broadcast to the shape of the output: sums over the axes it lacks."""
    for axis, (n, m) in enumerate(zip(shape, output, strict=True), start=-len(output)):
        if n < m:
            if cotangent.dtype == bool:
                cotangent = np.asarray(cotangent.any(axis=axis, keepdims=True))
                continue
            alike = m // cotangent.shape[axis]  # a channel axis of length 1 stands for m channels that are alike
            cotangent = _times(alike, cotangent.sum(axis=axis, keepdims=True))
    return cotangent


def sum_channels(cotangent: Array, axes: int, above: int, below: int, groups: int) -> Array:
    """What each input channel of a grouped layer collects: the sum over the output channels of its group."""
    channel = cotangent.ndim - axes - 1
    if cotangent.shape[channel] == 1:
        alike = above // groups
        return cotangent if cotangent.dtype == bool else _times(alike, cotangent)
    shape = cotangent.shape
    grouped = cotangent.reshape(*shape[:channel], groups, above // groups, *shape[channel + 1 :]).sum(axis=channel + 1)
    if cotangent.dtype == bool:
        grouped = grouped > 0
    return grouped if groups == 1 else np.repeat(grouped, below // groups, axis=channel)
