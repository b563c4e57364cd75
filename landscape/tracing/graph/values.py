"""What a node of an exported graph stands for while the graph is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["Fixed", "Length", "Noise", "Scores", "Stale", "Unknown", "Value", "same_layout"]

Array = np.ndarray[Any, Any]


@dataclass(slots=True, eq=False)
class Value:
    """What a graph node stands for: the lattice node that holds its numbers.

    `layout` says which unit of it stands where in the tensor (`landscape.tracing.graph.layouts`); None: (batch, channels,
    *positions), as they are.
    """

    node: int
    layout: Array | None = None

    def is_like(self, other: Value) -> bool:
        """The same numbers in the same places?"""
        return self.node == other.node and same_layout(self.layout, other.layout)


def same_layout(one: Array | None, other: Array | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


@dataclass(frozen=True, slots=True)
class Fixed:
    """A tensor made of parameters, buffers and constants alone; `name` is set where it is one of them, in any shape."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Noise:
    """Random numbers that do not depend on the signal: `factor` times a mask of zeros and ones, which is one at rate `kept`.

    `draw` is the call that drew them, and `mask` makes the zeros and ones of what it drew. Uniform numbers between 0 and 1
    that are no mask yet have no `kept`; `shift` was added to them.
    """

    draw: Any
    kept: float | None = None
    factor: float = 1.0
    shift: float = 0.0
    mask: Callable[[Any], Any] = lambda drawn: drawn


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Logits of attention, not yet a node: `left` rows of queries times `right` rows of keys, `scale` beside, constants added.

    `layout` says which of all groups x queries x keys stands where in the tensor; `left` and `right` are layouts (groups,
    positions, width) of the nodes `nodes`. `constants`: (call, argument, what is made of it, over all groups x queries x keys).
    `soft`: the softmax over the keys was taken.
    """

    nodes: tuple[int, int]
    left: Array
    right: Array
    layout: Array
    scale: float = 1.0
    constants: tuple[tuple[Any, Any, Callable[[Any], Any]], ...] = ()
    soft: bool = False
    factor: float = 1.0  # of the shares
    fixed: Array | None = None  # constants that no tensor of the graph has: a causal mask

    def times(self, number: float) -> Scores:
        """The same times a number, constants included."""
        if self.soft:
            return replace(self, factor=self.factor * number)
        scaled = tuple((call, argument, _times(made, number)) for call, argument, made in self.constants)
        return replace(self, scale=self.scale * number, constants=scaled)

    def moved(self, layout: Any) -> Any:
        """The same in another layout, or in several."""
        return [replace(self, layout=part) for part in layout] if isinstance(layout, list) else replace(self, layout=layout)


@dataclass(frozen=True, slots=True, eq=False)
class Length:
    """The root of the sum of squares of a signal over these axes of its tensor, not yet a node."""

    of: Value
    axes: tuple[int, ...]


def _times(made: Callable[[Any], Any], number: float) -> Callable[[Any], Any]:
    return lambda value: number * made(value)


@dataclass(frozen=True, slots=True)
class Unknown:
    """The value of a call that was refused, and of everything above it; `refused` are those calls."""

    refused: frozenset[Any] = frozenset()


class Stale:
    """What a view meant before its memory was changed through another one."""
