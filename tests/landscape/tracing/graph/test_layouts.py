"""Layouts: the ops that bring units to other places, against the places themselves."""

import numpy as np
import pytest

from landscape.tracing.graph.layouts import first_sample, inverse, plain, rows_of, steps
from lattice import ChannelShuffle, Flatten, PixelShuffle, Rearrange, Slice
from lattice.network.shapes import sources

SHAPE = (4, 2, 3)
CELLS = np.arange(24).reshape(SHAPE)
WANTED = {
    "swapped": (CELLS.swapaxes(1, 2), Rearrange),
    "flat": (CELLS.ravel(), Flatten),
    "channels": (CELLS[1:3], Slice),
    "shuffled": (CELLS.reshape(2, 2, 2, 3).swapaxes(0, 1).reshape(SHAPE), ChannelShuffle),
    "pixels": (CELLS.reshape(1, 2, 2, 2, 3).transpose(0, 3, 1, 4, 2).reshape(1, 4, 6), PixelShuffle),
    "rolled": (np.roll(CELLS, 1, 2), Rearrange),
    "padded": (np.pad(CELLS, ((0, 0), (1, 0), (0, 2)), constant_values=-1), Rearrange),
    "windows of one": (np.broadcast_to(CELLS.reshape(4, 1, 6), (4, 5, 6)), Rearrange),
    "heads of one": (np.broadcast_to(CELLS[:, None], (4, 5, 2, 3)).reshape(20, 2, 3), Rearrange),
    "any order": (np.random.default_rng(0).permutation(24).reshape(2, 12), Flatten),
}


@pytest.mark.parametrize("name", WANTED)
def test_the_steps_lead_where_the_units_are_wanted(name):
    wanted, kind = WANTED[name]
    ops = steps(wanted, SHAPE)
    assert isinstance(ops[0], kind)
    units = CELLS
    for op in ops:
        read = sources(op, units.shape)
        units = np.where(read >= 0, units.ravel()[read], -1)
    assert np.array_equal(units, wanted)


def test_channels_are_repeated_as_channels_and_positions_as_positions():
    windows, _ = steps(WANTED["windows of one"][0], SHAPE)
    assert windows.takes[0] is None
    assert windows.takes[1] == (0,) * 5 + (1,) * 5
    heads = steps(WANTED["heads of one"][0], SHAPE)
    assert heads[0].takes == (tuple(np.repeat(range(4), 5).tolist()), None, None)


def test_tokens_beside_a_class_token_keep_their_channels():
    tokens = CELLS.reshape(4, 6)
    wanted = np.pad(tokens, ((0, 0), (1, 0)), constant_values=-1)
    joined, behind = steps(wanted, SHAPE)
    assert np.array_equal(sources(joined, SHAPE), tokens)
    assert np.array_equal(sources(behind, (4, 6)), np.pad(np.arange(24).reshape(4, 6), ((0, 0), (1, 0)), constant_values=-1))


def test_units_that_stand_as_they_are_take_no_steps():
    assert steps(CELLS, SHAPE) == []


def test_an_inverse_finds_every_unit_once():
    order = np.random.default_rng(1).permutation(24)
    assert (order[inverse(order, 24)] == np.arange(24)).all()
    assert inverse(np.array([0, 0, 1]), 3) is None
    assert inverse(np.array([0, -1, 1]), 3) is None


def test_samples_that_are_not_treated_alike_are_seen():
    layout = plain(2, SHAPE)
    assert np.array_equal(first_sample(layout, 2, 24), CELLS)
    assert first_sample(np.stack([layout[0], np.roll(layout[1], 1, 2)]), 2, 24) is None
    assert rows_of(layout[:, :, ::-1], (1,), 2, SHAPE).wanted.shape == SHAPE


def test_channels_of_a_flat_layer_are_repeated_over_positions():
    wanted = np.broadcast_to(np.arange(2, 4)[:, None, None], (2, 3, 5))
    shape, found = (4,), np.arange(4)
    for op in steps(wanted, shape):
        read = sources(op, shape)
        found, shape = found.ravel()[read], read.shape
    np.testing.assert_array_equal(found, wanted)
