"""Products of two signals summed over an axis, where no softmax follows: a product cell by cell, and a sum of its parts.

Linear and factorised attention, q (k' v), and lambda layers are such: neither factor is a matrix of weights.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from landscape.tracing.aten.pointwise import total
from landscape.tracing.aten.products import scaled_by
from landscape.tracing.aten.reductions import reduced
from landscape.tracing.aten.registry import PRODUCTS, rule
from landscape.tracing.graph.reader import Reader, Refusal, Value
from landscape.tracing.graph.values import QueriesAndKeys
from lattice import Multiply

__all__: list[str] = []

Array = np.ndarray[Any, Any]
MOST_CELLS = 2**25  # of all products


def both(first: Any, second: Any) -> Any:
    """What stands in the graph for a product, so that its factors can be watched."""
    return first


class _Factor(NamedTuple):
    """One factor over all axes (groups, queries, keys, summed), one cell where it does not change; of one sample.

    `units` of the node, `places` in the tensor, and along which axes the channel and the position change.
    """

    node: int
    units: Array
    places: Array
    by_channel: tuple[bool, ...]
    by_position: tuple[bool, ...]


@rule(PRODUCTS)
def _(reader: Reader, call: Any, scores: Any) -> Value:
    """The sum of products that logits would be, scale and summands included, as a signal."""
    product = scores.product
    if product is None or scores.constants or product.arguments is None:
        raise Refusal("reads products of two signals to which a constant was added: not yet")
    axes = (*product.outer, scores.rows, scores.keys, product.left.shape[2])
    if prod(axes) > MOST_CELLS:
        raise Refusal(f"multiplies two signals in {prod(axes):.1e} cells: up to {MOST_CELLS:.1e} have a rule")
    multiplied = _multiplied(reader, call, product, axes)
    found = reduced(reader, call, "sum", multiplied, (len(axes) - 1,))
    found = found if scores.scale == 1 else scaled_by(reader, call, found, scores.scale)
    ids = scores.layout.ravel()
    values = [Value(found.node, reader.layout(found).ravel()[ids].reshape(scores.layout.shape))]
    for node, units, factor in scores.given:
        other = Value(node, units[ids].reshape(scores.layout.shape))
        values.append(other if factor == 1 else scaled_by(reader, call, other, factor))
    return values[0] if len(values) == 1 else total(reader, call, values, scores.layout.shape)


def _multiplied(reader: Reader, call: Any, product: QueriesAndKeys, axes: tuple[int, ...]) -> Value:
    """The products as a node, and where each of (groups, queries, keys, summed) stands in it.

    What is summed over is an axis of positions, the last one; so is what is a position in one factor and no channel in the
    other. All else are channels.
    """
    left, right = (_factor(reader, product, side, axes) for side in (0, 1))
    last = len(axes) - 1
    sample = [axis for axis in range(last) if _is_batch(reader, product, axis)]
    channel = [one or other for one, other in zip(left.by_channel, right.by_channel, strict=True)]
    position = [one or other for one, other in zip(left.by_position, right.by_position, strict=True)]
    positions = [axis for axis in range(last) if position[axis] and not channel[axis] and axis not in sample]
    channels = [axis for axis in range(last) if axis not in (*positions, *sample)]
    width, spatial = prod(axes[axis] for axis in channels), _spatial(reader, left, right, axes, positions)
    nodes, places = [], []
    for factor in (left, right):
        units, there = (
            _in_order(part, axes, (channels, positions), sample, (width, spatial)) for part in (factor.units, factor.places)
        )
        shape = reader.shapes[factor.node]
        used = units.reshape(width, -1, axes[last]).transpose(0, 2, 1).reshape(width * axes[last], -1) // prod(shape[1:])
        node = factor.node
        if factor.by_channel[last] and (used == used[:, :1]).all():  # channels first, then positions of them
            cells = np.arange(prod(shape[1:])).reshape(1, *shape[1:])
            node = reader.arranged(node, used[:, 0].reshape(-1, *(1 for _ in shape[1:])) * prod(shape[1:]) + cells)
            own = (np.arange(width)[:, None, None] * axes[last] + np.arange(axes[last])).reshape(
                width, *(1 for _ in spatial), -1
            )
            units = own * prod(shape[1:]) + units % prod(shape[1:])
        nodes.append(reader.arranged(node, units))
        places.append(there)
    with reader.graph.inserting_before(call):
        watched = reader.graph.call_function(both, product.arguments)
    watched.meta = dict(call.meta)
    found = reader.append(watched, Multiply(), tuple(nodes), "products")
    reader.factors[reader.nodes[found.node].name] = list(enumerate(places))
    order = [*sample, *channels, *positions, last]
    layout = np.arange(reader.batch * prod(reader.shapes[found.node])).reshape([axes[axis] for axis in order])
    return Value(found.node, layout.transpose(np.argsort(order)))


def _spatial(reader: Reader, left: _Factor, right: _Factor, axes: tuple[int, ...], positions: list[int]) -> tuple[int, ...]:
    """The axes of positions beside the one that is summed over: those of a factor's node, where the tensor has all of it."""
    sizes = tuple(axes[axis] for axis in positions)
    for factor in (left, right):
        own = reader.shapes[factor.node][1:]
        if len(positions) == 1 and factor.by_position[positions[0]] and len(own) <= 2 and prod(own) == sizes[0]:
            lines = np.moveaxis(factor.units, positions[0], 0).reshape(sizes[0], -1) % prod(own)
            if (lines == np.arange(sizes[0])[:, None]).all():
                return own
    return sizes if len(sizes) <= 2 else (prod(sizes),)


