r"""Which signals two nodes share: the nodes below them, and the channels of these, that no fresh weight stands between.

Two branches that come down to one signal without fresh weights are correlated: their gradients add before they are squared.
Different channels of one layer are different filters, so that branches over slices of other channels share nothing.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache, singledispatch
from typing import NamedTuple, TypeAlias

from lattice import ChannelShuffle, Concat, Lattice, Multiply, Op, Slice, UnsupportedError
from lattice.network.attention import Attention
from lattice.network.ops import Merge, Pointwise, Rearrangement, Shape, Weighted, Windowed
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources

__all__ = ["Channels", "Reach", "meet", "shared_signals"]


class Channels(NamedTuple):
    """Channels start..stop-1 of a node; `aligned` where the reader's channel c reads channel start + c.

    `reads`: the channel that each of the reader's reads, -1 for none, in another order; `among`: which are read at all, where
    no order is known. Both are None where nothing but the run is known.
    """

    start: int
    stop: int
    aligned: bool
    reads: tuple[int, ...] | None = None
    among: frozenset[int] | None = None

    @property
    def order(self) -> Sequence[int] | None:
        """The channel that each of the reader's reads, where that is known."""
        return range(self.start, self.stop) if self.aligned else self.reads

    @property
    def all_of_them(self) -> Collection[int]:
        """Those that are read, or may be."""
        if self.among is not None:
            return self.among
        return frozenset(self.order or range(self.start, self.stop)) - {-1}

    @classmethod
    def of(cls, reads: Sequence[int]) -> "Channels":
        """In this order, -1 for none."""
        there = [i for i in reads if i >= 0] or [0]
        if list(reads) == list(range(there[0], there[0] + len(reads))):
            return cls(there[0], there[-1] + 1, True)
        return cls(min(there), max(there) + 1, False, tuple(reads))

    def unordered(self) -> "Channels":
        """The same channels, in no order that is known."""
        known = self.reads is not None or self.among is not None
        return Channels(self.start, self.stop, False, None, frozenset(self.all_of_them) if known else None)


Reach: TypeAlias = dict[int, Channels]  # by position of the node that is reached


@lru_cache(maxsize=32)
def shared_signals(lattice: Lattice) -> tuple[Reach, ...]:
    """For each node the nodes at or below it that paths without fresh weights reach, and which of their channels.

    >>> from lattice import Conv, Input, Node
    >>> nodes = [
    ...     Node("input", Input((1, 8))),
    ...     Node("conv", Conv(4, 3), (0,)),
    ...     Node("half", Slice(2, 4), (1,)),
    ... ]
    >>> {
    ...     node: channels[:3]
    ...     for node, channels in shared_signals(Lattice(tuple(nodes)))[-1].items()
    ... }
    {2: (0, 2, True), 1: (2, 4, True)}
    """
    reaches: list[Reach] = []
    for position, (node, shape) in enumerate(zip(lattice.nodes, lattice.shapes, strict=True)):
        reach: Reach = {position: Channels(0, shape[0], True)}
        start = 0  # of the channels of an input, where inputs stand side by side
        for i in () if isinstance(node.op, Weighted) else node.inputs:
            for ancestor, channels in reaches[i].items():
                if isinstance(node.op, Concat):
                    through = _beside(channels, start, lattice.shapes[i][0], shape[0])
                else:
                    through = _read(node.op, channels, lattice.shapes[i], shape)
                reach[ancestor] = _union(reach[ancestor], through) if ancestor in reach else through
            start += lattice.shapes[i][0]
        reaches.append(reach)
    return tuple(reaches)


def meet(one: Reach, other: Reach, *, each: bool = False) -> bool:
    """Do both reach the same channel of the same node? With `each`: does any of their channels, both the same one?"""
    return any(_overlap(channels, other[node], each) for node, channels in one.items() if node in other)


def _overlap(a: Channels, b: Channels, each: bool) -> bool:
    if a.start >= b.stop or b.start >= a.stop:
        return False
    first, second = a.order, b.order
    if each and first is not None and second is not None and len(first) == len(second):
        return any(i == j >= 0 for i, j in zip(first, second, strict=True))
    if all(known is None for known in (a.reads, b.reads, a.among, b.among)):
        return True
    return not set(a.all_of_them).isdisjoint(b.all_of_them)


def _beside(channels: Channels, start: int, width: int, whole: int) -> Channels:
    """Those that a concatenation reads through one of its inputs, which stands `start` channels from the first."""
    order = channels.order
    if order is None or len(order) != width:
        return channels.unordered()
    return Channels.of([*[-1] * start, *order, *[-1] * (whole - start - width)])


def _union(a: Channels, b: Channels) -> Channels:
    if a == b:
        return a
    one, other = a.order, b.order
    if one is not None and other is not None and len(one) == len(other):
        pairs = list(zip(one, other, strict=True))
        if all(i == j or min(i, j) < 0 for i, j in pairs):
            return Channels.of([max(pair) for pair in pairs])
    run = (min(a.start, b.start), max(a.stop, b.stop))
    return Channels(*run, False, None, frozenset(a.all_of_them) | frozenset(b.all_of_them))


@singledispatch
def _read(op: Op, channels: Channels, shape: Shape, output: Shape) -> Channels:
    """The channels of a node that an op's output reaches, given those that its input does."""
    raise UnsupportedError(
        f"no rule for the channels that {op!r} reads; add one with landscape.structure.shared_signal._read.register"
    )


@_read.register(Pointwise)
@_read.register(Windowed)
@_read.register(Merge)
def _(op: Op, channels: Channels, shape: Shape, output: Shape) -> Channels:
    return channels


@_read.register(Attention)
@_read.register(Rearrangement)
def _(op: Op, channels: Channels, shape: Shape, output: Shape) -> Channels:
    return channels.unordered()


@_read.register
def _(op: Multiply, channels: Channels, shape: Shape, output: Shape) -> Channels:
    return channels if shape[0] == output[0] else channels.unordered()


@_read.register
def _(op: Rearrange, channels: Channels, shape: Shape, output: Shape) -> Channels:
    """What each channel reads, where axes are neither split nor joined."""
    take, apart = op.takes[0], len(op.factors[0]) == 1 and op.groups[0] == (0,)
    if take is not None:
        order = channels.order
        channels = channels.unordered() if order is None else Channels.of([order[i] if i >= 0 else -1 for i in take])
    return channels if apart else channels.unordered()


@_read.register
def _(op: ChannelShuffle, channels: Channels, shape: Shape, output: Shape) -> Channels:
    order = channels.order
    if order is None or len(order) != shape[0]:
        return channels.unordered()
    read = sources(op, shape[:1])
    return Channels.of([order[i] for i in read.tolist()])


@_read.register
def _(op: Slice, channels: Channels, shape: Shape, output: Shape) -> Channels:
    order = channels.order
    return channels if order is None else Channels.of(order[op.start : op.stop])
