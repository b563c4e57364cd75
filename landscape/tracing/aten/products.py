"""The rules of products and quotients: factors that are known, masks, gates, and activations that are written out.

A product of two functions of one signal is itself a function of it, not a product of two signals: SiLU, hard-swish, Mish and
GELU are known in the forms that people write, others are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.pointwise import broadcast
from landscape.tracing.aten.registry import met, rule, statistics
from landscape.tracing.graph.layouts import inverse
from landscape.tracing.graph.reader import Noise, Reader, Refusal, Value, shape_of
from landscape.tracing.graph.values import QueriesAndKeys, Scores, Shared, same_layout
from lattice import Activation, Dropout, Multiply, Norm

__all__ = ["scaled", "scaled_by", "times"]

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-12  # relative, of constants that are written in double precision


@rule("mul", "multiply")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    first, second = a["self"], a["other"]
    if not hasattr(first, "op"):
        first, second = second, first
    if not hasattr(second, "op"):
        return times(reader, call, first, float(second))
    if isinstance(reader.values.get(first), Noise) or reader.is_fixed(first):
        first, second = second, first
    noise = reader.values.get(second)
    if isinstance(noise, Noise):
        return _masked(reader, call, first, noise, shape_of(second))
    if reader.is_fixed(second):
        return scaled(reader, call, first, second)
    for one, other in ((first, second), (second, first)):
        scores = reader.values.get(one)
        if isinstance(scores, Scores):
            layouts = (scores.layout, reader.layout(reader.value(other)))
            shares, parts = (np.broadcast_to(layout, shape_of(call)) for layout in layouts)
            return Shared(scores.moved(shares), Value(reader.value(other).node, parts))
    return _product(reader, call, first, second)


def scaled(reader: Reader, call: Any, first: Any, second: Any, made: Callable[[Any], Any] | None = None) -> Any:
    """A signal times a fixed tensor; of one number, also logits."""
    scores = reader.values.get(first)
    if isinstance(scores, Scores):
        numbers = reader.known(call, second)
        if numbers.numel() == 1:
            return scores.times(float((made or float)(numbers.flatten()[0])))
        return _scaled_queries(reader, call, scores, second, made or (lambda value: value))
    source = reader.whole(reader.value(first))
    if shape_of(call) != shape_of(first):
        source = broadcast(reader, source, shape_of(call))
    role = met(reader, call, source, second, "weight", made)
    return reader.placed(reader.append(call, Norm("scale"), (source.node,), **statistics(**role)), source.layout)


def times(reader: Reader, call: Any, source: Any, number: float) -> Any:
    if not math.isfinite(number):
        raise Refusal(f"multiplies by {number}")
    noise = reader.values.get(source)
    if isinstance(noise, Noise):
        return replace(noise, factor=noise.factor * number, shift=noise.shift * number)
    if isinstance(noise, Scores):
        return noise.times(number)
    value = reader.value(source)
    factor, node = _stripped(reader, value.node)  # factors of factors are one
    total = factor * number
    if node == value.node or not 0 < total * total < math.inf:
        return reader.pointwise(call, Norm("scale"), source, **statistics(number=number))
    below = replace(value, node=node)
    return below if math.isclose(total, 1, rel_tol=TOLERANCE) else _scale(reader, call, below, total, "")


def _masked(reader: Reader, call: Any, source: Any, noise: Noise, shape: tuple[int, ...]) -> Value:
    """A signal times a mask: a dropout, and the factor that is left."""
    value, whole = reader.value(source), shape_of(call)
    if noise.kept is None or noise.shift or value.layout is not None or whole != shape_of(source):
        raise Refusal("multiplies random numbers; a mask of zeros and ones that fits the signal has a rule")
    if not reader.train:
        raise Refusal("drops units in evaluation mode; multiply by a mask in training mode only")
    if any(noise.draw is draw for draw, _ in reader.masks.values()):
        raise Refusal("multiplies by a mask that another signal was multiplied by; draw one for each")
    shape = (1,) * (len(whole) - len(shape)) + shape
    cells = {"sample": shape[1:] == (1,) * (len(whole) - 1), "unit": shape == whole}
    cells["channel"] = shape[:2] == whole[:2] and set(shape[2:]) <= {1}
    shared = next((name for name in ("unit", "channel", "sample") if cells[name]), None)
    if shared is None:
        raise Refusal(f"multiplies {whole} by a mask of shape {shape}: for units, channels or samples there is a rule")
    value = reader.pointwise(call, Dropout(1 - noise.kept, shared), source)
    reader.masks[reader.nodes[value.node].name] = (noise.draw, noise.mask)
    left = noise.factor * noise.kept
    if math.isclose(left, 1, rel_tol=TOLERANCE):
        return value
    return _scale(reader, call, value, left)


def _scale(reader: Reader, call: Any, value: Value, number: float, label: str = "scale") -> Value:
    """A number times a value that no call of the graph stands for."""
    value = reader.whole(value)
    return reader.placed(reader.append(call, Norm("scale"), (value.node,), label, **statistics(number=number)), value.layout)


def _product(reader: Reader, call: Any, first: Any, second: Any) -> Value:
    one, two = reader.value(first), reader.value(second)
    if reader.signals[one.node] == reader.signals[two.node] and same_layout(one.layout, two.layout):
        if one.node == two.node:
            return _activation(reader, call, "square", one.node, 1.0, one.layout)
        found = _written_out(reader, one.node, two.node) or _written_out(reader, two.node, one.node)
        if found is None:
            raise Refusal(
                "never: a product of two functions of one signal, such as a square, depends on the data; SiLU, hard-swish, "
                "Mish and GELU are known as they are written out, others as torch's own functions"
            )
        reader.rounded = True  # torch's hard-sigmoid takes its sixth in single precision
        return _activation(reader, call, *found, one.layout)
    return _two_signals(reader, call, first, second)


def _scaled_queries(reader: Reader, call: Any, scores: Scores, argument: Any, made: Callable[[Any], Any]) -> Scores:
    """Logits times a number for each head: the queries times it."""
    import torch

    if scores.constants or scores.soft or scores.product is None or scores.given or shape_of(call) != scores.layout.shape:
        raise Refusal("scales logits after something was added, or shares, by several numbers: not yet")
    nodes, left, right, *_ = scores.product
    source = reader.whole(Value(nodes[0], left))
    units, width = reader.shapes[source.node], left.shape[2]
    places = inverse(reader.layout(source), reader.batch * prod(units))
    assert places is not None
    ids = torch.from_numpy(np.array(scores.layout).ravel())

    def each(value: Any) -> Any:
        """One number for each query's row, brought to the units of the node."""
        full = made(value).expand(scores.layout.shape).flatten()
        rows = full.new_zeros(full.shape).scatter(0, ids, full).reshape(-1, scores.keys)
        if not bool((rows == rows[:, :1]).all()):
            raise Refusal("scales logits by numbers that differ from key to key")
        numbers = rows[:, :1].expand(-1, width).flatten()[torch.from_numpy(places)].reshape(reader.batch, *units)[0]
        channels = numbers.reshape(units[0], -1)
        return channels[:, 0] if bool((channels == channels[:, :1]).all()) else numbers

    name = reader.keep(call, argument, each)
    role = "weight" if reader.tensors[name].dim() == 1 else "weight_map"
    node = reader.append(call, Norm("scale"), (source.node,), "queries", **statistics(**{role: name})).node
    return replace(scores, product=QueriesAndKeys((node, nodes[1]), reader.layout(source), right))


