"""What a norm divides by, where it reads maxima of few filters: against drawn filters, and against networks."""

import numpy as np
import pytest
from torch import nn

from landscape import predict
from landscape.warrant.norms_over_maxima import _level, _spread_of_size, largest_square, least_through_norms_over_maxima
from lattice import Activation, Conv, Lattice, Norm, Pool
from validation import measure


@pytest.mark.parametrize(("weights", "cells"), [(1, 9), (2, 25), (6, 4)])
def test_the_variance_of_maxima_is_that_of_drawn_filters(weights, cells):
    """V|w| M over draws of |w| and of M, beside E|w|^2 V[M]."""
    draw = np.random.default_rng(0)
    size = np.sqrt(draw.chisquare(weights, 400_000))
    largest = draw.normal(size=(400_000, cells)).max(axis=1)
    more = 1 + _spread_of_size(weights) * _level(cells)
    assert np.var(size * largest) / (weights * largest.var()) == pytest.approx(more, rel=0.02)


@pytest.mark.parametrize("cells", [1, 3, 9, 60])
def test_the_largest_of_squares_is_that_of_drawn_ones(cells):
    drawn = np.random.default_rng(0).chisquare(1, (200_000, cells)).max(axis=1)
    assert largest_square(cells) == pytest.approx(drawn.mean(), rel=0.01)


class OverMaxima(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(inputs, 16, 1, bias=False), nn.LayerNorm(16), nn.Linear(16, 4)
        nn.init.normal_(self.stem.weight)

    def forward(self, x):
        return self.head(self.norm(self.stem(x).amax((2, 3))))


@pytest.mark.parametrize("inputs", [1, 2, 4])
def test_a_norm_over_maxima_of_few_filters_is_within_its_size(inputs):
    """500 draws know the scale to 5 %; without the factor the least that is stated is 0.4."""
    land = predict(lambda: OverMaxima(inputs), (inputs, 5, 5), check=False)
    found = measure(lambda: OverMaxima(inputs), (inputs, 5, 5), draws=500, seed=0).mean.mean() / land.squared.mean()
    assert land.scale_range[0] < found < 0.4 * (1 if inputs < 4 else 1.1)


def test_only_maxima_right_below_a_norm_over_channels_count():
    stem, pool, relu = Conv(16, 1), Pool("max", 3), Activation("relu")

    def least(*layers):
        return least_through_norms_over_maxima(Lattice.chain((2, 9), layers))

    assert (
        least(stem, Norm("layer")) == least(stem, pool, Conv(16, 3), Norm("layer")) == least(stem, pool, Norm("instance")) == 1
    )
    assert least(stem, relu, pool, Norm("layer")) == least(stem, pool, relu, Norm("group", 2)) < 0.7
    assert least(stem, Pool("max", 3, 1), Pool("max", 3), Norm("layer")) < least(stem, pool, Norm("layer"))
