r"""Two maxima at once: how far apart they are, whether one cell wins both, whether both are open.

Neighbouring maxima differ little, and what a maximum above them reads is their difference. So it is their correlation that is
found, and E[f(M) f(M')] from it and the powers. The cells are Gaussians, simulated on the points of a Sobol sequence and their
mirror images: no random number is drawn, and the same points serve all windows, so that what two of them have in common is the
same cells. A small field is simulated as a whole; of a larger one each window with those that share cells with it, once for all
windows that are alike and have neighbours that are.
"""

from functools import lru_cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import qmc

from landscape.gates.averaging import mean_by_label, ratio
from landscape.gates.functions import Curve
from landscape.gates.windows.largest import Largest
from landscape.gates.windows.winners import RIDGE, triangles
from landscape.structure.arrays import outer
from landscape.structure.plan import Axes

__all__ = ["Cells", "Simulated", "gaussian_points", "simulated"]

Array = np.ndarray[Any, Any]
POINTS = 2**11  # and as many mirror images; fewer where there is more to do
FEWEST = 2**10
GRAIN = 2.0**-9  # of rates and powers, by which windows are told apart
MOST_WHOLE = 800  # cells of a field that is simulated as a whole
MOST_CELLS = 800  # of a part of one
MOST_WORK = 2**36  # cells^2 times points of all simulations: some seconds


class Cells(NamedTuple):
    """What is simulated: the cell that each tap of each output reads, by axis; means and variances; and covariances.

    `between(cells)` gives those of all pairs of the cells that it is told by axis.
    """

    tables: list[Array]
    mean: Array
    variance: Array
    between: Any


class Simulated(NamedTuple):
    """Moments of pairs of windows: `moments` (3, kinds, *lags) of each kind of window, and `kinds`, (*outputs).

    The moments are E[f(M) f(M')] / sqrt(E[f(M)^2] E[f(M')^2]), E[f'(M) f'(M'); one cell wins both] and E[f'(M) f'(M')]; nan
    where they are not known. `first`, `second` are E[f(M)] and E[f(M)^2] by kind. `alike` numbers the windows by their law,
    (*outputs): those that have one are averaged, for what they differ by is that few points are simulated.
    """

    moments: Array
    kinds: Array
    first: Array
    second: Array
    alike: Array

    def at(self, axes: Axes) -> Array:
        """The moments at pairs of windows, (3, *pairs), of either window's simulation the mean."""
        first, second = ([getattr(pairs, side) for pairs in axes] for side in ("first", "second"))
        lags = [b - a for a, b in zip(first, second, strict=True)]
        reach = [n // 2 for n in self.moments.shape[2:]]
        near = outer([np.abs(lag) <= r for lag, r in zip(lags, reach, strict=True)]) > 0

        def seen(origin: list[Array], sign: int) -> Array:
            steps = [np.clip(sign * lag, -r, r) + r for lag, r in zip(lags, reach, strict=True)]
            return np.asarray(self.moments[(slice(None), self.kinds[np.ix_(*origin)], *np.ix_(*steps))])

        found = np.where(near, (seen(first, 1) + seen(second, -1)) / 2, np.nan)
        codes = self.alike[np.ix_(*first)] * (self.alike.max() + 1) + self.alike[np.ix_(*second)]
        for place, (lag, n) in enumerate(zip(lags, self.alike.shape, strict=True)):
            codes = codes * (2 * n) + np.expand_dims(lag + n, tuple(axis for axis in range(codes.ndim) if axis != place))
        kinds = np.unique(codes, return_inverse=True)[1]
        return np.stack([mean_by_label(part, kinds.reshape(part.shape)) for part in found])

    def by_output(self) -> tuple[Array, Array]:
        """E[f(M)] and E[f(M)^2], (*outputs)."""
        first, second = (mean_by_label(part[self.kinds], self.alike) for part in (self.first, self.second))
        return first, second


def simulated(cells: Cells, law: Largest, function: Curve, turns: bool = False) -> Simulated | None:
    """The moments of all pairs of windows that share cells, of a small field of all; None where that is too much work.

    `law` is that of single windows, by which they are told apart. `turns`: the function does not rise, so that values tell who
    wins.
    """
    shape = tuple(table.shape[1] for table in cells.tables)
    whole = cells.mean.size <= MOST_WHOLE
    reach = [n - 1 if whole else _reach(table) for n, table in zip(shape, cells.tables, strict=True)]
    kinds = np.arange(prod(shape)).reshape(shape) if whole else _alike(law, reach)
    _, middles = np.unique(kinds, return_index=True)
    patches = [_patch(cells, tuple(int(at) for at in np.unravel_index(one, shape)), reach) for one in middles]
    sizes = [prod(map(len, read)) for read, _ in patches]
    work = sizes[0] ** 2 if whole else sum(size**2 for size in sizes)
    points = POINTS if work * 2 * POINTS <= MOST_WORK // 8 else FEWEST
    if work * 2 * points > MOST_WORK or max(sizes) > MOST_CELLS:
        return None
    moments = np.full((3, len(middles), *(2 * r + 1 for r in reach)), np.nan)
    values = np.empty((2, len(middles)))
    drawn: Array | None = None
    for place, (middle, (read, outputs)) in enumerate(zip(middles, patches, strict=True)):
        at = tuple(int(one) for one in np.unravel_index(middle, shape))
        if drawn is None or not whole:
            drawn = _drawn(cells, read, points)
            found = _largest(cells.tables, read, outputs, drawn, function, turns)
        own = int(np.ravel_multi_index([a - o[0] for a, o in zip(at, outputs, strict=True)], [len(o) for o in outputs]))
        lags = np.ix_(*(o - a + r for o, a, r in zip(outputs, at, reach, strict=True)))
        value, slope, winner = found
        count = value.shape[1]
        slopes = slope @ slope[own] / count
        same = ((winner == winner[own]) * slope) @ slope[own] / count
        power = (value**2).mean(axis=1)
        between = ratio(value @ value[own] / count, np.sqrt(power * power[own]))
        pairs = np.stack([between, same, slopes])
        index: Any = (slice(None), place, *lags)
        moments[index] = pairs.reshape(3, *(len(o) for o in outputs))
        values[:, place] = value[own].mean(), power[own]
    return Simulated(moments, kinds, values[0], values[1], _by_law(law))


def _reach(table: Array) -> int:
    """How many outputs away the furthest one stands that shares a cell."""
    inside = [set(column[column >= 0].tolist()) for column in table.T]
    return max((b - a for a in range(len(inside)) for b in range(a, len(inside)) if inside[a] & inside[b]), default=0)


def _alike(law: Largest, reach: list[int]) -> Array:
    """A number for each kind of window: those with one law among neighbours that have one."""
    own = _by_law(law)
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(own, [(r, r) for r in reach], constant_values=-1), tuple(2 * r + 1 for r in reach)
    )
    return np.asarray(np.unique(around.reshape(own.size, -1), axis=0, return_inverse=True)[1].reshape(own.shape))


