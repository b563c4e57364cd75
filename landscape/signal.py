r"""The forward mean field: the size of the signal at every position, for white input and wide layers.

    power(u) = E[h_u(x)^2],    cross(u) = E[h_u(x) h_u(x')],    mean(u) = E[h_u(x)],

over weights and over independent inputs x, x' of mean zero. Fresh weights sum them: power(j) = V sum over the taps inside
and the channels of power(i), so that zero padding makes the border weaker. Gates act on Gaussians (`landscape.activations`).
What does not differ between inputs (cross) stands for what does not differ between positions either: in an average over
positions, E[h_p h_q] is taken as sqrt(cross_p cross_q), which leaves out that neighbours read some of the same inputs. A gate
over a skip is taken as a Gaussian with the mean and variance of the sum; a maximum as that of independent values.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache, singledispatch
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, owens_t

from landscape.activations import distinct, gaussian_moments
from landscape.alike import pointwise
from landscape.gains import SIGNAL_NORMS
from landscape.gates import Gates, skips, unknown_rates
from landscape.moments import pool_cells
from landscape.plan import fixed_map
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Norm,
    Op,
    PixelShuffle,
    Pool,
    Slice,
    UnsupportedError,
)
from lattice.ops import Windowed

__all__ = ["Signal", "signals", "theory_gates"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class Signal(NamedTuple):
    """The moments of one node's output over weights and white inputs, (channels or 1, *spatial) each."""

    power: Array
    cross: Array
    mean: Array


class Known(NamedTuple):
    """What a rule is told of its node: V[w] or the squared factor, the shapes that it reads, and whether norms see a batch."""

    variance: float
    factor: Array
    shapes: tuple[Shape, ...]
    train: bool


def signals(
    lattice: Lattice,
    variances: Mapping[str, float],
    *,
    factors: Mapping[str, Any] | None = None,
    input_power: float = 1.0,
    train: bool = False,
) -> tuple[Signal, ...]:
    """power, cross and mean of every node's output, in the order of the nodes; see the head of this file.

    `variances` and `factors` by node name, as in `landscape.moments.squared_gradients`; with `train`, batch norms divide by
    the variance over a large batch of white inputs. Raises `UnsupportedError` for an op without a rule.

    >>> net = Lattice.chain((1, 4), [Conv(8, 3, padding=1), Activation("relu")])
    >>> signals(net, {"conv1": 2 / 3})[-1].power.round(3)
    array([[0.667, 1.   , 1.   , 0.667]])
    """
    given = factors or {}
    found: list[Signal] = []
    for node in lattice.nodes:
        if isinstance(node.op, Input):
            one = np.full((1, *(1 for _ in node.op.shape[1:])), input_power)
            full = np.broadcast_to(one, (1, *node.op.shape[1:]))
            found.append(Signal(full, np.zeros_like(full), np.zeros_like(full)))
            continue
        factor = np.asarray(given.get(node.name, 1.0), dtype=float)
        axes = len(lattice.input_shapes(node)[0]) - 1
        factor = factor.reshape(-1, *(1 for _ in range(axes))) if factor.ndim <= 1 else factor
        known = Known(variances.get(node.name, 1.0), factor, lattice.input_shapes(node), train)
        try:
            found.append(_pass(node.op, known, [found[i] for i in node.inputs]))
        except UnsupportedError as error:
            raise UnsupportedError(f"{node.name}: {error}") from error
    return tuple(found)


def theory_gates(
    lattice: Lattice,
    variances: Mapping[str, float],
    factors: Mapping[str, Any] | None = None,
    shifted: Collection[str] = (),
    train: bool = False,
) -> Gates:
    """The rates of all gates from the forward mean field, for a white input: E[phi'^2], products, norms, the trunk law.

    Along a skip, a = h + b with h = phi(z): P(both gates open) is the integral of P(b > -h) over the law of z.
    """
    unknown = unknown_rates(lattice, shifted)
    if not unknown:
        return Gates()
    below = signals(lattice, variances, factors=factors, train=train)
    gains: dict[str, Any] = {}
    runs: dict[tuple[str, str], Array] = {}
    for node in unknown.values():
        if isinstance(node.op, Activation):
            gains[node.name] = _gaussian(node.op, below[node.inputs[0]])[3]
        elif isinstance(node.op, Multiply):
            gains[node.name] = below[node.inputs[1]].power
        elif isinstance(node.op, Norm) and node.op.kind in SIGNAL_NORMS:
            gains[node.name] = 1 / (_spread(node.op, below[node.inputs[0]], lattice.input_shapes(node)[0]) + node.op.eps)
    where = {name: position for position, name in enumerate(lattice.names)}
    for total, _, lower, upper in skips(lattice):
        if {unknown[lower].op, unknown[upper].op} == {Activation("relu")}:
            rest = below[where[total]].power - below[where[lower]].power  # of the branches beside the skip
            z = below[unknown[lower].inputs[0]]
            gains[upper], runs[lower, upper] = pointwise(_skip, z.mean, z.power - z.mean**2, rest)
    return Gates(gains, runs=runs, ground="from the forward mean field")


