"""Whatever stops training, a measurement or an evaluation, and whenever: nothing is lost or torn, the end is the same bits.

A small run is killed at every call that reaches the disk, and at random times; starved of disk; frozen, crashed and damaged.
Each time its folder is inspected, and the same call goes on from it.
"""

import copy
import errno
import hashlib
import importlib
import json
import linecache
import os
import random
import shutil
import signal
import socket
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from lattice import PilcroError, families
from lattice.results.files import StorageError, read_arrays
from tests.drills import bodies
from tests.drills.mounts import can_mount
from tests.drills.server import Server
from validation import Estimate, measure
from validation.runtime import locks
from validation.runtime.files import write_figure
from validation.studies.table import Series, Table, provenance
from validation.training import loop
from validation.training.checkpoint import RunFolder, read_json
from validation.training.recipes import Recipe

measuring = importlib.import_module("validation.montecarlo.measure")

pytest.importorskip("safetensors")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the runs are forked processes")
BODIES = ("train", "measure", "evaluate")
SEED = int(os.environ.get("PILCRO_SEED", "0"))


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


def digests(place):
    """Hashes of all that counts in the end: a run's last state, metrics, landscape and result; the estimate; the pieces."""
    paths = [path for path in place.rglob("*") if path.suffix in (".json", ".safetensors", ".npz")]
    last = max((path.stem for path in paths if path.name.startswith("step-")), default="")
    left = [path for path in paths if path.name != "manifest.json" and not path.name.startswith("shard-")]
    left = [path for path in left if not path.name.startswith("step-") or path.stem == last]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in left}


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    """For each body: how it ended, its hashes, and where its files lie."""
    found = {}
    for body in BODIES:
        folder = tmp_path_factory.mktemp(body) / "drill" / "run"
        end = server.run(body, folder)
        assert end.code == 0, end.told
        assert not end.warnings
        found[body] = (end, digests(folder.parent), folder)
    return found


def inspect(folder, saved=0):
    """Nothing is torn: every file that has its name is whole. Nothing is lost: what was said to be safe is there."""
    blocks = 0
    for path in folder.parent.rglob("[!.]*"):
        if path.name.startswith("step-") and path.suffix == ".json":
            RunFolder.read(path)
        elif path.name == "manifest.json":
            json.loads(path.read_bytes())
        elif path.suffix == ".json":
            read_json(path)
        elif path.name == "estimate.npz":
            Estimate.load(path)
        elif path.suffix == ".npz":
            blocks += len(read_arrays(path)[1].get("blocks", ())) + path.name.startswith("piece-")
    latest = RunFolder(folder).latest()
    assert saved <= (blocks if latest is None else latest.step)


def goes_on(server, body, folder, undisturbed):
    """The same call again, and the end is that of the run to which nothing happened."""
    end = server.run(body, folder)
    assert end.code == 0, end.told
    assert not end.warnings
    assert digests(folder.parent) == undisturbed[body][1]
    assert not list(folder.rglob(".*.tmp"))


# --- killed ---------------------------------------------------------------------------------------------------------------


def test_a_save_is_on_disk_before_its_name_and_the_name_before_removals(undisturbed):
    """So that it also survives a loss of power, which no test can try."""
    save = "create write flush fsync close replace unlink open,folder fsync"
    for body in BODIES:
        text = " ".join(call.replace(" ", ",") for call in undisturbed[body][0].calls)
        assert text.count("replace") == text.count(save) > 4


# nothing differs on the disk between one of these calls and the next, but for how much of a temporary file is there
ALIKE = ("flush", "fsync", "close", "open folder")


def points(calls, all_of_them):
    return [at for at, name in enumerate(calls, 1) if all_of_them or name not in ALIKE]


def killed_at(server, undisturbed, place, body, at, do):
    folder = place / f"{do}-{at}" / "run"
    end = server.run(body, folder, disk={"at": at, "do": do})
    assert end.code == -signal.SIGKILL, (at, end.told)
    inspect(folder, end.saved)
    goes_on(server, body, folder, undisturbed)
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize("body", BODIES)
def test_killed_at_every_change_of_the_disk_it_goes_on(server, undisturbed, tmp_path, body):
    for at in points(undisturbed[body][0].calls, False):
        killed_at(server, undisturbed, tmp_path, body, at, "tear")


