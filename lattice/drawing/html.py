"""A lattice as a small HTML table with its graph drawn beside it: what a notebook shows.

Rows are layers, the input first. In the left column every layer is a dot; a line runs from each layer to the readers of
its output, bent to the left where it passes over other rows, so that skips and branches show as arcs.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from html import escape

from lattice.geometry.receptive_field import ReceptiveField
from lattice.network.lattice import Lattice
from lattice.network.ops import Op

__all__ = ["brief", "lattice_html", "receptive_field_html"]

ROW = 22  # pixels of a row: the drawing and the table beside it share it
STEP = 7  # pixels by which arcs of neighbouring lanes stand apart
MOST_LANES = 12


def brief(op: Op) -> str:
    """An op as one would write it: positional what must be given, by name what differs from its default.

    >>> from lattice import Conv, Norm
    >>> brief(Conv(64, kernel=3, stride=2, padding=1)), brief(Norm())
    ('Conv(64, 3, stride=2, padding=1)', 'Norm()')
    """
    arguments = []
    for field in fields(op):  # type: ignore[arg-type]
        value = getattr(op, field.name)
        if field.default is MISSING:
            arguments.append(repr(value))
        elif value != field.default:
            arguments.append(f"{field.name}={value!r}")
    return f"{type(op).__name__}({', '.join(arguments)})"


def lattice_html(lattice: Lattice, more: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """The layers of a lattice as an HTML table (name, op, reads, shape), the graph as an inline SVG beside it.

    `more`: further columns, title -> layer name -> text.

    >>> from lattice import families
    >>> page = lattice_html(families.plain(5, depth=2))
    >>> page.count("<tr"), page.count("<circle"), "Conv(1, 3)" in page
    (4, 3, True)
    """
    cell = f"height:{ROW}px;padding:0 10px 0 0;text-align:left;white-space:nowrap;line-height:{ROW}px"
    cell += ";border:0;background:none"
    rows = []
    for position, (node, shape) in enumerate(zip(lattice.nodes, lattice.shapes, strict=True)):
        reads = ", ".join(lattice.nodes[i].name for i in node.inputs)
        # the name of the layer just below goes without saying
        reads = "" if node.inputs == (position - 1,) else reads
        cells = [f"<b>{escape(node.name)}</b>", escape(brief(node.op)), escape(reads), " × ".join(map(str, shape))]
        cells += [escape(column.get(node.name, "")) for column in (more or {}).values()]
        drawing = ""
        if position == 0:
            drawing = f'<td rowspan="{len(lattice.nodes)}" style="padding:0;border:0;vertical-align:top">{_svg(lattice)}</td>'
        rows.append("<tr>" + drawing + "".join(f'<td style="{cell}">{text}</td>' for text in cells) + "</tr>")
    titles = "".join(f'<th style="{cell}">{title}</th>' for title in ("", "layer", "op", "reads", "shape", *(more or {})))
    caption = f"Lattice of {len(lattice.nodes)} layers, {_sizes(lattice.input_shape)} to {_sizes(lattice.output_shape)}"
    return (
        f'<div style="overflow:auto;max-height:{24 * ROW}px"><table style="border-collapse:collapse;font-size:13px">'
        f'<caption style="text-align:left">{caption}</caption><tr>{titles}</tr>{"".join(rows)}</table></div>'
    )


def receptive_field_html(field: ReceptiveField) -> str:
    """A receptive field as an HTML table, one row per axis, with the reasons where branches do not align.

    >>> from lattice import families
    >>> from lattice.geometry.receptive_field import receptive_field
    >>> "<td>7</td>" in receptive_field_html(receptive_field(families.plain(9, depth=3)))
    True
    """
    titles = "".join(f"<th>{title}</th>" for title in ("axis", "size", "stride", "padding", "first centre", "aligned"))
    rows = []
    for number, axis in enumerate(field.axes):
        lo, hi = axis.padding
        values = (number, axis.size, axis.stride, f"{lo}, {hi}", axis.centre, "yes" if axis.aligned else "no")
        rows.append("<tr>" + "".join(f"<td>{value}</td>" for value in values) + "</tr>")
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in field.reasons)
    return (
        f"<table><caption>Receptive field of {escape(field.node)}, in input cells</caption><tr>{titles}</tr>"
        f"{''.join(rows)}</table>" + (f"<ul>{reasons}</ul>" if reasons else "")
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _lanes(lattice: Lattice) -> dict[tuple[int, int], int]:
    """A lane for every edge that passes over other rows, so that arcs that overlap run side by side; shorter ones inside."""
    edges = {(i, reader) for reader, node in enumerate(lattice.nodes) for i in node.inputs if reader - i > 1}
    lanes: dict[tuple[int, int], int] = {}
    for low, high in sorted(edges, key=lambda edge: (edge[1] - edge[0], edge)):
        taken = {lane for (a, b), lane in lanes.items() if a < high and low < b}
        lanes[low, high] = next(lane for lane in range(1, len(edges) + 2) if lane not in taken)
    return lanes


def _svg(lattice: Lattice) -> str:
    lanes = _lanes(lattice)
    deepest = min(max(lanes.values(), default=0), MOST_LANES)
    width, height = (deepest + 2) * STEP + 8, ROW * len(lattice.nodes)
    trunk = width - 10
    paths = []
    for reader, node in enumerate(lattice.nodes):
        for i in dict.fromkeys(node.inputs):
            start, end = ROW * i + ROW // 2, ROW * reader + ROW // 2
            lane = min(lanes.get((i, reader), 0), MOST_LANES)
            x = trunk - STEP * lane
            line = f"L{trunk} {end}"
            if lane:  # out to the lane within one row, along it, and back within one row
                half, inner, last = start + ROW // 2, start + ROW, end - ROW
                line = (
                    f"C{x} {half} {x} {half} {x} {inner} L{x} {last} C{x} {end - ROW // 2} {x} {end - ROW // 2} {trunk} {end}"
                )
            paths.append(f'<path d="M{trunk} {start} {line}"/>')
    dots = "".join(f'<circle cx="{trunk}" cy="{ROW * i + ROW // 2}" r="3.5"/>' for i in range(len(lattice.nodes)))
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="graph of the layers">'
        f'<g fill="none" stroke="currentColor" stroke-width="1.3" opacity="0.65">{"".join(paths)}</g>'
        f'<g fill="currentColor">{dots}</g></svg>'
    )
