"""On a CUDA device: training, the penalty, evaluation, ablation, mixed precision, fields and several processes, beside the CPU.

`make gpu` runs these, and all others that are marked `gpu`; without a device they skip. PILCRO_GPU=cpu runs their bodies on the
CPU, so that they do not rot in between.
"""

import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from validation import effective_receptive_field, importance_map
from validation.__main__ import main
from validation.datasets.catalogue import load
from validation.evaluation.measures.ablation import ablation
from validation.evaluation.measures.robustness import robustness
from validation.evaluation.runs.tables import collect
from validation.training.checkpoint import RunFolder
from validation.training.loop import train
from validation.training.models import build
from validation.training.penalty import Penalty
from validation.training.recipes import LAPTOP

pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

DEVICE = os.environ.get("PILCRO_GPU", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TINY = LAPTOP.changed(data="digits", size=8, epochs=2, kind="target", alpha=1.0, interval=5)
KINDS = ("curvature", "target", "norm")


def small(dtype=torch.float64):
    """The laptop's network with weights of its own, and images, on the CPU."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(12, 1, 16, 16, generator=generator, dtype=dtype)
    return build("small", 1, 10, seed=1).to(dtype), images, torch.rand(12, generator=generator, dtype=dtype)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One recipe trained on the device and on the CPU."""
    folder = tmp_path_factory.mktemp("runs")
    return {device: (folder / device, train(TINY, folder / device, device=device)) for device in {DEVICE, "cpu"}}


def test_a_run_on_the_gpu_scores_as_one_on_the_cpu(runs):
    there, here = runs[DEVICE][1], runs["cpu"][1]
    assert there["gradient_norms"]["ratio"] == pytest.approx(here["gradient_norms"]["ratio"], rel=1e-2)
    assert there["before"]["tv"] == pytest.approx(here["before"]["tv"], rel=1e-3)
    assert there["scores"]["top1"] == pytest.approx(here["scores"]["top1"], abs=0.05)


def test_a_run_that_was_stopped_on_the_gpu_goes_on_there(runs, tmp_path):
    recipe = TINY.changed(epochs=1)
    whole = train(recipe, tmp_path / "whole", device=DEVICE, save_every=5)
    train(recipe, tmp_path / "again", device=DEVICE, save_every=5)
    for path in (tmp_path / "again").glob("result.json"):
        path.unlink()
    for path in (tmp_path / "again").glob("step-00000022.*"):
        path.unlink()
    again = train(recipe, tmp_path / "again", device=DEVICE, save_every=5)
    assert again["scores"]["loss"] == pytest.approx(whole["scores"]["loss"], rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_three_ways_to_the_penaltys_gradient_agree_on_gpu_and_cpu(kind):
    model, images, uniforms = small()
    target = torch.ones(16, 16, dtype=torch.float64)
    found = []
    for device, way in ((DEVICE, "linearised"), (DEVICE, "double_backward"), (DEVICE, "forward_mode"), ("cpu", "linearised")):
        one = copy.deepcopy(model).to(device)
        if kind == "norm":
            value = Penalty(kind).of_model(one, images.to(device), uniforms.to(device))
        else:
            landscape = importance_map(one, images.to(device), uniforms=uniforms.to(device), way=way)
            value = Penalty(kind).of_map(landscape, target.to(device))
        gradients = torch.autograd.grad(value, list(one.parameters()), materialize_grads=True)
        found.append(torch.cat([g.flatten().cpu() for g in gradients]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-6, atol=1e-9 * float(found[0].abs().max()))


def test_robustness_and_ablation_on_the_gpu_are_those_of_the_cpu():
    data = load("digits", size=16)
    model = build("small", 1, 10, seed=1).eval()
    there, here = (
        robustness(copy.deepcopy(model).to(d), data.test, categories=("noise",), severities=(1, 5), constants="cifar", device=d)
        for d in (DEVICE, "cpu")
    )
    np.testing.assert_allclose(there.by_category()["noise"], here.by_category()["noise"], rtol=1e-3)
    areas = [
        ablation(copy.deepcopy(model).to(d), data.test, images=8, baselines=8, steps=4, points=9, device=d).area[0]
        for d in (DEVICE, "cpu")
    ]
    assert areas[0] == pytest.approx(areas[1], rel=0.05)


def test_mixed_precision_and_channels_last_train_on_the_gpu(runs, tmp_path):
    result = train(TINY.changed(precision="bfloat16", channels_last=True), tmp_path / "half", device=DEVICE)
    assert result["scores"]["top1"] == pytest.approx(runs["cpu"][1]["scores"]["top1"], abs=0.08)
    saved = RunFolder(tmp_path / "half").latest().tensors
    assert {value.dtype for value in saved.values()} == {torch.float32, torch.int64}


def test_the_field_of_a_unit_on_the_gpu_is_that_of_the_cpu():
    model, images, _ = small(torch.float32)
    there, here = (
        effective_receptive_field(copy.deepcopy(model).eval(), images, layer="2", unit="centre", device=d)
        for d in (DEVICE, "cpu")
    )
    np.testing.assert_allclose(there.mean, here.mean, rtol=1e-3, atol=1e-6 * float(here.mean.max()))


def test_the_commands_run_on_the_gpu(runs, capsys):
    folder = runs[DEVICE][0]
    assert main(["evaluate", str(folder), "--location", "--device", DEVICE, "--reach", "1", "--stride", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]
    assert len(collect([folder])) == 1


@pytest.mark.skipif(
    DEVICE == "cuda" and torch.cuda.device_count() < 2, reason="nccl takes one device a process: two are needed"
)
def test_two_processes_over_nccl_share_the_batches_of_one_run(runs, tmp_path):
    options = ["--data", "digits", "--size", "8", "--epochs", "2", "--penalty", "target", "--alpha", "1", "--interval", "5"]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "validation",
        "train",
    ]
    done = subprocess.run(
        [*command, str(tmp_path / "two"), *options, "--device", DEVICE, "--json"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    scores = [collect([folder])[0].content["scores"]["top1"] for folder in (tmp_path / "two", runs["cpu"][0])]
    assert scores[0] == pytest.approx(scores[1], abs=0.08)
