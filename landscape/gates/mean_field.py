r"""The forward mean field: the size of the signal at every position, for white input and wide layers.

    power(u) = E[h_u(x)^2],    cross(u) = E[h_u(x) h_u(x')],    mean(u) = E[h_u(x)],

over weights and over independent inputs x, x' of mean zero. Fresh weights sum them: power(j) = V sum over the taps inside
and the channels of power(i), so that zero padding makes the border weaker. Gates act on Gaussians
(`landscape.gates.activations`). What does not differ between inputs (cross) stands for what does not differ between positions
either: in an average over positions, E[h_p h_q] is taken as sqrt(cross_p cross_q), which leaves out that neighbours read some
of the same inputs. A gate over a skip is taken as a Gaussian with the mean and variance of the sum; a maximum as that of
independent values.
"""

from typing import Any

import numpy as np
from scipy.special import ndtr, owens_t

from landscape.gates.activations import deviations, gaussian_moments, mean_slope
from landscape.gates.averaging import pointwise
from landscape.gates.composites import Affine, factor_squares, forms
from landscape.gates.gates import Skip, skips, unknown_rates
from landscape.gates.mean_field_rules import Known, Run, Signal, batch_variance, gaussian, of_run, passed, spread
from landscape.prior import Gates, Prior
from landscape.structure.plan import Axes
from landscape.structure.signs import SIGNAL_NORMS, node_signs
from lattice import Activation, Input, Multiply, Node, Norm, UnsupportedError

__all__ = ["Signal", "batch_variance", "signals", "theory_gates"]

Array = np.ndarray[Any, Any]


def signals(prior: Prior, *, input_power: float = 1.0, train: bool = False) -> tuple[Signal, ...]:
    """power, cross and mean of every node's output, in the order of the nodes; see the head of this file.

    `input_power` is that of the white input. With `train`, batch norms divide by the variance over a large batch of white
    inputs. Raises `UnsupportedError` for an op without a rule.

    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 4), [Conv(8, 3, padding=1), Activation("relu")])
    >>> signals(Prior(net, {"conv1": 2 / 3}))[-1].power.round(3)
    array([[0.667, 1.   , 1.   , 0.667]])
    >>> signals(Prior(net, {"conv1": 2 / 3}, shifts={"conv1": (-2.0, 0.0)}))[-1].mean.round(3)
    array([[0.02, 0.05, 0.05, 0.02]])
    """
    return tuple(_Field(prior, train).sweep(input_power))


