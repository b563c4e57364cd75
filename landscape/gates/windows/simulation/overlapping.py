r"""Two maxima at once: how far apart they are, which cells win both, whether both are open.

Neighbouring maxima differ little, and what a maximum above them reads is their difference. So it is their correlation that is
found, and E[f(M) f(M')] from it and the powers. The cells are Gaussians that are simulated at fixed points
(`landscape.gates.windows.simulation.drawn_cells`): what two windows have in common is the same cells. A small field is
simulated as a whole; of a larger one each window with those near it, once for all windows that are alike and have neighbours
that are.
"""

from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from landscape.gates.averaging import mean_by_label, ratio
from landscape.gates.functions import Curve
from landscape.gates.windows.largest import Largest
from landscape.gates.windows.simulation.drawn_cells import gaussian_cells
from landscape.structure.arrays import outer
from landscape.structure.forward_pairs import is_small, near_windows, sharing_windows
from landscape.structure.plan import Axes

__all__ = ["Cells", "Simulated", "simulated"]

Array = np.ndarray[Any, Any]
POINTS = 2**11  # and as many mirror images; fewer where there is more to do
FEWEST = 2**10
POINTS_ALONE = 2**13  # of a single window
GRAIN = 2.0**-9  # of rates and powers, by which windows are told apart
MOST_CELLS = 800  # of a part of one
MOST_WINNERS = 2**25  # of all pairs of windows near each other
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
    """Moments of pairs of windows: `moments` (2, kinds, *lags) of each kind of window, and `kinds`, (*outputs).

    The moments are what two maxima have in common, (E[f(M) f(M')] - E[f(M)] E[f(M')]) / (sqrt(E[f(M)^2] E[f(M')^2]) - E[f(M)]
    E[f(M')]), and E[f'(M) f'(M')]; nan where they are not known. `wins`,
    (kinds, *near lags, taps, taps): E[f'(M) f'(M'); one tap wins M, another one M'] of windows near each other; None where
    these are too many. `alike` numbers the windows by their law, (*outputs): those that have one are averaged, for what they
    differ by is that few points are simulated. `first`, `second` are E[f(M)] and E[f(M)^2] by law, of more points.
    """

    moments: Array
    wins: Array | None
    kinds: Array
    first: Array
    second: Array
    alike: Array

    def at(self, axes: Axes) -> Array:
        """The moments at pairs of windows, (2, *pairs), of either window's simulation the mean."""
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

    def winners(self) -> Array | None:
        """`wins` of all windows, (*outputs, *near lags, taps, taps), of either window's simulation the mean."""
        if self.wins is None:
            return None
        shape, near = self.kinds.shape, self.wins.shape[1:-2]
        found = np.zeros((*shape, *self.wins.shape[1:]))
        for lag in np.ndindex(*near):
            steps = [step - n // 2 for step, n in zip(lag, near, strict=True)]
            first = np.ix_(*(np.arange(max(0, -step), n - max(0, step)) for step, n in zip(steps, shape, strict=True)))
            second = tuple(at + step for at, step in zip(first, steps, strict=True))
            back = tuple(n - 1 - step for step, n in zip(lag, near, strict=True))
            here, there = self.kinds[first], self.kinds[second]
            values = (self.wins[(here, *lag)] + self.wins[(there, *back)].swapaxes(-1, -2)) / 2
            codes = self.alike[first] * (self.alike.max() + 1) + self.alike[second]
            found[(*first, *lag)] = _mean_by_row(values.reshape(codes.size, -1), codes.ravel()).reshape(values.shape)
        return found

    def by_output(self) -> tuple[Array, Array]:
        """E[f(M)] and E[f(M)^2], (*outputs)."""
        return self.first[self.alike], self.second[self.alike]


def _mean_by_row(values: Array, labels: Array) -> Array:
    """Rows with the mean of all that have their label in their place."""
    _, which, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    which = which.ravel()
    sums = sparse.csr_array((np.ones(len(which)), (which, np.arange(len(which)))), shape=(len(sizes), len(which))) @ values
    return np.asarray((sums / sizes[:, None])[which])


def simulated(cells: Cells, law: Largest, function: Curve, turns: bool = False) -> Simulated | None:
    """The moments of all pairs of windows near each other, of a small field of all; None where that is too much work.

    `law` is that of single windows, by which they are told apart. `turns`: the function does not rise, so that values tell who
    wins.
    """
    shape = tuple(table.shape[1] for table in cells.tables)
    whole = is_small(cells.tables, cells.mean.size)
    taps, near = prod(map(len, cells.tables)), [near_windows(table) for table in cells.tables]
    few = law.level.size * prod(2 * r + 1 for r in near) * taps**2 <= MOST_WINNERS
    if not few:
        near = [sharing_windows(table) for table in cells.tables]
    reach = [n - 1 for n in shape] if whole else near
    kinds = np.arange(prod(shape)).reshape(shape) if whole else _alike(law, reach)
    _, middles = np.unique(kinds, return_index=True)
    patches = [_patch(cells, tuple(int(at) for at in np.unravel_index(one, shape)), reach) for one in middles]
    sizes = [prod(map(len, read)) for read, _ in patches]
    work = sizes[0] ** 2 if whole else sum(size**2 for size in sizes)
    points = POINTS if work * 2 * POINTS <= MOST_WORK // 8 else FEWEST
    if work * 2 * points > MOST_WORK or (not whole and max(sizes) > MOST_CELLS):
        return None
    wins = np.zeros((len(middles), *(2 * r + 1 for r in near), taps, taps)) if few else None
    moments = np.full((2, len(middles), *(2 * r + 1 for r in reach)), np.nan)
    drawn: tuple[Array, ...] = ()
    for place, (middle, (read, outputs)) in enumerate(zip(middles, patches, strict=True)):
        at = [int(one) for one in np.unravel_index(middle, shape)]
        steps = [o - a for o, a in zip(outputs, at, strict=True)]
        own = int(np.ravel_multi_index([-step[0] for step in steps], [len(o) for o in outputs]))
        if not whole or not drawn:
            field = gaussian_cells(cells.mean[np.ix_(*read)], cells.variance[np.ix_(*read)], cells.between(read), points)
            drawn = _largest(cells.tables, read, outputs, field, function, turns)
            value, slope, winner = drawn
            pairs = _products(value, slope, slice(None) if whole else slice(own, own + 1))
        row = pairs[:, own if whole else 0].reshape(2, *map(len, outputs))
        lag: Any = np.ix_(*(step + r for step, r in zip(steps, reach, strict=True)))
        moments[(slice(None), place, *lag)] = row
        if wins is not None:
            close = [np.flatnonzero(np.abs(step) <= r) for step, r in zip(steps, near, strict=True)]
            others = np.ravel_multi_index(np.ix_(*close), [len(o) for o in outputs]).ravel()
            found = _both_win(winner, slope, own, others, taps).reshape(*map(len, close), taps, taps)
            lag = np.ix_(*(step[c] + r for step, c, r in zip(steps, close, near, strict=True)))
            wins[(place, *lag)] = found
    alike = _by_law(law)
    return Simulated(moments, wins, kinds, *_alone(cells, alike, function, turns), alike)


def _alone(cells: Cells, alike: Array, function: Curve, turns: bool) -> tuple[Array, Array]:
    """E[f(M)] and E[f(M)^2] of single windows, one of each law.

    What pairs have in common is measured against these, so that they must tell windows apart that differ by a percent.
    """
    found = []
    for one in np.unique(alike, return_index=True)[1]:
        read, outputs = _patch(cells, tuple(int(at) for at in np.unravel_index(one, alike.shape)), [0] * alike.ndim)
        value = np.zeros((1, 1))
        if all(map(len, read)):
            index = np.ix_(*read)
            field = gaussian_cells(cells.mean[index], cells.variance[index], cells.between(read), POINTS_ALONE)
            value = _largest(cells.tables, read, outputs, field, function, turns)[0]
        found.append((value.mean(), (value**2).mean()))
    first, second = np.array(found).T
    return first, second


def _products(value: Array, slope: Array, whom: slice) -> Array:
    """The moments of `Simulated` of some windows with all, (2, some, windows)."""
    count, mean, power = value.shape[1], value.mean(axis=1), (value**2).mean(axis=1)
    apart = np.multiply.outer(mean[whom], mean)
    between = ratio(value[whom] @ value.T / count - apart, np.sqrt(np.multiply.outer(power[whom], power)) - apart)
    return np.stack([between, slope[whom] @ slope.T / count])


def _both_win(winner: Array, slope: Array, own: int, others: Array, taps: int) -> Array:
    """E[f'(M) f'(M'); one tap wins a window, another one each of the others], (others, taps, taps)."""
    codes = (np.arange(len(others))[:, None] * taps + winner[own]) * taps + winner[others]
    sums = np.bincount(codes.ravel(), (slope[own] * slope[others]).ravel(), minlength=len(others) * taps**2)
    return sums.reshape(len(others), taps, taps) / slope.shape[1]


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


def _largest(
    tables: list[Array], read: list[Array], outputs: list[Array], drawn: Array, function: Curve, turns: bool
) -> tuple[Array, ...]:
    """f(M), f'(M) and the tap that wins, (windows, points) each."""
    sizes, lengths = [len(each) for each in read], [len(table) for table in tables]
    compared = function.value(drawn) if turns else drawn
    winners = np.empty((prod(map(len, outputs)), drawn.shape[1]), dtype=np.int64)
    largest = np.empty(winners.shape)
    for place, output in enumerate(product(*(out.tolist() for out in outputs))):
        columns = [table[:, at] for table, at in zip(tables, output, strict=True)]
        local = [np.searchsorted(each, column[column >= 0]) for each, column in zip(read, columns, strict=True)]
        inside = np.ravel_multi_index(np.ix_(*local), sizes).ravel()
        taps = np.ravel_multi_index(np.ix_(*(np.flatnonzero(column >= 0) for column in columns)), lengths).ravel()
        best = compared[inside].argmax(axis=0)
        winners[place] = taps[best]
        largest[place] = np.take_along_axis(drawn, inside[best][None], axis=0)
    return function.value(largest), function.slope(largest), winners
