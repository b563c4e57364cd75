r"""Which moments K(u, u') = E[dy/dh_u dy/dh_u'] between positions a sweep must carry: what is asked for, and is not zero.

From the input up: the diagonal is asked for at the input; a 3x3 average with stride 1 asks its output for neighbours, a
convolution for nothing that is not asked of it (pairs that one tap reads). From the output down: a global average makes
all pairs of its input non-zero, a dense layer after a flattening none but the diagonal. What is both is carried, so a
layer of which only the diagonal matters costs what it costs in the diagonal rule (Proposition 1).

Moments also run between two nodes, where two branches that met in a sum meet again below without fresh weights.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, reduce, singledispatch
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from landscape.structure.arrays import Axes
from landscape.structure.joint_pairs import carried_jointly, copies_that_meet, needed_jointly
from landscape.structure.pairs import Maps, Matrix, carried_below, diagonal, everything, freeze, needed_above
from landscape.structure.shared_signal import Reach, meet, shared_signals
from lattice import (
    Activation,
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Flatten,
    Lattice,
    Multiply,
    Node,
    Norm,
    Op,
    PixelShuffle,
    Pool,
    Slice,
    UnsupportedError,
    Window,
)
from lattice.network.attention import Attention, roles
from lattice.network.ops import Merge, Pointwise, Pooling, Rearrangement, Shape, Summed, Weighted, Windowed
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources

__all__ = ["Axes", "Plan", "State", "Step", "all_taps", "fixed_map", "plan", "pool_cells", "takes_a_mean", "window_sizes"]

Array = np.ndarray[Any, Any]
State = tuple[int, int]
MOST_PAIRS = 2**20  # of 32 x 32 positions


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
    """The steps of a sweep in order, the pairs carried in each state, and the nodes where a meeting has no rule.

    `copies`: shuffles that make pairs of channels of pairs of positions, whose joint moments have no rule; `gathering`: the
    nodes below them at which these are missed.
    """

    steps: tuple[Step, ...]
    carried: Mapping[State, Axes]
    unresolved: tuple[str, ...]
    copies: tuple[str, ...] = ()
    gathering: frozenset[int] = frozenset()

    @cached_property
    def onward(self) -> Mapping[State, tuple[Step, ...]]:
        """The steps that lead on from each pair of nodes, in the order of the sweep."""
        grouped: dict[State, tuple[Step, ...]] = {}
        for step in self.steps:
            grouped[step.source] = (*grouped.get(step.source, ()), step)
        return grouped

    @property
    def is_diagonal(self) -> bool:
        """Is nothing carried but the diagonal: is Proposition 1 the whole law?"""
        apart = all(left == right for left, right in (step.places for step in self.steps))  # in h + h two paths are one
        return apart and all(a == b and all(pairs.is_diagonal for pairs in axes) for (a, b), axes in self.carried.items())


@lru_cache(maxsize=32)
def plan(lattice: Lattice, filters: frozenset[str] = frozenset()) -> Plan:
    """Which moments between which pairs must be carried, from the output to the input.

    `filters`: the names of convolutions of which pairs of different taps matter too (`landscape.gates.filters`).

    >>> from lattice import Conv, GlobalPool
    >>> plan(Lattice.chain((1, 8), [Conv(4, 3), Conv(4, 3), GlobalPool()])).is_diagonal
    True
    >>> plan(
    ...     Lattice.chain((1, 8), [Pool("avg", 3, 1), Conv(4, 3), GlobalPool()])
    ... ).is_diagonal
    False
    """
    steps, unresolved = _steps(lattice)
    needed = _diagonals(lattice)
    for step in reversed(steps):
        _merge(needed, step.source, _needed(lattice, _crossing(lattice, step, filters), needed[step.target]))
    met, copies, gathering = copies_that_meet(lattice, needed)
    carried = _diagonals(lattice)
    for step in steps:
        whole = step.node in gathering and step.side is None
        followed = _crossing(lattice, step, filters)
        reached = needed[step.target] if whole else _carried(lattice, followed, needed[step.target], carried[step.source])
        _merge(carried, step.target, reached)
    empty = {state for state, axes in carried.items() if not all(map(len, axes))}  # branches that meet, in no cell
    steps = [step for step in steps if not empty & {step.source, step.target}]
    states = {(0, 0)}.union(*((step.source, step.target) for step in steps))
    refused = (*unresolved, *met, *_maxima_over_gated_sums(lattice))
    return Plan(tuple(steps), {state: carried[state] for state in states}, refused, copies, gathering)


def _crossing(lattice: Lattice, step: Step, filters: frozenset[str]) -> Step:
    """The step with the pairs of different taps too, where they matter."""
    if step.maps is None or step.side is not None or lattice.nodes[step.node].name not in filters:
        return step
    return replace(step, maps=tuple((*taps, *all_taps(taps)) for taps in step.maps))


def all_taps(taps: Maps) -> Maps:
    """The map of one axis that reads all taps of a filter at once, on both sides of a pair."""
    whole = freeze(np.sum([tap.values for tap, _ in taps], axis=0))
    return ((whole, whole),)


def _maxima_over_gated_sums(lattice: Lattice) -> Iterator[str]:
    """Maxima over a sum of a signal and its own gate, as max(y - relu(y)): winner and gradient are one event without a rule."""
    reach = shared_signals(lattice)
    for node in lattice.nodes:
        if _chooses(node.op):
            for i in reach[node.inputs[0]]:
                below = lattice.nodes[i]
                meets = isinstance(below.op, Add) and any(
                    meet(reach[a], reach[b]) for k, a in enumerate(below.inputs) for b in below.inputs[k + 1 :]
                )
                if meets and any(isinstance(lattice.nodes[j].op, Activation) for a in below.inputs for j in reach[a]):
                    yield node.name
                    break


def _diagonals(lattice: Lattice) -> dict[State, Axes]:
    """The diagonal of every node's own moments, which is always carried."""
    return {(n, n): tuple(diagonal(size) for size in shape[1:]) for n, shape in enumerate(lattice.shapes)}


