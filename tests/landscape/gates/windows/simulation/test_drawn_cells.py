"""Gaussian fields at fixed points: their moments, the fourth ones too, and fields that no Gaussian has."""

import numpy as np
import pytest

from landscape.gates.windows.simulation.drawn_cells import gaussian_cells, gaussian_points


def _smooth(side, width):
    places = np.stack(np.meshgrid(*[np.arange(side)] * 2, indexing="ij"), -1).reshape(-1, 2)
    return np.exp(-((places[:, None] - places[None]) ** 2).sum(-1) / width)


def test_the_first_points_are_uncorrelated_and_all_are_of_one_size():
    points = gaussian_points(300, 256)
    first = points[:8]
    np.testing.assert_allclose(first @ first.T / points.shape[1], np.eye(8), atol=1e-12)
    np.testing.assert_allclose((points**2).mean(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(points.mean(axis=1), 0, atol=1e-12)


def test_many_coordinates_keep_their_fourth_moment():
    """Made uncorrelated with all others, 600 of 1,024 points each would have 2.0 in place of 3."""
    assert abs((gaussian_points(600, 1024) ** 4).mean() - 3) < 0.1


@pytest.mark.parametrize("width", [2.0, 40.0])
def test_a_field_has_its_covariances(width):
    covariance = _smooth(8, width)
    drawn = gaussian_cells(np.full((8, 8), 0.5), np.ones((8, 8)), covariance, 2**11)
    apart = drawn - 0.5
    np.testing.assert_allclose(apart @ apart.T / drawn.shape[1], covariance, atol=0.02)
    np.testing.assert_allclose(drawn.mean(axis=1), 0.5, atol=1e-9)


def test_the_square_of_a_maximum_is_as_of_a_hundred_times_more_draws():
    """Of a field of long waves, whose corner and middle a deep network compares."""
    covariance = _smooth(12, 60.0)
    drawn = gaussian_cells(np.zeros((12, 12)), np.ones((12, 12)), covariance, 2**11).reshape(12, 12, -1)
    truth = np.random.default_rng(0).multivariate_normal(np.zeros(144), covariance, 400_000, method="eigh").T
    for corner in (slice(0, 2), slice(5, 8)):
        found = (np.maximum(drawn[corner, corner].max(axis=(0, 1)), 0) ** 2).mean()
        wanted = (np.maximum(truth.reshape(12, 12, -1)[corner, corner].max(axis=(0, 1)), 0) ** 2).mean()
        assert abs(found / wanted - 1) < 0.006


def test_covariances_that_no_gaussian_has_are_repaired():
    covariance = np.ones((3, 3))
    covariance[0, 2] = covariance[2, 0] = -1.0
    drawn = gaussian_cells(np.zeros(3), np.ones(3), covariance, 512)
    np.testing.assert_allclose((drawn**2).mean(axis=1), 1, rtol=1e-6)
