r"""What gates and choices let through, where it is known beyond the symmetry of what they read.

A gate over one filter's output needs no knowledge: it is open half of the time. Others do: after a residual sum, smooth
activations, which cell of a max-pool wins. The rates come from theory (`landscape.gates.gate_rates`) or from forward
passes on white noise or on given images (`landscape.tracing.gate_counts`).
"""

from collections.abc import Iterator
from typing import NamedTuple

from landscape.prior import Prior
from landscape.structure.signs import SIGNAL_NORMS, Sign, has_slopes
from lattice import Activation, Add, Concat, Dropout, GlobalPool, Lattice, Multiply, Node, Norm
from lattice.network.ops import Pooling

__all__ = ["gate_under", "gates_below", "is_affine", "pooled_gates", "Skip", "skips", "trunk_gates", "unknown_rates"]


def unknown_rates(prior: Prior) -> dict[str, Node]:
    """The nodes whose rates symmetry does not tell, by name.

    >>> from lattice import Conv, Pool
    >>> relu, silu = Activation("relu"), Activation("silu")
    >>> net = Lattice.chain((1, 8), [Conv(2, 3), relu, Conv(2, 3), silu, Pool("max", 2)])
    >>> list(unknown_rates(Prior(net, {"conv1": 1.0, "conv2": 1.0})))
    ['activation2', 'pool1']
    """
    lattice, found = prior.lattice, {}
    for position, node in enumerate(lattice.nodes[1:], start=1):
        op, below = node.op, prior.sign(position)
        if isinstance(op, Activation):
            needed = not has_slopes(op) or below in (Sign.SKEWED, Sign.DATA)
        elif isinstance(op, Pooling):
            needed = op.kind == "max"
        else:
            needed = isinstance(op, Multiply) or (isinstance(op, Norm) and op.kind in SIGNAL_NORMS)
        if needed:
            found[node.name] = node
    for skip in skips(lattice):
        found.update((name, lattice.nodes[lattice.names.index(name)]) for name in (skip.lower, skip.upper))
    for (a, b), axes in prior.plan.carried.items():
        if a == b and isinstance(lattice.nodes[a].op, Activation) and not all(pairs.is_diagonal for pairs in axes):
            found[lattice.nodes[a].name] = lattice.nodes[a]
    return found


