"""The sweep over pairs of positions: channels that are carried together, and what there is no room for."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from landscape import predict
from landscape.laws.moments import squared_gradients
from landscape.laws.positions import sweep, through_ops
from landscape.prior import Gates
from landscape.structure import arrays
from lattice import (
    Activation,
    Add,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Node,
    Norm,
    ResourceError,
)
from tests.landscape.laws.positions.nets import average_around, pooled_twice, random_law


@pytest.mark.parametrize("alike", [True, False])
def test_one_row_of_channels_that_are_alike_stands_for_all(monkeypatch, alike):
    net = pooled_twice()
    law = random_law(net, 0)
    gains = {"relu": np.full(net.shapes[3], 0.5)} if alike else law["gates"].gains
    given = {**law, "gates": Gates(gains)}
    short = squared_gradients(net, **given)
    for module in (sweep, through_ops):
        monkeypatch.setattr(module, "one_row", lambda values: values)
    assert np.allclose(squared_gradients(net, **given), short, rtol=1e-13, atol=0)


def test_moments_that_wait_for_layers_below_are_counted(monkeypatch):
    net = pooled_twice()
    monkeypatch.setattr(sweep, "MOST_BYTES", 8)
    with pytest.raises(ResourceError, match="the moments between positions below it and beside it"):
        squared_gradients(net, random_law(net, 0)["variances"])


def test_layers_without_room_are_refused_by_name(monkeypatch):
    net = pooled_twice()
    monkeypatch.setattr(arrays, "MOST_NUMBERS", 12)  # of neighbours among 9 positions
    with pytest.raises(ResourceError, match=r"^(pool1|relu|conv2|add): .* moments between positions, of . channels"):
        squared_gradients(net, random_law(net, 0)["variances"])


@pytest.mark.parametrize(("groups", "added"), [(4, False), (2, False), (1, False), (4, True)])
def test_channels_that_differ_by_a_number_are_carried_together(groups, added, monkeypatch):
    filters = Node("filter", Conv(4, 3, padding=1, groups=groups), (3,))
    nodes = [Node("norm", Norm(), (2,)), filters, Node("other", Norm(), (4,))]
    nodes += [Node("sum", Add(), (3, 5))] if added else []
    net = average_around(*nodes)
    law = random_law(net, 3)
    factors = [law["factors"][name] for name in ("norm", "other")]
    assert all(np.ptp(factor) > 0.1 for factor in factors)
    each = squared_gradients(net, **law)
    rows, through_step = [], sweep.through_step

    def counted(lattice, planned, local, step, here):
        pairs = not all(axis.is_diagonal for axis in planned.carried[step.source])
        rows.append(len(here) if pairs else 1)
        return through_step(lattice, planned, local, step, here)

    monkeypatch.setattr(sweep, "through_step", counted)
    monkeypatch.setattr(arrays, "MOST_OF_CHANNELS", 0)
    np.testing.assert_allclose(squared_gradients(net, **law), each, rtol=1e-12)
    assert (max(rows) > 1) == added  # what a skip adds is no multiple of the branch


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("size", [1.0, 1e200, 1e-200])
def test_factors_of_norms_are_applied_in_the_sum_over_channels(groups, size):
    """A filter over channels of which each has moments and a factor of its own, one of them zero, against numpy's sum."""
    rng = np.random.default_rng(0)
    gains, factors = rng.uniform(0.2, 0.8, (4, 5)), rng.uniform(0.5, 2, 4)
    factors[2] = 0.0
    layers = [Conv(4, 3, padding=1, groups=groups), Norm(), Activation("relu"), GlobalPool("avg"), Flatten(), Dense(2)]
    net = Lattice.chain((4, 5), layers)
    law = {"variances": {"conv1": 0.3 / size, "dense1": 0.5}, "factors": {"norm1": factors * size}}
    whole = factors[:, None] * gains * 0.5 / 5**2
    of_group = whole.reshape(groups, -1, 5).sum(axis=1) * 0.3
    taps = np.array([np.convolve(row, np.ones(3), "same") for row in of_group])
    np.testing.assert_allclose(
        squared_gradients(net, **law, gates=Gates({"activation1": gains})), taps.mean(axis=0), rtol=1e-13
    )


def test_blocks_with_statistics_of_their_own_keep_map_and_scale(monkeypatch):
    """Depthwise filters and squeeze-and-excitation between norms that differ channel by channel."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.wide, self.narrow = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 24, 1), nn.Conv2d(24, 8, 1)
            self.filter, self.head = nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Linear(8, 4)
            self.few, self.many = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1)
            self.one, self.two = nn.BatchNorm2d(24), nn.BatchNorm2d(24)

        def forward(self, x):
            x = torch.relu(self.two(self.filter(torch.relu(self.one(self.wide(self.stem(x)))))))
            x = x * torch.sigmoid(self.many(torch.relu(self.few(x.mean((2, 3), keepdim=True)))))
            return self.head(self.narrow(x).mean((2, 3)))

    net = Block()
    for norm in (net.one, net.two):
        for numbers in (norm.running_var.data, norm.weight.data):
            numbers.uniform_(0.5, 2)
        norm.bias.data.normal_(std=0.3)
    each = predict(net.eval(), (3, 10, 10)).squared
    monkeypatch.setattr(arrays, "MOST_OF_CHANNELS", 0)
    together = predict(net, (3, 10, 10))
    assert any("differ by one number each" in reason for reason in together.reasons)
    np.testing.assert_allclose(together.squared.mean(), each.mean(), rtol=0.01)
    np.testing.assert_allclose(together.squared / together.squared.mean(), each / each.mean(), rtol=0.01)


def test_gates_of_a_trunk_keep_a_row_for_every_channel(monkeypatch):
    """A RegNet that has seen images: with one number for each channel of its trunk the map was 67 % off."""
    torch.manual_seed(0)
    net = torchvision.models.regnet_y_400mf(weights=None).train()
    with torch.no_grad():
        net(torch.randn(8, 3, 64, 64))
    each = predict(net.eval(), (3, 64, 64), check=False).squared
    monkeypatch.setattr(arrays, "MOST_OF_CHANNELS", 2**14)
    together = predict(net, (3, 64, 64), check=False).squared
    np.testing.assert_allclose(together.mean(), each.mean(), rtol=0.01)
    assert map_distance(together, each) < 0.01


def map_distance(one, other):
    return np.sqrt(np.mean((one / one.mean() - other / other.mean()) ** 2))
