"""Maxima over runs of gates, against plain autograd: fresh networks on white noise, 32 channels, 10% of finite width."""

import pytest
import torch
from torch import nn

from landscape import predict
from lattice import AssumptionError

pad = nn.functional.pad
SHAPE, CHANNELS = (3, 6, 6), 32


class _Largest(nn.Module):
    """A convolution, pointwise functions, the largest of all positions, and a linear layer."""

    def __init__(self, gates):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False), nn.GroupNorm(1, CHANNELS)
        self.head, self.gates = nn.Linear(CHANNELS, 4, bias=False), gates
        nn.init.normal_(self.conv.weight, std=0.12)

    def forward(self, x):
        return self.head(self.gates(self, self.conv(x)).amax((2, 3)))


def _measured(gates, draws=150, batch=16):
    """sum over pixels of E[(d(v . h) / dx)^2] / outputs, averaged over channels, and its standard error."""
    sums = []
    for seed in range(draws):
        torch.manual_seed(seed)
        model, x = _Largest(gates), torch.randn(batch, *SHAPE, requires_grad=True)
        y = model(x)
        v = torch.randint(0, 2, y.shape) * 2.0 - 1
        (g,) = torch.autograd.grad((y * v).sum(), x)
        sums.append(g.square().mean(1).sum((1, 2)).mean() / 4)
    sums = torch.stack(sums)
    return float(sums.mean()), float(sums.std() / draws**0.5)


@pytest.mark.parametrize(
    "gates",
    [
        lambda net, z: z.relu().tanh(),
        lambda net, z: z.relu().clamp(-1, 1),
        lambda net, z: (-z.relu()).tanh().mul(-1),
        lambda net, z: (1.5 * z).relu().mul(0.5).tanh(),
        lambda net, z: net.norm(z.relu()).mul(0.5).tanh(),
        lambda net, z: nn.functional.elu(-z),
        lambda net, z: z.clamp(-1, 1),
        lambda net, z: nn.functional.silu(z),
        lambda net, z: -nn.functional.gelu(z),
        lambda net, z: z.abs().tanh(),
        lambda net, z: pad(nn.functional.silu(z.relu().clamp(-1, 1)), (5, 4, 3, 0), mode="replicate"),
        lambda net, z: pad(z.clamp(-1, 1), (5, 5, 5, 5), mode="reflect"),
        lambda net, z: pad(pad(z.relu().tanh(), (2, 3, 0, 2), mode="circular"), (3, 3, 3, 3), mode="reflect"),
        lambda net, z: nn.functional.interpolate(z.relu().tanh(), scale_factor=2),
    ],
    ids=[
        "tanh of relu",
        "clamp of relu",
        "mirrored twice",
        "with factors",
        "with a norm",
        "elu",
        "clamp",
        "silu",
        "-gelu",
        "|z|",
        "copies of a run at the border",
        "mirrored cells",
        "copies of copies",
        "each cell four times",
    ],
)
def test_the_largest_of_a_run_passes_what_the_run_passes_there(gates):
    predicted = float(predict(lambda: _Largest(gates), SHAPE).squared.sum())
    measured, error = _measured(gates)
    assert abs(measured - predicted) < 0.1 * predicted + 5 * error


def test_a_maximum_that_passes_almost_nothing_is_refused_by_name():
    with pytest.raises(AssumptionError, match=r"amax.*tail"):
        predict(lambda: _Largest(lambda net, z: -z.relu()), SHAPE)
