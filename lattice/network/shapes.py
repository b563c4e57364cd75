"""The shape that an op produces, one rule each; every other number about sizes follows from these."""

from functools import singledispatch
from math import prod

import numpy as np
import numpy.typing as npt

from lattice.errors import SpecificationError
from lattice.network.ops import (
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Flatten,
    Multiply,
    Norm,
    Op,
    PixelShuffle,
    Pointwise,
    Rearrangement,
    Shape,
    Slice,
    WeightedWindow,
    Windowed,
)

__all__ = ["output_shape", "sources"]

Array = npt.NDArray[np.int64]


@singledispatch
def output_shape(op: Op, *inputs: Shape) -> Shape:
    """The shape of an op's output for the shapes of its inputs; `SpecificationError` where they do not fit.

    >>> from lattice import Conv
    >>> output_shape(Conv(8, kernel=3, stride=2, padding=1), (3, 32, 32))
    (8, 16, 16)
    """
    raise SpecificationError(f"no shape rule for {op!r}; add one with lattice.network.shapes.output_shape.register")


@output_shape.register
def _(op: Pointwise, shape: Shape) -> Shape:
    return shape


@output_shape.register
def _(op: Norm, shape: Shape) -> Shape:
    if op.kind == "group" and shape[0] % op.groups:
        raise SpecificationError(f"{op}: {shape[0]} channels do not divide into {op.groups} groups")
    return shape


@output_shape.register
def _(op: Windowed, shape: Shape) -> Shape:
    channels, *spatial = _spatial(op, shape)
    sizes = (window.outputs(n) for window, n in zip(op.windows(tuple(spatial)), spatial, strict=True))
    if not isinstance(op, WeightedWindow):
        return (channels, *sizes)
    if channels % op.groups:
        raise SpecificationError(f"{op}: {channels} input channels do not divide into {op.groups} groups")
    return (op.channels, *sizes)


@output_shape.register
def _(op: Rearrangement, shape: Shape) -> Shape:
    return tuple(sources(op, shape).shape)


@output_shape.register
def _(op: PixelShuffle, shape: Shape) -> Shape:
    channels, *spatial = _spatial(op, shape)
    cells = op.factor ** len(spatial)
    if channels % cells:
        raise SpecificationError(f"{op}: {channels} channels are not a multiple of {op.factor}^{len(spatial)} = {cells}")
    return (channels // cells, *(n * op.factor for n in spatial))


@output_shape.register
def _(op: Slice, shape: Shape) -> Shape:
    if op.stop > shape[0]:
        raise SpecificationError(f"{op}: the input has {shape[0]} channels only")
    return (op.stop - op.start, *shape[1:])


@output_shape.register
def _(op: ChannelShuffle, shape: Shape) -> Shape:
    if shape[0] % op.groups:
        raise SpecificationError(f"{op}: {shape[0]} channels do not divide into {op.groups} groups")
    return shape


@output_shape.register
def _(op: Add, *shapes: Shape) -> Shape:
    if len(shapes) < 2 or len(set(shapes)) > 1:
        raise SpecificationError(f"{op}: takes two or more inputs of one shape, not {', '.join(map(str, shapes))}")
    return shapes[0]


@output_shape.register
def _(op: Multiply, *shapes: Shape) -> Shape:
    fit = len(shapes) == 2 and len(shapes[0]) == len(shapes[1])
    if not fit or any(a != b and 1 not in (a, b) for a, b in zip(*shapes, strict=True)):
        given = ", ".join(map(str, shapes))
        raise SpecificationError(
            f"{op}: takes two inputs of one shape, or with one cell or one channel where the other has several, not {given}"
        )
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


@output_shape.register
def _(op: Concat, *shapes: Shape) -> Shape:
    if len(shapes) < 2 or len({shape[1:] for shape in shapes}) > 1:
        raise SpecificationError(f"{op}: takes two or more inputs of one spatial size, not {', '.join(map(str, shapes))}")
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


@output_shape.register
def _(op: Flatten, shape: Shape) -> Shape:
    return (prod(shape),)


@output_shape.register
def _(op: Dense, shape: Shape) -> Shape:
    if len(shape) > 1:
        raise SpecificationError(f"{op}: reads (features,), not {shape}; put Flatten() before it")
    return (op.units,)


def _spatial(op: Op, shape: Shape) -> Shape:
    if len(shape) < 2:
        raise SpecificationError(f"{op}: reads (channels, *spatial), not {shape}")
    return shape


@singledispatch
def sources(op: Op, shape: Shape) -> Array:
    """Which unit of its input each output unit of a rearrangement reads, as a flat index: int64 over the output's shape.

    All else about an op that only moves cells follows from this one rule: shape, pull-back, routes, values, maps.

    >>> from lattice import Slice
    >>> sources(Slice(1, 3), (3, 2))
    array([[2, 3],
           [4, 5]])
    """
    raise SpecificationError(f"no rule where {op!r} reads its cells; add one with lattice.network.shapes.sources.register")


def _units(shape: Shape) -> Array:
    return np.arange(prod(shape)).reshape(shape)


@sources.register
def _(op: Slice, shape: Shape) -> Array:
    return _units(shape)[op.start : op.stop]


@sources.register
def _(op: ChannelShuffle, shape: Shape) -> Array:
    return _units(shape).reshape(op.groups, -1, *shape[1:]).swapaxes(0, 1).reshape(shape)


@sources.register
def _(op: Flatten, shape: Shape) -> Array:
    return _units(shape).ravel()


@sources.register
def _(op: PixelShuffle, shape: Shape) -> Array:
    axes, r = len(shape) - 1, op.factor
    split = _units(shape).reshape(-1, *(r,) * axes, *shape[1:])  # channel, offsets, positions
    order = (0, *(axis for a in range(axes) for axis in (1 + axes + a, 1 + a)))
    return split.transpose(order).reshape(-1, *(n * r for n in shape[1:]))
