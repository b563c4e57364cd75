"""Killed, interrupted, shared among processes: the estimate is the same to the bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from lattice import SpecificationError, families
from lattice.results.files import read_arrays
from validation import Estimate, measure
from validation.montecarlo.measure import _units
from validation.montecarlo.sampler import Sampler
from validation.montecarlo.shards import Tally, same_answer
from validation.runtime.locks import locked
from validation.runtime.workers import Workers

NET = families.plain((8, 8), depth=3, channels=4)
CALL = {"draws": 500, "seed": 2, "chunk": 7, "shard": 20}
SCRIPT = """
import sys, time, torch
torch.set_num_threads(1)
from lattice import families
from validation import measure
from validation.montecarlo.sampler import Sampler

squares = Sampler.squares
def slowly(*arguments, **options):
    time.sleep({pause})
    return squares(*arguments, **options)
Sampler.squares = slowly
for seed in {seeds}:
    estimate = measure(
        families.plain((8, 8), depth=3, channels=4), draws=500, seed=seed, chunk=7, shard=20, folder={folder!r}, device="cpu"
    )
    if {save!r}:
        estimate.save({save!r} + f"-{{seed}}.npz")
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def script(path, *, pause=0.0, folder=None, save=None, seeds=(2,)):
    file = path / "script.py"
    file.write_text(SCRIPT.format(pause=pause, folder=folder, save=save, seeds=seeds))
    return str(file)


def same(one, other):
    for name in ("mean", "standard_error", "blocks", "block_draws", "energies", "draws", "interrupted"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.fixture(scope="module")
def whole():
    """The uninterrupted measurement, without a folder."""
    return measure(NET, **CALL)


def wait_for_shards(folder, process, least):
    deadline = time.monotonic() + 60
    while len(list(folder.glob("shard-*.npz"))) < least:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_in_the_middle_and_resumed_it_is_the_same_to_the_bit(tmp_path, whole):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, script(tmp_path, pause=0.03, folder=str(folder))], stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    with process:
        wait_for_shards(folder, process, 3)
        with pytest.raises(SpecificationError, match="another process is measuring into"):
            measure(NET, **CALL, folder=folder)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (folder / ".shard-000000.npz.1.tmp").write_bytes(b"half a sha")
    kept = len(list(folder.glob("shard-*.npz")))
    same(measure(NET, **CALL, folder=folder), whole)
    assert len(list(folder.glob("shard-*.npz"))) > kept >= 3
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("world", [2, 3])
def test_workers_split_the_draws_and_their_sums_add_up_to_the_same_bits(monkeypatch, whole, world):
    """Each rank in turn in this process; the all-reduce is done here by hand."""
    parts = []
    for rank in range(world):
        seen = []
        monkeypatch.setattr(Workers, "here", lambda device, rank=rank: Workers(rank, world, torch.device("cpu")))
        monkeypatch.setattr(Workers, "sum", lambda self, array, seen=seen: seen.append(array.copy()) or array)
        measure(NET, **CALL)
        parts.append(seen)
    known, sums, energies, done = (sum(arrays) for arrays in zip(*parts, strict=True))
    assert (known == 0).all()
    assert (done == 1).all()  # every draw by one worker
    assert all(part[3].sum() > 500 / world - 10 for part in parts)
    assert (energies == whole.energies).all()
    same(Tally(Tally.empty(500, 200, ()).block_of, sums, energies, done).estimate(seed=2, batched=True), whole)


@pytest.mark.slow
def test_torchrun_gives_every_process_the_same_bits_as_one_process(tmp_path, whole):
    """Two processes, two measurements, into one folder that a third process finds complete."""
    save = str(tmp_path / "estimate")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call = script(tmp_path, save=save, seeds=(3, 2))
    subprocess.run([*command, call], check=True, capture_output=True, env=ENVIRONMENT, timeout=120)
    same(Estimate.load(save + "-2.npz"), whole)
    same(Estimate.load(save + "-3.npz"), measure(NET, **{**CALL, "seed": 3}))


