r"""Runs of pointwise ops without fresh weights between them: ONE function of the Gaussian below.

A ReLU over a leaky ReLU, a tanh over a batch norm over a ReLU, z * sigmoid(z): what the upper gate reads is not Gaussian, and
its slope is not independent of the slopes below. With f the function up to the upper gate phi and D = f'(z) its slope, what the
sweep has to multiply by is

    E[phi'(f(z))^2 D^2] / E[D^2]     and, for products of two paths, E[phi'(f(z)) D] / E[D],

so that the rates of a run multiply to those of the whole function. Where a run is piecewise linear with its kink at 0 it is
closed; else it is a sum over panels (`landscape.gates.activations`), cut where any of its parts bends.

A gate over a product h = f(a) g(b) of TWO signals is open where h is small, and there the other factor, by which each path is
multiplied, is small too. Both grow with the size s of the n input values that they share: a and b have the variances s V and
s W, where n s is chi squared with n degrees of freedom. The gradient of a has a^2 / (n s) along the input, and (1 - 1 / n) V
across it, where it is independent of a; so with d = f'(a), e = g'(b) and centred a, b the gain is

    E[phi'(h)^2 ((a d g + b e f)^2 / (n s) + (1 - 1 / n) (d^2 g^2 V + e^2 f^2 W))] / (E[d^2] E[g^2] V + E[e^2] E[f^2] W).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import Any, NamedTuple

import numpy as np
from scipy.special import gammaln, kve

from landscape.gates.activations import closed_moments, each_case, law_of, product_of
from landscape.gates.averaging import pointwise, ratio
from landscape.gates.functions import Curve, composed, curve
from landscape.gates.gaussian.normal import FAR
from landscape.structure.signs import has_slopes, slopes
from lattice import Activation, Add, Dropout, Lattice, Multiply, Norm

__all__ = [
    "Affine",
    "Form",
    "Moments",
    "beside",
    "curve_of",
    "factor_squares",
    "forms",
    "gate_of_product",
    "line_of",
    "moments",
]

Array = np.ndarray[Any, Any]
STEPS = 0.13, 0.08  # of the logarithms of what two factors read: unlike, so that no kink of their product is met by many
POINTS = tuple(np.exp(np.arange(-24.0, 4.0, step)) for step in STEPS)  # in deviations: near 0 gates over huge products open
LARGEST = 1e100  # of a product: its gate is then what it is for any larger
MANY = 60.0  # inputs beyond which their size is always the same


@dataclass(frozen=True)
class Form:
    """A pointwise function of one node, as a tree.

    `kind`: "z" (the node itself), "gate" (`op` is an activation), "norm" (`op` is its node's name), "times" or "plus".
    """

    kind: str = "z"
    op: Activation | str = ""
    parts: tuple["Form", ...] = ()

    @property
    def gates(self) -> int:
        """How many activations and products it holds."""
        return (self.kind in ("gate", "times")) + sum(part.gates for part in self.parts)

    @property
    def norms(self) -> tuple[str, ...]:
        """The names of the norms that it holds, each once."""
        own = (str(self.op),) if self.kind == "norm" else ()
        return tuple(dict.fromkeys((*own, *(name for part in self.parts for name in part.norms))))


class Affine(NamedTuple):
    """What a norm does to each channel: coefficient * z + shift."""

    coefficient: Array
    shift: Array


class Moments(NamedTuple):
    """E[f], E[f^2], E[f f'] over the Gaussian, and the gain and mean slope of the topmost activation, given those below."""

    mean: Array
    power: Array
    cross: Array
    gain: Array
    slope: Array


Z = Form()


def forms(lattice: Lattice, train: bool = False) -> list[tuple[int, Form]]:
    """For every node, of which node it is a pointwise function, and which function; itself where it is none.

    >>> from lattice import Conv
    >>> net = Lattice.chain(
    ...     (1, 8),
    ...     [
    ...         Conv(4, 3),
    ...         Activation("leaky_relu"),
    ...         Norm("scale"),
    ...         Activation("relu"),
    ...         Conv(4, 3),
    ...     ],
    ... )
    >>> [base for base, _ in forms(net)], forms(net)[4][1].norms
    ([0, 1, 1, 1, 1, 5], ('norm1',))
    """
    found: list[tuple[int, Form]] = []
    for position, node in enumerate(lattice.nodes):
        op = node.op
        below = [found[i] for i in node.inputs]
        one = len({base for base, _ in below}) == 1
        parts = tuple(form for _, form in below)
        form = None
        if isinstance(op, Activation):
            form = Form("gate", op, parts)
        elif isinstance(op, Norm) and _is_affine(op, train, parts[0]):
            form = Form("norm", node.name, parts)
        elif isinstance(op, Dropout) and not train:
            form = parts[0]
        elif isinstance(op, Multiply | Add) and one and len({lattice.shapes[i] for i in node.inputs}) == 1:
            form = Form("times" if isinstance(op, Multiply) else "plus", parts=parts)
        found.append((position, Z) if form is None else (below[0][0], form))
    return found


def _is_affine(op: Norm, train: bool, below: Form) -> bool:
    """Does a norm multiply by a number and add one? So does one over many channels in the wide limit.

    What such a norm reads from fresh weights is Gaussian, and so is what it gives: only over a gate it is part of a function.
    """
    return op.kind == "scale" or (op.kind == "batch" and not train) or (op.kind in ("layer", "group") and below.gates > 0)


def moments(form: Form, affine: Mapping[str, Affine], mean: Array, variance: Array, correlation: Array) -> Moments:
    """The moments of a function of z, z' ~ N(mean, variance) with this correlation; arrays (channels or 1, *spatial)."""
    line = line_of(form, affine)
    if line is not None:
        rule = partial(_closed, form.kind == "gate")
        inner = line_of(form.parts[0], affine) if form.parts else line
        assert inner is not None
        return Moments(*pointwise(rule, mean, variance, correlation, *line, *inner))
    numbers = [part for name in form.norms for part in affine[name]]
    correlation = np.clip(correlation, -1, 1)
    return Moments(*pointwise(partial(each_case, partial(_case, form)), mean, variance, correlation, *numbers))


def _closed(gated: bool, mean: Array, variance: Array, correlation: Array, *lines: Array) -> tuple[Array, ...]:
    whole = closed_moments(lines[0], lines[1], mean, variance, correlation)
    first, squared, product, gain, slope = whole
    if gated:
        *_, gain_below, slope_below = closed_moments(lines[2], lines[3], mean, variance, correlation)
        gain, slope = ratio(gain, gain_below), ratio(slope, slope_below)
    return first, squared, product, gain, slope


def line_of(form: Form, affine: Mapping[str, Affine]) -> tuple[Array, Array] | None:
    """The slopes below and above z = 0 of a run that is linear on both sides of it."""
    if form == Z:
        return np.ones(1), np.ones(1)
    below = [line_of(part, affine) for part in form.parts]
    if any(line is None for line in below) or form.kind == "times":
        return None
    lines = [line for line in below if line is not None]
    if form.kind == "plus":
        return reduce(np.add, [line[0] for line in lines]), reduce(np.add, [line[1] for line in lines])
    low, high = lines[0]
    if isinstance(form.op, Activation):
        if not has_slopes(form.op):
            return None
        down, up = slopes(form.op)
        return np.where(low > 0, down, up) * low, np.where(high > 0, up, down) * high
    coefficient, shift = affine[str(form.op)]
    return None if np.any(shift) else (coefficient * low, coefficient * high)


@lru_cache(maxsize=16384)
def _case(form: Form, mean: float, variance: float, correlation: float, *numbers: float) -> tuple[float, ...]:
    norms = dict(zip(form.norms, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
    whole = curve_of(form, norms, mean, variance)
    law = law_of(whole, mean, variance)
    values = whole.value(law.z)
    gain, slope = 1.0, 1.0
    if isinstance(form.op, Activation):
        inner = curve_of(form.parts[0], norms, mean, variance)
        own, below = curve(form.op).slope(inner.value(law.z)), inner.slope(law.z)
        squares, means = float(below**2 @ law.masses), float(below @ law.masses)
        gain = float((own * below) ** 2 @ law.masses) / squares if squares else 0.0
        slope = float((own * below) @ law.masses) / means if means else float(own @ law.masses)
    first, squared = (float(part @ law.masses) for part in (values, values**2))
    return first, squared, product_of(whole, law, correlation), gain, slope


def curve_of(form: Form, norms: Mapping[str, tuple[float, float]], mean: float, variance: float) -> Curve:
    """The whole function as one curve, cut for this law of z."""
    if form == Z:
        return Curve(lambda z: z, np.ones_like)
    parts = [curve_of(part, norms, mean, variance) for part in form.parts]
    inner = parts[0]
    if isinstance(form.op, Activation):
        outer = curve(form.op)
        return outer if form.parts[0] == Z else composed(outer, inner, law_of(inner, mean, variance).z)
    if form.kind in ("times", "plus"):
        return _joined(form.kind == "times", parts, abs(mean) + FAR * float(np.sqrt(variance)))
    coefficient, shift = norms[str(form.op)]
    return Curve(
        lambda z: coefficient * inner.value(z) + shift,
        lambda z: coefficient * inner.slope(z),
        inner.kinks,
        inner.width,
        inner.tail,
        inner.extra,
    )


def _joined(times: bool, parts: list[Curve], reach: float) -> Curve:
    """The product or the sum of curves, cut where any of them is."""

    def value(z: Array) -> Array:
        values = [part.value(z) for part in parts]
        return np.asarray(reduce(np.multiply if times else np.add, values))

    def slope(z: Array) -> Array:
        slopes_ = [part.slope(z) for part in parts]
        if not times:
            return np.asarray(reduce(np.add, slopes_))
        first, second = parts
        return np.asarray(slopes_[0] * second.value(z) + first.value(z) * slopes_[1])

    cuts = np.unique(np.concatenate([part.cuts(reach) for part in parts]))
    return Curve(value, slope, tuple(kink for part in parts for kink in part.kinks), extra=tuple(cuts.tolist()))


def beside(form: Form, other: Form, affine: Mapping[str, Affine], mean: Array, variance: Array) -> Array:
    """E[phi'(f) f' D] / E[f' D] of the topmost gate phi(f) of a run, for a path that goes down beside one which left the run at
    its part `other`, the slope of which is D: both go through that part.

    >>> leaky = Form("gate", Activation("leaky_relu", 0.5), (Form(),))
    >>> over = Form("gate", Activation("relu"), (leaky,))
    >>> law = np.zeros(1), np.ones(1)
    >>> # E[phi' D] / E[D] = 2/3, but E[phi' D^2] / E[D^2] = 4/5
    >>> [float(beside(over, below, {}, *law)[0].round(4)) for below in (Form(), leaky)]
    [0.6667, 0.8]
    """
    names = tuple(dict.fromkeys((*form.norms, *other.norms)))
    numbers = [part for name in names for part in affine[name]]
    return pointwise(partial(each_case, partial(_beside, form, other, names)), mean, variance, *numbers)[0]


@lru_cache(maxsize=16384)
def _beside(form: Form, other: Form, names: tuple[str, ...], mean: float, variance: float, *numbers: float) -> tuple[float]:
    assert isinstance(form.op, Activation)
    norms = dict(zip(names, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
    law = law_of(curve_of(form, norms, mean, variance), mean, variance)
    inner, apart = (curve_of(part, norms, mean, variance) for part in (form.parts[0], other))
    passed = inner.slope(law.z) * apart.slope(law.z)
    whole = float(passed @ law.masses)
    return (float((curve(form.op).slope(inner.value(law.z)) * passed) @ law.masses) / whole if whole else 0.0,)


def factor_squares(form: Form, affine: Mapping[str, Affine], mean: Array, variance: Array) -> tuple[Array, Array]:
    """Of a product f g: E[g^2 f'^2] / E[f'^2] for its first factor's paths, E[f^2 g'^2] / E[g'^2] for its second's."""
    numbers = [part for name in form.norms for part in affine[name]]
    first, second = pointwise(partial(each_case, partial(_factors, form)), mean, variance, *numbers)
    return first, second


@lru_cache(maxsize=16384)
def _factors(form: Form, mean: float, variance: float, *numbers: float) -> tuple[float, ...]:
    norms = dict(zip(form.norms, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
    law = law_of(curve_of(form, norms, mean, variance), mean, variance)
    one, other = (curve_of(part, norms, mean, variance) for part in form.parts)
    found = []
    for own, factor in ((one, other), (other, one)):
        slope = own.slope(law.z) ** 2
        passed = slope @ law.masses
        found.append(float((factor.value(law.z) ** 2 * slope) @ law.masses / passed) if passed else 0.0)
    return tuple(found)


def gate_of_product(
    form: Form, factors: tuple[Form, Form], affine: Mapping[str, Affine], laws: tuple[Array, Array, Array, Array], n: float
) -> tuple[Array, Array]:
    """The gain and the mean slope of a gate over f(a) g(b): see the head of this file.

    `form` is the gate as a function of the product, `laws` are the means and variances (mean, variance, mean, variance) of a
    and b; they share the size of n inputs, which may be infinite.

    >>> tanh, z = Form("gate", Activation("tanh"), (Form(),)), Form()
    >>> laws = (np.zeros(1), np.full(1, 9.0)) * 2
    >>> [
    ...     float(gate_of_product(tanh, (z, z), {}, laws, n)[0][0].round(3))
    ...     for n in (np.inf, 1.0)
    ... ]
    [0.047, 0.007]
    """
    names = tuple(dict.fromkeys(name for one in (form, *factors) for name in one.norms))
    numbers = [part for name in names for part in affine[name]]
    gain, slope = pointwise(partial(each_case, partial(_gate_of_product, form, factors, names, n)), *laws, *numbers)
    return gain, slope


@lru_cache(maxsize=4096)
def _gate_of_product(
    form: Form, factors: tuple[Form, Form], names: tuple[str, ...], n: float, *numbers: float
) -> tuple[float, float]:
    assert isinstance(form.op, Activation)
    means, variances, rest = numbers[0:4:2], numbers[1:4:2], numbers[4:]
    norms = dict(zip(names, zip(rest[::2], rest[1::2], strict=True), strict=True))
    curves = [curve_of(one, norms, *law) for one, *law in zip(factors, means, variances, strict=True)]
    inner, outer = curve_of(form.parts[0], norms, 0.0, 1.0), curve(form.op)
    a, b = (np.concatenate([-one[::-1], one]) for one in POINTS)
    points = [mean + np.sqrt(variance) * t for mean, variance, t in zip(means, variances, (a, b), strict=True)]
    f, g = (one.value(z) for one, z in zip(curves, points, strict=True))
    d, e = (one.slope(z) * np.sqrt(variance) for one, z, variance in zip(curves, points, variances, strict=True))
    open_ = outer.slope(inner.value(np.clip(np.outer(f, g), -LARGEST, LARGEST)))
    (f, d), (g, e) = ((one / unit, slope / unit) for one, slope, unit in ((f, d, _unit(f, d)), (g, e, _unit(g, e))))
    law, divided = (np.block([[w[::-1, ::-1], w[::-1]], [w[:, ::-1], w]]) for w in _masses(n))
    along = np.outer(a * d, g) + np.outer(f, b * e)
    across = np.outer(d**2, g**2) + np.outer(f**2, e**2)
    squares = float((open_**2 * (divided * along**2 / n + (1 - 1 / n) * law * across)).sum())
    of_a, of_b = (step * np.abs(t) * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi) for step, t in zip(STEPS, (a, b), strict=True))
    whole = float((d**2 @ of_a) * (g**2 @ of_b) + (e**2 @ of_b) * (f**2 @ of_a))
    mean = float((open_ * law).sum())
    return squares / whole if whole else mean**2, mean


def _unit(values: Array, slopes_: Array) -> float:
    return float(max(np.abs(values).max(), np.abs(slopes_).max())) or 1.0


@lru_cache(maxsize=64)
def _masses(n: float) -> tuple[Array, Array]:
    """The masses of a, b ~ N(0, s) of one size s at all POINTS, and these times E[1 / s | a, b]; n s is chi squared.

    With r^2 = a^2 + b^2 and K Bessel's function, E_s[s^-1-k exp(-r^2 / 2 s)] = (n / 2)^(n / 2) / Gamma(n / 2) *
    2 (r / sqrt(n))^v K_v(sqrt(n) r) for v = n / 2 - 1 - k.
    """
    a, b = POINTS
    radius = np.hypot(a[:, None], b)
    area = STEPS[0] * STEPS[1] * np.outer(a, b) / (2 * np.pi)
    if n > MANY:
        law = area * np.exp(-(radius**2) / 2)
        return law, law
    found = []
    for order in (n / 2 - 1, n / 2 - 2):
        r = np.maximum(radius, 1e-6) if order > 2 else radius  # flat there, and its two factors would leave the range
        logs = n / 2 * np.log(n / 2) - gammaln(n / 2) + order * np.log(r / np.sqrt(n)) - np.sqrt(n) * r
        found.append(area * 2 * np.exp(logs) * kve(order, np.sqrt(n) * r))
    return found[0], found[1]
