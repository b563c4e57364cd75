r"""Does the measured map equal the predicted one? A verdict with its uncertainty, and never a plain "close enough".

With r the measured relative map, p the predicted one and N pixels, the error asked for is theta^(1/2),

    theta = (1/N) sum_i (E[r_i] - p_i)^2,     estimated without bias by   (1/N) sum_i [ (r_i - p_i)^2 - se_i^2 ],

since noise alone adds its variance to a squared distance. Its own variance, (4/N^2) d' S d + (2/N^2) tr S^2 for
deviations d and the covariance S of the mean over draws, is estimated from the spread of the blocks of draws.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from scipy import stats

from landscape import Landscape
from lattice import SpecificationError
from lattice.checks import is_real
from validation.montecarlo.measure import Estimate

__all__ = ["Agreement", "Verdict", "checked_comparison", "compare"]

Array = np.ndarray[Any, Any]

RESAMPLES, BATCH = 600, 50  # of the bootstrap, and how many at once


class Verdict(Enum):
    """What the draws allow to be said about the error of the map."""

    AGREE = "the error of the map lies below the tolerance"
    DISAGREE = "the error of the map lies above the tolerance"
    NOT_ENOUGH_DATA = "the interval of the error contains the tolerance: take more draws"


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well a predicted map agrees with a measured one.

    `error`: relative root mean square error of the map, the noise taken out; `error_interval`: its confidence interval.
    `resolution`: the error that these draws would have told from none. `scale_ratio`: mean measured / mean predicted,
    `scale_ratio_error` its standard error. `unreachable`: pixels that the theory calls unreachable and that had a
    gradient. `z`: (measured - predicted) / standard error of the relative maps, per pixel; were the prediction true, all
    |z| together would stay below `critical_z` with probability `confidence`. `worst`: the pixels beyond it, worst first.
    """

    verdict: Verdict
    error: float
    error_interval: tuple[float, float]
    tolerance: float
    confidence: float
    resolution: float
    scale_ratio: float
    scale_ratio_error: float
    unreachable: int
    z: Array
    critical_z: float
    worst: tuple[tuple[int, ...], ...]
    draws: int

    def _repr_html_(self) -> str:
        from validation.html import agreement_html

        return agreement_html(self)

    def __repr__(self) -> str:
        low, high = self.error_interval
        lines = [
            f"{self.verdict.name.replace('_', ' ')} at a tolerance of {self.tolerance:.1%}, {self.draws} draws",
            f"  map error {self.error:.1%}, at {self.confidence:.0%} confidence from {low:.1%} to {high:.1%}",
            f"  an error of {self.resolution:.1%} would have been told from none",
            f"  scale: measured / predicted = {self.scale_ratio:.3g} +- {self.scale_ratio_error:.2g}",
        ]
        if self.worst:
            shown = ", ".join(f"{position} (z = {self.z[position]:.1f})" for position in self.worst[:3])
            lines.append(f"  {len(self.worst)} pixels beyond the simultaneous band |z| < {self.critical_z:.1f}, worst {shown}")
        if self.unreachable:
            lines.append(f"  {self.unreachable} pixels that no path reaches had a gradient")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draw `z` over the input positions, its colours ending at the simultaneous band; returns the matplotlib Axes."""
        from validation.montecarlo.figure import plot_z

        return plot_z(self, ax)


def compare(
    predicted: Landscape | Array, estimate: Estimate, *, tolerance: float = 0.05, confidence: float = 0.99
) -> Agreement:
    """AGREE / DISAGREE / NOT ENOUGH DATA on `error` <= `tolerance`, the debiased relative rms error of the map.

    `predicted`: a `Landscape`, or a map of expected squared gradients over the same positions. AGREE where the whole
    confidence interval lies at or below the tolerance, DISAGREE where it lies above; pixels that the theory calls
    unreachable must have gradient exactly 0, or the verdict is DISAGREE. Raises `SpecificationError` for maps of
    different shapes, NaN, and fewer than 10 blocks of draws.

    >>> from landscape import predict
    >>> from lattice import families
    >>> from validation import measure
    >>> net = families.plain(12, depth=3, channels=4, padding=1)
    >>> compare(predict(net), measure(net, draws=2000)).verdict.name
    'AGREE'
    """
    expected = checked_comparison(predicted, estimate)
    if not is_real(tolerance) or tolerance < 0:
        raise SpecificationError(f"tolerance is {tolerance!r}; it is an error of the relative map, for example 0.05")
    if not is_real(confidence) or not 0 < confidence < 1:
        raise SpecificationError(f"confidence is {confidence!r}; it lies between 0 and 1, for example 0.99")
    for name, values in (("predicted", expected), ("measured", estimate.blocks)):
        if not np.isfinite(values).all() or not values.sum() > 0:
            raise SpecificationError(f"the {name} map has NaN, infinite or only zero entries; there is nothing to compare")
    if len(estimate.blocks) < 10:
        raise SpecificationError(f"{estimate.draws} draws are too few to estimate an error from; take 10 at least")
    deviation = estimate.relative - expected / expected.mean()
    error = estimate.relative_error
    theta = float(np.mean(deviation**2 - error**2))
    null_variance, shift_variance = _variance_of_theta(estimate, deviation)
    z = np.divide(deviation, error, out=np.zeros_like(deviation), where=error > 0)
    critical_z = _critical_z(estimate, confidence)
    beyond = np.argwhere(np.abs(z) > critical_z)
    worst = sorted((tuple(map(int, position)) for position in beyond), key=lambda position: -abs(z[position]))
    quantile = float(stats.norm.ppf(0.5 + confidence / 2))
    spread = quantile * np.sqrt(null_variance + shift_variance)
    low, high = (float(np.sqrt(max(value, 0.0))) for value in (theta - spread, theta + spread))
    unreachable = int(((expected == 0) & (estimate.mean != 0)).sum())
    scales = estimate.blocks.reshape(len(estimate.blocks), -1).mean(axis=1)
    shares = estimate.block_draws / estimate.block_draws.sum()
    scale_error = np.sqrt(np.sum((shares * (scales - estimate.mean.mean())) ** 2) * len(scales) / (len(scales) - 1))
    verdict = Verdict.NOT_ENOUGH_DATA
    if unreachable or low > tolerance:
        verdict = Verdict.DISAGREE
    elif high <= tolerance:
        verdict = Verdict.AGREE
    return Agreement(
        verdict=verdict,
        error=float(np.sqrt(max(theta, 0.0))),
        error_interval=(low, high),
        tolerance=tolerance,
        confidence=confidence,
        resolution=float(np.sqrt(quantile * np.sqrt(null_variance))),
        scale_ratio=float(estimate.mean.mean() / expected.mean()),
        scale_ratio_error=float(scale_error / expected.mean()),
        unreachable=unreachable,
        z=z,
        critical_z=critical_z,
        worst=tuple(worst),
        draws=estimate.draws,
    )


def checked_comparison(predicted: Any, estimate: Any) -> Array:
    """The predicted map as a float array, of the shape of the estimate; `SpecificationError` for what is no such pair."""
    if not isinstance(estimate, Estimate):
        raise SpecificationError(f"estimate is a {type(estimate).__name__}; it is what validation.measure returns")
    values = np.asarray(predicted.squared if isinstance(predicted, Landscape) else predicted)
    if values.dtype.kind not in "biuf":
        raise SpecificationError(f"predicted is a {type(predicted).__name__}; it is a Landscape, or a map of squared gradients")
    if values.shape != estimate.mean.shape:
        raise SpecificationError(f"the predicted map has shape {values.shape}, the measured one {estimate.mean.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        raise SpecificationError("the predicted map has NaN, infinite or negative entries; squared gradients are none of that")
    return values.astype(float)


def _critical_z(estimate: Estimate, confidence: float) -> float:
    """What sup |z| over all pixels stays below with this probability, if the prediction is true.

    The symmetric studentised bootstrap over blocks: squared gradients are too heavy-tailed for a t distribution (plain
    t bands reject a third of true predictions at 200 draws). With n resamples no confidence above 1 - 1/n can be had.
    """
    count = len(estimate.blocks)
    blocks = estimate.blocks.reshape(count, -1)
    blocks = blocks[:, blocks.any(axis=0)]  # unreachable pixels have no spread
    rng = np.random.default_rng(estimate.seed)
    shares = estimate.block_draws / estimate.block_draws.sum()
    means = blocks.mean(axis=1, keepdims=True)
    centre = shares @ blocks / (shares @ means)
    sups = []
    for _ in range(RESAMPLES // BATCH):
        times = rng.multinomial(count, np.full(count, 1 / count), size=BATCH)
        total = (times * shares).sum(axis=1, keepdims=True)
        weights, squared = times * shares / total, times * (shares / total) ** 2  # a block drawn twice counts as two
        scale = weights @ means
        shape = weights @ blocks / scale
        # the squared influence of a block on the shape, (block - shape * mean)^2, summed without forming it
        squares = squared @ blocks**2 - 2 * shape * (squared @ (blocks * means)) + shape**2 * (squared @ means**2)
        error = np.sqrt(np.maximum(squares, 0)) / scale
        sups.append(np.max(np.abs(shape - centre) / np.where(error > 0, error, np.inf), axis=1))
    return float(np.quantile(np.concatenate(sups), min(confidence, 1 - 1 / RESAMPLES), method="higher"))


def _variance_of_theta(estimate: Estimate, deviation: Array) -> tuple[float, float]:
    """(2/N^2) tr S^2 and (4/N^2) d' S d, S the covariance of the relative map's mean, from blocks of draws."""
    count, pixels = len(estimate.blocks), deviation.size
    shares = (estimate.block_draws / estimate.block_draws.sum())[:, None]
    pieces = shares * estimate.influence.reshape(count, pixels)  # their sum over blocks has covariance S
    gram = pieces @ pieces.T / pixels
    off_diagonal = float(np.sum(gram**2) - np.sum(np.diag(gram) ** 2)) * count / (count - 1)
    along = pieces @ deviation.ravel() / pixels
    shift = float(np.sum(along**2)) * count / (count - 1)
    # the measured deviation carries noise of its own, which adds tr S^2 to d' S d
    return 2 * off_diagonal, 4 * max(shift - off_diagonal, 0.0)
