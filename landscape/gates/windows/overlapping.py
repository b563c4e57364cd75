r"""Two maxima over windows that share cells: how far apart they are, whether one cell wins both, whether both are open.

Neighbouring maxima differ little, and what a maximum above them reads is their difference. So it is E[(f(M) - f(M'))^2] that is
found, and E[f(M) f(M')] from it and the powers. The cells of a window and of all windows that share cells with it are Gaussians,
simulated together on the points of a Sobol sequence and their mirror images: no random number is drawn, and the same points
serve all windows, so that what two of them have in common is the same cells. Windows that are alike, with neighbours that are
alike, are simulated once.
"""

from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from landscape.gates.functions import Curve, curve
from landscape.gates.windows.largest import Largest
from landscape.gates.windows.winners import triangles
from landscape.structure.arrays import outer
from landscape.structure.plan import Axes
from lattice import AdaptivePool, GlobalPool, Pool

__all__ = ["Overlaps", "overlaps"]

Array = np.ndarray[Any, Any]
Maximum = Pool | AdaptivePool | GlobalPool
HALF = 9  # 2^9 points, and their mirror images
GRAIN = 2.0**-9  # of rates and powers, by which windows are told apart
MOST_CELLS = 400  # of a field that is simulated as a whole
MOST_WORK = 2**33  # cells^2 times points of all simulations: some seconds


class Overlaps(NamedTuple):
    """At pairs of windows, (*pairs), nan where they share no cell or are not known.

    `apart` is E[(f(M) - f(M'))^2], `same` E[f'(M) f'(M'); one cell wins both] and `both` E[f'(M) f'(M')].
    """

    apart: Array
    same: Array
    both: Array


class _Patch(NamedTuple):
    """The cells around a window, by axis, and the windows that share cells with it, by axis; which of them is in the middle."""

    cells: list[Array]
    outputs: list[Array]


def overlaps(tables: list[Array], mean: Array, variance: Array, between: Any, law: Largest, function: Any, axes: Axes) -> Overlaps:
    """The moments of pairs of maxima at the pairs `axes`.

    `tables`: the cell that each tap of each output reads, by axis. `mean`, `variance`: of the cells. `between(cells)`: the
    covariances of all pairs of cells of a patch, whose cells are given by axis. `law`: that of single windows.
    """
    reach = [_reach(table) for table in tables]
    if mean.size <= MOST_CELLS:  # all windows at once, whether they share cells or not
        return _at_once(tables, mean, variance, between, curve(function), axes)
    patches, which = _patches(tables, law)
    shape = tuple(2 * r + 1 for r in reach)
    work = sum(np.prod([len(cells) for cells in patch.cells]) ** 2 for patch in patches) * 2**HALF
    found = np.full((3, len(patches), *shape), np.nan)
    if work <= MOST_WORK:
        for place, patch in enumerate(patches):
            _fill(found[:, place], patch, tables, _simulated(patch, mean, variance, between), curve(function), reach)
    first, second = ([getattr(pairs, side) for pairs in axes] for side in ("first", "second"))
    lag = [b - a for a, b in zip(first, second, strict=True)]
    near = outer([np.abs(one) <= r for one, r in zip(lag, reach, strict=True)]) > 0

    def at(origin: list[Array], sign: int) -> Array:
        steps = [np.clip(sign * one, -r, r) + r for one, r in zip(lag, reach, strict=True)]
        return np.asarray(found[(slice(None), which[np.ix_(*origin)], *np.ix_(*steps))])

    values = (at(first, 1) + at(second, -1)) / 2
    return Overlaps(*np.where(near, values, np.nan))


def _at_once(tables: list[Array], mean: Array, variance: Array, between: Any, function: Curve, axes: Axes) -> Overlaps:
    """The moments of all pairs of windows of a field."""
    whole = _Patch([np.arange(n) for n in mean.shape], [])
    cells = np.concatenate([_simulated(whole, mean, variance, between), np.full((1, 2 ** (HALF + 1)), -np.inf)])
    shape = tuple(table.shape[1] for table in tables)
    winners = np.empty((int(np.prod(shape)), cells.shape[1]), dtype=np.int64)
    for place, output in enumerate(np.ndindex(*shape)):
        columns = [table[:, at] for table, at in zip(tables, output, strict=True)]
        read = np.ravel_multi_index(np.ix_(*(column[column >= 0] for column in columns)), mean.shape).ravel()
        winners[place] = read[cells[read].argmax(axis=0)]
    largest = np.take_along_axis(cells, winners, axis=0)
    value, slope = function.value(largest), function.slope(largest)
    count = cells.shape[1]
    products = value @ value.T / count
    power = np.diag(products)
    same = np.array([((winners == one) * slope * own).mean(axis=1) for one, own in zip(winners, slope, strict=True)])
    found = (power[:, None] + power - 2 * products, same, slope @ slope.T / count)
    first, second = ([getattr(pairs, side) for pairs in axes] for side in ("first", "second"))
    index = tuple(np.ravel_multi_index(np.ix_(*side), shape) for side in (first, second))
    return Overlaps(*(part[index] for part in found))


