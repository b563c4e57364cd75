"""A maximum over copies of cells, which paddings and upsamplings make: two windows may have one winner by two copies of it.

Over the cells that are copied it is a maximum like any other: each window reads each of them once, and two windows share those
that both read a copy of. What reaches a pair of cells is put on one pair of their copies, from which it goes on down.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.structure.arrays import across
from landscape.structure.pairs import Maps, Pairs
from landscape.structure.plan import Axes, fixed_map
from lattice import Lattice, Pad, Upsample
from lattice.network.ops import Pooling, Windowed
from lattice.network.windows.axis import AxisMap

__all__ = ["Copied", "OfCopies", "copied_cells", "of_copies"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def copied_cells(lattice: Lattice, position: int) -> tuple[int, tuple[Array, ...]]:
    """The node whose cells paddings and upsamplings copy to this one, and per axis which cell each one copies; none: itself.

    >>> from lattice import Conv
    >>> net = Lattice.chain((1, 3), [Conv(2, 1), Pad(((2, 1),), "circular")])
    >>> copied_cells(net, 2)
    (1, (array([1, 2, 0, 1, 2, 0]),))
    """
    copies: tuple[Array, ...] = ()
    while isinstance(op := lattice.nodes[position].op, Pad | Upsample):
        below = lattice.nodes[position].inputs[0]
        spatial = lattice.shapes[below][1:]
        maps = [fixed_map(op, axis, spatial).values for axis in range(len(spatial))]
        if not all(((one == 1).sum(axis=1) == 1).all() and (one.sum(axis=1) == 1).all() for one in maps):
            break
        sources = [one.argmax(axis=1) for one in maps]
        copies = tuple(one[rest] for one, rest in zip(sources, copies, strict=True)) if copies else tuple(sources)
        position = below
    return position, copies


@dataclass(frozen=True, slots=True)
class _Window(AxisMap):
    """What the taps of a window read of the cells that are copied; the first tap alone of those that read one of them."""

    window: AxisMap
    source: tuple[int, ...]

    def outputs(self, n: int) -> int:
        return self.window.outputs(len(self.source))

    def taps(self, n: int) -> int:
        return self.window.taps(len(self.source))

    def cell(self, j: int, k: int, n: int) -> int | None:
        found = int(self.table(n)[k, j])
        return None if found < 0 else found

    def table(self, n: int) -> Array:
        cells = self.cells()
        again = [(cells[:tap] == cells[tap]).any(axis=0) for tap in range(len(cells))]
        return np.where(np.array(again), -1, cells)

    def cells(self) -> Array:
        """The cell that each tap of each output reads a copy of, (taps, outputs); -1: none."""
        table = self.window.table(len(self.source))
        return np.where(table >= 0, np.array(self.source)[np.maximum(table, 0)], -1)


@dataclass(frozen=True, slots=True)
class OfCopies(Pooling):
    """A maximum over the cells that are copied to those that it reads."""

    op: Windowed
    copies: tuple[tuple[int, ...], ...]
    kind: str = "max"

    def windows(self, spatial: Shape) -> tuple[_Window, ...]:
        windows = self.op.windows(tuple(map(len, self.copies)))
        return tuple(_Window(window, source) for window, source in zip(windows, self.copies, strict=True))


@dataclass(frozen=True)
class Copied:
    """The maximum as one over the cells that are copied: `op` over `spatial`, its `maps`, and its pairs `axes`.

    `chosen`: per axis the pair of copies that stands for each pair of cells, one cell twice where that can be.
    """

    op: OfCopies
    spatial: Shape
    maps: tuple[Maps, ...]
    axes: Axes
    chosen: tuple[Array, ...]
    sizes: tuple[int, ...]

    def rates(self, rates: Array) -> Array:
        """Rates (taps, channels or 1, *outputs) of copies of one cell, at the first tap that reads it."""
        tables = [window.cells() for window in self.op.windows(self.spatial)]
        split = rates.reshape(*map(len, tables), *rates.shape[1:])
        for axis, cells in enumerate(tables):
            first = (cells[:, None] == cells).argmax(axis=1)  # tap, of each tap and output
            places = (axis, split.ndim - len(tables) + axis)
            along = np.moveaxis(split, places, (0, 1))
            moved = np.zeros_like(along)
            np.add.at(moved, (first, np.arange(cells.shape[1])), along)
            split = np.moveaxis(moved, (0, 1), places)
        return np.asarray(split.reshape(rates.shape))

    def at_cells(self, values: Array) -> Array:
        """Values over (runs, *pairs of copies) at the pairs of cells."""
        return values[across(list(self.chosen))]

    def at_copies(self, values: Array) -> Array:
        """Moments (channels or 1, *pairs of cells) at one pair of copies each."""
        spread = np.zeros((len(values), *self.sizes))
        spread[across(list(self.chosen))] = values
        return spread


def of_copies(lattice: Lattice, position: int, below: Axes) -> Copied | None:
    """The maximum at this position over the cells that are copied to it; None where it reads no copies.

    `below`: the pairs of the cells that it reads.
    """
    node = lattice.nodes[position]
    source, copies = copied_cells(lattice, node.inputs[0])
    if not copies:
        return None
    assert isinstance(node.op, Windowed)
    spatial = lattice.shapes[source][1:]
    op = OfCopies(node.op, tuple(tuple(one.tolist()) for one in copies))
    chosen, axes = [], []
    for pairs, one, n in zip(below, copies, spatial, strict=True):
        order = np.argsort(pairs.first != pairs.second, kind="stable")
        codes = one[pairs.first] * n + one[pairs.second]
        kept, places = np.unique(codes[order], return_index=True)
        chosen.append(order[places])
        axes.append(Pairs.of(n, n, kept))
    fixed = [fixed_map(op, axis, spatial) for axis in range(len(spatial))]
    return Copied(op, spatial, tuple(((a, a),) for a in fixed), tuple(axes), tuple(chosen), tuple(map(len, below)))
