"""The rules of operations that move numbers: reshapings, permutations, slices, concatenations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from landscape.tracing.aten.registry import rule
from landscape.tracing.graph.reader import RESHAPES, Reader, Refusal, Value, shape_of
from lattice import ChannelShuffle, Concat, Flatten, Slice, Upsample


@rule(*RESHAPES)
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source = reader.view(call.args[0])
    before, after = shape_of(call.args[0]), shape_of(call)
    if source.groups:
        return _joined(reader, call, source, after)
    if before == after:
        return source
    batch = after[:1] == before[:1]
    if len(after) == len(before) + 1 and batch and before[2:] == after[3:] and source.order is None:
        return replace(source, groups=after[1])  # channels in two axes: half of a channel shuffle
    node = reader.tensor(call.args[0])
    if len(after) == 2 and batch and len(before) > 2:
        return reader.append(call, Flatten(), (node,))
    if len(before) == 2 and before == after[:2] and set(after[2:]) == {1}:
        raise Refusal("gives flat features positions again; keep them (global pooling with keepdim) for a gate")
    raise Refusal(f"reshapes {before} to {after}; flattening everything but the batch, and channel shuffles, have a rule")


def _joined(reader: Reader, call: Any, source: Value, after: tuple[int, ...]) -> Value:
    """The second reshaping of a channel shuffle."""
    if after[1:] != reader.shapes[source.node]:
        raise Refusal(f"reshapes channels in two axes to {after}; only a channel shuffle has a rule")
    if not source.swapped:
        return replace(source, groups=0)
    return reader.append(call, ChannelShuffle(source.groups), (source.node,))


@rule("expand", "expand_as")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    """One cell repeated over all positions is a nearest resize of it; the shape as it was changes nothing."""
    source, before, after = reader.view(call.args[0]), shape_of(call.args[0]), shape_of(call)
    if before == after:
        return source
    repeats = len(before) == len(after) > 2 and before[:2] == after[:2]
    if not repeats or any(n not in (1, m) for n, m in zip(before, after, strict=True)):
        raise Refusal(f"repeats {before} to {after}; one cell over all positions has a rule")
    return reader.append(call, Upsample(size=after[2:]), (reader.tensor(call.args[0]),))


@rule("channel_shuffle", "native_channel_shuffle")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    return reader.append(call, ChannelShuffle(a["groups"]), (reader.tensor(call.args[0]),))


@rule("permute", "transpose", "movedim")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    source = reader.view(call.args[0])
    axes = list(range(len(shape_of(call))))
    if "dims" in a:
        permutation = [axis % len(axes) for axis in a["dims"]]
    elif "dim0" in a:
        first, second = a["dim0"] % len(axes), a["dim1"] % len(axes)
        permutation = list(axes)
        permutation[first], permutation[second] = second, first
    else:
        raise Refusal("moves axes: use permute")
    if source.groups:
        if permutation != [0, 2, 1, *axes[3:]]:
            raise Refusal("permutes channels that were split in two axes; only a channel shuffle has a rule")
        return replace(source, swapped=not source.swapped)
    order = tuple((source.order or tuple(axes))[axis] for axis in permutation)
    return replace(source, order=None if order == tuple(axes) else order)


@rule("cat", "concat", "concatenate")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    if a["dim"] % len(shape_of(call)) != 1:
        raise Refusal(f"concatenates along axis {a['dim']}; only the channel axis, 1, has a rule")
    parts = tuple(reader.tensor(part) for part in a["tensors"])
    return reader.append(call, Concat(), parts) if len(parts) > 1 else Value(parts[0])


@rule("chunk", "split", "split_with_sizes", "tensor_split")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> list[Value]:
    node = reader.tensor(call.args[0])
    if a["dim"] % len(shape_of(call.args[0])) != 1:
        raise Refusal(f"splits axis {a['dim']}; only the channel axis, 1, has a rule")
    parts, start = [], 0
    for part in call.meta["val"]:
        stop = start + int(part.shape[1])
        parts.append(reader.append(call, Slice(start, stop), (node,)))
        start = stop
    return parts


@rule("slice")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Value:
    before, after = shape_of(call.args[0]), shape_of(call)
    if before == after:
        return reader.value(call.args[0])
    node = reader.tensor(call.args[0])
    if a["dim"] % len(before) != 1 or a["step"] != 1:
        raise Refusal(f"takes a part of axis {a['dim']} in steps of {a['step']}; only channels in steps of 1 have a rule")
    start, stop, _ = slice(a["start"], a["end"]).indices(before[1])  # torch clamps bounds as Python does
    return reader.append(call, Slice(start, stop), (node,))
