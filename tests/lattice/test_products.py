"""A product of two signals: d(ab) = b da + a db, so that paths lead through both factors, whichever stands first."""

from collections import Counter

import numpy as np
import pytest

from lattice import (
    Activation,
    Conv,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Node,
    SpecificationError,
    commands,
    path_counts,
    receptive_field,
    route,
)
from lattice.geometry.receptive_field import cells_seen
from lattice.sweep.choices import all_units


def attention(first: str, second: str) -> Lattice:
    """x times a 5-cell reading of it, in either order."""
    where = {"x": 1, "read": 2}
    nodes = (
        Node("input", Input((1, 9))),
        Node("x", Conv(2, kernel=1), (0,)),
        Node("read", Conv(2, kernel=5, padding=2, groups=2), (1,)),
        Node("product", Multiply(), (where[first], where[second])),
    )
    return Lattice(nodes)


def gated(*gate: Node) -> Lattice:
    nodes = (Node("input", Input((2, 3, 4))), Node("x", Conv(3, kernel=3, padding=1), (0,)), *gate)
    return Lattice((*nodes, Node("product", Multiply(), (1, len(nodes) - 1))))


GATES = {
    "one cell a channel": (Node("pool", GlobalPool("avg"), (1,)), Node("gate", Conv(3, kernel=1), (2,))),
    "one channel": (Node("gate", Conv(1, kernel=1), (1,)),),
    "one number": (Node("pool", GlobalPool("avg"), (1,)), Node("gate", Conv(1, kernel=1), (2,))),
    "a row": (Node("gate", Conv(3, kernel=(3, 1)), (1,)),),
    "itself": (Node("gate", Activation("sigmoid"), (1,)),),
}


@pytest.mark.parametrize("order", [("x", "read"), ("read", "x")])
def test_both_factors_are_seen_whichever_stands_first(order):
    net = attention(*order)
    assert receptive_field(net).size == (5,)
    assert path_counts(net, output=(4,), channels=False).tolist() == [0, 0, 1, 1, 2, 1, 1, 0, 0]
    assert cells_seen(net, output=(4,)).tolist() == [False, False, True, True, True, True, True, False, False]


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
@pytest.mark.parametrize("swapped", [False, True], ids=["x first", "gate first"])
def test_counts_of_products_are_the_number_of_listed_commands(gate, swapped):
    net = gated(*gate)
    if swapped:
        last = net.nodes[-1]
        net = Lattice((*net.nodes[:-1], Node(last.name, last.op, last.inputs[::-1])))
    listed: Counter[tuple[int, ...]] = Counter()
    for unit in all_units(net.output_shape):
        for vector in commands(net, output=unit):
            found = route(net, vector, unit)
            listed[(found.channel, *found.position)] += 1
    counts = np.zeros(net.input_shape, dtype=object)
    for place, count in listed.items():
        counts[place] = count
    each = [path_counts(net, input_channel=channel) for channel in range(2)]
    assert (np.stack(each) == counts).all()


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_the_receptive_field_of_a_product_is_what_its_middle_unit_sees(gate):
    net = gated(*gate)
    seen = cells_seen(net, output=(1, 2))
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    found = receptive_field(net)
    assert (found[0].seen(1).start, found[0].seen(1).stop - 1) <= (rows[0], rows[-1])
    inside = [
        range(max(field.seen(j).start, 0), min(field.seen(j).stop, n))
        for field, j, n in zip(found, (1, 2), (3, 4), strict=True)
    ]
    assert [list(cells) for cells in inside] == [rows.tolist(), columns.tolist()]


def test_factors_that_do_not_fit_are_refused():
    nodes = (Node("input", Input((1, 8))), Node("a", Conv(2, 3), (0,)), Node("b", Conv(2, 5), (0,)))
    with pytest.raises(SpecificationError, match=r"one shape, or with one cell or one channel .*\(2, 6\), \(2, 4\)"):
        Lattice((*nodes, Node("product", Multiply(), (1, 2))))
