r"""The forward mean field: the size of the signal at every position, for white input and wide layers.

    power(u) = E[h_u(x)^2],    cross(u) = E[h_u(x) h_u(x')],    mean(u) = E[h_u(x)],

over weights and over independent inputs x, x' of mean zero. Fresh weights sum them: power(j) = V sum over the taps inside
and the channels of power(i), so that zero padding makes the border weaker. Gates act on Gaussians
(`landscape.gates.activations`). What does not differ between inputs (cross) stands for what does not differ between positions
either: in an average over positions, E[h_p h_q] is taken as sqrt(cross_p cross_q), which leaves out that neighbours read some
of the same inputs. A gate over a skip is taken as a Gaussian with the mean and variance of the sum; a maximum as that of
independent values.
"""

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from landscape.gates.averaging import ratio
from landscape.gates.composites import Affine, forms
from landscape.gates.forward.alike_maxima import passed_by_winners
from landscape.gates.forward.alike_positions import Signals, Thin
from landscape.gates.forward.covariances import Passing, Product, by_run, passed_pairs, shared_by_maxima, through_maps
from landscape.gates.forward.levels import aligned, level_of_pairs, level_of_weights
from landscape.gates.forward.maxima import check_few, check_sizes, fields, maximum, pairs_of_maxima, winners_of_pairs
from landscape.gates.forward.mean_field_rules import average_of_group, batch_variance, gated, passed, spread, variance_parts
from landscape.gates.forward.signal import Known, Level, Run, Signal
from landscape.gates.windows.copies import copied_cells
from landscape.gates.windows.pairs_of_winners import Winners
from landscape.gates.windows.pools import at_codes, simulate, symmetric, windows, with_moments
from landscape.prior import Prior, even
from landscape.structure.arrays import at_pairs, on_diagonal
from landscape.structure.channel_runs import channel_runs
from landscape.structure.forward_pairs import added_to_itself, asked_pairs, turned_sides, with_nearer_pairs
from landscape.structure.joint_pairs import filters_as_positions
from landscape.structure.pairs import everything
from landscape.structure.plan import Axes
from landscape.structure.signs import SIGNAL_NORMS, is_batch_norm, run_signs
from landscape.structure.symmetry import Symmetries, symmetries
from landscape.weights.fans import fans
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
from lattice.network.ops import Rearrangement, Weighted, WeightedWindow, Windowed

__all__ = ["MeanField", "Signal", "batch_variances", "signals"]

Array = np.ndarray[Any, Any]


