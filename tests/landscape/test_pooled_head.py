"""ReLU under a pooled head: path sum and second path law together against Monte Carlo and the infinite-width recursion."""

import numpy as np
import pytest
import torch

from landscape import he, predict, squared_gradients
from landscape.infinite_width import given_input_moments
from landscape.initialisation import layer_variances
from landscape.pooled_head import _squared_map, head_correction, pooled_gates
from lattice import Activation, Blur, Conv, Dense, Flatten, GlobalPool, Lattice, Pool, Upsample, residual
from validation import compare, measure
from validation.montecarlo.build import build

relu = Activation("relu")
HEAD = [GlobalPool("avg"), Flatten(), Dense(6)]


def chain(*strides, shape=(1, 12), channels=32, gate=relu):
    layers = [part for stride in strides for part in (Conv(channels, 3, stride, padding=1), gate)]
    return Lattice.chain(shape, [*layers, *HEAD])


def recursion(net, inputs=400, seed=0):
    """The infinite-width second moment averaged over white inputs; and its standard error."""
    variances = layer_variances(net, he)
    noise = np.random.default_rng(seed).normal(size=(inputs, 1, *net.input_shape))
    maps = np.array([given_input_moments(net, variances, x) for x in noise])
    return maps.mean(axis=0), maps.std(axis=0, ddof=1) / inputs**0.5


@pytest.mark.parametrize(
    ("net", "allowed"),
    [
        # (allowed: of the scale, for what fluctuates in S and rho from input to input: less with more input channels)
        (chain(1), 0.08),
        (chain(1, 1), 0.08),
        (chain(1, shape=(4, 12)), 0.03),
        (chain(1, 2, 1), 0.08),
        (chain(1, 1, gate=Activation("leaky_relu", 0.2)), 0.08),
        (chain(1, 1, gate=Activation("abs")), 0.08),
        (chain(1, 1, shape=(2, 5, 5)), 0.06),
        (Lattice.chain((2, 12), [Conv(8, 3, padding=1), residual([relu, Conv(8, 3, padding=1)]), relu, *HEAD]), 0.06),
        (Lattice.chain((2, 12), [Conv(8, 3, padding=1), relu, Pool("avg", 2), Conv(8, 3, padding=1), relu, *HEAD]), 0.10),
    ],
    ids=["one", "two", "four channels", "stride", "leaky", "abs", "plane", "skip", "pool below"],
)
def test_both_laws_together_are_the_infinite_width_limit_for_white_inputs(net, allowed):
    truth, error = recursion(net)
    variances = layer_variances(net, he)
    paths = squared_gradients(net, variances)
    both = paths + head_correction(net, variances)
    assert abs(both.mean() / truth.mean() - 1) < allowed + 4 * np.mean(error) / truth.mean()
    assert abs(both.mean() / truth.mean() - 1) < 0.6 * abs(paths.mean() / truth.mean() - 1)

    def shape(found):
        return np.sqrt(np.mean((found / found.mean() - truth / truth.mean()) ** 2))

    noise = np.mean(error / truth.mean())
    assert shape(both) < max(shape(paths), 2 * noise) + 0.005


def test_predict_adds_it_and_monte_carlo_agrees():
    net = chain(1, 1, shape=(1, 16), channels=48)
    land = predict(net)
    agreement = compare(land, measure(net, draws=4000, seed=0))
    assert abs(agreement.scale_ratio - 1) < 0.1
    assert agreement.error < 0.025
    assert any("second path law was added" in reason for reason in land.reasons)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "channels"), [(1, 1), (2, 1), (4, 1), (2, 3), (4, 3)])
def test_the_table_of_stride_1_nets(layers, channels):
    """map error at the noise and scale within 10 %, on 10x10 pixels with 64 channels"""
    net = chain(*[1] * layers, shape=(channels, 10, 10), channels=64)
    estimate = measure(net, draws=6000, seed=0)
    agreement = compare(predict(net), estimate)
    print(layers, channels, agreement.error, agreement.error_interval, agreement.scale_ratio)
    assert agreement.error < 0.025
    assert abs(agreement.scale_ratio - 1) < 0.1


def test_it_is_silent_where_no_gate_stands_under_the_head():
    flat = Lattice.chain((1, 8), [Conv(4, 3), relu, Flatten(), Dense(2)])
    linear = Lattice.chain((1, 8), [Conv(4, 3), *HEAD])
    aside = Lattice.chain((1, 8), [Conv(4, 3), relu, residual([Conv(4, 3, padding=1)]), *HEAD])
    for net in (flat, linear, aside):
        assert pooled_gates(net) == ()
        assert head_correction(net, layer_variances(net, he)) is None


def test_it_vanishes_where_a_pyramid_leaves_few_positions():
    net = chain(2, 2, 2, 2, shape=(3, 32, 32))
    variances = layer_variances(net, he)
    assert head_correction(net, variances).mean() < 2e-3 * squared_gradients(net, variances).mean()


@pytest.mark.parametrize("op", [Blur((1, 2, 1), 2), Upsample(2, mode="linear")], ids=["blur", "resize"])
def test_fixed_coefficients_are_squared_on_every_axis(op):
    reads = torch.func.jacrev(build(Lattice.chain((1, 4, 6), [op]), he))(torch.zeros(1, 1, 4, 6))
    above = np.random.default_rng(0).random(reads.shape[2:4])
    expected = np.einsum("yx,yxij->ij", above, np.square(reads[0, 0, :, :, 0, 0].numpy()))
    np.testing.assert_allclose(_squared_map(op, (4, 6), above), expected, rtol=1e-6)
