"""Every operation that has a rule: the lattice of a model, built again with its weights, computes what the model computes."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lattice
from landscape import trace
from lattice import Conv, Multiply, Norm, UnsupportedError
from validation.montecarlo.build import build


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Beside(nn.Module):
    """Layers that read one input, their outputs flattened side by side: one trace serves them all."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layer if isinstance(layer, nn.Module) else Function(layer) for layer in layers)

    def forward(self, x):
        return torch.cat([layer(x).flatten(1) for layer in self.layers], 1)


def skip_unless_torch_exports(model, shape):
    """Torch 2.6 and 2.7 end in an IndexError of their own over norms without running statistics."""
    try:
        torch.export.export(model.eval(), (torch.zeros(1, *shape),), strict=False)
    except IndexError:
        pytest.skip("this torch cannot export it")


def rebuilt(model, shape):
    """The lattice of a model as a module, with the weights of the layers of the same names."""
    net = trace(model, shape, initialisation=1.0).lattice
    module = build(net, 1.0)
    for name, weight in module.weights().items():
        weight.data = model.get_submodule(name.removesuffix("_2")).weight.detach().reshape(weight.shape)
    return module


def assert_computes_the_same(shape, *layers):
    model = Beside(*layers).eval()
    x = 4 * torch.randn(2, *shape, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = rebuilt(model, shape).double()(x)
        for layer in model.double().layers:
            truth = layer(x).flatten(1)
            torch.testing.assert_close(found[:, : truth.shape[1]], truth, msg=lambda text, layer=layer: f"{layer}: {text}")
            found = found[:, truth.shape[1] :]
    assert found.shape[1] == 0


LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


LAYERS = [
    pytest.param(
        LINE,
        [
            nn.Conv1d(2, 4, 3, 2, padding=1, dilation=2, groups=2, bias=False),
            nn.Conv1d(2, 3, 4, padding="same", dilation=1, bias=False),
            nn.Conv1d(2, 3, 4, padding="valid", stride=3, bias=False),
            nn.ConvTranspose1d(2, 4, 3, 3, padding=1, output_padding=2, groups=2, bias=False),
            nn.Sequential(nn.Flatten(), nn.Linear(22, 3, bias=False)),
        ],
        id="layers with weights of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.Conv2d(4, 6, (3, 2), (1, 2), padding=(2, 0), dilation=(2, 1), groups=2, bias=False),
            nn.Conv2d(4, 3, (2, 4), padding="same", dilation=(3, 1), bias=False),
            nn.Conv2d(4, 3, (3, 2), padding=(1, 0), padding_mode="reflect", bias=False),
            nn.Conv2d(4, 3, 3, padding=(2, 1), padding_mode="circular", bias=False),
            nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (0, 2), groups=2, bias=False, dilation=(1, 2)),
        ],
        id="layers with weights of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.Conv3d(2, 2, (1, 2, 3), (2, 1, 3), padding=(0, 1, 2), bias=False),
            nn.ConvTranspose3d(2, 1, (1, 2, 3), (2, 1, 1), padding=(0, 0, 1), bias=False),
        ],
        id="layers with weights of three axes",
    ),
    pytest.param(
        LINE,
        [
            nn.MaxPool1d(3, 2, 1, ceil_mode=True),
            nn.AvgPool1d(3, 2, 1, count_include_pad=False),
            nn.AdaptiveAvgPool1d(4),
            nn.AdaptiveMaxPool1d(4),
            lambda x: x.mean(-1),
        ],
        id="pools of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.MaxPool2d((3, 2)),
            nn.MaxPool2d((3, 2), (1, 3), (1, 0), (2, 1)),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.AvgPool2d((3, 2)),
            nn.AvgPool2d(3, (2, 1), (0, 1)),
            nn.AvgPool2d(4, 3, 1, ceil_mode=True, count_include_pad=False),
            nn.AdaptiveAvgPool2d((3, 4)),
            nn.AdaptiveAvgPool2d((1, 4)),
            nn.AdaptiveAvgPool2d(1),
            nn.AdaptiveMaxPool2d((3, 1)),
            nn.AdaptiveMaxPool2d(1),
            lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        ],
        id="pools of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.MaxPool3d((2, 1, 3), (1, 2, 3)),
            nn.AvgPool3d((2, 1, 3), (1, 2, 3), (1, 0, 1)),
            nn.AdaptiveAvgPool3d((2, 3, 1)),
            nn.AdaptiveMaxPool3d((2, 3, 4)),
        ],
        id="pools of three axes",
    ),
    pytest.param(
        LINE,
        [
            nn.ReflectionPad1d((2, 1)),
            nn.ZeroPad1d((3, 0)),
        ],
        id="paddings of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.ReflectionPad2d((2, 1, 0, 3)),
            nn.ReplicationPad2d((1, 3, 2, 0)),
            nn.CircularPad2d((1, 3, 2, 0)),
            lambda x: functional.pad(x, (1, 2, 0, 1), mode="replicate"),
        ],
        id="paddings of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.ReplicationPad3d((2, 1, 0, 3, 1, 0)),
            nn.ZeroPad3d((2, 1, 0, 3, 1, 0)),
            lambda x: functional.pad(x, (1, 2)),
        ],
        id="paddings of three axes",
    ),
    pytest.param(
        LINE,
        [
            nn.Upsample(scale_factor=3),
            nn.Upsample(size=7, mode="linear"),
        ],
        id="resizing of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.Upsample(scale_factor=(2, 3), mode="bilinear"),
            nn.Upsample(size=(3, 15), mode="bilinear", align_corners=True),
            nn.UpsamplingBilinear2d(scale_factor=1.5),
        ],
        id="resizing of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.Upsample(size=(7, 4, 9)),
            nn.Upsample(size=(7, 4, 9), mode="trilinear"),
        ],
        id="resizing of three axes",
    ),
    pytest.param(
        PLANE,
        [
            nn.PixelShuffle(2),
            nn.ChannelShuffle(2),
            nn.Flatten(),
            lambda x: x.mean((2, 3)),
            lambda x: x.mean((-1, -2), keepdim=True),
            lambda x: x[:, 1:3],
            lambda x: x[:, -3:-1],
            lambda x: x[:, :, :],
            lambda x: x.split([1, 2, 1], dim=1)[1],
            lambda x: x.chunk(3, dim=-3)[1],
            lambda x: torch.cat([x[:, 2:], x.relu(), x[:, :1]], dim=-3),
            lambda x: torch.cat([x], dim=1),
            lambda x: x.sigmoid() * x,
            lambda x: x * functional.hardsigmoid(x),
            lambda x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
            lambda x: x.permute(0, 3, 1, 2).relu().permute(0, -2, -1, 1),
            lambda x: x.transpose(1, -1).tanh().transpose(-1, 1),
            lambda x: (x.transpose(1, 2).tanh() + x.transpose(1, 2)).transpose(1, 2),
            lambda x: (x.transpose(1, 2).sigmoid() * x.transpose(1, 2)).transpose(1, 2),
            lambda x: x.clone().contiguous(),
            lambda x: torch.add(x.relu(), x.tanh()),
        ],
        id="views of two axes",
    ),
    pytest.param(
        (6, 3),
        [
            lambda x: x.view(len(x), 3, 2, 3).transpose(1, 2).reshape(len(x), 6, 3),
            lambda x: x.view(len(x), 2, 3, 3).permute(0, 2, 1, 3).reshape(len(x), 6, 3),
            lambda x: x.view(len(x), 2, 3, 3).reshape(len(x), 6, 3),
        ],
        id="channel shuffles",
    ),
]


