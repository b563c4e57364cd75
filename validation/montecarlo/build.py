"""From a lattice to the torch network that it describes, with weights of the variances that are asked for."""

from collections.abc import Mapping
from functools import reduce, singledispatch
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from landscape import he
from landscape.tracing.proof.replay import Own, apply
from landscape.weights.initialisation import Initialisation, layer_variances, weighted
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
    SpecificationError,
    TransposedWindow,
    UnsupportedError,
    Upsample,
    Window,
)
from lattice.network.attention import Attention
from lattice.network.lattice import check_lattice
from lattice.network.rearrange import Rearrange, Resample

__all__ = ["LatticeModule", "build", "draw_weight", "draw_weights"]

Shapes: TypeAlias = tuple[tuple[int, ...], ...]

ADAPTIVE = {"avg": "AdaptiveAvgPool", "max": "AdaptiveMaxPool"}
ACTIVATIONS: dict[str, Any] = {
    "identity": nn.Identity, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "relu6": nn.ReLU6, "hardtanh": nn.Hardtanh,
    "silu": nn.SiLU, "gelu": nn.GELU, "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid, "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh, "elu": nn.ELU, "celu": nn.CELU, "selu": nn.SELU, "mish": nn.Mish, "softplus": nn.Softplus,
    "softsign": nn.Softsign, "logsigmoid": nn.LogSigmoid,
}  # fmt: skip
NUMPY_PADDING = {"circular": "wrap", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}


