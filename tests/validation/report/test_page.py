"""The page of `pilcro map --report`: whole, accessible, self-contained; and in a real browser, on a phone, in the dark."""

import json
import re
from contextlib import ExitStack

import numpy as np
import pytest
from torch import nn

from landscape import Landscape, advise, predict
from lattice import families
from tests import browser as real
from tests.whole import Whole
from validation import compare, measure
from validation.__main__ import main
from validation.cli.commands.networks.map import Map
from validation.report.page import render, render_advice
from validation.report.write import command_line

SHAPE = (2, 24, 20)


def model():
    body = [nn.Conv2d(2, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def results():
    land, estimate = predict(model, SHAPE), measure(model, SHAPE, draws=40)
    return land, estimate, compare(land, estimate), advise(model, SHAPE)


@pytest.fixture(scope="module")
def page(results):
    made = {"command": "pilcro map 'a model'", "pilcro": "0", "seed": "0"}
    return render(*results, title="a model at 24 × 20", made=made)


def test_the_page_is_one_whole_document_in_english_with_headings_in_order(page):
    found = Whole(page)
    assert found.find("html")[0]["lang"] == "en"
    assert found.find("meta")[0]["charset"] == "utf-8"
    assert any(attrs.get("name") == "viewport" for attrs in found.find("meta"))
    levels = [int(tag[1]) for tag, _ in found.seen if re.fullmatch(r"h[1-6]", tag)]
    assert levels == [1, *[2] * (len(levels) - 1)]
    assert len(found.ids) == len(set(found.ids))
    # every section is reached from the top, and named by its heading
    assert [attrs["href"] for attrs in found.find("a")] == [f"#{name}" for name in found.ids]
    assert [attrs["aria-labelledby"] for attrs in found.find("section")] == found.ids


def test_the_page_asks_for_nothing_and_runs_nothing(page):
    found = Whole(page)
    assert not found.find("script", "iframe", "object", "embed", "form", "base")
    assert not [attrs for _, attrs in found.seen for key in attrs if key.startswith("on")]
    for _, attrs in found.seen:
        for key in ("src", "href", "srcset", "xlink:href", "action"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in next(attrs["content"] for attrs in found.find("meta") if "http-equiv" in attrs)


def test_every_figure_says_what_it_shows(page):
    found = Whole(page)
    assert len(found.find("figcaption")) == len(found.find("figure")) > 10
    assert all(len(attrs["alt"]) > 10 for attrs in found.find("img"))
    assert all(len(attrs["aria-label"]) > 10 and attrs["role"] == "img" for attrs in found.find("svg"))
    assert all(attrs["tabindex"] == "0" for attrs in found.find("div") if attrs.get("class") == "scroll")


def test_the_page_says_what_the_results_say(page, results):
    land, estimate, agreement, advice = results
    words = re.sub(r"\s+", " ", " ".join(Whole(page).words))
    report = land.report()
    told = ["a model at 24 × 20", "approximate", f"{report.centre_bias:.2f}", f"{report.flip_asymmetry[0]:.1%}"]
    told += [*land.reasons, f"{estimate.draws} draws", f"{agreement.error:.1%}", f"{agreement.resolution:.1%}"]
    told += [f"{change.deviation:.1%} from flat" for change in (advice.before, *advice.changes[:4])]
    told += [change.text for change in advice.changes]
    told += [*land.lattice.names, "pilcro map 'a model'", "seed 0", "nothing about its accuracy"]
    assert [text for text in told if text not in words] == []


def test_predicted_and_measured_are_drawn_on_one_scale(page):
    drawn = dict(re.findall(r'<svg[^>]*aria-label="(predicted map|map measured by 40 draws)"[^>]*>(.*?)</svg>', page))
    bars = {
        label: re.findall(r'<text x="[\d.]+" y="[\d.]+" text-anchor="start">([^<]*)<', body) for label, body in drawn.items()
    }
    assert len(bars) == 2
    assert bars["predicted map"] == bars["map measured by 40 draws"] != []


def test_rows_of_small_maps_stand_above_the_bar_of_their_scale(page):
    assert page.count('<div class="tiles">') == page.count('<div class="scale"><svg') == 2


def test_the_pointer_shows_the_values_of_the_predicted_map(page, results):
    value = results[0].relative[3, 4]
    assert f"<title>row 3, column 4: {value:.3g}</title>" in page


def test_date_version_and_commit_stand_at_the_top(results):
    page = render(results[0], title="x", made={"date": "2026-01-02", "pilcro": "9.9", "commit": "abc"})
    assert '<p class="muted stamp">made on 2026-01-02, pilcro 9.9, commit abc</p>' in page.partition("<main>")[0]


def test_a_page_without_check_or_advice_has_no_such_sections(results):
    found = Whole(render(results[0], title="alone"))
    assert not {"check", "advice"} & set(found.ids)
    assert {"map", "findings", "layers", "table"} <= set(found.ids)


def test_the_page_of_advice_says_what_the_advice_says(results):
    advice = results[3]
    words = " ".join(Whole(render_advice(advice, title="advice", made={"command": "pilcro advise x"})).words)
    told = [change.text for change in advice.changes] + [*advice.before.lattice.names, "pilcro advise x"]
    assert [text for text in told if text not in words] == []


@pytest.mark.parametrize("net", [families.plain(20, depth=2, padding=1), families.plain((6, 7, 8), depth=1, padding=1)])
def test_signals_and_volumes_have_a_page_too(net):
    estimate, land = measure(net, draws=20), predict(net)
    found = Whole(render(land, estimate, compare(land, estimate), advise(net), title="net"))
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(found.words))


def test_names_and_reasons_cannot_write_into_the_page(results):
    land = results[0]
    bad = "</style><script>alert(1)</script><img src=http://x onerror=y>\"'&"
    page = render(Landscape(land.squared, land.guarantee, (bad,), land.traced), title=bad, made={"command": bad, bad: bad})
    found = Whole(page)
    assert not found.find("script")
    assert not [attrs for attrs in found.find("img") if "onerror" in attrs]
    assert bad in "".join(found.words)


def test_the_same_results_give_the_same_page(results, page):
    made = {"command": "pilcro map 'a model'", "pilcro": "0", "seed": "0"}
    assert render(*results, title="a model at 24 × 20", made=made) == page


# --- the command line -----------------------------------------------------------------------------------------------------

MODEL = """
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, stride=2))
"""


def test_the_command_writes_the_page_and_says_where(tmp_path, capsys):
    path, out = tmp_path / "my model.py", tmp_path / "out.html"
    path.write_text(MODEL)
    arguments = ["map", f"{path}:small", "--size", "12", "10", "--check", "20", "--report", str(out)]
    assert main(arguments) == 0
    assert f"report: {out}" in capsys.readouterr().out
    words = " ".join(Whole(out.read_text()).words)
    assert f"pilcro map '{path}:small' --size 12 10 --check 20 --report {out}" in words
    assert "seed 0" in words
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(out)
    assert [file.name for file in tmp_path.iterdir() if ".tmp" in file.name] == []


@pytest.mark.parametrize(
    ("place", "message"), [("nowhere/out.html", "does not exist"), (".", "is a folder; give the name of a file in it")]
)
def test_a_page_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys, place, message):
    assert main(["map", "resnet18", "--report", str(tmp_path / place)]) == 2
    assert message in capsys.readouterr().err


def test_the_command_line_is_what_one_types():
    assert command_line("map", Map("resnet18")) == "pilcro map resnet18"
    assert command_line("map", Map("a b", size=(9, 8), json=True)) == "pilcro map 'a b' --size 9 8 --json"


# --- a real browser -------------------------------------------------------------------------------------------------------

LOADED = """Promise.all([
    ...[...document.images].map(image => image.decode().then(() => [image.naturalWidth, image.getBoundingClientRect().width])),
    ...[...document.querySelectorAll('svg image')].map(image => {
        const copy = new Image(); copy.src = image.getAttribute('href');
        return copy.decode().then(() => [copy.naturalWidth, image.getBoundingClientRect().width]);
    })])"""
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, document.body.scrollWidth]"
# the smallest text of a drawing, in pixels on the screen
SMALLEST = """Math.min(...[...document.querySelectorAll('figure svg')].map(drawing =>
    12 * drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width))"""
