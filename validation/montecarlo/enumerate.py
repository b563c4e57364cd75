"""The exact judge: the expected squared gradient of a tiny net over EVERY pattern of weights +-sqrt(V). No false alarms.

The weights +-1 are zero-mean, independent and symmetric, so whatever is exact for all such weights is exact for them;
a rule that claims equality and misses it here, by more than rounding, is wrong. It shares no code with the prediction:
the network is a torch module, its gradients are autograd's.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from landscape.input_checks import checked_images, either_spelling
from landscape.weights.initialisation import Initialisation, layer_variances
from lattice import Lattice, ResourceError
from validation.montecarlo.build import LatticeModule, build

__all__ = ["count_weights", "enumerated_squared_gradients", "generic_input"]

MOST_WEIGHTS = 22
CHUNK = 2048

Array = np.ndarray[Any, Any]


@either_spelling
def enumerated_squared_gradients(
    lattice: Lattice, inputs: Array | None = None, initialisation: Initialisation | Mapping[str, float] | float = 1.0
) -> Array:
    """(1 / 2^n) sum over the 2^n sign patterns of (1/Z) sum_j (dh_j/dx_i)^2, n weights, Z outputs: Eq. 8's left side.

    Parameters
    ----------
    lattice : Lattice
        A network of at most 22 weights.
    inputs : ndarray or None, default None
        Images (N, channels, *spatial) to average over; None is one input without special values (`generic_input`).
    initialisation : callable, mapping of str to float, or float, default 1.0
        V[w]: a scheme, one number for all layers, or one per layer name.

    Returns
    -------
    ndarray of float64
        The map over input positions, averaged over input channels.

    Raises
    ------
    ResourceError
        If there are more than 22 weights.

    Examples
    --------
    >>> from lattice import Conv, Flatten, Dense
    >>> enumerated_squared_gradients(
    ...     Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
    ... )
    array([2., 3., 3., 2.])
    """
    if inputs is not None:
        inputs = checked_images(inputs, lattice.input_shape)
    network = build(lattice, initialisation, generator=torch.Generator().manual_seed(0)).double()
    variances = layer_variances(lattice, initialisation)
    layer = {id(weight): node for node, weight in network.weights().items()}
    weights = {name: parameter for name, parameter in network.named_parameters() if id(parameter) in layer}
    total = sum(weight.numel() for weight in weights.values())
    if total > MOST_WEIGHTS:
        raise ResourceError(
            f"{total} weights have 2^{total} sign patterns; enumeration takes at most {MOST_WEIGHTS} weights. "
            "Use fewer channels, or validation.measure, which draws patterns at random"
        )
    x = torch.tensor(generic_input(lattice) if inputs is None else inputs, dtype=torch.float64)
    deviations = [variances[layer[id(weight)]] ** 0.5 for weight in weights.values()]

    def outputs(parameters: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.func.functional_call(network, parameters, (image[None],))
        return result.flatten()

    def squared(signs: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        pieces = torch.split(signs, [weight.numel() for weight in weights.values()])
        parameters = {
            name: (piece * deviation).reshape(weight.shape)
            for (name, weight), piece, deviation in zip(weights.items(), pieces, deviations, strict=True)
        }
        jacobian: torch.Tensor = torch.func.jacrev(outputs, argnums=1)(parameters, image)
        return jacobian.square().mean(dim=(0, 1))

    batched = torch.func.vmap(torch.func.vmap(squared, in_dims=(None, 0)), in_dims=(0, None))
    result = torch.zeros(lattice.input_shape[1:], dtype=torch.float64)
    patterns = 2**total
    bits = torch.arange(total)
    for start in range(0, patterns, CHUNK):
        index = torch.arange(start, min(start + CHUNK, patterns))
        signs = 1.0 - 2.0 * ((index[:, None] >> bits) & 1).double()
        result += batched(signs, x).mean(dim=1).sum(dim=0).detach()
    return np.asarray(result / patterns)


def count_weights(lattice: Lattice) -> int:
    """The number of weights of a lattice, biases apart: enumeration costs 2 to this power."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in LatticeModule(lattice).weights().values())


def generic_input(lattice: Lattice, seed: int = 0) -> Array:
    """One input, (1, channels, *spatial), whose signed sums never vanish: independent Gaussian values.

    A ReLU net's expected squared gradient needs that no pre-activation is exactly zero.
    """
    return np.random.default_rng(seed).normal(size=(1, *lattice.input_shape))
