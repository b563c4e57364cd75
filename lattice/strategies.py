"""Hypothesis strategies for lattices: valid by construction, small enough to list every path, reaching every op.

State a theorem about path counts in two lines:

    @given(lattices())
    def test_every_count_is_a_number_of_commands(net): ...

Needs hypothesis (the extra `strategies`). Layers are chosen from those that fit the shape so far, so nothing is filtered
away; hypothesis shrinks towards one-dimensional chains of plain convolutions.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from hypothesis import strategies as st

from lattice.errors import SpecificationError
from lattice.lattice import Branches, Lattice, Layer, concatenate, residual
from lattice.ops import (
    Activation,
    AdaptivePool,
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Norm,
    Op,
    Pad,
    PixelShuffle,
    Pool,
    Shape,
    Slice,
    Upsample,
    output_shape,
)

__all__ = ["lattices", "layers", "windows"]

MOST_UNITS = 150  # of one layer: all paths of a drawn lattice can be listed
EVERY_OP: tuple[type[Op], ...] = (
    Conv,
    Pool,
    ConvTranspose,
    AdaptivePool,
    GlobalPool,
    Pad,
    Upsample,
    PixelShuffle,
    Slice,
    ChannelShuffle,
    Activation,
    Norm,
    Dropout,
)


@st.composite
def lattices(
    draw: st.DrawFn,
    *,
    axes: st.SearchStrategy[int] | None = None,
    depth: int = 3,
    channels: int = 3,
    size: int = 6,
    modes: Sequence[str] = ("zeros", "circular", "reflect", "replicate", "symmetric"),
    ops: Sequence[type[Op]] = EVERY_OP,
    branches: bool = True,
    heads: bool = True,
) -> Lattice:
    """Lattices with up to `depth` layers over an input with up to `channels` channels and `size` cells per axis.

    `axes` draws the number of spatial axes (1 to 3 by default), `ops` and `modes` restrict the layers and paddings,
    `branches` allows residual blocks and concatenations, `heads` a final Flatten and Dense.
    """
    dimensions = draw(axes if axes is not None else st.sampled_from((1, 1, 1, 2, 2, 3)))
    limit = max(2, min(size, round(MOST_UNITS ** (1 / dimensions) / 2)))
    shape = (draw(st.integers(1, channels)), *(draw(st.integers(2, limit)) for _ in range(dimensions)))
    result = draw(_chains(shape, depth, channels, tuple(modes), tuple(ops), branches))
    if heads and draw(st.booleans()):
        result += [Flatten(), Dense(draw(st.integers(1, 3)))]
    return Lattice.chain(shape, result or [Conv(1, 1)])


@st.composite
def _chains(
    draw: st.DrawFn, shape: Shape, depth: int, channels: int, modes: tuple[str, ...], ops: tuple[type[Op], ...], branches: bool
) -> list[Layer]:
    result: list[Layer] = []
    for _ in range(draw(st.integers(0 if branches else 1, depth))):
        layer: Layer
        if branches and draw(st.integers(0, 3)) == 3:
            layer = draw(_branches(shape, channels, modes, ops))
            shape = _shape_after(shape, [layer])
        else:
            op: Op = draw(layers(shape, channels=channels, modes=modes, ops=ops))
            layer = op
            shape = output_shape(op, shape)
        result.append(layer)
    return result


@st.composite
def _branches(draw: st.DrawFn, shape: Shape, channels: int, modes: tuple[str, ...], ops: tuple[type[Op], ...]) -> Branches:
    """A residual block or a concatenation whose branches end in the same shape."""
    keep = _shape_keeping(shape, modes)
    body = draw(st.lists(keep, min_size=1, max_size=2))
    shortcut = draw(st.one_of(st.just([]), st.lists(keep, min_size=1, max_size=1)))
    if draw(st.booleans()) and 2 * shape[0] <= 2 * channels:
        return concatenate(body, shortcut)
    return residual(body, shortcut)


def _shape_keeping(shape: Shape, modes: tuple[str, ...]) -> st.SearchStrategy[Layer]:
    smallest = min(shape[1:])
    convs: st.SearchStrategy[Layer] = st.builds(
        lambda radius, mode: Conv(shape[0], 2 * radius + 1, padding=radius, mode=mode),
        st.integers(0, min(1, smallest - 1)),
        st.sampled_from(modes),
    )
    pools: st.SearchStrategy[Layer] = st.just(Pool("avg", 3, 1, padding=1))
    return st.one_of(convs, convs, pools, st.just(Activation("relu")))


def _shape_after(shape: Shape, chain: Sequence[Layer]) -> Shape:
    return Lattice.chain(shape, chain).output_shape


def windows(draw: st.DrawFn, n: int, modes: Sequence[str] = ("zeros",)) -> tuple[int, int, int, tuple[int, int], str]:
    """Kernel, stride, dilation, padding (lo, hi) and mode of a window that fits an axis of n cells."""
    mode = draw(st.sampled_from(tuple(modes)))
    most = {"reflect": min(2, n - 1), "circular": min(2, n), "symmetric": min(2, n)}.get(mode, 2)
    padding = (draw(st.integers(0, most)), draw(st.integers(0, most)))
    room = n + sum(padding)
    kernel = draw(st.integers(1, min(4, room)))
    dilation = draw(st.integers(1, max(1, min(3, (room - 1) // max(1, kernel - 1)))))
    return kernel, draw(st.integers(1, 3)), dilation, padding, mode


def layers(
    shape: Shape, *, channels: int = 3, modes: Sequence[str] = ("zeros",), ops: Sequence[type[Op]] = EVERY_OP
) -> st.SearchStrategy[Any]:
    """Layers of the given ops that fit an input of shape (channels, *spatial)."""
    fitting = [op for op in ops if _fits(op, shape)]
    return st.sampled_from(fitting).flatmap(lambda op: _one_layer(op, shape, channels, tuple(modes)))


def _fits(op: type[Op], shape: Shape) -> bool:
    """Is there a layer of this op over this shape that does not grow it beyond `MOST_UNITS`?"""
    units, axes = prod(shape), len(shape) - 1
    if op in (ConvTranspose, Upsample):
        return units * 3**axes <= MOST_UNITS
    if op is Pad:
        return prod(n + 2 for n in shape[1:]) * shape[0] <= MOST_UNITS
    if op is PixelShuffle:
        return shape[0] % 2**axes == 0
    return True


@st.composite
def _one_layer(draw: st.DrawFn, op: type[Op], shape: Shape, channels: int, modes: tuple[str, ...]) -> Any:
    count, *spatial = shape
    integer: Callable[[int, int], int] = lambda least, most: draw(st.integers(least, most))  # noqa: E731

    def axes(kinds: Sequence[str]) -> dict[str, Any]:
        mode = draw(st.sampled_from(tuple(kinds)))
        parts = [windows(draw, n, (mode,)) for n in spatial]
        kernel, stride, dilation, padding, _ = zip(*parts, strict=True)
        return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding, "mode": mode}

    if op is Conv:
        groups = integer(1, count) if count > 1 else 1
        groups = groups if count % groups == 0 else 1
        return Conv(groups * integer(1, max(1, channels // groups)), groups=groups, **axes(modes))
    if op is Pool:
        parameters = axes(("zeros",))
        parameters.pop("mode")
        # torch allows a pool at most half a kernel of padding
        pads = zip(parameters["padding"], parameters["kernel"], strict=True)
        parameters["padding"] = tuple((min(lo, k // 2),) * 2 for (lo, _), k in pads)
        parameters["dilation"] = 1
        pool = Pool(draw(st.sampled_from(("avg", "max"))), ceil=draw(st.booleans()), **parameters)
        try:
            output_shape(pool, shape)
        except SpecificationError:  # less padding than before may leave no room: pool over single cells
            return Pool("avg", 1)
        return pool
    if op is ConvTranspose:
        stride = integer(1, 2)
        return ConvTranspose(integer(1, channels), integer(2, 3), stride, integer(0, 1) if min(spatial) > 1 else 0, stride - 1)
    if op is AdaptivePool:
        return AdaptivePool(draw(st.sampled_from(("avg", "max"))), tuple(integer(1, n) for n in spatial))
    if op is GlobalPool:
        return GlobalPool(draw(st.sampled_from(("avg", "max"))))
    if op is Pad:
        mode = draw(st.sampled_from(modes))
        return Pad(tuple(windows(draw, n, (mode,))[3] for n in spatial) if min(spatial) > 2 else 0, mode)
    if op is Upsample:
        return Upsample(integer(1, 3), draw(st.sampled_from(("nearest", "linear"))))
    if op is Slice:
        start = integer(0, count - 1)
        return Slice(start, integer(start + 1, count))
    if op is ChannelShuffle:
        return ChannelShuffle(draw(st.sampled_from([g for g in range(1, count + 1) if count % g == 0])))
    if op is PixelShuffle:
        return PixelShuffle(2)
    return op()
