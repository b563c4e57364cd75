"""Values that a drawing shows under the pointer: transparent cells with a title each, which every browser shows by itself."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

__all__ = ["line_cells", "map_cells"]

Array = np.ndarray[Any, Any]

MOST = 24  # cells to a side: more would be too small to point at, and a page of megabytes


def map_cells(values: Array, place: tuple[float, float, float, float]) -> str:
    """A cell for each position of a map in this place, for each block of positions where there are more than 24 to a side.

    `place`: left, top, width and height.

    >>> map_cells(np.array([[1.0, 2.5]]), (0, 0, 10, 5)).count("<title>")
    2
    """
    x, y, width, height = place
    rows, columns = (_edges(n) for n in values.shape)
    scale = f"translate({x:g} {y:g}) scale({width / values.shape[1]:g} {height / values.shape[0]:g})"
    parts = []
    for top, bottom in rows:
        for left, right in columns:
            block = values[top:bottom, left:right]
            where = f"{_span('row', top, bottom)}, {_span('column', left, right)}"
            outline = f"M{left} {top}H{right}V{bottom}H{left}z"
            parts.append(f'<path d="{outline}"><title>{where}: {_told(block)}</title></path>')
    return f'<g transform="{scale}" fill="transparent">{"".join(parts)}</g>'


def line_cells(
    lines: Sequence[tuple[str, Array, Array | None]], place: tuple[float, float, float, float], start: int = 0
) -> str:
    """A cell for each position of some lines (name, values, half a band or None), for each run where there are many.

    `place`: left, top, width and height; `start`: the number of the first position.

    >>> "position 1: 2" in line_cells([("", np.array([1.0, 2.0]), None)], (0, 0, 10, 5))
    True
    """
    x, y, width, height = place
    count = len(lines[0][1])
    step = width / max(count - 1, 1)
    parts = []
    for first, end in _edges(count):
        left, right = max(x + step * (first - 0.5), x), min(x + step * (end - 0.5), x + width)
        told = "; ".join(
            (f"{name} " if name else "")
            + _told(values[first:end])
            + ("" if band is None else f" \N{PLUS-MINUS SIGN} {_number(band[first:end].mean())}")
            for name, values, band in lines
        )
        outline = f"M{left:.1f} {y:g}H{right:.1f}v{height:g}H{left:.1f}z"
        parts.append(
            f'<path d="{outline}"><title>{_span("position", first + start, end + start)}: {escape(told)}</title></path>'
        )
    return f'<g fill="transparent">{"".join(parts)}</g>'


def _edges(count: int) -> list[tuple[int, int]]:
    block = -(-count // MOST)
    return [(start, min(start + block, count)) for start in range(0, count, block)]


def _span(name: str, first: int, end: int) -> str:
    return f"{name} {first}" if end - first == 1 else f"{name}s {first} to {end - 1}"


def _told(block: Array) -> str:
    """The value of one position; of several the mean, the least and the largest."""
    if block.size == 1:
        return _number(block.flat[0])
    return f"{_number(block.mean())} ({_number(block.min())} to {_number(block.max())})"


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
