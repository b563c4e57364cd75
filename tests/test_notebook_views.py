"""What a notebook shows: every result has a view that is whole HTML, legible on light and on dark, and fetches nothing."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from landscape import advise, predict, trace
from landscape.display.svg import Line, flat_view, lines_svg, map_svg
from landscape.maps.findings import findings
from landscape.maps.measures import report
from lattice import Conv, Dense, Flatten, Lattice, PilcroError, families
from tests.whole import Whole
from validation import compare, empirical_landscape, measure


def model():
    return nn.Sequential(nn.Conv2d(2, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 36, 3))


@pytest.fixture(scope="module")
def results():
    shape = (2, 12, 12)
    land, estimate = predict(model, shape), measure(model, shape, draws=30)
    line = families.plain(20, depth=2, padding=1)
    cube = Lattice.chain((1, 6, 7, 8), [Conv(2, 3, padding=1), Flatten(), Dense(2)])
    images = torch.randn(12, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    return {
        "Landscape": land,
        "Landscape of one axis": predict(line),
        "Landscape of three axes": predict(cube),
        "Report": land.report(),
        "Trace": trace(model, shape, inputs="noise"),
        "Advice": advise(model, shape),
        "Estimate": estimate,
        "Estimate of one axis": measure(line, draws=30),
        "Estimate of three axes": measure(cube, draws=30),
        "Agreement": compare(land, estimate),
        "Agreement of one axis": compare(predict(line), measure(line, draws=30)),
        "EmpiricalLandscape": empirical_landscape(model(), [images], generator=torch.Generator().manual_seed(0)),
    }


NAMES = """Landscape|Landscape of one axis|Landscape of three axes|Report|Trace|Advice|Estimate|Estimate of one axis|
Estimate of three axes|Agreement|Agreement of one axis|EmpiricalLandscape""".replace("\n", "").split("|")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("Report", "Trace")])
def test_at_a_prompt_a_result_is_its_summary_and_no_dump_of_arrays(results, name):
    assert repr(results[name]) == str(results[name])
    assert len(repr(results[name]).splitlines()) < 20


@pytest.mark.parametrize("name", NAMES)
def test_a_view_is_whole_fetches_nothing_and_takes_the_notebooks_colours(results, name):
    view = results[name]._repr_html_()
    page = Whole(view)
    for attrs in page.find("img", "image", "a", "script", "link"):
        assert (attrs.get("src") or attrs.get("href")).startswith("data:image/png;base64,")
    for attrs in page.find("img"):
        assert attrs["alt"]
    for attrs in page.find("svg"):
        assert attrs["aria-label"]
    assert not page.find("script")
    # no colour of text or background that only one of light and dark can show
    assert not re.search(
        r"(?<!-)\bcolor:\s*(?!inherit)|background:\s*(?!none)|(?:fill|stroke)=\"(?:black|white|#000|#fff)", view
    )
    words = " ".join(page.words)
    assert not re.search(r"\bnan\b|\binf\b|None", words)


def test_a_landscape_shows_its_warrant_and_its_numbers(results):
    words = " ".join(Whole(results["Landscape"]._repr_html_()).words)
    assert "Approximate" in words
    assert all(reason in words for reason in results["Landscape"].reasons)
    assert f"{results['Landscape'].report().centre_bias:.2f}" in words


def test_a_trace_shows_what_its_norms_and_gates_let_through(results):
    view = results["Trace"]._repr_html_()
    assert all(f">{title}<" in view for title in ("V[w]", "lets through"))
    assert f"{next(iter(results['Trace'].variances.values())):.3g}" in view


def test_names_are_escaped():
    net = families.plain(5, depth=2)
    nodes = [type(node)(node.name.replace("conv1", "<b>&"), node.op, node.inputs) for node in net.nodes]
    view = predict(Lattice(tuple(nodes)), initialisation=1.0).traced._repr_html_()
    assert "<b><b>&" not in view
    assert "&lt;b&gt;&amp;" in view


def test_a_caught_error_shows_its_lines_broken_and_escaped():
    view = PilcroError("one < two\n  layer & more")._repr_html_()
    assert "one &lt; two\n  layer &amp; more" in view
    assert "white-space:pre-wrap" in view
    assert "".join(Whole(view).words) == "PilcroError: one < two\n  layer & more"


# --- the drawings, against numbers that they were made of -----------------------------------------------------------------


def pixels(address):
    import io
    from base64 import b64decode

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(b64decode(address.partition(",")[2]))).convert("RGB")).astype(int)


def test_a_map_has_a_pixel_a_position_in_the_colours_of_its_bar():
    values = np.arange(12.0).reshape(3, 4)
    image, bar = (pixels(attrs["href"]) for attrs in Whole(map_svg(values, "x")).find("image"))
    assert image.shape == (3, 4, 3)
    # the bar runs from the most at the top to zero at the bottom
    assert (image[2, 3] == bar[0, 0]).all()
    assert (image[0, 0] == bar[-1, 0]).all()
    assert np.abs(image[1, 2] - bar[round((1 - values[1, 2] / 11) * 255), 0]).max() <= 2


def test_a_line_rises_where_its_values_do_and_ends_at_its_scale():
    (line,) = Whole(lines_svg([Line(np.array([0.0, 1.0, 2.0]))], "x", least=0, most=2)).find("polyline")
    x, y = np.array([point.split(",") for point in line["points"].split()], dtype=float).T
    assert (np.diff(x) > 0).all()
    assert y[1] == pytest.approx((y[0] + y[2]) / 2)
    assert y[0] > y[2]


def test_three_axes_show_their_middle_slice():
    values = np.arange(24.0).reshape(2, 3, 4)
    assert (flat_view(values) == values[1]).all()


@pytest.mark.parametrize(
    ("values", "name", "level"),
    [
        (np.ones((16, 16)), "centre bias", "none"),
        (np.ones((16, 16)), "asymmetry of left and right", "none"),
        (np.tile([1.0, 1.6], (16, 8)), "gridding", "strong"),
        (np.pad(np.ones((8, 8)), 4), "blind spots", "strong"),
        (np.pad(np.ones((8, 8)), 4), "centre bias", "strong"),
        (np.tile(np.linspace(1, 1.1, 16), (16, 1)), "asymmetry of left and right", "slight"),
        (np.tile(np.linspace(1, 1.1, 16), (16, 1)), "asymmetry of top and bottom", "none"),
    ],
)
def test_a_finding_says_how_much_it_is(values, name, level):
    found = {finding.name: finding for finding in findings(report(values, (2,)))}
    assert found[name].level == level
