"""Scenes: handwritten digits of 8 x 8 pixels at places of our choice, on a canvas of noise."""

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["CANVAS", "CLASSES", "TILE", "TILES", "Digits", "Place", "digits", "scenes"]

CANVAS, TILE, CLASSES = 32, 8, 10
TILES = tuple((row, column) for row in range(0, CANVAS, TILE) for column in range(0, CANVAS, TILE))
NOISE = 0.5  # deviation of the canvas; digits reach from 0 to 2
Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Digits:
    """Digits (N, 8, 8) from 0 to 2, and their classes."""

    pixels: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


def digits() -> tuple[Digits, Digits]:
    """scikit-learn's digits: four fifths to train, a fifth to test, in the order given."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = torch.from_numpy((found.images / 8).astype(np.float32))
    labels = torch.from_numpy(found.target.astype(np.int64))
    edge = len(labels) * 4 // 5
    return Digits(pixels[:edge], labels[:edge]), Digits(pixels[edge:], labels[edge:])


def scenes(placed: list[tuple[torch.Tensor, list[Place]]], generator: torch.Generator) -> torch.Tensor:
    """Images (N, 1, 32, 32): a canvas of independent noise, with digits added to it.

    Parameters
    ----------
    placed : list of (Tensor, list of (row, column))
        Digits (N, 8, 8), and the corner of each one's place.
    generator : torch.Generator
        Of the noise.
    """
    count = len(placed[0][1])
    images = NOISE * torch.randn(count, 1, CANVAS, CANVAS, generator=generator)
    for pixels, places in placed:
        for image, one, (row, column) in zip(images, pixels, places, strict=True):
            image[0, row : row + TILE, column : column + TILE] += one
    return images
