"""Receptive fields agree with brute force and with published tables; even windows make flip-symmetric maps."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Node,
    Norm,
    Pad,
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
from lattice.geometry.evenness import even_sizes, evenness, lean
from lattice.geometry.periods import Field, Period, read
from lattice.geometry.receptive_field import cells_seen, last_map, receptive_field, receptive_fields
from lattice.network.ops import Windowed
from lattice.network.window import PADDING_MODES, AdaptiveWindow, ResizeWindow, TransposedWindow, Window
from lattice.sweep.pullback import pull_back
from lattice.testing.strategies import EVERY_OP, lattices

# --- brute force --------------------------------------------------------------------------------------------------------


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


# --- published tables ---------------------------------------------------------------------------------------------------
# Araujo, Norris, Sim: "Computing Receptive Fields of Convolutional Networks", Distill 2019, its table of networks.


def alexnet(n):
    convs = [Conv(64, 11, 4), Pool("max", 3, 2), Conv(192, 5, padding=2), Pool("max", 3, 2)]
    convs += [Conv(384, 3, padding=1), Conv(384, 3, padding=1), Conv(256, 3, padding=1), Pool("max", 3, 2)]
    return Lattice.chain((3, n, n), convs)


def vgg16(n):
    return families.vgg((3, n, n), ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3))


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


def mobilenet(n):
    layers, below = [Conv(32, 3, 2, padding=1)], 32
    for channels, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
        layers += [Conv(below, 3, stride, padding=1, groups=below), Norm(), Activation("relu"), Conv(channels, 1)]
        below = channels
    return Lattice.chain((3, n, n), [*layers, GlobalPool(), Flatten(), Dense(1000)])


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


# --- branches -----------------------------------------------------------------------------------------------------------


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


# --- other layers -------------------------------------------------------------------------------------------------------


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


# --- evenness -----------------------------------------------------------------------------------------------------------


def windows():
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    small = st.integers(1, 4)
    return st.one_of(
        st.builds(Window, small, small, small, pads, st.sampled_from(PADDING_MODES)),
        st.builds(Window, small, small, small, pads, ceil=st.booleans()),
        st.builds(TransposedWindow, small, small, small, pads, st.integers(0, 2)),
        st.builds(AdaptiveWindow, small),
    )


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(0, 40))
def test_with_equal_paddings_a_stage_is_even_iff_its_stride_divides(kernel, stride, dilation, padding, more):
    span = dilation * (kernel - 1) + 1
    n = max(1, span - 2 * padding) + more
    (row,) = evenness(Lattice.chain((1, n), [Conv(1, kernel, stride, padding, dilation)]))
    assert row.even == ((n + 2 * padding - span) % stride == 0)
    low, high = row.read
    assert row.lean <= 0, "no window reaches beyond the padding"
    assert not row.even or tuple(n - 1 - i for i in reversed(high)) == low


@pytest.mark.parametrize(
    ("n", "op", "read", "missed", "even"),
    [
        (224, Conv(1, 7, 2, padding=3), ((-3, -2, -1), (224, 225)), (0, 0), False),
        (225, Conv(1, 7, 2, padding=3), ((-3, -2, -1), (225, 226, 227)), (0, 0), True),
        (224, Conv(1, 3, 2, padding="same"), ((), (224,)), (0, 0), False),
        (225, Conv(1, 3, 2, padding="same"), ((-1,), (225,)), (0, 0), True),
        (225, Pool("max", 2), ((), ()), (0, 1), False),
        (225, Pool("max", 2, ceil=True), ((), ()), (0, 0), False),
        (8, Pool("max", 3, 2, padding=1, ceil=True), ((-1,), (8,)), (0, 0), False),
        (8, Conv(1, 3, padding=(1, 2), stride=2), ((-1,), (8, 9)), (0, 0), False),
        (9, Conv(1, 3, padding=(1, 2), stride=2), ((-1,), (9,)), (0, 0), True),
        (9, Conv(1, 2, dilation=3, stride=3, padding=2), ((-2,), (10,)), (1, 1), True),
        (8, Pad((1, 2)), ((-1,), (8, 9)), (0, 0), False),
        (8, Upsample(2, "linear"), ((), ()), (0, 0), True),
        (7, AdaptivePool("avg", 3), ((), ()), (0, 0), True),
        (7, ConvTranspose(1, 3, 2, padding=1, output_padding=1), ((), ()), (0, 0), False),
        (7, ConvTranspose(1, 3, 2, padding=1), ((), ()), (0, 0), True),
    ],
)
def test_what_a_stage_reads_of_its_padding(n, op, read, missed, even):
    (row,) = evenness(Lattice.chain((1, n), [op]))
    assert (row.read, row.missed, row.even) == (read, missed, even)


@given(windows(), st.integers(1, 12))
def test_an_even_window_reads_mirror_images(window, n):
    try:
        table = window.table(n)
    except SpecificationError:
        return
    mirrored = np.where(table >= 0, n - 1 - table, -1)[:, ::-1]
    symmetric = (np.sort(table, axis=0) == np.sort(mirrored, axis=0)).all()
    assert symmetric or lean(window, n)


@settings(max_examples=200)
@given(lattices(ops=[op for op in EVERY_OP if op is not PixelShuffle]))
def test_even_windows_make_a_flip_symmetric_map(net):
    counts = path_counts(net, input_channel=0)
    for axis in range(counts.ndim):
        if all(row.even for row in evenness(net) if row.axis == axis):
            assert (counts == np.flip(counts, axis)).all()


def test_resnet18_is_symmetric_at_225_pixels_and_not_at_224():
    even, uneven = (path_counts(families.resnet((3, n, n)), channels=False) for n in (225, 224))
    assert (even == even[:, ::-1]).all()
    assert (even == even[::-1]).all()
    assert (uneven != uneven[:, ::-1]).any()
    assert [row.even for row in evenness(families.resnet((3, 224, 224)))].count(False) > 0


@pytest.mark.parametrize(
    "net_of_size", [lambda n: families.bottleneck_resnet((3, n, n)), mobilenet], ids=["ResNet-50", "MobileNet"]
)
def test_even_sizes_of_strided_nets_are_32a_plus_1(net_of_size):
    assert even_sizes(net_of_size, around=224, within=40) == (225, 193, 257)


def test_channels_keep_their_fields_through_a_sum():
    wide, narrow = [Conv(1, 5, padding=2)], [Conv(1, 1)]
    net = Lattice.chain((2, 9), [residual([concatenate(wide, narrow)]), Slice(1, 2)])
    assert receptive_field(net).size == (1,)
    assert receptive_field(Lattice.chain((2, 9), [residual([concatenate(narrow, wide)]), Slice(1, 2)])).size == (5,)


def test_a_centre_lies_half_way_between_the_first_and_the_last_cell():
    pixels = Field((Period(1, ((0, 0),)),))
    pairs = read(Window(kernel=2), 8, pixels)
    assert pairs.centres == (1, Fraction(1, 2))
    assert read(Window(kernel=3, stride=2, padding=(1, 1)), 7, pairs).centres == (2, Fraction(1, 2))
    assert read(ResizeWindow(16), 8, pixels).centres == (Fraction(1, 2), 0, Fraction(-1, 2))


@pytest.mark.parametrize("family", [families.resnet, families.bottleneck_resnet, families.vgg])
def test_the_families_stand_for_the_published_input_unless_told_otherwise(family):
    assert family().input_shape == (3, 224, 224)


def test_a_lattice_stands_for_itself_at_every_size():
    net = families.bottleneck_resnet((3, 224, 224))
    assert net.at_size(97) == families.bottleneck_resnet((3, 97, 97))
    assert even_sizes(net, around=224, within=40) == even_sizes(lambda n: families.bottleneck_resnet((3, n, n)), 224, 40)
    with pytest.raises(SpecificationError, match="conv1: "):
        families.plain(9, depth=2).at_size(2)
    with pytest.raises(SpecificationError, match="size is 0; it is the number of cells"):
        net.at_size(0)
    for size in (True, 2.5, "9"):
        with pytest.raises(SpecificationError, match=f"size is {size!r}"):
            net.at_size(size)


def test_even_sizes_are_looked_for_within_64_of_224():
    assert even_sizes(lambda n: Lattice.chain((1, n), [Conv(1, 1, 64)])) == (193, 257)
    assert even_sizes(lambda n: Lattice.chain((1, n), [Conv(1, 1, 64)]), around=193) == (193, 257, 129)


def test_even_sizes_of_a_vgg_are_multiples_of_32():
    assert even_sizes(vgg16, around=220, within=16) == (224,)


def test_sizes_that_do_not_fit_are_passed_over_and_none_may_be_left():
    assert even_sizes(lambda n: Lattice.chain((1, n), [Conv(1, 5, 2)]), around=4, within=3) == (5, 7)
    assert even_sizes(lambda n: Lattice.chain((1, n), [Pad((0, 1))]), around=20, within=9) == ()
    with pytest.raises(SpecificationError, match="around is 0; it is a whole number, at least 1"):
        even_sizes(mobilenet, around=0)


def test_a_sum_of_maps_may_be_symmetric_though_its_windows_are_not():
    # The converse does not hold: a stage and its mirror image side by side.
    net = Lattice.chain((1, 8), [residual([Conv(1, 3, padding=(0, 2))], [Conv(1, 3, padding=(2, 0))])])
    counts = path_counts(net)
    assert (counts == counts[::-1]).all()
    assert not any(row.even for row in evenness(net))
    assert isinstance(net.nodes[-1].op, Add)


@pytest.mark.parametrize(("n", "size"), [(5, 3), (3, 5), (8, 4), (2, 82), (4, 8), (3, 9), (7, 7)])
def test_a_nearest_resize_is_even_iff_its_table_mirrors(n, size):
    (row,) = evenness(Lattice.chain((1, n), [Upsample(size=size)]))
    cells = row.window.table(n)[0]
    assert row.even == (cells == n - 1 - cells[::-1]).all()