class _Field:
    """One forward sweep: the signals so far, and each node as a pointwise function of one below it."""

    def __init__(self, prior: Prior, train: bool) -> None:
        lattice = prior.lattice
        self.prior, self.lattice, self.train = prior, lattice, train
        self.forms = forms(lattice, train)
        self.nodes = dict(zip(lattice.names, lattice.nodes, strict=True))
        self.axes = {name: len(shape) - 1 for name, shape in zip(lattice.names, lattice.shapes, strict=True)}
        turned = {name for name, (mean, _) in prior.shifts.items() if np.any(mean)}
        self.symmetry = node_signs(lattice, turned, prior.signs)
        self.found: list[Signal] = []

    def sweep(self, input_power: float) -> list[Signal]:
        for position, node in enumerate(self.lattice.nodes):
            if isinstance(node.op, Input):
                full = np.full((1, *node.op.shape[1:]), input_power)
                self.found.append(Signal(full, np.zeros_like(full), np.zeros_like(full)))
                continue
            try:
                self.found.append(passed(node.op, self._known(position), [self.found[i] for i in node.inputs]))
            except UnsupportedError as error:
                raise UnsupportedError(f"{node.name}: {error}") from error
        return self.found

    def _known(self, position: int) -> Known:
        node = self.lattice.nodes[position]
        below = node.inputs[0]
        _, form = self.forms[position]
        compound = form.kind in ("times", "plus") or form.gates > 1
        return Known(
            self.prior.variances.get(node.name, 1.0),
            self._factor(node),
            self.lattice.input_shapes(node),
            self.train,
            self._sign(node),
            self._shift(node),
            self.symmetry[below],
            self.run(position) if compound else None,
            self.run(below),
        )

    def scale(self, skip: Skip) -> Any:
        """gamma / sigma of the norms between the lower gate of a skip and its sum.

        None where a sign, a shift or the statistics of a batch take part: for them the law of two gates has no closed form.
        """
        scale: Any = 1.0
        for name in (*skip.under, *skip.over):
            norm = self.nodes[name]
            of_batch = self.train and isinstance(norm.op, Norm) and norm.op.kind == "batch"
            if of_batch or np.any(self._shift(norm)[0]) or np.any(self._sign(norm) < 0):
                return None
            if name in skip.under:
                scale = scale * np.sqrt(self._factor(norm))
        return scale

    def run(self, position: int) -> Run | None:
        """The node as a pointwise function of one below it, if it is one."""
        base, form = self.forms[position]
        if base == position:
            return None
        norms = [self.nodes[name] for name in form.norms]
        affine = {norm.name: Affine(np.sqrt(self._factor(norm)) * self._sign(norm), self._shift(norm)[0]) for norm in norms}
        return Run(form, affine, self.found[base])

    def _factor(self, node: Node) -> Array:
        return self._each(node, self.prior.factors.get(node.name, 1.0))

    def _sign(self, node: Node) -> Array:
        return self._each(node, self.prior.signs.get(node.name, 1.0))

    def _shift(self, node: Node) -> tuple[Array, Array]:
        mean, variance = self.prior.shifts.get(node.name, (0.0, 0.0))
        return self._each(node, mean), self._each(node, variance)

    def _each(self, node: Node, values: Any) -> Array:
        """A number, or one per channel, over (channels or 1, *spatial) of what the node gives."""
        array = np.asarray(values, dtype=float)
        return array.reshape(-1, *(1,) * self.axes[node.name]) if array.ndim <= 1 else array


def theory_gates(prior: Prior, train: bool = False) -> Gates:
    """The rates of all gates from the forward mean field, for a white input: E[phi'^2], products, norms, the trunk law.

    Along a skip, a = h + b with h = phi(z): P(both gates open) is the integral of P(b > -h) over the law of z.
    """
    unknown = unknown_rates(prior)
    if not unknown:
        return Gates()
    lattice, field = prior.lattice, _Field(prior, train)
    below = field.sweep(1.0)
    gains: dict[str, Any] = {}
    firsts: dict[str, Any] = {}
    products: dict[tuple[str, int], Any] = {}
    where = {name: position for position, name in enumerate(lattice.names)}
    for node in unknown.values():
        if isinstance(node.op, Activation):
            gains[node.name], firsts[node.name] = _gate(node.op, field.run(where[node.name]), below[node.inputs[0]])
        elif isinstance(node.op, Multiply):
            products |= _products(node, field.run(where[node.name]), [below[i] for i in node.inputs], lattice.shapes)
        elif isinstance(node.op, Norm) and node.op.kind in SIGNAL_NORMS:
            gains[node.name] = 1 / (spread(node.op, below[node.inputs[0]], lattice.input_shapes(node)[0]) + node.op.eps)
    runs: dict[tuple[str, str], Array] = {}
    for skip in skips(lattice):
        lower, upper = skip.lower, skip.upper
        scale = field.scale(skip)
        if {unknown[lower].op, unknown[upper].op} == {Activation("relu")} and scale is not None:
            mean, variance, _ = gaussian(below[unknown[lower].inputs[0]])
            branch = below[where[skip.top]].mean - scale * below[where[lower]].mean
            # of the branches beside the skip
            rest = gaussian(below[where[skip.top]])[1] - scale**2 * gaussian(below[where[lower]])[1]
            gains[upper], runs[lower, upper] = pointwise(_skip, scale * mean, scale**2 * variance, rest, branch)
            firsts[upper] = gains[upper]
    joint = _product_joint(prior, below)
    source = "from the forward mean field"
    return Gates(gains, runs=runs, source=source, firsts=firsts, products=products, product_joint=joint)


