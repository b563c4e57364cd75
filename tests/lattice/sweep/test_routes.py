"""Commands and routes: listed lazily, to a target, past skips, and refused where they lead nowhere."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lattice
from lattice import Activation, Command, Conv, Dense, Flatten, Lattice, Norm, Pool, Unit, path_counts, residual
from lattice.testing.strategies import lattices
from tests.lattice.listing import some_unit

MOST_PATHS = 4000


@settings(max_examples=100)
@given(lattices(), st.data())
def test_commands_with_a_target_are_those_that_reach_it(net, data):
    output, target = some_unit(data.draw, net.output_shape), some_unit(data.draw, net.input_shape)
    count = path_counts(net, output, input_channel=target.channel)[target.position]
    assume(count <= MOST_PATHS)
    vectors = list(lattice.commands(net, output, target))
    assert len(vectors) == len(set(vectors)) == count
    assert all(lattice.route(net, vector, output) == target for vector in vectors)
    assert lattice.path_exists(net, output, target) == (count > 0)


def test_commands_are_lazy():
    net = lattice.families.plain(201, depth=100, channels=64)
    assert len(list(islice(lattice.commands(net, (0,)), 3))) == 3


def test_skip_is_one_more_command_of_its_layer():
    net = Lattice.chain((1, 5), [residual([Conv(1, kernel=3, padding=1)])])
    vectors = set(lattice.commands(net, (2,)))
    assert {lattice.route(net, vector, (2,)).position for vector in vectors} == {(1,), (2,), (3,)}
    assert (lattice.SKIP,) in vectors
    assert len(vectors) == 4


def test_a_plain_number_commands_a_dense_layer():
    net = Lattice.chain((1, 3), [Flatten(), Dense(4), Dense(2)])
    assert [lattice.route(net, [below, above], Unit((), 1)) for below, above in ((2, 3), (0, 1))] == [
        Unit((2,), 0),
        Unit((0,), 0),
    ]
    assert lattice.route(net, [2, 3], Unit((), 1)) == lattice.route(net, [Command((), 2), Command((), 3)], Unit((), 1))
    with pytest.raises(lattice.SpecificationError, match=r"dense1: there is no command \(3,\) at"):
        lattice.route(net, [3, 3], Unit((), 1))


@pytest.mark.parametrize(
    "body",
    [[residual([Conv(1, kernel=3, padding=1)])], [Activation("relu")], [residual([Pool("avg", 3, 1, padding=1)]), Norm()]],
)
def test_a_branch_whose_top_has_no_command_is_named(body):
    """Else SKIP could be meant for the sum below, and two paths would share one command vector."""
    net = Lattice.chain((1, 3), [residual(body), residual([Activation("relu")])])
    vectors = list(lattice.commands(net, (1,)))
    assert len(set(vectors)) == len(vectors) == path_counts(net, (1,)).sum()
    ends = Counter(lattice.route(net, vector, (1,)).position[0] for vector in vectors)
    assert [ends[i] for i in range(3)] == list(path_counts(net, (1,)))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([0], "reads padding"),
        ([3], r"there is no command \(3, 0\)"),
        ([], "too few commands: conv1"),
        ([1, 1], "1 commands left"),
        ([(1, 5)], r"there is no command \(1, 5\)"),
        ([(1, 0, 0)], "should have 1 taps and an input channel"),
    ],
)
def test_a_route_that_does_not_exist_says_why(command, message):
    net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1)])
    with pytest.raises(lattice.SpecificationError, match=message):
        lattice.route(net, command, (0,))
