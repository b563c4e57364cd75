"""Counts by length, by skips and in logarithms, against command vectors listed one by one."""

from collections import Counter
from math import comb, inf, log

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lattice import (
    SKIP,
    Command,
    Conv,
    Dense,
    Flatten,
    Lattice,
    Pool,
    ResourceError,
    SpecificationError,
    Unit,
    commands,
    families,
    path_counts,
    residual,
)
from lattice.counts.counting import spatial_lattice
from lattice.counts.distributions import _Wide, log_path_counts, path_count, path_length_distribution, skip_distribution
from lattice.testing.strategies import lattices
from tests.lattice.listing import some_unit

MOST_PATHS = 500


def listed_by(net, output, number):
    """Command vectors from one output unit, counted by end and by number(vector)."""
    parts = []
    for channel in range(net.input_shape[0]):
        for position in np.ndindex(net.input_shape[1:]):
            numbers = Counter(map(number, commands(net, output, Unit(position, channel))))
            parts.append([numbers[n] for n in range(max(numbers, default=0) + 1)])
    result = np.zeros((max(map(len, parts)), len(parts)), dtype=object)
    for column, part in enumerate(parts):
        result[: len(part), column] = part
    return result.reshape(-1, *net.input_shape)


def assert_same_distribution(found, listed):
    """Equal, but for trailing zeros: not every length that the layers allow is walked by a path."""
    longest = max(len(found), len(listed))
    found, listed = (np.concatenate([part, np.zeros((longest - len(part), *part.shape[1:]), int)]) for part in (found, listed))
    assert (found == listed).all()


def all_channels(function, net, output):
    return np.stack([function(net, output, input_channel=c) for c in range(net.input_shape[0])], axis=1)


@settings(max_examples=150)
@given(lattices(), st.data())
def test_skips_are_those_of_the_command_vectors(net, data):
    output = some_unit(data.draw, net.output_shape)
    assume(sum(path_counts(net, output, input_channel=c).sum() for c in range(net.input_shape[0])) <= MOST_PATHS)
    listed = listed_by(net, output, lambda vector: vector.count(SKIP))
    assert_same_distribution(all_channels(skip_distribution, net, output), listed)


@settings(max_examples=150)
@given(lattices(), st.data())
def test_lengths_are_those_of_the_command_vectors(net, data):
    """A command with an input channel crosses a weight; a pool's command has none."""
    output = some_unit(data.draw, net.output_shape)
    assume(sum(path_counts(net, output, input_channel=c).sum() for c in range(net.input_shape[0])) <= MOST_PATHS)
    listed = listed_by(net, output, lambda vector: sum(isinstance(c, Command) and c.channel is not None for c in vector))
    assert_same_distribution(all_channels(path_length_distribution, net, output), listed)


@settings(max_examples=100)
@given(lattices(), st.booleans())
def test_distributions_sum_to_the_path_counts(net, channels):
    try:
        counts = path_counts(net, channels=channels, input_channel=0)
    except SpecificationError:
        assume(False)  # a pixel shuffle has no spatial commands
    for distribution in (path_length_distribution, skip_distribution):
        assert (distribution(net, channels=channels, input_channel=0).sum(axis=0) == counts).all()


@settings(max_examples=100)
@given(lattices(), st.data(), st.booleans())
def test_one_count_is_an_entry_of_the_map(net, data, channels):
    output, target = some_unit(data.draw, net.output_shape), some_unit(data.draw, net.input_shape)
    try:
        spatial = net if channels else spatial_lattice(net)
    except SpecificationError:
        assume(False)
    top = output if channels else Unit(output.position)
    counts = path_counts(spatial, top, input_channel=target.channel if channels else 0)
    count = path_count(net, output, target, channels)
    assert count == counts[target.position]
    assert type(count) is int


