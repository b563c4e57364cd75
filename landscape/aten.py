"""The rules that turn ATen operations into lattice ops, one operation each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from landscape.reading import Reader, Refusal, Rule, Value, operation, shape_of
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Concat,
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
    Slice,
    Upsample,
)

__all__ = ["REASONS", "RULES"]

RULES: dict[str, Rule] = {}
_DATA = "never: what it computes depends on the data; the theory counts fixed paths"
_VARIANCE = "not yet: E[phi'(z)^2] depends on the variance of z; relu, leaky_relu and abs have a rule"
_COMPUTED = "replace: computes a weight from other tensors; remove the parametrisation, or fold it into the weight"
REASONS = {
    **dict.fromkeys(("scaled_dot_product_attention", "softmax", "_softmax", "topk", "sort", "argmax", "grid_sampler"), _DATA),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), "never: a recurrent layer uses its weights again at every step"),
    "detach": "never: it cuts the gradient",
    **dict.fromkeys(("_weight_norm", "linalg_vector_norm", "linalg_qr", "matrix_exp"), _COMPUTED),
    **dict.fromkeys(("gelu", "silu", "elu", "selu", "mish", "softplus", "tanh", "sigmoid", "hardtanh", "relu6"), _VARIANCE),
    **dict.fromkeys(("hardswish", "hardsigmoid", "prelu", "log_softmax"), _VARIANCE),
    **dict.fromkeys(("layer_norm", "group_norm", "native_layer_norm"), "not yet: divides by the variance of the signal"),
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
    op = Conv(channels, tuple(kernel), _list(a["stride"], axes), padding, _list(a["dilation"], axes), a["groups"])
    if axes == 1 and not isinstance(padding, str):
        op = replace(op, padding=padding[0])
    return reader.append(call, op, (reader.tensor(a["input"]),), weight=weight, bias=bias)


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
    if len(shape_of(call.args[0])) != 2:
        raise Refusal("a linear layer over the last axis of an image is not a layer over channels; use a 1x1 convolution")
    weight, bias = reader.parameter(a["weight"], "weight"), reader.parameter(a["bias"], "bias")
    return reader.append(call, Dense(shape_of(a["weight"])[0]), (reader.tensor(a["input"]),), weight=weight, bias=bias)


@_rule("batch_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a["training"] or a["running_mean"] is None:
        raise Refusal("normalises with the statistics of the batch itself (no running statistics): not yet")
    names = {what: reader.parameter(a[what], what) for what in ("weight", "bias", "running_mean", "running_var")}
    return reader.append(call, Norm("batch"), (reader.tensor(a["input"]),), eps=a["eps"], **names)


@_rule("relu", "leaky_relu", "abs")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    op = Activation(operation(call), float(a["negative_slope"]) if "negative_slope" in a else None)
    return reader.append(call, op, (reader.tensor(a["self"]),))


@_rule("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a["train"] and a["p"] > 0:
        raise Refusal("drops units in evaluation mode; call it with training=self.training")
    return reader.append(call, Dropout(a["p"]), (reader.tensor(a["input"]),))


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


@_rule("flatten", "view", "reshape", "_unsafe_view", "squeeze")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source = reader.values.get(call.args[0])
    before, after = shape_of(call.args[0]), shape_of(call)
    node = reader.tensor(call.args[0])
    assert isinstance(source, Value)
    if before == after:
        return source
    if len(after) == 2 and after[0] == 1 and len(before) > 2:
        return replace(reader.append(call, Flatten(), (node,)), storage=source.storage)
    raise Refusal(f"reshapes {before} to {after}; only flattening everything but the batch has a rule")


@_rule("contiguous", "clone", "alias", "to", "_to_copy", "lift_fresh_copy")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    value = reader.values.get(call.args[0])
    node = reader.tensor(call.args[0])
    assert isinstance(value, Value)
    return Value(node) if operation(call) in ("clone", "_to_copy") else value


@_rule("add")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if not hasattr(a["other"], "op"):
        raise Refusal("adds a number: not yet; leave it to a bias")
    if a.get("alpha", 1) != 1:
        raise Refusal(f"adds {a['alpha']} times its second argument: not yet")
    left, right = reader.tensor(a["self"]), reader.tensor(a["other"])
    if shape_of(a["self"]) != shape_of(a["other"]):
        raise Refusal(f"broadcasts {shape_of(a['self'])} against {shape_of(a['other'])}: not yet")
    return reader.append(call, Add(), (left, right))


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


@_rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    pairs = list(zip(shape_of(call.args[0])[2:], shape_of(call)[2:], strict=True))
    if any(after % before for before, after in pairs):
        raise Refusal(f"resizes {[b for b, _ in pairs]} to {[b for _, b in pairs]}: only whole factors have a rule")
    scales = tuple(after // before for before, after in pairs)
    return reader.append(call, Upsample(scales), (reader.tensor(call.args[0]),))
