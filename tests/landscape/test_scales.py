"""Metamorphic: layers scaled by 1e-9 to 1e9 scale the map and leave its shape and the rates of what has no scale of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict
from landscape.gates.forward.mean_field import signals
from landscape.gates.gate_rates import theory_gates
from landscape.laws.infinite_width import given_input_moments
from landscape.laws.moments import squared_gradients
from landscape.maps.numbers import relative
from landscape.prior import Prior
from landscape.tracing import gate_counts
from landscape.weights.initialisation import he, layer_variances
from lattice import Activation, AssumptionError, Conv, Dense, Flatten, GlobalPool, Lattice, Norm, Pool, concatenate, residual

relu, leaky, tall = Activation("relu"), Activation("leaky_relu", 0.2), Activation("abs")
CONV = Conv(6, 3, padding=1)
HEAD = (Flatten(), Dense(3))
NETS = [
    [CONV, relu, CONV, leaky, CONV, tall, *HEAD],
    [CONV, leaky, relu, CONV, Norm(), leaky, Norm("scale"), relu, *HEAD],
    [CONV, relu, *(part for _ in range(3) for part in (residual([CONV, relu, CONV]), relu)), *HEAD],
    [CONV, relu, Pool("max", 2), CONV, residual([relu, CONV], [Conv(6, 1)]), leaky, *HEAD],
    [CONV, concatenate([leaky, relu], [tall]), relu, Conv(4, 1), relu, GlobalPool(), *HEAD],
]
SCALES = [1e-18, 1e-6, 1e18]  # of V[w]


def known(net, variances):
    gates = theory_gates(Prior(net, variances))
    return gates, squared_gradients(net, variances, gates=gates)


@pytest.mark.parametrize("net", [Lattice.chain((2, 12), layers) for layers in NETS], ids=range(len(NETS)))
@pytest.mark.parametrize("scale", SCALES)
def test_the_weights_of_all_layers_may_have_any_scale(net, scale):
    """All the branches of a sum are scaled alike: V[w] of every layer that reads the input or stands at the head."""
    variances = layer_variances(net, he)
    gates, squared = known(net, variances)
    for name in ("conv1", "dense1"):
        scaled = {**variances, name: variances[name] * scale}
        theirs, found = known(net, scaled)
        np.testing.assert_allclose(found / scale, squared, rtol=1e-9)
        for rates, others in ((gates.gains, theirs.gains), (gates.runs, theirs.runs), (gates.firsts, theirs.firsts)):
            assert set(rates) == set(others)
            for key, rate in rates.items():
                np.testing.assert_allclose(others[key], rate, rtol=1e-9)


@pytest.mark.parametrize("net", [Lattice.chain((2, 12), layers) for layers in NETS], ids=range(len(NETS)))
def test_any_layer_of_a_chain_may_have_any_scale(net):
    variances = layer_variances(net, he)
    _, squared = known(net, variances)
    for name in variances:
        for scale in SCALES:
            if all(len(node.inputs) <= 1 for node in net.nodes):
                _, found = known(net, {**variances, name: variances[name] * scale})
                np.testing.assert_allclose(relative(found), relative(squared), rtol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_inputs_may_have_any_scale(scale):
    for layers in NETS:
        net = Lattice.chain((2, 12), layers)
        variances = layer_variances(net, he)
        for one, other in zip(signals(Prior(net, variances)), signals(Prior(net, variances), input_power=scale), strict=True):
            for part, scaled, power in zip(one, other, (scale, scale, scale**0.5), strict=True):
                np.testing.assert_allclose(scaled / power, part, rtol=1e-9, atol=1e-12 * np.abs(part).max())


@pytest.mark.parametrize("scale", [1e-150, 1e-9, 1e9, 1e120])
def test_given_inputs_and_their_weights_may_have_any_scale(scale):
    """The law of infinite width is exact in the scale of the images, and E[u^2] E[v^2] need not fit into a float64."""
    net = Lattice.chain((1, 4), [Conv(9, 3, padding=1), relu, Conv(9, 3, padding=1), leaky, GlobalPool(), *HEAD])
    variances, image = layer_variances(net, he), np.array([[[1.0, -2.0, 0.5, 0.3]]])
    expected = given_input_moments(Prior(net, variances), image)
    np.testing.assert_allclose(given_input_moments(Prior(net, variances), scale * image), expected, rtol=1e-9)


class Trunk(nn.Module):
    def __init__(self, power=0):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv1d(1, 8, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList(nn.Conv1d(8, 8, 3, padding=1, bias=False) for _ in range(3))
        self.head = nn.Linear(96, 3, bias=False)
        with torch.no_grad():
            self.head.weight.mul_(2.0**power)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return self.head(x.flatten(1))


def test_the_head_of_a_counted_trunk_scales_its_map_and_nothing_else(monkeypatch):
    """Weights times a power of two are exact in single precision, so the map is exact too, over whatever draws."""
    monkeypatch.setattr(gate_counts, "MOST_CALLS", 800)
    one = predict(Trunk(), (1, 12))
    assert len(one.traced.gates.runs) == 6
    for power in (-40, -13, 30):
        other = predict(Trunk(power), (1, 12))
        np.testing.assert_allclose(other.squared / 4.0**power, one.squared, rtol=1e-9)
        assert replace(other, squared=one.squared).guarantee is one.guarantee


class TwoScaledLayers(nn.Module):
    def __init__(self, scale):
        super().__init__()
        torch.manual_seed(0)
        self.low, self.stem = nn.Conv1d(1, 8, 1, bias=False), nn.Conv1d(8, 8, 1, bias=False)
        self.block, self.head = nn.Conv1d(8, 8, 3, padding=1, bias=False), nn.Linear(48, 2, bias=False)
        with torch.no_grad():
            self.low.weight.mul_(scale)
            self.stem.weight.mul_(scale)

    def forward(self, x):
        x = torch.relu(self.stem(self.low(x)))
        return self.head(torch.relu(x + self.block(x)).flatten(1))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_rates_are_counted_in_float64_where_float32_leaves_its_range(scale, monkeypatch):
    """Three layers of weights of 1e-30 and 1e30: every value is 0 or infinite in float32; a trunk's gates do not see it."""
    monkeypatch.setattr(gate_counts, "MOST_CALLS", 1600)  # the same draws in both
    one, other = (predict(TwoScaledLayers(factor), (1, 6)) for factor in (1.0, scale))
    for key, gain in one.traced.gates.gains.items():
        np.testing.assert_allclose(other.traced.gates.gains[key], gain, atol=1e-3)
    np.testing.assert_allclose(other.relative, one.relative, rtol=1e-2)


