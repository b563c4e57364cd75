"""Arrays over pairs of positions: maps act on pairs as matrices act on both sides, and taps read the cells that windows say."""

from itertools import product

import numpy as np
import pytest

from landscape.structure.arrays import (
    across,
    at_cells,
    check_room,
    collect,
    diagonal_of,
    on_diagonal,
    one_row,
    rearranged,
    tap_cells,
)
from landscape.structure.pairs import diagonal, everything, freeze
from lattice import Conv, ResourceError


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


def test_channels_that_are_alike_are_one_row():
    alike = np.broadcast_to(np.random.default_rng(2).normal(size=(1, 3, 2)), (4, 3, 2))
    assert np.array_equal(one_row(alike), alike[:1])
    other = alike.copy()
    other[-1, -1, -1] *= 1 + 2**-52
    assert one_row(other) is other


def test_moments_that_do_not_fit_are_refused_before_they_are_made():
    axes = (everything(1024, 1024), everything(16, 16))
    check_room(1, axes)
    with pytest.raises(ResourceError, match=r"2\.7e\+08 are the most; give a smaller input"):
        check_room(2, axes)
    with pytest.raises(ResourceError, match="of 2 channels"):
        rearranged(np.zeros((2, 4, 16)), (diagonal(4), diagonal(16)), axes)


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 5, 4), (2, 1, 4), (3, 1, 1)])
def test_cells_are_taken_axis_by_axis(shape):
    values = np.random.default_rng(0).normal(size=shape)
    indices = [np.array([0, 4, 4, 2]), np.array([3, 0])]
    full = np.broadcast_to(values, (shape[0], 5, 4))
    np.testing.assert_array_equal(at_cells(values, indices), full[across(indices)])
