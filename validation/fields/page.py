"""The page of an effective receptive field: its map and numbers, the prediction, and the fields of the layers below to open."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.display.html import in_words, table
from landscape.display.svg import map_svg, shared_top
from lattice.results.files import write_bytes
from validation.fields.drawing import field_html
from validation.report.html import signed_svg
from validation.report.parts import figure, lead, made_section, pair, scrolled, stamp
from validation.report.style import document
from validation.runtime.versions import made_now

if TYPE_CHECKING:
    from validation.fields.field import EffectiveField
    from validation.fields.predicted import Beside

__all__ = ["render_field", "write_field_report"]


def render_field(found: Beside, growth: Mapping[str, EffectiveField], *, title: str, made: Mapping[str, str]) -> str:
    """One HTML document that needs nothing beside itself: the field, its numbers, the prediction, and a row of layers to open.

    `growth`: fields of other layers, by name. `made`: how the page was made, by name.
    """
    field = found.field
    subtitle = f"Where {field.title} looks: its effective receptive field over {field.count} {field.over}s"
    sections = [("field", "The field", field_html(field)), ("prediction", "Where the architecture puts it", _prediction(found))]
    if not (field.mean < 0).any():
        rows = [(number.name, str(number), number.source) for number in field.numbers()]
        sections.insert(1, ("numbers", "Its numbers", scrolled(table(rows))))
    if growth:
        sections.append(("layers", "Layer by layer", _layers(growth)))
    sections.append(("made", "How this page was made", made_section(made)))
    footer = "Made by pilcro. This page loads nothing and runs nothing."
    return document(title, subtitle, lead(f"{field.title}:", _first(found)), sections, footer, stamp=stamp(made))


def write_field_report(
    path: Path, found: Beside, growth: Mapping[str, EffectiveField], *, title: str, made: Mapping[str, str]
) -> None:
    """Write the page to `path`, as a whole or not at all."""
    write_bytes(path, render_field(found, growth, title=title, made={**made, **made_now()}).encode())


def _first(found: Beside) -> str:
    field = found.field
    if (field.mean < 0).any():
        return "gradients of both signs, averaged as they are."
    half, most = (field.area_ratio(t) for t in (0.5, 0.99))
    said = f"half of its influence comes from {half.value:.1%} of the image, 99 % from {most.value:.1%}"
    if found.moved is not None:
        said += f"; {found.moved.value:.1%} of it lies elsewhere than the architecture put it at initialisation"
    return f"{said}."


def _prediction(found: Beside) -> str:
    """Predicted and measured field on one scale, their difference, and the numbers."""
    if found.land is None:
        return f"<p>There is no prediction: {escape(found.refused)}</p>"
    predicted, measured, name = found.land.relative, found.field.relative, in_words(found.land.guarantee.name)
    rows = "".join(f"<li>{escape(line.strip())}</li>" for line in str(found).replace("+-", "±").splitlines())
    most, difference = shared_top([predicted, measured]), measured - predicted
    drawings = [
        figure(map_svg(predicted, f"predicted field, {name}", most=most, hover=True), f"Predicted ({name})."),
        figure(map_svg(measured, "measured field", most=most, hover=True), "Measured, on the same scale."),
        figure(
            signed_svg(
                difference, "measured minus predicted", "difference / mean", float(np.abs(difference).max()), hover=True
            ),
            "Measured minus predicted.",
        ),
    ]
    return pair(drawings) + f"<ul>{rows}</ul>"


def _layers(growth: Mapping[str, EffectiveField]) -> str:
    """A row of layers: one is open at a time, without a script."""
    parts = []
    for number, (name, field) in enumerate(growth.items()):
        side = field.area_ratio(0.5).value ** (1 / field.mean.ndim) if not np.any(field.mean < 0) else float("nan")
        summary = f"{escape(name or 'output')}: half of the influence within {side:.1%} of the image's side"
        opened = " open" if number == len(growth) - 1 else ""
        parts.append(f'<details name="layer"{opened}><summary>{summary}</summary>{field_html(field)}</details>')
    return "".join(parts)
