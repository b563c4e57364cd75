"""Which cell of a max-pool wins is not equally likely near padded borders, and counting it mends the map."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape import predict, trace
from landscape.gates.averaging import average_alike
from landscape.laws.moments import expected_squares
from landscape.structure.plan import plan
from lattice import SpecificationError
from validation import compare, measure


def deep():
    """A small VGG over sixteen pixels, so that most windows touch a padded border."""
    layers = []
    for inputs, pooled in ((1, True), (24, True), (24, False), (24, True)):
        conv = nn.Conv2d(inputs, 24, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers += [conv, nn.ReLU(), *([nn.MaxPool2d(2)] if pooled else [])]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 4, 4, bias=False))


def test_counted_win_rates_mend_the_map_and_its_scale():
    estimate = measure(deep, (1, 16, 16), draws=3000, seed=1)
    counted = compare(predict(deep, (1, 16, 16), gates="measured"), estimate)
    land = predict(deep, (1, 16, 16))
    theory, alike = compare(land, estimate), compare(expected_squares(land.traced.with_gates(taps={})), estimate)
    for one in (counted, theory):
        assert one.error < alike.error / 2
        assert abs(one.scale_ratio - 1) < 0.1
    assert alike.scale_ratio < 0.8  # the largest of correlated cells is not open as often as that of independent ones


def test_rates_are_probabilities_of_one_winner_at_most():
    rates = trace(deep, (1, 16, 16), inputs="noise").gates.taps
    assert set(rates) == {"2", "5", "10"}
    for rate in rates.values():
        assert rate.shape[0] == 4
        assert (rate.sum(axis=0) / 2 <= 1.1).all()  # relative to a gate that is open half of the time, counted too
        assert (rate.sum(axis=0) / 2 > 0.3).all()


def test_without_a_gate_below_every_window_has_one_winner_in_every_pass():
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2, bias=False))
    (rate,) = trace(model, (1, 8, 8), inputs="noise").gates.taps.values()
    np.testing.assert_allclose(rate.sum(axis=0), 1, rtol=1e-12)


def test_the_prediction_says_how_the_winners_were_taken():
    assert any("counted on white noise (2, 5, 10)" in reason for reason in predict(deep, (1, 16, 16), gates="measured").reasons)
    assert any(
        "from the forward mean field (2, 5, 10)" in reason for reason in predict(deep, (1, 16, 16), gates="theory").reasons
    )
    with torch.device("meta"):
        model = deep()
    land = predict(model, (1, 16, 16), initialisation=0.1)
    assert any("from the forward mean field (2, 5, 10)" in reason for reason in land.reasons)
    with pytest.raises(SpecificationError, match="'theory', 'measured', or None"):
        predict(deep, (1, 16, 16), gates="half")


def test_counting_is_repeatable_and_leaves_the_random_state_alone():
    model = deep()
    before = torch.get_rng_state()
    first, second = (predict(model, (1, 16, 16), gates="measured").squared for _ in range(2))
    assert (first == second).all()
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


@given(st.integers(1, 3), st.integers(1, 30), st.integers(0, 100))
def test_averaging_keeps_the_mean_the_borders_and_what_is_alike(kernel, windows, seed):
    rates = np.random.default_rng(seed).random(kernel * windows)
    averaged = average_alike(rates, (kernel,))
    assert averaged.mean() == pytest.approx(rates.mean())
    border = min(3, windows) * kernel
    assert (averaged[:border] == rates[:border]).all()
    assert (averaged[-border:] == rates[-border:]).all()
    periodic = np.tile(rates[:kernel], windows)
    np.testing.assert_allclose(average_alike(periodic, (kernel,)), periodic)


def depthwise(gate):
    """Two depthwise layers over a small signal: many units read closed gates alone, and are exactly zero."""
    layers = [nn.Conv2d(1, 32, 1, bias=False)]
    for _ in range(3):
        layers += [gate(), nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.05)
    return nn.Sequential(*layers, gate(), nn.Flatten(), nn.Linear(32 * 4, 4, bias=False))


def test_a_gate_that_reads_closed_gates_alone_does_not_count_as_closed():
    # for small signals a ReLU6 is a ReLU, whose gates are open half of the time wherever an open path leads to them
    torch.manual_seed(0)
    model = depthwise(nn.ReLU6)
    counted = predict(model, (1, 2, 2), gates="measured").squared
    known = predict(nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.ReLU6) else layer for layer in model)), (1, 2, 2)).squared
    assert np.allclose(counted / known, 1, atol=0.1)


def test_nor_do_pairs_of_such_gates_under_an_average():
    def model(*second):
        average = (nn.AvgPool2d(3, 1, 1), nn.Conv2d(16, 4, 1), nn.Flatten(), nn.Linear(36, 2))
        return nn.Sequential(nn.Conv2d(1, 16, 1, bias=False), nn.ReLU(), *second, *average)

    torch.manual_seed(0)
    twice = predict(model(nn.ReLU6()), (1, 3, 3), initialisation=0.01).squared
    once = predict(model(), (1, 3, 3), initialisation=0.01).squared
    assert np.allclose(twice / once, 1, atol=0.05)


class Joined(nn.Module):
    """A max-pool over two kinds of channels: a gated convolution's, and that of neighbours that are all but equal."""

    def __init__(self):
        super().__init__()
        self.sharp = nn.Conv2d(1, 16, 1, bias=False)
        self.smooth = nn.Conv2d(1, 48, 1, bias=False)
        self.top = nn.Conv2d(64, 4, 1, bias=False)

    def forward(self, x):
        level = nn.functional.max_pool2d(x.abs(), 3, 1, 1)
        joined = torch.cat([torch.relu(self.sharp(x)), torch.relu(self.smooth(level))], 1)
        return self.top(nn.functional.max_pool2d(joined, 3, 1, 1)).flatten(1)


