"""What windows far apart have in common: all pairs at once against a literal sum over pairs of taps."""

import numpy as np
import pytest

from landscape.gates.rising import rising_activation
from landscape.gates.windows import far_windows
from landscape.gates.windows.pools import Field, windows
from landscape.structure.pairs import everything
from lattice import Activation, Pool


def field_of(*spatial):
    """A drawn field whose neighbours are alike, with all pairs of its cells."""
    rng = np.random.default_rng(len(spatial))
    cells = int(np.prod(spatial))
    places = np.stack(np.unravel_index(np.arange(cells), spatial))
    apart = ((places[:, :, None] - places[:, None]) ** 2).sum(axis=0)
    deviation = rng.uniform(0.5, 2, cells)
    covariance = np.exp(-apart / 4) * deviation * deviation[:, None]
    order = [axis for pair in zip(range(len(spatial)), range(len(spatial), 2 * len(spatial)), strict=True) for axis in pair]
    by_axis = covariance.reshape(*spatial, *spatial).transpose(order).reshape([n * n for n in spatial])
    mean, variance = rng.normal(size=spatial), deviation.reshape(spatial) ** 2
    axes = tuple(everything(n, n) for n in spatial)
    return Field(mean, variance, 0.2 * variance, by_axis, axes, rising_activation(Activation("relu")))


@pytest.mark.parametrize("at_one_time", [2**22, 50])
@pytest.mark.parametrize(
    ("spatial", "op"),
    [((11,), Pool("max", 3, 2, padding=1)), ((6, 7), Pool("max", 3, 1, padding=1)), ((3, 4, 5), Pool("max", 2, 1))],
)
def test_all_pairs_of_windows_at_once_are_the_sum_over_pairs_of_taps(spatial, op, at_one_time, monkeypatch):
    field = field_of(*spatial)
    law = windows(op, field)
    monkeypatch.setattr(far_windows, "MOST_NUMBERS", at_one_time)
    pairs = tuple(everything(n, n) for n in law.level.shape)
    whole = far_windows._covariance_of_all(op, field, law)
    literal = far_windows._covariance_of_pairs(op, field, law, pairs)
    order = [*range(0, 2 * len(spatial), 2), *range(1, 2 * len(spatial), 2)]
    split = literal.reshape([n for size in law.level.shape for n in (size, size)]).transpose(order)
    np.testing.assert_allclose(whole, split.reshape(whole.shape), rtol=1e-12, atol=1e-14)


def test_a_function_of_pairs_gives_the_same_either_way(monkeypatch):
    field, op = field_of(6, 6), Pool("max", 3, 1, padding=1)
    law = windows(op, field)
    pairs = tuple(everything(n, n) for n in law.level.shape)
    at_once = far_windows._correlation(op, field, law, pairs)(pairs)
    monkeypatch.setattr(far_windows, "MOST_PAIRS", 0)
    np.testing.assert_allclose(far_windows._correlation(op, field, law, pairs)(pairs), at_once, rtol=1e-12)
    assert 0 < at_once.min() < at_once.max() <= 1
