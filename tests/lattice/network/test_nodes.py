"""A lattice in a file: every op comes back, an op of a user's own is refused by name."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings

from lattice import Conv, Lattice, Op, Resample, SpecificationError
from lattice.network.nodes import own_kinds
from lattice.network.rearrange import ListedWindow
from lattice.testing.strategies import lattices


@settings(max_examples=25)
@given(lattices())
def test_drawn_nets_come_back_from_their_files(tmp_path_factory, net):
    path = tmp_path_factory.mktemp("net") / "net.npz"
    assert Lattice.load(net.save(path)) == net


def test_lists_that_an_op_holds_come_back(tmp_path):
    net = Lattice.chain((1, 3), [Resample((ListedWindow(((0, 1), (1, 2)), ((0.5, 0.5), (0.25, 0.75))),))])
    assert Lattice.load(net.save(tmp_path / "net.npz")) == net


@dataclass(frozen=True, slots=True)
class Wide(Conv):
    """An op of a user's own."""


def test_an_op_of_the_users_own_is_refused(tmp_path):
    assert Wide not in set(own_kinds(Op))
    with pytest.raises(SpecificationError, match=r"this Lattice cannot be saved: .*Wide"):
        Lattice.chain((1, 5), [Wide(1, 3)]).save(tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())
