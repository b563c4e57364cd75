r"""Averages over positions that are alike: as far from each border, and at the same place of their window.

Rates that are counted in a few forward passes are noisy at one position, but inside a layer all positions are alike:
zero padding reaches a few cells only. The border keeps its shape and the many inner positions become precise.
"""

from functools import reduce
from typing import Any

import numpy as np

__all__ = ["average_alike"]

Array = np.ndarray[Any, Any]
BORDER = 3  # cells (or windows) from the border that are kept apart


def average_alike(rates: Array, kernel: tuple[int, ...] | None = None, border: int = BORDER) -> Array:
    """Rates over positions averaged over those that are alike: the same cell of its window, as far from each border.

    Per axis, the first and the last `border` windows of `kernel` cells (default: one cell) are classes of their own and
    all between them are one.

    >>> average_alike(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), (2,), border=2)
    array([ 1.,  2.,  3.,  4.,  6.,  7.,  6.,  7.,  9., 10., 11., 12.])
    """
    cells = kernel or (1,) * rates.ndim
    labels = [_labels(n, size, border) for n, size in zip(rates.shape, cells, strict=True)]
    count = reduce(lambda total, label: total * (int(label.max()) + 1), labels, 1)
    joint = reduce(lambda total, label: np.add.outer(total * (int(label.max()) + 1), label), labels, np.zeros((), dtype=int))
    sums = np.bincount(joint.ravel(), rates.ravel(), minlength=count)
    sizes = np.bincount(joint.ravel(), minlength=count)
    return np.asarray((sums / np.maximum(sizes, 1))[joint])


def _labels(n: int, kernel: int, border: int) -> Array:
    """The class of each position of one axis: its window's distance from either border, and its place in the window."""
    windows = -(-n // kernel)
    position = np.arange(n) // kernel
    from_end = windows - 1 - position
    place = np.where(position < border, position, np.where(from_end < border, 2 * border - from_end, border))
    return np.asarray(place * kernel + np.arange(n) % kernel)
