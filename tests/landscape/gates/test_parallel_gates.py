"""Gates on branches of one signal: refused where each has its own, exact where one stands on the other."""

import pytest
import torch
from torch import nn

from landscape import predict
from lattice import UnsupportedError


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.stem, self.head = nn.Conv1d(2, 8, 3, bias=False), nn.Conv1d(8, 3, 3, bias=False)
        self.function = function

    def forward(self, x):
        return self.head(self.function(self.stem(x)))


def scale(function, gates):
    return predict(lambda: Net(function), (2, 9), initialisation=0.1, gates=gates).squared.mean()


@pytest.mark.parametrize("other", [torch.relu, torch.tanh, lambda z: torch.relu(-z)])
def test_two_gates_of_one_signal_on_branches_of_a_sum_are_refused(other):
    with pytest.raises(UnsupportedError, match="two gates of one signal"):
        predict(lambda: Net(lambda z: torch.relu(z) - other(z)), (2, 9), initialisation=0.1)


@pytest.mark.parametrize("gates", ["theory", "measured"])
@pytest.mark.parametrize("share", [0.5, 1.0, -0.5])
def test_a_gate_on_a_gate_beside_it_is_one_function(share, gates):
    """y = relu(z): relu(y - s relu(y)) is (1 - s) y, and nothing where that is never positive."""

    def beside(z):
        y = torch.relu(z)
        return torch.relu(y - share * torch.relu(y))

    expected = (1 - share) ** 2 * scale(torch.relu, gates)
    assert scale(beside, gates) == pytest.approx(expected, rel=0.05, abs=1e-12)
