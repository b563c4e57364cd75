"""Maxima over cells that are taken as alike and independent, for being too many to look at all pairs of them."""

import numpy as np
import pytest
from torch import nn

from landscape import predict
from landscape.gates.windows.pools import MOST_CELLS
from lattice import AssumptionError
from validation import measure

CELLS = (4, 17, 17)


def under_a_maximum(gate, deviation, inputs=4):
    def model():
        layers = [nn.Conv2d(inputs, 6, 1, bias=False), gate(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 5)]
        nn.init.normal_(layers[0].weight, std=deviation / np.sqrt(inputs))
        return nn.Sequential(*layers)

    return model


@pytest.mark.parametrize("gate", [nn.SiLU, nn.GELU, nn.Hardswish, nn.Tanh, nn.ReLU])
def test_a_gate_under_many_cells_passes_what_the_winner_does(gate):
    assert np.prod(CELLS[1:]) > MOST_CELLS
    model = under_a_maximum(gate, 0.5)
    found = predict(model, CELLS).squared.mean()
    assert 0.8 < measure(model, CELLS, draws=400, seed=0).mean.mean() / found < 1.45


def test_a_winner_of_many_cells_that_passes_a_tail_is_refused():
    with pytest.raises(AssumptionError, match=r"its winner would pass .* a tail"):
        predict(under_a_maximum(nn.Tanh, 2.0), CELLS)
