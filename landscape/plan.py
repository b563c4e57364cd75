r"""Which moments K(u, u') = E[dy/dh_u dy/dh_u'] between positions a sweep must carry: what is asked for, and is not zero.

From the input up: the diagonal is asked for at the input; a 3x3 average with stride 1 asks its output for neighbours, a
convolution for nothing that is not asked of it (pairs that one tap reads). From the output down: a global average makes
all pairs of its input non-zero, a dense layer after a flattening none but the diagonal. What is both is carried, so a
layer of which only the diagonal matters costs what it costs in the diagonal rule (Proposition 1).

Moments also run between two nodes, where two branches that met in a sum meet again below without fresh weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from landscape.initialisation import weighted
from landscape.pairs import Maps, Matrix, Pairs, carried_below, diagonal, freeze, needed_above
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Concat,
    Dropout,
    Flatten,
    GlobalPool,
    Lattice,
    Node,
    Norm,
    PixelShuffle,
    Pool,
    Window,
)
from lattice.ops import Windowed

__all__ = ["Axes", "Plan", "State", "Step", "fixed_map", "plan", "window_sizes"]

Array = np.ndarray[Any, Any]
State = tuple[int, int]
Axes = tuple[Pairs, ...]


@dataclass(frozen=True)
class Step:
    """The moments of the pair of nodes `source` pass through node `node` to those of the pair `target`.

    `places` are the inputs of the node that the target stands for, left and right. `maps` are the readings of each axis, or
    None where positions stay.
    """

    node: int
    source: State
    target: State
    places: tuple[int, int]
    maps: tuple[Maps, ...] | None

    @property
    def side(self) -> int | None:
        """0 or 1 where the node stands on the left or on the right side of the pair only, None where on both."""
        return None if self.source[0] == self.source[1] else self.source.index(self.node)


@dataclass(frozen=True)
class Plan:
    """The steps of a sweep in order, the pairs carried in each state, and the nodes where a meeting has no rule."""

    steps: tuple[Step, ...]
    carried: Mapping[State, Axes]
    unresolved: tuple[str, ...]

    @property
    def is_diagonal(self) -> bool:
        """Is nothing carried but the diagonal: is Proposition 1 the whole law?"""
        return all(a == b and all(pairs.is_diagonal for pairs in axes) for (a, b), axes in self.carried.items())


@lru_cache(maxsize=32)
def plan(lattice: Lattice) -> Plan:
    """Which moments between which pairs must be carried, from the output to the input.

    >>> from lattice import Conv
    >>> plan(Lattice.chain((1, 8), [Conv(4, 3), Conv(4, 3), GlobalPool()])).is_diagonal
    True
    >>> plan(Lattice.chain((1, 8), [Pool("avg", 3, 1), Conv(4, 3), GlobalPool()])).is_diagonal
    False
    """
    steps, unresolved = _steps(lattice)
    needed = _diagonals(lattice)
    for step in reversed(steps):
        _merge(needed, step.source, _needed(lattice, step, needed[step.target]))
    carried = _diagonals(lattice)
    for step in steps:
        _merge(carried, step.target, _carried(lattice, step, needed[step.target], carried[step.source]))
    states = {(0, 0)}.union(*((step.source, step.target) for step in steps))
    return Plan(tuple(steps), {state: carried[state] for state in states}, unresolved)


def _diagonals(lattice: Lattice) -> dict[State, Axes]:
    """The diagonal of every node's own moments, which is always carried."""
    return {(n, n): tuple(diagonal(size) for size in shape[1:]) for n, shape in enumerate(lattice.shapes)}


def _merge(axes: dict[State, Axes], state: State, more: Axes) -> None:
    before = axes.get(state)
    axes[state] = more if before is None else tuple(a | b for a, b in zip(before, more, strict=True))


def _needed(lattice: Lattice, step: Step, below: Axes) -> Axes:
    """The pairs of the source that the pairs `below` of the target collect from."""
    if step.maps is not None:
        return tuple(needed_above(maps, pairs) for maps, pairs in zip(step.maps, below, strict=True))
    return below if len(lattice.shapes[step.node]) > 1 else ()


def _carried(lattice: Lattice, step: Step, needed: Axes, above: Axes) -> Axes:
    """The pairs of the target that are needed and that the pairs `above` of the source reach."""
    if step.maps is not None:
        return tuple(carried_below(*axis) for axis in zip(step.maps, needed, above, strict=True))
    if isinstance(lattice.nodes[step.node].op, Flatten):
        return tuple(diagonal(n) for n in lattice.shapes[step.target[0]][1:])
    return above


# --- the steps ------------------------------------------------------------------------------------------------------------


def _steps(lattice: Lattice) -> tuple[list[Step], tuple[str, ...]]:
    """All steps in the order of the sweep, and the names of the nodes through which a meeting could not be followed."""
    free = _reach(lattice)
    top = len(lattice.nodes) - 1
    states: set[State] = {(top, top)}
    steps: list[Step] = []
    unresolved: dict[str, None] = {}
    for n in reversed(range(1, len(lattice.nodes))):
        node = lattice.nodes[n]
        for source in sorted(state for state in states if n in state):
            found: list[Step] = []
            if source == (n, n):
                found = _own(lattice, node, n, free)
            elif isinstance(node.op, Windowed | Activation | Norm | Dropout | Add) and not weighted(node.op):
                found = _one_side(lattice, node, source, source.index(n), free)
            elif not weighted(node.op):  # below fresh weights nothing is correlated with another branch
                unresolved[node.name] = None
            steps += found
            states.difference_update([source])
            states.update(step.target for step in found)
    return _leading_down(steps), tuple(unresolved)


