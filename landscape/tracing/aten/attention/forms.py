"""The rules of attention: `scaled_dot_product_attention`, and the same written out as products of matrices and a softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.attention.heads import over_heads, summed_over_keys
from landscape.tracing.aten.attention.node import mixed
from landscape.tracing.aten.layers import over_channels
from landscape.tracing.aten.pointwise import total
from landscape.tracing.aten.products import scaled_by
from landscape.tracing.aten.registry import OVER_HEADS, rule
from landscape.tracing.graph.reader import Reader, Refusal, Value, operation, shape_of
from landscape.tracing.graph.values import QueriesAndKeys, Scores
from lattice import Activation, Concat

__all__: list[str] = []

Array = np.ndarray[Any, Any]
Made = Any


@rule("scaled_dot_product_attention")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a.get("dropout_p") and reader.train:
        raise Refusal("drops shares of attention in training mode: not yet")
    (left, first), (right, second) = (_groups(reader, a[name], shape_of(call)[:-2]) for name in ("query", "key"))
    scale = a.get("scale") or shape_of(a["query"])[-1] ** -0.5
    layout = np.arange(prod(left.shape[:2]) * right.shape[1]).reshape(*shape_of(call)[:-1], right.shape[1])
    scores = Scores.of_product(QueriesAndKeys((first, second), left, right), layout, scale)
    if a.get("is_causal"):
        later = np.triu(np.ones(layout.shape[-2:], dtype=bool), 1)
        scores = replace(scores, fixed=np.where(np.broadcast_to(later, layout.shape), -np.inf, 0.0).ravel())
    mask = a.get("attn_mask")
    if mask is not None and reader.is_fixed(mask):
        scores = replace(scores, constants=((call, mask, _over(layout)),))
    elif mask is not None:
        given = reader.value(mask)
        scores = scores.plus(given.node, np.broadcast_to(reader.layout(given), layout.shape))
    return mixed(reader, call, replace(scores, soft=True), reader.value(a["value"]), shape_of(call))


def _over(layout: Array) -> Made:
    """A mask or bias over all groups x queries x keys, in their own order; of a mask of truths the logarithm."""

    def made(value: Any) -> Any:
        import torch

        if value.dtype == torch.bool:
            value = torch.zeros(value.shape).masked_fill(~value, -torch.inf)
        full = value.expand(layout.shape)
        return full.new_zeros(layout.size).scatter(0, torch.from_numpy(layout.ravel()), full.flatten())

    return made


@rule("matmul", "bmm", "mm", "baddbmm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    if operation(call) == "baddbmm":
        raise Refusal("adds to a product of matrices: not yet; use matmul and add")
    ranks = [len(shape_of(one)) for one in (*call.args[:2], call)]
    if min(ranks[:2]) < 2:
        raise Refusal("a product with a vector: not yet; give it an axis of length one")
    groups = "abcdefgh"[: ranks[2] - 2]
    one, other = (groups[len(groups) - rank + 2 :] for rank in ranks[:2])
    return _summed(reader, call, (call.args[0], call.args[1]), (f"{one}ij", f"{other}jk", f"{groups}ik"), groups)


@rule("einsum")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    """q k', shares times values, and layers over channels, named by letters."""
    equation, operands = str(call.args[0]).replace(" ", ""), call.args[1]
    if "." in equation or "->" not in equation or len(operands) != 2:
        raise Refusal(f"sums products by {equation!r}: only those of two tensors, with all axes named, have a rule")
    (one, other), result = equation.split("->")[0].split(","), equation.split("->")[1]
    return _summed(reader, call, operands, (one, other, result), "".join(c for c in result if c in one and c in other))