@pytest.mark.slow
def test_workers_resume_what_one_process_began(tmp_path, whole):
    folder, save = tmp_path / "run", str(tmp_path / "estimate")
    interrupt_after(NET, folder, draws=120)
    before = set(folder.glob("shard-*.npz"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call = script(tmp_path, folder=str(folder), save=save)
    subprocess.run([*command, call], check=True, capture_output=True, env=ENVIRONMENT, timeout=120)
    same(Estimate.load(save + "-2.npz"), whole)
    assert len(set(folder.glob("shard-*.npz")) - before) > 2
    same(measure(NET, **CALL, folder=folder), whole)


def interrupt_after(net, folder, draws):
    """A keyboard interrupt when so many draws are done."""
    done, squares = [-4], Sampler.squares  # two draws are looked at both ways beforehand

    def interrupted(self, indices, batched):
        if done[0] >= draws:
            raise KeyboardInterrupt
        done[0] += len(indices)
        return squares(self, indices, batched)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampler, "squares", interrupted)
        return measure(net, **CALL, folder=folder)


def test_an_interrupt_returns_its_draws_and_the_folder_goes_on(tmp_path, whole):
    first = interrupt_after(NET, tmp_path, draws=101)
    assert first.interrupted
    assert 101 <= first.draws < 101 + CALL["chunk"]
    assert first.draws == first.block_draws.sum() == len(first.energies)
    assert np.array_equal(first.energies, whole.energies[: first.draws])
    second = interrupt_after(NET, tmp_path, draws=150)
    assert second.draws > first.draws + 100
    same(measure(NET, **CALL, folder=tmp_path), whole)


def test_a_finished_folder_returns_its_result_without_a_draw(tmp_path, whole):
    measure(NET, **CALL, folder=tmp_path)
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*.npz")}
    same(interrupt_after(NET, tmp_path, draws=0), whole)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("shard-*.npz")} == shards
    assert all(read_arrays(path)[0]["draws"] >= CALL["shard"] for path in sorted(shards)[:-1])


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_shard_is_named_and_drawn_again(tmp_path, whole, damage):
    measure(NET, **CALL, folder=tmp_path)
    path = sorted(tmp_path.glob("shard-*.npz"))[3]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"flipped": bytes(content), "cut": bytes(content[:300]), "empty": b""}[damage])
    with pytest.warns(RuntimeWarning, match=rf"{path.name} is damaged.* its draws are drawn again"):
        again = measure(NET, **CALL, folder=tmp_path)
    same(again, whole)
    same(measure(NET, **CALL, folder=tmp_path), whole)


