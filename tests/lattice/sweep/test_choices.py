"""Commands at a unit: none where there is one way down, and SKIP only where it is unmistakable."""

from lattice import SKIP, Activation, Branch, Conv, Lattice, Norm, Unit, residual
from lattice.sweep.choices import all_units, choices_at, identity_branches


def commands_at_the_sum(branch):
    net = Lattice.chain((1, 5), [residual(branch)])
    top = len(net.nodes) - 1
    assert len(identity_branches(net, top)) == 1
    return {command for command, _, _ in choices_at(net, top, Unit((2,), 0))}


def test_a_branch_that_begins_with_a_command_needs_no_other():
    assert commands_at_the_sum([Conv(1, 3, padding=1), Norm(), Activation()]) == {SKIP, None}
    assert commands_at_the_sum([Activation()]) == {SKIP, Branch(0)}


def test_all_units_are_listed_once():
    assert len(set(all_units((2, 3, 4)))) == len(list(all_units((2, 3, 4)))) == 24