def _summed(reader: Reader, call: Any, operands: Any, names: tuple[str, str, str], outer: str) -> Any:
    """The sum over the one axis that the result has not; axes are named by letters, `outer` are those of groups."""
    (first, second), (one, other, result) = operands, names
    if reader.is_fixed(first) or _soft(reader, second):
        first, second, one, other = second, first, other, one
    inner = [c for c in one if c in other and c not in result]
    own, others = ("".join(c for c in part if c in result and c not in outer) for part in (one, other))
    if len(inner) != 1 or len(own) + len(others) + len(outer) != len(result):
        raise Refusal(f"sums products by '{one},{other}->{result}': only sums over one axis have a rule")
    if reader.is_fixed(second):
        return _of_fixed(reader, call, (first, second), (one, other, result), inner[0])
    if len(own) != 1 or len(others) != 1:
        raise Refusal(f"sums products by '{one},{other}->{result}': only q k' and shares times values have a rule")
    sizes = dict(zip(result, shape_of(call), strict=True))
    shape = tuple(sizes[c] for c in outer + own + others)
    back = [(outer + own + others).index(c) for c in result]
    scores = reader.values.get(first)
    if isinstance(scores, Scores) and scores.soft:
        layout = _ordered(scores.layout, one, [*outer, *own, *inner])
        scores = scores.moved(np.broadcast_to(layout, (*shape[:-2], *layout.shape[-2:])))
        found = summed_over_keys(reader, call, scores, _turned(reader, second, other, [*outer, *inner, *others]), shape)
        return Value(found.node, reader.layout(found).transpose(back))
    sides, places = [], []
    for argument, letters, rows in ((first, one, own), (second, other, others)):
        value, order = reader.value(argument), [*outer, *rows, *inner]
        own_places = np.arange(prod(shape_of(argument))).reshape(shape_of(argument))
        layouts = (_ordered(part, letters, order) for part in (reader.layout(value), own_places))
        rows_of, places_of = (_rows(part, shape[:-2]) for part in layouts)
        sides.append((value.node, rows_of))
        places.append(places_of)
    (left, queries), (right, keys) = sides
    product = QueriesAndKeys((left, right), queries, keys, shape[:-2], (first, second), (places[0], places[1]))
    return Scores.of_product(product, np.arange(prod(shape)).reshape(shape).transpose(back))


def _soft(reader: Reader, argument: Any) -> bool:
    scores = reader.values.get(argument)
    return isinstance(scores, Scores) and scores.soft


def _ordered(layout: Array, names: str, order: Sequence[str]) -> Array:
    """Axes in this order; one that is not there has one cell."""
    there = [c for c in order if c in names]
    moved = layout.transpose([names.index(c) for c in there])
    return np.asarray(moved.reshape([moved.shape[there.index(c)] if c in there else 1 for c in order]))


def _turned(reader: Reader, argument: Any, names: str, order: Sequence[str]) -> Value:
    value = reader.value(argument)
    return Value(value.node, _ordered(reader.layout(value), names, order))


def _rows(layout: Array, outer: tuple[int, ...]) -> Array:
    """A layout as (groups, positions, width), its first axes broadcast."""
    return np.broadcast_to(layout, (*outer, *layout.shape[-2:])).reshape(-1, *layout.shape[-2:])


def _groups(reader: Reader, argument: Any, outer: tuple[int, ...]) -> tuple[Array, int]:
    value = reader.value(argument)
    return _rows(reader.layout(value), outer), value.node


def _of_fixed(reader: Reader, call: Any, operands: Any, names: tuple[str, str, str], inner: str) -> Value:
    """A signal times a fixed matrix: a layer over channels, of which each place of the result reads the unit that it names.

    Equal rows of the matrix, as of position embeddings by distance, are one unit.
    """
    import torch

    (moving, fixed), (one, other, result) = operands, names
    rows = _by_rows(reader.known(call, fixed), other, inner)
    first, which = np.unique(rows.detach().double().cpu().numpy(), axis=0, return_index=True, return_inverse=True)[1:]
    if len(first) == len(rows):
        first = which = np.arange(len(rows))
    chosen = torch.from_numpy(first)
    weight = reader.weight(call, fixed, lambda value: _by_rows(value, other, inner)[chosen])
    found = over_channels(reader, call, reader.value(moving), one.index(inner), len(first), weight=weight, bias=None)
    order = other.replace(inner, "")
    numbers = _ordered(which.reshape([shape_of(fixed)[other.index(c)] for c in order]), order, [*result])
    units = _ordered(reader.layout(found), one, [*result, inner])
    full = shape_of(call)
    picked = np.take_along_axis(
        np.broadcast_to(units, (*full, units.shape[-1])), np.broadcast_to(numbers, full)[..., None], axis=-1
    )
    return reader.placed(found, np.ascontiguousarray(picked[..., 0]))


