"""`pilcro fields`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lattice
from lattice.network.ops import Windowed

__all__ = ["Fields"]


@dataclass(frozen=True)
class Fields:
    """Print the receptive field of every layer of a network, its padding, and which windows are not flip symmetric.

    Exact, from the connections alone: no weight is looked at and nothing is measured (`pilcro erf` measures the effective
    field). The rows are layers, bottom first: size, stride and padding in input cells, one number for all axes or one each.
    """

    model: str
    """torchvision name, package.module:factory or file.py:factory"""
    size: tuple[int, ...] = (224,)
    """height and width of the input in pixels: one number for both, or two"""
    channels: int = 3
    """channels of the input"""
    shape: tuple[int, ...] = ()
    """the whole input shape (channels and every axis) instead, for models that do not read images"""
    windows: bool = False
    """only layers with windows: convolutions and pools"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Trace and print; returns what `--json` prints."""
        from landscape import he, trace
        from landscape.tracing.model_names import model_factory

        shape = self.shape or (self.channels, *(self.size * 2 if len(self.size) == 1 else self.size))
        net = trace(model_factory(self.model), shape, initialisation=he, check=False).lattice
        uneven = {row.node for row in lattice.evenness(net) if not row.even}
        rows = []
        for node, produced, field in zip(net.nodes, net.shapes, lattice.receptive_fields(net), strict=True):
            if self.windows and not isinstance(node.op, Windowed):
                continue
            rows.append(
                {
                    "layer": node.name,
                    "op": str(node.op),
                    "shape": list(produced),
                    "size": list(field.size),
                    "stride": [str(stride) for stride in field.stride],
                    "padding": [list(sides) for sides in field.padding],
                    "aligned": field.aligned,
                    "even": node.name not in uneven,
                }
            )
        symmetric = list(lattice.even_sizes(net, around=shape[1])[:3]) if len(set(shape[1:])) == 1 else []
        if not self.json:
            print(table(rows))
            print(f"\nwindows that are not flip symmetric: {', '.join(sorted(uneven)) or 'none'}")
            if uneven and symmetric:
                print(f"input sizes nearby at which all of them are: {', '.join(map(str, symmetric))}")
        return {"model": self.model, "shape": list(shape), "layers": rows, "uneven": sorted(uneven), "even_sizes": symmetric}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in columns."""
    lines: list[tuple[str, ...]] = [("layer", "op", "shape", "field", "stride", "padding", "")]
    for row in rows:
        notes = [] if row["aligned"] else ["branches not aligned"]
        notes += [] if row["even"] else ["UNEVEN"]
        padding = shared([f"{lo}/{hi}" for lo, hi in row["padding"]])
        seen = (shared(row["size"]), shared(row["stride"]), padding)
        lines.append((row["layer"], row["op"], str(tuple(row["shape"])), *seen, ", ".join(notes)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def shared(values: list[Any]) -> str:
    """One value where all axes have the same, else all of them."""
    return str(values[0]) if len(set(values)) == 1 else " x ".join(map(str, values))