@pytest.mark.parametrize(("shape", "layers"), LAYERS)
def test_a_layer_is_read_with_all_of_its_options(shape, layers):
    assert_computes_the_same(shape, *layers)


ACTIVATIONS = (
    nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.GELU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh(), nn.Mish(),
    nn.LogSigmoid(), nn.SELU(), nn.Softplus(), nn.Hardtanh(), nn.Hardtanh(0.0, 6.0), nn.LeakyReLU(), nn.LeakyReLU(0.3),
    nn.ELU(), nn.ELU(0.4), nn.CELU(), nn.CELU(0.6), nn.PReLU(), nn.PReLU(4, init=0.3), nn.Dropout(0.9), nn.Dropout1d(),
    nn.AlphaDropout(), nn.FeatureAlphaDropout(), nn.Identity(), torch.abs, lambda x: x.clamp(min=0), lambda x: x.clamp(0, 6),
    lambda x: functional.dropout(x, 0.0),
)  # fmt: skip


def test_activations_are_read_with_their_parameters():
    assert_computes_the_same((4, 5), *ACTIVATIONS)


def test_dropout_keeps_its_probability():
    assert trace(nn.Dropout(0.3), (2, 3)).lattice.nodes[-1].op == lattice.Dropout(0.3)


def test_a_linear_layer_over_a_last_axis_of_channels_is_a_convolution():
    """A linear layer over the last axis is a convolution where that holds the channels."""

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 6, bias=False)

        def forward(self, x):
            return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    assert_computes_the_same(PLANE, Last())
    assert trace(Last(), PLANE).lattice.nodes[-1].op == Conv(6, 1)
    mixing = [nn.Sequential(Function(lambda x: x.transpose(1, 2)), nn.Linear(10, 3, bias=False)), nn.Linear(10, 3, bias=False)]
    assert_computes_the_same(PLANE, *mixing)  # positions stand as channels then


