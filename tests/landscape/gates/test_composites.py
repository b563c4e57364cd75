"""Gates right above gates, products of two functions of one signal, and biases, against samples of torch's own functions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from landscape.gates.composites import forms
from landscape.gates.forward.mean_field import signals
from landscape.gates.functions import curve
from landscape.gates.gate_rates import theory_gates
from landscape.gates.gates import gates_below
from landscape.laws.moments import squares_and_rest
from landscape.prior import Prior
from landscape.tracing.counter import Counter
from lattice import Activation, Add, Conv, Dropout, Input, Lattice, Multiply, Node, Norm

SAMPLES = 400_000
relu, leaky = Activation("relu"), Activation("leaky_relu", 0.2)
FACTOR = {"norm1": np.array([4.0, 0.25, 9.0])}
SIGN = {"norm1": np.array([1.0, -1.0, 1.0])}
BIAS = {"conv1": (0.3, 0.4), "norm1": (np.array([0.2, -0.1, 0.0]), 0.0)}
RUNS = [
    [leaky, relu],
    [Activation("abs"), Activation("silu")],
    [relu, Activation("tanh")],
    [relu, Norm("scale"), Activation("tanh")],
    [Activation("silu"), Norm(), Activation("relu6")],
    [leaky, Dropout(0.5), Norm("scale"), leaky],
    [Activation("tanh"), Norm("scale"), Activation("hardswish"), Activation("gelu")],
]


def apply(op, z):
    if isinstance(op, Norm):
        factor, shift = np.sqrt(FACTOR["norm1"]) * SIGN["norm1"], BIAS["norm1"][0]
        return z * torch.tensor(factor)[:, None] + torch.tensor(shift)[:, None]
    if isinstance(op, Dropout):
        return z
    if op.name == "leaky_relu":
        return functional.leaky_relu(z, op.parameter)
    return getattr(functional, op.name, None)(z) if hasattr(functional, op.name) else getattr(torch, op.name)(z)


def sampled(ops, z):
    """The values above each op, and the product of the slopes of activations below it (and its own)."""
    slope, found = torch.ones_like(z), []
    for op in ops:
        x = z.detach().requires_grad_()
        z = apply(op, x)
        if isinstance(op, Activation):
            slope = slope * torch.autograd.grad(z.sum(), x)[0]
        found.append((z.detach(), slope))
    return found


@pytest.mark.parametrize("ops", RUNS, ids=str)
def test_a_run_of_gates_is_one_function_of_the_gaussian_below(ops):
    """N(0.3, 2.4): a bias with mean and variance, V[w] = 2. Within five standard errors of 400,000 samples a channel."""
    net = Lattice.chain((1, 2), [Conv(3, 1), *ops, Conv(2, 1)])
    variances = {"conv1": 2.0, "conv2": 1.0}
    known = {"factors": FACTOR, "signs": SIGN, "shifts": BIAS} if any(isinstance(op, Norm) for op in ops) else {}
    known = known or {"shifts": {"conv1": BIAS["conv1"]}}
    found = dict(zip(net.names, signals(Prior(net, variances, **known)), strict=True))
    gates = theory_gates(Prior(net, variances, **known, shifted=tuple(known["shifts"])))
    z = 0.3 + 2.4**0.5 * torch.randn(3, SAMPLES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = torch.ones_like(z)
    for name, op, (values, slope) in zip(net.names[2:-1], ops, sampled(ops, z), strict=True):
        for part, sample in zip(found[name], (values**2, None, values), strict=True):
            if sample is not None:
                error = 5 * sample.std(dim=1).numpy() / SAMPLES**0.5
                assert (np.abs(np.broadcast_to(part, (3, 2))[:, 0] - sample.mean(dim=1).numpy()) < error).all(), name
        if isinstance(op, Activation):
            if name in gates.gains:
                gain, first = (np.broadcast_to(part[name], (3, 2))[:, 0] for part in (gates.gains, gates.firsts))
                np.testing.assert_allclose(gain, ((slope**2).mean(1) / (before**2).mean(1)).numpy(), rtol=0.01, atol=1e-4)
                if before.mean() > 0.1:
                    np.testing.assert_allclose(first, (slope.mean(1) / before.mean(1)).numpy(), rtol=0.01, atol=1e-3)
            before = slope


def test_which_gate_stands_right_above_which():
    net = Lattice.chain((1, 4), [Conv(3, 1), leaky, Norm("scale"), Dropout(), relu, Conv(2, 1), relu, Norm("layer"), relu])
    assert gates_below(net) == {"activation2": "activation1"}
    assert [base for base, _ in forms(net)] == [0, 1, 1, 1, 1, 1, 6, 6, 6, 6]


@pytest.mark.parametrize("below", ["relu", "abs"])
@pytest.mark.parametrize("norm", [Norm("layer"), Norm("group", 1)], ids=["layer", "group"])
def test_a_gate_over_a_norm_over_a_gate_is_open_as_often_as_torchs(below, norm):
    net = Lattice.chain((1, 4), [Conv(64, 1), Activation(below), norm, relu])
    gain = theory_gates(Prior(net, {"conv1": 1.0})).gains["activation2"]
    z = torch.randn(400_000, generator=torch.manual_seed(0), dtype=torch.float64, requires_grad=True)
    y = getattr(torch, below)(z)
    (slope,) = torch.autograd.grad(y.sum(), z)
    passed = slope.square()
    np.testing.assert_allclose(np.unique(gain), float(passed[y > y.mean()].sum() / passed.sum()), rtol=0.01)


NODES = (Node("input", Input((1, 3))), Node("conv", Conv(2, 1), (0,)))


def test_a_product_of_two_functions_of_one_signal_is_one_function_of_it():
    """z sigmoid(z) is SiLU; of z tanh(z) the paths through tanh are weighed by E[z^2 tanh'^2] / E[tanh'^2]."""
    silu = signals(Prior(Lattice((*NODES, Node("silu", Activation("silu"), (1,)))), {"conv": 2.0}))[-1]
    for inputs in ((1, 2), (2, 1)):
        net = Lattice((*NODES, Node("gate", Activation("sigmoid"), (1,)), Node("product", Multiply(), inputs)))
        for part, expected in zip(signals(Prior(net, {"conv": 2.0}))[-1], silu, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-12, atol=1e-300)
        products = theory_gates(Prior(net, {"conv": 2.0})).products
        z = 2**0.5 * np.random.default_rng(0).normal(size=SAMPLES)
        gate = 1 / (1 + np.exp(-z))
        slope = (gate * (1 - gate)) ** 2
        through_z, through_gate = (products["product", inputs.index(i)] for i in (1, 2))
        np.testing.assert_allclose(through_z, np.full((1, 3), (gate**2).mean()), rtol=0.01)
        np.testing.assert_allclose(through_gate, np.full((1, 3), (z**2 * slope).mean() / slope.mean()), rtol=0.01)


def test_a_sum_of_functions_of_one_signal_adds_before_it_is_squared():
    net = Lattice((*NODES, Node("gate", relu, (1,)), Node("sum", Add(), (1, 2, 1))))  # 2 z + relu(z): slopes 2 and 3
    power, _, mean = signals(Prior(net, {"conv": 2.0}))[-1]
    np.testing.assert_allclose(power, np.full((1, 3), 2 * (4 + 9) / 2), rtol=1e-12)
    np.testing.assert_allclose(mean, np.full((1, 3), (2 / (2 * np.pi)) ** 0.5), rtol=1e-12)


@pytest.mark.parametrize("shapes", [((4, 1), (4, 3)), ((1, 3), (4, 3)), ((4, 3), (1, 3))], ids=str)
def test_a_product_is_weighed_by_the_other_factor_whatever_is_broadcast(shapes):
    """A number for each channel or one channel for all: E[g^2] of the one for the paths of the other, at every position."""
    layers = {(4, 1): "pooled", (4, 3): "wide", (1, 3): "thin"}
    from lattice import GlobalPool

    parts = {
        "wide": [Node("wide", Conv(4, 1), (0,))],
        "thin": [Node("thin", Conv(1, 1), (0,))],
        "pooled": [Node("pool", GlobalPool(), (0,)), Node("pooled", Conv(4, 1), (1,))],
    }
    nodes = [Node("input", Input((2, 3)))]
    ends = []
    for shape in shapes:
        for node in parts[layers[shape]]:
            nodes.append(Node(node.name, node.op, (len(nodes) - 1 if node.name == "pooled" else 0,)))
        ends.append(len(nodes) - 1)
    net = Lattice((*nodes, Node("product", Multiply(), tuple(ends))))
    assert net.output_shape == (4, 3)
    variances = {"wide": 0.5, "thin": 2.0, "pooled": 6.0}
    powers = {"wide": 1.0, "thin": 4.0, "pooled": 6.0 * 2 / 3}
    products = theory_gates(Prior(net, variances)).products
    for place, shape in enumerate(shapes):
        other = layers[shapes[1 - place]]
        np.testing.assert_allclose(
            np.broadcast_to(products["product", place], (1, 3)), np.full((1, 3), powers[other]), rtol=1e-12
        )
        assert shape != other
    np.testing.assert_allclose(
        signals(Prior(net, variances))[-1].power, np.full((1, 3), np.prod([powers[layers[s]] for s in shapes]))
    )


def test_a_counter_keeps_groups_of_neighbouring_passes():
    net = Lattice.chain((1, 4), [Conv(2, 1), leaky, relu])
    counter = Counter(Prior(net, {}), {}, 20)
    for draw in range(20):
        counter.begin(draw)
    assert len(counter.groups) == 8
    assert sum(counter.passes) == 20
    assert max(counter.passes) - min(counter.passes) <= 1


@pytest.mark.parametrize("factor", [-1.0, 0.5], ids=["minus", "plus half"])
@pytest.mark.parametrize(
    ("below", "above"),
    [
        (("leaky_relu", 0.2), ("relu",)),
        (("gelu",), ("relu",)),
        (("relu",), ("tanh",)),
        (("silu",), ("leaky_relu", 0.5)),
        (("hardtanh",), ("silu",)),
    ],
)
@pytest.mark.parametrize("between", [False, True], ids=["at the gate", "with a norm between"])
def test_a_gate_beside_its_own_input_adds_before_it_is_squared(below, above, factor, between):
    """y + factor phi(y), y = f(z): E[(d/dz)^2] by differences on a fine grid of Gaussian z."""
    lower, upper, norm = Activation(*below), Activation(*above), Norm("scale")
    nodes = [
        Node("input", Input((1, 1))),
        Node("conv", Conv(4, 1), (0,)),
        Node("lower", lower, (1,)),
        Node("upper", upper, (2,)),
        Node("factor", norm, (3,)),
        Node("own", norm, (2,)),
        Node("sum", Add(), (4, 5 if between else 2)),
    ]
    if not between:
        nodes = [*nodes[:5], Node("sum", Add(), (4, 2))]
    squared = {"factor": factor**2, **({"own": 4.0} if between else {})}
    net = Lattice(tuple(nodes))
    prior = Prior(net, {"conv": 1.0}, factors=squared, signs={"factor": np.sign(factor)})
    found = squares_and_rest(replace(prior, gates=theory_gates(prior)), None)[0]
    z = np.linspace(-8, 8, 400_001)
    y = curve(lower).value(z)
    whole = (2.0 if between else 1.0) * y + factor * curve(upper).value(y)
    masses = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    np.testing.assert_allclose(found, (np.gradient(whole, z) ** 2) @ masses, rtol=2e-3)


@pytest.mark.parametrize("inputs", [1, 2, 30, 90])
@pytest.mark.parametrize("factors", [(None, None), ("sigmoid", None), (None, "relu")], ids=str)
@pytest.mark.parametrize("gate", ["hardsigmoid", "tanh", "softsign", "silu"])
def test_a_gate_over_a_product_is_open_where_the_product_is_small(gate, factors, inputs):
    nodes, tops = [Node("input", Input((inputs, 1)))], []
    for place, name in enumerate(factors):
        nodes.append(Node(f"conv{place}", Conv(1, 1), (0,)))
        if name:
            nodes.append(Node(f"factor{place}", Activation(name), (len(nodes) - 1,)))
        tops.append(len(nodes) - 1)
    nodes += [Node("product", Multiply(), tuple(tops)), Node("gate", Activation(gate), (len(nodes),))]
    variances = {"conv0": 4 / inputs, "conv1": 9 / inputs}
    prior = Prior(Lattice(tuple(nodes)), variances)
    predicted = squares_and_rest(replace(prior, gates=theory_gates(prior)))[0].item()
    torch.manual_seed(0)
    draws = SAMPLES if inputs < 30 else SAMPLES // 10
    x = torch.randn(draws, inputs, dtype=torch.float64, requires_grad=True)
    product = 1.0
    for variance, name in zip(variances.values(), factors, strict=True):
        z = (x * torch.randn(draws, inputs, dtype=torch.float64)).sum(1) * variance**0.5
        product = product * (getattr(functional, name)(z) if name else z)
    squares = torch.autograd.grad(getattr(functional, gate)(product).sum(), x)[0].square().mean(1)
    error = squares.std().item() / draws**0.5
    # `predict` gives both paths one gain, and a factor's own gate its rate for Gaussians: one per cent at most
    assert abs(squares.mean().item() - predicted) < 4.5 * error + 0.01 * predicted


def test_a_gate_beside_its_product_has_the_rate_of_a_gaussian():
    nodes = [
        Node("input", Input((1, 1))),
        *(Node(f"conv{i}", Conv(1, 1), (0,)) for i in (1, 2)),
        Node("product", Multiply(), (1, 2)),
    ]
    tanh = Node("gate", Activation("tanh"), (3,))
    variances = {"conv1": 4.0, "conv2": 9.0}
    alone, beside = (
        theory_gates(Prior(Lattice(tuple(more)), variances)).gains["gate"].item()
        for more in ([*nodes, tanh], [*nodes, tanh, Node("sum", Add(), (3, 4))])
    )
    z = torch.randn(SAMPLES, dtype=torch.float64) * 6
    assert abs((1 - z.tanh() ** 2).square().mean().item() - beside) < 0.01
    assert alone < beside / 3
