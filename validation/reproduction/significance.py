"""What repeats with other seeds can tell: paired differences with their intervals, and whether an ordering is seen in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Difference", "Ordering", "paired"]

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of x - y over seeds, Student's interval around it, and the p-value of no difference (NaN for one seed)."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.mean:+.3g}"
        return f"{self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


def paired(one: Mapping[int, float], other: Mapping[int, float], *, level: float = LEVEL) -> Difference:
    """The difference over the seeds that both have: d_s = x_s - y_s, mean(d) +- t_{n-1} sd(d) / sqrt(n).

    Runs of one seed share their initial weights and the order of their images, so that differences vary less than scores do.

    Parameters
    ----------
    one, other : mapping of int to float
        Seed -> value.
    level : float
        Of the interval.

    Returns
    -------
    Difference
        NaN throughout where no seed is in both.

    Examples
    --------
    >>> print(paired({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.5, 1: 1.0, 2: 2.5}))
    +0.667 [-0.0504, +1.38]
    """
    from scipy import stats

    shared = sorted(one.keys() & other.keys())
    values = np.array([one[seed] - other[seed] for seed in shared])
    nan = float("nan")
    if len(values) < 2:
        return Difference(float(values.mean()) if len(values) else nan, nan, nan, nan, len(values))
    mean, error = float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    ratio = abs(mean) / error if error > 0 else float("inf") if mean else 0.0  # all differences may be one number
    p = float(2 * stats.t.sf(ratio, len(values) - 1))
    return Difference(mean, mean - half, mean + half, p, len(values))


@dataclass(frozen=True)
class Ordering:
    """A statement of the paper about its tables, as values that must all be positive: pairs (x, y) with x > y.

    `verdict`: SEEN where every simultaneous interval (Bonferroni) lies above zero, CONTRADICTED where one lies below,
    NOT DECIDED otherwise.
    """

    text: str
    pairs: Sequence[tuple[Mapping[int, float], Mapping[int, float]]]

    @property
    def differences(self) -> list[Difference]:
        """Of every pair, with intervals that hold together at 95 %."""
        level = 1 - (1 - LEVEL) / max(1, len(self.pairs))
        return [paired(one, other, level=level) for one, other in self.pairs]

    @property
    def verdict(self) -> str:
        """SEEN, CONTRADICTED or NOT DECIDED."""
        found = self.differences
        if any(difference.high < 0 for difference in found):
            return "CONTRADICTED"
        return "SEEN" if found and all(difference.low > 0 for difference in found) else "NOT DECIDED"

    def json(self) -> dict[str, Any]:
        """Plain values."""
        found = self.differences
        return {
            "statement": self.text,
            "verdict": self.verdict,
            "differences": [[d.mean, d.low, d.high] for d in found],
            "right way round": [sum(d.mean > 0 for d in found), len(found)],
        }
