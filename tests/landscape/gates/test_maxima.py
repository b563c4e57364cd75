"""Which of unlike cells wins a maximum, and how open the gate below is there: against drawn values."""

import numpy as np
import pytest
from torch import nn

from landscape import predict
from landscape.gates.composites import Form
from landscape.gates.maxima import winning_rates
from landscape.gates.mean_field_rules import Run, Signal
from lattice import Activation, Pool

GATES = {  # value and slope, written out anew
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1, 0.2)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "silu": (lambda z: z / (1 + np.exp(-z)), lambda z: (1 + np.exp(-z) + z * np.exp(-z)) / (1 + np.exp(-z)) ** 2),
}


@pytest.mark.parametrize("name", GATES)
def test_what_wins_and_how_open_it_is_are_those_of_drawn_values(name):
    """Four cells of other sizes, one of them without any input: all share a bias."""
    value, slope = GATES[name]
    power, cross = np.array([[1.3, 1.3, 0.3, 4.3]]), np.full((1, 4), 0.3)
    activation = Activation(name, 0.2) if name == "leaky_relu" else Activation(name)
    run = Run(Form("gate", activation, (Form(),)), {}, Signal(power, cross, np.zeros((1, 4))))
    rates = winning_rates(Pool("max", 4), (4,), run, run.base)
    rng = np.random.default_rng(0)
    z = np.sqrt(0.3) * rng.standard_normal((400_000, 1)) + np.sqrt(power - cross) * rng.standard_normal((400_000, 4))
    won = np.argmax(value(z), axis=1)[:, None] == np.arange(4)
    drawn = (slope(z) ** 2 * won).mean(axis=0) / (slope(z) ** 2).mean(axis=0)
    np.testing.assert_allclose(rates[:, 0, 0], drawn, atol=0.01)


def test_cells_that_are_alike_without_a_gate_need_no_rates():
    alike = Signal(np.ones((1, 6)), np.zeros((1, 6)), np.zeros((1, 6)))
    assert winning_rates(Pool("max", 3), (6,), None, alike) is None
    relu = Run(Form("gate", Activation("relu"), (Form(),)), {}, alike)
    assert winning_rates(Pool("max", 3), (6,), relu, alike) is None


def test_of_cells_of_which_some_read_no_input_the_others_win():
    """Constants of zero against n values that are symmetric about it: one of these wins but once in 2^n."""
    power = np.array([[1.0, 0.0, 1.0, 0.0]])
    rates = winning_rates(Pool("max", 4), (4,), None, Signal(power, np.zeros((1, 4)), np.zeros((1, 4))))
    assert rates[:, 0, 0] == pytest.approx([3 / 8, rates[1, 0, 0], 3 / 8, rates[3, 0, 0]], abs=1e-3)


def leaky_maximum():
    model = nn.Sequential(
        nn.Conv1d(2, 16, 3), nn.LeakyReLU(0.2), nn.MaxPool1d(4), nn.Conv1d(16, 4, 3), nn.Flatten(), nn.Linear(4, 2, bias=False)
    )
    for layer in (model[0], model[3], model[5]):
        nn.init.kaiming_normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return model


@pytest.mark.parametrize("gates", ["theory", "measured"])
def test_the_largest_of_leaky_values_is_open_more_often_than_they_are(gates):
    """P(the largest of 4 values is positive) = 15/16 against 1/2: (15/16 + 0.04/16) / (1/2 + 0.02) times one of four."""
    (rate,) = predict(leaky_maximum, (2, 14), gates=gates).traced.gates.taps.values()
    assert rate.sum(axis=0).mean() == pytest.approx((15 / 16 + 0.04 / 16) / 0.52, rel=0.07)  # neighbours read some of the same
