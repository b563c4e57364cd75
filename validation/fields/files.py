"""Fields in files that hold no code, arrays and a JSON header with their hash; unfinished sums in a folder."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lattice import SpecificationError
from lattice.checks import is_whole
from lattice.results.files import digest, read_arrays, write_arrays, write_bytes
from validation.fields.attribution.images import Images
from validation.fields.attribution.layers import Layer, UpTo
from validation.montecarlo.estimate import ARRAYS, FACTS, Estimate
from validation.montecarlo.shards import Shards, Tally
from validation.runtime.files import checked_out
from validation.runtime.locks import locked
from validation.runtime.versions import versions

if TYPE_CHECKING:
    from validation.fields.field import EffectiveField

__all__ = ["OWN", "Settings", "check_field", "device_name", "manifest_of", "read_field", "unfinished", "write_field"]

Array = np.ndarray[Any, Any]

FORMAT = "pilcro field 1"
OWN = ("layer", "unit", "statistic", "images", "over", "grid", "cell")  # what a file says beside the estimate
ENDINGS = (".npz", ".safetensors")


def write_field(path: Path, facts: dict[str, Any], estimate: Estimate) -> Path:
    """Write a field, its facts and its estimate, to FILE.npz or FILE.safetensors."""
    checked_out(path, ENDINGS, option="save")
    about = {name: getattr(estimate, name) for name in FACTS} | {"versions": dict(estimate.versions)}
    header = {"format": FORMAT, **facts, "estimate": about}
    arrays = {name: np.ascontiguousarray(getattr(estimate, name)) for name in ARRAYS}
    if path.suffix.lower() == ".npz":
        write_arrays(path, header, arrays)
    else:
        from safetensors.numpy import save

        marked = json.dumps({**header, "sha256": digest(header, arrays)})
        write_bytes(path, save(arrays, {"pilcro": marked}))
    return path


def read_field(path: Path) -> tuple[Estimate, dict[str, Any]]:
    """The estimate and the facts that `write_field` wrote."""
    header, arrays = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else read_arrays(path)
    if header.pop("format", None) != FORMAT or set(header) != {*OWN, "estimate"} or set(arrays) != set(ARRAYS):
        raise SpecificationError(f"{path} is no field; EffectiveField.load reads what EffectiveField.save wrote")
    facts = header.pop("estimate")
    if not isinstance(facts, dict) or set(facts) != set(FACTS):
        raise SpecificationError(f"{path} is no field of this version")
    contents: dict[str, Any] = {**facts, **arrays}
    try:
        return Estimate(**contents), _with_tuples(header)
    except (TypeError, ValueError) as error:
        raise SpecificationError(f"{path} is no field: {error}") from error


def check_field(field: "EffectiveField", path: Path) -> None:
    """Refuse arrays and facts that do not fit together."""
    shape, blocks = field.mean.shape, len(field.estimate.block_draws)
    arrays = [getattr(field.estimate, name) for name in ARRAYS]
    shapes = [array.shape for array in arrays[:4]]
    texts = (field.layer, field.statistic, field.images, field.over)
    if (
        shapes != [shape, shape, (blocks, *shape), (blocks,)]
        or any(array.dtype.kind not in "if" for array in arrays)
        or not all(isinstance(text, str) for text in texts)
        or not all(is_whole(n) for n in (field.count, field.estimate.seed, *field.grid, *(field.unit or ())))
        or (field.cell is not None and len(field.cell) != len(shape))
    ):
        raise SpecificationError(f"{path} is no field: its arrays of shapes {shapes} and its facts do not fit together")


def _with_tuples(header: dict[str, Any]) -> dict[str, Any]:
    """The facts of a file with tuples for lists."""
    unit, cell = header["unit"], header["cell"]
    edges = None if cell is None else tuple((int(first), int(stop)) for first, stop in cell)
    return {**header, "grid": tuple(header["grid"]), "unit": None if unit is None else tuple(unit), "cell": edges}


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise SpecificationError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["pilcro"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        stated = header.pop("sha256")
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise SpecificationError(f"{path} is damaged or was not written by this project: {error}") from error
    if stated != digest(header, arrays):
        raise SpecificationError(f"{path} is damaged: its content does not have the hash that it was written with")
    return header, arrays


# --- unfinished sums


@dataclass(frozen=True)
class Settings:
    """What the mean over images is taken with."""

    statistic: str
    seed: int
    batch_size: int
    channels_last: bool
    folder: Path | None
    progress: bool


def device_name(device: torch.device) -> str:
    """The name of a device in results."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def manifest_of(
    model: nn.Module, first: torch.Tensor, tap: UpTo, images: Images, layer: Layer, index: Any, settings: Settings
) -> dict[str, Any]:
    """What the sums in a folder are of; nothing where there is no folder."""
    if settings.folder is None:
        return {}
    if not images.identity:
        raise SpecificationError(
            "folder= needs images that are the same when they are read again: an array, a data set; no iterable of batches"
        )
    total = sha256(repr(model).encode())
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    with torch.no_grad():
        features = tap(first.movedim(-1, 1) if settings.channels_last else first).double()
    answer = {"features": [float(features.norm()), float(features.sum())], "precision": torch.finfo(torch.float32).eps ** 0.5}
    return {
        "images": images.identity,
        "count": images.count,
        "shape": list(images.shape),
        "layer": [layer.name, *layer.entry],
        "unit": "mean" if index is None else list(index),
        **{name: getattr(settings, name) for name in ("statistic", "seed", "batch_size")},
        "model": total.hexdigest(),
        "device": device_name(first.device),
        "versions": versions(),
        "answer": answer,
    }


@contextmanager
def unfinished(folder: Path | None, manifest: dict[str, Any], tally: Tally) -> Iterator[Shards | None]:
    """The sums that a folder holds, read into the tally, while the folder is locked; None without a folder."""
    if folder is None:
        yield None
        return
    with ExitStack() as stack:
        shards = Shards(folder)
        try:
            stack.enter_context(locked(folder))
        except OSError as error:
            raise SpecificationError(f"the folder {folder} cannot be used: {error}") from error
        shards.agree_on(manifest)
        shards.read(tally)
        yield shards
