"""What a polynomial says of many cases, against the function in all of them."""

import numpy as np
import pytest

from landscape.gates.trunks.few_cases import CLOSE, from_few_cases


def smooth(cases):
    """A function that its approximation leaves a smooth factor of, and one that is near itself."""
    x, y = cases.T
    return np.stack([np.exp(0.05 * x * y) * (1 + x**2), 1 + 0 * x], axis=1)


def near(cases):
    x, _ = cases.T
    return cases.copy(), np.stack([1 + x**2, 1 + 0 * x], axis=1)


def looked_at(function, cases):
    """What is found, and how many cases were computed."""
    counts = []
    found = from_few_cases(lambda flat: (counts.append(len(flat)), function(flat))[1], cases, near)
    return found, sum(counts)


def cases_of(channels, positions):
    level = np.random.default_rng(0).normal(size=(channels, 1, 2)) * 0.5
    return level * np.linspace(0.9, 1.1, positions)[:, None]


def test_a_smooth_function_is_computed_in_few_cases():
    cases = cases_of(400, 10)
    found, computed = looked_at(smooth, cases)
    exact = smooth(cases.reshape(-1, 2)).reshape(400, 10, 2)
    assert computed < 400
    assert np.sqrt(np.mean((found - exact) ** 2)) < CLOSE * np.sqrt(np.mean(exact**2))
    assert abs(found.mean() / exact.mean() - 1) < CLOSE / 5  # what is missed is of both signs


def test_channels_far_from_the_others_are_computed():
    cases = cases_of(400, 10)
    cases[[3, 200, 377]] += [[[4.0, -5.0]]]
    found, computed = looked_at(smooth, cases)
    assert computed < 1000  # and no others for their sake
    for channel in (3, 200, 377):
        np.testing.assert_array_equal(found[channel], smooth(cases[channel]))


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e155])
def test_channels_whose_features_are_not_finite_are_computed(bad):
    cases = cases_of(400, 10)
    wild = np.arange(400) % 5 == 0

    def approximation(flat):
        features, close = near(flat)
        features[flat[:, 1] > 7] = bad
        return features, close

    def function(flat):
        return np.where(flat[:, 1:] > 7, 9.0, smooth(flat))

    cases[wild, :, 1] = 8.0
    found = from_few_cases(function, cases, approximation)
    np.testing.assert_array_equal(found[wild], 9.0)
    exact = smooth(cases[~wild].reshape(-1, 2)).reshape(-1, 10, 2)
    np.testing.assert_allclose(found[~wild], exact, rtol=0.02)


def test_nothing_but_features_that_are_not_finite_is_computed():
    cases = cases_of(400, 10)
    found = from_few_cases(smooth, cases, lambda flat: (flat + np.inf, near(flat)[1]))
    np.testing.assert_array_equal(found, smooth(cases.reshape(-1, 2)).reshape(400, 10, 2))


@pytest.mark.parametrize("frequency", [3.0, 30.0])
def test_where_a_polynomial_is_not_close_everything_is_computed(frequency):
    def function(flat):
        return np.stack([2 + np.sin(frequency * flat[:, 0]), flat[:, 1]], axis=1)

    cases = cases_of(400, 10)
    found, computed = looked_at(function, cases)
    assert computed >= 4000
    np.testing.assert_array_equal(found, function(cases.reshape(-1, 2)).reshape(400, 10, 2))


def test_few_cases_are_computed_as_they_are():
    cases = cases_of(4, 5)
    found, computed = looked_at(smooth, cases)
    assert computed == 20
    np.testing.assert_array_equal(found, smooth(cases.reshape(-1, 2)).reshape(4, 5, 2))


def test_the_same_cases_at_another_scale_are_sampled_alike():
    """Which cases are looked at is a matter of their order, and not of their numbers."""
    cases, seen = cases_of(400, 10), []
    for scale in (1.0, 3e-9, 7e12):
        own = []

        def function(flat, scale=scale, own=own):
            own.append(flat / scale)
            return smooth(flat / scale)

        found = from_few_cases(function, cases * scale, lambda flat, scale=scale: near(flat / scale))
        seen.append((found, np.concatenate(own)))
    for found, own in seen[1:]:
        np.testing.assert_allclose(found, seen[0][0], rtol=1e-9)
        np.testing.assert_allclose(own, seen[0][1], rtol=1e-12)
