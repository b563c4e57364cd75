"""Talking heads: layers over the heads of logits and shares are read, and the map is what is drawn."""

import pytest
import torch
from torch import nn

import landscape
from landscape.tracing.trace import trace
from lattice import Attention, UnsupportedError
from tests.landscape.tracing.aten.mixing_models import Mixing
from validation.comparison.compare import compare
from validation.montecarlo.measure import measure

SHAPE = (3, 8, 8)


class Talking(Mixing):
    """Attention of four heads whose logits and shares are mixed by a linear layer, or by a convolution of kernel 1."""

    skip = 0.1

    def __init__(self, conv=False, bias=True, **options):
        super().__init__(**options)
        self.conv, self.qkv, self.after = conv, nn.Linear(16, 48, bias=False), nn.Linear(16, 16, bias=False)
        self.before, self.above = (
            nn.Conv2d(4, 4, 1, bias=bias) if conv else nn.Linear(4, 4, bias=bias) for _ in range(2)
        )  # fmt: skip

    def over_heads(self, layer, x):
        return layer(x) if self.conv else layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def mix(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).reshape(len(x), -1, 3, 4, 4).permute(2, 0, 3, 1, 4)
        shares = self.over_heads(self.above, self.over_heads(self.before, q @ k.mT / 2).softmax(-1))
        mixed = self.after((shares @ v).transpose(1, 2).flatten(2))
        return self.skip * x + mixed.transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("conv", [False, True], ids=["linear", "convolution"])
@pytest.mark.parametrize("bias", [False, True], ids=["without a bias", "with a bias"])
@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
def test_talking_heads_compute_what_the_model_computes(conv, bias, train):
    torch.manual_seed(0)
    traced = trace(Talking(conv, bias), SHAPE, initialisation="weights", train=train)
    assert not traced.unproven
    (node,) = [node for node in traced.lattice.nodes if isinstance(node.op, Attention)]
    assert node.op.heads == 16  # each of four heads of the result with the shares of four


@pytest.mark.parametrize("bias", [False, True], ids=["without a bias", "with a bias"])
def test_the_map_of_talking_heads_is_that_of_many_draws(bias):
    land = landscape.predict(lambda: Talking(bias=bias), SHAPE, gates="theory", check=False)
    found = compare(land, measure(lambda: Talking(bias=bias), SHAPE, draws=1000, seed=0, inputs_per_draw=4))
    low, high = land.scale_range
    assert land.relative.std() > 0.5  # there is a map to be found
    assert found.error < 0.05
    assert found.resolution < 0.12
    assert low < found.scale_ratio < high


def test_layers_over_other_axes_of_shares_are_refused():
    class OverKeys(Talking):
        def over_heads(self, layer, x):
            return x if layer is self.before else self.keys(x)

        def __init__(self):
            super().__init__()
            self.keys = nn.Linear(16, 16)

    with pytest.raises(UnsupportedError, match="another axis of logits or shares"):
        trace(OverKeys(), SHAPE, initialisation="weights")


def test_heads_that_talk_twice_after_the_softmax_are_refused():
    class Twice(Talking):
        def over_heads(self, layer, x):
            return super().over_heads(layer, super().over_heads(layer, x) if layer is self.above else x)

    with pytest.raises(UnsupportedError, match="heads twice"):
        trace(Twice(), SHAPE, initialisation="weights")
