"""Blur: out of focus, through frosted glass, by a moving camera, by zooming in, and Gaussian of the extra ones."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import ndimage, signal, sparse

from validation.evaluation.corruptions.severities import Constants

__all__ = ["defocus_blur", "gaussian_blur", "glass_blur", "motion_blur", "moved", "smooth", "zoom_blur", "zoomed"]

Array = np.ndarray[Any, Any]


def smooth(x: Array, sigma: float) -> Array:
    """Gaussian of `sigma` pixels over rows and columns, cut at 4 sigma; beyond the border its nearest pixel.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    sigma : float
        Standard deviation in pixels.

    Returns
    -------
    numpy.ndarray
        Of the shape of `x`.
    """
    return ndimage.gaussian_filter(x, (sigma, sigma, 0)[: x.ndim], mode="nearest", truncate=4)


def gaussian_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Gaussian of sigma = c pixels.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    c : Constants
        The numbers of this severity.
    rng : np.random.Generator
        Of this image.

    Returns
    -------
    numpy.ndarray
        The corrupted image, float64 in [0, 1], of the same shape.
    """
    return smooth(x, c[0])


@lru_cache(64)
def _disk(radius: float, sigma: float) -> Array:
    """The pixels within `radius`, of weight 1 / their number, softened by 3 or 5 taps of a Gaussian; empty margins cut.

    The softening reflects at the border of a 17 x 17 grid (or of the disk, above radius 8), as theirs does.
    """
    reach, half = (8, 1) if radius <= 8 else (int(radius), 2)
    grid = np.arange(-reach, reach + 1)
    disk = (grid**2 + grid[:, None] ** 2 <= radius**2).astype(np.float64)
    taps = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, taps / taps.sum(), axis, mode="mirror")
    needed = int(np.abs(grid[disk.any(axis=0)]).max())
    cut = slice(reach - needed, reach + needed + 1)
    return disk[cut, cut] / (grid**2 + grid[:, None] ** 2 <= radius**2).sum()


def defocus_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """The average over a disk of radius c0 (a lens out of focus), its rim softened by a Gaussian of c1 pixels.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    c : Constants
        The numbers of this severity.
    rng : np.random.Generator
        Of this image.

    Returns
    -------
    numpy.ndarray
        The corrupted image, float64 in [0, 1], of the same shape.
    """
    disk = _disk(*c)
    half = len(disk) // 2
    padded = np.pad(x, ((half, half), (half, half), (0, 0)), mode="reflect")
    return signal.fftconvolve(padded, disk[:, :, None], mode="valid", axes=(0, 1))


def glass_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Gaussian of c0 pixels, then pixels displaced by up to c1, c2 times over, then the Gaussian again.

    From the lower right to the upper left, each pixel that is at least c1 from the border takes the value that another one,
    -c1 .. c1 - 1 rows and columns away, has by then. (Their code is written as an exchange; on numpy's views of colour pixels
    it copies. Here grey images are treated alike.) A value thus passes along a chain of displacements, which ends at the
    first pixel that had not yet been visited: log2(length) jumps find it.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    c : Constants
        The numbers of this severity.
    rng : np.random.Generator
        Of this image.

    Returns
    -------
    numpy.ndarray
        The corrupted image, float64 in [0, 1], of the same shape.
    """
    sigma, reach, rounds = c[0], int(c[1]), int(c[2])
    height, width, channels = x.shape
    x = np.floor(smooth(x, sigma) * 255 + 1e-6) / 255
    own = np.arange(height * width).reshape(height, width)
    inside = np.zeros((height, width), dtype=bool)
    inside[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    for _ in range(rounds):
        down, right = rng.integers(-reach, reach, (2, height, width))
        source = np.where(inside, own + down * width + right, own).ravel()
        further = np.where(inside.ravel()[source] & (source > own.ravel()), source, own.ravel())  # visited before: go on
        jump = further
        while not np.array_equal(jump, jump[jump]):
            jump = jump[jump]
        x = x.reshape(-1, channels)[source[jump]].reshape(x.shape)
    return smooth(x, sigma)


def moved(x: Array, radius: int, sigma: float, angle: float) -> Array:
    """The average along a line that leaves each pixel at `angle` degrees, with the weights exp(-i^2 / (2 sigma^2)).

    i = 0 .. 2 radius steps, each rounded to a pixel; beyond the border its nearest pixel. This is what ImageMagick's
    motion blur does, which made the published images.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    radius : int
        Pixels on either side.
    sigma : float
        Of the weights, in pixels.
    angle : float
        In degrees.

    Returns
    -------
    numpy.ndarray
        Of the shape of `x`.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    turn = math.radians(angle)
    down = np.ceil(steps * math.sin(turn) - 0.5).astype(int)
    right = np.ceil(steps * math.cos(turn) - 0.5).astype(int)
    top, left = max(0, -down.min()), max(0, -right.min())
    edges = ((top, max(0, down.max())), (left, max(0, right.max())))
    padded = np.pad(x, (*edges, (0, 0))[: x.ndim], mode="edge")
    total = np.zeros_like(x)
    for weight, i, j in zip(weights, down + top, right + left, strict=True):
        total += weight * padded[i : i + x.shape[0], j : j + x.shape[1]]
    return total