@settings(max_examples=150)
@given(lattices(), st.data())
def test_logarithms_are_those_of_the_counts(net, data):
    output = data.draw(st.sampled_from([None, some_unit(data.draw, net.output_shape)]))
    for channel in range(net.input_shape[0]):
        counts = path_counts(net, output, input_channel=channel)
        exact = np.array([log(count) if count else -inf for count in counts.ravel()]).reshape(counts.shape)
        np.testing.assert_allclose(log_path_counts(net, output, input_channel=channel), exact, rtol=1e-13, atol=1e-13)


def test_logarithms_stay_right_where_floats_overflow_and_underflow():
    """Depth 1500: 3^1500 is about 10^715, and the edge of the map is 1."""
    depth = 1500
    net = families.plain(71, depth, padding=1, channels=512)
    logs = log_path_counts(net, (35,))
    exact = path_counts(net, (35,))
    assert max(abs(log(count) - value) for count, value in zip(exact, logs, strict=True)) < 1e-9
    unpadded = log_path_counts(families.plain(801, 400), (0,))
    assert unpadded[0] == unpadded[-1] == 0.0
    assert unpadded[1] == pytest.approx(log(400), rel=1e-14)
    assert unpadded[400] == pytest.approx(log(sum(comb(400, 2 * k) * comb(2 * k, k) for k in range(201))), rel=1e-14)


def test_logarithms_of_branches_of_very_different_size():
    """An identity skip beside 700 layers: one path more or less than 3^700 is below the last bit, one path alone is not."""
    deep = [Conv(1, kernel=3, padding=1) for _ in range(700)]
    net = Lattice.chain((1, 1501), [residual(deep)])
    logs = log_path_counts(net, (750,))
    assert logs[50] == 0.0
    assert logs[49] == -inf
    assert logs[750] == pytest.approx(log(sum(comb(700, 2 * k) * comb(2 * k, k) for k in range(351))), rel=1e-14)


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(0, 6))
def test_equal_blocks_skip_as_a_binomial(radius, depth):
    """Away from the borders: a_m = C(L, m) p_(L-m)."""
    size = 2 * radius * depth + 1
    block = residual([Conv(1, kernel=2 * radius + 1, padding=radius)])
    net = Lattice.chain((1, size), [block] * depth)
    skips = skip_distribution(net, (radius * depth,))
    for m in range(depth + 1):
        plain = Lattice.chain((1, size), [Conv(1, kernel=2 * radius + 1, padding=radius)] * (depth - m) or [Conv(1, 1)])
        assert (skips[m] == comb(depth, m) * path_counts(plain, (radius * depth,))).all()


def test_lengths_cross_weights_and_not_pools():
    net = Lattice.chain((1, 8), [Conv(2, 3, padding=1), Pool("avg", 2), Flatten(), Dense(3)])
    lengths = path_length_distribution(net, channels=False)
    assert lengths.shape == (3, 8)
    assert (lengths[:2] == 0).all()
    assert (lengths[2] == path_counts(net, channels=False)).all()


@pytest.mark.parametrize(("one", "other"), [((0.5, -5000), (0.0, 0)), ((0.0, 0), (0.5, -5000)), ((0.0, 0), (0.0, 7))])
def test_adding_nothing_changes_no_number_however_small(one, other):
    expected = one if one[0] else (other[0], other[1] if other[0] else None)
    first, second = (_Wide(np.array([m]), np.array([e])) for m, e in (one, other))
    total = first + second
    assert (total.mantissas[0], total.exponents[0] if total.mantissas[0] else None) == expected


def test_huge_distributions_are_estimated_and_refused():
    net = Lattice.chain((1, 3000, 3000), [residual([Conv(1, 3, padding=1)])] * 40)
    with pytest.raises(ResourceError, match=r"GiB; take a smaller input.*log_path_counts"):
        path_length_distribution(net)


def test_channels_that_differ_must_be_named():
    net = Lattice.chain((2, 3), [Conv(2, 1, groups=2)])
    for function in (log_path_counts, path_length_distribution, skip_distribution):
        with pytest.raises(SpecificationError, match="input_channel"):
            function(net, Unit((0,), 1))
    with pytest.raises(SpecificationError, match="input_channel is 5"):
        log_path_counts(net, Unit((0,), 1), input_channel=5)
