"""Arrays over pairs of positions: maps act on pairs as matrices act on both sides, and taps read the cells that windows say."""

from itertools import product

import numpy as np

from landscape.structure.arrays import collect, diagonal_of, on_diagonal, rearranged, tap_cells
from landscape.structure.pairs import diagonal, everything, freeze
from lattice import Conv


def test_collecting_is_the_map_on_both_sides():
    rng = np.random.default_rng(0)
    a, k = rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 3))
    found = collect((((freeze(a), freeze(a)),),), k.reshape(2, 9), (everything(3, 3),), (everything(4, 4),))
    np.testing.assert_allclose(found.reshape(2, 4, 4), a.T @ k @ a)


def test_the_diagonal_is_found_and_kept():
    k = np.arange(9.0)[None]
    assert diagonal_of(k, (everything(3, 3),)).tolist() == [[0, 4, 8]]
    assert (
        rearranged(np.array([[1.0, 2, 3]]), (diagonal(3),), (everything(3, 3),)).reshape(3, 3).tolist()
        == np.diag([1, 2, 3]).tolist()
    )
    assert on_diagonal((everything(2, 2),)).tolist() == [True, False, False, True]


def test_taps_read_the_cells_that_windows_say():
    op, spatial = Conv(1, (2, 3), stride=(2, 1), padding=(1, 1)), (4, 3)
    windows = op.windows(spatial)
    found = tap_cells(op, spatial)
    for cells, taps in zip(found, product(range(2), range(3)), strict=True):
        for j in np.ndindex(cells.shape):
            at = [w.cell(i, k, n) for w, i, k, n in zip(windows, j, taps, spatial, strict=True)]
            assert cells[j] == (-1 if None in at else at[0] * 3 + at[1])
