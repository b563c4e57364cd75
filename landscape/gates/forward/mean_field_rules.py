r"""The rules of the forward mean field: how the size of the signal passes each op; see `landscape.gates.forward.mean_field`."""

from collections.abc import Mapping
from functools import lru_cache, singledispatch
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from landscape.gates.activations import distinct, gaussian_moments, mean_slope
from landscape.gates.averaging import ratio, significant
from landscape.gates.composites import Affine, Form, moments
from landscape.gates.functions import Curve, curve
from landscape.structure.plan import axis_maps, fixed_map, pool_cells
from landscape.structure.signs import NEGATED, SIGNAL_NORMS, Sign, has_slopes, slopes, together
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
from lattice.network.attention import Attention
from lattice.network.ops import Pooling, Rearrangement, WeightedWindow, Windowed
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources

__all__ = ["Known", "Run", "Signal", "MONOTONE", "batch_variance", "gate", "gaussian", "of_run", "passed", "spread"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
MONOTONE = ("relu", "leaky_relu", "identity", "relu6", "hardtanh", "hardsigmoid", "sigmoid", "tanh", "softsign", "softplus")


class Signal(NamedTuple):
    """The moments of one node's output over weights and white inputs, (channels or 1, *spatial) each."""

    power: Array
    cross: Array
    mean: Array


class Run(NamedTuple):
    """What a node is as a pointwise function of the signal below it: see `landscape.gates.composites`."""

    form: Form
    affine: Mapping[str, Affine]
    base: Signal


class Known(NamedTuple):
    """What a rule is told of its node.

    `variance`: V[w]. `factor`: the squared factor of a norm, `sign` its sign, (channels or 1, ...). `shift`: the mean and the
    variance of what is added. `shapes`: those that it reads. `train`: do norms see a batch? `parts`: the number of channels
    and the symmetry of each run that it reads. `run`: it as a function of one signal, where a gate stands below it without
    weights between; `below`: the same of what it reads.
    """

    variance: float
    factor: Array
    shapes: tuple[Shape, ...]
    train: bool
    sign: Array
    shift: tuple[Array, Array]
    parts: tuple[tuple[int, Sign], ...]
    run: Run | None
    below: Run | None

    @property
    def symmetry(self) -> Sign:
        """That of all channels together."""
        return together(tuple(sign for _, sign in self.parts))

    def rectified(self) -> tuple[Array, Array] | None:
        """1 at the channels that are never negative, or never positive, whatever the law; None where there are no such."""
        channels, axes = [count for count, _ in self.parts], (1,) * (len(self.shapes[0]) - 1)
        found = [np.repeat([sign is each for _, sign in self.parts], channels).reshape(-1, *axes) for each in NEGATED]
        if not any(one.any() for one in found):
            return None
        positive, negative = (one[:1] if one.all() or not one.any() else one for one in found)
        return positive, negative


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
    if known.run is not None:
        return of_run(known.run)[0]
    mean, power, cross, _ = gaussian_moments(op, *gaussian(below[0]))
    fixed = _fixed_slope(op, known)
    if fixed is not None:  # nothing but a factor, whatever the law
        there, slope = fixed
        z = below[0]
        power, cross = np.where(there, slope**2 * z.power, power), np.where(there, slope**2 * z.cross, cross)
        mean = np.where(there, slope * z.mean, mean)
    return Signal(power, cross, mean)


def gate(op: Activation, known: Known, below: Signal) -> tuple[Array, Array]:
    """E[phi'^2] and E[phi'], given the gates of the same run below it."""
    if known.run is not None:
        _, gain, slope = of_run(known.run)
        return gain, slope
    mean, variance, correlation = gaussian(below)
    gain, first = gaussian_moments(op, mean, variance, correlation)[3], mean_slope(op, mean, variance)
    fixed = _fixed_slope(op, known)
    if fixed is None:
        return gain, first
    there, slope = fixed
    return np.where(there, slope**2, gain), np.where(there, slope, first)


def _fixed_slope(op: Activation, known: Known) -> tuple[Array, Array] | None:
    """At which channels an activation reads one side of its kink alone, and its slope there."""
    rectified = known.rectified() if has_slopes(op) else None
    if rectified is None:
        return None
    positive, negative = rectified
    down, up = slopes(op)
    return positive | negative, np.where(positive, up, down)


def gaussian(z: Signal) -> tuple[Array, Array, Array]:
    """The mean, the variance and the correlation between inputs of the Gaussian that stands for a signal."""
    variance = np.maximum(z.power - z.mean**2, 0)
    shared = np.maximum(z.cross - z.mean**2, 0)
    return z.mean, variance, np.minimum(ratio(shared, variance), 1)


def of_run(run: Run) -> tuple[Signal, Array, Array]:
    """The signal of a pointwise function of the one below, and what its topmost gate passes: E[phi'^2] and E[phi'], given those
    below it."""
    found = moments(run.form, run.affine, *gaussian(run.base))
    return Signal(found.power, found.cross, found.mean), found.gain, found.slope


@passed.register
def _(op: Norm, known: Known, below: list[Signal]) -> Signal:
    z, scale = below[0], known.factor
    if op.kind == "instance" or (op.kind == "batch" and known.train):
        z = _without_level(z, scale / (batch_variance(z) + op.eps))
    elif op.kind == "rms":
        scale = scale / (spread(op, z, known.shapes[0]) + op.eps)
        z = Signal(scale * z.power, scale * z.cross, known.sign * np.sqrt(scale) * z.mean)
    elif op.kind in SIGNAL_NORMS:  # the mean over many channels is that of the weights
        scale = scale / (spread(op, z, known.shapes[0]) + op.eps)
        z = Signal(scale * (z.power - z.mean**2), scale * np.maximum(z.cross - z.mean**2, 0), np.zeros_like(scale * z.mean))
    else:
        z = Signal(scale * z.power, scale * z.cross, known.sign * np.sqrt(scale) * z.mean)
    mean, variance = known.shift
    more = 2 * mean * z.mean + mean**2 + variance
    return Signal(z.power + more, z.cross + more, z.mean + mean)


def spread(op: Norm, z: Signal, shape: Shape) -> Array:
    """The variance of the signal over the axes of a norm: the channels of a position, a group and all positions, ..."""
    power, mean = (np.broadcast_to(part, shape) for part in (z.power, z.mean))
    if op.kind in ("layer", "rms"):
        mean = 0 * mean if op.kind == "rms" else mean
        split = (op.groups, shape[0] // op.groups, *shape[1:])
        each = power.reshape(split).mean(axis=1) - mean.reshape(split).mean(axis=1) ** 2
        return np.asarray(each if op.groups == 1 else np.repeat(each, split[1], axis=0))
    if op.kind == "instance":
        return batch_variance(z)
    positions = tuple(range(1, len(shape)))
    grouped = power.reshape(op.groups, -1).mean(axis=1) - mean.reshape(op.groups, -1).mean(axis=1) ** 2
    return np.repeat(grouped, shape[0] // op.groups).reshape(-1, *(1 for _ in positions))


def batch_variance(z: Signal) -> Array:
    """The variance over inputs and all positions, given the weights: (channels or 1, 1, ...)."""
    axes = tuple(range(1, z.power.ndim))
    return np.asarray(z.power.mean(axis=axes, keepdims=True) - np.sqrt(z.cross).mean(axis=axes, keepdims=True) ** 2)


def _without_level(z: Signal, scale: Array) -> Signal:
    """What is left, times a scale, once the level that all positions of a channel share is taken out."""
    level = np.sqrt(z.cross)
    middle = level.mean(axis=tuple(range(1, level.ndim)), keepdims=True)
    return Signal(
        scale * (z.power - 2 * level * middle + middle**2), scale * (level - middle) ** 2, np.zeros_like(z.power * scale)
    )


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
    (maps,) = [[a.values for ((a, _),) in axis_maps(op, known.shapes[2], known.shapes[0]) or ()]]
    return _mixed(maps, below[2])


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
    maps = [fixed_map(op, axis, spatial).values for axis in range(len(spatial))]
    if getattr(op, "kind", "") == "max":
        assert isinstance(op, Pooling)
        return _maximum(op, known, z, maps)
    return _mixed(maps, z)


def _mixed(maps: list[Array], z: Signal) -> Signal:
    level = _through(maps, np.sqrt(z.cross))
    apart = _through([a**2 for a in maps], z.power - z.cross)
    return Signal(apart + level**2, level**2, _through(maps, z.mean))


def _through(maps: list[Array], values: Array) -> Array:
    for axis, a in enumerate(maps, start=1):
        values = np.moveaxis(np.tensordot(a, values, (1, axis)), 0, axis)
    return values


def _maximum(op: Pooling, known: Known, z: Signal, maps: list[Array]) -> Signal:
    """The largest of n values that have the average law of the window.

    The largest of a function that rises is the function of the largest; of other values that are never negative it is taken
    as that of rectified Gaussians.
    """
    run = known.below
    gate = run.form.op if run is not None and run.form.kind == "gate" and run.form.gates == 1 else None
    rising = isinstance(gate, Activation) and gate.name in MONOTONE and run is not None and not run.form.norms
    law = gaussian(run.base if rising and run is not None else z)
    if known.symmetry is Sign.NONNEGATIVE and not rising:
        law = (np.zeros_like(z.power), 2 * z.power, _correlations(z))
        gate = Activation("relu")
    function = curve(gate) if isinstance(gate, Activation) and (rising or known.symmetry is Sign.NONNEGATIVE) else LINE
    mean, variance, correlation = law
    parts = [_through(maps, part) for part in np.broadcast_arrays(mean, variance, correlation * variance)]
    arrays = np.broadcast_arrays(pool_cells(op, known.shapes[0][1:]), *parts)
    cases, which = distinct(*(significant(array) for array in arrays))
    found = np.array([_largest(int(case[0]), function, *case[1:]) for case in cases])[which]
    return Signal(*np.moveaxis(found.reshape(*arrays[0].shape, 3), -1, 0))


LINE = curve(Activation("identity"))


@lru_cache(maxsize=4096)
def _largest(n: int, function: Curve, mean: float, variance: float, shared: float) -> tuple[float, float, float]:
    """E[M^2], E[E[M | what inputs share]^2] and E[M] for M the largest of n values f(mean + shared + own Gaussians)."""
    t, weights = np.polynomial.hermite_e.hermegauss(31)
    e = np.linspace(-7, 7, 561)  # deviations
    law = np.diff(ndtr(e) ** n)  # of the largest e
    largest = (e[1:] + e[:-1]) / 2
    values = function.value(mean + np.sqrt(shared) * t[:, None] + np.sqrt(max(variance - shared, 0.0)) * largest)
    first, second = values @ law, values**2 @ law
    weights = weights / weights.sum()
    return float(weights @ second), float(weights @ first**2), float(weights @ first)


def _correlations(z: Signal) -> Array:
    """The correlations of the Gaussians of which rectified values have this ratio of cross to power."""
    return np.interp(ratio(z.cross, z.power), *_rectified())


@lru_cache(maxsize=1)
def _rectified() -> tuple[Array, Array]:
    """J(r) / pi and r, for r from 0 to 1."""
    r = 1 - np.linspace(1, 0, 20001) ** 2  # dense at 1, where J bends
    return (np.sqrt(1 - r**2) + r * (np.pi - np.arccos(r))) / np.pi, r
