"""Moments of two gates over Gaussians: against samples."""

import numpy as np

from landscape.laws.quadrants import Moments, truncated


def test_two_gates_have_the_moments_of_their_samples():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))  # of u, v, du, dv
    u, v, du, dv = root @ rng.normal(size=(4, 2_000_000))
    cov = root @ root.T
    one = np.ones((1, 1, 1, 1))
    cross = Moments(cov[0, 1] * one, cov[0, 3] * one, cov[2, 1] * one, cov[2, 3] * one)
    found = truncated(cross, (cov[0, 0] * one, cov[0, 2] * one), (cov[1, 1] * one, cov[1, 3] * one), (0.0, 1.0), (0.2, 1.0))
    f, g = np.maximum(u, 0), np.where(v > 0, v, 0.2 * v)
    df, dg = (u > 0) * du, np.where(v > 0, 1, 0.2) * dv
    for part, sample in zip(found, (f * g, f * dg, df * g, df * dg), strict=True):
        assert abs(part.item() - sample.mean()) < 5 * sample.std() / 2_000_000**0.5
