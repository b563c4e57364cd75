"""Drawings show the numbers of the lattice, draw one line per command, and leave matplotlib as they found it."""

import subprocess
import sys
from fractions import Fraction

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch

from lattice import (
    SKIP,
    Activation,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Pool,
    ResourceError,
    SpecificationError,
    Upsample,
    families,
    path_counts,
    plot_counts,
    residual,
)
from lattice.drawing.draw import draw_lattice, draw_pascal
from lattice.drawing.graph import count_edges
from lattice.drawing.marks import FAINT, TAPS
from lattice.network.ops import PixelShuffle
from lattice.testing.strategies import EVERY_OP, lattices


@pytest.fixture(autouse=True)
def _settings_untouched():
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def written(axes, kind="count"):
    return [text.get_text() for text in axes.texts if text.get_gid() == kind]


def lines(axes):
    """The edges: straight ones, and curved ones."""
    straight = [line for line in axes.lines if len(line.get_xdata()) == 2]
    return straight + [patch for patch in axes.patches if isinstance(patch, PathPatch)]


def test_figure_1a_the_output_tensor_reaches_central_units_more_often():
    axes = draw_lattice(families.plain(7, depth=2))
    assert written(axes) == ["1", "3", "6", "7", "6", "3", "1"]
    assert len(lines(axes)) == 8 * 3
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"tap 0", "tap 1", "tap 2"}


def test_figure_1b_a_route_and_its_command_vector():
    axes = draw_lattice(families.plain(9, depth=4), output=(0,), commands=[2, 0, 1, 2], counts="all")
    assert written(axes, "command") == ["2", "1", "0", "2"], "from the top down: the last command is obeyed first"
    rows = [1, 1, 1, 1, 1, 2, 3, 2, 1, 1, 3, 6, 7, 6, 3, 1, 1, 4, 10, 16, 19, 16, 10, 4, 1]
    assert sorted(map(int, written(axes))) == sorted(rows)


def test_a_skip_is_one_more_edge_of_its_row():
    net = Lattice.chain((1, 5), [residual([Activation("relu"), Conv(1, 3, padding=1)])])
    axes = draw_lattice(net, output=(2,), commands=[SKIP])
    assert written(axes) == ["0", "1", "2", "1", "0"]
    assert written(axes, "command") == ["SKIP"]
    assert len(lines(axes)) == 13 + 5 + 1, "taps that exist, skips, and the route"


def test_a_branch_that_only_gates_stays_beside_the_one_that_convolves():
    net = Lattice.chain((1, 5), [residual([Conv(1, 3, padding=1)], [Activation("relu")])])
    assert len(lines(draw_lattice(net))) == 13 + 5


def test_units_that_no_path_crosses_are_faint():
    axes = draw_lattice(families.plain(7, depth=1), output=(0,))
    colors = [line.get_color() for line in lines(axes)]
    assert colors.count(FAINT) == 3 * 4
    assert written(axes) == ["1", "1", "1", "0", "0", "0", "0"]


@pytest.mark.parametrize(
    "layers",
    [
        [Conv(1, 3, 2), Conv(1, 3, 2)],
        [Conv(1, 3, padding=1, dilation=2, mode="circular"), Pool("avg", 2)],
        [residual([Conv(4, 3, 2, padding=1), Conv(4, 3, padding=1)], [Conv(4, 1, 2)]), GlobalPool(), Flatten(), Dense(3)],
        [Upsample(2), Conv(1, 3)],
        [residual([], [])],
    ],
    ids=["strides", "circular", "projection", "upsampling", "h + h"],
)
def test_every_command_is_one_line(layers):
    net = Lattice.chain((1, 9), layers)
    axes = draw_lattice(net)
    counts = path_counts(net, channels=False)
    assert written(axes) == [str(p) for p in counts]
    assert lines(axes)


