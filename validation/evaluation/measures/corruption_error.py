r"""Corruption error (Hendrycks & Dietterich 2019, Section 4), relative to a reference network.

With E_{s,c} the error rate (1 - Top-1) under corruption c at severity s, and E that without corruption,

    CE_c = sum_s E_{s,c} / sum_s E^ref_{s,c},      relative CE_c = sum_s (E_{s,c} - E) / sum_s (E^ref_{s,c} - E^ref);

mCE and relative mCE are their means over corruptions. The reference of the literature is AlexNet on ImageNet-C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lattice import SpecificationError
from lattice.results.values import Result
from validation.evaluation.measures.robustness import SEVERITIES, Robustness

__all__ = ["ALEXNET", "ALEXNET_CLEAN", "CorruptionError", "corruption_error"]

Array = np.ndarray[Any, Any]

# Mean error over severities 1 to 5 of torchvision's AlexNet on ImageNet-C, 224 pixels, as Hendrycks & Dietterich published them
# with the benchmark (https://github.com/hendrycks/robustness), and its error on the clean validation images
ALEXNET = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
ALEXNET_CLEAN = 0.43478


@dataclass(frozen=True, eq=False)
class CorruptionError(Result):
    """CE of each of `names`, as fractions (1: the reference's own), and standard errors over images.

    NaN where the reference makes no errors (for `relative`: no more than without corruption), so that there is no ratio.
    """

    names: tuple[str, ...]
    each: Array
    each_error: Array
    mean: float
    mean_error: float
    relative: Array
    relative_mean: float
    relative_mean_error: float


def corruption_error(found: Robustness, reference: Sequence[Robustness] | None) -> CorruptionError:
    """CE, mCE and relative mCE against `reference`: repeats of a network, averaged, over the same images; None: AlexNet.

    The standard errors are a delete-one jackknife over images: an image that leaves, leaves under every corruption, and leaves
    the reference's sums too.

    Parameters
    ----------
    found : Robustness
        Repeats of one network.
    reference : sequence of Robustness, optional
        Repeats of another; none: AlexNet on ImageNet-C, as published.

    Returns
    -------
    CorruptionError
        Each corruption's, and the means.

    Raises
    ------
    SpecificationError
        Where the reference saw other corruptions, severities or images.
    """
    count = len(found.clean)
    wrong = (~found.right).sum(axis=1).astype(float)  # (corruptions, images): over severities
    rise = wrong - len(found.severities) * (~found.clean)
    if reference is None:
        beyond = [name for name in found.names if name not in ALEXNET]
        if beyond or found.severities != SEVERITIES:
            raise SpecificationError(
                f"AlexNet's errors are published for severities 1 to 5 and {', '.join(ALEXNET)}; asked for severities "
                f"{found.severities} and {', '.join(beyond) or 'these'}"
            )
        totals = len(SEVERITIES) * np.array([ALEXNET[name] for name in found.names])
        against = np.repeat(totals[:, None], count, axis=1)
        against_rise = against - len(SEVERITIES) * ALEXNET_CLEAN
    else:
        for other in reference:
            if (other.names, other.severities, len(other.clean)) != (found.names, found.severities, count):
                raise SpecificationError("the reference saw other corruptions, severities or images than the network")
        against = np.mean([(~other.right).sum(axis=1) for other in reference], axis=0)
        against_rise = against - len(found.severities) * np.mean([~other.clean for other in reference], axis=0)
    each, each_error, mean, mean_error = _jackknife(wrong, against)
    relative, _, relative_mean, relative_error = _jackknife(rise, against_rise)
    return CorruptionError(found.names, each, each_error, mean, mean_error, relative, relative_mean, relative_error)


def _jackknife(above: Array, below: Array) -> tuple[Array, Array, float, float]:
    """Ratios of sums over images (rows, images), their mean over rows, and the standard errors of both."""

    def ratio(a: Array, b: Array) -> Array:
        return np.divide(a, b, out=np.full(np.broadcast(a, b).shape, np.nan), where=b > 1e-9)

    totals = above.sum(axis=1, keepdims=True), below.sum(axis=1, keepdims=True)
    each = ratio(*totals)[:, 0]
    without = ratio(totals[0] - above, totals[1] - below)
    count = above.shape[1]

    def error(values: Array) -> Array:
        spread = values - values.mean(axis=-1, keepdims=True)
        return np.sqrt((count - 1) / count * (spread**2).sum(axis=-1))

    return each, error(without), float(each.mean()), float(error(without.mean(axis=0)))
