"""The zoo: every model of torchvision and a list of timm's, read and predicted, or refused and why."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import landscape
from lattice import PilcroError, SpecificationError, UnsupportedError
from lattice.results.files import write_bytes
from validation.comparison.compare import compare
from validation.montecarlo.measure import measure
from validation.studies.gallery import HEADLESS, LEAST_SIZES
from validation.studies.table import Provenance, Table, provenance
from validation.studies.zoo_names import TIMM

__all__ = ["Entry", "entries", "zoo"]

COLUMNS = (
    "model", "pixels", "read", "seconds", "centre bias", "unreachable", "flip asymmetry", "total variation", "map error",
    "resolution", "why",
)  # fmt: skip
WINDOWED = {"swin_v2": 256, "swin": 224}  # sizes that their windows divide
FEWER = {
    "vit_small_patch14_dinov2": 196,
    "cait_xxs24_224": 96,
    "samvit_base_patch16": 256,
}  # sizes to build models at that would have very many tokens
EXPORT = "torch.export could not take"  # a size that a model does not take
LONGEST = 240  # letters of a reason


class Entry(NamedTuple):
    """One model of the zoo: its name, how a fresh one is made, the sizes to try in turn, and which output is meant."""

    name: str
    factory: Callable[[], Any]
    sizes: tuple[int, ...]
    output: Any = None


def zoo(
    names: Sequence[str] = (),
    size: int = 64,
    *,
    draws: int = 0,
    seed: int = 0,
    folder: str | Path | None = None,
    progress: bool = False,
) -> Table:
    """One row a model, at `size` pixels or at the least size that it takes: read or refused, seconds, and its bias.

    "read" is "proven" where the lattice was compared with the model, "read" where that could not be done, "refused" where the
    model was not taken, "failed" where it ought to have been, and "why" says why. Centre bias, the share of pixels without a
    path, flip asymmetry (of both axes, the larger) and total variation are those of the prediction from theory, for the second
    moments of one draw of the weights; "map error" is that of this prediction against `draws` initialisations, where these
    were asked for, and "resolution" the error that would have been told from none.

    Parameters
    ----------
    names : sequence of str
        Models among `entries`; all of them if empty.
    size : int
        Pixels of an image's side.
    draws : int
        Initialisations to measure each of these models; 0 measures none.
    seed : int
        Of the weights.
    folder : str | Path, optional
        Keep the row of each model here, and take those that are here already: made by the same call and version.
    progress : bool
        Print each row as it is made.

    Returns
    -------
    Table
        A row a model.

    Raises
    ------
    SpecificationError
        For names that are not known.
    """
    known = {entry.name: entry for entry in entries(size)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SpecificationError(f"the zoo has no model {', '.join(unknown)}; torchvision's names, tv:NAME, and timm:NAME")
    origin = provenance(seed, draws, "cpu")
    origin = replace(origin, versions={**origin.versions, **_version("timm")})
    rows, days = [], []
    for name in names or known:
        row, day, made = _kept(known[name], size, draws, origin, None if folder is None else Path(folder))
        rows.append(row)
        days.append(day)
        if progress and made:
            sys.stderr.write(" ".join(map(str, row)) + "\n")
    count = sum(row[2] in ("proven", "read") for row in rows)
    return Table(
        title=f"The zoo at {size} pixels",
        columns=COLUMNS,
        rows=tuple(rows),
        origin=origin,
        notes=(f"read: {count} of {len(rows)} models", f"from {min(days)} to {max(days)}"),
    )


def _version(package: str) -> dict[str, str]:
    try:
        return {package: metadata.version(package)}
    except metadata.PackageNotFoundError:
        return {}


def _kept(entry: Entry, size: int, draws: int, origin: Provenance, folder: Path | None) -> tuple[tuple[Any, ...], str, bool]:
    """The row of one model, the day that it was made, and whether that was now."""
    asked = {"size": size, "draws": draws, "seed": origin.seed, "versions": origin.versions, "columns": list(COLUMNS)}
    path = None if folder is None else folder / f"{entry.name.replace(':', '-')}.json"
    if path is not None and path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["asked"] == asked:
            return tuple(found["row"]), str(found["day"]), False
    row, day = _row(entry, draws, origin.seed), datetime.now(tz=UTC).date().isoformat()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps({"asked": asked, "row": row, "day": day}).encode())
    return row, day, True


def _row(entry: Entry, draws: int, seed: int) -> tuple[Any, ...]:
    import torch

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        model = entry.factory()
    begun = time.perf_counter()

    def taken() -> float:
        return round(time.perf_counter() - begun, 1)

    for place, pixels in enumerate(entry.sizes):
        try:
            land = landscape.predict(
                model, (3, pixels, pixels), initialisation="weights", gates="theory", output=entry.output
            )  # fmt: skip
        except Exception as refusal:  # one that is not PilcroError is a fault of ours, and shown as one
            text = " ".join(str(refusal).split())
            if isinstance(refusal, UnsupportedError) and text.startswith(EXPORT) and place + 1 < len(entry.sizes):
                continue  # it takes another size
            known = isinstance(refusal, PilcroError)
            how, text = ("refused", text) if known else ("failed", f"{type(refusal).__name__}: {text}")
            return (entry.name, pixels, how, taken(), *[None] * (len(COLUMNS) - 5), text[:LONGEST])
        seconds, how = taken(), "read" if land.traced.unproven else "proven"
        if not land.squared.any():  # a head or a branch that starts at zero
            return (entry.name, pixels, how, seconds, *[None] * (len(COLUMNS) - 5), "no gradient reaches the input at first")
        found = land.report()
        bias = (found.centre_bias, found.unreachable, max(found.flip_asymmetry), found.total_variation)
        error: tuple[float | None, ...] = (None, None)
        if draws:
            estimate = measure(entry.factory, (3, pixels, pixels), draws=draws, seed=seed, output=entry.output)
            agreement = compare(land, estimate)
            error = (agreement.error, agreement.resolution)
        return (entry.name, pixels, how, seconds, *bias, *error, land.traced.unproven)
    raise AssertionError("an entry has a size")


def entries(size: int = 64) -> tuple[Entry, ...]:
    """All models: torchvision's classifiers, segmentation networks and detection backbones, and timm's list where it is there.

    Raises `SpecificationError` without torchvision.
    """
    try:
        from torchvision import models
    except ImportError as missing:
        raise SpecificationError("the zoo needs torchvision: pip install 'pilcro[vision]'") from missing
    found = []
    for name in models.list_models(module=models):
        least = next((n for prefix, n in WINDOWED.items() if name.startswith(prefix)), LEAST_SIZES.get(name.split("_")[0], 0))
        found.append(Entry(f"tv:{name}", _made(models.get_model, name, **HEADLESS.get(name, {})), (max(size, least), 224)))
    for name in models.list_models(module=models.segmentation):
        found.append(Entry(f"tv:{name}", _made(models.get_model, name, weights_backbone=None), (size, 224), "out"))
    for name in models.list_models(module=models.detection):
        found.append(Entry(f"tv:{name}", _backbone(models.get_model, name), (size, 224, 300), "0"))
    try:
        import timm
    except ImportError:
        return tuple(found)
    there = set(timm.list_models())
    found += [_of_timm(timm, name, size) for name in TIMM if name in there]
    return tuple(found)


def _made(make: Callable[..., Any], name: str, **options: Any) -> Callable[[], Any]:
    return lambda: make(name, weights=None, **options)


def _backbone(make: Callable[..., Any], name: str) -> Callable[[], Any]:
    """The backbone of a detector: what stands below proposals and boxes, which depend on the data."""
    return lambda: make(name, weights=None, weights_backbone=None).backbone


def _of_timm(timm: Any, name: str, size: int) -> Entry:
    if name in FEWER:
        return Entry(f"timm:{name}", lambda: timm.create_model(name, img_size=FEWER[name]), (FEWER[name],))
    own = timm.models.get_pretrained_cfg(name)
    native = own.input_size[1] if own is not None else 224
    sizes = (native,) if own is not None and own.fixed_input_size else (size, 2 * size, native)
    return Entry(f"timm:{name}", lambda: timm.create_model(name), tuple(dict.fromkeys(n for n in sizes if n <= native)))
