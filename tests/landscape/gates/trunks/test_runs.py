"""Runs of gates are orthant probabilities of Gaussian walks, integrals by scipy, and what drawn units do."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import multivariate_normal, norm
from torch import nn

from landscape import predict
from landscape.gates.trunks import runs
from landscape.gates.trunks.runs import Step, run_rates
from lattice import Activation, UnsupportedError
from validation import compare, measure

RELU = Activation("relu")


def rates_of(gates, mean, variance, *steps):
    """Of one unit: a dictionary of numbers, and the list of E[phi']."""
    rates, firsts = run_rates(
        gates, np.array([mean]), np.array([variance]), [Step(*(np.array([part]) for part in step)) for step in steps]
    )
    return {place: float(rate[0]) for place, rate in rates.items()}, [float(first[0]) for first in firsts]


def walk(mean, variance, steps):
    """Mean and covariance of a_0, a_1, ... as long as all gates are open."""
    means, covariance = [mean], [[variance]]
    for scale, added, spread in steps:
        means.append(scale * means[-1] + added)
        last = [scale * entry for entry in covariance[-1]]
        covariance = [[*row, entry] for row, entry in zip(covariance, last, strict=True)]
        covariance.append([*last, scale * last[-1] + spread])
    return np.array(means), np.array(covariance)


@pytest.mark.parametrize("spread", [0.05, 0.5, 2.0, 30.0])
def test_three_open_gates_are_the_orthant_of_three_arcsines(spread):
    steps = [(1.0, 0.0, spread), (0.8, 0.0, 2 * spread)]
    rates, _ = rates_of([RELU] * 3, 0.0, 1.0, *steps)
    covariance = walk(0.0, 1.0, steps)[1]
    deviation = np.sqrt(np.diag(covariance))
    r = covariance / np.outer(deviation, deviation)
    expected = 1 / 8 + sum(np.arcsin(r[pair]) for pair in [(0, 1), (0, 2), (1, 2)]) / (4 * np.pi)
    assert rates[0, 2] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_open_gates_are_an_orthant_of_a_gaussian_walk(seed):
    rng = np.random.default_rng(seed)
    steps = [(rng.uniform(0.5, 1.5), rng.normal(), rng.uniform(0.1, 2)) for _ in range(3)]
    mean, variance = rng.normal(), rng.uniform(0.3, 2)
    rates, _ = rates_of([RELU] * 4, mean, variance, *steps)
    means, covariance = walk(mean, variance, steps)
    for u in (1, 2, 3):
        cut = slice(u + 1)
        expected = multivariate_normal.cdf(means[cut], np.zeros(u + 1), covariance[cut, cut], abseps=1e-7, releps=1e-7)
        assert rates[0, u] == pytest.approx(expected, abs=2e-6)


def test_higher_runs_are_sums_over_where_the_unit_was_last_closed():
    steps = [(1.2, 0.3, 0.5), (0.9, -0.2, 1.0), (1.0, 0.1, 0.7)]
    rates, _ = rates_of([RELU] * 4, 0.4, 1.5, *steps)

    def opened(first, last):
        """P(a_first, ..., a_last > 0) of a walk that begins at the first of them, from 0 where that is not the lowest."""
        start = (0.4, 1.5) if first == 0 else steps[first - 1][1:]
        means, covariance = walk(*start, steps[first:last])
        return float(multivariate_normal.cdf(means, 0 * means, covariance, abseps=1e-7, releps=1e-7))

    closed = [1 - opened(0, 0)]
    for t in (1, 2):
        before = [1.0, *closed]
        closed.append(sum(before[r] * ((opened(r, t - 1) if r < t else 1.0) - opened(r, t)) for r in range(t + 1)))
    before = [1.0, *closed]
    for s in (1, 2, 3):
        expected = sum(before[r] * opened(r, 3) for r in range(s + 1))
        assert rates[s, 3] == pytest.approx(expected, abs=2e-6)


def test_two_leaky_gates_are_what_scipy_integrates():
    gate, slope = Activation("leaky_relu", 0.2), 0.2
    rates, firsts = rates_of([gate] * 2, -0.3, 0.8, (0.7, 0.4, 0.6))

    def above(z, power):
        open_ = ndtr((0.7 * z * (1 if z > 0 else slope) + 0.4) / np.sqrt(0.6))
        return open_ + slope**power * (1 - open_)

    def integral(weight):
        return sum(
            quad(lambda z: weight(z) * norm.pdf(z, -0.3, np.sqrt(0.8)), *ends, epsabs=1e-12)[0] for ends in [(-9, 0), (0, 9)]
        )

    assert rates[0, 1] == pytest.approx(integral(lambda z: (1 if z > 0 else slope**2) * above(z, 2)), rel=1e-7)
    assert rates[1, 1] == pytest.approx(integral(lambda z: above(z, 2)), rel=1e-7)
    assert firsts[1] == pytest.approx(integral(lambda z: above(z, 1)), rel=1e-7)


@pytest.mark.parametrize("name", ["relu", "relu6", "tanh", "gelu", "hardswish", "elu"])
def test_any_gates_are_what_a_million_drawn_units_do(name):
    """Five standard errors: a false alarm in 1 of 100,000 runs of all six."""
    steps = [(0.9, 0.2, 0.5), (1.1, -0.4, 0.3), (0.8, 0.5, 1.5)]
    rates, firsts = rates_of([Activation(name)] * 4, 0.5, 2.0, *steps)
    function = getattr(torch.nn.functional, name)
    generator = torch.Generator().manual_seed(7)
    a = 0.5 + 2**0.5 * torch.randn(10**6, generator=generator, dtype=torch.float64)
    slopes = []
    for scale, added, spread in [*steps, (0.0, 0.0, 0.0)]:
        a.requires_grad_()
        value = function(a)
        slopes.append(torch.autograd.grad(value.sum(), a)[0])
        a = scale * value.detach() + added + spread**0.5 * torch.randn(10**6, generator=generator, dtype=torch.float64)
    for (s, u), rate in rates.items():
        drawn = torch.stack(slopes[s : u + 1]).prod(dim=0) ** 2
        assert abs(rate - float(drawn.mean())) < 5 * float(drawn.std()) / 1e3
    for first, slope in zip(firsts, slopes, strict=True):
        assert abs(first - float(slope.mean())) < 5 * float(slope.std()) / 1e3


def test_where_nothing_but_a_shift_is_added_the_gates_cut_one_normal_law():
    rates, _ = rates_of([RELU] * 3, 0.2, 1.0, (2.0, -1.0, 0.0), (1.0, 0.3, 0.0))
    assert rates[0, 2] == pytest.approx(ndtr(0.2 - 0.5), rel=1e-7)  # 2 z - 1 > 0
    assert rates[2, 2] == pytest.approx(1.0, rel=1e-7)  # 0.3 is always left


def test_a_small_branch_moves_rates_by_little():
    none = rates_of([RELU] * 4, 0.3, 1.0, *[(1.0, 0.0, 0.0)] * 3)[0][0, 3]
    for deviation in (1e-30, 1e-4, 0.01, 0.03):
        found = rates_of([RELU] * 4, 0.3, 1.0, *[(1.0, 0.0, deviation**2)] * 3)[0][0, 3]
        assert none * (1 - deviation) - 4e-3 < found <= none + 1e-9


@pytest.mark.parametrize("size", [1e-120, 1e-3, 1e120])
def test_runs_of_relus_are_the_same_at_every_size_of_the_signal(size):
    steps = [(0.9, 0.2, 0.5), (1.1, -0.4, 0.0), (0.8, 0.5, 1.5)]
    whole, _ = rates_of([RELU] * 4, 0.5, 2.0, *steps)
    scaled, _ = rates_of([RELU] * 4, 0.5 * size, 2 * size**2, *((c, m * size, w * size**2) for c, m, w in steps))
    assert scaled == pytest.approx(whole, rel=1e-9)


def test_units_of_all_sizes_beside_each_other_are_each_as_alone():
    rng = np.random.default_rng(3)
    mean, variance = rng.normal(size=40), rng.uniform(0.01, 3, 40)
    steps = [Step(rng.uniform(0.2, 2, 40), rng.normal(size=40), rng.uniform(0, 1, 40) ** 6) for _ in range(3)]
    together, _ = run_rates([RELU] * 4, mean, variance, steps)
    for unit in range(0, 40, 7):
        alone, _ = rates_of([RELU] * 4, mean[unit], variance[unit], *(tuple(part[unit] for part in step) for step in steps))
        assert {place: rate[unit] for place, rate in together.items()} == pytest.approx(alone, rel=1e-6)


def test_too_many_different_units_are_refused(monkeypatch):
    monkeypatch.setattr("landscape.gates.trunks.runs.MOST_CASES", 5)
    one = np.ones(7)
    with pytest.raises(UnsupportedError, match="7 units that differ along a trunk of 2 gates; at most 5"):
        run_rates([RELU] * 2, np.arange(7.0), one, [Step(one, 0 * one, one)])


@pytest.mark.parametrize(("scale", "added", "spread"), [(-1.0, 0.1, 0.3), (-0.5, -0.4, 0.1), (-2.0, 1.0, 0.05)])
def test_a_run_of_differences_is_open_as_often_as_drawn(scale, added, spread):
    """Where what a gate lets through is subtracted, what is open below is closed above more often than not."""
    one, draws = np.ones(1), 1_000_000
    rates, firsts = run_rates([RELU] * 3, 0 * one, one, [Step(scale * one, added * one, spread * one)] * 2)
    noise = np.random.default_rng(0).normal(size=(3, draws))
    read = noise[0]
    opened = [read > 0]
    for k in (1, 2):
        read = scale * np.maximum(read, 0) + added + np.sqrt(spread) * noise[k]
        opened.append(read > 0)
    for (low, high), rate in rates.items():
        truth = np.all(opened[low : high + 1], axis=0).mean()
        assert rate[0] == pytest.approx(truth, abs=4 * (truth / draws) ** 0.5 + 1e-6), (low, high)
    assert [float(first[0]) for first in firsts] == pytest.approx([one.mean() for one in opened], abs=2e-3)


@pytest.mark.parametrize("sign", [-1.0, 1.0], ids=["difference", "sum"])
def test_a_gate_over_a_difference_has_the_scale_of_its_run(sign):
    def factory():
        class Difference(nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two, self.head = nn.Conv1d(16, 64, 1), nn.Conv1d(64, 64, 1), nn.Conv1d(64, 4, 2)

            def forward(self, x):
                y = torch.relu(self.one(x))
                branch = 0.5 * self.two(y) + 0.1
                return self.head(torch.relu(branch + y if sign > 0 else branch - y))

        return Difference()

    agreement = compare(predict(factory, (16, 2)), measure(factory, (16, 2), draws=400))
    assert abs(agreement.scale_ratio - 1) < 0.05 + 3 * agreement.scale_ratio_error


def test_runs_of_many_channels_are_those_of_each_channel_alone(monkeypatch):
    rng = np.random.default_rng(3)
    border = np.exp(-np.minimum(np.arange(20), 19 - np.arange(20)) / 2)
    channels, size = 200, 1 - 0.3 * np.add.outer(border, border)
    cases = []
    every = runs._all_rates
    monkeypatch.setattr(runs, "_all_rates", lambda gates, rows: (cases.append(len(rows)), every(gates, rows))[1])

    def of_each(low, high):
        return rng.uniform(low, high, (channels, 1, 1))

    steps = [Step(np.ones(()), of_each(-1, 1), of_each(0.3, 2) * size) for _ in range(2)]
    mean, variance = of_each(-1, 1), of_each(0.5, 2) * size
    rates, firsts = run_rates([RELU] * 3, mean, variance, steps)
    assert sum(cases) < channels * 55 / 2  # of 10 x 10 distances from the borders 55 differ
    for channel in (0, 17, 101, 199):
        own = [Step(*(part[channel] if part.ndim else part for part in step)) for step in steps]
        alone, slopes = run_rates([RELU] * 3, mean[channel], variance[channel], own)
        for place, rate in alone.items():
            np.testing.assert_allclose(rates[place][channel], rate, rtol=2e-4)
        np.testing.assert_allclose(firsts[2][channel], slopes[2], rtol=2e-4)


@pytest.mark.parametrize("gate", ["relu", "relu6", "hardtanh"])
@pytest.mark.parametrize("constant", [0.7, -0.7])
def test_a_run_that_starts_at_a_constant_has_the_law_of_what_is_added(gate, constant):
    """Cells of a padding with a number other than zero: nothing varies there but the branch."""
    gates = [RELU, Activation(gate)]
    rates, firsts = rates_of(gates, constant, 0.0, (1.0, 0.2, 0.3))
    mean, deviation, highest = max(constant, 0) + 0.2, 0.3**0.5, {"relu": np.inf, "relu6": 6.0, "hardtanh": 1.0}[gate]
    inside = norm.cdf(highest, mean, deviation) - norm.cdf(-1.0 if gate == "hardtanh" else 0.0, mean, deviation)
    np.testing.assert_allclose([firsts[0], rates[0, 0]], float(constant > 0))
    np.testing.assert_allclose([firsts[1], rates[1, 1]], inside, rtol=1e-6)
    np.testing.assert_allclose(rates[0, 1], inside * (constant > 0), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("channels", [40, 200])
def test_rates_of_many_channels_are_the_same_at_every_size_of_the_signal(channels):
    """Which of them are computed is a matter of their places, and not of their numbers."""
    rng = np.random.default_rng(1)
    border = np.exp(-np.minimum(np.arange(12), 11 - np.arange(12)) / 2)
    whole, size = 1 - 0.3 * np.add.outer(border, border), (channels, 1, 1)
    scales, means = [rng.uniform(0.8, 1.2, size) for _ in range(2)], [rng.normal(0, 0.2, size) for _ in range(3)]
    spreads = [rng.uniform(0.8, 1.2, size) * whole for _ in range(3)]
    found = []
    for s in (1.0, 3e-9, 7e11):
        steps = [
            Step(*parts) for parts in zip(scales, [s * m for m in means[1:]], [s**2 * v for v in spreads[1:]], strict=True)
        ]
        rates, firsts = run_rates([RELU] * 3, s * means[0], s**2 * spreads[0], steps, averaged=True)
        found.append([*(rates[place] for place in sorted(rates)), *firsts])
    for rates in found[1:]:
        for rate, expected in zip(rates, found[0], strict=True):
            np.testing.assert_allclose(rate, expected, rtol=1e-9)
