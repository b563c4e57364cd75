r"""Tests of means that hold for heavy-tailed draws: squared gradients are products of many squares.

The mean of n skewed draws lies below its expectation more often than Student's t allows: products of four squared normals reach
t = -9 in one of 10,000 samples of 2,000. Hall's transformation (P. Hall, J. R. Stat. Soc. B 54, 1992) takes the skewness g out,

    S = (mean - mu) / s,      z = sqrt(n) (S + g S^2 / 3 + g^2 S^3 / 27 + g / (6 n)),

and a sample is believed only if it is made of enough draws: (sum t)^2 / sum t^2 >= 100, none of them 5 % of the sum. Of 61,000
believed samples of 2,000 or 8,000 products of two to six squared normals, one had |z| > 5.5 (six, of 8,000 products of five
squares, where few samples are believed); with two to four squares the largest was 4.9. So alarms start at 5.5, but a rate of
false alarms below one in a million nets is shown for no tails as heavy as those of five squares.
"""

import numpy as np

ALARM = 5.5
MANY, LOUD = 8000, 9.0  # of so many draws half as many effective ones do; |z| was below 4 in 3,000 such samples
ENOUGH = 100  # effective draws
LARGEST_SHARE = 0.05


def skewed_z(values: np.ndarray) -> np.ndarray:
    """How many standard errors the mean of values (draws, ...) lies above zero, skewness taken out.

    Infinite where the values are all the same."""
    n = len(values)
    mean = values.mean(0)
    rest = values - mean
    deviation = np.sqrt((rest**2).mean(0))
    still = deviation <= 1e-12 * np.abs(mean)  # float64 rounding of values that are all the same
    safe = np.where(still | (deviation == 0), 1.0, deviation)
    skewness = ((rest / safe) ** 3).mean(0)
    s = mean / safe
    z = np.sqrt(n) * (s + skewness * s**2 / 3 + skewness**2 * s**3 / 27 + skewness / (6 * n))
    return np.where(still | (deviation == 0), np.where(mean == 0, 0.0, np.sign(mean) * np.inf), z)


def alarm(totals: np.ndarray) -> float:
    """The z beyond which this sample's mean is not the expected one by chance; infinite where too few draws make it up."""
    total = totals.sum()
    if not total > 0:
        return ALARM  # all zero
    effective, largest = total**2 / (totals**2).sum(), totals.max() / total
    if effective >= ENOUGH and largest <= LARGEST_SHARE:
        return ALARM
    return LOUD if len(totals) >= MANY and effective >= ENOUGH / 2 and largest <= 2 * LARGEST_SHARE else np.inf


def scale_excess(totals: np.ndarray, low: float, high: float) -> float:
    """z of the mean of measured / predicted beyond the interval; negative inside it."""
    return float(max(skewed_z(totals - high), skewed_z(low - totals)))


def map_excess(maps: np.ndarray, relative: np.ndarray, limit: float) -> float:
    """z of the map's relative error beyond `limit`, by halves of the draws.

    With d = maps - totals * relative (mean zero where the relative map is right), the first half gives a direction u, |u| = 1,
    and in the second half u . E[d] <= |E d|, which is at most limit * sqrt(positions) * E[total]. Then the halves change roles.
    """
    totals = maps.mean(1)
    rest = maps - totals[:, None] * relative
    z = []
    for one, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        direction = rest[one].mean(0)
        length = np.linalg.norm(direction)
        if length == 0:
            return -np.inf
        z.append(float(skewed_z(rest[other] @ (direction / length) - limit * np.sqrt(len(relative)) * totals[other])))
    return max(z)


def pixel_excess(maps: np.ndarray, relative: np.ndarray, limit: float) -> float:
    """The largest z of a single position's error beyond `limit` times the mean; less what looking at many positions gives."""
    totals = maps.mean(1)
    rest = maps - totals[:, None] * relative
    slack = limit * totals[:, None] * np.maximum(relative, 1)
    z = np.maximum(skewed_z(rest - slack), skewed_z(-rest - slack))
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.abs(rest).sum(0) ** 2 / (rest**2).sum(0)
    z = np.where((effective >= ENOUGH) | np.isinf(z), z, -np.inf)
    return float(z.max()) - np.sqrt(2 * np.log(max(len(relative), 1))) / 2


def map_error(maps: np.ndarray, relative: np.ndarray) -> float:
    """The relative map's root mean square error, the noise of the draws taken out."""
    totals = maps.mean(1)
    rest = (maps - totals[:, None] * relative) / totals.mean()
    noise = (rest.var(0, ddof=1) / len(rest)).mean()
    return float(np.sqrt(max((rest.mean(0) ** 2).mean() - noise, 0)))
