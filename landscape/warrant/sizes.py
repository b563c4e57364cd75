r"""How far off a prediction may be: what its guarantee states in numbers.

EXACT is exact for the variances that it was given. Everything else holds in the limit of many channels, so that what is left
out grows as 1 / c. Measured / predicted lies between 1 / f and f, and the map error is at most e:

    WIDE_LIMIT:    f = 1 + 2 / c,                                        e = 2 % + 50 % / c
    APPROXIMATE:   f = 2 (1 + 1 / p) prod over gates (1 + 1 / 2 c),      e = 20 % + 1 / p + 5 % sum over gates 1 / c

with c the number of channels that a gate, a maximum or a norm reads (of WIDE_LIMIT the least that these or a sum read), and p
that of the narrowest product of two signals, whose factors are not independent (without one 1 / p is 0). The map error is the
relative root mean square over pixels of the map of mean one. The bounds are set by hand, wide enough for the generated
networks that were judged by autograd (`make nets`); most are far closer, and RegNets at 64 pixels, whose maps have points a
hundred times as bright as the mean, are beyond the map's (docs/gallery.md). Where the variances are estimates, three of their
standard errors come on top.

Depthwise convolutions under gates come on top too. All positions of a channel share their few weights, so that a weight that
opens the gate above is worth more, layer by layer: a factor of 1 + a each on the upper bound and a / 3 on the map, with a =
0.4 / n of n weights a filter, or 1.5 / n beside a skip, whose weight adds to one. (MobileOne measures 27. Where the law of
`landscape.gates.filters` is added, a tenth a layer is left at most.) Maxima whose winners are not known are taken as of
independent values, which is up to twice too much each: a factor of 0.7 on the lower bound. (GoogLeNet's 13 measure 0.13.)
Where sums, averages or resizes stand between them and gates, these are taken to be open half of the time below the winner too:
a factor of 2 on the upper bound.
Norms over maxima of few filters divide by more than is known (`landscape.warrant.norms_over_maxima`), and maxima of sums of
few saturating gates pass less (`landscape.warrant.saturated_winners`): factors on the lower bound. Norms over channels between
averages: 1 / D on the map (`landscape.warrant.norms_between_averages`). A norm over positions takes out the part of the
gradient along its own values too, which matters where an average above makes all positions' gradients alike: a factor of 1 -
0.7 / m on the lower bound and 1 / (2 m) on the map, with m the channels that share the mean (1 for an instance norm); 2 / m
where there are too many positions for the law of the mean. What it takes and spreads over its n values, 2 / n, is on the map
in any case. A batch norm in training mode over B inputs does so with the mean over the batch, and with the part along its own
values: of Gaussian values that a whole input shares it leaves r = E[(1 - 1/B - y^2/B)^2] = (1 - 1/B)(1 - 3/B) + 3 (B - 1) /
(B^2 (B + 1)), a factor on the lower bound once (below the first such norm the mean over the batch is gone), and (1 - r) / 2 on
the map.

Two gates without fresh weights between, which a fixed map or a sum of more than a skip joins, open together or apart: one that
is open half of the time beside the other is worth twice, or nothing in part; a factor of 2 each, both ways. The largest of n
products has factors larger than theirs are on average: the tail of a product of two Gaussians falls as exp(-p), and the
largest of n such values is H_n = 1 + 1/2 + ... + 1/n on average, a factor on the upper bound; of n squares whose winners are
not known it is the mean of the largest of n chi-squared numbers. Two factors that read one signal grow with its size S, and
E[S^2] / E[S]^2 is 1 + 5 / c more for each layer of c ReLUs in a chain, and less in a trunk: a factor of 1.5 for the size of
the input and of 1 + 3 / c for each gate below both factors on the upper bound, unless one of them is bounded (a sigmoid).
Products of products grow more (`landscape.warrant.nested_products`, a factor on the upper bound).
Gates under an average leave out what two taps of one filter have in common with their gates (the second path law, which is
added for some pooled heads only): up to as much as is kept, which the factor 2 covers (1.5 more under a global average that
reads no gate), and in the shape of another map, so that 1/2 comes on the map. The slopes of smooth ones at two positions are
taken as independent: a factor of 1.6 on the upper bound for each of the first two, above which positions have little in common
(two of tanh to GELU with 8 channels measure 1.06 to 1.32 together). Sums of gated filters that read the same few inputs pass
more, as `landscape.warrant.sums_of_gates` says.
"""

from collections.abc import Collection, Iterator
from math import exp, prod
from typing import NamedTuple

