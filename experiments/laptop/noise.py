"""Table 3's caption: noise that is independent from pixel to pixel, and noise of the same size that is not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from validation.datasets.catalogue import load
from validation.datasets.dataset import Dataset
from validation.evaluation.runs.subjects import trained
from validation.evaluation.runs.tables import Result
from validation.reproduction.rows import lines, row_label
from validation.reproduction.scales import SCALES
from validation.reproduction.significance import paired
from validation.reproduction.sweep import Sweep, sweep
from validation.reproduction.tables import text_table

__all__ = ["noise"]

DEVIATION = 0.5  # of the noise, half of that of the images
KERNEL = torch.tensor(
    [1.0, 4.0, 6.0, 4.0, 1.0]
)  # binomial: the correlated noise is white noise blurred by it in both directions
TITLE = "## Noise, independent and correlated (Table 3's caption)"
NOTE = (
    "RC-, the networks of Table 1. Kept: p(class | image + noise) / p(class | image), the class being the one predicted for "
    "the clean image; the noise has half the images' deviation in both cases, and is blurred over 5 x 5 pixels in the second. "
    "Gradient: the mean over images of the sum over pixels of the squared gradient of the predicted class's logit, divided by "
    "that of SOTA with the same seed. Means over seeds, differences from SOTA with Student's 95 % intervals."
)


def blurred(white: torch.Tensor) -> torch.Tensor:
    """White noise smoothed over 5 x 5 pixels (around the border), of the same variance."""
    channels = white.shape[1]
    stencil = torch.outer(KERNEL, KERNEL)
    stencil = (stencil / stencil.square().sum().sqrt()).expand(channels, 1, 5, 5)
    return functional.conv2d(functional.pad(white, (2, 2, 2, 2), mode="circular"), stencil, groups=channels)


def borne(result: Result, data: Dataset) -> dict[str, float]:
    """What a run keeps under both kinds of noise, and its mean squared gradient."""
    model = trained(result, data)
    images = data.test.batch(torch.arange(len(data.test)))
    white = DEVIATION * torch.randn(images.shape, generator=torch.Generator().manual_seed(result.recipe.seed))
    with torch.no_grad():
        clean = model(images).softmax(1)
        chosen = clean.argmax(1)
        kept = {
            name: float((model(images + changed).softmax(1) / clean).gather(1, chosen[:, None]).mean())
            for name, changed in (("independent", white), ("correlated", blurred(white)))
        }
    pixels = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(pixels).gather(1, chosen[:, None]).sum(), pixels)
    return kept | {"gradient": float(gradient.square().sum(dim=(1, 2, 3)).mean())}


def noise(where: Sweep, seeds: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """The part of the page, and its numbers.

    Parameters
    ----------
    where : Sweep
        Folder and device.
    seeds : sequence of int
        Repeats.

    Returns
    -------
    (str, dict)
        Markdown; by row what is kept, and differences.
    """
    base = SCALES["laptop"].cifar.changed(augment="flip")
    recipes = [base.changed(kind="none"), *(base.changed(kind="target", alpha=alpha) for alpha in (1.0, 10.0))]
    wanted = [recipe.changed(seed=seed) for recipe in recipes for seed in seeds]
    data = load(base.data, size=base.size)
    rows = lines(wanted, sweep(wanted, where))
    found = {
        row_label(line.setting, True): {result.recipe.seed: borne(result, data) for result in line.results} for line in rows
    }
    plain, *_ = found.values()
    texts, numbers = [], []
    for label, by_seed in found.items():
        values = {name: {seed: one[name] for seed, one in by_seed.items()} for name in ("independent", "correlated")}
        ratio = {seed: one["gradient"] / plain[seed]["gradient"] for seed, one in by_seed.items()}
        apart = {name: paired(kept, {seed: one[name] for seed, one in plain.items()}) for name, kept in values.items()}
        size = float(np.exp(np.mean(np.log(list(ratio.values())))))
        cells = [
            text
            for name, kept in values.items()
            for text in (f"{np.mean(list(kept.values())):.3f}", "" if by_seed is plain else str(apart[name]))
        ]
        texts.append([label, *cells, f"{size:.2f}"])
        numbers.append(
            {"row": label, "gradient": size}
            | {name: [float(np.mean(list(values[name].values()))), d.mean, d.low, d.high] for name, d in apart.items()}
        )
    head = ["run", "kept, independent", "less SOTA", "kept, correlated", "less SOTA", "gradient"]
    return f"{TITLE}\n\n{text_table(head, texts)}\n{NOTE}\n", {"rows": numbers}
