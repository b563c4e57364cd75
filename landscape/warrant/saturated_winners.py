r"""What the largest of n cells passes, where a cell sums few saturating gates: the winner's gates are those that are saturated.

With z_i of size sigma and g = phi'^2, the mean of g(z_i) given that a sum of F such terms is M deviations from zero is, to
first order in 1 / F, larger by (M^2 - 1) / 2 F times E[g (z^2 / sigma^2 - 1)], which is negative where phi saturates; and
weights of different sizes add as much once more, since the largest of them decide. For tanh over normal values, under normal
weights,

    measured / predicted = exp(-(E[M^2] - 1) / F),

M being the largest of n: measured are 0.25, 0.51, 0.68, 0.81, 0.91 of 9 cells at F = 1, 2, 4, 8, 16 (0.21, 0.46, 0.68, 0.82,
0.91), 0.09, 0.32, 0.57, 0.75 of 64 at F = 2 to 16 (0.09, 0.30, 0.55, 0.74), and 0.18, 0.43, 0.68 of 225 at F = 4 to 16 (0.18,
0.42, 0.65).
Random signs, sigmoids and hard tanh lose less, until the last are all at their ends.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import prod

import numpy as np
from scipy.special import log_ndtr

from landscape.structure.plan import pool_cells
from lattice import Activation, Dropout, Lattice, Node, Norm, Op, Pad, Upsample
from lattice.network.ops import Pooling, Weighted, WeightedWindow

__all__ = ["cells_of_maximum", "largest_of", "layers_under", "lost_by_saturated_winners", "weights_read"]

SATURATING = ("tanh", "hardtanh", "softsign", "sigmoid", "hardsigmoid")
GRID = np.linspace(-10, 10, 4001)


def lost_by_saturated_winners(lattice: Lattice) -> list[tuple[str, str, float]]:
    """(maximum, layer, (E[M^2] - 1) / F) of every layer of saturating gates under maxima, which are one over all their cells.

    >>> from lattice import Conv, GlobalPool
    >>> layers = [Activation("tanh"), Conv(8, 1), GlobalPool("max")]
    >>> [
    ...     (top, layer, round(lost, 2))
    ...     for top, layer, lost in lost_by_saturated_winners(
    ...         Lattice.chain((4, 8, 8), layers)
    ...     )
    ... ]
    [('globalpool1', 'conv1', 1.17)]
    """
    found: dict[str, tuple[str, str, float]] = {}
    for node in lattice.nodes:
        cells = cells_of_maximum(lattice, node)
        if cells > 1:
            for layer, more in layers_under(lattice, node):
                if _saturated(lattice, layer):
                    few = weights_read(layer.op, lattice.input_shapes(layer)[0])
                    found[layer.name] = (node.name, layer.name, (largest_of(cells * more)[1] - 1) / few)
    return list(found.values())


def weights_read(op: Op, shape: tuple[int, ...]) -> int:
    """How many weights a cell of a layer is the sum of, at most.

    >>> from lattice import ConvTranspose
    >>> weights_read(ConvTranspose(4, 2, stride=2), (3, 8))
    3
    """
    if not isinstance(op, WeightedWindow):
        return shape[0]
    windows = zip(op.windows(shape[1:]), shape[1:], strict=True)
    return shape[0] // op.groups * prod(int((window.table(n) >= 0).sum(axis=0).max()) for window, n in windows)


def cells_of_maximum(lattice: Lattice, node: Node) -> int:
    """Of how many cells a node takes the largest, at most."""
    if not isinstance(node.op, Pooling) or node.op.kind != "max":
        return 1
    return int(pool_cells(node.op, lattice.input_shapes(node)[0][1:]).max())


def layers_under(lattice: Lattice, node: Node) -> Iterator[tuple[Node, int]]:
    """The layers with weights that a node reads without others between, and of how many cells maxima on the way are."""
    waiting = [(i, 1) for i in node.inputs]
    while waiting:
        below, cells = waiting.pop()
        one = lattice.nodes[below]
        if isinstance(one.op, Weighted):
            yield one, cells
        else:
            waiting += [(i, cells * cells_of_maximum(lattice, one)) for i in one.inputs]


def _saturated(lattice: Lattice, layer: Node) -> bool:
    """Does a layer read saturating gates?"""
    below = lattice.nodes[layer.inputs[0]]
    while isinstance(below.op, Norm | Dropout | Pad | Upsample):
        below = lattice.nodes[below.inputs[0]]
    return isinstance(below.op, Activation) and below.op.name in SATURATING


@lru_cache(maxsize=64)
def largest_of(cells: int) -> tuple[float, float]:
    """E[M] and E[M^2] of the largest M of this many independent normal numbers.

    >>> [round(moment, 3) for moment in largest_of(2)]  # 1 / sqrt(pi) and 1
    [0.564, 1.0]
    """
    density = np.exp(-(GRID**2) / 2 + (cells - 1) * log_ndtr(GRID))
    density /= density.sum()
    return float(density @ GRID), float(density @ GRID**2)
