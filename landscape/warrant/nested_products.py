r"""Products of products of one signal: how much more their squared gradient is worth than that of independent factors.

The law of a product takes its factors as independent. A product of d factors that all grow with one signal is a polynomial of
degree d in its inputs, and in the weights below all of them. With D the number of inputs that a factor sees, S = |x|^2 / D has

    E[S^k] = prod_{i < k} (1 + 2 i / D),

for normal values and k = d - 1 of them beside the derivative; the d terms of that have as much as 1 / D in common. For a layer
that stands m times in the product, k is m and n, the larger of its filters and of the weights of each, is in the place of D.
Their product bounds what is measured: 116 for 102 (one input, 16 channels, two products of two), 1000 for 400 (4 channels), 130
for 77 (three inputs), 27 for 18 (three factors). Two factors alone (d = 2) are covered by what is stated for any product.

Sigmoids do not grow with the signal, a norm over the signal takes its size out, and a sum grows as the least of its branches (a
skip is what remains of a block at small signals).
"""

from functools import lru_cache
from math import prod

from landscape.structure.signs import SIGNAL_NORMS
from landscape.weights.fans import fans
from lattice import Activation, Add, Dense, Flatten, Lattice, Multiply, Norm, Op
from lattice.network.ops import Weighted

__all__ = ["MOST_NESTED", "more_of_nested_products"]

MOST_NESTED = 16.0  # above it a bound says nothing
BOUNDED = ("sigmoid", "hardsigmoid")
FACTORS = 3  # of which there must be as many
MOST_FACTORS = 64


@lru_cache(maxsize=64)
def more_of_nested_products(lattice: Lattice) -> tuple[float, str]:
    """The bound of this file, 1 where no product has three factors that read the input; the name of the topmost product.

    >>> from lattice import Conv, Input, Node
    >>> nodes = [Node("input", Input((1, 8))), Node("stem", Conv(16, 1), (0,))]
    >>> for name, below in (("one", 1), ("two", 4)):
    ...     nodes += [Node(f"{name}{i}", Conv(16, 1), (below,)) for i in range(2)]
    ...     nodes += [Node(name, Multiply(), (len(nodes) - 2, len(nodes) - 1))]
    >>> more, name = more_of_nested_products(Lattice(tuple(nodes)))
    >>> (
    ...     round(more),
    ...     name,
    ... )  # 15 x 4 of the input, 1.93 of the stem, 1.27 of the first factors
    (147, 'two')
    """
    names = [node.name for node in lattice.nodes if isinstance(node.op, Multiply) or _is_square(node.op)]
    factors = _factors(lattice, 0)
    if not names or factors < FACTORS:
        return 1.0, ""
    if factors > MOST_FACTORS:
        return float("inf"), names[-1]
    inputs = _inputs_of_a_factor(lattice)
    more = _moment(factors - 1, inputs) * (1 + (factors - 1) / inputs)
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Weighted):
            few = max(fans(node.op, lattice.input_shapes(node)[0])[0], lattice.shapes[position][0])
            more *= _moment(_factors(lattice, position), few)
    return more, names[-1]


def _moment(k: int, n: float) -> float:
    """E[S^k] of S = chi2_n / n."""
    return prod(1 + 2 * i / n for i in range(min(k, MOST_FACTORS)))


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
        elif not _holds_its_size(node.op):
            degrees[position] = max(below, default=0)
    return degrees[-1]


def _is_square(op: Op) -> bool:
    return isinstance(op, Activation) and op.name == "square"


def _holds_its_size(op: Op) -> bool:
    return (isinstance(op, Activation) and op.name in BOUNDED) or (isinstance(op, Norm) and op.kind in SIGNAL_NORMS)


def _inputs_of_a_factor(lattice: Lattice) -> float:
    """D of the product that sees the fewest inputs: channels times taps of the layers below; averages add none."""
    seen: list[float] = []
    least = float("inf")
    for node in lattice.nodes:
        below = [seen[i] for i in node.inputs]
        own = max(below, default=float(lattice.input_shape[0]))
        shapes = lattice.input_shapes(node) if node.inputs else ()
        if isinstance(node.op, Flatten):
            own *= prod(shapes[0][1:])
        elif isinstance(node.op, Weighted) and not isinstance(node.op, Dense):
            own *= fans(node.op, shapes[0])[0] * getattr(node.op, "groups", 1) / shapes[0][0]
        if isinstance(node.op, Multiply) or _is_square(node.op):
            least = min(least, *below)
        seen.append(min(own, float(prod(lattice.input_shape))))
    return max(least, 1.0) if least < float("inf") else float(prod(lattice.input_shape))
