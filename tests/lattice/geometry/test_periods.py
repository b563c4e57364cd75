"""Fields that repeat, against the cells that windows read and unions of sets written out."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice.geometry.periods import Field, Period, everywhere, hull, interleave, read, unbounded
from lattice.network.windows.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.windows.window import TransposedWindow, Window

PIXELS = Field((Period(1, ((0, 0),)),))
CELLS = 12


def windows():
    small, pads = st.integers(1, 4), st.tuples(st.integers(0, 2), st.integers(0, 2))
    return st.one_of(
        st.builds(Window, small, small, small, pads),
        st.builds(TransposedWindow, small, small, small, pads),
        st.builds(AdaptiveWindow, st.integers(1, 15)),
        st.builds(ResizeWindow, st.integers(1, 15), st.sampled_from(["nearest", "linear"])),
    )


def cells_of(window, j):
    """The cells that unit j of the unbounded line reads."""
    advance, phases = unbounded(window, CELLS)
    turns, phase = divmod(j, len(phases))
    return {i + turns * advance for i in phases[phase]}


def ends(cells):
    return (min(cells), max(cells)) if cells else None


@given(windows())
def test_inside_a_window_reads_what_its_table_says(window):
    try:
        table = window.table(CELLS)
    except ValueError:
        return  # larger than the line
    for j in range(table.shape[1]):
        inside, unlimited = {int(i) for i in table[:, j] if i >= 0}, cells_of(window, j)
        assert {i for i in unlimited if 0 <= i < CELLS} <= inside | (
            {0, CELLS - 1} if isinstance(window, ResizeWindow) else set()
        )
        if all(0 <= i < CELLS for i in unlimited) and not isinstance(window, ResizeWindow):
            assert inside == unlimited


@given(windows(), windows(), st.integers(-5, 20))
@settings(max_examples=150)
def test_a_window_over_a_window_sees_the_union_of_what_its_units_see(lower, upper, j):
    field = read(upper, CELLS, read(lower, CELLS, PIXELS))
    seen = set().union(*(cells_of(lower, i) for i in cells_of(upper, j)))
    hulls = [ends(cells_of(lower, i)) for i in cells_of(upper, j)]
    assert field.at(j) == ends(seen) == ends({end for hull in hulls if hull for end in hull})


@given(st.lists(windows(), min_size=1, max_size=3), st.integers(-4, 12))
def test_a_hull_sees_what_any_of_its_fields_sees(below, j):
    fields = [read(window, CELLS, PIXELS) for window in below]
    seen = set().union(*(cells_of(window, j) for window in below))
    assert hull(fields).at(j) == ends(seen)
    assert len({period.stride for period in hull(fields).periods}) == len(hull(fields).periods)


@given(st.lists(windows(), min_size=2, max_size=3), st.integers(0, 4))
def test_interleaved_units_take_turns(below, i):
    strands = [read(window, CELLS, PIXELS) for window in below]
    for a, strand in enumerate(strands):
        assert interleave(strands).at(len(strands) * i + a) == strand.at(i)


@given(windows(), st.integers(1, 9))
def test_a_field_of_all_units_stands_still(window, n):
    field = everywhere(read(window, CELLS, PIXELS), n)
    assert field.at(0) == field.at(7) == ends(set().union(*(cells_of(window, j) for j in range(n))))
    assert field.stride == 0


@pytest.mark.parametrize(
    ("window", "size", "stride"),
    [
        (Window(3, 2, 2), 5, Fraction(2)),
        (TransposedWindow(4, 2), 2, Fraction(1, 2)),
        (AdaptiveWindow(5), 4, Fraction(12, 5)),
        (ResizeWindow(24), 1, Fraction(1, 2)),
        (ResizeWindow(24, "linear"), 2, Fraction(1, 2)),
    ],
)
def test_sizes_and_strides_of_single_windows(window, size, stride):
    field = read(window, CELLS, PIXELS)
    assert (field.size, field.stride) == (size, stride)
