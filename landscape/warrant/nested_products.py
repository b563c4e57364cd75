r"""Products of products of one signal: how much more their squared gradient is worth than that of independent factors.

The law of a product takes its factors as independent. A product of factors that all grow with one signal is a high power of its
size S, the squared size relative to its mean, and the mean of that is that of rare draws. Of n Gaussian values S is chi2_n / n,

    E[S^k] = prod over i < k of (1 + 2 i / n).

Two bounds are made of this, and the larger one counts; two factors alone are covered by what is stated for any product.

*A chain.* A product of d factors that all grow with one signal is a polynomial of degree d in its inputs and in the weights
below all of them: with D the inputs that a factor sees, E[S^(d - 1)] (1 + (d - 1) / D), as the d terms of the derivative have
1 / D in common; and for a layer that stands m times in the product E[S^m], with n, the larger of its filters and of the weights
of each, in the place of D. (116 measured for 102: one input, 16 channels, two products of two; 27 for 18: three factors.) A sum
grows as the least of its branches.

*On skips.* With J that of the gradient of a network that ends at a node, J(m) = log E[J S^m] says by how much both together are
larger than for S = 1. A layer of n channels adds log E[S^m]; of a product f g the gradient f' g has J S^m = J_f S_g (S_f
S_g)^m, so that J(m) is that of its factors at 2 m + 1, the mean of both; a sum of branches with the shares p_i of the power has
at most

    J(m) = (m + 1) log sum_i p_i exp(J_i(m) / (m + 1)).

Four simple gates over 8 channels without norms between them have exp(35), measured exp(29). What positions average is left out
(1.5 measured where it is 93, of three large-kernel attentions over 32 channels).

A sigmoid does not grow with the signal, and a norm over the signal takes its size out. Other bounded functions do so on skips
(StarNet, whose factors are ReLU6, measures 0.97 +- 0.12), and in a chain they do not: its few values may all be small.
"""

from collections.abc import Callable
from math import exp, inf, log, log1p, prod
from typing import NamedTuple

import numpy as np

from landscape.gates.forward.mean_field import signals
from landscape.prior import Prior
from landscape.structure.signs import SIGNAL_NORMS
from landscape.warrant.saturated_winners import weights_read
from landscape.weights.fans import fans
from lattice import Activation, Add, AssumptionError, Dense, Flatten, Input, Lattice, Multiply, Norm, Op, UnsupportedError
from lattice.network.ops import Weighted

__all__ = ["BOUNDED", "MOST_GROWTH", "Growth", "growth_of_products"]

MOST_GROWTH = 20.0  # above it a bound says nothing
STEADY = ("sigmoid", "hardsigmoid")  # near one half where the signal is small
BOUNDED = (*STEADY, "tanh", "hardtanh", "softsign", "relu6")
FACTORS, MOST_FACTORS = 3, 64  # of a chain: so many at least, and more of them are worth anything
MOST_MOMENT = 1000  # of a size
MOST_LOGARITHM = 700.0
Shares = Callable[[int], list[float]]  # of the power of a sum, those of its inputs


class Growth(NamedTuple):
    """How much larger than for independent factors the mean may be, and the products of products that make it so."""

    factor: float = 1.0
    products: tuple[str, ...] = ()


def growth_of_products(prior: Prior, train: bool = False) -> Growth:
    """The larger one of both bounds of this file; 1 where there are no products of products.

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
    names = [node.name for node in prior.lattice.nodes if _is_product(node.op)]
    nested = _nested(prior.lattice, train)
    if not names:
        return Growth()
    of_chain = _of_chain(prior.lattice)
    on_skips = exp(min(_logarithm(prior.lattice, _shares(prior, train), train), MOST_LOGARITHM)) if nested else 1.0
    if max(of_chain, on_skips) <= 1:
        return Growth()
    return Growth(max(of_chain, on_skips), nested or (names[-1],))


def _is_product(op: Op) -> bool:
    return isinstance(op, Multiply) or _is_square(op)


def _is_square(op: Op) -> bool:
    return isinstance(op, Activation) and op.name == "square"


def _moment(k: int, n: float) -> float:
    """log E[S^k] of S = chi2_n / n."""
    return sum(log1p(2 * i / n) for i in range(k))


# --- a chain --------------------------------------------------------------------------------------------------------------


def _of_chain(lattice: Lattice) -> float:
    """The bound of a product of three or more factors that all grow with the input; 1 where there is none."""
    factors = _factors(lattice, 0)
    if factors < FACTORS:
        return 1.0
    if factors > MOST_FACTORS:
        return inf
    inputs = _inputs_of_a_factor(lattice)
    more = _moment(factors - 1, inputs) + log1p((factors - 1) / inputs)
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Weighted):
            few = max(fans(node.op, lattice.input_shapes(node)[0])[0], lattice.shapes[position][0])
            more += _moment(min(_factors(lattice, position), MOST_FACTORS), few)
    return exp(min(more, MOST_LOGARITHM))


def _factors(lattice: Lattice, source: int) -> int:
    """How many times a node stands in the output's product, as far as that grows with it."""
    degrees = [0] * len(lattice.nodes)
    degrees[source] = 1
    for position, node in enumerate(lattice.nodes[source + 1 :], start=source + 1):
        below = [degrees[i] for i in node.inputs]
        if isinstance(node.op, Multiply):
            degrees[position] = sum(below)
        elif isinstance(node.op, Add):
            degrees[position] = min((degree for degree in below if degree), default=0)
        elif _is_square(node.op):
            degrees[position] = 2 * below[0]
        elif not _holds_the_size(node.op, STEADY):
            degrees[position] = max(below, default=0)
    return degrees[-1]


