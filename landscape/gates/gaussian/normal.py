r"""The normal distribution: moments of its tails, quadrants of two correlated ones, deviations from zero.

With n the density, Q the upper tail and (x)+ = max(x, 0), for standard Gaussians x, y of correlation r,

    T_j(h) = E[(x - h)+^j],      T_0 = Q(h),    T_1 = n(h) - h Q(h),    T_{j+1} = j T_{j-1} - h T_j,
    M_ij(h, k) = E[(x - h)+^i (y - k)+^j],      M_{i+1,j} = i M_{i-1,j} + r j M_{i,j-1} - h M_ij,

where at i = 0 the density of x = h stands for what has no (x - h)+ left, n(h) c^j T_j((k - r h) / c) with c = sqrt(1 - r^2)
(integration by parts). In the upper tail the differences of T cancel, and there the continued fraction of their ratios,
T_j / T_{j-1} = j / (h + T_{j+1} / T_j), gives all digits.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, owens_t

__all__ = ["FAR", "NEVER", "REACH", "Sized", "deviations", "quadrant", "tail_products", "tails"]

Array = np.ndarray[Any, Any]
FAR = 38.0  # deviations: the normal density is 0 in float64
NEVER = 9.0  # deviations below a kink: 1e-19
REACH = 8.5  # deviations, beyond which lies 2e-17
UPPER = 2.0  # deviations, from where tails are continued fractions
FRACTIONS = 80  # of them, which at UPPER give all digits


def deviations(mean: Array, deviation: Array) -> Array:
    """How many deviations above zero the mean is, as far as it matters; without any the sign alone."""
    mean, deviation = np.broadcast_arrays(mean, deviation)
    far = np.asarray(np.sign(mean) * FAR, dtype=float)
    with np.errstate(over="ignore"):
        return np.clip(np.divide(mean, deviation, out=far, where=deviation > 0), -FAR, FAR)


def quadrant(h: Array, k: Array, r: Array, rest: Array) -> Array:
    """P(x > -h, y > -k) for standard Gaussians of correlation r, rest = sqrt(1 - r^2); Owen 1956, his Eq. 2.1."""

    def wedge(a: Array, b: Array) -> Array:
        """T(a, (b / a - r) / rest); at a = 0, or without rest, the limit."""
        top, bottom = _less(b, a, r), a * rest
        slope = np.divide(
            top, bottom, out=np.where(top == 0, 0.0, np.copysign(np.inf, top * np.where(a < 0, -1.0, 1.0))), where=bottom != 0
        )
        return np.asarray(owens_t(a, slope))

    apart = (h * k < 0) | ((h * k == 0) & (h + k < 0))
    general = (ndtr(h) + ndtr(k)) / 2 - wedge(h, k) - wedge(k, h) - apart / 2
    return np.where((h == 0) & (k == 0), 1 / 4 + np.arctan2(r, rest) / (2 * np.pi), general)


def _less(b: Array, a: Array, r: Array) -> Array:
    """b - r a, to the last digit of what is left also where r is nearly 1 or -1."""
    return np.where(r > 0, (b - a) + a * (1 - r), (b + a) - a * (1 + r))


def tails(h: Array, count: int) -> list[Array]:
    """T_j(h) = E[(x - h)+^j] for j = 0 ... count, to all digits of each.

    >>> [float(part.round(6)) for part in tails(np.array(0.0), 2)]
    [0.5, 0.398942, 0.5]
    """
    h = np.asarray(h, dtype=float)
    density = np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi)
    found = [ndtr(-h), density - h * ndtr(-h)]
    for j in range(1, count):
        found.append(j * found[j - 1] - h * found[j])
    upper = h > UPPER
    if upper.any():
        high, below = h[upper], np.zeros(np.count_nonzero(upper))
        shares = []  # T_j / T_{j-1}
        for j in range(FRACTIONS, 0, -1):
            below = j / (high + below)
            shares.append(below)
        for j, share in enumerate(reversed(shares[-count:]), start=1):
            found[j][upper] = found[j - 1][upper] * share
    return found[: count + 1]


class Sized(NamedTuple):
    """A sum, and what its terms add up to without their signs: its last digits are those of `size`."""

    value: Array
    size: Array


def tail_products(h: Array, k: Array, r: Array, rest: Array, degree: int) -> dict[tuple[int, int], Sized]:
    """M_ij(h, k) for i, j = 1 ... degree, at most 2, for h, k >= 0 and |r| < 1, rest = sqrt(1 - r^2).

    >>> one = tail_products(np.zeros(1), np.zeros(1), np.zeros(1), np.ones(1), 1)
    >>> one[1, 1].value.round(6)  # 1 / 2 pi
    array([0.159155])
    """
    n_h, n_k = (np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi) for x in (h, k))
    at_h, at_k = (
        [rest**j * part for j, part in enumerate(tails(x, degree))] for x in (_less(k, h, r) / rest, _less(h, k, r) / rest)
    )

    def recursion(both: Array, h: Array, k: Array, r: Array) -> dict[tuple[int, int], Array]:
        m = {(0, 0): both}
        m[1, 0] = n_h * at_h[0] + r * n_k * at_k[0] - h * both
        m[0, 1] = n_k * at_k[0] + r * n_h * at_h[0] - k * both
        m[1, 1] = n_h * at_h[1] + r * both - h * m[0, 1]
        if degree > 1:
            m[0, 2] = both + r * n_h * at_h[1] - k * m[0, 1]
            m[2, 0] = both + r * n_k * at_k[1] - h * m[1, 0]
            m[1, 2] = n_h * at_h[2] + 2 * r * m[0, 1] - h * m[0, 2]
            m[2, 1] = n_k * at_k[2] + 2 * r * m[1, 0] - k * m[2, 0]
            m[2, 2] = m[0, 2] + 2 * r * m[1, 1] - h * m[1, 2]
        return m

    values = recursion(quadrant(-h, -k, r, rest), h, k, r)
    sizes = recursion((ndtr(-h) + ndtr(-k)) / 2, -h, -k, np.abs(r))
    orders = range(1, degree + 1)
    return {(i, j): Sized(values[i, j], sizes[i, j]) for i in orders for j in orders}