def _reach(table: Array) -> int:
    """How many outputs away the furthest one stands that shares a cell."""
    inside = [set(column[column >= 0].tolist()) for column in table.T]
    return max((b - a for a in range(len(inside)) for b in range(a, len(inside)) if inside[a] & inside[b]), default=0)


def _patches(tables: list[Array], law: Largest) -> tuple[list[_Patch], Array]:
    """One patch for each kind of window, and which of them stands at each output."""
    kinds = _kinds(law)
    reach = [_reach(table) for table in tables]
    around = np.pad(kinds, [(r, r) for r in reach], constant_values=-1)
    views = np.lib.stride_tricks.sliding_window_view(around, tuple(2 * r + 1 for r in reach))
    rows = views.reshape(kinds.size, -1)
    _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    patches = []
    for middle in first:
        place = np.unravel_index(middle, kinds.shape)
        outputs = [np.arange(max(at - r, 0), min(at + r, n - 1) + 1) for at, r, n in zip(place, reach, kinds.shape, strict=True)]
        cells = [np.unique(table[:, read][table[:, read] >= 0]) for table, read in zip(tables, outputs, strict=True)]
        patches.append(_Patch(cells, [np.concatenate([[at], read]) for at, read in zip(place, outputs, strict=True)]))
    return patches, which.reshape(kinds.shape)


def _kinds(law: Largest) -> Array:
    """Windows of which the winners and the sizes of the maxima are the same, by a number each."""
    power = law.square / law.square.max()
    columns = [*law.picked, law.level / np.sqrt(law.square), np.log(np.maximum(power, np.finfo(float).tiny))]
    rows = np.round(np.stack([column.ravel() for column in columns], axis=1) / GRAIN)
    _, which = np.unique(rows, axis=0, return_inverse=True)
    return np.asarray(which.reshape(law.level.shape))


def _simulated(patch: _Patch, mean: Array, variance: Array, between: Any) -> Array:
    """The cells of a patch at all points, (cells, points)."""
    index = np.ix_(*patch.cells)
    middle, deviation = mean[index].ravel(), np.sqrt(variance[index].ravel())
    sizes = np.where(deviation > 0, deviation, 1.0)
    correlations = between(patch.cells) / np.multiply.outer(sizes, sizes)
    np.fill_diagonal(correlations, 1.0)
    triangle = triangles(np.clip(correlations, -1, 1)[None])[0]
    return np.asarray(middle[:, None] + deviation[:, None] * (triangle @ _points(len(middle))))


@lru_cache(maxsize=16)
def _points(cells: int) -> Array:
    """Independent standard Gaussians, (cells, points)."""
    uniform = qmc.Sobol(cells, scramble=False).random_base2(HALF) + 2.0 ** -(HALF + 1)
    normal = ndtri(uniform.T)
    return np.concatenate([normal, -normal], axis=1)


def _fill(found: Array, patch: _Patch, tables: list[Array], cells: Array, function: Curve, reach: list[int]) -> None:
    """The moments of the middle window of a patch with each of its neighbours, (3, *lags)."""
    padded = np.concatenate([cells, np.full((1, cells.shape[1]), -np.inf)])
    sizes = [len(each) for each in patch.cells]
    middle = [int(read[0]) for read in patch.outputs]

    def largest(place: tuple[int, ...]) -> Array:
        columns = [table[:, at] for table, at in zip(tables, place, strict=True)]
        local = [np.searchsorted(each, column[column >= 0]) for each, column in zip(patch.cells, columns, strict=True)]
        return np.asarray(padded[np.ravel_multi_index(np.ix_(*local), sizes).ravel()].max(axis=0))

    own = largest(tuple(middle))
    value, slope = function.value(own), function.slope(own)
    for place in product(*(read[1:].tolist() for read in patch.outputs)):
        other = largest(place)
        slopes = slope * function.slope(other)
        lag = tuple(at - m + r for at, m, r in zip(place, middle, reach, strict=True))
        moments = (np.mean((value - function.value(other)) ** 2), np.mean(slopes * (own == other)), np.mean(slopes))
        found[(slice(None), *lag)] = moments
