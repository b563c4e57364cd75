"""Runs of gates that rise, against their own values at many points."""

import numpy as np
import pytest

from landscape.gates.composites import Affine, Form
from landscape.gates.rising import over_gaussian, rising
from lattice import Activation

Z = Form()
LAW = np.zeros(1), np.ones(1)
POINTS = np.linspace(-4, 4, 4001)


def _run(*ops):
    form = Z
    for op in ops:
        form = Form("norm", op, (form,)) if op.startswith("norm") else Form("gate", Activation(op), (form,))
    return form


def _norm(coefficient, shift=0.0):
    return {"norm1": Affine(np.array([coefficient]), np.array([shift]))}


@pytest.mark.parametrize(
    ("ops", "factor", "falls"),
    [
        (("relu", "tanh"), 1, False),
        (("relu", "norm1", "hardtanh"), 3, False),
        (("relu", "norm1", "tanh"), -1, True),
        (("leaky_relu", "norm1"), -2, True),
        (("relu", "silu"), 1, False),
        (("relu", "square"), 1, False),
        (("elu",), 1, False),
        (("hardswish", "relu"), 1, False),
    ],
)
def test_a_run_rises_or_its_mirror_image_does(ops, factor, falls):
    function, mirrored = rising(_run(*ops), _norm(factor), *LAW)
    assert mirrored is falls
    values = function.function.value(POINTS)
    assert (np.diff(values) >= 0).all()
    steps = np.diff(values) / np.diff(POINTS)
    apart = np.abs(function.function.slope((POINTS[1:] + POINTS[:-1]) / 2) - steps) / steps.max()
    assert (apart < 0.01).mean() > 0.999  # all but the steps with a kink within
    if function.slopes is not None:
        np.testing.assert_allclose([-values[0] / 4, values[-1] / 4], function.slopes)


@pytest.mark.parametrize(
    ("ops", "factor", "at", "valley"),
    [
        (("silu",), 1, -1.2785, True),
        (("silu", "norm1"), -1, -1.2785, False),
        (("abs", "tanh"), 1, 0.0, True),
        (("relu", "norm1", "silu"), -3, 1.2785 / 3, True),
        (("square",), 1, 0.0, True),
    ],
)
def test_a_run_that_turns_once_does_so_where_its_slope_is_zero(ops, factor, at, valley):
    function, _ = rising(_run(*ops), _norm(factor), *LAW)
    assert function.turn.valley is valley
    np.testing.assert_allclose(function.turn.at, at, atol=1e-4)
    points = np.linspace(-3, 3, 200)
    other = function.turn.other(points)
    assert ((other > function.turn.at) == (points <= function.turn.at)).all()
    known = np.isfinite(other)
    np.testing.assert_allclose(function.function.value(other[known]), function.function.value(points[known]), atol=1e-6)


def test_what_turns_twice_has_no_turn():
    assert rising(_run("abs", "norm1", "silu"), _norm(-3.0), *LAW) is None


def test_a_silu_rises_where_all_values_lie_right_of_its_valley():
    function, falls = rising(_run("silu"), {}, np.array([20.0]), np.ones(1))
    assert function.turn is None
    assert not falls


def test_norms_at_the_bottom_belong_to_the_gaussian():
    form, names = over_gaussian(_run("norm1", "norm2", "relu", "norm3", "tanh"))
    assert names == ("norm1", "norm2")
    assert form == _run("relu", "norm3", "tanh")


def test_factors_of_both_signs_neither_rise_nor_fall():
    numbers = {"norm1": Affine(np.array([1.0, -1.0]), np.zeros(2))}
    assert rising(_run("relu", "norm1", "tanh"), numbers, *LAW) is None


def test_moments_are_those_of_a_sum_over_the_gaussian():
    function, _ = rising(_run("relu", "norm1", "tanh"), _norm(2.0), *LAW)
    z = np.linspace(-9, 9, 180001)
    masses = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    value, slope = function.function.value(z), function.function.slope(z)
    seen = [value @ masses, value**2 @ masses, slope**2 @ masses]
    first, second, _, gain = (float(part.ravel()[0]) for part in function.moments(*LAW, np.zeros(1)))
    np.testing.assert_allclose([first, second, gain], seen, rtol=2e-4)
