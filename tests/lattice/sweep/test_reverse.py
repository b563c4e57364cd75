"""The reverse sweep over values of any kind: against ways counted by walking down, and the rules of rearranging ops."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given

from lattice import ChannelShuffle, Flatten, PixelShuffle, Slice
from lattice.network.ops import Rearrangement
from lattice.network.shapes import output_shape, sources
from lattice.strategies import lattices
from lattice.sweep.choices import all_units, choices
from lattice.sweep.pullback import pull
from lattice.sweep.reverse import accumulate, bottom, sweep


def ways(net, position):
    """In how many ways one comes from the output to a node, walking."""
    if position == len(net.nodes) - 1:
        return 1
    return sum(ways(net, reader) for reader in net.readers[position])


@given(lattices())
def test_values_that_meet_are_added(net):
    found = dict(sweep(net, Fraction(1, 3), lambda position, here: [here] * len(net.nodes[position].inputs)))
    assert found == {position: ways(net, position) * Fraction(1, 3) for position in range(len(net.nodes))}


def test_a_value_is_only_complete_after_all_that_lead_to_it():
    below = {"d": ["c", "b"], "c": ["b", "a"], "b": ["a"]}
    seen = list(accumulate("dcba", 1, lambda state, here: [(to, 2 * here) for to in below[state]]))
    assert seen == [("d", 1), ("c", 2), ("b", 6), ("a", 16)]
    assert bottom(seen) == 16
    assert list(accumulate("d", 5, lambda state, here: [])) == [("d", 5)]


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Slice(1, 3), (4, 3, 2)), (ChannelShuffle(2), (6, 3)), (Flatten(), (2, 3, 4)),
        (PixelShuffle(2), (8, 3, 2)), (PixelShuffle(2), (8, 2, 1, 2)), (PixelShuffle(3), (6, 4)),
    ],
    ids=str,
)  # fmt: skip
def test_where_cells_come_from_says_all_about_a_rearrangement(op, shape):
    output = output_shape(op, shape)
    assert output_shape.dispatch(Rearrangement)(op, shape) == sources(op, shape).shape == output
    cotangent = np.random.default_rng(0).normal(size=(2, *output))
    generic = pull.dispatch(Rearrangement)(op, (shape,), cotangent, output)
    np.testing.assert_array_equal(pull(op, (shape,), cotangent, output)[0], generic[0])
    for unit in all_units(output):
        assert list(choices(op, (shape,), unit)) == list(choices.dispatch(Rearrangement)(op, (shape,), unit))
