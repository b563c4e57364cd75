"""Drawings of maps and lines, read back: what stands where, on which scale, and what the pointer shows."""

import re

import numpy as np
import pytest

from landscape.display.svg import Line, lines_svg, map_image, map_svg, scale_svg, shared_top
from tests.whole import Whole


def told(drawing):
    return re.findall(r"<title>(.*?)</title>", drawing)


def test_the_names_of_lines_stand_above_every_line():
    lines = [Line(np.array([3.0, 3.0, 3.0]), "high"), Line(np.array([0.0, 1.0, 2.0]), "low", "#d55e00", band=np.ones(3))]
    drawing = lines_svg(lines, "x", most=3.0)
    drawn = [p for attrs in Whole(drawing).find("polyline", "polygon") for p in attrs["points"].split()]
    top = min(float(point.split(",")[1]) for point in drawn)
    names = [float(y) for y in re.findall(r'<text x="80.0" y="([\d.]+)" text-anchor="start">(?:high|low)', drawing)]
    assert len(names) == 2
    assert max(names) < top


def test_the_pointer_finds_the_value_of_every_cell():
    values = np.arange(6.0).reshape(2, 3)
    drawing = map_svg(values, "x", hover=True)
    assert told(drawing) == [f"row {r}, column {c}: {values[r, c]:g}" for r in range(2) for c in range(3)]
    assert told(map_svg(values, "x")) == []


def test_of_a_large_map_the_pointer_finds_blocks():
    values = np.random.default_rng(0).random((100, 30))
    shown = told(map_svg(values, "x", hover=True))
    assert len(shown) == 20 * 15  # blocks of 5 rows and 2 columns
    block = values[:5, :2]
    assert shown[0] == f"rows 0 to 4, columns 0 to 1: {block.mean():.3g} ({block.min():.3g} to {block.max():.3g})"


def test_the_pointer_finds_all_lines_and_their_bands():
    lines = [Line(np.array([1.0, 2.0]), "a"), Line(np.array([3.0, 4.0]), "b & c", band=np.array([0.5, 0.25]))]
    assert told(lines_svg(lines, "x", start=1, hover=True)) == [
        "position 1: a 1; b &amp; c 3 ± 0.5",
        "position 2: a 2; b &amp; c 4 ± 0.25",
    ]


def test_maps_that_share_a_scale_end_at_the_largest_value_of_all():
    assert shared_top([np.full((4, 4), 1.0), np.full((2, 2), 2.5)]) == 2.5


def test_few_cells_of_many_times_the_mean_do_not_darken_the_rest():
    spiked = np.ones((40, 40))
    spiked[:2, :8] = 100.0  # one cell in a hundred
    assert shared_top([spiked, np.full((4, 4), 1.5)]) == 1.5
    bar = scale_svg([spiked], 1.5)
    assert "up to 100" in "".join(Whole(bar).words)
    assert Whole(scale_svg([np.ones((2, 2))], 1.0)).find("path") == []


def test_a_bar_has_a_tip_where_values_are_cut_off():
    values = np.array([[-3.0, 0.0, 3.0]])
    assert len(Whole(map_svg(values, "x", least=-1, most=1)).find("path")) == 2
    assert Whole(map_svg(values, "x", least=-3, most=3)).find("path") == []


def pixels(drawing):
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    (address,) = re.findall(r'src="data:image/png;base64,([^"]+)"', drawing)
    return np.asarray(Image.open(BytesIO(b64decode(address))).convert("RGB"))


def test_a_nearly_flat_map_has_one_colour_whatever_its_scale():
    flat = 1 + 1e-4 * np.random.default_rng(0).normal(size=(9, 9))
    for most in (None, 3.0):
        assert np.ptp(pixels(map_image(flat, "x", most=most)).astype(int), axis=(0, 1)).max() <= 2


@pytest.mark.parametrize("values", [np.array([[0.25, 1.5]]), np.array([0.25, 1.5])])
def test_a_small_map_says_its_extent_under_the_pointer(values):
    (attrs,) = Whole(map_image(values, "x")).find("img")
    assert attrs["title"] == "from 0.25 to 1.5"
