r"""What two maxima far apart have in common: to first order in the covariances of their cells, as far as it is not simulated.

With r_k = P(k wins), Cov(max, max') = sum r_k r'_m Cov(a_k, a_m). Windows near each other are simulated
(`landscape.gates.windows.simulation.overlapping`); the furthest of these tell how much the first order lacks.
"""

from collections.abc import Callable
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import ndtr, ndtri

from landscape.gates.averaging import ratio
from landscape.gates.gaussian.normal import NEVER, quadrant
from landscape.gates.windows.largest import Largest
from landscape.gates.windows.pools import Field, Maximum, at_codes
from landscape.gates.windows.simulation.overlapping import Simulated
from landscape.structure.arrays import on_diagonal
from landscape.structure.pairs import Pairs
from landscape.structure.plan import Axes

__all__ = ["pairs_of_slopes", "pairs_of_windows"]

Array = np.ndarray[Any, Any]
MOST_PAIRS = 2**24  # of windows
MOST_NUMBERS = 2**22  # of covariances of cells that are written out at one time


def pairs_of_windows(op: Maximum, field: Field, law: Largest, seen: Simulated | None, axes: Axes) -> Array:
    """E[f(M) f(M')] for the pairs of windows `axes`, (*pairs): as simulated, else from the law of single windows."""
    shared = np.full(tuple(map(len, axes)), np.nan) if seen is None else seen.at(axes)[0]
    missing = np.isnan(shared)
    if missing.any():
        between = _correlation(op, field, law, axes)
        lacking = 1.0 if seen is None else _lacking(field, law, between, seen, axes)
        shared = np.where(missing, 1 - (1 - _shared(field, law, between, axes)) * lacking, shared)
    first, second = (np.ix_(*(getattr(pairs, side) for pairs in axes)) for side in ("first", "second"))
    independent = law.first[first] * law.first[second]
    equal = np.sqrt(law.second[first] * law.second[second])
    return np.asarray(independent + shared * (equal - independent))


def pairs_of_slopes(op: Maximum, field: Field, law: Largest, seen: Simulated, axes: Axes) -> Array:
    """E[f'(M) f'(M')] for the pairs of windows `axes`, (*pairs): as simulated, else as of Gaussians that pass as often."""
    found = seen.at(axes)[1]
    missing = np.isnan(found)
    if not missing.any():
        return found
    assert field.function.slopes is not None
    down, up = field.function.slopes
    spread = np.sqrt(np.maximum(law.square - law.level**2, 0))
    opened = ratio(law.wins.sum(axis=0) - down**2, up**2 - down**2) if up**2 != down**2 else ndtr(ratio(law.level, spread))
    deviations = np.clip(ndtri(np.clip(opened, 0, 1)), -NEVER, NEVER)
    first, second = (np.ix_(*(getattr(pairs, side) for pairs in axes)) for side in ("first", "second"))
    between = _correlation(op, field, law, axes)(axes)
    both = quadrant(deviations[first], deviations[second], between, np.sqrt(1 - between**2))
    passed = down**2 + down * (up - down) * (opened[first] + opened[second]) + (up - down) ** 2 * both
    return np.where(missing, passed, found)


def _correlation(op: Maximum, field: Field, law: Largest, axes: Axes) -> Callable[[Axes], Array]:
    """A function of pairs of windows that gives the correlation of their Gaussian maxima, to first order in their cells' own.

    `axes`: most of the pairs it will be asked for. Where these are many it is less work to take all pairs of windows at once.
    """
    cells, taps = field.mean.size, len(law.picked)
    spread = np.sqrt(np.maximum(law.square - law.level**2, 0))
    at_once = cells**2 <= taps**2 * prod(map(len, axes)) and spread.size**2 <= MOST_PAIRS
    whole = _covariance_of_all(op, field, law) if at_once else None

    def between(pairs: Axes) -> Array:
        first, second = (np.ix_(*(getattr(one, side) for one in pairs)) for side in ("first", "second"))
        if whole is None:
            covariance = _covariance_of_pairs(op, field, law, pairs)
        else:
            covariance = whole[tuple(np.ravel_multi_index(at, spread.shape) for at in (first, second))]
        return np.clip(ratio(covariance, spread[first] * spread[second]), -1, 1)

    return between


