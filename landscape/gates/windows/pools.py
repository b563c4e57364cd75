r"""Max-pools of Gaussian fields, or of rising functions of them: win rates by tap, moments, and pairs of windows.

The field is given by means and variances at positions and by covariances at pairs of positions, each for runs of channels that
are alike. Windows that are alike (inside a layer nearly all) are computed once. See `landscape.gates.windows.largest`.
"""

from functools import reduce
from itertools import combinations, permutations, product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.averaging import pointwise, ratio
from landscape.gates.rising import Rising
from landscape.gates.windows.copies import OfCopies
from landscape.gates.windows.largest import Largest, Moments, Window, common_factor, largest, moments_of_largest
from landscape.gates.windows.simulation.overlapping import Cells, Simulated, simulated
from landscape.gates.windows.turning import largest_turning
from landscape.gates.windows.winners import winners
from landscape.structure.forward_pairs import closest
from landscape.structure.pairs import everything
from landscape.structure.plan import Axes
from landscape.structure.symmetry import Symmetries
from lattice import AdaptivePool, GlobalPool, Pool, UnsupportedError
from lattice.network.ops import Windowed

__all__ = [
    "MOST_CELLS",
    "Field",
    "Maximum",
    "at_codes",
    "simulate",
    "symmetric",
    "windows",
    "with_moments",
]

Array = np.ndarray[Any, Any]
MOST_CELLS = 256  # of a window, all pairs of which are looked at
MOST_JOINT = 64  # of a window, the winners of which are those of any covariance; of more, those of one factor in common
MOST_WORK = 2**17  # distinct windows of one layer times the square of their cells: a few seconds
GRAIN = 2.0**-9  # of a window's variance
ROUNDING = 2.0**-48  # of a difference of moments
Maximum = Pool | AdaptivePool | GlobalPool


class Field(NamedTuple):
    """A Gaussian field of one run of channels, and the rising function of it that a pool reads.

    `mean`, `variance`, `shared` (the covariance between two inputs): (*spatial). `covariance`: (*pairs), at the pairs `axes`.
    `fitted`: has it been found from moments of values that are no function of a Gaussian? `copies`: per axis the cell of the
    field that each cell read by the pool is a copy of; none where these are the field's own.
    """

    mean: Array
    variance: Array
    shared: Array
    covariance: Array
    axes: Axes
    function: Rising
    fitted: bool = False
    copies: tuple[Array, ...] = ()

    @property
    def fixed(self) -> Array:
        """Is a cell the same for all weights and inputs, but for the rounding of its moments? (*spatial)"""
        return np.asarray(self.variance <= ROUNDING * (self.variance + self.mean**2))

    def tables(self, op: "Maximum") -> list[Array]:
        """Per axis the cell of the field that each tap of each output reads; -1: none, or one that a tap before reads too."""
        own = OfCopies(op, tuple(tuple(source.tolist()) for source in self.copies)) if self.copies else op
        return _tables(own, self.mean.shape)

    def copied(self) -> "Field":
        """The field of the cells that the pool reads, copies of one cell being equal."""
        if not self.copies:
            return self
        axes = tuple(everything(len(source), len(source)) for source in self.copies)
        codes = [
            source[pairs.first] * own.right + source[pairs.second]
            for source, pairs, own in zip(self.copies, axes, self.axes, strict=True)
        ]
        mean, variance, shared = (part[np.ix_(*self.copies)] for part in (self.mean, self.variance, self.shared))
        covariance = at_codes(self.covariance, self.axes, codes)
        return Field(mean, variance, shared, covariance, axes, self.function, self.fitted)

    def between(self, cells: list[Array], others: list[Array]) -> Array:
        """The covariances of cells with others, both named by axis, as a matrix."""
        codes = [
            np.repeat(one, len(other)) * pairs.right + np.tile(other, len(one))
            for one, other, pairs in zip(cells, others, self.axes, strict=True)
        ]
        sizes = [list(map(len, each)) for each in (cells, others)]
        split = at_codes(self.covariance, self.axes, codes).reshape([n for pair in zip(*sizes, strict=True) for n in pair])
        order = [*range(0, 2 * len(cells), 2), *range(1, 2 * len(cells), 2)]
        return split.transpose(order).reshape(*map(prod, sizes))


def at_codes(values: Array, axes: Axes, codes: list[Array]) -> Array:
    """Values over (..., *pairs) at the pairs with these codes, one array for each axis.

    What positions far apart have in common is a factor of the one times a factor of the other. So a pair (a, b) that is too far
    apart to be carried has v(a, a + r) v(b - r, b) / v(b - r, a + r), r being as far as is carried; see `closest`.
    """
    start = values.ndim - len(axes)
    for axis, (pairs, wanted) in enumerate(zip(axes, codes, strict=True), start=start):
        places = closest(pairs, np.ascontiguousarray(wanted, dtype=np.int64).tobytes())
        far = np.flatnonzero(places[0] != places[1])
        found = np.take(values, places[0], axis)
        first, second = (np.take(values, place[far], axis) for place in places[:2])
        if second.any() or first.any():
            middle = np.take(values, places[2][far], axis)
            factors = (first > 0) & (second > 0) & (middle > 0)
            index: tuple[Any, ...] = (*(slice(None),) * axis, far)
            found[index] = np.where(factors, ratio(first * second, middle), (first + second) / 2)
        values = found  # where both are zero it is zero, as found
    return values