def scaled_by(reader: Reader, call: Any, value: Value, number: float) -> Value:
    """A number times a value that no call of the graph stands for."""
    return _scale(reader, call, value, number)


def _two_signals(reader: Reader, call: Any, first: Any, second: Any) -> Value:
    """A product in the places of the factor that has the shape of the call; of the other one cell may stand for several."""
    shape = shape_of(call)
    plain = reader.value(first).layout is reader.value(second).layout is None
    if len(shape_of(first)) == len(shape_of(second)) and (plain or shape not in (shape_of(first), shape_of(second))):
        if shape_of(first) < shape_of(second):
            first, second = second, first
        nodes = [reader.tensor(factor) for factor in (first, second)]
        found = reader.append(call, Multiply(), tuple(nodes))
        reader.factors[reader.nodes[found.node].name] = [(call.args.index(factor), None) for factor in (first, second)]
        return found
    if shape_of(first) != shape:
        first, second = second, first
    one, two = reader.value(first), reader.value(second)
    one = reader.whole(one if shape_of(first) == shape else Value(one.node, np.broadcast_to(reader.layout(one), shape)))
    units = reader.shapes[one.node]
    numbers = [call.args.index(factor) for factor in (first, second)]
    if reader.shapes[two.node] == units and same_layout(one.layout, two.layout):
        found = reader.append(call, Multiply(), (one.node, two.node))
        places = None if one.layout is None else _first_places(reader, one, units)
        reader.factors[reader.nodes[found.node].name] = [(number, places) for number in numbers]
        return reader.placed(found, one.layout)
    wanted = reader.like(one, two, shape)
    read: list[Any] = [_first_places(reader, one, units), None]
    cells = np.broadcast_to(np.arange(prod(shape_of(second))).reshape(shape_of(second)), shape).ravel()
    read[1] = cells[read[0]]
    for axis, n in enumerate(wanted.shape):
        line = wanted.take([0], axis)
        if n > 1 and (wanted == line).all():
            wanted, read[1] = line, read[1].take([0], axis)
    found = reader.append(call, Multiply(), (one.node, reader.arranged(two.node, wanted)))
    reader.factors[reader.nodes[found.node].name] = list(zip(numbers, read, strict=True))
    return reader.placed(found, one.layout)


