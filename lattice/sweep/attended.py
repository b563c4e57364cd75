"""What attention passes down to queries, keys and values, and the commands at each of its units."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from lattice.network.attention import Attention
from lattice.network.lattice import Unit
from lattice.network.ops import Shape
from lattice.sweep.choices import Choice, Command, choices
from lattice.sweep.pullback import pull, sum_channels

__all__: list[str] = []

Array = np.ndarray[Any, Any]
QUERIES, KEYS, VALUES = range(3)


@pull.register
def _(op: Attention, inputs: tuple[Shape, ...], cotangent: Array, output: Shape) -> tuple[Array, ...]:
    queries, keys, values = inputs
    head = sum_channels(cotangent, len(output) - 1, values[0], queries[0], op.heads)
    axes = list(zip(op.windows(queries[1:], keys[1:]), keys[1:], range(1 - len(keys), 0), strict=True))
    passed = [head, head, cotangent]
    for place in (KEYS, VALUES):
        for window, n, axis in axes:
            passed[place] = window.pull(passed[place], n, axis)
    return tuple(passed)


@choices.register
def _(op: Attention, inputs: tuple[Shape, ...], unit: Unit) -> Iterator[Choice]:
    """`Command((input, *taps), channel)`: through the queries, the keys or the values, numbered 0, 1 and 2."""
    queries, keys, values = inputs
    width = queries[0] // op.heads
    head = unit.channel // (values[0] // op.heads)
    own = range(head * width, (head + 1) * width)
    for channel in own:
        yield Command((QUERIES,), channel), QUERIES, Unit(unit.position, channel)
    windows = op.windows(queries[1:], keys[1:])
    for taps in product(*(range(window.taps(n)) for window, n in zip(windows, keys[1:], strict=True))):
        cells = [w.cell(j, k, n) for w, j, k, n in zip(windows, unit.position, taps, keys[1:], strict=True)]
        if None in cells:
            continue
        position = tuple(cells)
        for channel in own:
            yield Command((KEYS, *taps), channel), KEYS, Unit(position, channel)  # type: ignore[arg-type]
        yield Command((VALUES, *taps)), VALUES, Unit(position, unit.channel)  # type: ignore[arg-type]
