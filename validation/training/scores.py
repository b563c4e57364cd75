"""How good a network is, and how flat: Top-1, Top-5, loss and TV over a validation set (Section 4)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from validation.datasets.dataset import Source
from validation.gradients.empirical import empirical_landscape
from validation.runtime.logits import logits
from validation.runtime.preserve_state import preserve_state
from validation.runtime.seeds import generator

__all__ = ["Scores", "best_row", "flip_asymmetry", "score"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Scores:
    """Fractions `top1` and `top5`, mean cross-entropy `loss`, total variation `tv` of the landscape (mean square one)."""

    top1: float
    top5: float
    loss: float
    tv: float
    tv_error: float
    landscape: Array

    def row(self) -> dict[str, float]:
        """The numbers without the map."""
        return {name: getattr(self, name) for name in ("top1", "top5", "loss", "tv", "tv_error")}


def flip_asymmetry(importance: Array) -> tuple[float, ...]:
    """||I' - flipped I'|| / ||I' + flipped I'|| along each axis: 0 for a symmetric map, 1 for a one-sided one.

    Parameters
    ----------
    importance : numpy.ndarray
        A map (positions), not negative.

    Returns
    -------
    tuple[float, ...]
        One number an axis.

    Examples
    --------
    >>> flip_asymmetry(np.array([[1.0, 0.0], [1.0, 0.0]]))
    (0.0, 1.0)
    """
    flipped = [np.flip(importance, axis) for axis in range(importance.ndim)]
    return tuple(float(np.linalg.norm(importance - other) / np.linalg.norm(importance + other)) for other in flipped)


def best_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The epoch with the highest Top-1, the first of equals: Table 2's "TV at Top-1" is the TV of this epoch.

    Parameters
    ----------
    rows : sequence of mappings
        One for each epoch, with "top1" among its numbers.

    Returns
    -------
    dict
        A copy of that row; empty where there are no rows.

    Examples
    --------
    >>> best_row(
    ...     [
    ...         {"epoch": 1, "top1": 0.5},
    ...         {"epoch": 2, "top1": 0.7},
    ...         {"epoch": 3, "top1": 0.7},
    ...     ]
    ... )
    {'epoch': 2, 'top1': 0.7}
    """
    return dict(max(rows, key=lambda row: row["top1"])) if rows else {}


def score(model: torch.nn.Module, source: Source, *, batch: int = 250, device: torch.device | str = "cpu") -> Scores:
    """Top-1, Top-5, loss and TV over all images of a source; the landscape's classes are drawn with fixed numbers.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    source : Source
        Images with labels.
    batch : int
        Images at once.
    device : torch.device | str
        "auto", "cpu" or "cuda".

    Returns
    -------
    Scores
        The scores and the landscape; the labels' network is left as it was.

    Raises
    ------
    SpecificationError
        For labels that the model has no output for.
    """
    labels, kept = source.labels.to(device), []

    def batches() -> Iterator[torch.Tensor]:
        for first in range(0, len(source), batch):
            yield source.batch(torch.arange(first, min(first + batch, len(source)))).to(device)

    with torch.no_grad(), preserve_state(model):
        for images in batches():
            kept.append(logits(model, images, int(labels.max()) + 1).float())
    found = torch.cat(kept)
    best = found.topk(min(5, found.shape[1]), dim=1).indices == labels[:, None]
    landscape = empirical_landscape(model, batches(), generator=generator(0, "landscape"))
    tv, error, _ = landscape.total_variation()
    top1, top5 = (float(hit.double().mean()) for hit in (best[:, 0], best.any(dim=1)))
    return Scores(top1, top5, float(functional.cross_entropy(found, labels)), tv, error, landscape.map_of_means)