@pytest.mark.slow
@pytest.mark.parametrize("do", ["kill", "tear"])
@pytest.mark.parametrize("body", BODIES)
def test_killed_at_every_call_it_goes_on(server, undisturbed, tmp_path, body, do):
    for at in points(undisturbed[body][0].calls, True):
        killed_at(server, undisturbed, tmp_path, body, at, do)


def signalled(server, undisturbed, place, body, number, count):
    """How `count` runs ended that got a signal at a random time, each of them then gone on with."""
    rng, codes, trial = random.Random(SEED), [], 0
    begun = time.monotonic()
    server.run(body, place / "timed" / "run")
    usual = time.monotonic() - begun
    while len(codes) < count:
        assert trial < 20 * count + 50
        folder = place / f"{number}-{trial}" / "run"
        trial += 1
        pid = server.start(body, folder)
        server.until(pid, "started")
        time.sleep(rng.uniform(0, usual))
        os.kill(pid, number)
        end = server.wait(pid)
        inspect(folder, end.saved)
        if end.of("ended") and end.code == 0 and not (number == signal.SIGINT and body == "measure"):
            continue  # it had finished before
        goes_on(server, body, folder, undisturbed)
        shutil.rmtree(folder.parent)
        codes.append((end.code, end.saved))
    return codes


def killed_at_random(server, undisturbed, place, body, count):
    """What had been saved at each kill, as a set."""
    codes = signalled(server, undisturbed, place, body, signal.SIGKILL, count)
    assert {code for code, _ in codes} == {-signal.SIGKILL}
    return {saved for _, saved in codes}


@pytest.mark.parametrize("body", BODIES)
def test_killed_at_random_times_it_goes_on(server, undisturbed, tmp_path, body):
    killed_at_random(server, undisturbed, tmp_path, body, 7)


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
def test_killed_at_200_random_times_it_goes_on(server, undisturbed, tmp_path, body):
    saved = killed_at_random(server, undisturbed, tmp_path, body, 200)
    assert len(saved) > 1  # at other moments, too


# --- asked to stop --------------------------------------------------------------------------------------------------------


