"""Weights that are parts of one parameter: attention whose queries, keys and values come from different tensors."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from lattice import AssumptionError
from validation.comparison.compare import compare
from validation.montecarlo.measure import measure

SHAPE = (3, 8, 8)


class Attends(nn.Module):
    """An overlapping stem, and attention whose queries are another signal than its keys, or all three are."""

    def __init__(self, apart: bool) -> None:
        super().__init__()
        self.stem, self.queries = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 1)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head, self.apart = nn.Linear(16, 5), apart

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        here = self.stem(x)
        tokens, queries = here.flatten(2).transpose(1, 2), self.queries(here).flatten(2).transpose(1, 2)
        values = 2 * tokens if self.apart else tokens
        return self.head(self.attention(queries, tokens, values, need_weights=False)[0].mean(1))


class Halves(nn.Module):
    """Two layers that use rows of one parameter, the same or others."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.both, self.start, self.stop = nn.Linear(64, 48), start, stop
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        one = functional.relu(functional.linear(x, self.both.weight[:24]))
        other = functional.relu(functional.linear(x, self.both.weight[self.start : self.stop]))
        return self.head(one * 2 + other)


@pytest.mark.parametrize("apart", [False, True])
def test_attention_to_another_signal_is_read_and_proven(apart):
    torch.manual_seed(0)
    traced = landscape.trace(Attends(apart), SHAPE)
    assert not traced.unproven
    own = [name for name in traced.variances if name.startswith("attention")]
    assert len(own) == (4 if apart else 3)  # queries, keys and values, or these two as one layer, and what is behind them
    bound = 6 / (16 + 48)  # of torch's uniform numbers over the whole parameter, whose variance is a third of its square
    assert all(traced.variances[name] == pytest.approx(bound / 3, rel=0.3) for name in own[:-1])


def test_the_map_of_attention_to_another_signal_is_the_measured_one():
    found = landscape.predict(lambda: Attends(True), SHAPE)
    assert found.relative.std() > 0.4
    agreement = compare(found, measure(lambda: Attends(True), SHAPE, draws=2000, seed=1, device="cpu"), tolerance=0.1)
    assert agreement.verdict.name == "AGREE"


def test_parts_of_one_parameter_that_overlap_are_tied():
    torch.manual_seed(0)
    assert len(landscape.trace(Halves(24, 48), (1, 8, 8)).variances) == 3
    with pytest.raises(AssumptionError, match="tied"):
        landscape.trace(Halves(12, 36), (1, 8, 8))


def test_a_part_of_a_parameter_that_no_draw_changes_is_refused():
    torch.manual_seed(0)
    kept = nn.Linear(64, 48)

    def made() -> nn.Module:
        model = Halves(24, 48)
        model.both = kept.requires_grad_(False)
        return model

    with pytest.raises(AssumptionError, match="the same in each of"):
        landscape.trace(made, (1, 8, 8))
