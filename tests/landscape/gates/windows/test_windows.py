"""Max-pools of correlated Gaussians, against simulation (5 standard errors: 1 false alarm in 10^6) and closed forms."""

import numpy as np
import pytest

from landscape.gates.activations import gaussian_moments
from landscape.gates.functions import curve
from landscape.gates.gate_rates import theory_gates
from landscape.gates.rising import rising_activation
from landscape.gates.windows.largest import common_factor, largest, product_of_largest
from landscape.gates.windows.pools import Field, windows
from landscape.gates.windows.rectified import gaussian_below, gaussians_below
from landscape.gates.windows.winners import winners
from landscape.prior import Prior
from landscape.structure.pairs import everything
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Pool

relu = Activation("relu")
DRAWS = 400_000


def _simulated(mean, covariance):
    rng = np.random.default_rng(0)
    cells = rng.multivariate_normal(mean, covariance, size=DRAWS, method="cholesky")
    return cells.max(axis=1), cells.argmax(axis=1), cells


def _row_and_rest():
    """Cells of which the first three have much in common, as the border row of a padded layer has."""
    covariance = np.full((6, 6), 0.5) + np.diag(np.full(6, 0.3))
    covariance[:3, :3] += 0.3 - 0.15 * np.eye(3)
    return np.array([0.0, 0.0, 0.0, 0.2, 0.2, 0.2]), covariance


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_independent_cells_win_alike_and_are_all_positive_once_in_2_to_n(n):
    window = common_factor(np.zeros((1, n)), np.eye(n)[None], np.ones((1, n), dtype=bool))
    np.testing.assert_allclose(largest(window, curve(relu)).wins, np.full((1, n), (1 - 0.5**n) / n), rtol=1e-6)
    picked, positive = winners(np.zeros((1, n)), np.eye(n)[None], np.ones((1, n), dtype=bool))
    np.testing.assert_allclose(picked, np.full((1, n), 1 / n), rtol=1e-9)
    np.testing.assert_allclose(positive, np.full((1, n), (1 - 0.5**n) / n), rtol=1e-3)


def test_the_winners_of_cells_of_any_covariance_are_those_of_a_simulation():
    mean, covariance = _row_and_rest()
    value, winner, _ = _simulated(mean, covariance)
    picked, positive = winners(mean[None], covariance[None], np.ones((1, 6), dtype=bool))
    for k in range(6):
        for found, seen in ((picked, winner == k), (positive, (winner == k) & (value > 0))):
            assert abs(found[0, k] - seen.mean()) < 5 * seen.std() / DRAWS**0.5 + 2e-3


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_the_largest_of_cells_with_one_common_factor_is_as_simulated(share):
    loading = share**0.5 * np.linspace(0.6, 1, 5)
    covariance = np.outer(loading, loading)
    np.fill_diagonal(covariance, np.linspace(0.6, 1, 5) ** 2)
    mean = np.linspace(-0.3, 0.4, 5)
    value, _, cells = _simulated(mean, covariance)
    window = common_factor(mean[None], covariance[None], np.ones((1, 5), dtype=bool))
    law = largest(window, curve(relu))
    np.testing.assert_allclose(window.loading[0], loading, atol=1e-5)
    opened = np.maximum(value, 0)
    for found, seen in ((law.first, opened), (law.second, opened**2), (law.level, value), (law.wins.sum(), value > 0)):
        assert abs(float(np.squeeze(found)) - seen.mean()) < 5 * seen.std() / DRAWS**0.5 + 1e-3
    left, right = np.arange(5)[None] < 3, np.arange(5)[None] > 1
    both = np.maximum(cells[:, :3].max(axis=1), 0) * np.maximum(cells[:, 2:].max(axis=1), 0)
    assert abs(product_of_largest(window, left, right, curve(relu))[0] - both.mean()) < 5 * both.std() / DRAWS**0.5 + 3e-3


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("mean", [-2.0, 0.0, 0.7, 12.0])
def test_a_rectified_gaussian_is_found_again_from_its_moments(mean, scale):
    m, v = np.array([mean * scale]), np.array([scale**2])
    first, power, product, _ = gaussian_moments(relu, m, v, np.array([0.6]))
    found, variance = gaussian_below(first, power)
    np.testing.assert_allclose([found[0] / scale, variance[0] / scale**2], [mean, 1], atol=1e-6)
    np.testing.assert_allclose(gaussians_below(product, (found, found), (variance, variance)) / variance, [0.6], atol=1e-6)


