"""The commands that exist at a unit, and where each leads: one rule for each op."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from itertools import product
from typing import TypeAlias

import numpy as np

from lattice.errors import SpecificationError
from lattice.network.lattice import Lattice, Unit
from lattice.network.ops import (
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Flatten,
    Multiply,
    Op,
    PixelShuffle,
    Pointwise,
    Rearrangement,
    Shape,
    Slice,
    Summed,
    WeightedWindow,
    Windowed,
)
from lattice.network.shapes import sources

__all__ = [
    "SKIP",
    "AnyCommand",
    "Branch",
    "Choice",
    "Command",
    "Skip",
    "Where",
    "all_units",
    "choices",
    "choices_at",
    "identity_branches",
]


@dataclass(frozen=True, slots=True)
class Command:
    """Read through these taps from this input channel (Section 3.1).

    Parameters
    ----------
    taps : tuple of int
        One tap per axis.
    channel : int or None, default None
        Input channel; None where the channel stays.
    """

    taps: tuple[int, ...]
    channel: int | None = None

    def __repr__(self) -> str:
        return str(self.taps if self.channel is None or not isinstance(self.taps, tuple) else (*self.taps, self.channel))


@dataclass(frozen=True, slots=True)
class Branch:
    """Take this branch of a sum, or of a product.

    Parameters
    ----------
    index : int
        Index of the branch among the node's inputs.
    """

    index: int


@dataclass(frozen=True, slots=True)
class Skip:
    """Take the identity branch of a sum."""

    def __repr__(self) -> str:
        return "SKIP"


SKIP = Skip()


AnyCommand: TypeAlias = Command | Branch | Skip


Where: TypeAlias = Unit | tuple[int, ...] | int


Choice: TypeAlias = tuple[AnyCommand | None, int, Unit]  # command (None: no command needed), which input, which unit there


def all_units(shape: Shape) -> Iterator[Unit]:
    for position in product(*map(range, shape[1:])):
        for channel in range(shape[0]):
            yield Unit(position, channel)


def choices_at(lattice: Lattice, position: int, unit: Unit) -> Iterator[Choice]:
    """The commands that exist at a unit: (command, node below, unit there)."""
    node = lattice.nodes[position]
    if isinstance(node.op, Multiply):
        for index, below in enumerate(node.inputs):
            yield Branch(index), below, _unbroadcast(unit, lattice.shapes[below])
        return
    if isinstance(node.op, Add):
        identity = identity_branches(lattice, position)
        for index, below in enumerate(node.inputs):
            others = len(node.inputs) - len(identity)
            command: AnyCommand | None = Branch(index)
            if [index] == identity:
                command = SKIP
            elif others == len(identity) == 1 and _starts_with_a_command(lattice, below):
                command = None
            yield command, below, unit
        return
    for command, which, where in choices(node.op, lattice.input_shapes(node), unit):
        yield command, node.inputs[which], where


def _unbroadcast(unit: Unit, shape: Shape) -> Unit:
    """The unit of an input of this shape that a unit of a product reads: the only one where it has one cell or channel."""
    channels, *spatial = shape
    position = tuple(0 if n == 1 else j for j, n in zip(unit.position, spatial, strict=True))
    return Unit(position, 0 if channels == 1 else unit.channel)


def identity_branches(lattice: Lattice, position: int) -> list[int]:
    """Which inputs of a sum are the identity: read below the other branches too (an ancestor of them all)."""
    inputs = lattice.nodes[position].inputs
    return [
        index
        for index, below in enumerate(inputs)
        if all(other != below and below in _ancestors(lattice, other) for k, other in enumerate(inputs) if k != index)
    ]


def _starts_with_a_command(lattice: Lattice, position: int) -> bool:
    """Does every way down from this node meet a layer with commands before a sum or the input? Then SKIP is unmistakable."""
    node = lattice.nodes[position]
    if not node.inputs or isinstance(node.op, Summed):
        return False
    if _has_commands(lattice, position):
        return True
    return all(_starts_with_a_command(lattice, i) for i in node.inputs)


def _has_commands(lattice: Lattice, position: int) -> bool:
    """Has a layer commands of its own? Its rule says so, at the first unit from which a route leads on."""
    op = lattice.nodes[position].op
    if isinstance(op, Windowed | Dense):
        return True
    for unit in all_units(lattice.shapes[position]):
        for command, _, _ in choices(op, lattice.input_shapes(lattice.nodes[position]), unit):
            return command is not None
    return False


def _ancestors(lattice: Lattice, position: int) -> set[int]:
    ancestors: set[int] = set()
    stack = [position]
    while stack:
        for below in lattice.nodes[stack.pop()].inputs:
            if below not in ancestors:
                ancestors.add(below)
                stack.append(below)
    return ancestors


@singledispatch
def choices(op: Op, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    """The commands at an output unit of an op: (command or None, which input, unit of that input)."""
    raise SpecificationError(f"no route rule for {op!r}; add one with lattice.sweep.choices.choices.register")


@choices.register
def _(op: Pointwise, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    yield None, 0, unit


@choices.register
def _(op: Windowed, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    ((channels, *spatial),) = inputs
    windows = op.windows(tuple(spatial))
    below: range | tuple[None]
    if isinstance(op, WeightedWindow):
        group = unit.channel // (op.channels // op.groups)
        width = channels // op.groups
        below = range(group * width, (group + 1) * width)
    else:
        below = (None,)
    for taps in product(*(range(window.taps(n)) for window, n in zip(windows, spatial, strict=True))):
        cells = [w.cell(j, k, n) for w, j, k, n in zip(windows, unit.position, taps, spatial, strict=True)]
        if None not in cells:
            for channel in below:
                where = Unit(tuple(cells), unit.channel if channel is None else channel)  # type: ignore[arg-type]
                yield Command(taps, channel), 0, where


@choices.register
def _(op: Dense, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    for feature in range(inputs[0][0]):
        yield Command((), feature), 0, Unit((), feature)


@choices.register
def _(op: Flatten, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    channel, *position = (int(i) for i in np.unravel_index(unit.channel, inputs[0]))
    yield None, 0, Unit(tuple(position), channel)


@choices.register
def _(op: Concat, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    channel = unit.channel
    for index, shape in enumerate(inputs):
        if channel < shape[0]:
            yield None, index, Unit(unit.position, channel)
            return
        channel -= shape[0]


@choices.register
def _(op: Slice, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    yield None, 0, Unit(unit.position, unit.channel + op.start)


@choices.register
def _(op: ChannelShuffle, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    column, row = divmod(unit.channel, op.groups)
    yield None, 0, Unit(unit.position, row * (inputs[0][0] // op.groups) + column)


@choices.register
def _(op: PixelShuffle, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    offset = 0
    for coordinate in unit.position:
        offset = offset * op.factor + coordinate % op.factor
    cells = op.factor ** len(unit.position)
    position = tuple(coordinate // op.factor for coordinate in unit.position)
    yield None, 0, Unit(position, unit.channel * cells + offset)


@choices.register
def _(op: Rearrangement, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    read = sources(op, inputs[0])[(unit.channel, *unit.position)]
    if read >= 0:  # else it is zero, and no path goes there
        channel, *position = (int(i) for i in np.unravel_index(read, inputs[0]))
        yield None, 0, Unit(tuple(position), channel)