def signals(
    prior: Prior, *, input_power: float = 1.0, train: bool = False, pairs: bool = True, last: int | None = None
) -> Sequence[Signal]:
    """power, cross and mean of every node's output, in the order of the nodes, or up to the `last`; see the head of this file.

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
    return MeanField(prior, train, pairs).sweep(input_power, last)


MOST_PAIRS = 2**18  # of positions, the products of which two inputs have are followed
MOST_ZEROS = 0.5  # of the cells that a maximum reads: padding has less
OF_MAXIMA = 0.5  # the rank of their differences: in many draws every window has a cell that no border is larger than
APART = "what two inputs of a batch have in common at two positions is taken from each position alone"
AS_AVERAGES = "what two inputs of a batch have in common at two positions is taken as that of averages"
UNLIKE = 4.0  # times the power of another cell: more than zero padding makes of cells that are alike


class MeanField:
    """One forward sweep: the signals so far, and each node as a pointwise function of one below it."""

    def __init__(self, prior: Prior, train: bool, pairs: bool = True) -> None:
        lattice = prior.lattice
        self.prior, self.lattice, self.train, self.pairs = prior, lattice, train, pairs
        self.forms = forms(lattice, train)
        self.nodes = dict(zip(lattice.names, lattice.nodes, strict=True))
        self.axes = {name: len(shape) - 1 for name, shape in zip(lattice.names, lattice.shapes, strict=True)}
        turned = {name for name, (mean, _) in prior.shifts.items() if np.any(mean)}
        self.signs_of_runs = run_signs(lattice, turned, prior.signs)
        self.runs, self.asked = channel_runs(lattice), asked_pairs(lattice, prior.filters) if pairs else {}
        self.alike = symmetries(lattice) if even(prior) else Symmetries((), ())
        self.filters = filters_as_positions(lattice)
        self.found = Signals()
        self.products: dict[int, Product] = {}
        self.shared: dict[int, Product] = {}  # of two inputs
        self.levels = max((i for i, node in enumerate(lattice.nodes) if _takes_levels(node, train)), default=0)
        self.slopes: dict[str, tuple[Array, Array, Thin | None]] = {}  # E[phi'^2], E[phi'], and where, if not everywhere
        self.taps: dict[str, Array] = {}
        self.winners: dict[str, Winners] = {}
        self.notes: dict[str, tuple[str, ...]] = {}

    def sweep(self, input_power: float, last: int | None = None) -> Sequence[Signal]:
        for position, node in enumerate(self.lattice.nodes[: None if last is None else last + 1]):
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
            except (AssumptionError, UnsupportedError) as error:
                raise type(error)(f"{node.name}: {error}") from error
        return self.found

    def _passed(self, position: int) -> Signal | Thin:
        """What a node makes of the signals below it, at one position of each kind where that is enough."""
        node, known = self.lattice.nodes[position], self.known(position)
        if position not in self.filters and known.run is None and _acts_alone(node.op, known):
            parts = self.found.thinned(*node.inputs)
            if parts is not None:
                return Thin(self._by_rule(node, known, [one.signal for one in parts], parts[0]).ordered(), parts[0].kinds)
        thin = self.found.thin(node.inputs[0])
        if isinstance(node.op, WeightedWindow) and node.op.groups == 1 and thin is not None:
            below = [thin.mean_channel()]
        else:
            below = [self.found[i] for i in node.inputs]
        signal = self._by_rule(node, known, below)
        return (signal._replace(cross=signal.mean**2) if position in self.filters else signal).ordered()

    def _by_rule(self, node: Node, known: Known, below: list[Signal], places: Thin | None = None) -> Signal:
        """What the rule of its op says of a node; what a gate lets through is kept."""
        if not isinstance(node.op, Activation):
            return passed(node.op, known, below)
        signal, gain, first = gated(node.op, known, below[0])
        self.slopes[node.name] = gain, first, places
        return signal

    def _maximum(self, position: int) -> bool:
        """The law of a max-pool's windows, where the products of its cells are known."""
        node = self.lattice.nodes[position]
        op, shape = node.op, self.lattice.input_shapes(node)[0]
        if not isinstance(op, Pool | AdaptivePool | GlobalPool) or op.kind != "max":
            return False
        below = node.inputs[0]
        carried = self._carried(position)
        source, copies = copied_cells(self.lattice, below)
        if source not in self.products:
            self._take_as_alike(position, "the products of its cells are not known")
            return False
        base = self.products.get(self.forms[source][0])
        try:
            check_few(op, shape[1:])
            read = fields(self.found[source], self.products[source], self.signs_of_runs[source], self.run(source), base)
            read = [field._replace(copies=copies) for field in read]
            laws = [windows(op, field) for field in read]
            needed = position in self.asked or carried is not None
            seen = [simulate(op, field, law) if needed else None for field, law in zip(read, laws, strict=True)]
            laws = [symmetric(self.alike, op, shape[1:], with_moments(law, one)) for law, one in zip(laws, seen, strict=True)]
        except UnsupportedError as refusal:
            self._take_as_alike(position, str(refusal))
            self.notes[node.name] = (f"cells taken as alike and independent: {refusal}",)
            return False
        if any(field.fitted for field in read):
            self.notes[node.name] = ("maxima, sums and averages that it reads are taken as rectified Gaussians",)
        if below in with_nearer_pairs(self.lattice, self.prior.filters):
            self.notes[node.name] = (
                *self.notes.get(node.name, ()),
                "pairs of cells far apart are taken as nearer, for being too many",
            )
        check_sizes(op, read, laws, self._fewest_weights(below))
        signal, self.taps[node.name] = maximum(op, read, laws, self.runs[position])
        self.found.append(signal)
        if carried is not None:
            known = winners_of_pairs(op, read, laws, seen, carried, self.runs[position])
            if known is not None:
                both = self.alike.average_pairs(known.both, carried[0])
                wins = self.alike.average_winners(known.wins, read[0].tables(op), read[0].mean.shape)
                self.winners[node.name] = known._replace(wins=wins, both=both)
        if position in self.asked:
            axes = self.asked[position]
            found = self.alike.average_pairs(pairs_of_maxima(op, read, laws, seen, axes), axes)
            self.products[position] = Product(found, axes, self.runs[position])
        return True

    def _fewest_weights(self, position: int) -> float:
        """Of how many weights a value is the sum, at the least: F = channels / mean of r^2 over pairs of taps of correlation r.

        What cells have in common in all positions is the level that their windows share, and is taken out.
        """
        node = self.lattice.nodes[position]
        if not isinstance(node.op, Weighted):
            return min((self._fewest_weights(i) for i in node.inputs), default=float(self.lattice.input_shape[0]))
        shape, product = self.lattice.input_shapes(node)[0], self.products.get(node.inputs[0])
        if not isinstance(node.op, WeightedWindow) or product is None:
            return float(fans(node.op, shape)[0])
        tables = [window.table(n) for window, n in zip(node.op.windows(shape[1:]), shape[1:], strict=True)]
        cells = [_most_read(table) for table in tables]
        if not all(map(len, cells)):
            return np.inf  # it reads nothing but padding
        codes = [np.add.outer(each * n, each).ravel() for each, n in zip(cells, shape[1:], strict=True)]
        sizes = [len(each) for each in cells]
        both = at_codes(product.values, product.axes, codes).reshape(-1, *(n for size in sizes for n in (size, size)))
        both = both.transpose(0, *range(1, both.ndim, 2), *range(2, both.ndim, 2)).reshape(len(both), prod(sizes), -1)
        index: tuple[Any, ...] = (slice(None), *np.ix_(*cells))
        mean = by_run(self.found[node.inputs[0]].mean, product.runs)[index].reshape(len(both), -1)
        covariance = both - mean[:, :, None] * mean[:, None]
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        alike = ratio(covariance**2, variance[:, :, None] * variance[:, None]).mean()
        return float(shape[0] / node.op.groups / alike) if alike > 0 else float(fans(node.op, shape)[0])

    def _take_as_alike(self, position: int, without: str) -> None:
        """Cells of a maximum without a law are taken as alike: each wins as often, and passes what a winner passes."""
        node, known = self.lattice.nodes[position], self.known(position)
        op, shape, below = node.op, known.shapes[0], node.inputs[0]
        assert isinstance(op, Pool | AdaptivePool | GlobalPool)
        self._check_alike(below, without)
        while known.below is None and isinstance(self.lattice.nodes[below].op, Rearrangement):
            below = self.lattice.nodes[below].inputs[0]
            known = known._replace(below=self._alike_run(below, shape[1:]))
        passed = passed_by_winners(op, known, self._fewest_weights(below))
        if passed is not None:
            tables = [window.table(n) for window, n in zip(op.windows(shape[1:]), shape[1:], strict=True)]
            inside = reduce(np.multiply.outer, [(table >= 0).astype(float) for table in tables])
            there = inside.transpose(*range(0, inside.ndim, 2), *range(1, inside.ndim, 2))
            there = there.reshape(-1, 1, *there.shape[len(tables) :])
            self.taps[node.name] = there / np.maximum(there.sum(axis=0), 1) * passed

    def _alike_run(self, position: int, spatial: tuple[int, ...]) -> Run | None:
        """A node as a function of one below it, of positions and channels that are taken as alike, at as many positions."""
        run = self.run(position)
        if run is None:
            return None

        def average(values: Array) -> Array:
            return np.full((1, *spatial), np.mean(values))

        affine = {name: Affine(average(part.coefficient), average(part.shift)) for name, part in run.affine.items()}
        return Run(run.form, affine, [Signal(*map(average, run.base))], 0)

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
        itself = self._with_itself(position, axes)
        values = values if itself is None else values + itself
        self.products[position] = Product(np.broadcast_to(values, (len(runs), *values.shape[1:])), axes, runs)
        if itself is not None or (isinstance(node.op, Windowed) and not isinstance(node.op, Weighted)):
            same = [np.flatnonzero(pairs.first == pairs.second) for pairs in axes]
            index: tuple[Any, ...] = (slice(None), *np.ix_(*same))
            power = values[index]
            self.found[position] = self.found[position]._replace(power=power if len(power) == 1 else np.repeat(power, runs, 0))

    def _with_itself(self, position: int, axes: Axes) -> Array | None:
        """What the branches of a sum have in common at these pairs, where one is another at other positions; else None."""
        runs, total = self.runs[position], None
        for source, other, maps in added_to_itself(self.lattice, position):
            product, factor, below = self.products.get(source), np.ones(1), other
            while below != source:
                node = self.lattice.nodes[below]
                if isinstance(node.op, Norm):
                    factor = factor * np.sqrt(self.factor(node)) * self.sign(node)
                below = node.inputs[0]
            if product is None or product.runs != runs or np.ptp(factor) > 0:
                continue
            (x, x_), (y, y_) = (at_pairs(by_run(self.found[i].mean, runs), axes) for i in (source, other))
            both = through_maps(maps, axes, product) + through_maps(turned_sides(maps), axes, product)
            apart = both * factor.ravel()[0] - x * y_ - y * x_
            total = apart if total is None else total + apart
        return total

    def known(self, position: int) -> Known:
        node = self.lattice.nodes[position]
        below = node.inputs[0]
        _, form = self.forms[position]
        compound = form.kind in ("times", "plus") or form.gates > 1
        return Known(
            self.prior.variances.get(node.name, 1.0),
            self.factor(node),
            self.lattice.input_shapes(node),
            self.train,
            self.sign(node),
            self.shift(node),
            tuple(zip(self.runs[below], self.signs_of_runs[below], strict=True)),
            self.run(position) if compound else None,
            self.run(below),
            self.level(below) if _takes_levels(node, self.train) else None,
        )

    def level(self, position: int) -> Level:
        """What inputs share there over all pairs of positions."""
        node, z = self.lattice.nodes[position], self.found[position]
        shared = self.shared.get(position)
        if shared is not None:
            level = level_of_pairs(shared.values, shared.runs, self.lattice.shapes[position][1:])
            return level._replace(rank=np.minimum(level.rank, OF_MAXIMA)) if self._reads_maxima(position) else level
        if isinstance(node.op, WeightedWindow):
            shape = self.lattice.input_shapes(node)[0]
            weighted = level_of_weights(node.op, self.prior.variances.get(node.name, 1.0), self.found[node.inputs[0]], shape)
            mean, variance = self.shift(node)
            return Level(*(part + mean**2 + variance for part in weighted))  # all positions share a bias
        self.notes[node.name] = (APART,)
        return aligned(z)

    def _reads_maxima(self, position: int) -> bool:
        """Does a maximum stand there or below it, without weights between?"""
        node = self.lattice.nodes[position]
        own = getattr(node.op, "kind", "") == "max"
        return own or (not isinstance(node.op, Weighted) and any(map(self._reads_maxima, node.inputs)))

    def _share(self, position: int) -> None:
        """The products of two inputs at all pairs of positions, where a batch norm may ask for their level."""
        node, spatial = self.lattice.nodes[position], self.lattice.shapes[position][1:]
        if position >= self.levels or not spatial or prod(spatial) ** 2 > MOST_PAIRS:
            return
        axes, runs = tuple(everything(n, n) for n in spatial), self.runs[position]
        below = [self.shared.get(i) for i in node.inputs]
        values = None
        if None not in below and node.inputs:
            signals, base = [self.found[i] for i in node.inputs], self.shared.get(self.forms[position][0])
            signs = self.signs_of_runs[node.inputs[0]]
            passing = Passing(self.known(position), signals, below, axes, runs, signs, base, True)
            values = passed_pairs(node.op, passing)
            if values is None and getattr(node.op, "kind", "") == "max":
                values = shared_by_maxima(node.op, passing, self.found[position])
                self.notes[node.name] = (*self.notes.get(node.name, ()), AS_AVERAGES)
        if values is None:
            left, right = at_pairs(by_run(np.sqrt(self.found[position].cross), runs), axes)
            values = left * right
            if node.inputs:
                self.notes[node.name] = (*self.notes.get(node.name, ()), APART)
        self.shared[position] = Product(np.broadcast_to(values, (len(runs), *values.shape[1:])), axes, runs)

    def run(self, position: int) -> Run | None:
        """The node as a pointwise function of one below it, if it is one."""
        base, form = self.forms[position]
        if base == position:
            return None
        return Run(form, {name: self._affine(self.nodes[name]) for name in form.norms}, self.found, base)

    def _affine(self, node: Node) -> Affine:
        """What a norm multiplies by and adds; one over the signal by what it reads."""
        factor, shift = self.factor(node), self.shift(node)[0]
        assert isinstance(node.op, Norm)
        if node.op.kind not in SIGNAL_NORMS:
            return Affine(np.sqrt(factor) * self.sign(node), shift)
        below, shape = self.found[node.inputs[0]], self.lattice.input_shapes(node)[0]
        level = self.level(node.inputs[0]) if _takes_levels(node, self.train) else None
        scale = np.sqrt(factor / (spread(node.op, below, shape, level) + node.op.eps)) * self.sign(node)
        return Affine(scale, shift - scale * average_of_group(node.op, below.mean, shape))

    def factor(self, node: Node) -> Array:
        return self._each(node, self.prior.factors.get(node.name, 1.0))

    def sign(self, node: Node) -> Array:
        return self._each(node, self.prior.signs.get(node.name, 1.0))

    def shift(self, node: Node) -> tuple[Array, Array]:
        mean, variance = self.prior.shifts.get(node.name, (0.0, 0.0))
        return self._each(node, mean), self._each(node, variance)

    def _each(self, node: Node, values: Any) -> Array:
        """A number, or one per channel, over (channels or 1, *spatial) of what the node gives."""
        array = np.asarray(values, dtype=float)
        return array.reshape(-1, *(1,) * self.axes[node.name]) if array.ndim <= 1 else array