def motion_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """A camera that moves at an angle of -45 to 45 degrees; see `moved`. Rounded to the nearest byte, as ImageMagick does.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    c : Constants
        The numbers of this severity.
    rng : np.random.Generator
        Of this image.

    Returns
    -------
    numpy.ndarray
        The corrupted image, float64 in [0, 1], of the same shape.
    """
    return np.round(moved(x, int(c[0]), c[1], rng.uniform(-45, 45)) * 255) / 255


def zoomed(x: Array, factor: float) -> Array:
    """The middle of an image, enlarged by `factor` to the size of the image; linear, the outermost pixels on the outermost.

    ceil(size / factor) pixels become round(ceil(size / factor) factor) and are cut to the size, on each axis for itself.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    factor : float
        1 at least.

    Returns
    -------
    numpy.ndarray
        Of the shape of `x`.
    """
    for axis in (0, 1):
        low, high, part = _between(x.shape[axis], factor)
        below = x.take(low, axis)
        x = below + part.reshape(-1, *(1,) * (x.ndim - 1 - axis)) * (x.take(high, axis) - below)
    return x


@lru_cache(512)
def _between(size: int, factor: float) -> tuple[Array, Array, Array]:
    """The two pixels that each of `size` enlarged ones lies between, and how far it is from the first to the second."""
    kept = math.ceil(size / factor)
    made = round(kept * factor)
    place = (np.arange(size) + (made - size) // 2) * ((kept - 1) / (made - 1))
    low = np.minimum(place.astype(int), kept - 1)
    first = (size - kept) // 2
    return first + low, first + np.minimum(low + 1, kept - 1), place - low


def zoom_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """The mean of the image and its enlargements by 1, 1 + c1, 1 + 2 c1, ... below c0: a camera that rushes at the scene.

    All enlargements at once: the sum over factors f of R_f x C_f', R_f and C_f the matrices that `zoomed` multiplies with.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).
    c : Constants
        The numbers of this severity.
    rng : np.random.Generator
        Of this image.

    Returns
    -------
    numpy.ndarray
        The corrupted image, float64 in [0, 1], of the same shape.
    """
    factors = tuple(np.arange(1, c[0], c[1]).tolist())
    height, width, channels = x.shape
    lines = _stacked(height, factors, 0) @ x.reshape(height, -1)
    lines = lines.reshape(-1, height, width, channels).swapaxes(1, 2).reshape(-1, height * channels)
    total = (_stacked(width, factors, 1) @ lines).reshape(width, height, channels).swapaxes(0, 1)
    return (x + total) / (len(factors) + 1)


@lru_cache(64)
def _stacked(size: int, factors: tuple[float, ...], axis: int) -> Any:
    """The matrices that enlarge a line by each factor, below each other (axis 0) or side by side (axis 1)."""
    made = []
    for factor in factors:
        low, high, part = _between(size, factor)
        values, places = np.stack([1 - part, part], axis=1).ravel(), np.stack([low, high], axis=1).ravel()
        made.append(sparse.csr_array((values, places, np.arange(0, 2 * size + 1, 2)), shape=(size, size)))
    return (sparse.hstack if axis else sparse.vstack)(made, format="csr")
