"""Noise on every value of an image: Gaussian, shot, impulse, and speckle of the extra ones.

As everywhere in this package: `x` float64 (height, width, channels) from 0 to 1, `c` a row of `severities.CONSTANTS`, `rng`
what it draws from; the answer may leave 0 to 1, and is clipped by the caller.
"""

from typing import Any

import numpy as np

from validation.evaluation.corruptions.severities import Constants

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"]

Array = np.ndarray[Any, Any]


def gaussian_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """x + e with e ~ N(0, c^2): electronic noise in low light.

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
    return x + rng.normal(scale=c[0], size=x.shape)


def shot_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Poisson(c x) / c: the light itself is discrete, c photons in a white pixel.

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
    return rng.poisson(x * c[0]) / c[0]


def impulse_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Salt and pepper: each value is replaced with probability c, by 1 or 0 evenly.

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
    u = rng.random(x.shape)
    return np.where(u < c[0], np.where(u < c[0] / 2, 1.0, 0.0), x)


def speckle_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """x + x e with e ~ N(0, c^2): noise that grows with the light.

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
    return x + x * rng.normal(scale=c[0], size=x.shape)
