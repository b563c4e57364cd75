r"""Moments of a pointwise function at very many laws of z, from those at a few: Chebyshev interpolation, checked.

E[phi(z)], E[phi(z)^2], E[phi(z) phi(z')], E[phi'(z)^2] and E[phi'(z)] for z, z' ~ N(m, s^2) of correlation r are smooth in m,
log s^2 and arccos r: a Gaussian law smooths phi, and at r = 1, where a product of kinks has a root in r, it has none in the
angle. Where each channel and position has a size of its own, thousands of laws lie in one small box of these coordinates, and
polynomials through the moments at a few nodes of it give all of them. They are compared with sums at laws of the box that are
no nodes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

__all__ = ["interpolated"]

Array = np.ndarray[Any, Any]
MANY = 1000  # laws, below which each is computed
ORDERS = (8, 12, 18, 27, 40)  # nodes on each axis that are tried in turn
PROBES = 50  # laws at which they are compared
TOLERANCE = 1e-11  # of E[phi^2], or of E[phi'^2]
CHUNK = 2**22  # numbers in an array of products of polynomials


def interpolated(moments: Callable[..., tuple[float, ...]], cases: Sequence[tuple[float, float, float]]) -> Array | None:
    """The five moments at all laws (mean, variance, correlation), (laws, 5); None for few laws, or where not precise.

    >>> def linear(mean, variance, correlation):
    ...     second = mean**2 + variance
    ...     return mean, second, mean**2 + variance * correlation, 1.0, 1.0
    >>> laws = [(0.0, 1 + i / 40, j / 40) for i in range(40) for j in range(40)]
    >>> found = interpolated(linear, laws)
    >>> bool(np.allclose(found, [linear(*law) for law in laws], rtol=1e-10))
    True
    """
    laws = np.array(cases, dtype=float).reshape(len(cases), -1)
    if len(laws) < MANY or laws[:, 1].min() <= 0 or not np.isfinite(laws).all():
        return None
    x = np.stack([laws[:, 0], np.log(laws[:, 1]), np.arccos(np.clip(laws[:, 2], -1, 1))], axis=1)
    low, high = x.min(axis=0), x.max(axis=0)
    axes = np.flatnonzero(high > low)
    middle, half = (low + high) / 2, (high - low) / 2
    probes = np.unique([*x.argmin(axis=0), *x.argmax(axis=0), *np.linspace(0, len(laws) - 1, PROBES).astype(int)])
    expected = np.array([moments(*laws[place].tolist()) for place in probes])
    scale = np.stack([np.sqrt(expected[:, 1]), *expected.T[[1, 1, 3]], np.sqrt(expected[:, 3])], axis=1)
    scaled = (x[:, axes] - middle[axes]) / half[axes]
    for order in ORDERS:
        if 2 * order ** len(axes) > len(laws):
            return None
        nodes = chebyshev.chebpts1(order)
        grid = np.broadcast_to(middle, (*[order] * len(axes), 3)).copy()
        for place, axis in enumerate(axes):
            grid[..., axis] += half[axis] * nodes.reshape([-1 if k == place else 1 for k in range(len(axes))])
        there = np.array([moments(m, np.exp(v), np.cos(angle)) for m, v, angle in grid.reshape(-1, 3).tolist()])
        coefficients = _coefficients(there.reshape(*grid.shape[:-1], -1), nodes)
        if (np.abs(_values(coefficients, scaled[probes]) - expected) <= TOLERANCE * scale).all():
            return _values(coefficients, scaled)
    return None


def _coefficients(values: Array, nodes: Array) -> Array:
    """Those of the products of Chebyshev polynomials through values on a grid of nodes, (*nodes, moments)."""
    order = len(nodes)
    turn = 2 / order * chebyshev.chebvander(nodes, order - 1).T
    turn[0] /= 2
    for axis in range(values.ndim - 1):
        values = np.moveaxis(np.tensordot(turn, values, (1, axis)), 0, axis)
    return values


def _values(coefficients: Array, points: Array) -> Array:
    """The sum of the polynomials at points (laws, axes) of the unit box."""
    order, count = coefficients.shape[0] if points.shape[1] else 1, points.shape[1]
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    found = np.empty((len(points), coefficients.shape[-1]))
    step = max(CHUNK // order**count, 1)
    for start in range(0, len(points), step):
        own = points[start : start + step]
        product = np.ones((len(own), 1))
        for axis in range(count):
            each = chebyshev.chebvander(own[:, axis], order - 1)
            product = (product[:, :, None] * each[:, None, :]).reshape(len(own), -1)
        found[start : start + step] = product @ flat
    return found