def _by_rows(value: Any, names: str, inner: str) -> Any:
    """A fixed tensor as (all else, the axis that is summed over)."""
    return value.movedim(names.index(inner), -1).flatten(0, -2)


@rule(OVER_HEADS)
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Scores:
    """A linear layer over the last axis of logits or shares, a convolution of kernel 1 over the second."""
    weight, scores = shape_of(a["weight"]), reader.values[a["input"]]
    if prod(weight[2:]) != 1 or a.get("groups", 1) != 1 or any(a.get("padding", ())) or set(a.get("stride", ())) - {1}:
        raise Refusal("convolves logits or shares of a softmax over their positions, which depend on the data: not yet")
    return over_heads(reader, call, scores, scores.layout.ndim - 1 if len(weight) == 2 else 1, a["weight"], a["bias"])


@rule("softmax", "_softmax")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    scores = reader.values.get(call.args[0])
    if isinstance(scores, Value):
        if shape_of(call)[a["dim"]] == 2:
            return _of_two(reader, call, a["dim"])
        return _of_signal(reader, call, scores, a["dim"])
    if not isinstance(scores, Scores) or scores.soft:
        raise Refusal("takes a softmax of something that is not a signal")
    keys = scores.keys
    along = np.moveaxis(scores.layout, a["dim"], -1)
    if along.shape[-1] != keys or (along % keys != np.arange(keys)).any() or (along // keys != along[..., :1] // keys).any():
        raise Refusal("takes a softmax over other axes than the keys")
    return replace(scores, soft=True, call=call)


def _of_signal(reader: Reader, call: Any, value: Value, dim: int) -> Scores:
    """Shares whose logits are a signal, each row along the axis for itself."""
    units = np.moveaxis(reader.layout(value), dim, -1)
    layout = np.moveaxis(np.arange(units.size).reshape(units.shape), -1, dim)
    return Scores(1, units.shape[-1], layout, soft=True, given=((value.node, units.ravel(), 1.0),), call=call)


def _of_two(reader: Reader, call: Any, dim: int) -> Value:
    """A softmax over two numbers is the sigmoid of their difference: softmax(a, b) = sigmoid(a - b), sigmoid(b - a)."""
    import torch

    argument, aten = call.args[0], torch.ops.aten
    layout = reader.layout(reader.value(argument))
    with reader.graph.inserting_before(call):
        parts = [reader.graph.call_function(aten.select.int, (argument, dim, place)) for place in (0, 1)]
        apart = reader.graph.call_function(aten.sub.Tensor, tuple(parts))
        other = reader.graph.call_function(aten.neg.default, (apart,))
        calls = [reader.graph.call_function(aten.sigmoid.default, (one,)) for one in (apart, other)]
    for made in (*parts, apart, other, *calls):
        made.meta = dict(call.meta)
    one, two = (Value(reader.value(argument).node, layout.take(place, dim)) for place in (0, 1))
    shape = layout.take(0, dim).shape
    difference = total(reader, call, [reader.whole(one), scaled_by(reader, call, two, -1.0)], shape)
    turned = scaled_by(reader, call, difference, -1.0)
    nodes = []
    for own, below in zip(calls, (difference, turned), strict=True):
        node = reader.append(own, Activation("sigmoid"), (below.node,)).node
        reader.placed(Value(node), difference.layout)
        nodes.append(node)
    joined, units = reader.append(call, Concat(), tuple(nodes)).node, prod(reader.shapes[nodes[0]])
    samples, local = np.divmod(reader.layout(difference), units)
    return reader.placed(Value(joined), np.stack([samples * 2 * units + local + place * units for place in (0, 1)], dim))