def test_the_first_factor_of_a_product_is_the_larger_one():
    def pooled(x):
        return x.mean((2, 3), keepdim=True)

    products = {
        lambda x: pooled(x) * x: "input",
        lambda x: x * pooled(x): "input",
        lambda x: x[:, :1] * x: "input",
        lambda x: x * x[:, :1].sigmoid(): "input",
        lambda x: pooled(x).sigmoid() * x[:, :1]: "sigmoid",  # either could be: one is larger on one axis each
    }
    for function, trunk in products.items():
        net = trace(Function(function), PLANE).lattice
        assert isinstance(net.nodes[-1].op, Multiply)
        assert net.nodes[net.nodes[-1].inputs[0]].name == trunk


# --- norms, scales and shifts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (nn.BatchNorm2d(4), Norm("batch")),
        (nn.GroupNorm(2, 4, eps=0.3), Norm("group", 2, 0.3)),
        (nn.InstanceNorm2d(4, eps=0.2), Norm("instance", eps=0.2)),
        (nn.LayerNorm([4, 7, 10], eps=0.1), Norm("group", 1, 0.1)),
        (nn.LayerNorm([4, 7, 10], elementwise_affine=False), Norm("group", 1, 1e-5)),
    ],
    ids=str,
)
def test_a_norm_is_read_with_its_axes_and_eps(layer, op):
    skip_unless_torch_exports(layer, PLANE)
    assert trace(layer, PLANE).lattice.nodes[-1].op == op


def test_a_layer_norm_over_the_channels_alone_is_one_of_every_position():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(4, eps=0.1)

        def forward(self, x):
            return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    model = Last()
    nn.init.constant_(model.norm.weight, 0.5)
    found = trace(model, PLANE)
    assert found.lattice.nodes[-1].op == Norm("layer", eps=0.1)
    assert found.factors["norm"] == 0.25
    assert_computes_the_same(PLANE, nn.LayerNorm(10), nn.LayerNorm([7, 10]))  # groups of what stands as channels then


def test_a_number_scales_or_shifts():
    cases = [
        (lambda x: x * 3, 9, False),
        (lambda x: 3 * x, 9, False),
        (lambda x: x / 4, 1 / 16, False),
        (lambda x: -x, 1, False),
        (lambda x: x + 3, 1, True),
        (lambda x: x - 3, 1, True),
        (lambda x: x + 0, 1, False),
        (lambda x: 2 + x, 1, True),
    ]
    found = trace(Beside(*(function for function, _, _ in cases)), (2, 3))
    nodes = [node.name for node in found.lattice.nodes if node.op == Norm("scale")]
    assert [found.factors[name] for name in nodes] == [factor for _, factor, _ in cases]
    assert [name in found.shifted for name in nodes] == [shifted for _, _, shifted in cases]


