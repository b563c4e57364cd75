"""The symmetry of every node's values, against values drawn over every +-1 weight pattern."""

import pytest
import torch

from landscape.gates.functions import FUNCTIONS
from landscape.structure.signs import Sign, activation_gain, node_signs, output_sign, run_signs
from lattice import (
    Activation,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Lattice,
    Node,
    Norm,
    Pad,
    Pool,
    Upsample,
    residual,
)
from lattice.network.ops import Input
from lattice.network.rearrange import Rearrange
from tests.landscape.patterns import values


@pytest.mark.parametrize(
    ("name", "sign", "after"),
    [
        ("tanh", Sign.SUM, Sign.SUM),
        ("tanh", Sign.SKEWED, Sign.SKEWED),
        ("gelu", Sign.SUM, Sign.SKEWED),
        ("gelu", Sign.FILTER, Sign.SKEWED),
        ("sigmoid", Sign.SUM, Sign.NONNEGATIVE),
    ],
)
def test_only_an_odd_activation_keeps_a_symmetry(name, sign, after):
    assert output_sign(Activation(name), [sign]) is after


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("sign", [Sign.NONNEGATIVE, Sign.NONPOSITIVE])
def test_what_a_smooth_activation_says_of_values_of_one_sign_is_true(name, sign):
    read = torch.linspace(0, 8, 801, dtype=torch.float64).numpy() * (1 if sign is Sign.NONNEGATIVE else -1)
    given, after = FUNCTIONS[name](read), output_sign(Activation(name), [sign])
    assert after is Sign.SKEWED or (given * (1 if after is Sign.NONNEGATIVE else -1)).min() >= 0
    assert (after is Sign.SKEWED) == (name == "logsigmoid")


RELU, NEGATIVE = Activation("relu"), Activation("leaky_relu", -1.0)


@pytest.mark.parametrize(
    ("layers", "sign"),
    [
        ([Conv(1, 3)], Sign.FILTER),
        ([Conv(1, 3), RELU], Sign.NONNEGATIVE),
        ([Conv(1, 3), Activation("abs")], Sign.NONNEGATIVE),
        ([Conv(1, 3), RELU, Conv(1, 2)], Sign.FILTER),
        ([Conv(1, 3), RELU, Pool("max", 2), Upsample(2), Pad(1)], Sign.NONNEGATIVE),
        ([Conv(1, 3), Pool("avg", 2)], Sign.FILTER),
        ([Conv(1, 3), Pool("max", 2)], Sign.SKEWED),
        ([Conv(1, 3), Activation("leaky_relu", 0.1)], Sign.SKEWED),
        ([Conv(1, 3), RELU, Activation("leaky_relu", 0.1)], Sign.NONNEGATIVE),
        ([Conv(1, 2), residual([RELU])], Sign.SKEWED),
        ([Conv(1, 2), RELU, residual([])], Sign.NONNEGATIVE),
        ([Conv(1, 2), residual([Conv(1, 1)], [Conv(1, 1)])], Sign.SUM),
        ([Conv(1, 2), RELU, residual([Conv(1, 2, padding=((1, 0),))])], Sign.SKEWED),
    ],
)
def test_the_sign_of_a_node_is_that_of_its_values_over_all_patterns(layers, sign):
    net = Lattice.chain((1, 6), layers)
    assert node_signs(net)[-1] is sign
    seen = values(net)
    symmetric = torch.allclose(seen.sort(dim=0).values, (-seen).sort(dim=0).values)
    assert symmetric == (sign in (Sign.FILTER, Sign.SUM))
    assert bool((seen >= 0).all()) == (sign is Sign.NONNEGATIVE)


@pytest.mark.parametrize("activation", [RELU, Activation("abs"), Activation("identity"), Activation("leaky_relu", 0.3)])
@pytest.mark.parametrize("sign", [Sign.FILTER, Sign.NONNEGATIVE, Sign.NONPOSITIVE])
def test_a_gain_is_the_mean_square_of_autograds_slope(activation, sign):
    sides = {Sign.FILTER: (-2.0, 2.0), Sign.NONNEGATIVE: (2.0,), Sign.NONPOSITIVE: (-2.0,)}[sign]
    z = torch.tensor(sides, dtype=torch.float64, requires_grad=True)
    functions = {"relu": torch.relu, "abs": torch.abs, "identity": torch.clone}
    function = functions.get(activation.name, lambda z: torch.nn.functional.leaky_relu(z, activation.parameter))
    (slopes,) = torch.autograd.grad(function(z).sum(), z)
    assert activation_gain(activation, sign) == pytest.approx(float(slopes.square().mean()))


def test_a_shift_takes_the_symmetry_of_its_layer_and_of_what_follows():
    net = Lattice.chain((1, 6), [Conv(1, 3), Norm(), Dropout(0.5), Flatten(), Dense(1)])
    assert [sign.name for sign in node_signs(net)] == ["DATA", "FILTER", "FILTER", "FILTER", "FILTER", "FILTER"]
    shifted = node_signs(net, shifted=("norm1",))
    assert [sign.name for sign in shifted] == ["DATA", "FILTER", "SKEWED", "SKEWED", "SKEWED", "FILTER"]


@pytest.mark.parametrize(
    ("factor", "after"),
    [(1.0, Sign.NONNEGATIVE), (-1.0, Sign.NONPOSITIVE), ([1.0, -1.0], Sign.SKEWED), ([1, 1], Sign.NONNEGATIVE)],
)
def test_a_negative_factor_of_a_norm_turns_a_sign_round(factor, after):
    net = Lattice.chain((1, 6), [Conv(2, 3), RELU, Norm()])
    assert node_signs(net, signs={net.names[-1]: factor})[-1] is after


def test_a_flip_keeps_the_runs_of_channels_apart():
    """A flip of a concatenation moves positions: each part keeps its own sign."""
    flip = Rearrange(((8,), (8,)), ((0,), (1,)), (None, tuple(range(7, -1, -1))))
    nodes = [Node("conv", Conv(4, 1), (0,)), Node("relu", Activation("relu"), (1,)), Node("both", Concat(), (1, 2))]
    net = Lattice((Node("input", Input((1, 8)), ()), *nodes, Node("flip", flip, (3,))))
    assert run_signs(net)[-1] == run_signs(net)[-2] == (Sign.FILTER, Sign.NONNEGATIVE)
