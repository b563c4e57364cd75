r"""Layers in a chain act on every axis by itself, and exact counts by that: an outer product, or one axis after the other.

Where each layer reads the one below it and nothing else does, the pull-back is one map per axis,

    c[i_1, ..., i_d] = factor * sum over j of A_1[j_1, i_1] * ... * A_d[j_d, i_d] * m[j_1, ..., j_d],

with m what reaches the top of the chain, A_a[j, i] how often output j reads cell i on axis a, and a factor for the channels.
In a net that is nothing but a chain m is an outer product, hence c too: d rows are pulled back instead of a map. Below the
last branch of a net that shrinks its input first, m is small, and a few additions of Python ints per cell go from m to c,
fewer than c would cost to be made from limbs. Where m equals its transpose and both axes have the same layers, c does
too, and only one half of it is computed.
"""

from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import groupby
from math import gcd, prod
from typing import Any, TypeAlias

import numpy as np

from lattice.counts.limbs import LIMB_LIMIT, Numbers
from lattice.network.lattice import Lattice, Unit
from lattice.network.ops import Dense, Flatten, Op, Pointwise, Shape, WeightedWindow, Windowed
from lattice.network.windows.axis import AxisMap
from lattice.network.windows.window import Window
from lattice.sweep.pullback import pull, sum_channels

__all__ = ["chain_counts", "pull_stem", "stem_top"]

Array = np.ndarray[Any, Any]
Step: TypeAlias = tuple[AxisMap, int]  # a window and the cells below it

WINDOWED, CELLWISE, DENSE, FLATTEN = map(pull.dispatch, (Windowed, Pointwise, Dense, Flatten))  # their rules
ADDITIONS_PER_INT = 4  # measured: what making a Python int from its limbs costs in additions of Python ints
BLOCK = 32  # columns of a symmetric map that are computed together


def chain_counts(lattice: Lattice, unit: Unit | None) -> Array | None:
    """The path counts from a unit, or from all for None, of a net that is a chain; None for any other net.

    Exact Python ints, an object array (channels or 1, *spatial).

    >>> from lattice import Conv
    >>> chain_counts(Lattice.chain((1, 3, 2), [Conv(5, kernel=3, padding=1)]), None)
    array([[[20, 20],
            [30, 30],
            [20, 20]]], dtype=object)
    """
    channels, *sizes = lattice.output_shape
    if unit is None:
        vector, tops = np.ones(1, dtype=object), [np.ones(n, np.uint64) for n in sizes]
    else:
        vector = _one_hot(channels, unit.channel).astype(object)
        tops = [_one_hot(n, i) for n, i in zip(sizes, unit.position, strict=True)]
    walks: list[list[Step]] = [[] for _ in sizes]
    op, below = None, None
    for position in reversed(range(1, len(lattice.nodes))):
        node = lattice.nodes[position]
        if node.inputs != (position - 1,):
            return None
        if node.op is not op or lattice.shapes[position - 1] != below:  # else as in the layer above
            op, below = node.op, lattice.shapes[position - 1]
            rule = pull.dispatch(type(op))
            steps = _steps(op, below[1:])
        if rule in (WINDOWED, DENSE):
            vector = _channels(op, below, vector)
            for walk, more in zip(walks, steps, strict=True):
                walk.extend(more)
        elif rule is FLATTEN and (len(vector) == 1 or prod(below[1:]) == 1):
            tops, walks = [np.ones(n, np.uint64) for n in below[1:]], [[] for _ in below[1:]]
        elif rule is not CELLWISE:
            return None
    rows: list[Array] = []
    for axis, walk in enumerate(walks):
        same = [
            row for row, top, other in zip(rows, tops, walks, strict=False) if walk == other and np.array_equal(tops[axis], top)
        ]
        rows.append(same[0] if same else _pull_row(tops[axis], walk))
    return reduce(np.multiply.outer, rows, vector)


def _one_hot(length: int, index: int) -> Array:
    return (np.arange(length) == index).astype(np.uint64)


def _channels(op: Op, below: Shape, cotangent: Array, axes: int = 0) -> Array:
    """What each input channel collects of the output channels."""
    if isinstance(op, WeightedWindow):
        return sum_channels(cotangent, axes, op.channels, below[0], op.groups)
    return sum_channels(cotangent, axes, op.units, below[0], 1) if isinstance(op, Dense) else cotangent


@lru_cache(maxsize=512)
def _steps(op: Op, spatial: Shape) -> tuple[tuple[Step, ...], ...]:
    """Per axis the window of an op, in a tuple; an empty one where it reads every cell once."""
    if not isinstance(op, Windowed):
        return tuple(() for _ in spatial)
    return tuple(
        ((window, n),) if not window.is_identity(n) else () for window, n in zip(op.windows(spatial), spatial, strict=True)
    )


