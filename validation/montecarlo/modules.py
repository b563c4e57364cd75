"""The torch module of one op: what replaying a lattice says that the op does, with a weight or a state where it has one."""

from functools import singledispatch
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from landscape.tracing.proof.replay import Own, apply
from lattice import Conv, ConvTranspose, Dense, Dropout, Norm, Op, UnsupportedError, Upsample, Window
from lattice.network.ops import Weighted, WeightedWindow

__all__ = ["module"]

Shapes: TypeAlias = tuple[tuple[int, ...], ...]

NO_NUMBERS = {"bias": None, "running_var": None, "number": 1, "shift": 0}


class _Layer(nn.Module):
    """An op as a module: what `landscape.tracing.proof.replay` says that it does, with a weight where it has one."""

    def __init__(self, op: Op, shapes: Shapes, weight: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.op = op
        self.weight = None if weight is None else nn.Parameter(torch.empty(weight))
        tried = Own({**NO_NUMBERS, "weight": None if weight is None else torch.empty(weight, device="meta")})
        apply(op, tried, *(torch.empty(2, *shape, device="meta") for shape in shapes))  # what torch has not is refused here

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The value of the op."""
        return apply(self.op, Own({**NO_NUMBERS, "weight": self.weight}, train=self.training), *inputs)


class _StochasticDepth(nn.Module):
    """One mask for each sample."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * functional.dropout(x.new_ones(len(x), *(1 for _ in x.shape[1:])), self.p, self.training)


@singledispatch
def module(op: Op, shapes: Shapes) -> nn.Module:
    """The torch module of an op that reads these shapes; ops with weights, and with a state of their own, have a rule here."""
    return _Layer(op, shapes)


@module.register
def _(op: Weighted, shapes: Shapes) -> nn.Module:
    raise UnsupportedError(f"no weight to build for {op!r}; add one with validation.montecarlo.modules.module.register")


@module.register
def _(op: Conv, shapes: Shapes) -> nn.Module:
    (channels, *spatial), *_ = shapes
    windows = [window for window in op.windows(tuple(spatial)) if isinstance(window, Window)]
    if op.mode != "zeros" or any(
        window.padding[0] != window.padding[1] for window in windows
    ):  # torch's layer has it otherwise
        return _Layer(op, shapes, (op.channels, channels // op.groups, *_kernel(op, tuple(spatial))))
    parts = zip(*((w.kernel, w.stride, w.padding[0], w.dilation) for w in windows), strict=True)
    return _layer("Conv", len(spatial))(channels, op.channels, *parts, op.groups, bias=False)


@module.register
def _(op: ConvTranspose, shapes: Shapes) -> nn.Module:
    (channels, *spatial), *_ = shapes
    return _Layer(op, shapes, (channels, op.channels // op.groups, *_kernel(op, tuple(spatial))))


def _kernel(op: WeightedWindow, spatial: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(window.taps(n) for window, n in zip(op.windows(spatial), spatial, strict=True))


@module.register
def _(op: Dense, shapes: Shapes) -> nn.Module:
    return nn.Linear(shapes[0][0], op.units, bias=False)


@module.register
def _(op: Upsample, shapes: Shapes) -> nn.Module:
    spatial = shapes[0][1:]
    if op.mode == "nearest":
        return _Layer(op, shapes)
    # torch's own resize, which a trace knows; replaying multiplies by the lattice's map, so that the two are compared
    sizes = tuple(window.outputs(n) for window, n in zip(op.windows(spatial), spatial, strict=True))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(spatial)]
    return nn.Upsample(size=sizes, mode=mode, align_corners=op.align_corners)


@module.register
def _(op: Dropout, shapes: Shapes) -> nn.Module:
    if op.shared == "sample":
        return _StochasticDepth(op.p)
    return nn.Dropout(op.p) if op.shared == "unit" else _layer("Dropout", max(len(shapes[0]) - 1, 1))(op.p)


@module.register
def _(op: Norm, shapes: Shapes) -> nn.Module:
    # the factors of a hand-made lattice's norms are 1: no epsilon but the op's own (torch wants one for batches; this adds
    # nothing), no learned scale but that of a batch norm
    if op.kind != "batch":
        return _Layer(op, shapes)
    return _layer("BatchNorm", max(len(shapes[0]) - 1, 1))(shapes[0][0], eps=max(op.eps, 1e-30))


def _layer(name: str, axes: int) -> Any:
    """torch's layer of this name for this number of spatial axes: ("BatchNorm", 2) -> nn.BatchNorm2d."""
    return getattr(nn, f"{name}{axes}d")
