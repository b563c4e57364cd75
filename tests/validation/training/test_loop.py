"""Nothing is lost: a run that was killed, stopped, starved of disk or damaged ends as if nothing had happened, or says so."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from lattice import SpecificationError
from validation import curvature_penalty, importance_map, smoothness_target
from validation.cli.commands.runs.train import Train
from validation.datasets.catalogue import load
from validation.evaluation.runs.tables import collect, grouped, label
from validation.runtime.process_group import World
from validation.runtime.seeds import number
from validation.training import loop
from validation.training.checkpoint import DivergedError, RunFolder, TrainingError, read_json, write_json
from validation.training.loop import train
from validation.training.models import build
from validation.training.penalty import Objective, Penalty
from validation.training.recipes import CIFAR100, IMAGENET, LAPTOP, RECIPES, Recipe
from validation.training.start import decay_groups, gradient_norms

pytest.importorskip("safetensors")
pytest.importorskip("sklearn")

# scikit-learn's digits on 8 x 8 pixels: 1440 to train, 22 steps an epoch; penalties at steps 0, 5, 10, ...
TINY = LAPTOP.changed(data="digits", size=8, epochs=2, kind="curvature", alpha=1e-3, interval=5, augment="flip")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
COMMAND = ["--data", "digits", "--size", "8", "--epochs", "2", "--penalty", "curvature", "--alpha", "1e-3"]
COMMAND += ["--interval", "5", "--augment", "flip", "--device", "cpu"]


def files(folder: Path) -> dict[str, str]:
    """The hash of every checkpoint and result, by name."""
    kept = [path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".npz")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    train(TINY, folder, device="cpu", save_every=11)
    return folder


class CrashError(Exception):
    """What stands for a crash."""


def train_and_crash(folder, steps, **options):
    """Train, and crash before update number `steps`."""
    done, update = 0, loop.update

    def counted(*arguments):
        nonlocal done
        if done == steps:
            raise CrashError
        done += 1
        update(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "update", counted)
        with pytest.raises(CrashError):
            train(TINY, folder, device="cpu", **options)


# before a penalty, at one, between two, at the end of an epoch, in the second epoch
@pytest.mark.parametrize("steps", [4, 5, 8, 22, 30])
def test_a_run_that_goes_on_is_bit_for_bit_the_run_that_was_never_stopped(whole, tmp_path, steps):
    train_and_crash(tmp_path, steps, save_every=1)
    if steps < 22:
        assert f"step-{steps:08d}.json" in files(tmp_path)
    train(TINY, tmp_path, device="cpu", save_every=11)
    assert files(tmp_path) == files(whole)


def test_no_randomness_of_the_callers_is_used_or_moved(whole, tmp_path):
    torch.manual_seed(123)
    np.random.seed(5)  # noqa: NPY002
    state, legacy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(TINY, tmp_path, device="cpu", save_every=11)
    assert torch.equal(state, torch.random.get_rng_state())
    assert (legacy == np.random.get_state()[1]).all()  # noqa: NPY002
    assert files(tmp_path) == files(whole)


def start(folder, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "validation", "train", str(folder), *COMMAND, *more, "--json"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(folder, step, process):
    deadline = time.monotonic() + 120
    while not any(int(path.stem[5:]) >= step for path in folder.glob("step-*.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)


def test_kill_9_and_the_same_command_again_give_the_same_files(whole, tmp_path):
    process = start(tmp_path, "--save-every", "1")
    wait_for(tmp_path, 7, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert "result.json" not in files(tmp_path)
    again = start(tmp_path, "--save-every", "11")
    printed, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors.decode()
    assert json.loads(printed)["scores"] == read_json(whole / "result.json")["scores"]
    assert files(tmp_path) == files(whole)


def test_sigterm_saves_and_exits_143_and_a_second_process_is_refused(whole, tmp_path):
    process = start(tmp_path, "--save-every", "1")
    wait_for(tmp_path, 3, process)
    with pytest.raises(SpecificationError, match="another process is training in"):
        train(TINY, tmp_path, device="cpu")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    train(TINY, tmp_path, device="cpu", save_every=11)
    assert files(tmp_path) == files(whole)


def test_a_full_disk_is_an_error_with_the_last_checkpoint_whole(whole, tmp_path):
    """A real refusal of the operating system: no file of this process may grow beyond 64 KiB."""
    train_and_crash(tmp_path, 6, save_every=2)
    before = files(tmp_path)
    script = (
        "import resource, signal, sys; from pathlib import Path; from validation.__main__ import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        f"sys.exit(main(['train', {str(tmp_path)!r}, *{COMMAND!r}, '--save-every', '2', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr
    assert "Make room and run the same command" in done.stderr
    assert files(tmp_path) == before
    train(TINY, tmp_path, device="cpu", save_every=11)
    assert files(tmp_path) == files(whole)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("ending", ["safetensors", "json"])
@pytest.mark.parametrize("damage", [flip_a_byte, lambda path: path.write_bytes(path.read_bytes()[:100]), Path.unlink])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(whole, tmp_path, ending, damage):
    train_and_crash(tmp_path, 9, save_every=4)
    damage(tmp_path / f"step-00000008.{ending}")
    missing = ending == "json" and damage is Path.unlink  # a checkpoint without its facts was never finished
    with warnings.catch_warnings() if missing else pytest.warns(RuntimeWarning, match="step-00000008"):
        train(TINY, tmp_path, device="cpu", save_every=11)
    found, expected = files(tmp_path), files(whole)
    assert {name: found[name] for name in expected} == expected


def test_when_no_checkpoint_is_whole_the_run_says_so(tmp_path):
    train_and_crash(tmp_path, 9, save_every=4)
    for path in tmp_path.glob("step-*.safetensors"):
        flip_a_byte(path)
    with pytest.warns(RuntimeWarning, match="damaged"), pytest.raises(TrainingError, match="none of the 2 checkpoints"):
        train(TINY, tmp_path, device="cpu")


def test_nan_ends_the_run_before_it_reaches_the_weights(tmp_path):
    with pytest.raises(TrainingError, match=r"step \d+: cross-entropy .* Nothing was updated"):
        train(TINY.changed(lr=1e18), tmp_path, device="cpu", save_every=1)
    saved = RunFolder(tmp_path).latest()
    assert all(bool(torch.isfinite(value).all()) for value in saved.tensors.values())


def test_another_configuration_is_refused_and_every_difference_named(tmp_path):
    train_and_crash(tmp_path, 2, save_every=1)
    with pytest.raises(
        SpecificationError, match=r"lr is 0\.1 there and 0\.2 here; penalty\.alpha is 0\.001 there and 1\.0 here"
    ):
        train(TINY.changed(lr=0.2, alpha=1.0), tmp_path, device="cpu")


def test_checkpoints_without_a_configuration_are_refused(tmp_path):
    train_and_crash(tmp_path, 2, save_every=1)
    (tmp_path / "config.json").unlink()
    with pytest.raises(SpecificationError, match=r"no config\.json"):
        train(TINY, tmp_path, device="cpu")


def test_a_finished_run_returns_at_once(whole):
    began = time.monotonic()
    assert train(TINY, whole, device="cpu") == read_json(whole / "result.json")
    assert time.monotonic() - began < 2


def test_the_result_holds_the_scores_and_the_landscapes(whole):
    result = read_json(whole / "result.json")
    assert result["scores"]["top1"] > result["before"]["top1"] + 0.3
    assert [row["epoch"] for row in result["rows"]] == [1, 2]
    with np.load(whole / "landscape.npz") as arrays:
        assert np.mean(arrays["after"] ** 2) == pytest.approx(1)
        assert arrays["before"].shape == (8, 8)


# --- recipes


def test_each_hyperparameter_of_the_paper_is_in_the_configuration():
    assert (CIFAR100.model, CIFAR100.batch, CIFAR100.epochs, CIFAR100.lr, CIFAR100.momentum) == (
        "resnet50-cifar", 128, 200, 0.1, 0.9,
    )  # fmt: skip
    assert (CIFAR100.rate(0, 200), CIFAR100.rate(100, 200), CIFAR100.rate(200, 200)) == pytest.approx((0.1, 0.05, 0))
    assert (IMAGENET.model, IMAGENET.batch, IMAGENET.lr, IMAGENET.momentum) == ("resnet50", 256, 0.256, 0.875)
    assert (IMAGENET.label_smoothing, IMAGENET.weight_decay, IMAGENET.decay_norms) == (0.1, 3e-5, False)
    assert (IMAGENET.size, IMAGENET.evaluation_size, IMAGENET.augment) == (224, 288, "zoom")
    assert (CIFAR100.penalty.interval, CIFAR100.penalty.width) == (10, 3)


def test_a_recipe_comes_back_from_json():
    assert Recipe.of(json.loads(json.dumps(TINY.json()))) == TINY
    with pytest.raises(SpecificationError, match="no colour"):
        Recipe.of({**TINY.json(), "colour": 1})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch": 0}, "batch 0"),
        ({"lr": float("nan")}, "lr nan"),
        ({"momentum": 1.0}, "momentum 1.0"),
        ({"weight_decay": -1}, "weight_decay -1"),
        ({"precision": "float16"}, "precision float16"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(values, words):
    with pytest.raises(SpecificationError, match=words):
        LAPTOP.changed(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch": 2000}, "do not fill one batch of 2000"),
        ({"data": "cifar100", "size": 32}, r"cifar-100-python\.tar\.gz; download it from https"),
        ({"data": "folder", "augment": "zoom"}, "--root names the folder that holds train"),
        ({"model": "resnet19"}, "torchvision has no model 'resnet19'"),
        ({"model": "vgg11-cifar"}, "only ResNets have a form for 32 pixels"),
        ({"augment": "zoom"}, "'zoom' is for folders"),
        ({"size": 4}, "size is 4, and must be 8 at least"),
    ],
)
def test_what_cannot_be_trained_says_why(tmp_path, values, words):
    with pytest.raises(SpecificationError, match=words):
        train(TINY.changed(**values), tmp_path, device="cpu")


def decayed(recipe):
    """Which of the digits' network's parameters decay, by name."""
    model = build("small", 1, 10, seed=0)
    ids = {id(p) for p in decay_groups(model, recipe)[0]["params"]}
    return {name for name, p in model.named_parameters() if id(p) in ids}


def test_imagenets_weight_decay_spares_batch_norms_and_nothing_else():
    model = build("small", 1, 10, seed=0)
    norms = {
        f"{name}.{p}" for name, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d) for p in ("weight", "bias")
    }
    every = {name for name, _ in model.named_parameters()}
    assert decayed(IMAGENET) == every - norms
    assert "8.bias" in decayed(IMAGENET)  # the last layer's
    assert decayed(CIFAR100) == every
    assert decayed(IMAGENET.changed(decay_biases=False)) == every - norms - {"8.bias"}


def test_a_run_from_before_biases_were_told_from_norms_keeps_its_decay():
    old = {name: value for name, value in TINY.changed(decay_norms=False).json().items() if name != "decay_biases"}
    assert not Recipe.of(old).decay_biases


# --- the weight as applied


def test_the_presets_apply_alpha_itself_to_the_mean_over_pixels():
    importance, target = torch.rand(32, 32) + 0.5, torch.ones(32, 32)
    for preset in (CIFAR100, IMAGENET, LAPTOP):
        penalty = preset.changed(kind="target", alpha=10.0).penalty
        assert penalty.interval == 10
        assert penalty.weight(200) == 10
        assert penalty.of_map(importance, target).item() == pytest.approx(((importance - target) ** 2).mean().item())


@pytest.mark.slow
def test_the_papers_largest_alpha_has_the_order_of_the_loss_as_a_mean():
    """ResNet-50 for 32 pixels, before its first step: what alpha = 100 of P_t weighs. The sum is 1024 times the mean."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(16, 3, 32, 32, generator=generator), torch.randint(100, (16,), generator=generator)
    batch = (*batch, torch.rand(16, generator=generator))
    alone, ratios = World(0, 1, torch.device("cpu")), {}
    target = smoothness_target(batch[0]).float()
    for reduction in ("mean", "sum"):
        recipe = CIFAR100.changed(kind="target", alpha=100.0, reduction=reduction)
        objective = Objective(build(recipe.model, 3, 100, seed=0), recipe.penalty, target)
        ratios[reduction] = gradient_norms(objective, recipe, batch, alone)["ratio"]
    assert 0.3 < ratios["mean"] < 5
    assert ratios["sum"] == pytest.approx(1024 * ratios["mean"], rel=1e-3)


