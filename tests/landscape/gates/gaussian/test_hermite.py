"""Series and equally spaced sums against double sums of torch's functions, which use no polynomials."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape.gates import activations
from landscape.gates.activations import gate_moments
from landscape.gates.functions import curve
from landscape.gates.gaussian import hermite
from landscape.gates.gaussian.hermite import smooth_moments
from lattice import Activation

SMOOTH = ("silu", "gelu", "sigmoid", "tanh", "mish", "softplus", "logsigmoid")


def of(name, *law):
    own = curve(Activation(name))
    return smooth_moments(own.value, own.slope, own.width, *(np.atleast_1d(np.asarray(part, dtype=float)) for part in law))


def values_and_slopes(name, z):
    x = torch.tensor(z, requires_grad=True)
    value = (getattr(functional, name, None) or getattr(torch, name))(x)
    return value.detach().numpy(), torch.autograd.grad(value.sum(), x)[0].numpy()


def summed(name, mean, deviation, correlation):
    """The five moments, z = m + s t and z' = m + s (r t + sqrt(1 - r^2) e), over a fine grid of t and of e."""
    step = min(0.05, 0.1 / deviation)
    t = np.arange(-11 - step / 3, 11, step)
    masses = step * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    value, slope = values_and_slopes(name, mean + deviation * t)
    rest = np.sqrt((1 - correlation) * (1 + correlation))
    other = values_and_slopes(name, mean + deviation * (correlation * t[:, None] + rest * t))[0] @ masses
    return np.array([value @ masses, value**2 @ masses, (value * other) @ masses, slope**2 @ masses, slope @ masses])


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("correlation", [-0.8, 0.0, 0.3, 0.95, 1 - 1e-8, 1.0])
def test_moments_are_double_sums(name, correlation):
    laws = np.array([(mean, deviation) for mean in (-2.5, 0.0, 0.7) for deviation in (1e-3, 0.4, 0.49, 0.98, 1.9, 3.9)])
    found, known = of(name, laws[:, 0], laws[:, 1] ** 2, np.full(len(laws), correlation))
    assert known.mean() > 0.8
    for one, law in zip(found[known], laws[known], strict=True):
        exact = summed(name, *law, correlation)
        scale = np.array([np.sqrt(exact[1]), *exact[[1, 1, 3]], np.sqrt(exact[3])])
        assert (np.abs(one - exact) <= 1e-11 * scale).all(), law
        assert abs(one[2] - exact[2]) <= 1e-9 * abs(exact[2]) + 1e-15 * exact[1], law


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_left_of_the_series_is_bounded(name, monkeypatch):
    """With a quarter of the terms a law is known or not, and never known wrongly."""
    laws = np.array([(m, s**2, r) for m in (-1.0, 0.5) for s in (0.5, 1.0, 2.0, 4.0) for r in (0.5, 0.9, 0.999)]).T
    whole, known = of(name, *laws)
    monkeypatch.setattr(hermite, "TERMS", tuple(terms // 4 for terms in hermite.TERMS))
    hermite._points.cache_clear()
    short, fewer = of(name, *laws)
    hermite._points.cache_clear()
    assert known.sum() > fewer.sum() > 0
    np.testing.assert_allclose(short[fewer], whole[fewer], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("mean", "deviation"), [(0.3e10, 1e10), (1e3, 1e6), (-300.0, 14.0), (0.5, 0.0)])
@pytest.mark.parametrize("name", SMOOTH)
def test_laws_that_points_do_not_meet_are_left_to_sums(name, mean, deviation):
    """Bends between two points, all of a moment in the tail of the law, no variance."""
    mean = -mean if name == "logsigmoid" else mean  # whose tail is above
    assert not of(name, mean, deviation**2, 0.5)[1].any()


def test_odd_functions_of_centred_values_have_no_mean():
    variance = np.array([1e-30, 0.3, 2.0])
    assert (of("tanh", np.zeros(3), variance, np.full(3, 0.4))[0][:, 0] == 0).all()


def test_small_signals_see_the_slope_at_zero():
    """tanh of N(0, s^2) for s = 1e-15: s^2, r s^2 and 1."""
    found, known = of("tanh", 0.0, 1e-30, 0.4)
    assert known.all()
    np.testing.assert_allclose(found[0, 1:], [1e-30, 0.4e-30, 1.0, 1.0], rtol=1e-12)


def test_a_law_has_the_same_digits_alone_and_among_others():
    rng = np.random.default_rng(0)
    laws = rng.normal(0, 0.5, 300), np.exp(rng.normal(0, 1, 300)), rng.uniform(-0.9, 1, 300)
    together, known = of("silu", *laws)
    for place in (0, 17, 299):
        alone, there = of("silu", *(part[place] for part in laws))
        np.testing.assert_array_equal(alone[0], together[place])
        assert there[0] == known[place]


def test_many_laws_are_computed_in_blocks_without_a_sum(monkeypatch):
    own, sizes = curve(Activation("silu")), []
    monkeypatch.setattr(activations, "_case", lambda *law: pytest.fail(f"summed at {law}"))
    monkeypatch.setattr(hermite, "BLOCK", 2**14)
    value = own.value
    object.__setattr__(own, "value", lambda z: (sizes.append(z.size), value(z))[1])
    try:
        rng = np.random.default_rng(1)
        mean, variance = rng.normal(0, 0.5, 3000), np.exp(rng.normal(0, 1, 3000))
        first, power, product, *_ = gate_moments(Activation("silu"), mean, variance, rng.uniform(0, 1, 3000))
    finally:
        object.__setattr__(own, "value", value)
    assert max(sizes) <= 2**14
    assert 9 < len(sizes) < 600
    assert ((first**2 <= product * (1 + 1e-12)) & (product <= power * (1 + 1e-12))).all()
