"""Moments of activations over a Gaussian against sums of torch's functions on grids of one and of two dimensions."""

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch.nn import functional

from landscape.gates.activations import FUNCTIONS, distinct, gate_moments, gaussian_moments
from lattice import Activation, UnsupportedError

SMOOTH = ("silu", "gelu", "sigmoid", "tanh", "mish", "softplus", "logsigmoid")
TORCH = {
    **{Activation(name): getattr(functional, name, None) or getattr(torch, name) for name in FUNCTIONS},
    Activation("relu"): torch.relu,
    Activation("leaky_relu"): functional.leaky_relu,
    Activation("leaky_relu", 0.3): lambda z: functional.leaky_relu(z, 0.3),
    Activation("abs"): torch.abs,
    Activation("identity"): torch.clone,
    Activation("elu", 1.7): lambda z: functional.elu(z, 1.7),
    Activation("celu", 0.6): lambda z: functional.celu(z, 0.6),
}
GRID = np.linspace(-12, 12, 96_000, endpoint=False) + 12 / 96_000
WEIGHTS = np.exp(-(GRID**2) / 2) / np.sqrt(2 * np.pi) * 24 / 96_000


def values_and_slopes(function, z):
    x = torch.tensor(z, requires_grad=True)
    value = function(x)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), x)[0].numpy()


def moments(activation, mean, variance, correlation=0.0):
    return gaussian_moments(activation, *(np.array(number) for number in (mean, variance, correlation)))


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (0.0, 9.0), (0.7, 4.0), (-0.4, 0.3)])
@pytest.mark.parametrize("activation", TORCH, ids=str)
def test_moments_are_sums_of_torchs_function_on_a_finer_grid(activation, mean, variance):
    value, slope = values_and_slopes(TORCH[activation], mean + variance**0.5 * GRID)
    first, second, product, gain = moments(activation, mean, variance)
    expected = value @ WEIGHTS
    np.testing.assert_allclose([first, second, product], [expected, value**2 @ WEIGHTS, expected**2], rtol=2e-5, atol=1e-6)
    kinked = activation.name not in SMOOTH  # one cell of the grid: 1.5e-3 of a deviation
    np.testing.assert_allclose(gain, slope**2 @ WEIGHTS, rtol=2e-3 if kinked else 1e-6)


@pytest.mark.parametrize(("mean", "variance", "correlation"), [(0.0, 1.0, 0.6), (0.5, 0.7, -0.4), (-0.3, 0.4, 0.85)])
@pytest.mark.parametrize("name", SMOOTH)
def test_products_are_sums_over_two_gaussians(name, mean, variance, correlation):
    t, weights = hermegauss(60)
    weights = weights / weights.sum()
    other = correlation * t[:, None] + (1 - correlation**2) ** 0.5 * t
    first, second = (TORCH[Activation(name)](torch.tensor(mean + variance**0.5 * z)).numpy() for z in (t, other))
    expected = weights * first @ second @ weights
    np.testing.assert_allclose(moments(Activation(name), mean, variance, correlation)[2], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("below", [0.0, 0.3, -1.0], ids=["relu", "leaky", "abs"])
@pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.8, 1.0])
def test_products_of_half_lines_are_those_of_angles(below, correlation):
    """E[u v] over u, v > 0 is the integral over the wedge of directions in which both are positive."""
    angle = np.linspace(-np.pi, np.pi, 400_001)[:-1]
    u, v = np.cos(angle), np.cos(angle - np.arccos(correlation))
    phi = [np.where(z > 0, 1, below) * z for z in (u, v)]
    expected = 2 * (phi[0] * phi[1]).mean()  # E[r^2] = 2
    activation = {0.0: Activation("relu"), 0.3: Activation("leaky_relu", 0.3), -1.0: Activation("abs")}[below]
    np.testing.assert_allclose(moments(activation, 0.0, 2.5, correlation)[2], 2.5 * expected, rtol=1e-6, atol=1e-9)


