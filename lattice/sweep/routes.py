"""Definitions 1 and 2, Eq. 2 and 3, literally: routes are walked and command vectors are listed one by one.

Slow on purpose. This module shares nothing with the pull-back but the axis maps, and serves as its oracle: the number
of command vectors that lead from a unit to another is what `path_counts` computes without listing them.

A command says where a route goes next, standing at a unit:

- at a convolution or dense layer, `Command(taps, channel)`: a tap per axis, and the input channel;
- at a pool or an upsampling, `Command(taps)`: the channel stays;
- at a sum, `SKIP` takes the identity branch; the other branch needs no command where its first layer has one. Where it
  has none (its top is another sum, or only gates), and where several branches are not the identity, `Branch(i)` takes it;
- at every other layer there is one way down, and no command.

A residual block around one convolution has thus one command from {taps and channels} + {SKIP}, as in the paper.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from lattice.checks import is_whole
from lattice.errors import SpecificationError
from lattice.network.lattice import Lattice, Unit, check_lattice
from lattice.network.ops import (
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Flatten,
    Input,
    Multiply,
    Op,
    PixelShuffle,
    Pointwise,
    Shape,
    Slice,
    Summed,
    WeightedWindow,
    Windowed,
)

__all__ = ["SKIP", "Branch", "Command", "commands", "path_exists", "route", "steps"]


@dataclass(frozen=True, slots=True)
class Command:
    """Read through these taps (one per axis) from this input channel (None: the channel stays)."""

    taps: tuple[int, ...]
    channel: int | None = None

    def __repr__(self) -> str:
        return str(self.taps if self.channel is None or not isinstance(self.taps, tuple) else (*self.taps, self.channel))


@dataclass(frozen=True, slots=True)
class Branch:
    """Take this branch of a sum, or of a product."""

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


def route(lattice: Lattice, commands: Sequence[Any], output: Where) -> Unit:
    """Definition 1: the input unit where the route that obeys `commands` from unit `output` ends.

    `commands` is bottom layer first, so its last entry is obeyed first. Besides `Command`s and SKIP, plain tuples are
    understood: (taps..., channel), or taps alone where the layer below has one channel; on one axis, an int.

    Returns the input `Unit`. Raises `SpecificationError` where a command does not exist, reads padding, or where there
    are too few or too many commands.

    >>> from lattice import Conv, Lattice, residual
    >>> net = Lattice.chain((1, 7), [Conv(1, kernel=3), residual([Conv(1, kernel=3, padding=1)])])
    >>> route(net, [2, 1], output=(3,)), route(net, [2, SKIP], output=(3,))
    (Unit(position=(5,), channel=0), Unit(position=(5,), channel=0))
    """
    check_lattice(lattice, "route")
    *_, (_, _, unit) = steps(lattice, commands, output)
    return unit


def steps(lattice: Lattice, commands: Sequence[Any], output: Where) -> Iterator[tuple[AnyCommand | None, int, Unit]]:
    """The units that the route of `route` visits, the output first: (command that led there, position of the node, unit).

    The command is None at the start, and where there is one way down. Errors as `route`, when the step is reached.

    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 7), [Conv(1, kernel=3), Conv(1, kernel=3)])
    >>> [(command, unit.position) for command, _, unit in steps(net, [2, 1], output=(0,))]
    [(None, (0,)), ((1, 0), (1,)), ((2, 0), (3,))]
    """
    position, unit = len(lattice.nodes) - 1, lattice.unit(output)
    if not isinstance(commands, Iterable) or isinstance(commands, str):
        raise SpecificationError(f"commands is {commands!r}; it is a sequence of commands, bottom layer first")
    remaining = list(commands)
    yield None, position, unit
    while not isinstance(lattice.nodes[position].op, Input):
        choices = {command: (below, where) for command, below, where in choices_at(lattice, position, unit)}
        command = _next_command(lattice, position, choices, remaining)
        if isinstance(command, Command) and not _is_made_of_numbers(command):
            raise SpecificationError(f"{lattice.nodes[position].name}: the command {command!r} is not made of whole numbers")
        if command not in choices:
            node = lattice.nodes[position]
            if isinstance(command, Command) and _taps_exist(lattice, position, command):
                raise SpecificationError(f"{node.name}: command {command} at {unit} reads padding; no path goes there")
            offered = ", ".join(map(repr, list(choices)[:6])) + (", ..." if len(choices) > 6 else "")
            raise SpecificationError(f"{node.name}: there is no command {command!r} at {unit}; there are {offered or 'none'}")
        position, unit = choices[command]
        yield command, position, unit
    if remaining:
        raise SpecificationError(f"the route ended at {unit} with {len(remaining)} commands left: {remaining}")


def commands(lattice: Lattice, output: Where | None = None, input: Where | None = None) -> Iterator[tuple[AnyCommand, ...]]:
    """Eq. 2: the command vectors, bottom layer first, of all routes from unit `output` (to unit `input`), lazily.

    `output=None` runs over all output units, `input=None` over all that are reached. A bare position means channel 0.
    Their number is `path_counts(lattice, output)` at `input`; ask that first, it does not list them.

    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 5), [Conv(1, kernel=3), Conv(1, kernel=3)])
    >>> list(commands(net, output=(0,), input=(1,)))
    [((1, 0), (0, 0)), ((0, 0), (1, 0))]
    """
    check_lattice(lattice, "commands")
    target = None if input is None else lattice.unit(input, node=0)
    return _commands(lattice, output, target)


def _commands(lattice: Lattice, output: Where | None, target: Unit | None) -> Iterator[tuple[AnyCommand, ...]]:
    tops = [lattice.unit(output)] if output is not None else list(all_units(lattice.output_shape))
    reaches: dict[tuple[int, Unit], bool] = {}
    # A stack of (node, unit, commands so far, bottom first) walks depth first without recursion.
    stack: list[tuple[int, Unit, tuple[AnyCommand, ...]]] = [(len(lattice.nodes) - 1, top, ()) for top in reversed(tops)]
    while stack:
        position, unit, vector = stack.pop()
        if target is not None and not _reaches(lattice, position, unit, target, reaches):
            continue
        if position == 0:
            yield vector
            continue
        choices = list(choices_at(lattice, position, unit))
        for command, below, where in reversed(choices):
            stack.append((below, where, vector if command is None else (command, *vector)))


def path_exists(lattice: Lattice, output: Where, input: Where) -> bool:
    """Definition 2: is there a command vector whose route leads from unit `output` to unit `input`?

    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 7), [Conv(1, kernel=2, dilation=2), Conv(1, kernel=2, dilation=2)])
    >>> [path_exists(net, (0,), (i,)) for i in range(5)]
    [True, False, True, False, True]
    """
    check_lattice(lattice, "path_exists")
    target = lattice.unit(input, node=0)
    return _reaches(lattice, len(lattice.nodes) - 1, lattice.unit(output), target, {})


def _reaches(lattice: Lattice, position: int, unit: Unit, target: Unit, known: dict[tuple[int, Unit], bool]) -> bool:
    """Does some route lead from this unit to the target? Remembers what it found; an explicit stack, not recursion."""
    stack = [(position, unit)]
    while stack:
        here = stack[-1]
        if here in known:
            stack.pop()
        elif here[0] == 0:
            known[here] = here[1] == target
        else:
            below = [(node, where) for _, node, where in choices_at(lattice, *here)]
            unknown = [place for place in below if place not in known]
            if unknown and not any(known.get(place, False) for place in below):
                stack.extend(unknown)
            else:
                known[here] = any(known.get(place, False) for place in below)
    return known[position, unit]


def all_units(shape: Shape) -> Iterator[Unit]:
    for position in product(*map(range, shape[1:])):
        for channel in range(shape[0]):
            yield Unit(position, channel)


def _next_command(
    lattice: Lattice, position: int, choices: dict[AnyCommand | None, Any], remaining: list[Any]
) -> AnyCommand | None:
    """Take the command that the node at `position` obeys, or None where it needs none."""
    node = lattice.nodes[position]
    if None in choices and not (remaining and remaining[-1] == SKIP and SKIP in choices):
        return None
    if not remaining:
        raise SpecificationError(f"too few commands: {node.name} has none to obey")
    command = remaining.pop()
    if isinstance(command, Command | Branch | Skip):
        return command
    entries = tuple(command) if isinstance(command, tuple | list) else (command,)
    channels, *spatial = lattice.shapes[node.inputs[0]]
    if isinstance(node.op, Dense) and len(entries) == 1:
        return Command((), *entries)
    if not isinstance(node.op, WeightedWindow):
        return Command(entries)
    if len(entries) == len(spatial) and channels == 1:
        entries = (*entries, 0)
    if len(entries) != len(spatial) + 1:
        raise SpecificationError(
            f"{node.name}: the command {command!r} should have {len(spatial)} taps and an input channel (of {channels})"
        )
    return Command(entries[:-1], entries[-1])


def _is_made_of_numbers(command: Command) -> bool:
    taps: Any = command.taps
    return isinstance(taps, tuple) and all(map(is_whole, taps)) and (command.channel is None or is_whole(command.channel))


def _taps_exist(lattice: Lattice, position: int, command: Command) -> bool:
    node = lattice.nodes[position]
    if not isinstance(node.op, Windowed):
        return False
    channels, *spatial = lattice.shapes[node.inputs[0]]
    sizes = [window.taps(n) for window, n in zip(node.op.windows(tuple(spatial)), spatial, strict=True)]
    taps = len(command.taps) == len(sizes) and all(0 <= k < size for k, size in zip(command.taps, sizes, strict=True))
    return taps and (command.channel is None or 0 <= command.channel < channels)


# --- where the commands of one layer lead ---------------------------------------------------------------------------------


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
    if isinstance(node.op, Windowed | Dense):
        return True
    if not node.inputs or isinstance(node.op, Summed):
        return False
    return all(_starts_with_a_command(lattice, i) for i in node.inputs)


def _ancestors(lattice: Lattice, position: int) -> set[int]:
    found: set[int] = set()
    stack = [position]
    while stack:
        for below in lattice.nodes[stack.pop()].inputs:
            if below not in found:
                found.add(below)
                stack.append(below)
    return found


@singledispatch
def choices(op: Op, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    """The commands at an output unit of an op: (command or None, which input, unit of that input)."""
    raise SpecificationError(f"no route rule for {op!r}; add one with lattice.sweep.routes.choices.register")


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
