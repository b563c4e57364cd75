r"""Where the numbers of a tensor stand in a lattice node: a layout is an array of the tensor's shape with one unit for each.

Unit u of sample b of a node with U units is b U + u, and -1 is a zero. Every view, permutation, slice, roll, repetition or
concatenation of a tensor does the same to its layout, so that none of them has to be recognised. Where a layer then reads
numbers that stand elsewhere than in the node, `steps` says which ops bring them there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from lattice import ChannelShuffle, Flatten, Op, PixelShuffle, Slice, Upsample
from lattice.network.ops import Shape
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources

__all__ = ["Rows", "first_sample", "inverse", "plain", "rows_of", "steps"]

Array = np.ndarray[Any, Any]


def plain(batch: int, shape: Shape) -> Array:
    """The layout of (batch, channels, *positions) as they are."""
    return np.arange(batch * prod(shape)).reshape(batch, *shape)


def inverse(layout: Array, units: int) -> Array | None:
    """For every unit where in the tensor, flat, it stands; None where one is missing or stands there twice."""
    flat = layout.ravel()
    if flat.size != units or flat.size == 0 or flat.min() < 0:
        return None
    found = np.full(units, -1)
    found[flat] = np.arange(units)
    return None if (found < 0).any() else found


def first_sample(layout: Array, batch: int, units: int) -> Array | None:
    """The layout of one sample of a tensor whose first axis is the batch; None where samples are not treated alike."""
    if layout.shape[0] != batch:
        return None
    own = layout[0]
    if own.max(initial=-1) >= units:
        return None
    there = own >= 0
    alike = all(np.array_equal(other, np.where(there, own + b * units, -1)) for b, other in enumerate(layout[1:], start=1))
    return own if alike else None


@dataclass(frozen=True, slots=True)
class Rows:
    """A tensor as rows of channels: for each row, in the tensor's order, the sample and the flat position that it is.

    `wanted`: the unit of the node that each channel and position of one sample reads, (channels, *positions), or None where
    it is the node itself.
    """

    samples: Array
    positions: Array
    shape: Shape  # of the tensor without its channel axes
    wanted: Array

    def layout(self, axes: tuple[int, ...], channels: tuple[int, ...], spatial: Shape) -> Array:
        """The layout of a result with these channels, on these axes, in a node with these positions."""
        width, cells = prod(channels), prod(spatial)
        units = self.samples[:, None] * width * cells + np.arange(width) * cells + self.positions[:, None]
        full = units.reshape((*self.shape, *channels))
        return np.moveaxis(full, range(len(self.shape), full.ndim), axes)


def rows_of(layout: Array, axes: tuple[int, ...], batch: int, shape: Shape) -> Rows | None:
    """A tensor with channels on these axes as `Rows`; None where samples mix or differ.

    The positions stay those of the node where the rows are its positions, each once: only channels are chosen then.
    """
    units, cells = prod(shape), prod(shape[1:])
    rest = np.moveaxis(layout, axes, range(layout.ndim - len(axes), layout.ndim))
    outer = rest.shape[: layout.ndim - len(axes)]
    rows = rest.reshape(prod(outer), -1)
    there = rows >= 0
    samples = np.where(there.any(axis=1), rows.max(axis=1) // units, -1)
    if (samples < 0).any():  # rows of zeros belong to the sample that their place says
        samples = np.repeat(np.arange(batch), len(rows) // batch)
    local = np.where(there, rows - samples[:, None] * units, -1)
    if (local[there] < 0).any() or (local >= units).any():
        return None
    own = local[samples == 0]
    if any(not np.array_equal(local[samples == b], own) for b in range(1, batch)):
        return None
    places = np.arange(len(own))
    spatial = _sizes(outer, len(own), batch)
    if there.all() and (own // cells == own[:1] // cells).all() and (own % cells == own[:, :1] % cells).all():
        position = own[:, 0] % cells
        if len(np.unique(position)) == len(position) == cells:
            wanted = (own[0] // cells * cells)[:, None] + np.arange(cells)
            order = np.empty(len(rows), dtype=np.int64)
            for b in range(batch):
                order[samples == b] = position
            return Rows(samples, order, outer, wanted.reshape(-1, *shape[1:]))
    order = np.empty(len(rows), dtype=np.int64)
    for b in range(batch):
        order[samples == b] = places
    return Rows(samples, order, outer, own.T.reshape(-1, *spatial))


def _sizes(outer: Shape, rows: int, batch: int) -> Shape:
    """The positions of a node made of rows: the axes of the tensor without the batch and those of one cell.

    Where all are of one cell, one of them is left, so that a class token stands on the axis of the other ones.
    """
    sizes = tuple(n for n in outer if n > 1)
    if batch > 1 and outer[:1] == (batch,):
        sizes = tuple(n for n in outer[1:] if n > 1)
    if rows == 1 and len(outer) > 1:
        return (1,)
    if prod(sizes) != rows or len(sizes) > 3:
        return (rows,) if rows > 1 else ()
    return sizes


# --- which ops bring units to other places ----------------------------------------------------------------------------------


def steps(wanted: Array, shape: Shape) -> list[Op]:
    """The ops after which a node of this shape is (channels, *positions) of these units; none where it is so as it stands."""
    for rule in (_axis_by_axis, _by_factors, _padded):
        found = rule(wanted, shape)
        if found is not None:
            return found
    cells = prod(shape[1:])
    read = np.unique(wanted[wanted >= 0] // cells)
    if 0 < len(read) < shape[0] and len(shape) > 1:  # which channels are read stays known
        chosen = read.reshape(-1, *(1 for _ in shape[1:])) * cells + np.arange(cells).reshape(1, *shape[1:])
        rest = np.where(wanted >= 0, np.searchsorted(read, wanted // cells) * cells + wanted % cells, -1)
        return [*steps(chosen, shape), *steps(rest, (len(read), *shape[1:]))]
    one = Rearrange(((len(wanted.ravel()),),), ((0,),), (tuple(wanted.ravel().tolist()),))  # any order of a flat layer
    split = _split(wanted.shape)
    return [*([Flatten()] if len(shape) > 1 else []), one, *([split] if split else [])]


def _padded(wanted: Array, shape: Shape) -> list[Op] | None:
    """An op that splits and joins axes, and zeros beside what it makes, as of tokens that stand behind a class token."""
    there = wanted >= 0
    lines = [there.any(axis=tuple(other for other in range(wanted.ndim) if other != axis)) for axis in range(wanted.ndim)]
    if all(line.all() for line in lines) or not there.any():
        return None
    inner = wanted[np.ix_(*lines)]
    found = _by_factors(inner, shape)
    if found is None:
        return None
    takes = [None if line.all() else tuple(np.where(line, np.cumsum(line) - 1, -1).tolist()) for line in lines]
    return [*found, _kept(wanted.shape, takes)]


def _split(shape: Shape) -> Rearrange | None:
    """A flat layer into axes."""
    if len(shape) == 1:
        return None
    return Rearrange((shape,), tuple((axis,) for axis in range(len(shape))))


def _named(op: Rearrange, wanted: Array, shape: Shape) -> list[Op]:
    """The same as an op with a name of its own where there is one, and nothing where it changes nothing."""
    if wanted.shape == shape and np.array_equal(wanted.ravel(), np.arange(wanted.size)):
        return []
    if wanted.ndim == 1 and len(shape) > 1 and np.array_equal(wanted, np.arange(prod(shape))):
        return [Flatten()]
    take = op.takes[0]
    if op.keeps_axes and all(other is None for other in op.takes[1:]) and take is not None and min(take) >= 0:
        if list(take) == list(range(take[0], take[-1] + 1)):
            return [Slice(take[0], take[-1] + 1)]
        step = take[1] - take[0]
        if len(take) == shape[0] and step > 0 and shape[0] % step == 0:
            groups = shape[0] // step
            if list(take) == np.arange(shape[0]).reshape(groups, -1).T.ravel().tolist():
                return [ChannelShuffle(groups)]
    if op.keeps_axes and take is None and set(shape[1:]) == {1} and min(min(other or (0,)) for other in op.takes) == 0:
        return [Upsample(size=wanted.shape[1:])]
    ratio = wanted.shape[1] // shape[1] if wanted.ndim == len(shape) > 1 else 1
    if ratio > 1 and wanted.shape[1:] == tuple(ratio * n for n in shape[1:]) and wanted.size == prod(shape):
        split = np.arange(prod(shape)).reshape(wanted.shape[0], *[ratio] * (len(shape) - 1), *shape[1:])
        axes = len(shape) - 1
        order = (0, *(place for axis in range(1, axes + 1) for place in (axis + axes, axis)))
        if np.array_equal(split.transpose(order).reshape(wanted.shape), wanted):
            return [PixelShuffle(ratio)]
    return [op]


def _axis_by_axis(wanted: Array, shape: Shape) -> list[Op] | None:
    """An op that keeps its axes and takes cells on each."""
    if wanted.ndim != len(shape) or not (wanted >= 0).any():
        return None
    coordinates = np.unravel_index(np.maximum(wanted, 0), shape)
    takes: list[tuple[int, ...] | None] = []
    for axis, (cells, n) in enumerate(zip(coordinates, shape, strict=True)):
        there = np.moveaxis(wanted >= 0, axis, 0).reshape(wanted.shape[axis], -1)
        lines = np.moveaxis(cells, axis, 0).reshape(wanted.shape[axis], -1)
        first = there.argmax(axis=1)[:, None]
        line = np.where(there.any(axis=1), np.take_along_axis(lines, first, 1)[:, 0], -1)
        takes.append(None if len(line) == n and np.array_equal(line, np.arange(n)) else tuple(line.tolist()))
    if takes[0] is not None and any(take is not None for take in takes[1:]) and -1 not in takes[0]:  # channels first
        first = (len(takes[0]), *shape[1:])
        chosen, moved = _kept(first, [takes[0], *[None] * (len(shape) - 1)]), _kept(wanted.shape, [None, *takes[1:]])
        read = sources(moved, first)
        if np.array_equal(np.where(read >= 0, sources(chosen, shape).ravel()[np.maximum(read, 0)], -1), wanted):
            return [*_named(chosen, sources(chosen, shape), shape), *_named(moved, read, first)]
    op = _kept(wanted.shape, takes)
    return _named(op, wanted, shape) if np.array_equal(sources(op, shape), wanted) else None


def _kept(shape: Shape, takes: list[tuple[int, ...] | None]) -> Rearrange:
    """An op that keeps its axes, and makes this shape of the cells that it takes on each."""
    return Rearrange(tuple((n,) for n in shape), tuple((axis,) for axis in range(len(shape))), tuple(takes))


def _by_factors(wanted: Array, shape: Shape) -> list[Op] | None:
    """An op that splits axes into factors and joins them to others, below it one that repeats cells if some are read often."""
    if wanted.size == 0 or wanted.min() < 0:
        return None
    base = np.array(np.unravel_index(wanted.flat[0], shape))
    digits: list[tuple[int, int, int, int]] = []  # input axis, stride, size, number in the order of the outputs
    groups: list[list[int]] = []
    for axis in range(wanted.ndim):
        line = wanted[tuple(slice(None) if other == axis else 0 for other in range(wanted.ndim))]
        found = _digits(np.array(np.unravel_index(line, shape)) - base[:, None], min(axis, 1))
        if found is None:
            return None
        groups.append(list(range(len(digits), len(digits) + len(found))))
        digits += [(*digit, len(digits) + k) for k, digit in enumerate(found)]
    if any(stride == 0 for _, stride, _, _ in digits) and len(shape) == 1:
        return None
    factors: list[tuple[int, ...]] = []
    takes: list[tuple[int, ...] | None] = []
    numbers: dict[int, int] = {}
    for axis, n in enumerate(shape):
        own = sorted((digit for digit in digits if digit[0] == axis), key=lambda digit: -abs(digit[1]))
        for _, _, _, number in own:
            numbers[number] = len(numbers)
        cells = np.array(base[axis])
        for _, stride, size, _ in own:
            cells = np.add.outer(cells, stride * np.arange(size))
        factors.append(tuple(size for _, _, size, _ in own))
        take = tuple(cells.ravel().tolist())
        takes.append(None if take == tuple(range(n)) else take)
    grouped = tuple(tuple(numbers[d] for d in group) for group in groups)
    op = Rearrange(tuple(factors), grouped, tuple(takes))
    if not np.array_equal(sources(op, shape), wanted):
        return None
    if op.keeps_axes or all(take is None or len(set(take)) == len(take) for take in takes):
        return _named(op, wanted, shape)
    longer = tuple(n if take is None else len(take) for n, take in zip(shape, takes, strict=True))
    return [_kept(longer, takes), Rearrange(tuple(factors), grouped)]


def _digits(line: Array, repeated: int) -> list[tuple[int, int, int]] | None:
    """The steps of coordinates along one output axis as digits (input axis, stride, size), major first.

    A repetition has stride 0, and is one of the input axis `repeated`: channels for channels, and positions for positions.
    """
    found: list[tuple[int, int, int]] = []
    while line.shape[1] > 1:
        step = line[:, 1]
        moving = np.flatnonzero(step) if step.any() else np.array([repeated])
        if len(moving) != 1 or moving[0] >= len(step):  # a flat layer has no positions to repeat
            return None
        straight = (line == step[:, None] * np.arange(line.shape[1])).all(axis=0)
        size = int(np.argmin(straight)) if not straight.all() else line.shape[1]
        if line.shape[1] % size:
            return None
        found.insert(0, (int(moving[0]), int(step[moving[0]]), size))
        line = line[:, ::size]
    return found
