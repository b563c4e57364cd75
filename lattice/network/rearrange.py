"""`Rearrange`: the cells of one input in other places, by factors of its axes; and `ListedWindow`, an axis map as a list."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from lattice.checks import is_real, is_whole
from lattice.errors import SpecificationError
from lattice.network.ops import Rearrangement, Shape, Windowed
from lattice.network.shapes import output_shape, sources
from lattice.network.windows.axis import AxisMap

__all__ = ["ListedWindow", "Rearrange", "Resample"]

Array = np.ndarray[Any, Any]
Take = tuple[int, ...] | None
LETTERS = "cdhw"  # how the axes of an input are called where an op is printed
NOTHING = -1


def is_rows(rows: Any) -> bool:
    """Is this a tuple of tuples, and not empty?"""
    return isinstance(rows, tuple) and bool(rows) and all(isinstance(row, tuple) for row in rows)


@dataclass(frozen=True, slots=True)
class ListedWindow(AxisMap):
    """Output j reads the cells `cells[j]`, with the coefficients `weights[j]` (1 where none are given); -1 reads nothing.

    Parameters
    ----------
    cells : tuple of tuple of int
        For each output the cells that it reads, -1 for none.
    weights : tuple of tuple of float or None, default None
        The coefficients of these cells, in the same shape; None is 1 everywhere.

    Examples
    --------
    >>> ListedWindow(((2,), (0,), (-1,))).matrix(3)
    array([[0., 0., 1.],
           [1., 0., 0.],
           [0., 0., 0.]])
    """

    cells: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if not is_rows(self.cells) or not all(is_whole(i) and i >= NOTHING for row in self.cells for i in row):
            raise SpecificationError(
                f"ListedWindow: cells is {self.cells!r}; it takes the cells of each output, or -1 for none"
            )
        if self.weights is None:
            return
        fits = is_rows(self.weights) and [*map(len, self.cells)] == [*map(len, self.weights)]
        if not fits or not all(is_real(weight) for row in self.weights for weight in row):
            raise SpecificationError("ListedWindow: weights has one finite number for each of the cells")

    def outputs(self, n: int) -> int:
        most = max((i for row in self.cells for i in row), default=NOTHING)
        if most >= n:
            raise SpecificationError(f"ListedWindow: reads cell {most}, and the input has {n}")
        return len(self.cells)

    def taps(self, n: int) -> int:
        return max(len(row) for row in self.cells)

    def cell(self, j: int, k: int, n: int) -> int | None:
        row = self.cells[j]
        return row[k] if k < len(row) and row[k] != NOTHING else None

    def matrix(self, n: int) -> Array:
        result = np.zeros((self.outputs(n), n))
        for j, row in enumerate(self.cells):
            cells = np.array(row, dtype=np.int64)
            weights = np.ones(len(row)) if self.weights is None else np.array(self.weights[j], dtype=float)
            np.add.at(result[j], cells[cells != NOTHING], weights[cells != NOTHING])
        return result


@dataclass(frozen=True, slots=True)
class Resample(Windowed):
    """A fixed linear map of each axis: one `ListedWindow` an axis, as of bicubic, antialiased or exact nearest resizing.

    Parameters
    ----------
    axes : tuple of lattice.network.rearrange.ListedWindow
        What each output of each axis reads, with which coefficients.

    Examples
    --------
    >>> from lattice import Lattice
    >>> from lattice.network.rearrange import ListedWindow
    >>> halves = ListedWindow(((0, 1), (1, 2)), ((0.5, 0.5), (0.5, 0.5)))
    >>> Lattice.chain((1, 3), [Resample((halves,))]).output_shape
    (1, 2)
    """

    axes: tuple[ListedWindow, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.axes, tuple) or not self.axes or not all(isinstance(axis, ListedWindow) for axis in self.axes):
            raise SpecificationError(f"Resample: axes is {self.axes!r}; it takes one ListedWindow for each axis")

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        if len(spatial) != len(self.axes):
            raise SpecificationError(f"Resample: has {len(self.axes)} axes, and the input {len(spatial)}")
        return self.axes

    def __str__(self) -> str:
        return f"Resample({' x '.join(str(len(axis.cells)) for axis in self.axes)})"


@dataclass(frozen=True, slots=True)
class Rearrange(Rearrangement):
    """Each output cell is one cell of the input, or zero: axes are cut, split into factors, and these joined to other axes.

    Parameters
    ----------
    factors : tuple of tuple of int
        For each input axis (channels first) the sizes into which what is kept of it splits, major first; an axis without
        factors has one cell.
    groups : tuple of tuple of int
        For each output axis the factors, counted over all input axes, that make it, major first; a factor stands in one
        group.
    takes : tuple, default ()
        For each input axis the tuple of cells that are kept, in their order, -1 for a zero, or None for all; () keeps all on
        every axis. A part, a stride, a roll, a mirroring, a padding with zeros and a repetition are such lists.

    Examples
    --------
    >>> op = Rearrange(factors=((2,), (2, 2)), groups=((2, 0), (1,)))  # space to depth
    >>> print(op)
    Rearrange('c (w1 w2) -> (w2 c) w1', w1=2, w2=2)
    >>> from lattice.network.shapes import sources
    >>> sources(op, (2, 4))
    array([[0, 2],
           [4, 6],
           [1, 3],
           [5, 7]])
    """

    factors: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]
    takes: tuple[Take, ...] = ()

    def __post_init__(self) -> None:
        rows = is_rows(self.factors) and is_rows(self.groups) and all(is_whole(f) for group in self.groups for f in group)
        if (
            not rows
            or not isinstance(self.takes, tuple)
            or not all(take is None or isinstance(take, tuple) for take in self.takes)
        ):
            raise SpecificationError(
                f"Rearrange: factors is {self.factors!r}, groups {self.groups!r}, takes {self.takes!r}; each is a tuple with a "
                "tuple of whole numbers for every axis (None in takes keeps all), and an output has a channel axis"
            )
        object.__setattr__(self, "takes", self.takes or (None,) * len(self.factors))
        numbers = [n for axis in self.factors for n in axis]
        cells = [i for take in self.takes for i in take or ()]
        if not all(is_whole(n) and n >= 1 for n in numbers) or not all(is_whole(i) and i >= NOTHING for i in cells):
            raise SpecificationError(f"{self}: factors are whole numbers from 1, and takes cells or -1")
        if sorted(f for group in self.groups for f in group) != list(range(len(numbers))):
            raise SpecificationError(f"{self}: each of the {len(numbers)} factors stands in one group")
        if len(self.takes) != len(self.factors):
            raise SpecificationError(f"{self}: takes has one entry for each axis of the input")
        for take, sizes in zip(self.takes, self.factors, strict=True):
            if take is not None and len(take) != prod(sizes):
                raise SpecificationError(f"{self}: {len(take)} cells are kept of an axis that is split into {sizes}")

    @property
    def keeps_axes(self) -> bool:
        """Whether each output axis reads the input axis of its own number, and no other.

        Returns
        -------
        bool
            False where an axis is split, joined or swapped.
        """
        return all(len(sizes) <= 1 for sizes in self.factors) and self.groups == _in_order(self.factors)

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        """The axis maps of an op that keeps its axes.

        Parameters
        ----------
        spatial : tuple of int
            The sizes of the input, without its channels.

        Returns
        -------
        tuple of AxisMap
            One for each axis.
        """
        takes = zip(self.takes[1:], spatial, strict=True)
        return tuple(ListedWindow(tuple((i,) for i in (range(n) if take is None else take))) for take, n in takes)

    def shape(self, shape: Shape) -> Shape:
        """The shape of the output.

        Parameters
        ----------
        shape : tuple of int
            That of the input, (channels, *spatial).

        Returns
        -------
        tuple of int
            (channels, *spatial).

        Raises
        ------
        SpecificationError
            Where an axis is missing, does not split into its factors, or has too few cells.
        """
        if len(shape) != len(self.factors):
            raise SpecificationError(f"{self}: takes an input of {len(self.factors)} axes, not {shape}")
        for n, take, sizes in zip(shape, self.takes, self.factors, strict=True):
            if take is None and n != prod(sizes):
                raise SpecificationError(f"{self}: an axis of {n} cells does not split into {sizes}")
            if take is not None and max(take, default=NOTHING) >= n:
                raise SpecificationError(f"{self}: keeps cell {max(take)} of an axis of {n}")
        numbers = [n for axis in self.factors for n in axis]
        return tuple(prod(numbers[f] for f in group) for group in self.groups)

    def __str__(self) -> str:
        """The pattern as einops writes it, sizes behind; of an axis that is cut, what is kept."""
        parts: list[list[str]] = []
        sizes: list[str] = []
        kept: list[str] = []
        letters = [LETTERS[0], *LETTERS[1 + (4 - len(self.factors)) :]] if len(self.factors) <= 4 else None
        for axis, split in enumerate(self.factors):
            letter = letters[axis] if letters else f"a{axis}"
            parts.append([letter] if len(split) == 1 else [f"{letter}{k}" for k in range(1, len(split) + 1)])
            if len(split) > 1:
                sizes += [f"{name}={n}" for name, n in zip(parts[-1], split, strict=True)]
            if self.takes[axis:] and self.takes[axis] is not None:
                kept.append(f"{letter}[{_span(self.takes[axis] or ())}]")
        flat = [name for names in parts for name in names]
        sides = (parts, [[flat[f] for f in group if f < len(flat)] for group in self.groups])
        left, right = (" ".join(names[0] if len(names) == 1 else f"({' '.join(names)})" for names in side) for side in sides)
        return f"Rearrange({', '.join([repr(f'{left} -> {right}'), *sizes, *kept])})"


def _in_order(factors: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """The groups that join the factors of each axis again."""
    ends = list(accumulate(len(sizes) for sizes in factors))
    return tuple(tuple(range(end - len(sizes), end)) for end, sizes in zip(ends, factors, strict=True))


def _span(take: tuple[int, ...]) -> str:
    """A list of cells in short: start:stop:step where it is one."""
    steps = {b - a for a, b in pairwise(take)}
    if len(take) > 1 and len(steps) == 1 and (step := steps.pop()) > 0:
        return f"{take[0]}:{take[-1] + 1}" + (f":{step}" if step > 1 else "")
    return ", ".join(map(str, take)) if len(take) <= 8 else f"{len(take)} cells"


@sources.register
def _(op: Rearrange, shape: Shape) -> Array:
    """-1 where a cell is zero."""
    return _cells(op, shape)


@lru_cache(maxsize=128)
def _cells(op: Rearrange, shape: Shape) -> Array:
    op.shape(shape)
    flat = np.zeros((), dtype=np.int64)
    reads = np.ones((), dtype=bool)
    for n, take in zip(shape, op.takes, strict=True):
        kept = np.arange(n) if take is None else np.array(take, dtype=np.int64)
        flat = np.add.outer(flat * n, np.maximum(kept, 0))
        reads = np.logical_and.outer(reads, kept >= 0)
    numbers = [n for axis in op.factors for n in axis]
    order = [f for group in op.groups for f in group]
    result = np.where(reads, flat, NOTHING).reshape(numbers).transpose(order).reshape(op.shape(shape))
    result = np.ascontiguousarray(result)
    result.setflags(write=False)
    return result


@output_shape.register
def _(op: Rearrange, shape: Shape) -> Shape:
    return op.shape(shape)