def _skip(mean: Array, variance: Array, rest: Array) -> tuple[Array, Array]:
    """P(a > 0) and P(z > 0, a > 0) for a = relu(z) + b, z ~ N(m, s^2), b ~ N(0, w^2), s^2 the variance and w^2 the rest.

    P(z > 0, z + b > 0) = (N(m / s) + N(k)) / 2 - T(k, w / s), k = m / sqrt(s^2 + w^2), with Owen's T (Owen 1956: the two
    thresholds and the correlation are those of one mean, so that one of his two terms vanishes).
    """
    s, w = (np.sqrt(np.maximum(size, 1e-300)) for size in (variance, rest))
    k = mean / np.hypot(s, w)
    both = (ndtr(mean / s) + ndtr(k)) / 2 - owens_t(k, w / s)
    return both + ndtr(-mean / s) / 2, both


# --- rules ----------------------------------------------------------------------------------------------------------------


@singledispatch
def _pass(op: Op, known: Known, below: list[Signal]) -> Signal:
    raise UnsupportedError(f"no forward mean field for {op}")


@_pass.register(Conv)
@_pass.register(ConvTranspose)
def _(op: Conv | ConvTranspose, known: Known, below: list[Signal]) -> Signal:
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

    power, cross = summed(below[0].power), summed(below[0].cross)
    return Signal(power, cross, np.zeros_like(power))


def _collected(window: Any, n: int, values: Array, axis: int) -> Array:
    """The sum over the cells that each output reads."""
    table = window.table(n)
    padded = np.concatenate([values, np.zeros_like(np.take(values, [0], axis))], axis)  # -1 reads the zero at the end
    result = np.take(padded, table[0], axis)
    for row in table[1:]:
        result = result + np.take(padded, row, axis)
    return np.asarray(result)


@_pass.register
def _(op: Dense, known: Known, below: list[Signal]) -> Signal:
    features = known.shapes[0][0]
    power, cross = (known.variance * features * part.mean(axis=0, keepdims=True) for part in below[0][:2])
    return Signal(power, cross, np.zeros_like(power))


@_pass.register
def _(op: Flatten, known: Known, below: list[Signal]) -> Signal:
    return Signal(*(np.broadcast_to(part, known.shapes[0]).reshape(-1) for part in below[0]))


@_pass.register
def _(op: Dropout, known: Known, below: list[Signal]) -> Signal:
    return below[0]


@_pass.register
def _(op: Activation, known: Known, below: list[Signal]) -> Signal:
    mean, power, cross, _ = _gaussian(op, below[0])
    return Signal(power, cross, mean)


def _gaussian(op: Activation, z: Signal) -> tuple[Array, ...]:
    variance = np.maximum(z.power - z.mean**2, 0)
    shared = np.maximum(z.cross - z.mean**2, 0)
    correlation = np.divide(shared, variance, out=np.zeros(variance.shape), where=variance > 0)
    return gaussian_moments(op, z.mean, variance, np.minimum(correlation, 1))


@_pass.register
def _(op: Norm, known: Known, below: list[Signal]) -> Signal:
    z, scale = below[0], known.factor
    if op.kind == "instance" or (op.kind == "batch" and known.train):
        return _without_level(z, scale / (batch_variance(z) + op.eps))
    if op.kind in SIGNAL_NORMS:  # the mean over many channels is that of the weights
        scale = scale / (_spread(op, z, known.shapes[0]) + op.eps)
        return Signal(scale * (z.power - z.mean**2), scale * np.maximum(z.cross - z.mean**2, 0), np.zeros_like(scale * z.mean))
    return Signal(scale * z.power, scale * z.cross, np.sqrt(scale) * z.mean)


def _spread(op: Norm, z: Signal, shape: Shape) -> Array:
    """The variance of the signal over the axes of a norm: the channels of a position, a group and all positions, ..."""
    power, mean = (np.broadcast_to(part, shape) for part in (z.power, z.mean))
    if op.kind == "layer":
        return np.asarray(power.mean(axis=0, keepdims=True) - mean.mean(axis=0, keepdims=True) ** 2)
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


@_pass.register
def _(op: Add, known: Known, below: list[Signal]) -> Signal:
    """Powers add; two branches that are not zero on average add the product of their means twice."""
    power, cross, mean = (sum(parts) for parts in zip(*below, strict=True))
    products = np.asarray(mean) ** 2 - sum(part.mean**2 for part in below)
    return Signal(np.asarray(power + products), np.asarray(cross + products), np.asarray(mean))


