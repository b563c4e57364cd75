"""Training mode is read from a graph of training mode: statistics, frozen parts and branches on `self.training`."""

import itertools

import numpy as np
import pytest
from torch import nn

from landscape import predict, trace
from lattice import Add, Norm, UnsupportedError
from tests.landscape.tracing.in_training import Layers, in_training

SHAPE = (2, 6)


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
