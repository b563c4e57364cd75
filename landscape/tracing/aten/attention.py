"""The rules of attention: `scaled_dot_product_attention`, and the same written out as products of matrices and a softmax."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.pointwise import total
from landscape.tracing.aten.products import scaled_by
from landscape.tracing.aten.registry import REASONS, rule
from landscape.tracing.graph.reader import Reader, Refusal, Value, operation, shape_of
from landscape.tracing.graph.values import Scores
from lattice import Activation
from lattice.network.attention import Attention

__all__: list[str] = []

Array = np.ndarray[Any, Any]
Made = Any
WHAT = ("queries", "keys", "values")


@rule("scaled_dot_product_attention")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a.get("dropout_p") and reader.train:
        raise Refusal("drops shares of attention in training mode: not yet")
    (left, first), (right, second) = (_groups(reader, a[name], shape_of(call)[:-2]) for name in ("query", "key"))
    scale = a.get("scale") or shape_of(a["query"])[-1] ** -0.5
    layout = np.arange(prod(left.shape[:2]) * right.shape[1]).reshape(*shape_of(call)[:-1], right.shape[1])
    scores = Scores((first, second), left, right, layout, scale)
    if a.get("is_causal"):
        later = np.triu(np.ones(layout.shape[-2:], dtype=bool), 1)
        scores = replace(scores, fixed=np.where(np.broadcast_to(later, layout.shape), -np.inf, 0.0).ravel())
    mask = a.get("attn_mask")
    if mask is not None:
        if not reader.is_fixed(mask):
            raise Refusal("never: a mask that depends on the input")
        scores = replace(scores, constants=((call, mask, _over(layout)),))
    return _mixed(reader, call, replace(scores, soft=True), a["value"], shape_of(call))


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
    first, second = call.args[:2]
    if reader.is_fixed(first) or reader.is_fixed(second):
        raise Refusal("multiplies with a fixed matrix: not yet; use a linear layer or a convolution of kernel 1")
    scores = reader.values.get(first)
    if isinstance(scores, Scores):
        return _mixed(reader, call, scores, second, shape_of(call))
    scores = reader.values.get(second)
    if isinstance(scores, Scores):  # v A' = (A v')'
        value = reader.value(first)
        turned = Value(value.node, np.swapaxes(reader.layout(value), -1, -2))
        shape = (*shape_of(call)[:-2], shape_of(call)[-1], shape_of(call)[-2])
        found = _mixed(reader, call, replace(scores, layout=np.swapaxes(scores.layout, -1, -2)), turned, shape)
        return Value(found.node, np.swapaxes(reader.layout(found), -1, -2))
    outer = shape_of(call)[:-2]
    left, one = _groups(reader, first, outer)
    right, other = _groups(reader, second, outer, turned=True)
    layout = np.arange(prod(left.shape[:2]) * right.shape[1]).reshape(shape_of(call))
    return Scores((one, other), left, right, layout)


@rule("einsum")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    """q k' and shares times values, named by letters."""
    equation, (first, second) = str(call.args[0]).replace(" ", ""), call.args[1]
    (one, other), result = equation.split("->")[0].split(","), equation.split("->")[1]
    if "." in equation or reader.is_fixed(first) or reader.is_fixed(second):
        raise Refusal(f"sums products by {equation!r}: only two signals, with all axes named, have a rule")
    outer = [c for c in result if c in one and c in other]
    inner = [c for c in one if c in other and c not in result]
    own, others = ([c for c in names if c in result and c not in outer] for names in (one, other))
    if len(inner) != 1 or len(own) != 1 or len(others) != 1:
        raise Refusal(f"sums products by {equation!r}: only q k' and shares times values have a rule")
    scores = reader.values.get(first)
    sizes = dict(zip(result, shape_of(call), strict=True))
    if isinstance(scores, Scores):
        order = [*outer, *own, *inner]
        scores = replace(scores, layout=scores.layout.transpose([one.index(c) for c in order]))
        value = _turned(reader, second, other, [*outer, *inner, *others])
        found = _mixed(reader, call, scores, value, tuple(sizes[c] for c in [*outer, *own, *others]))
        return Value(found.node, reader.layout(found).transpose([[*outer, *own, *others].index(c) for c in result]))
    left = _turned(reader, first, one, [*outer, *own, *inner])
    right = _turned(reader, second, other, [*outer, *others, *inner])
    shape = tuple(sizes[c] for c in [*outer, *own, *others])
    layout = np.arange(prod(shape)).reshape(shape).transpose([[*outer, *own, *others].index(c) for c in result])
    rows = [reader.layout(part).reshape(-1, *reader.layout(part).shape[-2:]) for part in (left, right)]
    return Scores((left.node, right.node), rows[0], rows[1], layout)


