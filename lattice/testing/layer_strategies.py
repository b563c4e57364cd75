"""Hypothesis strategies for one layer, one axis of a layer, and blocks whose branches end in the same shape.

Every parameter that torch's layer of that name has is drawn, within torch's own limits (a pool is padded by at most half
its kernel, an output padding is smaller than stride or dilation), so that what is drawn can be built and compared.
"""

from collections.abc import Sequence
from math import gcd, prod
from typing import Any

from hypothesis import strategies as st

from lattice.network.branches import Branches, Layer, concatenate, residual
from lattice.network.ops import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Dropout,
    GlobalPool,
    Norm,
    Op,
    Pad,
    PixelShuffle,
    Pool,
    Shape,
    Slice,
    Upsample,
)

__all__ = ["EVERY_MODE", "EVERY_OP", "MOST_UNITS", "blocks", "layers", "windows"]

MOST_UNITS = 150  # of one layer, so that all paths of a drawn lattice can be listed
EVERY_OP: tuple[type[Op], ...] = (
    Conv,
    Pool,
    ConvTranspose,
    AdaptivePool,
    GlobalPool,
    Pad,
    Blur,
    Upsample,
    PixelShuffle,
    Slice,
    ChannelShuffle,
    Activation,
    Norm,
    Dropout,
)
EVERY_MODE = ("zeros", "circular", "reflect", "replicate", "symmetric")
KINDS = st.sampled_from(("avg", "max"))


def layers(
    shape: Shape, *, channels: int = 3, modes: Sequence[str] = ("zeros",), ops: Sequence[type[Op]] = EVERY_OP
) -> st.SearchStrategy[Any]:
    """Layers of the given ops that fit an input of shape (channels, *spatial); a 1x1 convolution where none does."""
    fitting = [op for op in ops if op is not PixelShuffle or _factors(shape)] or [Conv]
    often = [op for op in fitting for _ in range(3 if op in (Conv, PixelShuffle) else 1)]  # what nets are made of, what is rare
    return st.sampled_from(often).flatmap(lambda op: _one_layer(op, shape, channels, tuple(modes), PixelShuffle in ops))


