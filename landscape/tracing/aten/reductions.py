"""The rules of means, sums and maxima over axes of a tensor: over positions they are pools, over channels sums of parts."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.attention.node import mixed
from landscape.tracing.aten.pointwise import total
from landscape.tracing.aten.products import scaled_by
from landscape.tracing.aten.registry import rule
from landscape.tracing.graph.layouts import inverse, rows_of
from landscape.tracing.graph.reader import Reader, Refusal, Value, operation, shape_of
from landscape.tracing.graph.values import Shared
from lattice import AdaptivePool, GlobalPool, Multiply, Op

__all__ = ["reduced"]

Array = np.ndarray[Any, Any]
MOST_PARTS = 64  # each becomes a node


@rule("mean", "sum", "amax", "max")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    name, shape = operation(call), shape_of(call.args[0])
    if a.get("other") is not None:
        raise Refusal("the larger one of two signals: not yet")
    given = a.get("dim")
    given = [given] if isinstance(given, int) else given
    dims = tuple(sorted(d % len(shape) for d in (given if given else range(len(shape)))))
    shared = reader.values.get(call.args[0])
    if isinstance(shared, Shared):
        return _over_keys(reader, call, name, shared, dims)
    value = reader.value(call.args[0])
    if name == "max" and len(dims) == len(shape):
        raise Refusal("the largest of all numbers: not yet")
    channels, over = set(reader.channel_axes(value)), "max" if name in ("amax", "max") else "avg"
    apart = tuple(d for d in dims if d not in channels and shape[d] > 1)
    if apart and set(dims) & channels:  # over positions first
        value = _over_positions(reader, call, over, value, apart)
        if name == "sum":
            value = scaled_by(reader, call, value, float(prod(shape[d] for d in apart)))
        value = Value(value.node, np.expand_dims(reader.layout(value), apart))
        shape = tuple(1 if d in apart else n for d, n in enumerate(shape))
    found = reduced(reader, call, name, value, dims)
    if a.get("keepdim"):
        found = Value(found.node, np.expand_dims(reader.layout(found), dims))
    return [found] if name == "max" else found


def reduced(reader: Reader, call: Any, name: str, value: Value, dims: tuple[int, ...]) -> Value:
    """A mean, sum or maximum over some axes, which are gone then; either channels or positions stand along them."""
    layout, shape = reader.layout(value), reader.layout(value).shape
    kept = np.moveaxis(layout, dims, range(-len(dims), 0)).reshape(*(n for d, n in enumerate(shape) if d not in dims), -1)
    if kept.shape[-1] == 1:
        return Value(value.node, kept[..., 0])
    if set(dims) & set(reader.channel_axes(value)):
        return _over_channels(reader, call, name, value, kept)
    found = _over_positions(reader, call, "max" if name in ("amax", "max") else "avg", value, dims)
    return scaled_by(reader, call, found, float(kept.shape[-1])) if name == "sum" else found


def _over_keys(reader: Reader, call: Any, name: str, shared: Shared, dims: tuple[int, ...]) -> Value:
    """The sum of a signal times shares: where these do not change stand the channels of what is mixed."""
    if name != "sum":
        raise Refusal("takes no sum of a signal times shares: not yet")
    shares, parts = shared.scores.layout, reader.layout(shared.value)
    rest = [d for d in range(shares.ndim) if d not in dims]
    width = [d for d in rest if (shares == shares.take([0], d)).all()]
    outer = [d for d in rest if d not in width]
    sizes = [[shares.shape[d] for d in axes] for axes in (outer, dims, width)]
    one = shares.transpose(*outer, *dims, *width).reshape(*sizes[0], 1, prod(sizes[1]), -1)[..., 0]
    values = Value(shared.value.node, parts.transpose(*outer, *dims, *width).reshape(*sizes[0], prod(sizes[1]), -1))
    found = mixed(reader, call, shared.scores.moved(one), values, (*sizes[0], 1, prod(sizes[2])))
    layout = reader.layout(found).reshape(*sizes[0], *sizes[2]).transpose(np.argsort([*outer, *width]))
    placed = reader.placed(found, layout)
    return Value(placed.node, np.expand_dims(layout, dims)) if call_keeps(call) else placed


def call_keeps(call: Any) -> bool:
    """Does a reduction keep its axes?"""
    return len(shape_of(call)) == len(shape_of(call.args[0]))


def _over_channels(reader: Reader, call: Any, name: str, value: Value, kept: Array) -> Value:
    """The sum of parts: each is the same tensor at one place of the axes that are summed over."""
    if name in ("amax", "max"):
        raise Refusal(f"takes the largest over channels, {kept.shape[-1]} of them: not yet")
    if kept.shape[-1] > MOST_PARTS:
        raise Refusal(f"adds {kept.shape[-1]} channels: up to {MOST_PARTS} have a rule")
    parts = [_factored(reader, Value(value.node, kept[..., k])) for k in range(kept.shape[-1])]
    found = total(reader, call, parts, kept.shape[:-1])
    return found if name == "sum" else scaled_by(reader, call, found, 1 / len(parts))


def _factored(reader: Reader, value: Value) -> Value:
    """Some channels of a product as a product of these of its factors, so that parts which differ in both share neither."""
    node = reader.nodes[value.node]
    if not isinstance(node.op, Multiply) or node.name not in reader.factors:
        return value
    axes, shape = reader.channel_axes(value), reader.shapes[value.node]
    rows, cells = rows_of(reader.layout(value), axes, reader.batch, shape), prod(shape[1:])
    if rows is None or rows.wanted.shape[1:] != shape[1:] or (rows.wanted.reshape(-1, cells) % cells != np.arange(cells)).any():
        return value
    chosen = rows.wanted.reshape(-1, cells)[:, 0] // cells
    nodes, factors = [], []
    for i, (number, places) in zip(node.inputs, reader.factors[node.name], strict=True):
        units = np.arange(prod(reader.shapes[i])).reshape(reader.shapes[i])
        own = chosen if len(units) == shape[0] else np.zeros(1, dtype=np.int64)
        nodes.append(reader.arranged(i, units[own]))
        factors.append((number, (units if places is None else places.reshape(units.shape))[own]))
    found = reader.append(reader.calls[node.name], Multiply(), tuple(nodes))
    reader.factors[reader.nodes[found.node].name] = factors
    widths = tuple(reader.layout(value).shape[axis] for axis in axes)
    return reader.placed(found, rows.layout(axes, widths, shape[1:]))


def _over_positions(reader: Reader, call: Any, kind: str, value: Value, dims: tuple[int, ...]) -> Value:
    """A pool over all positions of a node, or over all cells of some of its axes."""
    layout, channels = reader.layout(value), reader.channel_axes(value)
    node, rows = reader.rows(value, channels)
    own = Value(node, rows.layout(channels, tuple(layout.shape[axis] for axis in channels), reader.shapes[node][1:]))
    axes, read = _axes(reader, own, dims), own.layout
    if axes is None:  # the axes of the tensor are to be those of the node
        others = [d for d in range(layout.ndim) if d not in (*dims, *channels) and not (d == 0 and reader.batch > 1)]
        order = (*channels, *others, *dims)
        sample = layout if reader.batch == 1 else layout[0]
        if reader.batch > 1 and (0 in order or layout.shape[0] != reader.batch):
            raise Refusal("a mean over positions of a batch whose samples stand among them")
        moved = np.transpose(sample, order if reader.batch == 1 else [d - 1 for d in order])
        width, first = prod(layout.shape[d] for d in channels), prod(layout.shape[d] for d in others)
        spatial = ((first,) if first > 1 else ()) + (prod(layout.shape[d] for d in dims),)
        node = reader.arranged(value.node, moved.reshape(width, *spatial))
        read = inverse(moved.ravel(), moved.size)
        read = None if read is None else read[sample]
        axes = {len(spatial) - 1}
        full = np.arange(reader.batch * width * first).reshape(
            *((reader.batch,) if reader.batch > 1 else ()), *(layout.shape[d] for d in (*channels, *others))
        )
        names = [*((0,) if reader.batch > 1 else ()), *channels, *others]
        result = np.transpose(full, np.argsort(names))
    else:
        result = None
    spatial = reader.shapes[node][1:]
    sizes = tuple(1 if axis in axes else n for axis, n in enumerate(spatial))
    op: Op = GlobalPool(kind) if set(sizes) == {1} else AdaptivePool(kind, sizes)
    pooled = reader.append(call, op, (node,))
    if reader.batch == 1 and read is not None:
        reader.read_layouts[reader.nodes[pooled.node].name] = read
    if result is None:
        result = _pooled_layout(reader, own, pooled, axes, dims)
    return Value(pooled.node, result)


def _axes(reader: Reader, value: Value, dims: tuple[int, ...]) -> set[int] | None:
    """The axes of positions of the node that a mean over these axes of the tensor is over, if it is over whole ones."""
    layout, shape = reader.layout(value), reader.shapes[value.node]
    places = np.unravel_index(layout % prod(shape), shape)[1:]
    over: set[int] = set()
    kept: set[int] = set()
    for axis, place in enumerate(places):
        for d in range(layout.ndim):
            if (place != place.take([0], d)).any():
                (over if d in dims else kept).add(axis)
    whole = prod(shape[1 + axis] for axis in over) == prod(layout.shape[d] for d in dims)
    return over if whole and not over & kept else None


def _pooled_layout(reader: Reader, value: Value, pooled: Value, axes: set[int], dims: tuple[int, ...]) -> Array:
    """Where the positions that are left stand, once the others are one."""
    layout, shape, after = reader.layout(value), reader.shapes[value.node], reader.shapes[pooled.node]
    first = layout[tuple(0 if d in dims else slice(None) for d in range(layout.ndim))]
    samples, units = np.divmod(first, prod(shape))
    channel, *places = np.unravel_index(units, shape)
    kept = [np.zeros_like(place) if axis in axes else place for axis, place in enumerate(places)]
    return np.asarray(samples * prod(after) + np.ravel_multi_index((channel, *kept), after))
