"""Gates on branches of one signal: refused where each has its own, exact where one stands on the other."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import predict
from lattice import AssumptionError, UnsupportedError


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.stem, self.head = nn.Conv1d(2, 8, 3, bias=False), nn.Conv1d(8, 3, 3, bias=False)
        self.function = function

    def forward(self, x):
        return self.head(self.function(self.stem(x)))


class Beside(Net):
    """A layer that is added to the leaky gate that it reads, below another one."""

    def __init__(self, layer):
        super().__init__(lambda y: functional.leaky_relu(y + layer(y), 0.2))
        self.layer, self.stem = layer, nn.Sequential(self.stem, nn.LeakyReLU(0.2))


def scale(function, gates):
    return predict(lambda: Net(function), (2, 9), initialisation=0.1, gates=gates).squared.mean()


@pytest.mark.parametrize("other", [torch.relu, torch.tanh, lambda z: torch.relu(-z)])
def test_two_gates_of_one_signal_on_branches_of_a_sum_are_refused(other):
    with pytest.raises(UnsupportedError, match="two gates of one signal"):
        predict(lambda: Net(lambda z: torch.relu(z) - other(z)), (2, 9), initialisation=0.1)


@pytest.mark.parametrize("gates", ["theory", "measured"])
@pytest.mark.parametrize("share", [0.5, -0.5])
def test_a_gate_on_a_gate_beside_it_is_one_function(share, gates):
    """y = relu(z): relu(y - s relu(y)) is (1 - s) y, and nothing where that is never positive."""

    def beside(z):
        y = torch.relu(z)
        return torch.relu(y - share * torch.relu(y))

    expected = (1 - share) ** 2 * scale(torch.relu, gates)
    assert scale(beside, gates) == pytest.approx(expected, rel=0.05, abs=1e-12)


@pytest.mark.parametrize(
    "nothing",
    [
        lambda z: functional.avg_pool1d(z, 2, 1) - 1.0 * functional.avg_pool1d(z, 2, 1),
        lambda z: (0.1 * z + 0.2 * z) - 0.3 * z,
    ],
)
def test_branches_that_cancel_are_refused_and_rounding_is_no_gradient(nothing):
    with pytest.raises(AssumptionError, match="cancel, so that the squared gradient is exactly 0"):
        scale(nothing, "theory")


@pytest.mark.parametrize(("gates", "reason"), [("theory", "would open 0 of the time"), ("measured", "cancel")])
def test_a_gate_over_nothing_is_refused(gates, reason):
    def less_itself(z):
        y = torch.relu(z)
        return torch.relu(y - torch.relu(y))

    with pytest.raises(AssumptionError, match=reason):
        scale(less_itself, gates)


def test_a_gate_beside_a_layer_of_one_weight_a_channel_is_refused():
    with pytest.raises(UnsupportedError, match=r"one weight a channel.*Give the layer more weights"):
        predict(lambda: Beside(nn.Conv1d(8, 8, 1, groups=8, bias=False)), (2, 9), initialisation=0.1)
    assert predict(lambda: Beside(nn.Conv1d(8, 8, 1, bias=False)), (2, 9), initialisation=0.1).squared.all()


class Reparametrised(nn.Module):
    """Two depthwise convolutions, as blocks of GhostNet V3 add them to their input."""

    def __init__(self):
        super().__init__()
        self.one, self.three = nn.Conv1d(8, 8, 1, groups=8, bias=False), nn.Conv1d(8, 8, 3, padding=1, groups=8, bias=False)

    def forward(self, y):
        return self.one(y) + self.three(y)


def test_a_layer_of_one_weight_a_channel_may_stand_beside_others():
    assert predict(lambda: Beside(Reparametrised()), (2, 9), initialisation=0.1).squared.all()
