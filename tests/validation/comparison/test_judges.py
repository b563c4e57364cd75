"""The three judges pass what is true, with the false-alarm rate they state, and refuse every planted mistake."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape import path_sum, predict, rademacher
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Pool, families, residual
from validation import Verdict, compare, enumerated_squared_gradients, measure, plot_against_paths
from validation.comparison.judges import assert_agrees, assert_chi_square, assert_exact, negative_controls

relu = Activation("relu")
TINY = {
    "linear": Lattice.chain((1, 6), [Conv(2, 3, padding=1), Conv(1, 3, 2, padding=1)]),
    "residual": Lattice.chain((1, 6), [Conv(1, 3, padding=1), residual([Conv(1, 3, padding=1)])]),
    "relu": Lattice.chain((1, 6), [Conv(2, 2, padding=1), relu, Conv(1, 2), relu]),
    "pooled": Lattice.chain((2, 6), [Conv(1, 3, padding=1), Pool("avg", 2), Flatten(), Dense(2)]),
}


@pytest.mark.parametrize("name", TINY)
def test_enumeration_passes_the_truth_and_refuses_every_control(name):
    net = TINY[name]
    assert_exact(net, predict(net, initialisation=rademacher).squared)
    for mistake, wrong in negative_controls(net).items():
        with pytest.raises(AssertionError, match="not the enumerated expectation"):
            assert_exact(net, wrong)
        assert mistake


ONE_LAYER = {
    "conv": (Lattice.chain((2, 7), [Conv(3, 3, 2, padding=1)]), 2),
    "dilated": (Lattice.chain((1, 5, 5), [Conv(2, 3, padding=2, dilation=2)]), 1),
    "grouped": (Lattice.chain((2, 6), [Conv(4, 3, groups=2)]), 2),
    "under a pool": (Lattice.chain((1, 8), [Conv(2, 3), GlobalPool("avg")]), 1),
    "dense": (Lattice.chain((1, 9), [Flatten(), Dense(4)]), 1),
}


@pytest.mark.parametrize("name", ONE_LAYER)
def test_one_layer_follows_the_chi_square_law_and_ten_percent_is_seen(name):
    net, channels = ONE_LAYER[name]
    estimate = measure(net, draws=15_000, seed=11, initialisation=0.3)
    truth = predict(net, initialisation=0.3).squared
    assert_chi_square(truth, estimate, channels)
    with pytest.raises(AssertionError, match="chi-square"):
        assert_chi_square(1.1 * truth, estimate, channels)


def test_a_gradient_where_no_path_leads_is_refused():
    net = Lattice.chain((1, 5), [Conv(1, 2, 2)])
    estimate = measure(net, draws=50)
    truth = predict(net).squared
    assert truth[-1] == 0
    with pytest.raises(AssertionError, match="no path reaches"):
        assert_chi_square(np.array([0, *truth[1:]]), estimate)


DEEP = Lattice.chain((1, 8), [Conv(4, 3, padding=1), relu, residual([Conv(4, 3, padding=1)]), Conv(4, 3, 2, padding=1)])


def test_monte_carlo_passes_the_truth_and_refuses_every_control():
    estimate = measure(DEEP, draws=6000, seed=5, initialisation=0.1)
    assert_agrees(predict(DEEP, initialisation=0.1), estimate, tolerance=0.02)
    for wrong in negative_controls(DEEP, 0.1).values():
        with pytest.raises(AssertionError):
            assert_agrees(wrong, estimate, tolerance=0.02)


@pytest.mark.slow
def test_every_control_is_caught_at_twenty_seeds():
    truth, wrong = predict(DEEP, initialisation=0.1), negative_controls(DEEP, 0.1)
    for seed in range(20):
        estimate = measure(DEEP, draws=6000, seed=seed, initialisation=0.1)
        assert_agrees(truth, estimate, tolerance=0.02)
        for mistake in wrong.values():
            with pytest.raises(AssertionError):
                assert_agrees(mistake, estimate, tolerance=0.02)


NULL = families.plain((8, 8), depth=2, channels=4, padding=1)


def test_a_planted_pixel_is_named():
    net = NULL
    estimate = measure(net, draws=3000, seed=2)
    wrong = predict(net).squared.copy()
    wrong[2, 5] *= 1.6
    agreement = compare(wrong, estimate, confidence=0.95)
    assert agreement.worst[0] == (2, 5)
    assert "(2, 5)" in str(agreement)
    assert compare(predict(net), estimate, confidence=0.99).worst == ()


def test_a_map_four_times_off_is_said_to_have_another_scale():
    estimate = measure(NULL, draws=2000)
    right, wrong = (compare(factor * predict(NULL).squared, estimate, tolerance=0.1) for factor in (1, 4))
    assert right.verdict is wrong.verdict is Verdict.AGREE
    assert (right.scale_is_off, wrong.scale_is_off) == (False, True)
    assert "it is not 1" in str(wrong)
    assert "it is not 1" not in str(right)
    low, high = wrong.scale_interval
    assert low < 0.25 < high < 0.28
    with pytest.raises(AssertionError, match="the scale is off"):
        assert_agrees(4 * predict(NULL).squared, estimate, tolerance=0.1)


def test_draws_that_are_worth_a_few_equal_ones_get_no_verdict():
    estimate = measure(NULL, draws=2000)
    heavy = replace(estimate, energies=np.array([100.0, *np.full(1999, 0.4)]))  # 900^2 / 10320: worth 78 equal draws
    heavier = replace(estimate, energies=np.array([100.0, *np.full(1999, 0.15)]))  # 400^2 / 10045: 16
    truth, wrong = predict(NULL).squared, predict(NULL).squared.copy()
    wrong[2, 5] *= 9
    for judged, words in (
        (estimate, ("AGREE", "DISAGREE")),
        (heavy, ("AGREE", "DISAGREE")),
        (heavier, 2 * ("NOT_ENOUGH_DATA",)),
    ):
        assert tuple(compare(map_, judged, tolerance=0.1).verdict.name for map_ in (truth, wrong)) == words


def test_a_scale_without_any_noise_is_not_refuted_by_rounding():
    net = Lattice.chain((1, 3), [Conv(1, 1)])
    estimate = measure(net, draws=20, initialisation=1 / 3, distribution="rademacher")
    assert estimate.standard_error.max() < 1e-7
    assert not compare(predict(net, initialisation=1 / 3), estimate).scale_is_off
    assert compare(1.001 * predict(net, initialisation=1 / 3).squared, estimate).scale_is_off


def test_the_plot_of_z_shows_the_band():
    estimate = measure(NULL, draws=200)
    agreement = compare(predict(NULL), estimate)
    ax = agreement.plot()
    assert ax.images[0].get_clim() == pytest.approx((-agreement.critical_z, agreement.critical_z))
    line = compare(predict(TINY["linear"]), measure(TINY["linear"], draws=200)).plot()
    assert line.get_xlabel() == "input position"


def test_what_proposition_1_misses_is_drawn_as_a_ratio_to_it():
    net = Lattice.chain((1, 6), [Conv(1, 3, padding=1, mode="replicate"), GlobalPool("avg"), Flatten(), Dense(1)])
    single, truth = path_sum(net, 1.0), enumerated_squared_gradients(net)
    axes = plot_against_paths(single, truth, predict(net, initialisation=1.0), Figure().subplots(), title="copies")
    judged, predicted, one = axes.lines
    for line in (judged, predicted):
        np.testing.assert_allclose(line.get_ydata(), [5 / 3, 1, 1, 1, 1, 5 / 3], rtol=1e-12)
    assert set(one.get_ydata()) == {1}
    assert {text.get_text() for text in axes.get_legend().texts} == {"every weight pattern", "predict (exact)", "Proposition 1"}
    low, high = axes.get_ylim()
    assert low == 0
    assert high > 5 / 3
    blind = Lattice.chain((1, 6), [Conv(1, 1, 2)])
    measured = measure(blind, draws=50, initialisation=1.0)
    axes = plot_against_paths(path_sum(blind, 1.0), measured, ax=Figure().subplots())
    assert np.isnan(axes.lines[0].get_ydata()[1::2]).all(), "pixels without a path have no ratio"
    bars = axes.containers[0].lines[2][0].get_segments()
    error = measured.standard_error[0] / (1 / 3)
    assert bars[0][1, 1] - bars[0][0, 1] == pytest.approx(4 * error)
