"""A lattice run forwards with the numbers of the model that it was read from: one torch function for every op.

This says what a lattice means, also to `validation.montecarlo.build`, which makes networks of lattices. Weights, biases,
running statistics, plain factors and the masks of dropouts are the model's own; gates, winners and norms of the signal are
found by the true functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce, singledispatch
from math import inf, prod
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from landscape.tracing.graph.constants import operation
from landscape.tracing.graph.layouts import inverse
from landscape.tracing.graph.reader import Reader
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Lattice,
    Multiply,
    Norm,
    Op,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    UnsupportedError,
    Upsample,
)
from lattice.network.attention import Attention, roles
from lattice.network.ops import Rearrangement
from lattice.network.rearrange import Resample
from lattice.network.shapes import sources

__all__ = ["Own", "apply", "replay"]

NUMPY_PADDING = {"circular": "wrap", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}
CLAMPS = ("clamp", "clamp_min", "clamp_max", "clip")
FUNCTIONS: dict[str, Any] = {
    "identity": lambda x: x, "relu": functional.relu, "leaky_relu": functional.leaky_relu, "relu6": functional.relu6,
    "hardtanh": functional.hardtanh, "silu": functional.silu, "gelu": functional.gelu, "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "elu": functional.elu,
    "celu": functional.celu, "selu": functional.selu, "mish": functional.mish, "softplus": functional.softplus,
    "softsign": functional.softsign, "logsigmoid": functional.logsigmoid, "abs": torch.abs,
    "square": torch.square, "erf": torch.erf,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Own:
    """What one node has of its own: tensors and numbers by role, the mask of a dropout, and the call that it was read from."""

    numbers: Mapping[str, Any]
    mask: Any = None
    call: Any = None
    train: bool = False

    def per_channel(self, role: str, x: torch.Tensor) -> Any:
        """A tensor of one number, or one per channel, as it meets (N, channels, *spatial); None where there is none."""
        tensor = self.numbers.get(role)
        return None if tensor is None else tensor.reshape(1, -1, *(1 for _ in x.shape[2:]))

    def plain(self, channels: int) -> bool:
        """Is it, beside eps, one weight and one bias for each channel, and no more?"""
        weight, bias = self.numbers.get("weight"), self.numbers.get("bias")
        maps = any(self.numbers.get(f"{role}_map") is not None for role in ("weight", "bias"))
        each = weight is not None and bias is not None and weight.shape == bias.shape == (channels,)
        return each and not maps and self.numbers["number"] == 1 and self.numbers["shift"] == 0


def replay(
    lattice: Lattice, reader: Reader, tensors: Mapping[str, torch.Tensor], masks: Mapping[Any, torch.Tensor], x: torch.Tensor
) -> list[torch.Tensor]:
    """The values of all nodes for an input (N, channels, *spatial); the last is the output, its axes as in the model.

    `tensors` by the names in `reader.weights`, `masks` by the call of the graph that drew them.
    """
    values = [x]
    for node in lattice.nodes[1:]:
        used = reader.weights.get(node.name, {})
        numbers = {role: tensors[part] if isinstance(part, str) else part for role, part in used.items() if role != "parent"}
        mask = None
        if node.name in reader.masks:
            draw, mask_of = reader.masks[node.name]
            mask = mask_of(masks[draw]).to(x) if draw in masks else None
            layout, units = reader.layouts.get(node.name), values[node.inputs[0]].shape
            if mask is not None and layout is not None:  # as the numbers that it meets stand in the node
                places = inverse(layout, prod(units))
                mask = mask.expand(layout.shape).flatten()[_on(places, mask)].reshape(units)
        own = Own(numbers, mask, reader.calls.get(node.name), reader.train)
        values.append(apply(node.op, own, *(values[i] for i in node.inputs)))
    return [*values[:-1], as_in_model(values[-1], reader.values[reader.result].layout)]


def as_in_model(x: torch.Tensor, layout: Any) -> torch.Tensor:
    """A node's numbers (N, channels, *spatial) as they stand in the model's tensor."""
    if layout is None:
        return x
    return x.flatten()[torch.from_numpy(np.array(layout)).to(x.device)]


@singledispatch
def apply(op: Op, own: Own, *inputs: torch.Tensor) -> torch.Tensor:
    """The value of an op, its inputs (N, channels, *spatial)."""
    raise UnsupportedError(f"no replay rule for {op!r}; add one with landscape.tracing.proof.replay.apply.register")


# --- layers that read a neighbourhood ---------------------------------------------------------------------------------------


def _padded(x: torch.Tensor, windows: Any, mode: str) -> torch.Tensor:
    """Padded on every axis; copies are the cells that numpy's padding of 0..n-1 names."""
    pairs = [window.padding for window in windows]
    if mode == "zeros":
        return functional.pad(x, [side for pair in reversed(pairs) for side in pair]) if np.any(pairs) else x
    for axis, pair in enumerate(pairs, start=2):
        cells = np.pad(np.arange(x.shape[axis]), pair, mode=NUMPY_PADDING[mode])  # type: ignore[call-overload]
        x = x.index_select(axis, torch.from_numpy(cells).to(x.device))
    return x


