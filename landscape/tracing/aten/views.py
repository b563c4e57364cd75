"""The rules of operations that move numbers: torch itself does to the layout of a tensor what it does to the tensor."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.registry import rule, shifted
from landscape.tracing.graph.layouts import Rows
from landscape.tracing.graph.reader import Reader, Refusal, Value, operation, shape_of
from landscape.tracing.graph.values import Length, Scores
from lattice import Add, Concat

MOVES = (
    "flatten", "view", "view_as", "reshape", "reshape_as", "_unsafe_view", "squeeze", "unsqueeze", "unflatten", "permute",
    "transpose", "t", "movedim", "moveaxis", "swapaxes", "numpy_T", "mT", "expand", "expand_as", "repeat",
    "repeat_interleave", "tile", "slice", "select", "narrow", "index_select", "index", "roll", "flip", "rot90", "unfold",
    "as_strided", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "diagonal", "im2col",
    "unbind", "chunk", "split", "split_with_sizes", "tensor_split", "unsafe_chunk", "unsafe_split", "atleast_3d",
    "broadcast_to",
)  # fmt: skip


@rule(*MOVES)
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    source = reader.values.get(call.args[0])
    if isinstance(source, Length) and operation(call) in ("expand", "expand_as"):
        return source
    if isinstance(source, Scores):
        return source.moved(_moved(reader, call, source.layout))
    value = reader.value(call.args[0])
    whole = _moved(reader, call, reader.layout(value))
    return [_placed(reader, value, part) for part in whole] if isinstance(whole, list) else _placed(reader, value, whole)


def _moved(reader: Reader, call: Any, layout: Any) -> Any:
    """What a call makes of a layout; its other arguments are shapes, numbers, or constants."""
    import torch

    def known(node: Any) -> Any:
        if node is call.args[0]:
            return torch.from_numpy(np.array(layout))
        if reader.is_fixed(node):
            return reader.known(call, node)
        if operation(call) in ("view_as", "reshape_as", "expand_as"):
            return torch.empty(shape_of(node))
        raise Refusal("moves numbers to places that depend on the input")

    if operation(call) == "im2col":  # it is for floating point, and pads with 0
        columns = call.target(torch.from_numpy(layout + 1.0), *call.args[1:], **call.kwargs)
        return columns.long().numpy() - 1
    arguments = torch.fx.node.map_arg((call.args, call.kwargs), known)
    if operation(call) == "as_strided" and reader.values[call.args[0]].layout is not None:
        raise Refusal("strides over the memory of a tensor that was moved; use view and permute")
    target = torch.ops.aten.reshape.default if operation(call) in ("view", "_unsafe_view") else call.target
    with torch.no_grad():  # a layout is no view: its strides are its own
        moved = target(*arguments[0], **arguments[1])
    return [part.numpy() for part in moved] if isinstance(moved, list | tuple) else moved.numpy()


def _placed(reader: Reader, value: Value, layout: Any) -> Value:
    """The same node in another layout; the plain one has no array of its own."""
    shape = (reader.batch, *reader.shapes[value.node])
    if layout.shape == shape and np.array_equal(layout.ravel(), np.arange(layout.size)):
        return Value(value.node)
    return Value(value.node, layout)


# --- several tensors in one -------------------------------------------------------------------------------------------------


@rule("cat", "concat", "concatenate", "stack")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    shape, given = shape_of(call), [part for part in a["tensors"] if prod(shape_of(part))]
    dim, stacked = a["dim"] % len(shape), operation(call) == "stack"
    signals = [part for part in given if not reader.is_fixed(part)]
    first = reader.value(signals[0])

    def layout(part: Any) -> Any:
        """That of a constant is of zeros, to which it is added."""
        own = np.full(shape_of(part), -1) if reader.is_fixed(part) else reader.layout(reader.value(part))
        return np.expand_dims(own, dim) if stacked else own

    parts = [Value(first.node if reader.is_fixed(part) else reader.value(part).node, layout(part)) for part in given]
    axes = reader.channel_axes(Value(first.node, layout(signals[0])))
    if len({part.node for part in parts}) == 1:  # cells of one node
        found = _placed(reader, first, np.concatenate([reader.layout(part) for part in parts], dim))
    elif stacked or dim in axes or not axes:
        found = _side_by_side(reader, call, parts, tuple(sorted({dim, *axes})), dim)
    else:
        found = _one_after_another(reader, call, parts, axes, dim)
    start = 0
    for part, placed in zip(given, parts, strict=True):
        width = reader.layout(placed).shape[dim]
        if reader.is_fixed(part):
            found = _plus_constant(reader, call, part, found, (slice(None),) * dim + (slice(start, start + width),))
        start += width
    return found


def _side_by_side(reader: Reader, call: Any, parts: list[Value], axes: tuple[int, ...], dim: int) -> Value:
    """As channels, over the positions of the first part that has any numbers."""
    signal = next(part for part in parts if (reader.layout(part) >= 0).any())
    node, rows = reader.rows(signal, axes)
    spatial = reader.shapes[node][1:]
    nodes = [node if part is signal else _over(reader, part, axes, rows, spatial) for part in parts]
    joined = reader.append(call, Concat(), tuple(nodes)).node
    cells, units, start, layouts = prod(spatial), prod(reader.shapes[joined]), 0, []
    for part in parts:
        widths = tuple(reader.layout(part).shape[axis] for axis in axes)
        channels = start + np.arange(prod(widths))
        local = channels * cells + rows.positions[:, None] + rows.samples[:, None] * units
        full = local.reshape(*rows.shape, *widths)
        layouts.append(np.moveaxis(full, range(len(rows.shape), full.ndim), axes))
        start += prod(widths)
    return _placed(reader, Value(joined), np.concatenate(layouts, dim))


def _over(reader: Reader, part: Value, axes: tuple[int, ...], rows: Rows, spatial: tuple[int, ...]) -> int:
    """A part's channels over the positions that the rows of another one have."""
    layout, units = reader.layout(part), prod(reader.shapes[part.node])
    rest = np.moveaxis(layout, axes, range(-len(axes), 0)).reshape(len(rows.positions), -1)
    local = np.where(rest >= 0, rest - rows.samples[:, None] * units, -1)
    own = local[rows.samples == 0]
    alike = all(np.array_equal(local[rows.samples == b], own) for b in range(1, reader.batch))
    if not alike or own.max(initial=-1) >= units:
        raise Refusal("joins tensors of which other samples of the batch stand side by side")
    wanted = np.full((own.shape[1], prod(spatial)), -1)
    wanted[:, rows.positions[rows.samples == 0]] = own.T
    return reader.arranged(part.node, wanted.reshape(-1, *spatial))


