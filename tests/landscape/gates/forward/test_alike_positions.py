"""Signals at one position of each kind are those at all positions, and together as alike as the least alike of them."""

import numpy as np
import pytest

from landscape.gates.forward.alike_positions import Signals, Thin, thinned, together
from landscape.gates.forward.mean_field import signals
from landscape.gates.forward.signal import Signal
from landscape.prior import Prior
from lattice import Activation, Add, Conv, Input, Lattice, Node, Norm

MIRRORED = np.array([1.0, 2.0, 3.0, 3.0, 3.0, 2.0, 1.0])


def mirrored(scale):
    power = scale * MIRRORED[:, None] * MIRRORED[None, 1:-1]
    return Signal(power[None], power[None] / 2, 0 * power[None])


def assert_same(found, expected):
    for part, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, other)


def test_mirrored_positions_are_kept_once_and_found_again():
    thin = thinned(mirrored(1.0))
    assert thin is not None
    assert thin.signal.power.shape == (1, 5, 1)  # 1 x 2, 1 x 3, 2 x 2, 2 x 3 as 3 x 2, 3 x 3
    assert_same(thin.whole(), mirrored(1.0))


def test_positions_that_all_differ_are_not_thinned():
    power = np.arange(1.0, 8.0)[None]
    assert thinned(Signal(power, power, power)) is None
    assert thinned(Signal(*[np.ones(3)] * 3)) is None  # no positions


def test_signals_with_other_kinds_are_brought_to_the_kinds_of_both():
    one = thinned(mirrored(2.0))
    other = np.ones((4, 7, 5))
    other[:, 0] = 5.0  # the first row alone
    two = thinned(Signal(other, other, other))
    assert one is not None
    assert two is not None
    finer = together([one, two])
    assert [part.signal.power.shape for part in finer] == [(1, 7, 1), (4, 7, 1)]
    assert_same(finer[0].whole(), mirrored(2.0))
    assert_same(finer[1].whole(), Signal(other, other, other))


def test_the_mean_channel_is_the_mean_over_channels():
    values = np.stack([MIRRORED, 3 * MIRRORED])
    thin = thinned(Signal(values, values, values))
    assert thin is not None
    np.testing.assert_array_equal(thin.mean_channel().power, 2 * MIRRORED[None])


def test_signals_are_spread_when_asked_for_and_replaced_as_a_whole():
    thin = thinned(mirrored(1.0))
    assert isinstance(thin, Thin)
    found = Signals()
    found.append(mirrored(3.0))
    found.append(thin)
    assert [found.thin(i) is None for i in range(2)] == [True, False]
    assert_same(found[-1], mirrored(1.0))
    assert len(list(found)) == len(found[0:2]) == 2
    found[1] = mirrored(5.0)
    assert found.thin(1) is None
    assert_same(found[1], mirrored(5.0))


@pytest.mark.parametrize("size", [9, 16])
def test_a_residual_net_is_the_same_with_and_without_thinning(size, monkeypatch):
    each = np.linspace(0.5, 2, 6)
    nodes = [
        Node("input", Input((2, size, size))),
        Node("conv1", Conv(6, 3, padding=1), (0,)),
        Node("norm1", Norm(), (1,)),
        Node("relu1", Activation("relu"), (2,)),
        Node("conv2", Conv(6, 3, padding=1), (3,)),
        Node("norm2", Norm(), (4,)),
        Node("add", Add(), (3, 5)),
        Node("relu2", Activation("relu"), (6,)),
        Node("conv3", Conv(4, 3, stride=2, padding=1), (7,)),
    ]
    prior = Prior(
        Lattice(tuple(nodes)),
        {"conv1": 0.1, "conv2": 0.04, "conv3": 0.05},
        {"norm1": each, "norm2": each[::-1]},
        shifts={"norm1": (each - 1, 0.0), "norm2": (0.3, 0.0)},
    )
    found = signals(prior)
    assert any(found.thin(i) is not None for i in (2, 3, 6, 7))
    monkeypatch.setattr("landscape.gates.forward.alike_positions.thinned", lambda signal: None)
    for thin, whole in zip(found, signals(prior), strict=True):
        for part, expected in zip(thin, whole, strict=True):
            np.testing.assert_allclose(np.broadcast_to(part, expected.shape), expected, rtol=1e-11, atol=1e-13)
