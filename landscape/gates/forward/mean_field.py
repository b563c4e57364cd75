r"""The forward mean field: the size of the signal at every position, for white input and wide layers.

    power(u) = E[h_u(x)^2],    cross(u) = E[h_u(x) h_u(x')],    mean(u) = E[h_u(x)],

over weights and over independent inputs x, x' of mean zero. Fresh weights sum them: power(j) = V sum over the taps inside
and the channels of power(i), so that zero padding makes the border weaker. Gates act on Gaussians
(`landscape.gates.activations`). What does not differ between inputs (cross) stands for what does not differ between positions
either: in an average over positions, E[h_p h_q] is taken as sqrt(cross_p cross_q), which leaves out that neighbours read some
of the same inputs. A gate over a skip is taken as a Gaussian with the mean and variance of the sum; a maximum as that of
independent values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from scipy.special import ndtr

from landscape.gates.composites import Affine, factor_squares, forms
from landscape.gates.forward.alike_positions import Signals, Thin, thinned, together
from landscape.gates.forward.covariances import Passing, Product, at_pairs, by_run, gate_products, passed_pairs
from landscape.gates.forward.levels import aligned, level_of_pairs, level_of_weights
from landscape.gates.forward.maxima import check_few, fields, maximum, pairs_of_maxima, winners_of_pairs
from landscape.gates.forward.mean_field_rules import batch_variance, gate, passed, spread
from landscape.gates.forward.runs import Step, chains, run_rates
from landscape.gates.forward.signal import Known, Level, Run, Signal, gaussian
from landscape.gates.gates import Skip, gate_under, gates_below, skips, unknown_rates
from landscape.gates.windows.pairs_of_winners import Winners
from landscape.gates.windows.pools import simulate, symmetric, windows, with_moments
from landscape.gates.windows.united import united
from landscape.prior import Gates, Prior, even
from landscape.structure.arrays import check_room, one_row
from landscape.structure.channel_runs import channel_runs
from landscape.structure.forward_pairs import asked_pairs, on_diagonal, with_nearer_pairs
from landscape.structure.joint_pairs import filters_as_positions
from landscape.structure.pairs import everything
from landscape.structure.plan import Axes
from landscape.structure.signs import SIGNAL_NORMS, has_slopes, run_signs, slopes
from landscape.structure.symmetry import Symmetries, symmetries
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    AssumptionError,
    Dropout,
    GlobalPool,
    Input,
    Multiply,
    Node,
    Norm,
    Op,
    Pool,
    UnsupportedError,
)
from lattice.network.ops import Weighted, WeightedWindow, Windowed

__all__ = ["Signal", "batch_variances", "signals", "theory_gates"]

Array = np.ndarray[Any, Any]


def signals(prior: Prior, *, input_power: float = 1.0, train: bool = False, pairs: bool = True) -> Sequence[Signal]:
    """power, cross and mean of every node's output, in the order of the nodes; see the head of this file.

    `input_power` is that of the white input. With `train`, batch norms divide by the variance over a large batch of white
    inputs. Without `pairs`, the cells of a max-pool's window are taken as alike and independent: a fraction of the time. Raises
    `UnsupportedError` for an op without a rule.

    >>> from lattice import Conv, Lattice
    >>> net = Lattice.chain((1, 4), [Conv(8, 3, padding=1), Activation("relu")])
    >>> signals(Prior(net, {"conv1": 2 / 3}))[-1].power.round(3)
    array([[0.667, 1.   , 1.   , 0.667]])
    >>> signals(Prior(net, {"conv1": 2 / 3}, shifts={"conv1": (-2.0, 0.0)}))[-1].mean.round(
    ...     3
    ... )
    array([[0.02, 0.05, 0.05, 0.02]])
    """
    return _Field(prior, train, pairs).sweep(input_power)


FAR = 3.0  # deviations from the mean to where a gate opens
MOST_PAIRS = 2**18  # of positions, the products of which two inputs have are followed
MOST_ZEROS = 0.5  # of the cells that a maximum reads: padding has less
UNLIKE = 4.0  # times the power of another cell: more than zero padding makes of cells that are alike


class _Field:
    """One forward sweep: the signals so far, and each node as a pointwise function of one below it."""

    def __init__(self, prior: Prior, train: bool, pairs: bool = True) -> None:
        lattice = prior.lattice
        self.prior, self.lattice, self.train, self.pairs = prior, lattice, train, pairs
        self.forms = forms(lattice, train)
        self.nodes = dict(zip(lattice.names, lattice.nodes, strict=True))
        self.axes = {name: len(shape) - 1 for name, shape in zip(lattice.names, lattice.shapes, strict=True)}
        turned = {name for name, (mean, _) in prior.shifts.items() if np.any(mean)}
        self.signs_of_runs = run_signs(lattice, turned, prior.signs)
        self.runs, self.asked = channel_runs(lattice), asked_pairs(lattice) if pairs else {}
        self.alike = symmetries(lattice) if even(prior) else Symmetries((), ())
        self.filters = filters_as_positions(lattice)
        self.found = Signals()
        self.products: dict[int, Product] = {}
        self.shared: dict[int, Product] = {}  # of two inputs
        self.batches = train and any(map(_is_batch_norm, lattice.nodes))
        self.taps: dict[str, Array] = {}
        self.winners: dict[str, Winners] = {}
        self.notes: dict[str, tuple[str, ...]] = {}

    def sweep(self, input_power: float) -> Sequence[Signal]:
        for position, node in enumerate(self.lattice.nodes):
            if isinstance(node.op, Input):
                full = np.full((1, *node.op.shape[1:]), input_power)
                self.found.append(Signal(full, np.zeros_like(full), np.zeros_like(full)))
                self._share(position)
                if position in self.asked:
                    axes = self.asked[position]
                    self.products[position] = Product(input_power * on_diagonal(axes)[None], axes, (node.op.shape[0],))
                continue
            try:
                if not self._maximum(position):
                    self.found.append(self._passed(position))
                    self._products(position)
                self._share(position)
            except UnsupportedError as error:
                raise UnsupportedError(f"{node.name}: {error}") from error
        return self.found

    def _passed(self, position: int) -> Signal | Thin:
        """What a node makes of the signals below it, at one position of each kind where that is enough."""
        node, known = self.lattice.nodes[position], self.known(position)
        thin = [self.found.thin(i) for i in node.inputs]
        alone = position not in self.filters and known.run is None
        parts = [one for one in thin if one is not None]
        if alone and _acts_alone(node.op, known) and len(parts) == len(node.inputs):
            parts = together(parts)
            return Thin(passed(node.op, known, [one.signal for one in parts]).ordered(), parts[0].kinds)
        if isinstance(node.op, WeightedWindow) and node.op.groups == 1 and thin[0] is not None:
            below = [thin[0].mean_channel()]
        else:
            below = [self.found[i] for i in node.inputs]
        signal = passed(node.op, known, below)
        signal = signal._replace(cross=signal.mean**2) if position in self.filters else signal
        signal = signal.ordered()
        return (thinned(signal) if isinstance(node.op, WeightedWindow) else None) or signal

    def _maximum(self, position: int) -> bool:
        """The law of a max-pool's windows, where the products of its cells are known."""
        node = self.lattice.nodes[position]
        op, shape = node.op, self.lattice.input_shapes(node)[0]
        if not isinstance(op, Pool | AdaptivePool | GlobalPool) or op.kind != "max":
            return False
        below = node.inputs[0]
        if below not in self.products:
            self._check_alike(below, "the products of its cells are not known")
            return False
        base = self.products.get(self.forms[below][0])
        try:
            check_few(op, shape[1:])
            read = fields(self.found[below], self.products[below], self.signs_of_runs[below], self.run(below), base)
            laws = [windows(op, field) for field in read]
            carried = self._carried(position)
            needed = position in self.asked or carried is not None
            seen = [simulate(op, field, law) if needed else None for field, law in zip(read, laws, strict=True)]
            laws = [symmetric(self.alike, op, shape[1:], with_moments(law, one)) for law, one in zip(laws, seen, strict=True)]
        except UnsupportedError as refusal:
            self._check_alike(below, str(refusal))
            self.notes[node.name] = (f"cells taken as alike and independent: {refusal}",)
            return False
        if any(field.fitted for field in read):
            self.notes[node.name] = ("maxima, sums and averages that it reads are taken as rectified Gaussians",)
        if below in with_nearer_pairs(self.lattice):
            self.notes[node.name] = (
                *self.notes.get(node.name, ()),
                "pairs of cells far apart are taken as nearer, for being too many",
            )
        signal, self.taps[node.name] = maximum(op, read, laws, self.runs[position])
        self.found.append(signal)
        if carried is not None:
            known = winners_of_pairs(read, laws, seen, carried, self.runs[position])
            if known is not None:
                same, both = (self.alike.average_pairs(part, carried[0]) for part in known[:2])
                self.winners[node.name] = known._replace(same=same, both=both)
        if position in self.asked:
            axes = self.asked[position]
            found = self.alike.average_pairs(pairs_of_maxima(op, read, laws, seen, axes), axes)
            self.products[position] = Product(found, axes, self.runs[position])
        return True

    def _check_alike(self, below: int, without: str) -> None:
        """Refuse a maximum without a law over cells that are not alike, where products were followed."""
        if not self.pairs:
            return
        power = self.found[below].power
        if np.mean(power == 0) > MOST_ZEROS:
            raise UnsupportedError(f"most of its cells are zero whatever the input, and {without}")
        if power.max() > UNLIKE * np.min(power, where=power > 0, initial=np.inf):  # what is zero is a padding
            raise UnsupportedError(f"its cells are of different sizes, and {without}")

    def _carried(self, position: int) -> tuple[Axes, Axes] | None:
        """The pairs that the sweep from above carries at a node and at what it reads, if any are of two positions."""
        carried, below = self.prior.plan.carried, self.lattice.nodes[position].inputs[0]
        axes = carried.get((position, position)), carried.get((below, below))
        if axes[0] is None or axes[1] is None or all(pairs.is_diagonal for pairs in (*axes[0], *axes[1])):
            return None
        return axes[0], axes[1]

    def _products(self, position: int) -> None:
        """The products of a node's output at its pairs, and from them its power where that is no sum over single positions."""
        node = self.lattice.nodes[position]
        axes = self.asked.get(position)
        products = [self.products.get(i) for i in node.inputs]
        if axes is None or (None in products and not isinstance(node.op, Multiply)):
            return
        base = self.products.get(self.forms[position][0])
        signals, runs = [self.found[i] for i in node.inputs], self.runs[position]
        passing = Passing(self.known(position), signals, products, axes, runs, self.signs_of_runs[node.inputs[0]], base)
        values = passed_pairs(node.op, passing)
        if values is None:
            return
        self.products[position] = Product(np.broadcast_to(values, (len(runs), *values.shape[1:])), axes, runs)
        if isinstance(node.op, Windowed) and not isinstance(node.op, Weighted):
            same = [np.flatnonzero(pairs.first == pairs.second) for pairs in axes]
            index: tuple[Any, ...] = (slice(None), *np.ix_(*same))
            power = values[index]
            self.found[position] = self.found[position]._replace(power=power if len(power) == 1 else np.repeat(power, runs, 0))

    def known(self, position: int) -> Known:
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
            tuple(zip(self.runs[below], self.signs_of_runs[below], strict=True)),
            self.run(position) if compound else None,
            self.run(below),
            self.level(below) if self.train and _is_batch_norm(node) else None,
        )

    def level(self, position: int) -> Level:
        """What inputs share there over all pairs of positions."""
        node, z = self.lattice.nodes[position], self.found[position]
        shared = self.shared.get(position)
        if shared is not None:
            return level_of_pairs(shared.values, shared.runs, self.lattice.shapes[position][1:])
        if isinstance(node.op, WeightedWindow):
            shape = self.lattice.input_shapes(node)[0]
            weighted = level_of_weights(node.op, self.prior.variances.get(node.name, 1.0), self.found[node.inputs[0]], shape)
            mean, variance = self._shift(node)
            return Level(*(part + mean**2 + variance for part in weighted))  # all positions share a bias
        return aligned(z)

    def _share(self, position: int) -> None:
        """The products of two inputs at all pairs of positions, where a batch norm may ask for their level."""
        node, spatial = self.lattice.nodes[position], self.lattice.shapes[position][1:]
        if not self.batches or not spatial or prod(spatial) ** 2 > MOST_PAIRS:
            return
        axes, runs = tuple(everything(n, n) for n in spatial), self.runs[position]
        below = [self.shared.get(i) for i in node.inputs]
        values = None
        if None not in below and node.inputs:
            signals, base = [self.found[i] for i in node.inputs], self.shared.get(self.forms[position][0])
            signs = self.signs_of_runs[node.inputs[0]]
            values = passed_pairs(node.op, Passing(self.known(position), signals, below, axes, runs, signs, base, True))
        if values is None:
            left, right = at_pairs(by_run(np.sqrt(self.found[position].cross), runs), axes)
            values = left * right
        self.shared[position] = Product(np.broadcast_to(values, (len(runs), *values.shape[1:])), axes, runs)

    def joint(self) -> dict[str, Array]:
        """E[phi'(z) phi'(z')] of gates at the pairs of positions that the sweep from above carries."""
        found = {}
        for (a, b), axes in self.prior.plan.carried.items():
            node = self.lattice.nodes[a]
            if a == b and isinstance(node.op, Activation) and not all(pairs.is_diagonal for pairs in axes):
                below = node.inputs[0]
                if below in self.products and self.known(a).run is None:
                    found[node.name] = gate_products(
                        node.op, self.found[below], self.products[below], self.signs_of_runs[below], axes
                    )
        return {name: joint for name, joint in found.items() if joint is not None}

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
        return Run(form, {name: self._affine(self.nodes[name]) for name in form.norms}, self.found[base])

    def _affine(self, node: Node) -> Affine:
        """What a norm multiplies by and adds; one over the signal by what it reads."""
        factor, shift = self._factor(node), self._shift(node)[0]
        assert isinstance(node.op, Norm)
        if node.op.kind not in SIGNAL_NORMS:
            return Affine(np.sqrt(factor) * self._sign(node), shift)
        below = self.found[node.inputs[0]]
        scale = np.sqrt(factor / (spread(node.op, below, self.lattice.input_shapes(node)[0]) + node.op.eps)) * self._sign(node)
        return Affine(scale, shift - scale * below.mean)

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


