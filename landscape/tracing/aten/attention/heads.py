"""Layers over the heads of attention: of logits, and of the shares of their softmax (talking heads).

Logits that are mixed, l_h = sum over g of W_hg q_g . k_g, are products of the queries of all heads, times W_hg, with the keys
of all heads. Shares that are mixed, A_h = sum over g of P_hg A_g + b_h, give sum over g of P_hg (A_g v_h) + b_h sum over s of
v_h(s): every pair of heads attends, and a layer over g stands above.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.attention.node import mixed
from landscape.tracing.aten.pointwise import total
from landscape.tracing.aten.products import scaled_by
from landscape.tracing.aten.reductions import reduced
from landscape.tracing.aten.registry import statistics
from landscape.tracing.graph.layouts import inverse
from landscape.tracing.graph.reader import Reader, Refusal, Value, shape_of
from landscape.tracing.graph.values import LayerOverHeads, QueriesAndKeys, Scores
from lattice import Conv, Norm

__all__ = ["over_heads", "summed_over_keys"]

Array = np.ndarray[Any, Any]


def over_heads(reader: Reader, call: Any, scores: Scores, axis: int, weight: Any, bias: Any) -> Scores:
    """Logits or shares after a layer over this axis of their tensor, which must be that of the heads."""
    product = scores.product
    if product is None or not product.outer or scores.given or scores.fixed is not None or scores.layer or scores.factor != 1:
        raise Refusal("mixes heads of logits that are more than products of queries and keys, or heads twice: not yet")
    if not reader.is_fixed(weight) or not (bias is None or reader.is_fixed(bias)):
        raise Refusal("mixes heads by numbers that depend on the input")
    outer, cells = product.outer, scores.rows * scores.keys
    inside = scores.layout % cells
    places = list(np.unravel_index(scores.layout // cells, outer))
    along = [d for d, place in enumerate(places) if (place != place.take([0], axis)).any()]
    in_order = len(along) == 1 and (np.moveaxis(places[along[0]], axis, -1) == np.arange(scores.layout.shape[axis])).all()
    if not in_order or scores.layout.shape[axis] != outer[along[0]] or (inside != inside.take([0], axis)).any():
        raise Refusal("is a layer over another axis of logits or shares than that of their heads")
    (d,), heads = along, shape_of(weight)[0]
    after = (*outer[:d], heads, *outer[d + 1 :])
    places = [place.take([0], axis) for place in places]
    places[d] = np.arange(heads).reshape([-1 if k == axis else 1 for k in range(scores.layout.ndim)])
    groups = np.ravel_multi_index(tuple(np.broadcast_arrays(*places)), after)
    moved = scores.moved(groups * cells + inside.take([0], axis))
    if scores.soft:
        return replace(moved, layer=LayerOverHeads(call, weight, bias, d))
    return _logits(reader, moved, LayerOverHeads(call, weight, bias, d), after)


def _logits(reader: Reader, scores: Scores, layer: LayerOverHeads, after: tuple[int, ...]) -> Scores:
    """Of the queries of all heads, times the weights, and the keys of all heads."""
    if any(bool(made(reader.known(at, argument)).any()) for at, argument, made in scores.constants):
        raise Refusal("mixes heads of logits to which a constant was added: not yet")
    assert scores.product is not None
    import torch

    (queries, keys), left, right, outer, *_ = scores.product
    d, n = layer.axis, outer[layer.axis]

    def of_all(side: Array) -> Array:
        """Rows of each head's group with the channels of all heads: (*groups, rows, width)."""
        parts = np.expand_dims(np.moveaxis(side.reshape(*outer, *side.shape[1:]), d, -2), d)
        return np.broadcast_to(parts, (*after, *parts.shape[-3:])).reshape(*after, parts.shape[-3], -1)

    source = _apart(reader, Value(queries, of_all(left)), (d, len(after) + 1))
    units, full = reader.shapes[source.node], reader.layout(source)
    places = inverse(full, reader.batch * prod(units))
    assert places is not None
    first = torch.from_numpy(places.reshape(reader.batch, units[0], -1)[0, :, 0])

    def each(value: Any) -> Any:
        """The weight of each channel: one for each head of the result, head of the queries."""
        numbers = value.reshape(*(-1 if k == d else 1 for k in range(len(after))), 1, n, 1)
        return numbers.expand(*after, full.shape[-2], n, full.shape[-1] // n).flatten()[first]

    def beside(value: Any) -> Any:
        return value.reshape(*(-1 if k == d else 1 for k in range(len(after))), 1).expand(*after, cells).flatten()

    name, cells = reader.keep(layer.call, layer.weight, each), scores.rows * scores.keys
    node = reader.append(layer.call, Norm("scale"), (source.node,), "queries", **statistics(weight=name)).node
    product = QueriesAndKeys(
        (node, keys), full.reshape(-1, *full.shape[-2:]), of_all(right).reshape(-1, scores.keys, full.shape[-1]), after
    )
    biased = layer.bias is not None and not reader.is_zero(layer.call, layer.bias)
    return replace(scores, product=product, constants=((layer.call, layer.bias, beside),) if biased else ())


def summed_over_keys(reader: Reader, call: Any, scores: Scores, value: Value, shape: tuple[int, ...]) -> Value:
    """Shares times values, summed over the keys; `shape` is (..., queries, width of the values)."""
    if scores.layer is None:
        return mixed(reader, call, scores, value, shape)
    assert scores.product is not None
    layer, rows, keys, outer = scores.layer, scores.rows, scores.keys, scores.product.outer
    d, n, heads = layer.axis, outer[layer.axis], shape_of(layer.weight)[0]
    after, last = (*outer[:d], heads, *outer[d + 1 :]), len(outer)
    groups = scores.layout[..., 0, 0].ravel() // (rows * keys)
    in_order = groups[:, None, None] * rows * keys + np.arange(rows)[:, None] * keys + np.arange(keys)
    if scores.layout.shape[-2:] != (rows, keys) or not np.array_equal(scores.layout.reshape(-1, rows, keys), in_order):
        raise Refusal("multiplies shares that stand in other rows than the queries")
    own = reader.layout(value)
    width = own.shape[-1]
    values = np.empty((len(groups), keys, width), dtype=np.int64)
    values[groups] = np.broadcast_to(own, (*scores.layout.shape[:-2], keys, width)).reshape(-1, keys, width)
    values = values.reshape(*after, keys, width)
    found = _of_pairs(reader, call, scores, Value(value.node, values), after)
    node, by_pair = reader.rows(found, (d, last + 2, last))  # heads of the result, channels, heads of the shares
    if not reader.shapes[node][1:]:
        node = reader.arranged(node, np.arange(prod(reader.shapes[node]))[:, None])
    name = reader.keep(layer.call, layer.weight, lambda w: w.reshape(heads, 1, n).expand(-1, width, -1).reshape(-1, n))
    parent = reader.names_of(layer.weight)
    if parent is not None:
        reader.parents[name] = parent
    op = Conv(heads * width, 1, groups=heads * width)
    sums = reader.append(call, op, (node,), "heads", weight=name, bias=None)
    layout = by_pair.layout((d, last + 1), (heads, width), reader.shapes[sums.node][1:])
    result = reader.placed(sums, layout)
    if layer.bias is not None and not reader.is_zero(layer.call, layer.bias):
        equal = _equal_shares(reader, call, layer, Value(value.node, values), rows)
        result = total(reader, call, [result, equal], layout.shape)
    full = reader.layout(result).reshape(-1, rows, width)[groups].reshape(shape)
    placed = reader.placed(result, full)
    return placed if scores.factor == 1 else scaled_by(reader, call, placed, scores.factor)


def _of_pairs(reader: Reader, call: Any, scores: Scores, values: Value, after: tuple[int, ...]) -> Value:
    """The values of each head of the result times the shares of each head that it is made of: (*groups, heads, rows, width)."""
    assert scores.layer is not None
    assert scores.product is not None
    (queries, keys), left, right, outer, *_ = scores.product
    d, n = scores.layer.axis, outer[scores.layer.axis]

    def paired(side: Any) -> Any:
        """The rows of each head, for each head of the result."""
        parts = np.expand_dims(np.moveaxis(side.reshape(*outer, *side.shape[1:]), d, len(outer) - 1), d)
        return np.broadcast_to(parts, (*after, n, *side.shape[1:]))

    def spread(made: Any) -> Any:
        def over(value: Any) -> Any:
            full = made(value).reshape(*outer, -1).movedim(d, len(outer) - 1).unsqueeze(d)
            return full.expand(*after, n, full.shape[-1]).flatten()

        return over

    source = _apart(reader, Value(queries, paired(left)), (d, len(outer), len(outer) + 2))
    full = reader.layout(source)
    product = QueriesAndKeys(
        (source.node, keys), full.reshape(-1, *full.shape[-2:]), paired(right).reshape(-1, *right.shape[1:]), (*after, n)
    )
    size, shape = (scores.rows, scores.keys), (*after, n)
    constants = tuple((at, argument, spread(made)) for at, argument, made in scores.constants)
    layout = np.arange(prod(shape) * prod(size)).reshape(*shape, *size)
    inner = replace(scores, product=product, layout=layout, constants=constants, layer=None, factor=1.0)
    each = np.expand_dims(reader.layout(values), len(outer))
    each = np.broadcast_to(each, (*shape, *each.shape[-2:]))
    return mixed(reader, call, inner, Value(values.node, each), (*shape, scores.rows, each.shape[-1]))


def _equal_shares(reader: Reader, call: Any, layer: LayerOverHeads, values: Value, rows: int) -> Value:
    """The bias of a layer over heads of shares: the sum of all values of a head, times its bias, at every query."""
    added = reduced(reader, call, "sum", values, (reader.layout(values).ndim - 2,))
    layout = reader.layout(added)
    axes, width = (layer.axis, layout.ndim - 1), layout.shape[-1]
    source = _apart(reader, added, axes)
    name = reader.keep(layer.call, layer.bias, lambda b: b.reshape(-1, 1).expand(-1, width).flatten())
    scaled = reader.append(call, Norm("scale"), (source.node,), "equal shares", **statistics(weight=name))
    placed = reader.placed(scaled, source.layout)
    full = np.expand_dims(reader.layout(placed), -2)
    return Value(placed.node, np.broadcast_to(full, (*full.shape[:-2], rows, width)))


def _apart(reader: Reader, value: Value, axes: tuple[int, ...]) -> Value:
    """A value in a node that has a channel of its own for each place of these axes, even where they hold the same numbers."""
    node, rows = reader.rows(value, axes)
    shape = reader.layout(value).shape
    return Value(node, rows.layout(axes, tuple(shape[axis] for axis in axes), reader.shapes[node][1:]))
