"""Where must a feature sit to be seen? Accuracy and consistency of a trained network over translated test images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError
from validation.evaluation.untouched import untouched
from validation.training.data import Source

__all__ = ["Location", "location_sensitivity", "translated"]

Array = np.ndarray[Any, Any]


def translated(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Images (..., height, width) moved by whole pixels; what enters at the border repeats the cell that stood there.

    >>> translated(torch.tensor([[[1, 2, 3]]]), 0, 1)
    tensor([[[1, 1, 2]]])
    """
    height, width = images.shape[-2:]
    rows = (torch.arange(height) - down).clamp(0, height - 1).to(images.device)
    columns = (torch.arange(width) - right).clamp(0, width - 1).to(images.device)
    return images.index_select(-2, rows).index_select(-1, columns)


@dataclass(frozen=True, eq=False)
class Location:
    """Accuracy, and agreement with the answer for the unmoved image, by shift down (rows) and right (columns)."""

    shifts: tuple[int, ...]
    accuracy: Array
    consistency: Array
    images: int

    def error(self, rate: Array) -> Array:
        """The binomial standard error of a rate, sqrt(p (1 - p) / n)."""
        return np.sqrt(rate * (1 - rate) / self.images)

    @property
    def asymmetry(self) -> float:
        """The largest |accuracy - accuracy at the opposite shift|: 0 for a network without a preferred side."""
        return float(np.abs(self.accuracy - self.accuracy[::-1, ::-1]).max())

    def plot(self, ax: Any = None) -> Any:
        """Accuracy over shifts as a map; returns the matplotlib Axes."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(4.6, 4), layout="constrained").subplots()
        low, high = self.shifts[0], self.shifts[-1]
        half = (high - low) / (2 * max(len(self.shifts) - 1, 1))
        box = (low - half, high + half, high + half, low - half)
        image = ax.imshow(self.accuracy, cmap="cividis", vmin=0, vmax=1, extent=box)
        ax.set(xlabel="moved right (pixels)", ylabel="moved down (pixels)", title=f"{self.images} images")
        ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04).set_label("Top-1")
        return ax


def location_sensitivity(
    model: torch.nn.Module,
    source: Source,
    shifts: Sequence[int] = (-8, -4, 0, 4, 8),
    *,
    batch: int = 250,
    device: torch.device | str = "cpu",
) -> Location:
    """Top-1 over all images of a source moved by every pair of `shifts`, and how often the answer stays as for no shift.

    The paper argues that topology makes features at the border count less (Section 1), and measures it by accuracy at the
    centre only; this measures it where the features are. Raises `SpecificationError` for shifts that are not ascending,
    lack 0, or leave nothing of the image.
    """
    shifts = tuple(shifts)
    side = min(source.batch(torch.arange(1)).shape[-2:])
    if list(shifts) != sorted(set(shifts)) or 0 not in shifts or max(map(abs, shifts)) >= side:
        raise SpecificationError(
            f"shifts is {shifts}; they ascend, 0 is among them, and all are below the image's {side} pixels"
        )
    hits, same = np.zeros((len(shifts),) * 2), np.zeros((len(shifts),) * 2)
    with torch.no_grad(), untouched(model):
        for first in range(0, len(source), batch):
            indices = torch.arange(first, min(first + batch, len(source)))
            images, labels = source.batch(indices).to(device), source.labels[indices].to(device)
            unmoved = model(images).argmax(dim=1)
            for row, down in enumerate(shifts):
                for column, right in enumerate(shifts):
                    answer = model(translated(images, down, right)).argmax(dim=1)
                    hits[row, column] += int((answer == labels).sum())
                    same[row, column] += int((answer == unmoved).sum())
    return Location(shifts, hits / len(source), same / len(source), len(source))
