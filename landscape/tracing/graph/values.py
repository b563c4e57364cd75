"""What a node of an exported graph stands for while the graph is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Fixed",
    "LayerOverHeads",
    "Length",
    "Noise",
    "PaddedLow",
    "QueriesAndKeys",
    "Scores",
    "Shared",
    "Stale",
    "Unknown",
    "Value",
    "same_layout",
]

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


class QueriesAndKeys(NamedTuple):
    """Nodes of queries and keys, and their layouts (groups, positions, width).

    `outer` are the sizes of the axes that the groups were, `arguments` the graph's calls that gave both, `places` where in
    these the numbers of the layouts stand.
    """

    nodes: tuple[int, int]
    left: Array
    right: Array
    outer: tuple[int, ...] = ()
    arguments: tuple[Any, Any] | None = None
    places: tuple[Array, Array] = (np.zeros(0), np.zeros(0))


class LayerOverHeads(NamedTuple):
    """A linear layer over the heads of shares: the graph's call, its arguments, and which axis of the groups the heads are."""

    call: Any
    weight: Any
    bias: Any
    axis: int


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Logits of attention, not yet a node: all groups x `rows` queries x `keys`, products of queries and keys, and summands.

    `layout` says which of all groups x rows x keys stands where in the tensor. `product`: the queries times keys, times
    `scale`. `constants`: (call, argument, what is made of it, over all groups x rows x keys). `given`: signals that are added,
    (node, which of its units, over all groups x rows x keys, factor). `soft`: the softmax over the keys was taken. `layer`: the
    shares were mixed over heads, and the layout says what stands where in what came out.
    """

    rows: int
    keys: int
    layout: Array
    product: QueriesAndKeys | None = None
    scale: float = 1.0
    constants: tuple[tuple[Any, Any, Callable[[Any], Any]], ...] = ()
    given: tuple[tuple[int, Array, float], ...] = ()
    soft: bool = False
    factor: float = 1.0  # of the shares
    fixed: Array | None = None  # constants that no tensor of the graph has: a causal mask
    call: Any = None  # that took the softmax
    layer: LayerOverHeads | None = None

    @classmethod
    def of_product(cls, product: QueriesAndKeys, layout: Array, scale: float = 1.0) -> Scores:
        """Rows of queries times rows of keys."""
        return cls(product.left.shape[1], product.right.shape[1], layout, product, scale)

    def times(self, number: float) -> Scores:
        """The same times a number, constants included."""
        if self.soft:
            return replace(self, factor=self.factor * number)
        scaled = tuple((call, argument, _times(made, number)) for call, argument, made in self.constants)
        given = tuple((node, layout, factor * number) for node, layout, factor in self.given)
        return replace(self, scale=self.scale * number, constants=scaled, given=given)

    def moved(self, layout: Any) -> Any:
        """The same in another layout, or in several."""
        return [replace(self, layout=part) for part in layout] if isinstance(layout, list) else replace(self, layout=layout)

    def plus(self, node: int, layout: Array, factor: float = 1.0) -> Scores:
        """The same and a signal, which of whose units stand where in the tensor."""
        units = np.full(self.layout.size, -1, dtype=np.int64)
        units[self.layout.ravel()] = layout.ravel()
        return replace(self, given=(*self.given, (node, units, factor)))

    def in_rows(self) -> Scores:
        """Where no queries say which rows are a group: those that stand together in the tensor, the keys last."""
        ids = self.layout.ravel()
        constants = tuple((call, argument, _picked(made, ids)) for call, argument, made in self.constants)
        given = tuple((node, units[ids], factor) for node, units, factor in self.given)
        fixed = None if self.fixed is None else self.fixed[ids]
        layout = np.arange(self.layout.size).reshape(self.layout.shape)
        return replace(self, rows=self.layout.shape[-2], layout=layout, constants=constants, given=given, fixed=fixed)


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A signal times shares of attention, of one shape, not yet summed over the keys."""

    scores: Scores
    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Length:
    """The root of the sum of squares of a signal over these axes of its tensor, not yet a node."""

    of: Value
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PaddedLow:
    """A signal padded with -inf, (lo, hi) an axis of positions, for a maximum to read; `argument` is the call that gave it."""

    argument: Any
    padding: tuple[tuple[int, ...], ...]


def _picked(made: Callable[[Any], Any], ids: Array) -> Callable[[Any], Any]:
    return lambda value: made(value)[ids]


def _times(made: Callable[[Any], Any], number: float) -> Callable[[Any], Any]:
    return lambda value: number * made(value)


@dataclass(frozen=True, slots=True)
class Unknown:
    """The value of a call that was refused, and of everything above it; `refused` are those calls."""

    refused: frozenset[Any] = frozenset()


class Stale:
    """What a view meant before its memory was changed through another one."""