def _leading_down(steps: list[Step]) -> list[Step]:
    """The steps from which the input's own moments are reached; a meeting without a rule ends on its way."""
    alive: set[State] = {(0, 0)}
    kept = []
    for step in reversed(steps):
        if step.target in alive:
            alive.add(step.source)
            kept.append(step)
    return kept[::-1]


def _own(lattice: Lattice, node: Node, n: int, free: list[int]) -> list[Step]:
    """The steps of a node's own moments: to each of its inputs, and to pairs of them that meet again below."""
    maps, inputs = _maps(lattice, node), node.inputs
    pairs = [(p, p) for p in range(len(inputs))]
    if isinstance(node.op, Add):
        pairs += [
            (p, q) for p in range(len(inputs)) for q in range(len(inputs)) if p != q and free[inputs[p]] & free[inputs[q]]
        ]
    elif not isinstance(node.op, Concat):
        pairs = pairs[:1]
    return [Step(n, (n, n), (inputs[p], inputs[q]), (p, q), maps) for p, q in pairs]


def _one_side(lattice: Lattice, node: Node, source: State, side: int, free: list[int]) -> list[Step]:
    """The steps of the moments between a node and another one, down on the node's side."""
    n, other = source[side], source[1 - side]
    maps = _maps(lattice, node, side, lattice.shapes[other][1:])
    steps = []
    for place, below in enumerate(node.inputs):
        if free[below] & free[other]:
            target = (below, other) if side == 0 else (other, below)
            steps.append(Step(n, source, target, (place, place), maps))
    return steps


def _reach(lattice: Lattice) -> list[int]:
    """For each node the nodes below it that a path without fresh weights reaches, itself included, as bits."""
    reach: list[int] = []
    for position, node in enumerate(lattice.nodes):
        bits = 1 << position
        if not weighted(node.op):
            for below in node.inputs:
                bits |= reach[below]
        reach.append(bits)
    return reach


# --- the maps of an op ----------------------------------------------------------------------------------------------------


def _maps(lattice: Lattice, node: Node, side: int | None = None, other: tuple[int, ...] = ()) -> tuple[Maps, ...] | None:
    """(A_k, B_k) of each axis; None where positions stay. `side` is the node's, if not both; `other` the other's sizes."""
    op = node.op
    spatial = lattice.input_shapes(node)[0][1:]
    if isinstance(op, PixelShuffle):
        return tuple(_shuffled(n, op.factor) for n in spatial)
    if not isinstance(op, Windowed):
        return None
    if weighted(op):
        return tuple(_taps(window, n) for window, n in zip(op.windows(spatial), spatial, strict=True))
    fixed = [fixed_map(op, axis, spatial) for axis in range(len(spatial))]
    if side is None:
        return tuple(((a, a),) for a in fixed)
    kept = [freeze(np.eye(m)) for m in other]
    return tuple((((a, b) if side == 0 else (b, a)),) for a, b in zip(fixed, kept, strict=True))


@lru_cache(maxsize=512)
def _taps(window: Any, n: int) -> Maps:
    """One map of zeros and ones per tap: does output j read input i through tap k?"""
    maps = [freeze(tap) for tap in window.table(n)[..., None] == np.arange(n)]
    return tuple((tap, tap) for tap in maps)


@lru_cache(maxsize=512)
def fixed_map(op: Windowed, axis: int, spatial: tuple[int, ...]) -> Matrix:
    """The map of one axis of an op without weights; that of a maximum takes the cells of a window as equally likely."""
    values = op.windows(spatial)[axis].matrix(spatial[axis])
    if isinstance(op, Pool | AdaptivePool | GlobalPool):
        values = values / window_sizes(op, spatial)[axis][:, None]
    return freeze(values)


@lru_cache(maxsize=64)
def _shuffled(n: int, r: int) -> Maps:
    """Position r i + a of the output reads position i, for every a: r maps."""
    maps = [freeze(np.eye(n * r)[:, a::r]) for a in range(r)]
    return tuple((a, a) for a in maps)


def window_sizes(op: Pool | AdaptivePool | GlobalPool, spatial: tuple[int, ...]) -> list[Array]:
    """Per axis, over how many cells each output averages (torch's divisor) or takes the maximum: float64."""
    sizes = []
    for window, n in zip(op.windows(spatial), spatial, strict=True):
        inside = (window.table(n) >= 0).sum(axis=0)
        if isinstance(op, Pool) and op.kind == "avg" and op.count_include_pad:
            assert isinstance(window, Window)
            starts = window.stride * np.arange(window.outputs(n)) - window.padding[0]
            inside = np.minimum(starts + window.kernel, n + window.padding[1]) - starts
        sizes.append(inside.astype(float))
    return sizes
