"""What is said of a table follows from its numbers: intervals, orderings, the paper's own numbers, Figure 1's counts."""

import numpy as np
import pytest
from scipy import stats

from lattice import SpecificationError
from validation.evaluation.runs.paper import TABLE_1, TABLE_2
from validation.evaluation.runs.paper_robustness import CATEGORIES, TABLE_3, TABLE_4
from validation.evaluation.runs.tables import Result
from validation.reproduction.archetypes import plot_archetypes
from validation.reproduction.rows import Line
from validation.reproduction.scales import SCALES, recipes, seeds_of, setting
from validation.reproduction.significance import Ordering, paired
from validation.reproduction.tables import differences, orderings_of_robustness, orderings_of_scores, score_tables
from validation.training.recipes import CIFAR100, IMAGENET


def test_the_papers_scale_has_the_papers_recipes_and_numbers():
    paper = SCALES["paper"]
    assert (paper.cifar, paper.imagenet) == (CIFAR100, IMAGENET)
    assert [setting(recipe) for recipe in recipes("table1", paper)] == list(TABLE_1)
    assert [setting(recipe) for recipe in recipes("table2", paper)] == list(TABLE_2)
    assert set(TABLE_3) == set(TABLE_1)
    assert set(TABLE_4) == set(TABLE_2)
    assert TABLE_3["flip", "target", 10]["digital"] == (0.81, 0.69, 0.61, 0.50, 0.37)
    for recipe in recipes("table1", paper):
        assert recipe.penalty.weight(0) == setting(recipe)[2]


@pytest.mark.parametrize("name", ["laptop", "photographs", "cifar", "paper"])
def test_every_scale_differs_by_the_papers_settings_in_every_recipe(name):
    scale = SCALES[name]
    for experiment, count in (("table1", 14), ("table3", 14), ("table2", 7), ("figure3", 7), ("figure5", 7)):
        wanted = recipes(experiment, scale)
        assert len(set(wanted)) == count
        assert {recipe.changed(kind="none", alpha=10.0, augment="none") for recipe in wanted} == {
            wanted[0].changed(alpha=10.0, augment="none")
        }
    with pytest.raises(SpecificationError, match="table9"):
        recipes("table9", scale)
    with pytest.raises(SpecificationError, match="--seeds 0"):
        seeds_of(scale, 0)


def test_intervals_are_students_over_paired_seeds():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=5), generator.normal(size=5)
    found = paired(dict(enumerate(one)), dict(enumerate(other)))
    expected = stats.ttest_rel(one, other)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))
    assert paired({0: 1.0, 3: 5.0}, {3: 4.0, 7: 0.0}).seeds == 1
    assert np.isnan(paired({0: 1.0}, {0: 2.0}).p)


def test_the_interval_of_a_paired_difference_covers_it_95_times_in_100():
    generator = np.random.default_rng(1)
    draws = generator.normal(1.0, 2.0, size=(4000, 3))
    covered = sum(found.low <= 1 <= found.high for row in draws for found in [paired(dict(enumerate(row)), {0: 0, 1: 0, 2: 0})])
    assert abs(covered / 4000 - 0.95) < 5 * (0.95 * 0.05 / 4000) ** 0.5


def test_an_ordering_is_seen_only_where_every_interval_says_so():
    high, low, wide = {0: 2.0, 1: 2.1, 2: 2.05}, {0: 1.0, 1: 1.05, 2: 1.1}, {0: 0.0, 1: 5.0, 2: 1.0}
    assert Ordering("", [(high, low)]).verdict == "SEEN"
    assert Ordering("", [(high, low), (high, wide)]).verdict == "NOT DECIDED"
    assert Ordering("", [(high, low), (low, high)]).verdict == "CONTRADICTED"
    assert Ordering("", [({0: 1.0}, {0: 0.0})]).verdict == "NOT DECIDED"  # one seed decides nothing


def line(recipe, tops, tv):
    """A row of made-up runs, one for each Top-1."""

    def content(top):
        scores = {"top1": top, "top5": 1.0, "loss": 1 - top, "tv": tv * (1 + top / 100), "tv_error": 0.1, "asymmetry": [0.1]}
        return {"scores": scores, "best": {**scores, "top1": top + 0.1}, "before": scores, "rows": [{"top1": top / 2}]}

    results = tuple(Result(None, recipe.changed(seed=seed), content(top)) for seed, top in enumerate(tops))
    return Line(recipe, results, {9: "step 3: a made-up end"} if recipe.penalty.alpha == 100 else {})


def test_last_and_best_epochs_differences_and_failures_are_told_apart():
    wanted = recipes("table1", SCALES["laptop"])
    rows = [
        line(recipe, [0.5 + 0.01 * setting(recipe)[2] % 7 / 10 + 0.001 * seed for seed in range(3)], 0.1 if i % 7 else 0.9)
        for i, recipe in enumerate(wanted)
    ]
    last, best = score_tables(rows, "Table 1", imagenet=False)
    for before, after in zip(last.rows, best.rows, strict=True):
        assert after.cells[0].mean == pytest.approx(before.cells[0].mean + 0.1)
        assert before.cells[2].mean == after.cells[2].mean
        assert before.cells[0].over_repeats == pytest.approx(0.001 / 3**0.5)
    assert "diverged" in last.note
    assert "RC- ¶_t, α = 100 (seeds 9)" in last.note
    text, numbers = differences(rows)
    assert len(numbers) == 12
    assert all(number["log TV"][0] == pytest.approx(np.log(9), abs=1e-3) for number in numbers)
    assert "95 %" in text
    found = {ordering.text: ordering.verdict for ordering in orderings_of_scores(rows)}
    assert found["RC+: every penalty lowers TV"] == "SEEN"
    assert found["RC-: ¶_t with α = 10 has a higher Top-1 than SOTA"] == "SEEN"


class Kept:
    """A made-up run: what it keeps in every category, severity by severity."""

    def __init__(self, value):
        self.value = value

    def by_category(self):
        return {category: (np.full(5, self.value), np.zeros(5)) for category in CATEGORIES}


def test_robustness_is_held_to_what_the_paper_says_of_each_data_set():
    """Table 3: ¶_t with alpha 10 before all others but in noise; Table 4: every penalty before SOTA in every category."""

    def rows(augment, best):
        values = {("none", 0): 0.5, ("target", 1): 0.6, ("target", 10): best, ("curvature", 1): 0.6}
        return [((augment, *which), {seed: Kept(value + 0.01 * seed) for seed in range(3)}) for which, value in values.items()]

    def verdicts(augment, best):
        found = orderings_of_robustness(rows(augment, best), imagenet=augment == "zoom")
        return {ordering.text: ordering.verdict for ordering in found}

    cifar, imagenet = verdicts("flip", 0.7), verdicts("zoom", 0.7)
    assert cifar["RC-: blur: ¶_t with α = 10 is more robust than all others"] == "SEEN"
    assert cifar["RC-: noise: SOTA is more robust than all others"] == "CONTRADICTED"
    assert set(imagenet.values()) == {"SEEN"}
    assert len(imagenet) == 4
    assert set(verdicts("zoom", 0.4).values()) == {"CONTRADICTED"}


def test_figure_1_counts_the_paths_of_small_networks():
    figure, counts = plot_archetypes()
    assert counts["two layers of kernel 3"] == [1, 2, 3, 2, 1]  # (1 + x + x^2)^2
    assert len(figure.axes) == 4