@_pass.register
def _(op: Concat, known: Known, below: list[Signal]) -> Signal:
    def joined(parts: tuple[Array, ...]) -> Array:
        return np.concatenate([np.broadcast_to(part, shape) for part, shape in zip(parts, known.shapes, strict=True)])

    return Signal(*(joined(parts) for parts in zip(*below, strict=True)))


@_pass.register
def _(op: Slice, known: Known, below: list[Signal]) -> Signal:
    return Signal(*(part if part.shape[0] == 1 else part[op.start : op.stop] for part in below[0]))


@_pass.register
def _(op: ChannelShuffle, known: Known, below: list[Signal]) -> Signal:
    order = np.arange(known.shapes[0][0]).reshape(op.groups, -1).T.ravel()
    return Signal(*(part if part.shape[0] == 1 else part[order] for part in below[0]))


@_pass.register
def _(op: PixelShuffle, known: Known, below: list[Signal]) -> Signal:
    """Channels (c, a, b, ...) of position (i, j, ...) become channel c of position (r i + a, r j + b, ...)."""
    spatial = known.shapes[0][1:]
    axes = len(spatial)
    order = (0, *(place for axis in range(1, axes + 1) for place in (axis + axes, axis)))

    def spread(part: Array) -> Array:
        split = np.broadcast_to(part, known.shapes[0]).reshape(-1, *(op.factor,) * axes, *spatial)
        return split.transpose(order).reshape(-1, *(op.factor * n for n in spatial))

    return Signal(*map(spread, below[0]))


@_pass.register
def _(op: Multiply, known: Known, below: list[Signal]) -> Signal:
    trunk, gate = below
    return Signal(trunk.power * gate.power, trunk.cross * gate.cross, trunk.mean * gate.mean)


@_pass.register
def _(op: Windowed, known: Known, below: list[Signal]) -> Signal:
    """A fixed map A: what positions share adds as a level, the rest as variances."""
    spatial = known.shapes[0][1:]
    z = below[0]
    maps = [fixed_map(op, axis, spatial).values for axis in range(len(spatial))]
    if getattr(op, "kind", "") == "max":
        assert isinstance(op, Pool | AdaptivePool | GlobalPool)
        return _maximum(op, z, spatial, maps)
    level = _through(maps, np.sqrt(z.cross))
    apart = _through([a**2 for a in maps], z.power - z.cross)
    return Signal(apart + level**2, level**2, _through(maps, z.mean))


def _through(maps: list[Array], values: Array) -> Array:
    for axis, a in enumerate(maps, start=1):
        values = np.moveaxis(np.tensordot(a, values, (1, axis)), 0, axis)
    return values


def _maximum(op: Pool | AdaptivePool | GlobalPool, z: Signal, spatial: Shape, maps: list[Array]) -> Signal:
    """The largest of n values with the average level and spread of the window; rectified Gaussians where all are positive."""
    cells = pool_cells(op, spatial)
    power, cross, mean = (_through(maps, part) for part in z)
    rectified = bool(np.all(mean > 0))
    ratio = np.divide(cross, power, out=np.zeros_like(power), where=power > 0)
    cases, which = distinct(*np.broadcast_arrays(cells, ratio.round(3)))
    scale = np.array([_largest(int(n), r, rectified) for n, r in cases])[which].reshape(*power.shape, 3)
    return Signal(power * scale[..., 0], power * scale[..., 1], np.sqrt(power) * scale[..., 2])


@lru_cache(maxsize=4096)
def _largest(n: int, ratio: float, rectified: bool) -> tuple[float, float, float]:
    """E[M^2], E[E[M | shared]^2] and E[M] for M the largest of n values of power 1, of which `ratio` is shared.

    The values are Gaussians sqrt(r) t + sqrt(1 - r) e, rectified and of variance 2 or not; r is what gives `ratio`.
    """
    r = _correlation(ratio) if rectified else ratio
    shared, weights = np.polynomial.hermite_e.hermegauss(31)
    e = np.linspace(-7, 7, 561)
    law = np.diff(ndtr(e) ** n)  # of the largest e
    largest = (e[1:] + e[:-1]) / 2
    values = np.sqrt(r) * shared[:, None] + np.sqrt(max(1 - r, 0.0)) * largest
    values = np.sqrt(2) * np.maximum(values, 0) if rectified else values
    first, second = values @ law, values**2 @ law
    weights = weights / weights.sum()
    return float(weights @ second), float(weights @ first**2), float(weights @ first)


@lru_cache(maxsize=1024)
def _correlation(ratio: float) -> float:
    """The r at which rectified Gaussians have this ratio of cross to power: J(r) / pi = ratio."""
    r = np.linspace(-1, 1, 20001)
    return max(0.0, float(np.interp(ratio, (np.sqrt(1 - r**2) + r * (np.pi - np.arccos(r))) / np.pi, r)))
