"""Models to be proved, and their refusals."""

import pytest
import torch
from torch import nn

from landscape import trace
from lattice import UnsupportedError

SHAPE = (2, 8)


class Layers(nn.Module):
    """Two convolutions, a norm, a dropout, and a function of them and the input."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.one, self.two = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.act, self.norm, self.drop = nn.ReLU(), nn.BatchNorm1d(4), nn.Dropout(0.4)

    def forward(self, x):
        return self.function(self, x)


def traced(function, **options):
    torch.manual_seed(0)
    return trace(Layers(function), SHAPE, initialisation="he", **options)


def refused(function, match, **options):
    with pytest.raises(UnsupportedError, match=match):
        traced(function, **options)


def frozen_stem(m, x):
    with torch.no_grad():
        y = m.one(x)
    return m.two(y)


class Reversed(torch.autograd.Function):
    """The identity, its gradient reversed (domain-adversarial training)."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def passes(function, **options):
    found = traced(function, **options)
    assert found.unproven == ""
    return found


class Net(nn.Module):
    """Layers in a row."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


def linear(channels=4):
    """Its law is exact: white inputs and independent weights."""
    return Net(nn.Conv2d(2, channels, 3, padding=1, bias=False), nn.Conv2d(channels, 3, 3, stride=2, bias=False))