from landscape.gates.gates import pooled_gates, skips
from landscape.structure.correlated_positions import correlated_positions, reads_several
from landscape.structure.plan import takes_a_mean
from landscape.structure.shared_signal import meet, shared_signals
from landscape.structure.signs import SIGNAL_NORMS, has_slopes, is_batch_norm, slopes
from landscape.warrant.guarantee import Guarantee
from landscape.warrant.nested_products import BOUNDED
from landscape.warrant.norms_between_averages import error_of_sizes
from landscape.warrant.norms_over_maxima import largest_square, least_through_norms_over_maxima
from landscape.warrant.saturated_winners import cells_of_maximum, lost_by_saturated_winners
from landscape.warrant.sums_of_gates import more_of_sums
from landscape.weights.fans import fans
from lattice import Activation, Add, Blur, Conv, Dropout, GlobalPool, Input, Lattice, Multiply, Node, Norm, Op, Pad, Upsample
from lattice.network.ops import Merge, Pooling, Rearrangement, Summed, Weighted

__all__ = ["Size", "stated_size"]

NONE = -(2**31)  # of paths that are not there


class Size(NamedTuple):
    """Between what measured / predicted may lie, and the largest relative error of the map.

    Parameters
    ----------
    lowest : float
        Least measured / predicted.
    highest : float
        Largest measured / predicted.
    map_error : float
        Largest relative root mean square error of the map of mean one.
    """

    lowest: float
    highest: float
    map_error: float

    def holds(self, other: "Size") -> bool:
        """Does it allow all that the other one does?

        >>> Size(0.5, 2.0, 0.2).holds(Size(0.9, 1.1, 0.2))
        True
        """
        return self.lowest <= other.lowest and other.highest <= self.highest and other.map_error <= self.map_error

    def united(self, other: "Size") -> "Size":
        """What holds both.

        >>> Size(0.5, 2.0, 0.2).united(Size(0.9, 3.0, 0.1))
        Size(lowest=0.5, highest=3.0, map_error=0.2)
        """
        return Size(min(self.lowest, other.lowest), max(self.highest, other.highest), max(self.map_error, other.map_error))


def stated_size(
    lattice: Lattice,
    guarantee: Guarantee,
    scale_error: float = 0.0,
    counted: Collection[str] = (),
    batch: int | None = None,
    growth: float = 1.0,
) -> Size:
    """The `Size` that a guarantee states for this lattice.

    `scale_error` is the relative error of the variances' own estimates, `counted` names the maxima whose winners are known,
    `batch` is that of batch norms in training mode (None: evaluation mode), `growth` that of products of products
    (`landscape.warrant.nested_products`).

    >>> from lattice import Conv
    >>> net = Lattice.chain((1, 8), [Conv(10, 3), Activation("relu"), Conv(10, 3)])
    >>> tuple(round(number, 3) for number in stated_size(net, Guarantee.WIDE_LIMIT))
    (0.833, 1.2, 0.07)
    """
    if guarantee is Guarantee.EXACT:
        return Size(1 / (1 + 3 * scale_error), 1 + 3 * scale_error, scale_error)
    narrow = 1 / _narrowest(lattice)
    gates = [1 / shape[0] for node, shape in _read(lattice) if _is_gate(node, shape)]
    product = max((1 / shape[0] for node, shape in _shaped(lattice) if isinstance(node.op, Multiply)), default=0.0)
    shared = _shared_filters(lattice)
    factor, map_error = {
        Guarantee.WIDE_LIMIT: (1 + 2 * narrow, 0.02 + 0.5 * narrow),
        Guarantee.APPROXIMATE: (2 * (1 + product) * prod(1 + c / 2 for c in gates), 0.2 + product + sum(gates) / 20),
    }[guarantee]
    factor *= (1 + 3 * scale_error) * 2 ** _joined_gates(lattice)
    maxima = [i for i, node in enumerate(lattice.nodes) if node.inputs and _is_maximum(node, lattice.shapes[node.inputs[0]])]
    guessed = [i for i in maxima if lattice.nodes[i].name not in counted]
    means = list(_shares_of_means(lattice))
    of_winners = least_through_norms_over_maxima(lattice) * exp(-sum(lost for *_, lost in lost_by_saturated_winners(lattice)))
    left = _left_by_batch_norms(lattice, batch)
    averaged = _has_gates_under_averages(lattice, batch)
    pooled = any(isinstance(node.op, GlobalPool) and node.op.kind == "avg" for node in lattice.nodes)
    smooth = _smooth_under_averages(lattice)
    second_law = 1.5 if averaged and pooled and not smooth and not pooled_gates(lattice) else 1.0
    return Size(
        0.7 ** len(guessed) * prod(1 - 0.7 * share for share, _ in means) * of_winners * left / factor,
        factor
        * second_law
        * 1.6**smooth
        * max(_common_size(lattice), growth)
        * more_of_sums(lattice)
        * prod(1 + a for a in shared)
        * 2 ** sum(_gates_apart(lattice, position) for position in guessed)
        * prod(_largest_products(lattice, position) for position in maxima)
        * prod(_largest_squares(lattice, position) for position in maxima if lattice.nodes[position].name not in counted),
        map_error
        + scale_error
        + error_of_sizes(lattice)
        + sum(shared) / 3
        + sum(error for _, error in means)
        + (1 - left) / 2
        + averaged / 2,
    )


