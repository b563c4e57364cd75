"""The rules of operations on single numbers: norms, activations, dropout, sums and copies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.registry import met, rule, statistics
from landscape.tracing.graph.layouts import inverse
from landscape.tracing.graph.reader import COPIES, Noise, Reader, Refusal, Value, operation, shape_of
from landscape.tracing.graph.values import Length, Scores, same_layout
from lattice import Activation, Add, Dropout, Norm


@rule("batch_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    of_batch = a["training"] or a["running_mean"] is None
    if of_batch and not reader.train:
        raise Refusal("normalises with the statistics of the batch itself (no running statistics): not yet")
    kept = ("weight", "bias") if of_batch and a["running_mean"] is None else ("weight", "bias", "running_mean", "running_var")
    names = {what: reader.parameter(a[what], what) for what in kept}
    # in training mode a norm that was frozen, set to evaluation mode, is a fixed factor
    op = Norm("batch", eps=a["eps"]) if of_batch else Norm("scale" if reader.train else "batch")
    numbers = statistics(eps=a["eps"], **names)
    value = reader.value(a["input"])
    if value.layout is None or of_batch:
        return reader.append(call, op, (reader.tensor(a["input"]),), **numbers)
    node, rows = reader.rows(value, (1,))  # tokens, which stand where the batch does
    return reader.placed(
        reader.append(call, op, (node,), **numbers), rows.layout((1,), shape_of(call)[1:2], reader.shapes[node][1:])
    )


@rule("layer_norm", "native_layer_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    shape = shape_of(a["input"])
    source, kind, groups = normalised(
        reader, reader.value(a["input"]), range(len(shape) - len(a["normalized_shape"]), len(shape))
    )
    names: dict[str, Any] = {}
    for what in ("weight", "bias"):
        if a[what] is not None:
            names |= met(reader, call, source, a[what], what)
    op = Norm(kind, groups, a["eps"])
    value = reader.placed(reader.append(call, op, (source.node,), **statistics(**names)), source.layout)
    return value if operation(call) == "layer_norm" else [value]


def normalised(reader: Reader, value: Value, axes: Iterable[int]) -> tuple[Value, str, int]:
    """A value whose node has what is normalised together, over these axes of the tensor, as channels or as all units.

    "layer": `groups` of the channels at each position; "group": all channels and positions.
    """
    chosen, channels = tuple(axes), reader.channel_axes(value)
    layout = reader.layout(value)
    if set(chosen) >= {axis for axis, n in enumerate(layout.shape) if n > 1 and (axis or reader.batch == 1)}:
        source = reader.whole(value)
        return source, "group" if prod(reader.shapes[source.node][1:]) > 1 else "layer", 1
    outer = tuple(axis for axis in channels if axis not in chosen)
    node, rows = reader.rows(value, (*outer, *chosen))
    widths = tuple(layout.shape[axis] for axis in (*outer, *chosen))
    source = Value(node, rows.layout((*outer, *chosen), widths, reader.shapes[node][1:]))
    plain = np.array_equal(reader.layout(Value(node)), reader.layout(source))
    return (Value(node) if plain else source), "layer", prod(layout.shape[axis] for axis in outer)


@rule("group_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    weights = _affine(reader, a)
    return reader.append(call, Norm("group", a["num_groups"], a["eps"]), (reader.tensor(a["input"]),), **weights)


@rule("instance_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if not a["use_input_stats"]:
        raise Refusal("instance norm with running statistics: not yet; use batch norm")
    weights = _affine(reader, a)
    return reader.append(call, Norm("instance", eps=a["eps"]), (reader.tensor(a["input"]),), **weights)


def _affine(reader: Reader, a: dict[str, Any]) -> dict[str, Any]:
    return statistics(**{what: reader.parameter(a[what], what) for what in ("weight", "bias")})


NAMED = ("relu", "relu6", "abs", "silu", "gelu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "selu", "mish", "log_sigmoid")
SELU = 1.0507009873554805  # torch calls elu with it
BOUNDS = {(0.0, 6.0): "relu6", (-1.0, 1.0): "hardtanh", (0.0, math.inf): "relu"}


@rule(*NAMED, "leaky_relu", "elu", "celu", "softplus")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    name, parameter = operation(call), None
    if name == "leaky_relu":
        parameter = float(a["negative_slope"])
    elif name in ("elu", "celu"):
        parameter = float(a["alpha"])
        if math.isclose(a.get("scale", 1), SELU):
            name, parameter = "selu", None
        elif a.get("scale", 1) != 1 or a.get("input_scale", 1) != 1:
            raise Refusal("has scales of its own; multiply before and after")
    elif name == "softplus" and (a["beta"], a["threshold"]) != (1, 20):
        raise Refusal(f"has beta {a['beta']} and threshold {a['threshold']}; only 1 and 20 have a rule")
    op = Activation(name.replace("log_sigmoid", "logsigmoid"), parameter)
    return reader.pointwise(call, op, a["self"])


@rule("hardtanh", "clamp", "clamp_min", "clamp_max", "clip")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if isinstance(reader.values.get(a["self"]), Length):
        return reader.values[a["self"]]  # the least length, which a random input is above
    given = [a.get(name) if a.get(name) is not None else a.get(f"{name}_val") for name in ("min", "max")]
    if any(hasattr(bound, "op") for bound in given):
        raise Refusal("clamps to bounds that are tensors; numbers have a rule")
    low, high = (float(b) if b is not None else end for b, end in zip(given, (-math.inf, math.inf), strict=True))
    if (low, high) not in BOUNDS:
        raise Refusal(f"clamps to ({given[0]}, {given[1]}): only ReLU, ReLU6 (0, 6) and Hardtanh (-1, 1) have a rule")
    return reader.pointwise(call, Activation(BOUNDS[low, high]), a["self"])


@rule("pow", "square")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a.get("exponent", 2) != 2:
        raise Refusal(f"to the power of {a['exponent']}: only squares have a rule")
    return reader.pointwise(call, Activation("square"), a["self"])


@rule("addcmul")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    """constant + value * constant * signal."""
    fixed = [one for one in (a["tensor1"], a["tensor2"]) if reader.is_fixed(one)]
    moving = [one for one in (a["tensor1"], a["tensor2"]) if not reader.is_fixed(one)]
    if len(fixed) != 1 or not reader.is_fixed(a["self"]) or shape_of(moving[0]) != shape_of(call):
        raise Refusal("adds a product of two signals: only a signal times a fixed tensor, plus a fixed tensor, has a rule")
    source, times = reader.whole(reader.value(moving[0])), float(a.get("value", 1))
    names = met(reader, call, source, fixed[0], "weight", None if times == 1 else (lambda value: times * value))
    names |= met(reader, call, source, a["self"], "bias")
    if any(name.endswith("_map") for name in names) and len({name.endswith("_map") for name in names}) > 1:
        raise Refusal("scales by channel and shifts by position, or the other way round, at once: do one after the other")
    op = reader.append(call, Norm("scale"), (source.node,), **statistics(**names))
    return reader.placed(op, source.layout)


@rule("erf")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    return reader.pointwise(call, Activation("erf"), a["self"])  # a part of GELU written out; `_finish` refuses it elsewhere


@rule("prelu")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    slopes = reader.tensors[str(reader.parameter(a["weight"], "slope"))]
    if slopes.is_meta or slopes.min() != slopes.max():
        raise Refusal("has slopes that differ from channel to channel; one slope has a rule")
    return reader.pointwise(call, Activation("leaky_relu", slopes.flatten()[0].item()), a["self"])


@rule("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    name, p, source = operation(call), a["p"], call.args[0]
    if isinstance(reader.values.get(source), Scores):
        if a["train"] and p:
            raise Refusal("drops shares of attention in training mode: not yet")
        return reader.values[source]
    if not a["train"] or p == 0:
        return reader.pointwise(call, Dropout(0.0 if reader.train else p), source)  # it drops nothing
    if not reader.train:
        raise Refusal("drops units in evaluation mode; call it with training=self.training")
    if "alpha" in name:
        raise Refusal("an alpha dropout in training mode replaces units by a number: not yet")
    if name == "feature_dropout" and reader.value(source).layout is not None:
        raise Refusal("drops along an axis of a tensor whose axes were permuted")
    by_channel = name == "feature_dropout" and len(shape_of(source)) > 2
    value = reader.pointwise(call, Dropout(p, "channel" if by_channel else "unit"), source)
    reader.masks[reader.nodes[value.node].name] = (call, lambda drawn: drawn)
    return value


@rule("add", "sub", "subtract", "rsub")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    """a + alpha b, b - alpha a for rsub; with a number or a fixed tensor, a shift."""
    name, first, second, alpha = operation(call), a["self"], a["other"], float(a.get("alpha", 1))
    if name == "rsub":
        name, first, second = "add", second, first
        alpha = -alpha
    alpha = -alpha if name in ("sub", "subtract") else alpha
    if isinstance(reader.values.get(first), Noise) and not hasattr(second, "op"):
        noise = reader.values[first]
        return replace(noise, shift=noise.shift + alpha * second)
    for fixed, moving, number, factor in ((second, first, alpha, 1.0), (first, second, 1.0, alpha)):
        if not hasattr(fixed, "op"):
            if not math.isfinite(number * float(fixed)):
                raise Refusal(f"adds {number * float(fixed)}")
            return reader.pointwise(call, Norm("scale"), moving, **statistics(number=factor, shift=number * float(fixed)))
        if reader.is_fixed(fixed):
            made = None if number == 1 else (lambda value, number=number: number * value)
            scores = reader.values.get(moving)
            if isinstance(scores, Scores):
                if scores.soft:
                    raise Refusal("adds a constant to shares: not yet")
                return _biased(reader, call, scores, fixed, number, factor)
            source = reader.whole(reader.value(moving))
            if shape_of(call) != shape_of(moving):
                source = broadcast(reader, source, shape_of(call))
            role = met(reader, call, source, fixed, "bias", made)
            op = reader.append(call, Norm("scale"), (source.node,), **statistics(number=factor, **role))
            return reader.placed(op, source.layout)
    for one, other, factor, times in ((first, second, 1.0, alpha), (second, first, alpha, 1.0)):
        if isinstance(reader.values.get(one), Scores):
            given, scores = reader.value(other), reader.values[one].times(factor)
            if scores.soft or shape_of(call) != scores.layout.shape:
                raise Refusal("adds a signal to shares, or to logits that it broadcasts: not yet")
            return scores.plus(given.node, np.broadcast_to(reader.layout(given), shape_of(call)), times)
    left, right = reader.value(first), reader.value(second)
    if alpha != 1:
        right = reader.pointwise(call, Norm("scale"), second, label="scale", **statistics(number=alpha))
    return total(reader, call, [left, right])


def _biased(reader: Reader, call: Any, scores: Scores, fixed: Any, number: float, factor: float) -> Scores:
    """Logits times a factor plus a constant: position biases, masks."""
    if shape_of(call) != scores.layout.shape:
        raise Refusal(f"broadcasts logits {scores.layout.shape} against {shape_of(fixed)}")
    flat = scores.layout.ravel().tolist()

    def made(value: Any) -> Any:
        full = value.new_zeros(len(flat))
        full[flat] = number * value.expand(scores.layout.shape).flatten()
        return full

    scaled = scores.times(factor)
    return replace(scaled, constants=(*scaled.constants, (call, fixed, made)))


def broadcast(reader: Reader, value: Value, shape: tuple[int, ...]) -> Value:
    """A value repeated to a shape, as a node of its own."""
    return reader.whole(Value(value.node, np.broadcast_to(reader.layout(value), shape)))


def _spread(reader: Reader, values: list[Value], shape: tuple[int, ...]) -> Value:
    """The first of several values that are broadcast to a shape, in a node with the channels and positions of all of them.

    Axes along which the position changes in one of them are positions, all others are channels.
    """
    full = [np.broadcast_to(reader.layout(value), shape) for value in values]
    units = [prod(reader.shapes[value.node]) for value in values]
    places = [layout // n * n + layout % n % max(prod(reader.shapes[value.node][1:]), 1)
              for layout, n, value in zip(full, units, values, strict=True)]  # fmt: skip
    moving = {axis for place in places for axis in range(len(shape)) if (place != place.take([0], axis)).any()}
    axes = tuple(axis for axis in range(len(shape)) if axis not in moving)
    if not axes or not moving:
        return broadcast(reader, values[0], shape)
    node, rows = reader.rows(Value(values[0].node, full[0]), axes)
    return Value(node, rows.layout(axes, tuple(shape[axis] for axis in axes), reader.shapes[node][1:]))


def total(reader: Reader, call: Any, values: list[Value], shape: tuple[int, ...] | None = None) -> Value:
    """The sum of values, each broadcast to one shape, that of the call, in the places of the first that has that shape."""
    shape = shape_of(call) if shape is None else shape
    shapes = [(reader.batch, *reader.shapes[one.node]) if one.layout is None else one.layout.shape for one in values]
    full = [place for place, own in enumerate(shapes) if own == shape]

    def has_all_units(value: Value) -> bool:
        return value.layout is None or inverse(value.layout, reader.batch * prod(reader.shapes[value.node])) is not None

    place = next((place for place in full if has_all_units(values[place])), (full or [0])[0])
    if len(reader.shapes[values[place].node]) == 1:  # a place that is none, beside one of several: one axis for both
        place = next((other for other in full if len(reader.shapes[values[other].node]) > 1), place)
    first = reader.whole(values[place]) if full else _spread(reader, values, shape)
    nodes = []
    for other, value in enumerate(values):
        alike = other == place or (
            reader.shapes[value.node] == reader.shapes[first.node] and same_layout(value.layout, first.layout)
        )
        nodes.append(first.node if other == place else value.node if alike else
                     reader.arranged(value.node, reader.like(first, value, shape)))  # fmt: skip
    return reader.placed(reader.append(call, Add(), tuple(nodes)), first.layout)


@rule("neg", "negative")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    return reader.pointwise(call, Norm("scale"), a["self"], **statistics(number=-1.0))


@rule(*(name for name in COPIES if name != "detach"), "copy")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    source = a["src"] if operation(call) == "copy" else call.args[0]
    if not call.meta["val"].dtype.is_floating_point:
        raise Refusal("never: a cast to whole numbers has the gradient zero")
    if operation(call) == "copy" and shape_of(source) != shape_of(call):
        raise Refusal(f"broadcasts {shape_of(source)} to {shape_of(call)}: not yet")
    reader.rounded = reader.rounded or operation(call) == "copy" or call.meta["val"].dtype != source.meta["val"].dtype
    value = reader.values.get(source)
    return value if isinstance(value, Noise | Scores) else reader.value(source)