def _acts_alone(op: Op, known: Known) -> bool:
    """Does an op act at each position by itself, in the same way at all of them?"""
    fixed = isinstance(op, Norm) and op.kind == "batch" and not known.train
    even = all(max(part.shape[1:], default=1) == 1 for part in (known.factor, known.sign, *known.shift))
    return (fixed and even) or isinstance(op, Activation | Add | Dropout)


def _is_batch_norm(node: Node) -> bool:
    return isinstance(node.op, Norm) and node.op.kind == "batch"


def batch_variances(prior: Prior) -> dict[str, Array]:
    """V[a] of every batch norm over a large batch of white inputs, given the weights: (channels or 1,) each."""
    field = _Field(prior, train=True)
    found = field.sweep(1.0)
    norms = [node for node in prior.lattice.nodes if _is_batch_norm(node)]
    return {node.name: batch_variance(found[node.inputs[0]], field.level(node.inputs[0])).ravel() for node in norms}


def theory_gates(prior: Prior, train: bool = False) -> Gates:
    """The rates of all gates from the forward mean field, for a white input: E[phi'^2], products, norms, the trunk law.

    Runs of gates along skips are those of a Markov process: `landscape.gates.forward.runs`. Maxima of maxima are known twice:
    as they stand, and over the unions of their windows, which is exact.
    """
    gates, joined = _rates(prior, train), united(prior)
    if joined is prior:
        return gates
    over_unions = _rates(joined, train)
    return replace(gates, united=over_unions, notes=over_unions.notes)


