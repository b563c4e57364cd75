r"""Products of products of one signal, on skips too: they grow as a high power of its size, whose mean is that of rare draws.

`landscape.warrant.nested_products` knows chains alone, and more of what inputs and weights see there; the larger one is stated.

With S the squared size of what a node gives, relative to its mean, and J that of the gradient of the output of a network that
ends there, J(m) = log E[J S^m] says by how much both together are larger than for S = 1. Of n Gaussian values S is chi2_n / n,
so that a layer of n channels adds

    log E[S^m] = sum over k < m of log(1 + 2 k / n);

of a product f g of functions of one signal the gradient f' g has J S^m = J_f S_g (S_f S_g)^m, so that J(m) is that of its
factors at 2 m + 1, the mean of both; a sum of branches with the shares p_i of the power has at most

    J(m) = (m + 1) log sum_i p_i exp(J_i(m) / (m + 1)),

and a norm over the signal, or a bounded function, holds the size. A product alone has J(0) = 0, two have little, and four
simple gates over 8 channels without norms between them exp(35), measured exp(29). What positions average is left out, so that
this is a bound (1.5 measured where it is 93, of three large-kernel attentions over 32 channels).
"""

from collections.abc import Callable
from functools import cache
from math import exp, log, log1p

import numpy as np

from landscape.gates.forward.mean_field import signals
from landscape.prior import Prior
from landscape.structure.signs import SIGNAL_NORMS
from landscape.warrant.saturated_winners import weights_read
from landscape.warrant.sizes import BOUNDED
from lattice import Activation, Add, AssumptionError, Input, Lattice, Multiply, Norm, UnsupportedError
from lattice.network.ops import Weighted

__all__ = ["growth_of_products", "nested_products"]

MOST_MOMENT = 1000  # of a size
MOST_LOGARITHM = 700.0
Shares = Callable[[int], list[float]]  # of the power of a sum, those of its inputs


def nested_products(lattice: Lattice, train: bool = False) -> list[str]:
    """The products of which a factor holds another product of signals whose size nothing holds.

    >>> from lattice import Conv
    >>> nested_products(Lattice.chain((1, 4), [Conv(2, 3)]))
    []
    """
    degrees: list[int] = []
    found = []
    for node in lattice.nodes:
        below = [degrees[i] for i in node.inputs]
        if _holds_the_size(node.op, train):
            degrees.append(0)
        elif _is_product(node.op):
            degrees.append(sum(below) * (3 - len(below)))
            found += [node.name] if degrees[-1] > 2 else []
        else:
            degrees.append(max([int(isinstance(node.op, Weighted | Input)), *below]))
    return found


def growth_of_products(prior: Prior, train: bool = False) -> float:
    """exp(J(0)): by how much products of products raise the mean of the squared gradient; 1 where there are none.

    >>> from lattice import Conv
    >>> growth_of_products(Prior(Lattice.chain((1, 4), [Conv(2, 3)]), {"conv1": 1.0}))
    1.0
    """
    if not nested_products(prior.lattice, train):
        return 1.0
    return exp(min(_logarithm(prior.lattice, _shares(prior, train), train), MOST_LOGARITHM))


def _is_product(op: object) -> bool:
    return isinstance(op, Multiply) or (isinstance(op, Activation) and op.name == "square")


def _holds_the_size(op: object, train: bool) -> bool:
    if isinstance(op, Norm):
        return op.kind in SIGNAL_NORMS or (train and op.kind == "batch")
    return isinstance(op, Activation) and op.name in BOUNDED


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
        below = isinstance(node.op, Weighted | Input) or any(free[i] for i in node.inputs)
        free[position] = below and not _holds_the_size(node.op, train)

    @cache
    def at(position: int, m: int) -> float:
        node = lattice.nodes[position]
        if not free[position] or m > MOST_MOMENT:
            return MOST_LOGARITHM if free[position] else 0.0
        if isinstance(node.op, Input):
            return _of_values(m, _values_read(lattice))
        if isinstance(node.op, Weighted):
            return at(node.inputs[0], m) + _of_values(m, lattice.shapes[position][0])
        if _is_product(node.op):
            factors = [i for i in node.inputs if free[i]]
            if isinstance(node.op, Multiply) and len(factors) < 2:
                return at(factors[0], m)
            return sum(at(i, 2 * m + 1) for i in factors) / len(factors)
        if isinstance(node.op, Add | Norm):
            parts = shares(position)
            whole = sum(p * exp(min(at(i, m) / (m + 1), MOST_LOGARITHM)) for p, i in zip(parts, node.inputs, strict=True))
            return (m + 1) * log(whole + max(1 - sum(parts), 0.0))
        return max(at(i, m) for i in node.inputs)

    return at(len(lattice.nodes) - 1, 0)


def _of_values(m: int, n: int) -> float:
    return sum(log1p(2 * k / n) for k in range(m))


def _values_read(lattice: Lattice) -> int:
    """How many values of the input a layer reads at once."""
    readers = [lattice.nodes[i] for i in lattice.readers[0]]
    read = [weights_read(node.op, lattice.input_shapes(node)[0]) for node in readers if isinstance(node.op, Weighted)]
    return min(read, default=lattice.shapes[0][0])
