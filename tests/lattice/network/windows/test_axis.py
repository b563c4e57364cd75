"""One axis: pulling is the transpose of reading, for windows of every kind."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lattice import SpecificationError, Window
from lattice.network.windows.axis import overlaid
from lattice.network.windows.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.windows.window import PADDING_MODES, TransposedWindow
from lattice.testing.strategies import windows


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
