"""Weather: snow, frost, fog, brightness."""

import math
from functools import lru_cache, reduce
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lattice import SpecificationError
from lattice.lazy import to_install
from validation.evaluation.corruptions.blur import moved, zoomed
from validation.evaluation.corruptions.severities import Constants

__all__ = ["brightness", "fog", "frost", "luma", "plasma", "snow", "value"]

Array = np.ndarray[Any, Any]

PACKAGE = "torch_uncertainty_assets"  # its pictures are read; it is never imported
PICTURES = (1, 2, 2, 3, 4)  # drawn evenly: their program draws from the first five of six files, the second and third alike


def luma(x: Array) -> Array:
    """0.299 red + 0.587 green + 0.114 blue, (height, width, 1); a grey image is its own.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).

    Returns
    -------
    numpy.ndarray
        (height, width, 1).
    """
    return x @ np.array([[0.299], [0.587], [0.114]]) if x.shape[-1] == 3 else x


def value(x: Array) -> Array:
    """The largest channel, (height, width, 1): V of hue, saturation and value.

    Parameters
    ----------
    x : numpy.ndarray
        One image, float64 in [0, 1], (height, width, channels).

    Returns
    -------
    numpy.ndarray
        (height, width, 1).
    """
    return reduce(np.maximum, np.moveaxis(x, 2, 0))[:, :, None]


def snow(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Flakes, N(c0, c1^2) enlarged by c2 and cut below c3, that fall (a motion blur of c4, c5), on an image whitened by 1 - c6.

    The flakes are added twice, the second time turned by 180 degrees.

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
    mean, deviation, factor, least, radius, sigma, kept = c
    flakes = zoomed(rng.normal(mean, deviation, x.shape[:2]), factor)
    flakes = np.floor(np.clip(np.where(flakes < least, 0, flakes), 0, 1) * 255) / 255
    flakes = np.round(moved(flakes, int(radius), sigma, rng.uniform(-135, -45)) * 255)[:, :, None] / 255
    white = np.maximum(x, luma(x) * 1.5 + 0.5)
    return kept * x + (1 - kept) * white + flakes + flakes[::-1, ::-1]


@lru_cache(4)
def _picture(number: int) -> Array:
    """A frost picture as it is in the package, bytes (height, width, 3)."""
    from PIL import Image

    spec = find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise SpecificationError(
            "frost needs pictures of frost, from the package torch-uncertainty-assets, which is not installed: "
            f"{to_install('evaluate')}"
        )
    path = Path(next(iter(places))) / "frost" / f"frost{number}.jpg"
    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except OSError as error:
        raise SpecificationError(f"frost needs {path}, which cannot be read as an image: {error}") from error


@lru_cache(16)
def _ice(number: int, every: int, height: int, width: int) -> Array:
    """Every `every`-th pixel of a frost picture, enlarged to 1.1 times where `height` x `width` would not fit into it."""
    from PIL import Image

    pixels = _picture(number)[every // 2 :: every, every // 2 :: every]
    rows, columns = pixels.shape[:2]
    if rows > height and columns > width:
        return pixels
    scale = 1.1 * max(height / rows, width / columns)
    size = math.ceil(columns * scale), math.ceil(rows * scale)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def frost(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """c0 x + c1 frost: ice on the window, a random part of one of four pictures, of which every c2-th pixel is taken.

    Every fifth pixel (what their resizing to a fifth amounts to) is CIFAR-C's, every pixel ImageNet-C's. Ours: a picture is
    enlarged where the image would not fit into it. The pictures are theirs, as `torch-uncertainty-assets` carries them (two
    of them as JPEG where theirs are PNG: 4 and 6 levels rms apart).

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

    Raises
    ------
    SpecificationError
        Where that is not installed.
    """
    height, width, channels = x.shape
    picture = _ice(PICTURES[int(rng.integers(len(PICTURES)))], int(c[2]), height, width)
    top, left = (int(rng.integers(picture.shape[axis] - x.shape[axis])) for axis in (0, 1))
    ice = picture[top : top + height, left : left + width] / 255
    return c[0] * x + c[1] * (ice if channels == 3 else luma(ice))


def plasma(side: int, decay: float, rng: np.random.Generator) -> Array:
    """A cloud on a torus by the diamond-square rule, (side, side), side a power of two, scaled to 0 .. 1.

    Halving the step k = 0, 1, ... times, each new point is the mean of its four neighbours plus u / decay^(2k), u uniform on
    -1 .. 1: first the middles of the squares, then the middles of their sides.

    Parameters
    ----------
    side : int
        A power of two.
    decay : float
        By which the steps shrink at each halving.
    rng : np.random.Generator
        Of this image.

    Returns
    -------
    numpy.ndarray
        (side, side), from 0 to 1.

    Examples
    --------
    >>> plasma(8, 2.0, np.random.default_rng(0)).shape
    (8, 8)
    """
    cloud, step, size = np.zeros((side, side)), side, 1.0
    while step >= 2:
        half = step // 2
        corner = cloud[::step, ::step]
        pair = corner + np.roll(corner, -1, 0)
        middle = (pair + np.roll(pair, -1, 1)) / 4 + rng.uniform(-size, size, corner.shape)
        across = (middle + np.roll(middle, 1, 0) + corner + np.roll(corner, -1, 1)) / 4
        down = (middle + np.roll(middle, 1, 1) + corner + np.roll(corner, -1, 0)) / 4
        cloud[half::step, half::step] = middle
        cloud[::step, half::step] = across + rng.uniform(-size, size, corner.shape)
        cloud[half::step, ::step] = down + rng.uniform(-size, size, corner.shape)
        step, size = half, size / decay**2
    cloud -= cloud.min()
    return cloud / cloud.max()


def fog(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """(x + c0 cloud) max(x) / (max(x) + c0), the cloud of decay c1; see `plasma`.

    Ours: the cloud has the next power of two above the longer side (theirs 256 for 224 pixels, 32 for 32), and is cut.

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
    side = 1 << (max(x.shape[:2]) - 1).bit_length()
    cloud = plasma(side, c[1], rng)[: x.shape[0], : x.shape[1], None]
    return (x + c[0] * cloud) * (x.max() / (x.max() + c[0]))


def brightness(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """c more of the value V (the largest channel), hue and saturation kept: x min(V + c, 1) / V; black turns grey.

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
    before = value(x)
    after = np.minimum(before + c[0], 1)
    return np.where(before > 0, x * (after / np.where(before > 0, before, 1)), after)
