"""The reverse sweep in every number type, for batches and for channels written out."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice import SpecificationError, families, pull_back
from lattice.sweep.pullback import node_cotangents
from lattice.testing.strategies import lattices


def cotangents(net, seed, *batch):
    """Small whole numbers over the output units of a lattice, channels written out."""
    return np.random.default_rng(seed).integers(0, 3, (*batch, *net.output_shape))


def gain(node):
    """A weight that tells nodes apart, exact in every number type."""
    return 1 + len(node.name) % 3


@given(lattices(), st.integers(0, 2**32))
def test_all_number_types_agree(net, seed):
    cotangent = cotangents(net, seed)
    exact = pull_back(net, gain, cotangent.astype(object))
    assert (pull_back(net, gain, cotangent.astype(float)) == exact.astype(float)).all()
    assert (pull_back(net, gain, cotangent.astype(np.int64)) == exact).all()
    assert (pull_back(net, lambda node: True, cotangent > 0) == (exact > 0)).all()
    halves = pull_back(net, lambda node: Fraction(gain(node), 2), cotangent.astype(object))
    assert (halves == pull_back(net, lambda node: gain(node) / 2, cotangent.astype(float))).all()


@given(lattices(), st.integers(0, 2**32))
def test_leading_axes_are_a_batch(net, seed):
    batch = cotangents(net, seed, 2, 3)
    together = pull_back(net, gain, batch)
    for index in np.ndindex(2, 3):
        assert (together[index] == pull_back(net, gain, batch[index])).all()


@given(lattices())
def test_one_channel_stands_for_channels_that_are_alike(net):
    alike = pull_back(net, gain, np.ones((1, *net.output_shape[1:]), dtype=np.int64))
    written_out = pull_back(net, gain, np.ones(net.output_shape, dtype=np.int64))
    assert (alike == written_out).all()


@given(lattices(), st.integers(0, 2**32))
def test_a_weight_may_differ_between_units(net, seed):
    draws = np.random.default_rng(seed)
    weights = {
        name: draws.integers(0, 3, (shape[0] if draws.integers(2) else 1, *shape[1:]))
        for name, shape in zip(net.names, net.shapes, strict=True)
    }
    cotangent = cotangents(net, seed)
    exact = pull_back(net, lambda node: weights[node.name].astype(object), cotangent.astype(object))
    assert (pull_back(net, lambda node: weights[node.name], cotangent) == exact).all()


@given(lattices())
def test_every_node_is_visited_once_from_the_output_down(net):
    visited = [(node, here.shape) for node, here in node_cotangents(net, gain, np.ones(net.output_shape))]
    assert [node for node, _ in visited] == list(reversed(net.nodes))
    for (_, shape), full in zip(visited, reversed(net.shapes), strict=True):
        assert shape in (full, (1, *full[1:]))


@given(lattices())
def test_a_sweep_does_not_write_into_what_it_has_yielded(net):
    kept = [(here, here.copy()) for _, here in node_cotangents(net, gain, np.ones(net.output_shape))]
    assert all((here == then).all() for here, then in kept)


@pytest.mark.parametrize("shape", [(2, 4), (1, 5), (4,), ()])
def test_a_cotangent_of_another_shape_is_refused(shape):
    net = families.plain(4, depth=1, padding=1)
    with pytest.raises(SpecificationError, match="does not fit the output"):
        pull_back(net, lambda node: 1, np.ones(shape))
