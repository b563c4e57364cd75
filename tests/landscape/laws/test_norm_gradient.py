"""A norm over the signal follows the signal: what its own gradient takes, against autograd and against its Jacobian."""

from collections.abc import Callable
from functools import cache, partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import predict
from landscape.gates.forward.levels import inverse_of_sum
from landscape.laws.norm_gradient import _chance_of_two, kept_by_norms
from landscape.prior import Gates, Prior
from landscape.tracing import gate_counts
from lattice import (
    Activation,
    AssumptionError,
    Conv,
    ConvTranspose,
    Dropout,
    GlobalPool,
    Lattice,
    Norm,
    Pool,
    Upsample,
    residual,
)
from validation import measure


class ChannelNorm(nn.Module):
    """torch's layer norm over the channels of each position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def conv(inputs: int, outputs: int, kernel: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def averaged(norm: nn.Module) -> nn.Module:
    """A norm whose gradients an average makes alike, but for what two paddings do at the border."""
    return nn.Sequential(conv(1, 16, 3), norm, conv(16, 16, 3), conv(16, 16, 3), nn.AdaptiveAvgPool2d(1))


NETS = {
    "layer, 16 channels": (lambda: nn.Sequential(conv(1, 16, 3), ChannelNorm(16), conv(16, 4, 1)), (1, 6, 6)),
    "layer, over gates": (lambda: nn.Sequential(conv(1, 16, 3), nn.ReLU(), ChannelNorm(16), conv(16, 4, 1)), (1, 6, 6)),
    "layer, 64 channels": (lambda: nn.Sequential(conv(3, 64, 3), ChannelNorm(64), conv(64, 4, 1)), (3, 6, 6)),
    "instance, 9 cells": (lambda: nn.Sequential(conv(1, 16, 3), nn.InstanceNorm2d(16), conv(16, 4, 1)), (1, 3, 3)),
    "instance, 36 cells": (lambda: nn.Sequential(conv(1, 16, 3), nn.InstanceNorm2d(16), conv(16, 4, 1)), (1, 6, 6)),
    "group, 4 of 16": (lambda: nn.Sequential(conv(1, 16, 3), nn.GroupNorm(4, 16), conv(16, 4, 1)), (1, 3, 3)),
    "instance, averaged": (lambda: averaged(nn.InstanceNorm2d(16)), (1, 6, 6)),
    "group, averaged": (lambda: averaged(nn.GroupNorm(8, 16)), (1, 6, 6)),
    "group, one": (lambda: nn.Sequential(conv(1, 16, 3), nn.GroupNorm(1, 16), conv(16, 4, 1)), (1, 3, 3)),
}


@cache
def measured(name, draws=400, images=4):
    """Mean squared gradients by autograd, one a draw: fresh weights, a few images of white noise, a Rademacher cotangent."""
    factory, shape = NETS[name]
    generator = torch.Generator().manual_seed(1)
    means = []
    with torch.random.fork_rng(devices=()):
        for draw in range(draws):
            torch.manual_seed(draw)
            x = torch.randn(images, *shape, generator=generator).requires_grad_()
            y = factory()(x)
            sign = torch.randint(0, 2, y.shape, generator=generator) * 2.0 - 1
            (gradient,) = torch.autograd.grad((y * sign).sum(), x)
            means.append(gradient.double().square().mean().item() * images / y.numel())
    return np.array(means)


@pytest.mark.parametrize("gates", ["theory", "measured"])
@pytest.mark.parametrize("name", NETS)
def test_the_scale_through_a_norm_is_right_within_a_fifth(name, gates, monkeypatch):
    """400 draws of 4 images know the scale to 4 %; without its own gradient it is off by 15 to 150 %."""
    monkeypatch.setattr(gate_counts, "MOST_CALLS", 1500)  # rates to a few percent
    factory, shape = NETS[name]
    land = predict(factory, shape, gates=gates)
    totals = measured(name)
    ratio, error = totals.mean() / land.squared.mean(), totals.std() / np.sqrt(len(totals)) / land.squared.mean()
    assert abs(ratio - 1) < 0.15 + 4 * error
    assert any("their own gradient" in reason for reason in land.reasons)


@pytest.mark.parametrize("norm", [lambda: nn.InstanceNorm1d(16), lambda: nn.GroupNorm(8, 16)], ids=["instance", "group"])
def test_what_a_norm_takes_along_its_values_it_spreads_over_all_of_them(norm):
    """One unit's gradient through n = 8 or 16 values; autograd over 3,000 draws of fresh weights."""

    def factory():
        return nn.Sequential(nn.Conv1d(8, 16, 1, bias=False), norm(), nn.Conv1d(16, 1, 1, bias=False))

    land = predict(factory, (8, 8), output=(3,))
    found = np.zeros(8)
    with torch.random.fork_rng(devices=()):
        for draw in range(3000):
            torch.manual_seed(draw)
            x = torch.randn(1, 8, 8).requires_grad_()
            (gradient,) = torch.autograd.grad(factory()(x)[0, 0, 3], x)
            found += gradient[0].double().square().mean(0).numpy() / 3000
    elsewhere = [position for position in range(8) if position != 3]
    shares = [squared[elsewhere].sum() / squared.sum() for squared in (land.squared, found)]
    assert shares[0] == pytest.approx(shares[1], rel=0.1), shares


