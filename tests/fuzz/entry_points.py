"""The entry points for text and files: each takes any bytes, with valid ones to begin from."""

import hashlib
import importlib
import importlib.machinery
import io
import json
import pickle
import shutil
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from lattice import PilcroError
from lattice.results.files import write_arrays
from tests.fuzz.watch import watched
from validation import Recipe
from validation.montecarlo.estimate import Estimate
from validation.montecarlo.shards import Shards, Tally
from validation.training.checkpoint import Checkpoint, RunFolder, write_json

__all__ = ["ENTRY_POINTS", "EntryPoint"]


@dataclass(frozen=True)
class EntryPoint:
    """`read(folder, data)` takes any bytes; `seeds()` are valid ones; `unpickles`: a restricted unpickler is meant to run."""

    name: str
    read: Callable[[Path, bytes], None]
    seeds: Callable[[], list[bytes]]
    unpickles: bool = False
    seconds: float = 2.0

    def enter(self, data: bytes) -> None:
        """Read the bytes; whatever is not a `PilcroError` gets out."""
        folder = Path(tempfile.mkdtemp(prefix="pilcro-fuzz-"))
        try:
            with warnings.catch_warnings(), watched(folder, unpickles=self.unpickles, seconds=self.seconds):
                warnings.simplefilter("ignore")
                with suppress(PilcroError):
                    self.read(folder, data)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# --- model names -----------------------------------------------------------------------------------------------------------


def _import_what_is_there_already(name: str, package: str | None = None) -> object:
    """A user may import what he likes; a fuzzer may not: modules that exist and were not loaded are taken as absent."""
    if name in sys.modules:
        return sys.modules[name]
    top = name.split(".")[0]
    if top.isidentifier() and importlib.machinery.PathFinder.find_spec(top) is not None:
        raise ImportError(f"{name} is not loaded")
    return _REAL_IMPORT(name, package)


_REAL_IMPORT = importlib.import_module


def _model(folder: Path, data: bytes) -> None:
    from landscape.tracing.model_names import model_factory

    with mock.patch("importlib.import_module", _import_what_is_there_already):
        model_factory(_text(data))


MODEL_NAMES = ["resnet18", "torch.nn:Identity", "none.py:make", "a.b.c:d", ":", "a:", ":a", ".a:b", "a\0b:c", "/dev/null.py:a"]


# --- command lines -----------------------------------------------------------------------------------------------------------


def _nothing(self: object) -> dict:
    return {}


def _arguments(folder: Path, data: bytes) -> None:
    from validation.__main__ import main
    from validation.cli.commands.networks.advise import Advise
    from validation.cli.commands.networks.map import Map
    from validation.cli.commands.networks.study import Study
    from validation.cli.commands.runs.evaluate import Evaluate
    from validation.cli.commands.runs.figures import Figures
    from validation.cli.commands.runs.tables import Tables
    from validation.cli.commands.runs.train import Train

    arguments = [word for word in _text(data).split("\n") if word][:20]
    with ExitStack() as stack:
        for command in (Map, Advise, Evaluate, Study, Figures, Tables):
            stack.enter_context(mock.patch.object(command, "run", _nothing))
        stack.enter_context(mock.patch.object(Train, "run", lambda self: self.recipe().json()))
        stack.enter_context(mock.patch("lattice.counts.cost.MOST_SECONDS", 0.1))
        stack.enter_context(mock.patch("lattice.counts.cost.MOST_BYTES", 2**24))
        stack.enter_context(mock.patch("validation.cli.commands.networks.paths.MOST_DEPTH", 200))
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))
        try:
            status = main(arguments)
        except SystemExit as end:  # the parser's
            status = end.code
    assert status in (0, 2), status


