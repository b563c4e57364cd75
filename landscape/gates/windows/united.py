r"""Maxima of maxima: the largest of the largest of several windows is the largest of their union.

A max-pool that reads another one sees values that no Gaussian stands for, and equal ones wherever one cell wins several of the
windows below. Over the union of these windows it is a maximum of what the lower pool reads, and none of this matters. On one
axis windows of kernel k, stride s and padding p under windows of k', s', p' are windows of kernel k + s (k' - 1), stride s s'
and padding p + s p', where that reads the same cells.
"""

from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from landscape.prior import Prior
from landscape.structure.plan import plan
from lattice import GlobalPool, Lattice, Node, Pool
from lattice.network.windows.window import Window

__all__ = ["united"]

Array = np.ndarray[Any, Any]
MOST_CELLS = 64  # of a union


def united(prior: Prior) -> Prior:
    """The prior with every max-pool of a max-pool reading what the lower one reads; what nothing reads then is left out.

    >>> from lattice import Add, Conv, Input
    >>> pools = (
    ...     Node("lower", Pool("max", 2), (1,)),
    ...     Node("upper", Pool("max", 3, 1, padding=1), (2,)),
    ... )
    >>> rest = (
    ...     Node("conv2", Conv(4, 1), (2,)),
    ...     Node("conv3", Conv(4, 1), (3,)),
    ...     Node("add", Add(), (4, 5)),
    ... )
    >>> net = Lattice(
    ...     (Node("input", Input((1, 8))), Node("conv1", Conv(4, 1), (0,)), *pools, *rest)
    ... )
    >>> upper = united(Prior(net, {})).lattice.nodes[3]
    >>> upper.inputs, upper.op.kernel, upper.op.stride
    ((1,), (6,), (2,))
    """
    lattice = _united(prior.lattice)
    return prior if lattice == prior.lattice else replace(prior, lattice=lattice)


@lru_cache(maxsize=8)
def _united(lattice: Lattice) -> Lattice:
    nodes = list(lattice.nodes)
    for position, node in enumerate(lattice.nodes):
        lower = nodes[node.inputs[0]] if node.inputs else node
        if _is_max(node.op) and _is_max(lower.op):
            op = _union(lower.op, node.op, lattice.shapes[lower.inputs[0]][1:])
            if op is not None:
                nodes[position] = Node(node.name, op, lower.inputs)
    found = Lattice(_that_are_read(nodes))
    return lattice if found == lattice or plan(found).unresolved else found


def _that_are_read(nodes: list[Node]) -> tuple[Node, ...]:
    """The last node and those that others read."""
    read = {i for node in nodes for i in node.inputs} | {len(nodes) - 1}
    places = {old: new for new, old in enumerate(sorted(read))}
    return tuple(Node(nodes[i].name, nodes[i].op, tuple(places[j] for j in nodes[i].inputs)) for i in sorted(read))


def _is_max(op: Any) -> bool:
    return isinstance(op, Pool | GlobalPool) and op.kind == "max"


def _union(lower: Any, upper: Any, spatial: tuple[int, ...]) -> Pool | GlobalPool | None:
    """The pool over the unions of the windows of the lower one; None where they are no windows of one pool, or too large."""
    found, cells = [], []
    for one, other, n in zip(lower.windows(spatial), upper.windows(_outputs(lower, spatial)), spatial, strict=True):
        stride, kernel = one.stride * other.stride, one.dilation * (one.kernel - 1) + 1
        kernel += one.stride * other.dilation * (other.kernel - 1)
        count, low = other.outputs(one.outputs(n)), one.padding[0] + one.stride * other.padding[0]
        window = Window(kernel, stride, 1, (low, max((count - 1) * stride + kernel - n - low, 0)))
        union = _unions(one.table(n), other.table(one.outputs(n)))
        if window.outputs(n) != count or _sets(window.table(n)) != union:
            return None
        found.append(window)
        cells.append(union)
    if all(union == [set(range(n))] for union, n in zip(cells, spatial, strict=True)):
        return GlobalPool("max")
    if prod(window.kernel for window in found) > MOST_CELLS:
        return None
    kernels, strides, paddings = (tuple(getattr(w, name) for w in found) for name in ("kernel", "stride", "padding"))
    return Pool("max", kernels, strides, paddings)


def _outputs(op: Any, spatial: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(window.outputs(n) for window, n in zip(op.windows(spatial), spatial, strict=True))


def _sets(table: Array) -> list[set[int]]:
    return [set(column[column >= 0].tolist()) for column in table.T]


def _unions(lower: Array, upper: Array) -> list[set[int]]:
    below = _sets(lower)
    return [set().union(*(below[i] for i in windows)) for windows in _sets(upper)]