class Scaled(nn.Module):
    """One parameter, and what is done with it."""

    def __init__(self, value, function):
        super().__init__()
        self.value, self.function = nn.Parameter(torch.tensor(value)), function

    def forward(self, x):
        return self.function(x, self.value)


CHANNELS = [[[1.0]], [[2.0]], [[3.0]], [[0.0]]]


def test_a_parameter_scales_all_channels_or_each():
    values = (0.5, [0.5], [[[0.5]]], CHANNELS)
    functions = (lambda x, p: x * p, lambda x, p: p * x)
    found = trace(Beside(*(Scaled(value, function) for value in values for function in functions)), PLANE)
    truth = [np.square(value).ravel() for value in values for _ in functions]
    for factor, expected in zip(found.factors.values(), truth, strict=True):
        np.testing.assert_allclose(np.ravel(factor), expected)
    last = trace(Scaled([1.0, 2.0, 3.0, 0.0], lambda x, p: (x.permute(0, 2, 3, 1) * p).permute(0, 3, 1, 2)), PLANE)
    (factor,) = last.factors.values()
    np.testing.assert_allclose(factor, [1, 4, 9, 0])


def test_a_parameter_that_is_added_shifts():
    found = trace(Beside(*(Scaled(value, lambda x, p: x + p) for value in (0.5, 0.0, CHANNELS))), PLANE)
    assert list(found.factors.values()) == [1, 1, 1]
    assert [name in found.shifted for name in found.factors] == [True, False, True]


# --- what has no rule -------------------------------------------------------------------------------------------------------


REFUSED = [
    (lambda x: functional.avg_pool2d(x, 2, divisor_override=3), "divisor_override"),
    (lambda x: functional.hardtanh(x, -2.0, 2.0), "clamps to (-2.0, 2.0)"),
    (lambda x: x.clamp(-1, 2), "clamps to (-1, 2)"),
    (lambda x: x.clamp(min=1), "clamps to (1, None)"),
    (lambda x: functional.dropout(x, 0.5, training=True), "drops units in evaluation mode"),
    (lambda x: functional.max_pool2d(x, 3, 1, 1, return_indices=True)[1] * x, "a part of an operation's result"),
    (lambda x: x / x.relu(), "divides by something that is computed"),
    (lambda x: x * x, "such as a square, depends on the data"),
    (lambda x: functional.pad(x, (1, 1), value=2.0), "pads with the constant 2"),
    (lambda x: functional.interpolate(x, scale_factor=1.4), "resizes (7, 10) to (9, 14)"),
    (lambda x: functional.interpolate(x, scale_factor=1.2, mode="bilinear"), "resizes (7, 10) to (8, 12)"),
    (lambda x: functional.softmax(x, 1), "depends on the data"),
    (lambda x: x.exp(), "no rule for it"),
    (lambda x: x.detach(), "it cuts the gradient"),
    (lambda x: x / 0, "divides by zero"),
    (lambda x: x * math.inf, "multiplies by inf"),
    (lambda x: x + math.nan, "adds nan"),
    (lambda x: torch.div(x, 2, rounding_mode="floor"), "a division that rounds has the gradient zero"),
    (lambda x: x // 2, "floor_divide.default: never: its gradient is zero"),
    (lambda x: x.trunc() + x.ceil() + x.sign(), "ceil.default: never: its gradient is zero"),
    (lambda x: x.int(), "a cast to whole numbers has the gradient zero"),
    (lambda x: x * (x > 0), "gt.Scalar: never: its gradient is zero"),
    (lambda x: functional.softplus(x, beta=2), "has beta 2"),
    (lambda x: torch.ops.aten.elu(x, 1.0, 2.0), "has scales of its own"),
]


MOVED = [
    lambda x: x.mean()[None, None],
    lambda x: x.mean(2),
    lambda x: x.mean((1, 2, 3))[:, None],
    lambda x: x.flatten(2),
    lambda x: x.flatten(1, 2),
    lambda x: x.reshape(1, 4, 10, 7),
    lambda x: x.reshape(1, 2, 2, 10, 7),
    lambda x: x.flatten(1).view(1, 280, 1, 1),
    lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 3).reshape(1, 4, 7, 10),
    lambda x: x.view(1, 2, 2, 7, 10).relu(),
    lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 2).reshape(1, 2, 20, 7),
    lambda x: functional.avg_pool2d(x.transpose(1, 2), 2),
    lambda x: x + x[:, :1],
    lambda x: torch.cat([x, x], dim=2),
    lambda x: x.chunk(2, dim=3)[0],
    lambda x: x[:, ::2],
    lambda x: x[:, :, 1:],
    lambda x: functional.pad(x, (1, 1, 1, 1, 1, 1)),
    lambda x: functional.pad(x, (-1, 1)),
    lambda x: x.roll((2, 3), (2, 3)).flip(-1)[..., ::2],
    lambda x: x.movedim(1, -1).view(1, 7, 2, 5, 4).permute(0, 1, 3, 4, 2).flatten(3).permute(0, 3, 1, 2),
    lambda x: torch.cat([x[..., ::2], x[..., 1::2]], 1),
    lambda x: torch.stack([x, x.flip(1)]).sum(0),
    lambda x: functional.pixel_unshuffle(functional.pad(x, (0, 0, 0, 1)), 2),
    lambda x: functional.unfold(x, 3, stride=2).relu(),
    lambda x: functional.pad(x[:, :2], (0, 0, 0, 0, 1, 1)),
    lambda x: x.repeat_interleave(2, 3)[:, [2, 0]],
]