def test_the_border_loses_more_since_it_sees_fewer_inputs():
    net = Lattice.chain((1, 9), [Conv(32, 5, padding=2), Norm("layer")])
    kept = kept_by_norms(Prior(net, {"conv1": 1.0}))["norm1"][0]
    own = (31 - 1) / (31 - 2)
    np.testing.assert_allclose(kept[4] / own, (5 - 1) / (5 - 2))  # five inputs of one size
    np.testing.assert_allclose(kept[0] / own, (3 - 1) / (3 - 2))


def test_the_projections_of_a_group_norm_leave_two_directions_out():
    """The mean squared Jacobian of a norm of n Gaussian values, times their variance: (n - 2)/(n - 3), by autograd."""
    draw = torch.Generator().manual_seed(0)
    for n in (8, 20):
        x = torch.randn(4000, 1, n, generator=draw, dtype=torch.float64, requires_grad=True)
        y = nn.functional.instance_norm(x, eps=0.0)
        sign = torch.randint(0, 2, y.shape, generator=draw) * 2.0 - 1
        (gradient,) = torch.autograd.grad((y * sign).sum(), x)
        squares = gradient.detach().square().mean(dim=(1, 2))
        expected = (n - 2) / (n - 3)
        assert abs(squares.mean() / expected - 1) < 5 * float(squares.std()) / np.sqrt(4000) / expected


def test_a_norm_above_another_one_loses_its_own_projection_only():
    net = Lattice.chain((1, 9), [Conv(32, 3), Norm("layer"), Conv(16, 3), Norm("group", 4)])
    kept = kept_by_norms(Prior(net, {"conv1": 1.0, "conv2": 1.0}, gates=Gates(gains={"norm1": 1.0})))
    np.testing.assert_allclose(kept["norm2"], (19 - 1) / (19 - 2))  # 4 channels of 5 positions


@pytest.mark.parametrize("layers", [[Conv(3, 3), Norm("layer")], [Conv(32, 2), Norm("layer")]], ids=["channels", "inputs"])
def test_the_inverse_of_a_variance_of_few_values_has_no_mean(layers):
    with pytest.raises(AssumptionError, match=r"norm1: the layer norm .* has no mean"):
        predict(Lattice.chain((1, 8), layers))


@pytest.mark.parametrize("average", [GlobalPool("avg"), Pool("avg", 6)], ids=["global", "over all"])
def test_the_average_of_an_instance_norm_is_constant(average):
    with pytest.raises(AssumptionError, match=r"norm1: .* exactly 0"):
        predict(Lattice.chain((1, 8), [Conv(8, 3), Norm("instance"), average]))
    assert predict(Lattice.chain((1, 8), [Conv(8, 3), Norm("instance"), Pool("avg", 3)])).squared.min() > 0


