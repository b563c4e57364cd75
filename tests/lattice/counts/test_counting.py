"""Path counts equal the number of command vectors, listed one by one, on lattices of every op."""

from collections import Counter

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lattice
from lattice import Unit, path_counts
from lattice.testing.strategies import lattices
from tests.lattice.listing import some_unit

MOST_PATHS = 4000


@settings(max_examples=300)
@given(lattices(), st.data())
def test_counts_are_numbers_of_command_vectors(net, data):
    output = some_unit(data.draw, net.output_shape)
    counts = np.stack([path_counts(net, output, input_channel=c) for c in range(net.input_shape[0])])
    assume(counts.sum() <= MOST_PATHS)
    ends = Counter(lattice.route(net, command, output) for command in lattice.commands(net, output))
    listed = np.zeros(net.input_shape, dtype=object)
    for unit, number in ends.items():
        listed[(unit.channel, *unit.position)] = number
    assert (counts == listed).all()


@settings(max_examples=100)
@given(lattices())
def test_the_sum_over_outputs_is_the_sum_of_their_counts(net):
    summed = sum(
        path_counts(net, Unit(position, channel), input_channel=0)
        for position in np.ndindex(net.output_shape[1:])
        for channel in range(net.output_shape[0])
    )
    assert (path_counts(net, input_channel=0) == summed).all()
