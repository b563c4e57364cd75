"""Receptive fields agree with brute force and with published tables."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice import (
    AdaptivePool,
    Conv,
    ConvTranspose,
    Flatten,
    Input,
    Lattice,
    Node,
    PixelShuffle,
    Pool,
    Slice,
    SpecificationError,
    Unit,
    UnsupportedError,
    Upsample,
    concatenate,
    families,
    path_counts,
    residual,
)
from lattice.geometry.periods import Field, Period, read
from lattice.geometry.receptive_field import cells_seen, last_map, receptive_field, receptive_fields
from lattice.network.ops import Windowed
from lattice.network.windows.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.windows.window import TransposedWindow, Window
from lattice.sweep.pullback import pull_back
from lattice.testing.strategies import EVERY_OP, lattices
from tests.lattice.geometry.networks import mobilenet, vgg16


def enlarged(net, size):
    """The same layers over an input of `size` cells per axis, so that there are units far from the borders."""
    shape = (net.input_shape[0], *(size for _ in net.input_shape[1:]))
    return Lattice((Node("input", Input(shape)), *net.nodes[1:]))


def stays_inside(window, j, n):
    """Does output j of a window read cells of the input only? Written without lattice.geometry.channel_fields."""
    if isinstance(window, AdaptiveWindow):
        return list(range(n))
    if isinstance(window, ResizeWindow):
        centre = (j + 0.5) * n / window.size - 0.5
        return (
            [int(np.floor(centre)), int(np.ceil(centre))]
            if window.mode == "linear"
            else [int(np.float32(j) * (np.float32(n) / np.float32(window.size)))]
        )
    if isinstance(window, TransposedWindow):
        starts = ((j + window.padding[0] - window.dilation * k) / window.stride for k in range(window.kernel))
        return [int(start) for start in starts if start == int(start)]
    return [window.stride * j + window.dilation * k - window.padding[0] for k in range(window.kernel)]


def interior(net, axis):
    """Which positions of the output, on one axis, have only routes that never meet a border."""
    inside = []
    for node, shape in zip(net.nodes, net.shapes, strict=True):
        below = [inside[i] for i in node.inputs]
        if isinstance(node.op, Windowed):
            n = len(below[0])
            window = node.op.windows(net.input_shapes(node)[0][1:])[axis]
            reads = (stays_inside(window, j, n) for j in range(shape[axis + 1]))
            if isinstance(window, AdaptiveWindow):
                reads = ([i for i in window.table(n)[:, j] if i >= 0] for j in range(shape[axis + 1]))
            inside.append(np.array([all(0 <= i < n and below[0][i] for i in cells) for cells in reads], dtype=bool))
        elif isinstance(node.op, PixelShuffle):
            inside.append(np.repeat(below[0], node.op.factor))
        elif node.inputs:
            inside.append(np.all(below, axis=0))
        else:
            inside.append(np.ones(shape[axis + 1], dtype=bool))
    return inside[-1]


def seen_by_positions(net, axis, channel):
    """Rows: for each position j on one axis, what the units at j see together, on that axis."""
    shape = net.output_shape
    cotangent = np.zeros((shape[axis + 1], *shape), dtype=bool)
    for j in range(shape[axis + 1]):
        np.moveaxis(cotangent[j, channel], axis, 0)[j] = True
    seen = pull_back(net, lambda node: True, cotangent)
    return seen.any(axis=tuple(k for k in range(1, seen.ndim) if k != axis + 2))


def assert_fields_are_what_brute_force_sees(net, axis, channel):
    """Raises where an interior position's hull differs from the field; returns how many positions were compared."""
    field = receptive_field(net, channel=channel)[axis]
    rows, inside = seen_by_positions(net, axis, channel), interior(net, axis)
    for j in np.flatnonzero(inside):
        cells = np.flatnonzero(rows[j])
        expected = range(cells[0], cells[-1] + 1) if len(cells) else range(0)
        assert field.seen(int(j)) == expected, (net, axis, channel, j, field.seen(int(j)), expected)
    sizes = [len(field.seen(int(j))) for j in range(len(inside))]
    assert field.size == max(sizes)
    return int(inside.sum())


def test_fields_are_what_brute_force_sees_on_drawn_nets():
    compared = []

    @settings(max_examples=250)
    @given(lattices(axes=st.just(1), heads=False), st.data())
    def check(net, data):
        net = enlarged(net, data.draw(st.sampled_from((41, 60, 97))))
        channel = data.draw(st.integers(0, net.output_shape[0] - 1))
        compared.append(assert_fields_are_what_brute_force_sees(net, 0, channel))

    check()
    assert sum(map(bool, compared)) > 150, "too few nets had units far from the borders"


@settings(max_examples=60)
@given(
    lattices(axes=st.sampled_from((2, 3)), heads=False, depth=2, ops=[o for o in EVERY_OP if o is not PixelShuffle]), st.data()
)
def test_each_axis_of_a_drawn_net_has_its_own_field(net, data):
    net = enlarged(net, 23 if len(net.input_shape) == 3 else 11)
    channel = data.draw(st.integers(0, net.output_shape[0] - 1))
    for axis in range(len(net.input_shape) - 1):
        assert_fields_are_what_brute_force_sees(net, axis, channel)


