r"""Which mirrorings of the input, and swaps of its axes, a network cannot tell apart: there its rates are the same too.

A lattice is symmetric under a flip of an axis if every layer reads mirrored cells from mirrored outputs: for layers with fresh
weights tap by tap, in any order, since taps are drawn alike; for fixed maps A[j, i] = A[m-1-j, n-1-i]. Rates that are counted
on white noise are averaged over these symmetries (`average`), so that what the network cannot have is not found in it.
"""

from collections.abc import Callable
from functools import lru_cache, reduce
from itertools import combinations
from typing import Any

import numpy as np

from landscape.structure.plan import Axes
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Norm,
    Op,
    Pad,
    Pool,
    Slice,
    Upsample,
)
from lattice.network.ops import Weighted, Windowed

__all__ = ["Symmetries", "is_flip_symmetric", "is_transpose_symmetric", "symmetries"]

Array = np.ndarray[Any, Any]
Move = Callable[[Array], Array]
ANYWHERE = (Input, Activation, Norm, Dropout, Add, Multiply, Concat, Flatten)
WITH_POSITIONS = (Conv, ConvTranspose, Pool, AdaptivePool, GlobalPool, Pad, Blur, Upsample, Slice, ChannelShuffle)


class Symmetries:
    """The flips and swaps of axes that a lattice has, and averages over them."""

    def __init__(self, flips: tuple[int, ...], swaps: tuple[tuple[int, int], ...]) -> None:
        self.flips, self.swaps = flips, swaps

    def average(self, rates: Array) -> Array:
        """Rates (channels or runs, *spatial), averaged.

        >>> Symmetries((0,), ()).average(np.array([[1.0, 2.0, 5.0]]))
        array([[3., 2., 3.]])
        """
        return self._over(
            rates, lambda axis: lambda a: np.flip(a, axis + 1), lambda i, j: lambda a: np.swapaxes(a, i + 1, j + 1)
        )

    def average_pairs(self, rates: Array, axes: Axes) -> Array:
        """Rates (..., *pairs), one axis of pairs for each of the layer's; as they are if a mirrored pair is missing."""
        mirrored = {}
        for axis in self.flips:
            pairs = axes[axis]
            codes = (pairs.left - 1 - pairs.first) * pairs.right + pairs.right - 1 - pairs.second
            indices = np.minimum(np.searchsorted(pairs.codes, codes), len(pairs) - 1)
            if not np.array_equal(pairs.codes[indices], codes):
                return rates
            mirrored[axis] = indices
        if any(axes[i] != axes[j] for i, j in self.swaps):
            return rates
        start = rates.ndim - len(axes)

        def flip(axis: int) -> Move:
            return lambda a: np.take(a, mirrored[axis], start + axis)

        return self._over(rates, flip, lambda i, j: lambda a: np.swapaxes(a, start + i, start + j))

    def average_taps(self, rates: Array, tables: list[Array], spatial: tuple[int, ...]) -> Array:
        """Rates (taps, runs, *outputs) of windows that read the cells of `tables`, (taps, outputs) for each axis."""
        axes = len(tables)
        split = rates.reshape(*(len(table) for table in tables), *rates.shape[1:])

        def flip(axis: int) -> Move:
            order = _mirrored_taps(tables[axis], spatial[axis])
            shape = [1] * split.ndim
            shape[axis], shape[axes + 1 + axis] = order.shape
            return lambda a: np.take_along_axis(np.flip(a, axes + 1 + axis), order.reshape(shape), axis)

        def swap(i: int, j: int) -> Move:
            return lambda a: np.swapaxes(np.swapaxes(a, i, j), axes + 1 + i, axes + 1 + j)

        return self._over(split, flip, swap).reshape(rates.shape)

    def average_winners(self, rates: Array, tables: list[Array], spatial: tuple[int, ...]) -> Array:
        """Rates (runs, *outputs, *lags, taps, taps) of pairs of windows that read the cells of `tables`."""
        axes = len(tables)
        taps = [len(table) for table in tables]
        split = rates.reshape(*rates.shape[: 1 + 2 * axes], *taps, *taps)
        groups = [[1 + group * axes + axis for group in range(4)] for axis in range(axes)]  # of each axis

        def flip(axis: int) -> Move:
            outputs, lags, one, other = groups[axis]
            order = _mirrored_taps(tables[axis], spatial[axis])
            n, reach = order.shape[1], split.shape[lags] // 2
            partner = np.clip(np.add.outer(np.arange(n), np.arange(-reach, reach + 1)), 0, n - 1)
            first, second = [1] * split.ndim, [1] * split.ndim
            first[outputs], first[one] = n, taps[axis]
            second[outputs], second[lags], second[other] = n, 2 * reach + 1, taps[axis]
            by_first = order.T.reshape(first)
            by_second = np.moveaxis(order[:, partner], 0, -1).reshape(second)
            return lambda a: np.take_along_axis(
                np.take_along_axis(np.flip(a, (outputs, lags)), by_first, one), by_second, other
            )

        def swap(i: int, j: int) -> Move:
            def moved(a: Array) -> Array:
                for one, other in zip(groups[i], groups[j], strict=True):
                    a = np.swapaxes(a, one, other)
                return a

            return moved

        return self._over(split, flip, swap).reshape(rates.shape)

    def _over(self, rates: Array, flip: Callable[[int], Move], swap: Callable[[int, int], Move]) -> Array:
        for axis in self.flips:
            rates = (rates + flip(axis)(rates)) / 2
        if self.swaps:  # all orders of the axes that are alike
            axes = sorted({axis for pair in self.swaps for axis in pair})
            swaps = [swap(i, j) for i, j in self.swaps]
            if len(axes) == 2:
                return (rates + swaps[0](rates)) / 2
            turned = swaps[0]  # of three axes: the even orders, then one swap
            cycle = [rates, swaps[1](turned(rates)), turned(swaps[1](rates))]
            rates = reduce(np.add, cycle) / 3
            rates = (rates + turned(rates)) / 2
        return rates


