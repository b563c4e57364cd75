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
opens the gate above is worth more, layer by layer: a factor of 1 + a each on the upper bound and a / 3 on the map, with
a = 0.4 / n of n weights a filter, or 1.5 / n beside a skip, whose weight adds to one. (MobileNets measure 1.0 to 1.4, MobileOne
27.) Maxima whose winners were not counted are taken as of independent values, which is up to twice too much each: a factor of
0.7 on the lower bound. (GoogLeNet's 13 measure 0.13.) A norm over positions takes out the mean of the gradient too, which
matters where an average above makes all positions' gradients alike: a factor of 1 - 0.7 / m on the lower bound and 2 / m on
the map, with m the channels that share the mean (1 for an instance norm).
"""

from collections.abc import Collection, Iterator
from math import prod
from typing import NamedTuple

from landscape.laws.guarantee import Guarantee
from landscape.structure.correlated_positions import correlated_positions
from landscape.structure.shared_signal import meet, shared_signals
from landscape.structure.signs import SIGNAL_NORMS
from landscape.weights.initialisation import fans
from lattice import Activation, Add, Blur, Conv, Dropout, Input, Lattice, Multiply, Node, Norm, Pad, Upsample
from lattice.network.ops import Merge, Pooling, Rearrangement, Summed, Weighted

__all__ = ["Size", "stated_size"]


class Size(NamedTuple):
    """Between what measured / predicted may lie, and the largest relative error of the map."""

    lowest: float
    highest: float
    map_error: float


def stated_size(lattice: Lattice, guarantee: Guarantee, scale_error: float = 0.0, counted: Collection[str] = ()) -> Size:
    """The `Size` that a guarantee states for this lattice.

    `scale_error` is the relative error of the variances' own estimates, `counted` names the maxima whose winners were counted.

    >>> from lattice import Conv
    >>> net = Lattice.chain((1, 8), [Conv(10, 3), Activation("relu"), Conv(10, 3)])
    >>> tuple(round(number, 3) for number in stated_size(net, Guarantee.WIDE_LIMIT))
    (0.833, 1.2, 0.07)
    """
    narrow = 1 / _narrowest(lattice)
    gates = [1 / lattice.shapes[node.inputs[0]][0] for node in lattice.nodes if _is_gate(node)]
    product = max((1 / shape[0] for node, shape in _shaped(lattice) if isinstance(node.op, Multiply)), default=0.0)
    shared = _shared_filters(lattice) if guarantee is not Guarantee.EXACT else []
    factor, map_error = {
        Guarantee.EXACT: (1.0, 0.0),
        Guarantee.WIDE_LIMIT: (1 + 2 * narrow, 0.02 + 0.5 * narrow),
        Guarantee.APPROXIMATE: (2 * (1 + product) * prod(1 + c / 2 for c in gates), 0.2 + product + sum(gates) / 20),
    }[guarantee]
    factor *= 1 + 3 * scale_error
    guessed = sum(_is_maximum(node) and node.name not in counted for node in lattice.nodes)
    means = [1 / m for m in _channels_of_means(lattice)] if guarantee is not Guarantee.EXACT else []
    return Size(
        0.7**guessed * prod(1 - 0.7 * mean for mean in means) / factor,
        factor * prod(1 + a for a in shared),
        map_error + scale_error + sum(shared) / 3 + 2 * sum(means),
    )


def _shaped(lattice: Lattice) -> Iterator[tuple[Node, tuple[int, ...]]]:
    return zip(lattice.nodes, lattice.shapes, strict=True)


def _is_gate(node: Node) -> bool:
    """Is it a gate, a maximum, or a norm over the signal? So counts what is not known to be linear."""
    op = node.op
    if isinstance(op, Activation):
        return op.name != "identity"
    if isinstance(op, Norm):
        return op.kind in SIGNAL_NORMS
    if isinstance(op, Pooling):
        return _is_maximum(node)
    return not isinstance(op, Blur | Dropout | Input | Merge | Pad | Rearrangement | Upsample | Weighted)


def _channels_of_means(lattice: Lattice) -> Iterator[int]:
    """For each norm over positions that an average stands above, how many channels share its mean."""
    correlated = correlated_positions(lattice)
    for position, (node, shape) in enumerate(_shaped(lattice)):
        if isinstance(node.op, Norm) and correlated[position]:
            if node.op.kind == "instance":
                yield 1
            elif node.op.kind == "group":
                yield shape[0] // node.op.groups


def _is_maximum(node: Node) -> bool:
    return isinstance(node.op, Pooling) and node.op.kind == "max"


def _narrowest(lattice: Lattice) -> int:
    """The least number of channels that something nonlinear, or a sum, reads; those of the input are the data's."""
    deciding = (node for node in lattice.nodes if isinstance(node.op, Norm | Pooling | Summed | Activation) or _is_gate(node))
    read = [i for node in deciding for i in node.inputs if i]
    return min((lattice.shapes[i][0] for i in read), default=1)


def _shared_filters(lattice: Lattice) -> list[float]:
    """The a of every depthwise or narrowly grouped convolution; those that meet in one sum count once."""
    reach = shared_signals(lattice)
    found: dict[int, float] = {}
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Conv) and node.op.groups > 1:
            fan_in, _ = fans(node.op, lattice.input_shapes(node)[0])
            sums = _sums_above(lattice, position)
            branches = [i for top in sums for i in lattice.nodes[top].inputs]
            beside = any(position not in reach[i] and meet(reach[i], reach[node.inputs[0]]) for i in branches)
            block = max(sums, default=position)
            share = (1.5 if beside else 0.4) / fan_in
            found[block] = min(found.get(block, share), share)
    return list(found.values())


def _sums_above(lattice: Lattice, position: int) -> list[int]:
    """The sums that a node reaches through norms and sums alone."""
    found, waiting = [], [position]
    while waiting:
        for above in lattice.readers[waiting.pop()]:
            op = lattice.nodes[above].op
            if isinstance(op, Add | Norm):
                waiting.append(above)
            if isinstance(op, Add):
                found.append(above)
    return found
