r"""What gates and choices let through, where it is known beyond the symmetry of what they read.

A gate over one filter's output needs no knowledge: it is open half of the time. Others do: after a residual sum, smooth
activations, which cell of a max-pool wins. The rates come from theory (`landscape.signal`) or from forward passes on
white noise or on given images (`landscape.observing`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from landscape.gains import SIGNAL_NORMS, Sign, has_slopes, node_signs
from landscape.plan import plan
from lattice import Activation, AdaptivePool, Add, Dropout, GlobalPool, Lattice, Multiply, Node, Norm, Pool

__all__ = ["Gates", "gate_under", "gates_below", "skips", "unknown_rates"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Gates:
    """Rates by node name; what is absent follows from symmetry, or takes the cells of a max-pool as alike.

    `gains`: E[phi'(z)^2] of an activation, E[gate^2] of a product, E[1 / variance] of a norm over the signal, over the
    output (channels or 1, *spatial), or one number. `joint`: E[phi'(z) phi'(z')] at the pairs of positions that
    `landscape.plan` carries. `taps`: for a max-pool, how often each tap of each window passes its gradient, divided by how
    often the gate below it is open: (taps, channels or 1, *outputs). `runs`: by (lowest, highest) gate of a trunk, E[prod
    phi'(z)^2] over the gates from the one to the other (`landscape.trunk`), (channels or 1, *spatial).
    `firsts`: E[phi'(z)] of an activation, as `gains`. `products`: by (product, input number) E[g^2] of the factors g that
    multiply this input, over the output of the product; `product_joint`: E[g g'] at the pairs of positions that are carried.
    `replicates`: the same rates with one part of the forward passes left out each, from which a jackknife takes their error;
    empty where they have none. `ground`: where they come from, in words.
    """

    gains: Mapping[str, Any] = field(default_factory=dict)
    joint: Mapping[str, Array] = field(default_factory=dict)
    taps: Mapping[str, Array] = field(default_factory=dict)
    runs: Mapping[tuple[str, str], Array] = field(default_factory=dict)
    ground: str = "taken as equally likely"
    firsts: Mapping[str, Any] = field(default_factory=dict)
    products: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    product_joint: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    replicates: Sequence["Gates"] = ()


def unknown_rates(lattice: Lattice, shifted: Collection[str] = (), signs: Mapping[str, Any] | None = None) -> dict[str, Node]:
    """The nodes whose rates symmetry does not tell, by name; arguments as of `landscape.gains.node_signs`.

    >>> from lattice import Conv
    >>> relu, silu = Activation("relu"), Activation("silu")
    >>> list(unknown_rates(Lattice.chain((1, 8), [Conv(2, 3), relu, Conv(2, 3), silu, Pool("max", 2)])))
    ['activation2', 'pool1']
    """
    known = node_signs(lattice, shifted, signs)
    found = {}
    for node in lattice.nodes[1:]:
        op, below = node.op, known[node.inputs[0]]
        if isinstance(op, Activation):
            needed = not has_slopes(op) or below in (Sign.SKEWED, Sign.DATA)
        elif isinstance(op, Pool | AdaptivePool | GlobalPool):
            needed = op.kind == "max"
        else:
            needed = isinstance(op, Multiply) or (isinstance(op, Norm) and op.kind in SIGNAL_NORMS)
        if needed:
            found[node.name] = node
    for _, _, lower, upper in skips(lattice):
        found.update((name, lattice.nodes[lattice.names.index(name)]) for name in (lower, upper))
    planned = plan(lattice)
    for (a, b), axes in planned.carried.items():
        if a == b and isinstance(lattice.nodes[a].op, Activation) and not all(pairs.is_diagonal for pairs in axes):
            found[lattice.nodes[a].name] = lattice.nodes[a]
    return found


def gates_below(lattice: Lattice) -> dict[str, str]:
    """By activation, the activation that it reads with nothing but a factor or a shift between: no fresh weights.

    >>> from lattice import Conv
    >>> layers = [Conv(2, 3), Activation("leaky_relu"), Norm("scale"), Activation("relu"), Conv(2, 3), Activation("relu")]
    >>> gates_below(Lattice.chain((1, 8), layers))
    {'activation2': 'activation1'}
    """
    found = {}
    for node in lattice.nodes[1:]:
        below = gate_under(lattice, node.inputs[0]) if isinstance(node.op, Activation) else None
        if below is not None:
            found[node.name] = below
    return found


def gate_under(lattice: Lattice, position: int) -> str | None:
    """The activation whose values this node has, up to a factor and a shift; None where it has those of no activation."""
    node = lattice.nodes[position]
    while isinstance(node.op, Dropout) or (isinstance(node.op, Norm) and node.op.kind in ("batch", "scale")):
        node = lattice.nodes[node.inputs[0]]
    return node.name if isinstance(node.op, Activation) else None


def skips(lattice: Lattice) -> Iterator[tuple[str, int, str, str]]:
    """(sum, input number, activation below, activation above) wherever a skip joins two gates of the same unit."""
    for position, node in enumerate(lattice.nodes):
        above = [lattice.nodes[i] for i in lattice.readers[position]]
        if not isinstance(node.op, Add) or not above or not all(isinstance(one.op, Activation) for one in above):
            continue
        for place, i in enumerate(node.inputs):
            below = lattice.nodes[i]
            while isinstance(below.op, Dropout):
                below = lattice.nodes[below.inputs[0]]
            if isinstance(below.op, Activation):
                yield node.name, place, below.name, above[0].name