@pytest.mark.parametrize("number", range(len(MOVED)))
def test_what_moves_numbers_is_followed_whatever_it_is(number):
    model = Beside(MOVED[number]).eval()
    traced = trace(model, PLANE)
    assert not traced.unproven  # value and gradient are the model's
    if Norm("scale") in [node.op for node in traced.lattice.nodes]:
        return  # `build` makes no factor
    x = torch.randn(1, *PLANE, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rebuilt(model, PLANE).double()(x), model.double()(x))


@lru_cache
def refusals():
    with pytest.raises(UnsupportedError) as caught:
        trace(Beside(*(function for function, _ in REFUSED)), PLANE)
    return str(caught.value)


@pytest.mark.parametrize("reason", [reason for _, reason in REFUSED])
def test_what_has_no_rule_is_refused_with_its_reason(reason):
    assert reason in refusals()


def test_an_operation_is_refused_once_and_what_depends_on_it_is_not():
    assert refusals().startswith(f"{len(REFUSED) + 2} operations of this model have no rule here:")


def test_slopes_that_differ_from_channel_to_channel_are_refused():
    layer = nn.PReLU(3, init=0.3)
    layer.weight.data[2] = 0.4
    for model in (layer, nn.PReLU(device="meta")):
        with pytest.raises(UnsupportedError, match="slopes that differ"):
            trace(model, (3, 5))


def test_statistics_that_are_not_those_of_evaluation_are_refused():
    skip_unless_torch_exports(nn.BatchNorm1d(2, track_running_stats=False), (2, 5))
    with pytest.raises(UnsupportedError, match="statistics of the batch"):
        trace(nn.BatchNorm1d(2, track_running_stats=False), (2, 5))
    with pytest.raises(UnsupportedError, match="running statistics"):
        trace(nn.InstanceNorm1d(2, track_running_stats=True), (2, 5))


class Filter(nn.Module):
    """A fixed filter over every channel."""

    def __init__(self, taps, channels=2, bias=False, **options):
        super().__init__()
        taps = torch.tensor(taps)
        self.register_buffer("taps", taps.expand(channels, 1, *taps.shape).clone())
        self.register_buffer("bias", torch.ones(channels) if bias else None)
        self.options = options
        self.convolve = getattr(functional, f"conv{taps.ndim}d")

    def forward(self, x):
        return self.convolve(x, self.taps, self.bias, **self.options)


ROW = [0.2, 0.5, 0.3]


def test_a_fixed_filter_is_a_blur():
    square = np.multiply.outer(ROW, ROW)
    lines = [Filter(ROW, groups=2, stride=2, padding=1), Filter(ROW, groups=2), Filter(ROW, groups=2, padding="same")]
    assert_computes_the_same((2, 9), *lines)
    assert_computes_the_same((2, 9, 8), Filter(square.tolist(), groups=2, stride=(2, 1), padding=(0, 1)))
    assert_computes_the_same((2, 4, 5, 6), Filter(np.multiply.outer(square, ROW).tolist(), groups=2, padding=1))


