"""Activations, norms, dropouts, sums and numbers are read with their parameters."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import lattice
from landscape import trace
from lattice import Norm, UnsupportedError
from tests.landscape.tracing.models import Beside, Scaled, assert_computes_the_same


def skip_unless_torch_exports(model, shape):
    """Torch 2.6 and 2.7 end in an IndexError of their own over norms without running statistics."""
    try:
        torch.export.export(model.eval(), (torch.zeros(1, *shape),), strict=False)
    except IndexError:
        pytest.skip("this torch cannot export it")


LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


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


CHANNELS = [[[1.0]], [[2.0]], [[3.0]], [[0.0]]]


def test_a_parameter_that_is_added_shifts():
    found = trace(Beside(*(Scaled(value, lambda x, p: x + p) for value in (0.5, 0.0, CHANNELS))), PLANE)
    assert list(found.factors.values()) == [1, 1, 1]
    assert [name in found.shifted for name in found.factors] == [True, False, True]


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
