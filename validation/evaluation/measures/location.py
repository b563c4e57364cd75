r"""Where must a feature sit to be seen? Accuracy of a trained network by location, with the predicted landscape beside it.

The paper argues that topology makes features at some places count less (Section 1), and measures accuracy over images whose
features lie in the middle. Here it is measured over test images moved by every pair of shifts, and by the corner in which the
feature sits where a data set has it off the middle. What the untrained network's landscape I_i (mean one) says of a set of
images is the importance of the pixels in which they differ,

    exposure = sum_i I_i v_i / sum_i v_i,      v_i the variance of pixel i over the images:

1 where features lie over pixels of average importance. Photographs vary everywhere, and no shift changes their exposure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError
from lattice.checks import is_whole
from lattice.results.values import Result
from validation.datasets.dataset import Source
from validation.evaluation.measures.drawing import axes, plot_shifts
from validation.evaluation.measures.shifts import translated
from validation.runtime.logits import logits
from validation.runtime.preserve_state import preserve_state

__all__ = ["Location", "correlation", "corners", "exposure", "location_sensitivity", "variance_map"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Location(Result):
    """Answers for each image by shift down (rows) and right (columns).

    `right` (images, shifts, shifts): whether the answer is the label; `same`: whether it is that for the unmoved image.
    """

    shifts: tuple[int, ...]
    right: Array
    same: Array

    def _facts(self) -> dict[str, Any]:
        rates = {"accuracy": self.accuracy, "consistency": self.consistency}
        return {
            "images": self.images,
            "shifts": self.shifts,
            "in_place": self.in_place.mean(),
            "asymmetry": self.asymmetry,
        } | rates

    def _rows(self) -> list[dict[str, Any]]:
        """A row for each shift."""
        return [
            {"down": down, "right": right, "accuracy": self.accuracy[i, j], "consistency": self.consistency[i, j]}
            for i, down in enumerate(self.shifts)
            for j, right in enumerate(self.shifts)
        ]

    @property
    def images(self) -> int:
        """How many there were."""
        return len(self.right)

    @property
    def accuracy(self) -> Array:
        """Top-1 by shift."""
        return np.asarray(self.right.mean(axis=0))

    @property
    def consistency(self) -> Array:
        """Share of answers that are those for the unmoved images, by shift."""
        return np.asarray(self.same.mean(axis=0))

    @property
    def in_place(self) -> Array:
        """(images,): whether the answer for the unmoved image is the label."""
        middle = self.shifts.index(0)
        return np.asarray(self.right[:, middle, middle])

    def error(self, rate: Array) -> Array:
        """The binomial standard error of a rate, sqrt(p (1 - p) / n)."""
        return np.sqrt(rate * (1 - rate) / self.images)

    @property
    def asymmetry(self) -> float:
        """The largest |accuracy - accuracy at the opposite shift|: 0 for a network without a preferred side."""
        return float(np.abs(self.accuracy - self.accuracy[::-1, ::-1]).max())

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Accuracy over shifts as a map (`style`: of `imshow`); returns the matplotlib Axes."""
        return plot_shifts(self.accuracy, self.shifts, axes(ax), title=f"{self.images} images", **style)


def location_sensitivity(
    model: torch.nn.Module,
    source: Source,
    shifts: Sequence[int] = (-8, -4, 0, 4, 8),
    *,
    images: range | None = None,
    chunk: int = 250,
    device: torch.device | str = "cpu",
) -> Location:
    """Top-1 over images of a source moved by every pair of `shifts`, and how often the answer stays as for no shift.

    `images`: which of the source (None: all).

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    source : Source
        Images with labels.
    shifts : sequence of int
        Pixels.
    images : range, optional
        Which of the source; all, if none are named.
    chunk : int
        Images that a network is given at once.
    device : torch.device | str
        "auto", "cpu" or "cuda".

    Returns
    -------
    Location
        Accuracy and consistency over shifts.

    Raises
    ------
    SpecificationError
        For shifts that are not ascending and symmetric, lack 0, or leave nothing of the image.
    """
    shifts = tuple(shifts)
    images = images if images is not None else range(len(source))
    side = min(source.images(torch.arange(1)).shape[-2:])
    symmetric = list(shifts) == [-shift for shift in shifts[::-1]]
    if (
        not all(map(is_whole, shifts))
        or list(shifts) != sorted(set(shifts))
        or not symmetric
        or 0 not in shifts
        or max(map(abs, shifts)) >= side
    ):
        raise SpecificationError(
            f"shifts is {shifts}; they ascend, each with its opposite and 0 among them, all below the image's {side} pixels"
        )
    right, same = [], []
    with torch.no_grad(), preserve_state(model):
        for first in range(images.start, images.stop, chunk):
            indices = torch.arange(first, min(first + chunk, images.stop))
            batch, labels = source.batch(indices).to(device), source.labels[indices].to(device)
            unmoved = logits(model, batch).argmax(dim=1)
            moved = [logits(model, translated(batch, down, over)).argmax(dim=1) for down in shifts for over in shifts]
            answers = torch.stack(moved, dim=1)
            right.append((answers == labels[:, None]).cpu())
            same.append((answers == unmoved[:, None]).cpu())
    grid = (-1, len(shifts), len(shifts))
    return Location(shifts, torch.cat(right).numpy().reshape(grid), torch.cat(same).numpy().reshape(grid))


