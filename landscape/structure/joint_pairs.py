r"""Pairs of positions through a `Rearrange` that splits, joins or swaps axes: all axes of positions at once.

Input unit (c, i) is read by output unit (C(c, i), J(c, i)), or by none. Seen from below,

    K_c(i, i') = K_{C(c, i)}(J(c, i), J(c, i'))   where C(c, i) = C(c, i'), and 0 elsewhere:

different output channels are filters of their own. What the axes carry is a product of pairs of each axis, so that the pairs
found are widened to the product that holds them.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache, reduce
from math import prod
from typing import Any

import numpy as np

from landscape.structure.arrays import check_room
from landscape.structure.correlated_positions import correlated_positions
from landscape.structure.pairs import Pairs
from landscape.structure.shared_signal import meet, shared_signals
from lattice import Concat, Flatten, Lattice, Multiply, Op, PixelShuffle, ResourceError
from lattice.network.ops import Pointwise, Rearrangement, Shape, Weighted
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources

__all__ = [
    "carried_jointly",
    "collect_jointly",
    "copies_that_meet",
    "filters_as_positions",
    "gathers_channels",
    "needed_jointly",
    "spreads_channels",
]

Array = np.ndarray[Any, Any]
Axes = tuple[Pairs, ...]
MOST_PAIRS = 2**26  # of all axes together
MOST_TABLE = 2**26  # pairs of one axis that are marked in a table
CHUNK = 2**20  # of them that are looked at together


@lru_cache(maxsize=64)
def _readers(op: Rearrange, shape: Shape) -> tuple[Array, Array]:
    """(C, J) of every input unit, each over (channels, flat positions); -1 where nothing reads it."""
    read = sources(op, shape)
    channels, positions = np.divmod(np.arange(read.size), max(prod(read.shape[1:]), 1))
    found = np.full((2, prod(shape)), -1, dtype=np.int64)
    there = read.ravel() >= 0
    found[:, read.ravel()[there]] = channels[there], positions[there]
    by_channel = found.reshape(2, shape[0], -1)
    return by_channel[0], by_channel[1]


@lru_cache(maxsize=64)
def _classes(op: Rearrange, shape: Shape) -> tuple[tuple[Array, Array], ...]:
    """Input channels that are treated alike: (their numbers, C - C of the first position and J of one of them)."""
    to, there = _readers(op, shape)
    relative = np.where(to >= 0, to - to[:, :1], -1 - to.size)
    rows = np.concatenate([relative, there], axis=1)
    _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    return tuple((np.flatnonzero(which == k), rows[channel]) for k, channel in enumerate(first))


def _chunks(axes: Axes) -> Iterator[tuple[slice, Array, Array]]:
    """The flat positions of both sides of all pairs of all axes, some at a time: (which pairs, left, right)."""
    if prod(map(len, axes)) > MOST_PAIRS:
        raise ResourceError(f"{prod(map(len, axes)):.1e} moments between positions are asked for; give a smaller input")
    if not axes:
        yield slice(0, 1), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        return
    (major, *rest), one = axes, np.zeros((), dtype=np.int64)
    left = reduce(lambda flat, pairs: np.add.outer(flat * pairs.left, pairs.first), rest, one).ravel()
    right = reduce(lambda flat, pairs: np.add.outer(flat * pairs.right, pairs.second), rest, one).ravel()
    n, m = prod(pairs.left for pairs in rest), prod(pairs.right for pairs in rest)
    step = max(CHUNK // max(len(left), 1), 1)
    for start in range(0, len(major), step):
        own = slice(start, start + step)
        first, second = np.add.outer(major.first[own] * n, left), np.add.outer(major.second[own] * m, right)
        yield slice(start * len(left), start * len(left) + first.size), first.ravel(), second.ravel()


class _Widened:
    """The pairs of each axis among pairs of flat positions, as they are found: marks, or codes where all pairs are many."""

    def __init__(self, sizes: Shape) -> None:
        self.sizes = sizes
        self.tables = [np.zeros(n * n if n * n <= MOST_TABLE else 0, dtype=bool) for n in sizes]
        self.codes: list[list[Array]] = [[] for _ in sizes]

    def add(self, first: Array, second: Array) -> None:
        if self.sizes:
            left, right = np.unravel_index(first, self.sizes), np.unravel_index(second, self.sizes)
            for table, codes, n, i, j in zip(self.tables, self.codes, self.sizes, left, right, strict=True):
                if table.size:
                    table[i * n + j] = True
                elif sum(map(len, codes)) + len(i) > MOST_PAIRS:
                    raise ResourceError(
                        f"more than {MOST_PAIRS:.1e} moments between positions are asked for; give a smaller input"
                    )
                else:
                    codes.append(np.unique(i * n + j))

    def axes(self, own: Axes) -> Axes:
        """The pairs that were found, and `own` beside them."""
        found = (
            Pairs.of(
                n, n, np.flatnonzero(table) if table.size else np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *codes]))
            )
            for n, table, codes in zip(self.sizes, self.tables, self.codes, strict=True)
        )
        return tuple(pairs | also for pairs, also in zip(found, own, strict=True))


def needed_jointly(op: Rearrange, shape: Shape, output: Shape, below: Axes, own: Axes) -> Axes:
    """The pairs of the output, `own` beside them, that the pairs `below` of the input collect from."""
    found = _Widened(output[1:])
    for _, left, right in _chunks(below):
        for _, row in _classes(op, shape):
            to, there = np.split(row, 2)
            kept = (to[left] == to[right]) & (there[left] >= 0) & (there[right] >= 0)
            found.add(there[left[kept]], there[right[kept]])
    return found.axes(own)


def carried_jointly(op: Rearrange, shape: Shape, needed: Axes, above: Axes, own: Axes) -> Axes:
    """Those of the `needed` pairs of the input, `own` beside them, that something reaches from the pairs `above`."""
    found = _Widened(shape[1:])
    for _, left, right in _chunks(needed):
        reached = np.zeros(len(left), dtype=bool)
        for _, row in _classes(op, shape):
            reached |= _places(row, left, right, above) >= 0
        found.add(left[reached], right[reached])
    return found.axes(own)


def collect_jointly(op: Rearrange, shape: Shape, here: Array, above: Axes, below: Axes, summed: bool = False) -> Array:
    """The moments at the pairs `below` from those at the pairs `above`, (channels or 1, *pairs of each axis).

    With `summed` the mean over the channels below alone.
    """
    values = np.concatenate([here.reshape(len(here), -1), np.zeros((len(here), 1))], axis=1)  # -1 reads the zero at the end
    classes = _classes(op, shape)
    one = summed or (len(here) == 1 and len(classes) == 1)
    check_room(1 if one else shape[0], below)
    result = np.zeros((1 if one else shape[0], prod(map(len, below))))
    to, _ = _readers(op, shape)
    for chunk, left, right in _chunks(below):
        for channels, row in classes:
            places = _places(row, left, right, above)
            share = len(channels) / shape[0] if one else 1
            if len(here) == 1:
                result[0 if one else channels, chunk] += share * values[0, places]
            elif one:
                for channel in channels:
                    result[0, chunk] += values[np.maximum(to[channel, left], 0), places] / shape[0]
            else:
                result[channels, chunk] += values[np.maximum(to[channels][:, left], 0), places]
    return result.reshape(len(result), *map(len, below))


def _places(row: Array, left: Array, right: Array, above: Axes) -> Array:
    """Where the moment that each pair of the input collects stands among those above; -1 where there is none."""
    to, there = np.split(row, 2)
    kept = (to[left] == to[right]) & (there[left] >= 0) & (there[right] >= 0)
    sizes = tuple(pairs.left for pairs in above)
    if not sizes:
        return np.where(kept, 0, -1)
    found = np.zeros(len(left), dtype=np.int64)
    sides = (np.unravel_index(np.maximum(there[side], 0), sizes) for side in (left, right))
    for pairs, i, j in zip(above, *sides, strict=True):
        codes = i * pairs.right + j
        place = np.minimum(np.searchsorted(pairs.codes, codes), len(pairs) - 1)
        kept &= pairs.codes[place] == codes
        found = found * len(pairs) + place
    return np.where(kept, found, -1)


@lru_cache(maxsize=64)
def spreads_channels(op: Rearrange, shape: Shape) -> bool:
    """Does some output channel read several input channels, so that pairs of positions above are pairs of channels below?"""
    return _varies(sources(op, shape), prod(shape[1:]))


@lru_cache(maxsize=64)
def gathers_channels(op: Rearrange, shape: Shape) -> bool:
    """Is some input channel read by several output channels, so that pairs of channels above are pairs of positions below?"""
    read = sources(op, shape)
    channels = (read // max(prod(shape[1:]), 1)).reshape(len(read), -1)
    readers = np.repeat(np.arange(len(read)), channels.shape[1])
    pairs = np.unique(np.stack([channels.ravel(), readers])[:, read.ravel() >= 0], axis=1)
    return bool(len(np.unique(pairs[0])) < pairs.shape[1])


def filters_as_positions(lattice: Lattice) -> frozenset[int]:
    """The nodes whose positions are channels of one layer with weights, which share nothing: of attention between channels.

    >>> from lattice import Conv
    >>> channels = Rearrange(((4,), (3,)), ((1,), (0,)))
    >>> filters_as_positions(Lattice.chain((1, 3), [Conv(4, 1), channels]))
    frozenset({2})
    """
    found = set()
    for n, node in enumerate(lattice.nodes):
        if not isinstance(node.op, Rearrange) or not spreads_channels(node.op, lattice.shapes[node.inputs[0]]):
            continue
        read, i = sources(node.op, lattice.shapes[node.inputs[0]]), node.inputs[0]
        while isinstance(lattice.nodes[i].op, Pointwise | Rearrangement):
            (below,) = lattice.nodes[i].inputs
            if isinstance(lattice.nodes[i].op, Rearrangement):
                units = sources(lattice.nodes[i].op, lattice.shapes[below]).ravel()
                read = np.where(read >= 0, units[np.maximum(read, 0)], -1)
            i = below
        if isinstance(lattice.nodes[i].op, Weighted) and _varies(read, prod(lattice.shapes[i][1:])):
            found.add(n)
    return frozenset(found)


def _varies(read: Array, positions: int) -> bool:
    channels = np.where(read >= 0, read // max(positions, 1), -1).reshape(len(read), -1)
    largest = channels.max(axis=1, keepdims=True)
    return bool(((channels != largest) & (channels >= 0)).any())


def copies_that_meet(
    lattice: Lattice, needed: Mapping[tuple[int, int], Axes]
) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[int]]:
    """Shuffles that turn pairs of positions into pairs of channels which hold one signal: no rule carries these.

    The names of those below which a concatenation gathered the signal, those of all others, and the nodes that gathered it into
    these channels. They are missed only where what was gathered is asked for pairs of positions.
    """
    reach = shared_signals(lattice)
    correlated = correlated_positions(lattice)
    met, copies, gathering = [], [], set[int]()
    for n, node in enumerate(lattice.nodes):
        shape = lattice.shapes[node.inputs[0]] if node.inputs else ()
        spreads = isinstance(node.op, Rearrange) and spreads_channels(node.op, shape)
        if correlated[n] and (spreads or isinstance(node.op, PixelShuffle)):
            below = [(i, lattice.nodes[i]) for i in reach[node.inputs[0]]]
            asked = [(k, one) for k, one in below if any(not pairs.is_diagonal for i in one.inputs for pairs in needed[i, i])]
            own = {k for k, one in asked if _gathers(one.op, *lattice.input_shapes(one))}
            parts = [[reach[i] for i in one.inputs] for _, one in below if isinstance(one.op, Concat)]
            if own:
                copies.append(node.name)
                gathering |= own
            elif any(meet(a, b) for part in parts for k, a in enumerate(part) for b in part[k + 1 :]):
                met.append(node.name)
    return tuple(met), tuple(copies), frozenset(gathering)


def _gathers(op: Op, *shapes: Shape) -> bool:
    """Does an op make positions or channels of one signal different channels?"""
    if isinstance(op, Rearrange):
        return gathers_channels(op, shapes[0])
    if isinstance(op, Flatten):
        return max(shapes[0][1:], default=1) > 1
    return isinstance(op, Multiply) and shapes[0][0] != shapes[1][0]
