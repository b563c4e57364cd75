"""Two gates of one signal on two branches that meet in a sum: their slopes are not independent, at any width.

`relu(z) - relu(z)` is zero, though each gate is open half of the time. The sweep of the general law carries the moments of two
branches down one gate after the other, each by its mean slope; that is right where one branch has no gate that the other
has not (the gates of both stay together then), and has no meaning where each has one of its own.
"""

from functools import lru_cache

from landscape.gates.gates import gate_under, skips
from landscape.structure.plan import State, plan
from landscape.weights.fans import fans
from lattice import Activation, Add, Dropout, Lattice, Node, Norm
from lattice.network.ops import Weighted

__all__ = ["parallel_gates", "scaled_copies"]


@lru_cache(maxsize=64)
def parallel_gates(lattice: Lattice) -> tuple[tuple[str, str], ...]:
    """The pairs of gates that stand on two branches of one signal which meet in a sum without fresh weights between.

    >>> from lattice import Add, Conv, Input, Node
    >>> relu, tanh = Activation("relu"), Activation("tanh")
    >>> nodes = [
    ...     Node("x", Input((1, 5))),
    ...     Node("a", Conv(4, 3), (0,)),
    ...     Node("b", relu, (1,)),
    ...     Node("c", tanh, (1,)),
    ... ]
    >>> parallel_gates(Lattice((*nodes, Node("sum", Add(), (2, 3)))))
    (('b', 'c'),)
    >>> parallel_gates(
    ...     Lattice((*nodes[:3], Node("c", tanh, (2,)), Node("sum", Add(), (2, 3))))
    ... )
    ()
    """
    below: list[frozenset[int]] = []
    for node in lattice.nodes:
        below.append(frozenset(node.inputs).union(*(below[i] for i in node.inputs)))
    passed: dict[
        State, set[frozenset[int]]
    ] = {}  # the gates that single sides of a moment passed on the way to a pair of nodes
    found: dict[tuple[str, str], None] = {}
    for step in plan(lattice).steps:
        ways = passed.get(step.source, {frozenset()})
        if step.source[0] == step.source[1]:
            ways = {frozenset()}
        if step.side is not None and isinstance(lattice.nodes[step.node].op, Activation):
            ways = {way | {step.node} for way in ways}
            if step.target[0] == step.target[1]:
                ways = {way for way in ways if not _note(lattice, way, below, found)}
        passed.setdefault(step.target, set()).update(ways)
    return tuple(found)


def scaled_copies(lattice: Lattice) -> tuple[tuple[str, str], ...]:
    """(layer, gate): a layer of one weight a channel that reads a gate and is added to it alone, below another gate.

    What the upper gate reads is the lower one times a number, which no law of two gates beside each other covers.

    >>> from lattice import Conv, residual
    >>> relu = Activation("leaky_relu")
    >>> net = Lattice.chain(
    ...     (1, 8), [Conv(4, 3), relu, residual([Conv(4, 1, groups=4)]), relu]
    ... )
    >>> scaled_copies(net)
    (('conv2', 'activation1'),)
    """
    found: dict[tuple[str, str], None] = {}
    for skip in skips(lattice):
        terms = _terms(lattice, lattice.names.index(skip.total))
        branches = [_weights_under(lattice, i) for i in terms if gate_under(lattice, i) != skip.lower]
        if branches and all(_is_copy(lattice, node, skip.lower) for node in branches):
            found.update(((node.name, skip.lower), None) for node in branches)
    return tuple(found)


def _terms(lattice: Lattice, position: int) -> list[int]:
    """What the whole sum adds up of which this sum is a part."""
    readers = lattice.readers[position]
    while len(readers) == 1 and isinstance(lattice.nodes[readers[0]].op, Add):
        position, readers = readers[0], lattice.readers[readers[0]]
    found: list[int] = []
    waiting = [position]
    while waiting:
        node = lattice.nodes[waiting.pop()]
        for i in node.inputs:
            (waiting if isinstance(lattice.nodes[i].op, Add) else found).append(i)
    return found


def _weights_under(lattice: Lattice, position: int) -> Node:
    """The first node below that is no norm and no dropout."""
    node = lattice.nodes[position]
    while isinstance(node.op, Norm | Dropout):
        node = lattice.nodes[node.inputs[0]]
    return node


def _is_copy(lattice: Lattice, node: Node, gate: str) -> bool:
    """Does a layer give what a gate gives, times one weight a channel?"""
    if not isinstance(node.op, Weighted) or gate_under(lattice, node.inputs[0]) != gate:
        return False
    return fans(node.op, lattice.input_shapes(node)[0])[0] == 1


def _note(lattice: Lattice, way: frozenset[int], below: list[frozenset[int]], found: dict[tuple[str, str], None]) -> bool:
    """Note the gates of a way of which none stands over the other."""
    pairs = [(a, b) for a in sorted(way) for b in sorted(way) if a < b and a not in below[b]]
    found.update({(lattice.nodes[a].name, lattice.nodes[b].name): None for a, b in pairs})
    return bool(pairs)
