r"""Shifts of whole pixels, and shift consistency (Zhang 2019, "Making convolutional networks shift-invariant again").

Consistency is the probability that a network gives an image the same answer after two random shifts,

    P(argmax f(shift_a x) = argmax f(shift_b x)),      a, b uniform on {-most, ..., most} in both directions, independent.

Zhang cuts the shifted window out of a larger photograph; here what enters at the border repeats the cell that stood there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError
from lattice.results.values import Result
from validation.datasets.dataset import Source
from validation.evaluation.measures.robustness import over_images
from validation.runtime.logits import logits
from validation.runtime.preserve_state import preserve_state
from validation.runtime.seeds import generator

__all__ = ["ShiftConsistency", "shift_consistency", "shifted", "translated"]

Array = np.ndarray[Any, Any]


def translated(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Images (..., height, width) moved by whole pixels; what enters at the border repeats the cell that stood there.

    Parameters
    ----------
    images : torch.Tensor
        (..., height, width).
    down : int
        Pixels, negative for up.
    right : int
        Pixels, negative for left.

    Returns
    -------
    torch.Tensor
        Of the shape of `images`.

    Examples
    --------
    >>> translated(torch.tensor([[[1, 2, 3]]]), 0, 1)
    tensor([[[1, 1, 2]]])
    """
    height, width = images.shape[-2:]
    rows = (torch.arange(height) - down).clamp(0, height - 1).to(images.device)
    columns = (torch.arange(width) - right).clamp(0, width - 1).to(images.device)
    return images.index_select(-2, rows).index_select(-1, columns)


def shifted(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """`translated`, each image (B, channels, height, width) by its own row (down, right) of `shifts` (B, 2).

    Parameters
    ----------
    images : torch.Tensor
        (B, channels, height, width).
    shifts : torch.Tensor
        Whole numbers (B, 2).

    Returns
    -------
    torch.Tensor
        Of the shape of `images`.

    Examples
    --------
    >>> shifted(
    ...     torch.tensor([[[[1, 2, 3]]], [[[1, 2, 3]]]]), torch.tensor([[0, 1], [0, -1]])
    ... )[:, 0, 0]
    tensor([[1, 1, 2],
            [2, 3, 3]])
    """
    count, _, height, width = images.shape
    rows = (torch.arange(height) - shifts[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width) - shifts[:, 1:]).clamp(0, width - 1)
    which = torch.arange(count)[:, None, None]
    return images[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class ShiftConsistency(Result):
    """`agreed` (images, pairs): whether the two answers of a pair of shifts up to `most` pixels are the same."""

    most: int
    agreed: Array

    def _facts(self) -> dict[str, Any]:
        rate, error = self.rate
        images, pairs = self.agreed.shape
        return {"images": images, "pairs": pairs, "most": self.most, "rate": rate, "rate_error": error}

    @property
    def rate(self) -> tuple[float, float]:
        """The share of pairs that agree, and its standard error over images."""
        mean, error = over_images(self.agreed.mean(axis=1))
        return float(mean), float(error)


def shift_consistency(
    model: torch.nn.Module,
    source: Source,
    *,
    most: int = 8,
    pairs: int = 4,
    seed: int = 0,
    images: range | None = None,
    chunk: int = 250,
    device: torch.device | str = "cpu",
) -> ShiftConsistency:
    """The agreement of answers over `pairs` pairs of random shifts of each image; image i's shifts depend on (seed, i) alone.

    `images`: which of the source (None: all).

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    source : Source
        Images with labels.
    most : int
        The largest shift.
    pairs : int
        Of shifts, for each image.
    seed : int
        Of all that is drawn.
    images : range, optional
        Which of the source; all, if none are named.
    chunk : int
        Images that a network is given at once.
    device : torch.device | str
        "auto", "cpu" or "cuda".

    Returns
    -------
    ShiftConsistency
        Shares of equal answers.

    Raises
    ------
    SpecificationError
        For shifts that leave nothing of an image.
    """
    images = images if images is not None else range(len(source))
    side = min(source.images(torch.arange(1)).shape[-2:])
    if not 0 < most < side or pairs < 1:
        raise SpecificationError(f"shifts up to {most} pixels, {pairs} pairs: 1 to {side - 1} pixels, and a pair at least")
    drawn = torch.randint(-most, most + 1, (len(source), pairs, 2, 2), generator=generator(seed, "shifts"))
    rows = []
    with torch.no_grad(), preserve_state(model):
        for first in range(images.start, images.stop, chunk):
            indices = torch.arange(first, min(first + chunk, images.stop))
            batch = source.batch(indices)
            answers = [
                logits(model, shifted(batch, drawn[indices, pair, which]).to(device)).argmax(dim=1)
                for pair in range(pairs)
                for which in (0, 1)
            ]
            rows.append(torch.stack([a == b for a, b in zip(answers[::2], answers[1::2], strict=True)], dim=1).cpu())
    return ShiftConsistency(most, torch.cat(rows).numpy())
