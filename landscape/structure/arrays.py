"""Arrays over pairs of positions, (channels or 1, *pairs): which entries are where, and how maps act on them."""

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from landscape.structure.pairs import Maps, Pairs, apply_maps
from lattice.network.ops import Windowed

__all__ = ["Axes", "across", "collect", "diagonal_of", "on_diagonal", "outer", "rearranged", "sides", "tap_cells"]

Array = np.ndarray[Any, Any]
Axes: TypeAlias = tuple[Pairs, ...]


def across(indices: Sequence[Array]) -> tuple[Any, ...]:
    """The index of all channels, and of every combination of the indices of the axes."""
    return (slice(None), *np.ix_(*indices))


def rearranged(here: Array, above: Axes, below: Axes) -> Array:
    """The same moments at the pairs `below`: those that are not among `above` are zero."""
    for axis, (old, new) in enumerate(zip(above, below, strict=True), start=1):
        if old != new:
            indices = np.minimum(np.searchsorted(old.codes, new.codes), len(old) - 1)
            shape = [1] * here.ndim
            shape[axis] = -1
            here = np.take(here, indices, axis) * (old.codes[indices] == new.codes).reshape(shape)
    return here


def collect(maps: tuple[Maps, ...], here: Array, above: Axes, below: Axes) -> Array:
    """Apply the operator of each axis."""
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
