"""Runs of channels that are treated alike, against a label for every channel."""

import pytest

from landscape.structure.channel_runs import channel_runs
from lattice import Activation, Add, Concat, Conv, Flatten, GlobalPool, Input, Lattice, Node, Norm, Pool, Slice

PARTS = [Node("input", Input((1, 8))), Node("a", Conv(4, 1), (0,)), Node("b", Conv(2, 1), (0,)), Node("c", Conv(6, 1), (0,))]


def runs(*more):
    """The runs of the last node behind three convolutions of 4, 2 and 6 channels; what nothing reads is left out."""
    nodes = [*PARTS, *more]
    keep = {len(nodes) - 1}
    for n in range(len(nodes) - 1, 0, -1):
        keep |= set(nodes[n].inputs) if n in keep else set()
    number = {n: k for k, n in enumerate(sorted(keep))}
    kept = tuple(Node(nodes[n].name, nodes[n].op, tuple(number[i] for i in nodes[n].inputs)) for n in sorted(keep))
    return channel_runs(Lattice(kept))[-1]


AB, BA = Node("ab", Concat(), (1, 2)), Node("ba", Concat(), (2, 1))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([AB], (4, 2)),  # a a a a b b
        ([AB, Node("relu", Activation("relu"), (4,)), Node("norm", Norm(), (5,)), Node("pool", Pool("avg", 2), (6,))], (4, 2)),
        ([AB, BA, Node("sum", Add(), (4, 5))], (2, 2, 2)),  # a+b a+b a+a a+a b+a b+a
        ([AB, Node("sum", Add(), (4, 3))], (4, 2)),  # one run beside two
        ([AB, Node("part", Slice(3, 5), (4,))], (1, 1)),  # a b
        ([AB, Node("part", Slice(1, 4), (4,))], (3,)),
        ([AB, BA, Node("all", Concat(), (4, 5))], (4, 2, 2, 4)),
        ([AB, Node("mixed", Conv(5, 1), (4,))], (5,)),  # weights mix them
        ([AB, Node("pool", GlobalPool(), (4,)), Node("flat", Flatten(), (5,))], (6,)),  # taken as alike
    ],
)
def test_a_run_is_as_long_as_its_channels_have_one_label(more, expected):
    assert runs(*more) == expected
