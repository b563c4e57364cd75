"""What is drilled: a training run, a measurement and an evaluation, each of them some hundredths of a second long."""

import json
import os
import time
import warnings
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import distributed, nn

from lattice import families
from lattice.results.files import write_arrays
from tests.drills import mounts
from tests.drills.disk import watch
from validation import measure
from validation.datasets import dataset
from validation.evaluation.runs import pieces
from validation.evaluation.runs.pieces import Piece, finished
from validation.evaluation.runs.subjects import Subject
from validation.montecarlo.shards import Shards
from validation.runtime.process_group import world
from validation.training import loop
from validation.training.checkpoint import RunFolder
from validation.training.recipes import LAPTOP

__all__ = ["BODIES", "RECIPE", "Reporter", "made_data", "net", "prepare"]

DAY = 86400.0


def net():
    """Batch norm, dropout, a strided convolution: state and randomness of every kind."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 4)
    )


def made_data(name="made", **options):
    """48 images to train on, 24 to test: 3 steps of 16 an epoch."""
    rng = np.random.default_rng(0)
    labels = np.arange(72) % 4
    pixels = rng.integers(0, 128, (72, 1, 8, 8)) + 100 * (np.arange(8) // 2 == labels[:, None, None, None])
    pixels = pixels.astype(np.uint8)
    return dataset.arrays((pixels[:48], labels[:48]), (pixels[48:], labels[48:]), options.get("augment", "none"))


RECIPE = LAPTOP.changed(
    data="digits", size=8, epochs=2, batch=16, model="tests.drills.bodies:net", augment="flip+crop", lr=0.05,
    kind="target", alpha=1e-3, interval=2, warmup=2, width=3,
)  # fmt: skip


class Reporter:
    """Lines of JSON that are in the file when the process is killed right after."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, event, **facts):
        os.write(self.file, (json.dumps({"event": event, **facts}) + "\n").encode())


def told(method, tell):
    """The method; afterwards `tell` says that it is done."""

    def call(self, *arguments, **options):
        result = method(self, *arguments, **options)
        tell(self, *arguments)
        return result

    return call


def train(folder, **options):
    loop.train(RECIPE, Path(folder), device="cpu", **{"save_every": 2, **options})


def measured(folder, **options):
    call = {"draws": 40, "seed": 3, "chunk": 7, "shard": 8, "device": "cpu", **options}
    estimate = measure(families.plain((6, 6), depth=2, channels=2), folder=Path(folder), **call)
    if os.environ.get("RANK", "0") == "0":
        estimate.save(Path(folder).parent / "estimate.npz")


def answers(subject, shift):
    with torch.no_grad():
        images = subject.test.batch(torch.arange(len(subject.test)))
        return {"answers": subject.model.eval()(images.roll(shift, -1)).numpy()}


def evaluate(folder, **options):
    """Two pieces for two subjects each."""
    subjects = []
    for seed in range(2):
        torch.manual_seed(seed)
        subjects.append(Subject(f"net {seed}", net(), net, made_data(), str(seed), Path(folder)))
    made = [
        Piece("piece", {"shift": shift}, tuple(subjects), lambda which, shift=shift: (answers(each, shift) for each in which))
        for shift in range(2)
    ]
    with world("cpu") as place:
        found = finished(made, place, **options)
    if place.first:
        write_arrays(
            Path(folder).parent / "found.npz",
            {},
            {f"{n} {m}": one["answers"] for n, row in enumerate(found) for m, one in enumerate(row)},
        )


BODIES = {"train": train, "measure": measured, "evaluate": evaluate}


def prepare():
    """In the process that all others are forked from: what is slow at its first use."""
    torch.set_num_threads(1)
    loop.load = made_data
    with TemporaryDirectory() as folder:
        for name, body in BODIES.items():
            body(f"{folder}/{name}/run")


def jumping_clock():
    """Every look at the wall clock finds another day."""
    jumps, now = cycle((0.0, DAY, -DAY, 3 * DAY, -400 * DAY)), time.time
    time.time = lambda: now() + next(jumps)
    time.time_ns = lambda: int(1e9 * time.time())


def crash_at(call_number):
    """This process dies at its update, or its chunk of draws, or its subject, of this number."""
    from validation.montecarlo.sampler import Sampler

    done = 0

    def dying(function):
        def call(*arguments, **options):
            nonlocal done
            done += 1
            if done == call_number:
                os.kill(os.getpid(), 9)
            return function(*arguments, **options)

        return call

    loop.update, Sampler.squares = dying(loop.update), dying(Sampler.squares)
    globals()["answers"] = dying(answers)


def play(job):
    """One process of a drill; returns its exit status."""
    report = Reporter(job["report"])
    os.environ.update(job.get("environment", {}))
    if job.get("clock"):
        jumping_clock()
    if job.get("crash"):
        crash_at(job["crash"])
    if job.get("mount"):
        mounts.mount(Path(job["folder"]).parent, **job["mount"])
    disk = watch(Path(job["folder"]).parent, **job.get("disk", {}))
    RunFolder.save = told(RunFolder.save, lambda _, checkpoint: report("saved", amount=checkpoint.step))
    Shards.write = told(Shards.write, lambda shards, *_, **__: report("saved", amount=len(shards.written)))
    kept = count(1)
    pieces._kept = told(pieces._kept, lambda *_: report("saved", amount=next(kept)))
    status = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report("started")
        try:
            if "RANK" in os.environ and job["body"] == "measure":
                distributed.init_process_group("gloo")
            BODIES[job["body"]](job["folder"], **job.get("options", {}))
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            status = 2
            report("raised", kinds=[kind.__name__ for kind in type(error).__mro__], message=str(error))
    for each in caught:
        report("warned", message=str(each.message))
    report("ended", calls=disk.names)
    if job.get("mount"):
        mounts.copy_out(Path(job["folder"]).parent)
    return status