def _first_places(reader: Reader, value: Value, units: tuple[int, ...]) -> Array:
    """Where in a tensor, flat, the units of the first sample stand, (channels, *positions)."""
    places = inverse(reader.layout(value), reader.batch * prod(units))
    assert places is not None
    return np.asarray(places.reshape(reader.batch, *units)[0])


# --- activations that are written out ---------------------------------------------------------------------------------------


def _written_out(reader: Reader, signal: int, gate: int) -> tuple[str, int, float] | None:
    """The activation that signal * gate is, the node that it is one of, and the number that is left; or None."""
    outer, x = _stripped(reader, signal)
    inner, node = _stripped(reader, gate)
    match reader.nodes[node].op:
        case Activation("sigmoid"):
            name, factor, below = "silu", 1.0, reader.nodes[node].inputs[0]
        case Activation("hardsigmoid"):
            name, factor, below = "hardswish", 1.0, reader.nodes[node].inputs[0]
        case Activation("relu6"):
            name, factor, below = "hardswish", 6.0, _moved(reader, reader.nodes[node].inputs[0], 1.0, 3.0)
        case Activation("tanh"):
            name, factor, below = "mish", 1.0, _of(reader, reader.nodes[node].inputs[0], "softplus")
        case Norm("scale"):
            erf = _of(reader, _moved(reader, node, 1.0, 1.0), "erf")
            name, factor, below = "gelu", 2.0, _moved(reader, erf, math.sqrt(0.5), 0.0)
        case _:
            return None
    return (name, x, outer * inner * factor) if below == x else None


def _affine(reader: Reader, node: int) -> tuple[float, float] | None:
    """The factor and the shift of a node that multiplies with and adds plain numbers."""
    used = reader.weights.get(reader.nodes[node].name, {})
    if reader.nodes[node].op != Norm("scale") or any(used[what] is not None for what in ("weight", "bias", "running_var")):
        return None
    return used["number"], used["shift"]


def _stripped(reader: Reader, node: int) -> tuple[float, int]:
    """A node without the plain factors above it."""
    factor = 1.0
    while (affine := _affine(reader, node)) is not None and affine[1] == 0:
        factor, node = factor * affine[0], reader.nodes[node].inputs[0]
    return factor, node


def _moved(reader: Reader, node: int, factor: float, shift: float) -> int:
    """What a node is this factor of, and this shift above; -1 where it is not."""
    affine = _affine(reader, node) if node >= 0 else None
    if affine is None or not all(math.isclose(*pair, rel_tol=TOLERANCE) for pair in zip(affine, (factor, shift), strict=True)):
        return -1
    return reader.nodes[node].inputs[0]


def _of(reader: Reader, node: int, name: str) -> int:
    """What a node is this activation of; -1 where it is not."""
    return reader.nodes[node].inputs[0] if node >= 0 and reader.nodes[node].op == Activation(name) else -1


def _activation(reader: Reader, call: Any, name: str, node: int, factor: float, layout: Any) -> Value:
    """The activation, as if the graph had called torch's own function of that name, and the number that is left."""
    import torch

    like = Value(node, layout)
    source = next((n for n, value in reader.values.items() if isinstance(value, Value) and value.is_like(like)), None)
    if source is None:
        raise Refusal(f"is {name} of a tensor that was changed in place; use the out-of-place operation")
    with reader.graph.inserting_before(call):
        own = reader.graph.call_function(getattr(torch.ops.aten, name).default, (source,))
    own.meta = dict(call.meta)
    value = reader.placed(reader.append(own, Activation(name), (node,)), layout)
    return value if math.isclose(factor, 1, rel_tol=TOLERANCE) else _scale(reader, call, value, factor)
