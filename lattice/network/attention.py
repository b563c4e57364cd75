"""`Attention`: every output position mixes the values of the positions that it reads, with shares that depend on the data."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lattice.checks import is_real, is_whole
from lattice.errors import SpecificationError
from lattice.network.ops import Merge, Shape
from lattice.network.rearrange import ListedWindow, is_rows
from lattice.network.shapes import output_shape
from lattice.network.windows.axis import AxisMap

__all__ = ["Attention"]

Array = np.ndarray[Any, Any]
Reads = tuple[tuple[int, ...], ...] | None


@dataclass(frozen=True, slots=True)
class Attention(Merge):
    """softmax(q . k / sqrt(d)) v in each head: inputs queries, keys and values, (channels, *positions) each.

    The channels of all three are `heads` runs, one for each head; the output has the channels of the values and the positions
    of the queries. A path leads through the values of a position that is read, through its keys, or through the queries of
    the output's own position.

    Parameters
    ----------
    heads : int, default 1
        Heads, each with its own run of channels.
    reads : tuple, default ()
        For each axis of positions the cells that each output reads (windows, a mask), a tuple of tuples of int, or None for
        all of them; () is all of them on every axis.
    scale : float or None, default None
        What multiplies q . k; None is 1 / sqrt(d), with d channels of the queries a head.

    Examples
    --------
    >>> from lattice.network.shapes import output_shape
    >>> output_shape(Attention(2), (8, 3), (8, 5), (6, 5))
    (6, 3)
    """

    heads: int = 1
    reads: tuple[Reads, ...] = ()
    scale: float | None = None

    def __post_init__(self) -> None:
        if not is_whole(self.heads) or self.heads < 1:
            raise SpecificationError(f"Attention: heads is {self.heads!r}; it is a whole number from 1")
        if not isinstance(self.reads, tuple) or not all(cells is None or is_rows(cells) for cells in self.reads):
            raise SpecificationError(
                f"Attention: reads is {self.reads!r}; it is a tuple with, for each axis, the tuple of cells that each output "
                "reads, or None for all"
            )
        if self.scale is not None and not is_real(self.scale):
            raise SpecificationError(f"Attention: scale is {self.scale!r}; it is a finite number, or None for 1 / sqrt(d)")

    def windows(self, queries: Shape, keys: Shape) -> tuple[AxisMap, ...]:
        """The axis maps from the positions of keys and values to those of the queries.

        Parameters
        ----------
        queries, keys : tuple of int
            Their spatial sizes.

        Returns
        -------
        tuple of AxisMap
            One for each axis.

        Raises
        ------
        SpecificationError
            Where `reads` has another number of axes, outputs or cells.
        """
        reads = self.reads or (None,) * len(keys)
        if not len(reads) == len(queries) == len(keys):
            raise SpecificationError(f"{self}: its axes are {len(reads)}, those of the queries {queries}, of the keys {keys}")
        maps = []
        for cells, n, m in zip(reads, keys, queries, strict=True):
            axis = ListedWindow((tuple(range(n)),) * m if cells is None else cells)
            if axis.outputs(n) != m:
                raise SpecificationError(f"{self}: says what {len(axis.cells)} positions read, and the queries have {m}")
            maps.append(axis)
        return tuple(maps)

    def __str__(self) -> str:
        sizes = ["all" if cells is None else str(max(map(len, cells))) for cells in self.reads]
        read = "" if set(sizes) <= {"all"} else f", reads {' x '.join(sizes)}"
        return f"Attention(heads={self.heads}{read})"


@output_shape.register
def _(op: Attention, queries: Shape, keys: Shape, values: Shape) -> Shape:
    if queries[0] != keys[0] or keys[1:] != values[1:] or any(shape[0] % op.heads for shape in (queries, values)):
        raise SpecificationError(
            f"{op}: queries {queries} and keys {keys} have as many channels, keys and values {values} the same positions, and "
            f"the channels divide into {op.heads} heads"
        )
    op.windows(queries[1:], keys[1:])
    return (values[0], *queries[1:])