LINES = [
    "map resnet18 --size 64 --check 200 --tolerance 0.1 --seed 3 --out map.png --json",
    "map file.py:make --shape 3 12 12",
    "advise resnet18 --size 64 65 --most 3 --channels 1",
    "paths --kernel 3 --depth 5 --stride 2 --dilation 1 --padding 1 --mode circular --size 20 --json",
    "study gallery --nets alexnet vgg11 --every --draws 10 --device cpu --out a",
    "train run --preset cifar100 --penalty target --alpha 1e1 --interval 10 --width 3 --warmup 5 --lr 0.1 --no-reweight",
    "tables run1 run2 --out a",
    "figures run1 --out a",
    "evaluate run1 --location --ablation --reach 8 --stride 4 --images 3",
    "--help",
]


# --- recipes -----------------------------------------------------------------------------------------------------------------


def _recipe(folder: Path, data: bytes) -> None:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return
    Recipe.of(values)


# --- run folders -------------------------------------------------------------------------------------------------------------
# The first byte says which file the rest is; the upper case ones get the hash that makes their content believed.


def _run(folder: Path, data: bytes) -> None:
    from validation.evaluation.runs.tables import collect, grouped
    from validation.evaluation.summaries.scores import scores_table

    kind, rest = data[:1], data[1:]
    home = RunFolder(folder)
    if kind == b"c":
        (folder / "config.json").write_bytes(rest)
        home.agree_on(Recipe(), "0")
    elif kind == b"C" and _believed(folder / "config.json", rest):
        home.agree_on(Recipe(), "0")
    elif kind in (b"s", b"S"):
        home.save(Checkpoint(1, {"a": torch.ones(2)}, [], []))
        if kind == b"s" or not _believed(folder / "step-00000001.json", rest):
            (folder / "step-00000001.json").write_bytes(rest)
        home.latest()
    elif kind == b"T":
        (folder / "step-00000001.safetensors").write_bytes(rest)
        facts = {"step": 1, "rows": [], "sums": [], "tensors": hashlib.sha256(rest).hexdigest()}
        write_json(folder / "step-00000001.json", facts)
        home.latest()
    elif kind == b"r":
        (folder / "result.json").write_bytes(rest)
        scores_table(grouped(collect([folder]))).markdown()
    elif kind == b"R" and _believed(folder / "result.json", rest):
        groups = grouped(collect([folder]))
        scores = scores_table(groups)
        scores.markdown()
        scores.latex()


def _believed(path: Path, content: bytes) -> bool:
    """Write a JSON file with this content and the right hash, if it is JSON."""
    try:
        found = json.loads(content)
        write_json(path, found)
    except (ValueError, RecursionError):
        return False
    return True


@cache
def _runs() -> list[bytes]:
    with _scratch() as folder:
        home = RunFolder(folder)
        home.agree_on(Recipe(), "0")
        home.save(
            Checkpoint(1, {"model.w": torch.arange(6.0).reshape(2, 3), "momentum.w": torch.zeros(2)}, [{"tv": 1.0}], [0.5])
        )
        scores = {"top1": 0.5, "top5": 0.9, "tv": 1.0, "loss": 2.0, "asymmetry": [0.1, 0.2], "tv_error": 0.1}
        result = {"recipe": Recipe().json(), "data": "0", "scores": scores, "before": scores, "rows": []}
        write_json(folder / "result.json", result)
        config = json.loads((folder / "config.json").read_bytes())["content"]
        step = json.loads((folder / "step-00000001.json").read_bytes())["content"]
        return [
            b"c" + (folder / "config.json").read_bytes(),
            b"C" + json.dumps(config).encode(),
            b"s" + (folder / "step-00000001.json").read_bytes(),
            b"S" + json.dumps(step).encode(),
            b"T" + (folder / "step-00000001.safetensors").read_bytes(),
            b"r" + (folder / "result.json").read_bytes(),
            b"R" + json.dumps(result).encode(),
        ]


# --- estimates and shards -----------------------------------------------------------------------------------------------------


