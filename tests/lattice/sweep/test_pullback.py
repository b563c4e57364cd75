"""The reverse sweep is the transpose of reading, in every number type, for batches and for channels written out."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lattice import AdaptiveWindow, ResizeWindow, SpecificationError, TransposedWindow, Window, families, pull_back
from lattice.network.axis import overlaid
from lattice.network.window import PADDING_MODES
from lattice.sweep.pullback import node_cotangents
from lattice.testing.strategies import lattices, windows


@st.composite
def axis_maps(draw):
    """An axis map of any kind, and the number of cells that it reads."""
    n = draw(st.integers(1, 9))
    kernel, stride, dilation, padding, mode = windows(draw, n, PADDING_MODES)
    few = st.integers(1, 4)
    return n, draw(
        st.sampled_from(
            [
                Window(kernel, stride, dilation, padding, mode),
                Window(n, n),
                TransposedWindow(draw(few), draw(few), draw(st.integers(1, 2)), (0, 0), draw(st.integers(0, 1))),
                AdaptiveWindow(draw(st.integers(1, n))),
                ResizeWindow(n * draw(few), draw(st.sampled_from(("nearest", "linear")))),
            ]
        )
    )


def collected_cell_by_cell(window, cotangent, n):
    """The transpose of the table, one (tap, output) pair at a time, along the last axis."""
    result = np.zeros((*cotangent.shape[:-1], n), cotangent.dtype)
    for cells in window.table(n):
        for j, i in enumerate(cells):
            if i >= 0:
                result[..., i] += cotangent[..., j]
    return result


@settings(max_examples=500)
@given(axis_maps(), st.sampled_from((object, np.float64, np.uint64, bool)), st.integers(1, 3), st.integers(0, 2**32))
def test_pulling_is_the_transpose_of_reading(drawn, dtype, axis, seed):
    n, window = drawn
    shape = [2, 3]
    shape.insert(3 - axis, window.outputs(n))
    cotangent = np.random.default_rng(seed).integers(0, 5, shape).astype(dtype)
    before = cotangent.copy()
    pulled = window.pull(cotangent, n, -axis)
    literal = collected_cell_by_cell(window, np.moveaxis(cotangent, -axis, -1), n)
    assert pulled.dtype == dtype
    assert (pulled == np.moveaxis(literal, -1, -axis)).all()
    assert (cotangent == before).all()


def test_a_window_moves_by_one_cell_and_reads_no_padding_by_default():
    assert (Window(3).outputs(7), TransposedWindow(3).outputs(7)) == (5, 9)
    for kind in (Window, TransposedWindow):
        for padding in ((0, -1), (-1, 0), (0, 0.5), (True, 0)):
            with pytest.raises(SpecificationError, match=f"{kind.__name__}: padding is"):
                kind(3, padding=padding)


@given(st.integers(1, 6), st.integers(0, 8), st.integers(1, 6), st.integers(1, 3))
def test_one_array_laid_over_another(longer, shift, shorter, axis):
    rng = np.random.default_rng(0)
    shape = [2, 3]
    first, second = (rng.integers(1, 9, (*shape[: 3 - axis], n, *shape[3 - axis :])) for n in (longer, shorter))
    end = max(longer, shift + shorter)
    widths = [[(0, 0)] * 3 for _ in range(2)]
    widths[0][-axis], widths[1][-axis] = (0, end - longer), (shift, end - shift - shorter)
    assert (overlaid(first, second, shift, -axis) == np.pad(first, widths[0]) + np.pad(second, widths[1])).all()


@given(axis_maps())
@example((2, Window(kernel=1, stride=3, padding=(2, 0), mode="circular")))
def test_only_a_map_that_reads_each_cell_in_its_place_does_not_move(drawn):
    n, window = drawn
    reading = [cells for cells in window.table(n).tolist() if max(cells) >= 0]
    assert window.is_identity(n) != (reading != [list(range(n))])


def cotangents(net, seed, *batch):
    """Small whole numbers over the output units of a lattice, channels written out."""
    return np.random.default_rng(seed).integers(0, 3, (*batch, *net.output_shape))


def gain(node):
    """A weight that tells nodes apart, exact in every number type."""
    return 1 + len(node.name) % 3


@given(lattices(), st.integers(0, 2**32))
def test_all_number_types_agree(net, seed):
    cotangent = cotangents(net, seed)
    exact = pull_back(net, gain, cotangent.astype(object))
    assert (pull_back(net, gain, cotangent.astype(float)) == exact.astype(float)).all()
    assert (pull_back(net, gain, cotangent.astype(np.int64)) == exact).all()
    assert (pull_back(net, lambda node: True, cotangent > 0) == (exact > 0)).all()
    halves = pull_back(net, lambda node: Fraction(gain(node), 2), cotangent.astype(object))
    assert (halves == pull_back(net, lambda node: gain(node) / 2, cotangent.astype(float))).all()


@given(lattices(), st.integers(0, 2**32))
def test_leading_axes_are_a_batch(net, seed):
    batch = cotangents(net, seed, 2, 3)
    together = pull_back(net, gain, batch)
    for index in np.ndindex(2, 3):
        assert (together[index] == pull_back(net, gain, batch[index])).all()


@given(lattices())
def test_one_channel_stands_for_channels_that_are_alike(net):
    alike = pull_back(net, gain, np.ones((1, *net.output_shape[1:]), dtype=np.int64))
    written_out = pull_back(net, gain, np.ones(net.output_shape, dtype=np.int64))
    assert (alike == written_out).all()


@given(lattices(), st.integers(0, 2**32))
def test_a_weight_may_differ_between_units(net, seed):
    draws = np.random.default_rng(seed)
    weights = {
        name: draws.integers(0, 3, (shape[0] if draws.integers(2) else 1, *shape[1:]))
        for name, shape in zip(net.names, net.shapes, strict=True)
    }
    cotangent = cotangents(net, seed)
    exact = pull_back(net, lambda node: weights[node.name].astype(object), cotangent.astype(object))
    assert (pull_back(net, lambda node: weights[node.name], cotangent) == exact).all()


@given(lattices())
def test_every_node_is_visited_once_from_the_output_down(net):
    visited = [(node, here.shape) for node, here in node_cotangents(net, gain, np.ones(net.output_shape))]
    assert [node for node, _ in visited] == list(reversed(net.nodes))
    for (_, shape), full in zip(visited, reversed(net.shapes), strict=True):
        assert shape in (full, (1, *full[1:]))


@given(lattices())
def test_a_sweep_does_not_write_into_what_it_has_yielded(net):
    kept = [(here, here.copy()) for _, here in node_cotangents(net, gain, np.ones(net.output_shape))]
    assert all((here == then).all() for here, then in kept)


@pytest.mark.parametrize("shape", [(2, 4), (1, 5), (4,), ()])
def test_a_cotangent_of_another_shape_is_refused(shape):
    net = families.plain(4, depth=1, padding=1)
    with pytest.raises(SpecificationError, match="does not fit the output"):
        pull_back(net, lambda node: 1, np.ones(shape))
