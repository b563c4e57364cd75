"""Train-mode BatchNorm: the corrected Lemma 2 against Monte Carlo, and the printed one beside it."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import lecun, predict
from landscape.batchnorm import dropout_gains, eq19, eq23, train_factors
from lattice import (
    Activation,
    AssumptionError,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Lattice,
    Norm,
    Pad,
    SpecificationError,
    UnsupportedError,
    residual,
)
from validation import compare, measure

relu = Activation("relu")
HEAD = [Flatten(), Dense(4)]


def block(stride=1, channels=16):
    return [Conv(channels, 3, stride, padding=1), Norm(), relu]


CHAIN = Lattice.chain((2, 16), [*block(), *block(2), *block(), *HEAD])
POST = Lattice.chain(
    (2, 16), [*block(), *[p for _ in range(2) for p in (residual([*block(), Conv(16, 3, padding=1), Norm()]), relu)], *HEAD]
)


@pytest.mark.parametrize("net", [CHAIN, POST], ids=["chain", "residual"])
def test_the_corrected_lemma_holds_at_a_batch_of_16(net):
    estimate = measure(net, draws=1200, seed=0, mode="train", inputs_per_draw=16, initialisation=lecun)
    agreement = compare(predict(net, mode="train", batch=16, initialisation=lecun), estimate)
    assert agreement.error < 0.02
    assert abs(agreement.scale_ratio - 1) < 0.08
    assert compare(predict(net, initialisation=lecun), estimate).scale_ratio > 3  # the law of evaluation mode is not it


def test_the_printed_lemma_misses_map_and_scale():
    net = Lattice.chain((2, 16), [*block(), *block(), *block(), *block(), *HEAD])
    estimate = measure(net, draws=1000, seed=0, mode="train", inputs_per_draw=16)
    right = predict(net, mode="train", batch=16).squared
    printed = eq19(net, batch=16)

    def error(found):
        return np.sqrt(np.mean((found / found.mean() - estimate.mean / estimate.mean.mean()) ** 2))

    assert error(right) < 0.03
    assert error(printed) > 0.08
    assert printed.mean() / estimate.mean.mean() > 20


def test_the_variance_of_the_weights_cancels():
    net = Lattice.chain((2, 16), [*block(), *block()])
    first, second = (predict(net, mode="train", initialisation=v).squared for v in (0.1, 7.0))
    np.testing.assert_allclose(first, second, rtol=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_one_layer_is_torchs_own_variance(seed):
    """V[a] of a wide layer, borders included, is the mean over channels of torch's batch variance."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv1d(4, 512, 3, padding=1, bias=False), nn.BatchNorm1d(512))
    x = torch.randn(400, 4, 9)
    inverse = 1 / model[0](x).var(dim=(0, 2), correction=0)
    net = Lattice.chain((4, 9), [Conv(512, 3, padding=1), Norm()])
    variance = model[0].weight.square().mean().item()
    factor = train_factors(net, {"conv1": variance}, batch=400)["norm1"]
    assert factor == pytest.approx(1 / (1 / inverse).mean().item(), rel=0.01)


def test_what_padding_adds_to_a_batch_has_no_level():
    """Half of the positions are padding: power v/2 and level (v / 2 pi)^(1/2) at the others, so V[a] = v/4 - v/(8 pi)."""
    net = Lattice.chain((1, 4), [Conv(64, 1), relu, Pad(2), Norm()])
    factor = train_factors(net, {"conv1": 3.0}, batch=10)["norm1"]
    assert factor == pytest.approx(79 / 80 / (3 / 4 - 3 / (8 * np.pi)))


def test_a_torch_model_in_train_mode_ignores_its_running_statistics():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(512, 4)
    )
    before = predict(model, (3, 8, 8), mode="train", batch=8)
    with torch.no_grad():
        model[1].running_var.fill_(100.0)
        model[1].running_mean.fill_(3.0)
    after = predict(model, (3, 8, 8), mode="train", batch=8)
    assert (before.squared == after.squared).all()
    evaluated = predict(model, (3, 8, 8))
    assert evaluated.squared.mean() < before.squared.mean() / 50
    assert any("batch norm in train mode" in reason for reason in before.reasons)


def test_dropout_raises_the_second_moment():
    assert dropout_gains(Lattice.chain((1, 9), [Conv(2, 3), Dropout(0.2)])) == {"dropout1": 1.25}
    plain, dropped = (
        predict(Lattice.chain((1, 9), [Conv(2, 3), *more, Flatten(), Dense(1)]), mode="train").squared
        for more in ([], [Dropout(0.5)])
    )
    np.testing.assert_allclose(dropped, 2 * plain)


@pytest.mark.parametrize(
    ("net", "options", "error", "message"),
    [
        (Lattice.chain((1, 9), [Conv(2, 3), Norm(), GlobalPool()]), {"batch": 1}, AssumptionError, "gradient is exactly 0"),
        (Lattice.chain((1, 3), [Conv(2, 3), Norm()]), {"batch": 1}, SpecificationError, "one value, which has no variance"),
        (CHAIN, {"batch": 0}, SpecificationError, "batch is 0"),
        (CHAIN, {"inputs": np.zeros((1, 2, 16))}, UnsupportedError, "batch statistics of given images"),
    ],
    ids=["zero", "one value", "batch 0", "inputs"],
)
def test_where_it_cannot_hold_it_says_so(net, options, error, message):
    with pytest.raises(error, match=message):
        predict(net, mode="train", **options)


def test_the_gradient_is_zero_where_that_is_said():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.AdaptiveAvgPool1d(1)).double()
    x = torch.randn(1, 1, 9, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x).square().sum() + model(x).sum(), x)
    assert gradient.abs().max() < 1e-12


def test_printed_equations_are_refused_where_they_mean_nothing():
    with pytest.raises(SpecificationError, match="multiplies ratios at one index i"):
        eq19(Lattice.chain((1, 9), [*block(2), *block()]), batch=8)
    with pytest.raises(SpecificationError, match="is not a norm"):
        eq23(CHAIN, "conv1", batch=8)
