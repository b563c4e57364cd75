"""Pairs of maxima over windows of a correlated field, against draws of the field."""

import numpy as np
import pytest

from landscape.gates.rising import rising_activation
from landscape.gates.windows.far_windows import pairs_of_windows
from landscape.gates.windows.pairs_of_winners import Winners, to_pairs_of_winners
from landscape.gates.windows.pools import Field, simulate, windows, with_moments
from landscape.gates.windows.simulation import overlapping
from landscape.structure.pairs import everything
from lattice import Activation, Pool

relu = Activation("relu")
POOL, SIDE = Pool("max", 3, 1, padding=1), 4
PAIRS = (everything(SIDE, SIDE), everything(SIDE, SIDE))
DRAWS = 100_000


def _smooth():
    """A field whose neighbours differ by a few percent, smaller at one border, as deep layers have them."""
    places = np.stack(np.meshgrid(*[np.arange(SIDE)] * 2, indexing="ij"), -1).reshape(-1, 2)
    distance = ((places[:, None] - places[None]) ** 2).sum(-1)
    size = np.where(places.min(axis=1) == 0, 0.85, 1.0)
    covariance = np.exp(-distance / 40) * np.outer(size, size)
    by_axis = covariance.reshape([SIDE] * 4).transpose(0, 2, 1, 3).reshape(SIDE**2, SIDE**2)
    variance = np.diag(covariance).reshape(SIDE, SIDE)
    return Field(np.zeros((SIDE, SIDE)), variance, 0.2 * variance, by_axis, PAIRS, rising_activation(relu)), covariance


def _drawn(covariance):
    """The largest cell of every window and its number, (windows, draws)."""
    cells = np.random.default_rng(0).multivariate_normal(np.zeros(SIDE**2), covariance, DRAWS, method="eigh").T
    numbers = np.pad(np.arange(SIDE**2).reshape(SIDE, SIDE), 1, constant_values=-1)
    values, winners = [], []
    for i, j in np.ndindex(SIDE, SIDE):
        window = numbers[i : i + 3, j : j + 3].ravel()
        window = window[window >= 0]
        values.append(cells[window].max(axis=0))
        winners.append(window[cells[window].argmax(axis=0)])
    return np.array(values), np.array(winners)


def _matrix(values):
    return values.reshape([SIDE] * 4).transpose(0, 2, 1, 3).reshape(SIDE**2, SIDE**2)


@pytest.mark.parametrize("whole", [True, False])
def test_maxima_of_windows_that_share_cells_differ_as_drawn(whole, monkeypatch):
    if not whole:
        monkeypatch.setattr(overlapping, "is_small", lambda tables, cells: False)
    field, covariance = _smooth()
    law = windows(POOL, field)
    seen = simulate(POOL, field, law)
    found = _matrix(pairs_of_windows(POOL, field, with_moments(law, seen), seen, PAIRS))
    values, _ = _drawn(covariance)
    opened = np.maximum(values, 0)
    truth = opened @ opened.T / DRAWS
    apart = [np.diag(one)[:, None] + np.diag(one) - 2 * one for one in (found, truth)]
    far = np.abs(np.subtract.outer(*[np.arange(SIDE)] * 2)) > 2  # on one axis: no cell in common, by first order
    near = ~np.kron(far, np.ones_like(far)) & ~np.kron(np.ones_like(far), far) & ~np.eye(SIDE**2, dtype=bool)
    np.testing.assert_allclose(apart[0][near], apart[1][near], rtol=0.1)
    np.testing.assert_allclose(found, truth, rtol=0.02 if whole else 0.03)


def test_windows_of_one_law_have_one_power_and_products_by_lag():
    """What they differ by is that few points are simulated: a deep layer would take it for a slope of the image."""
    side = 12
    places = np.stack(np.meshgrid(*[np.arange(side)] * 2, indexing="ij"), -1).reshape(-1, 2)
    covariance = np.exp(-((places[:, None] - places[None]) ** 2).sum(-1) / 40)
    by_axis = covariance.reshape([side] * 4).transpose(0, 2, 1, 3).reshape(side**2, side**2)
    pairs = (everything(side, side), everything(side, side))
    field = Field(
        np.zeros((side, side)), np.ones((side, side)), 0.2 * np.ones((side, side)), by_axis, pairs, rising_activation(relu)
    )
    law = windows(POOL, field)
    seen = simulate(POOL, field, law)
    power = with_moments(law, seen).second[1:-1, 1:-1]
    np.testing.assert_allclose(power, power[0, 0], rtol=1e-9)
    products = pairs_of_windows(POOL, field, with_moments(law, seen), seen, pairs)
    products = products.reshape(side, side, side, side)  # first and second position on either axis
    inside = [products[i, i + 1, k, k + 2] for i in range(1, side - 2) for k in range(1, side - 3)]
    np.testing.assert_allclose(inside, inside[0], rtol=1e-9)


def test_two_cells_win_two_windows_as_often_as_drawn():
    field, covariance = _smooth()
    seen = simulate(POOL, field, windows(POOL, field))
    values, winners = _drawn(covariance)
    opened = (values > 0).astype(float)
    np.testing.assert_allclose(_matrix(seen.at(PAIRS)[1]), opened @ opened.T / DRAWS, atol=0.01)
    found = seen.winners()
    for one, other in [(0, 1), (5, 6), (5, 10), (4, 7), (2, 14)]:  # the last two share no cell
        at, to = divmod(one, SIDE), divmod(other, SIDE)
        lag = tuple(b - a + SIDE - 1 for a, b in zip(at, to, strict=True))
        truth = np.zeros((9, 9))
        places = [
            [(cell // SIDE - i + 1) * 3 + cell % SIDE - j + 1 for cell in winners[w]] for (i, j), w in ((at, one), (to, other))
        ]
        np.add.at(truth, tuple(map(np.array, places)), opened[one] * opened[other] / DRAWS)
        np.testing.assert_allclose(found[(*at, *lag)], truth, atol=0.012)


def test_gradients_that_meet_in_a_winner_add_as_drawn():
    field, covariance = _smooth()
    law = windows(POOL, field)
    seen = simulate(POOL, field, law)
    one = np.eye(SIDE).ravel()
    gates = np.where(np.multiply.outer(one, one) > 0, 0.5, 1.0)  # off the diagonal they are not looked at
    known = Winners(seen.winners()[None], seen.at(PAIRS)[1][None], gates[None], (1,))
    pairs = np.ones((1, SIDE**2, SIDE**2))  # the same gradient everywhere, as under a global average
    passed = to_pairs_of_winners(POOL, (SIDE, SIDE), law.wins[:, None] / 0.5, known, pairs, (PAIRS, PAIRS))[0]
    found = np.diag(_matrix(passed)) * 0.5
    values, winners = _drawn(covariance)
    times = np.array([((winners == cell) & (values > 0)).sum(axis=0) for cell in range(SIDE**2)])
    truth = (times.astype(float) ** 2).mean(axis=1)
    np.testing.assert_allclose(found, truth, rtol=0.08)
    assert abs(found.sum() / truth.sum() - 1) < 0.02


def test_a_field_too_large_is_left_to_the_first_order(monkeypatch):
    field, _ = _smooth()
    monkeypatch.setattr(overlapping, "MOST_WORK", 1)
    law = windows(POOL, field)
    assert simulate(POOL, field, law) is None
    assert np.isfinite(pairs_of_windows(POOL, field, with_moments(law, None), None, PAIRS)).all()