@settings(max_examples=60)
@given(lattices(heads=False, depth=2, modes=("zeros",)), st.data())
def test_near_borders_units_see_no_more_than_their_field(net, data):
    output = Unit(tuple(data.draw(st.integers(0, n - 1)) for n in net.output_shape[1:]))
    seen = cells_seen(net, output)
    for axis, field in enumerate(receptive_field(net)):
        other = tuple(k for k in range(seen.ndim) if k != axis)
        assert set(np.flatnonzero(seen.any(axis=other))) <= set(field.seen(output.position[axis]))


@settings(max_examples=60)
@given(lattices())
def test_a_cell_is_seen_iff_a_path_leads_to_it(net):
    counts = sum(path_counts(net, input_channel=c) for c in range(net.input_shape[0]))
    assert (cells_seen(net) == (counts > 0)).all()


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate", "symmetric"])
def test_a_padded_net_far_from_its_borders_is_an_unpadded_one(mode):
    layers = [
        Conv(1, 3, 2, padding=(1, 2), mode=mode),
        Conv(1, 2, dilation=3, padding=3, mode=mode),
        Pool("avg", 3, 2, padding=1),
    ]
    net = Lattice.chain((1, 200), layers)
    assert assert_fields_are_what_brute_force_sees(net, 0, 0) > 40
    assert receptive_field(net)[0].size == 3 + 2 * 3 + 2 * 2


# Araujo, Norris, Sim: "Computing Receptive Fields of Convolutional Networks", Distill 2019, its table of networks.
def alexnet(n):
    convs = [Conv(64, 11, 4), Pool("max", 3, 2), Conv(192, 5, padding=2), Pool("max", 3, 2)]
    convs += [Conv(384, 3, padding=1), Conv(384, 3, padding=1), Conv(256, 3, padding=1), Pool("max", 3, 2)]
    return Lattice.chain((3, n, n), convs)


def slim_resnet(n, blocks):
    """TensorFlow-slim's ResNet v1: each stage but the last strides in its last block, its shortcut a strided 1x1 pool."""
    layers = [Conv(64, 7, 2, padding=3), Pool("max", 3, 2, padding=1)]
    below = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for block in range(count):
            stride = 2 if block == count - 1 and stage < 3 else 1
            shortcut = [Conv(4 * width, 1, stride)] if below != 4 * width else [Pool("max", 1, stride)] if stride > 1 else []
            layers.append(residual([Conv(width, 1), Conv(width, 3, stride, padding=1), Conv(4 * width, 1)], shortcut))
            below = 4 * width
    return Lattice.chain((3, n, n), layers)


@pytest.mark.parametrize(
    ("net", "size", "stride"),
    [
        (alexnet(227), 195, 32),
        (vgg16(224), 212, 32),
        (slim_resnet(224, (3, 4, 6, 3)), 483, 32),
        (slim_resnet(224, (3, 4, 23, 3)), 1027, 32),
        (slim_resnet(224, (3, 8, 36, 3)), 1507, 32),
        (families.bottleneck_resnet(), 427, 32),
        (families.resnet(), 435, 32),
        (mobilenet(224), 315, 32),
    ],
    ids=["AlexNet", "VGG-16", "ResNet-50 slim", "ResNet-101 slim", "ResNet-152 slim", "ResNet-50", "ResNet-18", "MobileNet"],
)
def test_published_tables(net, size, stride):
    field = receptive_field(net, last_map(net))
    assert field.size == (size, size)
    assert field.stride == (stride, stride)
    assert field.aligned


def test_both_sides_of_the_padding_are_reported():
    # Distill gives ResNet-50 (torchvision strides) no right side; it is the left one less what 224 pixels leave unread.
    field = receptive_field(families.bottleneck_resnet(), "activation49")[0]
    assert field.padding == (213, 182)
    assert len(field.seen(0)) == 427
    assert field.seen(6).stop - 224 == 182
    even = receptive_field(families.bottleneck_resnet((3, 225, 225)), "activation49")[0]
    assert even.padding == (213, 213)


def test_misaligned_branches_are_explained_one_by_one():
    # TF-style "same" padding of a strided layer beside an unpadded strided shortcut: the centres are a cell apart.
    net = Lattice.chain((1, 8), [residual([Conv(1, 3, 2, padding="same")], [Conv(1, 1, 2)]), Conv(1, 3, padding=1)])
    field = receptive_field(net)[0]
    assert not field.aligned
    assert field.reasons == ("add1 merges conv1: 3 cells every 2 centred on 1; conv2: 1 cells every 2 centred on 0",)
    assert (field.size, field.stride, field.padding) == (7, 2, (2, 3))
    assert field.reasons[0] in str(field)
    assert receptive_field(net, "conv2").aligned