def test_the_parts_of_a_concatenation_have_win_rates_of_their_own():
    found = trace(Joined(), (1, 6, 6), inputs="noise").gates.taps
    rates = found[max(found)]  # of the upper max-pool
    passed = rates.sum(axis=0)  # (channels, rows, columns)
    assert passed.shape == (64, 6, 6)
    sharp, smooth = passed[:16], passed[16:]
    assert np.ptp(sharp, axis=0).max() == np.ptp(smooth, axis=0).max() == 0
    assert sharp.mean() > 1.7  # the largest of nine independent cells is all but always open, each of them half of the time
    assert smooth.mean() < 1.1  # channels of one sign everywhere are open all together or not at all


NARROW = nn.Conv2d(400, 2, 1)  # over many channels few passes are enough


def counted(layers, images):
    """What is counted on images; below the first weights nothing is drawn, so that there the counts are exact."""
    return trace(nn.Sequential(*layers), images.shape[1:], inputs=images).gates


class ByPixel(nn.Module):
    """A norm over the channels of each pixel, as ConvNeXt has it."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(400, eps=0.1)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("norm", "axes"),
    [
        (nn.GroupNorm(100, 400, eps=0.1), (2, 3, 4)),
        (nn.GroupNorm(1, 400, eps=0.1), (1, 2, 3, 4)),
        (nn.InstanceNorm2d(400, eps=0.1), (3, 4)),
        (ByPixel(), (1, 2)),
    ],
    ids=["group", "whole", "instance", "by pixel"],
)
def test_a_norm_has_the_inverse_variance_of_each_given_image(norm, axes):
    images = np.random.default_rng(0).normal(size=(2, 400, 2, 3)) * np.linspace(0.2, 2, 3) + [[[[0]]], [[[1]]]]
    gates = counted((norm, NARROW), images)
    grouped = images.reshape(2, 100, 4, 2, 3)
    variance = ((grouped - grouped.mean(axis=axes, keepdims=True)) ** 2).mean(axis=axes, keepdims=True)
    expected = (1 / (variance + 0.1)).mean(axis=(0, 1, 2))
    (gain,) = gates.gains.values()
    np.testing.assert_allclose(np.broadcast_to(gain, (1, 2, 3))[0], np.broadcast_to(expected, (2, 3)), rtol=1e-4)
    assert gates.source == "counted on 2 given inputs"


@pytest.mark.parametrize(
    "pool",
    [
        partial(nn.MaxPool2d, (2, 3), (2, 1), (0, 1), (1, 2)),
        partial(nn.MaxPool2d, (3, 2), (1, 2), (1, 0), ceil_mode=True),
        partial(nn.AdaptiveMaxPool2d, (2, 3)),
        partial(nn.AdaptiveMaxPool2d, 1),
    ],
    ids=["dilated", "ceil", "adaptive", "global"],
)
@pytest.mark.parametrize("gated", [False, True], ids=["data", "gated"])
def test_the_taps_of_a_maximum_are_the_winners_that_torch_names(pool, gated):
    x = np.random.default_rng(0).normal(size=(1, 400, 5, 4)) - np.linspace(-0.5, 0.5, 4)
    below = np.maximum(x, 0) if gated else x
    largest, winner = (found.numpy()[0] for found in pool(return_indices=True)(torch.tensor(below)))
    cells = np.arange(20).reshape(20, 1, 1, 1)
    wins = ((winner == cells) & ((largest > 0) | (not gated))).mean(axis=1)  # (cells, *outputs)
    rate = (x[0] > 0).mean(axis=0).reshape(20, 1, 1) if gated else 1.0
    expected = wins / rate
    (taps,) = counted((*([nn.ReLU()] if gated else []), pool(), NARROW), x).taps.values()
    assert taps.shape[1:] == (1, *wins.shape[1:])
    for where in np.ndindex(wins.shape[1:]):  # the taps of a window are in the order of its cells
        found, truth = taps[(slice(None), 0, *where)], expected[(slice(None), *where)]
        np.testing.assert_allclose(found[found > 0], truth[truth > 0], rtol=1e-5)


def variance_of_a_filter(images, kernel, padding):
    """V[w] = 1: the sum of squares that a filter reads at each position, (N, *spatial)."""
    squares = torch.tensor(images).square()
    return nn.functional.conv2d(squares, torch.ones(1, images.shape[1], *kernel, dtype=squares.dtype), padding=padding)[
        :, 0
    ].numpy()


def of_a_gaussian(slope, variance):
    """E[slope(z)^2] by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = np.sqrt(variance)[..., None] * nodes
    return slope(z) ** 2 @ weights / weights.sum()