def test_another_fixed_filter_is_refused():
    filters = [
        Filter([0.2, 0.5, 0.4], groups=2),  # its sum is not one
        Filter([0.5, 0.0, 0.5], groups=2),
        Filter(ROW, groups=2, dilation=2),
        Filter(ROW, groups=2, bias=True),
        Filter(ROW, groups=2, channels=4),
    ]
    with pytest.raises(UnsupportedError, match=r"^5 operations"):
        trace(Beside(*filters), (2, 9))
    several = Filter(ROW, groups=2)
    several.taps[1] = torch.tensor([0.3, 0.5, 0.2])
    with pytest.raises(UnsupportedError, match="is a buffer, so fixed"):
        trace(several, (2, 9))


# --- signs, constants, products ---------------------------------------------------------------------------------------------


def read(function, shape=PLANE, **options):
    """The trace of a function or a module, and its ops."""
    torch.manual_seed(0)
    found = trace(function if isinstance(function, nn.Module) else Function(function), shape, **options)
    return found, [node.op for node in found.lattice.nodes[1:]]


def coefficients(found):
    """The factors of a trace with their signs, in the order of the nodes."""
    return [np.sqrt(found.factors[name]) * found.signs.get(name, 1) for name in found.lattice.names if name in found.factors]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x - x.relu(), [-1]),
        (lambda x: torch.sub(x, x.relu(), alpha=0.5), [-0.5]),
        (lambda x: torch.subtract(x, x.relu(), alpha=-2), [2]),
        (lambda x: torch.add(x, x.relu(), alpha=3), [3]),
        (lambda x: x.add(x.relu(), alpha=-1), [-1]),
        (lambda x: torch.rsub(x, x.relu(), alpha=2), [-2]),
        (lambda x: -x.relu(), [-1]),
        (lambda x: x * -0.5, [-0.5]),
        (lambda x: x / -4, [-0.25]),
        (lambda x: 2 * x * 3 / -6 * 5, [-5]),
        (lambda x: x * 4 / 4, []),
    ],
)
def test_coefficients_keep_their_signs(function, expected):
    found, _ = read(function)
    assert coefficients(found) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("function", "factor", "shift"),
    [
        (lambda x: x - 3, 1, -3),
        (lambda x: 3 - x, -1, 3),
        (lambda x: torch.add(x, 3, alpha=2), 1, 6),
        (lambda x: torch.sub(x, 3, alpha=2), 1, -6),
        (lambda x: torch.rsub(x, 3, alpha=2), -2, 3),
        (lambda x: x - torch.tensor(2.0), 1, -2),
        (lambda x: torch.tensor(2.0) - x, -1, 2),
        (lambda x: x + torch.ones(1, 1, 1, 1), 1, 1),
        (lambda x: x - torch.full_like(x, 0.5), 1, -0.5),
    ],
)
def test_shifts_keep_their_signs(function, factor, shift):
    found, (op,) = read(function)
    assert op == Norm("scale")
    assert coefficients(found) == [factor]
    assert [moments.mean for moments in found.shifts.values()] == [shift]


class Fixed(nn.Module):
    """Buffers and parameters, and a function of them and the input."""

    def __init__(self, function):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None])
        self.register_buffer("two", torch.tensor(2.0))
        self.parts, self.function = nn.Parameter(torch.tensor([0.0, 1.0, 2.0, 3.0])), function

    def forward(self, x):
        return self.function(self, x)


MEAN = np.array([0.1, 0.2, 0.3, 0.4])
SHARES = np.exp(np.arange(4)) / np.exp(np.arange(4)).sum()


