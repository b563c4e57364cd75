"""Mixings of tokens and channels as people write them: what is read is the model, and the map is what is drawn."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape.tracing.trace import trace
from lattice import Attention, Conv, UnsupportedError
from tests.landscape.tracing.aten.mixing_models import MODELS, ByDistance, Context, OverChannels, Separable

SHAPE = (3, 8, 8)
DRAWS = 400


def drawn(make):
    """Maps of many draws by plain autograd, (draws, 8, 8): mean over channels and inputs of the squared gradient."""
    maps = np.empty((DRAWS, *SHAPE[1:]))
    for draw in range(DRAWS):
        torch.manual_seed(draw)
        model, x = make().eval(), torch.randn(4, *SHAPE, requires_grad=True)
        output = model(x)
        (gradient,) = torch.autograd.grad((output * torch.randn_like(output).sign()).sum(), x)
        maps[draw] = gradient.double().square().mean((0, 1)).numpy() / output[0].numel()
    return maps


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_the_map_of_a_mixing_is_that_of_many_draws(kind, monkeypatch):
    """Within 10 % of what nearly all paths through the mixing give, beside what 400 draws leave open."""
    monkeypatch.setattr(kind, "skip", 0.01)
    land = landscape.predict(lambda: kind(readout="corner"), SHAPE)
    assert not land.traced.unproven
    maps = drawn(lambda: kind(readout="corner"))
    halves = [part.mean(axis=0) / part.mean() for part in (maps[::2], maps[1::2])]
    noise = np.sqrt(((halves[0] - halves[1]) ** 2).mean()) / 2
    error = np.sqrt(((maps.mean(axis=0) / maps.mean() - land.relative) ** 2).mean())
    assert land.relative.std() > 0.5  # there is a map to be found
    assert np.sqrt(max(error**2 - noise**2, 0)) < 0.1
    assert 0.75 < maps.mean() / land.squared.mean() < 1.35


def test_a_context_by_a_softmax_is_attention_whose_logits_are_given():
    torch.manual_seed(0)
    net = trace(Context(), SHAPE, initialisation="weights").lattice
    (node,) = [node for node in net.nodes if isinstance(node.op, Attention)]
    assert net.input_shapes(node) == ((16, 4, 4), (16, 1, 1))  # values, and a logit for each of 16 positions at one query


def test_separable_attention_is_the_same_written_as_a_sum():
    torch.manual_seed(0)
    net = trace(Separable(), SHAPE, initialisation="weights").lattice
    assert sum(isinstance(node.op, Attention) for node in net.nodes) == 1


def test_attention_between_channels_has_them_as_positions():
    torch.manual_seed(0)
    net = trace(OverChannels(), SHAPE, initialisation="weights").lattice
    (node,) = [node for node in net.nodes if isinstance(node.op, Attention)]
    assert set(net.input_shapes(node)) == {(32, 8)}  # two heads times 16 positions; 8 channels of a head


def test_equal_rows_of_a_fixed_matrix_are_one_unit():
    """Seven distances between four columns: seven units, whichever places read them."""
    torch.manual_seed(0)
    net = trace(ByDistance(), SHAPE, initialisation="weights").lattice
    assert [node.op.channels for node in net.nodes if isinstance(node.op, Conv) and node.name.startswith("einsum")] == [7]


class Times(nn.Module):
    """A signal times a parameter, as a product of matrices."""

    def __init__(self, times):
        super().__init__()
        self.times, self.weight = times, nn.Parameter(torch.randn(6, 8) / 8**0.5)

    def forward(self, x):
        return self.times(x, self.weight)


PRODUCTS = [
    lambda x, w: x @ w.T,
    lambda x, w: (w @ x.mT).mT,
    lambda x, w: torch.einsum("bnc,oc->bno", x, w),
    lambda x, w: torch.einsum("oc,bnc->bno", w, x),
]


@pytest.mark.parametrize("times", PRODUCTS, ids=["matmul", "on-the-left", "einsum", "einsum-turned"])
def test_a_product_with_a_parameter_is_a_layer_with_its_weights(times):
    land = landscape.predict(lambda: Times(times), (5, 8))
    (name,) = land.traced.variances
    assert land.traced.variances[name] == pytest.approx(1 / 8, rel=0.05)
    assert not land.traced.doubts  # a transposed parameter has independent entries like any other


@pytest.mark.parametrize(
    ("mix", "reason"),
    [
        (lambda x: x.softmax(1) * x, "shares of a softmax"),
        (lambda x: x.softmax(1), "shares of a softmax"),
        (lambda x: functional.pad(x, (1, 1), value=-torch.inf).mean(2), "padded with -inf"),
        (lambda x: functional.max_pool1d(functional.pad(x, (1, 1), value=-torch.inf), 3, 1, 1), "a padding of its own"),
        (lambda x: x[:, 0] @ x[0, 0], "vector"),
        (lambda x: torch.einsum("bcn,bcn->b", x, x), "sums over one axis"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(mix, reason):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv1d(2, 4, 3)

        def forward(self, x):
            return mix(self.layer(x))

    with pytest.raises(UnsupportedError, match=reason):
        trace(Own(), (2, 9))
