"""Products of products, against Monte Carlo of narrow networks and moments written out: how much rare draws are worth."""

from functools import partial
from math import exp, log, prod

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict
from landscape.prior import Prior
from landscape.warrant.nested_products import MOST_GROWTH, _moment, growth_of_products
from landscape.weights.initialisation import he, layer_variances
from lattice import Activation, Add, AssumptionError, Conv, Input, Lattice, Multiply, Node, Norm
from validation import measure


def growth(lattice, train=False):
    return growth_of_products(Prior(lattice, layer_variances(lattice, he)), train)


class Nested(nn.Module):
    """Products of two convolutions of the product below, two times; `gate` over the first factor, `skip` around each."""

    def __init__(self, inputs, channels, kernel, gate=nn.Identity, skip=False):
        super().__init__()

        def conv(channels_in, channels_out):
            return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False)

        self.stem, self.gate, self.skip = conv(inputs, channels), gate(), skip
        self.firsts = nn.ModuleList(conv(channels, channels) for _ in range(2))
        self.seconds = nn.ModuleList(conv(channels, channels) for _ in range(2))

    def forward(self, x):
        y = self.stem(x)
        for first, second in zip(self.firsts, self.seconds, strict=True):
            product = self.gate(first(y)) * second(y)
            y = y + product if self.skip else product
        return y


class Gate(nn.Module):
    """Half of the channels times the other half, on a skip or not."""

    def __init__(self, channels: int, scale: float = 0.0) -> None:
        super().__init__()
        self.above, self.below = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, 2 * channels, 1)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.below(x).chunk(2, 1)
        found = self.above(one * other)
        return x + self.scale * found if self.scale else found


def gates(number, channels=8, norm=False, scale=0.0):
    def model():
        blocks = [part for _ in range(number) for part in ([nn.GroupNorm(1, channels)] * norm, [Gate(channels, scale)])]
        layers = [nn.Conv2d(3, channels, 3, padding=1), *(layer for block in blocks for layer in block)]
        found = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * channels, 2))
        for layer in found.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
        return found

    return model


@pytest.mark.parametrize("inputs", [1, 3])
def test_nested_products_of_few_inputs_are_refused(inputs):
    """Without the refusal 400 and 77 times the prediction is measured, which stated 6.7 at most."""
    with pytest.raises(AssumptionError, match="mul_2: a product of products of one signal"):
        predict(partial(Nested, inputs, 4, 1), (inputs, 5, 5))


@pytest.mark.parametrize(("gate", "skip"), [(nn.Identity, False), (nn.ReLU, False), (nn.Sigmoid, False), (nn.Identity, True)])
def test_nested_products_of_more_inputs_lie_within_their_size(gate, skip):
    factory = partial(Nested, 3, 8, 3, gate, skip)
    land = predict(factory, (3, 5, 5), check=False)
    found = measure(factory, (3, 5, 5), draws=1000, inputs_per_draw=4).mean.mean() / land.squared.mean()
    assert land.scale_range[0] < found < land.scale_range[1]


def test_products_of_products_are_covered_or_refused():
    land = predict(gates(2), (3, 4, 4), check=False)
    more, names = growth_of_products(land.traced)
    assert names == ("2.mul",)
    found = measure(gates(2), (3, 4, 4), draws=600, seed=0).mean.mean() / land.squared.mean()
    assert 1.3 < more < MOST_GROWTH
    assert max(found, more) < land.scale_range[1]
    with pytest.raises(AssumptionError, match=r"2.mul, 3.mul, 4.mul: a product of products of one signal grows"):
        predict(gates(4, scale=1.0), (3, 4, 4))


@pytest.mark.parametrize("options", [{"norm": True}, {"scale": 0.01}])
def test_norms_and_small_branches_hold_the_size(options):
    assert log(growth_of_products(predict(gates(4, **options), (3, 4, 4)).traced).factor) < 0.05


def test_one_product_grows_by_nothing():
    assert growth_of_products(predict(gates(1, channels=2), (3, 4, 4)).traced) == (1, ())