def test_a_folder_of_other_arguments_is_refused(tmp_path):
    measure(NET, **CALL, folder=tmp_path)
    other_net = families.plain((8, 8), depth=3, channels=4, padding=1)
    images = np.random.default_rng(0).normal(size=(3, *NET.input_shape))
    for net, change, message in (
        (NET, {"seed": 3}, "seed is 2 there and 3 here"),
        (NET, {"draws": 501}, "draws is 500 there and 501 here"),
        (NET, {"mode": "train"}, "mode is 'eval' there and 'train' here"),
        (NET, {"chunk": 8}, "chunk is 7 there and 8 here"),
        (NET, {"initialisation": 0.1}, "model is"),
        (NET, {"inputs": images}, "inputs is 'white noise' there"),
        (other_net, {}, "model is"),
    ):
        with pytest.raises(SpecificationError, match=message):
            measure(net, **{**CALL, **change}, folder=tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(SpecificationError, match=r"manifest\.json is damaged"):
        measure(NET, **CALL, folder=tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(SpecificationError, match=r"holds shards and no manifest\.json"):
        measure(NET, **CALL, folder=tmp_path)


def test_factories_are_told_apart_by_their_layers_and_their_weights(tmp_path):
    def factory():
        return nn.Conv2d(1, 2, 3)

    def padded():
        return nn.Conv2d(1, 2, 3, padding=1)

    def smaller():
        conv = nn.Conv2d(1, 2, 3)
        with torch.no_grad():
            conv.weight.mul_(0.5)
        return conv

    first = measure(factory, (1, 6, 6), draws=4, folder=tmp_path)
    same(measure(lambda: nn.Conv2d(1, 2, 3), (1, 6, 6), draws=4, folder=tmp_path), first)
    for other in (padded, smaller):
        with pytest.raises(SpecificationError, match="model is"):
            measure(other, (1, 6, 6), draws=4, folder=tmp_path)


class Scaled(nn.Module):
    """Equal layers and equal weights; what differs between two of them is in Python alone."""

    def __init__(self, function=lambda y: y, dtype=torch.float32):
        super().__init__()
        self.conv, self.function = nn.Conv2d(1, 2, 3, padding=1).to(dtype), function

    def forward(self, x):
        return self.function(self.conv(x))


class Doubled(torch.autograd.Function):
    """Its value is the identity's, its gradient is not."""

    @staticmethod
    def forward(ctx, y):
        return y.clone()

    @staticmethod
    def backward(ctx, g):
        return 2 * g


OTHERS = {
    "a factor": lambda y: 3 * y,
    "a factor of 1.01": lambda y: 1.01 * y,
    "an activation": torch.relu,
    "a flip": lambda y: y.flip(-1),
    "channels in another order": lambda y: y.flip(1),
    "another gradient": Doubled.apply,
    "a gradient that is cut": lambda y: y.detach() + 0.5 * (y - y.detach()),
    "a constant": lambda y: y + 1,
}


@pytest.mark.parametrize("other", OTHERS)
def test_factories_are_told_apart_by_what_draw_0_answers(tmp_path, other):
    call = {"draws": 4, "batched": False, "folder": tmp_path}  # torch.func cannot take the first of these gradients
    first = measure(Scaled, (1, 6, 6), **call)
    with pytest.raises(SpecificationError, match="draw 0 gives another output or gradient"):
        measure(lambda: Scaled(OTHERS[other]), (1, 6, 6), **call)
    same(measure(Scaled, (1, 6, 6), **call), first)


def test_another_precision_output_or_law_of_inputs_is_another_measurement(tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 1, 6, 6))
    measure(Scaled, (1, 6, 6), draws=4, inputs=images, folder=tmp_path)
    for factory, change, message in (
        (Scaled, {"output": (2, 3)}, "output is"),
        (Scaled, {"inputs": 2 * images}, "inputs is"),
        (Scaled, {"inputs": None}, "inputs is"),
        (Scaled, {"mode": "train"}, "mode is"),
        (Scaled, {"inputs_per_draw": 2}, "inputs_per_draw is"),
        (lambda: Scaled(dtype=torch.float64), {}, "model is"),
    ):
        with pytest.raises(SpecificationError, match=message):
            measure(factory, (1, 6, 6), **{"draws": 4, "inputs": images, "folder": tmp_path, **change})


@pytest.mark.parametrize("batched", [False, True])
def test_a_folder_knows_its_own_model_by_any_number_of_threads(tmp_path, batched):
    """Sums in another order move the answer by rounding; that is no other model."""
    torch.manual_seed(0)

    def factory():
        return nn.Sequential(*(nn.Sequential(nn.Conv2d(c, 32, 3, padding=1), nn.ReLU()) for c in (3, 32, 32, 32)))

    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            measure(factory, (3, 24, 24), draws=2, batched=batched, folder=tmp_path, device="cpu")
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "there", [None, [], {}, "text", 1.0, {"output": None}, {"output": "a", "gradient": [], "precision": 1}]
)
def test_an_answer_that_somebody_wrote_into_is_another(there):
    here = {"output": [2.0, 1.0], "gradient": [1.0, 0.5], "precision": 1e-4}
    assert not same_answer(there, here)
    assert same_answer(here, here)
    assert not same_answer({**here, "output": [2.0, 1.0, 1.0]}, here)
    assert not same_answer({**here, "output": [2.0, float("nan")]}, here)


def test_the_lock_falls_with_its_holder(tmp_path):
    with locked(tmp_path), pytest.raises(SpecificationError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("draws", "blocks", "chunk"), [(1000, 200, 64), (1000, 200, 1), (11, 11, 64), (5000, 200, 7), (450, 200, 5)]
)
def test_units_are_whole_blocks_that_hold_every_draw_once(draws, blocks, chunk):
    tally = Tally.empty(draws, blocks, (1,))
    units = _units(tally.block_of, chunk, tally.done)
    assert [draw for unit in units for draw in unit] == list(range(draws))
    largest = max(np.bincount(tally.block_of))
    for unit in units:
        inside = np.isin(tally.block_of, tally.block_of[unit.start : unit.stop])
        assert inside.sum() == len(unit)
        assert len(unit) <= max(chunk, largest)
    assert all(len(unit) > chunk - largest for unit in units[:-1])