def _tables(op: Windowed, spatial: tuple[int, ...]) -> list[Array]:
    """Per axis the cell that each tap of each output reads; -1: none."""
    return [window.table(n) for window, n in zip(op.windows(spatial), spatial, strict=True)]


def windows(op: Maximum, field: Field, most: int = MOST_JOINT) -> Largest:
    """The law of every window: wins (taps, *outputs), E[f(M)], E[f(M)^2] and E[f(M) f(M')] of two inputs (*outputs).

    Windows of more than `most` cells have one factor in common.
    """
    tables = field.tables(op)
    taps = list(product(*(range(len(table)) for table in tables)))
    read = np.stack([_outer([table[k] >= 0 for table, k in zip(tables, tap, strict=True)], np.logical_and) for tap in taps])
    rows = [np.ix_(*(np.maximum(table[k], 0) for table, k in zip(tables, tap, strict=True))) for tap in taps]
    inside = list(read & ~_never_largest(field, np.where(read, np.stack([field.fixed[row] for row in rows]), False), rows))
    cells = [[np.where(there, part[row], 0.0) for there, row in zip(inside, rows, strict=True)] for part in field[:3]]
    pairs = [_pair(field, tables, taps[i], taps[j], inside[i] & inside[j]) for i, j in combinations(range(len(taps)), 2)]

    def law(*arrays: Array) -> tuple[Array, ...]:
        n = len(taps)
        cases, which, turned = _cases(arrays, n, _turns([len(table) for table in tables]))
        if len(cases) * n**2 > MOST_WORK:
            raise UnsupportedError(f"{len(cases)} windows of {n} cells that differ are too many for the law of their maxima")
        there, mean, variance, shared = (cases[:, k * n : (k + 1) * n] for k in range(4))
        found = _law(there > 0, mean, variance, shared, cases[:, 4 * n :], field.function, most)
        by_tap = [np.take_along_axis(part[which], turned, axis=1).T for part in (found.wins, found.picked)]
        columns = (found.first, found.second, found.shared, found.level, found.square)
        shape = arrays[0].shape
        return tuple(column.reshape(shape) for column in (*by_tap[0], *by_tap[1], *(part[which] for part in columns)))

    found = pointwise(law, *(there.astype(float) for there in inside), *cells[0], *cells[1], *cells[2], *pairs)
    n = len(taps)
    first, second, shared, level, square = found[2 * n :]
    return Largest(np.stack(found[:n]), first, second, shared, np.stack(found[n : 2 * n]), level, square)


def _never_largest(field: Field, fixed: Array, rows: list[Any]) -> Array:
    """All but one of the fixed cells of each window, (taps, *outputs): the largest of them is known, and stands for them."""
    value = field.mean if field.function.turn is None else field.function.function.value(field.mean)
    first = np.where(fixed, np.stack([value[row] for row in rows]), -np.inf).argmax(axis=0)
    tap = np.arange(len(fixed)).reshape(-1, *(1 for _ in first.shape))
    return np.asarray(fixed & (tap != first))


def symmetric(alike: Symmetries, op: Maximum, spatial: tuple[int, ...], law: Largest) -> Largest:
    """The law averaged over the symmetries of the network: points of a quadrature have none of them."""
    tables = _tables(op, spatial)
    found = {
        name: alike.average_taps(part[:, None], tables, spatial)[:, 0]
        if name in ("wins", "picked")
        else alike.average(part[None])[0]
        for name, part in law._asdict().items()
    }
    return Largest(**found)


def _law(there: Array, mean: Array, variance: Array, shared: Array, upper: Array, rising: Rising, most: int) -> Largest:
    function = rising.function
    covariance = _symmetric(upper, variance)
    window = common_factor(mean, covariance, there)
    level = np.sqrt(np.clip(shared, 0, variance))
    own = np.where(there, np.sqrt(np.maximum(variance - level**2, 0.0)), np.nan)
    between = Window(window.mean, level, own)  # what two inputs share
    if rising.turn is not None:
        return _sharing(largest_turning(window, rising), largest_turning(between, rising))
    if there.shape[1] > most:
        return _sharing(largest(window, function), moments_of_largest(between, function))
    moments = moments_of_largest(window, function)
    picked, positive = winners(mean, covariance, there)
    wins = _passed(window, picked, positive, rising)
    found = Largest(wins, moments.first, moments.second, moments.shared, picked, moments.level, moments.square)
    return _sharing(found, moments_of_largest(between, function))


def _sharing(law: Largest, between: Largest | Moments) -> Largest:
    """With E[f(M) f(M')] of two inputs: the part of V[f(M)] that is theirs `between` cells with nothing else in common."""
    part = ratio(between.shared - between.first**2, between.second - between.first**2)
    return law._replace(shared=law.first**2 + part * (law.second - law.first**2))


