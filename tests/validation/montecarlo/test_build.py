"""A built network is the lattice: its all-ones Jacobian counts the paths, and each layer is what torch says it is."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from landscape import he
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    SpecificationError,
    UnsupportedError,
    Upsample,
    families,
    path_counts,
)
from lattice.testing.strategies import lattices
from validation import build
from validation.montecarlo.build import draw_weights

COUNTED = (Conv, ConvTranspose, Pad, Norm, Dropout, Slice, ChannelShuffle, PixelShuffle, Upsample)


@settings(max_examples=200)
@given(lattices(ops=COUNTED), st.integers(0, 10))
def test_the_all_ones_jacobian_counts_the_paths(net, channel):
    assume(all(not isinstance(node.op, Pool) and getattr(node.op, "mode", "") != "linear" for node in net.nodes))
    assume(not any(type(node.op).__name__ == "Activation" for node in net.nodes))
    try:
        network = build(net, 1.0, generator=torch.Generator().manual_seed(0)).double()
    except UnsupportedError:
        assume(False)
    with torch.no_grad():
        for weight in network.weights().values():
            weight.fill_(1.0)
    x = torch.ones(1, *net.input_shape, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(x).sum(), x)
    channel %= net.input_shape[0]
    assert (path_counts(net, input_channel=channel).astype(float) == gradient[0, channel].numpy()).all()


@pytest.mark.parametrize("distribution", ["normal", "uniform", "rademacher"])
def test_weights_have_the_variance_that_was_asked_for(distribution):
    net = families.plain((16, 16), depth=2, channels=64)
    network = build(net, he, generator=torch.Generator().manual_seed(1), distribution=distribution)
    weight = network.weights()["conv2"].detach()
    expected = 2 / (64 * 9)
    spread = expected * np.sqrt(2 / weight.numel())  # of the second moment of a normal; less for the others
    assert abs(float(weight.square().mean()) - expected) < 6 * spread
    assert abs(float(weight.mean())) < 6 * np.sqrt(expected / weight.numel())


def test_building_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    build(families.plain(8, depth=2), generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_distribution_that_does_not_exist_is_refused():
    with pytest.raises(SpecificationError, match="'normal', 'uniform' or 'rademacher'"):
        build(families.plain(8, depth=1), distribution="gaussian")


def padded(x, pairs, mode):
    """numpy's padding of the spatial axes."""
    widths = [(0, 0), (0, 0), *pairs]
    names = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}
    return torch.from_numpy(np.pad(x.numpy(), widths, mode=names[mode]))


def image(*shape):
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def built(op, *shape):
    """What the built layer makes of an image, the image, and its weight if there is one."""
    network = build(Lattice.chain(shape, [op]), 0.5, generator=torch.Generator().manual_seed(2)).double()
    x = image(*shape)
    with torch.no_grad():
        return network(x), x, next(iter(network.weights().values()), None)


PAIRS = {2: ((1, 2), (3, 0)), 1: ((1, 2),), 3: ((1, 0), (0, 1), (2, 2))}
SIZES = {1: (9,), 2: (9, 6), 3: (5, 4, 6)}


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate", "symmetric"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_convolution_pads_each_side_of_each_axis_as_it_says(axes, mode):
    convolve = getattr(F, f"conv{axes}d")
    kernel, stride, dilation = (2, 3, 1)[-axes:], (2, 1, 3)[:axes], (1, 2, 1)[:axes]
    options = {"stride": stride, "dilation": dilation, "groups": 2}
    for pairs in (PAIRS[axes], tuple((hi, hi) for _, hi in PAIRS[axes])):
        found, x, weight = built(Conv(6, kernel, padding=pairs, mode=mode, **options), 4, *SIZES[axes])
        torch.testing.assert_close(found, convolve(padded(x, pairs, mode), weight, **options))
        found, x, _ = built(Pad(pairs, mode=mode), 4, *SIZES[axes])
        assert torch.equal(found, padded(x, pairs, mode))


@pytest.mark.parametrize("axes", [1, 2])
def test_a_transposed_convolution_is_torchs(axes):
    kernel, stride, dilation, padding, output_padding = (
        (3, 2)[:axes],
        (2, 3)[:axes],
        (1, 2)[:axes],
        (1, 0)[:axes],
        (1, 2)[:axes],
    )
    op = ConvTranspose(6, kernel, stride, tuple((p, p) for p in padding), output_padding, dilation, groups=2)
    found, x, weight = built(op, 4, *(5, 4)[:axes])
    transposed = getattr(F, f"conv_transpose{axes}d")
    expected = transposed(x, weight, stride=stride, padding=padding, output_padding=output_padding, groups=2, dilation=dilation)
    torch.testing.assert_close(found, expected)


