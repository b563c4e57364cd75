r"""Values that are never negative as rectified Gaussians: the Gaussian z of which relu(z) has given moments.

    E[relu(z)]^2 / E[relu(z)^2] = (u N(u) + n(u))^2 / ((1 + u^2) N(u) + u n(u)),     u = mean / deviation of z

rises with u from 0 to 1, so that mean and power tell z, and E[relu(z) relu(z')] the covariance of two. Of a ReLU's output it is
what the ReLU read; of maxima, sums and averages of such values it is the nearest law that is never negative.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr, owens_t

from landscape.gates.activations import closed_moments
from landscape.gates.averaging import pointwise, ratio

__all__ = ["gaussian_below", "gaussians_below"]

Array = np.ndarray[Any, Any]
ENDS = (-7.0, 8.5)  # deviations: above, all of z is positive to the last digit; below, hardly any
STEPS = 9  # of Newton's method from the right, where the slope is largest: it is quadratic from the first

DIGITS = 1e-9  # of a correlation: one more step would square this


def gaussian_below(mean: Array, power: Array) -> tuple[Array, Array]:
    """The mean and the variance of z, for E[relu(z)] = mean and E[relu(z)^2] = power.

    >>> [
    ...     float(part.round(6))
    ...     for part in gaussian_below(np.array(0.3989422804), np.array(0.5))
    ... ]
    [0.0, 1.0]
    """
    share = np.clip(ratio(mean**2, power), 0, 1)
    u = np.interp(share, *_shares())
    inside = share < _shares()[0][-1]
    unit = (1 + u**2) * ndtr(u) + u * _density(u)
    deviation = np.where(inside, np.sqrt(ratio(power, unit)), np.sqrt(np.maximum(power - mean**2, 0)))
    at_zero = np.abs(u) < 1e-9
    return np.where(inside, np.where(at_zero, 0.0, u) * deviation, mean), deviation**2


def gaussians_below(product: Array, mean: tuple[Array, Array], variance: tuple[Array, Array]) -> Array:
    """The covariance of z and z' with these means and variances, for E[relu(z) relu(z')] = product."""
    return pointwise(_covariance, product, *mean, *variance)[0]


def _covariance(product: Array, mean: Array, other_mean: Array, variance: Array, other_variance: Array) -> tuple[Array]:
    """By Newton's method: the product is convex in the correlation, and rises."""
    deviations = np.sqrt(variance * other_variance)
    first, second = ratio(mean, np.sqrt(variance)), ratio(other_mean, np.sqrt(other_variance))
    u = (first + second) / 2
    one = np.ones_like(u)
    half = [_unit(each, one, one)[0] for each in (first, second)]
    wanted = ratio(product, deviations) * ratio(_unit(u, one, one)[0], np.sqrt(half[0] * half[1]))
    correlation = one
    for _ in range(STEPS):
        found, slope = _unit(u, one, correlation)
        before, correlation = correlation, np.clip(correlation - ratio(found - wanted, slope), -1, 1)
        if np.allclose(before, correlation, rtol=0, atol=DIGITS):
            break
    return (correlation * deviations,)


def _unit(u: Array, one: Array, correlation: Array) -> tuple[Array, Array]:
    """E[relu(z) relu(z')] of unit deviations, and its slope in the correlation, P(z, z' > 0)."""
    zero = np.zeros(())
    product = closed_moments(zero, np.ones(()), u, one, correlation)[2]
    together = ndtr(u) - 2 * owens_t(u, np.sqrt((1 - correlation) / np.maximum(1 + correlation, np.finfo(float).tiny)))
    return product, np.maximum(together, np.finfo(float).tiny)


def _density(u: Array) -> Array:
    return np.asarray(np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi))


@lru_cache(maxsize=1)
def _shares() -> tuple[Array, Array]:
    """The share of the squared mean in the power, and u, densely."""
    u = np.linspace(*ENDS, 120001)
    first, second = u * ndtr(u) + _density(u), (1 + u**2) * ndtr(u) + u * _density(u)
    share = np.maximum.accumulate(first**2 / second)
    kept = np.concatenate([[True], np.diff(share) > 0])
    return share[kept], u[kept]
