"""`pilcro evaluate`: stopped, damaged, shared or asked for nonsense, it ends with the same numbers or says why it does not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lattice import SpecificationError
from validation.__main__ import main
from validation.datasets.catalogue import load
from validation.evaluation.runs import pieces
from validation.evaluation.runs.pieces import Piece, finished
from validation.evaluation.runs.subjects import trained
from validation.evaluation.runs.tables import collect
from validation.runtime.process_group import World
from validation.training.loop import train
from validation.training.recipes import LAPTOP
from validation.training.scores import score

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
pytest.importorskip("skimage")
pytest.importorskip("captum")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
ALL = ["--robustness", "--location", "--ablation", "--categories", "noise", "--reach", "2", "--stride", "2"]
ALL += ["--images", "12", "--baselines", "4", "--steps", "4", "--points", "9"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two repeats."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        train(LAPTOP.changed(data="digits", size=8, epochs=1, seed=seed), folder / f"seed{seed}", device="cpu")
    return folder


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """The evaluation that nothing happened to: what it prints, and where it is written."""
    folder = tmp_path_factory.mktemp("whole")
    done = evaluate(runs, folder)
    printed, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors.decode()
    return folder, json.loads(printed)


def evaluate(runs, folder, *more, before=(sys.executable, "-m")):
    arguments = ["validation", "evaluate", str(runs), *ALL, "--out", str(folder / "out"), "--cache", str(folder / "cache")]
    return subprocess.Popen(
        [*before, *arguments, *more, "--json"], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("out*")}


def test_everything_is_written_and_says_what_the_run_scored(runs, whole):
    folder, told = whole
    endings = {f"out{e}" for e in (".md", ".tex", ".json")}
    endings |= {f"out-{kind}.{e}" for kind in ("robustness", "location", "ablation") for e in ("png", "pdf")}
    assert set(contents(folder)) == endings
    expected = []
    for result in collect([runs]):
        data = load("digits", size=8)
        scores = score(trained(result, data), data.test)
        assert scores.row() == {name: result.content["scores"][name] for name in scores.row()}
        expected.append(scores.top1)
    (row,) = told["tables"]["location"][0]["rows"]
    assert (row["run"], row["repeats"]) == ("no penalty", 2)
    assert row["Top-1 in place"]["mean"] == pytest.approx(np.mean(expected))
    assert row["Top-1 in place"]["error over repeats"] == pytest.approx(abs(expected[0] - expected[1]) / 2)
    (row,) = told["tables"]["robustness"][1]["rows"]
    assert row["Top-1 clean"]["mean"] == pytest.approx(np.mean(expected))
    assert row["mCE"]["mean"] == pytest.approx(1)
    assert "| no penalty | 2 |" in (folder / "out.md").read_text()
    assert r"\multicolumn{5}{c}{noise}" in (folder / "out.tex").read_text()
    assert json.loads((folder / "out.json").read_text())["tables"] == told["tables"]


def test_kill_9_at_any_time_and_a_second_try_give_the_same_bytes(runs, whole, tmp_path):
    process = evaluate(runs, tmp_path)
    deadline = time.monotonic() + 300
    while len(list((tmp_path / "cache").glob("*.npz"))) < 3:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (tmp_path / "cache" / ".half-written.npz.1.tmp").write_bytes(b"half")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.npz")}
    again = evaluate(runs, tmp_path)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors.decode()
    assert {path: path.stat().st_mtime_ns for path in before} == before  # what was done is not done again
    assert contents(tmp_path) == contents(whole[0])
    assert not list((tmp_path / "cache").glob(".*.tmp"))


def test_two_processes_share_the_pieces_and_the_first_gathers_all(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces.distributed, "barrier", lambda: None)
    subject = SimpleNamespace(sha256="s", images=("d", (1, 8, 8)), home=tmp_path)
    made = []

    def piece(number):
        def compute(missing):
            made.append(number)
            return [{"number": np.array(number)} for _ in missing]

        return Piece("made", {"number": number}, (subject,), compute)

    every = [piece(number) for number in range(5)]
    assert finished(every, World(1, 2, torch.device("cpu"))) == []
    assert made == [1, 3]
    found = finished(every, World(0, 2, torch.device("cpu")))
    assert made == [1, 3, 0, 2, 4]
    assert [int(one["number"]) for (one,) in found] == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_two_processes_share_the_work_and_give_the_same_bytes(runs, whole, tmp_path):
    pair = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29713", "-m")
    done = evaluate(runs, tmp_path, before=pair)
    printed, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors.decode()
    assert json.loads(printed)["tables"] == whole[1]["tables"]  # one process speaks
    assert contents(tmp_path) == contents(whole[0])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damaged_results_are_named_and_computed_again(runs, whole, tmp_path, capsys):
    shutil.copytree(whole[0] / "cache", tmp_path / "cache")
    robust, located, ablated = (sorted((tmp_path / "cache").glob(f"{kind}*.npz"))[0] for kind in ("rob", "loc", "abl"))
    flip_a_byte(robust)
    located.write_bytes(located.read_bytes()[:50])
    other = sorted((tmp_path / "cache").glob("abl*.npz"))[1]
    shutil.copy(other, ablated)  # whole, but of something else
    arguments = ["evaluate", str(runs), *ALL, "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--json"]
    with pytest.warns(RuntimeWarning, match="it is computed again") as told:
        assert main(arguments) == 0
    named = {path.name for path in (robust, located, ablated) for one in told if path.name in str(one.message)}
    assert named == {robust.name, located.name, ablated.name}
    assert contents(tmp_path) == contents(whole[0])
    capsys.readouterr()


FACTORY = """
import torch
from validation.training.models import SmallResNet