def asked(server, undisturbed, place, number, count):
    """A training run saves and says so; before its first step there is nothing to save, and the others keep what is done."""
    codes = signalled(server, undisturbed, place, "train", number, count)
    # 2: a KeyboardInterrupt before the first step
    assert {code for code, _ in codes} <= {128 + number, -number, 2 if number == signal.SIGINT else -number}
    assert all(saved > 0 for code, saved in codes if code == 128 + number)
    for body in ("measure", "evaluate"):
        signalled(server, undisturbed, place / body, body, number, count // 3)
    return [code for code, _ in codes]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_at_random_times_it_saves_and_goes_on(server, undisturbed, tmp_path, number):
    asked(server, undisturbed, tmp_path, number, 3)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_at_100_random_times_it_saves_and_goes_on(server, undisturbed, tmp_path, number):
    assert 128 + number in asked(server, undisturbed, tmp_path, number, 100)


# --- a disk that refuses --------------------------------------------------------------------------------------------------


def refused_at(server, undisturbed, place, body, at, do):
    folder = place / f"{do}-{at}" / "run"
    end = server.run(body, folder, disk={"at": at, "do": do})
    if undisturbed[body][0].calls[at - 1] == "mkdir" and end.code == 0:  # of a folder that is there, so nothing is refused
        assert digests(folder.parent) == undisturbed[body][1]
    else:
        assert end.error is not None, (at, do, end.told)
        message, ours = end.error
        assert ours, (at, do, message)
        assert str(folder.parent) in message
    inspect(folder, end.saved)
    goes_on(server, body, folder, undisturbed)
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize(("do", "first"), [("full", 1), ("fail", 3), ("read_only", 5)])
@pytest.mark.parametrize("body", BODIES)
def test_a_disk_that_refuses_is_named_and_nothing_is_lost(server, undisturbed, tmp_path, body, do, first):
    for at in points(undisturbed[body][0].calls, True)[first::16]:
        refused_at(server, undisturbed, tmp_path, body, at, do)


@pytest.mark.slow
@pytest.mark.parametrize("do", ["full", "fail", "read_only"])
@pytest.mark.parametrize("body", BODIES)
def test_a_disk_that_refuses_at_any_call_is_named_and_nothing_is_lost(server, undisturbed, tmp_path, body, do):
    for at in points(undisturbed[body][0].calls, True):
        refused_at(server, undisturbed, tmp_path, body, at, do)


@pytest.fixture(scope="module")
def may_mount(tmp_path_factory):
    if not can_mount(tmp_path_factory.mktemp("mount") / "here"):
        pytest.skip("this machine lets no process mount")


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kilobytes", [4, 8, 12])
def test_a_small_disk_of_the_kernels_is_named_and_nothing_is_lost(server, undisturbed, may_mount, tmp_path, body, kilobytes):
    folder = tmp_path / "drill" / "run"
    end = server.run(body, folder, mount={"size": kilobytes << 10})
    message, ours = end.error
    assert ours, message
    assert "No space left" in message
    moved = tmp_path / "drill-out" / "run"
    inspect(moved, end.saved)
    goes_on(server, body, moved, undisturbed)


@pytest.mark.parametrize("body", BODIES)
def test_a_read_only_folder_is_named_and_can_go_on_elsewhere(server, undisturbed, may_mount, tmp_path, body):
    folder = tmp_path / "drill" / "run"
    at = len(undisturbed[body][0].calls) * 2 // 3
    end = server.run(body, folder, disk={"at": at, "do": "kill"})
    again = server.run(body, folder, mount={"size": 1 << 20, "read_only": True})
    message, ours = again.error
    assert ours, message
    assert "Read-only file system" in message
    moved = tmp_path / "drill-out" / "run"
    inspect(moved, end.saved)
    goes_on(server, body, moved, undisturbed)


def test_a_figure_or_a_table_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    def no_room(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    line = Series("a line", (1.0, 2.0), (1.0, 2.0), line=True)
    table = Table("a table", ("x",), ((1.0,), (2.0,)), provenance(0, 2, "cpu"), (line,))
    table.write(tmp_path / "table")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(os, "fsync", no_room)
    for path, write in ((tmp_path / "table.md", table.write), (tmp_path / "table.png", lambda p: write_figure(p, Figure()))):
        with pytest.raises(StorageError, match=r"could not be written: .*No space left"):
            write(path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == {"table.md", "table.png"}


def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def none(file):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks, "_lock", none)
    for call in (
        lambda: measure(families.plain((6, 6), depth=1, channels=2), draws=4, folder=tmp_path),
        lambda: loop.train(bodies.RECIPE, tmp_path, device="cpu"),
    ):
        with pytest.raises(PilcroError, match=r"cannot be used: .*[Ll]ock"):
            call()


# --- damaged files --------------------------------------------------------------------------------------------------------


def damaged(server, undisturbed, place, body, count):
    """A bit is flipped, or the end cut off, at random places of the files that a killed run and a finished one left."""
    rng, outcomes = random.Random(SEED), []
    half = place / "half" / "run"
    at = len(undisturbed[body][0].calls) * 4 // 5
    assert server.run(body, half, disk={"at": at, "do": "kill"}).code == -signal.SIGKILL
    for trial in range(count):
        folder = place / str(trial) / "run"
        shutil.copytree((half if trial % 2 else undisturbed[body][2]).parent, folder.parent)
        files = sorted(path for path in folder.parent.rglob("*") if path.is_file() and path.stat().st_size)
        path = rng.choice(files)
        content = bytearray(path.read_bytes())
        offset = rng.randrange(len(content))
        if rng.random() < 0.5:
            content[offset] ^= 1 << rng.randrange(8)
        else:
            content = content[:offset]
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                inspect(folder)
            seen = False
        except (PilcroError, RuntimeWarning, ValueError):
            seen = True
        end = server.run(body, folder)
        if end.error is not None:
            message, ours = end.error
            assert ours, (path.name, offset, message)
            assert path.name in message or (path.name == "manifest.json" and str(folder) in message)
            outcomes.append("refused")
        else:
            assert end.code == 0
            assert all(path.name in message for message in end.warnings)
            same = undisturbed[body][1].items() - {(path.name, undisturbed[body][1].get(path.name))}
            assert same <= digests(folder.parent).items()
            outcomes.append("said, made again" if end.warnings else "found when read" if seen else "no number in it")
        assert seen or outcomes[-1] in ("no number in it", "refused"), (path.name, offset, end.told)
        shutil.rmtree(folder.parent)
    return outcomes


@pytest.mark.parametrize("body", BODIES)
def test_damage_is_named_and_never_another_number(server, undisturbed, tmp_path, body):
    assert set(damaged(server, undisturbed, tmp_path, body, 8)) != {"no number in it"}


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
def test_damage_at_200_places_is_named_and_never_another_number(server, undisturbed, tmp_path, body):
    assert "said, made again" in damaged(server, undisturbed, tmp_path, body, 200)


# --- other processes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_a_frozen_process_keeps_its_folder_and_a_killed_one_does_not(server, undisturbed, tmp_path, body):
    folder = tmp_path / "drill" / "run"
    frozen = server.start(body, folder, disk={"at": len(undisturbed[body][0].calls) // 2, "do": "stop"})
    server.until(frozen, "saved")
    message, ours = server.run(body, folder).error
    assert ours
    assert "another process is" in message
    os.kill(frozen, signal.SIGKILL)
    assert server.wait(frozen).code == -signal.SIGKILL
    goes_on(server, body, folder, undisturbed)


def team(server, body, folder, *, crash=(0, 0)):
    """Two processes of one run, of which number `crash[0]` dies at its `crash[1]`-th update or chunk; how both ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    pids = [
        server.start(
            body,
            folder,
            environment={**where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            crash=crash[1] if crash[0] == rank else 0,
        )
        for rank in range(2)
    ]
    return [server.wait(pid) for pid in pids]


def test_when_one_of_two_training_processes_dies_both_can_go_on(server, tmp_path):
    whole = tmp_path / "whole" / "run"
    assert [end.code for end in team(server, "train", whole)] == [0, 0]
    for rank, count in ((0, 4), (1, 4), (1, 1)):
        folder = tmp_path / f"{rank}-{count}" / "run"
        ends = team(server, "train", folder, crash=(rank, count))
        assert ends[rank].code == -signal.SIGKILL
        assert ends[1 - rank].code == 2, ends[1 - rank].told
        inspect(folder, max(end.saved for end in ends))
        assert [end.code for end in team(server, "train", folder)] == [0, 0]
        assert digests(folder.parent) == digests(whole.parent)
    assert [end.code for end in team(server, "train", whole)] == [0, 0]  # a finished run returns at once, on all of them


@pytest.mark.parametrize("body", ["measure", "evaluate"])
def test_when_one_of_two_processes_dies_one_alone_goes_on(server, undisturbed, tmp_path, body):
    for rank, count in ((0, 2), (1, 2)):
        folder = tmp_path / str(rank) / "run"
        ends = team(server, body, folder, crash=(rank, count))
        assert ends[rank].code == -signal.SIGKILL
        assert ends[1 - rank].code == 2, ends[1 - rank].told
        inspect(folder)
        goes_on(server, body, folder, undisturbed)
    ends = team(server, body, tmp_path / "both" / "run")
    assert [end.code for end in ends] == [0, 0]
    assert digests(tmp_path / "both") == undisturbed[body][1]


# --- an interrupt, line by line -------------------------------------------------------------------------------------------


def interrupt_at(line):
    """A trace function that raises KeyboardInterrupt at this line of measure and of the room that keeps its sums."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        code = frame.f_code
        # the interpreter itself may be interrupted between a block's end and the end of its `with`
        if not code.co_filename.endswith(("montecarlo/measure.py", "montecarlo/shards.py")) or code.co_name == "locked":
            return None
        if event == "line" and not linecache.getline(code.co_filename, frame.f_lineno).lstrip().startswith("with "):
            seen += 1
            if seen == line:
                raise KeyboardInterrupt
        return trace

    return trace, lambda: seen


def interrupted_at(line, folder):
    """A measurement of 6 blocks of 4 draws, two blocks a unit, that is interrupted there; None where it gave nothing."""
    call = {"draws": 24, "seed": 1, "chunk": 8, "shard": 4, "device": "cpu", "folder": folder}
    trace, seen = interrupt_at(line)
    before = sys.gettrace()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "MOST_BLOCKS", 6)
        sys.settrace(trace)
        try:
            return measure(families.plain((6, 6), depth=2, channels=2), **call), seen()
        except KeyboardInterrupt:
            return None, seen()
        finally:
            sys.settrace(before)


def interrupted_everywhere(place, step):
    whole, lines = interrupted_at(0, place / "whole")
    assert lines > 200
    partial = 0
    for line in range(1, lines + 1, step):
        first, _ = interrupted_at(line, place / str(line))
        if first is not None and first.interrupted:
            # exactly the draws that it counts, each of them whole
            assert first.draws == len(first.energies)
            assert np.isin(first.energies, whole.energies).all()
            np.testing.assert_allclose(first.mean.sum() * first.draws, first.energies.sum(), rtol=1e-12)
            partial += 0 < first.draws < 24
        second, _ = interrupted_at(0, place / str(line))
        assert np.array_equal(second.mean, whole.mean), line
        assert np.array_equal(second.energies, whole.energies), line
    return partial


def test_an_interrupted_measurement_counts_each_draw_once(tmp_path):
    assert interrupted_everywhere(tmp_path, 61) > 2


@pytest.mark.slow
def test_interrupted_at_any_line_a_measurement_counts_each_draw_once(tmp_path):
    assert interrupted_everywhere(tmp_path, 1) > 50


# --- NaN and infinity -----------------------------------------------------------------------------------------------------


class Bent(torch.autograd.Function):
    """x times one factor, and its gradient times another."""

    @staticmethod
    def forward(ctx, x, there, back):
        ctx.back = back
        return x * there

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.back, None, None


class Bend(nn.Module):
    """Bends the fifth training step, in its own pass or in that of its penalty."""

    def __init__(self, there, back, penalty):
        super().__init__()
        self.there, self.back, self.penalty = there, back, penalty
        # a buffer, so that the look at the gradients before step 0 leaves it as it was
        self.register_buffer("steps", torch.zeros((), dtype=torch.long), persistent=False)

    def forward(self, x):
        self.steps += self.training
        bend = self.steps == 5 and self.training != self.penalty
        return Bent.apply(x, self.there, self.back) if bend else x


BENDS = {  # there, back, in the penalty
    "loss": (float("nan"), 1.0, False),
    "gradient": (1.0, float("nan"), False),
    "infinite gradient": (1.0, float("inf"), False),
    "penalty": (float("nan"), 1.0, True),
    "overflow in the update": (1.0, 1e6, False),
    "overflow in a running variance": (1e25, 1.0, False),
}


@pytest.mark.parametrize("name", BENDS)
def test_no_checkpoint_holds_nan_or_infinity_and_the_last_one_resumes(name, tmp_path, monkeypatch):
    there, back, penalty = BENDS[name]
    rate = Recipe.rate
    recipe = bodies.RECIPE.changed(kind="curvature", interval=4 if penalty else 3, warmup=0)
    monkeypatch.setattr(loop, "load", bodies.made_data)

    def run(folder, bend):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), bend, nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 4))
        monkeypatch.setattr(loop, "initial_network", lambda recipe, data: copy.deepcopy(net))
        return loop.train(recipe, folder, device="cpu", save_every=1)

    straight = Bend(1.0, 1.0, False)
    run(tmp_path / "whole", straight)
    with monkeypatch.context() as patch:
        if name == "overflow in the update":
            patch.setattr(Recipe, "rate", lambda self, step, steps: 3e38 if step == 4 else rate(self, step, steps))
        with pytest.raises(PilcroError, match=r"step [45].*the last checkpoint is whole"):
            run(tmp_path / "bent", Bend(there, back, penalty))
    saved = RunFolder(tmp_path / "bent").latest()
    assert saved.step == 4
    assert all(bool(value.isfinite().all()) for value in saved.tensors.values())
    run(tmp_path / "bent", straight)
    assert digests(tmp_path / "bent") == digests(tmp_path / "whole")


# --- clocks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
def test_nothing_depends_on_the_clock(server, undisturbed, tmp_path, body):
    folder = tmp_path / "drill" / "run"
    at = len(undisturbed[body][0].calls) * 3 // 4
    end = server.run(body, folder, clock=True, options={"progress": True}, disk={"at": at, "do": "kill"})
    assert end.code == -signal.SIGKILL
    for age, path in enumerate(sorted(folder.iterdir())):  # the newest is the oldest
        os.utime(path, (86400 * age, 2e9 - 86400 * age))
    again = server.run(body, folder, clock=True, options={"progress": True})
    assert again.code == 0, again.told
    assert digests(folder.parent) == undisturbed[body][1]