def test_the_largest_output_padding_is_below_the_stride_or_the_dilation():
    for stride, dilation in ((3, 1), (1, 3), (3, 2)):
        found, *_ = built(ConvTranspose(1, 2, stride, output_padding=2, dilation=dilation), 1, 4)
        assert found.shape[2] == 3 * stride + dilation + 1 + 2
        with pytest.raises(UnsupportedError, match="output_padding"):
            built(ConvTranspose(1, 2, stride, output_padding=3, dilation=dilation), 1, 4)
    with pytest.raises(UnsupportedError, match="equally on both sides"):
        built(ConvTranspose(1, (3, 3), 2, padding=((1, 1), (0, 1))), 1, 4, 5)


POOLS = [
    {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"kernel": (2, 5), "stride": (1, 3), "padding": (1, 2), "ceil": True},
    {"kernel": (4, 3), "stride": (3, 2), "padding": (2, 1), "ceil": True},
    {"kernel": 1, "stride": 2},
]


@pytest.mark.parametrize("options", POOLS)
def test_pools_are_torchs(options):
    sizes = {"kernel_size": options["kernel"], "stride": options["stride"], "padding": options.get("padding", 0)}
    ceil_mode = options.get("ceil", False)
    found, x, _ = built(Pool("max", **options), 3, 8, 9)
    assert torch.equal(found, F.max_pool2d(x, **sizes, ceil_mode=ceil_mode))
    for inside in (True, False):
        found, x, _ = built(Pool("avg", **options, count_include_pad=inside), 3, 8, 9)
        torch.testing.assert_close(found, F.avg_pool2d(x, **sizes, ceil_mode=ceil_mode, count_include_pad=inside))
    dilated, x, _ = built(Pool("max", (3, 2), (2, 1), (1, 0), dilation=(2, 3)), 3, 8, 9)
    assert torch.equal(dilated, F.max_pool2d(x, (3, 2), (2, 1), (1, 0), dilation=(2, 3)))


def test_adaptive_and_global_pools_are_torchs():
    for kind, function in (("avg", F.adaptive_avg_pool2d), ("max", F.adaptive_max_pool2d)):
        found, x, _ = built(AdaptivePool(kind, (3, 5)), 2, 8, 7)
        torch.testing.assert_close(found, function(x, (3, 5)))
        found, x, _ = built(GlobalPool(kind), 2, 8, 7)
        torch.testing.assert_close(found.flatten(), function(x, 1).flatten())
    found, x, _ = built(GlobalPool("max"), 2, 8)
    torch.testing.assert_close(found.flatten(), x.amax(dim=2).flatten())


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_a_blur_is_one_filter_on_every_channel(mode):
    pairs, row = ((1, 2), (0, 1)), torch.tensor([1, 2, 4], dtype=torch.float64) / 7
    found, x, _ = built(Blur((1, 2, 4), stride=(2, 3), padding=pairs, mode=mode), 3, 8, 9)
    channels, weight = padded(x, pairs, mode).split(1, dim=1), torch.outer(row, row)[None, None]
    torch.testing.assert_close(found, torch.cat([F.conv2d(channel, weight, stride=(2, 3)) for channel in channels], dim=1))


def test_upsampling_is_interpolation():
    for shape, mode in (((5,), "linear"), ((4, 3), "bilinear"), ((2, 3, 4), "trilinear")):
        sizes = tuple(n * k + 1 for n, k in zip(shape, (2, 1, 3), strict=False))
        for corners in (False, True):
            found, x, _ = built(Upsample(size=sizes, mode="linear", align_corners=corners), 2, *shape)
            torch.testing.assert_close(found, F.interpolate(x, size=sizes, mode=mode, align_corners=corners))
        found, x, _ = built(Upsample(size=sizes), 2, *shape)
        assert torch.equal(found, F.interpolate(x, size=sizes, mode="nearest"))
    found, x, _ = built(Upsample((3, 2)), 2, 4, 5)
    assert torch.equal(found, x.repeat_interleave(3, dim=2).repeat_interleave(2, dim=3))


def test_channels_are_sliced_shuffled_and_unfolded():
    found, x, _ = built(Slice(1, 3), 5, 4)
    assert torch.equal(found, x[:, 1:3])
    found, x, _ = built(ChannelShuffle(2), 6, 4)
    assert torch.equal(found, x[:, [0, 3, 1, 4, 2, 5]])
    found, x, _ = built(PixelShuffle(2), 8, 3, 2)
    assert torch.equal(found, F.pixel_shuffle(x, 2))
    with pytest.raises(UnsupportedError, match="two spatial axes"):
        built(PixelShuffle(2), 8, 3)


def test_inputs_are_added_multiplied_and_joined_in_their_order():
    for op, expected in (
        (Add(), lambda a, b: a + b + a),
        (Concat(), lambda a, b: torch.cat([a, b, a], dim=1)),
        (Multiply(), lambda a, b: a * b),
    ):
        inputs = (0, 1) if isinstance(op, Multiply) else (0, 1, 0)
        nodes = (Node("input", Input((2, 5))), Node("relu", Activation("relu"), (0,)), Node("join", op, inputs))
        x = image(2, 5)
        assert torch.equal(build(Lattice(nodes)).double()(x), expected(x, x.relu()))


