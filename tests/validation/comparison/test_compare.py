"""The verdict of `compare` against the formulas of its module written out over pairs of blocks, and its limits."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student
from torch import nn

from landscape import predict
from lattice import SpecificationError, families
from validation import Estimate, Verdict, compare, measure
from validation.comparison.compare import RESAMPLES, checked_comparison


def synthetic(blocks=24, shape=(2, 3), spread=0.3, seed=0, equal=False, unreached=False):
    """Blocks of gamma draws of unlike numbers around a tilted map."""
    rng = np.random.default_rng(seed)
    truth = np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)
    if unreached:
        truth.flat[-1] = 0
    counts = np.full(blocks, 1) if equal else rng.integers(1, 4, blocks)
    means = truth * rng.gamma(1 / spread**2, spread**2, (blocks, *shape)) * rng.gamma(4, 0.25, (blocks, *(1 for _ in shape)))
    sums = means * counts.reshape(-1, *(1 for _ in shape))
    return truth, Estimate.of_blocks(sums, counts, seed=3, batched=False, energies=np.ones(int(counts.sum())))


def written_out(estimate, expected, confidence):
    """theta, its interval, the resolution and the scale's interval, from the covariance S as sums over (pairs of) blocks."""
    shares = estimate.block_draws / estimate.block_draws.sum()
    blocks = [block.ravel() for block in estimate.blocks]
    n, pixels = len(blocks), blocks[0].size
    mean = sum(share * block for share, block in zip(shares, blocks, strict=True))
    relative = mean / mean.mean()
    d = relative - expected.ravel() / expected.mean()
    pieces = [s * (block - relative * block.mean()) / mean.mean() for s, block in zip(shares, blocks, strict=True)]
    bessel = n / (n - 1)
    variance = bessel * sum(piece**2 for piece in pieces)
    theta = np.mean(d**2 - variance)
    trace = bessel * sum((pieces[i] @ pieces[j]) ** 2 for i in range(n) for j in range(n) if i != j)
    quadratic = bessel * sum((piece @ d) ** 2 for piece in pieces)
    null, shift = 2 / pixels**2 * trace, 4 / pixels**2 * max(quadratic - trace, 0)
    rate = quadratic / pixels / (d @ d)

    def degrees(values):
        squares = np.array(values) ** 2 / sum(value**2 for value in values)
        return min(2 / (sum(squares**2) - 1 / n), n - 1)

    def quantile(p):
        return student.ppf(p, degrees([piece @ d for piece in pieces]))

    def largest(value, q, slope):
        return brentq(lambda x: x - q * np.sqrt(max(null + 4 * slope * x, 0)) - value, max(value, 0), 1e3, xtol=1e-14)

    q = quantile((1 + confidence) / 2)
    low, high = max(theta - q * np.sqrt(null + shift), 0) ** 0.5, largest(theta, q, rate) ** 0.5
    resolution = largest(0, q + quantile(0.8), max(rate, variance.max() / pixels)) ** 0.5
    scales = [share * (block.mean() - mean.mean()) for share, block in zip(shares, blocks, strict=True)]
    scale_error = np.sqrt(bessel * sum(scale**2 for scale in scales))
    ratio = mean.mean() / expected.mean()
    width = student.ppf((1 + confidence) / 2, degrees(scales)) * scale_error / mean.mean() + 1e-5
    interval = (ratio * np.exp(-width), ratio * np.exp(width))
    return {
        "error": max(theta, 0) ** 0.5,
        "error_interval": (low, high),
        "resolution": resolution,
        "scale_ratio": ratio,
        "scale_ratio_error": scale_error / expected.mean(),
        "scale_interval": interval,
        "z": (d / np.sqrt(variance)).reshape(estimate.mean.shape),
    }


@pytest.mark.parametrize("tilt", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("spread", [0.05, 0.4])
@pytest.mark.parametrize("confidence", [0.6, 0.99])
def test_every_number_is_its_formula_written_out(tilt, spread, confidence):
    truth, estimate = synthetic(spread=spread)
    expected = 3 * truth * (1 + tilt * np.linspace(-1, 1, 6).reshape(2, 3) ** 2)
    found = compare(predicted=expected, estimate=estimate, confidence=confidence)
    for name, value in written_out(estimate, expected, confidence).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-6, atol=1e-9, err_msg=name)
    assert (found.draws, found.confidence, found.tolerance) == (estimate.draws, confidence, 0.05)