def _merge(axes: dict[State, Axes], state: State, more: Axes) -> None:
    before = axes.get(state)
    axes[state] = more if before is None else tuple(a | b for a, b in zip(before, more, strict=True))


def _needed(lattice: Lattice, step: Step, below: Axes) -> Axes:
    """The pairs of the source that the pairs `below` of the target collect from."""
    node, output = lattice.nodes[step.node], lattice.shapes[step.node]
    if step.maps is not None:
        return tuple(needed_above(maps, pairs) for maps, pairs in zip(step.maps, below, strict=True))
    if takes_a_mean(node.op, output) and step.side is None:
        return tuple(everything(n, n) for n in output[1:])
    if isinstance(node.op, Rearrange):
        own = tuple(diagonal(n) for n in output[1:])
        return needed_jointly(node.op, lattice.shapes[step.target[0]], output, below, own)
    return below if len(output) > 1 else ()


def _carried(lattice: Lattice, step: Step, needed: Axes, above: Axes) -> Axes:
    """The pairs of the target that are needed and that the pairs `above` of the source reach."""
    if step.maps is not None:
        return tuple(carried_below(*axis) for axis in zip(step.maps, needed, above, strict=True))
    op, shape = lattice.nodes[step.node].op, lattice.shapes[step.target[0]]
    if takes_a_mean(op, shape) and step.side is None and not all(pairs.is_diagonal for pairs in above):
        return needed
    own = tuple(diagonal(n) for n in shape[1:])
    if isinstance(op, Rearrange):
        return carried_jointly(op, shape, needed, above, own)
    if isinstance(op, Attention) and roles(lattice.nodes[step.node].inputs)[step.places[0]] == "logits":
        return own
    return own if len(lattice.shapes[step.node]) == 1 else above  # flat features are apart, wherever they stood


# --- the steps ------------------------------------------------------------------------------------------------------------


def _steps(lattice: Lattice) -> tuple[list[Step], tuple[str, ...]]:
    """All steps in the order of the sweep, and the names of the nodes through which a meeting could not be followed."""
    free = shared_signals(lattice)
    top = len(lattice.nodes) - 1
    states: set[State] = {(top, top)}
    steps: list[Step] = []
    unresolved: dict[str, None] = {}
    for n in reversed(range(1, len(lattice.nodes))):
        node = lattice.nodes[n]
        for source in sorted((state for state in states if n in state), reverse=True):  # its own moments first
            result: list[Step] = []
            if source == (n, n):
                result = _own(lattice, node, n, free)
            elif isinstance(node.op, Weighted):
                pass  # below fresh weights nothing is correlated with another branch
            elif _is_followed_alone(node.op):
                result = _one_side(lattice, node, source, source.index(n), free)
            else:
                unresolved[node.name] = None
            if not isinstance(node.op, Add | Concat) and any(meet(free[a], free[b]) for a, b in combinations(node.inputs, 2)):
                unresolved[node.name] = None
            steps += result
            states.difference_update([source])
            states.update(step.target for step in result)
    return _leading_down(steps), tuple(unresolved)


