"""Products: of a signal and a gate, a number or a parameter, and activations that are written out as products."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lattice
from landscape import predict, trace
from lattice import Multiply, UnsupportedError
from tests.landscape.tracing.models import Beside, Function, Scaled, read

LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


def test_the_first_factor_of_a_product_is_the_larger_one():
    def pooled(x):
        return x.mean((2, 3), keepdim=True)

    products = {
        lambda x: pooled(x) * x: "input",
        lambda x: x * pooled(x): "input",
        lambda x: x[:, :1] * x: "input",
        lambda x: x * x[:, :1].sigmoid(): "input",
        lambda x: pooled(x).sigmoid() * x[:, :1]: "sigmoid",  # either could be: one is larger on one axis each
    }
    for function, trunk in products.items():
        net = trace(Function(function), PLANE).lattice
        assert isinstance(net.nodes[-1].op, Multiply)
        assert net.nodes[net.nodes[-1].inputs[0]].name == trunk


CHANNELS = [[[1.0]], [[2.0]], [[3.0]], [[0.0]]]


def test_a_parameter_scales_all_channels_or_each():
    values = (0.5, [0.5], [[[0.5]]], CHANNELS)
    functions = (lambda x, p: x * p, lambda x, p: p * x)
    found = trace(Beside(*(Scaled(value, function) for value in values for function in functions)), PLANE)
    truth = [np.square(value).ravel() for value in values for _ in functions]
    for factor, expected in zip(found.factors.values(), truth, strict=True):
        np.testing.assert_allclose(np.ravel(factor), expected)
    last = trace(Scaled([1.0, 2.0, 3.0, 0.0], lambda x, p: (x.permute(0, 2, 3, 1) * p).permute(0, 3, 1, 2)), PLANE)
    (factor,) = last.factors.values()
    np.testing.assert_allclose(factor, [1, 4, 9, 0])


WRITTEN_OUT = {
    "silu": [
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) * x,
        lambda x: x.mul(x.sigmoid()),
        lambda x: (x.permute(0, 2, 3, 1) * x.permute(0, 2, 3, 1).sigmoid()).permute(0, 3, 1, 2),
    ],
    "hardswish": [
        lambda x: x * functional.relu6(x + 3) / 6,
        lambda x: x * (functional.relu6(x + 3) / 6),
        lambda x: functional.relu6(x + 3).mul(1 / 6) * x,
        lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
        lambda x: x * functional.hardtanh(3 + x, 0.0, 6.0) / 6.0,
        lambda x: x * functional.hardsigmoid(x),
        lambda x: functional.hardsigmoid(x) * x,
    ],
    "mish": [lambda x: x * torch.tanh(functional.softplus(x)), lambda x: functional.softplus(x).tanh() * x],
    "gelu": [
        lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
        lambda x: x * 0.5 * (1.0 + torch.erf(x * 2**-0.5)),
        lambda x: x * (1 + torch.erf(x / 2**0.5)) * 0.5,
        lambda x: (torch.erf(x / 2**0.5) + 1) / 2 * x,
    ],
}


@pytest.mark.parametrize(("name", "function"), [(name, f) for name, functions in WRITTEN_OUT.items() for f in functions])
def test_activations_that_are_written_out_are_known(name, function):
    _, ops = read(nn.Sequential(nn.Conv2d(4, 4, 1), Function(function)), initialisation="he")
    assert ops[1:] == [lattice.Activation(name)]


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_slopes_of_activations_written_out_are_counted_as_torchs_own(name):
    """The slopes of activations that are written out are counted as those of torch's own."""

    def counted(function):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(4, 512, 1), Function(function))
        return trace(model, (4, 2, 2), initialisation="he", inputs="noise").gates.gains

    found, truth = counted(WRITTEN_OUT[name][0]), counted(getattr(functional, name))
    np.testing.assert_allclose(*found.values(), *truth.values(), rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x.relu(),
        lambda x: x.tanh() * x.sigmoid(),
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: x * functional.relu6(x + 2) / 6,
        lambda x: x * torch.tanh(functional.softplus(2 * x)),
        lambda x: 0.5 * x * (1 + torch.erf(x / 1.4142)),
        lambda x: 0.5 * x * (1 + torch.erf(x * 2**0.5)),
        lambda x: (x + x.relu()) * x,
        lambda x: (2 * x + 1) * (-x).sigmoid(),
    ],
)
def test_other_products_of_one_signal_are_refused(function):
    with pytest.raises(UnsupportedError, match=r"square|pow"):
        read(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), Function(function)))


def test_a_square_is_a_function_of_its_signal():
    for function in (lambda x: x * x, lambda x: x.pow(2), lambda x: x.square()):
        traced = trace(nn.Sequential(nn.Conv2d(4, 4, 1), Function(function)), PLANE, initialisation="weights")
        assert not traced.unproven
        assert traced.lattice.nodes[-1].op == lattice.Activation("square")


def test_the_order_of_a_product_changes_nothing():
    gates = {
        "of all": lambda x: torch.sigmoid(x[:, :1]),
        "of channels": lambda x: x.mean((2, 3), keepdim=True),
        "of cells": lambda x: functional.avg_pool2d(x, 3, 1, 1),
    }
    for gate in gates.values():
        one, other = read(lambda x: x.relu() * gate(x)), read(lambda x: gate(x) * x.relu())  # noqa: B023
        assert {type(op) for op in one[1]} == {type(op) for op in other[1]}
        assert one[0].lattice.shapes[-1] == other[0].lattice.shapes[-1] == PLANE
        inputs = [found.lattice.nodes[found.lattice.nodes[-1].inputs[0]].name for found, _ in (one, other)]
        assert inputs[0] == inputs[1] or gate is gates["of cells"]


class Selective(nn.Module):
    """Two branches, a weight for each of both branches' channels, and the sum of their products."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 1)
        self.weights = nn.Linear(4, 8)

    def forward(self, x):
        both = torch.stack([self.one(x), self.other(x)], 1)
        return (both * self.weights(both.sum(1).mean((2, 3))).view(-1, 2, 4, 1, 1)).sum(1)


def test_a_sum_of_parts_of_a_product_is_read_in_both_modes():
    one, two = (predict(Selective, (2, 5, 6), mode=mode).lattice for mode in ("eval", "train"))
    assert one.nodes == two.nodes
