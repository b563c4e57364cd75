"""Branches are wired as the graph written out, also inside each other."""

from lattice import (
    Activation,
    Concat,
    Conv,
    Dense,
    Flatten,
    Input,
    Lattice,
    concatenate,
    residual,
)

BLOCK = [Conv(2, 3, padding=1), residual([Conv(2, 3, padding=1), Activation("relu")], [Conv(2, 1)]), Flatten(), Dense(3)]


def test_a_chain_with_branches_is_the_graph_written_out():
    net = Lattice.chain((1, 5), BLOCK)
    assert [(node.name, node.inputs) for node in net.nodes] == [
        ("input", ()), ("conv1", (0,)), ("conv2", (1,)), ("activation1", (2,)), ("conv3", (1,)), ("add1", (3, 4)),
        ("flatten1", (5,)), ("dense1", (6,)),
    ]  # fmt: skip
    assert net.shapes == ((1, 5), (2, 5), (2, 5), (2, 5), (2, 5), (2, 5), (10,), (3,))
    assert net.readers[1] == (2, 4)
    assert net == Lattice(net.nodes)
    assert hash(net) == hash(Lattice(net.nodes))


def test_branches_inside_branches_come_in_order():
    inner = concatenate([Conv(1, 1)], [Conv(2, 1)])
    net = Lattice.chain((1, 4), [concatenate([inner], [])])
    assert [type(node.op) for node in net.nodes] == [Input, Conv, Conv, Concat, Concat]
    assert net.nodes[-1].inputs == (3, 0)
    assert net.output_shape == (4, 4)
