"""V[w] per layer: the variance that an initialisation scheme gives the weights of a layer.

A scheme is a function of a layer and the shape that it reads, (op, input shape) -> variance; pass one, or its name, to
`predict(lattice, initialisation=...)`. Fans are torch's, read off the shape of the weight: fan_in = (input channels / groups)
* taps and fan_out = output channels * taps, of all groups together; for a transposed convolution, whose weight is stored
the other way round, (output channels / groups) * taps and input channels * taps.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import truncnorm

from landscape.weights.fans import fans, taps, weighted
from lattice import Lattice, Op, SpecificationError
from lattice.checks import is_real
from lattice.network.ops import WeightedWindow

__all__ = [
    "Initialisation",
    "checked_variances",
    "glorot",
    "he",
    "he_fan_out",
    "layer_variances",
    "lecun",
    "orthogonal",
    "rademacher",
    "torch_default",
    "truncated_normal",
]

Shape: TypeAlias = tuple[int, ...]
Initialisation: TypeAlias = Callable[[Op, Shape], float]


def he(op: Op, shape: Shape) -> float:
    """V[w] = 2 / fan_in (He et al. 2015), torch's `kaiming_normal_`.

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    float
        The variance of its weights.

    Examples
    --------
    >>> from lattice import Conv
    >>> he(Conv(16, kernel=3), (8, 32, 32)) == 2 / 72
    True
    """
    return 2 / fans(op, shape)[0]


def he_fan_out(op: Op, shape: Shape) -> float:
    """V[w] = 2 / fan_out, torch's `kaiming_normal_(mode="fan_out")`: the convolutions of torchvision's ResNets and VGGs.

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    float
        The variance of its weights.

    Examples
    --------
    >>> from lattice import Conv
    >>> he_fan_out(Conv(16, kernel=3), (8, 32, 32)) == 2 / 144
    True
    """
    return 2 / fans(op, shape)[1]


def glorot(op: Op, shape: Shape) -> float:
    """V[w] = 2 / (fan_in + fan_out) (Glorot & Bengio 2010), torch's `xavier_normal_`.

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    float
        The variance of its weights.

    Examples
    --------
    >>> from lattice import Conv
    >>> glorot(Conv(16, kernel=3), (8, 32, 32)) == 2 / (72 + 144)
    True
    """
    return 2 / sum(fans(op, shape))


def lecun(op: Op, shape: Shape) -> float:
    """V[w] = 1 / fan_in (LeCun et al. 1998).

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    float
        The variance of its weights.

    Examples
    --------
    >>> from lattice import Conv
    >>> lecun(Conv(16, kernel=3), (8, 32, 32)) == 1 / 72
    True
    """
    return 1 / fans(op, shape)[0]


def torch_default(op: Op, shape: Shape) -> float:
    """V[w] = 1 / (3 fan_in): torch's own initialisation of Conv and Linear, `kaiming_uniform_(a=sqrt(5))`.

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    float
        The variance of its weights.

    Examples
    --------
    >>> from lattice import Conv
    >>> torch_default(Conv(16, kernel=3), (8, 32, 32)) == 1 / 216
    True
    """
    return 1 / (3 * fans(op, shape)[0])


def orthogonal(op: Op, shape: Shape) -> float:
    """V[w] = 1 / max(rows, columns) of the weight as a matrix, torch's `orthogonal_`; such weights are uncorrelated.

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    float
        The variance of its weights.

    Examples
    --------
    >>> from lattice import Conv
    >>> orthogonal(Conv(16, kernel=3), (8, 32, 32)) == 1 / 72
    True
    """
    fan_in, fan_out = fans(op, shape)
    if isinstance(op, WeightedWindow):
        fan_out //= taps(op, shape)  # the rows of the weight: output channels, of a transposed convolution input channels
    return 1 / max(fan_out, fan_in)


def rademacher(op: Op, shape: Shape) -> float:
    """V[w] = 1: weights +1 or -1, so that the map of a linear net is its mean path count.

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    float
        The variance of its weights.

    Examples
    --------
    >>> from lattice import Conv
    >>> rademacher(Conv(16, kernel=3), (8, 32, 32)) == 1
    True
    """
    return 1.0


def truncated_normal(std: float = 1.0, low: float = -2.0, high: float = 2.0) -> Initialisation:
    """V[w] of a normal variable cut off at low and high, torch's `trunc_normal_`, the same for all layers.

    Parameters
    ----------
    std : float, default 1.0
        Standard deviation of the normal variable before it is cut.
    low : float, default -2.0
        The lower cut, absolute, as in torch.
    high : float, default 2.0
        The upper cut; -low, since only weights of mean zero have a path law.

    Returns
    -------
    callable
        A scheme, (op, shape) -> V[w].

    Raises
    ------
    SpecificationError
        If the cuts are not -c and c.

    Examples
    --------
    >>> from lattice import Conv
    >>> round(truncated_normal()(Conv(16, kernel=3), (8, 32, 32)), 4)
    0.7737
    """
    if not (is_real(std) and is_real(high) and std > 0 and low == -high and high > 0):
        raise SpecificationError(f"a normal of deviation {std} cut at {low} and {high}: the cuts must be -c and c")
    variance = float(truncnorm.var(low / std, high / std, scale=std))
    return lambda op, shape: variance


SCHEMES: dict[str, Initialisation] = {
    scheme.__name__: scheme for scheme in (he, he_fan_out, glorot, lecun, torch_default, orthogonal, rademacher)
}
SCHEMES["truncated_normal"] = truncated_normal()


def layer_variances(lattice: Lattice, initialisation: "Initialisation | Mapping[str, float] | float | str") -> dict[str, float]:
    """V[w] of every layer with weights, by node name.

    Parameters
    ----------
    lattice : Lattice
        The network.
    initialisation : callable, str, float, or mapping of str to float
        A scheme or its name, one number, or a mapping that names all layers with weights.

    Returns
    -------
    dict of str to float
        Variance by layer name.

    Raises
    ------
    SpecificationError
        If there is no such scheme, a layer is missing or unknown, or a variance is negative or not finite.

    Examples
    --------
    >>> from lattice import Conv
    >>> layer_variances(Lattice.chain((1, 8), [Conv(4, kernel=3), Conv(4, kernel=3)]), 0.5)
    {'conv1': 0.5, 'conv2': 0.5}
    >>> layer_variances(Lattice.chain((1, 8), [Conv(4, kernel=2)]), "he")
    {'conv1': 1.0}
    """
    if isinstance(initialisation, str):
        if initialisation not in SCHEMES:
            raise SpecificationError(f"there is no initialisation {initialisation!r}; there are {', '.join(sorted(SCHEMES))}")
        initialisation = SCHEMES[initialisation]
    layers = [node for node in lattice.nodes if weighted(node.op)]
    if isinstance(initialisation, Mapping):
        missing = [node.name for node in layers if node.name not in initialisation]
        unknown = sorted(set(initialisation) - {node.name for node in layers})
        if missing or unknown:
            raise SpecificationError(
                f"the variances must name the layers with weights: missing {missing or 'none'}, unknown {unknown or 'none'}"
            )
        variances: dict[str, Any] = {node.name: initialisation[node.name] for node in layers}
    elif callable(initialisation):
        variances = {node.name: initialisation(node.op, lattice.input_shapes(node)[0]) for node in layers}
    elif np.ndim(initialisation) == 0:
        variances = {node.name: initialisation for node in layers}
    else:
        raise SpecificationError(
            f"initialisation is {initialisation!r}; it is a scheme or its name, one variance, or a variance by layer"
        )
    return checked_variances(lattice, variances)


def checked_variances(lattice: Lattice, variances: Mapping[str, Any]) -> dict[str, float]:
    """The variances of all layers with weights as floats: each is there, finite and not negative.

    Parameters
    ----------
    lattice : Lattice
        The network.
    variances : mapping of str to float
        Variance by layer name.

    Returns
    -------
    dict of str to float
        Variance by layer name.

    Raises
    ------
    SpecificationError
        If one is missing, negative or not finite; the message names the layer.

    Examples
    --------
    >>> from lattice import Conv
    >>> checked_variances(Lattice.chain((1, 8), [Conv(4, kernel=2)]), {"conv1": 1})
    {'conv1': 1.0}
    """
    by_layer: dict[str, Any] = {node.name: variances.get(node.name) for node in lattice.nodes if weighted(node.op)}
    for name, variance in by_layer.items():
        if not is_real(variance) or not float(variance) >= 0:
            raise SpecificationError(f"{name}: the variance of its weights is {variance}; it must be finite and not negative")
    return {name: float(variance) for name, variance in by_layer.items()}
