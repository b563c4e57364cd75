"""From the layouts of queries, keys, values and given logits to one `Attention` node."""

from __future__ import annotations

import math
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.products import scaled_by
from landscape.tracing.graph.reader import Reader, Refusal, Value
from landscape.tracing.graph.values import Scores
from lattice import Add
from lattice.network.attention import Attention

__all__ = ["mixed"]

Array = np.ndarray[Any, Any]
Made = Any
MOST_LOGITS = 2**24  # that are read one by one


class _Side:
    """Queries, keys or values: groups split into heads (channels) and windows (positions), of one sample."""

    def __init__(self, reader: Reader, layout: Array, node: int, what: str) -> None:
        self.what, self.node, self.shape = what, node, reader.shapes[node]
        units, cells = prod(self.shape), prod(self.shape[1:])
        if layout.min() < 0:
            raise Refusal(f"its {what} have zeros among them: not yet")
        samples, local = np.divmod(layout, units)
        channels, positions = np.divmod(local, cells)
        if (samples != samples[:, :1, :1]).any():
            raise Refusal(f"mixes samples of the batch: its {what} do not stand in rows of channels")
        self.in_rows = not (channels != channels[:, :1]).any() and not (positions != positions[..., :1]).any()
        self.turned = not (channels != channels[..., :1]).any() and not (positions != positions[:1, :1]).any()
        self.samples, self.channels, self.positions = samples[:, 0, 0], channels[:, 0], positions[:, :, 0]
        self.cells, self.layout = cells, layout

    def with_channels_as_positions(self, reader: Reader) -> _Side:
        """Rows are channels, each with all positions: in a node where these are the other way round, group by group."""
        groups, rows, width = self.layout.shape
        first = np.flatnonzero(self.samples == 0)
        local = self.layout - self.samples[:, None, None] * prod(self.shape)
        node = reader.arranged(self.node, local[first].transpose(0, 2, 1).reshape(-1, rows))
        units, order = len(first) * width * rows, np.empty(groups, dtype=np.int64)
        for sample in range(reader.batch):
            own = np.flatnonzero(self.samples == sample)
            if len(own) != len(first) or (local[own] != local[first]).any():
                raise Refusal("attends in other groups from sample to sample of the batch")
            order[own] = sample * units + np.arange(len(own)) * width * rows
        layout = order[:, None, None] + np.arange(width) * rows + np.arange(rows)[:, None]
        return _Side(reader, layout, node, self.what)


class _Groups:
    """How the groups of one sample are heads times windows; of the rows of queries, where they stand in the node."""

    def __init__(self, side: _Side, batch: int) -> None:
        self.samples, self.channels, self.batch = side.samples, side.channels, batch
        first = side.samples == 0
        heads, head = np.unique(side.channels[first], axis=0, return_inverse=True)
        windows, begins, window = np.unique(side.positions[first], axis=0, return_index=True, return_inverse=True)
        self.head, self.window = head.reshape(-1), np.argsort(np.argsort(begins))[window.reshape(-1)]  # as they come
        self.where = np.full((len(windows), len(heads)), -1)
        self.where[self.window, self.head] = np.flatnonzero(first)
        if (self.where < 0).any() or first.sum() != self.where.size:
            raise Refusal("attends in groups that are not heads times windows of positions")

    def results(self, rows: Array, width: int, cells: int) -> Array:
        """The layout (groups, queries, width of the values) of what comes out, at the positions (windows, queries)."""
        result = np.empty((len(self.samples), rows.shape[1], width), dtype=np.int64)
        heads = self.where.shape[1]
        for sample in range(self.batch):
            own = self.samples == sample
            order = np.full(self.where.shape, -1)
            if own.sum() != self.where.size or (self.channels[own] != self.channels[self.samples == 0]).any():
                raise Refusal("attends in other groups from sample to sample of the batch")
            order[self.window, self.head] = np.flatnonzero(own)
            channels = np.arange(heads)[:, None] * width + np.arange(width)
            result[order] = (sample * heads * width + channels[None, :, None]) * cells + rows[:, None, :, None]
        return result


