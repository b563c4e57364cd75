r"""Positions that are alike: as far from each border, and at the same place of their window.

Inside a layer all positions are alike: zero padding reaches a few cells only. Rates that are counted in a few forward passes
are noisy at one position; averaged over those that are alike the border keeps its shape and the many inner positions become
precise. What theory says is the same number at all of them, and need be computed once.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

__all__ = ["alike_rows", "average_alike", "mean_by_label", "pointwise", "ratio", "significant"]

Array = np.ndarray[Any, Any]
DIGITS = 40  # binary ones, by which cases are told apart: 1e-12 of each number
BORDER = 3  # cells (or windows) from the border that are kept apart
FEW = 2048  # entries: to compute them all takes less time than to look for equal ones


def average_alike(rates: Array, kernel: tuple[int, ...] | None = None, border: int = BORDER) -> Array:
    """Rates over positions averaged over those that are alike: the same cell of its window, as far from each border.

    Per axis, the first and the last `border` windows of `kernel` cells (default: one cell) are classes of their own and
    all between them are one.

    >>> average_alike(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), (2,), border=2)
    array([ 1.,  2.,  3.,  4.,  6.,  7.,  6.,  7.,  9., 10., 11., 12.])
    """
    cells = kernel or (1,) * rates.ndim
    labels = [_labels(n, size, border) for n, size in zip(rates.shape, cells, strict=True)]
    joint = reduce(lambda total, label: np.add.outer(total * (int(label.max()) + 1), label), labels, np.zeros((), dtype=int))
    return mean_by_label(rates, joint)


def mean_by_label(values: Array, labels: Array) -> Array:
    """Values with the mean of all that have their label in their place.

    >>> mean_by_label(np.array([1.0, 2.0, 5.0]), np.array([0, 1, 0]))
    array([3., 2., 3.])
    """
    sums, sizes = np.bincount(labels.ravel(), values.ravel()), np.bincount(labels.ravel())
    return np.asarray((sums / np.maximum(sizes, 1))[labels])


def ratio(top: Any, bottom: Any) -> Array:
    """top / bottom entry by entry, and 0 where the bottom is 0: what passes of nothing is nothing, at any scale.

    >>> ratio(np.array([1e-300, 0.0]), np.array([2e-300, 0.0]))
    array([0.5, 0. ])
    """
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.asarray(np.divide(top, bottom, out=np.zeros(top.shape), where=bottom != 0))


def _labels(n: int, kernel: int, border: int) -> Array:
    """The class of each position of one axis: its window's distance from either border, and its place in the window."""
    windows = -(-n // kernel)
    position = np.arange(n) // kernel
    from_end = windows - 1 - position
    place = np.where(position < border, position, np.where(from_end < border, 2 * border - from_end, border))
    return np.asarray(place * kernel + np.arange(n) % kernel)


def significant(values: Array) -> Array:
    """Rounded to so many digits of each number, so that what differs by its last digits is one case."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, DIGITS)), exponent - DIGITS)


def pointwise(function: Callable[..., tuple[Array, ...]], *arrays: Array) -> tuple[Array, ...]:
    """A function that acts entry by entry on arrays that broadcast, computed once for rows that are equal.

    On every axis the rows that equal another one in all arrays, but for their last digits, are left out, and filled in
    afterwards: of a map of 112 x 112 positions 4 x 4 may be left.

    >>> calls = []
    >>> pointwise(
    ...     lambda x, y: (calls.append(x.size), (x + y,))[1],
    ...     np.array([1.0, 2, 3, 2, 2]),
    ...     np.zeros((1000, 1)),
    ... )[0][3]
    array([1., 2., 3., 2., 2.])
    >>> calls
    [3]
    """
    thin, places = list(np.broadcast_arrays(*arrays)), []
    if thin[0].size <= FEW:
        return function(*thin)
    for rule in (_runs_of_rows, _different_rows):  # first what is cheap, on what is large
        for axis in reversed(range(thin[0].ndim)):
            first, place = rule([np.moveaxis(array, axis, 0) for array in thin])
            if len(first) < len(place):
                thin = [np.take(array, first, axis) for array in thin]
                places.append((axis, place))
    results = function(*thin)
    for axis, place in reversed(places):
        results = tuple(np.take(result, place, axis) for result in results)
    return results


def alike_rows(arrays: list[Array]) -> tuple[Array, Array]:
    """The first of each kind of rows that are equal in all arrays but for their last digits, and of which kind every row is.

    >>> first, kind = alike_rows([np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])])
    >>> first[kind]  # of each row the first that is like it
    array([0, 1, 0])
    """
    first, run = _runs_of_rows(arrays)
    different, kind = _different_rows([np.take(array, first, 0) for array in arrays])
    return first[different], kind[run]


def _runs_of_rows(arrays: list[Array]) -> tuple[Array, Array]:
    """The first of each run of neighbouring rows that are equal, and of which run every row is."""
    new = np.arange(len(arrays[0])) == 0
    for array in arrays:
        rows = array[(slice(None), *(slice(None if stride else 1) for stride in array.strides[1:]))]
        new[1:] |= (rows[1:] != rows[:-1]).any(axis=tuple(range(1, rows.ndim)))
    return np.flatnonzero(new), np.cumsum(new) - 1


def _different_rows(arrays: list[Array]) -> tuple[Array, Array]:
    """The first of each kind of rows that are equal but for their last digits, as they come, and of which kind every row is."""
    kind = np.zeros(len(arrays[0]), dtype=np.int64)
    for array in arrays:
        rows = array[(slice(None), *(slice(None if stride else 1) for stride in array.strides[1:]))]
        rows = np.ascontiguousarray(significant(rows) + 0.0).reshape(len(rows), -1)  # + 0.0: -0.0 is 0.0
        of_bits = np.int64 if rows.shape[1] == 1 else np.dtype((np.void, rows[0].nbytes))
        different, own = np.unique(rows.view(of_bits).ravel(), return_inverse=True)
        if len(different) > 1:
            _, kind = np.unique(kind * len(kind) + own.ravel(), return_inverse=True)
    _, first, kind = np.unique(kind, return_index=True, return_inverse=True)
    order = np.argsort(first)  # as they come, and not by their numbers: at another scale these may be in another order
    return first[order], np.argsort(order)[kind.ravel()]
