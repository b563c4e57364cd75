r"""Moments of pointwise functions of a Gaussian z ~ N(m, s^2): E[phi(z)], E[phi(z)^2], E[phi(z) phi(z')], E[phi'(z)^2].

For slopes a below 0 and b above they are closed, phi(z) = a z + (b - a) relu(z). With u = m / s, r the correlation, N the
normal distribution function, n its density and T Owen's function,

    E[relu(z)]          = m N(u) + s n(u)
    E[relu(z) relu(z')] = (m^2 + r s^2) P + 2 m s n(u) N(q) + s^2 sqrt(1 - r^2) exp(-u^2 / (1 + r)) / 2 pi,
    q = u sqrt((1 - r) / (1 + r)),   P = P(z, z' > 0) = N(u) - 2 T(u, q / u)

(Rosenbaum 1961, "Moments of a truncated bivariate normal distribution"; Owen 1956). The others are sums on a fine grid; the
product uses Mehler's series, E[phi(z) phi(z')] = sum_n r^n c_n^2 with c_n the coefficients of phi(m + s t) in Hermite
polynomials.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermevander
from scipy.special import erf, expit, gamma, ndtr, owens_t

from landscape.alike import pointwise
from landscape.gains import has_slopes, slopes
from lattice import Activation, UnsupportedError

__all__ = ["FUNCTIONS", "distinct", "gaussian_moments"]

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]
GRID = np.linspace(-9.0, 9.0, 12001)
DENSITY = np.exp(-(GRID**2) / 2) / np.sqrt(2 * np.pi) * (GRID[1] - GRID[0])
TERMS = 24  # of Mehler's series
FAR = 38.0  # deviations: the normal density is 0 in float64


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _elu(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


SELU = (1.0507009873554805, 1.6732632423543772)
FUNCTIONS: dict[str, Function] = {
    "relu6": lambda z: np.clip(z, 0, 6),
    "hardtanh": lambda z: np.clip(z, -1, 1),
    "silu": lambda z: z * expit(z),
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "hardswish": lambda z: z * np.clip(z + 3, 0, 6) / 6,
    "hardsigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "sigmoid": expit,
    "tanh": np.tanh,
    "elu": _elu,
    "celu": _elu,
    "selu": lambda z: SELU[0] * _elu(z, SELU[1]),
    "mish": lambda z: z * np.tanh(_softplus(z)),
    "softplus": _softplus,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "logsigmoid": lambda z: -_softplus(-z),
}


def gaussian_moments(activation: Activation, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    """E[phi(z)], E[phi(z)^2], E[phi(z) phi(z')] and E[phi'(z)^2] for z, z' ~ N(mean, variance) with this correlation.

    Arrays broadcast. `UnsupportedError` for an activation without a rule.

    >>> relu = gaussian_moments(Activation("relu"), np.zeros(1), np.ones(1), np.zeros(1))
    >>> [round(float(moment[0]), 4) for moment in relu]  # 1 / sqrt(2 pi), 1/2, 1 / (2 pi), 1/2
    [0.3989, 0.5, 0.1592, 0.5]
    >>> silu = gaussian_moments(Activation("silu"), np.zeros(1), np.ones(1), np.zeros(1))
    >>> [round(float(moment[0]), 4) for moment in silu]
    [0.2066, 0.3558, 0.0427, 0.3795]
    """
    rule = partial(_closed, *slopes(activation)) if has_slopes(activation) else partial(_summed, activation)
    return pointwise(rule, mean, variance, correlation)


def _summed(activation: Activation, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    """The four moments by sums on a grid, each case of mean and variance once."""
    cases, which = distinct(mean.round(12), variance.round(12))
    first, squared, gain, *squares = (
        np.array(moment)[which].reshape(mean.shape)
        for moment in zip(*(_numerical(activation, *case) for case in cases), strict=True)
    )
    product = squares.pop()
    while squares:  # Horner's rule for sum_n r^n c_n^2
        product = product * correlation + squares.pop()
    return first, squared, product, gain


def _closed(below: float, above: float, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    """The four moments of the function with these slopes below and above zero."""
    m, s, r = mean, np.sqrt(np.maximum(variance, 0.0)), np.clip(correlation, -1, 1)
    step, u = above - below, np.clip(m / np.maximum(s, 1e-300), -FAR, FAR)
    density, open_ = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), ndtr(u)
    relu = m * open_ + s * density
    positive = (m**2 + s**2) * open_ + m * s * density  # E[z^2; z > 0]
    negative = (m**2 + s**2) * ndtr(-u) - m * s * density
    together = np.maximum(1 + r, 1e-300)  # not 0 where z' = -z
    shrunk = np.sqrt((1 - r) / together)
    both = (m**2 + r * s**2) * (open_ - 2 * owens_t(u, shrunk)) + 2 * m * s * density * ndtr(u * shrunk)
    both += s**2 * np.sqrt(1 - r**2) * np.exp(-(u**2) / together) / (2 * np.pi)
    product = below**2 * (m**2 + r * s**2) + 2 * below * step * (m * relu + r * s**2 * open_) + step**2 * both
    squared, gain = below**2 * negative + above**2 * positive, below**2 * ndtr(-u) + above**2 * open_
    return below * m + step * relu, squared, product, gain


def distinct(*arrays: Array) -> tuple[list[tuple[float, ...]], Array]:
    """The distinct tuples of entries of arrays of one shape, and which of them stands at each place, flattened.

    >>> distinct(np.array([1.0, 2.0, 1.0]), np.array([5.0, 5.0, 5.0]))
    ([(1.0, 5.0), (2.0, 5.0)], array([0, 1, 0]))
    """
    code = np.zeros(arrays[0].size, dtype=np.int64)
    for array in arrays:
        values, where = np.unique(array, return_inverse=True)
        code = code * len(values) + where.ravel()
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    return list(zip(*(array.ravel()[first].tolist() for array in arrays), strict=True)), which


@lru_cache(maxsize=1)
def _hermite() -> Array:
    """The normalised Hermite polynomials on the grid, times the density: (terms, points)."""
    return np.asarray((hermevander(GRID, TERMS) / np.sqrt(gamma(np.arange(TERMS + 1) + 1.0))).T * DENSITY)


@lru_cache(maxsize=4096)
def _numerical(activation: Activation, mean: float, variance: float) -> tuple[float, ...]:
    """E[phi(z)], E[phi(z)^2], E[phi'(z)^2] and the squares c_0^2, c_1^2, ... by sums on a grid."""
    values, slope = _value_and_slope(activation, mean + np.sqrt(max(variance, 0.0)) * GRID)
    squares = (_hermite() @ values) ** 2
    return float(values @ DENSITY), float(values**2 @ DENSITY), float(slope**2 @ DENSITY), *squares.tolist()


def _value_and_slope(activation: Activation, z: Array) -> tuple[Array, Array]:
    if activation.name not in FUNCTIONS:
        raise UnsupportedError(f"{activation.name}: no moments; {', '.join(FUNCTIONS)} and the ReLU family have them")
    function = FUNCTIONS[activation.name]
    if activation.name == "elu" and activation.parameter is not None:
        alpha = activation.parameter
        function = lambda z: _elu(z, alpha)  # noqa: E731
    if activation.name == "celu" and activation.parameter is not None:
        width = activation.parameter
        function = lambda z: width * _elu(z / width)  # noqa: E731
    h = 1e-6
    return function(z), (function(z + h) - function(z - h)) / (2 * h)
