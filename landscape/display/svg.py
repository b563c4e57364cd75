"""Maps and profiles as small inline SVG: what notebooks and the report page show.

Text and lines have the colour of the page around them, so that they are read on light and on dark; a map is a PNG of one
palette inside, a byte a pixel, and carries its own colours. Nothing is fetched from anywhere.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np

__all__ = ["Line", "flat_view", "lines_svg", "map_image", "map_svg", "profile"]

Array = np.ndarray[Any, Any]

SIDE = 260  # of the longer side of a map, in units of the drawing
LEFT, BELOW, ABOVE = 46, 40, 14  # room for labels
COARSE = 64  # cells of a map that is drawn cell by cell, and not smoothly
BAR, GAP, NUMBERS = 13, 12, 58  # the colour bar: its width, the space before it, its numbers
WIDTH, HEIGHT = LEFT + SIDE + GAP + BAR + NUMBERS, 210  # of a drawing of lines
TEXT = 'font-family="system-ui,sans-serif" font-size="12" fill="currentColor" stroke="none"'


@dataclass(frozen=True, eq=False)
class Line:
    """Values along an axis, with a band of plus and minus `band` where given; `colour` None is that of the text."""

    values: Array
    name: str = ""
    colour: str | None = None
    dashed: bool = False
    band: Array | None = None


def flat_view(values: Array) -> Array:
    """What can be shown of a map: itself on one axis or two, the middle slice on three."""
    return np.asarray(values[values.shape[0] // 2] if values.ndim == 3 else values)


def profile(values: Array) -> Array:
    """The values through the middle along the last axis."""
    return np.asarray(values[tuple(n // 2 for n in values.shape[:-1])])


def map_svg(
    values: Array,
    label: str,
    *,
    unit: str = "importance / mean",
    least: float = 0.0,
    most: float | None = None,
    colours: str = "cividis",
) -> str:
    """A map with its axes and a colour bar from `least` to `most` (its maximum); on one axis, a line.

    `label` says what the map is, to those who cannot see it.

    >>> drawing = map_svg(np.ones((4, 6)), "a flat map")
    >>> drawing.startswith("<svg"), 'aria-label="a flat map"' in drawing
    (True, True)
    """
    shown = flat_view(values)
    if shown.ndim == 1:
        return lines_svg([Line(shown)], label, across="input position", up=unit, least=least, most=most)
    top = float(shown.max()) if most is None else most
    rows, columns = shown.shape
    scale = SIDE / max(rows, columns)
    width, height = max(columns * scale, 40.0), max(rows * scale, 40.0)
    bar = LEFT + width + GAP
    ramp = np.linspace(1, 0, 256)[:, None]
    parts = [
        _image(_png(shown, least, top, colours), LEFT, ABOVE, width, height, coarse=max(shown.shape) <= COARSE),
        _image(_png(ramp, 0, 1, colours), bar, ABOVE, BAR, height, coarse=False),
        *(_label(f"{n}", LEFT + width * (n + 0.5) / columns, ABOVE + height + 15, "middle") for n in _ends(columns)),
        *(_label(f"{n}", LEFT - 6, ABOVE + height * (n + 0.5) / rows + 4, "end") for n in _ends(rows)),
        *(
            _label(_number(tick), bar + BAR + 5, ABOVE + height * (top - tick) / (top - least) + 4)
            for tick in (_ticks(least, top) if top > least else [])
        ),
        _label("column (pixels)", LEFT + width / 2, ABOVE + height + 32, "middle"),
        _upward("row (pixels)", 12, ABOVE + height / 2),
        _upward(unit, bar + BAR + NUMBERS - 6, ABOVE + height / 2),
    ]
    return _svg(parts, bar + BAR + NUMBERS, ABOVE + height + BELOW, label)


def lines_svg(
    lines: Sequence[Line],
    label: str,
    *,
    across: str = "position along the middle (pixels)",
    up: str = "importance / mean",
    least: float | None = 0.0,
    most: float | None = None,
) -> str:
    """Lines over positions, each with its band of error; the vertical axis from `least` (None: their minimum) to `most`."""
    edges = [v for line in lines for v in (line.values, *_band(line))]
    low = min(float(v.min()) for v in edges) if least is None else least
    high = max(float(v.max()) for v in edges) * (1.02 if least is not None else 1) if most is None else most
    high = high if high > low else low + 1
    width, height, last = float(WIDTH - LEFT - 12), float(HEIGHT - ABOVE - BELOW), max(len(lines[0].values) - 1, 1)

    def points(values: Array) -> list[str]:
        x = LEFT + width * np.arange(len(values)) / last
        y = ABOVE + height * (high - np.clip(values, low, high)) / (high - low)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]

    parts = []
    for tick in _ticks(low, high):
        y = ABOVE + height * (high - tick) / (high - low)
        parts.append(f'<path d="M{LEFT} {y:.1f}h{width:.1f}" stroke="currentColor" stroke-width="0.6" opacity="0.25"/>')
        parts.append(_label(_number(tick), LEFT - 6, y + 4, "end"))
    parts += [_label(f"{n}", LEFT + width * n / last, ABOVE + height + 15, "middle") for n in _ends(last + 1)]
    for number, line in enumerate(lines):
        colour = line.colour or "currentColor"
        for lower, upper in [_band(line)] if line.band is not None else []:
            outline = " ".join([*points(lower), *reversed(points(upper))])
            parts.append(f'<polygon points="{outline}" fill="{colour}" opacity="0.25"/>')
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        stroke = f'fill="none" stroke="{colour}" stroke-width="1.6"{dash}'
        parts.append(f'<polyline points="{" ".join(points(line.values))}" {stroke}/>')
        if line.name:
            y = ABOVE + height - 12 - 16 * (len(lines) - 1 - number)
            parts += [f'<path d="M{LEFT + 12} {y - 4:.1f}h24" {stroke}/>', _label(line.name, LEFT + 42, y)]
    parts += [_label(across, LEFT + width / 2, HEIGHT - 7, "middle"), _upward(up, 12, ABOVE + height / 2)]
    return _svg(parts, WIDTH, HEIGHT, label)


def map_image(values: Array, alt: str, *, most: float | None = None) -> str:
    """A map alone, without axes, as an `img` that grows with the page."""
    shown = flat_view(values)
    shown = shown[None] if shown.ndim == 1 else shown
    picture = _png(shown, 0.0, float(shown.max()) if most is None else most, "cividis")
    style = "width:100%;height:auto;min-height:24px;display:block"
    style += ";image-rendering:pixelated" if max(shown.shape) <= COARSE else ""
    return f'<img src="{picture}" alt="{escape(alt)}" width="{shown.shape[1]}" height="{shown.shape[0]}" style="{style}">'


def _band(line: Line) -> tuple[Array, ...]:
    return () if line.band is None else (line.values - line.band, line.values + line.band)


def _svg(parts: Sequence[str], width: float, height: float, label: str) -> str:
    box = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
    style = "max-width:100%;height:auto;color:inherit"
    return f'<svg {box} role="img" aria-label="{escape(label)}" style="{style}"><g {TEXT}>{"".join(parts)}</g></svg>'


def _png(values: Array, least: float, most: float, colours: str) -> str:
    """An 8-bit palette PNG as a data address."""
    from matplotlib import colormaps
    from PIL import Image

    palette = (colormaps[colours](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    share = np.clip((values - least) / (most - least) if most > least else np.zeros(values.shape), 0, 1)
    picture = Image.fromarray((share * 255).round().astype(np.uint8))
    picture.putpalette(palette.tobytes())
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def _image(picture: str, x: float, y: float, width: float, height: float, *, coarse: bool) -> str:
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    # pixels of uneven size would put a grid on a fine map that is not there
    crisp = ' style="image-rendering:pixelated"' if coarse else ""
    return f'<image href="{picture}" {size} preserveAspectRatio="none"{crisp}/>'


def _label(text: str, x: float, y: float, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _upward(text: str, x: float, y: float) -> str:
    return f'<text transform="translate({x:.1f} {y:.1f}) rotate(-90)" text-anchor="middle">{escape(text)}</text>'


def _ends(count: int) -> list[int]:
    """The first, middle and last position, fewer where they are few."""
    return sorted({0, count // 2, count - 1})


def _ticks(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    slack = 1e-9 * (high - low)
    return [round(float(t), 12) for t in MaxNLocator(5).tick_values(low, high) if low - slack <= t <= high + slack]
