"""Products of products, against Monte Carlo of narrow networks and moments written out."""

from functools import partial

import numpy as np
import pytest
from torch import nn

from landscape import predict
from landscape.warrant.nested_products import MOST_NESTED, _moment, more_of_nested_products
from lattice import Activation, Add, AssumptionError, Conv, Input, Lattice, Multiply, Node, Norm
from validation import measure


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


@pytest.mark.parametrize("inputs", [1, 3])
def test_nested_products_of_few_inputs_are_refused(inputs):
    """Without the refusal 400 and 77 times the prediction is measured, which stated 6.7 at most."""
    with pytest.raises(AssumptionError, match="mul_2: a product of products of one signal"):
        predict(partial(Nested, inputs, 4, 1), (inputs, 5, 5))


@pytest.mark.parametrize(("gate", "skip"), [(nn.Identity, False), (nn.ReLU, False), (nn.Sigmoid, False), (nn.Identity, True)])
def test_nested_products_of_more_inputs_lie_within_their_size(gate, skip):
    factory = partial(Nested, 3, 8, 3, gate, skip)
    land = predict(factory, (3, 5, 5))
    found = measure(factory, (3, 5, 5), draws=1000, inputs_per_draw=4).mean.mean() / land.squared.mean()
    assert land.scale_range[0] < found < land.scale_range[1]


def chain_of_products(*between, inputs=1):
    """x, then two times a product of two layers of what stands below, after the ops `between` them."""
    nodes = [Node("input", Input((inputs, 6))), Node("stem", Conv(4, 1), (0,))]
    for name in ("one", "two"):
        below = len(nodes) - 1
        nodes += [Node(f"{name}{i}", Conv(4, 1), (below,)) for i in range(2)]
        nodes += [Node(name, Multiply(), (len(nodes) - 2, len(nodes) - 1))]
        for op in between if name == "one" else ():
            nodes += [Node(f"{name}op", op, (len(nodes) - 1,) if not isinstance(op, Add) else (len(nodes) - 1, below))]
    return Lattice(tuple(nodes))


@pytest.mark.parametrize("op", [Norm("layer"), Activation("sigmoid"), Add()])
def test_what_holds_the_size_of_a_signal_ends_a_product(op):
    assert more_of_nested_products(chain_of_products())[0] > MOST_NESTED
    assert more_of_nested_products(chain_of_products(op))[0] == 1


def test_a_square_of_a_square_has_four_factors():
    layers = [Conv(4, 1), Activation("square"), Conv(4, 1), Activation("square")]
    assert more_of_nested_products(Lattice.chain((1, 6), layers))[0] > MOST_NESTED
    assert more_of_nested_products(Lattice.chain((1, 6), layers[:2]))[0] == 1


def test_moments_of_the_size_are_those_of_draws():
    draw = np.random.default_rng(0)
    size = draw.chisquare(5, 10**6) / 5
    assert _moment(3, 5) == pytest.approx((size**3).mean(), rel=0.02)
