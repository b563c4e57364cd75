"""What attention passes down to queries, keys and values, and the commands at each of its units."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from lattice.network.attention import Attention, roles
from lattice.network.lattice import Unit
from lattice.network.ops import Shape
from lattice.sweep.choices import Choice, Command, choices
from lattice.sweep.pullback import pull, sum_channels

__all__: list[str] = []

Array = np.ndarray[Any, Any]


@pull.register
def _(op: Attention, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    shapes = dict(zip(roles(inputs), inputs, strict=True))
    values = shapes["values"]
    axes = list(zip(op.windows(output[1:], values[1:]), values[1:], range(1 - len(values), 0), strict=True))
    passed = []
    for role, shape in shapes.items():
        down = cotangent if role == "values" else sum_channels(cotangent, len(output) - 1, values[0], shape[0], op.heads)
        for window, n, axis in axes if role in ("keys", "values") else ():
            down = window.pull(down, n, axis)
        passed.append(down)
    return tuple(passed)


@choices.register
def _(op: Attention, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    """`Command((input, *taps), channel)`: through the queries, keys, values or logits, numbered as they are read."""
    shapes = dict(zip(roles(inputs), inputs, strict=True))
    values, place = shapes["values"], {role: number for number, role in enumerate(shapes)}
    head = unit.channel // (values[0] // op.heads)
    own = {role: range(head * shape[0] // op.heads, (head + 1) * shape[0] // op.heads) for role, shape in shapes.items()}
    for role in ("queries", "logits"):
        for channel in own.get(role, ()):
            yield Command((place[role],), channel), place[role], Unit(unit.position, channel)
    windows = op.windows(shapes.get("queries", inputs[-1])[1:], values[1:])
    for taps in product(*(range(window.taps(n)) for window, n in zip(windows, values[1:], strict=True))):
        cells = [w.cell(j, k, n) for w, j, k, n in zip(windows, unit.position, taps, values[1:], strict=True)]
        if None in cells:
            continue
        position = tuple(cells)
        for channel in own.get("keys", ()):
            yield Command((place["keys"], *taps), channel), place["keys"], Unit(position, channel)  # type: ignore[arg-type]
        yield Command((place["values"], *taps)), place["values"], Unit(position, unit.channel)  # type: ignore[arg-type]