def _shaped(lattice: Lattice) -> Iterator[tuple[Node, tuple[int, ...]]]:
    return zip(lattice.nodes, lattice.shapes, strict=True)


def _read(lattice: Lattice) -> Iterator[tuple[Node, tuple[int, ...]]]:
    """Each node with the shape of its first input."""
    return ((node, lattice.shapes[node.inputs[0]]) for node in lattice.nodes if node.inputs)


def _is_gate(node: Node, read: tuple[int, ...]) -> bool:
    """Is it a gate, a maximum, or a norm over the signal? So counts what is not known to be linear."""
    op = node.op
    if isinstance(op, Activation):
        return op.name != "identity"
    if isinstance(op, Norm):
        return op.kind in SIGNAL_NORMS
    if isinstance(op, Pooling):
        return _is_maximum(node, read)
    return not isinstance(op, Blur | Dropout | Input | Merge | Pad | Rearrangement | Upsample | Weighted)


def _is_maximum(node: Node, read: tuple[int, ...]) -> bool:
    """Is it the largest of several cells?"""
    return isinstance(node.op, Pooling) and node.op.kind == "max" and reads_several(node.op, read[1:])


def _joined_gates(lattice: Lattice) -> int:
    """The most gates on one path that read another one on it through a fixed map or a sum, without fresh weights between.

    Not counted are the two ends of a skip, which the trunk law knows.
    """
    trunk = {skip.upper for skip in skips(lattice)}
    fresh, gated, joined = [0], [NONE], [NONE]  # the most on the paths to each node, by what they passed last
    for position, node in enumerate(lattice.nodes[1:], start=1):
        c, a, b = (max(counts[i] for i in node.inputs) for counts in (fresh, gated, joined))
        if isinstance(node.op, Weighted):
            c, a, b = max(c, a, b), NONE, NONE
        elif isinstance(node.op, Activation) and not _is_line(node.op):
            c, a, b = NONE, max(c, a, b + (node.name not in trunk)), NONE
        elif _joins(lattice, position):
            a, b = NONE, max(a, b)
        for counts, count in ((fresh, c), (gated, a), (joined, b)):
            counts.append(count)
    return max(fresh[-1], gated[-1], joined[-1])


def _joins(lattice: Lattice, position: int) -> bool:
    """Does a node without weights add up several values?"""
    node = lattice.nodes[position]
    linear = isinstance(node.op, Upsample) and node.op.mode == "linear"
    return isinstance(node.op, Add) or linear or reads_several(node.op, lattice.input_shapes(node)[0][1:])


def _is_line(op: Activation) -> bool:
    return has_slopes(op) and len({abs(slope) for slope in slopes(op)}) == 1


def _has_gates_under_averages(lattice: Lattice, batch: int | None) -> bool:
    """Does a gate stand under an average, without the second path law?"""
    added = [] if batch is not None and any(map(is_batch_norm, lattice.nodes)) else pooled_gates(lattice)
    under = (position for position, alike in enumerate(correlated_positions(lattice)) if alike and position not in added)
    return any(isinstance(lattice.nodes[position].op, Activation) for position in under)


def _smooth_under_averages(lattice: Lattice) -> int:
    """Up to two smooth gates under an average, whose slopes at two positions are taken as independent."""
    alike = correlated_positions(lattice)
    return min(
        2, sum(a and isinstance(n.op, Activation) and not has_slopes(n.op) for a, n in zip(alike, lattice.nodes, strict=True))
    )


def _left_by_batch_norms(lattice: Lattice, batch: int | None) -> float:
    """r of B, where a batch norm in training mode stands under an average; else 1."""
    alike = correlated_positions(lattice)
    if batch is None or not any(alike[position] and is_batch_norm(node) for position, node in enumerate(lattice.nodes)):
        return 1.0
    return (1 - 1 / batch) * (1 - 3 / batch) + 3 * (batch - 1) / (batch**2 * (batch + 1))


def _gates_apart(lattice: Lattice, position: int) -> bool:
    """Do gates stand below a maximum without weights between, and something that adds cells up between?"""
    waiting = [(i, False) for i in lattice.nodes[position].inputs]
    while waiting:
        below, apart = waiting.pop()
        node = lattice.nodes[below]
        if apart and isinstance(node.op, Activation) and not _is_line(node.op):
            return True
        if not isinstance(node.op, Weighted):
            waiting += [(i, apart or _joins(lattice, below)) for i in node.inputs]
    return False


