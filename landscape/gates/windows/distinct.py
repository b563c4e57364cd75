r"""How many of the values of a node are different ones: windows that overlap choose one cell, sums with a mirror image repeat.

Of two windows A and B of cells that are alike a maximum takes one cell with probability |A and B| / |A or B|. Along an axis
1 + sum over neighbours (1 - |A and B| / |A or B|) of the maxima are different ones on average.

Paddings and resizes copy cells. An average has no more different values than it reads, of which a ReLU leaves half. y + y' with
y' = y at exchanged positions (a mirroring, a roll by half) has each value twice.
"""

from collections.abc import Callable
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from landscape.gates.gates import is_affine
from landscape.structure.forward_pairs import added_to_itself
from lattice import Activation, Add, Blur, ChannelShuffle, Concat, Dropout, Lattice, Multiply, Pad, Slice, Upsample
from lattice.network.ops import Pooling, Windowed
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources

__all__ = ["Distinct", "different_channels", "different_positions"]

MOST_CHANNELS = 32  # of a group: of more, those that are left after copies are enough


class Distinct(NamedTuple):
    """How many values of a channel are different ones, on average; `random`: are there fewer in some draws?"""

    number: float
    random: bool = False


def different_positions(
    lattice: Lattice, position: int, following: Callable[[int], float], known: dict[int, Distinct] | None = None
) -> Distinct:
    """The different values among the positions of one channel; `following` is the share that a gate at a node leaves.

    >>> from lattice import Conv, Pool
    >>> net = Lattice.chain((1, 6), [Conv(2, 1), Pool("max", 3, 1, 1)])
    >>> different_positions(
    ...     net, 2, lambda node: 1.0
    ... )  # at both ends a window of two cells is in one of three
    Distinct(number=3.166666666666667, random=True)
    """
    known = {} if known is None else known
    if position not in known:
        read = lattice.nodes[position].inputs if _keeps_copies(lattice, position) else ()
        below = [different_positions(lattice, i, following, known) for i in read]
        known[position] = _of(lattice, position, below, following)
    return known[position]


def _of(lattice: Lattice, position: int, below: list[Distinct], following: Callable[[int], float]) -> Distinct:
    node, whole = lattice.nodes[position], float(prod(lattice.shapes[position][1:]))
    if not below:
        return Distinct(whole)
    if isinstance(node.op, Pooling) and node.op.kind == "max":
        changes = _changes(node.op, lattice.shapes[node.inputs[0]][1:])
        return Distinct(min(below[0].number, changes), below[0].random or changes < whole)
    if isinstance(node.op, Windowed):
        share = following(node.inputs[0])
        count = below[0].number * share + (isinstance(node.op, Pad) and node.op.mode == "zeros")
        return Distinct(min(whole, count), count < whole and (share < 1 or below[0].random))
    most = max(below)
    if isinstance(node.op, Add):
        for source, _, maps in added_to_itself(lattice, position):
            if all(np.array_equal(b.values @ b.values, a.values) for ((a, b),) in maps):
                share = following(source)  # of two that are added one is there
                return Distinct(most.number / 2 * (1 - (1 - share) ** 2), most.random or share < 1)
    return Distinct(min(whole, most.number), most.random)


def _keeps_copies(lattice: Lattice, position: int) -> bool:
    node = lattice.nodes[position]
    pooled = isinstance(node.op, Pooling) and len(lattice.shapes[position]) > 1
    return isinstance(node.op, Activation | Add | Blur | Concat | Dropout | Pad | Upsample) or is_affine(node) or pooled


def _changes(op: Windowed, spatial: tuple[int, ...]) -> float:
    """The different winners among a maximum's windows, over cells that are alike."""
    count = 1.0
    for window, n in zip(op.windows(spatial), spatial, strict=True):
        cells = [set(column[column >= 0].tolist()) for column in window.table(n).T]
        count *= 1 + sum(1 - len(a & b) / max(len(a | b), 1) for a, b in pairwise(cells))
    return count


def different_channels(lattice: Lattice, position: int, groups: int) -> float:
    """The different channels of the group that has the fewest of them, of few channels.

    >>> from lattice import Conv, Input, Node
    >>> nodes = [
    ...     Node("x", Input((1, 6))),
    ...     Node("y", Conv(4, 3), (0,)),
    ...     Node("twice", Concat(), (1, 1)),
    ... ]
    >>> different_channels(Lattice(tuple(nodes)), 2, 1)
    4.0
    """
    channels = lattice.shapes[position][0] // groups
    if channels > MOST_CHANNELS:
        return float(channels)
    names = _names(lattice, position, {})
    return float(min(len(set(names[i : i + channels])) for i in range(0, len(names), channels)))


def _names(lattice: Lattice, position: int, known: dict[int, tuple[object, ...]]) -> tuple[object, ...]:
    """What each channel is a function of, the same for two that are one up to a factor."""
    if position in known:
        return known[position]
    node, shape = lattice.nodes[position], lattice.shapes[position]
    own = tuple((position, channel) for channel in range(shape[0]))
    below = [_names(lattice, i, known) for i in node.inputs] if _moves_channels(lattice, position) else []
    names: tuple[object, ...] = own
    if below and isinstance(node.op, Concat):
        names = sum(below, ())
    elif below and isinstance(node.op, Slice):
        names = below[0][node.op.start : node.op.stop]
    elif below and isinstance(node.op, ChannelShuffle):
        names = tuple(below[0][i] for i in sources(node.op, (len(below[0]),)).tolist())
    elif below and isinstance(node.op, Rearrange):
        take = node.op.takes[0] or range(len(below[0]))
        names = tuple(below[0][i] if i >= 0 else None for i in take)
    elif below and isinstance(node.op, Activation):
        names = tuple((position, name) for name in below[0])
    elif below and isinstance(node.op, Add | Multiply):
        names = tuple(frozenset(each) for each in zip(*below, strict=True)) if len(set(map(len, below))) == 1 else own
    elif below:
        names = below[0]
    known[position] = names
    return names


def _moves_channels(lattice: Lattice, position: int) -> bool:
    """Is each channel one of those below, at the same positions, or a function of one of each input?"""
    node = lattice.nodes[position]
    if isinstance(node.op, Rearrange):
        alone = len(node.op.factors[0]) == 1 and node.op.groups[0] == (0,)
        return alone and not any(node.op.takes[1:]) and node.op.keeps_axes and len(node.op.takes) > 0
    ops = (Activation, Add, ChannelShuffle, Concat, Dropout, Multiply, Slice)
    return isinstance(node.op, ops) or is_affine(node)
