"""Which signals two nodes share, against channels followed one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.structure.shared_signal import Channels, meet, shared_signals
from lattice import Activation, Add, ChannelShuffle, Concat, Conv, Input, Lattice, Multiply, Node, Norm, Slice

CHANNELS = 4


@st.composite
def graphs(draw):
    """Branching networks of a few nodes over four channels, their channels sliced, joined and shuffled."""
    nodes, sizes = [Node("input", Input((CHANNELS, 5)))], [CHANNELS]
    for number in range(draw(st.integers(1, 7))):
        one, other = (draw(st.integers(0, len(nodes) - 1)) for _ in range(2))
        n, kinds = sizes[one], ["conv", "relu", "norm", "slice", "concat", "shuffle"]
        kind = draw(st.sampled_from([*kinds, "add", "multiply"] if sizes[other] == n and other != one else kinds))
        if kind == "slice":
            start = draw(st.integers(0, n - 1))
            op, inputs, size = Slice(start, draw(st.integers(start + 1, n))), (one,), None
            size = op.stop - op.start
        elif kind == "concat":
            op, inputs, size = Concat(), (one, other), n + sizes[other]
        elif kind in ("add", "multiply"):
            op, inputs, size = (Add() if kind == "add" else Multiply()), (one, other), n
        elif kind == "conv":
            op, inputs, size = Conv(CHANNELS, 1), (one,), CHANNELS
        else:
            groups = next(g for g in (2, 3, 1) if n % g == 0)
            op = {"relu": Activation("relu"), "norm": Norm(), "shuffle": ChannelShuffle(groups)}[kind]
            inputs, size = (one,), n
        nodes.append(Node(f"{kind}{number}", op, inputs))
        sizes.append(size)
    read = {i for node in nodes for i in node.inputs}
    ends = [i for i in range(len(nodes)) if i not in read]
    if len(ends) > 1:
        nodes.append(Node("end", Concat(), tuple(ends)))
    return Lattice(tuple(nodes))


def followed(net):
    """For each node and each of its channels, the (node, channel) at or below it that no fresh weight stands before."""
    found = []
    for n, (node, shape) in enumerate(zip(net.nodes, net.shapes, strict=True)):
        below = [found[i] for i in node.inputs]
        match node.op:
            case Input() | Conv():
                channels = [set() for _ in range(shape[0])]
            case Concat():
                channels = [reached for part in below for reached in part]
            case Slice():
                channels = below[0][node.op.start : node.op.stop]
            case ChannelShuffle():
                order = np.arange(shape[0]).reshape(node.op.groups, -1).T.ravel()
                channels = [below[0][c] for c in order]
            case Add() | Multiply():
                channels = [one | other for one, other in zip(*below, strict=True)]
            case _:
                channels = below[0]
        found.append([reached | {(n, c)} for c, reached in enumerate(channels)])
    return found


@given(graphs())
@settings(max_examples=150)
def test_what_is_reached_lies_within_the_channels_that_are_said(net):
    for reach, channels in zip(shared_signals(net), followed(net), strict=True):
        reached = set().union(*channels)
        assert {node for node, _ in reached} == set(reach)
        assert all(reach[node].start <= c < reach[node].stop for node, c in reached)


@given(graphs(), st.data())
@settings(max_examples=150)
def test_an_aligned_reader_reads_channel_by_channel(net, data):
    n = data.draw(st.integers(0, len(net.nodes) - 1))
    for ancestor, said in shared_signals(net)[n].items():
        if said.aligned:
            for c, reached in enumerate(followed(net)[n]):
                assert {k for node, k in reached if node == ancestor} == {said.start + c}


@given(graphs(), st.data())
@settings(max_examples=150)
def test_nodes_that_share_a_channel_meet(net, data):
    one, other = (data.draw(st.integers(0, len(net.nodes) - 1)) for _ in range(2))
    reach, channels = shared_signals(net), followed(net)
    if set().union(*channels[one]) & set().union(*channels[other]):
        assert meet(reach[one], reach[other])


def test_slices_of_other_channels_and_fresh_weights_share_nothing():
    nodes = [
        Node("input", Input((1, 5))),
        Node("conv", Conv(4, 1), (0,)),
        Node("low", Slice(0, 2), (1,)),
        Node("high", Slice(2, 4), (1,)),
        Node("fresh", Conv(2, 1), (2,)),
        Node("end", Concat(), (2, 3, 4)),
    ]
    reach = shared_signals(Lattice(tuple(nodes)))
    assert reach[3][1] == Channels(2, 4, True)
    assert not meet(reach[2], reach[3])
    assert not meet(reach[2], reach[4])
    assert meet(reach[2], reach[5])