class AlmostEqual(nn.Module):
    """A maximum over cells softplus(scale z), which are all log 2 but for their last digits."""

    def __init__(self, scale, dtype):
        super().__init__()
        self.stem, self.head, self.scale = nn.Conv1d(2, 4, 1).to(dtype), nn.Conv1d(4, 2, 1).to(dtype), scale

    def forward(self, x):
        return self.head(nn.functional.max_pool1d(nn.functional.softplus(self.scale * self.stem(x)), 3))


@pytest.mark.parametrize(("dtype", "scale"), [(torch.bfloat16, 1e-5), (torch.float32, 1e-8)], ids=["bfloat16", "float32"])
def test_a_maximum_that_rounding_decides_is_refused(dtype, scale):
    """Cells that are rounded to one number have the first of them as the largest."""
    x = torch.randn(1, 2, 9, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    AlmostEqual(scale, dtype)(x).sum().backward()
    assert not x.grad[0, :, torch.arange(9) % 3 > 0].any()
    with pytest.raises(AssumptionError, match=r"max_pool1d: its cells differ by less than numbers of this type are rounded by"):
        predict(lambda: AlmostEqual(scale, dtype), (2, 9))
    assert predict(lambda: AlmostEqual(1e4 * scale, dtype), (2, 9)).squared.all()
