"""A built network is the lattice: its all-ones Jacobian counts the paths."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from landscape import he
from lattice import (
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Dropout,
    Norm,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    SpecificationError,
    UnsupportedError,
    Upsample,
    families,
    path_counts,
)
from lattice.strategies import lattices
from validation import build

COUNTED = (Conv, ConvTranspose, Pad, Norm, Dropout, Slice, ChannelShuffle, PixelShuffle, Upsample)


@settings(max_examples=200)
@given(lattices(ops=COUNTED), st.integers(0, 10))
def test_the_all_ones_jacobian_counts_the_paths(net, channel):
    assume(all(not isinstance(node.op, Pool) and getattr(node.op, "mode", "") != "linear" for node in net.nodes))
    assume(not any(type(node.op).__name__ == "Activation" for node in net.nodes))
    try:
        network = build(net, 1.0, generator=torch.Generator().manual_seed(0)).double()
    except UnsupportedError:
        assume(False)
    with torch.no_grad():
        for weight in network.weights().values():
            weight.fill_(1.0)
    x = torch.ones(1, *net.input_shape, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x)
    channel %= net.input_shape[0]
    assert (path_counts(net, input_channel=channel).astype(float) == gradient[0, channel].numpy()).all()


@pytest.mark.parametrize("distribution", ["normal", "uniform", "rademacher"])
def test_weights_have_the_variance_that_was_asked_for(distribution):
    net = families.plain((16, 16), depth=2, channels=64)
    network = build(net, he, generator=torch.Generator().manual_seed(1), distribution=distribution)
    weight = network.weights()["conv2"].detach()
    expected = 2 / (64 * 9)
    spread = expected * np.sqrt(2 / weight.numel())  # of the second moment of a normal; less for the others
    assert abs(float(weight.square().mean()) - expected) < 6 * spread
    assert abs(float(weight.mean())) < 6 * np.sqrt(expected / weight.numel())


def test_building_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    build(families.plain(8, depth=2), generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_distribution_that_does_not_exist_is_refused():
    with pytest.raises(SpecificationError, match="'normal', 'uniform' or 'rademacher'"):
        build(families.plain(8, depth=1), distribution="gaussian")


def test_what_torch_does_not_have_is_refused_by_name():
    from lattice import Lattice

    with pytest.raises(UnsupportedError, match="torch pads a pool alike on both sides"):
        build(Lattice.chain((1, 8), [Pool("avg", 3, 1, padding=(0, 1))]))
