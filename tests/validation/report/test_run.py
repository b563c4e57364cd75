"""The page about a trained network: whole, and true to result.json."""

import json
import re

import numpy as np
import pytest

from tests.whole import Whole
from validation.__main__ import main
from validation.report.run import render_run

ROW = {"top1": 0.25, "top5": 0.5, "loss": 2.0, "tv": 0.75, "tv_error": 0.01, "asymmetry": [0.5, 0.25]}
EPOCHS = [{"epoch": n, "train_loss": 1.5, "train_accuracy": 0.5, "penalty": 0.125, **ROW, "top1": n / 8} for n in (1, 2, 3)]
RESULT = {
    "recipe": {"data": "<digits>", "penalty": {"kind": "target", "alpha": 3.0}},
    "before": ROW, "scores": {**ROW, "top1": 0.875}, "rows": EPOCHS, "test_images": 99,
}  # fmt: skip
MAPS = {"before": np.arange(16.0).reshape(4, 4), "after": np.ones((4, 4))}


def words(page):
    return re.sub(r"\s+", " ", " ".join(Whole(page).words))


def test_the_page_says_what_the_result_says():
    page = render_run(RESULT, MAPS, title="a run", made={"command": "pilcro train runs/a", "date": "today"})
    told = ["Top-1 0.875 (before training 0.250)", "0.75 ± 0.01", "99 test images", "<digits>", "penalty alpha 3.0", "target"]
    told += ["0.5, 0.25", "pilcro train runs/a", "made on today", "0.375"]
    assert [text for text in told if text not in words(page)] == []
    assert not Whole(page).find("script")


def test_both_landscapes_share_the_scale_of_the_larger():
    page = render_run(RESULT, MAPS, title="a run")
    largest = MAPS["before"].max() / np.sqrt(np.mean(MAPS["before"] ** 2))
    assert f"the colours run from 0 to {largest:.3g}" in page


@pytest.mark.parametrize("rows", [[], EPOCHS[:1]])
def test_a_run_of_one_epoch_or_none_has_a_page_too(rows):
    assert "<polyline" not in render_run({**RESULT, "rows": rows}, MAPS, title="a run")


def test_the_command_writes_the_page_of_its_run(tmp_path, capsys):
    folder, out = tmp_path / "run", tmp_path / "run.html"
    shape = ["--data", "digits", "--size", "8", "--epochs", "1", "--batch", "256"]
    assert main(["train", str(folder), *shape, "--report", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert f"Top-1 {result['scores']['top1']:.3f}" in words(out.read_text())
    assert f"pilcro train {folder} --data digits" in words(out.read_text())


def test_a_page_that_cannot_be_written_is_refused_before_training(tmp_path, capsys):
    assert main(["train", str(tmp_path / "run"), "--report", str(tmp_path / "none" / "a.html")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