def _rates(prior: Prior, train: bool) -> Gates:
    unknown = unknown_rates(prior)
    if not unknown:
        return Gates()
    lattice, field = prior.lattice, _Field(prior, train)
    below = field.sweep(1.0)
    gains: dict[str, Any] = {}
    firsts: dict[str, Any] = {}
    passing: dict[str | None, Any] = {}  # through a gate and those right under it
    products: dict[tuple[str, int], Any] = {}
    means: dict[tuple[str, int], Any] = {}
    where = {name: position for position, name in enumerate(lattice.names)}
    for node in unknown.values():
        if isinstance(node.op, Activation):
            gains[node.name], firsts[node.name] = gate(node.op, field.known(where[node.name]), below[node.inputs[0]])
            under = gate_under(lattice, node.inputs[0])
            passing[node.name] = gains[node.name] * passing.get(under, 1.0)
            _check_tail(node, passing[node.name], below[node.inputs[0]])
        elif isinstance(node.op, Multiply):
            products |= _products(node, field.run(where[node.name]), [below[i] for i in node.inputs], lattice.shapes)
            if field.run(where[node.name]) is None:
                means |= {(node.name, place): below[node.inputs[1 - place]].mean for place in (0, 1)}
        elif isinstance(node.op, Norm) and node.op.kind in SIGNAL_NORMS:
            gains[node.name] = 1 / (spread(node.op, below[node.inputs[0]], lattice.input_shapes(node)[0]) + node.op.eps)
    runs = _trunks(field, unknown, gains, firsts)
    return Gates(
        gains,
        joint=field.joint(),
        taps=field.taps,
        winners=field.winners,
        notes=field.notes,
        runs=runs,
        source="from the forward mean field",
        firsts=firsts,
        products=products,
        product_means=means,
        product_joint=_product_joint(prior, below),
    )