def gates_below(lattice: Lattice) -> dict[str, str]:
    """By activation, the activation that it reads with nothing but a factor or a shift between: no fresh weights.

    >>> from lattice import Conv, Pool
    >>> layers = [
    ...     Conv(2, 3),
    ...     Activation("leaky_relu"),
    ...     Norm("scale"),
    ...     Activation("relu"),
    ...     Conv(2, 3),
    ...     Activation("relu"),
    ... ]
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
    return _gate_under(lattice, position)[0]


def _gate_under(lattice: Lattice, position: int) -> tuple[str | None, tuple[str, ...]]:
    """That activation, and the norms between."""
    node, norms = lattice.nodes[position], []
    while isinstance(node.op, Dropout) or is_affine(node):
        if is_affine(node):
            norms.append(node.name)
        node = lattice.nodes[node.inputs[0]]
    return (node.name if isinstance(node.op, Activation) else None), tuple(norms)


def is_affine(node: Node) -> bool:
    """Is it a factor and a shift for each channel?

    >>> from lattice import Conv
    >>> [
    ...     is_affine(Node("node", op, (0,)))
    ...     for op in (Norm("batch"), Norm("layer"), Conv(2, 3))
    ... ]
    [True, False, False]
    """
    return isinstance(node.op, Norm) and node.op.kind in ("batch", "scale")


class Skip(NamedTuple):
    """A skip that joins two gates of one unit: input number `place` of the sum `total`, from the gate `lower` to `upper`.

    `under` and `over` are the norms between the lower gate and the sum, and between the sum and the upper gate; `top` is the
    last sum on the way, which has all branches.
    """

    total: str
    place: int
    lower: str
    upper: str
    top: str
    under: tuple[str, ...] = ()
    over: tuple[str, ...] = ()


def skips(lattice: Lattice) -> Iterator[Skip]:
    """All skips that join two gates, the lowest sum first; factors, shifts, dropouts and further sums may stand on the way.

    >>> from lattice import Conv, residual
    >>> relu = Activation("relu")
    >>> net = Lattice.chain(
    ...     (1, 8),
    ...     [Conv(2, 3), relu, residual([Conv(2, 3, padding=1)], [Norm("batch")]), relu],
    ... )
    >>> list(skips(net))
    [Skip(total='add1', place=1, lower='activation1', upper='activation2', top='add1', under=('norm1',), over=())]
    """
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Add):
            upper, top, over = _gate_over(lattice, position)
            for place, i in enumerate(node.inputs):
                lower, under = _gate_under(lattice, i)
                if lower is not None and upper is not None:
                    yield Skip(node.name, place, lower, upper, top, under, over)


def trunk_gates(lattice: Lattice) -> set[str]:
    """The gates that skips join.

    >>> from lattice import Conv, residual
    >>> relu = Activation("relu")
    >>> layers = [
    ...     Conv(2, 3),
    ...     relu,
    ...     residual([Conv(2, 3, padding=1)]),
    ...     relu,
    ...     Conv(2, 1),
    ...     relu,
    ... ]
    >>> sorted(trunk_gates(Lattice.chain((1, 8), layers)))
    ['activation1', 'activation2']
    """
    return {gate for skip in skips(lattice) for gate in (skip.lower, skip.upper)}


def _gate_over(lattice: Lattice, position: int) -> tuple[str | None, str, tuple[str, ...]]:
    """The activation that reads a sum, itself or behind factors and further sums; the last sum; the norms between."""
    top = lattice.nodes[position].name
    norms: list[str] = []
    while True:
        above = [lattice.nodes[i] for i in lattice.readers[position]]
        if above and all(isinstance(one.op, Activation) for one in above):
            return above[0].name, top, tuple(norms)
        if len(above) != 1 or not (isinstance(above[0].op, Add | Dropout) or is_affine(above[0])):
            return None, top, ()
        position = lattice.readers[position][0]
        if is_affine(above[0]):
            norms.append(above[0].name)
        elif isinstance(above[0].op, Add):
            top = above[0].name


def pooled_gates(lattice: Lattice) -> tuple[int, ...]:
    """The positions of the ReLUs (or leaky ReLUs, abs) that a global average at the head reads, concatenated or alone.

    >>> from lattice import Conv, Dense, Flatten
    >>> relu = Activation("relu")
    >>> pooled_gates(
    ...     Lattice.chain(
    ...         (1, 8), [Conv(4, 3), relu, GlobalPool("avg"), Flatten(), Dense(2)]
    ...     )
    ... )
    (2,)
    >>> pooled_gates(Lattice.chain((1, 8), [Conv(4, 3), relu, Flatten(), Dense(2)]))
    ()
    """
    pools = [i for i, node in enumerate(lattice.nodes) if isinstance(node.op, GlobalPool) and node.op.kind == "avg"]
    if not pools or not _straight_to_the_top(lattice, pools[-1]):
        return ()
    gates, waiting = [], [lattice.nodes[pools[-1]].inputs[0]]
    while waiting:
        position = waiting.pop()
        op = lattice.nodes[position].op
        if isinstance(op, Dropout | Concat):
            waiting.extend(lattice.nodes[position].inputs)
        elif isinstance(op, Activation) and has_slopes(op) and len(lattice.readers[position]) == 1:
            gates.append(position)
    return tuple(sorted(gates))


def _straight_to_the_top(lattice: Lattice, position: int) -> bool:
    """Does only one chain lead from this node to the output?"""
    while position < len(lattice.nodes) - 1:
        if len(lattice.readers[position]) != 1:
            return False
        position = lattice.readers[position][0]
        if len(lattice.nodes[position].inputs) != 1:
            return False
    return True