def _mirrored_taps(table: Array, n: int) -> Array:
    """For every tap and output, the tap of the mirrored output that reads the mirrored cell; (taps, outputs)."""
    wanted = np.where(table >= 0, n - 1 - table, -1)
    there = table[:, ::-1]
    match = wanted[:, None] == there[None]  # (tap here, tap there, output)
    return np.asarray(match.argmax(axis=1))


@lru_cache(maxsize=64)
def symmetries(lattice: Lattice) -> Symmetries:
    """All flips and swaps under which the lattice is itself.

    >>> net = Lattice.chain((3, 9, 9), [Conv(8, 3, 2, padding=1), Activation("relu")])
    >>> symmetries(net).flips, symmetries(net).swaps, symmetries(net.at_size(8)).flips
    ((0, 1), ((0, 1),), ())
    """
    axes = range(len(lattice.input_shape) - 1)
    flips = tuple(axis for axis in axes if is_flip_symmetric(lattice, axis))
    swaps = tuple(pair for pair in combinations(axes, 2) if is_transpose_symmetric(lattice, *pair))
    return Symmetries(flips, swaps if len(swaps) != 2 else swaps[:1])


def is_flip_symmetric(lattice: Lattice, axis: int) -> bool:
    """Is the network the same in distribution when its input is mirrored along this spatial axis?"""

    def windows_are(op: Windowed, spatial: tuple[int, ...]) -> bool:
        return _is_mirrored(op, op.windows(spatial)[axis], spatial[axis])

    return _holds(lattice, windows_are)


def is_transpose_symmetric(lattice: Lattice, first: int = 0, second: int = 1) -> bool:
    """Is the network the same in distribution when these two spatial axes are swapped?"""
    axes = len(lattice.input_shape)
    if any(len(shape) > 1 and (len(shape) != axes or shape[1 + first] != shape[1 + second]) for shape in lattice.shapes):
        return False  # tokens in a row have another axis

    def windows_are(op: Windowed, spatial: tuple[int, ...]) -> bool:
        one, other = (op.windows(spatial)[axis] for axis in (first, second))
        n = spatial[first]
        return one == other or (np.array_equal(one.table(n), other.table(n)) and np.array_equal(one.matrix(n), other.matrix(n)))

    return _holds(lattice, windows_are)


def _holds(lattice: Lattice, windows_are: Callable[[Windowed, tuple[int, ...]], bool]) -> bool:
    """Does it hold of every layer that reads neighbours, and is there none that could tell positions apart otherwise?"""
    for node in lattice.nodes:
        op: Op = node.op
        shape = lattice.input_shapes(node)[0] if node.inputs else ()
        flat = len(shape) == 1  # features that were positions, in an order
        if not (type(op) in ANYWHERE or (flat and isinstance(op, Dense)) or (not flat and type(op) in WITH_POSITIONS)):
            return False
        if isinstance(op, Windowed) and not windows_are(op, shape[1:]):
            return False
    return True


@lru_cache(maxsize=1024)
def _is_mirrored(op: Windowed, window: Any, n: int) -> bool:
    if isinstance(op, Weighted):
        table = window.table(n)
        mirrored = np.where(table >= 0, n - 1 - table, -1)[:, ::-1]
        return sorted(table.tolist()) == sorted(mirrored.tolist())
    matrix = window.matrix(n)
    return bool(np.array_equal(matrix, matrix[::-1, ::-1]))
