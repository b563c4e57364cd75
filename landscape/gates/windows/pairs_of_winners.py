r"""What two windows of a maximum pass to the cells below, where it is known how often one cell wins both.

K(j, j') above two windows goes to the pair of cells (i, i') that win them. With w_i(j) = P(i wins j, its gate open),

    P(i wins j and j')         = s(j, j') w_i(j) w_i(j') / sum_i w_i(j) w_i(j'),
    P(i wins j, i' wins j')    = (b - s)(j, j') w_i(j) w_i'(j') / sum over different cells of w_i(j) w_i'(j'),

s being how often the two windows have one winner and b how often both pass: as often as simulated in all, and among the cells
in proportion to how often each wins. The gate below is another factor of the law, so that P(its gates are open) divides.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from landscape.gates.averaging import ratio
from landscape.structure.arrays import tap_cells
from landscape.structure.plan import Axes
from lattice.network.ops import Windowed

__all__ = ["Winners", "to_pairs_of_winners"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
CHUNK = 2**14  # pairs of cells at once


class Winners(NamedTuple):
    """Of each run of channels, at the pairs of windows above: E[f' f'; one cell wins both] and E[f' f'], (runs, *pairs).

    `below` is E[f'(a_i) f'(a_i')] at the pairs of cells, (runs, *pairs); `runs` counts the channels of each run.
    """

    same: Array
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
    >>> pool = Pool(
    ...     "max", 2, 1
    ... )  # two windows of two alike cells, which share the middle one
    >>> both = np.array([[0.5, 1 / 3, 1 / 3, 0.5]]) * 2
    >>> known = Winners(both * [1, 1 / 3, 1 / 3, 1], both, np.ones((1, 9)), (1,))
    >>> pairs = ((everything(2, 2),), (everything(3, 3),))
    >>> passed = to_pairs_of_winners(
    ...     pool, (3,), np.full((2, 1, 2), 0.5), known, np.ones((1, 4)), pairs
    ... )
    >>> float(passed.sum().round(6))
    3.333333
    """
    above, below = axes
    outputs = tuple(pairs.left for pairs in above)
    cells = np.stack([tap.ravel() for tap in tap_cells(op, spatial)], axis=1)  # (outputs, taps)
    windows, inside = np.nonzero(cells >= 0)
    read = cells[windows, inside]
    places = [_flat(pairs, shape) for pairs, shape in ((above, outputs), (below, spatial))]
    parts = []
    for run, channel, count in _alike(known.runs, here):
        gates = known.below[run].ravel()
        single = np.zeros(prod(spatial))
        on = places[1][0] == places[1][1]
        single[places[1][0][on]] = gates[on]
        rate = rates[:, min(channel, rates.shape[1] - 1)].reshape(len(rates), -1).T[windows, inside] * single[read]
        wins = sparse.csr_array((rate, (windows, read)), shape=(prod(outputs), prod(spatial)))
        moments = here[min(channel, len(here) - 1)].ravel()
        passed = _passed(wins, moments, (known.same[run].ravel(), known.both[run].ravel()), places)
        parts.append((ratio(passed, gates).reshape([len(pairs) for pairs in below]), count))
    if len(parts) == 1 and max(len(here), rates.shape[1]) == 1:
        return parts[0][0][None]
    return np.repeat(np.stack([part for part, _ in parts]), [count for _, count in parts], axis=0)


def _passed(wins: Any, moments: Array, known: tuple[Array, Array], places: list[tuple[Array, Array]]) -> Array:
    """What reaches each pair of cells together with its gates."""
    (one, other), (left, right) = places
    same, both = known
    apart = one != other
    shared = _products(wins, wins, one, other)
    total = np.asarray(wins.sum(axis=1))
    different = total[one] * total[other] - shared
    size = (wins.shape[0], wins.shape[0])
    alone = np.bincount(one[~apart], moments[~apart], minlength=size[0])
    joined = sparse.csr_array((np.where(apart, moments * ratio(same, shared), 0.0), (one, other)), shape=size)
    rest = np.where(apart, moments * ratio(np.maximum(both - same, 0), different), 0.0)
    single = wins.T @ alone + np.asarray(wins.multiply(joined @ wins).sum(axis=0)).ravel()
    found = _products((wins.T @ sparse.csr_array((rest, (one, other)), shape=size)).tocsr(), wins.T.tocsr(), left, right)
    return np.where(left == right, single[left], found)


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