def test_in_evaluation_a_norm_is_what_its_kind_says_and_dropout_nothing():
    for axes in (1, 2, 3):
        found, x, _ = built(Norm("batch"), 4, *SIZES[axes])
        torch.testing.assert_close(found, x)
    found, x, _ = built(Norm("scale"), 4, 5)
    assert torch.equal(found, x)
    found, x, _ = built(Dropout(0.7), 4, 5)
    assert torch.equal(found, x)
    for op, axes, view in (
        (Norm("layer", eps=0.3), 1, (2, 4, 30)),
        (Norm("group", groups=2, eps=0.3), 2, (2, 2, 60)),
        (Norm("instance", eps=0.3), 2, (2, 4, 30)),
    ):
        found, x, _ = built(op, 4, 5, 6)
        parts = x.reshape(view)
        centred = parts - parts.mean(dim=axes, keepdim=True)
        expected = centred / (parts.var(dim=axes, correction=0, keepdim=True) + 0.3).sqrt()
        torch.testing.assert_close(found, expected.reshape(x.shape))


def test_after_a_flatten_there_is_a_norm_and_a_dense_layer_still():
    net = Lattice.chain((2, 3, 2), [Flatten(), Norm("batch"), Dense(4)])
    network, x = build(net, 1.0).double(), image(2, 3, 2)
    torch.testing.assert_close(network(x), x.flatten(1) @ network.weights()["dense1"].T)


def test_activations_are_torchs_with_their_parameter():
    for op, expected in (
        (Activation("abs"), torch.abs),
        (Activation("leaky_relu", 0.3), lambda x: F.leaky_relu(x, 0.3)),
        (Activation("leaky_relu", 0.0), F.relu),
        (Activation("elu", 2.0), lambda x: F.elu(x, 2.0)),
        (Activation("hardswish"), F.hardswish),
        (Activation("logsigmoid"), F.logsigmoid),
    ):
        found, x, _ = built(op, 2, 5)
        torch.testing.assert_close(found, expected(x))
    with pytest.raises(UnsupportedError, match="can be built"):
        built(Activation("snake"), 2, 5)


def test_draw_weights_draws_each_layer_with_the_variance_of_its_name():
    net = Lattice.chain(
        (2, 12), [Conv(50, 3, padding=(0, 2)), Activation("relu"), Conv(40, 3, mode="reflect", padding=1), Flatten(), Dense(9)]
    )
    variances = {"conv1": 4.0, "conv2": 0.25, "dense1": 1e-4}
    network = build(
        lattice=net, initialisation=variances, generator=torch.Generator().manual_seed(0), distribution="rademacher"
    )
    assert list(network.weights()) == list(variances)
    before = {name: weight.detach().clone() for name, weight in network.weights().items()}
    draw_weights(network, variances, torch.Generator().manual_seed(1), "uniform")
    for name, weight in network.weights().items():
        deviation = variances[name] ** 0.5
        torch.testing.assert_close(before[name].unique(), torch.tensor([-deviation, deviation]))
        assert weight.abs().max() <= deviation * 3**0.5 * (1 + 1e-6)
        assert weight.min() < -0.95 * deviation * 3**0.5
        assert weight.max() > 0.95 * deviation * 3**0.5
        # of n uniform numbers the mean and the mean square: to 6 standard deviations
        n = weight.numel()
        assert abs(weight.mean()) < 6 * deviation / n**0.5
        assert abs(weight.square().mean() / deviation**2 - 1) < 6 * 0.9 / n**0.5
        assert abs((before[name] > 0).double().mean() - 0.5) < 3 / n**0.5


def test_without_a_generator_torchs_own_state_draws_the_weights():
    net = Lattice.chain((1, 6), [Conv(2, 3)])
    torch.manual_seed(5)
    first, second = build(net), build(net)
    torch.manual_seed(5)
    again = build(net)
    assert torch.equal(first.weights()["conv1"], again.weights()["conv1"])
    assert not torch.equal(first.weights()["conv1"], second.weights()["conv1"])
    assert not any(part.training for part in first.modules())
    with pytest.raises(SpecificationError, match="generator is 3"):
        build(net, generator=3)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (Pool("avg", 3, 1, padding=((0, 1), (0, 1))), "equally on both sides"),
        (Pool("avg", (3, 3), 1, padding=((1, 1), (1, 0))), "equally on both sides"),
        (Pool("max", (3, 2), 1, padding=((1, 1), (2, 2))), "half its kernel"),
        (Pool("avg", (5, 3), 1, padding=2), "half its kernel"),
        (Pool("avg", 2, 1, dilation=(1, 2)), "dilated average pool"),
    ],
)
def test_what_torch_does_not_have_is_refused_by_name(op, words):
    with pytest.raises(UnsupportedError, match=words):
        built(op, 2, 8, 8)
