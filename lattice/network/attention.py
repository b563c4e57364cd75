"""`Attention`: every output position mixes the values of the positions that it reads, with shares that depend on the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Literal

import numpy as np

from lattice.checks import is_real, is_whole
from lattice.errors import SpecificationError
from lattice.network.ops import Merge, Shape
from lattice.network.rearrange import ListedWindow, is_rows
from lattice.network.shapes import output_shape
from lattice.network.windows.axis import AxisMap

__all__ = ["Attention", "Role", "roles"]

Array = np.ndarray[Any, Any]
Reads = tuple[tuple[int, ...], ...] | None
Role = Literal["queries", "keys", "values", "logits"]
ROLES: dict[int, tuple[Role, ...]] = {
    2: ("values", "logits"),
    3: ("queries", "keys", "values"),
    4: ("queries", "keys", "values", "logits"),
}


def roles(inputs: Sequence[Any]) -> tuple[Role, ...]:
    """What each input of an attention is, by how many there are; `SpecificationError` where there are not 2, 3 or 4.

    >>> roles((1, 2, 3))
    ('queries', 'keys', 'values')
    """
    if len(inputs) not in ROLES:
        raise SpecificationError(
            f"Attention: has {len(inputs)} inputs; it takes queries, keys and values, with logits beside them or not, or "
            "values and logits"
        )
    return ROLES[len(inputs)]


@dataclass(frozen=True, slots=True)
class Attention(Merge):
    """softmax(q . k / sqrt(d) + l) v in each head: inputs queries, keys, values and logits l, (channels, *positions) each.

    The channels of all are `heads` runs, one for each head; the output has the channels of the values and the positions of
    the queries. Logits that are given stand at the positions of the queries, one channel of a head for each position that is
    read. With three inputs there are none, with two (values, logits) there is no q . k. A path leads through the values of a
    position that is read, through its keys, or through the queries or the logits of the output's own position.

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
    >>> output_shape(
    ...     Attention(), (6, 5), (5, 1)
    ... )  # one mean of all positions, whose shares are given
    (6, 1)
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
            axis = _all_cells(n, m) if cells is None else ListedWindow(cells)
            if axis.outputs(n) != m:
                raise SpecificationError(f"{self}: says what {len(axis.cells)} positions read, and the queries have {m}")
            maps.append(axis)
        return tuple(maps)

    def __str__(self) -> str:
        sizes = ["all" if cells is None else str(max(map(len, cells))) for cells in self.reads]
        read = "" if set(sizes) <= {"all"} else f", reads {' x '.join(sizes)}"
        return f"Attention(heads={self.heads}{read})"


@lru_cache(maxsize=16)
def _all_cells(n: int, m: int) -> ListedWindow:
    """The window of m outputs that read all of n cells each."""
    return ListedWindow((tuple(range(n)),) * m)


@output_shape.register
def _(op: Attention, *inputs: Shape) -> Shape:
    given = dict(zip(roles(inputs), inputs, strict=True))
    values, logits = given["values"], given.get("logits")
    queries, keys = given.get("queries", logits), given.get("keys", values)
    assert queries is not None
    alike = "queries" not in given or queries[0] == keys[0]
    if not alike or keys[1:] != values[1:] or any(shape[0] % op.heads for shape in inputs):
        raise SpecificationError(
            f"{op}: queries {queries} and keys {keys} have as many channels, keys and values {values} the same positions, and "
            f"the channels divide into {op.heads} heads"
        )
    windows = op.windows(queries[1:], values[1:])
    read = op.heads * prod(window.taps(n) for window, n in zip(windows, values[1:], strict=True))
    if logits is not None and logits != (read, *queries[1:]):
        raise SpecificationError(
            f"{op}: its logits are {logits}; one for each head and position that is read, at each query, are "
            f"{(read, *queries[1:])}"
        )
    return (values[0], *queries[1:])
