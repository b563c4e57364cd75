r"""The moments of single connections: E[(dh/du)^2], E[dh/du] with its sign, and E[dh/du dh'/du'] at pairs of positions.

V[w] for fresh weights, E[phi'(z)^2] for gates, gamma^2 / (running variance + eps) for norms in evaluation mode, 1 / n^2 for an
average over n cells (its n paths carry 1/n each) and 1/n for a maximum (one of n cells gets it all; over gates, as often as
the largest of them is open), or the rates that were counted; E[g^2] for a factor g of a product. Squares are enough between
paths that differ in a fresh weight; where two paths can share all of theirs, it is the signed moment that counts.
"""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np

from landscape.gates.filters import Crossing
from landscape.gates.gates import trunk_gates
from landscape.gates.windows.pairs_of_winners import Winners
from landscape.laws.trunk import Trunk
from landscape.prior import Prior
from landscape.structure.arrays import at_first, at_pairs, check_room, levels_of, on_diagonal
from landscape.structure.plan import Axes, pool_cells
from landscape.structure.signs import NEGATED, SIGNAL_NORMS, Sign, activation_gain, slopes
from landscape.weights.initialisation import checked_variances
from lattice import (
    Activation,
    Add,
    Blur,
    ChannelShuffle,
    Concat,
    Dropout,
    Multiply,
    Node,
    Norm,
    Op,
    Pad,
    Slice,
    UnsupportedError,
    Upsample,
)
from lattice.network.attention import Attention
from lattice.network.ops import Pooling, Rearrangement, Weighted, Windowed
from lattice.network.rearrange import Rearrange, Resample

__all__ = ["Rules", "first_moment", "pair_moment", "second_moment"]

Array = np.ndarray[Any, Any]


class Rules:
    """The weight of every node of a lattice for the diagonal and the general law: `positions.through_ops.Local`."""

    def __init__(self, prior: Prior) -> None:
        self.prior, self.lattice, self.gates = prior, prior.lattice, prior.gates
        self.variances = checked_variances(prior.lattice, prior.variances)
        self.filters, self.trunk_gates = prior.filters, trunk_gates(prior.lattice)
        self.signs = dict(zip(self.lattice.names, prior.node_signs, strict=True))

    def begin(self) -> None:
        """A sweep begins, and with it the trunk law."""
        self.trunk = Trunk(self.prior, lambda norm: self.factor(self.lattice.nodes[self.lattice.names.index(norm)]))

    def follows(self, node: Node) -> bool:
        """Does the trunk law ask for the moments of a node?"""
        return node.name in self.trunk.followed

    def reached(self, node: Node, moments: Array, exponent: int) -> None:
        """The sweep has come to a node with these moments, m 2^e."""
        self.trunk.reached(node.name, moments, exponent)

    def squared(self, node: Node, number: int = 0) -> Any:
        """V[w], E[phi'^2], gamma^2 / sigma^2, 1 / n^2 of an average, 1 / n of a maximum; None: only the maps of the op tell."""
        return second_moment(node.op, self, node, number)

    def single(self, node: Node, number: int = 0) -> Any:
        """E[phi'] of an activation, gamma / sigma of a norm; how often the largest of a window passes at all."""
        return first_moment(node.op, self, node, number)

    def beside(self, node: Node, other: int) -> Any:
        """E[phi'] of an activation beside a path through lower gates of its run, or None."""
        return self.gates.beside.get((node.name, self.lattice.names[other]))

    def joint(self, node: Node, axes: Axes, number: int = 0) -> Any:
        """E[phi' phi''] at pairs of positions: measured, or as of independent gates where the positions differ."""
        return pair_moment(node.op, self, node, axes, number)

    def levels(self, node: Node, axes: Axes, number: int = 0) -> Array | None:
        """By how much the channels of a node differ, (channels, 1, ...) of mean one, where they have one `joint` together.

        It is E[phi'^2], gamma^2 / sigma^2 or E[g^2] by its mean. None: they have one each, as gates of a trunk do,
        whose channels no layer mixes from one to the next.
        """
        fixed = isinstance(node.op, Norm) and node.op.kind in ("batch", "scale")
        if node.name in self.trunk_gates or (not fixed and not isinstance(node.op, Activation | Multiply)):
            return None
        return levels_of(self.squared(node, number), axes)

    def edge(self, node: Node, number: int) -> Any:
        """The factor of the trunk law, or None."""
        return self.trunk.factors.get((node.name, number))

    def logits(self, node: Node) -> Any:
        """How much the logits of attention vary, or None."""
        return self.gates.logits.get(node.name)

    def taps(self, node: Node) -> Array | None:
        """The win rates of a max-pool, or None."""
        return self.gates.taps.get(node.name)

    def winners(self, node: Node) -> Winners | None:
        """Which cells win two windows of a max-pool, and how often both pass, or None."""
        return self.gates.winners.get(node.name)

    def crossing(self, node: Node) -> Crossing | None:
        """What pairs of different taps of a filter over few channels give, or None."""
        return self.gates.filters.get(node.name)

    def below(self, node: Node) -> Sign:
        """The sign of what a node reads."""
        return self.signs[self.lattice.nodes[node.inputs[0]].name]

    def reads_gates(self, node: Node) -> bool:
        """Does everything that a max-pool reads come straight from gates that are open half of the time?"""
        below = [self.lattice.nodes[i] for i in node.inputs]
        return all(
            self.reads_gates(one)
            if isinstance(one.op, Concat | Slice | ChannelShuffle | Dropout | Pad)
            else isinstance(one.op, Activation) and one.op.name == "relu" and self.below(one) not in NEGATED
            for one in below
        )

    def cells(self, node: Node) -> Array:
        """Over how many cells each output of a pool averages or takes the maximum."""
        assert isinstance(node.op, Windowed)
        return pool_cells(node.op, self.lattice.input_shapes(node)[0][1:])

    def factor(self, node: Node) -> Any:
        """gamma^2 / sigma^2 of a norm, over (channels, *spatial) or one number."""
        factor = self._over_channels(node, self.prior.factors.get(node.name, 1.0))
        assert isinstance(node.op, Norm)
        if node.op.kind in SIGNAL_NORMS:
            if node.name not in self.gates.gains:
                raise UnsupportedError(
                    f"{node.name}: a {node.op.kind} norm divides by the variance of the signal, which is not known here"
                )
            return factor * self.gates.gains[node.name] * self.gates.kept.get(node.name, 1.0)
        return factor

    def factor_sign(self, node: Node) -> Any:
        """The sign of gamma / sigma of a norm, 1 or over (channels, ...)."""
        return self._over_channels(node, self.prior.signs.get(node.name, 1.0))

    def _over_channels(self, node: Node, values: Any) -> Any:
        """One number, or one per channel beside axes of length one for the positions."""
        array = np.asarray(values, dtype=float)
        spatial = len(self.lattice.input_shapes(node)[0]) - 1
        return array.reshape(-1, *(1 for _ in range(spatial))) if array.ndim == 1 else array[()]


