"""Rates from a few positions, against the function at all of them."""

import numpy as np
import pytest

from landscape.gates.trunks.few_positions import from_few_positions


def test_channels_are_computed_at_few_positions_and_odd_ones_at_all():
    level = np.linspace(-2, 2, 300)[:, None, None]
    size = 1 + np.add.outer(np.linspace(0, 1, 9) ** 2, np.linspace(0, 0.5, 9))
    odd = np.isin(np.arange(300), [1, 77, 298])[:, None, None]  # none of these is in the sample, which steps by 300 / 16
    asked = []

    def function(x, y, other):
        asked.append(x.size)
        return np.where(other > 0, np.sin(40 * y), np.tanh(x * y)), np.exp(-x * y)

    arrays = np.broadcast_arrays(level, size, odd.astype(float))
    found = from_few_positions(function, *arrays)
    counted, exact = sum(asked), function(*arrays)
    assert counted < 300 * 81 / 2
    for one, other in zip(found, exact, strict=True):
        np.testing.assert_array_equal(one[odd[:, 0, 0]], other[odd[:, 0, 0]])
        assert np.all(np.abs(one - other) <= 2e-4 * np.abs(other).max(axis=(1, 2), keepdims=True))


def test_transposed_positions_get_the_same_numbers_from_few_positions():
    level = np.linspace(-2, 2, 300)[:, None, None]
    size = 1 + np.add.outer(np.linspace(0, 1, 9) ** 2, np.linspace(0, 1, 9) ** 2)
    (found,) = from_few_positions(lambda x, y: (np.tanh(x * y),), *np.broadcast_arrays(level, size))
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))


@pytest.mark.parametrize("channels", [3, 400])
def test_a_function_without_few_positions_is_computed_at_all(channels):
    drawn = np.random.default_rng(0).normal(size=(channels, 40))
    (found,) = from_few_positions(lambda x: (np.cos(50 * x),), drawn)
    np.testing.assert_allclose(found, np.cos(50 * drawn), atol=1e-12)


@pytest.mark.parametrize("channels", [5, 300])
def test_a_mean_over_channels_is_that_of_all_of_them(channels):
    level = np.linspace(-2, 2, channels)[:, None]
    size = 1 + np.linspace(0, 1, 40) ** 2
    odd = np.isin(np.arange(channels), [1, 3, 298])[:, None].astype(float)

    def function(x, y, other):
        return np.where(other > 0, np.sin(40 * y), np.tanh(x * y)), np.exp(-x * y)

    arrays = np.broadcast_arrays(level, size, odd)
    mean, each = from_few_positions(function, *arrays, averaged=1)
    expected, other = function(*arrays)
    assert mean.shape == (1, 40)
    np.testing.assert_allclose(mean[0], expected.mean(axis=0), atol=2e-4)
    assert np.all(np.abs(each - other) <= 2e-4 * np.abs(other).max(axis=1, keepdims=True))
