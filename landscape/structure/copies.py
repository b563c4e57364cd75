"""Shuffles by which several channels, or positions of several channels, hold one signal: their joint moments have no rule."""

from collections.abc import Mapping

from landscape.structure.arrays import Axes
from landscape.structure.correlated_positions import correlated_positions
from landscape.structure.joint_pairs import gathers_channels, spreads_channels
from landscape.structure.shared_signal import meet, shared_signals
from lattice import Concat, Flatten, Lattice, Multiply, Op, PixelShuffle
from lattice.network.ops import Shape
from lattice.network.rearrange import Rearrange

__all__ = ["copies_that_meet"]


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
