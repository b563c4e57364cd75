"""Training mode is read from a graph of training mode: masks, statistics, frozen parts and branches on `self.training`.

Predictions are compared with sums of squared gradients over all masks, or closed forms.
"""

import itertools

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from landscape import predict, trace
from lattice import Add, Dropout, Norm, UnsupportedError

SHAPE = (2, 6)


class Layers(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleDict(parts)
        self.one, self.two = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.function(self, x)


def in_training(function, **parts):
    torch.manual_seed(0)
    return trace(Layers(function, **parts), SHAPE, initialisation="he", train=True)


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


def test_a_mask_that_is_drawn_in_evaluation_mode_too_is_refused_there():
    model = Layers(lambda m, x: m.one(x) * x.new_empty((len(x), 1, 1)).bernoulli_(0.5))
    with pytest.raises(UnsupportedError, match="drops units in evaluation mode"):
        trace(model, SHAPE)


def test_a_skip_beside_a_dropout_is_not_dropped():
    def skip(m, x):
        y = m.one(x)
        return y + m.two(m.parts["drop"](y))

    net = in_training(skip, drop=nn.Dropout(0.4)).lattice
    assert net.names == ("input", "one", "parts.drop", "two", "add")
    assert net.nodes[-1].op == Add()
    assert net.nodes[-1].inputs == (1, 3)


def test_a_dropout_in_place_is_seen_by_all_that_read_its_input():
    def skip(m, x):
        y = m.one(x)
        return m.two(m.parts["drop"](y)) + y

    net = in_training(skip, drop=nn.Dropout(0.4, inplace=True)).lattice
    assert net.nodes[-1].inputs == (3, 2)


def test_two_draws_of_one_dropout_are_two():
    def twice(m, x):
        y = m.one(x)
        return m.parts["drop"](y) + m.two(m.parts["drop"](y))

    assert in_training(twice, drop=nn.Dropout(0.4)).lattice.names == (
        "input",
        "one",
        "parts.drop",
        "parts.drop_2",
        "two",
        "add",
    )


def test_branches_on_training_are_those_of_the_mode():
    model = Layers(lambda m, x: m.two(m.one(x)) * 3 if m.training else m.one(x))
    assert trace(model, SHAPE, train=True).lattice.names == ("input", "one", "two", "mul")
    assert trace(model, SHAPE).lattice.names == ("input", "one")
    assert trace(model.eval(), SHAPE, train=True).lattice.names == ("input", "one", "two", "mul")
    assert not model.training


def test_a_frozen_norm_keeps_its_running_statistics_in_training_mode():
    parts = {"live": nn.BatchNorm1d(4), "frozen": nn.BatchNorm1d(4)}
    for norm in parts.values():
        norm.running_var.fill_(3.0)
        norm.running_mean.fill_(1.0)
        nn.init.constant_(norm.weight, 2.0)
    parts["frozen"].eval()
    found = in_training(lambda m, x: m.parts["frozen"](m.parts["live"](m.one(x))), **parts)
    kinds = {node.name: node.op for node in found.lattice.nodes}
    assert kinds["parts.live"] == Norm("batch", eps=1e-5)
    assert kinds["parts.frozen"] == Norm("scale")
    assert found.factors["parts.live"] == pytest.approx(4)
    assert found.factors["parts.frozen"] == pytest.approx(4 / 3, rel=1e-4)
    assert found.shifted == {"parts.frozen"}


def test_norms_without_running_statistics_use_the_batch_in_training():
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    assert in_training(lambda m, x: m.parts["norm"](m.one(x)), norm=norm).lattice.nodes[-1].op.kind == "batch"


def test_a_dropped_branch_has_the_squared_gradient_of_all_its_masks():
    """y + conv(dropout(y)) on a pixel of one channel: all four masks, and both signs of every weight."""

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv1d(1, 1, 1, bias=False), nn.Conv1d(1, 1, 3, padding=1, bias=False)
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            y = self.one(x)
            return y + self.two(self.drop(y))

    land = predict(Tiny(), (1, 2), initialisation=1.0, mode="train")
    total = np.zeros(2)
    cases = list(itertools.product((-1, 1), (-1, 1), (-1, 1), (-1, 1), (0, 2), (0, 2)))
    for a, left, middle, right, first, second in cases:
        jacobian = a * np.array([[1 + middle * first, right * second], [left * first, 1 + middle * second]])
        total += np.square(jacobian).mean(0)
    np.testing.assert_allclose(land.squared, total / len(cases))
