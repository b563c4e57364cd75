"""From a lattice to the torch network that it describes, with weights of the variances that are asked for."""

from collections.abc import Mapping
from functools import singledispatch
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from landscape import he
from landscape.tracing.proof.replay import Own, apply
from landscape.weights.initialisation import Initialisation, layer_variances, weighted
from lattice import Conv, ConvTranspose, Dense, Dropout, Lattice, Norm, Op, SpecificationError, UnsupportedError, Upsample
from lattice.network.lattice import check_lattice
from lattice.network.ops import Weighted, WeightedWindow

__all__ = ["LatticeModule", "build", "draw_weight", "draw_weights"]

Shapes: TypeAlias = tuple[tuple[int, ...], ...]

NO_NUMBERS = {"bias": None, "running_var": None, "number": 1, "shift": 0}


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
                found[node.name] = layer.weight  # type: ignore[assignment]
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


# --- the module of one op -------------------------------------------------------------------------------------------------


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
    raise UnsupportedError(f"no weight to build for {op!r}; add one with validation.montecarlo.build.module.register")


@module.register
def _(op: Conv, shapes: Shapes) -> nn.Module:
    (channels, *spatial), *_ = shapes
    return _Layer(op, shapes, (op.channels, channels // op.groups, *_kernel(op, tuple(spatial))))


@module.register
def _(op: ConvTranspose, shapes: Shapes) -> nn.Module:
    (channels, *spatial), *_ = shapes
    return _Layer(op, shapes, (channels, op.channels // op.groups, *_kernel(op, tuple(spatial))))


def _kernel(op: WeightedWindow, spatial: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(window.taps(n) for window, n in zip(op.windows(spatial), spatial, strict=True))


@module.register
def _(op: Dense, shapes: Shapes) -> nn.Module:
    return _Layer(op, shapes, (op.units, shapes[0][0]))


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