def _is_followed_alone(op: Op) -> bool:
    """Can the moments between a node and another branch be followed through it, on the node's side alone?"""
    if isinstance(op, Rearrange):
        return op.keeps_axes and op.takes[0] is None
    return isinstance(op, Windowed | Pointwise | Summed | Attention) and not _chooses(op)


def _chooses(op: Op) -> bool:
    """Is it a maximum, whose winner and the branch beside it depend on the same values?"""
    return isinstance(op, Pooling) and op.kind == "max"


def _leading_down(steps: list[Step]) -> list[Step]:
    """The steps from which the input's own moments are reached; a meeting without a rule ends on its way."""
    alive: set[State] = {(0, 0)}
    kept = []
    for step in reversed(steps):
        if step.target in alive:
            alive.add(step.source)
            kept.append(step)
    return kept[::-1]


def _own(lattice: Lattice, node: Node, n: int, free: tuple[Reach, ...]) -> list[Step]:
    """The steps of a node's own moments: to each of its inputs, and to pairs of them that meet again below."""
    inputs = node.inputs
    numbers = range(len(inputs))
    pairs = [(p, p) for p in numbers]
    if isinstance(node.op, Add):
        pairs += [(p, q) for p in numbers for q in numbers if p != q and meet(free[inputs[p]], free[inputs[q]], each=True)]
    return [Step(n, (n, n), (inputs[p], inputs[q]), (p, q), _maps(lattice, n, p)) for p, q in pairs]


def _one_side(lattice: Lattice, node: Node, source: State, side: int, free: tuple[Reach, ...]) -> list[Step]:
    """The steps of the moments between a node and another one, down on the node's side.

    What comes down attention's queries, keys and logits changes its sign with the values, which the other branch does not: only
    that through the values is not zero.
    """
    n, other = source[side], source[1 - side]
    steps = []
    for number, below in enumerate(node.inputs):
        if isinstance(node.op, Attention) and roles(node.inputs)[number] != "values":
            continue
        if meet(free[below], free[other], each=True):
            target = (below, other) if side == 0 else (other, below)
            maps = _maps(lattice, n, number, side, lattice.shapes[other][1:])
            steps.append(Step(n, source, target, (number, number), maps))
    return steps


def takes_a_mean(op: Op, shape: Shape) -> bool:
    """Does a norm take out the mean over positions, of few enough to carry all their pairs? So it does of the gradient."""
    return isinstance(op, Norm) and op.kind in ("instance", "group") and prod(n * n for n in shape[1:]) <= MOST_PAIRS


# --- the maps of an op ----------------------------------------------------------------------------------------------------


def _maps(
    lattice: Lattice, n: int, number: int, side: int | None = None, other: tuple[int, ...] = ()
) -> tuple[Maps, ...] | None:
    """(A_k, B_k) of each axis down to input number `place`; None where positions stay.

    `side` is the node's, if it does not stand on both; `other` then are the sizes of the node on the other side.
    """
    node = lattice.nodes[n]
    if isinstance(node.op, Attention) and roles(node.inputs)[number] in ("queries", "logits"):  # of its own position
        return None
    maps = axis_maps(node.op, lattice.shapes[node.inputs[number]], lattice.shapes[n])
    if maps is None or side is None:
        return maps
    kept = [freeze(np.eye(m)) for m in other]
    fixed = [a for ((a, _),) in maps]
    return tuple((((a, b) if side == 0 else (b, a)),) for a, b in zip(fixed, kept, strict=True))


@singledispatch
def axis_maps(op: Op, shape: Shape, output: Shape) -> tuple[Maps, ...] | None:
    """(A_k, B_k) of each axis of an op between an input of this shape and its output; None where positions stay."""
    raise UnsupportedError(f"no map of positions for {op!r}; add one with landscape.structure.plan.axis_maps.register")


@axis_maps.register(ChannelShuffle)
@axis_maps.register(Dense)
@axis_maps.register(Flatten)
@axis_maps.register(Merge)
@axis_maps.register(Pointwise)
@axis_maps.register(Slice)
def _(op: Op, shape: Shape, output: Shape) -> tuple[Maps, ...] | None:
    return None


