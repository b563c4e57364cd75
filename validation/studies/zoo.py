"""The zoo: every model of torchvision and a list of timm's, read and predicted, or refused and why."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import landscape
from lattice import PilcroError, SpecificationError, UnsupportedError
from validation.studies.gallery import HEADLESS, LEAST_SIZES
from validation.studies.table import Table, provenance
from validation.studies.zoo_names import TIMM

__all__ = ["Entry", "entries", "zoo"]

COLUMNS = (
    "model", "pixels", "read", "seconds", "centre bias", "unreachable", "flip asymmetry", "total variation",
)  # fmt: skip
EXPORT = "torch.export could not take"  # a size that a model does not take


class Entry(NamedTuple):
    """One model of the zoo: its name, how a fresh one is made, the sizes to try in turn, and which output is meant."""

    name: str
    factory: Callable[[], Any]
    sizes: tuple[int, ...]
    output: Any = None


def zoo(names: Sequence[str] = (), size: int = 64, *, seed: int = 0, progress: bool = False) -> Table:
    """One row a model, at `size` pixels or at the least size that it takes: read or refused, seconds, and its bias.

    `names` choose among `entries` (all of them if empty). "read" is "proven" where the lattice was compared with the model,
    "read" where that could not be done, "refused" where the model was not taken; why stands in the notes. Centre bias, the
    share of pixels without a path, flip asymmetry (of both axes, the larger) and total variation are those of the prediction
    from theory, for the second moments of one draw of the weights. Raises `SpecificationError` for names that are not known.
    """
    known = {entry.name: entry for entry in entries(size)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SpecificationError(f"the zoo has no model {', '.join(unknown)}; torchvision's names, tv:NAME, and timm:NAME")
    rows, refused = [], []
    for name in names or known:
        row, reason = _row(known[name], seed)
        rows.append(row)
        if reason:
            refused.append(f"{name}: {reason}")
        if progress:
            sys.stderr.write(" ".join(map(str, (*row, reason))) + "\n")
    count = sum(row[2] != "refused" for row in rows)
    return Table(
        title=f"The zoo at {size} pixels",
        columns=COLUMNS,
        rows=tuple(rows),
        origin=provenance(seed, 0, "cpu"),
        series=(),
        notes=(f"read: {count} of {len(rows)} models", *(f"refused: {reason}" for reason in refused)),
        axes=("", ""),
        logarithmic="",
    )


def _row(entry: Entry, seed: int) -> tuple[tuple[Any, ...], str]:
    """The row of one model, and why it is refused, or ""."""
    import torch

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        model = entry.factory()
    begun = time.perf_counter()
    for place, pixels in enumerate(entry.sizes):
        try:
            land = landscape.predict(
                model, (3, pixels, pixels), initialisation="weights", gates="theory", output=entry.output
            )  # fmt: skip
        except PilcroError as refusal:
            text = " ".join(str(refusal).split())
            if isinstance(refusal, UnsupportedError) and text.startswith(EXPORT) and place + 1 < len(entry.sizes):
                continue  # it takes another size
            seconds = round(time.perf_counter() - begun, 1)
            return (entry.name, pixels, "refused", seconds, *[None] * (len(COLUMNS) - 4)), text[:300]
        seconds, found = round(time.perf_counter() - begun, 1), land.report()
        bias = (found.centre_bias, found.unreachable, max(found.flip_asymmetry), found.total_variation)
        return (entry.name, pixels, "read" if land.traced.unproven else "proven", seconds, *bias), ""
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
        least = LEAST_SIZES.get(name.split("_")[0], 0)
        found.append(Entry(f"tv:{name}", _made(models.get_model, name, **HEADLESS.get(name, {})), (max(size, least), 224)))
    for name in models.list_models(module=models.segmentation):
        found.append(Entry(f"tv:{name}", _made(models.get_model, name, weights_backbone=None), (size, 224), "out"))
    for name in models.list_models(module=models.detection):
        found.append(Entry(f"tv:{name}", _backbone(models.get_model, name), (size, 224), "0"))
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
    own = timm.models.get_pretrained_cfg(name)
    native = own.input_size[1] if own is not None else 224
    sizes = (native,) if own is not None and own.fixed_input_size else (size, 2 * size, native)
    return Entry(f"timm:{name}", lambda: timm.create_model(name), tuple(dict.fromkeys(n for n in sizes if n <= native)))
