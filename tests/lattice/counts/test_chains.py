"""Counts of chains by outer products, and of stems one axis after the other, are the Python ints of the object sweep."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lattice import Conv, Dense, Flatten, Lattice, Pool, Unit, Window, families, path_counts, residual
from lattice.counts.chains import chain_counts, pull_stem, stem_top
from lattice.counts.counting import one_unit
from lattice.counts.limbs import pull_back_limbs
from lattice.testing.strategies import lattices, units, windows
from tests.object_sweep import assert_same_ints, in_objects


def is_chain(net):
    return all(node.inputs == (position - 1,) for position, node in enumerate(net.nodes) if position)


@settings(max_examples=200)
@given(lattices(branches=False, depth=5), st.data())
def test_a_chain_is_an_outer_product_from_every_unit(net, data):
    unit = data.draw(st.none() | units(net))
    found, expected = chain_counts(net, unit), in_objects(net, one_unit(net, unit, one=1))
    assume(found is not None)
    assert_same_ints(np.broadcast_to(found, np.broadcast_shapes(found.shape, expected.shape)), expected)


@given(lattices())
def test_nothing_else_is_taken_for_a_chain(net):
    assert is_chain(net) or chain_counts(net, None) is None


@pytest.mark.parametrize("depth", [1, 20, 700])
@pytest.mark.parametrize("layer", [Conv(3, 3, padding=1), Conv(1, 4, padding="same"), Conv(1, 3, padding=1, mode="circular")])
def test_equal_layers_are_pulled_back_together(layer, depth):
    net = Lattice.chain((1, 9), [layer] * depth)
    assert_same_ints(chain_counts(net, None), in_objects(net, one_unit(net, None, one=1)))


@settings(max_examples=200)
@given(st.integers(1, 9), st.data())
def test_a_shortened_window_reads_the_first_cells_alike(n, data):
    window = Window(*windows(data.draw, n))
    cells = data.draw(st.integers(1, n))
    shorter, outputs = window.shortened(n, cells)
    assert shorter.outputs(cells) == outputs
    assert (shorter.matrix(cells) == window.matrix(n)[:outputs, :cells]).all()
    assert not window.matrix(n)[outputs:, :cells].any()


STEMS = {
    "convolution and pool": [Conv(4, 7, 2, padding=3), Pool("max", 3, 2, padding=1)],
    "not alike on both axes": [Conv(4, (7, 5), 2, padding=(3, 2)), Pool("max", 3, 2, padding=1)],
    "overlapping and dilated": [Conv(4, 4, 3, padding=1, dilation=2), Conv(6, 3, 2, groups=2)],
    "patches": [Conv(8, 4, 4)],
    "copied borders": [Conv(4, 3, 2, padding=1, mode="reflect"), Pool("avg", 2)],
}


@pytest.mark.parametrize("layers", STEMS.values(), ids=STEMS)
@pytest.mark.parametrize("size", [(70, 70), (70, 71), (40,), (17, 18, 18)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_stem_is_the_object_sweep(layers, size, symmetric):
    if len(size) != 2 and any(isinstance(layer, Conv) and not isinstance(layer.kernel, int) for layer in layers):
        pytest.skip("a kernel of two axes")
    net = Lattice.chain((2, *size), layers)
    top, shape = len(net.nodes) - 1, net.output_shape[1:]
    numbers = np.random.default_rng(0).integers(0, 2**62, shape).astype(object) ** 3
    if symmetric and len(shape) == 2 and shape[0] == shape[1]:
        numbers = numbers + numbers.T
    cotangent = numbers[np.newaxis]
    assert_same_ints(pull_stem(net, top, cotangent), in_objects(net, cotangent))


def test_channels_that_differ_are_told_apart_in_a_stem():
    net = Lattice.chain((4, 30), [Conv(4, 3, 2, groups=2), Pool("avg", 2)])
    cotangent = np.arange(4 * 7).astype(object).reshape(4, 7)
    assert_same_ints(pull_stem(net, 2, cotangent), in_objects(net, cotangent))


def test_resnets_leave_digits_above_their_stem_and_flat_nets_do_not():
    net = families.bottleneck_resnet((3, 96, 96))
    top, _ = stem_top(net)
    assert net.shapes[top] == (64, 24, 24)
    ones = one_unit(net, None, one=1)
    assert_same_ints(pull_stem(net, top, pull_back_limbs(net, ones, top)), in_objects(net, ones))
    assert stem_top(Lattice.chain((3, 32, 32), [Conv(8, 3, padding=1), residual([Conv(8, 3, padding=1)])]))[0] == 0


def test_a_readable_stem_ends_where_another_layer_reads_it():
    net = Lattice.chain((1, 64), [Conv(1, 2, 2), residual([Conv(1, 2, 2)], [Conv(1, 2, 2)]), Conv(1, 2, 2)])
    assert stem_top(net)[0] == 1
    skip = Lattice.chain((1, 64), [residual([Conv(1, 2, 2)], [Conv(1, 2, 2)])])
    assert stem_top(skip)[0] == 0


def test_a_flattened_unit_is_counted_with_and_without_a_dense_layer():
    net = Lattice.chain((2, 4, 4), [Conv(3, 3), Flatten()])
    expected = in_objects(net, one_unit(net, Unit((), 5), one=1))
    assert (path_counts(net, Unit((), 5), input_channel=0) == expected[0]).all()
    head = Lattice.chain((2, 4, 4), [Conv(3, 3), Flatten(), Dense(7)])
    assert_same_ints(chain_counts(head, None), in_objects(head, one_unit(head, None, one=1)))
