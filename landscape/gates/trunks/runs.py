r"""Whole runs of gates along a trunk: a_{l+1} = c phi(a_l) + b_l is a Markov process of one unit in the wide limit.

b_l, the branches beside the skip, is Gaussian and independent of a_l, since fresh weights stand between. The law of the first
gate's a is a normal density; one step takes a density f to

    f'(y) = int f(x) n((y - c phi(x) - m) / w) / w dx,

and E[prod phi'(a)^2] over a run from gate s up to gate u is the mass that is left of the law at s when it is multiplied by
phi'^2 at every gate. Between the kinks of phi all of these are smooth: the integrals are Gauss-Legendre sums over the panels
that the kinks cut, with so many points that the narrowest of the densities on a panel is told to 1e-7. Where phi' is zero,
and at the last gate where it is constant, the mass of the panel is enough, which is a difference of normal distribution
functions.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from landscape.gates.activations import gate_moments
from landscape.gates.averaging import alike_rows, ratio
from landscape.gates.functions import Curve, curve
from landscape.gates.gates import Skip
from landscape.gates.gaussian.normal import deviations, quadrant
from landscape.gates.trunks.few_cases import from_few_cases
from landscape.gates.trunks.few_positions import from_few_positions
from landscape.structure.signs import has_slopes
from lattice import Activation, UnsupportedError

__all__ = ["Step", "chains", "pair_of_gates", "run_rates"]

Array = np.ndarray[Any, Any]
MOST_CASES = 200_000  # about 20 microseconds each
REACH = 6.0  # deviations beyond which nothing is kept: 2e-9
POINTS = 4.0, 1.0  # of a panel: so many, and so many for each deviation of the narrowest density on it
GROWTH = 1.4  # of the number of points, from one group of cases to the next
NARROW = 400.0  # deviations on a panel: a branch that is smaller is taken as of that size, or as absent, whichever is nearer
CONSTANT = 1e-9  # of its mean: what deviates by less is taken as deviating by that
ROOM = 2**20  # entries of the matrices of a step that are made at one time


class Step(NamedTuple):
    """From one gate of a trunk to the next: its scale c, and the mean m and the variance w^2 of the branches."""

    scale: Array
    mean: Array
    variance: Array


def chains(links: Sequence[Skip]) -> list[list[Skip]]:
    """The skips in runs, each from its lowest gate up; those of a gate with several skips above or below it, one by one."""
    above: dict[str, list[Skip]] = {}
    below: dict[str, list[Skip]] = {}
    for link in links:
        above.setdefault(link.lower, []).append(link)
        below.setdefault(link.upper, []).append(link)

    def alone(gate: str) -> bool:
        return len(above.get(gate, ())) == 1 and len(below.get(gate, ())) == 1

    found = []
    for link in links:
        if not alone(link.lower):
            chain = [link]
            while alone(chain[-1].upper):
                chain += above[chain[-1].upper]
            found.append(chain)
    return found


def run_rates(
    gates: Sequence[Activation], mean: Array, variance: Array, steps: Sequence[Step], *, averaged: bool = False
) -> tuple[dict[tuple[int, int], Array], list[Array]]:
    """E[prod phi'^2] by the numbers of the lowest and the highest gate of a run, and E[phi'] of every gate.

    `mean` and `variance` are those of what the first gate reads, (channels or 1, *spatial). `averaged`: of runs of several
    gates only the mean over channels, (1, *spatial).

    >>> relu, one = Activation("relu"), np.ones(1)
    >>> rates, _ = run_rates([relu] * 3, 0 * one, one, [Step(one, 0 * one, 0 * one)] * 2)
    >>> # nothing is added: what was open stays open
    >>> [float(rates[0, u][0].round(4)) for u in range(3)]
    [0.5, 0.5, 0.5]
    """
    count = len(gates)
    runs, single = [(s, u) for u in range(count) for s in range(u)], [(u, u) for u in range(count)]
    curves = [curve(gate) for gate in gates]

    def computed(cases: Array) -> Array:
        first, which = alike_rows([cases])
        if len(first) > MOST_CASES:
            raise UnsupportedError(
                f"{len(first)} units that differ along a trunk of {count} gates; at most {MOST_CASES} are looked at"
            )
        return _all_rates(curves, cases[first])[which]

    def each(*numbers: Array) -> tuple[Array, ...]:
        cases = np.stack(numbers, axis=-1).reshape(len(numbers[0]), -1, len(numbers))
        found = from_few_cases(computed, cases, partial(_as_gaussians, gates))
        return tuple(np.moveaxis(found.reshape(*numbers[0].shape, -1), -1, 0))

    law = (mean, np.maximum(variance, 0), *(part for step in steps for part in step))
    found = from_few_positions(each, *law, averaged=len(runs) if averaged else 0)
    rates, firsts = dict(zip([*runs, *single], found[:-count], strict=True)), list(found[-count:])
    if [gate.name for gate in gates[:2]] == ["relu", "relu"] and (steps[0].scale >= 0).all():  # closed
        scale, added, spread = steps[0]
        pair = (scale * mean, scale**2 * variance, spread, added)
        rates[0, 1], rates[1, 1] = from_few_positions(pair_of_gates, *pair, averaged=int(averaged))
        firsts[1] = rates[1, 1]
    return rates, firsts


def _as_gaussians(gates: Sequence[Activation], cases: Array) -> tuple[Array, Array]:
    """What the rates depend on, and what they are where every a_l is taken as Gaussian and independent of the others.

    The features: mean / deviation of each a_l and the correlation of each with the next; for gates that know a scale the
    logarithms of the deviations too.
    """
    mean, variance, *steps = cases.T
    features, gains, firsts = [], [], []
    for number, gate in enumerate(gates):
        deviation = np.sqrt(variance)
        with np.errstate(divide="ignore", invalid="ignore"):
            features.append(mean / deviation)
            if not has_slopes(gate):
                features.append(np.log(deviation))
        value, power, _, gain, first = gate_moments(gate, mean, variance, np.zeros(()))
        gains.append(gain)
        firsts.append(first)
        if number == len(gates) - 1:
            break
        scale, added, rest = steps[3 * number : 3 * number + 3]
        mean, variance = scale * value + added, scale**2 * np.maximum(power - value**2, 0) + rest
        features.append(ratio(scale * first * deviation, np.sqrt(variance)))
    runs = [np.prod(gains[s : u + 1], axis=0) for u in range(len(gates)) for s in range(u)]
    return np.stack(features, axis=1), np.stack([*runs, *gains, *firsts], axis=1)


class _Stage(NamedTuple):
    """One gate of every case: its curve, where what it reads lies, and the deviation of what was added last, (cases,) each.

    `narrowest`: the deviation of the narrowest density that is summed over there.
    """

    gate: Curve
    low: Array
    high: Array
    deviation: Array
    narrowest: Array


def _all_rates(gates: list[Curve], cases: Array) -> Array:
    """E[prod phi'^2] of runs, E[phi'^2] and E[phi'] of gates, (cases, runs and gates): cases that are alike at one time."""
    first, steps = cases[:, :2], cases[:, 2:].reshape(len(cases), -1, 3)
    stages = _stages(gates, first, steps)
    points = np.max([_points(stage, stage.high - stage.low) for stage in stages], axis=0)
    alike = np.ceil(np.log(points) / np.log(GROWTH)).astype(np.int64)
    for stage in stages:
        alike = 2 * alike + (stage.deviation > 0)
    kinds, which = np.unique(alike, return_inverse=True)
    found = np.empty((len(cases), len(gates) * (len(gates) + 3) // 2))
    for kind in range(len(kinds)):
        members = np.flatnonzero(which.ravel() == kind)
        size = max(1, int(ROOM / points[members].max() ** 2))
        for part in np.split(members, range(size, len(members), size)):
            own = [_Stage(gate, *(numbers[part] for numbers in rest)) for gate, *rest in stages]
            found[part] = _rates(own, first[part, 0], steps[part])
    return found


def _stages(gates: list[Curve], first: Array, steps: Array) -> list[_Stage]:
    """Where the law of each gate lies: as far as a start, or a value that a kink leaves, is spread by what is added later."""
    # nothing, or a constant: something small of both signs
    deviation = np.maximum(np.sqrt(np.maximum(first[:, 1], np.finfo(float).tiny)), CONSTANT * np.abs(first[:, 0]))
    parts = [(first[:, 0], deviation)]
    stages = []
    for number, gate in enumerate(gates):
        low = np.min([middle - REACH * spread for middle, spread in parts], axis=0)
        high = np.max([middle + REACH * spread for middle, spread in parts], axis=0)
        if number:
            least = (high - low) / 2 / NARROW
            deviation = np.where(deviation < least / 2, 0.0, np.maximum(deviation, least))
        stages.append(_Stage(gate, low, high, deviation, deviation))
        if number == len(gates) - 1:
            break
        scale, added, deviation = steps[:, number, 0], steps[:, number, 1], np.sqrt(steps[:, number, 2])
        steepest = np.abs(scale) * _steepest(stages[-1])
        parts = [(scale * gate.value(middle) + added, np.hypot(steepest * spread, deviation)) for middle, spread in parts]
        for kink in gate.kinks:
            inside = (low < kink) & (kink < high)
            there = scale * gate.value(np.array(kink)) + added
            parts.append((np.where(inside, there, parts[0][0]), np.where(inside, deviation, parts[0][1])))
    return _resolved(stages, steps)


def _steepest(stage: _Stage) -> Array:
    x = np.linspace(stage.low, stage.high, 33)
    return np.asarray(np.abs(stage.gate.slope(x)).max(axis=0))


def _resolved(stages: list[_Stage], steps: Array) -> list[_Stage]:
    """The stages with the narrowest of two densities: of what was added below, and of the next step, seen from here."""
    found: list[_Stage] = []
    above: Any = 0.0  # 1 / deviation^2
    for number in reversed(range(len(stages))):
        stage = stages[number]
        if number < len(stages) - 1:
            deviation = stages[number + 1].deviation
            kernel = np.where(deviation > 0, ratio(1.0, deviation**2), above)
            above = kernel * (steps[:, number, 0] * _steepest(stage)) ** 2
        found.insert(0, stage._replace(narrowest=np.sqrt(ratio(1.0, ratio(1.0, stage.deviation**2) + above))))
    return found


def _points(stage: _Stage, length: Array) -> Array:
    """How many points a panel of this length needs."""
    least, each = POINTS
    return np.asarray(least + each * ratio(length, stage.narrowest))


def _edges(stage: _Stage, more: Sequence[Array] = ()) -> Array:
    """The edges of the panels, in order: where the gate bends, and further points, as far as the law reaches."""
    reach = float(max(np.abs(stage.low).max(), np.abs(stage.high).max()))
    cuts = [*np.broadcast_to(stage.gate.cuts(reach)[:, None], (len(stage.gate.cuts(reach)), len(stage.low))), *more]
    inner = [np.clip(cut, stage.low, stage.high) for cut in cuts]
    return np.sort(np.stack([stage.low, *inner, stage.high], axis=1), axis=1)


def _rates(stages: list[_Stage], start: Array, steps: Array) -> Array:
    """The rates of cases in all of which the same branches are absent."""
    x, masses = start[:, None], np.ones((len(start), 1, 1))  # of the law and of each run, (cases, runs, points)
    value = x
    runs, single, firsts = [], [], []
    for u, stage in enumerate(stages):
        if (stage.deviation > 0).all():
            x, masses = _step(stages[u:], steps[:, u:], value, masses)
        else:
            x = value
        slope = stage.gate.slope(x)
        firsts.append((masses[:, 0] * slope).sum(axis=1))
        masses = np.concatenate([masses, masses[:, :1]], axis=1)  # a run begins here
        masses[:, 1:] *= (slope**2)[:, None]
        *rates, alone = masses[:, 1:].sum(axis=2).T
        runs += rates
        single.append(alone)
        if u < len(stages) - 1:
            value = steps[:, u, :1] * stage.gate.value(x) + steps[:, u, 1:2]
    return np.stack([*runs, *single, *firsts], axis=1)


def _step(stages: list[_Stage], steps: Array, value: Array, masses: Array) -> tuple[Array, Array]:
    """The points of the lowest of these gates, (cases, points), and their masses, (cases, runs, points), from those of values.

    Where the slope is constant and nothing else of the function is read, a panel is one point with all its mass.
    """
    stage, last = stages[0], len(stages) == 1
    edges = _edges(stage, _kinks_above(stages, steps))
    xs, found = [], []
    panels = [p for p in range(edges.shape[1] - 1) if (edges[:, p + 1] > edges[:, p]).any()]
    deviation, centre = stage.deviation[:, None], (stage.low + stage.high)[:, None] / 2
    from_centre = (value - centre) / deviation
    squares = np.stack([from_centre, np.ones_like(value), -(from_centre**2) / 2], axis=2)
    for panel in panels:
        low, high = edges[:, panel, None], edges[:, panel + 1, None]
        middle, half = (low + high) / 2, (high - low) / 2
        inside = stage.gate.slope(middle + half * np.array([-0.9, 0.3, 0.8]))
        if (inside == inside[:, :1]).all() and (last or not inside.any()):
            # all that lies further out belongs to the outermost
            reached = 1.0 if panel == panels[-1] else ndtr((high - value) / deviation)
            before = 0.0 if panel == panels[0] else ndtr((low - value) / deviation)
            found.append(masses @ np.broadcast_to(reached - before, value.shape)[:, :, None])
            xs.append(middle)
        else:
            most = float(_points(stage, (high - low)[:, 0]).max())
            nodes, weights = _gauss_legendre(8 * ceil(most / 8))
            x = middle + half * nodes
            own = (x - centre) / deviation
            # -(x - value)^2 / 2 deviation^2, multiplied out, as a product of matrices
            exponent = squares @ np.stack([own, -(own**2) / 2, np.ones_like(own)], axis=1)
            density = masses @ np.exp(exponent, out=exponent)
            density *= (half / deviation / np.sqrt(2 * np.pi) * weights)[:, None, :]
            xs.append(x)
            found.append(density)
    return np.concatenate(xs, axis=1), np.concatenate(found, axis=2)


@lru_cache(maxsize=128)
def _gauss_legendre(points: int) -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(points)


def _kinks_above(stages: list[_Stage], steps: Array) -> list[Array]:
    """What the lowest gate reads where one above has a kink, as long as nothing is added between, for slopes about zero."""
    found: list[Array] = []
    for number in range(1, len(stages)):
        below = [stage.gate for stage in stages[:number]]
        if stages[number].deviation.any() or any(gate.kinks != (0.0,) or gate.width for gate in below):
            break
        levels = [np.full(len(steps), kink) for kink in stages[number].gate.kinks]
        for gate, (scale, added, _) in zip(reversed(below), reversed(np.moveaxis(steps[:, :number], 0, -1)), strict=True):
            slopes = gate.slope(np.array([-1.0, 1.0])).tolist()
            read = [ratio(level - added, scale * slope) for level in levels for slope in slopes]
            levels = [np.where(one * side > 0, one, 0.0) for one, side in zip(read, (-1, 1) * len(levels), strict=True)]
        found += levels
    return found


def pair_of_gates(mean: Array, variance: Array, rest: Array, branch: Any = 0.0) -> tuple[Array, Array]:
    """P(z > 0, a > 0) and P(a > 0) for a = relu(z) + b, z ~ N(mean, variance), b ~ N(branch, rest).

    P(z > 0, z + b > 0) is that of two Gaussians of deviations s and sqrt(s^2 + w^2) and correlation s / sqrt(s^2 + w^2).
    """
    s, w = (np.sqrt(np.maximum(size, 0.0)) for size in (variance, rest))
    whole = np.hypot(s, w)
    h, k = deviations(mean, s), deviations(mean + branch, whole)
    share = np.divide(s, whole, out=np.ones(np.shape(whole)), where=whole > 0)
    beside = np.divide(w, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    both = quadrant(h, k, share, beside)
    beside_alone = np.where((w == 0) & (branch == 0), 0.0, ndtr(deviations(branch + 0 * w, w)))
    return both, both + ndtr(-h) * beside_alone