POOLED = [Conv(8, 3, padding=1), relu, Pool("max", 3, 2, padding=1), Conv(8, 3, padding=1), relu, Pool("max", 2)]


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_no_win_rate_depends_on_how_large_the_weights_are(layer, scale):
    net = Lattice.chain((3, 13), [*POOLED, Flatten(), Dense(2)])
    variances = {"conv1": 0.1, "conv2": 0.1, "dense1": 0.1}
    one = theory_gates(Prior(net, variances)).taps
    other = theory_gates(Prior(net, {**variances, layer: 0.1 * scale**2})).taps
    for name in one:
        np.testing.assert_allclose(other[name], one[name], rtol=1e-9)


def test_win_rates_are_mirrored_where_the_network_is():
    net = Lattice.chain((3, 13, 13), [*POOLED[:3], Flatten(), Dense(2)])
    taps = theory_gates(Prior(net, dict.fromkeys(("conv1", "conv2", "dense1"), 0.1))).taps["pool1"]
    split = taps.reshape(3, 3, 1, 7, 7)
    np.testing.assert_allclose(split, split[::-1, :, :, ::-1], rtol=1e-12)
    np.testing.assert_allclose(split, split.transpose(1, 0, 2, 4, 3), rtol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus"])
@pytest.mark.parametrize("scale", [1, 8, 60])
def test_sharply_bending_gates_pass_what_a_simulation_passes(name, scale):
    covariance = scale**2 * (np.full((4, 4), 0.3) + 0.7 * np.eye(4))
    value, _, _ = _simulated(np.zeros(4), covariance)
    function = curve(Activation(name))
    law = largest(common_factor(np.zeros((1, 4)), covariance[None], np.ones((1, 4), dtype=bool)), function)
    values, passed = function.value(value), function.slope(value) ** 2
    for found, seen in ((law.first, values), (law.second, values**2), (law.wins.sum(), passed)):
        assert abs(float(np.squeeze(found)) - seen.mean()) < 5 * seen.std() / DRAWS**0.5


@pytest.mark.parametrize("name", ["relu", "tanh", "silu"])
def test_many_cells_win_as_simulated(name):
    """More than MOST_JOINT cells over white noise: uncorrelated, and weaker at the border, whose taps are fewer."""
    net = Lattice.chain((2, 12, 12), [Conv(8, 3, padding=1), Activation(name), GlobalPool("max"), Flatten(), Dense(2)])
    taps = theory_gates(Prior(net, {"conv1": 0.05, "dense1": 0.1})).taps["globalpool1"].ravel()
    inside = np.full(12, 3.0)
    inside[[0, -1]] = 2
    deviation = np.sqrt(0.1 * np.outer(inside, inside)).ravel()
    draws, function = 100_000, curve(Activation(name))
    z = deviation * np.random.default_rng(0).standard_normal((draws, 144))
    winner = function.value(z).argmax(axis=1)
    passed = function.slope(z[np.arange(draws), winner]) ** 2 / (function.slope(z) ** 2).mean(axis=0)[winner]
    corners = np.flatnonzero(deviation < deviation.max() * 0.7)
    for cells in (np.arange(144), corners):
        seen = passed * np.isin(winner, cells)
        assert abs(taps[cells].sum() - seen.mean()) < 0.01 * seen.mean() + 5 * seen.std() / draws**0.5


def test_maxima_of_two_inputs_are_one_where_their_cells_are():
    """Cells that are not alike: E[f(M) f(M')] goes from E[f(M)]^2 to E[f(M)^2] as two inputs have nothing or all in common."""
    variance = np.array([1.0, 1.0, 0.3, 0.3])
    axes = (everything(4, 4),)
    covariance = np.sqrt(np.outer(variance, variance)) * 0.4 + 0.6 * np.diag(variance)
    for function in (Activation("relu"), Activation("leaky_relu", 0.3)):
        rises = rising_activation(function)
        for part in (0.0, 1.0):
            field = Field(np.zeros(4), variance, part * variance, covariance.ravel(), axes, rises)
            law = windows(Pool("max", 4, 4), field)
            assert law.shared == pytest.approx(law.second if part else law.first**2, rel=1e-6)
