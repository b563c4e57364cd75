"""The largest of cells that sum few saturating gates: how much less its winner passes, against networks that are drawn."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict
from landscape.warrant.saturated_winners import largest_of, lost_by_saturated_winners, weights_read
from lattice import Activation, AssumptionError, Conv, ConvTranspose, Dense, GlobalPool, Lattice, Norm, Pool
from validation import measure


class Saturated(nn.Module):
    def __init__(self, inputs, gate=torch.tanh):
        super().__init__()
        self.stem, self.head, self.gate = nn.Conv2d(inputs, 8, 1, bias=False), nn.Linear(8, 4, bias=False), gate
        nn.init.normal_(self.stem.weight, std=inputs**-0.5)

    def forward(self, x):
        return self.head(torch.relu(self.stem(self.gate(x))).amax((2, 3)))


@pytest.mark.parametrize(("inputs", "side"), [(1, 3), (4, 3), (2, 8), (8, 8)])
def test_winners_of_few_tanh_pass_as_much_less_as_is_stated(inputs, side):
    land = predict(lambda: Saturated(inputs), (inputs, side, side), check=False)
    found = measure(lambda: Saturated(inputs), (inputs, side, side), draws=600, seed=1).mean.mean() / land.squared.mean()
    ((_, layer, lost),) = lost_by_saturated_winners(land.traced.lattice)
    assert layer == "stem"
    assert found / np.exp(-lost) == pytest.approx(1.1, abs=0.2)
    assert land.scale_range[0] < found


@pytest.mark.parametrize("gate", [torch.tanh, nn.functional.hardtanh])
def test_winners_that_pass_a_tail_are_refused(gate):
    """Measured is 0.009 of the prediction, or nothing at all."""
    with pytest.raises(AssumptionError, match=r"amax over stem: each cell is the sum of so few saturating gates"):
        predict(lambda: Saturated(1, gate), (1, 8, 8))
    assert predict(lambda: Saturated(1, torch.relu), (1, 8, 8)).squared.all()


def test_the_largest_of_normal_numbers_has_the_square_of_drawn_ones():
    drawn = np.random.default_rng(0).normal(size=(200_000, 9)).max(axis=1)
    assert largest_of(9)[1] == pytest.approx((drawn**2).mean(), rel=0.01)


def test_a_cell_is_the_sum_of_the_weights_that_it_reads():
    layers = [Conv(8, 3, groups=2), ConvTranspose(8, 3, stride=2), ConvTranspose(8, 2, stride=2)]
    assert [weights_read(op, (4, 8, 8)) for op in layers] == [18, 16, 4]
    assert weights_read(Dense(3), (7,)) == 7


def test_only_saturating_gates_right_below_the_layer_count():
    tanh, conv, pool = Activation("tanh"), Conv(4, 1), Pool("max", 2)

    def lost(*layers):
        return [round(part, 2) for _, _, part in lost_by_saturated_winners(Lattice.chain((2, 8), layers))]

    assert lost(Activation("relu"), conv, pool) == lost(tanh, conv, conv, pool) == lost(tanh, conv, Pool("avg", 2)) == []
    assert lost(tanh, conv, GlobalPool("max")) == lost(tanh, Norm(), conv, Activation("relu"), GlobalPool("max")) != []
    assert lost(tanh, conv, pool, pool) == lost(tanh, conv, Pool("max", 4))
