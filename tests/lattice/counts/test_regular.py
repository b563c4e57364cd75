"""Eq. 3 and the multinomial formula: exact about where it holds, and right there; proved by listing every command vector."""

from collections import Counter
from itertools import islice, permutations, product
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lattice import (
    Activation,
    Conv,
    IrregularLatticeError,
    Lattice,
    Pool,
    ResourceError,
    SpecificationError,
    Unit,
    commands,
    families,
    path_counts,
    residual,
    route,
    spatial_lattice,
)
from lattice.counts.regular import combinations, is_regular, multinomial_count
from lattice.testing.strategies import lattices


@st.composite
def stacks(draw, axes=1, most_channels=1):
    """Two or three convolutions that are equal, or nearly so: both sides of the line between regular and not."""
    depth = draw(st.integers(2, 3))
    base = {"kernel": draw(st.integers(1, 3)), "stride": 1, "dilation": draw(st.integers(1, 2)), "padding": 0}
    base["padding"] = draw(st.sampled_from([0, 0, 0, (1, 1), (0, 1), (2, 0)] if axes == 1 else [0, 0, 1]))
    mode = draw(st.sampled_from(["zeros", "circular", "replicate", "reflect"]))
    layers = []
    for _ in range(depth):
        changed = dict(base)
        for name, values in {"kernel": (1, 2, 3), "stride": (1, 2), "dilation": (1, 2), "padding": (0, 1)}.items():
            if draw(st.integers(0, 5)) == 5:
                changed[name] = draw(st.sampled_from(values))
        groups = draw(st.sampled_from([1, 1, most_channels])) if most_channels > 1 else 1
        channels = draw(st.sampled_from([most_channels, most_channels, 1])) if groups == 1 else groups
        layers.append(Conv(channels, mode=mode, groups=groups, **changed))
    size = draw(st.integers(2, 12 if axes == 1 else 6))
    inside = next((n for n in range(size, 30) if _fits(n, axes, most_channels, layers)), None)
    assume(inside is not None)
    return Lattice.chain((most_channels, *(inside,) * axes), layers)


def _fits(n, axes, channels, layers):
    try:
        Lattice.chain((channels, *(n,) * axes), layers)
    except SpecificationError:
        return False
    return True


def every_order_leads_to_the_same_place(net):
    """The definition of regular, checked on all vectors of all output units."""
    for position in np.ndindex(net.output_shape[1:]):
        for channel in range(net.output_shape[0]):
            unit = Unit(position, channel)
            ends = {vector: route(net, vector, unit).position for vector in commands(net, unit)}
            for vector, end in ends.items():
                if any(ends.get(order) != end for order in permutations(vector)):
                    return False
    return True


@settings(max_examples=300)
@given(stacks())
def test_a_lattice_is_regular_exactly_if_no_order_of_any_commands_matters(net):
    assert is_regular(net) == every_order_leads_to_the_same_place(net)


@settings(max_examples=60)
@given(st.one_of(stacks(axes=2), stacks(most_channels=2)))
def test_so_it_is_on_two_axes_and_with_channels(net):
    assume(path_counts(net, input_channel=0).sum() < 3000)
    assert is_regular(net) == every_order_leads_to_the_same_place(net)
    assert is_regular(net, channels=False) == is_regular(spatial_lattice(net))


@settings(max_examples=150)
@given(st.one_of(stacks(), stacks(axes=2), stacks(most_channels=2)), st.data())
def test_the_formula_gives_the_path_counts_of_regular_lattices(net, data):
    assume(is_regular(net))
    output = Unit(
        tuple(data.draw(st.integers(0, n - 1)) for n in net.output_shape[1:]),
        data.draw(st.integers(0, net.output_shape[0] - 1)),
    )
    for channel in range(net.input_shape[0]):
        counts = path_counts(net, output, input_channel=channel)
        for position in np.ndindex(counts.shape):
            assert multinomial_count(net, output, Unit(position, channel)) == counts[position]
    spatial = path_counts(net, output.position, channels=False)
    position = tuple(data.draw(st.integers(0, n - 1)) for n in net.input_shape[1:])
    assert multinomial_count(net, output, position, channels=False) == spatial[position]


def test_a_stack_without_paths_is_regular_and_has_none_to_count():
    layers = [Conv(2, 2), Conv(2, 1, 2, padding=((1, 1),)), Conv(2, 2, padding=((1, 1),))]
    net = Lattice.chain((2, 2), layers)
    assert is_regular(net)
    assert not path_counts(net).any()
    assert [multinomial_count(net, (j,), (i,)) for j in range(3) for i in range(2)] == [0] * 6


