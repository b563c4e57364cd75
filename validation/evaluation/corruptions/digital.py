"""Digital: contrast, elastic deformation, pixelation, JPEG."""

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from scipy import fft, ndimage

from validation.evaluation.corruptions.severities import Constants

__all__ = ["contrast", "elastic_transform", "jpeg_compression", "pixelate"]

Array = np.ndarray[Any, Any]


def contrast(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """(x - mean) c + mean, each channel's mean over the image.

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
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * c[0] + mean


@lru_cache(64)
def _spread(size: int, sigma: float) -> Array:
    """What a Gaussian of `sigma`, cut at 3 sigma, multiplies the cosines of a line of `size` reflected pixels with."""
    taps = np.arange(int(3 * sigma + 0.5) + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2)) * np.where(taps == 0, 1, 2)
    return np.cos(np.pi / size * np.arange(size)[:, None] * taps) @ (weights / weights.sum())


def _displacement(shape: tuple[int, int], alpha: float, sigma: float, rng: np.random.Generator) -> Array:
    """Uniform on -alpha .. alpha, smoothed by a Gaussian of sigma; by cosines, since sigma may be most of the image."""
    field = rng.uniform(-alpha, alpha, shape)
    if not sigma:
        return field
    rows, columns = (_spread(size, sigma) for size in shape)
    return fft.idctn(fft.dctn(field) * rows[:, None] * columns)


def elastic_transform(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """A random affine map, then random displacements; c counts in short sides of the image.

    The affine map moves three points, at a third of the short side from the middle, by up to c2 in each coordinate; the
    displacements are c0 times uniform noise on -1 .. 1 that a Gaussian of c1 has smoothed. Both read between pixels linearly,
    and beyond the border by reflection. Ours: the middle of images that are not square, and the short side as the unit.

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
    height, width, channels = x.shape
    alpha, sigma, jitter = (number * min(height, width) for number in c)
    middle, third = np.array([height // 2, width // 2]), min(height, width) // 3
    fixed = middle + third * np.array([[1, 1], [-1, 1], [-1, -1]])  # (row, column)
    moved = fixed + rng.uniform(-jitter, jitter, fixed.shape)
    back = np.linalg.lstsq(np.column_stack([moved, np.ones(3)]), fixed, rcond=None)[0]
    place = np.indices((height, width)) + [_displacement((height, width), alpha, sigma, rng) for _ in range(2)]
    result = np.empty_like(x)
    for channel in range(channels):
        once = ndimage.affine_transform(x[:, :, channel], back[:2].T, back[2], order=1, mode="mirror")
        result[:, :, channel] = ndimage.map_coordinates(once, place, order=1, mode="reflect")
    return result


def _picture(x: Array) -> Any:
    from PIL import Image

    return Image.fromarray(np.round(x.squeeze(axis=2) * 255 if x.shape[2] == 1 else x * 255).astype(np.uint8))


def pixelate(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Down to c of the size and up again, by the mean over boxes both times.

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
    from PIL import Image

    picture = _picture(x)
    small = picture.resize((max(1, int(x.shape[1] * c[0])), max(1, int(x.shape[0] * c[0]))), Image.Resampling.BOX)
    return np.asarray(small.resize(picture.size, Image.Resampling.BOX)).reshape(x.shape) / 255


def jpeg_compression(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Through a JPEG file of quality c.

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
    from PIL import Image

    stream = BytesIO()
    _picture(x).save(stream, "JPEG", quality=int(c[0]))
    with Image.open(stream) as file:
        return np.asarray(file).reshape(x.shape) / 255