def _estimate(folder: Path, data: bytes) -> None:
    kind, rest = data[:1], data[1:]
    if kind == b"e":
        (folder / "e.npz").write_bytes(rest)
        str(Estimate.load(folder / "e.npz"))
    elif kind in (b"E", b"S"):  # a header, an array's bytes: with the right hash
        header, _, content = rest.partition(b"\n")
        try:
            marked = json.loads(header)
            arrays = np.load(io.BytesIO(content), allow_pickle=False)
        except Exception:  # not what numpy or json reads: nothing to believe
            return
        if not isinstance(marked, dict) or not isinstance(arrays, np.ndarray) or arrays.nbytes > 10**6:
            return
        if kind == b"E":
            held = dict.fromkeys(("mean", "standard_error", "blocks", "block_draws", "energies"), arrays)
            write_arrays(folder / "e.npz", marked, held)
            found = Estimate.load(folder / "e.npz")
            str(found)
        else:
            write_arrays(folder / "shard-000000.npz", marked, dict.fromkeys(("blocks", "sums", "energies"), arrays))
            Shards(folder).read(Tally.empty(8, 4, (2,)))
    elif kind == b"m":
        (folder / "manifest.json").write_bytes(rest)
        Shards(folder).agree_on({"draws": 8})
    elif kind == b"s":
        (folder / "shard-000000.npz").write_bytes(rest)
        Shards(folder).read(Tally.empty(8, 4, (2,)))


@cache
def _estimates() -> list[bytes]:
    with _scratch() as folder:
        facts = {"seed": 0, "batched": False, "energies": np.ones(4)}
        Estimate.of_blocks(np.arange(1.0, 9).reshape(4, 2), np.ones(4), **facts).save(folder / "e.npz")
        tally = Tally.empty(8, 4, (2,))
        for draw in range(8):
            tally.add(draw, np.ones(2))
        Shards(folder).write(tally)
        array = io.BytesIO()
        np.save(array, np.array([0, 1, 2, 3]))
        header = {"format": "pilcro estimate 1", "draws": 8, "seed": 0, "batched": False, "interrupted": False, "mode": "eval",
                  "device": "cpu", "versions": {}}  # fmt: skip
        believed = json.dumps(header).encode() + b"\n" + array.getvalue()
        return [
            b"e" + (folder / "e.npz").read_bytes(),
            b"E" + believed,
            b"S" + believed,
            b"m" + json.dumps({"draws": 8}).encode(),
            b"s" + next(folder.glob("shard-*.npz")).read_bytes(),
        ]


# --- CIFAR's archives --------------------------------------------------------------------------------------------------------


def _archive(folder: Path, data: bytes) -> None:
    """b"h": as it is, so that the hash refuses it; else as if its hash were right, so that the reader behind it is reached."""
    from validation.datasets.cifar import Archive, read

    kind, rest = data[:1], data[1:]
    if kind == b"p":  # a pickle in an archive
        rest = _packed(rest)
    trusted = "0" * 64 if kind == b"h" else hashlib.sha256(rest).hexdigest()
    (folder / "a.tar.gz").write_bytes(rest)
    read(Archive("a.tar.gz", trusted, ("a/train",), "a/test", b"labels"), folder)


def _packed(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("a/train", "a/test"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


class _Evil:
    """What a malicious pickle asks for."""

    def __reduce__(self) -> tuple:
        import os

        return os.system, ("true",)


@cache
def _archives() -> list[bytes]:
    batch = {b"data": np.zeros((1, 3072), np.uint8), b"labels": [1]}
    good = pickle.dumps(batch, protocol=2)
    return [b"h" + _packed(good), b"t" + _packed(good), b"p" + good, b"p" + pickle.dumps(_Evil()), b"p" + pickle.dumps([1], 0)]


@contextmanager
def _scratch():
    with tempfile.TemporaryDirectory(prefix="pilcro-fuzz-") as folder:
        yield Path(folder)


ENTRY_POINTS = {
    entry.name: entry
    for entry in (
        EntryPoint("models", _model, lambda: [name.encode() for name in MODEL_NAMES]),
        EntryPoint("arguments", _arguments, lambda: [line.replace(" ", "\n").encode() for line in LINES]),
        EntryPoint("recipes", _recipe, lambda: [json.dumps(replace(Recipe(), seed=3).json()).encode()]),
        EntryPoint("runs", _run, _runs),
        EntryPoint("estimates", _estimate, _estimates),
        EntryPoint("archives", _archive, _archives, unpickles=True),
    )
}
