r"""Products of products of one signal: how much more their squared gradient is worth than that of independent factors.

The law of a product takes its factors as independent. A product of factors that all grow with one signal is a high power of its
size, whose mean is that of rare draws. With S the squared size of what a node gives, relative to its mean, and J that of the
gradient of a network that ends there,

    J(m) = log E[J S^m]

says by how much both together are larger than for S = 1. It is put together from the input up. Of n Gaussian values S is chi2_n
/ n, with log E[S^m] = sum over k < m of log(1 + 2 k / n). A layer of n channels that reads D values adds this, and

    log(1 + 2 m / max(n, D)),

as a part of the gradient goes along the signal itself, and grows with it: 1 / D of it for a gradient from above without
preference, n / (n + D - 1) for one along the values. A product f g of functions of one signal has the gradient f' g + f g', of
which f' g has J S^m = J_f S_g (S_f S_g)^m. Of what both factors stand on J is that at 2 m + 1; a layer that one factor alone
stands on is independent of the other factor, and adds what it does at m, with n for max(n, D) as it may be either. With d the
degree in the input, the d terms of the derivative have 1 / D in common, D the inputs that one reads: log(1 + (d - 1) / D) in
all. A sum of branches with the shares p_i of the power has at most

    J(m) = (m + 1) log sum_i p_i exp(J_i(m) / (m + 1)).

A sigmoid does not grow with the signal, and a norm over the signal takes its size out; a batch norm in training mode that of
the weights below, not that of one input among others; a function with values below b has S <= b^2 / E[phi^2], and J(m) at most
J(0) and m times the logarithm of that. A product alone has J(0) = 0; two have less than what can be stated where channels and
inputs are many.

It is a bound, as what positions average is left out: 147 for 102 measured (one input, 16 channels, two products of two), and
27 for 2.5 (two large-kernel attentions over 8 channels).
"""

from functools import reduce
from math import exp, log, log1p, prod
from operator import or_
from typing import NamedTuple

import numpy as np

from landscape.gates.forward.mean_field import signals
from landscape.prior import Prior
from landscape.structure.signs import SIGNAL_NORMS
from landscape.warrant.saturated_winners import weights_read
from lattice import Activation, Add, AssumptionError, Input, Lattice, Multiply, Norm, Op, UnsupportedError
from lattice.network.ops import Weighted

__all__ = ["MOST_GROWTH", "Growth", "growth_of_products", "is_bounded"]

MOST_GROWTH = 20.0  # above it a bound says nothing
STEADY = ("sigmoid", "hardsigmoid")  # near one half where the signal is small
LARGEST = {"tanh": 1.0, "hardtanh": 1.0, "softsign": 1.0, "relu6": 6.0}
MOST_MOMENT = 1000  # of a size
MOST_LOGARITHM = 700.0


class Growth(NamedTuple):
    """How much larger than for independent factors the mean may be, and the products of products that make it so."""

    factor: float = 1.0
    products: tuple[str, ...] = ()


def growth_of_products(prior: Prior, train: bool = False) -> Growth:
    """exp(J(0)): by how much products of products raise the mean of the squared gradient at most; 1 where there are none.

    `train`: do batch norms take their statistics over a batch?

    >>> from lattice import Conv, Node
    >>> nodes = [Node("input", Input((1, 8))), Node("stem", Conv(16, 1), (0,))]
    >>> for name, below in (("one", 1), ("two", 4)):
    ...     nodes += [Node(f"{name}{i}", Conv(16, 1), (below,)) for i in range(2)]
    ...     nodes += [Node(name, Multiply(), (len(nodes) - 2, len(nodes) - 1))]
    >>> variances = {node.name: 1.0 for node in nodes}
    >>> more, names = growth_of_products(Prior(Lattice(tuple(nodes)), variances))
    >>> (
    ...     round(more),
    ...     names,
    ... )  # 15 x 4 of the input, 1.93 of the stem, 1.27 of the first factors
    (147, ('two',))
    """
    nested = _nested(prior.lattice)
    if not nested:
        return Growth()
    return Growth(exp(min(_Law(prior, train).logarithm(), MOST_LOGARITHM)), nested)


