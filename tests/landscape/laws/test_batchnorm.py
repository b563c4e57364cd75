"""Train-mode BatchNorm: the corrected Lemma 2 against Monte Carlo, and the printed one beside it."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import lecun, predict
from landscape.laws.batchnorm import dropout_gains, eq19, eq23, train_factors, train_reasons
from landscape.prior import Prior
from lattice import (
    Activation,
    Add,
    AssumptionError,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Lattice,
    Node,
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
    factor = train_factors(Prior(net, {"conv1": variance}), batch=400)["norm1"]
    assert factor == pytest.approx(1 / (1 / inverse).mean().item(), rel=0.01)


def test_what_padding_adds_to_a_batch_has_no_level():
    """Half of the positions are padding: power v/2 and level (v / 2 pi)^(1/2) at the others, so V[a] = v/4 - v/(8 pi)."""
    net = Lattice.chain((1, 4), [Conv(64, 1), relu, Pad(2), Norm()])
    factor = train_factors(Prior(net, {"conv1": 3.0}), batch=10)["norm1"]
    assert factor == pytest.approx(79 / 80 / (3 / 4 - 3 / (8 * np.pi)))


def test_a_torch_model_in_train_mode_ignores_its_running_statistics():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(512, 4)
    )
    before = predict(model, (3, 8, 8), mode="train", batch=8)
    with torch.no_grad():
        model[1].running_var.fill_(100.0)
        model[1].running_mean.fill_(0.3)
    after = predict(model, (3, 8, 8), mode="train", batch=8)
    assert (before.squared == after.squared).all()
    evaluated = predict(model, (3, 8, 8))
    assert evaluated.squared.mean() < before.squared.mean() / 50
    assert any("batch norm in train mode" in reason for reason in before.reasons)


def test_what_reaches_the_output_through_the_statistics_alone_is_refused():
    """The output reads a position of padding, whose own value has no gradient; the mean and the variance of the batch have."""
    layers = [Conv(4, 1), Pad(((2, 0),)), Norm(), Conv(2, 1, 3)]
    with pytest.raises(AssumptionError, match="norm1: what the output reads sees the input only through the mean"):
        predict(Lattice.chain((1, 1), layers), mode="train", batch=8)
    assert not predict(Lattice.chain((1, 1), layers)).squared.any()
    assert predict(Lattice.chain((1, 1), [*layers[:-1], Conv(2, 1)]), mode="train", batch=8).squared.all()


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


def circular(channels, kernel):
    return Conv(channels, kernel, padding=1, mode="circular")


@pytest.mark.parametrize("batch", [2, 5])
def test_factors_divide_by_the_variance_that_each_norm_sees(batch):
    """Without borders: fan_in V[w] under the first norm, fan_in V[w] gamma^2 (1/2 - 1 / 2 pi) under the next, after a ReLU."""
    layers = [circular(4, 3), Norm(), relu, circular(3, 3), Norm(), *HEAD]
    net = Lattice.chain((2, 3, 5), layers)
    own = np.array([0.5, 1.0, 2.0])
    scales = {"norm1": 0.3, "norm2": own}
    given = dict(scales)
    found = train_factors(Prior(net, {"conv1": 0.7, "conv2": 0.2, "dense1": 1.0}, factors=scales), batch=batch)
    samples = batch * 15
    correction = (samples - 1) / samples
    assert isinstance(found["norm1"], float)
    assert found["norm1"] == pytest.approx(correction * 0.3 / (18 * 0.7))
    seen = 36 * 0.2 * 0.3 * (1 / 2 - 1 / (2 * np.pi))
    np.testing.assert_allclose(found["norm2"], correction * own / seen, rtol=1e-9)
    assert scales == given  # what was given stays what it was


def test_other_norms_keep_the_factors_they_were_given():
    net = Lattice.chain((2, 6), [circular(4, 3), Norm("scale"), Norm(), *HEAD])
    found = train_factors(Prior(net, {"conv1": 0.5, "dense1": 1.0}, factors={"norm1": 0.25}), batch=4)
    assert found["norm1"] == 0.25
    assert found["norm2"] == pytest.approx(23 / 24 / (3 * 0.25))
    assert set(train_factors(Prior(net, {"conv1": 0.5, "dense1": 1.0}), batch=4)) == {"norm2"}


@pytest.mark.parametrize("batch", [True, 0, -3, 2.5, "4", None])
def test_a_batch_is_a_number_of_inputs(batch):
    with pytest.raises(SpecificationError, match="it is the number of inputs in a batch"):
        train_factors(Prior(CHAIN, dict.fromkeys(CHAIN.names, 1.0)), batch)
    assert train_factors(Prior(CHAIN, dict.fromkeys(CHAIN.names, 1.0)), np.int64(4))


@pytest.mark.parametrize(("layers", "batch"), [
    ([Conv(2, 3), Norm()], 2),  # two values, of two inputs
    ([Conv(2, 2), Norm()], 1),  # two values, of one input
    ([Conv(2, 2), Norm(), GlobalPool()], 2),
    ([Conv(2, 2), Norm(), GlobalPool("max")], 1),
    ([Conv(2, 2), Norm(), relu, GlobalPool()], 1),
    ([Conv(2, 2), Norm(), Dropout(0.1), relu, GlobalPool()], 1),
    ([Conv(2, 2), Norm(), residual([relu]), GlobalPool()], 1),
    ([Conv(2, 3), Norm("scale"), GlobalPool()], 1),
    ([Conv(2, 2), GlobalPool()], 1),
], ids=str)  # fmt: skip
def test_small_batches_are_taken_where_a_variance_is_left(layers, batch):
    net = Lattice.chain((1, 3), layers)
    found = train_factors(Prior(net, {"conv1": 0.5}), batch=batch)
    if "norm1" in found:
        samples = batch * net.shapes[net.names.index("norm1")][1]
        assert found["norm1"] == pytest.approx((samples - 1) / samples / (0.5 * layers[0].kernel))


@pytest.mark.parametrize("between", [[], [Dropout(0.1)], [Dropout(0.1), Dropout(0.2)]], ids=str)
def test_an_average_over_what_a_batch_of_one_has_normalised_is_refused(between):
    net = Lattice.chain((1, 9), [Conv(2, 3), relu, Conv(2, 3), Norm(), *between, GlobalPool()])
    with pytest.raises(AssumptionError, match="norm1: in a batch of one"):
        train_factors(Prior(net, {"conv1": 1.0, "conv2": 1.0}), batch=1)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_whose_norms_may_take_out_everything_is_refused(batch):
    layers = [Conv(4, 3), Norm(), relu, Conv(4, 3), Norm(), relu]
    net = Lattice.chain((1, 9), [*layers, GlobalPool(), *HEAD])
    with pytest.raises(AssumptionError, match=f"norm1, norm2: in a batch of {batch}.*batch of 3 or more"):
        predict(net, mode="train", batch=batch)
    assert predict(net, mode="train", batch=3).scale_range[0] > 0
    assert predict(Lattice.chain((1, 9), [*layers, *HEAD]), mode="train", batch=batch).scale_range[0] > 0


def test_reasons_name_the_batch_norms_and_small_batches():
    net = Lattice.chain((1, 9), [Conv(4, 3), Norm(), relu, Conv(4, 3), Norm("layer"), Conv(4, 3), Norm()])
    few, many = train_reasons(net, 7), train_reasons(net, 8)
    assert len(few) == 2
    assert len(many) == 1
    for reason in (*few, *many):
        assert "norm1, norm3" in reason
        assert "norm2" not in reason
    assert train_reasons(Lattice.chain((1, 9), [Conv(4, 3), Norm("layer")]), 2) == ()


def windows_that_read(shape, conv):
    """How many taps of all windows read each cell, over the most that read any: the ratio of Eq. 23."""
    outputs = Lattice.chain((1, *shape), [conv]).output_shape[1:]
    ones, weight = torch.ones(1, 1, *outputs), torch.ones(1, 1, *conv.kernel)
    counts = nn.functional.conv_transpose2d(ones, weight, stride=conv.stride, padding=conv.padding)[0, 0].numpy()
    return counts / counts.max(), np.prod(outputs)


def test_the_printed_ratio_is_that_of_windows_that_read_a_cell():
    first, second = (Conv(c, (3, 2), (1, 2), padding=(1, 0)) for c in (4, 3))
    net = Lattice.chain((2, 4, 6), [first, Norm(), relu, second, Norm()])
    ratio, outputs = windows_that_read((4, 6), first)
    above, fewer = windows_that_read((4, 3), second)
    (n, m), rectified = (5 * outputs, 5 * fewer), 1 / 2 - 1 / (2 * np.pi)
    padded = np.zeros((4, 3))
    padded[:, : above.shape[1]] = above
    np.testing.assert_allclose(eq23(net, "norm1", 5), (n - 1) / n * ratio, rtol=1e-6)
    np.testing.assert_allclose(eq23(net, "norm1", 5, input_variance=0.2), (n - 1) / n * ratio / 0.2, rtol=1e-6)
    np.testing.assert_allclose(eq23(net, "norm2", 5), (m - 1) / m * padded / rectified, rtol=1e-6)
    np.testing.assert_allclose(eq23(net, "norm2", 5, input_variance=0.2), (m - 1) / m * padded / 0.2, rtol=1e-6)


def test_the_printed_product_runs_over_all_norms_and_stays_over_positions():
    net = Lattice.chain((2, 5), [*block(), *block(), *block()])
    edge = np.array([2, 3, 3, 3, 2]) / 3
    expected = (79 / 80) ** 3 * edge**3 / (1 / 2 - 1 / (2 * np.pi)) ** 2
    np.testing.assert_allclose(eq19(net, 16), expected, rtol=1e-12)
    assert eq19(Lattice.chain((2, 3, 5), [Conv(2, 3)]), 4).tolist() == np.ones((3, 5)).tolist()


def test_the_printed_ratio_is_about_a_norm_over_a_convolution():
    net = Lattice.chain((1, 8), [Conv(2, 3), relu, Norm(), Conv(2, 3)])
    for name, message in (("norm1", "a norm over a convolution"), ("conv1", "is not a norm"), ("norm7", "is not a norm")):
        with pytest.raises(SpecificationError, match=message):
            eq23(net, name, batch=4)
    assert dropout_gains(net) == {}


@pytest.mark.parametrize("norm", [Norm(), Norm("layer")])
def test_a_norm_over_a_signal_and_itself_dropped_is_refused(norm):
    def net(*top):
        nodes = Lattice.chain((1, 9), [Conv(4, 3), Dropout(0.5)]).nodes
        return (*nodes, Node("sum", Add(), (1, 2)), *top)

    above = (Node("conv2", Conv(4, 3), (3,)), Node("norm", norm, (4,)), Node("conv3", Conv(2, 3), (5,)))
    with pytest.raises(UnsupportedError, match="sum: adds a signal and itself behind a dropout, and norm divides"):
        predict(Lattice(net(*above)), mode="train")
    predict(Lattice(net(*above)))
    predict(Lattice(net(Node("conv2", Conv(4, 3), (3,)))), mode="train")
