"""What counting must not depend on: one draw's biases, the model's precision, the order of factors, the first images, noise."""

import pickle
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict, trace
from landscape.gates.activations import gaussian_moments
from landscape.maps.findings import findings
from landscape.maps.measures import report
from landscape.tracing import gate_counts
from lattice import Activation
from validation import compare, measure


class Block(nn.Module):
    def __init__(self, inputs, width, bias):
        super().__init__()
        self.one, self.two = (nn.Conv1d(n, width, 3, padding=1, bias=bias) for n in (inputs, width))
        self.skip = nn.Conv1d(inputs, width, 1, bias=bias) if inputs != width else nn.Identity()

    def forward(self, x):
        return torch.relu(self.two(torch.relu(self.one(x))) + self.skip(x))


def blocks(width=4, count=3, bias=True, size=10):
    chain = [Block(1 if i == 0 else width, width, bias) for i in range(count)]
    return nn.Sequential(*chain, nn.Flatten(), nn.Linear(width * size, 3, bias=False))


def test_counted_gates_are_those_of_the_law_of_the_biases_not_of_one_draw(monkeypatch):
    """Four channels: the biases of one draw alone put the scale off by a factor of two and more."""
    agreement = compare(predict(blocks, (1, 10)), measure(blocks, (1, 10), draws=800, seed=0))
    assert abs(agreement.scale_ratio - 1) < 0.15
    monkeypatch.setattr(gate_counts, "MOST_CALLS", 2000)  # a tenth is asked for below
    gains = [trace(blocks(), (1, 10), inputs="noise").gates.gains for _ in range(2)]  # two draws of the biases
    for name, gain in gains[0].items():
        np.testing.assert_allclose(gains[1][name].mean(), gain.mean(), rtol=0.1)


def test_a_bias_that_is_constant_is_kept():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 32, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 6, 2))
    nn.init.constant_(model[0].bias, 0.4)
    (gain,) = trace(model, (4, 6), inputs="noise").gates.gains.values()
    variance = 4 * model[0].weight.square().mean().item()
    # over white inputs z is a sum of four products of Gaussians: sampled
    w, x = torch.randn(2, 200_000, 4, generator=torch.Generator().manual_seed(0)).unbind()
    expected = ((w * x).sum(1) * (variance / 4) ** 0.5 + 0.4 > 0).double().mean().item()
    np.testing.assert_allclose(gain.mean(), expected, atol=0.01)


@cache
def in_precision(dtype):
    torch.manual_seed(0)
    return predict(blocks(8, bias=False).to(dtype), (1, 10)).squared


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_counts_do_not_saturate_in_the_precision_of_the_model(dtype):
    """In bfloat16 128 + 0.5 = 128: sums over 1000 passes ended at a third of what they are."""
    np.testing.assert_allclose(in_precision(dtype), in_precision(torch.float32), rtol=0.01)  # weights rounded to 8 bits


class Gated(nn.Module):
    """A product of two convolutions' functions in either order."""

    def __init__(self, turned):
        super().__init__()
        self.a, self.b, self.head = nn.Conv1d(1, 16, 3, padding=1), nn.Conv1d(1, 16, 3, padding=1), nn.Linear(96, 3)
        self.turned = turned

    def forward(self, x):
        factors = torch.sigmoid(self.a(x)), 3 * self.b(x)
        one, other = factors[::-1] if self.turned else factors
        return self.head((one * other).flatten(1))


def test_the_order_of_the_factors_of_a_product_does_not_matter(monkeypatch):
    agreement = compare(predict(lambda: Gated(True), (1, 6)), measure(lambda: Gated(True), (1, 6), draws=800, seed=0))
    assert abs(agreement.scale_ratio - 1) < 0.08
    monkeypatch.setattr(gate_counts, "MOST_CALLS", 400)  # over the same draws, so that few of them will do
    models = [Gated(turned) for turned in (False, True)]
    models[1].load_state_dict(models[0].state_dict())
    one, other = (predict(model, (1, 6)) for model in models)
    np.testing.assert_allclose(other.squared, one.squared, rtol=1e-6)


RUNS = {
    "leaky, relu": [nn.LeakyReLU(0.2), nn.ReLU()],
    "relu, tanh": [nn.ReLU(), nn.Tanh()],
    "abs, silu": [None, nn.SiLU()],
    "silu, relu6, gelu": [nn.SiLU(), nn.ReLU6(), nn.GELU()],
}