@pytest.mark.parametrize(
    ("function", "factor"),
    [
        (lambda m, x: x / m.mean, 1 / MEAN),
        (lambda m, x: x / m.two, 0.5),
        (lambda m, x: x / -torch.tensor(2.0), -0.5),
        (lambda m, x: x * torch.tensor(2.0), 2),
        (lambda m, x: x * m.parts.softmax(0)[:, None, None], SHARES),
        (lambda m, x: m.parts.softmax(0)[1] * x, SHARES[1]),
        (lambda m, x: x / (m.parts.relu().sum() + m.two), 1 / 8),
        (lambda m, x: x * (m.parts.exp() / m.parts.exp().sum()).view(1, 4, 1, 1), SHARES),
        (lambda m, x: (x - m.mean) / m.mean, 1 / MEAN),
        (lambda m, x: x * m.parts.new_full((4, 1, 1), 3), 3),
        (lambda m, x: (x.permute(0, 2, 3, 1) / m.mean.flatten()).permute(0, 3, 1, 2), 1 / MEAN),
    ],
)
def test_what_is_computed_from_parameters_and_constants_is_a_factor(function, factor):
    found, _ = read(Fixed(function))
    np.testing.assert_allclose(coefficients(found)[-1] * np.ones(4), factor * np.ones(4), rtol=1e-6)


def test_constants_that_are_written_in_place_have_the_value_that_is_read():
    def written(m, x):
        scale = torch.ones(4, 1, 1)
        scale[1:] = 2.0
        y = x + scale
        scale[0] = 5.0
        return y.relu() * scale

    found, _ = read(Fixed(written))
    np.testing.assert_allclose(found.shifts["add"].mean, [1, 2, 2, 2])
    np.testing.assert_allclose(coefficients(found)[-1], [5, 2, 2, 2])


def test_sums_that_begin_with_zeros_are_sums():
    def gathered(x):
        total = torch.zeros_like(x)
        total += x
        total.add_(x.relu())
        return total

    _, ops = read(gathered)
    assert [type(op).__name__ for op in ops] == ["Norm", "Activation", "Add"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda m, x: m.two / x, "divides by something that is computed from the input"),
        (lambda m, x: functional.conv2d(x, m.parts.view(1, 4, 1, 1) * 2), "computes a weight from other tensors"),
        (lambda m, x: functional.conv2d(x, m.parts.softmax(0).view(1, 4, 1, 1)), "computes a weight from other tensors"),
        (lambda m, x: functional.conv2d(x, x.mean((2, 3), keepdim=True)), "weight depends on the input"),
        (lambda m, x: x.softmax(1), "depends on the data"),
        (lambda m, x: functional.layer_norm(x, (4, 7, 10), torch.rand(4, 7, 10)), "depends on the input or on chance"),
        (lambda m, x: x.erf(), "erf"),
    ],
)
def test_what_is_computed_and_does_not_fit_is_refused_for_that_reason(function, reason):
    with pytest.raises(UnsupportedError, match=reason):
        read(Fixed(function))


def test_buffers_that_a_pass_changes_and_reads_are_refused_others_not():
    def counted(m, x):
        m.two.add_(1)
        return x * m.two

    def kept(m, x):
        m.two.mul_(0.9).add_(x.mean() * 0.1)
        return x * m.mean

    model = Fixed(kept)
    with pytest.raises(UnsupportedError, match="changes two as it runs"):
        read(Fixed(counted))
    np.testing.assert_allclose(coefficients(read(model)[0])[0], MEAN, rtol=1e-6)
    assert model.two == 2


WRITTEN_OUT = {
    "silu": [
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x) * x,
        lambda x: x.mul(x.sigmoid()),
        lambda x: (x.permute(0, 2, 3, 1) * x.permute(0, 2, 3, 1).sigmoid()).permute(0, 3, 1, 2),
    ],
    "hardswish": [
        lambda x: x * functional.relu6(x + 3) / 6,
        lambda x: x * (functional.relu6(x + 3) / 6),
        lambda x: functional.relu6(x + 3).mul(1 / 6) * x,
        lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
        lambda x: x * functional.hardtanh(3 + x, 0.0, 6.0) / 6.0,
        lambda x: x * functional.hardsigmoid(x),
        lambda x: functional.hardsigmoid(x) * x,
    ],
    "mish": [lambda x: x * torch.tanh(functional.softplus(x)), lambda x: functional.softplus(x).tanh() * x],
    "gelu": [
        lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
        lambda x: x * 0.5 * (1.0 + torch.erf(x * 2**-0.5)),
        lambda x: x * (1 + torch.erf(x / 2**0.5)) * 0.5,
        lambda x: (torch.erf(x / 2**0.5) + 1) / 2 * x,
    ],
}


