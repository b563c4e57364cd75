"""Which run corruption errors are relative to: the one without the regulariser, or the one that is named; else none."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lattice import SpecificationError
from validation.evaluation.corruptions import CATEGORIES
from validation.evaluation.measures.robustness import Robustness
from validation.evaluation.runs.perturbed import Corrupt
from validation.evaluation.runs.reference import references
from validation.evaluation.runs.subjects import Repeats
from validation.evaluation.runs.tables import label
from validation.evaluation.summaries.report import tables
from validation.training.recipes import LAPTOP

TARGET = LAPTOP.changed(kind="target")


def groups(*recipes, images="mnist", folder="runs"):
    """What `of_runs` makes of one run of each recipe."""
    subject = SimpleNamespace(images=images)
    return [Repeats(label(one, recipes), (subject,), (Path(f"{folder}/{i}/seed0"),), one) for i, one in enumerate(recipes)]


@pytest.mark.parametrize(
    ("recipes", "expected"),
    [
        ([TARGET, LAPTOP], [1, 1]),  # not the first
        ([TARGET, LAPTOP.changed(reweight=True), LAPTOP], [2, 2, 2]),
        ([TARGET, LAPTOP.changed(epochs=3)], [1, 1]),  # the only one
        ([TARGET, LAPTOP, LAPTOP.changed(epochs=3)], [1, 1, 2]),  # of the same recipe
        ([TARGET.changed(lr=0.2), LAPTOP, LAPTOP.changed(epochs=3)], [None, 1, 2]),  # which of the two?
        ([TARGET, TARGET.changed(alpha=1.0)], [None, None]),
        ([TARGET.changed(seed=4), LAPTOP.changed(seed=5)], [1, 1]),
    ],
)
def test_the_reference_is_the_run_without_the_regulariser(recipes, expected):
    assert references(groups(*recipes)) == expected


def test_runs_on_other_images_are_no_reference():
    assert references(groups(LAPTOP) + groups(TARGET, images="digits", folder="other")) == [0, None]
    assert references(groups(LAPTOP) + groups(TARGET, images="digits", folder="other"), "runs/0/seed0") == [0, None]


def test_of_factories_it_is_the_first():
    made = [Repeats(name, (SimpleNamespace(images="digits"),), (Path(f"{name}.safetensors"),)) for name in "ab"]
    assert references(made) == [0, 0]
    assert references(made, "b") == references(made, "b.safetensors") == [1, 1]


@pytest.mark.parametrize("name", ["runs/1/seed0", "runs/1", "no penalty", str(Path("runs/1/seed0").resolve())])
def test_a_run_is_named_by_its_folder_or_its_label(name):
    assert references(groups(TARGET, LAPTOP, TARGET.changed(alpha=1.0)), name) == [1, 1, 1]


def test_alexnet_is_none_of_the_runs():
    assert references(groups(TARGET, LAPTOP), "alexnet") == [None, None]


@pytest.mark.parametrize(("name", "says"), [("gone", "is none of what is evaluated"), ("runs", "is none of what is")])
def test_a_name_that_no_run_has_is_refused_with_those_there_are(name, says):
    with pytest.raises(SpecificationError, match=rf"--reference {name} {says}.*target, alpha 10 \(runs/0/seed0\); no penalty"):
        references(groups(TARGET, LAPTOP), name)


def test_a_folder_of_several_runs_names_none():
    subject = SimpleNamespace(images="mnist")
    both = [Repeats(label(one), (subject,), (Path(f"runs/{one.penalty.kind}"),), one) for one in (TARGET, LAPTOP)]
    with pytest.raises(SpecificationError, match="--reference runs names several of"):
        references(both, "runs")


class Unmade(Corrupt):
    def corrupted(self, subject):
        return None


def answers(seed, chance):
    generator = np.random.default_rng(seed)
    right = generator.random((2, 5, 60)) < chance
    return Robustness(CATEGORIES["noise"][:2], (1, 2, 3, 4, 5), np.ones(right.shape), right, np.ones(60, dtype=bool))


def test_the_tables_divide_by_the_reference_and_name_it():
    run = groups(TARGET, LAPTOP, TARGET.changed(alpha=1.0)) + groups(TARGET.changed(lr=0.3), images="digits")
    found = [[answers(0, 0.8)], [answers(1, 0.5)], [answers(2, 0.9)], [answers(3, 0.7)]]
    _, summary, each = tables(Unmade(), run, found, reference=references(run))
    means = [row["mCE"]["mean"] for row in summary.to_dict()["rows"]]
    wrong = [float((~one.right).sum(axis=(1, 2))[0]) for (one,) in found]
    assert means[1] == 1
    assert means[3] is None
    assert means[0] < 0.6
    first = each.to_dict()["rows"][0]["noise gaussian noise"]["mean"]
    assert first == pytest.approx(wrong[0] / wrong[1])
    assert "Reference: no penalty. No run is it for target, alpha 10" in summary.markdown()
    assert "| – |" in summary.markdown()
    _, against_alexnet, _ = tables(Unmade(), run, found)
    assert "AlexNet on ImageNet-C, as published" in against_alexnet.note
