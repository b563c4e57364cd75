"""The run directory: what survives when the process does not.

    lock                       held while a process trains here
    config.json                the recipe, the hash of the data, versions
    start.json                 the gradient norms of penalty and cross-entropy before the first step
    step-00000120.safetensors  weights and momentum after 120 steps
    step-00000120.json         the step, the metrics so far, the hash of the tensors and of this file itself
    log.csv                    the metrics so far, for other programs
    landscape.npz              the validation landscape at the end
    result.json                the metrics at the end

Every file is written under another name, brought to the disk, and only then renamed; the `.json` comes after its tensors. So a
checkpoint is whole or is not there, and damage that comes later is found by its hash. Nothing here unpickles.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lattice import PilcroError, SpecificationError
from lattice.results.files import write_bytes
from validation.runtime.locks import locked
from validation.training.recipes import Recipe

__all__ = ["Checkpoint", "DivergedError", "RunFolder", "RunHeldError", "TrainingError", "read_json", "write_json"]

KEPT = 2  # checkpoints that stay: one to go on from, and one behind it


class TrainingError(PilcroError):
    """Training cannot go on: NaN, or a folder that cannot be written or read."""


class DivergedError(TrainingError):
    """Training went to NaN, or to a network whose landscape is zero: the same run would do it again."""


class RunHeldError(SpecificationError):
    """Another process is training in a run folder."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file that carries the hash of its own content.

    Parameters
    ----------
    path : Path
        Of the file.
    content : Mapping[str, Any]
        Plain values by name.
    """
    text = json.dumps(content, sort_keys=True, indent=1)
    marked = {"content": content, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    write_bytes(path, json.dumps(marked, sort_keys=True, indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; raises `SpecificationError` for a file that is missing or not what was written.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    dict[str, Any]
        The content.
    """
    try:
        marked = json.loads(path.read_bytes())
        content: dict[str, Any] = marked["content"]
        stated = marked["sha256"]
    except FileNotFoundError:
        raise SpecificationError(f"there is no file {path}") from None
    except OSError as error:
        raise SpecificationError(f"{path} cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SpecificationError(f"{path} is damaged: {error}") from error
    if stated != hashlib.sha256(json.dumps(content, sort_keys=True, indent=1).encode()).hexdigest():
        raise SpecificationError(f"{path} is damaged: its content does not have the hash that it was written with")
    if not isinstance(content, dict):
        raise SpecificationError(f"{path} is damaged: its content is {content!r:.40}, not names with values")
    return content


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state after `step` steps: named tensors, and the metrics so far (`rows` of epochs, `sums` of the one under way,
    `early` scores inside the first)."""

    step: int
    tensors: dict[str, torch.Tensor]
    rows: list[dict[str, Any]]
    sums: list[float]
    early: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class RunFolder:
    """One run's folder."""

    path: Path

    def hold(self, stack: ExitStack) -> None:
        """Take the folder for this process until `stack` closes; refused while another process has it."""
        try:
            stack.enter_context(locked(self.path))
        except SpecificationError:
            raise RunHeldError(
                f"another process is training in {self.path}; wait for it, stop it, or take another folder"
            ) from None
        except OSError as error:
            raise TrainingError(f"the run folder {self.path} cannot be used: {error}") from error
        for leftover in self.path.glob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink(missing_ok=True)

    def agree_on(self, recipe: Recipe, data: str) -> None:
        """Write config.json, or refuse a folder whose run has another recipe or other data, naming what differs."""
        path = self.path / "config.json"
        config: dict[str, Any] = {"recipe": recipe.json(), "data": data, "torch": torch.__version__}
        if not path.exists():
            if any(self.path.glob("step-*.json")):
                raise SpecificationError(f"{self.path} holds checkpoints and no config.json of theirs; take another folder")
            write_json(path, config)
            return
        found = read_json(path)
        if not isinstance(found.get("recipe"), Mapping):
            raise SpecificationError(f"{path} is no configuration of a run: it has no recipe; take another folder")
        try:  # a folder of an older version says less, and means what that version meant
            there = _flat(Recipe.of(found["recipe"]).json())
        except SpecificationError as error:
            raise SpecificationError(f"{path}: {error}") from error
        here = _flat(config["recipe"])
        other = [
            f"{key} is {there.get(key)!r} there and {here.get(key)!r} here"
            for key in sorted({*there, *here})
            if there.get(key) != here.get(key)
        ]
        if found.get("data") != data:
            other.append("the data have another hash than the ones it began with")
        if other:
            raise SpecificationError(
                f"{self.path} holds another run: {'; '.join(other)}. Take another folder, or the same configuration"
            )
        if found.get("torch") != torch.__version__:
            text = f"{self.path} began with torch {found.get('torch')}, this is {torch.__version__}: last bits may differ"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove all but the last two.

        Raises `TrainingError` where the disk refuses, and for NaN or infinity, from which no run could go on.
        """
        from safetensors.torch import save

        name = f"step-{checkpoint.step:08d}"
        # a copy of each: the format refuses tensors that share memory
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in checkpoint.tensors.items()}
        broken = [key for key, value in tensors.items() if not bool(value.isfinite().all())]
        if broken:
            raise TrainingError(
                f"after step {checkpoint.step}, {', '.join(broken[:3])}{', ...' if broken[3:] else ''} would hold NaN or "
                "infinity. That was not saved, and the last checkpoint is whole; a smaller learning rate may mend it"
            )
        content = save(tensors)
        try:
            write_bytes(self.path / f"{name}.safetensors", content)
            facts = {name: getattr(checkpoint, name) for name in ("step", "rows", "sums", "early")}
            write_json(self.path / f"{name}.json", {**facts, "tensors": hashlib.sha256(content).hexdigest()})
            for old in sorted(self.path.glob("step-*.json"))[:-KEPT]:
                old.unlink()
            # also those of a process that was killed between a checkpoint's two files
            for weights in self.path.glob("step-*.safetensors"):
                if not weights.with_suffix(".json").exists():
                    weights.unlink(missing_ok=True)
        except OSError as error:
            raise TrainingError(
                f"the checkpoint of step {checkpoint.step} could not be written to {self.path}: {error}; the ones before it "
                "are whole. Make room and run the same command to go on from there"
            ) from error

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; damaged ones are named in a warning. None: the run has none yet."""
        found = sorted(self.path.glob("step-*.json"), reverse=True)
        for path in found:
            try:
                return self.read(path)
            except SpecificationError as error:
                warnings.warn(f"{error}; the checkpoint before it is used", RuntimeWarning, stacklevel=2)
        if found:
            raise TrainingError(f"none of the {len(found)} checkpoints in {self.path} is whole; begin again in another folder")
        return None

    @staticmethod
    def read(path: Path) -> Checkpoint:
        """One checkpoint, by its .json; raises `SpecificationError` where a hash is not what it was."""
        from safetensors.torch import load

        facts, tensors = read_json(path), path.with_suffix(".safetensors")
        try:
            content = tensors.read_bytes()
        except OSError as error:
            raise SpecificationError(f"{tensors} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != facts.get("tensors"):
            raise SpecificationError(f"{tensors} is damaged: it does not have the hash that it was written with")
        try:
            return Checkpoint(facts["step"], load(content), facts["rows"], facts["sums"], facts.get("early", []))
        except Exception as error:  # safetensors has errors of its own
            raise SpecificationError(f"{tensors} is damaged: {error}") from error


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {before + key: value}
    return flat
