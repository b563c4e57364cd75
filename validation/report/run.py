"""The page about a trained network: its scores before and after, its landscapes, its epochs, its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.display.html import table
from landscape.display.svg import Line, lines_svg
from validation.report.html import ORANGE
from validation.report.parts import Tile, figure, lead, made_section, pair, scrolled, stamp, tiles
from validation.report.style import document

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

__all__ = ["render_run"]

SCORES = {"top1": "Top-1", "top5": "Top-5", "loss": "loss", "tv": "total variation", "asymmetry": "flip asymmetry"}
EPOCH = {"train_loss": "loss in training", "train_accuracy": "accuracy in training", "penalty": "penalty"}
UNIT = "I' (root mean square one)"


def render_run(
    result: Mapping[str, Any],
    landscapes: Mapping[str, Array],
    *,
    title: str,
    made: Mapping[str, str] | None = None,
) -> str:
    """One HTML document about a run: `result` is what result.json holds, `landscapes` its maps "before" and "after".

    >>> row = {"top1": 0.5, "top5": 1.0, "loss": 1.0, "tv": 0.5, "tv_error": 0.1}
    >>> result = {
    ...     "recipe": {"data": "digits"},
    ...     "rows": [],
    ...     "before": row,
    ...     "scores": row,
    ...     "test_images": 9,
    ... }
    >>> maps = {"before": np.ones((3, 3)), "after": np.ones((3, 3))}
    >>> "Top-1 0.500" in render_run(result, maps, title="a run")
    True
    """
    before, after = result["before"], result["scores"]
    subtitle = f"A trained network, scored on {result['test_images']} test images before its first step and after its last"
    told = f"Total variation of its landscape {_with_error(after)}, before training {_with_error(before)}."
    sections = [
        ("landscape", "Where it looks", _landscapes(landscapes, result)),
        ("scores", "Its scores", scrolled(_scores(before, after))),
        ("recipe", "Its recipe", scrolled(table(_flat(result["recipe"])))),
        ("made", "How this page was made", made_section(made or {})),
    ]
    if result["rows"]:
        sections.insert(2, ("epochs", "Epoch by epoch", _epochs(result["rows"])))
    words = lead(f"Top-1 {after['top1']:.3f} (before training {before['top1']:.3f}).", told)
    footer = "Made by pilcro. This page loads nothing and runs nothing."
    return document(title, subtitle, words, sections, footer, stamp=stamp(made or {}))


def _landscapes(landscapes: Mapping[str, Array], result: Mapping[str, Any]) -> str:
    """Both maps on one scale, each over its root mean square."""
    shown = []
    for when, scores, words in (("before", "before", "before training"), ("after", "scores", "after training")):
        values = landscapes[when]
        size = float(np.sqrt(np.mean(np.square(values))))
        told = f"total variation {_with_error(result[scores])}"
        shown.append(Tile(values / size if size else values, f"landscape {words}, {told}", words, (told,)))
    what = (
        "<p>The importance of each pixel to the network's own answers, over the test images (I' of Eq. 14). A smooth map has "
        "a small total variation.</p>"
    )
    return what + tiles(shown, unit=UNIT)


def _scores(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    rows = []
    for name, head in SCORES.items():
        if name in after:
            rows.append((head, _told(name, before), _told(name, after)))
    return table(rows, head=("", "before training", "after training"))


def _epochs(rows: list[dict[str, Any]]) -> str:
    """Top-1 and total variation as lines, and all numbers as a table."""
    drawings = []
    for name, colour in (("top1", None), ("tv", ORANGE)):
        values = np.array([row[name] for row in rows], dtype=float)
        band = 2 * np.array([row["tv_error"] for row in rows], dtype=float) if name == "tv" else None
        title = SCORES[name]
        told = "on the test images" + ("; band of two standard errors over images" if name == "tv" else "")
        drawn = lines_svg(
            [Line(values, "", colour, band=band)], f"{title} after each epoch", across="epoch", up=title, start=1, hover=True
        )
        drawings.append(figure(drawn, f"{title} after each epoch, {told}."))
    names = {**EPOCH, **SCORES}
    shown = [name for name in names if name in rows[0]]
    body = [(str(row["epoch"]), *(_told(name, row) for name in shown)) for row in rows]
    return (pair(drawings) if len(rows) > 1 else "") + scrolled(table(body, head=("epoch", *(names[name] for name in shown))))


def _flat(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A recipe's fields, those of its penalty among them."""
    rows = []
    for name, value in recipe.items():
        rows += [(f"{name} {k}", str(v)) for k, v in value.items()] if isinstance(value, Mapping) else [(name, str(value))]
    return rows


def _told(name: str, row: Mapping[str, Any]) -> str:
    return _with_error(row) if name == "tv" else ", ".join(f"{value:.4g}" for value in np.ravel(row[name]))


def _with_error(row: Mapping[str, Any]) -> str:
    return f"{row['tv']:.4g} ± {row['tv_error']:.1g}"
