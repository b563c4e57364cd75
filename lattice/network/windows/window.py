"""Which input cell a tap reads, on ONE axis.

Every layer that reads a neighbourhood is, on each of its spatial axes, a relation *output cell j, tap k -> input cell i*.
One-, two- and three-dimensional layers are tuples of these relations, one per axis; nothing else in the project knows
what a stride, a dilation or a padding is.
"""

from dataclasses import dataclass, replace
from math import gcd
from typing import Any

import numpy as np

from lattice.checks import is_real, whole
from lattice.errors import SpecificationError
from lattice.network.windows.axis import AxisMap, Run, along, overlaid, run, straight, zeros_like

__all__ = ["PADDING_MODES", "FilterWindow", "TransposedWindow", "Window"]

PADDING_MODES = ("zeros", "circular", "reflect", "replicate", "symmetric")

Array = np.ndarray[Any, Any]


def _check(window: AxisMap, **least: int) -> None:
    """The parameters of a window are whole numbers, and its padding is (lo, hi)."""
    kind, padding = type(window).__name__, window.padding  # type: ignore[attr-defined]
    for name, smallest in least.items():
        whole(f"{kind}: {name}", getattr(window, name), smallest)
    if not isinstance(padding, tuple) or len(padding) != 2:
        raise SpecificationError(f"{kind}: padding is {padding!r}; on one axis it is (lo, hi)")
    for side in padding:
        whole(f"{kind}: padding", side, 0)


