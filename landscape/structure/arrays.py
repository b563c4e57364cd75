"""Arrays over pairs of positions, (channels or 1, *pairs): which entries are where, and how maps act on them."""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from landscape.structure.pairs import Maps, Pairs, apply_maps
from lattice import ResourceError
from lattice.network.ops import Windowed

__all__ = [
    "Axes",
    "across",
    "at_cells",
    "at_first",
    "at_pairs",
    "check_room",
    "collect",
    "diagonal_of",
    "levels_of",
    "on_diagonal",
    "one_row",
    "outer",
    "rearranged",
    "sides",
    "tap_cells",
]

Array = np.ndarray[Any, Any]
Axes: TypeAlias = tuple[Pairs, ...]
MOST_NUMBERS = 2**28  # float64 in one array of moments: 2 GiB
MOST_OF_CHANNELS = 2**21  # of these at pairs of positions: of more, channels have one number each beside what they share


def across(indices: Sequence[Array]) -> tuple[Any, ...]:
    """The index of all channels, and of every combination of the indices of the axes."""
    return (slice(None), *np.ix_(*indices))


def at_cells(values: Array, indices: Sequence[Array]) -> Array:
    """Values over (channels, *spatial or 1) at these indices of each axis: `values[across(indices)]`, in a third of the time.

    Read-only where an axis with one number stands for all.

    >>> at_cells(np.array([[[1.0], [2.0]]]), [np.array([1, 0, 1]), np.array([0, 0])])
    array([[[2., 2.],
            [1., 1.],
            [2., 2.]]])
    """
    found = values
    for axis, index in enumerate(indices, start=1):
        if values.shape[axis] > 1:
            found = found.take(index, axis)
    return np.broadcast_to(found, (len(values), *map(len, indices)))


def at_first(values: Array, axes: Axes) -> Array:
    """Values over (channels, *spatial or 1) at the first position of each pair."""
    return at_cells(values, [pairs.first for pairs in axes])


def at_pairs(values: Array, axes: Axes) -> tuple[Array, Array]:
    """Values over (channels, *spatial or 1) at the two positions of each pair."""
    return at_first(values, axes), at_cells(values, [pairs.second for pairs in axes])


def check_room(channels: int, axes: Axes) -> None:
    """`ResourceError` for moments of this many channels at these pairs that would not fit into memory."""
    size = channels * prod(map(len, axes))
    if size > MOST_NUMBERS:
        raise ResourceError(
            f"{size:.1e} moments between positions, of {channels} channels, are asked for in one layer, and {MOST_NUMBERS:.1e} "
            "are the most; give a smaller input"
        )


def levels_of(values: Any, axes: Axes) -> Array | None:
    """What the channels of values (channels, *spatial) are by their mean, (channels, 1, ...), where that is followed alone.

    That is where there are too many pairs of positions to follow each channel at. None: each channel has moments of its own.

    >>> from landscape.structure.pairs import diagonal, everything
    >>> shape, factors = np.linspace(1, 2, 2000), np.array([0.5, 1.5])
    >>> levels_of(np.outer(factors, shape), (everything(2000, 2000),)).ravel().round(9)
    array([0.5, 1.5])
    >>> levels_of(np.outer(factors, shape), (diagonal(2000),)) is None
    True
    """
    values = np.asarray(values, dtype=float)
    few = values.ndim == 0 or len(values) == 1 or len(values) * prod(map(len, axes)) <= MOST_OF_CHANNELS
    if few or all(pairs.is_diagonal for pairs in axes):
        return None
    levels = values.reshape(len(values), *(1 for _ in axes), -1).mean(axis=-1)
    return np.asarray(levels / levels.mean()) if levels.mean() > 0 else None


def one_row(values: Array) -> Array:
    """The first channel alone where all channels have the same numbers."""
    alike = len(values) > 1 and all(np.array_equal(values[0], row) for row in values[1:])
    return values[:1].copy() if alike else values


def rearranged(here: Array, above: Axes, below: Axes) -> Array:
    """The same moments at the pairs `below`: those that are not among `above` are zero."""
    check_room(len(here), below)
    for axis, (old, new) in enumerate(zip(above, below, strict=True), start=1):
        if old != new:
            indices = np.minimum(np.searchsorted(old.codes, new.codes), len(old) - 1)
            shape = [1] * here.ndim
            shape[axis] = -1
            here = np.take(here, indices, axis) * (old.codes[indices] == new.codes).reshape(shape)
    return here


def collect(maps: tuple[Maps, ...], here: Array, above: Axes, below: Axes) -> Array:
    """Apply the operator of each axis."""
    check_room(len(here), below)
    for axis, (readings, needed, there) in enumerate(zip(maps, below, above, strict=True), start=1):
        moved = np.moveaxis(here, axis, 0)
        result = apply_maps(readings, needed, there, moved)
        here = np.moveaxis(result.reshape(-1, *moved.shape[1:]), 0, axis)
    return here


def sides(axes: Axes) -> tuple[list[Array], list[Array]]:
    return [pairs.first for pairs in axes], [pairs.second for pairs in axes]


def outer(factors: list[Array]) -> Array:
    result = np.ones(())
    for factor in factors:
        result = np.multiply.outer(result, factor)
    return result


def on_diagonal(axes: Axes) -> Array:
    """Is a pair one position with itself, on every axis?"""
    return np.asarray(outer([pairs.first == pairs.second for pairs in axes]), dtype=bool)


def diagonal_of(values: Array, axes: Axes) -> Array:
    """The moments of single positions among those that are carried."""
    if all(pairs.is_diagonal for pairs in axes):
        return values
    return values[across([np.flatnonzero(pairs.first == pairs.second) for pairs in axes])]


def tap_cells(op: Windowed, spatial: tuple[int, ...]) -> list[Array]:
    """For every tap of an op, the flat index of the cell that each output reads (-1: none), over the output positions.

    >>> from lattice import Conv
    >>> tap_cells(Conv(1, kernel=2, padding=(1, 0)), (3,))
    [array([-1,  0,  1]), array([0, 1, 2])]
    """
    tables = [window.table(n) for window, n in zip(op.windows(spatial), spatial, strict=True)]
    cells = []
    for taps in product(*(range(len(table)) for table in tables)):
        rows = np.ix_(*(table[tap] for table, tap in zip(tables, taps, strict=True)))
        inside = np.logical_and.reduce(np.broadcast_arrays(*(row >= 0 for row in rows)))
        flat = np.ravel_multi_index(tuple(np.maximum(row, 0) for row in rows), spatial)
        cells.append(np.where(inside, flat, -1))
    return cells