@settings(max_examples=25)
@given(lattices(axes=st.just(1), ops=[op for op in EVERY_OP if op is not PixelShuffle]))
def test_any_one_axis_lattice_can_be_drawn(net):
    axes = draw_lattice(net, labels=False)
    assert written(axes) == [str(p) for p in path_counts(net, channels=False)]
    assert len(lines(axes)) <= count_edges(net)
    plt.close(axes.figure)


def test_drawings_go_where_they_are_told():
    _, (left, right) = plt.subplots(1, 2)
    assert draw_lattice(families.plain(5, 1), ax=left) is left
    assert draw_pascal(2, 3, ax=right) is right


def test_taps_differ_in_line_style_and_are_dark_enough_to_see():
    assert len({str(style) for _, style in TAPS}) == len(TAPS)
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in (to_rgb(color) for color, _ in TAPS)]
    assert max(grey) < 0.7, "every tap can be seen on white paper"


@pytest.mark.parametrize(
    ("kernel", "rows"), [(2, ["1", "1", "1", "1", "2", "1"]), (3, ["1", "1", "1", "1", "1", "2", "3", "2", "1"])]
)
def test_the_generalised_pascal_triangle(kernel, rows):
    axes = draw_pascal(kernel, 2)
    assert written(axes) == rows
    assert f"${kernel}^{{2}} = {kernel**2}$" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: draw_lattice(families.plain((5, 5), 1)), SpecificationError, "2 spatial axes; a lattice is drawn on one"),
        (lambda: draw_lattice(families.plain(5, 1), commands=[1]), SpecificationError, "give output=... with commands="),
        (lambda: draw_lattice(families.plain(5, 1), counts="some"), SpecificationError, "'input', 'all' or None"),
        (lambda: draw_lattice(families.plain(5, 1), (0,), commands=[3]), SpecificationError, "there is no command"),
        (lambda: draw_lattice(families.plain(2000, 1)), ResourceError, "5,994 edges cannot be read.*path_counts"),
        (lambda: draw_pascal(3, 30), ResourceError, r"61 entries.*pascal_row\(3, 30\)"),
        (lambda: draw_pascal(0, 3), SpecificationError, "kernel is 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, message):
    plt.close("all")
    with pytest.raises(error, match=message):
        call()
    assert not plt.get_fignums(), "a refusal leaves no empty figure behind"


def test_counts_become_a_curve_or_an_image_of_themselves():
    net = families.plain(9, depth=2, padding=1)
    curve = plot_counts(path_counts(net), label="all outputs", color="red")
    assert curve.lines[0].get_ydata().tolist() == path_counts(net).tolist()
    assert (curve.lines[0].get_label(), curve.lines[0].get_color(), curve.get_ylim()[0]) == ("all outputs", "red", 0)
    plot_counts(10 * path_counts(net), curve)
    assert curve.get_ylim()[0] == 0, "still from zero"
    assert curve.get_ylim()[1] > 10 * max(path_counts(net)), "and the higher curve is not cut"
    image = plot_counts(path_counts(families.plain((5, 7), depth=1)), plt.figure().subplots())
    assert image.images[0].get_array().shape == (5, 7)
    assert {axes.get_ylabel() for axes in image.figure.axes} == {"row (pixels)", "paths"}


def test_counts_beyond_float64_are_drawn_relative_to_their_mean():
    counts = path_counts(families.plain(9, depth=2000, padding=1))
    with pytest.raises(SpecificationError, match="relative=True"):
        plot_counts(counts)
    drawn = plot_counts(counts, relative=True).lines[-1].get_ydata()
    assert drawn.mean() == pytest.approx(1)
    assert drawn[4] / drawn[0] == pytest.approx(float(Fraction(counts[4], counts[0])))
    with pytest.raises(SpecificationError, match="no mean"):
        plot_counts([0, 0], relative=True)
    with pytest.raises(SpecificationError, match="3 axes"):
        plot_counts(path_counts(families.plain((3, 3, 3), depth=1)))


def test_importing_lattice_does_not_import_matplotlib():
    code = "import sys, lattice, lattice.drawing.draw; assert 'matplotlib' not in sys.modules, 'matplotlib was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
