r"""Which products E[h_u h_u'] of values at two positions the forward mean field must carry: the forward twin of `plan`.

A maximum asks for all pairs of cells of a window; where pairs of maxima are asked for, for all pairs of cells of two windows,
and of a small field for all pairs of cells, since its maxima are simulated at once.
An average that an average below has made alike asks for the pairs of its windows.
What is asked of a layer it asks of what it reads: a convolution with fresh weights the pairs that one tap reads, a sum or a
gate the same pairs.
Where that were too many, pairs further apart than a certain number of cells are found from nearer ones (`closest`): what
neighbours read in common reaches no further.
"""

from dataclasses import replace
from functools import lru_cache
from math import prod

import numpy as np

from landscape.structure.pairs import Maps, Pairs, diagonal, everything, freeze, needed_above
from landscape.structure.plan import Axes, axis_maps, fixed_map, plan
from landscape.structure.signs import steps
from lattice import Activation, AdaptivePool, Add, GlobalPool, Lattice, Multiply, Norm, Pool
from lattice.network.attention import Attention
from lattice.network.ops import Pooling, Shape, Weighted, Windowed
from lattice.network.rearrange import Rearrange

__all__ = [
    "MOST_WHOLE",
    "added_to_itself",
    "asked_pairs",
    "closest",
    "moved_axes",
    "near_windows",
    "sharing_windows",
    "turned",
    "turned_sides",
    "with_nearer_pairs",
]

MOST_PAIRS = 2**18  # of one layer; above it the far ones are found from nearer ones
MOST_WHOLE = 800  # cells of a field all pairs of which are followed, and windows of one
MOST_UNDER_FEW = 3200  # cells of one that has so few windows


def asked_pairs(lattice: Lattice, filters: frozenset[str] = frozenset()) -> dict[int, Axes]:
    """For each node that it matters for, the pairs of positions at its output; pairs of equal positions are among them.

    `filters`: as of `landscape.structure.plan.plan`.

    >>> from lattice import Conv
    >>> net = Lattice.chain(
    ...     (1, 9),
    ...     [
    ...         Conv(4, 3),
    ...         Activation("relu"),
    ...         Pool("max", 2),
    ...         Conv(4, 3),
    ...         Activation("relu"),
    ...     ],
    ... )
    >>> # below the pool 7 cells, and 3 pairs of two each, twice
    >>> [len(axes[0]) for axes in asked_pairs(net).values()]
    [23, 13, 13]
    """
    return _asked(lattice, filters)[0]


def with_nearer_pairs(lattice: Lattice, filters: frozenset[str] = frozenset()) -> frozenset[int]:
    """The nodes at or below which pairs that are far apart are taken as nearer, for being too many."""
    found = set(_asked(lattice, filters)[1])
    for position, node in enumerate(lattice.nodes):
        if any(i in found for i in node.inputs):
            found.add(position)
    return frozenset(found)


@lru_cache(maxsize=8)
def _asked(lattice: Lattice, filters: frozenset[str]) -> tuple[dict[int, Axes], frozenset[int]]:
    """The pairs of each node, and the nodes of which there were too many."""
    asked: dict[int, Axes] = {
        position: tuple(map(diagonal, lattice.shapes[position][1:])) for position in _averages_again(lattice)
    }
    many = set()
    for position in reversed(range(1, len(lattice.nodes))):
        node = lattice.nodes[position]
        own = _own(lattice, position, filters, position in asked)
        if own is not None:
            _merge(asked, node.inputs[0], own)
        if position in asked:
            few = _few(asked[position])
            many |= {position} if few is not asked[position] else set()
            asked[position] = few
            for place, i in enumerate(node.inputs):
                below = _below(lattice, position, place, asked[position])
                if below is not None:
                    _merge(asked, i, below)
            for i, _, maps in added_to_itself(lattice, position):
                for sides in (maps, turned_sides(maps)):
                    _merge(asked, i, tuple(needed_above(turned(m), p) for m, p in zip(sides, asked[position], strict=True)))
    if 0 in asked:
        asked[0] = _few(asked[0])  # of white inputs, whose far pairs are zero, as near ones are
    return dict(sorted(asked.items())), frozenset(many)


def _own(lattice: Lattice, position: int, filters: frozenset[str], together: bool) -> Axes | None:
    """The pairs that a maximum, or a gate under an average, asks for by itself.

    `together`: pairs of its outputs are asked for.
    """
    node = lattice.nodes[position]
    spatial = lattice.input_shapes(node)[0][1:]
    carried = plan(lattice, filters).carried.get((position, position), ())
    together = together or not all(pairs.is_diagonal for pairs in carried)
    if isinstance(node.op, Pooling) and node.op.kind == "max" and spatial:
        assert isinstance(node.op, Pool | AdaptivePool | GlobalPool)
        tables = [window.table(n) for window, n in zip(node.op.windows(spatial), spatial, strict=True)]
        if together and is_small(tables, prod(spatial)):
            return tuple(everything(n, n) for n in spatial)
        maps = [fixed_map(node.op, axis, spatial) for axis in range(len(spatial))]
        windows = [diagonal(a.outputs) for a in maps]
        if together:
            windows = [
                _within(everything(a.outputs, a.outputs), near_windows(table)) for a, table in zip(maps, tables, strict=True)
            ]
        return tuple(needed_above(turned(((a, a),)), w) | diagonal(a.inputs) for a, w in zip(maps, windows, strict=True))
    if isinstance(node.op, Activation) and steps(node.op) is not None and not all(pairs.is_diagonal for pairs in carried):
        return carried
    return None


