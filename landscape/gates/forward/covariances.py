r"""E[h_u h_u'] at pairs of positions of one input: how the forward mean field's products pass each op.

From E[x_p x_q] = 0 for p != q of a white input on: fresh weights sum them over the taps that read both positions, so that cells
at the border, which read fewer, differ from their neighbours;
gates take Gaussians to Gaussians' products; fixed maps A C A'. Only the
pairs that a maximum or an average above asks for are carried (`landscape.structure.forward_pairs`).
"""

from dataclasses import replace
from functools import partial, singledispatch
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from landscape.gates.activations import gaussian_moments
from landscape.gates.averaging import pointwise, ratio
from landscape.gates.composites import Affine, moments
from landscape.gates.forward.levels import aligned
from landscape.gates.forward.mean_field_rules import spread, variance_parts
from landscape.gates.forward.signal import Known, Signal
from landscape.gates.gaussian.normal import NEVER, deviations, quadrant
from landscape.gates.windows.pools import at_codes
from landscape.structure.arrays import at_pairs, on_diagonal
from landscape.structure.forward_pairs import moved_axes, turned
from landscape.structure.pairs import Maps, needed_above, operator
from landscape.structure.plan import Axes, axis_maps
from landscape.structure.signs import NEGATED, SIGNAL_NORMS, Sign, Steps, has_slopes, slopes, steps
from lattice import Activation, Add, ChannelShuffle, Concat, Conv, ConvTranspose, Dropout, Multiply, Norm, Op, Slice
from lattice.network.ops import Windowed
from lattice.network.rearrange import Rearrange
from lattice.network.shapes import sources

__all__ = [
    "Passing",
    "Product",
    "both_slopes",
    "by_run",
    "gate_products",
    "passed_pairs",
    "shared_by_maxima",
    "through_maps",
]

Array = np.ndarray[Any, Any]
Runs = tuple[int, ...]


class Product(NamedTuple):
    """E[h_u h_u'] of the channels of each run at pairs of positions, (runs, *pairs)."""

    values: Array
    axes: Axes
    runs: Runs

    def at(self, axes: Axes) -> Array:
        """The same at other pairs, which lie among these or further apart; one cell stands for all positions of an axis."""
        if axes == self.axes:
            return self.values
        codes = [pairs.codes * (own.left > 1) for pairs, own in zip(axes, self.axes, strict=True)]
        return at_codes(self.values, self.axes, codes)


class Passing(NamedTuple):
    """What a rule is told: what the node reads, of which the products are those of its inputs; its own pairs and runs.

    `signs`: of the runs that it reads. `base`: the product of the signal of which it is a pointwise function. `two_inputs`: are
    the products those of two inputs, so that a position and itself are not one value?
    """

    known: Known
    signals: list[Signal]
    products: list[Any]
    axes: Axes
    runs: Runs
    signs: tuple[Sign, ...]
    base: Product | None
    two_inputs: bool = False


def by_run(values: Array, runs: Runs) -> Array:
    """Values over (channels or 1, ...) averaged over the channels of each run, (runs, ...)."""
    if len(values) == 1 or values.shape[0] != sum(runs):
        return np.broadcast_to(
            values[:1] if len(values) == 1 else values.mean(axis=0, keepdims=True), (len(runs), *values.shape[1:])
        )
    return np.stack(
        [part[0] if (part == part[:1]).all() else part.mean(axis=0) for part in np.split(values, np.cumsum(runs)[:-1])]
    )


@singledispatch
def passed_pairs(op: Op, passing: Passing) -> Array | None:
    """E[h_u h_u'] of a node's output at its pairs, (runs or 1, *pairs); None where no rule tells it."""
    return None


