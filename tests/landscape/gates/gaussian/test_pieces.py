"""Polynomials between kinks against torch's functions, integrated between the kinks, and against their limits."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape.gates import activations
from landscape.gates.activations import gate_moments
from landscape.gates.functions import curve
from landscape.gates.gaussian.pieces import Pieces
from lattice import Activation

KINKS = {"relu6": (0.0, 6.0), "hardtanh": (-1.0, 1.0), "hardsigmoid": (-3.0, 3.0), "hardswish": (-3.0, 3.0)}
X, W = np.polynomial.legendre.leggauss(40)


def pieces(name):
    return Pieces(curve(Activation(name)).kinks, curve(Activation(name)).pieces)


def values_and_slopes(name, z):
    x = torch.tensor(z, requires_grad=True)
    value = functional.relu6(x + 3) / 6 if name == "hardsigmoid" else getattr(functional, name)(x)  # its slope has 32 bits
    return value.detach().numpy(), torch.autograd.grad(value.sum(), x)[0].numpy()


def panels(cuts):
    """Points and masses of a standard normal variable between sorted cuts, (..., points) for cuts (..., cuts)."""
    cuts = np.sort(np.clip(cuts, -40.0, 40.0), axis=-1)
    middle, half = (cuts[..., 1:] + cuts[..., :-1]) / 2, np.diff(cuts) / 2
    t = middle[..., None] + half[..., None] * X
    masses = half[..., None] * W * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    return t.reshape(*cuts.shape[:-1], -1), masses.reshape(*cuts.shape[:-1], -1)


def integrated(name, mean, deviation, correlation):
    """The five moments: z = m + s t, z' = m + s (r t + sqrt(1 - r^2) e), over t and for each t over e, between the kinks."""
    own = (np.array(KINKS[name]) - mean) / deviation
    even = np.arange(-40, 41, 1.0)
    rest = np.sqrt((1 - correlation) * (1 + correlation))
    cuts = [even, own]
    if correlation and rest:  # where what is left of e moves over a kink
        steps = rest / abs(correlation) * np.array([0, 0.5, 1, 2, 4, 6, 8, 10])
        cuts += [own[:, None] / correlation + sign * steps for sign in (-1, 1)]
    t, masses = panels(np.concatenate([np.ravel(cut) for cut in cuts]))
    value, slope = values_and_slopes(name, mean + deviation * t)
    other = value
    if rest:
        kinks = (own - correlation * t[:, None]) / rest
        e, inner = panels(np.concatenate([np.broadcast_to(np.arange(-9, 10, 3.0), (len(t), 7)), np.clip(kinks, -9, 9)], axis=1))
        z = mean + deviation * (correlation * t[:, None] + rest * e)
        other = (values_and_slopes(name, z)[0] * inner).sum(axis=1)
    return [value @ masses, value**2 @ masses, (value * other) @ masses, slope**2 @ masses, slope @ masses]


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("correlation", [-0.95, -0.3, 0.0, 0.5, 0.99, 1 - 1e-7, 1.0])
def test_moments_are_integrals_between_the_kinks(name, correlation):
    laws = [(mean, deviation) for mean in (-7.5, -3.0, -0.4, 0.0, 2.2, 6.0, 11.0) for deviation in (0.05, 0.8, 3.0, 20.0)]
    mean_and_deviation = np.array(laws)
    mean, deviation = mean_and_deviation.T
    found, known = pieces(name).moments(mean, deviation**2, np.full(len(mean), correlation))
    assert known.mean() > 0.7
    for one, law in zip(found[known], mean_and_deviation[known], strict=True):
        exact = np.array(integrated(name, *law, correlation))
        power, product, gain = exact[1:4]
        scale = np.array([np.sqrt(power), power, power, gain, np.sqrt(gain)])
        assert (np.abs(one - exact) <= 1e-10 * scale).all(), law
        if min(abs(law[0] - kink) for kink in KINKS[name]) < 8 * law[1]:  # as far as the integral over e goes
            assert abs(one[2] - product) <= 1e-9 * abs(product) + 1e-16 * power, law


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("side", [-1, 1])
def test_what_passes_a_distant_kink_has_all_digits(name, side):
    """30 deviations before a kink, where moments are 1e-200: of z = kink + s u / 30, u falls off as exp(-u)."""
    kink = KINKS[name][0 if side > 0 else 1]
    level, slope = {"relu6": (6, 1), "hardtanh": (1, 1), "hardsigmoid": (1, 1 / 6), "hardswish": (0, -1 / 2)}[name]
    if side < 0 and name == "hardswish":
        return  # a line above, which is no tail
    deviation = 1e-3
    found, known = pieces(name).moments(*(np.array([x]) for x in (kink - side * 30 * deviation, deviation**2, 1.0)))
    density = np.exp(-(30.0**2) / 2) / np.sqrt(2 * np.pi)
    assert known
    np.testing.assert_allclose(found[0, 3:], [slope**2 * density / 30, slope * density / 30], rtol=5e-3)
    if level == 0 or (side > 0 and name != "hardtanh"):  # they start from 0: second moments of a tail
        np.testing.assert_allclose(found[0, 1], 2 * (slope * deviation) ** 2 * density / 30**3, rtol=2e-2)
        np.testing.assert_allclose(found[0, 0], slope * deviation * density / 30**2, rtol=1e-2)


