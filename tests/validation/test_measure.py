"""Monte Carlo: the same draws on every path, the right law, and the world left as it was."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from landscape import Guarantee, predict
from lattice import (
    Activation,
    AssumptionError,
    Conv,
    Dense,
    Flatten,
    Lattice,
    SpecificationError,
    UnsupportedError,
    families,
    residual,
)
from validation import Verdict, compare, measure

FALSE_ALARM = 1e-6


def factory():
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, stride=2))


def test_a_draw_depends_on_the_seed_and_its_index_only():
    reference = measure(factory, (2, 8, 8), draws=11, seed=3, batched=False)
    for batched, chunk in ((False, 5), (True, 1), (True, 4), (True, 64)):
        again = measure(factory, (2, 8, 8), draws=11, seed=3, batched=batched, chunk=chunk)
        np.testing.assert_allclose(again.blocks, reference.blocks, rtol=1e-5)
    longer = measure(factory, (2, 8, 8), draws=13, seed=3, batched=False)
    assert (longer.blocks[:11] == reference.blocks).all()
    other = measure(factory, (2, 8, 8), draws=11, seed=4, batched=False)
    assert not np.allclose(other.blocks, reference.blocks, rtol=0.1)


def test_blocks_are_means_of_consecutive_draws():
    net = families.plain(6, depth=1, channels=2)
    fine, coarse = measure(net, draws=150), measure(net, draws=450)
    assert len(fine.blocks) == 150
    assert len(coarse.blocks) == 200
    assert coarse.block_draws.sum() == 450
    np.testing.assert_allclose(coarse.mean, np.average(coarse.blocks, axis=0, weights=coarse.block_draws))
    starts = np.concatenate([[0], np.cumsum(coarse.block_draws)])
    inside = [slice(a, b) for a, b in pairwise(starts) if b <= 150]
    for block, part in zip(coarse.blocks, inside, strict=False):
        np.testing.assert_allclose(block, fine.blocks[part].mean(axis=0), rtol=1e-5)


def test_one_linear_layer_follows_the_chi_square_law():
    """g_i = sum_j v_j w_ji is N(0, Z V), so that sum g^2 / (Z V) over draws and pixels is chi-square (tier 1)."""
    net = Lattice.chain((1, 6), [Flatten(), Dense(5)])
    variance, draws = 0.7, 3000
    estimate = measure(net, draws=draws, initialisation=variance)
    total = estimate.mean.sum() * draws / variance
    for true_variance, accepted in ((1.0, True), (1.1, False), (1 / 1.1, False)):
        tail = stats.chi2(draws * 6).cdf(total / true_variance)
        assert (min(tail, 1 - tail) > FALSE_ALARM) == accepted


NETS = {
    "linear": Lattice.chain((1, 9), [Conv(4, 3, padding=1), Conv(4, 3, 2, padding=1), Conv(2, 3, padding=1)]),
    "relu": Lattice.chain(
        (2, 9), [Conv(4, 3, padding=1), Activation("relu"), Conv(4, 3), Activation("relu"), Flatten(), Dense(2)]
    ),
    "residual": Lattice.chain((1, 9), [Conv(4, 3, padding=1), residual([Conv(4, 3, padding=1)]), Conv(2, 3, 2, padding=1)]),
}
WRONG = {  # negative controls: the same nets with one mistake each
    "linear": Lattice.chain((1, 9), [Conv(4, 3, padding=1), Conv(4, 3, 2, padding=(0, 2)), Conv(2, 3, padding=1)]),
    "relu": Lattice.chain(
        (2, 9), [Conv(4, 3, padding=(0, 2)), Activation("relu"), Conv(4, 3), Activation("relu"), Flatten(), Dense(2)]
    ),
    "residual": Lattice.chain((1, 9), [Conv(4, 3, padding=1), Conv(4, 3, padding=1), Conv(2, 3, 2, padding=1)]),
}


@pytest.mark.parametrize("name", NETS)
def test_prediction_and_measurement_agree_and_a_planted_error_does_not(name):
    estimate = measure(NETS[name], draws=2000, seed=7)
    land = predict(NETS[name])
    assert land.guarantee is Guarantee.EXACT
    right = compare(land, estimate, tolerance=0.06, confidence=1 - FALSE_ALARM)
    assert right.verdict is not Verdict.DISAGREE, right
    assert abs(right.scale_ratio - 1) < 5 * right.scale_ratio_error
    wrong = compare(predict(WRONG[name]), estimate, tolerance=0.06, confidence=1 - FALSE_ALARM)
    off_scale = abs(wrong.scale_ratio - 1) > 5 * wrong.scale_ratio_error
    assert wrong.verdict is Verdict.DISAGREE or off_scale, wrong


def test_the_debiased_error_is_the_true_one():
    net = NETS["linear"]
    estimate = measure(net, draws=2000)
    true = predict(net).squared
    tilt = 1 + 0.3 * np.linspace(-1, 1, 9)
    agreement = compare(true * tilt, estimate, tolerance=0.05)
    shape, tilted = true / true.mean(), true * tilt / (true * tilt).mean()
    error = float(np.sqrt(np.mean((shape - tilted) ** 2)))
    low, high = agreement.error_interval
    assert low < error < high
    assert high - low < 0.1
    assert agreement.verdict is Verdict.DISAGREE


def test_few_draws_give_no_verdict():
    agreement = compare(predict(NETS["relu"]), measure(NETS["relu"], draws=20), tolerance=0.02)
    assert agreement.verdict is Verdict.NOT_ENOUGH_DATA
    assert agreement.resolution > 0.02
    assert "NOT ENOUGH DATA" in str(agreement)


def test_unreachable_pixels_must_have_no_gradient_at_all():
    net = Lattice.chain((1, 8), [Conv(1, 3, 3), Conv(1, 2)])  # cells 6 and 7 are never read
    estimate = measure(net, draws=200)
    land = predict(net)
    assert (land.squared[6:] == 0).all()
    assert (estimate.mean[6:] == 0).all()
    assert compare(land, estimate, tolerance=0.5).unreachable == 0
    wrong = land.squared.copy()
    wrong[0] = 0
    agreement = compare(wrong, estimate, tolerance=10.0)
    assert agreement.unreachable == 1
    assert agreement.verdict is Verdict.DISAGREE


def test_nan_never_passes():
    estimate = measure(NETS["linear"], draws=20)
    with pytest.raises(SpecificationError, match="predicted map has NaN"):
        compare(np.full(9, np.nan), estimate)
    with pytest.raises(SpecificationError, match=r"shape \(8,\), the measured one \(9,\)"):
        compare(np.ones(8), estimate)


def test_measuring_leaves_the_world_as_it_was():
    random, numpy_random = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    measure(factory, (2, 8, 8), draws=4)
    measure(NETS["relu"], draws=4)
    assert torch.equal(torch.get_rng_state(), random)
    assert (np.random.get_state()[1] == numpy_random).all()  # noqa: NPY002
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_an_interrupt_returns_the_draws_so_far():
    calls = []

    def interrupted():
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return factory()

    estimate = measure(interrupted, (2, 8, 8), draws=100, batched=False)
    whole = measure(factory, (2, 8, 8), draws=100, batched=False)
    assert estimate.interrupted
    assert estimate.draws == 17  # three networks were drawn beforehand, to look at
    assert (estimate.blocks == whole.blocks[:17]).all()


constant = factory()


class TwoOutputs(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"factory": lambda: constant}, AssumptionError, "same weights twice"),
        ({"factory": lambda: 3}, SpecificationError, "returned a int"),
        ({"factory": TwoOutputs}, UnsupportedError, "returns tuple"),
        ({"draws": 1}, SpecificationError, "two draws at least"),
        ({"shape": None}, SpecificationError, "needs the shape"),
        ({"mode": "train"}, UnsupportedError, "only 'eval'"),
        ({"factory": NETS["linear"]}, SpecificationError, r"the lattice has input shape \(1, 9\)"),
    ],
)
def test_bad_requests_are_refused(arguments, error, message):
    request = {"factory": factory, "shape": (2, 8, 8), "draws": 4, **arguments}
    with pytest.raises(error, match=message):
        measure(request.pop("factory"), request.pop("shape"), **request)
