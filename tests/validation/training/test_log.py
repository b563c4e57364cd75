"""What a run logs: a table for other programs, which a stop does not change, and events where they are asked for."""

import csv
import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest

from lattice import SpecificationError
from validation.cli.main import main
from validation.training import loop
from validation.training.checkpoint import read_json
from validation.training.log import COLUMNS, TESTED, logged
from validation.training.loop import train
from validation.training.recipes import LAPTOP, preset

pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

TINY = LAPTOP.changed(data="digits", size=8, epochs=2, kind="curvature", alpha=1e-3, interval=5, early_scores=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("run")
    train(TINY, made, device="cpu")
    return made


def table(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_log_has_a_row_for_each_time_the_test_images_were_scored(folder):
    rows, result = table(folder), read_json(folder / "result.json")
    assert list(rows[0]) == list(COLUMNS)
    assert [int(row["step"]) for row in rows] == [11, 22, 44]
    assert [float(row["epoch"]) for row in rows] == [0.5, 1, 2]
    for row, scored in zip(rows, [*result["early"], *result["rows"]], strict=True):
        assert {name: float(row[name]) for name in TESTED} == {name: scored[name] for name in TESTED}
        assert (row["train_loss"] == "") == ("train_loss" not in scored)
    np.testing.assert_allclose([float(row["lr"]) for row in rows], [TINY.rate(step, 44) for step in (10, 21, 43)])
    assert [float(row["weight"]) for row in rows] == [1e-3] * 3


def test_the_weight_is_that_of_the_last_step_with_a_penalty():
    rows = logged(TINY.changed(warmup=20), 22, [{"epoch": 1}, {"epoch": 2}], [])
    assert [row["weight"] for row in rows] == [1e-3, 1e-3]
    assert logged(TINY.changed(warmup=80), 22, [{"epoch": 1}], [])[0]["weight"] == pytest.approx(1e-3 * 20 / 80)


class StoppedError(Exception):
    """What stands for a crash."""


def test_a_stopped_run_logs_what_one_run_would_have(folder, tmp_path, monkeypatch):
    update = loop.update

    def until_30(run, *rest):
        if run.step == 30:
            raise StoppedError
        update(run, *rest)

    monkeypatch.setattr(loop, "update", until_30)
    with pytest.raises(StoppedError):
        train(TINY, tmp_path, device="cpu")
    assert len(table(tmp_path)) == 2
    monkeypatch.setattr(loop, "update", update)
    train(TINY, tmp_path, device="cpu")
    assert (tmp_path / "log.csv").read_bytes() == (folder / "log.csv").read_bytes()


class Writer:
    """In place of TensorBoard's: keeps what it is told."""

    made: ClassVar[list] = []

    def __init__(self, folder, purge_step):
        self.folder, self.purged, self.scalars, self.texts, self.open = folder, purge_step, [], [], True
        self.made.append(self)

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))

    def add_text(self, tag, text):
        self.texts.append(tag)

    def flush(self):
        pass

    def close(self):
        self.open = False


def test_tensorboard_is_told_every_number_once(folder, tmp_path, monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    train(TINY, tmp_path, device="cpu", log="tensorboard")
    (told,) = Writer.made
    assert (told.folder, told.purged, told.texts, told.open) == (str(tmp_path / "tensorboard"), 0, ["recipe"], False)
    rows = table(folder)
    kept = {(name, int(row["step"])): float(row[name]) for row in rows for name in COLUMNS[1:] if row[name]}
    found = {(tag.split("/")[1], step): value for tag, value, step in told.scalars}
    assert len(found) < len(told.scalars) == len(kept)  # train/loss and test/loss
    assert {step: value for tag, value, step in told.scalars if tag == "test/loss"} == {
        step: value for (name, step), value in kept.items() if name == "loss"
    }
    assert {step: value for tag, value, step in told.scalars if tag == "train/loss"} == {
        step: value for (name, step), value in kept.items() if name == "train_loss"
    }


def test_a_missing_tensorboard_is_named_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SpecificationError, match=r"TensorBoard needs it: pip install '.\[tensorboard\]'"):
        train(TINY, tmp_path / "run", log="tensorboard")
    assert not (tmp_path / "run").exists()
    with pytest.raises(SpecificationError, match="log is 'wandb'; it is csv or tensorboard"):
        train(TINY, tmp_path / "run", log="wandb")


def test_the_command_prints_one_line_before_it_starts(tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", str(run), "--data", "digits", "--size", "8", "--epochs", "1", "--device", "cpu"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"{run}: small on digits (8 px, augment none): epochs 1, batch 64, lr 0.1; no penalty; seed 0"
    assert [line.split()[0] for line in rest] == ["Top-1"]


def test_a_preset_is_known_by_its_name_and_others_are_listed(folder):
    assert preset("laptop") is LAPTOP
    with pytest.raises(SpecificationError, match="recipe is 'laptp'; it is laptop, cifar100, imagenet or a Recipe"):
        train("laptp", folder)
    assert train(TINY, str(folder)) == read_json(folder / "result.json")


def test_a_recipe_that_no_run_can_have_says_what_its_fields_can_be():
    with pytest.raises(
        SpecificationError, match=r"batch 0 \(a whole number, 1 at least\), lr -1.0 \(a finite number above 0\)"
    ):
        LAPTOP.changed(lr=-1.0, batch=0)
    with pytest.raises(SpecificationError, match=r"momentum 1.5 \(0 at least and below 1\)"):
        LAPTOP.changed(momentum=1.5)