@pytest.mark.parametrize("confidence", [0.2, 0.9, 1 - 1e-9])
def test_the_band_of_z_is_the_quantile_over_blocks_drawn_again(confidence):
    """Each resample is put together block by block; one that is drawn twice counts as two."""
    truth, estimate = synthetic(blocks=20, unreached=True, seed=5)
    rng, sups = np.random.default_rng(estimate.seed), []
    reached = truth.ravel() > 0
    blocks = estimate.blocks.reshape(20, -1)
    centre = estimate.relative.ravel()
    for times in rng.multinomial(20, np.full(20, 1 / 20), size=RESAMPLES):
        drawn = np.repeat(np.arange(20), times)
        shares = estimate.block_draws[drawn] / estimate.block_draws[drawn].sum()
        mean = shares @ blocks[drawn]
        shape = mean / mean.mean()
        influence = (blocks[drawn] - shape * blocks[drawn].mean(axis=1, keepdims=True)) / mean.mean()
        error = np.sqrt(np.sum((shares[:, None] * influence) ** 2, axis=0))
        sups.append(np.max(np.abs(shape - centre)[reached] / error[reached]))
    expected = sorted(sups)[min(int(np.ceil(confidence * (RESAMPLES - 1))), RESAMPLES - 1)]
    assert compare(truth, estimate, confidence=confidence).critical_z == pytest.approx(expected, rel=1e-6)


def test_the_pixels_beyond_the_band_are_named_worst_first():
    truth, estimate = synthetic(blocks=60, shape=(4, 5), spread=0.05)
    expected = truth.copy()
    for position, factor in (((1, 3), 1.3), ((3, 0), 0.6), ((0, 4), 1.6), ((2, 2), 0.8)):
        expected[position] *= factor
    found = compare(expected, estimate)
    sizes = {position: abs(found.z[position]) for position in np.ndindex(4, 5) if abs(found.z[position]) > found.critical_z}
    assert found.worst == tuple(sorted(sizes, key=sizes.get, reverse=True))
    assert {(1, 3), (3, 0), (0, 4), (2, 2)} <= set(found.worst)
    assert (found.z < 0).any()
    shown = [f"{position} (z = {found.z[position]:.1f})" for position in found.worst]
    assert ", ".join(shown[:3]) in str(found)
    assert shown[3] not in str(found)
    assert f"{len(found.worst)} pixels beyond" in str(found)
    assert "no path" not in str(found)


def test_an_interval_around_the_tolerance_decides_nothing():
    """The tolerance belongs to agreement and the interval that holds it decides nothing."""
    truth, estimate = synthetic(blocks=60, spread=0.1)
    low, high = compare(truth * np.linspace(1, 2, 6).reshape(2, 3), estimate).error_interval
    assert 0 < low < high
    verdicts = [
        compare(truth * np.linspace(1, 2, 6).reshape(2, 3), estimate, tolerance=tolerance).verdict
        for tolerance in (high, np.nextafter(high, 0), low, np.nextafter(low, 0))
    ]
    assert verdicts == [Verdict.AGREE, Verdict.NOT_ENOUGH_DATA, Verdict.NOT_ENOUGH_DATA, Verdict.DISAGREE]


def test_twenty_equal_draws_are_enough_and_what_is_worth_less_is_not():
    truth, estimate = synthetic(blocks=20, spread=1e-3, equal=True)
    assert estimate.effective_draws == 20
    assert compare(truth, estimate, tolerance=0.1).verdict is Verdict.AGREE
    assert compare(truth[::-1], estimate, tolerance=0.1).verdict is Verdict.DISAGREE
    unequal = replace(estimate, energies=np.array([*np.ones(19), 1.1]))
    assert compare(truth, unequal, tolerance=0.1).verdict is Verdict.NOT_ENOUGH_DATA
    assert compare(truth[::-1], unequal, tolerance=0.1).verdict is Verdict.NOT_ENOUGH_DATA
    with pytest.raises(SpecificationError, match="too few"):
        compare(truth, synthetic(blocks=19, equal=True)[1])


def test_a_gradient_where_no_path_leads_is_always_a_disagreement():
    truth, estimate = synthetic(spread=1e-3)
    truth[0, 1] = truth[1, 2] = 0
    found = compare(truth, replace(estimate, energies=np.eye(1, estimate.draws)[0]), tolerance=100)
    assert (found.verdict, found.unreachable) == (Verdict.DISAGREE, 2)
    assert "2 pixels that no path reaches" in str(found)
    unreached, silent = synthetic(spread=1e-3, unreached=True)
    found = compare(unreached, silent, tolerance=0.1)
    assert (found.verdict, found.unreachable, found.z[1, 2]) == (Verdict.AGREE, 0, 0)


