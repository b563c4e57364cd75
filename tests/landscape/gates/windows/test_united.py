"""A maximum of maxima is the maximum over the union of their windows: against torch's own pools, window by window."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape.gates.windows.united import united
from landscape.prior import Prior
from lattice import Add, Conv, GlobalPool, Lattice, Node, Pool
from lattice.network.ops import Input

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


def test_a_pool_that_nothing_else_reads_is_left_alone():
    """Its winners are found from its own windows and those below it, one after the other."""
    net = Lattice.chain((1, 8, 8), [Conv(4, 1), Pool("max", 2), Pool("max", 2), Conv(4, 1)])
    assert united(Prior(net, {})).lattice == net
