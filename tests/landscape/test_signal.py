"""The forward mean field against wide torch networks, quadrature, and the gates that forward passes count."""

import numpy as np
import pytest
import torch
from scipy import integrate
from torch.nn import functional

from landscape import he, predict
from landscape.activations import FUNCTIONS, gaussian_moments
from landscape.initialisation import layer_variances
from landscape.signal import signals, theory_gates
from lattice import (
    Activation,
    Conv,
    Dense,
    Flatten,
    Lattice,
    Multiply,
    Node,
    Norm,
    PixelShuffle,
    Pool,
    UnsupportedError,
    concatenate,
    residual,
)
from lattice.ops import GlobalPool, Input
from validation import compare, measure
from validation.montecarlo.build import build

relu = Activation("relu")


def gaussian(function, mean, variance):
    deviation = variance**0.5
    density = lambda t: function(mean + deviation * t) * np.exp(-t * t / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    return integrate.quad(density, -9, 9, limit=400, points=[-mean / deviation])[0]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (0.7, 4.0)])
def test_gaussian_moments_are_those_of_torchs_function(name, mean, variance):
    function = getattr(functional, name)

    def value(z):
        return function(torch.tensor(z, dtype=torch.float64)).item()

    def slope(z):
        x = torch.tensor(z, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(function(x), x)[0].item()

    found = gaussian_moments(Activation(name), np.array([mean]), np.array([variance]), np.array([0.0]))
    first = gaussian(value, mean, variance)
    truth = (
        first,
        gaussian(lambda z: value(z) ** 2, mean, variance),
        first**2,
        gaussian(lambda z: slope(z) ** 2, mean, variance),
    )
    np.testing.assert_allclose(np.ravel(found), truth, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("activation", [relu, Activation("leaky_relu", 0.2), Activation("abs"), Activation("silu")], ids=str)
@pytest.mark.parametrize(("mean", "correlation"), [(0.0, 0.6), (0.8, -0.4), (0.8, 0.95)])
def test_products_of_correlated_values_are_those_of_a_double_integral(activation, mean, correlation):
    rng = np.random.default_rng(0)
    first, rest = rng.normal(size=(2, 2_000_000))
    pair = mean + first, mean + correlation * first + (1 - correlation**2) ** 0.5 * rest
    values = [build(Lattice.chain((1, 1), [activation]))(torch.tensor(z)[:, None, None]).numpy().ravel() for z in pair]
    product = values[0] * values[1]
    found = gaussian_moments(activation, np.array([mean]), np.ones(1), np.array([correlation]))[2][0]
    assert abs(found - product.mean()) < 5 * product.std() / product.size**0.5 + 1e-3 * product.mean()  # 1e-3: the cut series


def counted(net, draws=24, inputs=40):
    """power, cross and mean of a built net over draws of its weights, inputs and channels; and their standard errors."""
    rows = []
    for draw in range(draws):
        module = build(net, he, generator=torch.Generator().manual_seed(draw)).eval()
        x = torch.randn(inputs, *net.input_shape, generator=torch.Generator().manual_seed(1000 + draw))
        with torch.no_grad():
            y = module(x)
        total, squares = y.sum(0), y.square().sum(0)
        rows.append([squares.mean(0) / inputs, ((total**2 - squares) / (inputs * (inputs - 1))).mean(0), y.mean((0, 1))])
    stacked = np.array([[part.numpy() for part in row] for row in rows])
    return stacked.mean(axis=0), stacked.std(axis=0, ddof=1) / draws**0.5


WIDTH = 128
CONV = Conv(WIDTH, 3, padding=1)


@pytest.mark.parametrize(
    ("layers", "allowed"),
    [
        # (allowed: what the approximations of the head of landscape/signal.py cost here, and O(1 / channels))
        ([CONV, relu, CONV], 0.03),
        ([CONV, Activation("silu"), CONV, Activation("hardswish")], 0.06),
        ([CONV, relu, CONV, Pool("avg", 2), CONV], 0.05),
        ([CONV, relu, Pool("max", 2), CONV], 0.06),
        ([CONV, Norm("layer"), relu, CONV], 0.05),
        ([CONV, relu, residual([CONV]), relu, residual([CONV]), relu], 0.09),
        ([CONV, residual([relu, CONV]), relu], 0.05),
    ],
    ids=str,
)
def test_power_cross_and_mean_are_those_of_wide_networks_borders_included(layers, allowed):
    net = Lattice.chain((8, 6), layers)
    positions = net.output_shape[1]
    found = np.array([np.broadcast_to(part[0], positions) for part in signals(net, layer_variances(net, he))[-1]])
    truth, error = counted(net)
    assert (np.abs(found - truth) < 5 * error + allowed * np.abs(truth).max(axis=1, keepdims=True)).all()
    assert found[0, 0] < 0.97 * found[0, positions // 2]  # the border is weaker, and that was seen


@pytest.mark.parametrize(
    "layers", [[CONV, relu, Norm("group", groups=4)], [CONV, Norm("group", groups=4), relu, CONV]], ids=str
)
def test_a_group_norm_takes_out_the_mean_that_a_gate_has_left(layers):
    net = Lattice.chain((8, 6), layers)
    power = signals(net, layer_variances(net, he))[-1].power[0]
    (truth, *_), (error, *_) = counted(net)
    assert (np.abs(power - truth) < 5 * error + 0.03 * truth.max()).all()


def test_theory_and_counting_agree_on_the_gates_of_a_residual_net():
    def factory():
        torch.manual_seed(torch.initial_seed())
        net = Lattice.chain(
            (3, 16), [CONV, relu, *(part for _ in range(3) for part in (residual([CONV]), relu)), Flatten(), Dense(4)]
        )
        return build(net, he)

    from landscape import trace

    traced = trace(factory, (3, 16), inputs="noise")
    theory = theory_gates(traced.lattice, traced.variances)
    assert len(theory.runs) == 3  # of neighbours; counting knows the longer runs too
    assert set(theory.runs) < set(traced.gates.runs)
    assert len(traced.gates.runs) == 6
    for name, gain in theory.gains.items():
        np.testing.assert_allclose(np.broadcast_to(gain, (1, 16)), traced.gates.gains[name], rtol=0.12)
        np.testing.assert_allclose(np.mean(gain), traced.gates.gains[name].mean(), rtol=0.04)
    for gates, rate in theory.runs.items():
        np.testing.assert_allclose(np.mean(rate), traced.gates.runs[gates].mean(), rtol=0.04)


def test_the_trunk_law_gives_a_residual_net_its_scale():
    block = residual([Conv(24, 3, padding=1)])
    net = Lattice.chain(
        (3, 10), [Conv(24, 3, padding=1), relu, *(part for _ in range(4) for part in (block, relu)), Flatten(), Dense(6)]
    )
    estimate = measure(net, draws=3000, seed=0)
    agreement = compare(predict(net), estimate)
    assert abs(agreement.scale_ratio - 1) < 0.15
    assert agreement.error < 0.03
    assert any("from the forward mean field" in reason for reason in predict(net).reasons)


def test_a_smooth_net_has_the_scale_of_its_mean_field():
    net = Lattice.chain(
        (8, 10), [Conv(48, 3, padding=1), Activation("gelu"), Conv(48, 3, padding=1), Activation("tanh"), Flatten(), Dense(6)]
    )
    agreement = compare(predict(net), measure(net, draws=2000, seed=0))
    assert abs(agreement.scale_ratio - 1) < 0.1
    assert agreement.error < 0.03


def test_a_gate_and_a_norm_have_their_size_from_theory():
    nodes = [Node("input", Input((16, 8))), Node("conv", CONV, (0,)), Node("norm", Norm("group", 4), (1,))]
    nodes += [
        Node("pool", GlobalPool(), (2,)),
        Node("squeeze", Conv(WIDTH, 1), (3,)),
        Node("sigmoid", Activation("sigmoid"), (4,)),
    ]
    net = Lattice((*nodes, Node("product", Multiply(), (2, 5)), Node("flat", Flatten(), (6,)), Node("dense", Dense(4), (7,))))
    agreement = compare(predict(net), measure(net, draws=400, seed=0))
    assert abs(agreement.scale_ratio - 1) < 0.1
    assert agreement.error < 0.05


def test_a_pixel_shuffle_moves_the_signal_of_unlike_channels_as_it_moves_values():
    net = Lattice.chain((2, 3, 4), [concatenate([Conv(3, 3, padding=1), relu], [Conv(5, 1)]), PixelShuffle(2)])
    *_, below, shuffled = signals(net, layer_variances(net, he))
    for part, moved in zip(below, shuffled, strict=True):
        np.testing.assert_array_equal(moved, functional.pixel_shuffle(torch.tensor(part)[None], 2)[0].numpy())


def test_what_has_no_mean_field_is_refused_by_name():
    net = Lattice.chain((4, 4, 4), [Conv(4, 1), Activation("rrelu")])
    with pytest.raises(UnsupportedError, match="activation1: rrelu: no moments"):
        signals(net, layer_variances(net, he))