def _missing(op: Op, node: Node, what: str, where: str) -> UnsupportedError:
    return UnsupportedError(f"{node.name}: no {what} for {op!r}; add one with landscape.laws.connections.{where}.register")


# --- E[(dh/du)^2] ---------------------------------------------------------------------------------------------------------


@singledispatch
def second_moment(op: Op, rules: Rules, node: Node, number: int) -> Any:
    """E[(dh/du)^2] along one connection of a node to its input number `place`; None where only the maps of the op tell."""
    raise _missing(op, node, "second moment of a connection", "second_moment")


@second_moment.register
def _(op: Weighted, rules: Rules, node: Node, number: int) -> Any:
    return rules.variances[node.name]


@second_moment.register
def _(op: Norm, rules: Rules, node: Node, number: int) -> Any:
    return rules.factor(node)


@second_moment.register
def _(op: Activation, rules: Rules, node: Node, number: int) -> Any:
    return rules.gates.gains[node.name] if node.name in rules.gates.gains else activation_gain(op, rules.below(node))


@second_moment.register
def _(op: Dropout, rules: Rules, node: Node, number: int) -> Any:
    return rules.gates.gains.get(node.name, 1)


@second_moment.register
def _(op: Multiply, rules: Rules, node: Node, number: int) -> Any:
    if (node.name, number) not in rules.gates.products:
        raise UnsupportedError(f"{node.name}: the size of the factors of a product depends on the data and is not known here")
    return rules.gates.products[node.name, number]


@second_moment.register
def _(op: Pooling, rules: Rules, node: Node, number: int) -> Any:
    cells = rules.cells(node)
    weight = 1 / cells**2 if op.kind == "avg" else rules.single(node) / cells
    return float(weight.flat[0]) if np.ptp(weight) == 0 else weight


@second_moment.register(Attention)
@second_moment.register(Blur)
@second_moment.register(Resample)
def _(op: Op, rules: Rules, node: Node, number: int) -> Any:
    return None


@second_moment.register
def _(op: Upsample, rules: Rules, node: Node, number: int) -> Any:
    return None if op.mode == "linear" else 1


@second_moment.register(Add)
@second_moment.register(Concat)
@second_moment.register(Pad)
@second_moment.register(Rearrangement)
def _(op: Op, rules: Rules, node: Node, number: int) -> Any:
    return 1


# --- E[dh/du] -------------------------------------------------------------------------------------------------------------


@singledispatch
def first_moment(op: Op, rules: Rules, node: Node, number: int) -> Any:
    """E[dh/du] of a node without weights, with its sign, apart from the coefficients of its map."""
    raise _missing(op, node, "first moment of a connection", "first_moment")


@first_moment.register
def _(op: Activation, rules: Rules, node: Node, number: int) -> Any:
    if node.name in rules.gates.firsts:
        return rules.gates.firsts[node.name]
    below, above = slopes(op)
    return {Sign.NONNEGATIVE: above, Sign.NONPOSITIVE: below}.get(rules.below(node), (below + above) / 2)


@first_moment.register
def _(op: Norm, rules: Rules, node: Node, number: int) -> Any:
    return rules.factor_sign(node) * np.sqrt(rules.factor(node))


