"""The rates of all gates from the forward mean field: E[phi'^2], E[phi'], products of factors, norms, runs of gates."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import ndtr

from landscape.gates.averaging import ratio
from landscape.gates.composites import beside, factor_squares, gate_of_product, line_of
from landscape.gates.filters import crossings, filters_under_gates
from landscape.gates.forward.alike_positions import Later
from landscape.gates.forward.covariances import gate_products
from landscape.gates.forward.mean_field import MeanField
from landscape.gates.forward.mean_field_rules import of_run, spread
from landscape.gates.forward.signal import Run, Signal, variance_of
from landscape.gates.gates import gate_under, pooled_gates, trunk_gates, unknown_rates
from landscape.gates.gaussian.normal import deviations
from landscape.gates.trunks.rates import trunk_rates
from landscape.gates.windows.united import united
from landscape.prior import Gates, Pooled, Prior
from landscape.structure.arrays import at_pairs, check_room, diagonal_of, levels_of, one_row
from landscape.structure.plan import Axes
from landscape.structure.signs import SIGNAL_NORMS, has_slopes, slopes
from lattice import (
    Activation,
    Add,
    AssumptionError,
    Attention,
    Dropout,
    Multiply,
    Node,
    Norm,
    Op,
    pull_back,
)
from lattice.network.ops import Weighted

__all__ = ["read_under_pool", "theory_gates"]

Array = np.ndarray[Any, Any]
LEAST_TOGETHER = 0.4  # of the rate of a gate: two that are taken as independent may be as much as a factor of 2 apart
SKIPS = np.exp(np.arange(-24.0, 4.0, 0.1))  # deviations at which the signal of a skip is looked at
ONE_EACH = "at pairs of positions its channels differ by one number each, for being too many"
FAR = 2.5  # deviations from the mean to where a gate opens


def theory_gates(prior: Prior, train: bool = False) -> Gates:
    """The rates of all gates from the forward mean field, for a white input: E[phi'^2], products, norms, the trunk law.

    Runs of gates along skips are those of a Markov process: `landscape.gates.trunks.runs`. Maxima of maxima are known twice:
    as they stand, and over the unions of their windows, which is exact.
    """
    gates, joined = _rates(prior, train), united(prior)
    if joined is prior:
        return gates
    over_unions = _rates(joined, train)
    return replace(gates, united=over_unions, notes=over_unions.notes)


def _rates(prior: Prior, train: bool) -> Gates:
    filters = {} if train else filters_under_gates(prior.lattice)
    prior = prior.with_gates(filters=filters)
    unknown = unknown_rates(prior)
    if not unknown:
        return Gates()
    lattice, field = prior.lattice, MeanField(prior, train)
    below = field.sweep(1.0)
    runs, gains, firsts = trunk_rates(field, unknown)
    products: dict[tuple[str, int], Any] = {}
    means: dict[tuple[str, int], Any] = {}
    where = {name: position for position, name in enumerate(lattice.names)}
    for node in unknown.values():
        if isinstance(node.op, Activation) and node.name not in gains:
            special = _gate_of_product(field, where[node.name]) or _gate_over_dropout(field, where[node.name])
            gain, first, places = (*special, None) if special else field.slopes[node.name]
            gains[node.name], firsts[node.name] = gain if places is None else places.spread(gain), (first, places)
        elif isinstance(node.op, Multiply):
            products |= _products(node, field.run(where[node.name]), [below[i] for i in node.inputs], lattice.shapes)
            if field.run(where[node.name]) is None:
                means |= {(node.name, place): below[node.inputs[1 - place]].mean for place in (0, 1)}
        elif isinstance(node.op, Norm) and node.op.kind in SIGNAL_NORMS:
            shape, level = lattice.input_shapes(node)[0], field.known(where[node.name]).level
            gains[node.name] = 1 / (spread(node.op, below[node.inputs[0]], shape, level) + node.op.eps)
    _check_tails(field, unknown, gains)
    _check_skips(field, unknown, gains, runs)
    return Gates(
        gains,
        joint=_joint(field, gains),
        taps=field.taps,
        winners=field.winners,
        notes=field.notes,
        runs=runs,
        source="from the forward mean field",
        firsts=Later(firsts),
        products=products,
        product_means=means,
        beside=_beside(field),
        product_joint=_product_joint(prior, below),
        filters=crossings(field, filters),
        pooled={} if train else {lattice.names[i]: read_under_pool(field, i) for i in pooled_gates(lattice)},
    )


def read_under_pool(field: MeanField, position: int) -> Pooled:
    """What an activation reads that a global average at the head reads, as far down as it is one function of it."""
    lattice, (base, form), run = field.lattice, field.forms[position], field.run(position)
    op = lattice.nodes[position].op
    assert isinstance(op, Activation)
    line: tuple[Any, Any] | None = None if form.gates < 2 or run is None else line_of(form, run.affine)
    if line is None:
        base, line = lattice.nodes[position].inputs[0], slopes(op)
    z = field.found[base]
    power = float(z.power.mean())
    correlation = float(np.clip(z.cross.mean() / power, -1, 1)) if power else 0.0
    return Pooled(lattice.names[base], line, z.power.mean(axis=0), correlation)


def _gate_of_product(field: MeanField, position: int) -> tuple[Array, Array] | None:
    """The gain and the mean slope of a gate over a product of two signals which nothing else reads; None of any other."""
    lattice, (product, form) = field.lattice, field.forms[position]
    op, node = lattice.nodes[position].op, lattice.nodes[product]
    if not isinstance(node.op, Multiply) or form.gates > 1 or (isinstance(op, Activation) and has_slopes(op)):
        return None
    way = position
    while way != product:
        way = lattice.nodes[way].inputs[0]
        if len(lattice.readers[way]) > 1:
            return None
    (first, one), (second, other) = (field.forms[i] for i in node.inputs)
    if not all(isinstance(lattice.nodes[i].op, Weighted) for i in (first, second)):
        return None
    runs = [run for i in (position, *node.inputs) if (run := field.run(i)) is not None]
    affine = {name: part for run in runs for name, part in run.affine.items()}
    z, y = field.found[first], field.found[second]
    laws = z.mean, variance_of(z), y.mean, variance_of(y)
    return gate_of_product(form, (one, other), affine, laws, _common_inputs(field.prior, first, second))


def _gate_over_dropout(field: MeanField, position: int) -> tuple[Array, Array] | None:
    """The gain and the mean slope of a gate phi over d f(z), with d = 0 or 1 / q a dropout in training mode; None of others.

    Where phi and f are piecewise linear with their kink at 0, phi(d f) = d phi(f): what is dropped has no gradient, and
    the rest opens the gate as often as without the dropout, E[phi'^2 f'^2] / E[f'^2]. (The values of f are no Gaussian.)
    """
    node = field.lattice.nodes[position]
    assert isinstance(node.op, Activation)
    below = node.inputs[0]
    while isinstance(field.lattice.nodes[below].op, Dropout):
        below = field.lattice.nodes[below].inputs[0]
    run = field.run(below)
    if below == node.inputs[0] or not field.train or run is None or not run.form.gates or not has_slopes(node.op):
        return None
    if line_of(run.form, run.affine) is None:
        return None
    whole = replace(run.form, kind="gate", op=node.op, parts=(run.form,))
    _, gain, slope = of_run(run._replace(form=whole))
    return gain, slope


def _common_inputs(prior: Prior, *nodes: int) -> float:
    """n = sum p sum q / sum p q of the parts p, q that each input has in two nodes: of how many they share the size.

    Infinite where something below does not grow with the input: a smooth gate, a norm over the signal, a product.
    """
    parts = []
    for position in nodes:
        below = prior.lattice.up_to(position)
        if not all(_grows(node.op) for node in below.nodes):
            return np.inf
        middle = np.zeros((1, *below.output_shape[1:]))  # of all channels
        middle[(0, *(n // 2 for n in below.output_shape[1:]))] = 1.0
        part = pull_back(below, lambda node: prior.variances.get(node.name, 1.0), middle)
        parts.append(np.broadcast_to(part / (part.max() or 1.0), below.input_shape))
    one, other = parts
    return float(one.sum() * other.sum() / (one * other).sum()) if (one * other).any() else np.inf


def _grows(op: Op) -> bool:
    """Is twice the input twice the output?"""
    smooth = isinstance(op, Activation) and not has_slopes(op)
    return not (smooth or isinstance(op, Multiply | Attention) or (isinstance(op, Norm) and op.kind in SIGNAL_NORMS))


def _check_tails(field: MeanField, unknown: Mapping[str, Node], gains: Mapping[str, Any]) -> None:
    """Refuse gates that are nearly always closed, alone or with those right under them."""
    passing: dict[str | None, Any] = {}  # through a gate and those right under it
    for node in unknown.values():
        if isinstance(node.op, Activation):
            under = gate_under(field.lattice, node.inputs[0])
            passing[node.name] = gains[node.name] * passing[under] if under in passing else gains[node.name]
            _check_tail(node, passing[node.name], field)


def _check_tail(node: Node, gain: Array, field: MeanField) -> None:
    """Refuse a gate that is nearly always closed: its rate is a tail, which the size of the signal does not tell.

    At t deviations a relative variance k of that size makes the tail 1 + k t^2 (t^2 - 1) / 8 times as large.
    """
    op = node.op
    assert isinstance(op, Activation)
    steepest = max(slope**2 for slope in slopes(op)) if has_slopes(op) else 1.0
    passed = np.mean(gain)
    if passed >= ndtr(-FAR) * steepest:
        return
    below = field.found[node.inputs[0]]
    far = has_slopes(op) or np.all(below.mean**2 > FAR**2 * (below.power - below.mean**2))
    if far or passed < ndtr(-FAR) ** 2 * steepest:  # a tanh of huge values is open around zero
        raise AssumptionError(
            f"{node.name}: it would open {passed:.1g} of the time for Gaussian values, which is a tail that the size of "
            'the signal does not tell; make its shift smaller, or count with gates="measured"'
        )


def _check_skips(
    field: MeanField, unknown: Mapping[str, Node], gains: Mapping[str, Any], runs: Mapping[tuple[str, str], Array]
) -> None:
    """Refuse gates that are mostly closed where a skip passes the gradient, unless the law of a trunk knows them together.

    Such a skip is a function f of one signal z that is flat on one side and negative on the other: z - relu(z), or the negative
    of a gate over a gate. A gate over f(z) + b is open at random where f is flat, and elsewhere only where b is larger than -f.
    """
    lattice = field.lattice
    for node in unknown.values():
        if not isinstance(node.op, Activation) or not has_slopes(node.op):
            continue
        top = node.inputs[0]
        way = field.run(top)
        top = top if way is None else field.forms[top][0]
        line = None if way is None else line_of(way.form, way.affine)
        if not isinstance(lattice.nodes[top].op, Add) or (way is not None and line is None):
            continue
        turned = -1.0 if line is not None and np.mean(line[1]) < 0 else 1.0
        for term in _terms(field, top):
            below = field.run(term)
            if below is None or not below.form.gates or (gate_under(lattice, term), node.name) in runs:
                continue
            together = _with_skip(node.op, turned, field.found[top], field.found[term], below)
            if together is not None and together < LEAST_TOGETHER * np.mean(gains[node.name]):
                raise AssumptionError(
                    f"{node.name}: it reads a sum with {lattice.nodes[term].name}, which has gates of its own and is negative "
                    f"where it lets the gradient through; there it is open {together:.1g} of the time, not "
                    f"{np.mean(gains[node.name]):.1g}, which has no rule here. Give the skip one gate, or none"
                )


def _terms(field: MeanField, position: int) -> Iterator[int]:
    """What a sum adds up, of functions of several signals."""
    for i in field.lattice.nodes[position].inputs:
        if isinstance(field.lattice.nodes[i].op, Add) and field.forms[i][0] == i:
            yield from _terms(field, i)
        else:
            yield i


def _with_skip(op: Activation, turned: float, whole: Signal, own: Signal, skip: Run) -> float | None:
    """E[phi'^2 f'^2] / E[f'^2] of a gate over +-(f(z) + b), f piecewise linear with its kink at 0; None of others."""
    line = line_of(skip.form, skip.affine)
    if line is None:
        return None
    down, up = (float(np.mean(slope)) for slope in line)
    (mean, variance), (shift, rest) = ((float(np.mean(z.mean)), float(np.mean(variance_of(z)))) for z in (skip.base, whole))
    shift, rest = shift - float(np.mean(own.mean)), max(rest - float(np.mean(variance_of(own))), 0.0)
    x = np.concatenate([-SKIPS[::-1], SKIPS])
    z = mean + np.sqrt(variance) * x
    slope = np.where(z < 0, down, up)
    open_ = ndtr(deviations(turned * (slope * z + shift), np.sqrt(rest)))
    masses = np.exp(-(x**2) / 2) * np.abs(x) * slope**2
    closed, opened = (one**2 for one in slopes(op))
    passed = masses * (closed + (opened - closed) * open_)
    return float(passed.sum() / masses.sum()) if masses.any() else None


def _joint(field: MeanField, gains: Mapping[str, Any]) -> dict[str, Array]:
    """E[phi'(z) phi'(z')] of gates at the pairs of positions that the sweep from above carries.

    At one position it is the gain, which a gate of a trunk has from its run: what two have in common is that of Gaussians.
    """
    found, trunk = {}, trunk_gates(field.lattice)
    for (a, b), axes in field.prior.plan.carried.items():
        node = field.lattice.nodes[a]
        if a == b and isinstance(node.op, Activation) and not all(pairs.is_diagonal for pairs in axes):
            below = node.inputs[0]
            if below in field.products and field.known(a).run is None:
                joint = gate_products(node.op, field.found[below], field.products[below], field.signs_of_runs[below], axes)
                gain = np.asarray(gains[node.name])
                if joint is not None and node.name not in trunk and levels_of(gain, axes) is not None:
                    field.notes[node.name] = (*field.notes.get(node.name, ()), ONE_EACH)
                    joint, gain = (part.mean(axis=0, keepdims=True) for part in (joint, gain))
                if joint is not None:
                    found[node.name] = _with_gains(joint, gain, axes)
    return found


def _with_gains(joint: Array, gain: Any, axes: Axes) -> Array:
    """The same correlations at pairs of positions, with these values at pairs of one position."""
    spatial = tuple(pairs.left for pairs in axes)
    own = diagonal_of(joint, axes)
    if own.shape[1:] != spatial:
        return joint
    gain = np.broadcast_to(gain, (np.shape(gain)[0] if np.ndim(gain) > len(spatial) else 1, *spatial))
    left, right = at_pairs(np.sqrt(ratio(gain, own)), axes)
    return joint * left * right


def _beside(field: MeanField) -> dict[tuple[str, str], Array]:
    """The mean slopes of gates for paths beside others that go through lower gates of the same run."""
    found = {}
    nodes = field.lattice.nodes
    for step in field.prior.plan.steps:
        node = nodes[step.node]
        other = None if step.side is None else step.source[1 - step.side]
        run = None if other is None or not isinstance(node.op, Activation) else field.known(step.node).run
        if run is not None and other is not None:
            base, part = field.forms[other]
            below = field.run(other)
            if below is not None and base == field.forms[step.node][0] and part.gates:
                law = run.base.mean, variance_of(run.base)
                found[node.name, nodes[other].name] = beside(run.form, part, {**run.affine, **below.affine}, *law)
    return found


def _products(
    node: Node, run: Run | None, below: list[Signal], shapes: tuple[tuple[int, ...], ...]
) -> dict[tuple[str, int], Array]:
    """E[g^2] of what multiplies each of the two inputs, over the positions of the product."""
    spatial = np.broadcast_shapes(*(shapes[i][1:] for i in node.inputs))
    if run is not None:
        factors = factor_squares(run.form, run.affine, run.base.mean, variance_of(run.base))
    else:
        factors = (below[1].power, below[0].power)
    return {(node.name, place): np.broadcast_to(one, (len(one), *spatial)) for place, one in enumerate(factors)}


def _product_joint(prior: Prior, below: Sequence[Signal]) -> dict[tuple[str, int], Array]:
    """E[g g'] of the factors at pairs of positions: what inputs share, positions do too, and one cell is the same at all."""
    lattice, found = prior.lattice, {}
    for (a, b), axes in prior.plan.carried.items():
        node = lattice.nodes[a]
        if a == b and isinstance(node.op, Multiply) and not all(pairs.is_diagonal for pairs in axes):
            for place in (0, 1):
                factor = node.inputs[1 - place]
                alone = all(n == 1 for n in lattice.shapes[factor][1:])
                found[node.name, place] = _at_pairs(below[factor], alone, lattice.shapes[a][1:], axes)
    return found


def _at_pairs(factor: Signal, alone: bool, spatial: tuple[int, ...], axes: Axes) -> Array:
    if levels_of(factor.power, axes) is not None:
        factor = Signal(*(part.mean(axis=0, keepdims=True) for part in factor))
    if alone:
        power = one_row(factor.power)
        power = power.reshape(len(power), *(1 for _ in axes))
        return np.broadcast_to(power, (len(power), *map(len, axes)))
    power, level = one_row(factor.power), one_row(np.sqrt(factor.cross))
    rows = max(len(power), len(level))
    power, level = (np.broadcast_to(part, (rows, *spatial)) for part in (power, level))
    check_room(rows, axes)
    left, right = at_pairs(level, axes)
    found = left * right
    same: tuple[Any, ...] = np.ix_(*(np.flatnonzero(pairs.first == pairs.second) for pairs in axes))
    cells = np.ix_(*(pairs.first[pairs.first == pairs.second] for pairs in axes))
    found[(slice(None), *same)] = power[(slice(None), *cells)]
    return found
