r"""What two windows of a maximum pass to the cells below: to those that win them.

K(j, j') above two windows goes to the pairs of cells (i, i') that win them: of windows near each other as often as simulated,
of others as often as both pass, among the cells in proportion to how often each wins. The gate below is another factor of the
law, so that P(its gates are open) divides.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from landscape.gates.averaging import ratio
from landscape.structure.arrays import on_diagonal, outer, tap_cells
from landscape.structure.plan import Axes
from lattice.network.ops import Windowed

__all__ = ["Winners", "to_pairs_of_winners", "to_shared_winners"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
CHUNK = 2**14  # pairs of cells at once


class Winners(NamedTuple):
    """Of each run of channels, how often two taps win two windows, and how often both windows pass: E[f' f'] of the two.

    `wins` (runs, *outputs, *lags, taps, taps), the lags being those of windows near each other, from -r to r; `both` (runs,
    *pairs) at the pairs of windows above. `below` is E[f'(a_i) f'(a_i')] at the pairs of cells, (runs, *pairs); `runs` counts
    the channels of each run.
    """

    wins: Array
    both: Array
    below: Array
    runs: tuple[int, ...]


def to_pairs_of_winners(
    op: Windowed, spatial: Shape, rates: Array, known: Winners, here: Array, axes: tuple[Axes, Axes]
) -> Array:
    """The moments at the pairs of cells, (channels or 1, *pairs), from those `here` at the pairs of windows.

    `rates` (taps, channels or 1, *outputs) of an op that reads cells of these `spatial` sizes; `axes`: the pairs above, below.

    >>> from landscape.structure.pairs import everything
    >>> from lattice import Pool
    >>> pool = Pool("max", 2, 1)  # two windows of two alike cells, which share one
    >>> wins = np.zeros((1, 2, 3, 2, 2))
    >>> wins[0, 0, 2] = np.array([[1, 2], [2, 1]]) / 6  # the window after the first
    >>> wins[0, 1, 0] = wins[0, 0, 2].T
    >>> known = Winners(wins, np.ones((1, 4)), np.ones((1, 9)), (1,))
    >>> pairs = ((everything(2, 2),), (everything(3, 3),))
    >>> passed = to_pairs_of_winners(
    ...     pool, (3,), np.full((2, 1, 2), 0.5), known, np.ones((1, 4)), pairs
    ... )
    >>> passed.reshape(3, 3).diagonal().round(3)  # the middle one wins both in a third
    array([0.5  , 1.667, 0.5  ])
    """
    above, below = axes
    outputs = tuple(pairs.left for pairs in above)
    cells = np.stack([tap.ravel() for tap in tap_cells(op, spatial)], axis=1)  # (outputs, taps)
    windows, inside = np.nonzero(cells >= 0)
    read = cells[windows, inside]
    places = [_flat(pairs, shape) for pairs, shape in ((above, outputs), (below, spatial))]
    on, alone = places[1][0] == places[1][1], places[0][0] == places[0][1]
    parts = []
    for run, channel, count in _alike(known.runs, here):
        gates = known.below[run].ravel()
        single = np.zeros(prod(spatial))
        single[places[1][0][on]] = gates[on]
        rate = rates[:, min(channel, rates.shape[1] - 1)].reshape(len(rates), -1).T[windows, inside] * single[read]
        wins = sparse.csr_array((rate, (windows, read)), shape=(prod(outputs), prod(spatial)))
        moments = here[min(channel, len(here) - 1)].ravel()
        near, close = _near(known.wins[run], moments.reshape([len(pairs) for pairs in above]), cells, above, prod(spatial))
        rest = _apart(wins, np.where(close, 0.0, moments * known.both[run].ravel()), places)
        single = wins.T @ moments[alone]
        passed = np.asarray(near[places[1]]).ravel() + rest + np.where(on, single[places[1][0]], 0.0)
        parts.append((ratio(passed, gates).reshape([len(pairs) for pairs in below]), count))
    if len(parts) == 1 and max(len(here), rates.shape[1]) == 1:
        return parts[0][0][None]
    return np.repeat(np.stack([part for part, _ in parts]), [count for _, count in parts], axis=0)


def _near(wins: Array, moments: Array, cells: Array, axes: Axes, size: int) -> tuple[Any, Array]:
    """What pairs of different windows near each other pass to pairs of cells, (cells, cells), and which pairs these are."""
    reach = [n // 2 for n in wins.shape[len(axes) : -2]]
    lags = [pairs.second - pairs.first for pairs in axes]
    close = outer([np.abs(lag) <= r for lag, r in zip(lags, reach, strict=True)]) > 0
    found = np.nonzero(close & ~on_diagonal(axes))
    first, second = ([getattr(pairs, side)[at] for pairs, at in zip(axes, found, strict=True)] for side in ("first", "second"))
    steps = [two - one + r for one, two, r in zip(first, second, reach, strict=True)]
    outputs = [pairs.left for pairs in axes]
    one, other = (np.ravel_multi_index(side, outputs) for side in (first, second))
    total = sparse.csr_array((size, size))
    for start in range(0, len(one), CHUNK):
        part = slice(start, start + CHUNK)
        values = wins[(*(at[part] for at in first), *(step[part] for step in steps))] * moments[found][part][:, None, None]
        left, right = np.broadcast_arrays(cells[one[part]][:, :, None], cells[other[part]][:, None, :])
        there = values != 0
        total = total + sparse.coo_array((values[there], (left[there], right[there])), shape=(size, size)).tocsr()
    return total, close.ravel()


def _apart(wins: Any, moments: Array, places: list[tuple[Array, Array]]) -> Array:
    """What other pairs of windows pass to the pairs of cells: each window to its own winner."""
    (one, other), (left, right) = places
    total = np.asarray(wins.sum(axis=1))
    size = (wins.shape[0], wins.shape[0])
    rest = sparse.csr_array((ratio(moments, total[one] * total[other]), (one, other)), shape=size)
    return _products((wins.T @ rest).tocsr(), wins.T.tocsr(), left, right)


def _products(first: Any, second: Any, one: Array, other: Array) -> Array:
    """Scalar products of rows of two sparse matrices."""
    found = np.empty(len(one))
    for start in range(0, len(one), CHUNK):
        part = slice(start, start + CHUNK)
        found[part] = np.asarray(first[one[part]].multiply(second[other[part]]).sum(axis=1)).ravel()
    return found


def _flat(axes: Axes, shape: Shape) -> tuple[Array, Array]:
    """The flat numbers of both positions of all pairs."""
    sides = ([getattr(pairs, side) for pairs in axes] for side in ("first", "second"))
    first, second = (np.ravel_multi_index(np.ix_(*side), shape).ravel() for side in sides)
    return first, second


def _alike(runs: Shape, here: Array) -> Iterator[tuple[int, int, int]]:
    """(run, first channel, number of channels) of channels of one run whose moments above are the same."""
    start = 0
    for run, count in enumerate(runs):
        if len(here) == 1:
            yield run, start, count
        else:
            rows = here[start : start + count].reshape(count, -1)
            new = np.flatnonzero(np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)]))
            for first, after in zip(new, [*new[1:], count], strict=True):
                yield run, start + int(first), int(after - first)
        start += count


def to_shared_winners(tables: list[Array], spatial: tuple[int, ...], rates: Array, apart: Array, above: Axes) -> Array:
    """sum over pairs of windows of p_i K(j, j'), (channels, *spatial), where it is not known which cells win both.

    If r_k(j) is how often tap k of window j wins, cell i wins both j and j' with probability

        p_i = o s_i(j) s_i(j') n n' / m,        s = r / sum r,    o^2 = sum r(j) sum r(j'),

    where the windows of n and n' cells have m together: exact for alike cells (1 / m each), and right in proportion where some
    win more often than others.

    `tables`: the cell that each tap of each window reads, by axis; `rates` (taps, channels or 1, *outputs); `apart`: K times
    n n' / m at the pairs `above`, zero where the two are one window.

    >>> from landscape.structure.pairs import everything
    >>> # two windows of two cells, which share the middle one
    >>> table = np.array([[0, 1], [1, 2]])
    >>> k = np.array([[0.0, 1.0, 1.0, 0.0]]) * 4 / 3
    >>> to_shared_winners(
    ...     [table], (3,), np.full((2, 1, 2), 0.5), k, (everything(2, 2),)
    ... ).round(3)
    array([[0.   , 0.667, 0.   ]])
    """
    channels = max(len(apart), rates.shape[1])
    opened = np.sqrt(rates.sum(axis=0))
    shares = (
        np.divide(rates, opened**2, out=np.zeros_like(rates), where=opened > 0) * opened
    )  # s times the root of one window's o
    taps = list(product(*(range(len(table)) for table in tables)))
    flat = np.zeros((channels, prod(spatial)))
    for (k, one), (m, other) in product(enumerate(taps), repeat=2):
        rows = [
            np.flatnonzero((table[a][pairs.first] == table[b][pairs.second]) & (table[a][pairs.first] >= 0))
            for table, a, b, pairs in zip(tables, one, other, above, strict=True)
        ]
        if not all(map(len, rows)):
            continue
        first = np.ix_(*(pairs.first[row] for pairs, row in zip(above, rows, strict=True)))
        second = np.ix_(*(pairs.second[row] for pairs, row in zip(above, rows, strict=True)))
        left: tuple[Any, ...] = (slice(None), *first)
        right: tuple[Any, ...] = (slice(None), *second)
        both = shares[k][left] * shares[m][right]
        here: tuple[Any, ...] = (slice(None), *np.ix_(*rows))
        passed = np.broadcast_to(apart[here] * both, (channels, *map(len, rows)))
        axes = zip(tables, one, above, rows, strict=True)
        cells = np.ravel_multi_index(np.ix_(*(table[a][pairs.first[row]] for table, a, pairs, row in axes)), spatial)
        for row, values in zip(flat, passed.reshape(channels, -1), strict=True):
            row += np.bincount(cells.ravel(), values, minlength=len(row))
    return flat.reshape(channels, *spatial)