@pytest.mark.parametrize(("name", "below", "above"), [("relu6", 0.0, 1.0), ("hardswish", 0.5, 0.5), ("hardtanh", 1.0, 1.0)])
@pytest.mark.parametrize("deviation", [1e-15, 1e-80])
def test_small_signals_see_the_lines_at_zero(name, below, above, deviation):
    """As a function of two slopes has them, which scale with the deviation: 1e-30 as a variance is as good as 1."""
    mean, correlation = np.array([-0.3, 0.0, 0.9]), np.array([0.4, -0.6, 0.9])
    found, known = pieces(name).moments(mean * deviation, np.full(3, deviation**2), correlation)
    unit = [
        np.asarray(part) for part in activations.closed_moments(*map(np.array, (below, above)), mean, np.ones(3), correlation)
    ]
    size = deviation ** np.array([1, 2, 2, 0, 0])
    assert known.all()
    np.testing.assert_allclose(found / size, np.stack(unit, axis=1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("deviation", [1e4, 1e15, 1e90])
def test_where_kinks_are_close_for_a_law_cancelled_sums_are_not_given(name, deviation):
    """What is given at such laws is near the step, or the rectifier, that the function is from afar; what is not is summed."""
    law = np.array([0.5]), np.array([deviation**2]), np.array([0.5])
    found, known = pieces(name).moments(*law)
    summed = np.array(gate_moments(Activation(name), *law))[:, 0]
    assert not known or np.abs(found[0] / summed - 1).max() < 1e-9
    assert np.isfinite(summed).all()
    assert (summed[[1, 3]] > 0).all()


def test_a_square_is_its_own_polynomial():
    """E[z^2], E[z^4], E[z^2 z'^2], E[4 z^2] and E[2 z], with z = m + s x."""
    m, v, r = np.array([0.0, 1.5]), np.array([4.0, 1e-30]), np.array([0.5, -0.2])
    found, known = pieces("square").moments(m, v, r)
    product = (m**2 + v) ** 2 + 4 * m**2 * v * r + 2 * v**2 * r**2
    exact = [m**2 + v, m**4 + 6 * m**2 * v + 3 * v**2, product, 4 * (m**2 + v), 2 * m]
    assert known.all()
    np.testing.assert_allclose(found, np.stack(exact, axis=1), rtol=1e-14)


def test_laws_without_variance_and_opposite_values_are_left_to_sums():
    _, known = pieces("relu6").moments(np.ones(3), np.array([0.0, 1.0, 1.0]), np.array([0.5, -1.0, 1.0]))
    assert known.tolist() == [False, False, True]


@pytest.mark.parametrize("name", KINKS)
def test_many_laws_of_a_network_take_no_sum(name, monkeypatch):
    monkeypatch.setattr(activations, "_case", lambda *law: pytest.fail(f"summed at {law}"))
    rng = np.random.default_rng(0)
    mean, variance = rng.uniform(-0.5, 1.5, 5000), np.exp(rng.normal(0, 0.5, 5000))
    first, power, product, *_ = gate_moments(Activation(name), mean, variance, rng.uniform(0.3, 1, 5000))
    assert ((first**2 <= product * (1 + 1e-12)) & (product <= power)).all()
