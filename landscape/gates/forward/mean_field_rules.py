r"""The rules of the forward mean field: how the size of the signal passes each op; see `landscape.gates.forward.mean_field`."""

from functools import singledispatch
from typing import Any

import numpy as np

from landscape.gates.activations import gate_moments
from landscape.gates.averaging import ratio
from landscape.gates.composites import moments
from landscape.gates.forward.alike_maxima import alike_maximum
from landscape.gates.forward.levels import aligned, by_few_differences
from landscape.gates.forward.signal import Known, Level, Run, Signal, gaussian, through
from landscape.structure.plan import axis_maps, fixed_map
from landscape.structure.signs import SIGNAL_NORMS, has_slopes, slopes
from lattice import (
    Activation,
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Dropout,
    Flatten,
    Multiply,
    Norm,
    Op,
    PixelShuffle,
    Slice,
    UnsupportedError,
)
from lattice.network.attention import Attention, roles
from lattice.network.ops import Pooling, Rearrangement, WeightedWindow, Windowed
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import output_shape, sources

__all__ = ["average_of_group", "batch_variance", "differences", "gated", "of_run", "passed", "spread", "variance_parts"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
SAME = 4  # the power of c with which means are taken as the same in all draws


@singledispatch
def passed(op: Op, known: Known, below: list[Signal]) -> Signal:
    raise UnsupportedError(
        f"no forward mean field for {op!r}; add a rule with landscape.gates.forward.mean_field_rules.passed.register"
    )


@passed.register
def _(op: WeightedWindow, known: Known, below: list[Signal]) -> Signal:
    channels, *spatial = known.shapes[0]

    def summed(values: Array) -> Array:
        if values.shape[0] == 1:
            sums = values * (channels // op.groups)
        else:
            sums = values.reshape(op.groups, channels // op.groups, *values.shape[1:]).sum(axis=1)
            sums = sums if op.groups == 1 else np.repeat(sums, op.channels // op.groups, axis=0)
        for axis, (window, n) in enumerate(zip(op.windows(tuple(spatial)), spatial, strict=True), start=1):
            sums = _collected(window, n, sums, axis)
        return known.variance * sums

    return _shifted(known, summed(below[0].power), summed(below[0].cross))


def _shifted(known: Known, power: Array, cross: Array) -> Signal:
    """What fresh weights give, and a bias: all inputs share it, and its mean too is that of no weight."""
    mean, variance = known.shift
    power, cross, mean = np.broadcast_arrays(power + mean**2 + variance, cross + mean**2 + variance, mean + 0 * power)
    return Signal(power, cross, mean)


def _collected(window: Any, n: int, values: Array, axis: int) -> Array:
    """The sum over the cells that each output reads."""
    table = window.table(n)
    padded = np.concatenate([values, np.zeros_like(np.take(values, [0], axis))], axis)  # -1 reads the zero at the end
    result = np.take(padded, table[0], axis)
    for row in table[1:]:
        result = result + np.take(padded, row, axis)
    return np.asarray(result)


@passed.register
def _(op: Dense, known: Known, below: list[Signal]) -> Signal:
    features = known.shapes[0][0]
    return _shifted(known, *(known.variance * features * part.mean(axis=0, keepdims=True) for part in below[0][:2]))


@passed.register
def _(op: Flatten, known: Known, below: list[Signal]) -> Signal:
    return Signal(*(np.broadcast_to(part, known.shapes[0]).reshape(-1) for part in below[0]))


@passed.register
def _(op: Dropout, known: Known, below: list[Signal]) -> Signal:
    """In train mode what is kept is divided by 1 - p, by masks of its own for each input."""
    power, cross, mean = below[0]
    return Signal(power / (1 - op.p) if known.train and op.p < 1 else power, cross, mean)


@passed.register
def _(op: Activation, known: Known, below: list[Signal]) -> Signal:
    return gated(op, known, below[0])[0]


def gated(op: Activation, known: Known, below: Signal) -> tuple[Signal, Array, Array]:
    """The signal, E[phi'^2] and E[phi'] of a gate, the last two given the gates of the same run below it."""
    if known.run is not None:
        return of_run(known.run)
    mean, power, cross, gain, first = gate_moments(op, *gaussian(below))
    fixed = _fixed_slope(op, known)
    if fixed is not None:  # nothing but a factor, whatever the law
        there, slope = fixed
        power, cross = np.where(there, slope**2 * below.power, power), np.where(there, slope**2 * below.cross, cross)
        mean, gain, first = (
            np.where(there, own, else_) for own, else_ in ((slope * below.mean, mean), (slope**2, gain), (slope, first))
        )
    return Signal(power, cross, mean), gain, first


def _fixed_slope(op: Activation, known: Known) -> tuple[Array, Array] | None:
    """At which channels an activation reads one side of its kink alone, and its slope there."""
    rectified = known.rectified() if has_slopes(op) else None
    if rectified is None:
        return None
    positive, negative = rectified
    down, up = slopes(op)
    return positive | negative, np.where(positive, up, down)


def of_run(run: Run) -> tuple[Signal, Array, Array]:
    """The signal of a pointwise function of the one below, and what its topmost gate passes: E[phi'^2] and E[phi'], given those
    below it."""
    found = moments(run.form, run.affine, *gaussian(run.base))
    return Signal(found.power, found.cross, found.mean), found.gain, found.slope


@passed.register
def _(op: Norm, known: Known, below: list[Signal]) -> Signal:
    z, scale = below[0], known.factor
    if op.kind == "instance" or (op.kind == "batch" and known.train):
        z = _without_level(z, known.level or aligned(z), scale, op.eps)
    elif op.kind == "rms":
        scale = scale / (spread(op, z, known.shapes[0]) + op.eps)
        z = Signal(scale * z.power, scale * z.cross, known.sign * np.sqrt(scale) * z.mean)
    elif op.kind in SIGNAL_NORMS:  # the mean over many channels is that of the weights
        scale = scale / (spread(op, z, known.shapes[0], known.level) + op.eps)
        middle = average_of_group(op, z.mean, known.shapes[0])
        less = middle**2 - 2 * middle * z.mean
        own = known.sign * np.sqrt(scale) * (z.mean - middle)
        z = Signal(scale * (z.power + less), scale * np.maximum(z.cross + less, 0), own)
    else:
        z = Signal(scale * z.power, scale * z.cross, known.sign * np.sqrt(scale) * z.mean)
    mean, variance = known.shift
    more = 2 * mean * z.mean + mean**2 + variance
    return Signal(z.power + more, z.cross + more, z.mean + mean)


def average_of_group(op: Norm, values: Array, shape: Shape) -> Array:
    """Over the channels of each group, and over all positions for a group norm, (channels or 1, *spatial or 1)."""
    alike = values.shape[0] == 1
    groups = 1 if alike else op.groups
    split = values.reshape(groups, -1, *values.shape[1:])
    middle = split.mean(axis=1 if op.kind == "layer" else tuple(range(1, split.ndim)), keepdims=True)[:, 0]
    return np.asarray(middle if groups == 1 else np.repeat(middle, shape[0] // groups, axis=0))


def spread(op: Norm, z: Signal, shape: Shape, level: Level | None = None) -> Array:
    """The variance of the signal over the axes of a norm: the channels of a position, a group and all positions, ..."""
    power, mean = (np.broadcast_to(part, shape) for part in (z.power, z.mean))
    if op.kind in ("layer", "rms"):
        mean = 0 * mean if op.kind == "rms" else mean
        split = (op.groups, shape[0] // op.groups, *shape[1:])
        each = power.reshape(split).mean(axis=1) - mean.reshape(split).mean(axis=1) ** 2
        return np.asarray(each if op.groups == 1 else np.repeat(each, split[1], axis=0))
    level = level or aligned(z)
    if op.kind == "instance":
        return batch_variance(z, level)
    positions = tuple(range(1, len(shape)))
    of_mean = np.broadcast_to(level.of_mean, (shape[0], *(1 for _ in positions))).ravel()
    own = of_mean - mean.reshape(shape[0], -1).mean(axis=1) ** 2  # what a channel has in all its positions, as a bias
    grouped = power.reshape(op.groups, -1).mean(axis=1) - mean.reshape(op.groups, -1).mean(axis=1) ** 2
    grouped = grouped - own.reshape(op.groups, -1).mean(axis=1) * op.groups / shape[0]
    return np.repeat(grouped, shape[0] // op.groups).reshape(-1, *(1 for _ in positions))


def batch_variance(z: Signal, level: Level) -> Array:
    """The variance over inputs and all positions, given the weights: (channels or 1, 1, ...)."""
    found = np.asarray(_over_positions(z.power) - level.of_mean)
    if found.min() < 0:  # of maxima, whose moments are known less well
        raise UnsupportedError("the variance of a batch is less than the error of the moments that it is the difference of")
    return found


def variance_parts(z: Signal, level: Level, eps: float) -> tuple[Array, Array, Array]:
    """1 / (V + eps) of V the mean over the weights of the variance that a norm divides by; of what differs between inputs, and
    of what all inputs have in common, how many times as much of either is left on average; (channels or 1, 1, ...) each."""
    variance, own = batch_variance(z, level), _over_positions(z.power - z.cross)
    common, drawn = variance - own, differences(z, level)
    more = by_few_differences(variance - drawn, drawn, level.rank, eps)
    return ratio(1, variance + eps), more, np.maximum(1 - ratio((own + eps) * (more - 1), common), 0)


def differences(z: Signal, level: Level) -> Array:
    """The part of the variance over positions that is of few weights, without that of means which are the same in all draws.

    A mean is the same as far as it is all that inputs have in common: c = mean^2 / cross of 1. What few weights rectify has a c
    of 1 / pi, and is nothing in half of the draws.
    """
    means = _over_positions(z.mean**2) - _over_positions(z.mean) ** 2
    same = ratio(_over_positions(z.mean**2), _over_positions(z.cross)) ** SAME
    return np.maximum(_over_positions(z.cross) - level.of_mean - same * means, 0)


def _over_positions(values: Array) -> Array:
    return np.asarray(values.mean(axis=tuple(range(1, values.ndim)), keepdims=True))


def _without_level(z: Signal, level: Level, scale: Array, eps: float) -> Signal:
    """What is left, times a scale and over its variance, once the level that all positions of a channel share is taken out."""
    inverse, own, common = variance_parts(z, level, eps)
    shared = common * np.maximum(z.cross + level.of_mean - 2 * level.with_mean, 0)
    power = own * (z.power - z.cross) + shared
    return Signal(scale * inverse * power, scale * inverse * shared, np.zeros_like(z.power * scale))


@passed.register
def _(op: Add, known: Known, below: list[Signal]) -> Signal:
    """Powers add; two branches that are not zero on average add the product of their means twice."""
    if known.run is not None:
        return of_run(known.run)[0]
    power, cross, mean = (sum(parts) for parts in zip(*below, strict=True))
    products = np.asarray(mean) ** 2 - sum(part.mean**2 for part in below)
    return Signal(np.asarray(power + products), np.asarray(cross + products), np.asarray(mean))


@passed.register
def _(op: Concat, known: Known, below: list[Signal]) -> Signal:
    def joined(parts: tuple[Array, ...]) -> Array:
        return np.concatenate([np.broadcast_to(part, shape) for part, shape in zip(parts, known.shapes, strict=True)])

    return Signal(*(joined(parts) for parts in zip(*below, strict=True)))


@passed.register
def _(op: Rearrangement, known: Known, below: list[Signal]) -> Signal:
    places = sources(op, known.shapes[0])
    return Signal(*(np.broadcast_to(part, known.shapes[0]).ravel()[places] for part in below[0]))


@passed.register
def _(op: Slice, known: Known, below: list[Signal]) -> Signal:
    return Signal(*(part if part.shape[0] == 1 else part[op.start : op.stop] for part in below[0]))


@passed.register
def _(op: ChannelShuffle, known: Known, below: list[Signal]) -> Signal:
    order = np.arange(known.shapes[0][0]).reshape(op.groups, -1).T.ravel()
    return Signal(*(part if part.shape[0] == 1 else part[order] for part in below[0]))


@passed.register
def _(op: Rearrange, known: Known, below: list[Signal]) -> Signal:
    """Each cell has the moments of the one that it reads, and a zero has none."""
    (shape,) = known.shapes
    alike = op.keeps_axes and op.takes[0] is None and all(part.shape[0] == 1 for part in below[0])
    if alike:
        op, shape = Rearrange(((1,), *op.factors[1:]), op.groups, op.takes), (1, *shape[1:])
    read = sources(op, shape)

    def moved(part: Array) -> Array:
        return np.where(read >= 0, np.broadcast_to(part, shape).ravel()[np.maximum(read, 0)], 0.0)

    return Signal(*map(moved, below[0]))


@passed.register
def _(op: Attention, known: Known, below: list[Signal]) -> Signal:
    """Values are averaged over the positions that are read."""
    place = roles(below).index("values")
    maps = [a.values for ((a, _),) in axis_maps(op, known.shapes[place], output_shape(op, *known.shapes)) or ()]
    return _mixed(maps, below[place])


@passed.register
def _(op: PixelShuffle, known: Known, below: list[Signal]) -> Signal:
    """Channels (c, a, b, ...) of position (i, j, ...) become channel c of position (r i + a, r j + b, ...)."""
    spatial = known.shapes[0][1:]
    axes = len(spatial)
    order = (0, *(place for axis in range(1, axes + 1) for place in (axis + axes, axis)))

    def spread(part: Array) -> Array:
        split = np.broadcast_to(part, known.shapes[0]).reshape(-1, *(op.factor,) * axes, *spatial)
        return split.transpose(order).reshape(-1, *(op.factor * n for n in spatial))

    return Signal(*map(spread, below[0]))


@passed.register
def _(op: Multiply, known: Known, below: list[Signal]) -> Signal:
    """Two functions of one signal are one function of it; others are taken as independent. One cell stands for all."""
    if known.run is not None:
        return of_run(known.run)[0]
    return Signal(*(first * second for first, second in zip(*below, strict=True)))


@passed.register
def _(op: Windowed, known: Known, below: list[Signal]) -> Signal:
    """A fixed map A: what positions share adds as a level, the rest as variances."""
    spatial = known.shapes[0][1:]
    z = below[0]
    if getattr(op, "kind", "") == "max":
        assert isinstance(op, Pooling)
        return alike_maximum(op, known, z)
    maps = [fixed_map(op, axis, spatial).values for axis in range(len(spatial))]
    return _mixed(maps, z)


def _mixed(maps: list[Array], z: Signal) -> Signal:
    level = through(maps, np.sqrt(z.cross))
    apart = through([a**2 for a in maps], z.power - z.cross)
    return Signal(apart + level**2, level**2, through(maps, z.mean))
