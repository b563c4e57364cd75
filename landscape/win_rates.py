r"""How often a cell wins its max-pool while its ReLU is open: one event, and not equally likely for all cells.

A cell of the ReLU's output passes the gradient with P(it is the largest of its window and positive). For cells alike
that is P(max > 0) / n, between 1 / (2n) and (1 - 2^-n) / n by their correlation; but where zero padding leaves a cell a
smaller forward variance than its neighbours, it wins less often: by half in the corners of VGG's deeper pools. The rates
are counted in forward passes on white noise, one per filter and input, and averaged over windows that are alike.
"""

from functools import reduce
from typing import Any

import numpy as np

from lattice import Activation, Lattice, Pool, Window

__all__ = ["average_alike", "pools_to_watch"]

Array = np.ndarray[Any, Any]
BORDER = 2  # windows from the border that are kept apart: zero padding reaches no further, in measurements


def pools_to_watch(lattice: Lattice) -> dict[str, str]:
    """The max-pools whose win rates can be counted per cell, and the ReLU below each: {pool: activation}.

    Their windows share no cell, and nothing else reads the ReLU.

    >>> from lattice import Conv
    >>> pools_to_watch(Lattice.chain((1, 8), [Conv(2, 3, padding=1), Activation("relu"), Pool("max", 2)]))
    {'pool1': 'activation1'}
    """
    found = {}
    for node in lattice.nodes:
        if not isinstance(node.op, Pool) or node.op.kind != "max":
            continue
        below = lattice.nodes[node.inputs[0]]
        windows = node.op.windows(lattice.input_shapes(node)[0][1:])
        apart = all(isinstance(w, Window) and w.stride == w.kernel and w.dilation == 1 and not any(w.padding) for w in windows)
        alone = len(lattice.readers[node.inputs[0]]) == 1
        if apart and alone and isinstance(below.op, Activation) and below.op.name == "relu":
            found[node.name] = below.name
    return found


def average_alike(rates: Array, kernel: tuple[int, ...]) -> Array:
    """Win rates (positions) averaged over windows that are alike: the same cell of the window, as far from each border.

    Per axis, the first and the last `BORDER` windows are classes of their own and all between them are one; so the rates
    of the many inner windows become precise and the border keeps its shape.

    >>> average_alike(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), (2,))
    array([ 1.,  2.,  3.,  4.,  6.,  7.,  6.,  7.,  9., 10., 11., 12.])
    """
    labels = [_labels(n, size) for n, size in zip(rates.shape, kernel, strict=True)]
    count = reduce(lambda total, label: total * (int(label.max()) + 1), labels, 1)
    joint = reduce(lambda total, label: np.add.outer(total * (int(label.max()) + 1), label), labels, np.zeros((), dtype=int))
    sums = np.bincount(joint.ravel(), rates.ravel(), minlength=count)
    sizes = np.bincount(joint.ravel(), minlength=count)
    return np.asarray((sums / np.maximum(sizes, 1))[joint])


def _labels(n: int, kernel: int) -> Array:
    """The class of each position of one axis: its window's distance from either border, and its place in the window."""
    windows = -(-n // kernel)
    position = np.arange(n) // kernel
    from_end = windows - 1 - position
    place = np.where(position < BORDER, position, np.where(from_end < BORDER, 2 * BORDER - from_end, BORDER))
    return np.asarray(place * kernel + np.arange(n) % kernel)
