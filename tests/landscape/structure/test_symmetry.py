"""Flips and swaps of axes: which networks have them, and averages of rates over them against sums over cells one by one."""

import numpy as np
import pytest

from landscape.structure.pairs import everything
from landscape.structure.symmetry import Symmetries, is_flip_symmetric, is_transpose_symmetric, symmetries
from lattice import (
    Activation,
    AdaptivePool,
    Blur,
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Lattice,
    Norm,
    Pad,
    PixelShuffle,
    Pool,
    Rearrange,
    Slice,
    Upsample,
)


@pytest.mark.parametrize(
    ("size", "layers", "expected"),
    [
        (9, [Conv(2, 3, 2, padding=1), Activation("silu"), Norm("layer"), Conv(2, 3)], True),
        (8, [Conv(2, 3, 2, padding=1)], False),  # the last column is read by no centre
        (8, [Conv(2, 4, 2, padding=1), Pool("max", 2)], True),
        (7, [Pool("max", 2)], False),  # the last cell is left out
        (7, [Pool("max", 2, ceil=True)], False),
        (7, [AdaptivePool("avg", 3)], True),
        (8, [Conv(2, 3, padding=((1, 0),))], False),
        (8, [Conv(2, 3, padding=1, mode="reflect")], True),
        (8, [Blur((1, 2, 1), 1, padding=1)], True),
        (8, [Blur((1, 2, 4), 1, padding=1)], False),
        (8, [Upsample(3, mode="linear"), Pad(((2, 2),))], True),
        (8, [Upsample(size=11)], False),  # nearest cells are rounded down
        (8, [ConvTranspose(2, 4, 2, padding=1)], True),
        (8, [ConvTranspose(2, 3, 2, padding=1, output_padding=1)], False),
        (8, [Conv(4, 1), ChannelShuffle(2), Slice(1, 3), Flatten(), Dense(3), Activation("relu")], True),
        (8, [Flatten(), Slice(0, 4), Dense(3)], False),  # the first positions alone
        (8, [Conv(4, 1), PixelShuffle(2)], False),  # not looked into: noise is averaged over less than it might be
    ],
    ids=str,
)
def test_a_flip_is_a_symmetry_where_mirrored_outputs_read_mirrored_cells(size, layers, expected):
    assert is_flip_symmetric(Lattice.chain((1, size), layers), 0) is expected


def test_axes_may_be_swapped_where_they_are_treated_alike():
    assert is_transpose_symmetric(Lattice.chain((1, 8, 8), [Conv(2, 3, 2, padding=1), Pool("max", 2)]))
    assert not is_transpose_symmetric(Lattice.chain((1, 8, 8), [Conv(2, (1, 3), padding=(0, 1))]))
    assert not is_transpose_symmetric(Lattice.chain((1, 8, 6), [Conv(2, 1)]))
    found = symmetries(Lattice.chain((1, 5, 5, 5), [Conv(2, 3, padding=1)]))
    assert found.flips == (0, 1, 2)
    assert len(found.swaps) == 3


def test_an_average_is_a_projection_that_keeps_the_mean():
    rates = np.random.default_rng(0).random((2, 4, 4, 4))
    whole = Symmetries((0, 1, 2), ((0, 1), (0, 2), (1, 2)))
    average = whole.average(rates)
    np.testing.assert_allclose(average.mean(axis=(1, 2, 3)), rates.mean(axis=(1, 2, 3)))
    for axis in (1, 2, 3):
        np.testing.assert_allclose(average, np.flip(average, axis), rtol=1e-14)
    for one, other in ((1, 2), (1, 3), (2, 3)):
        np.testing.assert_allclose(average, np.swapaxes(average, one, other), rtol=1e-14)
    np.testing.assert_allclose(whole.average(average), average, rtol=1e-14)


