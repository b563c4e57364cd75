"""Even windows make flip-symmetric maps, and the sizes that have them are those of symmetric counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice import (
    AdaptivePool,
    Add,
    Conv,
    ConvTranspose,
    Lattice,
    Pad,
    PixelShuffle,
    Pool,
    SpecificationError,
    Upsample,
    families,
    path_counts,
    residual,
)
from lattice.geometry.evenness import even_sizes, evenness, lean
from lattice.network.windows.resizing import AdaptiveWindow
from lattice.network.windows.window import PADDING_MODES, TransposedWindow, Window
from lattice.testing.strategies import EVERY_OP, lattices
from tests.lattice.geometry.networks import mobilenet, vgg16


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