def panels(*kinks):
    """Gauss-Legendre points and weights of a standard normal variable, between the kinks; (..., points) for kinks (...)."""
    x, weights = np.polynomial.legendre.leggauss(120)
    ends = np.sort(np.stack(np.broadcast_arrays(-10.0, *kinks, 10.0), axis=-1), axis=-1)
    middle, half = (ends[..., 1:] + ends[..., :-1]) / 2, np.diff(ends) / 2
    t = middle[..., None] + half[..., None] * x
    masses = half[..., None] * weights * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    return t.reshape(*ends.shape[:-1], -1), masses.reshape(*ends.shape[:-1], -1)


@pytest.mark.parametrize(
    "activation", [Activation("relu"), Activation("leaky_relu", 0.3), Activation("abs"), Activation("identity")], ids=str
)
@pytest.mark.parametrize("mean", [0.9, -1.7, 0.01])
@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.0, 0.3, 0.8, 1.0])
def test_products_of_shifted_half_lines_are_double_integrals(activation, mean, correlation):
    """z = m + s t and z' = m + s (r t + sqrt(1 - r^2) t'): integrated between the kinks of both, to ten figures."""
    deviation, rest = 1.3, np.sqrt(1 - correlation**2)

    def phi(z):
        return TORCH[activation](torch.tensor(z)).numpy()

    outer, weights = panels(-mean / deviation, mean / deviation)
    centre = mean + deviation * correlation * outer
    inner, masses = panels(np.clip(-centre / (deviation * max(rest, 1e-9)), -10, 10))
    others = (phi(centre[:, None] + deviation * rest * inner) * masses).sum(axis=1)
    expected = (phi(mean + deviation * outer) * others) @ weights
    np.testing.assert_allclose(moments(activation, mean, deviation**2, correlation)[2], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "activation", [Activation("relu"), Activation("abs"), Activation("tanh"), Activation("elu", 2.0)], ids=str
)
@pytest.mark.parametrize("mean", [np.zeros((3, 1)), np.array([[0.0], [0.4], [-1.2]])], ids=["centred", "shifted"])
def test_arrays_broadcast_and_are_taken_entry_by_entry(activation, mean):
    variance, correlation = np.array([0.3, 2.0, 2.0, 5.0]), np.array(0.4)
    found = gaussian_moments(activation, mean, variance, correlation)
    for moment in found:
        assert moment.shape == (3, 4)
    for i, j in np.ndindex(3, 4):
        alone = moments(activation, mean[i, 0], variance[j], 0.4)
        np.testing.assert_allclose([moment[i, j] for moment in found], np.ravel(alone), rtol=2e-3)  # a kink on the grid


@pytest.mark.parametrize("activation", [Activation("relu"), Activation("silu")], ids=str)
@pytest.mark.parametrize("differs", ["mean", "variance", "correlation"])
def test_rows_that_repeat_are_told_from_rows_that_only_look_alike(activation, differs):
    """Two channels of 4 x 5 positions, where one entry of one of the three arrays breaks a run of equal rows."""
    for place in ((0, 0, 0), (1, 2, 3), (0, 3, 4)):
        numbers = {"mean": np.full((2, 4, 5), 0.3), "variance": np.full((2, 4, 5), 1.2), "correlation": np.full((2, 4, 5), 0.5)}
        numbers[differs][place] = 0.8
        usual, other = (moments(activation, *(array[i] for array in numbers.values())) for i in ((1, 1, 1), place))
        for found, here, there in zip(gaussian_moments(activation, **numbers), usual, other, strict=True):
            expected = np.full((2, 4, 5), float(here))
            expected[place] = float(there)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("activation", [Activation("relu"), Activation("leaky_relu", 0.2)], ids=str)
