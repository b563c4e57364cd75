"""Stacks of layers as tables, and whether neighbouring layers commute: what `lattice.counts.regular` decides regularity by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lattice.counts.multisets import with_same_commands
from lattice.errors import IrregularLatticeError
from lattice.network.lattice import Lattice, Node
from lattice.network.ops import (
    Dense,
    Input,
    Pointwise,
    Weighted,
    WeightedWindow,
    Windowed,
)
from lattice.network.windows.window import Window

__all__ = ["StackLayer", "regular_stack"]

Array = np.ndarray[Any, Any]

MOST_AT_ONCE = 10**6  # (cell, command, command) triples compared in one step


@dataclass(frozen=True, slots=True)
class StackLayer:
    """One layer of a stack as tables (commands, cells above) -> cell below, -1 for none; one per axis, one for channels."""

    node: Node
    windows: tuple[Any, ...]
    tables: tuple[Array, ...]
    channels: Array
    moves_channels: bool


def regular_stack(lattice: Lattice) -> list[StackLayer]:
    """The layers of a regular lattice, bottom first; `IrregularLatticeError` says which ones do not commute."""
    stack = _stack(lattice)
    sizes = lattice.input_shape[1:]
    axes = [([layer.tables[axis] for layer in stack], np.arange(n)) for axis, n in enumerate(sizes)]
    # A route may end in any channel of its position, so all channels of the input count as one place.
    axes.append(([layer.channels for layer in stack], np.zeros(lattice.input_shape[0], dtype=np.int64)))
    clashes = []
    for tables, ends in axes if stack else []:
        reaches, clash = _first_clash(tables, ends)
        if not reaches:
            return stack  # there are no paths at all, and the formula's empty sum says so
        clashes.append(clash)
    for axis, clash in enumerate(clashes):
        if clash is not None:
            raise IrregularLatticeError(_explain(stack, axis, *clash))
    return stack


def _stack(lattice: Lattice) -> list[StackLayer]:
    layers: list[StackLayer] = []
    position = len(lattice.nodes) - 1
    while not isinstance(lattice.nodes[position].op, Input):
        node = lattice.nodes[position]
        below = node.inputs[0]
        if isinstance(node.op, Windowed | Dense):
            layers.append(_layer(node, lattice.shapes[below], lattice.shapes[position]))
        elif not isinstance(node.op, Pointwise):
            raise IrregularLatticeError(
                f"{node.name}: {node.op} makes the lattice more than a stack of layers, and the multinomial formula holds for "
                f"stacks only; path_counts(net, output) counts the paths of every lattice"
            )
        position = below
    return layers[::-1]


def _layer(node: Node, below: tuple[int, ...], above: tuple[int, ...]) -> StackLayer:
    op = node.op
    windows = op.windows(below[1:]) if isinstance(op, Windowed) else ()
    tables = tuple(window.table(n) for window, n in zip(windows, below[1:], strict=True))
    if isinstance(op, Weighted):
        groups = op.groups if isinstance(op, WeightedWindow) else 1
        read, written = np.arange(below[0])[:, None], np.arange(above[0])[None, :]
        same_group = read // (below[0] // groups) == written // (above[0] // groups)
        return StackLayer(node, windows, tables, np.where(same_group, read, -1), True)
    return StackLayer(node, windows, tables, np.arange(above[0])[None, :], False)


def _first_clash(tables: Sequence[Array], ends: Array) -> tuple[bool, tuple[int, int, int, int] | None]:
    """Is there a word at all, and the first (layer, cell above it, command, command) whose order matters; bottom first.

    Cells of a layer are told apart by where the words below lead from them (the states of the minimal automaton of the
    stack), so that neighbouring commands commute exactly if both orders reach the same state, from every cell that some
    output reaches. Swaps of neighbours generate all permutations.
    """
    tables = with_same_commands(tables)
    most = len(tables[0])
    states, leads = [ends], []
    for table in tables:
        leads.append(np.where(table >= 0, states[-1][table], -1))
        states.append(_states(leads[-1]))
    if (states[-1] < 0).all():
        return False, None
    reached = np.arange(tables[-1].shape[1])
    for layer in range(len(tables) - 1, 0, -1):
        upper = tables[layer]
        _, first = np.unique(states[layer + 1][reached], return_index=True)
        for cells in np.array_split(reached[first], 1 + len(first) * most**2 // MOST_AT_ONCE):
            above = upper.T[cells]
            both = np.where(above[:, :, None] >= 0, leads[layer - 1].T[above], -1)  # [cell, command above, command below]
            different = np.argwhere(both != both.swapaxes(1, 2))
            if len(different):
                index, one, other = different[0].tolist()
                return True, (layer, int(cells[index]), one, other)
        reached = np.unique(upper[:, reached])
        reached = reached[reached >= 0]
    return True, None


def _states(leads: Array) -> Array:
    """A number for every distinct column, -1 for a column from which no word leads anywhere."""
    _, numbers = np.unique(leads, axis=1, return_inverse=True)
    return np.where((leads >= 0).any(axis=0), numbers.reshape(-1), -1)


def _explain(stack: Sequence[StackLayer], axis: int, layer: int, cell: int, first: int, second: int) -> str:
    lower, upper = stack[layer - 1], stack[layer]
    names = f"{upper.node.name} and {lower.node.name}"
    cure = "path_counts(net, output) counts the paths of every lattice"
    if axis == len(lower.windows):
        return (
            f"the multinomial formula does not hold: {names} do not offer the same channels ({upper.node.op} reads "
            f"{len(upper.channels)}, {lower.node.op} reads {len(lower.channels)}); channels=False counts spatial commands, "
            f"and {cure}"
        )

    def walk(above: int, below: int) -> str:
        table = upper.tables[axis]
        middle = table[above, cell] if above < len(table) else -1
        end = lower.tables[axis][below, middle] if middle >= 0 and below < len(lower.tables[axis]) else -1
        return f"to cell {end}" if end >= 0 else "nowhere"

    return (
        f"the multinomial formula does not hold, because {_difference(lower, upper, axis)}: on axis {axis}, from cell {cell} "
        f"of {upper.node.name}, the taps {first}, {second} lead {walk(first, second)} below {lower.node.name}, and the taps "
        f"{second}, {first} {walk(second, first)}. It holds for unpadded layers with equal kernels and dilations and stride 1 "
        f"below the last one; {cure}"
    )


def _difference(lower: StackLayer, upper: StackLayer, axis: int) -> str:
    """What the parameters of two layers say about why they do not commute."""
    below, above = lower.windows[axis], upper.windows[axis]
    if not isinstance(below, Window) or not isinstance(above, Window):
        return f"{upper.node.name} ({upper.node.op}) and {lower.node.name} ({lower.node.op}) do not commute"
    differences = [
        f"{layer.node.name} has padding {window.padding} ({window.mode})"
        for layer, window in ((lower, below), (upper, above))
        if any(window.padding)
    ]
    if below.kernel != above.kernel:
        differences.append(f"{lower.node.name} has kernel {below.kernel} and {upper.node.name} has kernel {above.kernel}")
    if below.dilation != above.dilation:
        differences.append(
            f"{lower.node.name} has dilation {below.dilation} and {upper.node.name} has dilation {above.dilation}"
        )
    if below.stride > 1:
        differences.append(f"{lower.node.name} has stride {below.stride} below {upper.node.name}")
    return ", ".join(differences)
