"""The rules that turn ATen operations into lattice ops, one operation each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.reading import Reader, Refusal, Reshaped, Rule, Value, operation, shape_of
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Multiply,
    Norm,
    Op,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    Upsample,
)

__all__ = ["REASONS", "RULES"]

RULES: dict[str, Rule] = {}
_DATA = "never: what it computes depends on the data; the theory counts fixed paths"
_COMPUTED = "replace: computes a weight from other tensors; remove the parametrisation, or fold it into the weight"
REASONS = {
    **dict.fromkeys(("scaled_dot_product_attention", "softmax", "_softmax", "topk", "sort", "argmax", "grid_sampler"), _DATA),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "never: a recurrent layer uses its weights again at every step"),
    "detach": "never: it cuts the gradient",
    **dict.fromkeys(("_weight_norm", "linalg_vector_norm", "linalg_qr", "matrix_exp"), _COMPUTED),
    "log_softmax": _DATA,
    "matmul": _DATA,
    "bmm": _DATA,
}


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def _list(value: Any, axes: int) -> tuple[int, ...]:
    """An int, a list with one entry, or one entry per axis: one entry per axis."""
    entries = tuple(value) if isinstance(value, list | tuple) else (value,)
    return entries * axes if len(entries) == 1 else entries


def _axes(call: Any, argument: str = "input") -> int:
    source = call.args[0]
    if len(shape_of(source)) < 3:
        raise Refusal(f"reads {argument} of shape {shape_of(source)}: not (1, channels, *spatial)")
    return len(shape_of(source)) - 2


@_rule("conv1d", "conv2d", "conv3d", "convolution")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    axes = _axes(call)
    weight, bias = reader.parameter(a["weight"], "weight"), reader.parameter(a["bias"], "bias")
    if a.get("transposed"):
        return _transposed(reader, call, a)
    channels, _, *kernel = shape_of(a["weight"])
    pads = a["padding"]
    padding: Any = pads if isinstance(pads, str) else _list(pads, axes)
    if isinstance(pads, str) and pads == "same":  # torch puts the odd cell on the high side at stride 1, as we do
        padding = "same"
    if weight in reader.fixed:
        return reader.append(call, _blur(reader, weight, a, axes, padding), (reader.tensor(a["input"]),))
    op = Conv(channels, tuple(kernel), _list(a["stride"], axes), padding, _list(a["dilation"], axes), a["groups"])
    if axes == 1 and not isinstance(padding, str):
        op = replace(op, padding=padding[0])
    return reader.append(call, op, (reader.tensor(a["input"]),), weight=weight, bias=bias)


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
    alike = product.shape == filters.shape[1:] and np.allclose(filters, product, rtol=1e-5, atol=1e-7)
    if not alike or not (taps > 0).all() or abs(taps.sum() - 1) > 1e-5 or set(_list(a["dilation"], axes)) != {1}:
        raise refusal
    padding = padding[0] if axes == 1 and not isinstance(padding, str) else padding
    return Blur(tuple(taps.tolist()), _list(a["stride"], axes), padding)


@_rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    axes = _axes(call)
    weight, bias = reader.parameter(a["weight"], "weight"), reader.parameter(a["bias"], "bias")
    _, per_group, *kernel = shape_of(a["weight"])
    op = ConvTranspose(
        per_group * a["groups"],
        tuple(kernel),
        _list(a["stride"], axes),
        _list(a["padding"], axes) if axes > 1 else _list(a["padding"], 1)[0],
        _list(a["output_padding"], axes),
        _list(a["dilation"], axes),
        a["groups"],
    )
    return reader.append(call, op, (reader.tensor(a["input"]),), weight=weight, bias=bias)


@_rule("linear")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source = reader.value(a["input"])
    units, _ = shape_of(a["weight"])
    weights = {"weight": reader.parameter(a["weight"], "weight"), "bias": reader.parameter(a["bias"], "bias")}
    if source.order is None and len(shape_of(call)) == 2:
        return reader.append(call, Dense(units), (source.node,), **weights)
    if source.order is None or source.order[-1] != 1:
        raise Refusal("a linear layer over positions: not a convolution; over the channels it is one of kernel 1")
    return reader.pointwise(call, Conv(units, 1), a["input"], **weights)


@_rule("batch_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a["training"] or a["running_mean"] is None:
        raise Refusal("normalises with the statistics of the batch itself (no running statistics): not yet")
    names = {what: reader.parameter(a[what], what) for what in ("weight", "bias", "running_mean", "running_var")}
    return reader.append(call, Norm("batch"), (reader.tensor(a["input"]),), eps=a["eps"], **names)


@_rule("layer_norm", "native_layer_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    source, shape = reader.value(a["input"]), shape_of(a["input"])
    order = source.order or tuple(range(len(shape)))
    axes = set(order[len(shape) - len(a["normalized_shape"]) :])
    if axes == {1}:
        op = Norm("layer", eps=a["eps"])
    elif axes == set(range(1, len(shape))):
        op = Norm("group", 1, a["eps"])
    else:
        raise Refusal(f"normalises over axes {sorted(axes)}; over the channels, or over channels and positions, has a rule")
    weights = _affine(reader.parameter(a["weight"], "weight"), reader.parameter(a["bias"], "bias"))
    value = reader.pointwise(call, op, a["input"], **weights)
    return value if operation(call) == "layer_norm" else [value]


@_rule("group_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    weights = _affine(reader.parameter(a["weight"], "weight"), reader.parameter(a["bias"], "bias"))
    return reader.append(call, Norm("group", a["num_groups"], a["eps"]), (reader.tensor(a["input"]),), **weights)


@_rule("instance_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if not a["use_input_stats"]:
        raise Refusal("instance norm with running statistics: not yet; use batch norm")
    weights = _affine(reader.parameter(a["weight"], "weight"), reader.parameter(a["bias"], "bias"))
    return reader.append(call, Norm("instance", eps=a["eps"]), (reader.tensor(a["input"]),), **weights)


def _affine(weight: str | None = None, bias: str | None = None, number: float = 1.0, shift: float = 0.0) -> dict[str, Any]:
    """What weights.py asks of a norm without running statistics: a learned scale and shift, and fixed ones."""
    return {
        "weight": weight, "bias": bias, "running_mean": None, "running_var": None,
        "eps": 0.0, "number": number, "shift": shift,
    }  # fmt: skip


NAMED = ("relu", "relu6", "abs", "silu", "gelu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "selu", "mish", "log_sigmoid")


@_rule(*NAMED, "leaky_relu", "elu", "celu", "softplus", "hardtanh")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    name, parameter = operation(call), None
    if name == "hardtanh":
        low, high = float(a["min_val"]), float(a["max_val"])
        if (low, high) not in ((0.0, 6.0), (-1.0, 1.0)):
            raise Refusal(f"clamps to ({low}, {high}): only ReLU6 (0, 6) and Hardtanh (-1, 1) have a rule")
        name = "relu6" if low == 0 else "hardtanh"
    elif name == "leaky_relu":
        parameter = float(a["negative_slope"])
    elif name in ("elu", "celu"):
        parameter = float(a["alpha"])
        if a.get("scale", 1) != 1:
            name, parameter = "selu", None
    op = Activation(name.replace("log_sigmoid", "logsigmoid"), parameter)
    return reader.pointwise(call, op, a["self"])


@_rule("clamp", "clamp_min")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if (a["min"], a.get("max")) not in ((0, None), (0, 6)):
        raise Refusal(f"clamps to ({a['min']}, {a.get('max')}): only (0, ...) and (0, 6) have a rule")
    return reader.pointwise(call, Activation("relu6" if a.get("max") else "relu"), a["self"])


@_rule("prelu")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    slopes = reader.tensors[str(reader.parameter(a["weight"], "slope"))]
    if slopes.is_meta or slopes.min() != slopes.max():
        raise Refusal("has slopes that differ from channel to channel; one slope has a rule")
    return reader.pointwise(call, Activation("leaky_relu", slopes.flatten()[0].item()), a["self"])


@_rule("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a["train"] and a["p"] > 0:
        raise Refusal("drops units in evaluation mode; call it with training=self.training")
    return reader.pointwise(call, Dropout(a["p"]), call.args[0])


@_rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    axes, kind = _axes(call), operation(call)[:3]
    if a.get("divisor_override"):
        raise Refusal("divisor_override is not supported; leave it out and scale the next layer")
    kernel = _list(a["kernel_size"], axes)
    pads = _list(a["padding"], axes)
    op = Pool(
        kind,
        kernel,
        _list(a["stride"], axes) if a["stride"] else kernel,
        pads if axes > 1 else pads[0],
        _list(a.get("dilation", 1), axes),
        bool(a["ceil_mode"]),
        bool(a.get("count_include_pad", True)),
    )
    return reader.append(call, op, (reader.tensor(a["self"]),))


@_rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    sizes = shape_of(call)[2:]
    op: Op = GlobalPool("avg") if set(sizes) == {1} else AdaptivePool("avg", sizes)
    return reader.append(call, op, (reader.tensor(a["self"]),))


@_rule("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> list[Value]:
    sizes = tuple(int(n) for n in call.meta["val"][0].shape)[2:]
    op: Op = GlobalPool("max") if set(sizes) == {1} else AdaptivePool("max", sizes)
    return [reader.append(call, op, (reader.tensor(a["self"]),))]


@_rule("max_pool2d_with_indices", "max_pool3d_with_indices")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> list[Value]:
    return [RULES["max_pool2d"](reader, call, a)]


@_rule("<built-in function getitem>")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    parts, index = reader.values[call.args[0]], call.args[1]
    if not isinstance(parts, list) or not 0 <= index < len(parts):
        raise Refusal("takes a part of an operation's result that has no rule (the indices of a max-pool, for example)")
    part: Value = parts[index]
    return part


@_rule("mean")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    shape = shape_of(call.args[0])
    dims = sorted(d % len(shape) for d in a.get("dim") or range(len(shape)))
    if dims != list(range(2, len(shape))) or not dims:
        raise Refusal(f"a mean over axes {dims}; only one over all positions is a global pool")
    value = reader.append(call, GlobalPool("avg"), (reader.tensor(a["self"]),))
    return value if a.get("keepdim") else reader.append(call, Flatten(), (value.node,))


@_rule("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    source = reader.values.get(call.args[0])
    before, after = shape_of(call.args[0]), shape_of(call)
    if not isinstance(source, Value):
        return Reshaped(str(reader.parameter(call.args[0], "tensor that is reshaped")))
    if source.groups:
        return _joined(reader, call, source, after)
    if before == after:
        return source
    if len(after) == len(before) + 1 and after[0] == 1 and before[2:] == after[3:] and source.order is None:
        return replace(source, groups=after[1])  # channels in two axes: half of a channel shuffle
    node = reader.tensor(call.args[0])
    if len(after) == 2 and after[0] == 1 and len(before) > 2:
        return replace(reader.append(call, Flatten(), (node,)), storage=source.storage)
    if len(before) == 2 and before == after[:2] and set(after[2:]) == {1}:
        raise Refusal("gives flat features positions again; keep them (global pooling with keepdim) for a gate")
    raise Refusal(f"reshapes {before} to {after}; flattening everything but the batch, and channel shuffles, have a rule")


def _joined(reader: Reader, call: Any, source: Value, after: tuple[int, ...]) -> Value:
    """The second reshaping of a channel shuffle."""
    if after[1:] != reader.shapes[source.node]:
        raise Refusal(f"reshapes channels in two axes to {after}; only a channel shuffle has a rule")
    if not source.swapped:
        return replace(source, groups=0)
    return reader.append(call, ChannelShuffle(source.groups), (source.node,))


@_rule("channel_shuffle", "native_channel_shuffle")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    return reader.append(call, ChannelShuffle(a["groups"]), (reader.tensor(call.args[0]),))


@_rule("permute", "transpose", "movedim")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source = reader.values.get(call.args[0])
    if not isinstance(source, Value):
        raise Refusal("permutes something that is not an activation of the network")
    axes = list(range(len(shape_of(call))))
    if "dims" in a:
        permutation = [axis % len(axes) for axis in a["dims"]]
    elif "dim0" in a:
        first, second = a["dim0"] % len(axes), a["dim1"] % len(axes)
        permutation = list(axes)
        permutation[first], permutation[second] = second, first
    else:
        raise Refusal("moves axes: use permute")
    if source.groups:
        if permutation != [0, 2, 1, *axes[3:]]:
            raise Refusal("permutes channels that were split in two axes; only a channel shuffle has a rule")
        return replace(source, swapped=not source.swapped)
    order = tuple((source.order or tuple(axes))[axis] for axis in permutation)
    return replace(source, order=None if order == tuple(axes) else order)


@_rule("contiguous", "clone", "alias", "to", "_to_copy", "lift_fresh_copy")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    value = reader.values.get(call.args[0])
    if not isinstance(value, Value):
        raise Refusal("copies something that is not an activation of the network")
    return replace(value, storage=object()) if operation(call) in ("clone", "_to_copy") else value


@_rule("add", "sub")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    alpha = a.get("alpha", 1) * (1 if operation(call) == "add" else -1)
    numbers = [x for x in (a["self"], a["other"]) if not hasattr(x, "op")]
    if numbers:
        return reader.pointwise(call, Norm("scale"), a["self"], **_affine(shift=float(numbers[0])))
    if abs(alpha) != 1:
        raise Refusal(f"adds {alpha} times its second argument: not yet; multiply first")
    if not reader.is_activation(a["other"]):
        return reader.pointwise(call, Norm("scale"), a["self"], **_affine(bias=reader.parameter(a["other"], "second argument")))
    left, right = reader.value(a["self"]), reader.value(a["other"])
    if shape_of(a["self"]) != shape_of(a["other"]) or left.order != right.order:
        raise Refusal(f"broadcasts {shape_of(a['self'])} against {shape_of(a['other'])}: not yet")
    return replace(reader.append(call, Add(), (left.node, right.node)), order=left.order)


@_rule("neg")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    return reader.pointwise(call, Norm("scale"), a["self"], **_affine(number=-1.0))


@_rule("mul", "div")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    """A number or a parameter scales; a gate multiplies."""
    first, second = a["self"], a["other"]
    if operation(call) == "div" and hasattr(second, "op"):
        raise Refusal("never: divides by something that is computed; only a number has a rule")
    if not hasattr(second, "op"):
        number = float(second) if operation(call) == "mul" else 1 / float(second)
        return reader.pointwise(call, Norm("scale"), first, **_affine(number=number))
    if not reader.is_activation(first):
        first, second = second, first
    if not reader.is_activation(second):
        return _scaled(reader, call, first, second)
    if first is second:
        raise Refusal("never: a square depends on the data; the theory counts fixed paths")
    if _is_gate(reader, first) and not _is_gate(reader, second):
        first, second = second, first
    trunk, gate = reader.value(first), reader.value(second)
    if trunk.order != gate.order:
        raise Refusal("multiplies tensors whose axes stand in different orders")
    return replace(reader.append(call, Multiply(), (trunk.node, gate.node)), order=trunk.order)


def _scaled(reader: Reader, call: Any, source: Any, parameter: Any) -> Value:
    """A product with a parameter: one number, or one per channel (layer scale)."""
    axes, shape = shape_of(source), shape_of(parameter)
    order = reader.value(source).order or tuple(range(len(axes)))
    along = [axis for axis, n in enumerate(reversed(shape), start=1) if n > 1]  # counted from the last, as torch matches them
    if along not in ([], [len(axes) - order.index(1)]) or shape_of(call) != axes:
        raise Refusal(f"multiplies by a parameter of shape {shape}: one number, or one per channel, has a rule")
    return reader.pointwise(call, Norm("scale"), source, **_affine(weight=reader.parameter(parameter, "factor")))


def _is_gate(reader: Reader, call: Any) -> bool:
    """Is it one number per channel, or the output of a sigmoid?"""
    node = reader.value(call).node
    op = reader.nodes[node].op
    return set(reader.shapes[node][1:]) == {1} or (isinstance(op, Activation) and op.name in ("sigmoid", "hardsigmoid"))


@_rule("cat", "concat", "concatenate")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a["dim"] % len(shape_of(call)) != 1:
        raise Refusal(f"concatenates along axis {a['dim']}; only the channel axis, 1, has a rule")
    parts = tuple(reader.tensor(part) for part in a["tensors"])
    return reader.append(call, Concat(), parts) if len(parts) > 1 else Value(parts[0])


@_rule("chunk", "split", "split_with_sizes", "tensor_split")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> list[Value]:
    source = reader.values.get(call.args[0])
    node = reader.tensor(call.args[0])
    assert isinstance(source, Value)
    if a["dim"] % len(shape_of(call.args[0])) != 1:
        raise Refusal(f"splits axis {a['dim']}; only the channel axis, 1, has a rule")
    parts, start = [], 0
    for part in call.meta["val"]:
        stop = start + int(part.shape[1])
        parts.append(replace(reader.append(call, Slice(start, stop), (node,)), storage=source.storage))
        start = stop
    return parts


@_rule("slice")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source = reader.values.get(call.args[0])
    node = reader.tensor(call.args[0])
    assert isinstance(source, Value)
    before, after = shape_of(call.args[0]), shape_of(call)
    if before == after:
        return source
    if a["dim"] % len(before) != 1 or a["step"] != 1:
        raise Refusal(f"takes a part of axis {a['dim']} in steps of {a['step']}; only channels in steps of 1 have a rule")
    start = (a["start"] or 0) % before[1]
    return replace(reader.append(call, Slice(start, start + after[1]), (node,)), storage=source.storage)


@_rule("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
@_rule("replication_pad1d", "replication_pad2d", "replication_pad3d", "_pad_circular")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    axes, name = _axes(call), operation(call)
    named = {"constant_pad_nd": "constant", "_pad_circular": "circular"}
    copies = "reflect" if name.startswith("reflection") else "replicate"
    mode = a["mode"] if "mode" in a else named.get(name, copies)
    if mode == "constant" and a.get("value"):
        raise Refusal(f"pads with the constant {a['value']}: not yet")
    flat = list(a["pad"] if "pad" in a else a["padding"])  # last axis first, (lo, hi) each
    pairs = [tuple(flat[i : i + 2]) for i in range(0, len(flat), 2)]
    if len(pairs) > axes or min(flat) < 0:
        raise Refusal(f"pads by {flat}: only positions, and by no negative amount, have a rule")
    pairs += [(0, 0)] * (axes - len(pairs))
    padding = tuple(reversed(pairs))
    return reader.append(call, Pad(padding, "zeros" if mode == "constant" else mode), (reader.tensor(call.args[0]),))


@_rule("pixel_shuffle")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    return reader.append(call, PixelShuffle(a["upscale_factor"]), (reader.tensor(a["self"]),))


LINEAR = ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d")


@_rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", *LINEAR)
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source, *_ = call.args
    before, after = shape_of(source)[2:], shape_of(call)[2:]
    scales = a.get("scale_factors") or [s for s in (a.get("scales"), a.get("scales_h"), a.get("scales_w")) if s]
    align = bool(a.get("align_corners", False))
    if not align and any(n * scale != m for n, m, scale in zip(before, after, scales, strict=False)):
        raise Refusal(f"resizes {before} to {after} by the factors {scales}, which do not fit; give the size itself")
    mode = "linear" if operation(call) in LINEAR else "nearest"
    return reader.append(call, Upsample(size=after, mode=mode, align_corners=align), (reader.tensor(source),))
