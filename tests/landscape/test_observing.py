"""Which cell of a max-pool wins is not equally likely near padded borders, and counting it mends the map."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape import predict, trace
from landscape.alike import average_alike
from lattice import SpecificationError
from validation import compare, measure


def deep():
    """A small VGG over sixteen pixels, so that most windows touch a padded border."""
    layers = []
    for inputs, pooled in ((1, True), (24, True), (24, False), (24, True)):
        conv = nn.Conv2d(inputs, 24, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers += [conv, nn.ReLU(), *([nn.MaxPool2d(2)] if pooled else [])]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 4, 4, bias=False))


def test_counted_win_rates_mend_the_map_and_its_scale():
    estimate = measure(deep, (1, 16, 16), draws=3000, seed=1)
    counted = compare(predict(deep, (1, 16, 16)), estimate)
    alike = compare(predict(deep, (1, 16, 16), gates="theory"), estimate)
    assert counted.error < alike.error / 2
    assert abs(counted.scale_ratio - 1) < 0.1
    assert alike.scale_ratio < 0.8  # the largest of correlated cells is not open as often as that of independent ones


def test_rates_are_probabilities_of_one_winner_at_most():
    rates = trace(deep, (1, 16, 16), inputs="noise").gates.taps
    assert set(rates) == {"2", "5", "10"}
    for rate in rates.values():
        assert rate.shape[0] == 4
        assert (rate.sum(axis=0) / 2 <= 1.1).all()  # relative to a gate that is open half of the time, counted too
        assert (rate.sum(axis=0) / 2 > 0.3).all()


def test_the_prediction_says_how_the_winners_were_taken():
    assert any("counted on white noise (2, 5, 10)" in reason for reason in predict(deep, (1, 16, 16)).reasons)
    assert any("equally likely" in reason for reason in predict(deep, (1, 16, 16), gates="theory").reasons)
    with torch.device("meta"):
        model = deep()
    land = predict(model, (1, 16, 16), initialisation=0.1)
    assert any("equally likely" in reason for reason in land.reasons)
    with pytest.raises(SpecificationError, match="'measured' or 'theory'"):
        predict(deep, (1, 16, 16), gates="half")


def test_counting_is_the_same_every_time_and_leaves_the_random_state_alone():
    model = deep()
    before = torch.get_rng_state()
    first, second = (predict(model, (1, 16, 16)).squared for _ in range(2))
    assert (first == second).all()
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


@given(st.integers(1, 3), st.integers(1, 30), st.integers(0, 100))
def test_averaging_keeps_the_mean_the_borders_and_what_is_alike(kernel, windows, seed):
    rates = np.random.default_rng(seed).random(kernel * windows)
    averaged = average_alike(rates, (kernel,))
    assert averaged.mean() == pytest.approx(rates.mean())
    border = min(3, windows) * kernel
    assert (averaged[:border] == rates[:border]).all()
    assert (averaged[-border:] == rates[-border:]).all()
    periodic = np.tile(rates[:kernel], windows)
    np.testing.assert_allclose(average_alike(periodic, (kernel,)), periodic)