def test_a_value_without_variance_is_itself(activation):
    for mean, expected in ((2.0, 2.0), (0.0, 0.0), (-2.0, -2.0 * (activation.parameter or 0.0))):
        first, second, product, _ = moments(activation, mean, 0.0, 1.0)
        np.testing.assert_allclose([first, second, product], [expected, expected**2, expected**2], atol=1e-9)
    np.testing.assert_allclose(moments(Activation("tanh"), 0.5, 0.0)[0], np.tanh(0.5), rtol=1e-6)
    np.testing.assert_allclose(moments(Activation("tanh"), 0.5, -1e-18)[0], np.tanh(0.5), rtol=1e-6)


def test_distinct_tuples_are_told_apart_in_every_array():
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, n, (4, 5)).astype(float) for n in (2, 3, 2)]
    cases, which = distinct(*arrays)
    rows = [tuple(row) for row in np.stack([array.ravel() for array in arrays], axis=1).tolist()]
    assert len(set(cases)) == len(cases) == len(set(rows))
    assert [cases[i] for i in which] == rows


def test_an_activation_without_moments_is_named():
    with pytest.raises(UnsupportedError, match=r"prelu: no moments; relu6, .* have them"):
        moments(Activation("prelu"), 0.5, 1.0)


# --- at every scale ---------------------------------------------------------------------------------------------------------

ROOT = np.sqrt(2 * np.pi)


def on_all_scales(mean, deviation):
    """Points z = sinh(x), dense where activations bend and as far out as the density reaches, with their masses."""
    small = min(1.0, deviation)
    x = np.linspace(-1, 1, 400_001)[:-1] * np.arcsinh((abs(mean) + 12 * deviation) / small)
    z = small * np.sinh(x)
    return z, small * np.cosh(x) * (x[1] - x[0]) * np.exp(-(((z - mean) / deviation) ** 2) / 2) / (ROOT * deviation)


