"""Operations without a rule are refused in one error, each with its reason."""

import math
from functools import lru_cache

import pytest
import torch
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
    (lambda x: x.mean()[None, None], "a mean over axes [0, 1, 2, 3]"),
    (lambda x: x.mean(2), "a mean over axes [2]"),
    (lambda x: x.mean((1, 2, 3))[:, None], "a mean over axes [1, 2, 3]"),
    (lambda x: x.flatten(2), "reshapes (1, 4, 7, 10) to (1, 4, 70)"),
    (lambda x: x.flatten(1, 2), "reshapes (1, 4, 7, 10) to (1, 28, 10)"),
    (lambda x: x.reshape(1, 4, 10, 7), "reshapes (1, 4, 7, 10) to (1, 4, 10, 7)"),
    (lambda x: x.reshape(1, 2, 2, 10, 7), "reshapes (1, 4, 7, 10) to (1, 2, 2, 10, 7)"),
    (lambda x: x.flatten(1).view(1, 280, 1, 1), "flat features positions again"),
    (lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 3).reshape(1, 4, 7, 10), "permutes channels that were split in two axes"),
    (lambda x: x.view(1, 2, 2, 7, 10).relu(), "reads channels that were split in two axes"),
    (lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 2).reshape(1, 2, 20, 7), "in two axes to (1, 2, 20, 7)"),
    (lambda x: functional.avg_pool2d(x.transpose(1, 2), 2), "axes were permuted"),
    (lambda x: x + x[:, :1], "broadcasts (1, 4, 7, 10) against (1, 1, 7, 10)"),
    (lambda x: x / x.relu(), "divides by something that is computed"),
    (lambda x: x * x, "such as a square, depends on the data"),
    (lambda x: torch.cat([x, x], dim=2), "concatenates along axis 2"),
    (lambda x: x.chunk(2, dim=3)[0], "splits axis 3"),
    (lambda x: x[:, ::2], "in steps of 2"),
    (lambda x: x[:, :, 1:], "takes a part of axis 2"),
    (lambda x: functional.pad(x, (1, 1, 1, 1, 1, 1)), "pads by [1, 1, 1, 1, 1, 1]"),
    (lambda x: functional.pad(x, (-1, 1)), "pads by [-1, 1]"),
    (lambda x: functional.pad(x, (1, 1), value=2.0), "pads with the constant 2"),
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
