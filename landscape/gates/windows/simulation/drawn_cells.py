r"""A Gaussian field over a grid of cells at fixed points, from which moments of many maxima at once are read.

The points are those of a Sobol sequence with their mirror images, and they serve all fields; no random number is drawn. Without
a digital shift its higher coordinates go together, so each is shifted by a multiple of the golden section. The first
coordinates are the most even. So they go to the long waves of the field, which in deep layers carry nearly all of it: a
thousand points then tell as much as ten thousand whose coordinates go to single cells.
"""

from functools import lru_cache, reduce
from typing import Any

import numpy as np
from scipy.fft import dct
from scipy.special import ndtri
from scipy.stats import qmc

from landscape.gates.windows.winners import RIDGE, triangles

__all__ = ["gaussian_cells", "gaussian_points"]

Array = np.ndarray[Any, Any]
BITS = 30  # of a Sobol sequence
GOLDEN = (np.sqrt(5) - 1) / 2
POINTS_EACH = 32  # for every coordinate that is made uncorrelated with the others; with fewer its fourth moment would fall


def gaussian_cells(mean: Array, variance: Array, covariance: Array, points: int) -> Array:
    """Cells with these means and variances (*grid), and covariances (cells, cells), at all points: (cells, 2 points).

    >>> field = gaussian_cells(
    ...     np.zeros(2), np.ones(2), np.array([[1.0, 0.5], [0.5, 1.0]]), 64
    ... )
    >>> (field @ field.T / 128).round(6)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    deviation = np.sqrt(variance.ravel())
    sizes = np.where(deviation > 0, deviation, 1.0)
    correlations = np.clip(covariance / sizes / sizes[:, None], -1, 1)
    np.fill_diagonal(correlations, 1.0)
    waves = _waves(variance.shape)
    ridge = RIDGE * np.eye(len(sizes))
    try:
        factor = np.linalg.cholesky(waves @ correlations @ waves.T + ridge)
    except np.linalg.LinAlgError:  # no covariance that a Gaussian has
        repaired = waves @ triangles(correlations[None])[0]
        factor = np.linalg.cholesky(repaired @ repaired.T + ridge)
    drawn = waves.T @ factor @ gaussian_points(len(sizes), points)
    return np.asarray(mean.ravel()[:, None] + deviation[:, None] * drawn)


@lru_cache(maxsize=64)
def _waves(sizes: tuple[int, ...]) -> Array:
    """Cosines over a grid as rows, the long waves first: an orthogonal matrix."""
    rows: Array = np.ones((1, 1))
    for n in sizes:
        rows = np.kron(rows, dct(np.eye(n), axis=0, norm="ortho"))
    steepness = reduce(np.add.outer, [(np.arange(n) / n) ** 2 for n in sizes]).ravel()
    return np.asarray(rows[np.argsort(steepness, kind="stable")])


@lru_cache(maxsize=16)
def gaussian_points(cells: int, points: int) -> Array:
    """Standard Gaussians of a Sobol sequence and their mirror images, (cells, 2 points).

    Their means are zero and their squares one on average, and the first of them are uncorrelated.

    >>> gaussian_points(2, 4).shape
    (2, 8)
    """
    shifts = (np.mod(np.arange(1, cells + 1) * GOLDEN, 1) * 2**BITS).astype(np.int64)
    places = (qmc.Sobol(cells, scramble=False).random(points) * 2**BITS).astype(np.int64) ^ shifts
    normal = ndtri((places.T + 0.5) / 2**BITS)
    first = normal[: max(points // POINTS_EACH, 1)]
    normal[: len(first)] = np.linalg.solve(np.linalg.cholesky(first @ first.T / points), first)
    normal /= np.sqrt((normal**2).mean(axis=1, keepdims=True))
    return np.concatenate([normal, -normal], axis=1)