def _covariance_of_all(op: Maximum, field: Field, law: Largest) -> Array:
    """sum r_k r'_m Cov(a_k, a_m) of all pairs of windows: A C A' with A, (windows, cells), how often each cell wins each."""
    spatial = field.mean.shape
    read = _cells_read(field.tables(op), spatial)
    there, windows = read >= 0, np.broadcast_to(np.arange(read.shape[1]), read.shape)
    picked = law.picked.reshape(read.shape)
    a = sparse.csr_array((picked[there], (windows[there], read[there])), shape=(read.shape[1], prod(spatial)))
    every = [np.arange(n) for n in spatial]
    found = np.zeros((len(windows[0]), len(windows[0])))
    rows = max(1, MOST_NUMBERS * spatial[0] // prod(spatial) ** 2)  # of the first axis at one time
    for start in range(0, spatial[0], rows):
        some = every[0][start : start + rows]
        strip = slice(start * prod(spatial[1:]), (start + len(some)) * prod(spatial[1:]))
        found += a[:, strip] @ (a @ field.between([some, *every[1:]], every).T).T
    return found


def _cells_read(tables: list[Array], spatial: tuple[int, ...]) -> Array:
    """The number of the cell that each tap of each window reads, (taps, windows); -1: none."""
    codes, outside = tables[0], tables[0] < 0
    for table, n in zip(tables[1:], spatial[1:], strict=True):
        codes = codes[:, None, :, None] * n + table[None, :, None, :]
        outside = outside[:, None, :, None] | (table < 0)[None, :, None, :]
        codes, outside = (part.reshape(prod(part.shape[:2]), -1) for part in (codes, outside))
    return np.where(outside, -1, codes)


def _covariance_of_pairs(op: Maximum, field: Field, law: Largest, axes: Axes) -> Array:
    """The same tap by tap, at the pairs that are asked for alone."""
    rows = [[table[:, pairs.first], table[:, pairs.second]] for table, pairs in zip(field.tables(op), axes, strict=True)]
    first, second = (np.ix_(*(getattr(pairs, side) for pairs in axes)) for side in ("first", "second"))
    taps = list(product(*(range(left.shape[0]) for left, _ in rows)))
    covariance = np.zeros(tuple(map(len, axes)))
    for (k, one), (m, other) in product(enumerate(taps), repeat=2):
        codes = [
            np.maximum(left[a], 0) * pairs.right + np.maximum(right[b], 0)
            for (left, right), a, b, pairs in zip(rows, one, other, field.axes, strict=True)
        ]
        inside = [(left[a] >= 0) & (right[b] >= 0) for (left, right), a, b in zip(rows, one, other, strict=True)]
        there = reduce(np.logical_and.outer, inside)
        weight = law.picked[k][first] * law.picked[m][second] * there
        covariance += weight * at_codes(field.covariance, field.axes, codes)
    return covariance


def _shared(field: Field, law: Largest, between: Callable[[Axes], Array], axes: Axes) -> Array:
    """What windows that are not near each other have in common, as Gaussians with their means, variances and correlation.

    It is 0 for E[f(M) f(M')] = E[f(M)] E[f(M')] and 1 for sqrt(E[f(M)^2] E[f(M')^2]).
    """
    correlation = between(axes)
    variance = np.maximum(law.square - law.level**2, 0)
    shares = []
    for side in (np.ix_(*(getattr(pairs, side) for pairs in axes)) for side in ("first", "second")):
        mean, square, both, _ = field.function.moments(law.level[side], variance[side], correlation)
        shares.append(ratio(both - mean**2, square - mean**2))
    return np.asarray((shares[0] + shares[1]) / 2)


def _lacking(field: Field, law: Largest, between: Callable[[Axes], Array], seen: Simulated, axes: Axes) -> Array:
    """How much more apart pairs of windows are than `_shared` says, (*pairs): as the furthest that are simulated.

    Of each window the mean over these, and of two windows the geometric mean.
    """
    reach = [n // 2 for n in seen.moments.shape[2:]]
    outputs = [pairs.left for pairs in axes]
    near = tuple(
        Pairs.of(n, n, np.flatnonzero(np.abs(np.subtract.outer(np.arange(n), np.arange(n))).ravel() <= r))
        for n, r in zip(outputs, reach, strict=True)
    )
    lags = [np.abs(pairs.second - pairs.first) == r for pairs, r in zip(near, reach, strict=True)]
    far = ~on_diagonal(near) & reduce(np.logical_or.outer, lags)
    apart = ratio(1 - seen.at(near)[0], 1 - _shared(field, law, between, near))[far]
    which = np.ravel_multi_index(np.ix_(*(pairs.first for pairs in near)), outputs)
    which = np.broadcast_to(which, far.shape)[far]
    sums, counts = (np.bincount(which, weights, prod(outputs)) for weights in (apart, None))
    factor = np.where(counts > 0, ratio(sums, counts), 1.0).reshape(outputs)
    first, second = (np.ix_(*(getattr(pairs, side) for pairs in axes)) for side in ("first", "second"))
    return np.sqrt(factor[first] * factor[second])
