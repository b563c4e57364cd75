"""Overlapping maxima, one after the other under a global average, against the infinite-width recursion by simulation.

Each layer is a Gaussian field with the covariances of the one below; gradients go back to the cells that have won.
"""

import numpy as np
from scipy import sparse

from landscape import predict
from landscape.gates.windows.pools import at_codes
from landscape.structure.forward_pairs import asked_pairs
from landscape.structure.pairs import Pairs
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Pool

SIDE, POOLS, DRAWS = 9, 3, 12_000
POOL = Pool("max", 3, 1, padding=1)
relu = Activation("relu")


def _net():
    layers = [Conv(64, 3, padding=1), relu]
    for _ in range(POOLS):
        layers += [POOL, Conv(64, 1), relu]
    return Lattice.chain((64, SIDE, SIDE), [*layers, GlobalPool("avg"), Flatten(), Dense(10)])


def _neighbours():
    """The cell that each of nine taps reads at each cell; -1: none."""
    cells = np.pad(np.arange(SIDE**2).reshape(SIDE, SIDE), 1, constant_values=-1)
    return np.array([cells[i : i + SIDE, j : j + SIDE].ravel() for i, j in np.ndindex(3, 3)])


def _recursion():
    rng, taps, size = np.random.default_rng(0), _neighbours(), SIDE**2
    covariance = np.diag(2 / 9 * (taps >= 0).sum(axis=0))  # white inputs: two positions have none in common by one tap
    layers = []
    for _ in range(POOLS):
        factor = np.linalg.cholesky(covariance + 1e-9 * covariance.max() * np.eye(size))
        draws = factor @ rng.standard_normal((size, DRAWS))
        padded = np.concatenate([draws, np.full((1, DRAWS), -np.inf)])
        best = padded[taps].argmax(axis=0)
        winners = taps[best, np.arange(size)[:, None]]
        maxima = np.maximum(np.take_along_axis(draws, winners, axis=0), 0)
        layers.append((winners, maxima > 0))
        covariance = 2 * maxima @ maxima.T / DRAWS
    sizes = np.sqrt(np.diag(covariance))
    below = 1 - np.arccos(np.clip(covariance / np.outer(sizes, sizes), -1, 1)) / np.pi
    for winners, opened in reversed(layers):
        above, below = below, np.zeros((size, size))
        for winner, gate in zip(winners.T, opened.T, strict=True):
            wins = sparse.csr_array((gate.astype(float), (winner, np.arange(size))), shape=(size, size))
            below += wins @ (wins @ above).T
        below *= 2 / DRAWS
    return sum(np.bincount(tap[tap >= 0], np.diag(below)[tap >= 0], size) for tap in taps).reshape(SIDE, SIDE)


def test_the_map_is_that_of_the_recursion():
    truth, found = _recursion(), predict(_net()).importance
    truth = (truth + truth[::-1] + truth[:, ::-1] + truth[::-1, ::-1]) / 4
    truth = (truth + truth.T) / 2
    np.testing.assert_allclose(found / found.mean(), truth / truth.mean(), rtol=0.035)


def test_all_pairs_of_a_small_field_are_followed():
    pools = [position for position, node in enumerate(_net().nodes) if node.op == POOL]
    asked = asked_pairs(_net())
    assert all(len(axes) == SIDE**2 for pool in pools for axes in asked[pool - 1])


def test_pairs_too_far_apart_are_products_of_what_each_position_has():
    sizes = np.array([0.6, 0.9, 1.0, 1.0, 1.0, 1.0, 0.9, 0.5])
    codes = np.arange(64)
    near = Pairs.of(8, 8, codes[np.abs(codes // 8 - codes % 8) <= 3])
    values = (np.outer(sizes, sizes).ravel()[near.codes])[None]
    found = at_codes(values, (near,), [codes])[0].reshape(8, 8)
    np.testing.assert_allclose(found, np.outer(sizes, sizes), rtol=1e-12)
    assert found[0, 7] < 0.31  # the mean of the nearer ones: 0.55