def _one_after_another(reader: Reader, call: Any, parts: list[Value], axes: tuple[int, ...], dim: int) -> Value:
    """As positions: each part is padded with zeros to all of them, and the parts are added."""
    total, start = sum(reader.layout(part).shape[dim] for part in parts), 0
    nodes, rows = [], None
    for part in parts:
        layout = reader.layout(part)
        if (layout >= 0).any():
            pads = [(0, 0)] * layout.ndim
            pads[dim] = (start, total - start - layout.shape[dim])
            node, rows = reader.rows(Value(part.node, np.pad(layout, pads, constant_values=-1)), axes)
            nodes.append(node)
        start += layout.shape[dim]
    assert rows is not None
    shapes = {reader.shapes[node] for node in nodes}
    if len(shapes) > 1:
        raise Refusal("joins positions of tensors with other numbers of channels")
    node = nodes[0] if len(nodes) == 1 else reader.append(call, Add(), tuple(nodes)).node
    widths = tuple(reader.layout(parts[0]).shape[axis] for axis in axes)
    return _placed(reader, Value(node), rows.layout(axes, widths, shapes.pop()[1:]))


def _plus_constant(reader: Reader, call: Any, part: Any, found: Value, where: tuple[slice, ...]) -> Value:
    """A constant in place of the zeros that stand for it."""
    numbers = reader.known(call, part)
    if reader.names_of(part) is None and not bool(numbers.any()):
        return found  # zeros they are

    def made(value: Any) -> Any:
        full = value.new_zeros(shape_of(call))
        full[where] = value.reshape(full[where].shape)
        return full

    return shifted(reader, call, part, found, made)
