r"""Which signals two nodes share: the nodes below them, and the channels of these, that no fresh weight stands between.

Two branches that come down to one signal without fresh weights are correlated: their gradients add before they are squared.
Different channels of one layer are different filters, so that branches over slices of other channels share nothing.
"""

from functools import lru_cache, singledispatch
from typing import NamedTuple, TypeAlias

from lattice import Concat, Lattice, Multiply, Op, Slice, UnsupportedError
from lattice.network.attention import Attention
from lattice.network.ops import Merge, Pointwise, Rearrangement, Shape, Weighted, Windowed
from lattice.network.rearrange import Rearrange

__all__ = ["Channels", "Reach", "meet", "shared_signals"]


class Channels(NamedTuple):
    """Channels start..stop-1 of a node; `aligned` where the reader's channel c reads channel start + c."""

    start: int
    stop: int
    aligned: bool


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
    >>> shared_signals(Lattice(tuple(nodes)))[-1]
    {2: Channels(start=0, stop=2, aligned=True), 1: Channels(start=2, stop=4, aligned=True)}
    """
    reaches: list[Reach] = []
    for position, (node, shape) in enumerate(zip(lattice.nodes, lattice.shapes, strict=True)):
        reach: Reach = {position: Channels(0, shape[0], True)}
        if not isinstance(node.op, Weighted):
            for i in node.inputs:
                for ancestor, channels in reaches[i].items():
                    through = _read(node.op, channels, lattice.shapes[i], shape)
                    reach[ancestor] = _union(reach[ancestor], through) if ancestor in reach else through
        reaches.append(reach)
    return tuple(reaches)


def meet(one: Reach, other: Reach) -> bool:
    """Do both reach the same channel of the same node?"""
    return any(
        channels.start < other[node].stop and other[node].start < channels.stop
        for node, channels in one.items()
        if node in other
    )


def _union(a: Channels, b: Channels) -> Channels:
    return a if a == b else Channels(min(a.start, b.start), max(a.stop, b.stop), False)


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


@_read.register(Rearrangement)
@_read.register(Concat)
def _(op: Op, channels: Channels, shape: Shape, output: Shape) -> Channels:
    return channels._replace(aligned=False)


@_read.register
def _(op: Multiply, channels: Channels, shape: Shape, output: Shape) -> Channels:
    return channels if shape[0] == output[0] else channels._replace(aligned=False)


@_read.register
def _(op: Rearrange, channels: Channels, shape: Shape, output: Shape) -> Channels:
    """A run of channels is one of the node's below; other orders are taken as all of them."""
    take = op.takes[0]
    if len(op.factors[0]) != 1 or op.groups[0] != (0,):
        return channels._replace(aligned=False)
    if take is None:
        return channels
    read = [i for i in take if i >= 0]
    if not read or not channels.aligned:
        return channels._replace(aligned=False)
    in_order = list(take) == list(range(take[0], take[0] + len(take)))
    return Channels(channels.start + min(read), channels.start + max(read) + 1, in_order)


@_read.register
def _(op: Attention, channels: Channels, shape: Shape, output: Shape) -> Channels:
    return channels if shape[0] == output[0] else channels._replace(aligned=False)


@_read.register
def _(op: Slice, channels: Channels, shape: Shape, output: Shape) -> Channels:
    return Channels(channels.start + op.start, channels.start + op.stop, True) if channels.aligned else channels
