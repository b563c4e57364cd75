"""The relation *output cell j, tap k -> input cell i* of ONE axis, and its transpose, a slice at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

__all__ = ["AxisMap", "Run", "along", "overlaid", "run", "straight", "zeros_like"]

Array = np.ndarray[Any, Any]
Run: TypeAlias = tuple[slice, slice]
Pair: TypeAlias = tuple[int, int]
Place: TypeAlias = tuple[Any, ...]


class AxisMap(ABC):
    """The relation *output cell j, tap k -> input cell i* of one axis; a subclass says `outputs`, `taps` and `cell`.

    See `lattice.network.windows.window` for the maps of convolutions, pools and resizes.
    """

    __slots__ = ()

    @abstractmethod
    def outputs(self, n: int) -> int:
        """Number of output cells over an input of `n` cells.

        Parameters
        ----------
        n : int
            Cells of the input, at least 1.

        Returns
        -------
        int
            Cells of the output.

        Raises
        ------
        SpecificationError
            If there would be none.
        """

    @abstractmethod
    def taps(self, n: int) -> int:
        """Number of taps of one output cell (the largest number, where cells differ).

        Parameters
        ----------
        n : int
            Cells of the input.

        Returns
        -------
        int
            Taps.
        """

    @abstractmethod
    def cell(self, j: int, k: int, n: int) -> int | None:
        """The input cell that output cell `j` reads through tap `k`.

        Parameters
        ----------
        j : int
            Output cell.
        k : int
            Tap.
        n : int
            Cells of the input.

        Returns
        -------
        int or None
            Input cell; None where the tap reads nothing.
        """

    def table(self, n: int) -> Array:
        """`cell` for all taps and outputs at once.

        Parameters
        ----------
        n : int
            Cells of the input.

        Returns
        -------
        ndarray of int, shape (taps, outputs)
            Input cells, -1 where a tap reads nothing.

        Examples
        --------
        >>> from lattice import Window
        >>> Window(kernel=3, padding=(1, 1)).table(4)
        array([[-1,  0,  1,  2],
               [ 0,  1,  2,  3],
               [ 1,  2,  3, -1]])
        """
        return _table(self, n)

    def matrix(self, n: int) -> Array:
        """The linear map of this axis: 1 for every tap that reads a cell, unless a subclass has weights.

        Parameters
        ----------
        n : int
            Cells of the input.

        Returns
        -------
        ndarray of float64, shape (outputs, n)
            The matrix.

        Examples
        --------
        >>> from lattice import Window
        >>> Window(kernel=2).matrix(3)
        array([[1., 1., 0.],
               [0., 1., 1.]])
        """
        return np.asarray((self.table(n)[..., None] == np.arange(n)).sum(axis=0), dtype=float)

    def runs(self, n: int) -> list[Run]:
        """The table as runs: pairs of slices (cells, outputs) that `pull` adds at once.

        Parameters
        ----------
        n : int
            Cells of the input.

        Returns
        -------
        list of tuple of slice
            Slices of input cells and of outputs, of equal length.
        """
        return runs(self.table(n))

    def is_identity(self, n: int) -> bool:
        """Whether output cell j reads cell j and nothing else, for each of `n` cells.

        Parameters
        ----------
        n : int
            Cells of the input.

        Returns
        -------
        bool
            True if the map leaves every cell as it is.
        """
        if _places(self, n, -1)[:2] == (True, ()):
            return True
        return self.taps(n) <= 1 and self.table(n).tolist() == [list(range(n))]  # copied padding may bring a cell to its place

    def pull(self, cotangent: Array, n: int, axis: int) -> Array:
        """Transpose of reading: every input cell collects the cotangents of the (output, tap) pairs that read it.

        Parameters
        ----------
        cotangent : ndarray
            Any number type that adds, with `outputs(n)` cells along `axis`.
        n : int
            Cells of the input.
        axis : int
            Axis of the array, counted from the end (-1 is the last).

        Returns
        -------
        ndarray
            The same shape and dtype with `n` cells along `axis`.
        """
        starts_in_place, slices, rest = _places(self, n, axis)
        result = np.empty(cotangent.shape, cotangent.dtype) if starts_in_place else zeros_like(cotangent, axis, n)
        if starts_in_place:
            for cells in rest:
                result[cells] = cotangent[cells]
        for number, (cells, outputs) in enumerate(slices):
            start = cotangent if starts_in_place and number == 0 else result
            np.add(start[cells], cotangent[outputs], out=result[cells])
        return result

    def pull_repeatedly(self, cotangent: Array, n: int, times: int) -> Array:
        """`pull` on the last axis, `times` in a row, between two arrays laid out once.

        Parameters
        ----------
        cotangent : ndarray
            With `n` cells on the last axis.
        n : int
            Cells of input and output.
        times : int
            How often to pull.

        Returns
        -------
        ndarray
            The same shape and dtype.
        """
        if times == 1:
            return self.pull(cotangent, n, -1)
        starts_in_place, slices, _ = _places(self, n, -2)
        here = np.ascontiguousarray(cotangent.T)
        there = np.empty_like(here)
        down, up = ([(a[cells], b[outputs]) for cells, outputs in slices] for a, b in ((there, here), (here, there)))
        for _ in range(times):
            np.copyto(there, here if starts_in_place else 0)
            for collected, passed in down:
                np.add(collected, passed, collected)
            here, there, down, up = there, here, up, down
        return np.ascontiguousarray(here.T)


@lru_cache(maxsize=512)
def _table(window: AxisMap, n: int) -> Array:
    cells = [[window.cell(j, k, n) for j in range(window.outputs(n))] for k in range(window.taps(n))]
    table = np.array([[-1 if i is None else i for i in row] for row in cells], dtype=np.int64)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=512)
def _places(window: AxisMap, n: int, axis: int) -> tuple[bool, tuple[tuple[Place, Place], ...], tuple[Place, ...]]:
    """Is there a run that reads each of the n cells in its place; the other runs as indices of arrays; the first one's rest.

    The rest are the cells that the first of the other runs leaves out, as indices.
    """
    waiting, in_place = window.runs(n), run(0, 1, 0, 1, n)
    starts_in_place = window.outputs(n) == n and in_place in waiting
    if starts_in_place:
        waiting.remove(in_place)
    left_out = set(range(n)).difference(*(range(n)[cells] for cells, _ in waiting[:1]))
    rest = [cells for cells, _ in straight((i, 0) for i in sorted(left_out))]
    after = (slice(None),) * (-1 - axis)
    slices = tuple(((..., cells, *after), (..., outputs, *after)) for cells, outputs in waiting)
    return starts_in_place, slices, tuple((..., cells, *after) for cells in rest)


# --- the runs of a table: what an array library can add at once ----------------------------------------------------------


def runs(table: Array) -> list[Run]:
    """The table (tap, output j) -> cell i as runs (cells, outputs): two slices that pair off, no cell twice in one run.

    A run follows one tap over many outputs, or one output over many taps (that output is then broadcast), whichever way
    gives fewer: a sliding window has one run per tap, a global pool one in all. Entries of -1 read nothing.

    >>> runs(np.array([[-1, 1, 3], [0, 2, 4]]))
    [(slice(1, 5, 2), slice(1, 3, 1)), (slice(0, 6, 2), slice(0, 3, 1))]
    >>> runs(np.array([[0], [1], [2]]))
    [(slice(0, 3, 1), slice(0, 1, 1))]
    """
    outputs = range(table.shape[1])
    by_tap = [run for row in table.tolist() for run in straight(zip(row, outputs, strict=True))]
    by_output = [run for j, column in enumerate(table.T.tolist()) for run in straight((i, j) for i in column)]
    return by_tap if len(by_tap) <= len(by_output) else by_output


def run(cell: int, cell_step: int, output: int, output_step: int, count: int) -> Run:
    """`count` pairs from (cell, output) in equal steps; an output step of 0 is one output, which is broadcast."""
    return _slice(cell, cell_step, count), _slice(output, output_step, count)


def straight(pairs: Iterable[Pair]) -> Iterator[Run]:
    """Pairs (cell, output) as runs; a cell that is read again waits for another pass."""
    waiting = [(i, j) for i, j in pairs if i >= 0]
    while waiting:
        again: list[Pair] = []
        once: dict[int, int] = {}
        for i, j in waiting:
            if i in once:
                again.append((i, j))
            else:
                once[i] = j
        yield from _constant_steps(list(once.items()))
        waiting = again


def _constant_steps(pairs: Sequence[Pair]) -> Iterator[Run]:
    """The pairs cut wherever the step to the next pair changes, each piece as two slices."""
    start = 0
    while start < len(pairs):
        i, j = pairs[start]
        di, dj = (pairs[start + 1][0] - i, pairs[start + 1][1] - j) if start + 1 < len(pairs) else (1, 1)
        stop = start + 1
        while stop < len(pairs) and pairs[stop] == (i + (stop - start) * di, j + (stop - start) * dj):
            stop += 1
        yield run(i, di, j, dj, stop - start)
        start = stop


def _slice(start: int, step: int, count: int) -> slice:
    if step == 0 or count == 1:
        return slice(start, start + 1, 1)
    end = start + step * count
    return slice(start, end if end >= 0 else None, step)


# --- arrays along one axis, counted from the end ---------------------------------------------------------------------------


def along(axis: int, start: int, step: int, count: int) -> tuple[Any, ...]:
    """The index of `count` cells from `start` in equal steps."""
    return (..., slice(start, start + step * count, step), *(slice(None),) * (-1 - axis))


def zeros_like(array: Array, axis: int, n: int) -> Array:
    """Zeros in the shape of `array`, with n cells along the axis."""
    shape = list(array.shape)
    shape[axis] = n
    return np.zeros(shape, array.dtype)


def overlaid(first: Array, second: Array, shift: int, axis: int) -> Array:
    """first + second moved on by `shift` cells, as long as both need.

    >>> overlaid(np.array([1, 2, 3]), np.array([10, 20, 30]), shift=1, axis=-1)
    array([ 1, 12, 23, 30])
    """
    longer, end = first.shape[axis], shift + second.shape[axis]
    if shift >= longer:  # they do not meet
        result = zeros_like(first, axis, end)
        result[along(axis, 0, 1, longer)] = first
        result[along(axis, shift, 1, end - shift)] = second
        return result
    shape, both = list(first.shape), min(longer, end)
    shape[axis] = max(longer, end)
    result = np.empty(shape, first.dtype)
    result[along(axis, 0, 1, shift)] = first[along(axis, 0, 1, shift)]
    over = along(axis, shift, 1, both - shift)
    np.add(first[over], second[along(axis, 0, 1, both - shift)], out=result[over])
    tail, start = (first, both) if longer > end else (second, both - shift)
    result[along(axis, both, 1, shape[axis] - both)] = tail[along(axis, start, 1, shape[axis] - both)]
    return result