def is_small(tables: list[np.ndarray], cells: int) -> bool:
    """Is a field of so many cells simulated as a whole, its windows sharing cells?

    `tables`: the cell that each tap of each window reads, by axis.
    """
    overlap = any(sharing_windows(table) for table in tables)
    windows = prod(table.shape[1] for table in tables)
    return overlap and cells <= (MOST_UNDER_FEW if windows <= MOST_WHOLE else MOST_WHOLE)


def near_windows(table: np.ndarray) -> int:
    """How many outputs apart windows are whose winners depend on each other; `table`: the cell that each tap of each reads.

    A high place between two windows wins both. So these are twice as far apart as those that share cells, and at least next to
    each other.

    >>> from lattice import Pool
    >>> [
    ...     near_windows(pool.windows((9,))[0].table(9))
    ...     for pool in (Pool("max", 3, 1), Pool("max", 3, 2), Pool("max", 2))
    ... ]
    [4, 2, 1]
    """
    shared = sharing_windows(table)
    return min(shared + max(shared, 1), table.shape[1] - 1)


def sharing_windows(table: np.ndarray) -> int:
    """How many outputs apart windows are that share cells."""
    inside = [set(column[column >= 0].tolist()) for column in table.T]
    outputs = range(len(inside))
    return max((b - a for a in outputs for b in outputs[a:] if inside[a] & inside[b]), default=0)


def _averages_again(lattice: Lattice) -> list[int]:
    """The averages over positions that an average below has made alike: no fresh weights stand between.

    >>> from lattice import Conv
    >>> pool = Pool("avg", 3, 1)
    >>> _averages_again(Lattice.chain((1, 9), [pool, Conv(2, 3), pool, pool]))
    [4]
    """
    found, alike = [], [False]
    for position, node in enumerate(lattice.nodes[1:], start=1):
        op, below = node.op, any(alike[i] for i in node.inputs)
        if isinstance(op, Weighted):
            alike.append(False)
        elif isinstance(op, Windowed) and getattr(op, "kind", "avg") != "max":
            spatial = lattice.input_shapes(node)[0][1:]
            maps = [fixed_map(op, axis, spatial).values != 0 for axis in range(len(spatial))]
            if below and any(read.sum(axis=1).max() > 1 for read in maps):
                found.append(position)
            alike.append(below or any(read.sum(axis=0).max() > 1 for read in maps))
        else:
            alike.append(below)
    return found


def _below(lattice: Lattice, position: int, place: int, above: Axes) -> Axes | None:
    """The pairs of input number `place` that the pairs `above` of a node are made of."""
    node = lattice.nodes[position]
    shape, output = lattice.shapes[node.inputs[place]], lattice.shapes[position]
    if len(shape) != len(output) or len(shape) == 1 or (isinstance(node.op, Multiply) and shape[1:] != output[1:]):
        return None
    if isinstance(node.op, Attention):
        return None
    maps = moved_axes(node.op, shape) if isinstance(node.op, Rearrange) else axis_maps(node.op, shape, output)
    if maps is None:
        return above if shape[1:] == output[1:] and not isinstance(node.op, Rearrange) else None
    if not isinstance(node.op, Windowed | Rearrange):
        return None
    return tuple(
        needed_above(turned(axis), pairs) | diagonal(pairs_of)
        for axis, pairs, pairs_of in zip(maps, above, shape[1:], strict=True)
    )


def moved_axes(op: Rearrange, shape: Shape) -> tuple[Maps, ...] | None:
    """The map of each axis of positions, where none is split, joined or swapped, whatever becomes of the channels; else None.

    >>> flip = Rearrange(((2,), (3,)), ((0,), (1,)), ((1, 0), (2, 1, 0)))
    >>> moved_axes(flip, (2, 3))[0][0][0].values
    array([[0., 0., 1.],
           [0., 1., 0.],
           [1., 0., 0.]])
    """
    own = len(op.factors[0])
    if len(op.groups) != len(shape) or sorted(op.groups[0]) != list(range(own)):
        return None
    apart = replace(op, factors=((), *op.factors[1:]), groups=((), *_less(op.groups[1:], own)), takes=(None, *op.takes[1:]))
    if not apart.keeps_axes:
        return None
    fixed = [freeze(window.matrix(n)) for window, n in zip(apart.windows(shape[1:]), shape[1:], strict=True)]
    return tuple(((a, a),) for a in fixed)


