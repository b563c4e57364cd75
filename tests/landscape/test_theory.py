"""Predictions without a forward pass and without a random number: theory is the default."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict
from lattice import UnsupportedError


class Net(nn.Module):
    """A max-pool, a residual sum, a concatenation of rectified and signed channels, a global average."""

    def __init__(self):
        super().__init__()
        self.stem, self.body, self.side = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 8, 1)
        self.top, self.head = nn.Conv2d(24, 32, 3, padding=1), nn.Linear(32, 4)
        for part in (self.stem, self.body, self.side, self.top, self.head):
            nn.init.kaiming_normal_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(self, x):
        h = torch.max_pool2d(self.stem(x).relu(), 3, 2, 1)
        h = (h + self.body(h)).relu()
        h = self.top(torch.cat([h, self.side(h)], 1).relu()).relu()
        return self.head(h.mean((2, 3)))


class Undrawn:
    """A generator of which no number may be asked."""

    def __getattr__(self, name):
        if name.startswith("__"):  # it may be copied
            raise AttributeError(name)
        raise AssertionError("a random number")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


def test_no_forward_pass_is_made_and_no_number_drawn(net, monkeypatch):
    def forbidden(*arguments, **named):
        raise AssertionError("a forward pass, or a random number")

    import landscape.tracing.trace as tracing

    for name in ("randn", "rand", "randint", "normal"):
        monkeypatch.setattr(torch, name, forbidden)
    for name in ("normal", "standard_normal"):
        monkeypatch.setattr(np.random, name, forbidden)
    monkeypatch.setattr(np.random, "default_rng", lambda seed=None: Undrawn())  # a sequence that is not scrambled holds one
    monkeypatch.setattr(tracing, "observe", forbidden)
    land = predict(net, (3, 17, 17), check=False)
    assert land.traced.gates.source == "from the forward mean field"
    assert not land.standard_error.any()
    assert not any("counted" in reason for reason in land.reasons)


def test_two_predictions_have_the_same_bits(net):
    first, second = (predict(net, (3, 17, 17), check=False).squared for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_the_map_of_an_invariant_network_is_invariant(net):
    found = predict(net, (3, 17, 17), check=False).relative  # 17 = 16 + 1: every window is even
    for other in (found[::-1], found[:, ::-1], found.T):
        np.testing.assert_allclose(other, found, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("layer", ["stem", "top"])
def test_the_map_does_not_depend_on_how_large_the_weights_are(net, layer, scale):
    """Of layers that no sum weighs against another one."""
    variances = dict.fromkeys(("stem", "body", "side", "top", "head"), 0.05)
    one = predict(net, (3, 9, 9), check=False, initialisation=variances)
    other = predict(net, (3, 9, 9), check=False, initialisation={**variances, layer: 0.05 * scale**2})
    np.testing.assert_allclose(other.relative, one.relative, rtol=1e-9)


def test_measured_gates_are_a_check_on_theory(net):
    """White noise: what is counted in a few hundred passes and what theory says agree within 10 % of scale, 3 % of the map."""
    theory, counted = predict(net, (3, 17, 17), check=False), predict(net, (3, 17, 17), check=False, gates="measured")
    assert 0.9 < counted.squared.mean() / theory.squared.mean() < 1.1
    assert np.sqrt(np.mean((counted.relative - theory.relative) ** 2)) < 0.03


def test_what_theory_has_no_rule_for_is_counted_and_said(net, monkeypatch):
    import landscape.stages as stages

    def refused(*arguments):
        raise UnsupportedError("pool: no forward mean field")

    monkeypatch.setattr(stages, "theory_gates", refused)
    land = predict(net, (3, 9, 9), check=False)
    assert any("counted in forward passes, for want of a rule: pool" in reason for reason in land.reasons)
    with pytest.raises(UnsupportedError, match="no forward mean field"):
        predict(net, (3, 9, 9), check=False, gates="theory")
