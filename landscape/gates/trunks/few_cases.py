r"""A costly function of many cases, from a few of them: what an approximation leaves is a quadratic polynomial.

    f(x) = near(x) (1 + q(features(x))),

q fitted to a sample by least squares. Where q is poor the sample says so: some of its cases are held out of the fit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from landscape.gates.averaging import ratio

__all__ = ["from_few_cases"]

Array = np.ndarray[Any, Any]
FITTED, HELD_OUT = 3, 1  # cases for each term of the polynomial
WORTH = 2  # times as many cases as are sampled: else all are computed
CLOSE = 1e-3  # of the root mean square: so near what is held out is met
LARGEST = 1e75  # of a feature: fourth powers are numbers yet
ROUNDING = 1e-12  # of the variance of all features: what deviates by less is constant
FURTHEST = 32  # one channel of so many is computed, those that are furthest from the others
GOLDEN = (5**0.5 - 1) / 2  # its multiples spread evenly over the cases, however many belong together


def from_few_cases(
    function: Callable[[Array], Array], cases: Array, approximation: Callable[[Array], tuple[Array, Array]]
) -> Array:
    """`function` of cases (channels, positions, numbers), as (channels, positions, outputs), where a polynomial is close to it.

    The function itself takes (cases, numbers). `approximation(cases)` gives features, (cases, features), of which what it
    leaves depends smoothly, and values near those of the function, (cases, outputs). Computed are a sample, the channels that
    are furthest from the others or have a feature that is huge or not finite, and all where what is held out of the fit is
    missed by more than 1e-3. What is known of a channel is of one kind, so that it is smooth over positions.

    >>> calls, cases = [], np.linspace(1, 2, 1000)[:, None, None]
    >>> found = from_few_cases(
    ...     lambda x: (calls.append(len(x)), np.log(1 + x) * x)[1],
    ...     cases,
    ...     lambda x: (x, x),
    ... )
    >>> sum(calls) < 100, bool(abs(found - np.log(1 + cases) * cases).max() < 0.005)
    (True, True)
    """
    channels, positions, numbers = cases.shape
    flat = cases.reshape(-1, numbers)
    count = approximation(flat[:1])[0].shape[1]
    sampled = (FITTED + HELD_OUT) * (count + 1) * (count + 2) // 2
    if len(flat) < WORTH * sampled:
        return function(flat).reshape(channels, positions, -1)
    features, near = approximation(flat)
    features[~(np.abs(features) < LARGEST)] = np.inf
    far = _furthest(features, channels)
    inside = np.flatnonzero(np.repeat(~far, positions))
    if len(inside) < WORTH * sampled:
        return function(flat).reshape(channels, positions, -1)
    places = inside[(np.arange(sampled) * GOLDEN % 1 * len(inside)).astype(np.int64)]
    features[~np.isfinite(features)] = 0.0  # of channels that are computed
    polynomial = _quadratic(features, features[places])
    known, close, held_out = function(flat[places]), near[places], np.arange(sampled) % (FITTED + HELD_OUT) == 0
    fitted = polynomial[places[~held_out]], ratio(known - close, close)[~held_out]
    found = near * (1 + polynomial @ np.linalg.lstsq(*fitted)[0])
    missed = (found[places] - known)[held_out]
    if not ((missed**2).mean(axis=0) <= CLOSE**2 * (known**2).mean(axis=0)).all():
        far[:] = True
    found = found.reshape(channels, positions, -1)
    if far.any():
        found[far] = function(cases[far].reshape(-1, numbers)).reshape(-1, *found.shape[1:])
    return found


def _furthest(features: Array, channels: int) -> Array:
    """The channels with a case that lies further from the mean of all, in deviations (Mahalanobis), than one of most others."""
    told = np.isfinite(features).all(axis=1)
    if not told.any():
        return np.ones(channels, dtype=bool)
    apart = features[told] - features[told].mean(axis=0)
    covariance = apart.T @ apart / len(apart)
    covariance += ROUNDING * np.trace(covariance) * np.eye(len(covariance))
    distances = np.full(len(features), np.inf)
    distances[told] = np.einsum("ij,ij->i", apart @ np.linalg.pinv(covariance, hermitian=True), apart)
    furthest = distances.reshape(channels, -1).max(axis=1)
    limit = np.sort(furthest)[channels - 1 - channels // FURTHEST]
    return (furthest > limit) | ~np.isfinite(furthest)


def _quadratic(features: Array, sample: Array) -> Array:
    """1, the features in deviations of the sample, and their products, (cases, terms)."""
    deviation = sample.std(axis=0)
    apart = np.ascontiguousarray(((features - sample.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)).T)
    one, other = np.triu_indices(len(apart))
    return np.concatenate([np.ones((1, apart.shape[1])), apart, apart[one] * apart[other]]).T