@apply.register
def _(op: Conv, own: Own, x: torch.Tensor) -> torch.Tensor:
    windows: Any = op.windows(tuple(x.shape[2:]))
    kernel, stride, dilation = zip(*((w.kernel, w.stride, w.dilation) for w in windows), strict=True)
    if own.call is not None and operation(own.call) == "linear" and set(kernel + stride) == {1} and op.groups == 1:
        tokens = _padded(x, windows, op.mode).movedim(1, -1)
        dense = functional.linear(tokens, own.numbers["weight"].reshape(op.channels, -1), own.numbers["bias"])
        return dense.movedim(-1, 1)  # in the order in which the model multiplies
    weight = own.numbers["weight"].reshape(op.channels, x.shape[1] // op.groups, *kernel)
    convolve = getattr(functional, f"conv{x.dim() - 2}d")
    pads, bias = [window.padding for window in windows], own.numbers["bias"]
    result: torch.Tensor
    if op.mode == "zeros" and all(lo == hi for lo, hi in pads):
        result = convolve(x, weight, bias, stride, tuple(lo for lo, _ in pads), dilation, op.groups)
    else:
        result = convolve(_padded(x, windows, op.mode), weight, bias, stride, 0, dilation, op.groups)
    return result


@apply.register
def _(op: ConvTranspose, own: Own, x: torch.Tensor) -> torch.Tensor:
    windows: Any = op.windows(tuple(x.shape[2:]))
    if any(w.output_padding >= max(w.stride, w.dilation) for w in windows):
        raise UnsupportedError(f"{op}: torch's output_padding is smaller than the stride or the dilation")
    if any(w.padding[0] != w.padding[1] for w in windows):
        raise UnsupportedError(f"{op}: torch pads a transposed convolution equally on both sides")
    parts = ((w.stride, w.padding[0], w.output_padding, w.dilation) for w in windows)
    stride, padding, more, dilation = zip(*parts, strict=True)
    convolve = getattr(functional, f"conv_transpose{x.dim() - 2}d")
    weight, bias = own.numbers["weight"], own.numbers["bias"]
    result: torch.Tensor = convolve(x, weight, bias, stride, padding, more, op.groups, dilation)
    return result


@apply.register
def _(op: Dense, own: Own, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, own.numbers["weight"].reshape(op.units, -1), own.numbers["bias"])


@apply.register
def _(op: Pool, own: Own, x: torch.Tensor) -> torch.Tensor:
    windows: Any = op.windows(tuple(x.shape[2:]))
    if op.kind == "max" and any(w.padding[0] != w.padding[1] for w in windows):
        x = functional.pad(x, [side for w in reversed(windows) for side in w.padding], value=-inf)
        windows = replace(op, padding=0).windows(tuple(x.shape[2:]))
    if any(w.padding[0] != w.padding[1] or w.padding[0] > w.kernel // 2 for w in windows):
        raise UnsupportedError(f"{op}: torch pads a pool equally on both sides, by at most half its kernel")
    parts = ((w.kernel, w.stride, w.padding[0], w.dilation) for w in windows)
    kernel, stride, padding, dilation = zip(*parts, strict=True)
    if op.kind == "avg" and set(dilation) != {1}:
        raise UnsupportedError(f"{op}: torch has no dilated average pool")
    result: torch.Tensor
    if op.kind == "max":
        pool = getattr(functional, f"max_pool{x.dim() - 2}d")
        result = pool(x, kernel, stride, padding, dilation, ceil_mode=op.ceil)
    else:
        pool = getattr(functional, f"avg_pool{x.dim() - 2}d")
        result = pool(x, kernel, stride, padding, op.ceil, op.count_include_pad)
    return result


@apply.register(AdaptivePool)
@apply.register(GlobalPool)
def _(op: AdaptivePool | GlobalPool, own: Own, x: torch.Tensor) -> torch.Tensor:
    spatial = tuple(x.shape[2:])
    sizes = tuple(window.outputs(n) for window, n in zip(op.windows(spatial), spatial, strict=True))
    result: torch.Tensor = getattr(functional, f"adaptive_{op.kind}_pool{len(sizes)}d")(x, sizes)
    return result


@apply.register
def _(op: Pad, own: Own, x: torch.Tensor) -> torch.Tensor:
    return _padded(x, op.windows(tuple(x.shape[2:])), op.mode)


@apply.register
def _(op: Blur, own: Own, x: torch.Tensor) -> torch.Tensor:
    windows: Any = op.windows(tuple(x.shape[2:]))
    x = _padded(x, windows, op.mode)
    taps = torch.from_numpy(reduce(np.multiply.outer, [np.asarray(window.weights) for window in windows])).to(x)
    weight = taps.expand(x.shape[1], 1, *taps.shape)
    stride = tuple(window.stride for window in windows)
    result: torch.Tensor = getattr(functional, f"conv{len(windows)}d")(x, weight, stride=stride, groups=x.shape[1])
    return result


@apply.register
def _(op: Resample, own: Own, x: torch.Tensor) -> torch.Tensor:
    for axis, (window, n) in enumerate(zip(op.axes, x.shape[2:], strict=True), start=2):
        x = (x.movedim(axis, -1) @ torch.from_numpy(window.matrix(n)).to(x).T).movedim(-1, axis)
    return x


@apply.register
def _(op: Attention, own: Own, *inputs: torch.Tensor) -> torch.Tensor:
    """Window by window, (N, windows, heads, positions, width) each; `rows` and `columns` are the positions of each window."""
    biases = [number for role, number in own.numbers.items() if role.startswith(("bias", "fixed"))]
    given = dict(zip(roles(inputs), inputs, strict=True))
    first = given.get("queries", inputs[-1])
    if "rows" in own.numbers:
        rows, columns = own.numbers["rows"], own.numbers["columns"]
    else:
        rows, columns, *biases = _allowed(op, first, given["values"])

    def windows(x: torch.Tensor, positions: Any) -> torch.Tensor:
        chosen: Any = x.flatten(2)[:, :, _on(positions, x)]
        split: torch.Tensor = chosen.unflatten(1, (op.heads, -1)).permute(0, 3, 1, 4, 2)
        return split

    logits: Any = windows(given["logits"], rows) if "logits" in given else 0.0
    if "queries" in given:
        q, k = windows(given["queries"], rows), windows(given["keys"], columns)
        logits = logits + q @ k.transpose(-1, -2) * (op.scale or q.shape[-1] ** -0.5)
    for bias in biases:
        logits = logits + torch.as_tensor(bias).to(logits)
    mixed = (torch.softmax(logits, -1) @ windows(given["values"], columns)).permute(0, 2, 4, 1, 3)
    mixed = mixed.flatten(3).flatten(1, 2)  # (N, channels, positions)
    places = np.argsort(rows.ravel())
    return mixed[:, :, _on(places, x=mixed)].reshape(*mixed.shape[:2], *first.shape[2:])


def _on(positions: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(positions)).to(x.device)


def _allowed(op: Attention, queries: torch.Tensor, keys: torch.Tensor) -> tuple[Any, Any, Any]:
    """All positions as one window, and -inf where an output does not read."""
    windows = op.windows(tuple(queries.shape[2:]), tuple(keys.shape[2:]))
    read = reduce(np.multiply.outer, [w.matrix(n) > 0 for w, n in zip(windows, keys.shape[2:], strict=True)], np.ones((), bool))
    axes = keys.dim() - 2
    there = read.transpose(*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)).reshape(prod(read.shape[::2]), -1)
    return np.arange(len(there))[None], np.arange(there.shape[1])[None], torch.from_numpy(np.where(there, 0.0, -np.inf))


@apply.register
def _(op: Upsample, own: Own, x: torch.Tensor) -> torch.Tensor:
    spatial = tuple(x.shape[2:])
    windows = op.windows(spatial)
    if op.mode == "nearest":  # torch's own rounding of its double precision; that of the lattice is compared when it is read
        return functional.interpolate(x, size=tuple(w.outputs(n) for w, n in zip(windows, spatial, strict=True)))
    for axis, (window, n) in enumerate(zip(windows, spatial, strict=True), start=2):
        x = (x.movedim(axis, -1) @ torch.from_numpy(window.matrix(n)).to(x).T).movedim(-1, axis)
    return x


# --- what moves numbers -----------------------------------------------------------------------------------------------------


@apply.register
def _(op: Rearrangement, own: Own, x: torch.Tensor) -> torch.Tensor:
    read = np.array(sources(op, tuple(x.shape[1:])))
    found = x.flatten(1)[:, torch.from_numpy(np.maximum(read, 0)).to(x.device)]
    return found if read.min(initial=0) >= 0 else found * torch.from_numpy(read >= 0).to(x.device)  # -1: a zero


@apply.register
def _(op: PixelShuffle, own: Own, x: torch.Tensor) -> torch.Tensor:
    if x.dim() != 4:
        raise UnsupportedError(f"{op}: torch has a pixel shuffle on two spatial axes only")
    return functional.pixel_shuffle(x, op.factor)


@apply.register
def _(op: Slice, own: Own, x: torch.Tensor) -> torch.Tensor:
    return x[:, op.start : op.stop]


@apply.register
def _(op: ChannelShuffle, own: Own, x: torch.Tensor) -> torch.Tensor:
    split: torch.Tensor = torch.unflatten(x, 1, (op.groups, -1))
    return split.transpose(1, 2).flatten(1, 2)


@apply.register
def _(op: Concat, own: Own, *inputs: torch.Tensor) -> torch.Tensor:
    return torch.cat(inputs, 1)


@apply.register
def _(op: Flatten, own: Own, x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1)


# --- what acts on single numbers --------------------------------------------------------------------------------------------


@apply.register
def _(op: Add, own: Own, *inputs: torch.Tensor) -> torch.Tensor:
    return sum(inputs[1:], start=inputs[0])


@apply.register
def _(op: Multiply, own: Own, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return first * second


@apply.register
def _(op: Dropout, own: Own, x: torch.Tensor) -> torch.Tensor:
    if own.mask is None and op.p < 1:  # in evaluation mode
        return x
    return x * 0 if own.mask is None else x * (own.mask / (1 - op.p))


@apply.register
def _(op: Norm, own: Own, x: torch.Tensor) -> torch.Tensor:
    weight, bias = (own.per_channel(role, x) if own.numbers.get(f"{role}_map") is None else own.numbers[f"{role}_map"]
                    for role in ("weight", "bias"))  # fmt: skip
    if op.kind == "batch" or own.numbers["running_var"] is not None:
        of_batch = op.kind == "batch" and own.train
        mean, variance = (None, None) if of_batch else (own.numbers["running_mean"], own.numbers["running_var"])
        gamma, beta = own.numbers["weight"], own.numbers["bias"]
        return functional.batch_norm(x, mean, variance, gamma, beta, of_batch, eps=own.numbers["eps"])
    if op.kind == "rms":
        split, least = torch.unflatten(x, 1, (op.groups, -1)), torch.finfo(x.dtype).tiny  # nothing is divided by nothing
        x = (split * torch.rsqrt((split.square().mean(2, keepdim=True) + op.eps).clamp_min(least))).flatten(1, 2)
    elif op.kind == "layer" and op.groups == 1 and own.plain(x.shape[1]):  # in the order in which the model computes
        gamma, beta = own.numbers["weight"], own.numbers["bias"]
        return functional.layer_norm(x.movedim(1, -1), x.shape[1:2], gamma, beta, op.eps).movedim(-1, 1)
    elif op.kind == "layer":
        split = torch.unflatten(x.movedim(1, -1), -1, (op.groups, -1))
        x = functional.layer_norm(split, split.shape[-1:], eps=op.eps).flatten(-2).movedim(-1, 1)
    elif op.kind == "group":
        x = functional.group_norm(x, op.groups, eps=op.eps)
    elif op.kind == "instance":
        x = functional.instance_norm(x, eps=op.eps)
    x = x if weight is None else x * weight
    x = x if own.numbers["number"] == 1 else x * own.numbers["number"]
    x = x if bias is None else x + bias
    return x if own.numbers["shift"] == 0 else x + own.numbers["shift"]


@apply.register
def _(op: Activation, own: Own, x: torch.Tensor) -> torch.Tensor:
    name = "" if own.call is None else operation(own.call)
    if name in CLAMPS:  # it passes a gradient at its bounds, the functions of its name do not
        low, high = {"relu": (0, None), "relu6": (0, 6), "hardtanh": (-1, 1)}[op.name]
        return torch.clamp(x, low, high)
    if op.name == "gelu":
        return functional.gelu(x, approximate="none" if own.call is None else own.call.kwargs.get("approximate", "none"))
    if op.name not in FUNCTIONS:
        raise UnsupportedError(f"{op}: {', '.join(FUNCTIONS)} can be built and replayed")
    function: Any = FUNCTIONS[op.name]
    result: torch.Tensor = function(x) if op.parameter is None else function(x, op.parameter)
    return result