def _check_tail(node: Node, gain: Array, below: Signal) -> None:
    """Refuse a gate that is nearly always closed: its rate is a tail, which the size of the signal does not tell."""
    op = node.op
    assert isinstance(op, Activation)
    steepest = max(slope**2 for slope in slopes(op)) if has_slopes(op) else 1.0
    far = has_slopes(op) or np.all(below.mean**2 > FAR**2 * (below.power - below.mean**2))
    if np.mean(gain) < (ndtr(-FAR) if far else ndtr(-FAR) ** 2) * steepest:  # a tanh of huge values is open around zero
        raise AssumptionError(
            f"{node.name}: it would open {np.mean(gain):.1g} of the time for Gaussian values, which is a tail that the size of "
            'the signal does not tell; make its shift smaller, or count with gates="measured"'
        )


def _trunks(
    field: _Field, unknown: Mapping[str, Node], gains: dict[str, Any], firsts: dict[str, Any]
) -> dict[tuple[str, str], Array]:
    """The rates of whole runs of gates; those of single gates of a trunk go to `gains` and `firsts`."""
    where = {name: position for position, name in enumerate(field.lattice.names)}
    below = field.found
    # a gate below makes what the lower one reads no Gaussian; where all branches are functions of one signal `gate` knows
    under = gates_below(field.lattice)
    alone = [skip for skip in skips(field.lattice) if skip.lower not in under and field.run(where[skip.top]) is None]
    scales = {skip: field.scale(skip) for skip in alone}
    runs: dict[tuple[str, str], Array] = {}
    for chain in chains([skip for skip, scale in scales.items() if scale is not None]):
        names = [chain[0].lower, *(skip.upper for skip in chain)]
        steps = []
        for skip in chain:
            scale, h, whole = scales[skip], below[where[skip.lower]], below[where[skip.top]]
            rest = gaussian(whole)[1] - scale**2 * gaussian(h)[1]
            steps.append(Step(scale * np.ones(()), whole.mean - scale * h.mean, np.maximum(rest, 0)))
        mean, variance, _ = gaussian(below[unknown[names[0]].inputs[0]])
        rates, first = run_rates(
            [op for name in names if isinstance(op := unknown[name].op, Activation)], mean, variance, steps
        )
        for place, name in enumerate(names[1:], start=1):
            gains[name], firsts[name] = rates[place, place], first[place]
        runs |= {(names[s], names[u]): rate for (s, u), rate in rates.items() if s != u}
    return runs


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
