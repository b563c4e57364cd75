"""Tables and figures from run folders, and the commands that make them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lattice import SpecificationError
from lattice.results.files import write_arrays
from validation.__main__ import main
from validation.evaluation.runs.paper import TABLE_1, TABLE_2, printed
from validation.evaluation.runs.tables import collect, grouped
from validation.evaluation.summaries.figures import plot_curves, plot_landscapes
from validation.evaluation.summaries.scores import scores_table
from validation.training.checkpoint import write_json
from validation.training.recipes import CIFAR100, IMAGENET, LAPTOP


def made_up(folder, recipe, top1, tv=0.1):
    """A finished run with these scores."""
    folder.mkdir(parents=True)
    scores = {"top1": top1, "top5": 0.9, "loss": 1.0, "tv": tv, "tv_error": 0.01, "asymmetry": [0.1, 0.2]}
    rows = [{"epoch": epoch, "top1": top1 * epoch / 3, "tv": tv * 4 / epoch} for epoch in (1, 2, 3)]
    content = {"recipe": recipe.json(), "scores": scores, "before": {**scores, "tv": 0.5}, "rows": rows}
    write_json(folder / "result.json", content)
    flat = np.ones((8, 8))
    write_arrays(folder / "landscape.npz", {"kind": "landscape"}, {"before": flat, "after": flat})
    return folder


@pytest.fixture
def runs(tmp_path):
    for seed, top1 in enumerate((0.70, 0.72, 0.74)):
        made_up(tmp_path / f"target{seed}", CIFAR100.changed(kind="target", alpha=10.0, seed=seed), top1)
    made_up(tmp_path / "none", CIFAR100, 0.68, tv=0.02)
    return tmp_path


def test_repeats_are_averaged_with_their_standard_error(runs):
    groups = {len(group.results): group for group in grouped(collect([runs]))}
    mean, error = groups[3].score("top1")
    assert mean == pytest.approx(0.72)
    assert error == pytest.approx(0.02 / 3**0.5)
    assert np.isnan(groups[1].score("top1")[1])
    assert groups[3].score("asymmetry")[0] == pytest.approx(0.2)
    table = scores_table(list(groups.values()))
    assert "| run | repeats | Top-1 | Top-1 s.e. |" in table.markdown()
    assert "| target, alpha 10 | 3 | 0.7200 | 0.01 |" in table.markdown()
    assert "| no penalty | 1 | 0.6800 |  |" in table.markdown()
    assert "target, alpha 10 & 3 & 0.7200 & 0.01 &" in table.latex()


def test_the_papers_numbers_stand_beside_its_own_settings_only(runs):
    made_up(runs / "short", CIFAR100.changed(epochs=20), 0.5)
    lines = scores_table(grouped(collect([runs]))).markdown().splitlines()
    assert lines[0].count("paper ") == 4
    assert any("| 0.7833 | 0.9431 | 0.00088 | 1.2117 |" in line and line.startswith("| target") for line in lines)
    assert next(line for line in lines if "epochs 20 |" in line).endswith("| – | – | – | – |")
    assert "paper" not in scores_table(grouped(collect([made_up(runs / "laptop", LAPTOP, 0.9)]))).markdown()


@pytest.mark.parametrize(
    "other",
    [
        {"batch": 64},
        {"alpha": 3.0},
        {"interval": 1},
        {"warmup": 10},
        {"reduction": "literal"},
        {"reading": "alpha_0"},
        {"border": "replicate"},
        {"model": "resnet18-cifar"},
    ],
)
def test_another_setting_has_no_row_in_the_paper(other):
    recipe = CIFAR100.changed(kind="target", alpha=10.0)
    assert printed(recipe) == TABLE_1["flip+crop", "target", 10]
    assert printed(recipe.changed(**other)) is None


def test_all_rows_of_the_papers_tables_are_reached():
    settings = [(CIFAR100, TABLE_1), (IMAGENET, TABLE_2)]
    for base, table in settings:
        for (augment, kind, alpha), row in table.items():
            assert printed(replace(base.changed(kind=kind, alpha=float(alpha), seed=7), augment=augment)) == row
    assert len(TABLE_1) == 14
    assert len(TABLE_2) == 7


def test_figures_show_every_recipe(runs):
    groups = grouped(collect([runs]))
    titles = [ax.get_title() for ax in plot_landscapes(groups).axes]
    assert sum("before training" in title for title in titles) == 1  # both begin with the same map
    assert "no penalty\nafter: TV 0.02 ± 0.01" in titles  # a single run: over its images
    assert "target, alpha 10\nafter: TV 0.1 ± 0" in titles  # three repeats of the same TV
    curves = plot_curves(groups)
    assert {line.get_label() for line in curves.axes[1].get_lines()} == {"target, alpha 10", "no penalty"}


def test_each_recipe_has_a_column_against_the_one_without_penalty(runs):
    for alpha in (1.0, 100.0):
        made_up(runs / f"alpha{alpha:g}", CIFAR100.changed(kind="target", alpha=alpha), 0.5)
    figure = plot_curves(grouped(collect([runs])))
    panels = [ax for ax in figure.axes if ax.get_lines()]
    assert [ax.get_title() for ax in panels[:3]] == [
        f"target, alpha {alpha}" for alpha in (1, 100, 10)
    ]  # in the order of their folders
    assert all(next(line.get_label() for line in ax.get_lines()) == "no penalty" for ax in panels)
    assert len({ax.get_ylim() for ax in panels[:3]}) == len({ax.get_ylim() for ax in panels[3:]}) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no penalty", "the recipe of the column"]


def test_maps_before_training_that_differ_are_all_shown(runs):
    folder = made_up(runs / "other", CIFAR100.changed(kind="target", alpha=1.0), 0.5)
    maps = {"before": np.eye(8), "after": np.ones((8, 8))}
    write_arrays(folder / "landscape.npz", {"kind": "landscape"}, maps)
    titles = [ax.get_title() for ax in plot_landscapes(grouped(collect([runs]))).axes]
    assert sum("before training" in title for title in titles) == 2
    assert any(title.startswith("2 recipes\nbefore training") for title in titles)


def test_the_same_seed_twice_is_no_repeat(runs):
    made_up(runs / "again", CIFAR100, 0.69)
    with pytest.raises(SpecificationError, match="no repeats"):
        grouped(collect([runs]))


def test_folders_without_a_finished_run_say_what_they_hold(tmp_path, capsys):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_text("{}")
    assert main(["tables", str(tmp_path)]) == 2
    assert "begun and not ended" in capsys.readouterr().err
    assert main(["figures", str(tmp_path / "nowhere")]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_the_commands_write_their_files(runs, capsys):
    assert main(["tables", str(runs), "--out", str(runs / "table"), "--json"]) == 0
    printed_json = json.loads(capsys.readouterr().out)
    assert {row["repeats"] for row in printed_json["rows"]} == {1, 3}
    assert (runs / "table.md").read_text().startswith("| run | repeats |")
    assert (runs / "table.tex").read_text().startswith(r"\begin{tabular}")
    assert main(["figures", str(runs), "--out", str(runs / "figure")]) == 0
    assert (runs / "figure-landscapes.png").stat().st_size > 1000
    assert main(["tables", str(runs), "--out", str(runs / "no" / "table")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_train_takes_the_papers_names_and_weights(tmp_path):
    from validation.cli.commands.runs.train import Train

    assert Train(tmp_path, preset="cifar100", penalty="target").recipe().penalty.alpha == 10
    assert Train(tmp_path, penalty="target").recipe().penalty.weight(0) == 10
    assert Train(tmp_path, penalty="curvature", alpha=2.0, epochs=3).recipe() == LAPTOP.changed(
        kind="curvature", alpha=2.0, epochs=3
    )
