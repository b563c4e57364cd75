"""Weights that are all zero hide nothing from the proof."""

import pytest
import torch
from torch import nn

from landscape import trace
from landscape.tracing.proof import proving
from lattice import UnsupportedError
from tests.landscape.tracing.proof.models import SHAPE, Layers, frozen_stem


def headed(function, zeros=("two",)):
    torch.manual_seed(0)
    model = Layers(function)
    for name in zeros:
        nn.init.zeros_(getattr(model, name).weight)
    return model


def straight(m, x):
    return m.two(m.act(m.one(x)))


@pytest.fixture
def points(monkeypatch):
    seen, passes = [], proving.Comparison._passes

    def counted(self, seed):
        seen.append(seed)
        return passes(self, seed)

    monkeypatch.setattr(proving.Comparison, "_passes", counted)
    monkeypatch.setattr(proving, "_same_bits", lambda *network: False)
    return seen


def test_a_head_of_zeros_is_proved_at_one_point(points):
    model = headed(straight)
    assert trace(model, SHAPE, initialisation="he").unproven == ""
    assert points == [0]
    assert not model.two.weight.any()


@pytest.mark.parametrize("zeros", [("two",), ("one",), ("one", "two")])
def test_a_stem_without_gradient_is_found_behind_zeros(zeros):
    with pytest.raises(UnsupportedError, match="the gradient at one"):
        trace(headed(frozen_stem, zeros), SHAPE, initialisation="he")


def test_zeros_beside_an_open_way_stay(points):
    def beside(m, x):
        y = m.one(x)
        return m.two(y) + y

    model = headed(beside)
    assert trace(model, SHAPE, initialisation="he").unproven == ""
    assert points == [0]


def test_a_gradient_that_is_cut_is_found_where_gates_are_closed():
    """A ReLU over one negative filter of what is positive: zero at every input, but for other signs of its weights."""

    def cut(m, x):
        with torch.no_grad():
            y = m.two(m.one(x).square())
        return m.act(y)

    model = Layers(cut)
    with torch.no_grad():
        model.two.weight.copy_(-model.two.weight.abs())
    with pytest.raises(UnsupportedError, match="is not the model"):
        trace(model, SHAPE, initialisation="he")
    assert (model.two.weight < 0).all()