def _largest_products(lattice: Lattice, position: int) -> float:
    """H_n of a maximum over n cells with a product below, without fresh weights between; else 1."""
    found = any(isinstance(op, Multiply) for op in _without_weights_between(lattice, position))
    return sum(1 / k for k in range(1, cells_of_maximum(lattice, lattice.nodes[position]) + 1)) if found else 1.0


def _largest_squares(lattice: Lattice, position: int) -> float:
    """E[max of n squares of Gaussians] of a maximum over n cells with a square below, without fresh weights between; else 1.

    What passes the square of z is 4 z^2, and z^2 is what the maximum looks for.
    """
    squares = (isinstance(op, Activation) and op.name == "square" for op in _without_weights_between(lattice, position))
    return largest_square(cells_of_maximum(lattice, lattice.nodes[position])) if any(squares) else 1.0


def _without_weights_between(lattice: Lattice, position: int) -> Iterator[Op]:
    """The ops below a node, down to the layers with weights."""
    waiting = list(lattice.nodes[position].inputs)
    while waiting:
        node = lattice.nodes[waiting.pop()]
        yield node.op
        waiting += [] if isinstance(node.op, Weighted) else node.inputs


def _common_size(lattice: Lattice) -> float:
    """1.5 prod (1 + 3 / c) over the gates below both factors of a product of which neither is bounded; the largest, or 1."""
    gates: list[frozenset[int]] = []  # at each node and below it
    largest = 1.0
    for position, node in enumerate(lattice.nodes):
        read = lattice.shapes[node.inputs[0]] if node.inputs else ()
        own = {position} if read and _is_gate(node, read) else ()
        gates.append(frozenset(own).union(*(gates[i] for i in node.inputs)))
        if isinstance(node.op, Multiply) and not any(_is_bounded(lattice.nodes[i].op) for i in node.inputs):
            common = frozenset.intersection(*(gates[i] for i in node.inputs))
            largest = max(largest, 1.5 * prod(1 + 3 / lattice.shapes[lattice.nodes[i].inputs[0]][0] for i in common))
    return largest


def _is_bounded(op: Op) -> bool:
    return isinstance(op, Activation) and op.name in BOUNDED


def _shares_of_means(lattice: Lattice) -> Iterator[tuple[float, float]]:
    """Of each norm over positions 1 / m of m channels that share its mean, 0 without an average above; the map's error."""
    correlated = correlated_positions(lattice)
    for position, (node, shape) in enumerate(_shaped(lattice)):
        if isinstance(node.op, Norm) and node.op.kind in ("instance", "group"):
            share = 1.0 if node.op.kind == "instance" else node.op.groups / shape[0]
            spread = 2 * share / prod(shape[1:])
            known = share / 2 if takes_a_mean(node.op, shape) else 2 * share
            yield (share, known + spread) if correlated[position] else (0.0, spread)


def _narrowest(lattice: Lattice) -> int:
    """The least number of channels that something nonlinear, or a sum, reads; those of the input are the data's."""
    shaped = _read(lattice)
    deciding = (
        node for node, read in shaped if isinstance(node.op, Norm | Pooling | Summed | Activation) or _is_gate(node, read)
    )
    read = [i for node in deciding for i in node.inputs if i]
    return min((lattice.shapes[i][0] for i in read), default=1)


def _shared_filters(lattice: Lattice) -> list[float]:
    """The a of every depthwise or narrowly grouped convolution; those that meet in one sum count once."""
    reach = shared_signals(lattice)
    readings: dict[int, float] = {}
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Conv) and node.op.groups > 1:
            fan_in, _ = fans(node.op, lattice.input_shapes(node)[0])
            sums = _sums_above(lattice, position)
            branches = [i for top in sums for i in lattice.nodes[top].inputs]
            beside = any(position not in reach[i] and meet(reach[i], reach[node.inputs[0]]) for i in branches)
            block = max(sums, default=position)
            share = (1.5 if beside else 0.4) / fan_in
            readings[block] = min(readings.get(block, share), share)
    return list(readings.values())


def _sums_above(lattice: Lattice, position: int) -> list[int]:
    """The sums that a node reaches through norms and sums alone."""
    sums, waiting = [], [position]
    while waiting:
        for above in lattice.readers[waiting.pop()]:
            op = lattice.nodes[above].op
            if isinstance(op, Add | Norm):
                waiting.append(above)
            if isinstance(op, Add):
                sums.append(above)
    return sums