@first_moment.register
def _(op: Multiply, rules: Rules, node: Node, number: int) -> Any:
    """The mean of the other factor: 0 where it changes sign with its weights, 1/2 of a sigmoid of what does."""
    other = rules.lattice.nodes[node.inputs[1 - number]]
    if rules.signs[other.name] in (Sign.FILTER, Sign.SUM):
        return 0
    even = isinstance(other.op, Activation) and other.op.name in ("sigmoid", "hardsigmoid")
    if even and rules.below(other) in (Sign.FILTER, Sign.SUM):
        return 0.5
    if (node.name, number) in rules.gates.product_means:
        return rules.gates.product_means[node.name, number]
    raise UnsupportedError(
        f"{node.name}: a product meets another branch of the same signal without fresh weights between, which asks for the "
        f"mean of its factor {other.name}; that is known from theory, for a sigmoid, and for what is symmetric about zero"
    )


@first_moment.register
def _(op: Pooling, rules: Rules, node: Node, number: int) -> Any:
    if node.name in rules.gates.taps:
        return float(rules.gates.taps[node.name].sum(axis=0).mean())
    if op.kind == "max" and rules.reads_gates(node):
        return float(2 * (1 - 2.0 ** -rules.cells(node).max()))  # P(the largest of independent ones is positive) / P(one is)
    return 1


@first_moment.register(Add)
@first_moment.register(Attention)
@first_moment.register(Blur)
@first_moment.register(Dropout)
@first_moment.register(Pad)
@first_moment.register(Rearrange)
@first_moment.register(Resample)
@first_moment.register(Upsample)
def _(op: Op, rules: Rules, node: Node, number: int) -> Any:
    return 1


# --- E[dh/du dh'/du'] -----------------------------------------------------------------------------------------------------


@singledispatch
def pair_moment(op: Op, rules: Rules, node: Node, axes: Axes, number: int) -> Any:
    """E[dh/du dh'/du'] of a node at pairs of positions of one channel."""
    raise _missing(op, node, "joint moment of two connections", "pair_moment")


@pair_moment.register
def _(op: Norm, rules: Rules, node: Node, axes: Axes, number: int) -> Any:
    """Exact for a factor that is fixed; for one that follows the signal, that of two positions with independent sizes."""
    factor = rules.factor(node)
    if rules.levels(node, axes) is not None:
        factor = factor.mean(axis=0, keepdims=True)
    return np.multiply(*_taken(at_pairs, np.sqrt(factor), axes)) if np.ndim(factor) > 1 else factor


@pair_moment.register
def _(op: Activation, rules: Rules, node: Node, axes: Axes, number: int) -> Any:
    alike = rules.levels(node, axes) is not None
    if node.name in rules.gates.joint:
        joint = rules.gates.joint[node.name]
        return joint.mean(axis=0, keepdims=True) if alike else joint
    gain, first = rules.squared(node), rules.single(node)
    if alike:  # of two positions the mean of what each channel gives, where all are open to the same side
        gain, first = np.mean(gain, axis=0, keepdims=True), np.asarray(first)
        first = (
            np.mean(first, axis=0, keepdims=True) if (first < 0).any() else np.sqrt(np.mean(first**2, axis=0, keepdims=True))
        )
    gain = _taken(at_first, gain, axes) if np.ndim(gain) else gain
    return np.where(on_diagonal(axes), gain, np.multiply(*_taken(at_pairs, first, axes)) if np.ndim(first) else first**2)


@pair_moment.register
def _(op: Dropout, rules: Rules, node: Node, axes: Axes, number: int) -> Any:
    """Two positions share the mask of their channel or sample, or have masks of their own, whose mean is one."""
    gain = rules.squared(node)
    return np.where(on_diagonal(axes), gain, 1.0) if op.shared == "unit" else gain


@pair_moment.register
def _(op: Multiply, rules: Rules, node: Node, axes: Axes, number: int) -> Any:
    alike = rules.levels(node, axes, number) is not None
    if (node.name, number) in rules.gates.product_joint:
        joint = rules.gates.product_joint[node.name, number]
        return joint.mean(axis=0, keepdims=True) if alike else joint
    squared = np.asarray(rules.squared(node, number))
    squared = squared.mean(axis=0, keepdims=True) if alike else squared
    other = rules.lattice.input_shapes(node)[1 - number]
    if set(other[1:]) <= {1} or all(pairs.is_diagonal for pairs in axes):  # one gate for all positions, or one position
        return _taken(at_first, squared, axes) if squared.ndim else squared
    raise UnsupportedError(
        f"{node.name}: the joint size of a factor at two positions depends on the data and is not known here"
    )


@pair_moment.register(Add)
@pair_moment.register(Concat)
@pair_moment.register(Attention)
@pair_moment.register(Rearrangement)
def _(op: Op, rules: Rules, node: Node, axes: Axes, number: int) -> Any:
    return 1


def _taken(take: Callable[[Array, Axes], Any], values: Array, axes: Axes) -> Any:
    """What is taken at pairs, where there is room for it."""
    check_room(len(values), axes)
    return take(values, axes)
