"""From a lattice to the torch network that it describes, with weights of the variances that are asked for."""

from collections.abc import Mapping

import torch
from torch import nn

from landscape import he
from landscape.input_checks import either_spelling
from landscape.weights.fans import weighted
from landscape.weights.initialisation import Initialisation, layer_variances
from lattice import (
    Lattice,
    SpecificationError,
)
from lattice.network.lattice import check_lattice
from validation.montecarlo.modules import module

__all__ = ["LatticeModule", "build", "draw_weight", "draw_weights"]


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


@either_spelling
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
    >>> net = build(
    ...     families.plain(8, depth=2, channels=4),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
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