def mixed(reader: Reader, call: Any, scores: Scores, value: Value, shape: tuple[int, ...]) -> Value:
    """softmax(logits) v as a node, and where its numbers stand; `shape` is (..., queries, width of the values)."""
    if scores.layer is not None:
        raise Refusal(
            "sums products with shares that were mixed over heads in another form than a product of matrices: not yet"
        )
    scores = scores if scores.product else scores.in_rows()
    rows, keys = scores.rows, scores.keys
    outer = scores.layout.shape[:-2]
    groups = scores.layout[..., 0, 0].ravel() // (rows * keys)
    in_order = groups[:, None, None] * rows * keys + np.arange(rows)[:, None] * keys + np.arange(keys)
    if scores.layout.shape[-2:] != (rows, keys) or (scores.layout.reshape(-1, rows, keys) != in_order).any():
        raise Refusal("multiplies shares that stand in other rows than the queries")
    layout = reader.layout(value)
    values = np.empty((scores.layout.size // (rows * keys), *layout.shape[-2:]), dtype=np.int64)
    values[groups] = np.broadcast_to(layout, (*outer, *layout.shape[-2:])).reshape(-1, *layout.shape[-2:])
    sides = [_Side(reader, *_with_zeros(reader, values, value.node), "values")]
    if scores.product:
        nodes, left, right, *_ = scores.product
        sides = [_Side(reader, left, nodes[0], "queries"), _Side(reader, right, nodes[1], "keys"), *sides]
    if not sides[-1].in_rows and not sides[-1].turned:
        raise Refusal("mixes rows of values that are neither the channels of a position nor the positions of a channel")
    if not all(side.in_rows for side in sides):
        sides = [side.with_channels_as_positions(reader) for side in sides]
    found, result = _append(reader, call, scores, sides)
    full = result[groups].reshape(shape)
    here = np.arange(reader.batch * prod(reader.shapes[found])).reshape(reader.batch, *reader.shapes[found])
    plain = full.shape == here.shape and np.array_equal(full, here)
    placed = reader.placed(Value(found), None if plain else full)
    return placed if scores.factor == 1 else scaled_by(reader, call, placed, scores.factor)


def _with_zeros(reader: Reader, layout: Array, node: int) -> tuple[Array, int]:
    """Rows of values that are zero, as a window has beyond the edge: those of more positions, one for each in a window."""
    if layout.min() >= 0:
        return layout, node
    shape = reader.shapes[node]
    units, cells = prod(shape), prod(shape[1:])
    local = np.where(layout >= 0, layout % units, -1)
    channels = np.where(local >= 0, local // cells, -1).max(axis=1, keepdims=True)  # of a group, the same in all of its rows
    samples = np.where(layout >= 0, layout // units, -1).max(axis=(1, 2), keepdims=True)
    if (channels < 0).any() or ((local >= 0) & (local // cells != channels)).any():
        raise Refusal("its values have zeros among them that are not whole positions: not yet")
    beyond = np.cumsum(local < 0, axis=1)
    more = int(beyond.max())
    wanted = np.pad(np.arange(units).reshape(shape[0], cells), ((0, 0), (0, more)), constant_values=-1)
    place = np.where(local >= 0, local % cells, cells + beyond - 1)
    return (samples * shape[0] + channels) * (cells + more) + place, reader.arranged(node, wanted)


def _append(reader: Reader, call: Any, scores: Scores, sides: list[_Side]) -> tuple[int, Array]:
    """The node, and its layout (groups, queries, width of the values)."""
    values, groups = sides[-1], _Groups(sides[0], reader.batch)
    chosen = [_chosen(reader, side, groups.where) for side in sides]
    nodes, places = [node for node, _ in chosen], [place for _, place in chosen]
    if not np.array_equal(places[-2] if scores.product else places[-1], places[-1]):
        raise Refusal("takes keys and values from other positions")
    rows, columns = places[0], places[-1]
    if not scores.product:
        rows = np.arange(len(columns) * scores.rows).reshape(len(columns), -1)
    numbers: dict[str, Any] = {}
    for k, (at, argument, made) in enumerate(scores.constants):
        numbers[f"bias{k}"] = reader.keep(at, argument, _windowed(made, groups.where, scores.rows, scores.keys))
    shares = _shares(reader, scores, numbers, groups.where)
    read_from = reader.shapes[nodes[-1]][1:]
    queries = reader.shapes[nodes[0]][1:] if scores.product else (1,) * len(read_from) if rows.size == 1 else (rows.size,)
    reads = _reads(shares, (rows, columns), queries, read_from)
    if reads == ():  # no product of parts of each axis
        nodes = [reader.arranged(n, np.arange(prod(reader.shapes[n])).reshape(reader.shapes[n][0], -1)) for n in nodes]
        queries, read_from = (prod(queries),), (prod(read_from),)
        reads = _reads(shares, (rows, columns), queries, read_from)
    if scores.given:
        nodes.append(_given(reader, call, scores, groups.where, rows, queries))
    usual = not scores.product or math.isclose(scores.scale, scores.product.left.shape[2] ** -0.5, rel_tol=1e-12)
    op = Attention(groups.where.shape[1], reads, None if usual else scores.scale)
    if scores.fixed is not None:
        numbers["fixed"] = scores.fixed.reshape(-1, *shares.shape[-2:])[groups.where]
    found = reader.append(call, op, tuple(nodes), "", rows=rows, columns=columns, **numbers).node
    return found, groups.results(rows, values.channels.shape[1], prod(queries))


def _given(reader: Reader, call: Any, scores: Scores, where: Array, rows: Array, queries: tuple[int, ...]) -> int:
    """The node of the logits that are given: one channel a head and key, at the positions of the queries."""
    if scores.layout.size > MOST_LOGITS:
        raise Refusal(f"adds a signal to {scores.layout.size:.1e} logits: up to {MOST_LOGITS:.1e}; give a smaller input")
    nodes = []
    for node, units, factor in scores.given:
        value = Value(node) if factor == 1 else scaled_by(reader, call, Value(node), factor)
        chosen = units.reshape(-1, scores.rows, scores.keys)[where]  # (windows, heads, queries, keys)
        wanted = np.empty((where.shape[1], scores.keys, rows.size), dtype=np.int64)
        wanted[:, :, rows.ravel()] = chosen.transpose(1, 3, 0, 2).reshape(*wanted.shape)
        if wanted.max() >= prod(reader.shapes[value.node]):
            raise Refusal("has logits that come from other samples of the batch")
        nodes.append(reader.arranged(value.node, wanted.reshape(-1, *queries)))
    return nodes[0] if len(nodes) == 1 else reader.append(call, Add(), tuple(nodes), "logits").node


def _chosen(reader: Reader, side: _Side, where: Array) -> tuple[int, Array]:
    """The node with the channels of all heads, one after the other, and the positions of each window in it."""
    channels, positions = side.channels[where], side.positions[where]  # (windows, heads, ...)
    if (channels != channels[:1]).any() or (positions != positions[:, :1]).any() or (side.samples[where] != 0).any():
        raise Refusal(f"attends in groups whose {side.what} are not heads times windows of positions")
    chosen, places = channels[0].ravel(), positions[:, 0]
    spatial = side.shape[1:]
    used = np.unique(places)
    if len(used) < side.cells or not spatial:
        places, spatial = np.searchsorted(used, places), (len(used),)
    else:
        used = used.reshape(spatial)
    wanted = chosen.reshape(-1, *(1 for _ in spatial)) * side.cells + used
    return reader.arranged(side.node, wanted), places


def _windowed(made: Made, where: Array, rows: int, keys: int) -> Made:
    """Constants over all groups x queries x keys, as (windows, heads, queries, keys) of the first sample."""
    return lambda value: made(value).reshape(-1, rows, keys)[_indices(where)]


def _shares(reader: Reader, scores: Scores, numbers: dict[str, str], where: Array) -> Array:
    """softmax of the constants: (windows, heads, queries, keys), or one window and head for all."""
    import torch

    if not numbers and scores.fixed is None:
        return np.full((1, 1, scores.rows, scores.keys), 1 / scores.keys)
    constants: Any = sum(reader.tensors[name].detach().double().cpu() for name in numbers.values())
    if scores.fixed is not None:
        constants = constants + torch.from_numpy(scores.fixed.reshape(-1, scores.rows, scores.keys)[where])
    return np.asarray(torch.softmax(torch.as_tensor(constants), -1).numpy())


def _reads(shares: Array, places: Any, queries: tuple[int, ...], keys: tuple[int, ...]) -> tuple[Any, ...]:
    """For each axis the cells that each position reads; those whose share is nothing in single precision are left out.

    Nothing, (), where these are no product of cells of each axis.
    """
    least = np.finfo(np.float32).eps * shares.max(axis=-1, keepdims=True)
    read = (shares > least).any(axis=1)  # (windows or 1, queries, keys)
    there: Array = np.zeros((prod(queries), prod(keys)), dtype=bool)
    for window, (rows, columns) in enumerate(zip(places[0], places[1], strict=True)):
        there[np.ix_(rows, columns)] |= read[window if len(read) > 1 else 0]
    if there.all() and len(queries) == len(keys):
        return (None,) * len(keys)
    if len(queries) != len(keys):
        return ()
    grid: Any = there.reshape(*queries, *keys)
    axes = len(keys)
    each = [grid.any(axis=tuple(d for d in range(2 * axes) if d not in (axis, axes + axis))) for axis in range(axes)]
    product = np.asarray(reduce(np.multiply.outer, each)).transpose(*range(0, 2 * axes, 2), *range(1, 2 * axes, 2))
    if not np.array_equal(product, grid):
        return ()
    return tuple(tuple(tuple(np.flatnonzero(row).tolist()) for row in axis) for axis in each)


def _indices(places: Array) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(places))
