"""Networks whose moments at pairs of positions matter, and random laws for them."""

import numpy as np

from landscape.laws.batchnorm import dropout_gains
from landscape.prior import Gates
from landscape.weights.fans import weighted
from lattice import (
    Activation,
    Add,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pool,
)


def random_law(net: Lattice, seed: int) -> dict:
    """Random variances, factors with signs, gains of gates, dropouts and products, over channels and positions."""
    draw = np.random.default_rng(seed)
    names = dict(zip(net.names, net.shapes, strict=True))
    each = {node.name: node.op for node in net.nodes}
    factors = {name: draw.uniform(0.5, 2, names[name][0]) for name, op in each.items() if isinstance(op, Norm)}
    gains = {name: draw.uniform(0.2, 1, names[name]) for name, op in each.items() if isinstance(op, Activation)}
    norms = {name: draw.uniform(0.2, 1, names[name]) for name, op in each.items() if isinstance(op, Norm)}
    products = {
        (name, place): draw.uniform(0.2, 1, names[name])
        for name, op in each.items()
        if isinstance(op, Multiply)
        for place in range(2)
    }
    return {
        "variances": {name: draw.uniform(0.5, 2) for name, op in each.items() if weighted(op)},
        "factors": factors,
        "signs": {name: np.sign(draw.normal(size=len(factor))) for name, factor in factors.items()},
        "gates": Gates(gains={**gains, **norms, **dropout_gains(net)}, products=products),
    }


def average_around(*middle: Node, channels: int = 4) -> Lattice:
    """An average, layers, and a global average: pairs of positions are carried through all of them."""
    nodes = (
        Node("input", Input((1, 9))),
        Node("stem", Conv(channels, 3), (0,)),
        Node("below", Pool("avg", 2, 1), (1,)),
        *middle,
    )
    top = len(nodes) - 1
    return Lattice(
        (
            *nodes,
            Node("above", GlobalPool("avg"), (top,)),
            Node("flat", Flatten(), (top + 1,)),
            Node("head", Dense(2), (top + 2,)),
        )
    )


def pooled_twice() -> Lattice:
    """An average under a grouped convolution, gates, and a skip, so that pairs of positions of several channels are carried."""
    nodes = (
        Node("input", Input((2, 9))),
        Node("conv1", Conv(4, 3, padding=1), (0,)),
        Node("pool1", Pool("avg", 3, 1, padding=1), (1,)),
        Node("relu", Activation("relu"), (2,)),
        Node("conv2", Conv(4, 3, padding=1, groups=2), (3,)),
        Node("add", Add(), (2, 4)),
        Node("pool2", GlobalPool("avg"), (5,)),
        Node("flatten", Flatten(), (6,)),
        Node("dense", Dense(3), (7,)),
    )
    return Lattice(nodes)
