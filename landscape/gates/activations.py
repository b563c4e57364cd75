r"""Moments of pointwise functions of a Gaussian z ~ N(m, s^2): E[phi(z)], E[phi(z)^2], E[phi(z) phi(z')], E[phi'(z)^2].

For slopes a below 0 and b above they are closed, phi(z) = a z + (b - a) relu(z). With u = m / s, r the correlation, N the
normal distribution function, n its density and T Owen's function,

    E[relu(z)]          = m N(u) + s n(u)
    E[relu(z) relu(z')] = (m^2 + r s^2) P + 2 m s n(u) N(q) + s^2 sqrt(1 - r^2) exp(-u^2 / (1 + r)) / 2 pi,
    q = u sqrt((1 - r) / (1 + r)),   P = P(z, z' > 0) = N(u) - 2 T(u, q / u)

(Rosenbaum 1961, "Moments of a truncated bivariate normal distribution"; Owen 1956). Polynomials between kinks are closed too
(`landscape.gates.gaussian.pieces`), and functions without a kink are series (`landscape.gates.gaussian.hermite`), of all laws
at once. What these leave out, and other functions, are Gauss-Legendre sums over panels that are cut where the function bends
and where the density does, whichever of the two is the narrower: a variance of 1e-300 or of 1e300 makes no difference. The
product is E[g(t) g(+-t)] for g(t) = E[phi(m + s (sqrt|r| t + sqrt(1 - |r|) e))], a sum of such sums. Both are good to 1e-10 of
E[phi^2], or of E[phi'^2] (tests/landscape/gates/test_activations.py).
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, owens_t

from landscape.gates.averaging import pointwise, significant
from landscape.gates.functions import FUNCTIONS, Curve, curve
from landscape.gates.gaussian.hermite import smooth_moments
from landscape.gates.gaussian.normal import FAR, REACH, deviations
from landscape.gates.gaussian.pieces import Pieces
from landscape.gates.interpolated import interpolated
from landscape.structure.signs import has_slopes, slopes
from lattice import Activation

__all__ = [
    "FUNCTIONS",
    "Law",
    "closed_moments",
    "curve_moments",
    "distinct",
    "each_case",
    "gate_moments",
    "gaussian_moments",
    "law_of",
    "product_of",
]

Array = np.ndarray[Any, Any]
Fill = Callable[[Callable[..., tuple[float, ...]], list[Any]], Array]
DENSE = np.array([-FAR, -REACH, -4.0, 0.0, 4.0, REACH, FAR])  # deviations at which the density is cut
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def gaussian_moments(activation: Activation, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    """E[phi(z)], E[phi(z)^2], E[phi(z) phi(z')] and E[phi'(z)^2] for z, z' ~ N(mean, variance) with this correlation.

    Arrays broadcast. `UnsupportedError` for an activation without a rule.

    >>> relu = gaussian_moments(Activation("relu"), np.zeros(1), np.ones(1), np.zeros(1))
    >>> # 1 / sqrt(2 pi), 1/2, 1 / (2 pi), 1/2
    >>> [round(float(moment[0]), 4) for moment in relu]
    [0.3989, 0.5, 0.1592, 0.5]
    >>> silu = gaussian_moments(Activation("silu"), np.zeros(1), np.ones(1), np.zeros(1))
    >>> [round(float(moment[0]), 4) for moment in silu]
    [0.2066, 0.3558, 0.0427, 0.3795]
    """
    return gate_moments(activation, mean, variance, correlation)[:4]


def gate_moments(activation: Activation, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    """The moments of `gaussian_moments`, and E[phi'(z)].

    >>> at_zero = np.zeros(1), np.ones(1), np.zeros(1)
    >>> gate_moments(Activation("leaky_relu", 0.1), *at_zero)[3:]
    (array([0.505]), array([0.55]))
    >>> *_, slope = gate_moments(
    ...     Activation("tanh"), np.zeros(1), np.full(1, 1e-20), np.zeros(1)
    ... )
    >>> slope.round(12)
    array([1.])
    """
    if has_slopes(activation):
        below, above = (np.asarray(slope) for slope in slopes(activation))
        return closed_moments(below, above, mean, variance, correlation)
    return _curve_moments(curve(activation), mean, variance, correlation)


def curve_moments(function: Curve, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    """The moments of `gaussian_moments` of any curve."""
    return _curve_moments(function, mean, variance, correlation)[:4]


def _curve_moments(function: Curve, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    correlation = np.clip(correlation, -1, 1)
    return pointwise(
        partial(each_case, partial(_case, function), fill=partial(_of_curve, function)), mean, variance, correlation
    )


def closed_moments(below: Array, above: Array, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
    """The four moments and E[phi'(z)] of the function with these slopes below and above zero; arrays broadcast."""
    m, s, r = mean, np.sqrt(np.maximum(variance, 0.0)), np.clip(correlation, -1, 1)
    step, u = above - below, deviations(m, s)
    density, open_ = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), ndtr(u)
    relu = m * open_ + s * density
    positive = (m**2 + s**2) * open_ + m * s * density  # E[z^2; z > 0]
    both = _both_open(u, m, s, r, open_, density) if np.any(r) else relu**2 + 0.0 * r
    if not np.any(below):
        return step * relu, step**2 * positive, step**2 * both, step**2 * open_, step * open_
    shut = ndtr(-u)
    negative = (m**2 + s**2) * shut - m * s * density
    product = below**2 * (m**2 + r * s**2) + 2 * below * step * (m * relu + r * s**2 * open_) + step**2 * both
    power, gain = (below**2 * low + above**2 * high for low, high in ((negative, positive), (shut, open_)))
    return below * m + step * relu, power, product, gain, below * shut + above * open_


def _both_open(u: Array, m: Array, s: Array, r: Array, open_: Array, density: Array) -> Array:
    """E[z z'; z > 0, z' > 0] of two Gaussians N(m, s^2) of correlation r, by Owen's T function; u = m / s."""
    together = np.maximum(1 + r, np.finfo(float).tiny)  # 0 where z' = -z: then no wedge is left, at any scale
    shrunk = np.sqrt((1 - r) / together)
    both = (m**2 + r * s**2) * (open_ - 2 * owens_t(u, shrunk)) + 2 * m * s * density * ndtr(u * shrunk)
    with np.errstate(over="ignore"):  # of nothing left, exp(-inf)
        both += s**2 * np.sqrt(1 - r**2) * np.exp(-(u**2) / together) / (2 * np.pi)
    return np.asarray(both)


# --- sums -----------------------------------------------------------------------------------------------------------------


def each_case(
    moments: Callable[..., tuple[float, ...]], mean: Array, variance: Array, *more: Array, fill: Fill | None = None
) -> tuple[Array, ...]:
    """Arrays of what a function of numbers (mean, variance, correlation, ...) gives, each case computed once, or by `fill`."""
    arrays = np.broadcast_arrays(mean, np.maximum(variance, 0.0), *more)
    cases, which = distinct(*(significant(array) for array in arrays))
    found = (fill or _one_by_one)(moments, cases)[which]
    return tuple(np.moveaxis(found.reshape(*arrays[0].shape, -1), -1, 0))


def _one_by_one(moments: Callable[..., tuple[float, ...]], cases: list[Any]) -> Array:
    return np.array([moments(*case) for case in cases])


def _of_curve(function: Curve, moments: Callable[..., tuple[float, ...]], cases: list[Any]) -> Array:
    """The same of a curve: what is closed or smooth all at once, others between a few, or one by one."""
    laws = np.array(cases).reshape(-1, 3).T
    found, known = np.zeros((len(cases), 5)), np.zeros(len(cases), dtype=bool)
    if function.pieces:
        found, known = Pieces(function.kinks, function.pieces).moments(*laws)
    elif function.width and not function.kinks and not function.tail:
        found, known = smooth_moments(function.value, function.slope, function.width, *laws)
    rest = np.flatnonzero(~known)
    if len(rest):
        left = [cases[place] for place in rest]
        between = interpolated(moments, left)
        found[rest] = _one_by_one(moments, left) if between is None else between
    return found


def _panels(centres: Array, deviation: float, cuts: Array, dense: Array) -> tuple[Array, Array]:
    """Points and masses of N(centre, deviation^2) for each centre: Gauss-Legendre between all cuts, (centres, points)."""
    lowest, highest = (centres + deviation * dense[end] for end in (0, -1))
    near = cuts[(cuts > lowest.min()) & (cuts < highest.max())]
    column = centres[:, None]
    ends = np.concatenate([column + deviation * dense, np.clip(near, lowest[:, None], highest[:, None])], axis=1)
    away = np.concatenate(
        [np.broadcast_to(dense, (len(centres), len(dense))), np.clip((near - column) / deviation, dense[0], dense[-1])], axis=1
    )
    # the function is read at z and the density at t, each from its own ends: a difference of the two would lose all digits
    # where the function bends far from the mean, or the density within the last digits of it
    (z, _), (t, half) = (_points(np.sort(one, axis=1)) for one in (ends, away))
    masses = half[..., None] * WEIGHTS * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    return z.reshape(len(centres), -1), masses.reshape(len(centres), -1)


def _points(ends: Array) -> tuple[Array, Array]:
    """The points of the panels between these ends, (rows, panels, points), and half the width of each panel."""
    middle, half = (ends[:, 1:] + ends[:, :-1]) / 2, np.diff(ends, axis=1) / 2
    return middle[..., None] + half[..., None] * NODES, half


class Law(NamedTuple):
    """N(mean, deviation^2) as points z and their masses, for functions that are smooth between certain cuts."""

    mean: float
    deviation: float
    z: Array
    masses: Array


def law_of(function: Curve, mean: float, variance: float) -> Law:
    """The points on which to sum a curve over N(mean, variance)."""
    deviation = float(np.sqrt(variance))
    if deviation == 0:
        return Law(mean, 0.0, np.array([mean]), np.ones(1))
    z, masses = _panels(np.array([mean]), deviation, function.cuts(abs(mean) + FAR * deviation), DENSE)
    return Law(mean, deviation, z[0], masses[0])


def product_of(function: Curve, law: Law, correlation: float) -> float:
    """E[phi(z) phi(z')]."""
    values = function.value(law.z)
    if correlation == 0:
        return float(values @ law.masses) ** 2
    if correlation == 1 or law.deviation == 0:
        return float(values**2 @ law.masses)
    # from the means g of phi, given what z and z' share or have with opposite signs
    mean, deviation, size = law.mean, law.deviation, abs(correlation)
    shared, own = deviation * size**0.5, deviation * (1 - size) ** 0.5
    reach = abs(mean) + FAR * deviation
    cuts, smooth = function.cuts(reach), function.cuts(reach, own)
    if correlation < 0:  # g at t and at -t: mirrored about the mean
        smooth = np.concatenate([smooth, 2 * mean - smooth])
    centres, masses = (part[0] for part in _panels(np.array([mean]), shared, smooth, DENSE[1:-1]))

    def conditional(points: Array) -> Array:
        if own == 0:
            return function.value(points)
        z, inner = _panels(points, own, cuts, DENSE[1:-1])
        return np.asarray((function.value(z) * inner).sum(axis=1))

    found = conditional(centres)
    other = found if correlation > 0 else conditional(2 * mean - centres)
    return float((found * other) @ masses)


@lru_cache(maxsize=16384)
def _case(function: Curve, mean: float, variance: float, correlation: float) -> tuple[float, ...]:
    """E[phi(z)], E[phi(z)^2], E[phi(z) phi(z')], E[phi'(z)^2] and E[phi'(z)]."""
    law = law_of(function, mean, variance)
    values, slope = function.value(law.z), function.slope(law.z)
    squares = (float(part @ law.masses) for part in (values**2, slope**2))
    return (
        float(values @ law.masses),
        next(squares),
        product_of(function, law, correlation),
        *squares,
        float(slope @ law.masses),
    )


def distinct(*arrays: Array) -> tuple[list[tuple[float, ...]], Array]:
    """The distinct tuples of entries of arrays of one shape, and which of them stands at each place, flattened.

    >>> distinct(np.array([1.0, 2.0, 1.0]), np.array([5.0, 5.0, 5.0]))
    ([(1.0, 5.0), (2.0, 5.0)], array([0, 1, 0]))
    """
    code = np.zeros(arrays[0].size, dtype=np.int64)
    for array in arrays:
        values, where = np.unique(array, return_inverse=True)
        code = code * len(values) + where.ravel()
        _, code = np.unique(code, return_inverse=True)  # small again: the product of many counts leaves the whole numbers
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    return list(zip(*(array.ravel()[first].tolist() for array in arrays), strict=True)), which
