"""Which padded cells a layer really reads, and whether its windows are the same read from left and from right.

A stage with kernel K, dilation d, stride s and padding (lo, hi) over n cells places its last window so that

    leftover = (n + lo + hi - span) mod s,     span = d (K - 1) + 1,

cells on the high side stay unread: of `hi` padded cells it reads hi - leftover (fewer than none: cells of the input are
lost). Its windows are flip symmetric iff hi - leftover = lo, that is, with equal paddings, iff s divides n + 2 p - span
(Alsallakh et al., "Mind the Pad", ICLR 2021, where the padding is then consumed on both sides). If every stage is
symmetric, so is the map of path counts: the flip maps routes to routes. One uneven stage is enough to tilt it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from lattice.checks import whole
from lattice.errors import SpecificationError, UnsupportedError
from lattice.network.lattice import Lattice, check_lattice
from lattice.network.nodes import own_kinds
from lattice.network.ops import ChannelShuffle, Dense, Flatten, Merge, Op, PixelShuffle, Pointwise, Shape, Slice, Windowed
from lattice.network.windows.axis import AxisMap
from lattice.network.windows.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.windows.window import TransposedWindow, Window
from lattice.results.values import Result

__all__ = ["StageEvenness", "even_sizes", "evenness", "lean", "padding_read"]


@dataclass(frozen=True, slots=True)
class StageEvenness(Result):
    """How one windowed layer meets the two borders of one axis of `size` cells.

    Parameters
    ----------
    node : str
        Name of the layer.
    axis : int
        Spatial axis, from 0.
    size : int
        Cells that the layer reads on this axis.
    window : AxisMap
        The layer's window on this axis.
    read : tuple of tuple of int
        The padded cells that some tap reads, (low side, high side), counted from the input's first cell, so that -1 is the
        nearest on the low side and `size` the nearest on the high side.
    missed : tuple of int
        How many cells at each end of the input no window reads.
    lean : int
        How many cells further the windows reach over the high border than over the low one (of a transposed convolution:
        cells of its output; of nearest resizing: summed over the outputs). They are flip symmetric, `even`, iff it is 0.
    """

    node: str
    axis: int
    size: int
    window: AxisMap
    read: tuple[tuple[int, ...], tuple[int, ...]]
    missed: tuple[int, int]
    lean: int

    @classmethod
    def _parts(cls) -> Iterator[type]:
        return own_kinds(AxisMap)

    @property
    def even(self) -> bool:
        """Whether the windows are flip symmetric."""
        return self.lean == 0

    def __str__(self) -> str:
        low, high = (len(cells) for cells in self.read)
        missed = f", misses {self.missed[0]} and {self.missed[1]} cells" if any(self.missed) else ""
        return f"{self.node} axis {self.axis}: {'even' if self.even else 'UNEVEN'}, reads {low} and {high} padded cells{missed}"


def evenness(lattice: Lattice) -> tuple[StageEvenness, ...]:
    """One row per windowed layer and axis, bottom first: what it reads of its padding, and whether it is flip symmetric.

        (n + lo + hi - span) mod s = hi - lo,     span = d (K - 1) + 1

    is the condition for symmetric windows (Alsallakh et al., "Mind the Pad", 2021). Layers without windows (sums,
    concatenations, pointwise layers, heads) treat both directions the same, with one exception that has no row: a
    `PixelShuffle` swaps its channels under a flip, so its input channels differ.

    Parameters
    ----------
    lattice : Lattice
        The network.

    Returns
    -------
    tuple of StageEvenness
        Rows with `node`, `axis`, `even` and the padded cells that are read.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> for size in (8, 9):
    ...     print(
    ...         *evenness(
    ...             Lattice.chain((1, size), [Conv(1, kernel=3, stride=2, padding=1)])
    ...         )
    ...     )
    conv1 axis 0: UNEVEN, reads 1 and 0 padded cells
    conv1 axis 0: even, reads 1 and 1 padded cells
    """
    check_lattice(lattice, "evenness")
    rows = []
    for node in lattice.nodes[1:]:
        shape = lattice.input_shapes(node)[0]
        for axis, (window, n) in enumerate(zip(_windows(node.op, shape), shape[1:], strict=False)):
            # what a window reads of the input itself is the same for every mode, so it is asked without copies
            table = _without_copies(window).table(n)
            cells = np.unique(table[table >= 0])
            missed = (int(cells[0]), n - 1 - int(cells[-1])) if cells.size else (n, n)
            rows.append(StageEvenness(node.name, axis, n, window, padding_read(window, n), missed, lean(window, n)))
    return tuple(rows)


@singledispatch
def lean(window: AxisMap, n: int) -> int:
    """How many cells further the windows reach over the high border of n cells than over the low one.

    >>> (
    ...     lean(Window(kernel=3, stride=2, padding=(1, 1)), 8),
    ...     lean(Window(kernel=3, stride=2, padding=(1, 1)), 9),
    ... )
    (-1, 0)
    """
    raise SpecificationError(f"no evenness rule for {window!r}; add one with lattice.geometry.evenness.lean.register")


@lean.register
def _(window: Window, n: int) -> int:
    end = window.stride * (window.outputs(n) - 1) + window.span - window.padding[0]  # one past the last tap
    return end - n - window.padding[0]


@lean.register
def _(window: TransposedWindow, n: int) -> int:
    return window.output_padding - window.padding[1] + window.padding[0]


@lean.register
def _(window: AdaptiveWindow, n: int) -> int:
    return 0  # bins floor(j n / m) .. ceil((j + 1) n / m) - 1 mirror into themselves


@lean.register
def _(window: ResizeWindow, n: int) -> int:
    if window.mode == "linear":
        return 0  # centres (j + 1/2) n / m mirror into themselves
    cells = window.table(n)[0]  # floor(j n / m): the mirror image of output j never reads a lower cell than j itself
    return int((cells + cells[::-1] - (n - 1)).sum())


@singledispatch
def padding_read(window: AxisMap, n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padded cells that some tap reads, (low side, high side); a window without padding reads none.

    >>> padding_read(Window(kernel=3, stride=2, padding=(1, 1)), 8)
    ((-1,), ())
    """
    return (), ()