@pytest.mark.parametrize("gates", ["measured", "theory"])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_gates_right_above_gates_are_not_independent(run, gates, monkeypatch):
    """The truth is the slope of the whole function over a Gaussian: for one image of ones the output of a filter is one."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv1d(1, 256, 1, bias=False), nn.Linear(256 * 4, 3, bias=False)
            nn.init.normal_(self.conv.weight, std=1.5)
            self.run = nn.ModuleList(layer for layer in run if layer is not None)

        def forward(self, x):
            x = self.conv(x)
            for layer in ([] if run[0] is not None else [torch.abs]) + list(self.run):
                x = layer(x)
            return self.head(x.flatten(1))

    monkeypatch.setattr(gate_counts, "MOST_CALLS", 2000)  # of many channels each
    model = Net()
    land = predict(model, (1, 4), gates=gates, inputs=np.ones((1, 1, 4)) if gates == "measured" else None)
    deviation = model.conv.weight.square().mean().item() ** 0.5
    levels = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    z = (deviation * torch.special.ndtri(levels)).requires_grad_()  # the quantiles of a Gaussian in the middle of 20,000 parts
    value = torch.abs(z) if run[0] is None else z
    for layer in model.run:
        value = layer(value)
    slope = torch.autograd.grad(value.sum(), z)[0]
    truth = slope.square().mean().item() * deviation**2 * 256 * model.head.weight.square().mean().item()
    np.testing.assert_allclose(land.squared, np.full(4, truth), rtol=0.03)


def test_all_given_images_are_read_or_the_reason_says_how_many():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 64, 1, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(256, 2))
    images = np.ones((32, 1, 4))
    before = images.copy()
    plain = predict(model, (1, 4), inputs=images)
    np.testing.assert_array_equal(images, before)
    images[31] = 30.0
    other = predict(model, (1, 4), inputs=images)
    gain = np.asarray(
        gaussian_moments(Activation("tanh"), np.zeros(2), np.array([1.0, 900.0]) * _square(model), np.zeros(2))[3]
    )
    for land, expected in ((plain, gain[0]), (other, (31 * gain[0] + gain[1]) / 32)):
        (found,) = land.traced.gates.gains.values()
        np.testing.assert_allclose(found, np.full((1, 4), expected), rtol=0.01)
        assert any("counted on 32 given inputs" in reason for reason in land.reasons)
    many = predict(model, (1, 4), inputs=np.ones((4000, 1, 4)))
    assert any("counted on 1563 of 4000 given inputs" in reason for reason in many.reasons)


def _square(model):
    return model[0].weight.square().mean().item()


def test_images_that_are_left_out_are_spread_evenly():
    """The second half of more images than passes is black: half of the rates are those of black."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 64, 1, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(256, 2))
    images = np.ones((4000, 1, 4))
    images[2000:] = 0
    (gain,) = trace(model, (1, 4), inputs=images).gates.gains.values()
    lit = gaussian_moments(Activation("tanh"), np.zeros(()), np.array(_square(model)), np.zeros(()))[3]
    np.testing.assert_allclose(gain, np.full((1, 4), (1 + lit) / 2), rtol=0.01)


# --- errors ----------------------------------------------------------------------------------------------------------------


def test_the_standard_error_covers_what_counting_is_off_by():
    """Over a given image z is Gaussian and the gain of SiLU a known integral; 16 passes would be too few to say so."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 32, 1, bias=False), nn.SiLU(), nn.Flatten(), nn.Linear(32 * 4, 2, bias=False))
    image = np.array([[[0.5, 1.0, 2.0, 4.0]]])
    land = predict(model, (1, 4), inputs=image)
    size = model[0].weight.square().mean().item()
    gain = gaussian_moments(Activation("silu"), np.zeros(4), size * image[0, 0] ** 2, np.zeros(4))[3]
    truth = gain * size * 32 * model[3].weight.square().mean().item()
    assert (land.standard_error > 0).all()
    assert (land.standard_error < 0.02 * land.squared).all()
    assert (np.abs(land.squared - truth) < 4 * land.standard_error).all()
    assert (np.abs(land.squared - truth) > 0.1 * land.standard_error).any()
    copy = pickle.loads(pickle.dumps(land))
    np.testing.assert_array_equal(copy.standard_error, land.standard_error)


def test_what_is_not_counted_has_no_error():
    model = nn.Sequential(nn.Conv1d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    land = predict(model, (1, 6))
    assert not land.standard_error.any()
    assert land.report().errors is None
    assert not predict(blocks(), (1, 10), gates="theory").standard_error.any()


def test_a_network_that_a_flip_leaves_as_it_is_shows_no_asymmetry(monkeypatch):
    """Rates are averaged over the flips, so that no number of passes is too small."""
    monkeypatch.setattr(gate_counts, "MOST_CALLS", 800)
    land = predict(wide_pools, (1, 13, 13))
    assert max(land.report().flip_asymmetry) < 1e-12
    np.testing.assert_allclose(land.squared, land.squared.T, rtol=1e-12)


def wide_pools():
    layers = [nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 1, 1), nn.Conv2d(8, 8, 3, padding=1), nn.SiLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(3, 1, 1), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 2))


def test_a_report_prints_no_finding_below_twice_the_noise():
    """Noise of 5 % a pixel around a flat map, and the same around one whose left half weighs 1.3 times as much."""
    rng = np.random.default_rng(0)

    def maps(mean):
        draws = mean + 0.05 * 8**0.5 * rng.normal(size=(8, *mean.shape))
        return draws.mean(axis=0), [(draws.sum(axis=0) - one) / 7 for one in draws]

    flat = report(*with_periods(maps(np.ones((32, 32)))))
    assert flat.flip_asymmetry[0] > 0.02  # of nothing but noise
    told = {finding.name: finding for finding in findings(flat)}
    for name in ("asymmetry of top and bottom", "asymmetry of left and right", "gridding", "total variation", "centre bias"):
        assert told[name].level == "none", name
    assert "under" in str(flat).split("flip asymmetry")[1].split("\n")[0]
    assert "under" in str(flat).split("total variation")[1].split("\n")[0]
    sided = report(*with_periods(maps(np.repeat([[1.3] * 16 + [1.0] * 16], 32, axis=0))))
    told = {finding.name: finding for finding in findings(sided)}
    assert told["asymmetry of left and right"].level == "clear"
    assert told["asymmetry of top and bottom"].level == "none"
    np.testing.assert_allclose(flat.errors.flip_asymmetry, 0.05 / 2**0.5, rtol=0.1)


def with_periods(found):
    mean, replicates = found
    return mean, (2, 4), replicates