def slope_of_tanh(z):
    return 1 / np.cosh(z) ** 2


def test_a_smooth_gate_is_open_as_a_gaussian_of_its_own_variance_says():
    images = np.random.default_rng(0).normal(size=(2, 2, 3, 5)) * np.linspace(0.3, 2, 5)
    images[:, :, :, :2] = 0  # all black
    images[0, :, :, 2] = 0
    conv = nn.Conv2d(2, 64, (3, 2), padding=(1, 0), bias=False)
    nn.init.normal_(conv.weight, std=0.3)
    variance = conv.weight.square().mean().item()
    gates = counted((conv, nn.Tanh(), nn.Conv2d(64, 2, 1)), images)
    (gain,) = gates.gains.values()
    expected = of_a_gaussian(slope_of_tanh, variance * variance_of_a_filter(images, (3, 2), (1, 0))).mean(axis=0)
    np.testing.assert_allclose(expected[:, 0], 1)
    np.testing.assert_allclose(gain[0], expected, rtol=0.02)  # 1600 passes of 64 channels: 4 sigma


def test_a_gate_that_is_closed_at_zero_stays_closed_over_black_pixels():
    images = np.random.default_rng(0).normal(size=(1, 1, 1, 6))
    images[..., :3] = 0
    conv = nn.Conv2d(1, 64, (1, 2), bias=False)
    nn.init.normal_(conv.weight, std=0.1)
    gates = counted((conv, nn.ReLU6(), nn.Conv2d(64, 2, 1)), images)
    (gain,) = gates.gains.values()
    assert (gain[0, 0, :2] == 0).all()
    np.testing.assert_allclose(gain[0, 0, 2:], 0.5, atol=0.01)


