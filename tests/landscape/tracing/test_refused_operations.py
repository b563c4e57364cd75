"""Operations without a rule are refused in one error, each with its reason."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import trace
from lattice import UnsupportedError
from tests.landscape.tracing.models import Beside

LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


REFUSED = [
    (lambda x: functional.avg_pool2d(x, 2, divisor_override=3), "divisor_override"),
    (lambda x: functional.hardtanh(x, -2.0, 2.0), "clamps to (-2.0, 2.0)"),
    (lambda x: x.clamp(-1, 2), "clamps to (-1, 2)"),
    (lambda x: x.clamp(min=1), "clamps to (1, None)"),
    (lambda x: functional.dropout(x, 0.5, training=True), "drops units in evaluation mode"),
    (lambda x: functional.max_pool2d(x, 3, 1, 1, return_indices=True)[1] * x, "a part of an operation's result"),
    (lambda x: x / x.relu(), "divides by something that is computed"),
    (lambda x: functional.interpolate(x, scale_factor=1.4), "resizes (7, 10) to (9, 14)"),
    (lambda x: functional.interpolate(x, scale_factor=1.2, mode="bilinear"), "resizes (7, 10) to (8, 12)"),
    (lambda x: functional.softmax(x, 1), "depends on the data"),
    (lambda x: x.exp(), "no rule for it"),
    (lambda x: x.detach(), "it cuts the gradient"),
    (lambda x: x / 0, "divides by zero"),
    (lambda x: x * math.inf, "multiplies by inf"),
    (lambda x: x + math.nan, "adds nan"),
    (lambda x: torch.div(x, 2, rounding_mode="floor"), "a division that rounds has the gradient zero"),
    (lambda x: x // 2, "floor_divide.default: never: its gradient is zero"),
    (lambda x: x.trunc() + x.ceil() + x.sign(), "ceil.default: never: its gradient is zero"),
    (lambda x: x.int(), "a cast to whole numbers has the gradient zero"),
    (lambda x: x * (x > 0), "gt.Scalar: never: its gradient is zero"),
    (lambda x: functional.softplus(x, beta=2), "has beta 2"),
    (lambda x: torch.ops.aten.elu(x, 1.0, 2.0), "has scales of its own"),
]


READ = {
    "mean of all": lambda x: x.mean()[None, None],
    "mean over rows": lambda x: x.mean(2),
    "mean over channels and positions": lambda x: x.mean((1, 2, 3))[:, None],
    "rows in one axis": lambda x: x.flatten(2),
    "channels and rows in one axis": lambda x: x.flatten(1, 2),
    "other rows": lambda x: x.reshape(1, 4, 10, 7),
    "channels in two axes, other rows": lambda x: x.reshape(1, 2, 2, 10, 7),
    "flat features at one position": lambda x: x.flatten(1).view(1, 280, 1, 1),
    "split channels permuted": lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 3).reshape(1, 4, 7, 10),
    "split channels through a gate": lambda x: x.view(1, 2, 2, 7, 10).relu(),
    "split channels permuted and joined": lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 2).reshape(1, 2, 20, 7),
    "rows as channels": lambda x: functional.avg_pool2d(x.transpose(1, 2), 2),
    "a sum with its first channel": lambda x: x + x[:, :1],
    "a square": lambda x: x * x,
    "concatenated along rows": lambda x: torch.cat([x, x], dim=2),
    "half of the columns": lambda x: x.chunk(2, dim=3)[0],
    "every second channel": lambda x: x[:, ::2],
    "without the first row": lambda x: x[:, :, 1:],
    "padded channels": lambda x: functional.pad(x, (1, 1, 1, 1, 1, 1)),
    "padded with a number": lambda x: functional.pad(x, (1, 1), value=2.0),
    "cropped and padded": lambda x: functional.pad(x, (-1, 1)),
}


@lru_cache
def refusals():
    with pytest.raises(UnsupportedError) as caught:
        trace(Beside(*(function for function, _ in REFUSED)), PLANE)
    return str(caught.value)


@pytest.mark.parametrize("reason", [reason for _, reason in REFUSED])
def test_what_has_no_rule_is_refused_with_its_reason(reason):
    assert reason in refusals()


def test_an_operation_is_refused_once_and_what_depends_on_it_is_not():
    assert refusals().startswith(f"{len(REFUSED) + 2} operations of this model have no rule here:")


class After(nn.Module):
    """A convolution, and what reads it."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(4, 4, 1), function

    def forward(self, x):
        return self.function(self.conv(x))


@pytest.mark.parametrize("name", READ)
def test_layouts_are_read_and_proven_against_autograd(name):
    torch.manual_seed(0)
    model = After(READ[name])
    found = trace(model, PLANE)
    assert not found.unproven  # the lattice was replayed, and has the model's own output and gradient
    assert np.prod(found.lattice.output_shape) == model(torch.zeros(1, *PLANE)).numel()


def test_an_empty_slice_is_refused_by_name():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 2, 3)

        def forward(self, x):
            y = self.conv(x)
            y[..., 1:].mul_(-1)
            return y

    with pytest.raises(UnsupportedError, match="holds nothing"):
        trace(Net(), (1, 3))