def _most_read(table: Array) -> Array:
    """The cells of one axis that an output in the middle reads, of those outputs that read the most."""
    counts = (table >= 0).sum(axis=0)
    most = np.flatnonzero(counts == counts.max())
    read = table[:, most[len(most) // 2]]
    return np.asarray(read[read >= 0])


def _takes_levels(node: Node, train: bool) -> bool:
    """Does it divide by a variance over positions?"""
    return isinstance(node.op, Norm) and (node.op.kind in ("group", "instance") or (train and is_batch_norm(node)))


def _acts_alone(op: Op, known: Known) -> bool:
    """Does an op act at each position by itself, in the same way at all of them?"""
    fixed = isinstance(op, Norm) and op.kind == "batch" and not known.train
    even = all(max(part.shape[1:], default=1) == 1 for part in (known.factor, known.sign, *known.shift))
    return (fixed and even) or isinstance(op, Activation | Add | Dropout)


def batch_variances(prior: Prior) -> dict[str, tuple[Array, Array]]:
    """Of every batch norm over a large batch of white inputs, (channels or 1,) each: the mean over the weights of V[a], and
    E[1 / (V[a] + eps)]."""
    field = MeanField(prior, train=True)
    found, result = field.sweep(1.0), {}
    for node in prior.lattice.nodes:
        if isinstance(node.op, Norm) and is_batch_norm(node):
            z, level = found[node.inputs[0]], field.level(node.inputs[0])
            inverse, more, _ = variance_parts(z, level, node.op.eps)
            result[node.name] = batch_variance(z, level).ravel(), (inverse * more).ravel()
    return result