def _inputs_of_a_factor(lattice: Lattice) -> float:
    """D of the product that sees the fewest inputs: channels times taps of the layers below; averages add none."""
    seen: list[float] = []
    least = inf
    for node in lattice.nodes:
        below = [seen[i] for i in node.inputs]
        own = max(below, default=float(lattice.input_shape[0]))
        shapes = lattice.input_shapes(node) if node.inputs else ()
        if isinstance(node.op, Flatten):
            own *= prod(shapes[0][1:])
        elif isinstance(node.op, Weighted) and not isinstance(node.op, Dense):
            own *= fans(node.op, shapes[0])[0] * getattr(node.op, "groups", 1) / shapes[0][0]
        if _is_product(node.op):
            least = min(least, *below)
        seen.append(min(own, float(prod(lattice.input_shape))))
    return max(least, 1.0) if least < inf else float(prod(lattice.input_shape))


# --- on skips -------------------------------------------------------------------------------------------------------------


def _holds_the_size(op: Op, names: tuple[str, ...], train: bool = False) -> bool:
    if isinstance(op, Norm):
        return op.kind in SIGNAL_NORMS or (train and op.kind == "batch")
    return isinstance(op, Activation) and op.name in names


def _nested(lattice: Lattice, train: bool) -> tuple[str, ...]:
    """The products of which a factor holds another product of signals whose size nothing holds."""
    degrees: list[int] = []
    found = []
    for node in lattice.nodes:
        below = [degrees[i] for i in node.inputs]
        if _holds_the_size(node.op, BOUNDED, train):
            degrees.append(0)
        elif _is_product(node.op):
            degrees.append(sum(below) * (3 - len(below)))
            found += [node.name] if degrees[-1] > 2 else []
        else:
            degrees.append(max([int(isinstance(node.op, Weighted | Input)), *below]))
    return tuple(found)


def _shares(prior: Prior, train: bool) -> Shares:
    """Of a sum the shares of its inputs in the power, of a norm with a shift that of what it scales; 1 where none is known."""
    nodes = prior.lattice.nodes
    try:
        powers = [float(np.mean(signal.power)) for signal in signals(prior, train=train, pairs=False)]
    except (AssumptionError, UnsupportedError):
        return lambda position: [1.0] * len(nodes[position].inputs)

    def shares(position: int) -> list[float]:
        node = nodes[position]
        if isinstance(node.op, Norm):
            shift = float(np.mean(np.square(prior.shifts.get(node.name, (0.0, 0.0))[0])))
            return [min(max(1 - shift / powers[position], 0.0), 1.0) if powers[position] else 1.0]
        whole = sum(powers[i] for i in node.inputs)
        return [powers[i] / whole if whole else 1.0 for i in node.inputs]

    return shares


def _logarithm(lattice: Lattice, shares: Shares, train: bool) -> float:
    """J(0) at the output."""
    free = [False] * len(lattice.nodes)  # does the size follow that of something below?
    for position, node in enumerate(lattice.nodes):
        grows = isinstance(node.op, Weighted | Input) or any(free[i] for i in node.inputs)
        free[position] = grows and not _holds_the_size(node.op, BOUNDED, train)

    def below(position: int, m: int) -> list[tuple[int, int]]:
        """The nodes and moments that J of a node at m is made from."""
        node = lattice.nodes[position]
        if not free[position] or m > MOST_MOMENT:
            return []
        factors = [i for i in node.inputs if free[i]]
        if not _is_product(node.op):
            return [(i, m) for i in node.inputs]
        return [(i, 2 * m + 1 if len(factors) == len(node.inputs) else m) for i in factors]

    def value(position: int, m: int, parts: list[float]) -> float:
        node = lattice.nodes[position]
        if not free[position] or m > MOST_MOMENT:
            return MOST_LOGARITHM if free[position] else 0.0
        if isinstance(node.op, Input):
            return _moment(m, _values_read(lattice))
        if isinstance(node.op, Weighted):
            return parts[0] + _moment(m, lattice.shapes[position][0])
        if _is_product(node.op):
            return sum(parts) / len(parts)
        if isinstance(node.op, Add | Norm):
            weights = shares(position)
            whole = sum(p * exp(min(part / (m + 1), MOST_LOGARITHM)) for p, part in zip(weights, parts, strict=True))
            return (m + 1) * log(whole + max(1 - sum(weights), 0.0))
        return max(parts)

    asked: list[set[int]] = [set() for _ in lattice.nodes]  # moments, from the output down; then values, from the input up
    asked[-1].add(0)
    for position in reversed(range(len(lattice.nodes))):
        for m in asked[position]:
            for i, moment in below(position, m):
                asked[i].add(moment)
    found: list[dict[int, float]] = []
    for position, moments in enumerate(asked):
        found.append({m: value(position, m, [found[i][k] for i, k in below(position, m)]) for m in moments})
    return found[-1][0]


def _values_read(lattice: Lattice) -> int:
    """How many values of the input a layer reads at once."""
    readers = [lattice.nodes[i] for i in lattice.readers[0]]
    read = [weights_read(node.op, lattice.input_shapes(node)[0]) for node in readers if isinstance(node.op, Weighted)]
    return min(read, default=lattice.shapes[0][0])
