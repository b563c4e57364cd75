"""Two of the four extra corruptions: spatter and saturation (speckle noise and Gaussian blur stand beside their kin)."""

from typing import Any

import numpy as np
from scipy import ndimage

from validation.evaluation.corruptions.blur import smooth
from validation.evaluation.corruptions.severities import Constants
from validation.evaluation.corruptions.weather import luma, value

__all__ = ["saturate", "spatter"]

Array = np.ndarray[Any, Any]

WATER = np.array([[[175, 238, 238]]]) / 255  # pale turquoise
MUD = np.array([[[63, 42, 20]]]) / 255


def saturate(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """The saturation S of each pixel becomes clip(c0 S + c1): V - (V - x) S' / S, hue and value V kept.

    A pixel without a hue counts as red, as in their conversion. A grey image has no saturation and stays as it is.

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
    if x.shape[2] == 1:
        return x
    most = value(x)
    less = most - x
    saturation = value(less) / np.where(most > 0, most, 1)
    wanted = np.clip(c[0] * saturation + c[1], 0, 1)
    red = most * np.array([0.0, 1.0, 1.0])
    return most - wanted * np.where(saturation > 0, less / np.where(saturation > 0, saturation, 1), red)


def edges(grey: Array, low: float, high: float) -> Array:
    """Canny's edges of a grey image of bytes: where |dx| + |dy| (Sobel) is above `high`, or above `low` beside such a pixel.

    Only ridges count: pixels that are no smaller than both neighbours across the edge, in one of four directions.
    """
    dx, dy = (ndimage.sobel(grey.astype(np.int64), axis, mode="nearest") for axis in (1, 0))
    size = np.abs(dx) + np.abs(dy)
    around = np.pad(size, 1)

    def at(i: int, j: int) -> Array:
        return around[1 + i : 1 + i + grey.shape[0], 1 + j : 1 + j + grey.shape[1]]

    flat, steep = np.abs(dy) < np.abs(dx) * np.tan(np.pi / 8), np.abs(dy) > np.abs(dx) * np.tan(3 * np.pi / 8)
    rising = (dx < 0) != (dy < 0)
    ridge = np.select(
        [flat, steep, rising],
        [
            (size > at(0, -1)) & (size >= at(0, 1)),
            (size > at(-1, 0)) & (size >= at(1, 0)),
            (size > at(-1, 1)) & (size > at(1, -1)),
        ],
        (size > at(-1, -1)) & (size > at(1, 1)),
    ).astype(bool)
    groups, _ = ndimage.label(ridge & (size > low), np.ones((3, 3)))
    strong = np.unique(groups[ridge & (size > high)])
    return np.isin(groups, strong[strong > 0])


def equalised(grey: Array) -> Array:
    """The grey levels of an image of bytes, spread so that each is as frequent as can be; the lowest becomes 0."""
    counts = np.bincount(grey.ravel(), minlength=256)
    lowest = int(counts.nonzero()[0][0])
    if counts[lowest] == grey.size:
        return grey
    below = np.cumsum(counts) - counts[lowest]
    return np.round(np.clip(below, 0, None) * (255 / (grey.size - counts[lowest]))).astype(np.uint8)[grey]


def _drops(liquid: Array) -> Array:
    """How much water stands where, 0 to 1: the liquid, shaded by its distance from the drops' edges, as if lit from one side.

    The distances are exact; theirs are OpenCV's approximation by 5 x 5 steps, the only difference between the two.
    """
    levels = np.clip(np.floor(liquid * 255), 0, 255)
    rim = edges(levels, 50, 150)
    away = np.minimum(ndimage.distance_transform_edt(~rim), 20) if rim.any() else np.full(liquid.shape, 20.0)
    away = equalised(np.floor(ndimage.uniform_filter(away, 3, mode="mirror") + 1e-6).astype(np.uint8))
    light = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    lit = np.clip(ndimage.correlate(away.astype(np.int64), light, mode="mirror"), 0, 255)
    water = levels * np.round(ndimage.uniform_filter(lit.astype(np.float64), 3, mode="mirror"))
    return water / max(water.max(), 1)


def spatter(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Drops of water (severities 1 to 3) or of mud on the lens: N(c0, c1^2) smoothed by c2 pixels, where it is above c3.

    Water is added in pale turquoise, c4 at the most; mud covers what is under it, its rim softened by c4 pixels.

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
    mean, deviation, sigma, least, strength, mud = c
    liquid = smooth(rng.normal(mean, deviation, x.shape[:2]), sigma)
    colour = MUD if mud else WATER
    if x.shape[2] == 1:
        colour = luma(colour)
    if not mud:
        return x + strength * _drops(np.where(liquid < least, 0, liquid))[:, :, None] * colour
    cover = smooth((liquid > least).astype(np.float64), strength)[:, :, None]
    cover = np.where(cover < 0.8, 0, cover)
    return x * (1 - cover) + colour * cover
