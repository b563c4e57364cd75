"""Sums over blocks of images of a stream, and the standard error of any statistic of their mean: the jackknife."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError

__all__ = ["Blocks", "jackknife"]

MOST_BLOCKS = 64  # when as many are full, neighbours merge and blocks hold twice as many images

Array = np.ndarray[Any, Any]


def jackknife(statistic: Callable[[Array], Any], sums: Array, images: Array) -> tuple[Array, Array, Array]:
    """A statistic of a mean, its bias and its standard error, by leaving out one block at a time.

    `sums` (blocks, ...) are the sums over each block's images, `images` (blocks,) how many those are. Returns the plain
    statistic of the whole mean, the estimated bias (plain - bias is free of it to first order), and the standard error.

    Parameters
    ----------
    statistic : Callable[[numpy.ndarray], Any]
        From a mean to an array.
    sums : numpy.ndarray
        Sums over the images of each block, the blocks along the first axis.
    images : numpy.ndarray
        How many images each block has.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]
        The statistic, its bias, and its standard error.

    Examples
    --------
    >>> value, bias, error = jackknife(
    ...     lambda mean: mean**2, np.array([0.0, 1.0, 2.0, 3.0]), np.ones(4)
    ... )
    >>> # the square of a mean is too large by the variance of the mean
    >>> float(value), round(float(bias), 4)
    (2.25, 0.4167)
    """
    total, count, blocks = sums.sum(axis=0), images.sum(), len(images)
    whole = np.asarray(statistic(total / count))
    if blocks < 2:
        return whole, np.full_like(whole, np.nan), np.full_like(whole, np.nan)
    without = np.stack([np.asarray(statistic((total - s) / (count - n))) for s, n in zip(sums, images, strict=True)])
    # h = M / m: how many times a block's images fit into all images
    h = (count / images).reshape(-1, *(1 for _ in whole.shape))
    corrected = blocks * whole - ((1 - 1 / h) * without).sum(axis=0)
    spread = h * whole - (h - 1) * without - corrected
    return whole, whole - corrected, np.sqrt((np.square(spread) / (h - 1)).mean(axis=0))


class Blocks:
    """Sums over blocks of images, at most `MOST_BLOCKS` of them, for a stream whose length is not known."""

    def __init__(self) -> None:
        self.size, self.seen = 1, 0
        self.sums: list[Array] = []
        self.maps: list[Array] = []
        self.images: list[int] = []
        self.flat: list[int] = []

    def add(self, squares: torch.Tensor) -> None:
        """Squares of one batch, (N, channels, *positions)."""
        finite = torch.isfinite(squares).flatten(1).all(dim=1)
        if not bool(finite.all()):
            number = self.seen + int(torch.nonzero(~finite)[0, 0])
            raise SpecificationError(
                f"image {number} (counted from 0) has gradients that are NaN or infinite; look at the image and the weights"
            )
        if self.sums and squares.shape[1:] != self.sums[0].shape:
            raise SpecificationError(
                f"image {self.seen} has shape {tuple(squares.shape[1:])}, the ones before it {self.sums[0].shape}; "
                "a landscape needs one shape"
            )
        # Eq. 14 of every image by itself
        norms = squares.square().sum(dim=1).sqrt()
        sizes = norms.square().flatten(1).mean(dim=1).sqrt()
        shaped = sizes.reshape(-1, *(1 for _ in norms.shape[1:]))
        maps = torch.where(shaped > 0, norms / shaped, torch.zeros_like(norms))
        start = 0
        while start < len(squares):
            if not self.images or self.images[-1] == self.size:
                self._open(squares)
            stop = min(len(squares), start + self.size - self.images[-1])
            self.sums[-1] += squares[start:stop].sum(dim=0).cpu().numpy()
            self.maps[-1] += maps[start:stop].sum(dim=0).cpu().numpy()
            self.flat[-1] += int((sizes[start:stop] == 0).sum())
            self.images[-1] += stop - start
            self.seen += stop - start
            start = stop

    def _open(self, squares: torch.Tensor) -> None:
        if len(self.images) == MOST_BLOCKS:
            pairs = range(0, MOST_BLOCKS, 2)
            self.sums = [self.sums[i] + self.sums[i + 1] for i in pairs]
            self.maps = [self.maps[i] + self.maps[i + 1] for i in pairs]
            self.images = [self.images[i] + self.images[i + 1] for i in pairs]
            self.flat = [self.flat[i] + self.flat[i + 1] for i in pairs]
            self.size *= 2
        self.sums.append(np.zeros(tuple(squares.shape[1:])))
        self.maps.append(np.zeros(tuple(squares.shape[2:])))
        self.images.append(0)
        self.flat.append(0)

    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """Sums, sums of maps, images and flat images, by block."""
        return np.stack(self.sums), np.stack(self.maps), np.array(self.images), np.array(self.flat)
