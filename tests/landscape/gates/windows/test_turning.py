"""The largest of values of functions that turn once, against simulation (5 standard errors) and closed forms."""

import numpy as np
import pytest

from landscape.gates.composites import Affine, Form
from landscape.gates.rising import rising
from landscape.gates.windows.largest import common_factor, largest
from landscape.gates.windows.turning import largest_turning
from lattice import Activation

Z = Form()
DRAWS = 400_000
CELLS = 5
LAW = np.zeros(1), np.ones(1)


def _run(*ops):
    form = Z
    for op in ops:
        form = Form("norm", op, (form,)) if op == "norm" else Form("gate", Activation(*op), (form,))
    return rising(form, {"norm": Affine(np.array([-1.5]), np.array([0.5]))}, *LAW)[0]


def _cells():
    """Means, covariance and draws of cells with one common factor."""
    loading, own, mean = np.linspace(0.2, 0.7, CELLS), np.linspace(0.6, 1, CELLS), np.linspace(-0.4, 0.8, CELLS)
    rng = np.random.default_rng(0)
    drawn = mean + loading * rng.standard_normal((DRAWS, 1)) + own * rng.standard_normal((DRAWS, CELLS))
    return mean, np.outer(loading, loading) + np.diag(own**2), drawn


@pytest.mark.parametrize(
    "ops",
    [
        [("silu",)],
        [("gelu",), "norm"],
        [("abs",), ("tanh",)],
        [("leaky_relu", -0.5)],
        [("hardswish",)],
        [("square",)],
        ["norm", ("mish",)],
    ],
    ids=str,
)
def test_the_largest_of_a_function_that_turns_is_as_simulated(ops):
    function = _run(*ops)
    assert function.turn is not None
    mean, covariance, drawn = _cells()
    values = function.function.value(drawn)
    winner = values.argmax(axis=1)
    won = np.take_along_axis(drawn, winner[:, None], axis=1)[:, 0]
    value, passed = values.max(axis=1), function.function.slope(won) ** 2
    law = largest_turning(common_factor(mean[None], covariance[None], np.ones((1, CELLS), dtype=bool)), function)
    cells = [(law.wins[0, k], passed * (winner == k)) for k in range(CELLS)]
    for found, seen in (*cells, (law.first[0], value), (law.second[0], value**2), (law.level[0], won), (law.square[0], won**2)):
        assert abs(found - seen.mean()) < 5 * seen.std() / DRAWS**0.5 + 1e-3


def test_cells_with_little_of_their_own_win_as_simulated():
    function, rng = _run(("silu",)), np.random.default_rng(0)
    drawn = 0.995 * rng.standard_normal((DRAWS, 1)) + 0.1 * rng.standard_normal((DRAWS, 3))
    values = function.function.value(drawn)
    passed = function.function.slope(np.take_along_axis(drawn, values.argmax(axis=1)[:, None], axis=1)) ** 2
    covariance = np.full((1, 3, 3), 0.995**2) + 0.01 * np.eye(3)
    law = largest_turning(common_factor(np.zeros((1, 3)), covariance, np.ones((1, 3), dtype=bool)), function)
    assert abs(law.wins.sum() - passed.mean()) < 5 * passed.std() / DRAWS**0.5 + 1e-3
    assert abs(law.first[0] - values.max(axis=1).mean()) < 5 * values.max(axis=1).std() / DRAWS**0.5 + 1e-3


def test_a_valley_that_no_value_reaches_is_none():
    """SiLU of values about 3: as of a function that rises."""
    function = _run(("silu",))
    window = common_factor(np.full((1, 4), 3.0), 0.04 * np.eye(4)[None], np.ones((1, 4), dtype=bool))
    one, other = largest_turning(window, function), largest(window, function.function)
    for part, rises in zip(one, other, strict=True):
        np.testing.assert_allclose(part, rises, rtol=1e-4)


def test_cells_outside_never_win():
    window = common_factor(np.zeros((1, 3)), np.eye(3)[None], np.array([[True, True, False]]))
    law = largest_turning(window, _run(("abs",)))
    np.testing.assert_allclose(law.picked, [[0.5, 0.5, 0]], atol=1e-9)
    np.testing.assert_allclose(law.first, [2 / np.pi**0.5], rtol=1e-6)