def _passed(window: Window, picked: Array, positive: Array, rising: Rising) -> Array:
    """E[f'^2; k wins]: by the sign of the winner, or as much as a winner passes with one factor in common."""
    if rising.slopes is not None:
        down, up = rising.slopes
        return np.asarray(up**2 * positive + down**2 * (picked - positive))
    found = largest(window, rising.function)
    return np.asarray(ratio(found.wins, found.picked) * picked)


def _pair(field: Field, tables: list[Array], one: tuple[int, ...], other: tuple[int, ...], there: Array) -> Array:
    """The covariance of the cells that two taps of each window read."""
    codes = [
        np.maximum(table[k], 0) * pairs.right + np.maximum(table[m], 0)
        for table, k, m, pairs in zip(tables, one, other, field.axes, strict=True)
    ]
    outside = [(table[k] < 0) | (table[m] < 0) for table, k, m in zip(tables, one, other, strict=True)]
    codes = [np.where(out, 0, code) for out, code in zip(outside, codes, strict=True)]
    return np.where(there, at_codes(field.covariance, field.axes, codes), 0.0)


def simulate(op: Maximum, field: Field, law: Largest) -> Simulated | None:
    """The maxima of a field's windows at once, where that is not too much work."""
    cells = Cells(field.tables(op), field.mean, field.variance, lambda cells: field.between(cells, cells))
    return simulated(cells, law, field.function.function, field.function.turn is not None)


def with_moments(law: Largest, seen: Simulated | None) -> Largest:
    """The law with E[f(M)] and E[f(M)^2] as simulated, which the products of two maxima are measured against."""
    if seen is None:
        return law
    first, second = seen.by_output()
    return law._replace(first=first, second=second, shared=law.shared * ratio(second, law.second))


def _turns(sizes: list[int]) -> list[Array]:
    """The orders of the taps of a window that mirror it and swap axes of one length; the first leaves it as it is."""
    taps = np.arange(prod(sizes)).reshape(sizes)
    orders = [order for order in permutations(range(len(sizes))) if [sizes[axis] for axis in order] == sizes]
    mirrored = [[axis for axis, flip in enumerate(flips) if flip] for flips in product((False, True), repeat=len(sizes))]
    return [np.flip(taps.transpose(order), tuple(axes)).ravel() for order in orders for axes in mirrored]


def _cases(arrays: tuple[Array, ...], cells: int, turns: list[Array]) -> tuple[Array, Array, Array]:
    """The windows that differ, one row of numbers each, which of them stands at each place, and where its taps have gone.

    Windows are taken as equal whose means and covariances, in units of their largest deviation and variance, round to the same
    multiples of `GRAIN`, and their variances, in units of the largest of the layer, to the same powers of 1 + `GRAIN`: rates
    and moments change by less than the points of the quadrature tell. So are those that are mirror images of each other.
    """
    rows = np.stack([array.ravel() for array in arrays], axis=1)
    variance = rows[:, 2 * cells : 3 * cells].max(axis=1, keepdims=True)
    variance = np.where(variance > 0, variance, 1.0)
    parts = (rows[:, :cells], rows[:, cells : 2 * cells] / np.sqrt(variance), rows[:, 2 * cells :] / variance)
    size = np.round(np.log(variance / variance.max()) / GRAIN)
    units = np.round(np.concatenate(parts, axis=1) / GRAIN)
    best, chosen = units, np.zeros(len(rows), dtype=int)
    columns = [_turned_columns(turn) for turn in turns]
    for place, order in enumerate(columns[1:], start=1):
        new = units[:, order]
        at = (np.arange(len(rows)), (new != best).argmax(axis=1))
        less = new[at] < best[at]
        best, chosen = np.where(less[:, None], new, best), np.where(less, place, chosen)
    _, first, which = np.unique(np.concatenate([best, size], axis=1), axis=0, return_index=True, return_inverse=True)
    cases = np.take_along_axis(rows[first], np.stack(columns)[chosen[first]], axis=1)
    return cases, which.ravel(), np.argsort(np.stack(turns), axis=1)[chosen]


def _turned_columns(turn: Array) -> Array:
    """Where the numbers of a turned window stand in the row of the window."""
    n = len(turn)
    places = np.zeros((n, n), dtype=int)
    places[np.triu_indices(n, 1)] = np.arange(n * (n - 1) // 2)
    places += places.T
    return np.concatenate([turn + part * n for part in range(4)] + [4 * n + places[np.ix_(turn, turn)][np.triu_indices(n, 1)]])


def _symmetric(upper: Array, diagonal: Array) -> Array:
    """Matrices from what stands above their diagonals, and on them."""
    n = diagonal.shape[1]
    full = np.zeros((len(diagonal), n, n))
    full[(slice(None), *np.triu_indices(n, 1))] = upper
    full += full.transpose(0, 2, 1)
    full[:, range(n), range(n)] = diagonal
    return full


def _outer(factors: list[Array], combine: Any) -> Array:
    return np.asarray(reduce(combine.outer, factors))
