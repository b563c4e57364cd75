"""Fields of single channels: branches keep theirs through sums and concatenations, weights mix them."""

from lattice import (
    Conv,
    Lattice,
    Slice,
    concatenate,
    residual,
)
from lattice.geometry.receptive_field import receptive_field


def test_a_concatenation_has_a_field_per_channel():
    net = Lattice.chain((1, 20), [concatenate([Conv(2, 1)], [Conv(1, 3, padding=1)], [Conv(1, 5, padding=2)])])
    assert [receptive_field(net, channel=c).size[0] for c in range(4)] == [1, 1, 3, 5]
    assert receptive_field(net).size == (5,)
    assert receptive_field(net).aligned


def test_a_sum_has_a_field_per_channel_and_keeps_all_of_them():
    wide = concatenate([Conv(1, 1)], [Conv(2, 5, padding=2)])
    net = Lattice.chain((1, 2), [residual([wide], [Conv(3, 3, padding=1)])])
    assert [receptive_field(net, channel=c).size[0] for c in range(3)] == [3, 5, 5]


def test_a_sum_of_branches_that_have_a_field_per_channel():
    narrow, wide = concatenate([Conv(1, 1)], [Conv(1, 3, padding=1)]), concatenate([Conv(1, 5, padding=2)], [Conv(1, 1)])
    net = Lattice.chain((1, 9), [residual([narrow], [wide])])
    assert [receptive_field(net, channel=c).size[0] for c in range(2)] == [5, 3]


def test_a_depthwise_layer_keeps_channel_fields_apart_a_slice_drops_them():
    """A depthwise layer keeps the fields of its channels apart and a slice drops them."""
    wide = concatenate([Conv(1, 1)], [Conv(1, 5, padding=2)])
    net = Lattice.chain((1, 20), [wide, Conv(4, 3, padding=1, groups=2)])
    assert [receptive_field(net, channel=c).size[0] for c in range(4)] == [3, 3, 7, 7]
    assert receptive_field(Lattice.chain((1, 20), [wide, Slice(0, 1), Conv(1, 3, padding=1)])).size == (3,)


def test_channels_keep_their_fields_through_a_sum():
    wide, narrow = [Conv(1, 5, padding=2)], [Conv(1, 1)]
    net = Lattice.chain((2, 9), [residual([concatenate(wide, narrow)]), Slice(1, 2)])
    assert receptive_field(net).size == (1,)
    assert receptive_field(Lattice.chain((2, 9), [residual([concatenate(narrow, wide)]), Slice(1, 2)])).size == (5,)