def test_the_gradient_norms_at_step_0_are_those_of_two_backward_passes(whole):
    """By double backward, on the batch that the first update sees."""
    norms = read_json(whole / "result.json")["gradient_norms"]
    data, alone = load("digits", size=8, augment="flip"), World(0, 1, torch.device("cpu"))
    run = loop.begin(TINY, data, whole, alone)
    images, labels, uniforms = loop.batch_of(run, alone, 0)
    model = build("small", 1, 10, seed=number(0, "weights"), size=8)

    def norm(value):
        found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
        return float(torch.cat([g.flatten() for g in found if g is not None]).norm())

    plain = norm(torch.nn.functional.cross_entropy(model(images), labels))  # running statistics move, as in the update
    landscape = importance_map(model, images, uniforms=uniforms, way="double_backward")
    assert norms["penalty"] == pytest.approx(1e-3 * norm(curvature_penalty(landscape)), rel=1e-4)
    assert norms["cross_entropy"] == pytest.approx(plain, rel=1e-4)
    assert norms["ratio"] == pytest.approx(norms["penalty"] / norms["cross_entropy"])


def test_a_run_says_at_its_start_how_large_the_penalty_is(whole, tmp_path):
    said = []
    train_and_crash(tmp_path, 0, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("gradient norms at step 0: penalty")
    assert read_json(tmp_path / "start.json") == read_json(whole / "start.json")
    train(TINY, tmp_path, device="cpu", save_every=11, say=said.append)
    assert said[0] == said[1]
    assert files(tmp_path) == files(whole)


def test_an_old_run_says_which_reading_it_had_and_goes_on_only_with_it(tmp_path):
    """Before, alpha was multiplied by T, and Eq. 17 summed; its files said neither."""
    recipe = TINY.changed(reading="alpha_0", reduction="literal", decay_norms=False, decay_biases=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "TINY", recipe)
        train_and_crash(tmp_path, 2, save_every=1)
    config = read_json(tmp_path / "config.json")
    for name in ("stem", "lr_warmup", "decay_biases", "early_scores"):
        del config["recipe"][name]
    for name in ("reading", "border"):
        del config["recipe"]["penalty"][name]
    write_json(tmp_path / "config.json", config)
    with pytest.raises(SpecificationError, match=r"penalty\.reading is 'alpha_0' there and 'alpha' here"):
        train(recipe.changed(reading="alpha"), tmp_path, device="cpu")
    train(recipe, tmp_path, device="cpu")
    (group,) = grouped(collect([tmp_path]))
    assert label(group.recipe) == "curvature, alpha_0 0.001, reduction literal"


# --- within the first epoch, and the best one


def test_scores_inside_the_first_epoch_change_nothing_in_the_training(whole, tmp_path):
    recipe = TINY.changed(early_scores=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "TINY", recipe)
        train_and_crash(tmp_path, 9, save_every=1)
    result = train(recipe, tmp_path, device="cpu", save_every=11)
    assert [row["epoch"] for row in result["early"]] == [6 / 22, 11 / 22, 16 / 22]
    plain = read_json(whole / "result.json")
    assert result["rows"] == plain["rows"]
    assert plain["early"] == []
    assert plain["best"] == max(plain["rows"], key=lambda row: row["top1"])


def test_every_hyperparameter_can_be_given_on_the_command_line():
    options = {f.name for f in fields(Train)}
    assert {f.name for f in fields(Recipe)} <= options
    assert {f.name for f in fields(Penalty)} - {"kind"} <= options  # its kind is --penalty


OTHERS = {
    "momentum": 0.875, "weight_decay": 3e-5, "decay_norms": False, "decay_biases": False, "label_smoothing": 0.1, "lr": 0.256,
    "evaluation_size": 288, "lr_warmup": 5, "epochs": 90, "stem": "cifar", "batch": 256, "early_scores": 8, "size": 224,
    "alpha": 100.0, "interval": 5, "width": 5, "warmup": 7, "reduction": "literal", "reading": "alpha_0", "border": "reflect",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_command_line_gives_replaces_the_presets_value(name, tmp_path):
    recipe = Train(tmp_path, penalty="curvature", **{name: OTHERS[name]}).recipe()
    assert recipe == RECIPES["laptop"].changed(kind="curvature", **{name: OTHERS[name]})
    assert recipe != RECIPES["laptop"].changed(kind="curvature")


def test_a_warm_up_of_the_rate_that_outlasts_the_run_is_refused(tmp_path):
    with pytest.raises(SpecificationError, match=r"22 steps never reaches the learning rate 0\.1: the run has 22 steps"):
        train(LAPTOP.changed(data="digits", size=8, epochs=1, lr_warmup=22), tmp_path, device="cpu")


DEAD_NET = """
from torch import nn

def dead():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    nn.init.constant_(model[0].bias, -1e3)
    return model
"""


def test_a_network_that_no_longer_sees_its_input_has_diverged(tmp_path):
    """Its landscape has no shape, so that a sweep notes the run and goes on (`reproduce`, ¶_c with a large alpha)."""
    (tmp_path / "nets.py").write_text(DEAD_NET)
    recipe = LAPTOP.changed(data="digits", size=8, epochs=1, model=f"{tmp_path / 'nets.py'}:dead")
    with pytest.raises(DivergedError, match="step 22, on the test images: this map is zero"):
        train(recipe, tmp_path / "run", device="cpu")


def test_the_stem_of_a_resnet_is_an_option():
    shapes = {stem: build("resnet18", 3, 5, seed=0, stem=stem).conv1.kernel_size for stem in ("auto", "imagenet", "cifar")}
    assert shapes == {"auto": (7, 7), "imagenet": (7, 7), "cifar": (3, 3)}
    assert build("resnet18-cifar", 3, 5, seed=0).conv1.kernel_size == (3, 3)
    for name, stem in (("resnet18-cifar", "imagenet"), ("small", "cifar")):
        with pytest.raises(SpecificationError, match="stem"):
            build(name, 3, 5, seed=0, stem=stem)


# --- several processes

PLAIN_NET = """
from torch import nn

def plain():
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Flatten(),
                         nn.Linear(128, 10)).double()
"""


def test_two_processes_equal_one_on_the_full_batch(tmp_path):
    """Penalties included, which are not linear in the map; without batch norms, whose statistics are each process's own."""
    (tmp_path / "nets.py").write_text(PLAIN_NET.replace(".double()", ""))
    options = [
        *COMMAND,
        "--model",
        f"{tmp_path / 'nets.py'}:plain",
        "--epochs",
        "1",
        "--alpha",
        "0.1",
        "--lr",
        "0.02",
        "--json",
    ]
    one = [sys.executable, "-m", "validation", "train", str(tmp_path / "one"), *options]
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "validation", "train"]
    for command in (one, [*two, str(tmp_path / "two"), *options]):
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    weights = [RunFolder(tmp_path / name).latest().tensors for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)
    results = [read_json(tmp_path / name / "result.json") for name in ("one", "two")]
    assert results[1]["rows"][0]["penalty"] == pytest.approx(results[0]["rows"][0]["penalty"], rel=1e-5)
    assert results[0]["rows"][0]["penalty"] > 0


GRADIENTS = """
import sys, torch
from pathlib import Path
from torch.nn.parallel import DistributedDataParallel
import torch.distributed as distributed
sys.path.insert(0, sys.argv[1])
from nets import plain
from validation.runtime.process_group import world
from validation.training.penalty import Objective, Penalty
import validation.training.penalty as module

with world("cpu") as place:
    if sys.argv[3] == "apart":
        module.mean_over_processes = None  # each process penalises the map of its own half
    torch.manual_seed(0)
    objective = Objective(plain(), Penalty("curvature", reduction="sum"))
    g = torch.Generator().manual_seed(1)
    images, labels = torch.randn(12, 1, 8, 8, generator=g, dtype=torch.float64), torch.arange(12) % 10
    uniforms = torch.rand(12, generator=g, dtype=torch.float64)
    part = place.part(12)
    several = place.size > 1
    module_ = DistributedDataParallel(objective) if several else objective
    module_(images[part], labels[part], uniforms[part], 1.0)[0].backward()
    if place.first:
        torch.save([p.grad for p in objective.parameters()], sys.argv[2])
"""


def test_two_processes_reduce_the_map_before_the_penalty(tmp_path):
    """The gradient over two processes is that of one only with the map reduced before the penalty."""
    (tmp_path / "nets.py").write_text(PLAIN_NET)
    (tmp_path / "gradients.py").write_text(GRADIENTS)
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = {}
    for name, launcher, how in (("one", [], "together"), ("two", two, "together"), ("apart", two, "apart")):
        command = [sys.executable, *launcher, str(tmp_path / "gradients.py"), str(tmp_path), str(tmp_path / name), how]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        found[name] = torch.cat([g.flatten() for g in torch.load(tmp_path / name, weights_only=True)])
    scale = found["one"].norm()
    assert (found["two"] - found["one"]).norm() < 1e-6 * scale
    assert (found["apart"] - found["one"]).norm() > 0.05 * scale


def test_a_batch_that_does_not_split_is_refused():
    assert World(1, 2, torch.device("cpu")).part(64) == slice(32, 64)


def test_half_precision_and_channels_last_train_as_well(whole, tmp_path):
    result = train(TINY.changed(precision="bfloat16", channels_last=True), tmp_path, device="cpu")
    expected = read_json(whole / "result.json")["scores"]
    assert abs(result["scores"]["top1"] - expected["top1"]) < 0.05
    saved = RunFolder(tmp_path).latest().tensors
    assert {value.dtype for value in saved.values()} == {torch.float32, torch.int64}  # the weights stay whole
    assert files(tmp_path) != files(whole)
