"""Values and slopes of activations against torch's functions and autograd, and the points at which they are cut."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape.gates.functions import FUNCTIONS, composed, curve
from lattice import Activation, UnsupportedError

NAMES = {"hardswish": functional.hardswish, "softsign": functional.softsign, "hardtanh": functional.hardtanh,
         "relu6": functional.relu6, "hardsigmoid": functional.hardsigmoid, "logsigmoid": functional.logsigmoid}  # fmt: skip
WITH_PARAMETERS = {
    Activation("elu", 0.5): lambda z: functional.elu(z, 0.5),
    Activation("celu", 2.0): lambda z: functional.celu(z, 2.0),
    Activation("softplus", 3.0): lambda z: functional.softplus(z, 3.0, 1000),
    Activation("leaky_relu", 0.2): lambda z: functional.leaky_relu(z, 0.2),
    Activation("relu"): torch.relu,
    Activation("abs"): torch.abs,
    Activation("identity"): torch.clone,
}
TORCH = {Activation(name): NAMES.get(name) or getattr(functional, name, None) or getattr(torch, name) for name in FUNCTIONS}
CASES = TORCH | WITH_PARAMETERS


def in_torch(function, points):
    """(values, slopes) of a torch function, by autograd."""
    z = torch.tensor(points, requires_grad=True)
    y = function(z)
    (slopes,) = torch.autograd.grad(y.sum(), z)
    return y.detach().numpy(), slopes.numpy()


@pytest.mark.parametrize("activation", CASES, ids=str)
def test_values_and_slopes_are_torchs(activation):
    points = np.concatenate([np.linspace(-9.01, 9.02, 400), [-40.0, 40.0]])  # none of them a kink
    found, (value, slope) = curve(activation), in_torch(CASES[activation], points)
    np.testing.assert_allclose(found.value(points), value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.slope(points), slope, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("activation", CASES, ids=str)
def test_slopes_jump_at_the_kinks_and_nowhere_else(activation):
    found, step = curve(activation), 1e-9
    halves = np.arange(-8, 8.5, 0.5)
    jumps = halves[np.abs(found.slope(halves + step) - found.slope(halves - step)) > 1e-6]
    bends = {0.0} if activation.name in ("elu", "selu", "softsign") else set()  # where only the second derivative may jump
    assert set(jumps) <= set(found.kinks) <= set(jumps) | bends | ({0.0} if activation.name in ("celu", "identity") else set())


@pytest.mark.parametrize("outer", ["relu6", "tanh", "hardswish", "sigmoid"])
@pytest.mark.parametrize("inner", ["hardtanh", "silu", "elu"])
def test_a_composition_is_torchs_and_is_cut_where_either_is(outer, inner):
    points = np.linspace(-12, 12, 801) + 0.003
    found = composed(curve(Activation(outer)), curve(Activation(inner)), points)
    value, slope = in_torch(lambda z: TORCH[Activation(outer)](TORCH[Activation(inner)](z)), points)
    np.testing.assert_allclose(found.value(points), value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.slope(points), slope, rtol=1e-7, atol=1e-9)
    assert set(curve(Activation(inner)).kinks) <= set(found.kinks)
    crossed = curve(Activation(inner)).value(np.asarray(found.kinks))
    own = [abs(level - kink) < 1e-9 for level in crossed for kink in curve(Activation(outer)).kinks]
    assert sum(own) >= sum(
        points.min() < kink < curve(Activation(inner)).value(points).max()
        and kink > curve(Activation(inner)).value(points).min()
        for kink in curve(Activation(outer)).kinks
    )


def test_cuts_reach_as_far_as_asked_for_and_grow_by_four():
    cuts = curve(Activation("softsign")).cuts(1000.0)
    assert cuts.max() <= 1000 < 4 * cuts.max()
    away = cuts[cuts > 0]
    assert (away[1:] / away[:-1] == 4).all()


@pytest.mark.parametrize(("name", "parameter"), [("swish9", None), ("tanh", 2.0)])
def test_a_function_that_is_not_known_is_refused_by_name(name, parameter):
    with pytest.raises(UnsupportedError, match=name):
        curve(Activation(name, parameter))
