"""Runs of channels that are treated alike: a concatenation keeps its parts apart until weights mix them."""

from functools import singledispatch
from itertools import accumulate

from lattice import Concat, Input, Lattice, Op, Slice, UnsupportedError
from lattice.network.attention import Attention, roles
from lattice.network.ops import Pointwise, Rearrangement, Shape, Summed, Weighted, Windowed
from lattice.network.rearrange import Rearrange

__all__ = ["channel_runs"]


def channel_runs(lattice: Lattice) -> tuple[tuple[int, ...], ...]:
    """For every node, the lengths of the runs of its channels, which add up to their number.

    >>> from lattice import Activation, Conv, Node
    >>> left, right = Node("left", Conv(4, 1), (0,)), Node("right", Conv(2, 1), (0,))
    >>> both = Node("both", Concat(), (1, 2))
    >>> channel_runs(
    ...     Lattice(
    ...         (
    ...             Node("input", Input((1, 8))),
    ...             left,
    ...             right,
    ...             both,
    ...             Node("relu", Activation("relu"), (3,)),
    ...         )
    ...     )
    ... )[-1]
    (4, 2)
    """
    runs: list[tuple[int, ...]] = []
    for node, shape in zip(lattice.nodes, lattice.shapes, strict=True):
        runs.append(_runs(node.op, [runs[i] for i in node.inputs], shape))
    return tuple(runs)


@singledispatch
def _runs(op: Op, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    raise UnsupportedError(
        f"no rule for runs of channels of {op!r}; add one with landscape.structure.channel_runs._runs.register"
    )


@_runs.register(Input)
@_runs.register(Weighted)
@_runs.register(Rearrangement)
def _(op: Op, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    return (shape[0],)  # mixed, or taken as alike


@_runs.register
def _(op: Rearrange, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    return below[0] if op.takes[0] is None and op.keeps_axes else (shape[0],)


@_runs.register
def _(op: Attention, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    return below[roles(below).index("values")]


@_runs.register(Pointwise)
@_runs.register(Windowed)
def _(op: Op, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    return below[0]


@_runs.register
def _(op: Concat, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    return tuple(run for runs in below for run in runs)


@_runs.register
def _(op: Summed, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    return _cut_at({end for runs in below if sum(runs) == shape[0] for end in accumulate(runs)} | {shape[0]})


@_runs.register
def _(op: Slice, below: list[tuple[int, ...]], shape: Shape) -> tuple[int, ...]:
    ends = {end - op.start for end in accumulate(below[0]) if op.start < end < op.stop}
    return _cut_at(ends | {op.stop - op.start})


def _cut_at(ends: set[int]) -> tuple[int, ...]:
    ordered = sorted(ends)
    return tuple(end - start for start, end in zip([0, *ordered], ordered, strict=False))