def chain_of_products(*between, inputs=1, channels=4):
    """x, then two times a product of two layers of what stands below, after the ops `between` them."""
    nodes = [Node("input", Input((inputs, 6))), Node("stem", Conv(channels, 1), (0,))]
    for name in ("one", "two"):
        below = len(nodes) - 1
        nodes += [Node(f"{name}{i}", Conv(channels, 1), (below,)) for i in range(2)]
        nodes += [Node(name, Multiply(), (len(nodes) - 2, len(nodes) - 1))]
        for number, op in enumerate(between if name == "one" else ()):
            nodes += [Node(f"op{number}", op, (len(nodes) - 1,) if not isinstance(op, Add) else (len(nodes) - 1, below))]
    return Lattice(tuple(nodes))


def moment(k, n):
    return prod(1 + 2 * i / n for i in range(k))


@pytest.mark.parametrize(("inputs", "channels"), [(1, 16), (3, 16), (40, 48)])
def test_each_layer_counts_as_often_as_it_stands_in_a_chain(inputs, channels):
    """Four times the stem, and twice each of the two layers that one factor alone reads."""
    stem = moment(4, max(inputs, channels))
    expected = moment(3, inputs) * (1 + 3 / inputs) * stem * moment(2, channels) ** 2
    more, names = growth(chain_of_products(inputs=inputs, channels=channels))
    assert more == pytest.approx(expected)
    assert names == ("two",)


@pytest.mark.parametrize("op", [Norm("layer"), Activation("sigmoid")])
def test_what_holds_the_size_of_a_signal_ends_a_product(op):
    assert growth(chain_of_products()).factor > MOST_GROWTH
    assert growth(chain_of_products(op)) == (1, ())


def test_a_sum_grows_as_its_branches_do():
    assert 1 < growth(chain_of_products(Add())).factor < growth(chain_of_products()).factor


def test_bounded_functions_hold_the_size_on_skips_alone():
    """In a chain all of the few values may be small, where a tanh is its argument."""
    assert growth(chain_of_products(Activation("tanh"))).factor > MOST_GROWTH
    assert growth(chain_of_products(Activation("tanh"), Add())) == (1, ())


def test_a_batch_norm_in_training_mode_holds_the_size_on_skips():
    net = chain_of_products(Norm("batch"), Add(), channels=4)
    assert growth(net, train=True).factor < growth(net).factor


class Star(nn.Module):
    """A block of StarNet: ReLU6 of one layer times another one, on a skip."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 1) for _ in range(2))
        self.above = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x):
        one, other = (layer(x) for layer in self.layers)
        return x + self.above(nn.functional.relu6(one) * other)


def test_blocks_of_starnet_are_answered():
    def net():
        blocks = (part for _ in range(6) for part in (nn.BatchNorm2d(16), Star(16)))
        return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *blocks)

    assert predict(net, (3, 6, 6)).scale_range[1] < 20


def test_a_square_of_a_square_has_four_factors():
    layers = [Conv(4, 1), Activation("square"), Conv(4, 1), Activation("square")]
    assert growth(Lattice.chain((1, 6), layers)).factor > MOST_GROWTH
    assert growth(Lattice.chain((1, 6), layers[:2])) == (1, ())


def test_moments_of_the_size_are_those_of_draws():
    draw = np.random.default_rng(0)
    size = draw.chisquare(5, 10**6) / 5
    assert exp(_moment(3, 5)) == pytest.approx((size**3).mean(), rel=0.02)


def test_deep_networks_are_followed_without_recursion():
    nodes = list(chain_of_products().nodes)
    for i in range(1500):
        nodes.append(Node(f"more{i}", Conv(4, 1), (len(nodes) - 1,)))
    lattice = Lattice(tuple(nodes))
    variances = dict.fromkeys(lattice.names, 1 / 4)
    assert growth_of_products(Prior(lattice, variances)).factor == pytest.approx(growth(chain_of_products()).factor)