def added_to_itself(lattice: Lattice, position: int) -> list[tuple[int, int, tuple[Maps, ...]]]:
    """(x, y, (A, B) of each axis) of the inputs x and y of a sum of which y is x at other positions, times a number.

    Of a pair of positions A takes the first for x as it is, B the second as y has it.

    >>> from lattice import Input, Node
    >>> flip = Rearrange(((2,), (3,)), ((0,), (1,)), (None, (2, 1, 0)))
    >>> nodes = Node("x", Input((2, 3))), Node("y", flip, (0,)), Node("sum", Add(), (0, 1))
    >>> [found[:2] for found in added_to_itself(Lattice(nodes), 2)]
    [(0, 1)]
    """
    node, found = lattice.nodes[position], list[tuple[int, int, tuple[Maps, ...]]]()
    for other in node.inputs if isinstance(node.op, Add) else ():
        moved = _without_factors(lattice, other)
        below = lattice.nodes[moved]
        if not (isinstance(below.op, Rearrange) and _keeps_channels(below.op)):
            continue
        source = _without_factors(lattice, below.inputs[0], node.inputs)
        shape = lattice.shapes[source]
        maps = moved_axes(below.op, shape)
        if source in node.inputs and maps is not None and len(shape) > 1:
            own = [freeze(np.eye(n)) for n in shape[1:]]
            sides = tuple(((a, b),) for a, ((b, _),) in zip(own, maps, strict=True))
            found.append((source, other, sides))
    return found


def _without_factors(lattice: Lattice, position: int, until: tuple[int, ...] = ()) -> int:
    """The node below those that multiply by a number, or the first of `until`."""
    node = lattice.nodes[position]
    while position not in until and isinstance(node.op, Norm) and node.op.kind == "scale":
        position = node.inputs[0]
        node = lattice.nodes[position]
    return position


def turned_sides(maps: tuple[Maps, ...]) -> tuple[Maps, ...]:
    """The same maps with the two positions of a pair exchanged."""
    return tuple(tuple((b, a) for a, b in axis) for axis in maps)


def _keeps_channels(op: Rearrange) -> bool:
    return len(op.factors[0]) <= 1 and op.takes[0] is None


def _less(groups: tuple[tuple[int, ...], ...], count: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(factor - count for factor in group) for group in groups)


def turned(maps: Maps) -> Maps:
    """The maps from inputs to outputs as maps from outputs to inputs.

    >>> average = freeze(np.array([[0.5, 0.5, 0.0]]))
    >>> turned(((average, average),))[0][0].values.shape
    (3, 1)
    """
    return tuple((freeze(a.values.T), freeze(b.values.T)) for a, b in maps)


def _merge(asked: dict[int, Axes], node: int, more: Axes) -> None:
    before = asked.get(node)
    asked[node] = more if before is None else tuple(a | b for a, b in zip(before, more, strict=True))


def _few(axes: Axes) -> Axes:
    """The pairs that are not too far apart, so that all axes together have few enough."""
    cells = prod(pairs.left for pairs in axes)
    if _count(axes) <= MOST_PAIRS or cells <= MOST_WHOLE or (cells <= MOST_UNDER_FEW and _count(axes) == cells**2):
        return axes
    reach = 1
    while prod(len(_within(pairs, reach + 1)) for pairs in axes) <= MOST_PAIRS:
        reach += 1
    return tuple(_within(pairs, reach) for pairs in axes)


def _count(axes: Axes) -> int:
    return prod(map(len, axes))


def _within(pairs: Pairs, reach: int) -> Pairs:
    """All pairs of one axis no further apart than this."""
    first, second = np.divmod(np.arange(pairs.left * pairs.right), pairs.right)
    return Pairs.of(pairs.left, pairs.right, np.flatnonzero(np.abs(first - second) <= reach))


@lru_cache(maxsize=2048)
def closest(kept: Pairs, codes: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where among the pairs that are kept these stand; of one (a, b) that is not, (a, a + r), (b - r, b) and one between.

    The last one is (b - r, a + r), or where that is near, the one of this length in the middle.

    >>> near = Pairs.of(4, 4, np.array([0, 1, 4, 5, 6, 9, 10, 11, 14, 15]))
    >>> # 0 and 3: 0 and 1, 2 and 3; and 1 and 2
    >>> [int(near.codes[place][0]) for place in closest(near, np.array([3]).tobytes())]
    [1, 11, 6]
    """
    wanted = np.frombuffer(codes, dtype=np.int64)
    one, other = np.divmod(wanted, kept.right)
    reach = int(np.abs(kept.first - kept.second).max(initial=0))
    lag = np.clip(other - one, -reach, reach)
    far = 2 * np.abs(other - one) > 3 * np.abs(lag)
    middle = (kept.left - np.abs(lag)) // 2 + np.maximum(-lag, 0)
    between = np.where(far, middle, other - lag), np.where(far, middle, one) + lag
    places = []
    for first, second in ((one, one + lag), (other - lag, other), between):
        code = first * kept.right + second
        place = np.minimum(np.searchsorted(kept.codes, code), len(kept) - 1)
        places.append(np.where(kept.codes[place] == code, place, np.searchsorted(kept.codes, first * (kept.right + 1))))
    return places[0], places[1], places[2]