def variance_map(source: Source, images: torch.Tensor | None = None, chunk: int = 250) -> Array:
    """v: the variance of each pixel over images, summed over channels: float64 (height, width).

    Parameters
    ----------
    source : Source
        Images with labels.
    images : torch.Tensor, optional
        Which of the source; all, if none are named.
    chunk : int
        Images that a network is given at once.

    Returns
    -------
    numpy.ndarray
        float64 (height, width).
    """
    images = images if images is not None else torch.arange(len(source))
    shape = source.images(images[:1]).shape[1:]
    total, squares = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for part in torch.split(images, chunk):
        pixels = source.images(part).double()  # whole numbers, so that the sums are exact
        total += pixels.sum(dim=0)
        squares += (pixels**2).sum(dim=0)
    return np.asarray((squares / len(images) - (total / len(images)) ** 2).clamp(min=0).sum(dim=0))


def exposure(relative: Array, variance: Array, shifts: Sequence[int] = (0,)) -> Array:
    """sum_i I_i v_i / sum_i v_i with v moved by every pair of shifts: (shifts, shifts); NaN where nothing varies.

    Parameters
    ----------
    relative : numpy.ndarray
        Importance with mean one, (height, width).
    variance : numpy.ndarray
        v (height, width).
    shifts : sequence of int
        Pixels.

    Returns
    -------
    numpy.ndarray
        float64 (shifts, shifts).

    Examples
    --------
    >>> exposure(np.array([[0.0, 2.0]]), np.array([[1.0, 0.0]]), (0,))
    array([[0.]])
    """
    moved = [[translated(torch.from_numpy(variance), down, over).numpy() for over in shifts] for down in shifts]
    totals = [[float(v.sum()) for v in row] for row in moved]
    return np.array(
        [
            [float((relative * v).sum()) / total if total else np.nan for v, total in zip(row, sums, strict=True)]
            for row, sums in zip(moved, totals, strict=True)
        ]
    )


def correlation(accuracy: Array, exposed: Array) -> float:
    """Pearson's, over the cells of both; NaN where one of them varies by less than one per cent of its mean.

    Parameters
    ----------
    accuracy : numpy.ndarray
        (shifts, shifts).
    exposed : numpy.ndarray
        (shifts, shifts).

    Returns
    -------
    float
        From -1 to 1, or NaN.
    """
    a, b = accuracy.ravel() - accuracy.mean(), exposed.ravel() - exposed.mean()
    if not (a.std() > 0.01 * accuracy.mean() and b.std() > 0.01 * exposed.mean()):
        return float("nan")
    return float((a * b).mean() / (a.std() * b.std()))


def corners(source: Source, chunk: int = 250) -> Array:
    """The corner in which each image's feature sits: 0 and 1 above, 2 and 3 below, odd ones right; -1 near the middle.

    The feature is what differs from the image's median, and sits where the centre of mass of that is: in a corner where it is
    an eighth of the side or more from the middle in both directions.

    Parameters
    ----------
    source : Source
        Images with labels.
    chunk : int
        Images that a network is given at once.

    Returns
    -------
    numpy.ndarray
        int64, one an image.
    """
    found = []
    for part in torch.split(torch.arange(len(source)), chunk):
        pixels = source.images(part).double()
        off = (pixels - pixels.flatten(2).median(dim=2).values[:, :, None, None]).abs().sum(dim=1)
        mass = off.sum(dim=(1, 2)).clamp(min=1e-9)
        height, width = off.shape[1:]
        rows = ((torch.arange(height) + 0.5)[:, None] * off).sum(dim=(1, 2)) / mass - height / 2
        columns = ((torch.arange(width) + 0.5) * off).sum(dim=(1, 2)) / mass - width / 2
        corner = 2 * (rows > 0).long() + (columns > 0).long()
        off_centre = (rows.abs() >= height / 8) & (columns.abs() >= width / 8) & (off.sum(dim=(1, 2)) > 0)
        found.append(torch.where(off_centre, corner, -1))
    return np.asarray(torch.cat(found))
