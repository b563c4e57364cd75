"""Moments between nodes against the sums themselves, and where sums are kept."""

import numpy as np
import pytest

from landscape.gates import interpolated as module
from landscape.gates.activations import _case, gaussian_moments
from landscape.gates.functions import curve
from landscape.gates.interpolated import interpolated
from lattice import Activation

BOXES = {
    "silu": ((0.0, 0.0), (0.02, 4.0), (0.3, 0.999)),
    "gelu": ((-0.3, 0.4), (0.5, 2.0), (0.6, 0.6)),
    "hardswish": ((0.0, 0.0), (0.2, 0.9), (-0.5, 0.9)),
    "relu6": ((0.1, 0.1), (0.3, 0.3), (-0.9, 1.0)),
}


def laws(box, count=1500, seed=0):
    rng = np.random.default_rng(seed)
    return [tuple(float(rng.uniform(*ends)) for ends in box) for _ in range(count)]


@pytest.mark.parametrize("name", BOXES)
def test_between_nodes_moments_are_the_sums_themselves(name, monkeypatch):
    monkeypatch.setattr(module, "MANY", 1000)
    cases = laws(BOXES[name])
    found = interpolated(lambda *law: _case(curve(Activation(name)), *law), cases)
    assert found is not None
    some = np.random.default_rng(1).choice(len(cases), 60, replace=False)
    expected = np.array([_case(curve(Activation(name)), *cases[k]) for k in some])
    error = np.abs(found[some] - expected)
    assert (error[:, 1:3] <= 1e-10 * expected[:, 1:2]).all()
    assert (error[:, 3] <= 1e-10 * expected[:, 3]).all()
    assert (error[:, 0] <= 1e-10 * np.sqrt(expected[:, 1])).all()


def test_a_function_that_is_not_smooth_there_is_computed_law_by_law():
    def rough(mean, variance, correlation):
        return mean, variance, variance * (correlation > 0.5), 1.0, 1.0

    assert interpolated(rough, laws(((0.0, 0.0), (1.0, 2.0), (0.0, 1.0)))) is None


def test_few_laws_and_laws_without_variance_are_computed():
    box = ((0.0, 0.0), (1.0, 2.0), (0.0, 1.0))
    assert interpolated(lambda *law: (0.0, *law, 1.0), laws(box, 20)) is None
    assert interpolated(lambda *law: (0.0, *law, 1.0), [(0.0, 0.0, 0.0), *laws(box)]) is None


def test_thousands_of_channels_cost_hundreds_of_sums(monkeypatch):
    calls = []
    monkeypatch.setattr("landscape.gates.activations._case", lambda *law: (calls.append(law), _case(*law))[1])
    variance, correlation = (np.random.default_rng(2).uniform(0.1, 0.9, (64, 6, 6)) for _ in range(2))
    gaussian_moments(Activation("elu"), np.zeros(1), 1.0 + variance, correlation)
    assert 0 < len(calls) < 600 < variance.size
