r"""Moments of smooth functions of many Gaussians at once: sums over equally spaced points, and Mehler's series.

For z = m + s t, t ~ N(0, 1), and the normalised Hermite polynomials h_n,

    E[phi(z) phi(z')] = sum over n of r^n a_n^2,    a_n = E[phi(m + s t) h_n(t)],    sum of a_n^2 = E[phi^2]

(Mehler 1866). What is left out beyond n = N is r^(N + 1) (E[phi^2] - sum up to N) at the most, which is known. A function whose
nearest pole is d from the real line is summed over points of spacing D with an error of exp(-2 pi d / D s), and the points are
the same for all laws.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["smooth_moments"]

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]
REACH = 13.0  # deviations: the density is 1e-37
EDGE = 1.0  # deviations at either end that have to be empty
EMPTY = 1e-15  # of a moment: what lies there, at the most
SPACINGS = tuple(2.0**-power for power in range(1, 7))  # deviations
WIDE = 0.25  # widths between two points, at the most: with a pole at pi / 2 widths exp(-4 pi^2) is left out
TERMS = (40, 128, 384, 512, 512, 512)  # of the series: as many as are told apart by points so far apart
STEP = 8  # terms that are added at a time
LEFT = 1e-13  # of a product: what the rest of the series may be, and the last digits of its terms
ROUNDING = 2.0**-52
BLOCK = 2**20  # numbers in an array


def smooth_moments(
    value: Function, slope: Function, width: float, mean: Array, variance: Array, correlation: Array
) -> tuple[Array, Array]:
    """E[phi], E[phi^2], E[phi phi'], E[phi'^2] and E[phi'] of laws, (laws, 5), and of which laws all are known.

    phi has no pole nearer to the real line than pi / 2 times `width`. Not known are those whose deviation is many widths, whose
    moments lie in the tails of the law, or whose series is long.

    >>> found, known = smooth_moments(
    ...     np.tanh,
    ...     lambda z: np.cosh(z) ** -2,
    ...     1.0,
    ...     np.zeros(1),
    ...     np.ones(1),
    ...     np.full(1, 0.5),
    ... )
    >>> found.round(6), known
    (array([[0.      , 0.394294, 0.186324, 0.464403, 0.605706]]), array([ True]))
    """
    found, known = np.zeros((len(mean), 5)), np.zeros(len(mean), dtype=bool)
    deviation = np.sqrt(variance)
    with np.errstate(divide="ignore"):
        coarsest = np.searchsorted(-np.array(SPACINGS), -WIDE * width / deviation)
    for level, (spacing, terms) in enumerate(zip(SPACINGS, TERMS, strict=True)):
        there = np.flatnonzero((coarsest == level) & (deviation > 0))
        rows = max(BLOCK // int(2 * REACH / spacing + 1), 1)
        for start in range(0, len(there), rows):
            own = there[start : start + rows]
            law = mean[own], deviation[own], correlation[own]
            found[own], known[own] = _at_points(value, slope, _points(spacing, terms), *law)
    return found, known


def _at_points(
    value: Function, slope: Function, points: tuple[Array, Array, Array], m: Array, s: Array, r: Array
) -> tuple[Array, Array]:
    t, masses, polynomials = points
    z = m[:, None] + s[:, None] * t
    values, slopes = value(z), slope(z)
    powers = [values**2 * masses, slopes**2 * masses]
    # points in pairs: a function that is odd about the mean has none
    mean, first = (((part + part[:, ::-1]) * (masses / 2)).sum(axis=1) for part in (values, slopes))
    power, gain = (part.sum(axis=1) for part in powers)
    ends = np.abs(t) > REACH - EDGE
    known = np.ones(len(m), dtype=bool)
    for part, whole in zip(powers, (power, gain), strict=True):
        known &= np.isfinite(whole) & (whole > 0) & (part[:, ends].sum(axis=1) <= EMPTY * whole)
    product = np.where(r == 1, power, mean**2)
    between = np.flatnonzero(known & (np.abs(r) < 1) & (r != 0))
    product[between], known[between] = _series(values[between] * np.sqrt(masses), polynomials, power[between], r[between])
    return np.stack([mean, power, product, gain, first], axis=1), known & (r > -1)


def _series(values: Array, polynomials: Array, power: Array, r: Array) -> tuple[Array, Array]:
    """The sum of r^n a_n^2, and whether what is left of it is small."""
    found, sizes, known = np.zeros(len(r)), np.zeros(len(r)), np.zeros(len(r), dtype=bool)
    left, seen = np.arange(len(r)), np.zeros(len(r))
    for start in range(0, len(polynomials), STEP):
        # no product of a library: its last digits change with the number of laws
        squares = np.einsum("lp,np->ln", values, polynomials[start : start + STEP]) ** 2
        order = np.arange(start, start + squares.shape[1])
        powers = r[left, None] ** order
        found[left] += (squares * powers).sum(axis=1)
        sizes[left] += (squares * np.abs(powers)).sum(axis=1)
        seen += squares.sum(axis=1)
        rest = np.abs(r[left]) ** (order[-1] + 1) * np.maximum(power[left] - seen, 0)
        small = rest <= LEFT * np.abs(found[left])
        known[left[small]] = True
        left, seen, values = left[~small], seen[~small], values[~small]
        if not len(left):
            break
    return found, known & (ROUNDING * sizes <= LEFT * np.abs(found))


@lru_cache(maxsize=len(SPACINGS))
def _points(spacing: float, terms: int) -> tuple[Array, Array, Array]:
    """Points, their masses, and the normalised Hermite polynomials there times the root of the mass, (terms, points)."""
    t = np.arange(-REACH / spacing, REACH / spacing + 1) * spacing
    masses = spacing * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    found = np.empty((terms, len(t)))
    found[0] = np.sqrt(masses)
    found[1] = t * found[0]
    for n in range(1, terms - 1):
        found[n + 1] = (t * found[n] - np.sqrt(n) * found[n - 1]) / np.sqrt(n + 1)
    return t, masses, found
