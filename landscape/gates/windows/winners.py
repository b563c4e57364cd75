r"""Which of several correlated Gaussians is the largest: P(a_k > a_m for all m), and a_k > 0, for any covariance.

The differences d_m = a_k - a_m are Gaussians, and P(all d_m > 0) is the integral over the unit cube that Genz (1992) gives:
with d = mean + L y, L triangular, y_m is drawn from what of its law is left after y_1, ..., y_{m-1}, and the integrand is the
product of these parts. It is smooth, so that a few hundred points of a lattice of square roots of primes, each with its mirror
image, give it to 1e-3 of its size; no random number is drawn.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

__all__ = ["RIDGE", "triangles", "winners"]

Array = np.ndarray[Any, Any]
POINTS = 128
SURE = 40.0  # deviations: a difference that is never negative
RIDGE = 1e-9  # of a variance: cells that are equal always are told apart by chance
MOST_NUMBERS = 2**22


def winners(mean: Array, covariance: Array, inside: Array) -> tuple[Array, Array]:
    """P(cell k is the largest) and P(it is, and is positive), (windows, cells) each.

    For means (windows, cells) and covariances (windows, cells, cells) of the cells that are `inside`.

    >>> [
    ...     part.round(4)
    ...     for part in winners(
    ...         np.zeros((1, 3)), np.eye(3)[None], np.ones((1, 3), dtype=bool)
    ...     )
    ... ]
    [array([[0.3333, 0.3333, 0.3333]]), array([[0.2917, 0.2917, 0.2917]])]
    """
    windows, cells = mean.shape
    # a little noise of its own in every cell: copies of one cell win equally often
    covariance = covariance + RIDGE * covariance * np.eye(cells)
    picked, positive = (np.empty((windows, cells)) for _ in range(2))
    for k in range(cells):
        rows = -np.eye(cells)
        rows[:, k] += 1
        rows[k] = 0  # the last condition: the cell itself is positive
        rows[k, k] = 1
        rows = rows[[*(m for m in range(cells) if m != k), k]]
        there = inside[:, [*(m for m in range(cells) if m != k), k]]
        size, between = _correlations(rows, covariance, there)
        left = _all_positive(np.where(there, mean @ rows.T / size, SURE), between)
        picked[:, k], positive[:, k] = (part * inside[:, k] for part in left)
    total = picked.sum(axis=1, keepdims=True)
    return picked / total, positive / total


def _correlations(rows: Array, covariance: Array, there: Array) -> tuple[Array, Array]:
    """The deviations of these combinations of cells, and the correlations between them."""
    own = np.einsum("mi,wii->wm", np.abs(rows), covariance)  # of which a difference is a part
    least = np.maximum(RIDGE / 2 * own, np.finfo(float).tiny)
    size = np.sqrt(np.maximum(np.einsum("mi,wij,mj->wm", rows, covariance, rows), least))
    between = np.clip(rows @ covariance @ rows.T / size[:, :, None] / size[:, None, :], -1, 1)
    apart = np.eye(len(rows), dtype=bool) | ~(there[:, :, None] & there[:, None, :])
    return size, np.where(apart, np.eye(len(rows)), between)


def _all_positive(mean: Array, covariance: Array) -> tuple[Array, Array]:
    """P(all entries but the last of each Gaussian vector are positive), and P(all are)."""
    if mean.shape[1] <= 3 and not mean.any():
        return _orthant(covariance[:, :-1, :-1]), _orthant(covariance)
    return _integrated(mean, covariance)


def _orthant(correlations: Array) -> Array:
    """P(all positive) of at most three centred Gaussians: 2^-n (1 + 2/pi sum of arcsin r) (Sheppard)."""
    count = correlations.shape[1]
    angles = sum((np.arcsin(correlations[:, i, j]) for j in range(count) for i in range(j)), np.zeros(len(correlations)))
    return np.asarray((1 + 2 / np.pi * angles) / 2**count)


def _integrated(mean: Array, covariance: Array) -> tuple[Array, Array]:
    count, size = mean.shape
    chunk = max(1, MOST_NUMBERS // (2 * POINTS * size))
    factors = triangles(covariance)
    points = _points(size)
    parts = [_sequence(mean[i : i + chunk], factors[i : i + chunk], points) for i in range(0, count, chunk)]
    first, last = zip(*parts, strict=True)
    return np.concatenate(first), np.concatenate(last)


def triangles(correlations: Array) -> Array:
    """Cholesky factors; where that is no covariance, of the one with the negative and the zero eigenvalues made least.

    Pairs that are taken as nearer than they are, and rounding, make covariances that no Gaussian has.
    """
    values, vectors = np.linalg.eigh(correlations)
    lacking = values[:, 0] < RIDGE
    if lacking.any():
        values, vectors = np.maximum(values[lacking], RIDGE), vectors[lacking]
        repaired = (vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1)
        size = np.sqrt(np.einsum("wii->wi", repaired))
        correlations = correlations.copy()
        correlations[lacking] = repaired / size[:, :, None] / size[:, None, :]
    return np.asarray(np.linalg.cholesky(correlations))


def _sequence(mean: Array, triangle: Array, points: Array) -> tuple[Array, Array]:
    before = whole = np.ones((len(mean), points.shape[1]))
    drawn = np.empty((len(mean), *points.shape))
    last = mean.shape[1] - 1
    for i in range(last + 1):
        shifted = mean[:, i, None] + (triangle[:, i, None, :i] @ drawn[:, :i])[:, 0]
        left = ndtr(shifted / triangle[:, i, i, None])
        before, whole = whole, whole * left
        if i < last:
            drawn[:, i] = -ndtri(np.clip(points[i] * left, np.finfo(float).tiny, 1 - 2**-53))
    return before.mean(axis=1), whole.mean(axis=1)


@lru_cache(maxsize=64)
def _points(size: int) -> Array:
    """Points of the unit cube, (size, 2 POINTS): a lattice, folded, and its mirror image."""
    primes = [n for n in range(2, 400) if all(n % d for d in range(2, int(n**0.5) + 1))][:size]
    steps = np.outer(np.sqrt(primes), np.arange(1, POINTS + 1)) % 1
    folded = np.abs(2 * steps - 1)
    return np.concatenate([folded, 1 - folded], axis=1)
