"""A sweep is finished whatever kills it, by one process or several; what it prints follows from its runs."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lattice import SpecificationError
from validation.evaluation.runs.perturbed import Ablate
from validation.reproduction.reproduce import reproduce
from validation.reproduction.scales import Scale
from validation.reproduction.sweep import Sweep, failure, run_folder, sweep
from validation.runtime.locks import locked
from validation.training.checkpoint import RunFolder, read_json
from validation.training.recipes import LAPTOP

pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

# scikit-learn's digits on 8 x 8 pixels, 22 steps: seven recipes in seconds
BASE = LAPTOP.changed(data="digits", size=8, epochs=1, early_scores=1, alpha=1.0)
RECIPES = [BASE.changed(kind=kind, seed=seed) for seed in (0, 1) for kind in ("none", "target")]
TINY = Scale("tiny", BASE.changed(augment="flip+crop"), BASE, 2, Ablate(4, 4, 2, 5), "seconds")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SCRIPT = """
import sys
from pathlib import Path
from tests.validation.reproduction.test_sweep import RECIPES
from validation.reproduction.sweep import Sweep, sweep
sweep(RECIPES, Sweep(Path(sys.argv[1]), device="cpu", save_every=1))
"""


def files(folder):
    """The hash of every result and of the last weights, by run and name."""
    kept = [path for path in folder.glob("*/*") if path.name in ("result.json", "start.json", "step-00000022.safetensors")]
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def start(folder):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=ENVIRONMENT, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    sweep(RECIPES, Sweep(folder, device="cpu", save_every=1))
    return folder


def test_a_sweep_killed_again_and_again_ends_as_if_nothing_had_happened(whole, tmp_path):
    """SIGKILL when the first checkpoint is there, in the middle of a later run, and just when a run has ended."""

    def until(reached):
        process, deadline = start(tmp_path), time.monotonic() + 120
        while not reached():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()

    until(lambda: any(tmp_path.glob("*/step-*.json")))
    until(lambda: any(tmp_path.glob("*target*/step-0000001*.json")))
    ended = len(list(tmp_path.glob("*/result.json")))
    until(lambda: len(list(tmp_path.glob("*/result.json"))) > ended)
    assert len(list(tmp_path.glob("*/result.json"))) < len(RECIPES)
    sweep(RECIPES, Sweep(tmp_path, device="cpu", save_every=1))
    assert files(tmp_path) == files(whole)


REPRODUCE = """
import sys
from pathlib import Path
from tests.validation.reproduction.test_sweep import TINY
from validation.reproduction.reproduce import reproduce
from validation.reproduction.sweep import Sweep
reproduce("figure5", TINY, Sweep(Path(sys.argv[1]), device="cpu", save_every=1))
"""


@pytest.mark.slow
def test_a_figure_killed_at_any_of_its_stages_ends_the_same(tmp_path):
    """SIGKILL between two checkpoints, among the pieces of the evaluation, and when the first file of the page is there."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def command(folder):
        return subprocess.Popen([sys.executable, "-c", REPRODUCE, str(folder)], env=ENVIRONMENT, stderr=subprocess.PIPE)

    def finish(process):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()

    finish(command(whole))
    moments = (
        lambda: any(killed.glob("*curvature*/step-0000001*.json")),
        lambda: any(killed.glob("*/evaluation/*")),
        lambda: (killed / "figure5.md").exists(),
    )
    for reached in moments:
        process, deadline = command(killed), time.monotonic() + 300
        while not reached():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(command(killed))
    assert files(killed) == files(whole)
    for ending in ("md", "json", "tex", "png", "pdf"):
        assert (killed / f"figure5.{ending}").read_bytes() == (whole / f"figure5.{ending}").read_bytes(), ending


@pytest.mark.slow
def test_two_processes_share_the_runs_of_a_sweep(whole, tmp_path):
    processes = [start(tmp_path) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    assert files(tmp_path) == files(whole)


@pytest.mark.slow
def test_a_run_that_another_process_holds_is_waited_for(tmp_path):
    held = run_folder(tmp_path, RECIPES[0])
    with locked(held):
        process = start(tmp_path)
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("*/result.json"))) < len(RECIPES) - 1:
            assert time.monotonic() < deadline
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.05)
        assert not (held / "result.json").exists()
        assert process.poll() is None
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    assert (held / "result.json").exists()


def test_a_run_that_diverges_is_noted_and_the_sweep_goes_on(tmp_path):
    wild = BASE.changed(lr=1e18)
    said = []
    folders = sweep([wild, RECIPES[0]], Sweep(tmp_path, device="cpu", say=said.append))
    assert failure(folders[0]).startswith("step ")
    assert failure(folders[1]) is None
    assert any("remove that file to try again" in line for line in said)
    noted = (folders[0] / "failed.json").stat().st_mtime_ns
    sweep([wild, RECIPES[0]], Sweep(tmp_path, device="cpu"))
    assert (folders[0] / "failed.json").stat().st_mtime_ns == noted
    assert RunFolder(folders[1]).latest().step == 22


def test_a_sweep_is_not_for_torchrun(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SpecificationError, match="starting the same command several times"):
        sweep(RECIPES, Sweep(tmp_path))


def test_folders_of_runs_tell_recipes_apart(tmp_path):
    other = [BASE.changed(lr=0.2), BASE.changed(border="replicate"), BASE.changed(augment="flip"), BASE.changed(seed=1)]
    assert len({run_folder(tmp_path, recipe) for recipe in [BASE, *other]}) == 5


def test_a_table_from_nothing_has_every_row_beside_the_papers(tmp_path):
    where = Sweep(tmp_path, device="cpu")
    found = reproduce("table2", TINY, where)
    last, best = found["tables"]
    assert [row["run"] for row in last["rows"]][:3] == ["SOTA", "¶_t, α = 1", "¶_t, α = 10"]
    assert {row["repeats"] for row in last["rows"]} == {2}
    assert last["rows"][2]["paper TV"]["mean"] == 0.00019
    for name, table in (("scores", last), ("best", best)):
        runs = [
            read_json(run_folder(tmp_path, BASE.changed(kind="target", alpha=10.0, seed=s)) / "result.json") for s in (0, 1)
        ]
        tops = [run[name]["top1"] for run in runs]
        assert table["rows"][2]["Top-1"]["mean"] == pytest.approx(sum(tops) / 2)
    assert len(found["numbers"]["differences"]) == 6
    assert all(row["seeds"] == 2 and row["Top-1"][1] <= row["Top-1"][2] for row in found["numbers"]["differences"])
    text = (tmp_path / "table2.md").read_text()
    assert "| ¶_t, α = 10 | 2 |" in text
    assert "Seeds 0 to 1" in text
    assert json.loads((tmp_path / "table2.json").read_text())["seeds"] == [0, 1]
    assert r"\begin{tabular}" in (tmp_path / "table2.tex").read_text()
    assert reproduce("table2", TINY, where) == found
    assert reproduce("figure4", TINY, where)["files"][-1].endswith("figure4.pdf")
