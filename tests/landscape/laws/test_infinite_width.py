"""The law for given inputs against enumeration, a kernel written out by hand, and wide networks."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape import he, predict, squared_gradients
from landscape.laws import infinite_width
from landscape.laws.infinite_width import fits, given_input_moments, refusals
from landscape.laws.quadrants import _slope_moments
from landscape.prior import Prior
from landscape.weights.initialisation import layer_variances
from lattice import (
    Activation,
    AdaptivePool,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Lattice,
    Norm,
    Pad,
    Pool,
    ResourceError,
    SpecificationError,
    Unit,
    UnsupportedError,
    Upsample,
    concatenate,
    residual,
)
from validation import enumerated_squared_gradients, measure
from validation.montecarlo.build import build

relu, leaky, absolute = Activation("relu"), Activation("leaky_relu", 0.3), Activation("abs")
HEAD = [GlobalPool("avg"), Flatten(), Dense(1)]
MODES = ("zeros", "circular", "reflect", "replicate")


def images(shape, count=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape))


def assert_enumerated(net, rtol=1e-12):
    x = images(net.input_shape)
    truth = enumerated_squared_gradients(net, x)
    moments = given_input_moments(Prior(net, layer_variances(net, 1.0)), x)
    np.testing.assert_allclose(moments, truth, rtol=rtol, atol=rtol * truth.max())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "head", [[], HEAD, [Pool("avg", 3, 1, padding=1, count_include_pad=False)]], ids=["none", "pooled", "overlap"]
)
def test_linear_nets_of_any_width_equal_their_enumeration(mode, head):
    conv = Conv(1, 3, padding=1, mode=mode)
    assert_enumerated(Lattice.chain((2, 6), [conv, residual([conv]), *head]))
    assert_enumerated(Lattice.chain((1, 3, 4), [Pool("avg", 2, 1), Conv(1, 2, padding=1, mode=mode), *head]))


@pytest.mark.parametrize("layers", [
    [Upsample(2, "linear"), Conv(1, 3, stride=2), GlobalPool()],
    [AdaptivePool("avg", 3), Pad(1, "replicate"), Conv(2, 2), Flatten(), Dense(1)],
    [concatenate([Conv(1, 3, padding=1)], [Pool("avg", 3, 1, padding=1)]), Conv(1, 2, dilation=2), GlobalPool()],
    [Conv(2, 3, groups=2), Norm(), Conv(1, 2), GlobalPool()],
    [residual([Pool("avg", 3, 1, padding=1)]), residual([], []), Conv(1, 3), GlobalPool()],
], ids=str)  # fmt: skip
def test_every_linear_op_equals_its_enumeration(layers):
    assert_enumerated(Lattice.chain((2, 5), layers))


@pytest.mark.parametrize("gate", [relu, leaky, absolute], ids=str)
def test_chains_under_a_flattened_head_equal_their_enumeration(gate):
    assert_enumerated(Lattice.chain((2, 5), [Conv(1, 3, padding=1), gate, Conv(1, 3), gate, Flatten(), Dense(1)]))


def test_the_diagonal_rule_is_the_same_where_it_is_exact():
    net = Lattice.chain((3, 8, 8), [Conv(16, 3, 2, 1), relu, Conv(16, 3, padding=1), relu, Flatten(), Dense(4)])
    variances = layer_variances(net, he)
    np.testing.assert_allclose(
        given_input_moments(Prior(net, variances), images(net.input_shape)), squared_gradients(net, variances)
    )


def kernel(x, y, layers, padded):
    """The NNGP kernel of conv(k=3)+ReLU layers under a global average, V = 1, written as sums over patches."""

    def convolved(k):
        n = len(k)
        wide = np.pad(k, 1, mode="wrap") if padded == "circular" else np.pad(k, 1)
        return sum(wide[t : t + n, t : t + n] for t in range(3))

    kxx, kxy, kyy = np.outer(x, x), np.outer(x, y), np.outer(y, y)
    for _ in range(layers):
        kxx, kxy, kyy = convolved(kxx), convolved(kxy), convolved(kyy)

        def through(k, a, b):
            scale = np.sqrt(np.outer(np.diag(a), np.diag(b)))
            rho = np.clip(k / scale, -1, 1)
            return scale * (np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho))) / (2 * np.pi)

        kxx, kxy, kyy = through(kxx, kxx, kxx), through(kxy, kxx, kyy), through(kyy, kyy, kyy)
    return kxy.mean()


@pytest.mark.parametrize("padded", ["zeros", "circular"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_relu_under_a_pooled_head_is_the_mixed_derivative_of_the_kernel(layers, padded):
    n, h = 7, 1e-4
    x = np.random.default_rng(layers).normal(size=n)

    def mixed(i):
        e = np.eye(n)[i] * h
        return sum(a * b * kernel(x + a * e, x + b * e, layers, padded) for a in (1, -1) for b in (1, -1)) / (4 * h * h)

    net = Lattice.chain((1, n), [part for _ in range(layers) for part in (Conv(5, 3, padding=1, mode=padded), relu)] + HEAD)
    variances = {name: 1.0 if name.startswith("conv1") else 1 / 5 for name in net.names if name.startswith(("conv", "dense"))}
    found = given_input_moments(Prior(net, variances), x[None, None])
    # equal positions of equal inputs have a kink of the kernel: differences are right to O(h) there
    np.testing.assert_allclose(found, [mixed(i) for i in range(n)], rtol=20 * h)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(MODES), st.integers(1, 2), st.booleans())
def test_the_map_ignores_the_scale_of_the_input_and_moves_with_it(seed, mode, stride, skip):
    body = [relu, Conv(4, 3, padding=1, mode=mode)]
    net = Lattice.chain((1, 6), [Conv(4, 3, stride, 1, mode=mode), residual(body) if skip else Activation("relu"), *HEAD])
    variances = layer_variances(net, he)
    x = images((1, 6), 1, seed)
    found = given_input_moments(Prior(net, variances), x)
    np.testing.assert_allclose(given_input_moments(Prior(net, variances), 7 * x), found, rtol=1e-9)
    mirrored = given_input_moments(Prior(net, variances), x[..., ::-1])
    if stride == 1:
        np.testing.assert_allclose(mirrored[::-1], found, rtol=1e-9)


def test_where_the_input_is_zero_a_relu_is_closed():
    x = images((1, 9), 1)
    x[..., :5] = 0
    net = Lattice.chain((1, 9), [Conv(4, 3), relu, *HEAD])
    found = given_input_moments(Prior(net, layer_variances(net, he)), x)
    assert (found[:3] == 0).all()  # read by dead windows only
    assert (found[3:] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("layers", [
    [Conv(256, 3, padding=1), relu, Conv(256, 3, padding=1, mode="replicate"), relu],
    [Conv(256, 3, padding=1), residual([relu, Conv(256, 3, padding=1)]), relu, Pool("avg", 2, 1), Conv(256, 3, 2), leaky],
], ids=["chain", "skip and pool"])  # fmt: skip
def test_wide_networks_approach_it(layers):
    net = Lattice.chain((1, 10), [*layers, GlobalPool("avg"), Flatten(), Dense(20)])
    x = images((1, 10), 1)
    estimate = measure(net, draws=4000, seed=0, inputs=x)
    found = predict(net, inputs=x).squared
    z = (found - estimate.mean) / np.hypot(estimate.standard_error, 2 / 256 * found)  # and O(1 / channels)
    assert np.abs(z).max() < 5  # one of ten pixels beyond it by chance: 6e-6
    plain = predict(net).squared
    assert np.abs((plain - estimate.mean) / estimate.standard_error).max() > 10  # the path sum alone is refuted


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([Conv(2, 3), relu, residual([Conv(2, 1)]), relu], "activation2: a gate over something that is not Gaussian"),
        ([relu, Conv(2, 3)], "activation1: a gate over something"),
        ([Conv(2, 3), Activation("silu"), GlobalPool()], "silu is not piecewise linear"),
        ([Conv(2, 3), Pool("max", 2), GlobalPool()], "pool1: Pool"),
        ([Conv(2, 3), Norm("layer"), GlobalPool()], "norm1: Norm"),
        ([Conv(1, 3, padding=1), relu, residual([concatenate([Conv(1, 1)], [Conv(1, 1)]), Conv(1, 1)])], None),
        ([Conv(2, 3), GlobalPool("max")], "globalpool1: GlobalPool"),
        ([Conv(2, 3), AdaptivePool("max", 2)], "adaptivepool1: AdaptivePool"),
        ([Conv(2, 3), Norm("group"), GlobalPool()], "norm1: Norm"),
        ([Conv(2, 3), Norm("scale"), Dropout(0.5), Norm(), relu, Pool("avg", 2), GlobalPool()], None),
        ([residual([Conv(1, 3, padding=1), relu]), Conv(2, 3)], "add1: adds a gate to the data themselves"),
        ([residual([Conv(1, 3, padding=1)]), Conv(2, 3)], None),
        ([residual([Conv(1, 3, padding=1)]), relu], "activation1: a gate over something"),
        ([concatenate([Conv(1, 1)], [Conv(2, 1)]), relu, Conv(2, 3)], None),
        ([concatenate([], [Conv(2, 1)]), relu, Conv(2, 3)], "activation1: a gate over something"),
        ([concatenate([Conv(1, 1)], [Conv(2, 1)]), residual([Conv(3, 1)]), Conv(1, 1)], "add1: adds a concatenation"),
    ],
)
def test_what_it_does_not_cover_is_said_before_anything_is_computed(layers, reason):
    net = Lattice.chain((1, 8), layers)
    if reason is None:
        assert refusals(net) == ()
        return
    assert any(reason in text for text in refusals(net)), refusals(net)
    with pytest.raises(UnsupportedError, match="does not cover this lattice"):
        given_input_moments(Prior(net, layer_variances(net, 1.0)), images((1, 8)))


def test_inputs_that_do_not_fit_and_nets_that_are_too_large_are_refused():
    net = Lattice.chain((1, 8), [Conv(2, 3), relu, *HEAD])
    with pytest.raises(SpecificationError, match=r"\(2, 1, 9\); the lattice reads \(N, 1, 8\)"):
        given_input_moments(Prior(net, layer_variances(net, 1.0)), images((1, 9)))
    large = Lattice.chain((3, 128, 128), [Conv(2, 3), relu, *HEAD])
    with pytest.raises(ResourceError, match=r"GiB for one input coordinate; give a smaller input"):
        given_input_moments(Prior(large, layer_variances(large, 1.0)), np.zeros((1, 3, 128, 128)))


@pytest.mark.parametrize("dead", [(True, False), (False, True)])
def test_a_gate_at_zero_has_the_slope_below_and_the_other_its_mean(dead):
    phi, psi = (0.1, 0.7), (0.2, 1.0)
    alive = np.array(1.0), np.array(0.0)
    uu, vv = alive[dead[0]], alive[dead[1]]
    expected = phi[0] * sum(psi) / 2 if dead[0] else psi[0] * sum(phi) / 2
    one, *_ = _slope_moments(np.zeros(()), (uu, np.zeros(()), vv), tuple(map(np.array, dead)), phi, psi)
    assert one == pytest.approx(expected)


def sums_of_paths(net, variances, factors=None):
    """E[(dh_j / dx_i)^2] of a net without gates in which no two paths share weights: torch, with V[w] for every weight."""
    network = build(net, 1.0).double()
    with torch.no_grad():
        for name, weight in network.weights().items():
            weight.fill_(variances[name])
        for node, layer in zip(net.nodes[1:], network.layers, strict=True):
            if isinstance(node.op, Norm):
                layer.weight.copy_(torch.tensor((factors or {})[node.name]))
    reads = torch.func.jacrev(lambda x: network(x[None])[0])(torch.zeros(net.input_shape, dtype=torch.float64))
    return reads.detach().mean(dim=len(net.output_shape)).numpy()


@pytest.mark.parametrize(
    ("shape", "layers"),
    [
        ((4, 5), [Conv(4, 2, groups=2), Conv(6, 3, stride=2, padding=1, groups=2)]),
        ((2, 6), [Conv(4, 3, dilation=2, groups=2), Conv(3, 2, padding=((1, 0),))]),
        ((2, 3, 4), [Conv(3, (2, 3), padding=(1, 0)), Flatten(), Dense(3)]),
        ((2, 3, 3), [Conv(3, (1, 2)), Flatten()]),
        ((3, 4), [Flatten(), Dense(4), Dense(2)]),
        ((5,), [Dense(3), Dense(2)]),
        ((2, 4), [concatenate([Conv(2, 3, padding=1)], [Conv(1, 1)], [Conv(3, 3, padding=1)]), Conv(4, 2, groups=2)]),
        ((2, 5), [Conv(3, 2), Norm(), Conv(2, 2)]),
        ((2, 2, 3), [ConvTranspose(2, (2, 3), stride=(2, 1), padding=(0, 1)), Conv(2, 2)]),
    ],
    ids=str,
)
@pytest.mark.parametrize("gate", [None, leaky], ids=["linear", "gated"])
def test_every_unit_of_the_output_has_the_sum_over_its_own_paths(shape, layers, gate):
    plain = Lattice.chain(shape, layers)
    net = Lattice.chain(shape, [part for op in layers for part in ((op, gate) if gate and weighted_op(op) else (op,))])
    variances = {name: 0.3 + 0.2 * i for i, name in enumerate(layer_variances(net, 1.0))}
    factors = {"norm1": np.array([0.5, 2.0, 3.0])}
    expected = sums_of_paths(plain, variances, factors)
    expected *= ((1 + 0.3**2) / 2) ** sum(node.op == gate for node in net.nodes)
    x = images(shape)
    spatial = net.output_shape[1:]
    for channel, *position in np.ndindex(net.output_shape):
        unit = Unit(tuple(position), channel)
        found = given_input_moments(Prior(net, variances, factors=factors), x, output=unit)
        np.testing.assert_allclose(found, expected[(channel, *position)], rtol=1e-12, atol=1e-15)
    mean = expected.mean(axis=tuple(range(1 + len(spatial))))
    np.testing.assert_allclose(given_input_moments(Prior(net, variances, factors=factors), x), mean, rtol=1e-12)


def weighted_op(op):
    return isinstance(op, Conv | ConvTranspose | Dense)


SLOPES = {relu: (0.0, 0.0, 1.0), leaky: (0.3, 0.3, 1.0), absolute: (-1.0, 0.0, 1.0)}  # below, at and above 0, as torch has them


@pytest.mark.parametrize("gate", SLOPES, ids=str)
@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((2, 1, 9), (1, 2), {"stride": (1, 2), "dilation": (1, 2), "padding": (0, 1)}),
        ((1, 3, 5), (2, 3), {"stride": (2, 1), "padding": (1, 0)}),
    ],
    ids=["line", "plane"],
)
def test_one_layer_under_a_pooled_head_is_its_mean_over_drawn_filters(gate, shape, kernel, options):
    x = images(shape, 1)
    x[..., : shape[-1] // 2 + 1] = 0
    cells = torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape)
    reads = nn.functional.unfold(cells, kernel, **options).numpy()  # (cells, taps, positions)
    draws = 100_000
    w = np.random.default_rng(1).normal(size=(draws, reads.shape[1])) * 0.5**0.5
    z = w @ np.einsum("ifp,i->fp", reads, x.ravel())
    assert (z == 0).all(axis=0).any()
    assert not (z == 0).all()
    below, at, above = SLOPES[gate]
    slope = np.where(z < 0, below, np.where(z > 0, above, at))
    gradient = np.stack([((w @ read) * slope).mean(axis=1) for read in reads], axis=1).reshape(draws, *shape) ** 2
    gradient = gradient.mean(axis=1)
    error = gradient.std(axis=0, ddof=1) / draws**0.5
    found = given_input_moments(
        Prior(Lattice.chain(shape, [Conv(3, kernel, **options), gate, GlobalPool()]), {"conv1": 0.5}), x
    )
    assert (np.abs(found - gradient.mean(axis=0)) <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("branches", [((), (relu,), 0.5), ((relu,), (leaky,), 0.15), ((leaky,), (), 0.65)], ids=str)
def test_two_gates_over_the_same_values_add_up_to_one(branches):
    """z + relu(z), relu(z) + leaky(z), leaky(z) + z: each twice a leaky ReLU, also where z is zero."""
    *chains, slope = branches
    x = images((2, 7))
    x[0, :, :4] = 0
    conv = Conv(4, 3, padding=1)
    together, one = (
        Lattice.chain((2, 7), [conv, gate, Conv(3, 2), relu, *HEAD])
        for gate in (residual(*map(list, chains)), Activation("leaky_relu", slope))
    )
    variances = layer_variances(one, he)
    expected = 4 * given_input_moments(Prior(one, variances), x)
    np.testing.assert_allclose(given_input_moments(Prior(together, variances), x), expected, rtol=1e-10, atol=1e-15)


def test_enumeration_agrees_where_pixels_are_black():
    x = images((1, 6))
    x[..., :4] = 0
    for gate in (relu, leaky, absolute):
        net = Lattice.chain((1, 6), [Conv(1, 3, padding=1), gate, Flatten(), Dense(1)])
        truth = enumerated_squared_gradients(net, x)
        np.testing.assert_allclose(given_input_moments(Prior(net, layer_variances(net, 1.0)), x), truth, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("at_once", [1, 3, 14])
def test_what_does_not_fit_into_memory_at_once_is_done_in_pieces(at_once, monkeypatch):
    net = Lattice.chain((2, 7), [Conv(4, 3), relu, *HEAD])
    variances, x = layer_variances(net, he), images((2, 7))
    whole = given_input_moments(Prior(net, variances), x)
    # from above: four arrays of squares, in float64, of (positions of each node) and of the image once more for each channel
    most = 4 * 8 * (7**2 + 5**2 + 5**2 + 3 * 1 + 2 * 7**2)
    monkeypatch.setattr(infinite_width, "MOST_BYTES", 4 * at_once * most)
    assert fits(net)
    np.testing.assert_allclose(given_input_moments(Prior(net, variances), x), whole, rtol=1e-12)


def test_the_mean_over_images_is_that_of_their_moments():
    net = Lattice.chain((1, 5), [Conv(4, 3, padding=1), relu, *HEAD])
    variances, x = layer_variances(net, he), images((1, 5), 3)
    each = [given_input_moments(Prior(net, variances), x[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(given_input_moments(Prior(net, variances), x), np.mean(each, axis=0), rtol=1e-12)
    with pytest.raises(SpecificationError, match="inputs have shape"):
        given_input_moments(Prior(net, variances), x[:0])


def test_a_position_alone_is_the_mean_over_its_channels():
    net = Lattice.chain((1, 5), [concatenate([Conv(2, 3, padding=1)], [Conv(2, 1)])])
    image = np.random.default_rng(0).normal(size=(1, 1, 5))
    prior = Prior(net, layer_variances(net, he))
    units = [given_input_moments(prior, image, output=Unit((2,), channel)) for channel in range(4)]
    np.testing.assert_allclose(given_input_moments(prior, image, output=2), np.mean(units, axis=0), rtol=1e-12)
    assert not np.allclose(units[0], units[-1])
