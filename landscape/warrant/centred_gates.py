r"""Gates of a signal less its average, whose average is read: where the slopes at all positions are alike, nothing is left.

The average of phi(y_p - mean y) has the derivative (1 / P) sum_p (phi'_p - mean phi') dy_p. The law takes the slopes of smooth
gates at two positions as independent. Of two positions one is the other's negative, so that even slopes are equal and the
derivative is 0; of three a tanh measures 0.41 of the prediction, of four 0.51, of eight 0.75.
"""

from landscape.laws.batchnorm import averaged_next
from landscape.structure.signs import has_slopes
from lattice import Activation, Add, GlobalPool, Lattice, Norm, Upsample

__all__ = ["centred_gates"]

EVEN = ("tanh", "sigmoid", "hardtanh", "hardsigmoid", "softsign", "relu6")  # slopes, or nearly constant ones
FEW_POSITIONS = 4


def centred_gates(lattice: Lattice) -> list[str]:
    """The gates of a signal less its average over so few positions, of which an average is all that is read.

    >>> from lattice import Input, Node
    >>> nodes = [
    ...     Node("x", Input((1, 2))),
    ...     Node("mean", GlobalPool(), (0,)),
    ...     Node("minus", Norm("scale"), (1,)),
    ...     Node("spread", Upsample(size=(2,)), (2,)),
    ...     Node("centred", Add(), (0, 3)),
    ...     Node("gate", Activation("tanh"), (4,)),
    ...     Node("average", GlobalPool(), (5,)),
    ... ]
    >>> centred_gates(Lattice(tuple(nodes)))
    ['gate']
    """
    found = []
    for position, node in enumerate(lattice.nodes):
        smooth = isinstance(node.op, Activation) and node.op.name in EVEN and not has_slopes(node.op)
        few = 2 <= _positions(lattice, position) <= FEW_POSITIONS
        if smooth and few and _is_centred(lattice, node.inputs[0]) and averaged_next(lattice, position):
            found.append(node.name)
    return found


def _positions(lattice: Lattice, position: int) -> int:
    count = 1
    for n in lattice.shapes[position][1:]:
        count *= n
    return count


def _is_centred(lattice: Lattice, position: int) -> bool:
    """Is it a sum of a node and a multiple of that node's average?"""
    node = lattice.nodes[position]
    while isinstance(node.op, Norm) and node.op.kind in ("scale", "batch"):
        node = lattice.nodes[node.inputs[0]]
    return isinstance(node.op, Add) and any(_average_below(lattice, i) in node.inputs for i in node.inputs)


def _average_below(lattice: Lattice, position: int) -> int | None:
    """What a node is the average of, up to a factor, at all positions; else None."""
    node = lattice.nodes[position]
    while isinstance(node.op, Upsample) or (isinstance(node.op, Norm) and node.op.kind == "scale"):
        node = lattice.nodes[node.inputs[0]]
    return node.inputs[0] if isinstance(node.op, GlobalPool) and node.op.kind == "avg" else None