def _in_order(part: Array, axes: tuple[int, ...], order: Any, sample: list[int], shape: Any) -> Array:
    """A factor as (channels, *positions, summed); a position has one cell where it does not change."""
    channels, positions = order
    width, spatial = shape
    apart = len(spatial) < len(positions) or all(part.shape[axis] == axes[axis] for axis in positions)
    full = [1 if axis in sample else axes[axis] for axis in range(len(axes))]
    for axis in () if apart else positions:
        full[axis] = part.shape[axis]
    moved = np.broadcast_to(part, full).transpose(*sample, *channels, *positions, len(axes) - 1)
    rest = spatial if prod(full[axis] for axis in positions) == prod(spatial) else [full[axis] for axis in positions]
    rest = rest if len(rest) == len(spatial) else [1] * len(spatial)
    return np.ascontiguousarray(moved).reshape(width, *rest, axes[-1])


def _factor(reader: Reader, product: QueriesAndKeys, side: int, axes: tuple[int, ...]) -> _Factor:
    layout, places = ((product.left, product.places[0]), (product.right, product.places[1]))[side]
    node, other = product.nodes[side], len(axes) - 2 - side  # queries stand before keys, and have one cell of these
    shape = reader.shapes[node]
    own = tuple(n for axis, n in enumerate(axes) if axis != other)
    full, there = (np.expand_dims(part.reshape(own), other) for part in (layout, places))
    if full.min() < 0:
        raise Refusal("multiplies signals with zeros among them: not yet")
    samples, local = np.divmod(full, prod(shape))
    channel, position = np.divmod(local, prod(shape[1:]))
    keep = tuple(slice(0, 1) if _varies(samples, axis) or full.shape[axis] == 1 else slice(None) for axis in range(len(axes)))
    by = [tuple(_varies(part[keep], axis) for axis in range(len(axes))) for part in (channel, position)]
    constant = tuple(slice(None) if channels or places_vary else slice(0, 1) for channels, places_vary in zip(*by, strict=True))
    return _Factor(node, local[keep][constant], there[keep][constant], by[0], by[1])


def _is_batch(reader: Reader, product: QueriesAndKeys, axis: int) -> bool:
    """Do the samples stand along this axis of the groups?"""
    units = prod(reader.shapes[product.nodes[0]])
    return axis < len(product.outer) and reader.batch > 1 and _varies(product.left.reshape(*product.outer, -1) // units, axis)


def _varies(values: Array, axis: int) -> bool:
    return bool((values != values.take([0], axis)).any())