def _gate(op: Activation, run: Run | None, below: Signal) -> tuple[Array, Array]:
    """E[phi'^2] and E[phi'], given the gates of the same run below it."""
    if run is not None and run.form.gates > 1:
        _, gain, slope = of_run(run)
        return gain, slope
    mean, variance, correlation = gaussian(below)
    return gaussian_moments(op, mean, variance, correlation)[3], mean_slope(op, mean, variance)


def _products(
    node: Node, run: Run | None, below: list[Signal], shapes: tuple[tuple[int, ...], ...]
) -> dict[tuple[str, int], Array]:
    """E[g^2] of what multiplies each of the two inputs, over the positions of the product."""
    spatial = np.broadcast_shapes(*(shapes[i][1:] for i in node.inputs))
    if run is not None:
        mean, variance, _ = gaussian(run.base)
        factors = factor_squares(run.form, run.affine, mean, variance)
    else:
        factors = (below[1].power, below[0].power)
    return {(node.name, place): np.broadcast_to(one, (len(one), *spatial)) for place, one in enumerate(factors)}


def _product_joint(prior: Prior, below: list[Signal]) -> dict[tuple[str, int], Array]:
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
    power, level = (np.broadcast_to(part, (len(part), *spatial)) for part in (factor.power, np.sqrt(factor.cross)))
    first, second = ((slice(None), *np.ix_(*(getattr(pairs, side) for pairs in axes))) for side in ("first", "second"))
    if alone:
        return power[first]
    same = np.ones(())
    for pairs in axes:
        same = np.multiply.outer(same, pairs.first == pairs.second)
    return np.where(same, power[first], level[first] * level[second])


def _skip(mean: Array, variance: Array, rest: Array, branch: Any = 0.0) -> tuple[Array, Array]:
    """P(a > 0) and P(z > 0, a > 0) for a = relu(z) + b, z ~ N(mean, variance), b ~ N(branch, rest).

    P(z > 0, z + b > 0) is that of two Gaussians of deviations s and sqrt(s^2 + w^2) and correlation s / sqrt(s^2 + w^2).
    """
    s, w = (np.sqrt(np.maximum(size, 0.0)) for size in (variance, rest))
    whole = np.hypot(s, w)
    h, k = deviations(mean, s), deviations(mean + branch, whole)
    share = np.divide(s, whole, out=np.ones(np.shape(whole)), where=whole > 0)
    beside = np.divide(w, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    both = _quadrant(h, k, share, beside)
    beside_alone = np.where((w == 0) & (branch == 0), 0.0, ndtr(deviations(branch + 0 * w, w)))
    return both + ndtr(-h) * beside_alone, both


def _quadrant(h: Array, k: Array, r: Array, rest: Array) -> Array:
    """P(x > -h, y > -k) for standard Gaussians of correlation r, rest = sqrt(1 - r^2); Owen 1956, his Eq. 2.1."""

    def wedge(a: Array, b: Array) -> Array:
        """T(a, (b / a - r) / rest); at a = 0, or without rest, the limit."""
        top, bottom = b - r * a, a * rest
        slope = np.divide(
            top, bottom, out=np.where(top == 0, 0.0, np.copysign(np.inf, top * np.where(a < 0, -1.0, 1.0))), where=bottom != 0
        )
        return np.asarray(owens_t(a, slope))

    apart = (h * k < 0) | ((h * k == 0) & (h + k < 0))
    general = (ndtr(h) + ndtr(k)) / 2 - wedge(h, k) - wedge(k, h) - apart / 2
    return np.where((h == 0) & (k == 0), 1 / 4 + np.arctan2(r, rest) / (2 * np.pi), general)