@pytest.mark.parametrize("deviation", [1e-6, 1e-3, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("shift", [0.0, -0.7])
@pytest.mark.parametrize("activation", TORCH, ids=str)
def test_moments_are_sums_of_torchs_function_at_every_scale(activation, shift, deviation):
    """Powers to 1e-5; slopes to 2e-3, since a jump lies anywhere between two points that are 1e-4 of z apart."""
    z, masses = on_all_scales(shift * deviation, deviation)
    value, slope = values_and_slopes(TORCH[activation], z)
    first, squared, _, gain = moments(activation, shift * deviation, deviation**2)
    size = np.sqrt(value**2 @ masses)
    np.testing.assert_allclose([first / size, squared / size**2], [value @ masses / size, 1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gain, slope**2 @ masses, rtol=2e-3)
    mean = gate_moments(activation, *map(np.array, (shift * deviation, deviation**2, 0.0)))[4]
    np.testing.assert_allclose(mean, slope @ masses, rtol=2e-3, atol=2e-3 * np.sqrt(gain))


@pytest.mark.parametrize(
    ("name", "area"),
    [("tanh", 4 / 3), ("sigmoid", 1 / 6), ("softsign", 2 / 3), ("relu6", 6), ("hardtanh", 2), ("hardsigmoid", 1 / 6)],
)
@pytest.mark.parametrize("deviation", [1e8, 1e30, 1e150])
def test_what_is_bounded_lets_through_the_area_of_its_squared_slope(name, area, deviation):
    """E[phi'^2] -> n(0) / s times the integral of phi'(z)^2, and E[phi phi'] to that of a step: the angle of the signs."""
    low, high = {"tanh": (-1, 1), "softsign": (-1, 1), "hardtanh": (-1, 1), "relu6": (0, 6)}.get(name, (0, 1))
    first, squared, product, gain = moments(Activation(name), 0.0, deviation**2, 0.6)
    np.testing.assert_allclose(gain, area / (ROOT * deviation), rtol=1e-6)
    same = 1 / 2 + np.arcsin(0.6) / np.pi  # P(z and z' have one sign)
    rtol = 1e-6  # softsign is within log(s) / s of a step
    np.testing.assert_allclose([first, squared], [(low + high) / 2, (low**2 + high**2) / 2], rtol=rtol, atol=1e-6)
    np.testing.assert_allclose(product, same * (low**2 + high**2) / 2 + (1 - same) * low * high, rtol=rtol)


@pytest.mark.parametrize("name", ["silu", "gelu", "hardswish", "mish", "elu", "softplus"])
@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.7])
def test_what_grows_is_a_rectifier_for_large_signals(name, correlation):
    deviation = 1e12
    found = np.array(moments(Activation(name), 0.4 * deviation, deviation**2, correlation))
    truth = np.array(moments(Activation("relu"), 0.4 * deviation, deviation**2, correlation))
    np.testing.assert_allclose(found, truth, rtol=1e-9)


@pytest.mark.parametrize(
    ("activation", "below", "above"),
    [
        (Activation("relu6"), 0.0, 1.0),
        (Activation("elu", 0.3), 0.3, 1.0),
        (Activation("celu", 0.3), 1.0, 1.0),
        (Activation("selu"), 1.0507009873554805 * 1.6732632423543772, 1.0507009873554805),
        (Activation("tanh"), 1.0, 1.0),
        (Activation("silu"), 0.5, 0.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("deviation", [1e-12, 1e-150])
def test_small_signals_see_the_slopes_on_both_sides_of_zero(activation, below, above, deviation):
    """Also the product, the second moment of a function with two slopes: E[u u'] over quadrants."""
    _, squared, product, gain = moments(activation, 0.0, deviation**2, 0.4)
    np.testing.assert_allclose(gain, (below**2 + above**2) / 2, rtol=1e-9)
    np.testing.assert_allclose(squared / deviation**2, (below**2 + above**2) / 2, rtol=1e-9)
    both = (np.sqrt(1 - 0.16) + 0.4 * (np.pi - np.arccos(0.4))) / (2 * np.pi)
    expected = below**2 * 0.4 + below * (above - below) * 0.4 + (above - below) ** 2 * both
    np.testing.assert_allclose(product / deviation**2, expected, rtol=1e-9)


@pytest.mark.parametrize(
    "activation", [Activation("relu6"), Activation("elu", 1.7), Activation("gelu"), Activation("softsign")], ids=str
)
@pytest.mark.parametrize(("mean", "deviation"), [(0.4, 3.0), (-20.0, 50.0), (3.0, 1e-3)])
@pytest.mark.parametrize("correlation", [-0.8, 0.3, 0.999])
def test_products_are_nested_sums(activation, mean, deviation, correlation):
    """z' = m + r (z - m) + sqrt(1 - r^2) s e, with e on a grid of its own: no symmetric split, no panels."""
    e = np.linspace(-9, 9, 3000, endpoint=False) + 3e-3
    density = np.exp(-(e**2) / 2) / ROOT * (e[1] - e[0])

    def phi(z):
        return TORCH[activation](torch.tensor(z)).numpy()

    z = mean + deviation * e
    inner = [phi(c + (1 - correlation**2) ** 0.5 * deviation * e) @ density for c in mean + correlation * deviation * e]
    values = moments(activation, mean, deviation**2, correlation)
    expected = (phi(z) * np.array(inner)) @ density
    np.testing.assert_allclose(values[2], expected, atol=2e-5 * values[1])  # kinks between two points of z, 0.3 apart at most


def test_what_is_scaled_is_not_told_apart_by_the_place_of_its_digits():
    """Two variances of 1e-13 and 2e-13 are two cases, and a function of two slopes scales with them."""
    found = gaussian_moments(Activation("relu6"), np.zeros(2), np.array([1e-13, 2e-13]), np.zeros(2))
    np.testing.assert_allclose(found[1], [0.5e-13, 1e-13], rtol=1e-12)
