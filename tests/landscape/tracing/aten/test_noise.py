"""Random masks, however they are written, are dropouts; other random numbers are refused by name."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from lattice import Dropout, UnsupportedError
from tests.landscape.tracing.in_training import in_training

SHAPE = (2, 6)


def dropouts(found):
    return [node.op for node in found.lattice.nodes if isinstance(node.op, Dropout)]


def drop_path(y, p, training, scale=True):
    """Stochastic depth as networks write it out."""
    if not training:
        return y
    kept = y.new_empty((len(y), *(1 for _ in y.shape[1:]))).bernoulli_(1 - p)
    if scale:
        kept.div_(1 - p)
    return y * kept


MASKS = {
    "nn.Dropout": (lambda m, y: nn.functional.dropout(y, 0.4, m.training), Dropout(0.4)),
    "nn.Dropout1d": (lambda m, y: functional.dropout1d(y, 0.4, m.training), Dropout(0.4, "channel")),
    "feature dropout of features": (lambda m, y: functional.dropout(y.mean(2), 0.4, m.training), Dropout(0.4)),
    "StochasticDepth by row": (
        lambda m, y: torchvision.ops.stochastic_depth(y, 0.4, "row", m.training),
        Dropout(0.4, "sample"),
    ),
    "StochasticDepth by batch": (
        lambda m, y: torchvision.ops.stochastic_depth(y, 0.4, "batch", m.training),
        Dropout(0.4, "sample"),
    ),
    "DropPath, written out": (lambda m, y: drop_path(y, 0.4, m.training), Dropout(0.4, "sample")),
    "rounded uniform numbers": (
        lambda m, y: y / 0.6 * (0.6 + torch.rand((len(y), 1, 1), dtype=y.dtype)).floor_(),
        Dropout(0.4, "sample"),
    ),
    "compared uniform numbers": (lambda m, y: y * (torch.rand_like(y) < 0.6).to(y.dtype) / 0.6, Dropout(0.4)),
    "a mask of the channels": (lambda m, y: y * (torch.rand((2, 4, 1)) >= 0.4) / 0.6, Dropout(0.4, "channel")),
    "torch.bernoulli": (lambda m, y: torch.bernoulli(torch.full_like(y, 0.6)) / 0.6 * y, Dropout(0.4)),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_a_dropout_however_it_is_written(name):
    function, op = MASKS[name]
    found = in_training(lambda m, x: function(m, m.one(x)))
    (dropout,) = dropouts(found)
    assert dropout.shared == op.shared
    assert dropout.p == pytest.approx(op.p)
    assert np.prod(list(found.factors.values())) == pytest.approx(1)


def test_masks_that_are_not_divided_by_their_mean_leave_a_factor():
    found = in_training(lambda m, x: drop_path(m.one(x), 0.4, m.training, scale=False))
    assert dropouts(found)[0].shared == "sample"
    assert list(found.factors.values()) == pytest.approx([0.36])


REFUSED = [
    (lambda m, x: functional.alpha_dropout(m.one(x), 0.4, m.training), "alpha dropout"),
    (lambda m, x: functional.feature_alpha_dropout(m.one(x), 0.4, m.training), "alpha dropout"),
    (lambda m, x: m.one(x) + torch.randn(1), "randn"),
    (lambda m, x: m.one(x) * torch.rand(1), "a mask of zeros and ones that fits the signal"),
    (lambda m, x: m.one(x) * torch.rand((1, 1, 6)).lt(0.5), "for units, channels or samples"),
    (lambda m, x: functional.rrelu(m.one(x), training=m.training), "slopes are random"),
    (lambda m, x: functional.dropout2d(m.one(x).transpose(1, 2), 0.4, m.training).transpose(1, 2), "axes were permuted"),
]


@pytest.mark.parametrize(("function", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_other_random_numbers_are_refused_by_name(function, reason):
    with pytest.raises(UnsupportedError, match=reason):
        in_training(function)


def test_one_mask_for_two_signals_is_refused():
    """What they leave of both meets again, dropped together: two dropouts would be independent."""

    def shared(m, x):
        mask = x.new_empty((len(x), 1, 1)).bernoulli_(0.5)
        y = m.one(x)
        return y * mask + m.two(y) * mask

    with pytest.raises(UnsupportedError, match="a mask that another signal was multiplied by"):
        in_training(shared)
