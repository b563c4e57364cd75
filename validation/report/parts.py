"""What the pages have in common: figures, rows of small maps on one scale, tables, and how a page was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.display.html import table
from landscape.display.svg import map_image, scale_svg, shared_top
from landscape.maps.findings import LEVELS, findings
from lattice.drawing.html import lattice_html

if TYPE_CHECKING:
    from landscape.maps.measures import Report
    from lattice import Lattice

__all__ = [
    "Tile",
    "figure",
    "findings_list",
    "layers_table",
    "lead",
    "made_section",
    "pair",
    "scrolled",
    "sizes",
    "stamp",
    "tiles",
]

Array = np.ndarray[Any, Any]
STAMP = ("date", "pilcro", "commit")  # of what is said of how a page was made, what stands at its top


@dataclass(frozen=True, eq=False)
class Tile:
    """A small map: its values, what it is to those who cannot see it, its first line in bold and the lines below."""

    values: Array
    alt: str
    head: str
    lines: tuple[str, ...] = ()


def figure(drawing: str, caption: str) -> str:
    """A drawing with its caption, which is plain text."""
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def pair(figures: Sequence[str]) -> str:
    """Figures beside each other where there is room."""
    return f'<div class="pair">{"".join(figures)}</div>'


def tiles(shown: Sequence[Tile], *, unit: str = "importance / mean") -> str:
    """Small maps on one scale, and its bar below them."""
    most = shared_top([tile.values for tile in shown])
    parts = []
    for tile in shown:
        words = "".join(f"<br>{escape(line)}" for line in tile.lines)
        caption = f"<figcaption><b>{escape(tile.head)}</b>{words}</figcaption>"
        parts.append(f"<figure>{map_image(tile.values, tile.alt, most=most)}{caption}</figure>")
    bar = scale_svg([tile.values for tile in shown], most, unit=unit)
    return f'<div class="tiles">{"".join(parts)}</div><div class="scale">{bar}</div>'


def scrolled(content: str, note: str = "") -> str:
    """Something wide or long in a frame that scrolls by itself; `note`, plain text, says so above it."""
    above = f'<p class="muted">{escape(note)}</p>' if note else ""
    return f'{above}<div class="scroll" tabindex="0">{content}</div>'


def lead(strong: str, rest: str) -> str:
    """A paragraph that stands out; both are plain text."""
    return f'<div class="lead"><p><strong>{escape(strong)}</strong> {escape(rest)}</p></div>'


def findings_list(report: Report) -> str:
    """The numbers of a map, how much each is, and what it means."""
    edges = [f"{edge:.1%}".replace(".0", "") for edge, _ in LEVELS[:-1]]
    scale = "Levels: none below {}, slight below {}, clear below {} of deviation from a flat map, strong above".format(*edges)
    rows = "".join(
        f'<div><dt>{escape(f.name)}</dt><dd class="value">{escape(f.value)}</dd><dd class="level {f.level}">{f.level}</dd>'
        f'<dd class="says">{escape(f.sentence)}</dd></div>'
        for f in findings(report)
    )
    return f'<dl class="findings">{rows}</dl><p class="muted">{scale}; a pixel without any path is clear at least.</p>'


def layers_table(lattice: Lattice) -> str:
    """The layers of a network and its graph."""
    what = f"The network as it was counted, {len(lattice.nodes)} layers, the input first; skips and branches are on the left."
    return scrolled(lattice_html(lattice), what)


def made_section(made: Mapping[str, str]) -> str:
    """How a page was made: its command, and what else is known of it by name."""
    told = dict(made)
    command = told.pop("command", "")
    shown = f'<pre tabindex="0"><code>{escape(command)}</code></pre>' if command else ""
    rows = [(name, value) for name, value in told.items() if value]
    return shown + (table(rows) if rows else "")


def stamp(made: Mapping[str, str]) -> str:
    """Date, version and commit of a page in one line, as far as they are known."""
    words = {"date": "made on {}", "pilcro": "pilcro {}", "commit": "commit {}"}
    return ", ".join(words[name].format(made[name]) for name in STAMP if made.get(name))


def sizes(shape: Sequence[int]) -> str:
    """3 × 64 × 64."""
    return " × ".join(map(str, shape))
