"""Runs of channels that are treated alike: a concatenation keeps its parts apart until weights mix them."""

from itertools import accumulate

from landscape.initialisation import weighted
from lattice import Add, ChannelShuffle, Concat, Flatten, Input, Lattice, PixelShuffle, Slice

__all__ = ["channel_runs"]


def channel_runs(lattice: Lattice) -> tuple[tuple[int, ...], ...]:
    """For every node, the lengths of the runs of its channels, which add up to their number.

    >>> from lattice import Activation, Conv, Node
    >>> left, right = Node("left", Conv(4, 1), (0,)), Node("right", Conv(2, 1), (0,))
    >>> both = Node("both", Concat(), (1, 2))
    >>> channel_runs(Lattice((Node("input", Input((1, 8))), left, right, both, Node("relu", Activation("relu"), (3,)))))[-1]
    (4, 2)
    """
    found: list[tuple[int, ...]] = []
    for node, shape in zip(lattice.nodes, lattice.shapes, strict=True):
        op = node.op
        below = [found[i] for i in node.inputs]
        if isinstance(op, Concat):
            found.append(tuple(run for runs in below for run in runs))
        elif isinstance(op, Add):
            found.append(_cut_at({end for runs in below for end in accumulate(runs)}))
        elif isinstance(op, Slice):
            ends = {end - op.start for end in accumulate(below[0]) if op.start < end < op.stop}
            found.append(_cut_at(ends | {op.stop - op.start}))
        elif weighted(op) or isinstance(op, Input | Flatten | ChannelShuffle | PixelShuffle):
            found.append((shape[0],))  # mixed, or taken as alike
        else:
            found.append(below[0])
    return tuple(found)


def _cut_at(ends: set[int]) -> tuple[int, ...]:
    ordered = sorted(ends)
    return tuple(end - start for start, end in zip([0, *ordered], ordered, strict=False))
