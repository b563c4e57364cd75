"""Pairs through rearrangements that split and join axes, against sums over cells one by one."""

from itertools import product

import numpy as np
import pytest

from landscape.structure import joint_pairs
from landscape.structure.joint_pairs import collect_jointly, gathers_channels, needed_jointly, spreads_channels
from landscape.structure.pairs import diagonal, everything
from landscape.structure.plan import plan
from lattice import Conv, Dense, Flatten, GlobalPool, Lattice, Pool, Rearrange, ResourceError
from lattice.network.shapes import output_shape, sources

TOKENS = Rearrange(((2,), (3,), (2,)), ((0,), (1, 2)))
SWAPPED = Rearrange(((2,), (3,), (2,)), ((0,), (2,), (1,)))
TO_CHANNELS = Rearrange(((2,), (3,), (2,)), ((2, 0), (1,)))
SHAPE = (2, 3, 2)


@pytest.mark.parametrize("op", [TOKENS, SWAPPED, TO_CHANNELS], ids=str)
def test_pairs_are_those_of_the_cells_that_read_them(op):
    output = output_shape(op, SHAPE)
    above, below = (tuple(everything(n, n) for n in sizes[1:]) for sizes in (output, SHAPE))
    here = np.random.default_rng(0).normal(size=(output[0], *(n * n for n in output[1:])))
    reader = {cell: np.unravel_index(place, output) for place, cell in enumerate(sources(op, SHAPE).ravel().tolist())}
    found = collect_jointly(op, SHAPE, here, above, below)
    for c, (h, w), (i, j) in product(range(2), np.ndindex(3, 2), np.ndindex(3, 2)):
        (one, *first), (other, *second) = (reader[int(np.ravel_multi_index((c, *at), SHAPE))] for at in ((h, w), (i, j)))
        codes = (a * n + b for a, b, n in zip(first, second, output[1:], strict=True))
        expected = here[(one, *codes)] if one == other else 0.0
        assert found[c, h * 3 + i, w * 2 + j] == expected


@pytest.mark.parametrize("rows", [1, "all"])
@pytest.mark.parametrize("op", [TOKENS, SWAPPED, TO_CHANNELS], ids=str)
def test_the_mean_channel_is_the_mean_of_all(op, rows):
    output = output_shape(op, SHAPE)
    above, below = (tuple(everything(n, n) for n in sizes[1:]) for sizes in (output, SHAPE))
    channels = output[0] if rows == "all" else 1
    here = np.random.default_rng(0).normal(size=(channels, *(n * n for n in output[1:])))
    whole = np.broadcast_to(collect_jointly(op, SHAPE, here, above, below), (SHAPE[0], 9, 4))
    mean = collect_jointly(op, SHAPE, here, above, below, summed=True)
    np.testing.assert_allclose(mean, whole.mean(axis=0, keepdims=True), rtol=1e-12)


def test_a_long_axis_keeps_codes_and_not_a_table_of_all_pairs(monkeypatch):
    below, own = (diagonal(3), diagonal(2)), (diagonal(6),)
    everywhere = (everything(3, 3), everything(2, 2))
    tables = [needed_jointly(TOKENS, SHAPE, (2, 6), pairs, own) for pairs in (below, everywhere)]
    monkeypatch.setattr(joint_pairs, "MOST_TABLE", 35)
    assert [needed_jointly(TOKENS, SHAPE, (2, 6), pairs, own) for pairs in (below, everywhere)] == tables
    monkeypatch.setattr(joint_pairs, "MOST_PAIRS", 36)
    twice = Rearrange(((2,), (3,), (2,)), ((), (0, 1, 2)))  # one channel of 12 positions: two classes of 36 pairs
    with pytest.raises(ResourceError, match="smaller input"):
        needed_jointly(twice, SHAPE, (1, 12), everywhere, (diagonal(12),))


def test_the_diagonal_of_tokens_needs_their_diagonal_only():
    below, own = (diagonal(3), diagonal(2)), (diagonal(6),)
    assert needed_jointly(TOKENS, SHAPE, (2, 6), below, own) == own


def test_positions_become_channels_only_where_the_pattern_says():
    assert [gathers_channels(op, SHAPE) for op in (TOKENS, SWAPPED, TO_CHANNELS)] == [False, False, True]
    assert not any(spreads_channels(op, SHAPE) for op in (TOKENS, SWAPPED, TO_CHANNELS))


FLAT = Rearrange(((3,), (6,)), ((0, 1),))
BACK = Rearrange(((3, 6),), ((0,), (1,)))
HEAD = [Conv(3, 1), GlobalPool(), Flatten(), Dense(1)]


@pytest.mark.parametrize("there", [FLAT, Flatten()], ids=str)
def test_positions_that_were_channels_are_told_and_where(there):
    net = Lattice.chain((1, 6), [Pool("avg", 3, 1, 1), Conv(3, 1), there, BACK, *HEAD])
    planned = plan(net)
    assert planned.unresolved == ()
    assert planned.copies == (net.names[4],)
    assert planned.gathering == {3}
    (pairs,) = planned.carried[2, 2]
    assert set((pairs.second - pairs.first).tolist()) == {-2, -1, 0, 1, 2}  # what the average below asks for


@pytest.mark.parametrize(
    "layers",
    [
        [Conv(3, 1), FLAT, BACK, *HEAD],  # nothing below asks for pairs of positions
        [Pool("avg", 3, 1, 1), Conv(3, 1), FLAT, BACK, Conv(3, 1), Flatten(), Dense(1)],  # nothing pairs them above
    ],
)
def test_nothing_is_missed_where_pairs_are_not_asked_for_or_are_zero(layers):
    assert plan(Lattice.chain((1, 6), layers)).copies == ()