class Beside(nn.Module):
    """Two convolutions of different sizes side by side, under one gate."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Conv2d(1, 40, 1, bias=False), nn.Conv2d(1, 60, 1, bias=False)
        self.top = nn.Conv2d(100, 2, 1, bias=False)
        for layer, size in ((self.small, 0.5), (self.large, 2.0)):
            nn.init.normal_(layer.weight, std=size)

    def forward(self, x):
        return self.top(torch.tanh(torch.cat([self.small(x), self.large(x)], 1)))


def test_the_parts_of_a_concatenation_have_gains_of_their_own():
    torch.manual_seed(0)
    model, images = Beside(), np.full((1, 1, 2, 3), 1.5)
    (gain,) = trace(model, (1, 2, 3), inputs=images).gates.gains.values()
    assert gain.shape == (100, 2, 3)
    for part, layer in ((gain[:40], model.small), (gain[40:], model.large)):
        variance = np.array(2.25 * layer.weight.square().mean().item())
        np.testing.assert_allclose(part, of_a_gaussian(slope_of_tanh, variance), rtol=0.03)


class Weighed(nn.Module):
    """A product of a convolution and a gate on either side: of one number a channel, or of one a pixel."""

    def __init__(self, squeezed, first):
        super().__init__()
        self.trunk, self.gate = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Conv2d(3, 64, 1, bias=False)
        self.squeezed, self.first = squeezed, first

    def forward(self, x):
        below = nn.functional.adaptive_avg_pool2d(x, 1) if self.squeezed else x
        return self.gate(below) * self.trunk(x) if self.first else self.trunk(x) * self.gate(below)


@pytest.mark.parametrize(("squeezed", "first"), [(True, True), (True, False), (False, False)])
def test_a_product_is_weighed_by_the_square_of_its_gate(squeezed, first):
    torch.manual_seed(0)
    model = Weighed(squeezed, first)
    images = np.random.default_rng(0).normal(size=(2, 3, 2, 4)) + np.arange(4)
    products = trace(model, (3, 2, 4), inputs=images).gates.products
    (gain,) = (rate for (_, place), rate in products.items() if place == 0)
    below = images.mean(axis=(2, 3), keepdims=True) if squeezed else images
    expected = model.gate.weight.square().mean().item() * (below**2).sum(axis=1).mean(axis=0)
    assert gain.shape == (1, 2, 4)
    np.testing.assert_allclose(gain[0], np.broadcast_to(expected, (2, 4)), rtol=0.035)  # 1600 passes of 64 channels: 5 sigma


@pytest.mark.parametrize(
    ("shape", "conv", "average"),
    [
        ((6, 5), nn.Conv2d(5, 32, 1, bias=False), nn.AvgPool2d((3, 2), 1)),
        ((262,), nn.Conv1d(5, 32, 1, bias=False), nn.AvgPool1d(2, 1)),
    ],
    ids=["plane", "long"],
)
def test_gates_of_one_filter_are_open_together_as_their_correlation_says(shape, conv, average):
    """For a small signal P(z > 0, z' > 0) = 1/4 + arcsin(r) / 2 pi; an average on either side asks for neighbours."""
    image = np.random.default_rng(0).normal(size=(1, 5, *shape))
    nn.init.normal_(conv.weight, std=0.1)
    below = average(torch.tensor(image))[0].numpy()
    size = average(torch.tensor(below)).numel() // 5 * 32
    layers = nn.Sequential(conv, average, nn.ReLU6(), average, nn.Flatten(), nn.Linear(size, 2, bias=False))
    traced = trace(layers, image.shape[1:], inputs=image)
    ((name, joint),) = traced.gates.joint.items()
    gate = traced.lattice.names.index(name)
    axes = plan(traced.lattice).carried[gate, gate]
    first = below[(slice(None), *np.ix_(*(pairs.first for pairs in axes)))]
    second = below[(slice(None), *np.ix_(*(pairs.second for pairs in axes)))]
    r = (first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    expected = 1 / 4 + np.arcsin(np.clip(r, -1, 1)) / (2 * np.pi)
    assert joint.shape == (1, *expected.shape)
    assert r.min() < 0.2
    assert (np.abs(joint[0] - expected) < 5 * np.sqrt(expected * (1 - expected) / 32 / 1000)).all()  # 1000 passes at least
    assert abs((joint[0] / expected).mean() - 1) < 0.02


def test_images_of_another_shape_are_refused():
    with pytest.raises(SpecificationError, match=r"inputs have shape \(2, 400, 2, 4\); the network reads \(N, 400, 2, 3\)"):
        trace(nn.Sequential(nn.GroupNorm(2, 400), NARROW), (400, 2, 3), inputs=np.zeros((2, 400, 2, 4)))
    with pytest.raises(SpecificationError, match="inputs have shape"):
        trace(nn.Sequential(nn.GroupNorm(2, 400), NARROW), (400, 2, 3), inputs=np.zeros((2, 399, 2, 3)))


def test_a_constant_bias_has_the_variance_zero_and_not_less():
    """(-0.2)^2 - 0.2^2 is -7e-18 in float32's -0.2; its root closed every gate that was counted."""
    model = nn.Sequential(nn.Conv1d(1, 2, 1), nn.Hardsigmoid(), nn.Conv1d(2, 1, 1, bias=False))
    nn.init.constant_(model[0].bias, -0.2)
    land = predict(model, (1, 5), initialisation=1.0)
    assert land.traced.shifts["0"].variance == 0
    assert land.squared.min() > 0


class Largest(nn.Module):
    """The largest over all positions, written in one way or another."""

    def __init__(self, written):
        super().__init__()
        self.stem, self.head, self.written = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 2), written

    def forward(self, x):
        return self.head(self.written(torch.relu(self.stem(x))))


@pytest.mark.parametrize(
    "written",
    [
        lambda y: y.flatten(2).max(-1).values,
        lambda y: y.flatten(2).transpose(1, 2).max(1).values,
        lambda y: y.permute(0, 2, 3, 1).amax((1, 2)),
        lambda y: y.transpose(2, 3).flatten(2).amax(2),
    ],
)
def test_winners_are_counted_where_they_stand(written):
    pooled = predict(lambda: Largest(lambda y: nn.functional.adaptive_max_pool2d(y, 1).flatten(1)), (2, 4, 5), gates="measured")
    found = predict(lambda: Largest(written), (2, 4, 5), gates="measured")
    np.testing.assert_allclose(found.squared, pooled.squared, rtol=0.05)