def is_bounded(op: Op) -> bool:
    """Does an activation give values below some size, whatever it reads?

    >>> is_bounded(Activation("tanh")), is_bounded(Activation("relu"))
    (True, False)
    """
    return isinstance(op, Activation) and (op.name in STEADY or op.name in LARGEST)


def _is_product(op: Op) -> bool:
    return isinstance(op, Multiply) or (isinstance(op, Activation) and op.name == "square")


def _holds_the_size(op: Op) -> bool:
    return (isinstance(op, Activation) and op.name in STEADY) or (isinstance(op, Norm) and op.kind in SIGNAL_NORMS)


def _nested(lattice: Lattice) -> tuple[str, ...]:
    """The products of more than two factors whose size nothing holds."""
    degrees: list[int] = []
    found = []
    for node in lattice.nodes:
        below = [degrees[i] for i in node.inputs]
        if _holds_the_size(node.op):
            degrees.append(0)
        elif _is_product(node.op):
            degrees.append(sum(below) * (3 - len(below)))
            found += [node.name] if degrees[-1] > 2 else []
        else:
            degrees.append(max([int(isinstance(node.op, Weighted | Input)), *below]))
    return tuple(found)


class _State(NamedTuple):
    """In which form J of a node is asked for.

    `m`: the power of its size. `apart`: the products above it of which it is below one factor alone. `of_weights`: is the size
    that the weights below give a matter, or that of the input alone?
    """

    m: int
    apart: tuple[int, ...] = ()
    of_weights: bool = True


