"""The networks that people have: torchvision's trace or are refused with reasons, and what they need agrees with torch."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import predict, trace
from lattice import (
    Attention,
    ChannelShuffle,
    Conv,
    GlobalPool,
    Lattice,
    Multiply,
    Node,
    Norm,
    UnsupportedError,
    Upsample,
    path_counts,
)
from lattice.network.ops import Input
from validation.montecarlo.build import build

torchvision = pytest.importorskip("torchvision")

FEW = ("alexnet", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "regnet_y_400mf", "convnext_tiny", "googlenet")
TRANSFORMERS = ("vit_b_16", "swin_t", "swin_v2_t", "maxvit_t")


def classifiers():
    """One builder of every family's every size, but the largest transformers."""
    return [
        name
        for name in torchvision.models.list_models(module=torchvision.models)
        if not name.startswith(("vit", "swin", "maxvit"))
    ]


def traced(name, size):
    with torch.device("meta") if not name.startswith("regnet") else torch.device("cpu"):
        model = torchvision.models.get_model(
            name, weights=None, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})
        )
    return trace(model, (3, size, size), initialisation=lambda op, shape: 1.0)


@pytest.mark.parametrize("name", FEW)
def test_a_family_of_torchvision_traces(name):
    assert traced(name, 64).lattice.output_shape == (1000,)


@pytest.mark.slow
@pytest.mark.parametrize("name", classifiers())
def test_every_convolutional_classifier_of_torchvision_traces(name):
    assert traced(name, 96).lattice.output_shape == (1000,)


def test_a_vision_transformer_traces_and_counts_every_token():
    model = torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=5)
    net = trace(model, (3, 32, 32), initialisation=lambda op, shape: 1.0).lattice
    assert sum(isinstance(node.op, Attention) for node in net.nodes) == 2
    assert (path_counts(net, input_channel=0) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_of_torchvision_trace(name):
    model = torchvision.models.get_model(name, weights=None)
    assert trace(model, (3, 224, 224), initialisation=lambda op, shape: 1.0).lattice.output_shape == (1000,)


def test_a_recurrent_network_is_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x):
            return self.cell(x)[0]

    with pytest.raises(UnsupportedError, match="recurrent layer"):
        trace(Recurrent(), (8, 3))


# --- several outputs --------------------------------------------------------------------------------------------------------


class Segmenter(nn.Module):
    """A fully convolutional net with an auxiliary head, resized to its input as torchvision's are."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.head, self.extra = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        h = self.stem(x)
        heads = {"out": self.head(h), "aux": self.extra(h)}
        return {
            name: functional.interpolate(v, x.shape[-2:], mode="bilinear", align_corners=False) for name, v in heads.items()
        }


def test_one_of_several_outputs_is_chosen_by_name():
    model = Segmenter()
    with pytest.raises(UnsupportedError, match=r"2 tensors, 'out', 'aux'.*output='out'"):
        predict(model, (3, 16, 16))
    with pytest.raises(UnsupportedError, match="output='head' is not one of them"):
        predict(model, (3, 16, 16), output="head")
    whole, aux = predict(model, (3, 16, 16), output="out"), predict(model, (3, 16, 16), output="aux")
    assert whole.lattice.output_shape == aux.lattice.output_shape == (2, 16, 16)
    corner = predict(model, (3, 16, 16), output=("out", (0, 0)))
    assert (corner.squared[:2, :2] > 0).all()
    assert (corner.squared[2:] == 0).all()


# --- the operations that these networks brought ----------------------------------------------------------------------------


class Block(nn.Module):
    """ConvNeXt's: depthwise, channels last, layer norm, two linear layers over the channels, layer scale, skip."""

    def __init__(self):
        super().__init__()
        self.spread = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm = nn.LayerNorm(4, eps=1e-6)
        self.up, self.down = nn.Linear(4, 16), nn.Linear(16, 4)
        self.scale = nn.Parameter(torch.full((4, 1, 1), 0.5))

    def forward(self, x):
        h = self.norm(self.spread(x).permute(0, 2, 3, 1))
        return x + self.scale * self.down(functional.gelu(self.up(h))).permute(0, 3, 1, 2)


def test_channels_last_layers_are_layers_over_channels():
    found = trace(Block(), (4, 6, 6), inputs="noise")
    ops = [node.op for node in found.lattice.nodes]
    assert [op for op in ops if isinstance(op, Conv)] == [Conv(4, (3, 3), (1, 1), (1, 1), (1, 1), 4), Conv(16, 1), Conv(4, 1)]
    assert [op.kind for op in ops if isinstance(op, Norm)] == ["layer", "scale"]
    assert found.factors["mul"] == 0.25
    assert found.gates.gains["gelu"].shape == (1, 6, 6)


