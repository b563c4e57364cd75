"""A lattice as a value: its parts, its units, and what it refuses to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice import (
    Activation,
    Add,
    Conv,
    Dense,
    Flatten,
    Input,
    Lattice,
    Node,
    SpecificationError,
    Unit,
    path_counts,
    residual,
)
from lattice.testing.strategies import lattices

BLOCK = [Conv(2, 3, padding=1), residual([Conv(2, 3, padding=1), Activation("relu")], [Conv(2, 1)]), Flatten(), Dense(3)]


@given(lattices(depth=4), st.data())
def test_a_part_has_the_shapes_and_counts_of_the_whole_up_to_it(net, data):
    position = data.draw(st.integers(0, len(net.nodes) - 1))
    part = net.up_to(position)
    assert part.output_shape == net.shapes[position]
    assert part.nodes[-1].op == net.nodes[position].op
    needed = {position}
    for n in range(position, 0, -1):
        needed |= set(net.nodes[n].inputs) if n in needed else set()
    assert part.names == tuple(net.names[n] for n in sorted(needed | {0}))


def test_a_part_by_name_counts_the_paths_below_it():
    net = Lattice.chain((1, 7), [Conv(1, 3), Conv(1, 3), Conv(1, 3)])
    assert path_counts(net.up_to("conv2"), 0).tolist() == [1, 2, 3, 2, 1, 0, 0]
    with pytest.raises(SpecificationError, match="conv9"):
        net.up_to("conv9")


def test_units_are_named_by_position_and_channel():
    net = Lattice.chain((2, 5, 6), [Conv(3, 2)])
    assert net.unit((3, 4)) == Unit((3, 4), 0)
    assert net.unit(Unit((3, 4), 2)) == Unit((3, 4), 2)
    assert net.unit((4, 5), node=0) == Unit((4, 5), 0)
    for outside in [(4, 4), (3, 5), (-1, 0), (0,), Unit((0, 0), 3)]:
        with pytest.raises(SpecificationError, match="no unit at position"):
            net.unit(outside)


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([Node("a", Conv(1, 1), (0,))], "first node of a lattice is its Input"),
        ([Node("x", Input((1, 4))), Node("a", Conv(1, 1), (1,))], "stand before it"),
        ([Node("x", Input((1, 4))), Node("a", Conv(1, 1), (0,)), Node("a", Conv(1, 1), (1,))], "two nodes are called"),
        ([Node("x", Input((1, 4))), Node("a", Conv(1, 1), (0,)), Node("b", Conv(1, 1), (0,))], "no layer reads a"),
        ([Node("x", Input((1, 4))), Node("a", Add(), (0,))], "two or more inputs"),
    ],
)
def test_what_is_no_network_is_refused(nodes, says):
    with pytest.raises(SpecificationError, match=says):
        Lattice(tuple(nodes))