class _Law:
    """J of the nodes of one network: what is asked for is found from the output down, what it is from the input up."""

    def __init__(self, prior: Prior, train: bool) -> None:
        self.prior, self.lattice, self.train = prior, prior.lattice, train
        self.read = _values_read(self.lattice)
        try:
            self.powers = [float(np.mean(signal.power)) for signal in signals(prior, train=train, pairs=False)]
        except (AssumptionError, UnsupportedError):
            self.powers = []
        self.free: list[bool] = []  # does the size follow that of something below?
        self.degrees: list[float] = []  # in the input, on average over the power of a sum
        self.below: list[int] = []  # the nodes that each stands on, and itself, as bits
        for position, node in enumerate(self.lattice.nodes):
            grows = isinstance(node.op, Weighted | Input) or any(self.free[i] for i in node.inputs)
            self.free.append(grows and not _holds_the_size(node.op))
            self.degrees.append(self._degree(position))
            self.below.append(reduce(or_, (self.below[i] for i in node.inputs), 1 << position))

    def logarithm(self) -> float:
        """J(0) of the output."""
        nodes = self.lattice.nodes
        asked: list[dict[_State, list[tuple[int, _State]]]] = [{} for _ in nodes]
        asked[-1][_State(0)] = []
        for position in reversed(range(len(nodes))):
            for state in asked[position]:
                asked[position][state] = self._asks(position, state)
                for i, below in asked[position][state]:
                    asked[i].setdefault(below, [])
        found: list[dict[_State, float]] = []
        for position, states in enumerate(asked):
            found.append({})
            for state, asks in states.items():
                found[position][state] = self._value(position, state, [found[i][below] for i, below in asks])
        return found[-1][_State(0)]

    def _asks(self, position: int, state: _State) -> list[tuple[int, _State]]:
        """What J of a node is made from."""
        node = self.lattice.nodes[position]
        inputs = list(node.inputs)
        if not self.free[position] or state.m > MOST_MOMENT or isinstance(node.op, Input):
            return []
        if _is_product(node.op):
            inputs = [i for i in inputs if self.free[i]]
            if len(inputs) == len(node.inputs):
                state = state._replace(m=2 * state.m + 1, apart=(*state.apart, position))
        if self.train and isinstance(node.op, Norm) and node.op.kind == "batch":
            state = state._replace(of_weights=False)
        asked = [(i, state._replace(apart=self._still_apart(state.apart, i))) for i in inputs]
        return [*asked, (inputs[0], state._replace(m=0, apart=()))] if self._is_limited(position) else asked

    def _still_apart(self, products: tuple[int, ...], position: int) -> tuple[int, ...]:
        """Those of some products of which this node is not below every factor."""
        factors = ((product, self.lattice.nodes[product].inputs) for product in products)
        return tuple(product for product, inputs in factors if not all(self.below[i] >> position & 1 for i in inputs))

    def _value(self, position: int, state: _State, below: list[float]) -> float:
        """J of a node, from what it is made from."""
        node, m = self.lattice.nodes[position], state.m
        if not self.free[position] or m > MOST_MOMENT:
            return MOST_LOGARITHM if self.free[position] else 0.0
        if isinstance(node.op, Input):
            return _moment(m, self.read)
        if isinstance(node.op, Weighted):
            return below[0] + (self._of_layer(position, state) if state.of_weights else 0.0)
        if _is_product(node.op):
            return sum(below) / len(below) + self._in_common(position)
        if isinstance(node.op, Add | Norm):
            parts = self._shares(position)
            whole = sum(p * exp(min(one / (m + 1), MOST_LOGARITHM)) for p, one in zip(parts, below, strict=True))
            return (m + 1) * log(whole + max(1 - sum(parts), 0.0))
        if self._is_limited(position):
            return min(below[0], below[1] + m * self._largest(position))
        return max(below)

    def _of_layer(self, position: int, state: _State) -> float:
        """What the weights of a layer add.

        Below one factor alone its size has half the power, and no part in the mean over both factors but its own.
        """
        node, n = self.lattice.nodes[position], self.lattice.shapes[position][0]
        means = 2 ** len(state.apart)
        m = (state.m + 1) // means - 1
        read = n if state.apart else max(n, weights_read(node.op, self.lattice.input_shapes(node)[0]))
        return means * (_moment(m, n) + log1p(2 * m / read))

    def _in_common(self, position: int) -> float:
        """What the terms of the derivative of a product have in common that those of its factors have not."""
        factors = [i for i in self.lattice.nodes[position].inputs if self.free[i]]
        return self._common_terms(position) - sum(map(self._common_terms, factors)) / len(factors)

    def _common_terms(self, position: int) -> float:
        return log1p(max(self.degrees[position] - 1, 0.0) / self.read)

    def _degree(self, position: int) -> float:
        node = self.lattice.nodes[position]
        below = [self.degrees[i] for i in node.inputs]
        if isinstance(node.op, Input):
            return 1.0
        if not self.free[position]:
            return 0.0
        if _is_product(node.op):
            return sum(below) * (3 - len(below))
        if isinstance(node.op, Add | Norm):
            return sum(share * degree for share, degree in zip(self._shares(position), below, strict=True))
        return max(below)

    def _shares(self, position: int) -> list[float]:
        """Of a sum the shares of its inputs in the power, of a norm with a shift that of what it scales; 1 where not known."""
        node = self.lattice.nodes[position]
        if not self.powers:
            return [1.0] * len(node.inputs)
        if isinstance(node.op, Norm):
            own = self.powers[position]
            shift = float(np.mean(np.square(self.prior.shifts.get(node.name, (0.0, 0.0))[0])))
            return [min(max(1 - shift / own, 0.0), 1.0) if own else 1.0]
        whole = sum(self.powers[i] for i in node.inputs)
        return [self.powers[i] / whole if whole else 1.0 for i in node.inputs]

    def _is_limited(self, position: int) -> bool:
        op = self.lattice.nodes[position].op
        return isinstance(op, Activation) and op.name in LARGEST

    def _largest(self, position: int) -> float:
        """log of the largest S of a bounded function."""
        op = self.lattice.nodes[position].op
        assert isinstance(op, Activation)
        power = self.powers[position] if self.powers else 0.0
        return max(log(LARGEST[op.name] ** 2 / power), 0.0) if power else MOST_LOGARITHM


def _moment(m: int, n: int) -> float:
    """log E[S^m] of S = chi2_n / n."""
    return sum(log1p(2 * k / n) for k in range(m))


def _values_read(lattice: Lattice) -> int:
    """How many values of the input a layer, or a product, reads at once, at least."""
    least, waiting = prod(lattice.input_shape), list(lattice.readers[0])
    while waiting:
        position = waiting.pop()
        node = lattice.nodes[position]
        if isinstance(node.op, Weighted):
            least = min(least, weights_read(node.op, lattice.input_shapes(node)[0]))
        elif _is_product(node.op):
            least = min(least, lattice.input_shapes(node)[0][0])
        else:
            waiting += lattice.readers[position]
    return least
