"""The rules of layers that read a neighbourhood: convolutions, pools, paddings, resizes."""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod
from typing import Any

import numpy as np

from landscape.tracing.aten.registry import OVER_HEADS, RULES, per_axis, positions, rule
from landscape.tracing.graph.layouts import first_sample
from landscape.tracing.graph.reader import Reader, Refusal, Stale, Value, operation, shape_of
from landscape.tracing.graph.values import PaddedLow, Scores
from lattice import AdaptivePool, Blur, Conv, ConvTranspose, Dense, GlobalPool, Op, Pad, Pool, Upsample
from lattice.network.rearrange import ListedWindow, Resample
from lattice.network.windows.resizing import ResizeWindow

__all__ = ["over_channels"]

ROUNDING = 1e-5  # of a filter that was made in single precision, relative to its largest tap


@rule("conv1d", "conv2d", "conv3d", "convolution")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    if (mixed := _over_heads(reader, call, a)) is not None:
        return mixed
    axes = positions(call)
    weight, bias = reader.weight(call, a["weight"]), reader.bias(call, a["bias"])
    if a.get("transposed"):
        return _transposed(reader, call, a)
    channels, _, *kernel = shape_of(a["weight"])
    pads = a["padding"]
    padding: Any = pads if isinstance(pads, str) else per_axis(pads, axes)
    if isinstance(pads, str) and pads == "same":  # torch puts the odd cell on the high side at stride 1, as we do
        padding = "same"
    if weight is not None and weight in reader.fixed:
        return reader.append(call, _blur(reader, weight, a, axes, padding), (reader.tensor(a["input"]),))
    op = Conv(channels, tuple(kernel), per_axis(a["stride"], axes), padding, per_axis(a["dilation"], axes), a["groups"])
    if axes == 1 and not isinstance(padding, str):
        op = replace(op, padding=padding[0])
    return windowed(reader, call, a["input"], op, weight=weight, bias=bias)


def _over_heads(reader: Reader, call: Any, a: dict[str, Any]) -> Scores | None:
    """Logits or shares after a layer over their heads; None of a signal, and of products that no softmax is taken of."""
    scores = reader.values.get(a["input"])
    if not isinstance(scores, Scores):
        return None
    try:
        found: Scores = RULES[OVER_HEADS](reader, call, a)
    except Refusal:
        if scores.soft:
            raise
        return None
    return found


def windowed(reader: Reader, call: Any, argument: Any, op: Conv | Pool, **weights: Any) -> Value:
    """An op that reads neighbourhoods; windows, heads or groups that stand in the axis of the batch are one."""
    value = reader.value(argument)
    units = prod(reader.shapes[value.node])
    if value.layout is None or first_sample(value.layout, reader.batch, units) is not None:
        return reader.append(call, op, (reader.tensor(argument),), **weights)
    layout, axes = value.layout, value.layout.ndim - 2
    samples = layout.reshape(len(layout), -1).max(axis=1) // units
    own = [np.flatnonzero(samples == sample) for sample in range(reader.batch)]
    wanted = layout[own[0]]
    alike = all(np.array_equal(np.where(layout[o] >= 0, layout[o] - b * units, -1), wanted) for b, o in enumerate(own))
    if axes > 2 or isinstance(op.padding, str) or not alike or wanted.max(initial=-1) >= units:
        raise Refusal(f"reads {layout.shape} with positions or channels in its first axis, that of the batch")
    node = reader.arranged(value.node, np.swapaxes(wanted, 0, 1))
    beside: dict[str, Any] = {name: (1, *per_axis(getattr(op, name), axes)) for name in ("kernel", "stride", "dilation")}
    op = replace(op, padding=(0, *per_axis(op.padding, axes)), **beside)
    found = reader.append(call, op, (node,), **weights)
    shape = reader.shapes[found.node]
    there = np.empty((len(layout), shape[0], *shape[2:]), dtype=np.int64)
    for sample, places in enumerate(own):
        there[places] = np.swapaxes(sample * prod(shape) + np.arange(prod(shape)).reshape(shape), 0, 1)
    return reader.placed(found, there)


