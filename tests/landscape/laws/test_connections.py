"""The moments of single connections, against autograd's Jacobians, masks one by one and gates over all signs."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict
from landscape.laws.batchnorm import dropout_gains
from landscape.laws.connections import Rules
from landscape.prior import Gates, Prior
from landscape.structure.pairs import everything
from lattice import (
    Activation,
    AdaptivePool,
    Blur,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Lattice,
    Multiply,
    Norm,
    Pad,
    Pool,
    UnsupportedError,
    Upsample,
)
from lattice.network.branches import Branches

POOLS = {
    Pool("avg", 3, 2): nn.AvgPool1d(3, 2),
    Pool("avg", 3, 2, padding=1): nn.AvgPool1d(3, 2, 1),
    Pool("avg", 3, 2, padding=1, count_include_pad=False): nn.AvgPool1d(3, 2, 1, count_include_pad=False),
    AdaptivePool("avg", 4): nn.AdaptiveAvgPool1d(4),
}


def rules_of(layers, shape=(1, 7), **known):
    net = Lattice.chain(shape, layers)
    variances = {node.name: 1.0 for node in net.nodes if isinstance(node.op, Conv | Dense)}
    return Rules(Prior(net, variances, **known)), net.nodes[-1]


@pytest.mark.parametrize("op", POOLS, ids=str)
def test_an_average_passes_the_square_of_its_share(op):
    rules, node = rules_of([op])
    jacobian = torch.func.jacrev(POOLS[op])(torch.zeros(1, 1, 7, dtype=torch.float64)).reshape(-1, 7)
    shares = [row[row > 0].unique() for row in jacobian]
    assert all(len(share) == 1 for share in shares)
    squares = [float(share) ** 2 for share in shares]
    np.testing.assert_allclose(np.broadcast_to(rules.squared(node), len(squares)), squares)
    assert rules.single(node) == 1


@pytest.mark.parametrize("cells", [2, 3, 4])
def test_a_maximum_of_gates_passes_as_often_as_any_of_them_is_open(cells):
    """Over all signs of independent values: the largest of n rectified ones has a gradient unless all are closed."""
    rules, node = rules_of([Conv(1, 1), Activation("relu"), Pool("max", cells)], shape=(1, 2 * cells))
    gate = next(one for one in rules.lattice.nodes if isinstance(one.op, Activation))
    passed = np.mean([max(signs) > 0 for signs in itertools.product((-1, 1), repeat=cells)])
    assert rules.squared(gate) * rules.squared(node) * cells == pytest.approx(passed)
    plain, pool = rules_of([Conv(1, 1), Pool("max", cells)], shape=(1, 2 * cells))
    assert plain.squared(pool) * cells == pytest.approx(1)


@pytest.mark.parametrize("shared", ["unit", "channel", "sample"])
def test_a_mask_at_two_positions_is_that_of_all_masks(shared):
    p, positions = 0.25, 2
    rules, node = rules_of([Dropout(p, shared)], shape=(1, positions))
    rules = Rules(Prior(rules.lattice, {}, gates=Gates(gains=dropout_gains(rules.lattice))))
    number, expected = positions if shared == "unit" else 1, np.zeros((positions, positions))
    for kept in itertools.product((0, 1), repeat=number):
        chance = np.prod([1 - p if one else p for one in kept])
        mask = np.broadcast_to(np.array(kept) / (1 - p), positions)
        expected += chance * np.outer(mask, mask)
    found = np.broadcast_to(rules.joint(node, (everything(positions, positions),)), positions**2)
    np.testing.assert_allclose(found.reshape(positions, positions), expected)
    assert rules.squared(node) == pytest.approx(expected[0, 0])


@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0])
def test_a_gate_at_two_positions_is_that_of_independent_signs(slope):
    rules, node = rules_of([Conv(1, 3, padding=1), Activation("leaky_relu", slope)], shape=(1, 3))
    slopes = {-1: slope, 1: 1.0}
    independent = np.mean([slopes[a] * slopes[b] for a, b in itertools.product((-1, 1), repeat=2)])
    same = np.mean([slopes[a] ** 2 for a in (-1, 1)])
    expected = np.full((3, 3), independent) + (same - independent) * np.eye(3)
    np.testing.assert_allclose(rules.joint(node, (everything(3, 3),)).reshape(3, 3), expected)
    assert rules.squared(node) == pytest.approx(same)
    assert rules.single(node) == pytest.approx(np.mean(list(slopes.values())))


def test_a_norm_passes_gamma_over_sigma_with_its_sign():
    gamma, variance = np.array([2.0, -3.0]), np.array([4.0, 1.0])
    rules, node = rules_of([Norm()], shape=(2, 5), factors={"norm1": gamma**2 / variance}, signs={"norm1": np.sign(gamma)})
    norm = nn.BatchNorm1d(2, affine=True, eps=0).double().eval()
    norm.weight.data, norm.running_var = torch.tensor(gamma), torch.tensor(variance)
    x = torch.zeros(1, 2, 5, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(norm(x).sum(), x)
    np.testing.assert_allclose(np.broadcast_to(rules.single(node), (2, 5)), slopes[0])
    np.testing.assert_allclose(np.broadcast_to(rules.squared(node), (2, 5)), slopes[0] ** 2)


def test_what_copies_or_moves_cells_passes_everything_and_other_maps_tell():
    for op in (Pad(1, "reflect"), Upsample(2), Flatten()):
        rules, node = rules_of([op])
        assert rules.squared(node) == 1
    for op in (Blur((1, 2, 1)), Upsample(2, mode="linear")):
        rules, node = rules_of([op])
        assert rules.squared(node) is None


def test_what_depends_on_the_data_is_refused_by_name_until_it_is_known():
    rules, node = rules_of([Branches(((Conv(1, 1),), (Conv(1, 1), Activation("sigmoid"))), Multiply())])
    with pytest.raises(UnsupportedError, match=f"{node.name}: the size of the factors of a product"):
        rules.squared(node)
    rules, node = rules_of([Norm("layer")])
    with pytest.raises(UnsupportedError, match="divides by the variance of the signal"):
        rules.squared(node)
    rules, node = rules_of([Norm("layer")], gates=Gates(gains={"norm1": 0.25}))
    assert rules.squared(node) == 0.25


@pytest.mark.parametrize("gates", ["theory", "measured"])
@pytest.mark.parametrize("gate", [nn.Sigmoid(), nn.LeakyReLU(0.2), nn.GELU()], ids=["sigmoid", "leaky_relu", "gelu"])
def test_slopes_at_two_positions_between_averages(gate, gates):
    """Between averages what counts is E[phi'(z) phi'(z')] at two positions: E[phi']^2 at least, and not E[phi'^2]^2."""

    def factory():
        average = nn.AvgPool1d(2, 1)
        return nn.Sequential(nn.Conv1d(4, 32, 1, bias=False), average, gate, average, nn.Conv1d(32, 2, 1, bias=False))

    total = np.zeros(3)
    with torch.random.fork_rng(devices=()):
        for seed in range(800):
            torch.manual_seed(seed)
            x = torch.randn(1, 4, 3, requires_grad=True)
            (gradient,) = torch.autograd.grad(factory()(x).sum(), x)
            total += gradient[0].square().mean(0).numpy() / 800
    found = predict(factory, (4, 3), gates=gates).squared
    np.testing.assert_allclose(found[1] / found[0], 2 * total[1] / (total[0] + total[2]), rtol=0.1)