@axis_maps.register
def _(op: Rearrange, shape: Shape, output: Shape) -> tuple[Maps, ...] | None:
    """None where axes are split, joined or swapped: `landscape.structure.joint_pairs` has the rule then."""
    if not op.keeps_axes:
        return None
    fixed = [freeze(window.matrix(n)) for window, n in zip(op.windows(shape[1:]), shape[1:], strict=True)]
    return tuple(((a, a),) for a in fixed)


@axis_maps.register
def _(op: Attention, shape: Shape, output: Shape) -> tuple[Maps, ...]:
    """From the positions of the values, each of those that an output reads with the same share."""
    read = [window.matrix(n) for window, n in zip(op.windows(output[1:], shape[1:]), shape[1:], strict=True)]
    fixed = [freeze(cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)) for cells in read]
    return tuple(((a, a),) for a in fixed)


@axis_maps.register
def _(op: Rearrangement, shape: Shape, output: Shape) -> tuple[Maps, ...] | None:
    """The map of each axis, where channels stay and the axes are rearranged one by one."""
    if len(output) == len(shape):
        read, own = np.array(np.unravel_index(sources(op, shape), shape)), np.indices(output)
        lines = [np.moveaxis(read[axis], axis, 0).reshape(n, -1)[:, 0] for axis, n in enumerate(output)]
        if all(np.array_equal(lines[axis][own[axis]], read[axis]) for axis in range(len(output))) and np.array_equal(
            read[0], own[0]
        ):
            fixed = [
                freeze((line[:, None] == np.arange(n)).astype(float)) for line, n in zip(lines[1:], shape[1:], strict=True)
            ]
            return tuple(((a, a),) for a in fixed)
    raise UnsupportedError(
        f"{op!r} moves cells between channels, or not axis by axis; add a rule with landscape.structure.plan.axis_maps.register"
    )


@axis_maps.register
def _(op: PixelShuffle, shape: Shape, output: Shape) -> tuple[Maps, ...]:
    return tuple(_shuffled(n, op.factor) for n in shape[1:])


@axis_maps.register
def _(op: Multiply, shape: Shape, output: Shape) -> tuple[Maps, ...] | None:
    """All positions of the output read the one cell of a gate."""
    if shape[1:] == output[1:]:
        return None
    read = [freeze(np.eye(m) if n == m else np.ones((m, n))) for n, m in zip(shape[1:], output[1:], strict=True)]
    return tuple(((a, a),) for a in read)


@axis_maps.register
def _(op: Windowed, shape: Shape, output: Shape) -> tuple[Maps, ...]:
    spatial = shape[1:]
    if isinstance(op, Weighted):
        return tuple(_taps(window, n) for window, n in zip(op.windows(spatial), spatial, strict=True))
    fixed = [fixed_map(op, axis, spatial) for axis in range(len(spatial))]
    return tuple(((a, a),) for a in fixed)


@lru_cache(maxsize=512)
def _taps(window: Any, n: int) -> Maps:
    """One map of zeros and ones per tap: does output j read input i through tap k?"""
    maps = [freeze(tap) for tap in window.table(n)[..., None] == np.arange(n)]
    return tuple((tap, tap) for tap in maps)


@lru_cache(maxsize=512)
def fixed_map(op: Windowed, axis: int, spatial: tuple[int, ...]) -> Matrix:
    """The map of one axis of an op without weights; that of a maximum takes the cells of a window as equally likely."""
    values = op.windows(spatial)[axis].matrix(spatial[axis])
    if isinstance(op, Pooling):
        values = values / window_sizes(op, spatial)[axis][:, None]
    return freeze(values)


@lru_cache(maxsize=64)
def _shuffled(n: int, r: int) -> Maps:
    """Position r i + a of the output reads position i, for every a: r maps."""
    maps = [freeze(np.eye(n * r)[:, a::r]) for a in range(r)]
    return tuple((a, a) for a in maps)


def window_sizes(op: Windowed, spatial: tuple[int, ...]) -> list[Array]:
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


def pool_cells(op: Windowed, spatial: tuple[int, ...]) -> Array:
    """Over how many cells each output of a pool averages (torch's divisor) or takes the maximum: float64, output positions."""
    cells: Array = reduce(np.multiply.outer, window_sizes(op, spatial))
    return cells