EVEN = {
    "1 x 1": [Conv(4, 1)],
    "circular": [Conv(4, 3, padding=1, mode="circular"), Norm("scale")],
    "transposed": [ConvTranspose(4, 2, stride=2)],
    "averages": [Pool("avg", 2), Conv(4, 1), Dropout(0.5)],
    "resize": [Upsample(2)],
    "sum": [residual([Conv(8, 1)])],
}
UNEVEN = {
    "padded": [Conv(4, 3, padding=1)],
    "strided": [Conv(4, 1, stride=2)],
    "cropped": [ConvTranspose(4, 2, stride=2, padding=1)],
    "overlapping": [Pool("avg", 2, stride=1)],
    "gated": [Activation("relu")],
}


@pytest.mark.parametrize("norm", [Norm("instance"), Norm("group", 8)], ids=["instance", "group"])
@pytest.mark.parametrize("layers", EVEN.values(), ids=EVEN)
def test_what_reads_all_positions_evenly_leaves_the_average_constant(norm, layers):
    with pytest.raises(AssumptionError, match=r"norm1: .* exactly 0"):
        predict(Lattice.chain((1, 10), [Conv(8, 3), norm, *layers, GlobalPool()]))


class Squeezed(nn.Module):
    """An instance norm whose channels are multiplied by numbers that follow their averages."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.stem, self.norm, self.squeeze = nn.Conv2d(2, 8, 3), nn.InstanceNorm2d(8), nn.Linear(8, 8)
        self.head = nn.AdaptiveAvgPool2d(1) if head == "averaged" else nn.Conv2d(8, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.stem(x))
        gate = torch.sigmoid(self.squeeze(y.mean((2, 3))))
        return self.head(gate[:, :, None, None] * y)


def test_the_average_of_a_squeezed_instance_norm_is_constant():
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64).requires_grad_()
    (truth,) = torch.autograd.grad(Squeezed("averaged").double()(x).sum(), x)
    assert truth.abs().max() < 1e-12
    with pytest.raises(AssumptionError, match=r"norm: .* exactly 0"):
        predict(lambda: Squeezed("averaged"), (2, 8, 8))
    assert predict(lambda: Squeezed("read"), (2, 8, 8)).squared.min() > 0


@pytest.mark.parametrize("layers", UNEVEN.values(), ids=UNEVEN)
def test_what_reads_positions_unevenly_lets_the_gradient_through(layers):
    assert predict(Lattice.chain((1, 10), [Conv(8, 3), Norm("instance"), *layers, GlobalPool()])).squared.max() > 0


def test_values_that_a_gate_closes_do_not_count_in_a_variance():
    z = np.random.default_rng(0).normal(size=(50000, 16))
    gate = np.where(z > 0, 1.0, 0.0)
    x = z * gate
    y = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    columns = 1 - 1 / 16 - 2 * y**2 / 16 + y**2 * (y**2).sum(1, keepdims=True) / 16**2  # of I - 1 1'/n - y y'/n, squared
    measured = ((gate**2 * columns).sum(1) / x.var(1)).mean() / ((gate**2).sum(1).mean() / x.var())
    below = [Conv(16, 5, padding=2, mode="circular")]
    nets = [Lattice.chain((8, 6), [*below, *gates, Norm("layer")]) for gates in ([], [Activation("relu")])]
    plain, rectified = (kept_by_norms(Prior(net, {"conv1": 1.0}))["norm1"] for net in nets)
    np.testing.assert_allclose(rectified / plain * 14 / 13, measured, rtol=0.03)


def test_a_variance_of_few_rectified_values_has_no_mean():
    layers = [Conv(6, 7), Activation("relu"), Norm("layer")]
    with pytest.raises(AssumptionError, match=r"norm1: .* of 3 independent values"):
        predict(Lattice.chain((1, 12), layers))
    predict(Lattice.chain((1, 12), [layers[0], Activation("abs"), layers[2]]))


def test_a_norm_over_nine_values_that_a_gate_halves_is_refused():
    """5 +- 1.5 times the prediction is measured after 2000 draws: two values that are left have no mean of 1 / variance."""
    layers = [Conv(4, 3), Activation("relu"), Norm("instance")]
    with pytest.raises(AssumptionError, match=r"norm1: .* of 4.5 rectified values"):
        predict(Lattice.chain((3, 5, 5), layers))
    predict(Lattice.chain((3, 6, 6), layers))


def test_copies_of_a_position_are_no_values_of_their_own():
    layers = [Conv(2, 3, 2, padding=((0, 0), (1, 1))), Upsample(2), Norm("instance")]
    with pytest.raises(AssumptionError, match=r"norm1: .* of 2 independent values"):
        predict(Lattice.chain((1, 3, 3), layers))
    below = [Conv(2, 3, padding=1), Norm("instance")]
    nets = [Lattice.chain((1, 4, 4), net) for net in (below, [below[0], Upsample(2), below[1]])]
    plain, copied = (kept_by_norms(Prior(net, {"conv1": 1.0}))["norm1"] for net in nets)
    np.testing.assert_allclose(copied, plain, rtol=1e-9)


def test_copies_leave_the_channels_of_a_group_as_many_as_they_are():
    """A resize of rectified channels with biases: as many directions follow the signal as without it."""
    below = [Conv(4, 1), Activation("relu"), Norm("group", groups=2)]
    nets = [Lattice.chain((1, 4, 4), net) for net in (below, [below[0], Upsample(2), *below[1:]])]
    kept = [kept_by_norms(Prior(net, {"conv1": 1.0}, shifts={"conv1": (0.0, 1.0)}))["norm1"] for net in nets]
    np.testing.assert_allclose(kept[1], kept[0], rtol=1e-6)


class OfSigns(nn.Module):
    """A layer norm over filters of random signs, or over maxima of what they give."""

    @torch.no_grad()
    def __init__(self, inputs: int, channels: int, cells: int, bias: bool = False) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv1d(inputs, channels, 1, bias=bias), nn.LayerNorm(channels)
        self.head, self.cells = nn.Conv1d(channels, 2, 1, bias=False), cells
        self.stem.weight.copy_(torch.randint(0, 2, self.stem.weight.shape) * 2.0 - 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.max_pool1d(self.stem(x), self.cells)
        return self.head(self.norm(y.movedim(1, 2)).movedim(2, 1))


@pytest.mark.parametrize(("inputs", "channels", "cells"), [(3, 4, 1), (4, 4, 1), (1, 8, 9), (2, 8, 9), (3, 4, 9)])
def test_a_norm_over_few_filters_of_signs_is_refused(inputs, channels, cells):
    with pytest.raises(AssumptionError, match=r"norm: .* weights of one size \(stem\), of which only two differ with"):
        predict(lambda: OfSigns(inputs, channels, cells), (inputs, 18))
    assert predict(lambda: OfSigns(inputs, 4 * channels, cells, bias=inputs < 3), (inputs, 18)).squared.all()


@pytest.mark.parametrize(("signs", "n"), [(1, 2), (1, 4), (2, 3), (3, 3)])
def test_how_often_two_filters_of_signs_differ_is_counted(signs, n):
    filters = list(product((-1, 1), repeat=signs))
    counts = [len(set(drawn)) == 2 for drawn in product(filters, repeat=n)]
    assert _chance_of_two(signs, n) == pytest.approx(np.mean(counts))


class Levelled(nn.Module):
    """A group norm over few channels whose biases are as large as `level`."""

    @torch.no_grad()
    def __init__(self, channels: int, level: float) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv1d(4, 2 * channels, 1), nn.GroupNorm(2, 2 * channels)
        self.head = nn.Linear(2 * channels * 9, 4, bias=False)
        nn.init.normal_(self.stem.weight, std=0.5)
        nn.init.normal_(self.stem.bias, std=level)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.stem(x)).flatten(1))


@pytest.mark.parametrize(("channels", "level"), [(2, 3.0), (2, 10.0), (3, 10.0), (4, 10.0), (8, 10.0)])
def test_channels_that_share_a_level_are_few_values(channels, level):
    """2000 draws; without what levels add it measures 2.1, 7.4, 3.0, 2.4 and 1.3 times the prediction."""
    land = predict(lambda: Levelled(channels, level), (4, 9))
    found = measure(lambda: Levelled(channels, level), (4, 9), draws=2000, seed=1).mean.mean()
    assert found / land.squared.mean() == pytest.approx(1, abs=0.2)


def test_a_norm_over_two_levels_alone_is_refused():
    with pytest.raises(AssumptionError, match=r"norm: .* of 2 channels that hardly differ between positions"):
        predict(lambda: Levelled(2, 50.0), (4, 9))


def test_the_mean_of_an_inverse_is_that_of_drawn_sums():
    draw = np.random.default_rng(0)
    y = 5 * draw.chisquare(2, 10**6) + 0.5 * draw.chisquare(6, 10**6)
    for power in (1, 3):
        assert inverse_of_sum(((5.0, 2), (0.5, 6)), 0.3, power) == pytest.approx(((y + 0.3) ** -power).mean(), rel=0.01)


class Small(nn.Module):
    """A norm over values that are as small as `size` beside the square root of its eps."""

    @torch.no_grad()
    def __init__(self, norm: nn.Module, size: float, gate: bool) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(4, 3, (3, 1), padding=(1, 0), bias=False), norm
        self.act = nn.LeakyReLU(0.2) if gate else nn.Identity()
        self.head = nn.Conv2d(3, 4, 1, bias=False)
        nn.init.normal_(self.stem.weight, std=size * norm.eps**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.stem(x))
        groups = isinstance(self.norm, nn.GroupNorm)
        return self.head(self.norm(y) if groups else self.norm(y.movedim(1, 3)).movedim(3, 1))


NORMS = {"group": lambda: nn.GroupNorm(1, 3), "layer": lambda: nn.LayerNorm(3), "rms": lambda: nn.RMSNorm(3, eps=1e-5)}


@pytest.mark.parametrize("gate", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize("size", [1e-3, 0.2, 3.0])
@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_a_norm_whose_eps_is_not_small_multiplies_by_a_number(norm, size, gate):
    """1500 draws; a layer norm over 3 values has a mean gradient where eps is large, and none where it is small."""
    factory = partial(Small, norm(), size, gate)
    if isinstance(norm(), nn.LayerNorm) and size > 1:
        with pytest.raises(AssumptionError, match=r"norm: the layer norm .* has no mean"):
            predict(factory, (4, 4, 1))
        return
    ratio = measure(factory, (4, 4, 1), draws=1500, seed=1).mean.mean() / predict(factory, (4, 4, 1)).squared.mean()
    assert ratio == pytest.approx(1, abs=0.15 if size < 1 else 0.25)


def test_given_inputs_count_what_eps_leaves():
    """E[1 / (s^2 + eps)] is counted; with eps alone a layer norm over n values takes the mean, and n - 1 of n are left."""
    net = Lattice.chain((4, 5), [Conv(6, 1), Norm("layer", eps=1e-3)])
    kept = [
        kept_by_norms(Prior(net, {"conv1": 1.0}, gates=Gates(gains={"norm1": gain})), given=True)["norm1"].max()
        for gain in (1e-6, 1e3)
    ]
    np.testing.assert_allclose(kept, [4 / 6 * 3 / 4, 5 / 6])


class OfAverage(nn.Module):
    """The average over all positions of a function of a norm."""

    def __init__(self, norm: nn.Module, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(8, 4, 3, bias=False), norm, nn.Linear(4, 4, bias=False)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.function(self.norm(self.stem(x))).mean((2, 3)))


FUNCTIONS = {
    "relu": torch.relu,
    "abs": torch.abs,
    "tanh": torch.tanh,
    "silu": functional.silu,
    "of a shift": lambda y: torch.relu(2 * y + 1),
    "gate on gate": lambda y: functional.silu(functional.leaky_relu(y, 0.2)),
}


@pytest.mark.parametrize("norm", [lambda: nn.InstanceNorm2d(4), lambda: nn.GroupNorm(2, 4)], ids=["instance", "group"])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_an_average_of_what_a_norm_gives_loses_its_variance_too(function, norm):
    """400 draws; without the part along the values a ReLU measures 0.35 of the prediction, a SiLU 0.05 (instance norm)."""
    factory = partial(OfAverage, norm(), function)
    found = measure(factory, (8, 10, 10), draws=400, seed=1).mean.mean() / predict(factory, (8, 10, 10)).squared.mean()
    assert found == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("function", [torch.square, functional.softplus, functional.hardswish])
def test_an_average_that_a_norm_holds_is_refused(function):
    with pytest.raises(AssumptionError, match=r"its average follows the mean and the variance .* norm holds"):
        predict(partial(OfAverage, nn.InstanceNorm2d(4), function), (8, 10, 10))
    assert predict(partial(OfAverage, nn.GroupNorm(2, 4), function), (8, 10, 10)).squared.all()


class OfChannels(nn.Module):
    """The average over all channels of a function of a norm, at each position or over all."""

    def __init__(self, norm: nn.Module, function: Callable[[torch.Tensor], torch.Tensor], axes: tuple[int, ...]) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(8, 16, 3, bias=False), norm, nn.Conv2d(1, 4, 1, bias=False)
        self.function, self.axes = function, axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        y = self.norm(y.movedim(1, 3)).movedim(3, 1) if isinstance(self.norm, nn.LayerNorm | nn.RMSNorm) else self.norm(y)
        return self.head(self.function(y).mean(self.axes, keepdim=True))


OVER = {
    "layer": (lambda: nn.LayerNorm(16), (1,)),
    "layer, all": (lambda: nn.LayerNorm(16), (1, 2, 3)),
    "group, all": (lambda: nn.GroupNorm(4, 16), (1, 2, 3)),
    "rms": (lambda: nn.RMSNorm(16, eps=1e-5), (1,)),
}


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("function", [torch.relu, torch.tanh], ids=["relu", "tanh"])
def test_an_average_over_channels_loses_the_whole_mean_and_variance(function, over):
    """400 draws; a ReLU measured 0.17 to 0.2 of its prediction."""
    norm, axes = OVER[over]
    factory = partial(OfChannels, norm(), function, axes)
    found = measure(factory, (8, 6, 6), draws=400, seed=1).mean.mean() / predict(factory, (8, 6, 6)).squared.mean()
    assert 0.75 < found < 1.35


@pytest.mark.parametrize("over", ["layer", "layer, all", "group, all"])
def test_the_average_over_channels_of_a_norm_is_constant(over):
    norm, axes = OVER[over]
    with pytest.raises(AssumptionError, match=r"norm: its average .* which norm holds, .*: 0 of the squared gradient is left"):
        predict(partial(OfChannels, norm(), lambda y: y, axes), (8, 6, 6))
    uneven = norm()
    nn.init.uniform_(uneven.weight)
    assert predict(partial(OfChannels, uneven, lambda y: y, axes), (8, 6, 6)).squared.all()


class Windows(nn.Module):
    """Four positions as channels of one, as where patches are merged."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)


def test_a_norm_over_merged_windows_sees_the_inputs_of_all_of_them():
    def layer_norm() -> nn.Module:
        read = nn.Sequential(nn.Conv2d(3, 16, 1, padding=1, bias=False), Windows(), ChannelNorm(64))
        return nn.Sequential(read, nn.Flatten(), nn.Linear(64 * 9, 2))

    found = predict(layer_norm, (3, 4, 4)).relative
    truth = measure(layer_norm, (3, 4, 4), draws=1000, seed=0).mean
    np.testing.assert_allclose(found, truth / truth.mean(), rtol=0.25)
    assert found[0, 0] > 5 * found[1, 1]  # of 3 inputs, not 12
