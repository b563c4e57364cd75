"""Eq. 14, and one number of a map each: roughness, bias, gridding, asymmetry, area.

All functions take a map of expected squared gradients (or anything proportional to it) over input positions, any number
of axes; they are ratios, so the scale of the map does not matter unless a docstring says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from landscape.input_checks import checked_map
from lattice import SpecificationError
from lattice.checks import is_real, is_whole

__all__ = [
    "centre_bias",
    "effective_area",
    "flip_asymmetry",
    "gridding",
    "importance",
    "laplacian_energy",
    "relative",
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
