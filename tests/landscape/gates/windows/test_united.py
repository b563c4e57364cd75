"""A maximum of maxima is the maximum over the union of their windows: against torch's own pools, window by window."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import predict
from landscape.gates.windows.united import united
from landscape.prior import Prior
from lattice import Add, Conv, Dense, Flatten, GlobalPool, Lattice, Node, Pool
from lattice.network.ops import Input
from validation import compare, measure

PAIRS = [
    (Pool("max", 2), Pool("max", 3, 1, padding=1)),
    (Pool("max", 3, 2, padding=1), Pool("max", 3, 1, padding=1)),
    (Pool("max", 3, 2, ceil=True), Pool("max", 2, 2)),
    (Pool("max", 2, 1), Pool("max", 2, 1)),
]


def two_readers(lower, upper, n):
    """A pool that another pool and a convolution read, whose averages are summed."""
    nodes = [Node("input", Input((1, n, n)), ()), Node("conv1", Conv(4, 1), (0,)), Node("lower", lower, (1,))]
    nodes += [Node("upper", upper, (2,)), Node("conv2", Conv(4, 1), (3,)), Node("conv3", Conv(4, 1), (2,))]
    nodes += [Node(f"average{i}", GlobalPool("avg"), (i,)) for i in (4, 5)]
    return Lattice((*nodes, Node("add", Add(), (6, 7))))


def pooled(op, x):
    """torch's maximum over these windows; cells that are not there never win."""
    for axis, (window, n) in enumerate(zip(op.windows(tuple(x.shape[2:])), x.shape[2:], strict=True)):
        table = torch.tensor(window.table(n))
        padded = functional.pad(x.movedim(2 + axis, -1), (0, 1), value=-np.inf)
        x = padded[..., table].amax(-2).movedim(-1, 2 + axis)
    return x


@pytest.mark.parametrize(("lower", "upper"), PAIRS)
@pytest.mark.parametrize("n", [8, 9, 11])
def test_the_union_has_the_maxima_of_both_pools(lower, upper, n):
    net = two_readers(lower, upper, n)
    prior = united(Prior(net, {}))
    position = net.names.index("upper")
    op, below = prior.lattice.nodes[position].op, prior.lattice.nodes[position].inputs
    x = torch.randn(2, 3, n, n, generator=torch.Generator().manual_seed(n))
    between = functional.max_pool2d(x, lower.kernel, lower.stride, lower.padding, ceil_mode=lower.ceil)
    truth = functional.max_pool2d(between, upper.kernel, upper.stride, upper.padding, ceil_mode=upper.ceil)
    if below == net.nodes[position].inputs:  # no windows of one pool: left as they are
        assert op == upper
        assert torch.equal(pooled(upper, between), truth)
    else:
        assert below == (1,)
        assert torch.equal(pooled(op, x), truth)


def test_some_pairs_are_united():
    assert all(united(Prior(net, {})).lattice != net for net in (two_readers(*pair, 8) for pair in PAIRS[:2]))


def test_a_pool_that_nothing_else_reads_is_left_out():
    net = Lattice.chain((1, 8, 8), [Conv(4, 1), Pool("max", 2, 1), Pool("max", 2, 2), Conv(4, 1)])
    found = united(Prior(net, {})).lattice
    assert [node.name for node in found.nodes] == ["input", "conv1", "pool2", "conv2"]
    assert found.nodes[2].op == Pool("max", (3, 3), (2, 2), ((0, 0), (0, 0)))
    assert united(Prior(found, {})).lattice == found


@pytest.mark.parametrize("pools", [[Pool("max", 2, 1), Pool("max", 2, 1), Pool("max", 2, 1)], [Pool("max", 2, 1)]])
def test_the_maximum_of_all_maxima_is_that_of_all_cells(pools):
    net = Lattice.chain((1, 11, 11), [Conv(4, 1), *pools, GlobalPool("max"), Flatten(), Dense(2)])
    found = united(Prior(net, {})).lattice
    assert [node.op for node in found.nodes[2:4]] == [GlobalPool("max"), Flatten()]


def test_maxima_of_maxima_look_at_all_cells_alike():
    """Windows that overlap read inner cells more often, and the largest of them all is any cell as often as another."""

    def factory():
        pools = nn.MaxPool2d(3, 1), nn.MaxPool2d(2, 2)
        return nn.Sequential(nn.Conv2d(3, 32, 2, 2), nn.Softplus(), *pools, nn.Conv2d(32, 4, 1))

    found = predict(factory, (3, 8, 8))
    np.testing.assert_allclose(found.squared, found.squared.mean(), rtol=1e-6)
    assert 0.9 < compare(found, measure(factory, (3, 8, 8), draws=500)).scale_ratio < 1.1
