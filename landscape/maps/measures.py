r"""What is wrong with a map: Eq. 14, and the numbers that describe a landscape.

All functions take a map of expected squared gradients (or anything proportional to it) over input positions, any number
of axes; they are ratios, so the scale of the map does not matter unless a docstring says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from landscape.input_checks import checked_map
from lattice import SpecificationError
from lattice.checks import is_real, is_whole

__all__ = [
    "Report",
    "centre_bias",
    "deviations",
    "effective_area",
    "flip_asymmetry",
    "gridding",
    "importance",
    "is_noise",
    "laplacian_energy",
    "relative",
    "report",
    "shown",
    "total_variation",
]

Array = np.ndarray[Any, Any]


def relative(squared: Array) -> Array:
    """The map divided by its mean, so that 1 is a pixel of average importance.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.

    Returns
    -------
    ndarray of float64
        The map with mean one.

    Raises
    ------
    SpecificationError
        If the map is empty, negative somewhere, zero everywhere or not finite.

    Examples
    --------
    >>> relative(np.array([1.0, 3.0]))
    array([0.5, 1.5])
    """
    values = checked_map(squared)
    return np.asarray(values / values.mean())


def importance(squared: Array) -> Array:
    """I'_i = sqrt(d_w d_h) I_i^2 / ||I^2||_F (Eq. 14): the map divided by its root mean square.

    Its mean SQUARE is one; its mean is at most one (the paper says "one on expectation").

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.

    Returns
    -------
    ndarray of float64
        The map with mean square one.

    Examples
    --------
    >>> importance(np.array([3.0, 4.0]))
    array([0.84852814, 1.13137085])
    """
    values = checked_map(squared)
    return np.asarray(values / np.sqrt(np.mean(np.square(values))))


def total_variation(squared: Array) -> float:
    """TV = mean squared difference between neighbouring pixels of I' (Section 4.2.1), over all axes together.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.

    Returns
    -------
    float
        The total variation; 0 for a flat map.

    Examples
    --------
    >>> total_variation(np.ones((4, 4)))
    0.0
    """
    landscape = importance(squared)
    steps = [np.square(np.diff(landscape, axis=axis)).ravel() for axis in range(landscape.ndim)]
    return float(np.mean(np.concatenate(steps))) if landscape.size > 1 else 0.0


def laplacian_energy(squared: Array) -> float:
    """The variance of the discrete Laplacian of I' (Eq. 16 with k = 3: centre -2 per axis, no padding).

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.

    Returns
    -------
    float
        The variance; NaN where an axis has fewer than three cells.

    Examples
    --------
    >>> laplacian_energy(np.ones((4, 4)))
    0.0
    """
    landscape = importance(squared)
    if min(landscape.shape) < 3:
        return float("nan")
    inner = tuple(slice(1, -1) for _ in landscape.shape)
    total = np.zeros([n - 2 for n in landscape.shape])
    for axis in range(landscape.ndim):
        second = np.diff(landscape, n=2, axis=axis)
        total += second[tuple(slice(None) if a == axis else s for a, s in enumerate(inner))]
    return float(total.var())


def centre_bias(squared: Array) -> float:
    """Mean over the middle half of every axis, divided by the mean over all other pixels.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.

    Returns
    -------
    float
        1 for a flat map; infinite where the rest is zero.

    Examples
    --------
    >>> centre_bias(np.array([1.0, 2.0, 2.0, 1.0]))
    2.0
    """
    squared = checked_map(squared)
    middle = np.zeros(squared.shape, dtype=bool)
    middle[tuple(slice(n // 4, n - n // 4) for n in squared.shape)] = True
    if middle.all():
        return 1.0
    outside = squared[~middle].mean()
    return float(squared[middle].mean() / outside) if outside > 0 else float("inf")


def gridding(squared: Array, period: int) -> float:
    """How much of a grid of this period is in the map: the standard deviation of its phase means.

    The map is divided by its moving average over one period, so that smooth trends do not count; a phase is a residue
    of the position modulo the period, on every axis.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.
    period : int
        The period in pixels, between 1 and the smallest axis.

    Returns
    -------
    float
        0 where there is no grid.

    Raises
    ------
    SpecificationError
        If the period does not fit the map.

    Examples
    --------
    >>> round(gridding(np.tile([1.0, 2.0], 50), 2), 2)
    0.33
    """
    squared = checked_map(squared)
    if not is_whole(period) or not 1 <= period <= min(squared.shape):
        raise SpecificationError(f"a period of {period} does not fit a map of shape {squared.shape}")
    smooth = ndimage.uniform_filter(squared.astype(float), size=period, mode="mirror")
    if period % 2 == 0:  # an even window sits half a cell off; its mirror image averages that out
        smooth = (smooth + np.flip(ndimage.uniform_filter(np.flip(squared.astype(float)), size=period, mode="mirror"))) / 2
    ratio = np.divide(squared, smooth, out=np.ones(squared.shape), where=smooth > 0)
    whole = ratio[tuple(slice(0, n - n % period) for n in ratio.shape)]
    split = whole.reshape([size for n in whole.shape for size in (n // period, period)])
    phases = split.mean(axis=tuple(range(0, 2 * whole.ndim, 2)))
    return float(phases.std())


def flip_asymmetry(squared: Array) -> tuple[float, ...]:
    """For each axis, root mean square of (map - its mirror image) / 2, divided by the mean.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.

    Returns
    -------
    tuple of float
        One number per axis, 0 for a symmetric map.

    Examples
    --------
    >>> flip_asymmetry(np.array([1.0, 2.0, 3.0]))
    (0.408248290463863,)
    """
    shape = relative(squared)
    return tuple(float(np.sqrt(np.mean(np.square(shape - np.flip(shape, axis)))) / 2) for axis in range(shape.ndim))


def effective_area(squared: Array, share: float = 0.9) -> float:
    """The smallest fraction of the pixels that holds this share of the map.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.
    share : float, default 0.9
        Share of the sum of the map, above 0 and at most 1.

    Returns
    -------
    float
        A fraction of the pixels; `share` itself for a flat map.

    Raises
    ------
    SpecificationError
        If the share is out of its range.

    Examples
    --------
    >>> effective_area(np.ones(100), 0.9)
    0.9
    """
    squared = checked_map(squared)
    if not is_real(share) or not 0 < share <= 1:
        raise SpecificationError(f"share is {share}; it lies above 0 and at most at 1")
    ordered = np.cumsum(np.sort(squared, axis=None)[::-1])
    count = int(np.searchsorted(ordered, share * ordered[-1] * (1 - 1e-12))) + 1
    return count / squared.size


@dataclass(frozen=True)
class Report:
    """The numbers that describe a landscape; each is defined by the function of its name.

    Parameters
    ----------
    centre_bias : float
        Mean of the middle half / mean of the rest.
    unreachable : float
        Share of the pixels without a path.
    faint : float
        Share of the pixels below 1 % of the mean.
    gridding : dict of int to float
        By period, the standard deviation of the phase means.
    flip_asymmetry : tuple of float
        Per axis, of the mean.
    total_variation : float
        Mean squared difference of neighbouring pixels of I'.
    laplacian_energy : float
        Variance of the Laplacian of I'.
    effective_area : dict of float to float
        By share of the map, the fraction of the pixels that holds it.
    errors : Report or None, default None
        What the noise of counted gates alone gives on a flat map, one standard error of each number (of the squares, total
        variation and Laplacian energy, the mean of what it adds); None where nothing was counted.
    """

    centre_bias: float
    unreachable: float
    faint: float
    gridding: dict[int, float]
    flip_asymmetry: tuple[float, ...]
    total_variation: float
    laplacian_energy: float
    effective_area: dict[float, float]
    errors: Report | None = None

    def _repr_html_(self) -> str:
        from landscape.display.html import report_html

        return report_html(self)

    def __str__(self) -> str:
        no = self.errors
        pairs = zip(self.flip_asymmetry, no.flip_asymmetry if no else (0.0,) * len(self.flip_asymmetry), strict=True)
        flips = ", ".join(shown(value, error) for value, error in pairs)
        grids = ", ".join(
            f"{shown(value, no.gridding[period] if no else 0.0)} at period {period}" for period, value in self.gridding.items()
        )
        areas = ", ".join(f"{value:.0%} of the pixels hold {share:.0%}" for share, value in self.effective_area.items())
        centre = (
            f"1 to {2 * no.centre_bias:.2f}"
            if no and is_noise(self.centre_bias - 1, no.centre_bias)
            else f"{self.centre_bias:.2f}"
        )
        rough = no is not None and is_noise(self.total_variation**0.5, no.total_variation**0.5)
        variation = f"under {4 * no.total_variation:.3g}" if no and rough else f"{self.total_variation:.3g}"
        return "\n".join(
            [
                f"centre bias      {centre}   (middle half of each axis / the rest)",
                f"blind spots      {self.unreachable:.1%} of pixels have no path, {self.faint:.1%} under 1% of the mean",
                f"gridding         {grids or 'no stride'}",
                f"flip asymmetry   {flips}   (per axis, of the mean)",
                f"total variation  {variation}   Laplacian energy {self.laplacian_energy:.3g}   (Eq. 14)",
                f"effective area   {areas}",
            ]
        )


def is_noise(value: float, error: float) -> bool:
    """Whether a difference from a flat map is less than twice what the noise of counted gates alone gives.

    Parameters
    ----------
    value : float
        The difference.
    error : float
        Its standard error.

    Returns
    -------
    bool
        True if it may be noise.

    Examples
    --------
    >>> is_noise(0.1, 0.06)
    True
    """
    return abs(value) < 2 * error


def shown(value: float, error: float) -> str:
    """A share of the mean in per cent, or the bound that noise puts on it.

    Parameters
    ----------
    value : float
        The share.
    error : float
        Its standard error.

    Returns
    -------
    str
        The share, or "under" and twice the error where it may be noise.

    Examples
    --------
    >>> shown(0.089, 0.01), shown(0.089, 0.06), shown(0.0001, 0.0001)
    ('8.9%', 'under 12.0%', '0.0%')
    """
    bound = f"{2 * error:.1%}"
    return f"under {bound}" if is_noise(value, error) and bound != f"{0:.1%}" else f"{value:.1%}"


def report(squared: Array, periods: Sequence[int] = (), replicates: Sequence[Array] = ()) -> Report:
    """All the numbers of a map at once.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.
    periods : sequence of int, default ()
        Periods at which a grid is looked for, where they fit four times into every axis.
    replicates : sequence of ndarray, default ()
        The same map with one part of what was counted left out each; the `errors` follow from them.

    Returns
    -------
    Report
        The numbers.

    Examples
    --------
    >>> report(np.ones(8), periods=[2]).gridding
    {2: 0.0}
    """
    scaled = relative(squared)
    fitting = [p for p in periods if 1 < p <= min(scaled.shape) // 4]
    return replace(_numbers(scaled, fitting), errors=_errors(replicates, fitting) if len(replicates) > 1 else None)


def _numbers(scaled: Array, periods: Sequence[int]) -> Report:
    return Report(
        centre_bias=centre_bias(scaled),
        unreachable=float(np.mean(scaled == 0)),
        faint=float(np.mean(scaled < 0.01)),
        gridding={p: gridding(scaled, p) for p in periods},
        flip_asymmetry=flip_asymmetry(scaled),
        total_variation=total_variation(scaled),
        laplacian_energy=laplacian_energy(scaled),
        effective_area={share: effective_area(scaled, share) for share in (0.5, 0.9, 0.99)},
    )


def deviations(replicates: Sequence[Array]) -> Array:
    """sqrt(G - 1) (map without part g - mean of these): as large as the standard error of the whole map (jackknife).

    Parameters
    ----------
    replicates : sequence of ndarray
        The map with one of G parts left out each.

    Returns
    -------
    ndarray, shape (G, *positions)
        The deviations.

    Examples
    --------
    >>> deviations([np.array([1.0]), np.array([3.0])]).tolist()
    [[-1.0], [1.0]]
    """
    maps = np.stack([np.asarray(one) for one in replicates])
    return np.asarray(np.sqrt(len(maps) - 1) * (maps - maps.mean(axis=0)))


def _errors(replicates: Sequence[Array], periods: Sequence[int]) -> Report:
    """What the noise of each replicate makes of a flat map, as root mean squares over the replicates.

    The noise itself and not the spread of a number over replicates: a number that is never negative, such as an asymmetry,
    is that of the noise where there is nothing else, and hardly spreads.
    """
    noisy = [_numbers(np.maximum(1 + part, 0), periods) for part in deviations([relative(one) for one in replicates])]

    def size(values: Sequence[float]) -> float:
        return float(np.linalg.norm(values) / len(values) ** 0.5)

    return Report(
        centre_bias=size([one.centre_bias - 1 for one in noisy]),
        unreachable=0.0,
        faint=size([one.faint for one in noisy]),
        gridding={p: size([one.gridding[p] for one in noisy]) for p in periods},
        flip_asymmetry=tuple(size(values) for values in zip(*(one.flip_asymmetry for one in noisy), strict=True)),
        total_variation=float(np.mean([one.total_variation for one in noisy])),
        laplacian_energy=float(np.mean([one.laplacian_energy for one in noisy])),
        effective_area={
            share: size([effective - share for effective in (one.effective_area[share] for one in noisy)])
            for share in noisy[0].effective_area
        },
    )
