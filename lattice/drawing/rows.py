"""Which layers of a lattice share a row of a drawing, and where the units of a row stand."""

from dataclasses import dataclass
from typing import Any

from lattice.counts.counting import one_unit
from lattice.drawing.html import brief
from lattice.geometry.receptive_field import AxisField, receptive_fields
from lattice.network.lattice import Lattice, Unit
from lattice.network.ops import Flatten, Pointwise, Summed
from lattice.sweep.choices import identity_branches
from lattice.sweep.pullback import node_cotangents

__all__ = ["Row", "rows_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of dots: the layers drawn there (a convolution, what follows it cell by cell, and the sum it ends in)."""

    nodes: tuple[int, ...]
    label: str
    x: tuple[float, ...]
    counts: tuple[int, ...]


def rows_of(net: Lattice, start: Unit | None) -> list[Row]:
    """The rows of the drawing, the input first."""
    # each layer stands in the row of its own, of the layer it follows cell by cell, or of the sum that alone reads it
    row_of = list(range(len(net.nodes)))
    for position, node in enumerate(net.nodes):
        if isinstance(node.op, Pointwise | Flatten):
            row_of[position] = row_of[node.inputs[0]]
    for position, node in enumerate(net.nodes):
        if isinstance(node.op, Summed):
            identity = identity_branches(net, position)
            # a branch ends in the row of the sum if nothing else reads any layer of its last row
            alone = {row for row in row_of if row and all(len(net.readers[i]) == 1 for i in _nodes(row_of, row))}
            ends = [i for index, i in enumerate(node.inputs) if index not in identity and row_of[i] in alone]
            if ends:
                joined = {row_of[i] for i in ends} | {row_of[position]}
                # the latest row, so that whatever a branch reads stands below it
                row_of = [max(joined - {position}) if row in joined else row for row in row_of]
    cotangents = {node.name: here for node, here in node_cotangents(net, lambda node: 1, one_unit(net, start, one=1))}
    fields = receptive_fields(net)
    rows = []
    for storey, row in enumerate(dict.fromkeys(sorted(row_of))):
        nodes = _nodes(row_of, row)
        top = nodes[-1]
        size = net.shapes[nodes[0]][-1]
        seen = fields[max((i for i in nodes if len(net.shapes[i]) > 1), default=top)][0]
        x = _places(seen, size)
        here = cotangents[net.names[nodes[0]]]  # what reads any layer of the row has reached its lowest
        names = [name for position in nodes if (name := _named(net, position))] if storey else ["input"]
        name = "\n+ ".join(dict.fromkeys(names))
        rows.append(Row(nodes, f"$H^{{({storey})}}$  {name}", x, tuple(int(count) for count in _line(here, size))))
    return rows


def _nodes(row_of: list[int], row: int) -> tuple[int, ...]:
    return tuple(position for position, at in enumerate(row_of) if at == row)


def _places(field: AxisField, size: int) -> tuple[float, ...]:
    """Where the units of a row stand: a stride apart, their middle above the middle of what they see together."""
    middles = [float(sum(interval)) / 2 for j in range(size) if (interval := field.field.at(j)) is not None]
    middle = sum(middles) / len(middles) if middles else float(field.centre)
    spacing = float(field.stride) or 1.0
    return tuple(middle + spacing * (j - (size - 1) / 2) for j in range(size))


def _line(here: Any, size: int) -> Any:
    flat = here.reshape(-1)
    return flat if len(flat) == size else [flat[0]] * size


def _named(net: Lattice, position: int) -> str:
    op = net.nodes[position].op
    if isinstance(op, Pointwise | Flatten):
        return ""
    if isinstance(op, Summed):
        return "skip" if identity_branches(net, position) else ""
    return brief(op)
