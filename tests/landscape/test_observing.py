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


def test_without_a_gate_below_every_window_has_one_winner_in_every_pass():
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2, bias=False))
    (rate,) = trace(model, (1, 8, 8), inputs="noise").gates.taps.values()
    np.testing.assert_allclose(rate.sum(axis=0), 1, rtol=1e-12)


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


def depthwise(gate):
    """Two depthwise layers over a small signal: many units read closed gates alone, and are exactly zero."""
    layers = [nn.Conv2d(1, 32, 1, bias=False)]
    for _ in range(3):
        layers += [gate(), nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.05)
    return nn.Sequential(*layers, gate(), nn.Flatten(), nn.Linear(32 * 4, 4, bias=False))


def test_a_gate_that_reads_closed_gates_alone_does_not_count_as_closed():
    # for small signals a ReLU6 is a ReLU, whose gates are open half of the time wherever an open path leads to them
    torch.manual_seed(0)
    model = depthwise(nn.ReLU6)
    counted = predict(model, (1, 2, 2)).squared
    known = predict(nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.ReLU6) else layer for layer in model)), (1, 2, 2)).squared
    assert np.allclose(counted / known, 1, atol=0.1)


def test_nor_do_pairs_of_such_gates_under_an_average():
    def model(*second):
        average = (nn.AvgPool2d(3, 1, 1), nn.Conv2d(16, 4, 1), nn.Flatten(), nn.Linear(36, 2))
        return nn.Sequential(nn.Conv2d(1, 16, 1, bias=False), nn.ReLU(), *second, *average)

    torch.manual_seed(0)
    twice = predict(model(nn.ReLU6()), (1, 3, 3), initialisation=0.01).squared
    once = predict(model(), (1, 3, 3), initialisation=0.01).squared
    assert np.allclose(twice / once, 1, atol=0.05)


class Joined(nn.Module):
    """A max-pool over two kinds of channels: a gated convolution's, and that of neighbours that are all but equal."""

    def __init__(self):
        super().__init__()
        self.sharp = nn.Conv2d(1, 16, 1, bias=False)
        self.smooth = nn.Conv2d(1, 48, 1, bias=False)
        self.top = nn.Conv2d(64, 4, 1, bias=False)

    def forward(self, x):
        level = nn.functional.max_pool2d(x.abs(), 3, 1, 1)
        joined = torch.cat([torch.relu(self.sharp(x)), torch.relu(self.smooth(level))], 1)
        return self.top(nn.functional.max_pool2d(joined, 3, 1, 1)).flatten(1)


def test_the_parts_of_a_concatenation_have_win_rates_of_their_own():
    found = trace(Joined(), (1, 6, 6), inputs="noise").gates.taps
    rates = found[max(found)]  # of the upper max-pool
    passed = rates.sum(axis=0)  # (channels, rows, columns)
    assert passed.shape == (64, 6, 6)
    sharp, smooth = passed[:16], passed[16:]
    assert np.ptp(sharp, axis=0).max() == np.ptp(smooth, axis=0).max() == 0
    assert sharp.mean() > 1.7  # the largest of nine independent cells is all but always open, each of them half of the time
    assert smooth.mean() < 1.1  # channels of one sign everywhere are open all together or not at all