@pytest.mark.parametrize(("name", "function"), [(name, f) for name, functions in WRITTEN_OUT.items() for f in functions])
def test_activations_that_are_written_out_are_known(name, function):
    _, ops = read(nn.Sequential(nn.Conv2d(4, 4, 1), Function(function)), initialisation="he")
    assert ops[1:] == [lattice.Activation(name)]


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_slopes_of_activations_written_out_are_counted_as_torchs_own(name):
    """The slopes of activations that are written out are counted as those of torch's own."""

    def counted(function):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(4, 512, 1), Function(function))
        return trace(model, (4, 2, 2), initialisation="he", inputs="noise").gates.gains

    found, truth = counted(WRITTEN_OUT[name][0]), counted(getattr(functional, name))
    np.testing.assert_allclose(*found.values(), *truth.values(), rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * x,
        lambda x: x.pow(2),
        lambda x: x.square(),
        lambda x: x * x.relu(),
        lambda x: x.tanh() * x.sigmoid(),
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: x * functional.relu6(x + 2) / 6,
        lambda x: x * torch.tanh(functional.softplus(2 * x)),
        lambda x: 0.5 * x * (1 + torch.erf(x / 1.4142)),
        lambda x: 0.5 * x * (1 + torch.erf(x * 2**0.5)),
        lambda x: (x + x.relu()) * x,
        lambda x: (2 * x + 1) * (-x).sigmoid(),
    ],
)
def test_other_products_of_one_signal_are_refused(function):
    with pytest.raises(UnsupportedError, match=r"square|pow"):
        read(nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), Function(function)))


def test_the_order_of_a_product_changes_nothing():
    gates = {
        "of all": lambda x: torch.sigmoid(x[:, :1]),
        "of channels": lambda x: x.mean((2, 3), keepdim=True),
        "of cells": lambda x: functional.avg_pool2d(x, 3, 1, 1),
    }
    for gate in gates.values():
        one, other = read(lambda x: x.relu() * gate(x)), read(lambda x: gate(x) * x.relu())  # noqa: B023
        assert {type(op) for op in one[1]} == {type(op) for op in other[1]}
        assert one[0].lattice.shapes[-1] == other[0].lattice.shapes[-1] == PLANE
        inputs = [found.lattice.nodes[found.lattice.nodes[-1].inputs[0]].name for found, _ in (one, other)]
        assert inputs[0] == inputs[1] or gate is gates["of cells"]


# --- sizes ------------------------------------------------------------------------------------------------------------------


def test_a_pool_of_one_cell_changes_nothing():
    assert read(nn.Sequential(nn.MaxPool2d(1), nn.AvgPool2d(1), nn.AdaptiveMaxPool2d((7, 10)), nn.ReLU()))[1] == [
        lattice.Activation("relu")
    ]
    assert read(nn.MaxPool2d(1, 2))[1] == [lattice.Pool("avg", (1, 1), (2, 2), (0, 0), (1, 1))]


@pytest.mark.parametrize("layer", [nn.MaxPool1d(2, 2, ceil_mode=True), nn.AvgPool1d(3, 4, 1, ceil_mode=True)])
def test_a_window_larger_than_what_it_reads_has_an_output_in_ceil_mode(layer):
    assert_computes_the_same((4, 1), layer)


def test_nearest_resizes_read_the_cells_that_torch_reads():
    """2 to 82 is one of the pairs of sizes where rounding in single precision reads another cell."""
    assert read(nn.Upsample(size=82), (2, 2))[1] == [lattice.Upsample(size=(82,))]
    assert read(nn.Upsample(scale_factor=41), (2, 2))[1] == [lattice.Upsample(size=(82,))]
    assert read(nn.Upsample(scale_factor=1.5), (2, 6))[1] == [lattice.Upsample(size=(9,))]
    with pytest.raises(UnsupportedError, match="do not fit"):
        read(nn.Upsample(scale_factor=1.4), (2, 7))