@passed_pairs.register(Conv)
@passed_pairs.register(ConvTranspose)
def _(op: Conv | ConvTranspose, passing: Passing) -> Array | None:
    known, product = passing.known, passing.products[0]
    whole = np.average(product.values, axis=0, weights=product.runs)[None] * (known.shapes[0][0] // op.groups)
    shared = by_run(known.shift[0] ** 2 + known.shift[1], passing.runs)
    return known.variance * _mapped(op, passing, Product(whole, product.axes, (1,))) + shared


def _mapped(op: Windowed, passing: Passing, product: Product) -> Array:
    """sum_k A_k E[h h'] A_k' along each axis."""
    output = (1, *(pairs.left for pairs in passing.axes))
    maps = axis_maps(op, passing.known.shapes[0], output)
    assert maps is not None
    return through_maps(maps, passing.axes, product)


def through_maps(maps: tuple[Maps, ...], axes: Axes, product: Product) -> Array:
    """sum_k A_k E[h h'] B_k' along each axis, at these pairs of the output."""
    values = product.values
    for axis, (readings, kept, above) in enumerate(zip(maps, product.axes, axes, strict=True), start=1):
        upward = turned(readings)
        needed = needed_above(upward, above)
        values = at_codes(np.moveaxis(values, axis, -1), (kept,), [needed.codes])
        matrix = operator(upward, above, needed)
        rows, shape = values.shape[:-1], (prod(values.shape[:-1]), len(needed))  # of windows over padding alone none
        values = (matrix @ values.reshape(shape).T).T.reshape(*rows, len(above))
        values = np.moveaxis(values, -1, axis)
    return np.asarray(values)


@passed_pairs.register
def _(op: Windowed, passing: Passing) -> Array | None:
    if getattr(op, "kind", "") == "max":
        return None  # `landscape.gates.forward.maxima` has these, where they can be had
    return _mapped(op, passing, passing.products[0])


def shared_by_maxima(op: Any, passing: Passing, z: Signal) -> Array:
    """The products of two inputs of maxima z, which share as much of their variance as averages of the same cells do."""
    average, axes, runs = replace(op, kind="avg"), passing.axes, passing.runs
    below = passing.products[0]
    left, right = at_pairs(by_run(passing.signals[0].mean, below.runs), below.axes)
    apart = _mapped(average, passing, below._replace(values=below.values - left * right))
    same = [np.flatnonzero(pairs.first == pairs.second) for pairs in axes]
    index: tuple[Any, ...] = (slice(None), *np.ix_(*same))
    variance = np.maximum(apart[index], 0)
    middles, sizes = (
        at_pairs(by_run(z.mean, runs), axes),
        at_pairs(by_run(np.sqrt(np.maximum(z.cross - z.mean**2, 0)), runs), axes),
    )
    one, other = at_pairs(np.sqrt(variance), axes)
    return np.asarray(middles[0] * middles[1] + sizes[0] * sizes[1] * np.clip(ratio(apart, one * other), -1, 1))


@passed_pairs.register
def _(op: Rearrange, passing: Passing) -> Array | None:
    """Of channels that move, those of each run of the input, and nothing of zeros."""
    shape, product = passing.known.shapes[0], passing.products[0]
    maps = moved_axes(op, shape)
    if maps is None:
        return None
    if product.runs != passing.runs or op.takes[0] is not None:
        read = sources(op, shape).reshape(sum(passing.runs), -1).max(axis=1) // prod(shape[1:])  # -1: zeros
        runs = np.searchsorted(np.cumsum(product.runs), read[read >= 0], side="right")
        shares = np.bincount(runs, minlength=len(product.runs)) / len(read)
        product = Product(np.tensordot(shares, product.values, 1)[None], product.axes, passing.runs)
    return through_maps(maps, passing.axes, product)


@passed_pairs.register
def _(op: Norm, passing: Passing) -> Array | None:
    known, z, axes = passing.known, passing.signals[0], passing.axes
    products = passing.products[0].at(axes)
    scale = by_run(known.factor, passing.runs)
    mean = by_run(z.mean, passing.runs)
    if op.kind == "instance" or (op.kind == "batch" and known.train):
        level = known.level or aligned(z)
        inverse, own, common = (by_run(part, passing.runs) for part in variance_parts(z, level, op.eps))
        left, right = at_pairs(by_run(level.with_mean, passing.runs), axes)
        products, mean = products - left - right + by_run(level.of_mean, passing.runs), np.zeros_like(mean)
        shared = by_run(np.maximum(z.cross + level.of_mean - 2 * level.with_mean, 0), passing.runs)
        apart = by_run(z.power - z.cross, passing.runs)
        scale = scale * inverse * (common if passing.two_inputs else ratio(own * apart + common * shared, apart + shared))
    elif op.kind in SIGNAL_NORMS:
        scale = scale / (by_run(spread(op, z, known.shapes[0], known.level), passing.runs) + op.eps)
        left, right = at_pairs(mean, axes)
        products, mean = products - left * right, np.zeros_like(mean)
    left, right = at_pairs(np.sqrt(scale) * np.ones_like(mean), axes)
    shift, variance = (by_run(part, passing.runs) for part in known.shift)
    own, other = at_pairs(by_run(known.sign, passing.runs) * np.sqrt(scale) * mean, axes)
    if max(shift.shape[1:], default=1) == max(variance.shape[1:], default=1) == 1:
        return np.asarray(
            left * right * products + shift * (own + other) + by_run(known.shift[0] ** 2, passing.runs) + variance
        )
    one, two = at_pairs(shift, axes)  # one number for every position, which were drawn apart
    apart = at_pairs(variance, axes)[0] * on_diagonal(axes)
    return np.asarray(left * right * products + two * own + one * other + _squared(known.shift[0], passing.runs, axes) + apart)


def _squared(values: Array, runs: Runs, axes: Axes) -> Array:
    """The products of values (channels or 1, *spatial or 1) at pairs of positions, averaged over the channels of each run."""
    if len(values) == 1 or values.shape[0] != sum(runs):
        left, right = at_pairs(by_run(values, runs), axes)
        return left * right
    found = []
    for part in np.split(values, np.cumsum(runs)[:-1]):
        pairs = (at_pairs(channel[None], axes) for channel in part)
        found.append(sum(left[0] * right[0] for left, right in pairs) / len(part))
    return np.stack(found)


@passed_pairs.register
def _(op: Activation, passing: Passing) -> Array | None:
    if passing.known.run is not None:
        return _of_run(passing)
    products, signal = passing.products[0].at(passing.axes), passing.signals[0]
    mean, power = (by_run(part, passing.runs) for part in (signal.mean, signal.power))
    found = np.empty(products.shape)
    moving = _moving(op, passing.signs)
    for place in sorted(set(range(len(passing.signs))) - set(moving)):
        found[place] = slopes(op)[passing.signs[place] is Sign.NONNEGATIVE] ** 2 * products[place]
    if moving:
        *laws, between = _laws(mean[moving], power[moving], products[moving], passing.axes, passing.two_inputs)
        found[moving] = _either(*(pointwise(partial(gaussian_moments, op), *law, between)[2] for law in laws))
    return found


def _moving(op: Activation, signs: tuple[Sign, ...]) -> list[int]:
    """The runs at which more than one side of the kink of an activation is read."""
    return [place for place, sign in enumerate(signs) if sign not in NEGATED or not has_slopes(op)]


def _laws(
    mean: Array, power: Array, product: Array, axes: Axes, two_inputs: bool = False
) -> tuple[tuple[Array, Array], tuple[Array, Array], Array]:
    """The mean and the variance at either position of each pair, and their correlation."""
    means, powers = at_pairs(mean, axes), at_pairs(power, axes)
    variances = [np.maximum(part - own**2, 0) for part, own in zip(powers, means, strict=True)]
    between = ratio(product - means[0] * means[1], np.sqrt(variances[0] * variances[1]))
    first, second = zip(means, variances, strict=True)
    one = False if two_inputs else on_diagonal(axes)
    return first, second, np.where(one, 1.0, np.clip(between, -1, 1))  # to the last digit: its root counts


def _either(one: Array, other: Array) -> Array:
    """E[phi(z) phi(z')] of two laws: the geometric mean of that of either, exact for a homogeneous phi of centred values."""
    return np.asarray(np.sign(one) * np.sqrt(np.maximum(one * other, 0)))


def _of_run(passing: Passing) -> Array | None:
    run, product = passing.known.run, passing.base
    if run is None or product is None:
        return None
    runs, axes = product.runs, passing.axes
    mean, power = (by_run(part, runs) for part in (run.base.mean, run.base.power))
    first, second, between = _laws(mean, power, product.at(axes), axes, passing.two_inputs)
    norms = {name: [at_pairs(by_run(part, runs), axes) for part in one] for name, one in run.affine.items()}
    sides = [{name: Affine(*(part[side] for part in parts)) for name, parts in norms.items()} for side in (0, 1)]
    return _either(*(moments(run.form, own, *law, between).cross for own, law in zip(sides, (first, second), strict=True)))


@passed_pairs.register
def _(op: Add, passing: Passing) -> Array | None:
    if passing.known.run is not None:
        return _of_run(passing)
    means = [
        at_pairs(_recut(by_run(z.mean, p.runs), p.runs, passing.runs), passing.axes)
        for z, p in zip(passing.signals, passing.products, strict=True)
    ]
    whole = [sum(parts) for parts in zip(*means, strict=True)]
    own = sum(left * right for left, right in means)
    return np.asarray(
        sum(_recut(p.at(passing.axes), p.runs, passing.runs) for p in passing.products) + whole[0] * whole[1] - own
    )


def _recut(values: Array, runs: Runs, wanted: Runs) -> Array:
    """Values of runs as those of shorter runs of the same channels."""
    if runs == wanted:
        return values
    ends, begins = np.cumsum(runs), np.cumsum((0, *wanted[:-1]))
    return np.take(values, np.minimum(np.searchsorted(ends, begins, side="right"), len(runs) - 1), 0)


@passed_pairs.register
def _(op: Concat, passing: Passing) -> Array | None:
    return np.concatenate([p.at(passing.axes) for p in passing.products])


@passed_pairs.register
def _(op: Slice, passing: Passing) -> Array | None:
    product = passing.products[0]
    ends, begins = np.cumsum(product.runs), op.start + np.cumsum((0, *passing.runs[:-1]))
    return np.take(product.at(passing.axes), np.searchsorted(ends, begins, side="right"), 0)


@passed_pairs.register
def _(op: ChannelShuffle, passing: Passing) -> Array | None:
    product = passing.products[0]
    return np.average(product.at(passing.axes), axis=0, weights=product.runs)[None]


@passed_pairs.register
def _(op: Dropout, passing: Passing) -> Array | None:
    return passing.products[0].at(passing.axes)


@passed_pairs.register
def _(op: Multiply, passing: Passing) -> Array | None:
    if passing.known.run is not None:
        return _of_run(passing)
    parts = []
    for signal, products in zip(passing.signals, passing.products, strict=True):
        if products is None:  # one cell for several positions: what two cells share is what does not differ between inputs
            power, cross = (at_pairs(by_run(part, passing.runs), passing.axes) for part in (signal.power, signal.cross))
            one = (on_diagonal(passing.axes) | _one_cell(signal)) & (not passing.two_inputs)
            parts.append(np.where(one, power[0], np.sqrt(cross[0] * cross[1])))
        else:
            parts.append(_recut(products.at(passing.axes), products.runs, passing.runs))
    return np.asarray(parts[0] * parts[1])


def _one_cell(signal: Signal) -> bool:
    """Does a signal have one cell for all positions?"""
    return set(signal.power.shape[1:]) <= {1}


def gate_products(op: Activation, signal: Signal, product: Product, signs: tuple[Sign, ...], axes: Axes) -> Array | None:
    """E[phi'(z) phi'(z')] at pairs of positions, (channels or 1, *pairs), for slopes that are constant between kinks."""
    slope = steps(op)
    if slope is None:
        return None
    mean, power = (by_run(part, product.runs) for part in (signal.mean, signal.power))
    products = product.at(axes)
    found = np.empty(products.shape)
    moving = _moving(op, signs)
    for place in sorted(set(range(len(signs))) - set(moving)):
        found[place] = slopes(op)[signs[place] is Sign.NONNEGATIVE] ** 2
    if moving:
        first, second, between = _laws(mean[moving], power[moving], products[moving], axes)
        found[moving] = pointwise(partial(both_slopes, slope), *first, *second, between)[0]
    return found if len(found) == 1 else np.repeat(found, product.runs, 0)


def both_slopes(slope: Steps, mean: Array, variance: Array, mean2: Array, variance2: Array, between: Array) -> tuple[Array]:
    """E[phi'(z) phi'(z')] of two Gaussians with these means, variances and correlation, alone in a tuple."""
    one, other = (
        [(jump, deviations(m - kink, np.sqrt(v))) for jump, kink in zip(slope.jumps, slope.kinks, strict=True)]
        for m, v in ((mean, variance), (mean2, variance2))
    )
    rest = np.sqrt(1 - between**2)
    found = np.full(between.shape, slope.lowest**2)
    if slope.lowest:
        found += slope.lowest * sum(jump * ndtr(h) for jump, h in (*one, *other))
    for (jump, h), (jump2, k) in product(one, other):
        if h.max() > -NEVER and k.max() > -NEVER:
            found += jump * jump2 * quadrant(h, k, between, rest)
    return (found,)
