"""The data sets: CIFAR archives, ImageNet-style folders, and real images that installed packages carry (no download).

Pixels stay uint8 until a batch is asked for. Augmentation is a function of uniform numbers that the caller draws, a row of
`NUMBERS` an image, so that a batch is the same however it is split over processes, and after a resume.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from lattice import SpecificationError

__all__ = ["AUGMENTATIONS", "Arrays", "Dataset", "NUMBERS", "Source", "moved_and_flipped"]

NUMBERS = 5  # uniform numbers an image: flip, row, column, and two more for the zoom
AUGMENTATIONS = {"none": (False, 0), "flip": (True, 0), "flip+crop": (True, 4)}  # flip, pixels of the random crop


class Source(Protocol):
    """Images that are read by number."""

    @property
    def labels(self) -> torch.Tensor:
        """int64 class numbers (N,)."""

    @property
    def prefetch(self) -> bool:
        """Whether a batch takes long enough to be made while the one before is used."""

    def __len__(self) -> int: ...

    def images(self, indices: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """uint8 (B, channels, height, width); augmented by uniform `numbers` (B, NUMBERS) where given."""

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """float32 of the same shape: what a network is given for these images."""

    def batch(self, indices: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """normalised(images(indices, numbers))."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images, the number of classes, and a hash of all of it."""

    train: Source
    test: Source
    classes: int
    sha256: str


def moved_and_flipped(pixels: torch.Tensor, numbers: torch.Tensor, flip: bool, most: int) -> torch.Tensor:
    """Mirror half of the images, and move each by -most..most pixels in both directions, the border filled by reflection.

    That is a random crop out of an image that reflection-padding made `most` pixels larger on each side (RC+ of Section
    4.1.1: flip and 0 to 4 pixels; RC-: flip only). `pixels` (B, channels, height, width), `numbers` (B, NUMBERS) in [0, 1).

    Parameters
    ----------
    pixels : torch.Tensor
        (B, channels, height, width).
    numbers : torch.Tensor
        (B, NUMBERS) in [0, 1).
    flip : bool
        Whether half of them are mirrored.
    most : int
        The largest move in pixels.

    Returns
    -------
    torch.Tensor
        Of the shape of `pixels`.

    Examples
    --------
    >>> row = torch.tensor([[[[1, 2, 3]]]])
    >>> moved_and_flipped(
    ...     row.expand(1, 1, 3, 3), torch.tensor([[0.0, 0.5, 0.99, 0, 0]]), True, 1
    ... )[0, 0, 0]
    tensor([2, 3, 2])
    """
    count, _, height, width = pixels.shape
    if most >= min(height, width):
        raise SpecificationError(f"a random crop of {most} pixels does not fit images of {height} x {width}")

    def cells(size: int, numbers: torch.Tensor) -> torch.Tensor:
        wanted = torch.arange(size) + ((numbers * (2 * most + 1)).long() - most)[:, None]
        return (size - 1) - ((size - 1) - wanted.abs()).abs()

    rows, columns = cells(height, numbers[:, 1]), cells(width, numbers[:, 2])
    if flip:
        columns = torch.where((numbers[:, 0] < 0.5)[:, None], columns.flip(1), columns)
    which = torch.arange(count)[:, None, None]
    return pixels[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images in memory: `pixels` uint8 (N, channels, height, width), `labels` int64, mean and deviation of each channel."""

    pixels: torch.Tensor
    labels: torch.Tensor
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    augment: str = "none"
    prefetch: bool = False

    def __post_init__(self) -> None:
        if self.augment not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise SpecificationError(f"augment is {self.augment!r}; images in memory take {known} ('zoom' is for folders)")
        if not len(self.pixels) or len(self.pixels) != len(self.labels):
            raise SpecificationError(f"{len(self.pixels)} images and {len(self.labels)} labels; as many of each, and some")

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """uint8 (B, channels, height, width); see `Source`."""
        chosen = self.pixels[indices]
        if numbers is not None and self.augment != "none":
            chosen = moved_and_flipped(chosen, numbers, *AUGMENTATIONS[self.augment])
        return chosen

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """float32, of mean zero and variance one over the training set."""
        return normalise(images, self.mean, self.deviation)

    def batch(self, indices: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        """float32 (B, channels, height, width) as a network is given them; see `Source`."""
        return self.normalised(self.images(indices, numbers))


def normalise(pixels: torch.Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> torch.Tensor:
    """(pixels / 255 - mean) / deviation, by channel, in float32."""
    shape = (1, -1, 1, 1)
    return (pixels.float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(deviation).view(shape)


def arrays(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], augment: str) -> Dataset:
    """A `Dataset` of (pixels uint8 (N, channels, height, width), labels) in memory; raises for labels out of range."""
    if not len(train[0]) or not len(test[0]):
        raise SpecificationError(f"there are no images: {len(train[0])} to train on and {len(test[0])} to test on")
    x = train[0].astype(np.float64) / 255
    mean = tuple(x.mean(axis=(0, 2, 3)).tolist())
    deviation = tuple(np.maximum(x.std(axis=(0, 2, 3)), 1e-3).tolist())
    total, classes, made = hashlib.sha256(), int(train[1].max()) + 1, []
    for number, (pixels, labels) in enumerate((train, test)):
        if labels.min() < 0 or labels.max() >= classes:
            raise SpecificationError(f"labels run from {labels.min()} to {labels.max()}; training has {classes} classes")
        for array in (np.ascontiguousarray(pixels), labels.astype(np.int64)):
            total.update(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())
        images = torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels.astype(np.int64))
        made.append(Arrays(*images, mean, deviation, augment if number == 0 else "none"))
    return Dataset(made[0], made[1], classes, total.hexdigest())
