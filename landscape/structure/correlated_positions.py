r"""Where K(u, u') = E[dy/dh_u dy/dh_u'] can be off-diagonal in position: below averages, down to the next dense layer.

From the outputs down K stays diagonal through fresh weights, and stops being so below an average: the cells of one window
carry the same gradient.
"""

from functools import singledispatch

from lattice import Blur, Dense, Lattice, Op, Pad, UnsupportedError, Upsample
from lattice.network.attention import Attention, roles
from lattice.network.ops import Merge, Pointwise, Pooling, Rearrangement, Shape, Weighted, Windowed
from lattice.network.rearrange import Resample
from lattice.sweep.reverse import sweep

__all__ = ["correlated_positions", "reads_several"]


def correlated_positions(lattice: Lattice) -> list[bool]:
    """For each node: can K be off-diagonal in position at its output?

    >>> from lattice import Conv, Pool
    >>> correlated_positions(
    ...     Lattice.chain((1, 9), [Conv(2, 3), Pool("avg", 2), Conv(2, 3)])
    ... )
    [True, True, False, False]
    """

    def step(position: int, here: int) -> list[bool]:
        node = lattice.nodes[position]
        below = _correlates(node.op, lattice.input_shapes(node)[0][1:], here > 0)
        if isinstance(node.op, Attention):  # each query has logits of its own
            return [below and role != "logits" for role in roles(node.inputs)]
        return [below] * len(node.inputs)

    return [here > 0 for _, here in sweep(lattice, False, step)][::-1]  # how many ways lead to correlated positions


@singledispatch
def _correlates(op: Op, spatial: Shape, above: bool) -> bool:
    """Can K be off-diagonal in position at an op's inputs, given whether it can be `above`, at its output?"""
    raise UnsupportedError(f"no rule for {op!r}; add one with landscape.structure.correlated_positions._correlates.register")


@_correlates.register(Merge)
@_correlates.register(Pad)
@_correlates.register(Pointwise)
@_correlates.register(Rearrangement)
@_correlates.register(Weighted)
def _(op: Op, spatial: Shape, above: bool) -> bool:
    return above


@_correlates.register
def _(op: Dense, spatial: Shape, above: bool) -> bool:
    return False


@_correlates.register
def _(op: Pooling, spatial: Shape, above: bool) -> bool:
    return above or (op.kind == "avg" and reads_several(op, spatial))


@_correlates.register
def _(op: Attention, spatial: Shape, above: bool) -> bool:
    return True


@_correlates.register
def _(op: Resample, spatial: Shape, above: bool) -> bool:
    return above or any(window.taps(n) > 1 for window, n in zip(op.axes, spatial, strict=True))


@_correlates.register
def _(op: Blur, spatial: Shape, above: bool) -> bool:
    return True


@_correlates.register
def _(op: Upsample, spatial: Shape, above: bool) -> bool:
    return above or op.mode == "linear"


def reads_several(op: Op, spatial: Shape) -> bool:
    """Does some output read more than one cell?"""
    return isinstance(op, Windowed) and any(w.taps(n) > 1 for w, n in zip(op.windows(spatial), spatial, strict=True))