@pytest.mark.parametrize("pool", [Pool("max", 3, 2, padding=1), Pool("max", 2), AdaptivePool("max", 3)], ids=str)
@pytest.mark.parametrize("size", [7, 9])
def test_taps_are_averaged_by_the_cells_that_they_read(pool, size):
    net = Lattice.chain((1, size, size), [pool])
    found = symmetries(net)
    tables = [window.table(size) for window in pool.windows((size, size))]
    taps, outputs = tables[0].shape
    rates = np.random.default_rng(0).random((taps * taps, 1, outputs, outputs))

    def by_cell(values):
        """{(output, cell): rate} of what is inside."""
        cells = {}
        for a, b, i, j in np.ndindex(taps, taps, outputs, outputs):
            if tables[0][a, i] >= 0 and tables[1][b, j] >= 0:
                cells[(i, j), (tables[0][a, i], tables[1][b, j])] = values[a * taps + b, 0, i, j]
        return cells

    def moved(where, n, flips, swap):
        where = tuple(n - 1 - x if flip else x for x, flip in zip(where, flips, strict=True))
        return where[::-1] if swap else where

    before, after = by_cell(rates), by_cell(found.average_taps(rates, tables, (size, size)))
    flips = [(a, b) for a in (False, True) for b in (False, True)] if found.flips else [(False, False)]
    group = [(flip, swap) for flip in flips for swap in (False, True)]
    for (output, cell), value in after.items():
        images = [before[moved(output, outputs, *move), moved(cell, size, *move)] for move in group]
        np.testing.assert_allclose(value, np.mean(images), rtol=1e-12)


def test_pairs_are_averaged_over_mirrored_pairs():
    axes = (everything(3, 3), everything(3, 3))
    rates = np.random.default_rng(0).random((1, 9, 9))
    found = Symmetries((0, 1), ((0, 1),)).average_pairs(rates, axes).reshape(3, 3, 3, 3)  # p, p', q, q'
    np.testing.assert_allclose(found, found[::-1, ::-1], rtol=1e-14)
    np.testing.assert_allclose(found, found[:, :, ::-1, ::-1], rtol=1e-14)
    np.testing.assert_allclose(found, found.transpose(2, 3, 0, 1), rtol=1e-14)
    np.testing.assert_allclose(found.mean(), rates.mean())


def test_positions_that_were_joined_to_one_axis_cannot_be_swapped():
    joined = Lattice.chain((1, 3, 3), [Conv(2, 1), Rearrange(((2,), (3,), (3,)), ((0,), (1, 2)))])
    assert not is_transpose_symmetric(joined)
    assert symmetries(joined).swaps == ()


def test_winners_of_pairs_of_windows_are_averaged_over_flips_and_swaps():
    """A field that is symmetric, drawn at points that are not: afterwards each window and its image pass the same."""
    pool = Pool("max", 3, 2, padding=1)
    tables = [window.table(7) for window in pool.windows((7, 7))]
    rng = np.random.default_rng(0)
    outputs = tables[0].shape[1]
    cells = np.pad(rng.standard_normal((7, 7, 500)), ((0, 1), (0, 1), (0, 0)), constant_values=-np.inf)
    windows = cells[tables[0][:, None, :, None], tables[1][None, :, None]].reshape(9, outputs, outputs, 500)
    winner = windows.argmax(axis=0)
    rates = np.zeros((1, outputs, outputs, 3, 3, 9, 9))
    for i, j, a, b in np.ndindex(outputs, outputs, 3, 3):
        if 0 <= i + a - 1 < outputs and 0 <= j + b - 1 < outputs:
            np.add.at(rates[0, i, j, a, b], (winner[i, j], winner[i + a - 1, j + b - 1]), 1 / 500)
    found = Symmetries((0, 1), ((0, 1),)).average_winners(rates, tables, (7, 7))[0]
    np.testing.assert_allclose(found.sum(), rates.sum(), rtol=1e-12)

    def cells_of(values, move):
        """How often two cells of the layer win two windows, by their places after `move`."""
        total = {}
        for i, j, a, b, k, m in zip(*np.nonzero(values), strict=True):
            read = [(tables[0][tap // 3, x], tables[1][tap % 3, y]) for tap, x, y in ((k, i, j), (m, i + a - 1, j + b - 1))]
            key = tuple(map(move, [(i, j), (i + a - 1, j + b - 1)], [outputs - 1] * 2)) + tuple(map(move, read, [6, 6]))
            total[key] = total.get(key, 0.0) + values[i, j, a, b, k, m]
        return total

    plain = cells_of(found, lambda at, last: (int(at[0]), int(at[1])))
    for move in (
        lambda at, last: (int(last - at[0]), int(at[1])),
        lambda at, last: (int(at[0]), int(last - at[1])),
        lambda at, last: (int(at[1]), int(at[0])),
    ):
        moved = cells_of(found, move)
        assert moved.keys() == plain.keys()
        np.testing.assert_allclose([moved[key] for key in plain], list(plain.values()), rtol=1e-12)
