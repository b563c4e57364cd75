r"""The law of the largest of several correlated Gaussians: which one wins, how often it is open, and what comes out.

The cells of a window are a_k = m_k + l_k t + o_k e_k with one common factor t, l_k l_m = Cov(a_k, a_m) in the least squares
over k != m, and l_k^2 + o_k^2 = V[a_k]. Given t they are independent, so that for a function f that rises, M = max f(a_k),

    E[f'(M)^2; k wins] = E_t int f'(v)^2 p_k(v | t) prod_{m != k} F_m(v | t) dv,
    P(max > 0)         = 1 - E_t prod_k F_k(0 | t),

and for two windows with the cells X and Y of their own and Z in common (Hoeffding 1940),

    Cov(M, M' | t) = int int f'(u) f'(v) F_X(u) F_Y(v) F_Z(min) (1 - F_Z(max)) du dv .

Border cells of a padded layer have another variance, and neighbours that read common cells another covariance: both are in
V and Cov. One factor is exact for cells that are alike and for any two; every number is a ratio, whatever the scale.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from landscape.gates.functions import Curve

__all__ = [
    "Largest",
    "Moments",
    "Window",
    "common_factor",
    "factor_points",
    "given_factor",
    "in_chunks",
    "largest",
    "moments_of_largest",
    "panels",
    "product_of_largest",
]

Array = np.ndarray[Any, Any]
DENSE = np.array([-8.5, -4.0, -2.0, 0.0, 2.0, 4.0, 8.5])  # deviations of t at which its density is cut
NEAR = np.array([-8.0, -3.0, -1.0, 0.0, 1.0, 3.0, 8.0])  # own deviations of the cells at which their gates are cut
T_NODES, T_WEIGHTS = np.polynomial.legendre.leggauss(4)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
LOW, HIGH = 6.0, 7.0  # deviations below and above which no largest cell lies
STEPS = 64  # of the even grid on which two windows meet
MOST_NUMBERS = 2**22  # in one array
FITS = 30  # alternations, each of which takes the error of the common factor down by a half or more


class Window(NamedTuple):
    """Cells of windows, (windows, cells) each: the mean, the loading of the common factor, the own deviation.

    A cell that lies outside has a deviation of nan.
    """

    mean: Array
    loading: Array
    own: Array


class Largest(NamedTuple):
    """Of each window: E[f'(M)^2; k wins], (windows, cells), E[f(M)], E[f(M)^2] and E[E[f(M) | t]^2], (windows,).

    `picked`, `level` and `square` are P(k wins), E[max a] and E[max a^2].
    """

    wins: Array
    first: Array
    second: Array
    shared: Array
    picked: Array
    level: Array
    square: Array


class Moments(NamedTuple):
    """Of each window, (windows,): E[f(M)], E[f(M)^2], E[E[f(M) | t]^2], E[max a] and E[max a^2]."""

    first: Array
    second: Array
    shared: Array
    level: Array
    square: Array


def common_factor(mean: Array, covariance: Array, inside: Array) -> Window:
    """The one-factor model of windows with these means, (windows, cells), and covariances, (windows, cells, cells).

    >>> alike = np.full((1, 3, 3), 0.25) + 0.75 * np.eye(3)
    >>> common_factor(np.zeros((1, 3)), alike, np.ones((1, 3), dtype=bool)).loading.round(6)
    array([[0.5, 0.5, 0.5]])
    """
    variance = np.maximum(np.einsum("wkk->wk", covariance), 0) * inside
    scale = np.sqrt(variance.max(axis=1, keepdims=True, initial=0))
    scale = np.where(scale > 0, scale, 1.0)
    apart = inside[:, :, None] & inside[:, None, :] & ~np.eye(inside.shape[1], dtype=bool)
    between = np.where(apart, covariance / scale[..., None] ** 2, 0.0)
    count = np.maximum(apart.sum(axis=(1, 2)), 1)
    level = np.sqrt(np.maximum(between.sum(axis=(1, 2)) / count, 0.0))
    loading = np.where(inside, level[:, None], 0.0)
    most = np.sqrt(variance) / scale
    for _ in range(FITS):
        squares = (loading**2).sum(axis=1, keepdims=True) - loading**2
        top = np.einsum("wkm,wm->wk", between, loading)
        new = np.divide(top, squares, out=np.zeros_like(top), where=squares > 0)
        loading = np.clip((loading + new) / 2, 0, most)
    own = np.sqrt(np.maximum(most**2 - loading**2, 0.0))
    return Window(np.where(inside, mean, 0.0), loading * scale, np.where(inside, own * scale, np.nan))


def largest(window: Window, function: Curve) -> Largest:
    """Which cell of each window wins and what it passes.

    >>> from landscape.gates.functions import curve
    >>> from lattice import Activation
    >>> alike = common_factor(
    ...     np.zeros((1, 4)), np.eye(4)[None], np.ones((1, 4), dtype=bool)
    ... )
    >>> # P(max > 0) / 4 = (1 - 2^-4) / 4
    >>> largest(alike, curve(Activation("relu"))).wins.round(6)
    array([[0.234375, 0.234375, 0.234375, 0.234375]])
    """
    wins, picked = in_chunks(_winners, window, function, window.mean.shape[1])
    moments = moments_of_largest(window, function)
    return Largest(wins, moments.first, moments.second, moments.shared, picked, moments.level, moments.square)


def moments_of_largest(window: Window, function: Curve) -> Moments:
    """What comes out of each window, without which cell it comes from: a tenth of the time.

    >>> from landscape.gates.functions import curve
    >>> from lattice import Activation
    >>> pair = common_factor(np.zeros((1, 2)), np.eye(2)[None], np.ones((1, 2), dtype=bool))
    >>> moments_of_largest(pair, curve(Activation("relu"))).level.round(6)  # 1 / sqrt(pi)
    array([0.56419])
    """
    return Moments(*in_chunks(_moments, window, function, 1))


def in_chunks(rule: Callable[..., Any], window: Window, function: Curve, each: int) -> tuple[Array, ...]:
    """A rule for windows, for so many of them at once that `each` number of a point of the quadrature has a place."""
    points = (2 * len(NEAR) + len(DENSE) - 1) * len(T_NODES) * len(NODES)
    parts = [rule(Window(*(part[chunk] for part in window)), function) for chunk in _chunks(len(window.mean), each * points)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def panels(function: Curve, low: Array, high: Array, more: tuple[float, ...] = ()) -> Iterator[tuple[Array, Array]]:
    """Points and their lengths between two ends, (..., v), cut where the function has kinks and bends, and at `more`."""
    inner = np.union1d(function.cuts(float(max(np.abs(low).max(), np.abs(high).max()))), more)
    cuts = [low, *(np.clip(np.full_like(low, cut), low, high) for cut in inner.tolist()), high]
    for left, right in itertools.pairwise(cuts):
        half = (right - left)[..., None] / 2
        if half.any():
            yield (left + right)[..., None] / 2 + half * NODES, half * WEIGHTS


def _winners(window: Window, function: Curve) -> tuple[Array, Array]:
    """E[f'(M)^2; k wins] and P(k wins), (windows, cells)."""
    t, masses = factor_points(window)
    middle, own = given_factor(window, t)
    wins, picked = (np.zeros(window.mean.shape) for _ in range(2))
    for v, lengths in panels(function, *_ends(middle, own)):
        density = _each_wins(v, middle, own) * (lengths * masses[..., None])[..., None]
        wins += np.einsum("wtvk,wtv->wk", density, function.slope(v) ** 2)
        picked += density.sum(axis=(1, 2))
    return wins, picked


def _moments(window: Window, function: Curve) -> tuple[Array, ...]:
    """The five `Moments`, in parts: E[g(M) | t] = g(high) - int g'(v) P(M < v | t) dv."""
    t, masses = factor_points(window)
    middle, own = given_factor(window, t)
    low, high = _ends(middle, own)
    top = function.value(high)
    first, second, level, square = top.copy(), top**2, high.copy(), high**2
    for v, lengths in panels(function, low, high):
        below = _all_below(v, middle, own) * lengths
        rise = below * function.slope(v)
        first -= rise.sum(axis=-1)
        second -= 2 * (rise * function.value(v)).sum(axis=-1)
        level -= below.sum(axis=-1)
        square -= 2 * (below * v).sum(axis=-1)
    return tuple((part * masses).sum(axis=1) for part in (first, second, first**2, level, square))


def _all_below(v: Array, middle: Array, own: Array) -> Array:
    """P(M < v | t), (windows, t, v)."""
    found = np.ones(v.shape)
    for k in range(own.shape[1]):
        there = ~np.isnan(own[:, k])
        u = (v[there] - middle[there, :, k, None]) / own[there, k, None, None]
        found[there] *= ndtr(u)
    return found


def _each_wins(v: Array, middle: Array, own: Array) -> Array:
    """p_k(v | t) prod_{m != k} F_m(v | t), (windows, t, v, cells)."""
    u = (v[..., None] - middle[..., None, :]) / own[:, None, None, :]
    there = ~np.isnan(own)[:, None, None, :]
    below = np.where(there, ndtr(u), 1.0)
    density = np.where(there, np.exp(-np.square(u) / 2) / np.sqrt(2 * np.pi) / own[:, None, None, :], 0.0)
    whole = below.prod(axis=-1, keepdims=True)
    return density * np.divide(whole, below, out=np.zeros_like(below), where=below > 0)


def product_of_largest(window: Window, first: Array, second: Array, function: Curve) -> Array:
    """E[f(M) f(M')] for the cells `first` and `second`, (windows, cells) of booleans, of each union of two windows."""
    cells = window.mean.shape[1]
    parts = [
        _product(Window(*(part[chunk] for part in window)), first[chunk], second[chunk], function)
        for chunk in _chunks(len(window.mean), cells * 80 * STEPS)
    ]
    return np.concatenate(parts)


def _product(window: Window, first: Array, second: Array, function: Curve) -> Array:
    t, masses = factor_points(window)
    middle, own = given_factor(window, t)
    low, high = _ends(middle, own, lowest=True)
    step = (high - low) / STEPS
    v = low[..., None] + step[..., None] * (np.arange(STEPS) + 0.5)
    u = (v[..., None] - middle[..., None, :]) / own[:, None, None, :]
    below = np.where(~np.isnan(own)[:, None, None, :], ndtr(u), 1.0)
    x, y, z = (
        np.where(members[:, None, None, :], below, 1.0).prod(axis=-1)
        for members in (first & ~second, second & ~first, first & second)
    )
    edges = function.value(low[..., None] + step[..., None] * np.arange(STEPS + 1))
    rise = np.diff(edges, axis=-1)  # int f' over each step
    means = [edges[..., -1] - (rise * cdf * z).sum(axis=-1) for cdf in (x, y)]
    under_x, under_y = rise * x * z, rise * y * z
    over_x, over_y = rise * x * (1 - z), rise * y * (1 - z)
    before_x, before_y = (np.cumsum(part, axis=-1) - part / 2 for part in (under_x, under_y))
    covariance = (over_y * before_x + over_x * before_y).sum(axis=-1)
    return np.asarray(((covariance + means[0] * means[1]) * masses).sum(axis=-1))


def factor_points(window: Window) -> tuple[Array, Array]:
    """Points and masses of the common factor, cut where its density bends and where the cells' gates do; (windows, t)."""
    loading = window.loading.max(axis=1)
    there = (window.loading > 0) & ~np.isnan(window.own)
    centres = np.divide(-window.mean, window.loading, out=np.full_like(window.mean, np.nan), where=there)
    centres = np.where(there.any(axis=1, keepdims=True), centres, 0.0)
    width = np.divide(_widest(window.own), loading, out=np.full_like(loading, DENSE[-1]), where=loading > 0)
    near = [ends(centres, axis=1)[:, None] + width[:, None] * NEAR for ends in (np.nanmin, np.nanmax)]
    cuts = np.clip(np.concatenate(near, axis=1), *DENSE[[0, -1]])
    ends = np.sort(np.concatenate([np.broadcast_to(DENSE, (len(cuts), len(DENSE))), cuts], axis=1), axis=1)
    keep = np.diff(ends, axis=1).any(axis=0)  # many cuts fall together
    ends = ends[:, np.concatenate([[True], keep])]
    half = np.diff(ends, axis=1)[..., None] / 2
    t = (ends[:, 1:, None] + ends[:, :-1, None]) / 2 + half * T_NODES
    masses = half * T_WEIGHTS * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    t, masses = t.reshape(len(t), -1), masses.reshape(len(t), -1)
    return t, masses / masses.sum(axis=1, keepdims=True)


def _widest(own: Array) -> Array:
    return np.asarray(np.nan_to_num(own).max(axis=1))


def given_factor(window: Window, t: Array) -> tuple[Array, Array]:
    """The means of the cells given t, (windows, t, cells), and their own deviations, none of which is zero."""
    middle = window.mean[:, None, :] + window.loading[:, None, :] * t[..., None]
    size = np.sqrt(np.nan_to_num(window.own) ** 2 + window.loading**2 + window.mean**2).max(axis=1)
    least = 1e-7 * np.where(size > 0, size, 1.0)  # of the size of a cell: ties of equal cells are broken by chance
    own = np.where(np.isnan(window.own), np.nan, np.maximum(window.own, least[:, None]))
    return middle, own


def _ends(middle: Array, own: Array, lowest: bool = False) -> tuple[Array, Array]:
    """Between what values the largest lies, given t; `lowest`: that of any part of the window."""
    low, high = middle - LOW * own[:, None, :], middle + HIGH * own[:, None, :]
    return (np.nanmin if lowest else np.nanmax)(low, axis=-1), np.nanmax(high, axis=-1)


def _chunks(count: int, each: int) -> Iterator[slice]:
    size = max(1, MOST_NUMBERS // each)
    yield from (slice(start, start + size) for start in range(0, count, size))
