r"""A norm over the channels of a position, under an average: what it divides by differs from position to position.

The size s_p^2 of a position that sees D inputs is chi-squared of D numbers. A path through one position is divided by s_p^2, a
pair of paths through two of them by s_p s_q, and E[1 / s_p^2] is larger than E[1 / (s_p s_q)], where the law has one factor for
both. A pixel that more positions read has more pairs, so that it is the map that this changes. Measured are map errors of 0.07
and 0.02 at D = 3 and 6, and where averages stand below too, over which all cells are one input, of 0.21, 0.09, 0.05 and 0.03 at
D = 3, 6, 12 and 24 (two axes, windows of two cells) and of 0.33 at D = 3 (three axes): 1 / D is stated on the map, and 1 / 4 D
without an average below.
"""

from math import prod

from landscape.structure.correlated_positions import correlated_positions, reads_several
from landscape.structure.signs import SIGNAL_NORMS
from lattice import Blur, Input, Lattice, Norm
from lattice.network.ops import Pooling, WeightedWindow

__all__ = ["error_of_sizes"]


def error_of_sizes(lattice: Lattice) -> float:
    """The sum of 1 / D, or 1 / 4 D without an average below, over the lowest norms over channels that stand under an average.

    >>> from lattice import Conv, GlobalPool, Pool
    >>> layers = [Conv(16, 1), Pool("avg", 2, 1), Norm("layer"), GlobalPool("avg")]
    >>> round(error_of_sizes(Lattice.chain((3, 8), layers)), 3)
    0.333
    """
    alike = correlated_positions(lattice)
    total = 0.0
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Norm) and node.op.kind in ("layer", "rms") and alike[position]:
            inputs, averaged, normed = _seen(lattice, node.inputs[0])
            total += 0.0 if normed else 1 / (inputs if averaged else 4 * inputs)
    return total


def _seen(lattice: Lattice, position: int) -> tuple[int, bool, bool]:
    """How many inputs one position sees, an average being one cell; is there an average, or a norm over the signal?

    The least over branches.
    """
    found: list[tuple[int, bool, bool]] = []  # cells of the input, averages, norms
    for node in lattice.nodes[: position + 1]:
        op = node.op
        if isinstance(op, Input):
            found.append((1, False, False))
            continue
        parts = [found[i] for i in node.inputs]
        read = lattice.input_shapes(node)[0]
        windows = zip(op.windows(read[1:]), read[1:], strict=True) if isinstance(op, WeightedWindow) else ()
        taps = prod(window.taps(n) for window, n in windows)
        cells = min(min(cells for cells, _, _ in parts) * taps, prod(lattice.input_shape[1:]))
        average = isinstance(op, Blur) or (isinstance(op, Pooling) and op.kind == "avg" and reads_several(op, read[1:]))
        normed = isinstance(op, Norm) and op.kind in SIGNAL_NORMS
        found.append((cells, average or any(a for _, a, _ in parts), normed or any(n for _, _, n in parts)))
    cells, averaged, normed = found[position]
    return cells * lattice.input_shape[0], averaged, normed
