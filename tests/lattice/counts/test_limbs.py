"""Counts in machine words are the Python ints of the object sweep: at every boundary of a word, on every drawn lattice."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lattice import Conv, Dense, Lattice, Pool, families, path_counts, residual
from lattice.counts.counting import one_unit
from lattice.counts.limbs import MOST_GAIN, Numbers, pull_back_limbs
from lattice.sweep.pullback import gain
from lattice.testing.strategies import lattices
from tests.object_sweep import assert_same_ints, in_objects

EDGES = [2**power + step for power in (24, 31, 32, 53, 63, 64) for step in (-1, 0, 1)]


@settings(max_examples=300)
@given(lattices(depth=4), st.integers(0, 2**32))
def test_digits_are_the_object_sweep_on_every_lattice(net, seed):
    numbers = np.array([0, 1, 5, *(edge for edge in EDGES if edge < 2**64)], dtype=object)
    cotangent = numbers[np.random.default_rng(seed).integers(0, len(numbers), net.output_shape)]
    assert_same_ints(pull_back_limbs(net, cotangent), in_objects(net, cotangent))


@given(lattices(depth=4))
def test_digits_are_the_object_sweep_where_all_channels_are_alike(net):
    cotangent = one_unit(net, None, one=1)
    assert_same_ints(pull_back_limbs(net, cotangent), in_objects(net, cotangent))


@pytest.mark.parametrize("edge", EDGES)
def test_a_count_may_lie_at_the_edge_of_a_machine_word(edge):
    one_layer = Lattice.chain((1, 1), [Conv(edge, 1)])
    assert path_counts(one_layer).tolist() == [edge]
    summed = Lattice.chain((1, 3), [residual([Conv(1, 1)]), Conv(edge, 1)])
    assert path_counts(summed).tolist() == [2 * edge] * 3


@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge < 2**64])
def test_digits_carry_at_the_edge_of_a_machine_word(edge):
    for layers in ([Conv(1, 3, padding=1)] * 5, [residual([Conv(1, 1)])] * 70, [Conv(2**31, 1)] * 4, [Pool("avg", 2, 1)]):
        net = Lattice.chain((1, 6), layers)
        cotangent = np.full((1, *net.output_shape[1:]), edge, dtype=object)
        assert_same_ints(pull_back_limbs(net, cotangent), in_objects(net, cotangent))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
@example([2**32, 2**64 - 1])  # carries into two more limbs
def test_handing_on_keeps_the_numbers_and_the_bounds(limbs):
    number = sum(limb << 32 * index for index, limb in enumerate(limbs))
    numbers = Numbers(np.array(limbs, dtype=np.uint64)[:, np.newaxis], max(limbs), number)
    assert numbers.objects().tolist() == [number]
    propagate_carries = numbers.propagate_carries()
    assert propagate_carries.objects().tolist() == [number]
    assert int(propagate_carries.limbs.max()) <= propagate_carries.largest_limb
    assert numbers.with_headroom(MOST_GAIN).largest_limb * MOST_GAIN < 2**64


@pytest.mark.parametrize("depth", [500, 3000])
def test_depth_has_no_limit(depth):
    net = families.plain(40, depth, padding=1)
    assert_same_ints(pull_back_limbs(net, one_unit(net, None, one=1)), in_objects(net, one_unit(net, None, one=1)))


def test_the_gain_is_how_often_a_unit_is_read():
    assert gain(Conv(16, 3, padding=1), ((8, 9, 9),), (16, 9, 9)) == 9 * 16
    assert gain(Conv(16, 7, 2, padding=3, groups=4), ((8, 9),), (16, 5)) == 4 * 4
    assert gain(Conv(1, 3, padding=1, mode="replicate"), ((1, 5),), (1, 5)) == 3
    assert gain(Dense(10), ((7,),), (10,)) == 10


def test_a_layer_too_large_for_digits_is_counted_in_objects():
    net = families.plain(1000, 10, padding=1, channels=2**40)
    with pytest.raises(OverflowError, match="reads a unit"):
        pull_back_limbs(net, one_unit(net, None, one=1))
    assert (path_counts(net, channels=False) * 2 ** (40 * 10) == path_counts(net)).all()