def test_branches_of_different_strides_have_one_size_stride_and_padding():
    net = Lattice.chain((1, 8), [residual([Conv(1, 1, 2)], [Conv(1, 5)]), Conv(1, 1)])
    field = receptive_field(net)[0]
    # units see {0..4}, {1..5} with {2}, {2..6} with {4}, {3..7} with {6}
    assert [field.seen(j) for j in range(4)] == [range(5), range(1, 6), range(2, 7), range(3, 8)]
    assert (field.size, field.stride, field.padding) == (5, 1, (0, 0))
    assert "conv1: 1 cells every 2 centred on 0; conv2: 5 cells every 1 centred on 2" in field.reasons[0]
    wide = receptive_field(Lattice.chain((1, 32), [residual([Conv(1, 1, 2)], [Conv(1, 17)])]))[0]
    assert wide.seen(15) == range(15, 32)
    assert wide.seen(40) == range(40, 81), "beyond the input the faster branch has left the slower one behind"


def test_an_even_kernel_beside_an_odd_one_is_half_a_cell_off():
    net = Lattice.chain((1, 9), [concatenate([Conv(1, 2, padding=(0, 1))], [Conv(1, 3, padding=1)])])
    assert not receptive_field(net).aligned
    assert "centred on 1/2" in receptive_field(net).reasons[0]


def test_upsampling_has_a_fractional_stride():
    net = Lattice.chain((1, 8), [Conv(1, 3, padding=1), Upsample(4), Conv(1, 3, padding=1)])
    field = receptive_field(net)[0]
    assert field.stride == Fraction(1, 4)
    assert field.size == 4, "the widest unit reads across the edge of an upsampled cell"
    assert [len(field.seen(j)) for j in range(4, 8)] == [4, 3, 3, 4]


def test_a_transposed_convolution_has_the_stride_that_undoes_its_own():
    down_up = Lattice.chain((1, 16), [Conv(1, 4, 2, padding=1), ConvTranspose(1, 4, 2, padding=1)])
    assert receptive_field(down_up)[0].stride == 1
    assert receptive_field(down_up)[0].size == 6
    unread = Lattice.chain((1, 4), [ConvTranspose(1, 1, 2), Conv(1, 1, 2, padding=1)])
    field = receptive_field(unread)[0]
    assert (field.size, field.seen(0)) == (0, range(0)), "these units read the holes of the transposed layer only"
    assert not cells_seen(unread).any()


def test_a_pixel_shuffle_reads_one_cell_for_each_of_its_own():
    net = Lattice.chain((4, 5, 5), [PixelShuffle(2), Conv(1, 3, padding=1)])
    assert receptive_field(net).stride == (Fraction(1, 2),) * 2
    assert receptive_field(net).size == (2, 2)


def test_adaptive_bins_have_a_fractional_stride():
    field = receptive_field(Lattice.chain((1, 10), [AdaptivePool("avg", 4)]))[0]
    assert (field.size, field.stride, field.padding) == (3, Fraction(5, 2), (0, 0))


def test_a_head_sees_everything():
    net = families.resnet((3, 64, 64))
    assert receptive_field(net).size == (435 + 32, 435 + 32)
    assert receptive_field(net).stride == (0, 0)
    assert last_map(net) == "activation17"
    assert last_map(families.plain(9, 2)) == "conv2"


def test_every_axis_is_its_own():
    net = Lattice.chain((1, 9, 30, 12), [Conv(1, (1, 7, 3), (1, 3, 2), (0, (3, 2), 1), (1, 1, 2))])
    field = receptive_field(net)
    assert field.size == (1, 7, 5)
    assert field.stride == (1, 3, 2)
    assert field.padding == ((0, 0), (3, 1), (1, 0))
    assert len(receptive_fields(net)) == 2


def test_questions_that_have_no_answer():
    net = Lattice.chain((1, 9), [Conv(2, 3), Flatten(), Slice(0, 3)])
    with pytest.raises(SpecificationError, match=r"no layer 'conv9'.*its layers are input, conv1"):
        receptive_field(net, "conv9")
    with pytest.raises(SpecificationError, match="channel is 2; conv1 has 2 channels"):
        receptive_field(net, "conv1", channel=2)
    with pytest.raises(UnsupportedError, match=r"slice1: slices the features of a flat layer.*node="):
        receptive_field(net)


def test_a_centre_lies_half_way_between_the_first_and_the_last_cell():
    pixels = Field((Period(1, ((0, 0),)),))
    pairs = read(Window(kernel=2), 8, pixels)
    assert pairs.centres == (1, Fraction(1, 2))
    assert read(Window(kernel=3, stride=2, padding=(1, 1)), 7, pairs).centres == (2, Fraction(1, 2))
    assert read(ResizeWindow(16), 8, pixels).centres == (Fraction(1, 2), 0, Fraction(-1, 2))


@pytest.mark.parametrize("family", [families.resnet, families.bottleneck_resnet, families.vgg])
def test_the_families_stand_for_the_published_input_unless_told_otherwise(family):
    assert family().input_shape == (3, 224, 224)
