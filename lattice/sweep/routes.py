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
from typing import Any

from lattice.checks import is_whole
from lattice.errors import SpecificationError
from lattice.network.lattice import Lattice, Unit, check_lattice
from lattice.network.ops import (
    Dense,
    Input,
    WeightedWindow,
    Windowed,
)
from lattice.sweep.choices import SKIP, AnyCommand, Branch, Command, Skip, Where, all_units, choices_at

__all__ = ["commands", "path_exists", "route", "steps"]


def route(lattice: Lattice, commands: Sequence[Any], output: Where) -> Unit:
    """The input unit where the route that obeys `commands` from unit `output` ends (Definition 1).

    Parameters
    ----------
    lattice : Lattice
        The network.
    commands : sequence
        Bottom layer first, so that the last entry is obeyed first. Besides `Command`, `Branch` and `SKIP`, plain tuples are
        understood: (taps..., channel), or taps alone where the layer below has one channel; on one axis, an int.
    output : Unit, tuple of int or int
        The output unit; a bare position means channel 0.

    Returns
    -------
    Unit
        A unit of the input.

    Raises
    ------
    SpecificationError
        If a command does not exist or reads padding, or there are too few or too many commands.

    Examples
    --------
    >>> from lattice import Conv, Lattice, residual
    >>> net = Lattice.chain(
    ...     (1, 7), [Conv(1, kernel=3), residual([Conv(1, kernel=3, padding=1)])]
    ... )
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
    """The command vectors, bottom layer first, of all routes from unit `output` to unit `input` (Eq. 2), lazily.

    Their number is `path_counts(lattice, output)` at `input`; ask that first, it does not list them.

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int, int or None, default None
        The output unit; a bare position means channel 0, None is all output units.
    input : Unit, tuple of int, int or None, default None
        The input unit; None is all that are reached.

    Returns
    -------
    iterator of tuple
        Tuples of `Command`, `Branch` and `SKIP`.

    Raises
    ------
    SpecificationError
        If a unit does not exist.

    Examples
    --------
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
    """Whether there is a command vector whose route leads from unit `output` to unit `input` (Definition 2).

    Parameters
    ----------
    lattice : Lattice
        The network.
    output : Unit, tuple of int or int
        The output unit; a bare position means channel 0.
    input : Unit, tuple of int or int
        The input unit.

    Returns
    -------
    bool
        True if there is a path.

    Raises
    ------
    SpecificationError
        If a unit does not exist.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain(
    ...     (1, 7), [Conv(1, kernel=2, dilation=2), Conv(1, kernel=2, dilation=2)]
    ... )
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
            unknown = [unit_below for unit_below in below if unit_below not in known]
            if unknown and not any(known.get(unit_below, False) for unit_below in below):
                stack.extend(unknown)
            else:
                known[here] = any(known.get(unit_below, False) for unit_below in below)
    return known[position, unit]


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