@dataclass(frozen=True, slots=True)
class Window(AxisMap):
    """A sliding window: output j reads cell i = stride * j + dilation * k - lo at tap k = 0..kernel-1.

    Parameters
    ----------
    kernel : int, default 1
        Taps.
    stride : int, default 1
        Cells from one output to the next.
    dilation : int, default 1
        Cells from one tap to the next.
    padding : tuple of int, default (0, 0)
        Padded cells (lo, hi).
    mode : {"zeros", "circular", "reflect", "replicate", "symmetric"}, default "zeros"
        With "zeros" a tap that falls outside reads nothing; otherwise it reads the cell that the padding copies (numpy's names
        "wrap", "reflect", "edge", "symmetric").
    ceil : bool, default False
        Whether outputs are counted as with torch's `ceil_mode`.

    Raises
    ------
    SpecificationError
        If a number is out of its range, or the mode another one.

    Examples
    --------
    >>> window = Window(kernel=3, stride=2, padding=(1, 1))
    >>> window.outputs(8), [window.cell(0, k, 8) for k in range(3)]
    (4, [None, 0, 1])
    """

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)
    mode: str = "zeros"
    ceil: bool = False

    def __post_init__(self) -> None:
        _check(self, kernel=1, stride=1, dilation=1)
        if self.mode not in PADDING_MODES:
            raise SpecificationError(f"Window: mode is {self.mode!r}; it is one of {', '.join(PADDING_MODES)}")

    @property
    def span(self) -> int:
        """Cells from the first tap to the last, both included: dilation * (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def taps(self, n: int) -> int:
        return self.kernel

    def outputs(self, n: int) -> int:
        lo, hi = self.padding
        room = n + lo + hi - self.span
        count = (-(-room // self.stride) if self.ceil else room // self.stride) + 1
        if self.ceil and (count - 1) * self.stride >= n + lo:  # torch lets no window start behind the cells
            count -= 1
        if count < 1:
            raise SpecificationError(
                f"a kernel of {self.kernel} with dilation {self.dilation} spans {self.span} cells, but the padded input has "
                f"only {n + lo + hi} ({n} and padding {lo} + {hi}); use a larger input, a smaller kernel or more padding"
            )
        self._check_copies(n)
        return count

    def _check_copies(self, n: int) -> None:
        """A padding that copies cells cannot copy more than there are."""
        most = {"circular": n, "reflect": n - 1, "symmetric": n}.get(self.mode)
        if most is not None and max(self.padding) > most:
            raise SpecificationError(
                f"{self.mode} padding {self.padding} copies more cells than an input of {n} has to copy (at most {most} a side)"
            )

    def cell(self, j: int, k: int, n: int) -> int | None:
        position = self.stride * j + self.dilation * k - self.padding[0]
        return self._source(position, n)

    def _source(self, position: int, n: int) -> int | None:
        """The cell that stands at `position` of the padded line, counted from the first unpadded cell."""
        if 0 <= position < n:
            return position
        if self.mode == "zeros" or not -self.padding[0] <= position < n + self.padding[1]:
            return None
        match self.mode:
            case "circular":
                return position % n
            case "reflect":
                return -position if position < 0 else 2 * (n - 1) - position
            case "replicate":
                return 0 if position < 0 else n - 1
            case _:  # symmetric
                return -1 - position if position < 0 else 2 * n - 1 - position

    def runs(self, n: int) -> list[Run]:
        # Known without the table: a tap meets equal steps of cells, and so does an output; only copied cells are looked up.
        outputs, lo = self.outputs(n), self.padding[0]
        if outputs < self.kernel:
            lines = [(self.stride * j - lo, self.dilation, j, 0, self.kernel) for j in range(outputs)]
        else:
            lines = [(self.dilation * k - lo, self.stride, 0, 1, outputs) for k in range(self.kernel)]
        result: list[Run] = []
        for cell, cell_step, output, output_step, count in lines:
            first = min(max(-(cell // cell_step), 0), count)  # the line is inside the input from here
            last = min(max((n - 1 - cell) // cell_step + 1, first), count)  # to before here
            if first < last:
                result.append(run(cell + cell_step * first, cell_step, output + output_step * first, output_step, last - first))
            if self.mode != "zeros":
                outside = (*range(first), *range(last, count))
                copies = ((self._source(cell + cell_step * t, n), output + output_step * t) for t in outside)
                result.extend(straight((i, j) for i, j in copies if i is not None))
        return result

    def shortened(self, n: int, cells: int) -> tuple["Window", int]:
        """With zero padding: the same window over the first `cells` of `n` cells, and how many outputs read any of these.

        Parameters
        ----------
        n : int
            Cells of the input.
        cells : int
            Cells that are kept.

        Returns
        -------
        window : Window
            The window over the cells that are kept.
        outputs : int
            How many outputs read any of them.

        Examples
        --------
        >>> Window(kernel=3, stride=2, padding=(1, 1)).shortened(8, 3)
        (Window(kernel=3, stride=2, dilation=1, padding=(1, 1), mode='zeros', ceil=False), 2)
        """
        lo, hi = self.padding
        outputs = min((cells - 1 + lo) // self.stride + 1, self.outputs(n))
        hi = max(self.stride * (outputs - 1) + self.span - lo - cells, 0)
        return replace(self, padding=(lo, hi), ceil=False), outputs

    def pull(self, cotangent: Array, n: int, axis: int) -> Array:
        if cotangent.dtype != object or self.mode != "zeros" or self.stride == 1:
            return AxisMap.pull(self, cotangent, n, axis)
        # Additions of Python numbers are dear, so they are shared: taps k, k + period, k + 2 period, ... read cells of one
        # residue modulo the stride, each from outputs `shift` further back. The cells of one residue thus collect a sum
        # over `length` outputs, or over one more, which builds on it.
        common = gcd(self.stride, self.dilation)
        period, shift = self.stride // common, self.dilation // common
        length, more = divmod(self.kernel, period)
        outputs, (lo, hi) = cotangent.shape[axis], self.padding
        if length == 0 or outputs < period:  # nothing to share
            return AxisMap.pull(self, cotangent, n, axis)
        shorter = cotangent
        for t in range(1, length):
            shorter = overlaid(shorter, cotangent, t * shift, axis)
        longer = overlaid(shorter, cotangent, length * shift, axis) if more else shorter
        line = zeros_like(cotangent, axis, max(lo + n + hi, self.stride * (outputs - 1) + self.span))
        for k in range(period):
            part = longer if k < more else shorter
            line[along(axis, self.dilation * k, self.stride, part.shape[axis])] = part
        return line[along(axis, lo, 1, n)]


@dataclass(frozen=True, slots=True)
class FilterWindow(Window):
    """A sliding window whose taps have fixed weights: `weights[k]` for tap k.

    Parameters
    ----------
    kernel : int, default 1
        Taps.
    stride : int, default 1
        Cells from one output to the next.
    dilation : int, default 1
        Cells from one tap to the next.
    padding : tuple of int, default (0, 0)
        Padded cells (lo, hi).
    mode : str, default "zeros"
        What padded cells hold, as for `Window`.
    ceil : bool, default False
        Whether outputs are counted as with torch's `ceil_mode`.
    weights : tuple of float
        One finite number per tap.

    Examples
    --------
    >>> FilterWindow(kernel=3, stride=2, padding=(1, 1), weights=(0.25, 0.5, 0.25)).matrix(
    ...     4
    ... )
    array([[0.5 , 0.25, 0.  , 0.  ],
           [0.  , 0.25, 0.5 , 0.25]])
    """

    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        Window.__post_init__(self)
        if len(self.weights) != self.kernel or not all(map(is_real, self.weights)):
            raise SpecificationError(
                f"FilterWindow: weights is {self.weights!r}; it takes one finite number for each of {self.kernel} taps"
            )

    def matrix(self, n: int) -> Array:
        reads = self.table(n)[..., None] == np.arange(n)  # (taps, outputs, cells)
        return np.tensordot(np.asarray(self.weights), reads, 1)


@dataclass(frozen=True, slots=True)
class TransposedWindow(AxisMap):
    """The transpose of a zero-padded window: output j reads cell i at tap k where j = stride * i + dilation * k - lo.

    Parameters
    ----------
    kernel : int, default 1
        Taps.
    stride : int, default 1
        Output cells from one input cell to the next.
    dilation : int, default 1
        Cells from one tap to the next.
    padding : tuple of int, default (0, 0)
        Output cells (lo, hi) that are cut off.
    output_padding : int, default 0
        Output cells added on the high side.

    Examples
    --------
    >>> TransposedWindow(kernel=3, stride=2, padding=(1, 1), output_padding=1).table(2)
    array([[-1,  1, -1, -1],
           [ 0, -1,  1, -1],
           [-1,  0, -1,  1]])
    >>> TransposedWindow(kernel=3, stride=2).outputs(2)
    5
    """

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    padding: tuple[int, int] = (0, 0)
    output_padding: int = 0

    def __post_init__(self) -> None:
        _check(self, kernel=1, stride=1, dilation=1, output_padding=0)

    def taps(self, n: int) -> int:
        return self.kernel

    def outputs(self, n: int) -> int:
        count = (n - 1) * self.stride - sum(self.padding) + self.dilation * (self.kernel - 1) + self.output_padding + 1
        if count < 1:
            raise SpecificationError(
                f"a transposed window with kernel {self.kernel}, stride {self.stride} and padding {self.padding} "
                f"has no output over {n} cells; use less padding or a larger input"
            )
        return count

    def cell(self, j: int, k: int, n: int) -> int | None:
        i, rest = divmod(j + self.padding[0] - self.dilation * k, self.stride)
        return i if rest == 0 and 0 <= i < n else None