class Shuffled(nn.Module):
    def forward(self, x):
        batch, channels, *spatial = x.shape
        return x.view(batch, 3, channels // 3, *spatial).transpose(1, 2).contiguous().view(batch, channels, *spatial)


def test_reshape_transpose_reshape_is_a_channel_shuffle():
    model = nn.Sequential(nn.Conv2d(1, 6, 1), Shuffled())
    assert trace(model, (1, 4, 4)).lattice.nodes[-1].op == ChannelShuffle(3)


def test_a_reshape_that_is_no_channel_shuffle_keeps_its_counts():
    class Mixed(nn.Module):
        def forward(self, x):
            return x.view(1, 3, 2, 4, 4).permute(0, 3, 2, 1, 4).reshape(1, 4, 2, 12)

    net = trace(nn.Sequential(nn.Conv2d(1, 6, 1), Mixed()), (1, 4, 4)).lattice
    assert math.prod(net.output_shape) == 4 * 2 * 12
    assert (path_counts(net) == 6).all()  # every cell is read by six channels, wherever they stand


class Excited(nn.Module):
    """Squeeze and excitation, the gate on either side of the product."""

    def __init__(self, gate_first):
        super().__init__()
        self.conv, self.squeeze, self.gate_first = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 1), gate_first

    def forward(self, x):
        h = self.conv(x)
        gate = torch.sigmoid(self.squeeze(h.mean((2, 3), keepdim=True)))
        return gate * h if self.gate_first else h * gate


@pytest.mark.parametrize("gate_first", [False, True])
def test_a_gate_multiplies_its_trunk_by_what_was_counted(gate_first):
    torch.manual_seed(0)
    model = Excited(gate_first)
    found = trace(model, (1, 8, 8), inputs="noise")
    (product,) = [node for node in found.lattice.nodes if isinstance(node.op, Multiply)]
    assert found.lattice.nodes[product.inputs[0]].name == "conv"
    gain = found.gates.products[product.name, 0]
    assert 0.2 < gain.mean() < 0.3  # sigmoid of about 0
    land, plain = predict(model, (1, 8, 8), gates="measured"), predict(model.conv, (1, 8, 8))
    # the paths through the gate add 4e-4: a sixteenth of a sigmoid's slope squared, over 64 pixels that it averages
    np.testing.assert_allclose(land.squared, plain.squared * gain.mean(), rtol=1e-3)
    assert (land.squared > plain.squared * gain.mean()).all()
    assert any("a product of two signals" in reason for reason in land.reasons)


def test_paths_pass_through_both_factors_of_a_product():
    nodes = (Node("input", Input((2, 4))), Node("conv", Conv(2, 3, padding=1), (0,)), Node("pool", GlobalPool(), (1,)))
    net = Lattice((*nodes, Node("product", Multiply(), (1, 2))))
    trunk = Lattice(nodes[:2])
    pooled = Lattice(nodes)  # four outputs read each of its two: one cell is the factor of four
    assert (path_counts(net) == path_counts(trunk) + 4 * path_counts(pooled)).all()
    gated, alone = build(net, 1.0), build(trunk, 1.0)
    for module in (gated, alone):
        next(module.parameters()).data.fill_(1.0)
    x = torch.ones(1, 2, 4)
    assert torch.equal(gated(x), alone(x) * alone(x).mean(2, keepdim=True))


@pytest.mark.parametrize("size", [3, 5, 7, 8, 13])
@pytest.mark.parametrize("n", [1, 4, 7])
@pytest.mark.parametrize("mode", [("nearest", False), ("linear", False), ("linear", True)])
def test_resizing_is_torchs(n, size, mode):
    name, align = mode
    matrix = Upsample(size=size, mode=name, align_corners=align).windows((n,))[0].matrix(n)
    eye = torch.eye(n, dtype=torch.float64)[None]
    truth = functional.interpolate(eye, size=size, mode=name, align_corners=align if name == "linear" else None)[0].T
    np.testing.assert_allclose(matrix, truth, atol=1e-12)


def test_a_norm_over_the_signal_divides_by_its_variance():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.GroupNorm(8, 64), nn.Conv2d(64, 4, 1))
    with torch.no_grad():
        model[0].weight.mul_(10)
    found = trace(model, (3, 12, 12), inputs="noise")
    noise = torch.randn(50, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    variance = model[0](noise).reshape(50, 8, -1).var(dim=2, correction=0)
    inverse = (1 / variance).mean(dim=1)
    assert abs(found.gates.gains["1"].mean() - inverse.mean().item()) < 5 * inverse.std().item() / 4**0.5  # 4 inputs counted
    assert found.factors["1"] == 1.0