@pytest.mark.parametrize(("kernels", "dilation"), [((2, 3), 1), ((2, 1), 2)])
def test_taps_that_only_one_layer_has_may_all_read_padding(kernels, dilation):
    net = Lattice.chain((1, 2), [Conv(1, kernel, dilation=dilation, padding=((0, 1),)) for kernel in kernels])
    assert is_regular(net)
    assert every_order_leads_to_the_same_place(net)
    for (j,) in np.ndindex(net.output_shape[1:]):
        assert [multinomial_count(net, (j,), (i,)) for i in range(2)] == path_counts(net, (j,)).tolist()
        listed = {frozenset(Counter(vector).items()) for vector in commands(net, (j,))}
        assert len(list(combinations(net, (j,)))) == len(listed)


@pytest.mark.parametrize("strides", list(product((1, 2, 3), repeat=3)))
def test_the_top_layer_alone_may_have_a_stride(strides):
    net = Lattice.chain((1, 45), [Conv(1, kernel=2, stride=s) for s in strides])
    assert is_regular(net) == (strides[:-1] == (1, 1)) == every_order_leads_to_the_same_place(net)


def test_a_dilation_can_make_up_for_a_stride_below():
    net = Lattice.chain((1, 20), [Conv(1, kernel=2, stride=2, dilation=2), Conv(1, kernel=2, dilation=1)])
    assert is_regular(net)
    assert [multinomial_count(net, (0,), (i,)) for i in range(5)] == [1, 0, 2, 0, 1]


def test_channel_commands_need_equal_channels():
    net = families.plain(7, 3, channels=4)
    assert not is_regular(net)
    assert is_regular(net, channels=False)
    assert is_regular(Lattice.chain((4, 7), [Conv(4, kernel=3)] * 2 + [Conv(9, kernel=3)]))


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


def test_with_channels_the_printed_formula_counts_paths_to_all_of_them():
    """Erratum: a route ends in the channel of its bottom command, so the formula is too large by the number of channels."""
    net = Lattice.chain((2, 1), [Conv(2, kernel=1), Conv(2, kernel=1)])
    multisets = {tuple(sorted(vector, key=repr)) for vector in commands(net, (0,))}
    printed = sum(2 if one != other else 1 for one, other in multisets)  # 2! / prod #c!
    assert printed == 4
    assert path_counts(net, (0,))[0] == 2 == multinomial_count(net, (0,), (0,))


def test_the_multinomial_sum_is_the_central_trinomial_coefficient():
    net = families.plain(401, 200)
    central = sum(comb(200, 2 * k) * comb(2 * k, k) for k in range(101))
    assert multinomial_count(net, (0,), (200,)) == central


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv(1, 3, stride=2), Conv(1, 3)], "conv1 has stride 2 below conv2.*path_counts"),
        ([Conv(1, 3), Conv(1, 3, padding=1)], r"conv2 has padding \(1, 1\) \(zeros\).*nowhere"),
        ([Conv(1, 3), Conv(1, 2)], "conv1 has kernel 3 and conv2 has kernel 2"),
        ([Conv(1, 3), Conv(1, 3, dilation=2)], "conv1 has dilation 1 and conv2 has dilation 2"),
        ([Conv(4, 3), Activation(), Conv(1, 3)], "conv2 and conv1 do not offer the same channels.*channels=False"),
        ([Conv(1, 3), residual([Conv(1, 3, padding=1)])], "add1: .* more than a stack of layers.*path_counts"),
        ([Pool("avg", 3, 1), Conv(1, 3, dilation=2)], "pool1 has dilation 1 and conv1 has dilation 2"),
    ],
)
def test_an_irregular_lattice_says_which_layer_breaks_the_formula(layers, message):
    net = Lattice.chain((1, 15), layers)
    assert not is_regular(net)
    with pytest.raises(IrregularLatticeError, match=message):
        multinomial_count(net, (0,), (1,))


def test_too_many_multisets_are_refused_before_they_are_listed():
    with pytest.raises(ResourceError, match=r"1\.\de\+\d\d combinations.*path_counts"):
        multinomial_count(families.plain(1601, 200, kernel=9), (0,), (800,))


def test_units_that_do_not_exist_are_named():
    with pytest.raises(SpecificationError, match=r"input has shape \(1, 9\)"):
        multinomial_count(families.plain(9, 2), (0,), (9,))