def _turned(reader: Reader, argument: Any, names: str, order: list[str]) -> Value:
    value = reader.value(argument)
    return Value(value.node, reader.layout(value).transpose([names.index(c) for c in order]))


@rule("softmax", "_softmax")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    scores = reader.values.get(call.args[0])
    if isinstance(scores, Value) and shape_of(call)[a["dim"]] == 2:
        return _of_two(reader, call, a["dim"])
    if not isinstance(scores, Scores) or scores.soft:
        raise Refusal(REASONS["log_softmax"])
    keys = scores.right.shape[1]
    along = np.moveaxis(scores.layout, a["dim"], -1)
    if along.shape[-1] != keys or (along % keys != np.arange(keys)).any() or (along // keys != along[..., :1] // keys).any():
        raise Refusal("takes a softmax over other axes than the keys")
    return replace(scores, soft=True)


def _of_two(reader: Reader, call: Any, dim: int) -> Value:
    """A softmax over two numbers is the sigmoid of their difference: softmax(a, b) = sigmoid(a - b), sigmoid(b - a)."""
    import torch

    argument = call.args[0]
    value = reader.whole(reader.value(argument))
    with reader.graph.inserting_before(call):
        other = reader.graph.call_function(torch.ops.aten.flip.default, (argument, [dim]))
        difference = reader.graph.call_function(torch.ops.aten.sub.Tensor, (argument, other))
        own = reader.graph.call_function(torch.ops.aten.sigmoid.default, (difference,))
    for made in (other, difference, own):
        made.meta = dict(call.meta)
    turned = scaled_by(reader, call, Value(value.node, np.flip(reader.layout(value), dim)), -1.0)
    apart = total(reader, call, [value, turned])
    return reader.placed(reader.append(own, Activation("sigmoid"), (apart.node,)), apart.layout)


# --- from layouts to the node -----------------------------------------------------------------------------------------------


def _groups(reader: Reader, argument: Any, outer: tuple[int, ...], turned: bool = False) -> tuple[Array, int]:
    """The layout of an argument as (groups, positions, width), its first axes broadcast; and the node."""
    value = reader.value(argument)
    layout = reader.layout(value)
    layout = np.swapaxes(layout, -1, -2) if turned else layout
    full = np.broadcast_to(layout, (*outer, *layout.shape[-2:]))
    return full.reshape(-1, *layout.shape[-2:]), value.node


class _Side:
    """Queries, keys or values: groups split into heads (channels) and windows (positions), of one sample."""

    def __init__(self, reader: Reader, layout: Array, node: int, what: str) -> None:
        self.node, self.shape = node, reader.shapes[node]
        units, cells = prod(self.shape), prod(self.shape[1:])
        if layout.min() < 0:
            raise Refusal(f"its {what} have zeros among them: not yet")
        samples, local = np.divmod(layout, units)
        channels, positions = np.divmod(local, cells)
        if (
            (samples != samples[:, :1, :1]).any()
            or (channels != channels[:, :1]).any()
            or (positions != positions[..., :1]).any()
        ):
            raise Refusal(f"mixes channels, not positions: its {what} do not stand in rows of channels")
        self.samples, self.channels, self.positions = samples[:, 0, 0], channels[:, 0], positions[:, :, 0]
        self.cells = cells


def _mixed(reader: Reader, call: Any, scores: Scores, argument: Any, shape: tuple[int, ...]) -> Value:
    """softmax(logits) v as a node, and where its numbers stand; `shape` is (..., queries, width of the values)."""
    if not scores.soft:
        raise Refusal("multiplies logits with a signal before a softmax: not yet")
    rows, keys = scores.left.shape[1], scores.right.shape[1]
    outer = scores.layout.shape[:-2]
    groups = scores.layout[..., 0, 0].ravel() // (rows * keys)
    in_order = groups[:, None, None] * rows * keys + np.arange(rows)[:, None] * keys + np.arange(keys)
    if scores.layout.shape[-2:] != (rows, keys) or (scores.layout.reshape(-1, rows, keys) != in_order).any():
        raise Refusal("multiplies shares that stand in other rows than the queries")
    value = argument if isinstance(argument, Value) else reader.value(argument)
    layout = reader.layout(value)
    values = np.empty((scores.left.shape[0], *layout.shape[-2:]), dtype=np.int64)
    values[groups] = np.broadcast_to(layout, (*outer, *layout.shape[-2:])).reshape(-1, *layout.shape[-2:])
    sides = [
        _Side(reader, part, node, what)
        for part, node, what in zip((scores.left, scores.right, values), (*scores.nodes, value.node), WHAT, strict=True)
    ]
    found, result = _append(reader, call, scores, sides)
    full = result[groups].reshape(shape)
    here = np.arange(reader.batch * prod(reader.shapes[found])).reshape(reader.batch, *reader.shapes[found])
    plain = full.shape == here.shape and np.array_equal(full, here)
    placed = reader.placed(Value(found), None if plain else full)
    return placed if scores.factor == 1 else scaled_by(reader, call, placed, scores.factor)


def _append(reader: Reader, call: Any, scores: Scores, sides: list[_Side]) -> tuple[int, Array]:
    """The node, and its layout (groups, queries, width of the values)."""
    queries, _, values = sides
    first = queries.samples == 0
    heads, head = np.unique(queries.channels[first], axis=0, return_inverse=True)
    windows, window = np.unique(queries.positions[first], axis=0, return_inverse=True)
    head, window = head.reshape(-1), window.reshape(-1)
    where = np.full((len(windows), len(heads)), -1)
    where[window, head] = np.flatnonzero(first)
    if (where < 0).any() or first.sum() != where.size:
        raise Refusal("attends in groups that are not heads times windows of positions")
    chosen = [_chosen(reader, side, where, what) for side, what in zip(sides, WHAT, strict=True)]
    nodes, places = [node for node, _ in chosen], [place for _, place in chosen]
    if not np.array_equal(places[1], places[2]):
        raise Refusal("takes keys and values from other positions")
    numbers: dict[str, Any] = {}
    for k, (at, argument, made) in enumerate(scores.constants):
        numbers[f"bias{k}"] = reader.keep(at, argument, _windowed(made, where, places[0].shape[1], places[1].shape[1]))
    shares = _shares(reader, scores, numbers, where, places)
    if _reads(shares, places, *(reader.shapes[node][1:] for node in nodes[:2])) == ():  # no product of parts of each axis
        nodes = [reader.arranged(n, np.arange(prod(reader.shapes[n])).reshape(reader.shapes[n][0], -1)) for n in nodes]
    shapes = [reader.shapes[node] for node in nodes]
    usual = math.isclose(scores.scale, queries.channels.shape[1] ** -0.5, rel_tol=1e-12)
    op = Attention(len(heads), _reads(shares, places, shapes[0][1:], shapes[1][1:]), None if usual else scores.scale)
    if scores.fixed is not None:
        numbers["fixed"] = scores.fixed.reshape(-1, *shares.shape[-2:])[where]
    found = reader.append(call, op, tuple(nodes), "", rows=places[0], columns=places[1], **numbers).node
    width, cells = values.channels.shape[1], prod(shapes[0][1:])
    result = np.empty((len(queries.samples), places[0].shape[1], width), dtype=np.int64)
    for b in range(reader.batch):
        own = queries.samples == b
        order = np.full((len(windows), len(heads)), -1)
        if own.sum() != first.sum() or (queries.channels[own] != queries.channels[first]).any():
            raise Refusal("attends in other groups from sample to sample of the batch")
        order[window, head] = np.flatnonzero(own)
        channels = np.arange(len(heads))[:, None] * width + np.arange(width)
        units = b * len(heads) * width * cells + channels[None, :, None] * cells + places[0][:, None, :, None]
        result[order] = units
    return found, result


def _chosen(reader: Reader, side: _Side, where: Array, what: str) -> tuple[int, Array]:
    """The node with the channels of all heads, one after the other, and the positions of each window in it."""
    channels, positions = side.channels[where], side.positions[where]  # (windows, heads, ...)
    if (channels != channels[:1]).any() or (positions != positions[:, :1]).any() or (side.samples[where] != 0).any():
        raise Refusal(f"attends in groups whose {what} are not heads times windows of positions")
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


def _shares(reader: Reader, scores: Scores, numbers: dict[str, str], where: Array, places: Any) -> Array:
    """softmax of the constants: (windows, heads, queries, keys), or one window and head for all."""
    import torch

    if not numbers and scores.fixed is None:
        return np.full((1, 1, places[0].shape[1], places[1].shape[1]), 1 / places[1].shape[1])
    constants: Any = sum(reader.tensors[name].detach().double().cpu() for name in numbers.values())
    if scores.fixed is not None:
        constants = constants + torch.from_numpy(scores.fixed.reshape(-1, places[0].shape[1], places[1].shape[1])[where])
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