def windows(
    draw: st.DrawFn, n: int, modes: Sequence[str] = ("zeros",), most: int = MOST_UNITS
) -> tuple[int, int, int, tuple[int, int], str]:
    """Kernel, stride, dilation, padding (lo, hi) and mode of a window over n cells with at most max(n, most) outputs."""
    mode = draw(st.sampled_from(tuple(modes)))
    padding = (draw(st.integers(0, _copies(mode, n))), draw(st.integers(0, _copies(mode, n))))
    room = n + sum(padding)
    kernel = draw(st.integers(1, min(4, room)))
    dilation = draw(st.integers(1, max(1, min(3, (room - 1) // max(1, kernel - 1)))))
    steps, outputs = room - dilation * (kernel - 1) - 1, max(n, most)
    least = 1 if steps < outputs else steps // outputs + 1  # steps // stride + 1 outputs
    return kernel, draw(st.integers(least, max(3, least))), dilation, padding, mode


def _copies(mode: str, n: int) -> int:
    """The widest padding that is drawn: two cells, or as many as the mode has to copy."""
    return {"reflect": min(2, n - 1), "circular": min(2, n), "symmetric": min(2, n)}.get(mode, 2)


def _fitting(draw: st.DrawFn, mode: str, n: int, kernel: int) -> int:
    """A padding in front with which a kernel fits n cells that are padded by one behind, where the mode can."""
    most = _copies(mode, n)
    return draw(st.integers(max(0, kernel - n - min(1, most)), most))


def _factors(shape: Shape) -> list[int]:
    """The factors by which a pixel shuffle can spread these channels."""
    return [r for r in (2, 3) if shape[0] % r ** (len(shape) - 1) == 0]


def _divisors(n: int) -> list[int]:
    return [g for g in range(1, n + 1) if n % g == 0]


def _cells(channels: int, axes: int) -> int:
    """Cells per axis at which a layer with this many channels stays below `MOST_UNITS`."""
    return int((MOST_UNITS / channels + 1e-9) ** (1 / axes))


@st.composite
def _one_layer(draw: st.DrawFn, op: type[Op], shape: Shape, channels: int, modes: tuple[str, ...], shuffles: bool) -> Op:
    count, *spatial = shape
    if op in (Conv, ConvTranspose):
        return _weighted(draw, op, shape, channels, modes, shuffles)
    if op in (Pool, Pad, Blur):
        return _padded(draw, op, shape, modes)
    if op is AdaptivePool:
        return AdaptivePool(draw(KINDS), _per_axis([_integer(draw, 1, n) for n in spatial]))
    if op is GlobalPool:
        return GlobalPool(draw(KINDS))
    if op is Upsample:
        scales = [_integer(draw, 1, min(3, _cells(count, len(spatial)) // n)) for n in spatial]
        return Upsample(_per_axis(scales), draw(st.sampled_from(("nearest", "linear"))))
    if op is Slice:
        start = _integer(draw, 0, count - 1)
        return Slice(start, _integer(draw, start + 1, count))
    if op is ChannelShuffle:
        return ChannelShuffle(draw(st.sampled_from(_divisors(count))))
    if op is PixelShuffle:
        return PixelShuffle(draw(st.sampled_from(_factors(shape))))
    if op is Activation:
        return draw(st.sampled_from((Activation("relu"), Activation("abs"), Activation("leaky_relu", 0.1))))
    return op()


def _integer(draw: st.DrawFn, least: int, most: int) -> int:
    return draw(st.integers(least, max(least, most)))


def _per_axis(values: list[Any]) -> Any:
    """One value for all axes is written as one value, so that both ways of writing are drawn."""
    return values[0] if len(set(values)) == 1 and not isinstance(values[0], tuple) else tuple(values)


def _weighted(draw: st.DrawFn, op: type[Op], shape: Shape, channels: int, modes: tuple[str, ...], shuffles: bool) -> Op:
    """A convolution, transposed or not; now and then with as many output channels as a pixel shuffle needs."""
    count, *spatial = shape
    axes = len(spatial)
    wide = shuffles and 2**axes * prod(spatial) <= MOST_UNITS and _integer(draw, 0, 4) == 4
    width = 2**axes if wide else _integer(draw, 1, channels)
    groups = draw(st.sampled_from(_divisors(count)))
    width = width if width % groups == 0 else groups
    if op is ConvTranspose:
        each = [_transposed(draw, n, max(n, _cells(width, axes))) for n in spatial]
        kernel, stride, padding, extra, dilation = (_per_axis(list(values)) for values in zip(*each, strict=True))
        return ConvTranspose(width, kernel, stride, padding, extra, dilation, groups)
    mode = draw(st.sampled_from(modes))
    parts = [windows(draw, n, (mode,), _cells(width, axes)) for n in spatial]
    kernel, stride, dilation, padding, _ = (_per_axis(list(values)) for values in zip(*parts, strict=True))
    if mode == "zeros" and draw(st.booleans()):
        named = "valid" if all(d * (k - 1) < n for (k, _, d, _, _), n in zip(parts, spatial, strict=True)) else "same"
        return Conv(width, kernel, stride, draw(st.sampled_from(("same", named))), dilation, groups, mode)
    return Conv(width, kernel, stride, padding, dilation, groups, mode)


def _padded(draw: st.DrawFn, op: type[Op], shape: Shape, modes: tuple[str, ...]) -> Op:
    """A pool, a padding or a blur."""
    count, *spatial = shape
    if op is Pool:
        kind = draw(KINDS)
        kernels = [_integer(draw, 1, min(4, n)) for n in spatial]
        # torch pads a pool by at most half its kernel, and dilates maxima only
        pads = [(_integer(draw, 0, k // 2),) * 2 for k in kernels]
        most = [(n + 2 * lo - 1) // max(1, k - 1) for n, k, (lo, _) in zip(spatial, kernels, pads, strict=True)]
        dilations = [_integer(draw, 1, min(2, d)) if kind == "max" else 1 for d in most]
        ceil, include = draw(st.booleans()), draw(st.booleans())
        strides = [_integer(draw, 1, 3) for _ in spatial]
        return Pool(kind, _per_axis(kernels), _per_axis(strides), tuple(pads), _per_axis(dilations), ceil, include)
    mode = draw(st.sampled_from(modes))
    if op is Pad:
        most = [min(_copies(mode, n), max(0, _cells(count, len(spatial)) - n)) for n in spatial]
        return Pad(tuple((lo := _integer(draw, 0, m), min(_integer(draw, 0, m), max(0, m - lo))) for m in most), mode)
    fits = min(n + 2 * min(1, _copies(mode, n)) for n in spatial)
    taps = draw(st.sampled_from([taps for taps in ((1,), (1, 1), (1, 2, 1), (1, 3)) if len(taps) <= fits]))
    around = tuple((_fitting(draw, mode, n, len(taps)), min(1, _copies(mode, n))) for n in spatial)
    return Blur(taps, _per_axis([_integer(draw, 1, 3) for _ in spatial]), around, mode)


def _transposed(draw: st.DrawFn, n: int, most: int) -> tuple[int, int, tuple[int, int], int, int]:
    """Kernel, stride, padding, output padding and dilation of a transposed window from n cells to at most `most`."""
    stride = draw(st.integers(1, max(1, min(3, (most - 1) // max(1, n - 1)))))
    left = most - (n - 1) * stride - 1  # cells that the kernel and the output padding may add
    kernel = draw(st.integers(1, max(1, min(3, left + 1))))
    dilation = draw(st.integers(1, 2 if 2 * (kernel - 1) <= left else 1))
    full = (n - 1) * stride + dilation * (kernel - 1) + 1
    extra = draw(st.integers(0, max(0, min(max(stride, dilation) - 1, most - full))))
    lo = draw(st.integers(0, min(2, full - 1)))
    return kernel, stride, (lo, draw(st.integers(0, min(2, full - 1 - lo)))), extra, dilation


# --- blocks: branches that end in the same shape --------------------------------------------------------------------------


@st.composite
def blocks(
    draw: st.DrawFn,
    shape: Shape,
    *,
    channels: int = 3,
    modes: Sequence[str] = ("zeros",),
    ops: Sequence[type[Op]] = EVERY_OP,
    nested: bool = True,
) -> Branches:
    """Residual blocks, sums of three branches, and concatenations, with the stride on every branch or on none.

    Every branch turns n cells into ceil(n / stride), so that they meet by construction. Only layers of `ops` are used.
    """
    count, fixed = shape[0], Conv not in ops
    stride = draw(st.integers(1, 2)) if Conv in ops or Pool in ops else 1
    kind = draw(st.sampled_from(("residual", "concat", "sum")))

    def branch(width: int, most: int) -> list[Layer]:
        chain = draw(_resizing(shape, stride, width, tuple(modes), tuple(ops)))
        after = (width, *(-(-n // stride) for n in shape[1:]))
        for _ in range(draw(st.integers(0, most))):
            chain += draw(_resizing(after, 1, width, tuple(modes), tuple(ops)))
        if nested and most and draw(st.integers(0, 4)) == 4:
            chain.append(residual(draw(_resizing(after, 1, width, tuple(modes), tuple(ops)))))
        return chain

    if kind == "concat" and 2 * count <= 2 * channels:
        if stride == 1 and Slice in ops and count > 1 and draw(st.booleans()):  # ShuffleNet: half of the channels pass by
            half = count // 2
            return concatenate([Slice(0, half)], [Slice(half, count)])
        chains = [branch(count if fixed else draw(st.integers(1, channels)), 1) for _ in range(draw(st.integers(1, 2)))]
        return concatenate(*chains, [] if stride == 1 and draw(st.booleans()) else branch(count, 0))
    width = count if fixed or (stride == 1 and draw(st.booleans())) else draw(st.integers(1, channels))
    chains = [branch(width, 1) for _ in range(2 if kind == "sum" else 1)]
    identity = stride == 1 and width == count
    chains.append([] if identity and draw(st.booleans()) else branch(width, 0))
    return Branches(tuple(map(tuple, chains)), Add())


@st.composite
def _resizing(
    draw: st.DrawFn, shape: Shape, stride: int, width: int, modes: tuple[str, ...], ops: tuple[type[Op], ...]
) -> list[Layer]:
    """One layer, or none, from n cells to ceil(n / stride) and to `made` channels."""
    count, *spatial = shape
    options: list[st.SearchStrategy[Op]] = []
    if Conv in ops:
        options.append(_same_conv(shape, stride, width, modes))
    if width == count:
        if Pool in ops and (len(spatial) < 3 or min(spatial) >= 3):  # torch has no average over three axes that is wider
            options.append(st.builds(lambda kind: Pool(kind, 3, stride, padding=1), KINDS))
        if Pool in ops and stride <= min(spatial):
            options.append(st.builds(lambda kind: Pool(kind, stride, stride, ceil=True), KINDS))
        if stride == 1:
            options += [st.just(op()) for op in (Activation, Norm, Dropout) if op in ops]
            options += [st.just(ChannelShuffle(g)) for g in _divisors(count)[1:] if ChannelShuffle in ops]
    return [draw(st.one_of(options))] if options else []


@st.composite
def _same_conv(draw: st.DrawFn, shape: Shape, stride: int, width: int, modes: tuple[str, ...]) -> Op:
    """A convolution from n cells to ceil(n / stride): an odd kernel with half of its span as padding, or "same"."""
    count, *spatial = shape
    mode = draw(st.sampled_from(modes))
    most = min(min(_copies(mode, n) for n in spatial), 2)
    radius = draw(st.integers(0, min(1, most)))
    dilation = draw(st.integers(1, 2)) if radius and most >= 2 else 1
    groups = draw(st.sampled_from(_divisors(gcd(count, width))))
    if mode == "zeros" and draw(st.integers(0, 3)) == 3:
        return Conv(width, draw(st.integers(1, 3)), stride, "same", dilation, groups, mode)
    return Conv(width, 2 * radius + 1, stride, dilation * radius, dilation, groups, mode)