def _by_law(law: Largest) -> Array:
    """A number for each law of a window: those with the same winners and sizes."""
    power = law.square / law.square.max()
    level = law.level / np.sqrt(np.where(law.square > 0, law.square, 1.0))
    columns = [*law.picked, level, np.log(np.maximum(power, np.finfo(float).tiny))]
    rows = np.round(np.stack([column.ravel() for column in columns], axis=1) / GRAIN)
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1].reshape(law.level.shape))


def _patch(cells: Cells, middle: tuple[int, ...], reach: list[int]) -> tuple[list[Array], list[Array]]:
    """The cells, by axis, of the windows around one, and these windows, by axis."""
    shape = [table.shape[1] for table in cells.tables]
    outputs = [np.arange(max(at - r, 0), min(at + r, n - 1) + 1) for at, r, n in zip(middle, reach, shape, strict=True)]
    read = [np.unique(table[:, out][table[:, out] >= 0]) for table, out in zip(cells.tables, outputs, strict=True)]
    return read, outputs


def _drawn(cells: Cells, read: list[Array], points: int) -> Array:
    """The cells at all points, (cells, points)."""
    index = np.ix_(*read)
    middle, deviation = cells.mean[index].ravel(), np.sqrt(cells.variance[index].ravel())
    sizes = np.where(deviation > 0, deviation, 1.0)
    correlations = cells.between(read) / sizes / sizes[:, None]
    np.fill_diagonal(correlations, 1.0)
    correlations = np.clip(correlations, -1, 1)
    try:
        triangle = np.linalg.cholesky(correlations + RIDGE * np.eye(len(middle)))
    except np.linalg.LinAlgError:  # no covariance that a Gaussian has
        triangle = triangles(correlations[None])[0]
    return np.asarray(middle[:, None] + deviation[:, None] * (triangle @ gaussian_points(len(middle), points)))


@lru_cache(maxsize=16)
def gaussian_points(cells: int, points: int) -> Array:
    """Standard Gaussians of a Sobol sequence and their mirror images, (cells, 2 points).

    Their means are zero, and their products average as those of independent ones.

    >>> gaussian_points(2, 4).shape
    (2, 8)
    """
    uniform = qmc.Sobol(cells, scramble=False).random(points) + 0.5 / points
    normal = ndtri(uniform.T)
    white = np.linalg.solve(np.linalg.cholesky(normal @ normal.T / normal.shape[1]), normal)
    return np.concatenate([white, -white], axis=1)


def _largest(
    tables: list[Array], read: list[Array], outputs: list[Array], drawn: Array, function: Curve, turns: bool
) -> tuple[Array, ...]:
    """f(M), f'(M) and the number of the cell that wins, (windows, points) each."""
    sizes = [len(each) for each in read]
    compared = function.value(drawn) if turns else drawn
    winners = np.empty((prod(map(len, outputs)), drawn.shape[1]), dtype=np.int32)
    for place, output in enumerate(product(*(out.tolist() for out in outputs))):
        columns = [table[:, at] for table, at in zip(tables, output, strict=True)]
        local = [np.searchsorted(each, column[column >= 0]) for each, column in zip(read, columns, strict=True)]
        inside = np.ravel_multi_index(np.ix_(*local), sizes).ravel()
        winners[place] = inside[compared[inside].argmax(axis=0)]
    largest = np.take_along_axis(drawn, winners, axis=0)
    return function.value(largest), function.slope(largest), winners
