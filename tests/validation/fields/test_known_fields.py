"""Networks whose field is known: linear ones to the bit, and one of known expectation for the standard errors."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from validation import effective_receptive_field
from validation.fields.numbers import area_ratio, lean


def linear(*kernels, stride=1):
    """Convolutions of one channel with these integer kernels, padded to keep the size."""
    layers = []
    for kernel in kernels:
        weight = torch.tensor(kernel, dtype=torch.float32)[None, None]
        kind = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[weight.ndim]
        conv = kind(1, 1, weight.shape[2:], stride, tuple(n // 2 for n in weight.shape[2:]), bias=False)
        conv.weight.data = weight
        layers.append(conv)
    return nn.Sequential(*layers)


def test_two_convolutions_have_the_square_of_their_kernels_product():
    field = effective_receptive_field(linear([1, 2, 3], [1, 0, 2]), torch.randn(3, 1, 9))
    # unit 4 of the output reads 4 + k + l - 2 through taps k, l: the polynomial product of the kernels
    assert np.array_equal(field.mean, np.array([0, 0, *np.square(np.polymul([1, 2, 3], [1, 0, 2])), 0, 0], dtype=float))
    assert np.array_equal(field.standard_error, np.zeros(9))


@pytest.mark.parametrize(("statistic", "power"), [("signed", 1), ("absolute", 1), ("positive", 1), ("squared", 2)])
def test_strided_units_in_two_dimensions(statistic, power):
    kernel = np.arange(-4, 5, dtype=float).reshape(3, 3)
    field = effective_receptive_field(
        linear(kernel.tolist(), stride=2), torch.randn(2, 1, 8, 8), unit=(1, 2), statistic=statistic
    )
    expected = np.zeros((8, 8))
    values = {"signed": kernel, "absolute": abs(kernel), "positive": np.maximum(kernel, 0), "squared": kernel**2}[statistic]
    expected[1:4, 3:6] = values
    assert np.array_equal(field.mean, expected)
    assert field.cell == ((2, 4), (4, 6))


def test_three_dimensions():
    kernel = np.arange(27, dtype=float).reshape(3, 3, 3)
    field = effective_receptive_field(linear(kernel.tolist()), torch.randn(2, 1, 4, 4, 4))
    expected = np.zeros((4, 4, 4))
    expected[1:, 1:, 1:] = kernel**2
    assert np.array_equal(field.mean, expected)


def test_a_causal_network_sees_the_past_only(nets):
    field = effective_receptive_field(nets["causal"](ones=True), torch.randn(2, 1, 20), unit=12)
    assert np.array_equal(np.flatnonzero(field.mean), np.arange(5, 13))
    assert set(field.mean[5:13]) == {1.0}


def test_a_recurrence_forgets_geometrically(nets):
    field = effective_receptive_field(nets["state_space"](0.5), torch.randn(2, 10, 3), channels_last=True, unit=7)
    expected = np.zeros(10)
    expected[:8] = 0.25 ** np.arange(7, -1, -1) / 3  # each of three outputs reads one of three inputs: 3 / (3 * 3)
    assert np.array_equal(field.mean, expected)


def test_the_mean_over_all_units_counts_every_unit():
    field = effective_receptive_field(linear([1, 1, 1]), torch.randn(400, 1, 6), unit="mean", statistic="absolute")
    assert np.allclose(field.mean, np.array([2, 3, 3, 3, 3, 2]) / 6, rtol=1e-6)  # float32: 1/6 three times
    squares = effective_receptive_field(linear([1, 1, 1]), torch.randn(2000, 1, 6), unit="mean")
    truth = np.array([2, 3, 3, 3, 3, 2]) / 6
    # six z of sums over 2000 random signs: |z| > 5.5 has probability below 1e-6 for all together
    assert np.abs(squares.mean - truth).max() < 5.5 * squares.standard_error.max()


def test_channels_are_summed_by_random_signs_without_bias():
    conv = nn.Conv1d(2, 8, 3, padding=1, bias=False)
    field = effective_receptive_field(conv, torch.randn(3000, 2, 5))
    truth = np.zeros(5)
    truth[1:4] = conv.weight.detach().double().square().mean(dim=(0, 1)).numpy()
    z = np.abs(field.mean - truth)[1:4] / field.standard_error[1:4]
    assert z.max() < 5.5  # a mean over 3000 images: normal to that degree; false alarm below 1e-6


def test_over_draws_a_single_layer_has_the_variance_of_its_weights():
    def factory():
        conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        nn.init.normal_(conv.weight, std=0.5)
        return conv

    for statistic, truth in (("squared", 0.25), ("absolute", 3 * 4**0.5 * 0.5 * (2 / np.pi) ** 0.5)):
        field = effective_receptive_field(factory, (3, 5, 5), draws=600, statistic=statistic)
        inside = field.mean[1:4, 1:4]
        assert field.over == "draw"
        assert field.count == 600
        assert np.abs(inside - truth).max() < 6 * field.standard_error.max()
        assert not field.mean[0].any()


def test_double_precision_is_kept():
    def factory():
        return nn.Conv1d(1, 1, 3, padding=1, bias=False).double()

    for statistic in ("squared", "absolute"):
        assert effective_receptive_field(factory, (1, 5), draws=4, statistic=statistic).count == 4
    tiny = factory()
    nn.init.constant_(tiny.weight, 1e-80)
    field = effective_receptive_field(tiny, torch.randn(2, 1, 5, dtype=torch.float64))
    assert np.allclose(field.mean, [0, 1e-160, 1e-160, 1e-160, 0], rtol=1e-12, atol=0)
    assert field.area_ratio(0.5).value == 0.3  # of five cells: half of the influence of three
    assert "error 0.0%" in repr(field)
    assert field.numbers()


class Quadratic(nn.Module):
    """h = sum_i w_i x_i^2: dh/dx_i = 2 w_i x_i, whose square has expectation 4 w_i^2 for white noise."""

    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", weights)
        self.body = nn.Conv1d(1, 1, 1)

    def forward(self, x):
        return (self.weights * x**2).sum(dim=-1, keepdim=True).expand(-1, -1, 3)


def level(repetitions, images):
    """How many of the intervals value +- t standard error miss the truth, per pixel and of two numbers of the map."""
    weights = torch.exp(-0.5 * ((torch.arange(12) - 5.0) / 2.5) ** 2)
    truth = 4 * weights.double().numpy() ** 2
    model = Quadratic(weights)
    quantile = stats.t.ppf(0.975, images - 1)
    missed, total = np.zeros(12), {"area": 0, "lean": 0}
    for seed in range(repetitions):
        field = effective_receptive_field(model, (1, 12), layer="", unit=(1,), layout="channels_first", draws=images, seed=seed)
        missed += np.abs(field.mean - truth) > quantile * field.standard_error
        ratio = field.area_ratio(0.5)
        total["area"] += abs(ratio.value - area_ratio(truth, 0.5, field.centre)) > quantile * ratio.error
        value, error = field.number(partial(lean, cell=field.cell))
        total["lean"] += abs(value[0] - lean(truth, field.cell)[0]) > quantile * error[0]
    return missed / repetitions, {name: count / repetitions for name, count in total.items()}


def test_standard_errors_hold_their_level_over_200_repetitions():
    pixels, numbers = level(200, images=60)
    # squares of normal numbers are skewed, so that t intervals at 60 images miss a little more often than 5 %: about 8 %.
    # 200 repetitions of 0.08 have a standard deviation of 0.02; above 0.16 lies a false alarm of 4e-5
    assert pixels.mean() < 0.12
    assert max(numbers.values()) < 0.16
    assert pixels.mean() > 0.03  # and errors are not too large


@pytest.mark.slow
def test_standard_errors_of_every_number_hold_their_level():
    pixels, numbers = level(400, images=400)
    assert 0.035 < pixels.mean() < 0.08
    assert max(numbers.values()) < 0.1