CONTRAST = """(() => {
    const light = colour => { const [r, g, b] = colour.match(/[0-9.]+/g).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = node => { for (; node; node = node.parentElement) { const colour = getComputedStyle(node).backgroundColor;
        if (colour !== 'rgba(0, 0, 0, 0)') return colour; } };
    const worst = [...document.querySelectorAll('h1,h2,p,li,dt,dd,td,th,figcaption,b,a,code,svg text,footer')].map(node => {
        const style = getComputedStyle(node), ink = node.matches('svg text') ? style.fill : style.color;
        const [a, b] = [light(ink), light(ground(node))].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); });
    return Math.min(...worst); })()"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if real.found() is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with ExitStack() as stack:
        try:
            started = stack.enter_context(real.browser(tmp_path_factory.mktemp("profile")))
        except (AssertionError, OSError) as reason:
            pytest.skip(f"chromium is here and does not start: {reason}")
        yield started


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 780), (1280, 900)])
def test_in_a_browser_the_page_is_complete_fits_and_can_be_read(page, chromium, tmp_path, width, height, scheme):
    path = tmp_path / "out.html"
    path.write_text(page)
    chromium.show(path.as_uri(), width, height, scheme)
    figures = chromium.evaluate(LOADED)
    assert len(figures) == len(Whole(page).find("img", "image"))
    assert all(natural > 0 and shown > 0 for natural, shown in figures)
    page_width, window, body = chromium.evaluate(WIDTHS)
    assert window == width
    assert max(page_width, body) <= window
    assert chromium.evaluate(SMALLEST) >= 9
    assert chromium.evaluate(CONTRAST) >= 4.5
    assert chromium.complaints() == []
    assert [url[:60] for url in chromium.requests() if not url.startswith("data:")] == [path.as_uri()[:60]]


def test_light_is_light_and_dark_is_dark(page, chromium, tmp_path):
    path = tmp_path / "out.html"
    path.write_text(page)
    shades = {}
    for scheme in ("light", "dark"):
        chromium.show(path.as_uri(), 360, 780, scheme)
        colour = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = np.mean([int(number) for number in re.findall(r"\d+", colour)])
    assert shades["dark"] < 60 < 200 < shades["light"]


def test_a_long_table_scrolls_in_a_frame_that_shows_it(chromium, tmp_path):
    path = tmp_path / "out.html"
    net = families.plain(81, depth=40)
    path.write_text(render(predict(net), title="deep"))
    chromium.show(path.as_uri(), 900, 700, "light")
    frame = "document.querySelector('#table').parentElement.querySelector('.scroll')"
    assert chromium.evaluate(f"{frame}.scrollHeight > {frame}.clientHeight + 100")
    assert chromium.evaluate(f"{frame}.clientHeight") < 700
    assert "gradient" in chromium.evaluate(f"getComputedStyle({frame}).backgroundImage")
    top = f"{frame}.querySelector('th').getBoundingClientRect().top - {frame}.getBoundingClientRect().top"
    chromium.evaluate(f"{frame}.scrollTo(0, 300)")
    assert abs(chromium.evaluate(top)) < 2  # the head stays


def test_on_paper_nothing_is_cut_off(page, chromium, tmp_path):
    path = tmp_path / "out.html"
    path.write_text(page)
    chromium.show(path.as_uri(), 700, 900, "light", media="print")
    cut = "[...document.querySelectorAll('.scroll, .scroll div')].filter(d => d.scrollHeight > d.clientHeight + 1).length"
    assert chromium.evaluate(cut) == 0
    assert chromium.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_the_browsers_own_checks_can_fail(page, chromium, tmp_path):
    path = tmp_path / "broken.html"
    bad = '<script>x()</script><p style="width:900px;color:#eee">wide</p><img src="data:image/png;base64,AAAA" alt="a"></main>'
    path.write_text(page.replace("</main>", bad))
    chromium.show(path.as_uri(), 360, 780, "light")
    page_width, window, _ = chromium.evaluate(WIDTHS)
    assert page_width > window
    assert chromium.evaluate(CONTRAST) < 4.5
    assert chromium.complaints()
    with pytest.raises(AssertionError):
        chromium.evaluate(LOADED)
