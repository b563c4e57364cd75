"""Maxima of cells whose covariance no Gaussian has, or that are too many: repaired, or refused in words."""

import numpy as np
import pytest

import landscape.gates.forward.mean_field as mean_field
import landscape.gates.windows.pools as pools
import landscape.structure.forward_pairs as forward_pairs
from landscape import predict
from landscape.gates.functions import curve
from landscape.gates.gate_rates import theory_gates
from landscape.gates.rising import rising_activation
from landscape.gates.windows.largest import common_factor, largest, moments_of_largest
from landscape.gates.windows.winners import winners
from landscape.prior import Prior
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Pool

relu = Activation("relu")
NET = Lattice.chain((2, 16), [Conv(4, 3), relu, Pool("max", 3, 2), Conv(4, 3), relu, Pool("max", 2), Flatten(), Dense(2)])


def _won(mean, covariance):
    cells = len(mean)
    return [part[0] for part in winners(np.asarray(mean, float)[None], covariance[None], np.ones((1, cells), dtype=bool))]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("cells", [2, 3, 4, 9])
def test_equal_cells_win_alike_and_are_positive_half_of_the_time(cells, scale):
    picked, positive = _won(np.zeros(cells), np.full((cells, cells), scale))
    np.testing.assert_allclose(picked, 1 / cells, atol=0.02 / cells)
    assert positive.sum() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("loading", [[1, 2, 3, 4], [1, -1, 2, -2], [0, 0, 1, 1.5]])
def test_of_cells_of_rank_one_the_outermost_win(loading):
    """a_k = l_k t: for t > 0 the largest loading wins, for t < 0 the least one."""
    loading = np.asarray(loading, float)
    picked, positive = _won(np.zeros(4), np.outer(loading, loading))
    won = [picked[loading == edge].sum() for edge in (loading.max(), loading.min())]
    np.testing.assert_allclose(won, 0.5, atol=0.01)
    truth = 0.5 * (loading.max() > 0) + 0.5 * (loading.min() < 0)
    assert positive.sum() == pytest.approx(truth, abs=0.01) or (loading == 0).any()


def test_covariances_that_no_gaussian_has_give_rates_that_add_up_to_one():
    """Neighbours alike, and the far ones as near as neighbours or not at all: an eigenvalue is negative."""
    band = np.array([[0.9 if 0 < abs(i - j) < 3 else float(i == j) for j in range(9)] for i in range(9)])
    assert np.linalg.eigvalsh(band)[0] < -0.1
    for mean in (np.zeros(9), np.linspace(-1, 1, 9)):
        picked, positive = _won(mean, band)
        assert picked.sum() == pytest.approx(1, rel=1e-12)
        assert (positive >= 0).all()
        assert (positive <= picked * (1 + 1e-12)).all()


def test_a_covariance_that_a_gaussian_has_is_left_alone():
    valid = 0.3 * np.eye(5) + 0.7
    low = np.full((5, 5), 0.9) - 1.0 * np.eye(5) + np.diag(np.full(5, 0.3))  # one that none has beside it
    ones = np.ones((2, 5), dtype=bool)
    alone = _won(np.arange(5) / 5, valid)[0]
    both = winners(np.stack([np.arange(5) / 5] * 2), np.stack([valid, low + np.eye(5) * 0.2]), ones)[0]
    np.testing.assert_array_equal(both[0], alone)


def test_what_leaves_a_window_is_the_same_with_and_without_its_winner():
    covariance = 0.5 * np.eye(4) + 0.5
    window = common_factor(np.linspace(-0.5, 0.5, 4)[None], covariance[None], np.ones((1, 4), dtype=bool))
    law, moments = (rule(window, curve(relu)) for rule in (largest, moments_of_largest))
    assert law.picked.sum() == pytest.approx(1, rel=1e-6)
    assert law.wins.sum() <= 1
    draws = np.random.default_rng(0).multivariate_normal(np.linspace(-0.5, 0.5, 4), covariance, 200_000).max(axis=1)
    opened = np.maximum(draws, 0)
    for found, seen in zip(moments, (opened, opened**2, None, draws, draws**2), strict=True):
        if seen is not None:
            assert abs(found[0] - seen.mean()) < 5 * seen.std() / 200_000**0.5