def _pull_row(top: Array, walk: Sequence[Step]) -> Array:
    """Zeros and ones pulled back through windows, the top one first: exact ints, an object array."""
    row = Numbers(top[np.newaxis], 1, 1)
    for (window, n), same in groupby(walk):
        times, most = len(list(same)), _gain(window, n)
        while times:
            row = row.with_headroom(most)
            now, largest = 1, row.largest_limb * most
            while now < times and largest * most < LIMB_LIMIT:
                now, largest = now + 1, largest * most
            row = Numbers(window.pull_repeatedly(row.limbs, n, now), largest, row.number * most**now)
            times -= now
    return row.objects()


@lru_cache(maxsize=512)
def _gain(window: AxisMap, n: int) -> int:
    """How often a window reads a cell, at most."""
    return int(window.pull(np.ones(window.outputs(n)), n, -1).max())


# --- the layers below the last branch ---------------------------------------------------------------------------------------


def stem_top(lattice: Lattice) -> tuple[int, int]:
    """The node from which ints are pulled down to the input rather than limbs, and what that costs in additions of ints.

    The one where the additions below it, and the making of its cells, cost least: 0 where limbs are best all the way.
    """
    shape = lattice.input_shape
    best, least = 0, ADDITIONS_PER_INT * prod(shape[1:])
    additions = [0] * (len(shape) - 1)
    for position in range(1, len(lattice.nodes)):
        node, below = lattice.nodes[position], lattice.shapes[position - 1]
        rule = pull.dispatch(type(node.op))
        if lattice.readers[position - 1] != (position,) or rule not in (WINDOWED, CELLWISE):
            break
        for axis, steps in enumerate(_steps(node.op, below[1:])):
            additions[axis] += sum(_additions(*step) for step in steps)
        here = lattice.shapes[position]
        cost = ADDITIONS_PER_INT * prod(here[1:])
        for axis, more in enumerate(additions):  # the last axis comes first
            cost += more * prod(here[1 : axis + 1]) * prod(shape[axis + 2 :])
        if cost < least:
            best, least = position, cost
    return best, least


def _additions(window: AxisMap, n: int) -> int:
    """How many additions of single cells a pull-back makes, about."""
    taps = window.taps(n)
    if isinstance(window, Window) and window.mode == "zeros":
        taps = -(-taps * gcd(window.stride, window.dilation) // window.stride)  # see Window.pull
    return window.outputs(n) * (taps - 1)


def pull_stem(lattice: Lattice, top: int, cotangent: Array) -> Array:
    """What reaches the input from the cotangent (channels or 1, *spatial) of the node `top`: an object array of that shape.

    >>> from lattice import families
    >>> net = families.plain((3, 2), depth=1, padding=1)
    >>> pull_stem(net, 1, np.array([[[1, 0], [0, 1], [0, 0]]], dtype=object))
    array([[[2, 2],
            [2, 2],
            [1, 1]]], dtype=object)
    """
    while top and len(cotangent) > 1:  # until all channels have the same
        (cotangent,) = pull(lattice.nodes[top].op, (lattice.shapes[top - 1],), cotangent, lattice.shapes[top])
        top -= 1
    if len(cotangent) > 1:
        return cotangent
    walks: list[list[Step]] = [[] for _ in cotangent.shape[1:]]
    for position in reversed(range(1, top + 1)):
        op, below = lattice.nodes[position].op, lattice.shapes[position - 1]
        cotangent = _channels(op, below, cotangent, len(walks))
        for walk, steps in zip(walks, _steps(op, below[1:]), strict=True):
            walk.extend(steps)
    counts = cotangent[0]
    slides = all(isinstance(window, Window) and window.mode == "zeros" for window, _ in walks[0])
    if slides and len(walks) == 2 and walks[0] == walks[1] and np.array_equal(counts, counts.T):
        return _pull_symmetric(counts, walks[0])[np.newaxis]
    for axis in reversed(range(len(walks))):
        counts = _pull(counts, walks[axis], axis - len(walks))
    return counts[np.newaxis]


def _pull(counts: Array, walk: Sequence[Step], axis: int) -> Array:
    for window, n in walk:
        counts = window.pull(counts, n, axis)
    return counts


def _pull_symmetric(counts: Array, walk: Sequence[Step]) -> Array:
    """A symmetric map pulled back along both axes: block by block of columns, down to the diagonal, and mirrored."""
    columns = _pull(counts, walk, -1)
    n = columns.shape[1]
    result = np.empty((n, n), dtype=object)
    for start in range(0, n, BLOCK):
        stop = cells = min(start + BLOCK, n)
        shorter: list[Step] = []
        for window, below in reversed(walk):
            assert isinstance(window, Window)
            first, outputs = window.shortened(below, cells)
            shorter.insert(0, (first, cells))
            cells = outputs
        part = _pull(columns[:cells, start:stop], shorter, -2)
        result[:stop, start:stop] = part
        result[start:stop, :stop] = part.T
    return result
