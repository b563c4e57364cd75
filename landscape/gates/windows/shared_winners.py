r"""One cell that wins two windows of a maximum: their gradients add before they are squared.

If r_k(j) is how often tap k of window j wins, cell i wins both j and j' with probability

    p_i = o s_i(j) s_i(j') n n' / m,        s = r / sum r,    o^2 = sum r(j) sum r(j'),

where the windows of n and n' cells have m together: exact for alike cells (1 / m each), and right in proportion where some
win more often than others.
"""

from itertools import product
from math import prod
from typing import Any

import numpy as np

from landscape.structure.plan import Axes

__all__ = ["to_shared_winners"]

Array = np.ndarray[Any, Any]


def to_shared_winners(tables: list[Array], spatial: tuple[int, ...], rates: Array, apart: Array, above: Axes) -> Array:
    """sum over pairs of windows of p_i K(j, j'), (channels, *spatial).

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
