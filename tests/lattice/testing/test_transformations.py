"""Flips, transpositions and compositions of lattices against numpy's, on drawn nets; the sweep that counts shares no code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice import (
    Attention,
    Blur,
    Conv,
    ConvTranspose,
    Input,
    Lattice,
    Node,
    PixelShuffle,
    Pool,
    Resample,
    SpecificationError,
    UnsupportedError,
    Upsample,
    compose,
    flip,
    path_counts,
    transpose,
)
from lattice.network.rearrange import ListedWindow
from lattice.testing.strategies import EVERY_OP, lattices

FLIPPABLE = [op for op in EVERY_OP if op is not PixelShuffle]


def counts(net):
    return path_counts(net, input_channel=0)


@given(lattices(ops=FLIPPABLE))
def test_a_flipped_net_has_the_flipped_counts_or_is_refused(net):
    try:
        mirrored = flip(net)
    except UnsupportedError:
        return
    assert (counts(mirrored) == np.flip(counts(net))).all()
    assert mirrored.shapes == net.shapes


@given(lattices(stride=1))
def test_a_net_without_strides_has_a_mirror_image_and_two_flips_are_none(net):
    assert (counts(flip(flip(net))) == counts(net)).all()


@given(lattices(axes=st.just(2), ops=[Conv, Pool, ConvTranspose, Blur]), st.integers(0, 1))
def test_one_axis_can_be_flipped_alone(net, axis):
    try:
        mirrored = flip(net, axis)
    except UnsupportedError:
        return
    assert (counts(mirrored) == np.flip(counts(net), axis)).all()


@given(lattices(ops=FLIPPABLE), st.data())
def test_a_transposed_net_has_the_transposed_counts(net, data):
    axes = data.draw(st.permutations(range(len(net.input_shape) - 1)))
    assert (counts(transpose(net, axes)) == np.transpose(counts(net), axes)).all()


@given(lattices(heads=False, depth=2, size=5), st.data())
def test_a_composition_continues_every_path(below, data):
    """The counts of the composition are those of `below` from each of its units, times those of `above` to that unit."""
    above = data.draw(lattices(depth=1, channels=1, heads=False, axes=st.just(len(below.output_shape) - 1)))
    layers = [node.op for node in above.nodes[1:]]
    try:
        above = Lattice.chain(below.output_shape, layers)
    except SpecificationError:
        return  # the layers do not fit these sizes
    both = counts(compose(below, above))
    expected = np.zeros_like(both)
    for channel in range(below.output_shape[0]):
        through = path_counts(above, input_channel=channel)
        for position in np.ndindex(*below.output_shape[1:]):
            if through[position]:
                unit = below.unit(position)._replace(channel=channel)
                expected = expected + through[position] * path_counts(below, output=unit, input_channel=0)
    assert (both == expected).all()


def test_names_that_stand_in_both_are_numbered():
    net = Lattice.chain((1, 9), [Conv(1, 3), Conv(1, 3)])
    assert compose(net, net.at_size(5)).names == ("input", "conv1", "conv2", "conv3", "conv4")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: flip(Lattice.chain((1, 4), [Conv(1, 1, 3)]).at_size(6)), "conv1.*leaves 2 of them unread.*4 cells"),
        (lambda: flip(Lattice.chain((4, 2), [PixelShuffle(2)])), "pixelshuffle1.*no mirror image"),
        (lambda: flip(Lattice.chain((1, 5), [Upsample(size=3)])), "upsample1.*5 cells.*other cells"),
        (lambda: flip(Lattice.chain((1, 5, 5), [Blur((1, 3))]), 0), "blur1.*on all or on none"),
        (lambda: flip(Lattice.chain((1, 4), [Pool("max", 3, 2, ceil=True)])), "pool1.*ceil_mode"),
        (lambda: transpose(Lattice.chain((4, 2, 2), [PixelShuffle(2)])), "pixelshuffle1.*another order"),
    ],
)
def test_what_has_no_mirror_image_is_refused_by_name(call, says):
    with pytest.raises(UnsupportedError, match=says):
        call()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: flip(Lattice.chain((1, 4), [Conv(1, 3)]), 1), r"axes is 1; the lattice has the spatial axes \(0,\)"),
        (lambda: transpose(Lattice.chain((1, 4, 4), [Conv(1, 3)]), (0, 0)), "permutation"),
        (lambda: compose(Lattice.chain((1, 4), [Conv(1, 3)]), Lattice.chain((1, 4), [Conv(1, 3)])), r"\(1, 2\) comes out"),
        (lambda: flip(None), "takes a lattice.Lattice"),
    ],
)
def test_bad_arguments_of_transformations_are_refused(call, says):
    with pytest.raises(SpecificationError, match=says):
        call()


def test_lists_of_cells_are_turned_with_their_axes():
    rows, columns = ListedWindow(((0,), (2, 2), (-1,)), ((1.0,), (0.5, 0.5), (1.0,))), ListedWindow(((3,), (1,), (0, 1)))
    net = Lattice.chain((1, 3, 4), [Resample((rows, columns)), Conv(1, 2)])
    counts = path_counts(net)
    for axes in (0, 1, (0, 1)):
        assert (path_counts(flip(net, axes)) == np.flip(counts, axes)).all()
    assert (path_counts(transpose(net)) == counts.T).all()


def test_who_reads_whom_is_transposed_with_the_positions():
    parts = [Node(name, Conv(1, 1), (0,)) for name in "qkv"]
    for read in ((((0,), (0, 1)), None), (None, ((0,), (0, 1), (2,)))):
        net = Lattice((Node("input", Input((1, 2, 3))), *parts, Node("attention", Attention(reads=read), (1, 2, 3))))
        assert (path_counts(transpose(net)) == path_counts(net).T).all()
