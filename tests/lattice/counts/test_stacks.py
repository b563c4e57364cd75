"""A lattice is regular exactly if no order of any commands matters, and says which layers do not commute."""

from collections import Counter
from itertools import permutations, product

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
    Unit,
    commands,
    families,
    path_counts,
    residual,
    route,
)
from lattice.counts.counting import spatial_lattice
from lattice.counts.regular import combinations, is_regular, multinomial_count
from tests.lattice.counts.stacked import stacks


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