def test_draws_without_any_spread_leave_no_doubt():
    estimate = Estimate.of_blocks(np.full((32, 4), 2.0), np.full(32, 1), seed=0, batched=False, energies=np.ones(32))
    found = compare(np.full(4, 0.25), estimate, tolerance=0)
    assert (found.verdict, found.error, found.error_interval, found.worst) == (Verdict.AGREE, 0, (0, 0), ())
    assert found.scale_ratio == 8
    low, high = found.scale_interval
    assert 7.99 < low < 8 < high < 8.01  # a scale is known to rounding at best
    off = compare(np.array([0.25, 0.25, 0.25, 0.75]), estimate)
    assert off.error == pytest.approx(np.std([2 / 3, 2 / 3, 2 / 3, 2]))
    assert off.verdict is Verdict.DISAGREE


@pytest.mark.parametrize(
    ("interval", "off"), [((1.0, 1.2), False), ((0.8, 1.0), False), ((1.01, 1.2), True), ((0.8, 0.99), True), ((0.5, 2), False)]
)
def test_a_scale_is_off_where_its_interval_excludes_one(interval, off):
    truth, estimate = synthetic()
    found = replace(compare(truth, estimate), scale_interval=interval)
    assert found.scale_is_off is off
    assert ("is not 1" in found.scale_in_words) == off


@pytest.mark.parametrize(
    "options",
    [
        *({"confidence": value} for value in (0, 1, -0.5, 1.5, float("nan"), "0.9", True)),
        *({"tolerance": value} for value in (-0.01, -2, float("inf"), float("nan"), None)),
    ],
)
def test_a_negative_tolerance_and_a_false_confidence_are_refused(options):
    truth, estimate = synthetic()
    with pytest.raises(SpecificationError, match=next(iter(options))):
        compare(truth, estimate, **options)


def test_maps_that_nothing_can_be_compared_with_are_refused():
    truth, estimate = synthetic()
    for bad in (np.zeros((2, 3)), -truth, np.where(truth > 1, np.inf, truth), truth * 1j, truth.ravel(), truth.astype(str)):
        with pytest.raises(SpecificationError, match="map"):
            compare(bad, estimate)
    for value in (np.inf, np.nan, 0):
        blocks = estimate.blocks * 0 if value == 0 else estimate.blocks.copy()
        blocks[3, 1, 1] = value
        with pytest.raises(SpecificationError, match="measured map"):
            compare(truth, replace(estimate, blocks=blocks))
    with pytest.raises(SpecificationError, match="estimate is a ndarray"):
        compare(truth, estimate.mean)


def test_maps_of_any_real_type_and_scale_are_taken_as_they_are():
    truth, estimate = synthetic()
    whole = np.array([[0, 1, 1], [1, 0, 1]])
    for kind in (bool, np.int8, np.uint16, np.float32):
        found = checked_comparison(whole.astype(kind), estimate)
        assert found.dtype == float
        assert (found == whole).all()
    small = compare(1e-9 * truth, estimate)
    assert small.error == pytest.approx(compare(truth, estimate).error)
    assert small.scale_ratio == pytest.approx(1e9 * compare(truth, estimate).scale_ratio)
    net = families.plain(12, depth=1, channels=4)
    assert (checked_comparison(predict(net), measure(net, draws=2)) == predict(net).squared).all()


def test_errors_of_estimated_variances_widen_the_interval_of_the_scale():
    net = families.plain(12, depth=2, channels=4, padding=1)
    land, estimate = predict(net), measure(net, draws=400)
    errors = {name: 0.1 * (position + 1) for position, name in enumerate(land.traced.variances)}
    own = np.sqrt(sum(error**2 for error in errors.values()))
    known = compare(land, estimate)
    drawn = compare(replace(land, traced=replace(land.traced, variance_errors=errors)), estimate)
    assert drawn.scale_ratio == known.scale_ratio
    assert drawn.scale_ratio_error == pytest.approx(np.hypot(known.scale_ratio_error, own * known.scale_ratio))
    widths = [np.log(found.scale_interval[1] / found.scale_interval[0]) / 2 - 1e-5 for found in (known, drawn)]
    assert widths[1] == pytest.approx(np.hypot(widths[0], norm.ppf(0.995) * own))
    assert (drawn.verdict, drawn.error_interval) == (known.verdict, known.error_interval)  # those are of the map alone


def test_a_factorys_own_variances_agree_with_the_scheme_that_drew_them():
    """The maps of both are the same but for the error of V[w], far larger than that of 4,000 draws."""

    def factory():
        return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(192, 3))

    estimate = measure(factory, (2, 6, 8), draws=4000, seed=5)
    for initialisation in (None, "torch_default"):
        assert not compare(predict(factory, (2, 6, 8), initialisation=initialisation), estimate).scale_is_off
    wrong = 1.2 * predict(factory, (2, 6, 8)).squared
    assert compare(wrong, estimate).scale_is_off