def _blur(reader: Reader, name: str, a: dict[str, Any], axes: int, padding: Any) -> Blur:
    """The fixed filter of a convolution whose weight is a buffer."""
    tensor = reader.tensors[name]
    refusal = Refusal(
        f"a convolution whose weight {name} is a buffer, so fixed: one positive filter for every channel that sums to one and "
        "is a product of the same taps on each axis has a rule; make it a parameter if it is to be drawn"
    )
    if tensor.is_meta or a["bias"] is not None or not a["groups"] == tensor.shape[0] == shape_of(a["input"])[1]:
        raise refusal
    filters = tensor.detach().double().cpu().numpy()[:, 0]
    taps = filters[0].sum(axis=tuple(range(1, axes)))
    product = taps
    for _ in range(axes - 1):
        product = np.multiply.outer(product, taps)
    alike = product.shape == filters.shape[1:] and np.abs(filters - product).max() <= ROUNDING * product.max()
    if not alike or not (taps > 0).all() or abs(taps.sum() - 1) > ROUNDING or set(per_axis(a["dilation"], axes)) != {1}:
        raise refusal
    padding = padding[0] if axes == 1 and not isinstance(padding, str) else padding
    reader.rounded = True  # the taps are those of a filter in single precision
    return Blur(tuple(taps.tolist()), per_axis(a["stride"], axes), padding)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    axes = positions(call)
    weight, bias = reader.parameter(a["weight"], "weight"), reader.parameter(a["bias"], "bias")
    _, per_group, *kernel = shape_of(a["weight"])
    op = ConvTranspose(
        per_group * a["groups"],
        tuple(kernel),
        per_axis(a["stride"], axes),
        per_axis(a["padding"], axes) if axes > 1 else per_axis(a["padding"], 1)[0],
        per_axis(a["output_padding"], axes),
        per_axis(a["dilation"], axes),
        a["groups"],
    )
    return reader.append(call, op, (reader.tensor(a["input"]),), weight=weight, bias=bias)


@rule("linear")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    if (mixed := _over_heads(reader, call, a)) is not None:
        return mixed
    units, last = shape_of(a["weight"])[0], len(shape_of(a["input"])) - 1
    weights: dict[str, Any] = {"weight": reader.weight(call, a["weight"]), "bias": reader.bias(call, a["bias"])}
    return over_channels(reader, call, reader.value(a["input"]), last, units, **weights)


def over_channels(reader: Reader, call: Any, value: Value, axis: int, units: int, **weights: Any) -> Value:
    """A linear layer over the channels of every position, whatever these are: a convolution of kernel 1."""
    node, rows = reader.rows(value, (axis,))
    if prod(reader.shapes[node][1:]) == 1:
        node = reader.arranged(node, np.arange(prod(reader.shapes[node])))
    spatial = reader.shapes[node][1:]
    op = Conv(units, 1) if spatial else Dense(units)
    layout = rows.layout((axis,), (units,), spatial)
    found = reader.append(call, op, (node,), **weights)
    here = reader.layout(found)
    return reader.placed(found, None if layout.shape == here.shape and np.array_equal(layout, here) else layout)


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    axes, kind = positions(call), operation(call)[:3]
    if a.get("divisor_override"):
        raise Refusal("divisor_override is not supported; leave it out and scale the next layer")
    kernel = per_axis(a["kernel_size"], axes)
    stride = per_axis(a["stride"], axes) if a["stride"] else kernel
    pads = per_axis(a["padding"], axes)
    if set(kernel) == {1} and not any(pads):  # one cell has no winner
        kind = "avg"
        if set(stride) == {1}:
            return Value(reader.tensor(a["self"]))
    source: Any = a["self"]
    padding: Any = pads if axes > 1 else pads[0]
    lowest = reader.values.get(source)
    if isinstance(lowest, PaddedLow):
        if kind != "max" or any(pads):
            raise Refusal("pads with -inf: only a max-pool without a padding of its own may read that")
        source, padding = lowest.argument, lowest.padding
    dilation, inside = per_axis(a.get("dilation", 1), axes), bool(a.get("count_include_pad", True))
    op = Pool(kind, kernel, stride, padding, dilation, bool(a["ceil_mode"]), inside)
    return windowed(reader, call, source, op)


