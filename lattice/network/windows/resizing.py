"""Axis maps to a fixed number of outputs: the bins of adaptive pooling, and resizing."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lattice.checks import whole
from lattice.errors import SpecificationError
from lattice.network.windows.axis import AxisMap

__all__ = ["AdaptiveWindow", "ResizeWindow"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class AdaptiveWindow(AxisMap):
    """Adaptive pooling to `size` outputs: output j reads cells floor(j n / size) to ceil((j + 1) n / size) - 1.

    Parameters
    ----------
    size : int
        Outputs, at least 1.

    Examples
    --------
    >>> AdaptiveWindow(2).table(5)
    array([[0, 2],
           [1, 3],
           [2, 4]])
    """

    size: int

    def __post_init__(self) -> None:
        whole("AdaptiveWindow: size", self.size, 1)

    def outputs(self, n: int) -> int:
        return self.size

    def taps(self, n: int) -> int:
        return max(self._end(j, n) - self._start(j, n) for j in range(self.size))

    def _start(self, j: int, n: int) -> int:
        return j * n // self.size

    def _end(self, j: int, n: int) -> int:
        return -(-(j + 1) * n // self.size)

    def cell(self, j: int, k: int, n: int) -> int | None:
        i = self._start(j, n) + k
        return i if i < self._end(j, n) else None


@dataclass(frozen=True, slots=True)
class ResizeWindow(AxisMap):
    """Resizing to `size` cells: "nearest" reads cell floor(j n / size); "linear" the two neighbours of its centre.

    Torch multiplies j by n / size in single precision, which is just below the whole number now and then, and so does
    "nearest" here: for n = 2 and size = 82 output 41 reads cell 0. A linear tap whose coefficient is zero, or that torch clamps
    onto the other, reads nothing.

    Parameters
    ----------
    size : int
        Outputs, at least 1.
    mode : {"nearest", "linear"}, default "nearest"
        How an output reads the input.
    align_corners : bool, default False
        Whether the centres of the first and of the last output lie on those of the first and the last cell.

    Examples
    --------
    >>> ResizeWindow(4, "nearest").table(2)
    array([[0, 0, 1, 1]])
    >>> ResizeWindow(4, "linear").table(2)
    array([[ 0,  0,  0,  1],
           [-1,  1,  1, -1]])
    >>> ResizeWindow(4, "linear").matrix(2)
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """

    size: int
    mode: str = "nearest"
    align_corners: bool = False

    def __post_init__(self) -> None:
        whole("ResizeWindow: size", self.size, 1)
        if self.mode not in ("nearest", "linear"):
            raise SpecificationError(f"ResizeWindow: mode is {self.mode!r}; it is 'nearest' or 'linear'")

    def outputs(self, n: int) -> int:
        return self.size

    def taps(self, n: int) -> int:
        return 1 if self.mode == "nearest" else 2

    def cell(self, j: int, k: int, n: int) -> int | None:
        if self.mode == "nearest":
            ratio = np.float32(n) / np.float32(self.size)
            return min(int(np.float32(j) * ratio), n - 1)
        first, rest = divmod(self._centre(j, n), 1)
        if k == 0:
            return min(int(first), n - 1)
        return int(first) + 1 if rest and first + 1 < n else None

    def matrix(self, n: int) -> Array:
        if self.mode == "nearest":
            return AxisMap.matrix(self, n)
        result = np.zeros((self.size, n))
        for j in range(self.size):
            first, rest = divmod(self._centre(j, n), 1)
            result[j, min(int(first), n - 1)] += float(1 - rest)
            result[j, min(int(first) + 1, n - 1)] += float(rest)
        return result

    def _centre(self, j: int, n: int) -> Fraction:
        """Where the centre of output j stands, counted in input cells from the centre of the first."""
        if self.align_corners:
            return Fraction(j * (n - 1), self.size - 1) if self.size > 1 else Fraction(0)
        return max(Fraction((2 * j + 1) * n, 2 * self.size) - Fraction(1, 2), Fraction(0))
