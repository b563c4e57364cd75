"""Maps and profiles as small inline SVG: what notebooks and the report page show.

Text and lines have the colour of the page around them, so that they are read on light and on dark; a map is a PNG of one
palette inside, a byte a pixel, and carries its own colours. Nothing is fetched from anywhere.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np

from landscape.display.hover import line_cells, map_cells

__all__ = ["Line", "flat_view", "lines_svg", "map_image", "map_svg", "profile", "scale_svg", "shared_top"]

Array = np.ndarray[Any, Any]

SIDE = 260  # of the longer side of a map, in units of the drawing
LEFT, BELOW, ABOVE = 50, 40, 14  # room for labels
COARSE = 64  # cells of a map that is drawn cell by cell, and not smoothly
BAR, GAP, NUMBERS = 13, 12, 58  # the colour bar: its width, the space before it, its numbers
WIDTH, HEIGHT = LEFT + SIDE + GAP + BAR + NUMBERS, 210  # of a drawing of lines, without its legend
LEGEND = 17  # the height of one of its lines
TIP = 9  # of a colour bar's end, where values are cut off there
SEEN = 0.95  # the share of a map's cells that lie below the end of a scale it shares
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
    hover: bool = False,
) -> str:
    """A map with its axes and a colour bar from `least` to `most` (its maximum); on one axis, a line.

    `label` says what the map is, to those who cannot see it. The bar has a tip where values are cut off. `hover` shows the
    values under the pointer.

    >>> drawing = map_svg(np.ones((4, 6)), "a flat map")
    >>> drawing.startswith("<svg"), 'aria-label="a flat map"' in drawing
    (True, True)
    """
    shown = flat_view(values)
    if shown.ndim == 1:
        return lines_svg([Line(shown)], label, across="input position", up=unit, least=least, most=most, hover=hover)
    top = float(shown.max()) if most is None else most
    rows, columns = shown.shape
    scale = SIDE / max(rows, columns)
    width, height = max(columns * scale, 40.0), max(rows * scale, 40.0)
    bar = LEFT + width + GAP
    ramp = np.linspace(1, 0, 256)[:, None]
    parts = [
        _image(_png(shown, least, top, colours), LEFT, ABOVE, width, height, coarse=max(shown.shape) <= COARSE),
        _image(_png(ramp, 0, 1, colours), bar, ABOVE, BAR, height, coarse=False),
        *_tips(shown, least, top, colours, bar, height),
        *(_label(f"{n}", LEFT + width * (n + 0.5) / columns, ABOVE + height + 15, "middle") for n in _ends(columns)),
        *(_label(f"{n}", LEFT - 6, ABOVE + height * (n + 0.5) / rows + 4, "end") for n in _ends(rows)),
        *(
            _label(_number(tick), bar + BAR + 5, ABOVE + height * (top - tick) / (top - least) + 4)
            for tick in (_ticks(least, top) if top > least else [])
        ),
        _label("column (pixels)", LEFT + width / 2, ABOVE + height + 32, "middle"),
        _upward("row (pixels)", 10, ABOVE + height / 2),
        _upward(unit, bar + BAR + NUMBERS - 6, ABOVE + height / 2),
        map_cells(shown, (LEFT, ABOVE, width, height)) if hover else "",
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
    start: int = 0,
    hover: bool = False,
) -> str:
    """Lines over positions, each with its band of error; the vertical axis from `least` (None: their minimum) to `most`.

    Their names stand above them, where no line runs. `start` is the number of the first position. `hover` shows the values
    under the pointer.
    """
    edges = [v for line in lines for v in (line.values, *_band(line))]
    low = min(float(v.min()) for v in edges) if least is None else least
    high = max(float(v.max()) for v in edges) * (1.02 if least is not None else 1) if most is None else most
    high = high if high > low else low + 1
    width, height, last = float(WIDTH - LEFT - 12), float(HEIGHT - ABOVE - BELOW), max(len(lines[0].values) - 1, 1)
    above = ABOVE + LEGEND * sum(bool(line.name) for line in lines)

    def points(values: Array) -> list[str]:
        x = LEFT + width * np.arange(len(values)) / last
        y = above + height * (high - np.clip(values, low, high)) / (high - low)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]

    parts = []
    for tick in _ticks(low, high):
        y = above + height * (high - tick) / (high - low)
        parts.append(f'<path d="M{LEFT} {y:.1f}h{width:.1f}" stroke="currentColor" stroke-width="0.6" opacity="0.25"/>')
        parts.append(_label(_number(tick), LEFT - 6, y + 4, "end"))
    parts += [_label(f"{n + start}", LEFT + width * n / last, above + height + 15, "middle") for n in _ends(last + 1)]
    named = 0
    for line in lines:
        colour = line.colour or "currentColor"
        for lower, upper in [_band(line)] if line.band is not None else []:
            outline = " ".join([*points(lower), *reversed(points(upper))])
            parts.append(f'<polygon points="{outline}" fill="{colour}" opacity="0.25"/>')
        dash = ' stroke-dasharray="5 3"' if line.dashed else ""
        stroke = f'fill="none" stroke="{colour}" stroke-width="1.6"{dash}'
        parts.append(f'<polyline points="{" ".join(points(line.values))}" {stroke}/>')
        if line.name:
            named += 1
            y = LEGEND * named - 2
            parts += [f'<path d="M{LEFT} {y - 4:.1f}h24" {stroke}/>', _label(line.name, LEFT + 30, y)]
    parts += [_label(across, LEFT + width / 2, above + height + BELOW - 7, "middle"), _upward(up, 10, above + height / 2)]
    if hover:
        told = [(line.name, line.values, line.band) for line in lines]
        parts.append(line_cells(told, (LEFT, above, width, height), start))
    return _svg(parts, WIDTH, above + height + BELOW, label)


def map_image(values: Array, alt: str, *, most: float | None = None) -> str:
    """A map alone, without axes, as an `img` that grows with the page; its least and largest value show under the pointer."""
    shown = flat_view(values)
    shown = shown[None] if shown.ndim == 1 else shown
    picture = _png(shown, 0.0, float(shown.max()) if most is None else most, "cividis")
    style = "width:100%;height:auto;min-height:24px;display:block"
    style += ";image-rendering:pixelated" if max(shown.shape) <= COARSE else ""
    size = f'width="{shown.shape[1]}" height="{shown.shape[0]}"'
    extent = f"from {_number(float(f'{shown.min():.3g}'))} to {_number(float(f'{shown.max():.3g}'))}"
    return f'<img src="{picture}" alt="{escape(alt)}" title="{extent}" {size} style="{style}">'


def shared_top(maps: Iterable[Array]) -> float:
    """Where a colour scale that several maps share ends: at the largest value, unless few cells would leave all others dark.

    Where the largest value is more than twice what all but one in 20 cells of each map stay below, the scale ends there.

    >>> shared_top([np.ones(4), np.full((2, 2), 3.0)])
    3.0
    """
    shown = [flat_view(values) for values in maps]
    largest = max(float(values.max()) for values in shown)
    seen = max(float(np.quantile(values, SEEN)) for values in shown)
    return largest if largest <= 2 * seen else seen


def scale_svg(maps: Sequence[Array], most: float, *, unit: str = "importance / mean") -> str:
    """The colour bar of maps that share one scale from 0 to `most`, lying, with a tip where values are cut off."""
    ramp, largest = np.linspace(0, 1, 256)[None], max(float(values.max()) for values in maps)
    parts = [
        _image(_png(ramp, 0, 1, "cividis"), 8, 4, SIDE, BAR, coarse=False),
        *(
            _label(_number(tick), 8 + SIDE * tick / most, BAR + 18, "middle")
            for tick in (_ticks(0.0, most) if most > 0 else [])
        ),
        _label(unit, 8 + SIDE / 2, BAR + 33, "middle"),
    ]
    label = f"the colours run from 0 to {most:.3g}"
    if largest > most:
        label += f"; larger values, up to {largest:.3g}, have the last colour"
        x, y = 8 + SIDE, 4 + BAR / 2
        parts.append(f'<path d="M{x} 4l{TIP} {BAR / 2}l-{TIP} {BAR / 2}z" fill="{_last("cividis", 1.0)}"/>')
        parts.append(_label(f"up to {largest:.3g}", x + TIP + 5, y + 4))
    return _svg(parts, SIDE + 110, BAR + 38, label)


def _tips(shown: Array, least: float, top: float, colours: str, bar: float, height: float) -> list[str]:
    """The ends of a standing colour bar beyond which values are cut off."""
    parts = []
    if shown.max() > top:
        parts.append(f'<path d="M{bar:g} {ABOVE}l{BAR / 2} -{TIP}l{BAR / 2} {TIP}z" fill="{_last(colours, 1.0)}"/>')
    if shown.min() < least:
        parts.append(f'<path d="M{bar:g} {ABOVE + height:g}l{BAR / 2} {TIP}l{BAR / 2} -{TIP}z" fill="{_last(colours, 0.0)}"/>')
    return parts


def _last(colours: str, end: float) -> str:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps[colours](end))


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