@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    return _adaptive(reader, call, "avg", shape_of(call))


@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> list[Value]:
    return [_adaptive(reader, call, "max", tuple(int(n) for n in call.meta["val"][0].shape))]


def _adaptive(reader: Reader, call: Any, kind: str, after: tuple[int, ...]) -> Value:
    node, sizes = reader.tensor(call.args[0]), after[2:]
    if sizes == reader.shapes[node][1:]:
        return Value(node)
    op: Op = GlobalPool(kind) if set(sizes) == {1} else AdaptivePool(kind, sizes)
    return reader.append(call, op, (node,))


@rule("max_pool2d_with_indices", "max_pool3d_with_indices")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> list[Value]:
    return [RULES["max_pool2d"](reader, call, a)]


@rule("<built-in function getitem>")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    parts, index = reader.values[call.args[0]], call.args[1]
    if isinstance(parts, Stale):
        reader.value(call.args[0])
    if not isinstance(parts, list) or not 0 <= index < len(parts):
        raise Refusal("takes a part of an operation's result that has no rule (the indices of a max-pool, for example)")
    part: Value = parts[index]
    return part


@rule("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
@rule("replication_pad1d", "replication_pad2d", "replication_pad3d", "_pad_circular")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    axes, name = len(shape_of(call.args[0])) - 2, operation(call)
    named = {"constant_pad_nd": "constant", "_pad_circular": "circular"}
    copies = "reflect" if name.startswith("reflection") else "replicate"
    mode = a["mode"] if "mode" in a else named.get(name, copies)
    flat = list(a["pad"] if "pad" in a else a["padding"])  # last axis first, (lo, hi) each
    pairs = [tuple(flat[i : i + 2]) for i in range(0, len(flat), 2)]
    if mode == "constant" and a.get("value"):
        if a["value"] != -inf or len(pairs) > axes or min(flat) < 0:
            raise Refusal(f"pads with the constant {a['value']}: not yet")
        return PaddedLow(call.args[0], ((0, 0),) * (axes - len(pairs)) + tuple(reversed(pairs)))
    value = reader.value(call.args[0])
    if not any(flat):
        return value
    if mode == "constant" and (len(pairs) > axes or min(flat) < 0 or value.layout is not None):
        return _padded(reader, value, pairs[::-1])
    if len(pairs) > axes or min(flat) < 0:
        raise Refusal(f"pads by {flat} with copies: only positions, and by no negative amount, have a rule")
    pairs += [(0, 0)] * (axes - len(pairs))
    padding = tuple(reversed(pairs))
    return reader.append(call, Pad(padding, "zeros" if mode == "constant" else mode), (reader.tensor(call.args[0]),))


def _padded(reader: Reader, value: Value, pairs: list[tuple[int, ...]]) -> Value:
    """Zeros around the last axes of a tensor, whatever they are, and fewer cells where a number is negative."""
    layout = reader.layout(value)
    for axis, (lo, hi) in enumerate(pairs, start=layout.ndim - len(pairs)):
        n = layout.shape[axis]
        layout = layout.take(range(max(-lo, 0), n - max(-hi, 0)), axis)
        sides = [(0, 0)] * layout.ndim
        sides[axis] = (max(lo, 0), max(hi, 0))
        layout = np.pad(layout, sides, constant_values=-1)
    padded = Value(value.node, layout)
    return reader.whole(padded) if layout.min() < 0 else padded  # while the axes of positions stand apart


LINEAR = ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")
NEAREST = ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")


@rule(*NEAREST, *LINEAR)
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source = call.args[0]
    before, after = shape_of(source)[2:], shape_of(call)[2:]
    scales = a.get("scale_factors") or [a.get(name) for name in ("scales", "scales_d", "scales_h", "scales_w")]
    scales = [scale for scale in scales if scale] or [None] * len(after)
    align, mode = bool(a.get("align_corners", False)), "linear" if operation(call) in LINEAR else "nearest"
    reads = [_resized(call, mode, align, *axis) for axis in zip(before, after, scales, strict=True)]
    if not all(reads):
        raise Refusal(f"resizes {before} to {after} by the factors {scales}, which do not fit; give the size itself")
    reader.rounded = reader.rounded or mode == "nearest"
    return reader.append(call, Upsample(size=after, mode=mode, align_corners=align), (reader.tensor(source),))


@rule("upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d")
@rule("_upsample_nearest_exact2d", "_upsample_nearest_exact3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    """A fixed map of each axis: what torch makes of one cell at a time."""
    import torch

    source = call.args[0]
    before, after = shape_of(source)[2:], shape_of(call)[2:]
    axes = []
    for axis, (n, m) in enumerate(zip(before, after, strict=True)):
        cells = torch.unflatten(
            torch.eye(n, dtype=torch.float64)[:, None], 2, (*(1,) * axis, n, *(1,) * (len(before) - axis - 1))
        )
        made = call.target(cells.expand(n, 1, *before), *call.args[1:], **call.kwargs)
        lines = made.movedim(2 + axis, -1).reshape(n, -1, m)[:, 0].T.numpy()
        rows = [np.flatnonzero(line) for line in lines]
        weights = tuple(tuple(line[row].tolist()) for line, row in zip(lines, rows, strict=True))
        axes.append(ListedWindow(tuple(tuple(row.tolist()) for row in rows), weights))
    reader.rounded = True  # torch finds cells and coefficients in its own precision
    return reader.append(call, Resample(tuple(axes)), (reader.tensor(source),))


@rule("col2im")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    """Windows that overlap are added: each axis has the cells of its windows one after the other, of which every output adds up
    those that lie on it."""
    value, sizes = reader.value(call.args[0]), a["output_size"]
    layout, axes, counts = reader.layout(value), [], []
    names = ("kernel_size", "dilation", "padding", "stride")
    for size, *window in zip(sizes, *(per_axis(a[name], 2) for name in names), strict=True):
        kernel, dilation, padding, stride = window
        count = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        on = np.add.outer(stride * np.arange(count), dilation * np.arange(kernel)).ravel() - padding
        axes.append(ListedWindow(tuple(tuple(np.flatnonzero(on == j).tolist()) or (-1,) for j in range(size))))
        counts.append((kernel, count))
    (high, rows), (wide, columns) = counts
    split = layout.reshape(*layout.shape[:-2], -1, high, wide, rows, columns)
    cells = np.moveaxis(split, (-4, -3), (-3, -1)).reshape(*split.shape[:-4], rows * high, columns * wide)
    own = first_sample(cells, reader.batch, prod(reader.shapes[value.node])) if cells.ndim == 4 else None
    if own is None:
        raise Refusal(f"folds {layout.shape} with positions or channels in its first axis, that of the batch")
    return reader.append(call, Resample(tuple(axes)), (reader.arranged(value.node, own),))


def _resized(call: Any, mode: str, align: bool, before: int, after: int, scale: float | None) -> bool:
    """Does torch read the cells that a resize to this size reads, in the model's own type, given the factor?

    Torch finds a cell by multiplying with a rounded factor, another one than the sizes say where a factor is given.
    """
    import torch

    cells = torch.eye(before, dtype=call.meta["val"].dtype)[None]
    if mode == "linear":
        if align or scale is None:
            return True
        read = torch.ops.aten.upsample_linear1d.default(cells, [after], False, scale)[0]
        sized = torch.ops.aten.upsample_linear1d.default(cells, [after], False)[0]
        return bool(torch.equal(read, sized))
    read = torch.ops.aten.upsample_nearest1d.default(cells, [after], scale)[0]
    return bool(np.array_equal(read.float().numpy().T, ResizeWindow(after).matrix(before)))
