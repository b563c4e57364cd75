r"""Does the measured map equal the predicted one? A verdict with its uncertainty, and never a plain "close enough".

With r the measured relative map, p the predicted one and N pixels, the error asked for is theta^(1/2),

    theta = (1/N) sum_i (E[r_i] - p_i)^2,     estimated without bias by   (1/N) sum_i [ (r_i - p_i)^2 - se_i^2 ],

since noise alone adds its variance to a squared distance. Its own variance, (4/N^2) d' S d + (2/N^2) tr S^2 for
deviations d and the covariance S of the mean over draws, is estimated from the spread of the blocks of draws. It grows
with theta, so the interval ends at the largest theta that an estimate this small would not be rare for; and it is
estimated from heavy-tailed draws, so quantiles are Student's, with as many degrees of freedom as the draws' fourth powers
leave (Satterthwaite). `docs/false_alarms.md`: how often each of its statements was wrong, measured.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
from scipy import stats

from landscape import Landscape
from lattice import SpecificationError
from lattice.checks import is_real
from lattice.results.values import MapResult
from validation.montecarlo.estimate import Estimate, degrees_of_freedom

__all__ = ["Agreement", "Verdict", "checked_comparison", "compare"]

Array = np.ndarray[Any, Any]

RESAMPLES, BATCH = 600, 50  # of the bootstrap, and how many at once
LEAST = 20  # blocks, and equal draws that a verdict asks for; below, up to 10 of 100 intervals at 95 % missed the error
POWER = 0.8  # the probability with which an error as large as `resolution` is told from none
ROUNDING = 1e-5  # gradients are computed in float32: no scale is known better


class Verdict(Enum):
    """What the draws allow to be said about the error of the map: AGREE, DISAGREE or NOT_ENOUGH_DATA (see `compare`)."""

    AGREE = "the error of the map lies below the tolerance"
    DISAGREE = "the error of the map lies above the tolerance"
    NOT_ENOUGH_DATA = "the interval of the error contains the tolerance, or few draws carry everything: take more draws"


@dataclass(frozen=True, eq=False)
class Agreement(MapResult):
    """How well a predicted map agrees with a measured one.

    Parameters
    ----------
    verdict : Verdict
        AGREE, DISAGREE or NOT_ENOUGH_DATA on error <= tolerance.
    error : float
        Relative root mean square error of the map, the noise taken out.
    error_interval : tuple of float
        Its confidence interval (low, high).
    tolerance : float
        The error that was tolerated.
    confidence : float
        The confidence of the verdict and of the intervals.
    resolution : float
        The error that such draws tell from none with a probability of 80 %.
    scale_ratio : float
        Mean measured / mean predicted.
    scale_ratio_error : float
        Its standard error, with the error that the prediction itself has where V[w] is an estimate (`Landscape.scale_error`).
    scale_interval : tuple of float
        Its confidence interval (low, high).
    unreachable : int
        Pixels that the theory calls unreachable and that had a gradient.
    z : ndarray of float64
        (measured - predicted) / standard error of the relative maps, per pixel.
    critical_z : float
        Were the prediction true, all |z| together would stay below this with probability `confidence`.
    worst : tuple of tuple of int
        The pixels beyond it, worst first.
    draws : int
        How many there were.
    """

    verdict: Verdict
    error: float
    error_interval: tuple[float, float]
    tolerance: float
    confidence: float
    resolution: float
    scale_ratio: float
    scale_ratio_error: float
    scale_interval: tuple[float, float]
    unreachable: int
    z: Array
    critical_z: float
    worst: tuple[tuple[int, ...], ...]
    draws: int
    _map_names = ("z",)
    _made_of = (Verdict,)

    @property
    def resolution_in_words(self) -> str:
        """Which error would have been seen, and how surely."""
        return f"an error of {self.resolution:.1%} would have been told from none with {POWER:.0%} probability"

    @property
    def scale_is_off(self) -> bool:
        """Whether the confidence interval of the scale excludes 1; the verdict is on the map alone and does not say so."""
        low, high = self.scale_interval
        return not low <= 1 <= high

    @property
    def scale_in_words(self) -> str:
        """The scale, its standard error, and whether that refutes a scale of 1.

        Examples
        --------
        >>> from landscape import predict
        >>> from lattice import families
        >>> from validation import measure
        >>> net = families.plain(12, depth=1, channels=4)
        >>> compare(4 * predict(net).squared, measure(net, draws=100)).scale_in_words
        'measured / predicted = 0.235 +- 0.012: at 99% confidence it is not 1'
        """
        refuted = f": at {self.confidence:.0%} confidence it is not 1" if self.scale_is_off else ""
        return f"measured / predicted = {self.scale_ratio:.3g} +- {self.scale_ratio_error:.2g}{refuted}"

    def _repr_html_(self) -> str:
        from validation.report.html import agreement_html

        return agreement_html(self)

    def __repr__(self) -> str:
        low, high = self.error_interval
        lines = [
            f"{self.verdict.name.replace('_', ' ')} at a tolerance of {self.tolerance:.1%}, {self.draws} draws",
            f"  map error {self.error:.1%}, at {self.confidence:.0%} confidence from {low:.1%} to {high:.1%}",
            f"  {self.resolution_in_words}",
            f"  scale: {self.scale_in_words}",
        ]
        if self.worst:
            shown = ", ".join(f"{position} (z = {self.z[position]:.1f})" for position in self.worst[:3])
            lines.append(f"  {len(self.worst)} pixels beyond the simultaneous band |z| < {self.critical_z:.1f}, worst {shown}")
        if self.unreachable:
            lines.append(f"  {self.unreachable} pixels that no path reaches had a gradient")
        return "\n".join(lines)

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw `z` over the input positions, its colours ending at the simultaneous band.

        Parameters
        ----------
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.
        **style : dict
            What matplotlib's `imshow` takes (cmap, vmin, vmax, norm).

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from validation.comparison.figure import plot_z

        return plot_z(self, ax, **style)


def compare(
    predicted: Landscape | Array, estimate: Estimate, *, tolerance: float = 0.05, confidence: float = 0.99
) -> Agreement:
    """AGREE / DISAGREE / NOT ENOUGH DATA on `error` <= `tolerance`, the debiased relative rms error of the map.

    AGREE where the whole confidence interval lies at or below the tolerance, DISAGREE where it lies above or a pixel that no
    path reaches has a gradient, NOT ENOUGH DATA otherwise, and for draws worth fewer than 20 equal ones (`effective_draws`).
    With draws fixed before looking, either verdict is wrong with probability 1 - `confidence` at most (docs/false_alarms.md).

    Parameters
    ----------
    predicted : Landscape or ndarray
        A prediction, or a map of expected squared gradients over the same positions.
    estimate : Estimate
        What `measure` returned.
    tolerance : float, default 0.05
        The relative error of the map that is tolerated.
    confidence : float, default 0.99
        Between 0 and 1.

    Returns
    -------
    Agreement
        The verdict, the error and the scale with their intervals, and z per pixel.

    Raises
    ------
    SpecificationError
        If the maps have different shapes or entries that are not finite, or there are fewer than 20 blocks of draws.

    Examples
    --------
    >>> from landscape import predict
    >>> from lattice import families
    >>> from validation import measure
    >>> net = families.plain(12, depth=3, channels=4, padding=1)
    >>> compare(predict(net), measure(net, draws=2000), tolerance=0.1).verdict.name
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
    if len(estimate.blocks) < LEAST:
        raise SpecificationError(f"{estimate.draws} draws are too few to estimate an error from; take {LEAST} at least")
    deviation = estimate.relative - expected / expected.mean()
    error = estimate.relative_error
    theta = float(np.mean(deviation**2 - error**2))
    law = _law_of_theta(estimate, deviation)
    z = np.divide(deviation, error, out=np.zeros_like(deviation), where=error > 0)
    critical_z = _critical_z(estimate, confidence)
    beyond = np.argwhere(np.abs(z) > critical_z)
    worst = sorted((tuple(map(int, position)) for position in beyond), key=lambda position: -abs(z[position]))
    tail = 0.5 + confidence / 2
    quantile = float(stats.t.ppf(tail, law.degrees))
    to_be_seen = quantile + float(stats.t.ppf(POWER, law.degrees))
    noisiest = replace(law, rate=max(law.rate, float(error.max()) ** 2 / error.size))  # an error of the one noisiest pixel
    least = theta - quantile * np.sqrt(law.null + law.shift)
    low, high = (float(np.sqrt(max(value, 0.0))) for value in (least, law.largest(theta, quantile)))
    unreachable = int(((expected == 0) & (estimate.mean != 0)).sum())
    scale, scale_error, degrees = _scale(estimate)
    # of the logarithm: a sample without the rare large draws has a small mean and a small error at once
    drawn = float(stats.t.ppf(tail, degrees)) * scale_error / scale
    own = predicted.scale_error if isinstance(predicted, Landscape) else 0.0  # of the prediction: independent of the draws
    width = float(np.hypot(drawn, stats.norm.ppf(tail) * own)) + ROUNDING
    ratio = scale / float(expected.mean())
    verdict = Verdict.NOT_ENOUGH_DATA
    if unreachable or low > tolerance:
        verdict = Verdict.DISAGREE
    elif high <= tolerance:
        verdict = Verdict.AGREE
    if not unreachable and estimate.effective_draws < LEAST:  # the intervals of so few do not keep their confidence
        verdict = Verdict.NOT_ENOUGH_DATA
    return Agreement(
        verdict=verdict,
        error=float(np.sqrt(max(theta, 0.0))),
        error_interval=(low, high),
        tolerance=tolerance,
        confidence=confidence,
        resolution=float(np.sqrt(noisiest.largest(0.0, to_be_seen))),
        scale_ratio=ratio,
        scale_ratio_error=float(np.hypot(scale_error / float(expected.mean()), ratio * own)),
        scale_interval=(ratio * float(np.exp(-width)), ratio * float(np.exp(width))),
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


@dataclass(frozen=True)
class _Law:
    """The law of the estimate of theta: mean theta, variance `null` + 4 `rate` theta, Student's with `degrees`.

    `null`: (2/N^2) tr S^2. `shift`: (4/N^2) d' S d without the noise in d. `rate`: d' S d / (N d' d), the variance in the
    direction of the measured deviation, noise and all: it is known even where theta cannot be told from 0.
    """

    null: float
    shift: float
    rate: float
    degrees: float

    def largest(self, theta: float, quantile: float) -> float:
        """The largest x with x - quantile (null + 4 rate x)^(1/2) <= theta."""
        half = 2 * quantile**2 * self.rate
        return float(theta + half + np.sqrt(max(half**2 + quantile**2 * self.null + 2 * half * theta, 0.0)))


def _law_of_theta(estimate: Estimate, deviation: Array) -> _Law:
    """Its parameters from blocks of draws; S is the covariance of the relative map's mean."""
    count, pixels = len(estimate.blocks), deviation.size
    shares = (estimate.block_draws / estimate.block_draws.sum())[:, None]
    pieces = shares * estimate.influence.reshape(count, pixels)  # their sum over blocks has covariance S
    gram = pieces @ pieces.T / pixels
    off_diagonal = float(np.sum(gram**2) - np.sum(np.diag(gram) ** 2)) * count / (count - 1)
    along = pieces @ deviation.ravel() / pixels
    shift = float(np.sum(along**2)) * count / (count - 1)
    rate = shift / (float(np.mean(deviation**2)) or 1.0)
    # the measured deviation carries noise of its own, which adds tr S^2 to d' S d
    return _Law(2 * off_diagonal, 4 * max(shift - off_diagonal, 0.0), rate, degrees_of_freedom(along))


def _scale(estimate: Estimate) -> tuple[float, float, float]:
    """The mean over all pixels, its standard error, and the degrees of freedom of that."""
    scales = estimate.blocks.reshape(len(estimate.blocks), -1).mean(axis=1)
    scale = float(estimate.mean.mean())
    pieces = estimate.block_draws / estimate.block_draws.sum() * (scales - scale)
    return scale, float(np.sqrt(np.sum(pieces**2) * len(pieces) / (len(pieces) - 1))), degrees_of_freedom(pieces)
