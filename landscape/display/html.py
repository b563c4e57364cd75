"""What a notebook shows of a prediction: its map, its warrant, its numbers; readable on light and on dark.

Colours and backgrounds are the notebook's own; see `landscape.display.svg` for the drawings and `lattice.drawing.html` for the
layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.display.svg import map_image, map_svg
from landscape.input_checks import NOWHERE
from landscape.maps.findings import findings
from landscape.maps.measures import Report
from lattice.drawing.html import lattice_html

if TYPE_CHECKING:
    from landscape.advise import Advice
    from landscape.predict import Landscape
    from landscape.tracing.trace import Trace

__all__ = ["advice_html", "in_words", "landscape_html", "report_html", "side_by_side", "table", "trace_html"]

CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;border:0;background:none"
MOST_CHANGES = 4  # beside the map as it is
GUARANTEES = {
    "EXACT": "exact: the expectation itself, at any width",
    "WIDE_LIMIT": "wide limit: the expectation up to O(1 / channels)",
    "APPROXIMATE": "approximate: something in this network has no exact law",
}


def in_words(name: str) -> str:
    """A guarantee or verdict as one reads it.

    >>> in_words("NOT_ENOUGH_DATA")
    'not enough data'
    """
    return name.replace("_", " ").lower()


def side_by_side(parts: Iterable[str], width: str = "") -> str:
    """Parts beside each other where there is room, below each other where there is not; words take the room that is left."""

    def cell(part: str) -> str:
        style = f"flex:0 0 {width}" if width else "flex:0 1 auto" if part.startswith("<svg") else "flex:1 1 300px"
        return f'<div style="{style};min-width:0;max-width:100%">{part}</div>'

    style = "display:flex;flex-wrap:wrap;gap:8px 24px;align-items:flex-start"
    return f'<div style="{style}">{"".join(map(cell, parts))}</div>'


def table(rows: Iterable[Sequence[str]], caption: str = "", head: Sequence[str] = ()) -> str:
    """Rows of plain text as a table that a narrow page may scroll."""

    def row(cells: Iterable[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag} style={CELL!r}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    lines = [row(head, "th")] if head else []
    lines += [row(cells, "td") for cells in rows]
    above = f'<caption style="text-align:left">{escape(caption)}</caption>' if caption else ""
    style = "border-collapse:collapse;font-size:13px"
    return f'<div style="overflow:auto"><table style="{style}">{above}{"".join(lines)}</table></div>'


def report_html(report: Report) -> str:
    """The numbers of a map, how much each is, and what it means.

    >>> from landscape.maps.measures import report
    >>> "centre bias" in report_html(report(np.array([1.0, 2.0, 1.0])))
    True
    """
    return table((f.name, f.value, f.level, f.sentence) for f in findings(report))


def landscape_html(land: Landscape) -> str:
    """The relative map; beside it the guarantee with its reasons, and the numbers of the report.

    >>> from landscape import predict
    >>> from lattice import families
    >>> shown = landscape_html(predict(families.plain(9, depth=2)))
    >>> shown.count("<svg"), "exact" in shown
    (1, True)
    """
    guarantee = land.guarantee.name
    label = f"predicted importance map over {_sizes(land.squared.shape)} positions, {in_words(guarantee)}"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in land.reasons)
    words = f"<b>{in_words(guarantee).capitalize()}</b>{GUARANTEES[guarantee].partition(':')[2].join((': ', ''))}"
    drawn = "" if land.drawn is None else f"<div>{escape(str(land.drawn))}</div>"
    words = f'<div style="font-size:13px">{words}{f"<ul>{reasons}</ul>" if reasons else ""}{drawn}</div>'
    if not land.squared.any():
        return side_by_side([f"{words}<div>{NOWHERE}</div>"])
    return side_by_side([map_svg(land.relative, label), words + table(_brief(land.report()))])


def advice_html(advice: Advice) -> str:
    """The map as it is and after the best changes, on one scale, and how far each is from flat."""
    shown = [advice.before, *advice.changes[:MOST_CHANGES]]
    most = max(float(change.landscape.relative.max()) for change in shown)
    tiles = []
    for change in shown:
        text = f"{change.deviation:.1%} from flat: {change.text}"
        picture = map_image(change.landscape.relative, text, most=most)
        tiles.append(f'{picture}<span style="font-size:12px">{escape(text)}</span>')
    more = len(advice.changes) - MOST_CHANGES
    lines = [f"and {more} more changes in .changes"] if more > 0 else []
    lines += [] if advice.changes else ["nothing that was tried makes this map flatter"]
    lines.append("a flatter map at initialisation; no claim about accuracy")
    return side_by_side(tiles, "150px") + "".join(f'<div style="font-size:12px">{line}</div>' for line in lines)


def trace_html(traced: Trace) -> str:
    """The layers as they were counted, with V[w], the squared factor of norms or what gates let through, and remarks."""
    passed = {name: f"{float(np.mean(value)):.3g}" for name, value in traced.factors.items()}
    passed |= {name: f"{float(np.mean(value)):.3g}" for name, value in traced.gates.gains.items()}
    passed |= {name: f"{float(np.mean(value)):.3g}" for (name, number), value in traced.gates.products.items() if not number}
    notes = dict.fromkeys(traced.shifted, "shifted") | dict.fromkeys(traced.skewed, "not as initialised")
    variances = {name: f"{value:.3g}" for name, value in traced.variances.items()}
    more: dict[str, Any] = {"V[w]": variances, "lets through": passed, "remarks": notes}
    return lattice_html(traced.lattice, {title: column for title, column in more.items() if column})


def _brief(report: Report) -> list[tuple[str, str, str]]:
    return [(f.name, f.value, f.level) for f in findings(report)]


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