def test_a_mirrored_window_has_the_mirrored_law_to_the_last_bit():
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(9, 9))
    covariance = (factors @ factors.T).reshape(3, 3, 3, 3)
    field = pools.Field(
        np.zeros((3, 3)), np.einsum("abab->ab", covariance), np.zeros((3, 3)), None, None, rising_activation(relu)
    )
    every = tuple(forward_pairs.Pairs.of(3, 3, np.arange(9)) for _ in range(2))
    as_pairs = covariance.transpose(0, 2, 1, 3).reshape(9, 9)
    one = pools.windows(Pool("max", (3, 3)), field._replace(covariance=as_pairs, axes=every))
    turned = covariance[::-1, :, ::-1].transpose(1, 0, 3, 2)
    variance = np.einsum("abab->ab", turned)
    pairs = turned.transpose(0, 2, 1, 3).reshape(9, 9)
    other = pools.windows(Pool("max", (3, 3)), field._replace(variance=variance, covariance=pairs, axes=every))
    np.testing.assert_array_equal(other.wins.reshape(3, 3), one.wins.reshape(3, 3)[::-1].T)
    np.testing.assert_array_equal(other.second, one.second)


def _prior(net):
    return Prior(net, {node.name: 0.2 for node in net.nodes if isinstance(node.op, Conv | Dense)})


def test_a_window_with_too_many_cells_falls_back_and_says_so():
    net = Lattice.chain((1, 280), [Conv(4, 3), relu, GlobalPool("max"), Flatten(), Dense(2)])
    land = predict(net)
    assert np.isfinite(land.squared).all()
    assert any("taken as alike and independent: windows of 278 cells" in reason for reason in land.reasons)


def test_too_many_windows_fall_back_and_say_so(monkeypatch):
    monkeypatch.setattr(pools, "MOST_WORK", 1)
    gates = theory_gates(_prior(NET))
    assert not gates.taps
    assert all("are too many for the law" in note for notes in gates.notes.values() for note in notes)
    assert any("are too many for the law" in reason for reason in predict(NET).reasons)


def test_moments_that_are_not_finite_fall_back_and_say_so(monkeypatch):
    finite = mean_field.passed_pairs
    monkeypatch.setattr(
        mean_field, "passed_pairs", lambda *a: None if (found := finite(*a)) is None else np.full_like(found, np.nan)
    )
    land = predict(NET)
    assert any("the moments of its cells are not finite" in reason for reason in land.reasons)


def test_far_pairs_that_are_taken_as_nearer_are_named(monkeypatch):
    forward_pairs._asked.cache_clear()
    assert not any("taken as nearer" in reason for reason in predict(NET).reasons)
    monkeypatch.setattr(forward_pairs, "MOST_PAIRS", 30)
    for limit in ("MOST_WHOLE", "MOST_UNDER_FEW"):
        monkeypatch.setattr(forward_pairs, limit, 0)
    forward_pairs._asked.cache_clear()
    assert any("taken as nearer, for being too many (pool1, pool2)" in reason for reason in predict(NET).reasons)
    forward_pairs._asked.cache_clear()


def test_a_pool_of_pools_says_that_it_reads_fitted_gaussians():
    """The lower one leaves cells out, so that the union of its windows is no window."""
    net = Lattice.chain((2, 16), [Conv(4, 3), relu, Pool("max", 2, 3), Pool("max", 2), Flatten(), Dense(2)])
    assert any("taken as rectified Gaussians (pool2)" in reason for reason in predict(net).reasons)
