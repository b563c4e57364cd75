"""Combinations of commands are the distinct multisets of the listed command vectors."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lattice import Conv, Lattice, ResourceError, Unit, commands, families, path_counts, route
from lattice.counts.counting import spatial_lattice
from lattice.counts.regular import combinations, is_regular, multinomial_count
from lattice.testing.strategies import lattices
from tests.lattice.counts.stacked import stacks


@settings(max_examples=150)
@given(lattices(depth=2), st.data())
def test_combinations_are_the_multisets_of_the_command_vectors(net, data):
    output = Unit(
        tuple(data.draw(st.integers(0, n - 1)) for n in net.output_shape[1:]),
        data.draw(st.integers(0, net.output_shape[0] - 1)),
    )
    target = Unit(
        tuple(data.draw(st.integers(0, n - 1)) for n in net.input_shape[1:]),
        data.draw(st.integers(0, net.input_shape[0] - 1)),
    )
    assume(path_counts(net, output, input_channel=target.channel)[target.position] < 2000)
    listed = list(combinations(net, output, target))
    multisets = {frozenset(Counter(vector).items()) for vector in commands(net, output, target)}
    assert len(listed) == len(multisets)
    assert {frozenset(Counter(combination).items()) for combination in listed} == multisets


@settings(max_examples=100)
@given(st.one_of(stacks(), stacks(axes=2), stacks(most_channels=2)), st.data())
def test_combinations_of_regular_lattices_too(net, data):
    assume(is_regular(net))
    output = Unit(
        tuple(data.draw(st.integers(0, n - 1)) for n in net.output_shape[1:]),
        data.draw(st.integers(0, net.output_shape[0] - 1)),
    )
    vectors = list(commands(net, output))
    assume(len(vectors) < 3000)
    for target in [None, *{route(net, vector, output) for vector in vectors[:3]}]:
        listed = list(combinations(net, output, target))
        multisets = {frozenset(Counter(vector).items()) for vector in vectors if target in (None, route(net, vector, output))}
        assert len(listed) == len(multisets)
        assert {frozenset(Counter(combination).items()) for combination in listed} == multisets


@pytest.mark.parametrize("channels", [True, False])
def test_combinations_of_grouped_layers_keep_to_their_groups(channels):
    net = Lattice.chain((2, 5), [Conv(2, 2, groups=2), Conv(2, 2, groups=2)])
    vectors = list(commands(net if channels else spatial_lattice(net), (0,)))
    listed = list(combinations(net, (0,), channels=channels))
    assert {frozenset(Counter(combination).items()) for combination in listed} == {
        frozenset(Counter(vector).items()) for vector in vectors
    }
    assert len(listed) == 3  # 00, 01, 11: an output reads the channel of its group alone


def test_combinations_are_lazy_and_sorted():
    net = families.plain((301, 301), depth=100, channels=1)
    first = list(islice(combinations(net, (3, 3), (100, 100)), 3))
    assert all(route(net, combination, (3, 3)) == Unit((100, 100)) for combination in first)
    taps = [[command.taps for command in combination] for combination in first]
    assert all(row == sorted(row) for row in taps)


def test_too_many_multisets_are_refused_before_they_are_listed():
    with pytest.raises(ResourceError, match=r"1\.\de\+\d\d combinations.*path_counts"):
        multinomial_count(families.plain(1601, 200, kernel=9), (0,), (800,))
