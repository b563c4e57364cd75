"""What is committed below docs/figures is what the commands make."""

import importlib
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from experiments import figures, thumbnails
from experiments.pictures import DRAWN_BY, code_of, save, with_a_palette

CHEAP = ("paths", "limits")
NEAR = 1.0  # mean difference of two pictures, of 255: letters drawn by another release of a font's library


def distance(one, other):
    """The mean difference of two pictures over pixels and colours, of 255; infinite where their sizes differ."""
    first, second = (np.asarray(Image.open(picture).convert("RGB")).astype(int) for picture in (one, other))
    return float(np.abs(first - second).mean()) if first.shape == second.shape else float("inf")


def redrawn(name, folder):
    save(figures.FIGURES[name][0](), folder / name)
    return distance(folder / f"{name}.png", figures.FOLDER / f"{name}.png")


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_committed_figure_was_drawn_by_this_code(name):
    text = Image.open(figures.FOLDER / f"{name}.png").text[DRAWN_BY]
    assert text == figures.drawn_by(name), f"run python -m experiments.figures {name}"


@pytest.mark.parametrize("name", CHEAP)
def test_a_cheap_figure_drawn_again_is_the_committed_one(name, tmp_path):
    assert redrawn(name, tmp_path) < NEAR, f"run python -m experiments.figures {name}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in figures.FIGURES if name not in CHEAP])
def test_a_figure_drawn_again_is_the_committed_one(name, tmp_path):
    assert redrawn(name, tmp_path) < NEAR, f"run python -m experiments.figures {name}"


@pytest.mark.slow
@pytest.mark.parametrize("name", thumbnails.FAMILIES)
def test_a_thumbnail_drawn_again_is_the_committed_one(name):
    assert distance(BytesIO(thumbnails.thumbnail(name)), thumbnails.FOLDER / f"{name}.png") < NEAR


def test_every_committed_figure_has_a_command():
    laptops = {path.stem for path in figures.FOLDER.glob("laptop-*.png")}  # of `make laptop`
    assert {path.stem for path in figures.FOLDER.glob("*.png")} - laptops == set(figures.FIGURES)
    assert {path.stem for path in thumbnails.FOLDER.glob("*.png")} == set(thumbnails.FAMILIES)


# --- that these tests can fail --------------------------------------------------------------------------------------------


def picture(tmp_path, name, slope):
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([0, slope], linewidth=4)
    save(figure, tmp_path / name)
    return tmp_path / f"{name}.png"


def test_another_line_is_seen(tmp_path):
    one, other, same = (picture(tmp_path, name, slope) for name, slope in (("a", 1), ("b", -1), ("c", 1)))
    assert distance(one, same) == 0
    assert distance(one, other) > NEAR


def test_code_that_draws_otherwise_has_another_digest(tmp_path, monkeypatch):
    texts = {
        "plain": "def drawn():\n    return 1\n",
        "worded": 'def drawn():\n    """One."""\n    return 1  # a remark\n',
        "changed": "def drawn():\n    return 2\n",
    }
    monkeypatch.syspath_prepend(tmp_path)
    digests = {}
    for name, text in texts.items():
        (tmp_path / f"{name}_figure.py").write_text(text)
        digests[name] = code_of(importlib.import_module(f"{name}_figure").drawn)
    assert digests["plain"] == digests["worded"] != digests["changed"]


def test_the_palette_keeps_every_colour_near_its_own(tmp_path):
    figure = Figure(figsize=(4, 3))
    ax = figure.subplots()
    figure.colorbar(ax.imshow(np.random.default_rng(0).random((40, 40)), cmap="cividis"))
    figure.colorbar(ax.imshow(np.random.default_rng(1).normal(size=(40, 40)), cmap="PuOr"))
    plain = BytesIO()
    figure.savefig(plain, format="png")
    small = np.asarray(Image.open(BytesIO(with_a_palette(plain.getvalue()))).convert("RGB")).astype(int)
    assert np.abs(small - np.asarray(Image.open(plain).convert("RGB"))).max() <= 12