def network():
    return SmallResNet(1, 10)

def shifted():
    class Shifted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = SmallResNet(1, 10)
        def forward(self, x):
            return self.inner(x.roll(1, -1))
    return Shifted()
"""


def test_any_factory_with_its_weights_is_evaluated_like_the_run(runs, whole, tmp_path, capsys):
    from safetensors.torch import save_file

    data = load("digits", size=8)
    (tmp_path / "mine.py").write_text(FACTORY)
    files = []
    for result in collect([runs]):
        state = trained(result, data).state_dict()
        files.append(tmp_path / f"{result.folder.name}.safetensors")
        save_file(state, files[-1])
        save_file({f"inner.{name}": value.clone() for name, value in state.items()}, tmp_path / "inner.safetensors")
        torch.save(state, tmp_path / f"{result.folder.name}.pt")
    arguments = ["evaluate", f"{tmp_path / 'mine.py'}:network", "--data", "digits", "--size", "8", "--json", *ALL]
    assert main([*arguments, "--weights", *map(str, files)]) == 0
    told = json.loads(capsys.readouterr().out)
    numbers = [{k: v for k, v in row.items() if k != "run"} for row in told["tables"]["robustness"][1]["rows"]]
    assert numbers == [{k: v for k, v in row.items() if k != "run"} for row in whole[1]["tables"]["robustness"][1]["rows"]]
    assert (tmp_path / "seed0.safetensors.evaluation").is_dir()
    location = ["evaluate", "--data", "digits", "--size", "8", "--location", "--reach", "2", "--stride", "2", "--json"]
    pt = [*location, f"{tmp_path / 'mine.py'}:network", "--weights", str(tmp_path / "seed0.pt")]
    assert main(pt) == 2
    assert "only with --torch-load" in capsys.readouterr().err
    assert main([*pt, "--torch-load"]) == 0
    told = json.loads(capsys.readouterr().out)
    other = [*location, f"{tmp_path / 'mine.py'}:shifted", "--weights", str(tmp_path / "inner.safetensors")]
    assert main(other) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["repeats"][0]["sha256"] != told["runs"][0]["repeats"][0]["sha256"]
    assert main([*location, f"{tmp_path / 'mine.py'}:shifted", "--weights", str(files[0])]) == 2
    assert "does not fit" in capsys.readouterr().err


def test_the_same_weights_under_other_code_are_another_subject():
    from validation.evaluation.runs.subjects import fingerprint
    from validation.training.models import SmallResNet

    data = load("digits", size=8)
    one = SmallResNet(1, 10).eval()
    before = fingerprint(one, data.test)
    assert fingerprint(one, data.test) == before
    one[3].relu = torch.nn.Tanh()  # no weights of its own
    assert fingerprint(one, data.test) != before


def test_a_run_on_other_data_or_without_weights_is_refused(runs, tmp_path):
    other = shutil.copytree(runs / "seed0", tmp_path / "other")
    for path in other.glob("step-*"):
        path.unlink()
    (result,) = collect([other])
    data = load("digits", size=8)
    with pytest.raises(SpecificationError, match="has no checkpoint"):
        trained(result, data)
    result.content["data"] = "another hash"
    with pytest.raises(SpecificationError, match="was trained on other data"):
        trained(result, data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing was asked for"),
        (["--location", "--reach", "3", "--stride", "2"], "the stride divides the reach"),
        (["--robustness", "--categories", "nose"], "categories nose: there are noise"),
        (["--robustness", "--reference", "alexnet"], "AlexNet's errors are published for ImageNet-C"),
        (
            ["--robustness", "--reference", "alexnet", "--constants", "imagenet", "--categories", "extra"],
            "without the extra ones",
        ),
        (["--robustness", "--reference", "gone"], "--reference gone is none of what is evaluated: no penalty"),
        (["--robustness", "--published", "nowhere"], "holds no published corruptions"),
        (["--ablation", "--images", "1"], "two of each other at least"),
        (["--location", "--chunk", "0"], "--chunk is 0"),
        (["--location", "--weights", "x.safetensors"], "are for factories"),
        (["--location", "--out", "no/such/folder/out"], "does not exist"),
        (["a.py:b", "--location"], "are evaluated apart"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(runs, arguments, words, capsys, tmp_path):
    assert main(["evaluate", str(runs / "seed0"), *arguments, "--cache", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs --weights"),
        (["--weights", "gone.safetensors", "--data", "digits", "--size", "8"], "cannot be read"),
        (["mine.py:other", "--weights", *"abc", "--data", "digits", "--size", "8"], "2 factories and 3 --weights"),
    ],
)
def test_a_factory_needs_weights_that_are_there(arguments, words, capsys, tmp_path):
    (tmp_path / "mine.py").write_text(FACTORY)
    assert main(["evaluate", f"{tmp_path / 'mine.py'}:network", *arguments, "--location"]) == 2
    assert words in capsys.readouterr().err
