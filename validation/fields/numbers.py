r"""The numbers of a field, each a function of the mean map, so that its standard error is the jackknife's over images.

The high-contribution area ratio r(t) of RepLKNet (Ding et al., CVPR 2022) exists in two forms, and this module has both beside
a third that depends on no scale:

    script  A = log10(mean over images + 1), divided by its maximum; the first of the squares of side 3, 5, 7, ... around pixel
            (h // 2, w // 2) whose sum EXCEEDS t of the whole; none where none up to side h - 1 does (erf/analyze_erf.py)
    text    the same with the SUM over images in the place of the mean, as the paper's appendix words it ("rectangle" there; its
            scores are those of features that are not rectified, statistic "positive", the script's those of "rectified")
    free    no logarithm: the area, interpolated between squares around the unit, that holds t of the map itself

The logarithm of x + 1 is linear for small contributions and flattens large ones, so that the first two change with the scale of
the gradients: two networks can be told apart by a factor in front of their features alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from scipy import optimize

from lattice import SpecificationError
from lattice.checks import is_real

__all__ = [
    "Gaussian",
    "area_ratio",
    "flip_asymmetry",
    "gaussian_fit",
    "lean",
    "luo_side",
    "phase_contrast",
    "published_area_ratio",
    "share_beyond",
]

Array = np.ndarray[Any, Any]

THRESHOLDS = (0.2, 0.3, 0.5, 0.99)  # of RepLKNet's table
TWO_SIGMA = 0.9545  # Luo et al. (2016): pixels above 1 - 95.45 % of the centre's value
NARROWEST = 0.1  # pixels: a Gaussian below this width is one pixel


def contribution(values: Array) -> Array:
    """The map as float64, which must not be negative, and not be zero everywhere."""
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all() or (found < 0).any() or not found.any():
        raise SpecificationError(
            "shares of a field need contributions that are finite, not negative and not all zero; of statistic='signed' there "
            "are none: measure 'squared', 'absolute' or 'rectified'"
        )
    return found


def checked_share(t: Any) -> float:
    """A share between 0 and 1."""
    if not is_real(t) or not 0 < float(t) < 1:
        raise SpecificationError(f"t is {t!r}; it is a share between 0 and 1, for example 0.5")
    return float(t)


def area_ratio(values: Array, t: float, centre: Sequence[float] | None = None) -> float:
    """The share of the positions in the square around `centre` that holds the share t of the map; scale-free.

    Squares grow cell by cell (Chebyshev distance) and are cut at the borders; between two of them the area is interpolated
    linearly in what they hold, so that the number is continuous in the map. `centre`: None for the middle of the map.

    >>> round(area_ratio(np.ones((9, 9)), 0.5), 6)
    0.5
    """
    t, found = checked_share(t), contribution(values)
    middle = [(n - 1) / 2 for n in found.shape] if centre is None else list(centre)
    distance = _distances(found.shape, middle)
    held = np.concatenate([[0.0], np.cumsum(np.bincount(distance.ravel(), weights=found.ravel()))])
    cells = np.concatenate([[0.0], np.cumsum(np.bincount(distance.ravel()))])
    return float(np.interp(t * held[-1], *_rising(held, cells)) / found.size)


def published_area_ratio(
    values: Array, t: float, *, summed_over: int = 1, interpolated: bool = False
) -> tuple[float, float] | None:
    """(side, r(t)) as RepLKNet's script computes it from the mean map; None where it returns none.

    `summed_over`: the number of images, for the paper's text (a sum) instead of the script (a mean). `interpolated`: the side
    at which the sums between the squares cross t, which is continuous in the map; for standard errors.

    >>> # 49 of 100 cells are the first square to hold more than 0.3
    >>> published_area_ratio(np.ones((10, 10)), 0.3)
    (7.0, 0.48999999999999994)
    """
    t, found = checked_share(t), contribution(values)
    scores = np.log1p(summed_over * found) / log(10)  # log10(x + 1), also where x is below the rounding of 1
    middle = [n // 2 for n in found.shape]
    held = np.cumsum(np.bincount(_distances(found.shape, middle).ravel(), weights=scores.ravel())[::2])
    inside = held[1 : min(n // 2 for n in found.shape)] / held[-1]  # squares of side 3 up to the largest that fits
    above = np.flatnonzero(inside > t)
    if not above.size:
        return None
    side = 2.0 * int(above[0] + 1) + 1
    if interpolated:
        before = held[above[0]] / held[-1]
        side -= 2 * float((inside[above[0]] - t) / (inside[above[0]] - before)) if before < t else 0.0
    return side, float(np.prod([side / n for n in found.shape]))


def luo_side(values: Array, centre: Sequence[float] | None = None) -> float:
    """The side of the field by Luo et al. (2016): (how many pixels lie above 1 - 95.45 % of the centre's value)^(1/axes).

    `centre`: the pixel it is taken at, rounded; None for the middle.
    """
    found = contribution(values)
    at = (
        [n // 2 for n in found.shape]
        if centre is None
        else [min(max(int(np.floor(c + 0.5)), 0), n - 1) for c, n in zip(centre, found.shape, strict=True)]
    )
    return float((found > (1 - TWO_SIGMA) * found[tuple(at)]).sum() ** (1 / found.ndim))


@dataclass(frozen=True)
class Gaussian:
    """amplitude exp(-sum over axes (x - centre)^2 / (2 sigma^2)), fitted by least squares.

    `residual`: ||map - fit|| / ||map||, 0 for a Gaussian and 1 for a fit that explains nothing. `spread`: the standard
    deviation of position under the map, per axis, which equals sigma for a Gaussian and exceeds it for heavy tails.
    """

    centre: tuple[float, ...]
    sigma: tuple[float, ...]
    amplitude: float
    residual: float
    spread: tuple[float, ...]

    def values(self, shape: Sequence[int]) -> Array:
        """The fitted map."""
        factors = [_bell(n, c, s) for n, c, s in zip(shape, self.centre, self.sigma, strict=True)]
        return np.asarray(self.amplitude * _outer(factors))


def gaussian_fit(values: Array, start: Gaussian | None = None) -> Gaussian:
    """The least-squares Gaussian of a map, one width per axis (Luo et al., 2016, fit one to the field).

    With the amplitude at its best value the squared error is |M|^2 (1 - <M, G>^2 / (|M|^2 |G|^2)), and a Gaussian is a product
    over axes: its inner products cost one contraction of the map each. `start`: a fit to begin at.

    >>> x = np.arange(21)[:, None] - 10.0
    >>> fit = gaussian_fit(3 * np.exp(-(x**2) / 8 - ((x.T - 1) ** 2) / 18))
    >>> [round(s, 4) for s in fit.sigma], round(fit.residual, 6), round(fit.amplitude, 4)
    ([2.0, 3.0], 0.0, 3.0)
    """
    largest = float(np.max(contribution(values)))
    found = contribution(values) / largest  # so that squares neither overflow nor vanish
    axes = range(found.ndim)
    marginals = [found.sum(axis=tuple(a for a in axes if a != axis)) for axis in axes]
    means = [float(np.average(np.arange(len(m)), weights=m)) for m in marginals]
    spread = tuple(
        float(np.sqrt(np.average((np.arange(len(m)) - c) ** 2, weights=m))) for m, c in zip(marginals, means, strict=True)
    )
    norm = float(np.square(found).sum())
    if start is None:
        peak = np.unravel_index(int(np.argmax(found)), found.shape)
        first = [(c, max(s / 2, 2 * NARROWEST)) for c, s in zip(means, spread, strict=True)]
        starts = [first, [(float(p), s) for p, (_, s) in zip(peak, first, strict=True)]]
    else:
        starts = [list(zip(start.centre, (max(s, NARROWEST) for s in start.sigma), strict=True))]
    units = [max(s, NARROWEST) for _, s in starts[0]]  # centres are varied in units of the first width

    def parts(p: Array) -> tuple[list[float], list[float]]:
        return [float(c * u) for c, u in zip(p[::2], units, strict=True)], [float(np.exp(s)) for s in p[1::2]]

    def lost(p: Array) -> float:
        factors = [_bell(n, c, s) for n, c, s in zip(found.shape, *parts(p), strict=True)]
        size = float(np.prod([f @ f for f in factors]))
        return 1 - _contracted(found, factors) ** 2 / (norm * size) if size > 0 else 1.0

    bounds = [b for n, u in zip(found.shape, units, strict=True) for b in ((-n / u, 2 * n / u), (log(NARROWEST), log(8 * n)))]
    tried = [[v for (c, s), u in zip(one, units, strict=True) for v in (c / u, log(s))] for one in starts]
    best = min(
        (
            optimize.minimize(lost, one, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9})
            for one in tried
        ),
        key=lambda r: r.fun,
    )
    centre, sigma = parts(best.x)
    factors = [_bell(n, c, s) for n, c, s in zip(found.shape, centre, sigma, strict=True)]
    amplitude = _contracted(found, factors) / float(np.prod([f @ f for f in factors]))
    residual = float(np.sqrt(np.square(found - amplitude * _outer(factors)).sum() / norm))
    return Gaussian(tuple(centre), tuple(sigma), float(amplitude) * largest, residual, spread)


def share_beyond(values: Array, cell: Sequence[tuple[int, int]]) -> Array:
    """The share of the map further than h pixels from the cell of a unit, h = 0, 1, ...: the largest distance over axes counts.

    `cell`: [lo, hi) per axis; a pixel within it is at distance 0. The last entry is 0.

    >>> share_beyond(np.array([1.0, 1.0, 4.0, 2.0]), [(2, 3)])
    array([0.5  , 0.125, 0.   ])
    """
    found = contribution(values)
    distance = np.zeros(found.shape, dtype=np.int64)
    for axis, (low, high) in enumerate(outside(found.shape, cell)):
        shape = [-1 if a == axis else 1 for a in range(found.ndim)]
        distance = np.maximum(distance, np.maximum(low, high).reshape(shape))
    at = np.bincount(distance.ravel(), weights=found.ravel())
    tails = np.cumsum(at[::-1])[::-1]  # from the far end, so that small shares keep their digits
    return np.append(tails[1:], 0.0) / tails[0]


def outside(shape: Sequence[int], cell: Sequence[tuple[int, int]]) -> list[tuple[Array, Array]]:
    """Per axis, how many pixels each position lies below and above the cell [lo, hi); 0 within it and on the other side."""
    found = []
    for n, (lo, hi) in zip(shape, cell, strict=True):
        i = np.arange(n)
        found.append((np.maximum(lo - i, 0), np.maximum(i - (hi - 1), 0)))
    return found


def lean(values: Array, cell: Sequence[tuple[int, int]]) -> tuple[float, ...]:
    """Per axis, the share of the map above the unit's cell minus the share below it: 0 for a field that leans to no side."""
    found = contribution(values)
    leans = []
    for axis, (low, high) in enumerate(outside(found.shape, cell)):
        marginal = found.sum(axis=tuple(a for a in range(found.ndim) if a != axis))
        leans.append(float((marginal[high > 0].sum() - marginal[low > 0].sum()) / marginal.sum()))
    return tuple(leans)


def flip_asymmetry(values: Array, centre: Sequence[float]) -> tuple[float, ...]:
    """Per axis, ||map - mirror image|| / (2 ||map||) over the pixels whose mirror image about `centre` is in the image."""
    found = contribution(values) / np.max(values)
    sizes = []
    for axis, (n, c) in enumerate(zip(found.shape, centre, strict=True)):
        twice = int(np.floor(2 * c + 0.5))
        lo, hi = max(0, twice - n + 1), min(n - 1, twice)
        part = np.take(found, np.arange(lo, hi + 1), axis=axis)
        norm = np.linalg.norm(part)
        sizes.append(float(np.linalg.norm(part - np.flip(part, axis)) / (2 * norm)) if norm > 0 else 0.0)
    return tuple(sizes)


def phase_contrast(values: Array, period: int) -> float:
    """Gridding at a period: the standard deviation of what the phases hold, over its mean.

    A phase is a position modulo the period. Near 0 for a smooth field that is wider than it; (period^axes - 1)^(1/2) for one
    that lives on one phase.
    """
    found = contribution(values)
    padded = np.pad(found, [(0, -n % period) for n in found.shape])
    split = padded.reshape([size for n in padded.shape for size in (n // period, period)])
    phases = split.sum(axis=tuple(range(0, 2 * found.ndim, 2)))
    return float(phases.std() / phases.mean())


def with_error(statistic: Callable[[Array], Any], sums: Array, counts: Array) -> tuple[Array, Array]:
    """A number of the mean map and its standard error, by leaving out one block of images at a time."""
    from validation.gradients.jackknife import jackknife

    with np.errstate(invalid="ignore"):  # a number that does not exist without some block has no standard error
        value, _, error = jackknife(statistic, sums, counts)
    return value, error


def _distances(shape: Sequence[int], centre: Sequence[float]) -> Array:
    """Twice the Chebyshev distance of each position from the centre, rounded to whole numbers."""
    distance = np.zeros(tuple(shape))
    for axis, (n, c) in enumerate(zip(shape, centre, strict=True)):
        distance = np.maximum(distance, np.abs(np.arange(n) - c).reshape([-1 if a == axis else 1 for a in range(len(shape))]))
    return np.rint(2 * distance).astype(np.int64)


def _rising(held: Array, cells: Array) -> tuple[Array, Array]:
    """Without squares that hold no more than the one before, so that an inverse exists."""
    kept = np.concatenate([[True], np.diff(held) > 0])
    return held[kept], cells[kept]


def _bell(n: int, centre: float, sigma: float) -> Array:
    return np.asarray(np.exp(-0.5 * ((np.arange(n) - centre) / sigma) ** 2))


def _outer(factors: Sequence[Array]) -> Array:
    product = factors[0]
    for factor in factors[1:]:
        product = np.multiply.outer(product, factor)
    return np.asarray(product)


def _contracted(values: Array, factors: Sequence[Array]) -> float:
    for factor in reversed(factors):
        values = values @ factor
    return float(values)
