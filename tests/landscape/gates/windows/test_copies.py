"""Maxima over copies of cells: against the same networks without copies, and against autograd."""

import numpy as np
import pytest
from torch import nn
from torch.nn import functional

from landscape import predict
from landscape.gates.windows.copies import of_copies
from landscape.structure.pairs import everything
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Pad, Pool, Upsample
from validation import measure

STEM = [Conv(8, 3, padding=1), Activation("relu")]
AVERAGES = [GlobalPool("avg"), Flatten(), Dense(3)]
SAME = {  # a maximum over copies, and the one without them
    "each alone": ([Upsample(2), Pool("max", 2)], []),
    "two of two": ([Upsample(2), Pool("max", 3, 2, padding=1)], [Pool("max", 2, 1, padding=((1, 0),))]),
    "the edge": ([Pad(((1, 0),), "replicate"), Pool("max", 2, 1)], [Pool("max", 2, 1, padding=((1, 0),))]),
    "twice": ([Upsample(2), Upsample(2), Pool("max", 4)], []),
}


def maps(*nets):
    return [predict(Lattice.chain((2, 6), [*STEM, *layers])).squared for layers in nets]


@pytest.mark.parametrize("above", [[Pool("avg", 2, 1), *AVERAGES], [Flatten(), Dense(3)]], ids=["averages", "none"])
@pytest.mark.parametrize(("copied", "plain"), SAME.values(), ids=SAME)
def test_maxima_over_copies_are_those_of_the_cells(copied, plain, above):
    """The map is the same, and so is its scale: of several windows one cell wins, whichever copy of it."""
    np.testing.assert_allclose(*maps([*copied, *above], [*plain, *above]), rtol=0.02)


def test_windows_that_all_read_copies_of_all_cells_are_one():
    around = [Pad(((6, 6),), "circular"), Pool("max", 6, 3)]
    several, one = maps([*around, *AVERAGES], [GlobalPool("max"), *AVERAGES[1:]])
    assert several.sum() == pytest.approx(one.sum(), rel=0.02)
    np.testing.assert_allclose(several, one, rtol=0.06)  # pairs of winners are simulated


class Copying(nn.Module):
    def __init__(self, copy):
        super().__init__()
        self.stem, self.copy = nn.Conv2d(2, 16, 3), copy

    def forward(self, x):
        return functional.max_pool2d(self.copy(functional.relu(self.stem(x))), 2).mean((2, 3))


COPIES = {
    "circular": lambda y: functional.pad(y, (2, 2, 1, 3), mode="circular"),
    "nearest": lambda y: functional.interpolate(y, size=(7, 8), mode="nearest"),
}


@pytest.mark.parametrize("gates", ["theory", "measured"])
@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_an_average_of_maxima_over_copies_is_that_of_autograd(copy, gates):
    """1500 draws know the scale to 1 %."""
    land = predict(lambda: Copying(copy), (2, 6, 6), gates=gates)
    found = measure(lambda: Copying(copy), (2, 6, 6), draws=1500, seed=0).mean.mean()
    assert found / land.squared.mean() == pytest.approx(1, abs=0.1)


def test_rates_of_copies_are_those_of_the_first_tap():
    net = Lattice.chain((1, 3), [Conv(2, 1), Upsample(2), Pool("max", 3, 1)])
    copied = of_copies(net, 3, (everything(6, 6),))
    assert copied.op.windows((3,))[0].table(3).tolist() == [[0, 0, 1, 1], [-1, 1, -1, 2], [1, -1, 2, -1]]
    rates = np.arange(12.0).reshape(3, 1, 4)
    assert copied.rates(rates)[:, 0].tolist() == [[0 + 4, 1, 2 + 6, 3], [0, 5 + 9, 0, 7 + 11], [8, 0, 10, 0]]
    assert copied.at_copies(copied.at_cells(np.ones((1, 36)))).sum() == 9


def test_cells_that_are_not_copied_at_all_get_nothing():
    """Nearest cells of fewer rows leave rows out: as if these had never been."""
    stem = nn.Conv2d(1, 8, 3), nn.ReLU()
    net = nn.Sequential(*stem, nn.Upsample((1, 7)), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    whole, cut = (predict(net, (1, rows, 6)).squared for rows in (4, 3))
    np.testing.assert_allclose(whole[:3], cut, rtol=0.02)
    assert not whole[3].any()
