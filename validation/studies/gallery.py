"""The gallery: every classifier of torchvision, traced or refused, and one of each family measured."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lattice import AssumptionError, PilcroError, SpecificationError
from lattice.lazy import to_install
from validation.comparison.compare import compare
from validation.studies.ladders import measured, predicted
from validation.studies.table import Series, Table, provenance

__all__ = ["FAMILIES", "classifier", "gallery"]

FAMILIES = (
    "alexnet", "vgg11", "resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "densenet121", "googlenet",
    "inception_v3", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5",
    "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny",
)  # fmt: skip
LEAST_SIZES = {"inception": 75, "vit": 224, "maxvit": 224}  # what torchvision's own layers ask for
HEADLESS: dict[str, dict[str, bool]] = {  # without auxiliary heads, and with the weights that torchvision is about to drop
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
COLUMNS = (
    "network", "pixels", "guarantee", "predicted in (ms)", "error", "error low", "error high", "resolution", "scale",
    "scale error", "total variation", "verdict",
)  # fmt: skip


def gallery(
    names: Sequence[str] = FAMILIES,
    size: int = 64,
    *,
    every: bool = False,
    draws: int = 100,
    seed: int = 0,
    device: str = "auto",
    folder: str | Path | None = None,
    progress: bool = False,
) -> Table:
    """Torchvision's nets at `size` pixels: prediction, measurement, verdict; nets that are refused say why.

    `names` are measured over `draws` initialisations; with `every`, all other classifiers are predicted and not measured.
    `folder`: where finished draws are kept, in a folder for every net; the same call goes on from them after any end.
    Columns: network, its input's pixels, guarantee ("refused" without one), milliseconds of `predict` with its tracing, map
    error and its 99 % interval, the error that would have been told from none, measured / predicted scale, its standard
    error, total variation of the prediction, verdict.

    Parameters
    ----------
    names : sequence of str
        Torchvision's names.
    size : int
        Pixels of an image's side.
    every : bool
        All classifiers of torchvision besides.
    draws : int
        Initialisations.
    seed : int
        Of all that is drawn.
    device : str
        "auto", "cpu" or "cuda".
    folder : str | Path, optional
        Keep draws here, and go on from them.
    progress : bool
        Show a bar.

    Returns
    -------
    Table
        A row a network.
    """
    try:
        from torchvision import models
    except ImportError as missing:
        raise SpecificationError(f"the gallery needs torchvision: {to_install('vision')}") from missing
    known = models.list_models(module=models)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise SpecificationError(f"torchvision has no model {', '.join(unknown) or '(none was named)'}; see its list_models()")
    rows: list[tuple[Any, ...]] = []
    refused = []
    for name in (*names, *(other for other in known if every and other not in names)):
        pixels = max(size, LEAST_SIZES.get(name.split("_")[0], 0))
        net = (classifier(name), (3, pixels, pixels))
        begun = time.perf_counter()
        try:
            land = predicted(net)
            if not land.squared.any():
                raise AssumptionError("no gradient reaches the input at initialisation; does the head start at zero?")
        except PilcroError as refusal:
            refused.append(f"{name}: {' '.join(str(refusal).split())[:200]}")
            rows.append((name, pixels, "refused", *[None] * (len(COLUMNS) - 3)))
            continue
        milliseconds = round(1000 * (time.perf_counter() - begun))
        about = (name, pixels, land.guarantee.name, milliseconds)
        if name not in names:
            rows.append((*about, *[None] * 6, land.report().total_variation, None))
            continue
        kept = None if folder is None else Path(folder) / f"{name}-{pixels}"
        agreement = compare(land, measured(net, draws, seed, device, folder=kept, progress=progress))
        error = (agreement.error, *agreement.error_interval, agreement.resolution)
        scale = (agreement.scale_ratio, agreement.scale_ratio_error)
        rows.append((*about, *error, *scale, land.report().total_variation, agreement.verdict.name.replace("_", " ")))
    seen = sorted((row for row in rows if row[4] is not None), key=lambda row: (row[4], row[6]))  # of the figure
    x, y, low, high = (tuple(row[i] for row in seen) for i in (0, 4, 5, 6))
    return Table(
        title=f"Torchvision at {size} pixels",
        columns=COLUMNS,
        rows=tuple(rows),
        origin=provenance(seed, draws * len(seen), device),
        series=(Series("map error, 99 % interval", x, y, low, high),) if seen else (),
        notes=tuple(f"refused: {reason}" for reason in refused),
        axes=("", "relative rms error of the map"),
        logarithmic="y",
    )


def classifier(name: str) -> Callable[[], Any]:
    """A factory of freshly initialised classifiers of torchvision, without auxiliary heads.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    Callable[[], Any]
        Called without arguments, it returns a new network.
    """
    from torchvision import models

    return lambda: models.get_model(name, weights=None, **HEADLESS.get(name, {}))