class LatticeModule(nn.Module):
    """A lattice as a torch module: one submodule per node, in evaluation mode without biases.

    Parameters
    ----------
    lattice : Lattice
        The network.
    """

    def __init__(self, lattice: Lattice) -> None:
        super().__init__()
        self.lattice = lattice
        self.layers = nn.ModuleList(module(node.op, lattice.input_shapes(node)) for node in lattice.nodes[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output of the lattice for a batch.

        Parameters
        ----------
        x : torch.Tensor
            Inputs (N, channels, *spatial).

        Returns
        -------
        torch.Tensor
            Outputs (N, *output_shape).
        """
        values = [x]
        for node, layer in zip(self.lattice.nodes[1:], self.layers, strict=True):
            values.append(layer(*(values[i] for i in node.inputs)))
        return values[-1]

    def weights(self) -> dict[str, nn.Parameter]:
        """The weight of each layer that has one, by node name.

        Returns
        -------
        dict of str to torch.nn.Parameter
            Weights as torch lays them out.
        """
        found: dict[str, nn.Parameter] = {}
        for node, layer in zip(self.lattice.nodes[1:], self.layers, strict=True):
            if weighted(node.op):
                holder: Any = layer[-1] if isinstance(layer, nn.Sequential) else layer
                found[node.name] = holder.weight
        return found


def build(
    lattice: Lattice,
    initialisation: Initialisation | Mapping[str, float] | float = he,
    *,
    generator: torch.Generator | None = None,
    distribution: str = "normal",
) -> LatticeModule:
    """The torch network of a lattice, weights drawn with the variances of `initialisation`, in evaluation mode.

    Parameters
    ----------
    lattice : Lattice
        The network.
    initialisation : callable, mapping of str to float, or float, default landscape.he
        V[w]: a scheme, one number for all layers, or one per layer name.
    generator : torch.Generator or None, default None
        Where the weights are drawn from; None is torch's global state, as for every torch initialisation.
    distribution : {"normal", "uniform", "rademacher"}, default "normal"
        Their distribution; "rademacher" is plus or minus the standard deviation.

    Returns
    -------
    torch.nn.Module
        From a batch (N, channels, *spatial) to (N, *output_shape), float32.

    Raises
    ------
    UnsupportedError
        If torch has no such layer.
    SpecificationError
        If the generator is none.

    Examples
    --------
    >>> from lattice import families
    >>> net = build(families.plain(8, depth=2, channels=4), generator=torch.Generator().manual_seed(0))
    >>> net(torch.zeros(1, 1, 8)).shape
    torch.Size([1, 4, 4])
    """
    check_lattice(lattice, "build")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise SpecificationError(f"generator is {generator!r}; it is torch.Generator().manual_seed(0), for example")
    # Skipping torch's own initialisation saves its time and leaves its random state alone.
    with torch.device("meta"):
        network = LatticeModule(lattice)
    network = network.to_empty(device="cpu").eval()
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._NormBase):
            part.reset_running_stats()
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
    draw_weights(network, layer_variances(lattice, initialisation), generator, distribution)
    return network


def draw_weights(
    network: LatticeModule,
    variances: Mapping[str, float],
    generator: torch.Generator | None = None,
    distribution: str = "normal",
) -> None:
    """Draw all weights of a built lattice anew, in place, with mean zero and the given variances (by node name)."""
    for name, weight in network.weights().items():
        draw_weight(weight.detach(), variances[name], generator, distribution)


def draw_weight(weight: torch.Tensor, variance: float, generator: torch.Generator | None, distribution: str) -> None:
    """Draw one layer's weight anew, in place, with mean zero and this variance."""
    deviation = variance**0.5
    match distribution:
        case "normal":
            weight.normal_(0.0, deviation, generator=generator)
        case "uniform":
            weight.uniform_(-deviation * 3**0.5, deviation * 3**0.5, generator=generator)
        case "rademacher":
            weight.bernoulli_(0.5, generator=generator).mul_(2 * deviation).sub_(deviation)
        case _:
            raise SpecificationError(f"distribution is {distribution!r}; it is 'normal', 'uniform' or 'rademacher'")


class _CopyPad(nn.Module):
    """Padding that copies cells, for every mode alike: on each axis, the cells that numpy's padding of 0..n-1 names."""

    def __init__(self, padding: tuple[tuple[int, int], ...], mode: str, spatial: tuple[int, ...]) -> None:
        super().__init__()
        self.cells = [
            torch.from_numpy(np.pad(np.arange(n), pair, mode=NUMPY_PADDING[mode]))  # type: ignore[call-overload]
            for n, pair in zip(spatial, padding, strict=True)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for axis, cells in enumerate(self.cells, start=2):
            x = x.index_select(axis, cells.to(x.device))
        return x


class _Blur(nn.Module):
    """One fixed filter over every channel, an outer product of one row of weights per axis."""

    def __init__(self, weights: list[tuple[float, ...]], stride: tuple[int, ...]) -> None:
        super().__init__()
        with torch.device("cpu"):  # data, also while the network is laid out without memory
            self.filter = torch.from_numpy(reduce(np.multiply.outer, [np.asarray(row) for row in weights]))
        self.stride = stride
        self.convolve = getattr(functional, f"conv{len(weights)}d")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.filter.to(x).expand(x.shape[1], 1, *self.filter.shape)
        result: torch.Tensor = self.convolve(x, weight, stride=self.stride, groups=x.shape[1])
        return result


class _StochasticDepth(nn.Module):
    """One mask for each sample."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * functional.dropout(x.new_ones(len(x), *(1 for _ in x.shape[1:])), self.p, self.training)


class _Function(nn.Module):
    """A function of one or several tensors as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.function(*tensors)
        return result


# --- the module of one op -------------------------------------------------------------------------------------------------


@singledispatch
def module(op: Op, shapes: Shapes) -> nn.Module:
    """The torch module of an op that reads these shapes."""
    raise UnsupportedError(f"no build rule for {op!r}; add one with validation.montecarlo.build.module.register")


def _layer(name: str, axes: int) -> Any:
    """torch's layer of this name for this number of spatial axes: ("Conv", 2) -> nn.Conv2d."""
    return getattr(nn, f"{name}{axes}d")


def _pad(windows: tuple[Any, ...], spatial: tuple[int, ...], mode: str) -> nn.Module:
    pairs = tuple(window.padding for window in windows)
    if mode != "zeros":
        with torch.device("cpu"):  # the cells are data, also while the network is laid out without memory
            return _CopyPad(pairs, mode, spatial)
    flat = [side for pair in reversed(pairs) for side in pair]
    return _Function(lambda x: functional.pad(x, flat))


@module.register
def _(op: Conv, shapes: Shapes) -> Any:
    ((channels, *spatial),) = shapes
    windows: Any = op.windows(tuple(spatial))
    kernel, stride, dilation = zip(*((w.kernel, w.stride, w.dilation) for w in windows), strict=True)
    options = {"stride": stride, "dilation": dilation, "groups": op.groups, "bias": False}
    layer = _layer("Conv", len(spatial))
    if op.mode == "zeros" and all(w.padding[0] == w.padding[1] for w in windows):
        return layer(channels, op.channels, kernel, padding=tuple(w.padding[0] for w in windows), **options)
    conv = layer(channels, op.channels, kernel, **options)
    return nn.Sequential(_pad(windows, tuple(spatial), op.mode), conv)


@module.register
def _(op: ConvTranspose, shapes: Shapes) -> Any:
    ((channels, *spatial),) = shapes
    windows = [w for w in op.windows(tuple(spatial)) if isinstance(w, TransposedWindow)]
    if any(w.output_padding >= max(w.stride, w.dilation) for w in windows):
        raise UnsupportedError(f"{op}: torch's output_padding is smaller than the stride or the dilation")
    if any(w.padding[0] != w.padding[1] for w in windows):
        raise UnsupportedError(f"{op}: torch pads a transposed convolution alike on both sides")
    parts = zip(*((w.kernel, w.stride, w.padding[0], w.output_padding, w.dilation) for w in windows), strict=True)
    kernel, stride, padding, output_padding, dilation = parts
    return _layer("ConvTranspose", len(spatial))(
        channels, op.channels, kernel, stride, padding, output_padding, op.groups, bias=False, dilation=dilation
    )


@module.register
def _(op: Dense, shapes: Shapes) -> Any:
    return nn.Linear(shapes[0][0], op.units, bias=False)


@module.register
def _(op: Pool, shapes: Shapes) -> Any:
    spatial = shapes[0][1:]
    windows = [w for w in op.windows(spatial) if isinstance(w, Window)]
    kernel, stride, dilation, pads = zip(*((w.kernel, w.stride, w.dilation, w.padding) for w in windows), strict=True)
    if any(lo != hi or lo > k // 2 for (lo, hi), k in zip(pads, kernel, strict=True)):
        raise UnsupportedError(f"{op}: torch pads a pool alike on both sides, by at most half its kernel")
    padding = tuple(lo for lo, _ in pads)
    if op.kind == "max":
        return _layer("MaxPool", len(spatial))(kernel, stride, padding, dilation, ceil_mode=op.ceil)
    if set(dilation) != {1}:
        raise UnsupportedError(f"{op}: torch has no dilated average pool")
    return _layer("AvgPool", len(spatial))(kernel, stride, padding, op.ceil, op.count_include_pad)


@module.register
def _(op: AdaptivePool, shapes: Shapes) -> Any:
    sizes = tuple(window.outputs(n) for window, n in zip(op.windows(shapes[0][1:]), shapes[0][1:], strict=True))
    return _layer(ADAPTIVE[op.kind], len(sizes))(sizes)


@module.register
def _(op: GlobalPool, shapes: Shapes) -> Any:
    return _layer(ADAPTIVE[op.kind], len(shapes[0]) - 1)(1)


@module.register
def _(op: Pad, shapes: Shapes) -> Any:
    return _pad(op.windows(shapes[0][1:]), shapes[0][1:], op.mode)


@module.register
def _(op: Blur, shapes: Shapes) -> Any:
    windows: Any = op.windows(shapes[0][1:])
    blur = _Blur([window.weights for window in windows], tuple(window.stride for window in windows))
    return nn.Sequential(_pad(windows, shapes[0][1:], op.mode), blur)


@module.register
def _(op: Upsample, shapes: Shapes) -> Any:
    spatial = shapes[0][1:]
    sizes = tuple(window.outputs(n) for window, n in zip(op.windows(spatial), spatial, strict=True))
    if op.mode == "nearest":
        return nn.Upsample(size=sizes, mode="nearest")
    return nn.Upsample(
        size=sizes, mode={1: "linear", 2: "bilinear", 3: "trilinear"}[len(spatial)], align_corners=op.align_corners
    )


@module.register
def _(op: PixelShuffle, shapes: Shapes) -> Any:
    if len(shapes[0]) != 3:
        raise UnsupportedError(f"{op}: torch has a pixel shuffle on two spatial axes only")
    return nn.PixelShuffle(op.factor)


@module.register
def _(op: Slice, shapes: Shapes) -> Any:
    return _Function(lambda x: x[:, op.start : op.stop])


@module.register
def _(op: ChannelShuffle, shapes: Shapes) -> Any:
    return _Function(lambda x: x.unflatten(1, (op.groups, -1)).transpose(1, 2).flatten(1, 2))


@module.register(Attention)
@module.register(Rearrange)
@module.register(Resample)
def _(op: Op, shapes: Shapes) -> Any:
    return _Function(lambda *tensors: apply(op, Own({}), *tensors))


@module.register
def _(op: Add, shapes: Shapes) -> Any:
    return _Function(lambda *tensors: sum(tensors[1:], start=tensors[0]))


@module.register
def _(op: Concat, shapes: Shapes) -> Any:
    return _Function(lambda *tensors: torch.cat(tensors, dim=1))


@module.register
def _(op: Flatten, shapes: Shapes) -> Any:
    return nn.Flatten()


@module.register
def _(op: Dropout, shapes: Shapes) -> Any:
    if op.shared == "sample":
        return _StochasticDepth(op.p)
    return nn.Dropout(op.p) if op.shared == "unit" else _layer("Dropout", max(len(shapes[0]) - 1, 1))(op.p)


@module.register
def _(op: Multiply, shapes: Shapes) -> Any:
    return _Function(torch.mul)


@module.register
def _(op: Norm, shapes: Shapes) -> Any:
    # the factors of a hand-made lattice's norms are 1: no epsilon but the op's own (torch wants one for batches; this adds
    # nothing), no learned scale but that of a batch norm
    channels, axes = shapes[0][0], len(shapes[0]) - 1
    match op.kind:
        case "batch":
            return _layer("BatchNorm", max(axes, 1))(channels, eps=max(op.eps, 1e-30))
        case "scale":
            return nn.Identity()
        case "layer":
            return _Function(lambda x: functional.layer_norm(x.movedim(1, -1), (channels,), eps=op.eps).movedim(-1, 1))
        case "group":
            return _Function(lambda x: functional.group_norm(x, op.groups, eps=op.eps))
    return _Function(lambda x: functional.instance_norm(x, eps=op.eps))


@module.register
def _(op: Activation, shapes: Shapes) -> Any:
    if op.name == "abs":
        return _Function(torch.abs)
    if op.name not in ACTIVATIONS:
        raise UnsupportedError(f"{op}: {', '.join((*ACTIVATIONS, 'abs'))} can be built")
    return ACTIVATIONS[op.name](*(() if op.parameter is None else (op.parameter,)))
