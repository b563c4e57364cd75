r"""Sums of gated filters that read the same inputs: what two of them have in common, though their weights are independent.

With w and w' two filters over the same D inputs u, E[w_i phi'(w u)] is not zero: w_i and the gate both follow u_i. For slopes a
and b below and above zero and V[w] = v it is sqrt(v / 2 pi) (b - a) u_i / |u|, so that two terms of a sum have in common

    E[w_i phi'(w u)]^2 / E[w_i^2 phi'(w u)^2] = (b - a)^2 / (pi (a^2 + b^2)) / D

on average over i. The law of single paths has none of it: a sum of n terms is worth as much as 1 + (n - 1) of this more. It
matters for averages over the channels of a layer of few inputs (16 channels of one input: 5.8).
"""

from collections import Counter
from collections.abc import Iterator
from math import pi, prod

from landscape.structure.signs import ODD, has_slopes, slopes
from landscape.weights.fans import fans
from lattice import Activation, Add, Dropout, Lattice, Norm, Slice
from lattice.network.ops import Weighted

__all__ = ["more_of_sums"]


def more_of_sums(lattice: Lattice) -> float:
    """The product of 1 + (n - 1) (b - a)^2 / (pi (a^2 + b^2) D) over the sums of n gates of filters that read D inputs.

    >>> from lattice import Conv, Input, Node
    >>> parts = [Node(f"part{i}", Slice(i, i + 1), (2,)) for i in range(4)]
    >>> below = (
    ...     Node("input", Input((2, 8))),
    ...     Node("conv", Conv(4, 1), (0,)),
    ...     Node("gate", Activation("relu"), (1,)),
    ... )
    >>> net = Lattice((*below, *parts, Node("mean", Add(), (3, 4, 5, 6))))
    >>> round(more_of_sums(net), 3)  # 1 + 3 / 2 pi
    1.477
    """
    return prod(_more(lattice, position) for position, node in enumerate(lattice.nodes) if isinstance(node.op, Add))


def _more(lattice: Lattice, position: int) -> float:
    terms: Counter[int] = Counter()  # by what their filters read
    shares: dict[int, float] = {}
    for gate, layer in _gates(lattice, position):
        op, node = lattice.nodes[gate].op, lattice.nodes[layer]
        assert isinstance(op, Activation)
        inputs, _ = fans(node.op, lattice.input_shapes(node)[0])
        terms[node.inputs[0]] += 1
        shares[node.inputs[0]] = max(shares.get(node.inputs[0], 0.0), _turning(op) / (pi * inputs))
    return 1 + sum((count - 1) * shares[source] for source, count in terms.items())


def _turning(op: Activation) -> float:
    """(b - a)^2 / (a^2 + b^2), at most 2; smooth ones as ReLUs."""
    if not has_slopes(op):
        return 0.0 if op.name in ODD else 1.0
    below, above = slopes(op)
    return (above - below) ** 2 / (above**2 + below**2)


def _gates(lattice: Lattice, position: int) -> Iterator[tuple[int, int]]:
    """Each term of a sum that is a gate of a filter: the gate, and the layer with weights."""
    for term in lattice.nodes[position].inputs:
        gate = _under(lattice, term)
        if isinstance(lattice.nodes[gate].op, Add):
            yield from _gates(lattice, gate)
        elif isinstance(lattice.nodes[gate].op, Activation):
            layer = _under(lattice, lattice.nodes[gate].inputs[0])
            if isinstance(lattice.nodes[layer].op, Weighted):
                yield gate, layer


def _under(lattice: Lattice, position: int) -> int:
    """What a node takes channels of, or multiplies by numbers."""
    while isinstance(lattice.nodes[position].op, Slice | Norm | Dropout):
        position = lattice.nodes[position].inputs[0]
    return position
