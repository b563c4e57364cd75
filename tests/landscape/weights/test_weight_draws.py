"""Second moments, means and tails of drawn weights, against numpy and scipy's tests."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from landscape.weights.fresh_weights import centred, even
from landscape.weights.weight_draws import moments_of, pooled


@pytest.mark.parametrize("shape", [(3,), (2, 5), (4, 3, 7), (9, 8, 2, 3), (61, 90, 3, 5), (70_001,)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_moments_are_numpys_however_many_weights_there_are(shape, kind):
    weight = (np.random.default_rng(0).normal(size=shape) + 0.3).astype(kind)
    found, exact = moments_of(weight), weight.astype(np.float64)
    assert found.count == weight.size
    assert found.mean == pytest.approx(exact.mean())
    assert found.fourth == pytest.approx((exact**4).mean())
    np.testing.assert_allclose(found.squares, (exact**2).mean(axis=(0, 1)[: weight.ndim]).ravel())
    assert found.deviation == pytest.approx(exact.std())


@pytest.mark.parametrize("shift", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("size", [2, 7, 300])
def test_a_mean_is_zero_by_students_t(size, shift, monkeypatch):
    weight = np.random.default_rng(size).normal(size=(size, 1)) + shift
    chance = stats.ttest_1samp(weight.ravel(), 0).pvalue
    for factor, zero in ((1 - 1e-6, True), (1 + 1e-6, False)):
        monkeypatch.setattr("landscape.weights.fresh_weights.LEAST_CHANCE", chance * factor)
        assert centred(moments_of(weight)) == zero


def test_weights_with_heavy_tails_may_differ_more_from_tap_to_tap():
    rng = np.random.default_rng(0)
    sparse = rng.normal(size=(60, 60, 9)) * (rng.random((60, 60, 9)) < 0.02)
    squares = (sparse**2).mean(axis=(0, 1))
    assert even(squares, 3600, (sparse**4).mean())
    assert np.ptp(squares) > 0.5 * squares.mean()  # which normal weights never do: they are noticed below
    alike = rng.normal(size=(60, 60, 9)) * np.sqrt(squares)
    assert not even((alike**2).mean(axis=(0, 1)), 3600, (alike**4).mean())


def test_the_draws_of_a_layer_are_pooled():
    draws = np.random.default_rng(0).normal(size=(3, 4, 5, 2)) + 0.1
    found, exact = pooled([moments_of(draw) for draw in draws]), moments_of(draws.reshape(12, 5, 2))
    assert (found.count, found.mean, found.fourth) == pytest.approx((exact.count, exact.mean, exact.fourth))
    np.testing.assert_allclose(found.squares, exact.squares)


@pytest.mark.parametrize("draw", [nn.init.normal_, nn.init.uniform_])
def test_the_error_of_a_variance_is_that_of_many_second_moments(draw):
    torch.manual_seed(0)
    layers = [moments_of(draw(torch.empty(6, 5, 3)).sub_(0.5 * (draw is nn.init.uniform_)).numpy()) for _ in range(2000)]
    squares = np.array([layer.squares.mean() for layer in layers])
    stated = np.mean([layer.variance_error for layer in layers])
    assert stated == pytest.approx(squares.std() / squares.mean(), rel=0.06)  # 2,000 give a deviation to 1.6 %