@padding_read.register
def _(window: Window, n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    starts = window.stride * np.arange(window.outputs(n)) - window.padding[0]
    cells = np.unique(starts[:, None] + window.dilation * np.arange(window.kernel))
    # a window that ceil_mode lets hang over the end reads nothing beyond the padding
    low, high = cells[cells < 0], cells[(cells >= n) & (cells < n + window.padding[1])]
    return tuple(map(int, low)), tuple(map(int, high))


def _without_copies(window: AxisMap) -> AxisMap:
    if not isinstance(window, Window):
        return window
    return Window(window.kernel, window.stride, window.dilation, window.padding, "zeros", window.ceil)


def even_sizes(net_of_size: Lattice | Callable[[int], Lattice], around: int = 224, within: int = 64) -> tuple[int, ...]:
    """The input sizes near `around` at which every window of the net is flip symmetric, the nearest first.

    Sizes at which there is no lattice (`SpecificationError`) are passed over. Stages of stride 2 with equal paddings leave
    32 a + 1 for ResNets and MobileNets.

    Parameters
    ----------
    net_of_size : Lattice or callable
        A function from an input size, an int, to the lattice for it; or a `Lattice` (a traced one, say), whose layers are then
        taken at each size.
    around : int, default 224
        The size to look near, in cells per axis.
    within : int, default 64
        How far to look on both sides: from around - within to around + within.

    Returns
    -------
    tuple of int
        The sizes, the nearest first; empty where there is none (`evenness` then names the stages in the way).

    Raises
    ------
    SpecificationError
        If `net_of_size` is neither a lattice nor a function, or a size is no whole number.

    Examples
    --------
    >>> from lattice import families
    >>> even_sizes(lambda n: families.resnet((3, n, n)), around=224, within=40)
    (225, 193, 257)
    """
    if not callable(net_of_size) and not isinstance(net_of_size, Lattice):
        raise SpecificationError(f"net_of_size is {net_of_size!r}; it is a lattice, or a function from an input size to one")
    around, within = whole("around", around, 1), whole("within", within, 0)
    of_size = net_of_size.at_size if isinstance(net_of_size, Lattice) else net_of_size
    even = []
    for size in _nearest_first(around, within):
        try:
            lattice = of_size(size)
        except SpecificationError:
            continue
        if _is_even(lattice):
            even.append(size)
    return tuple(even)


@singledispatch
def _windows(op: Op, shape: Shape) -> tuple[AxisMap, ...]:
    """The windows of an op that reads an input of this shape, one an axis; none where both directions of it are alike."""
    raise UnsupportedError(
        f"is {op!r} the same from left and right? There is no rule; add one with lattice.geometry.evenness._windows.register"
    )


@_windows.register
def _(op: Windowed, shape: Shape) -> tuple[AxisMap, ...]:
    return op.windows(shape[1:])


@_windows.register(ChannelShuffle)
@_windows.register(Dense)
@_windows.register(Flatten)
@_windows.register(Merge)
@_windows.register(PixelShuffle)
@_windows.register(Pointwise)
@_windows.register(Slice)
def _(op: Op, shape: Shape) -> tuple[AxisMap, ...]:
    return ()


def _nearest_first(around: int, within: int) -> list[int]:
    return sorted(range(max(1, around - within), around + within + 1), key=lambda size: (abs(size - around), -size))


def _is_even(lattice: Lattice) -> bool:
    """`all(row.even for row in evenness(lattice))`, given up at the first uneven window."""
    seen: set[tuple[AxisMap, int]] = set()
    for node in lattice.nodes[1:]:
        shape = lattice.input_shapes(node)[0]
        for asked in zip(_windows(node.op, shape), shape[1:], strict=False):
            if asked not in seen and lean(*asked):
                return False
            seen.add(asked)
    return True
