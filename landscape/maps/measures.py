"""The report on a map: all its numbers at once, with the errors that counted gates leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from landscape.maps.numbers import (
    centre_bias,
    effective_area,
    flip_asymmetry,
    gridding,
    importance,
    laplacian_energy,
    relative,
    total_variation,
)
from lattice.results.values import Result

__all__ = [
    "center_bias", "centre_bias", "effective_area", "flip_asymmetry", "gridding", "importance", "laplacian_energy", "relative",
    "total_variation", "Report", "deviations", "is_noise", "report", "shown",
]  # fmt: skip

Array = np.ndarray[Any, Any]
center_bias = centre_bias  # as American English spells it


@dataclass(frozen=True)
class Report(Result):
    """The numbers that describe a landscape; each is defined by the function of its name.

    Parameters
    ----------
    centre_bias : float
        Mean of the middle half / mean of the rest.
    unreachable : float
        Share of the pixels without a path.
    faint : float
        Share of the pixels below 1 % of the mean.
    gridding : dict of int to float
        By period, the standard deviation of the phase means.
    flip_asymmetry : tuple of float
        Per axis, of the mean.
    total_variation : float
        Mean squared difference of neighbouring pixels of I'.
    laplacian_energy : float
        Variance of the Laplacian of I'.
    effective_area : dict of float to float
        By share of the map, the fraction of the pixels that holds it.
    errors : Report or None, default None
        What the noise of counted gates alone gives on a flat map, one standard error of each number (of the squares, total
        variation and Laplacian energy, the mean of what it adds); None where nothing was counted.
    """

    centre_bias: float
    unreachable: float
    faint: float
    gridding: dict[int, float]
    flip_asymmetry: tuple[float, ...]
    total_variation: float
    laplacian_energy: float
    effective_area: dict[float, float]
    errors: Report | None = None

    @property
    def center_bias(self) -> float:
        """`centre_bias`, as American English spells it."""
        return self.centre_bias

    def _repr_html_(self) -> str:
        from landscape.display.html import report_html

        return report_html(self)

    def __str__(self) -> str:
        no = self.errors
        pairs = zip(self.flip_asymmetry, no.flip_asymmetry if no else (0.0,) * len(self.flip_asymmetry), strict=True)
        flips = ", ".join(shown(value, error) for value, error in pairs)
        grids = ", ".join(
            f"{shown(value, no.gridding[period] if no else 0.0)} at period {period}" for period, value in self.gridding.items()
        )
        areas = ", ".join(f"{value:.0%} of the pixels hold {share:.0%}" for share, value in self.effective_area.items())
        centre = (
            f"1 to {2 * no.centre_bias:.2f}"
            if no and is_noise(self.centre_bias - 1, no.centre_bias)
            else f"{self.centre_bias:.2f}"
        )
        rough = no is not None and is_noise(self.total_variation**0.5, no.total_variation**0.5)
        variation = f"under {4 * no.total_variation:.3g}" if no and rough else f"{self.total_variation:.3g}"
        return "\n".join(
            [
                f"centre bias      {centre}   (middle half of each axis / the rest)",
                f"blind spots      {self.unreachable:.1%} of pixels have no path, {self.faint:.1%} under 1% of the mean",
                f"gridding         {grids or 'no stride'}",
                f"flip asymmetry   {flips}   (per axis, of the mean)",
                f"total variation  {variation}   Laplacian energy {self.laplacian_energy:.3g}   (Eq. 14)",
                f"effective area   {areas}",
            ]
        )


def is_noise(value: float, error: float) -> bool:
    """Whether a difference from a flat map is less than twice what the noise of counted gates alone gives.

    Parameters
    ----------
    value : float
        The difference.
    error : float
        Its standard error.

    Returns
    -------
    bool
        True if it may be noise.

    Examples
    --------
    >>> is_noise(0.1, 0.06)
    True
    """
    return abs(value) < 2 * error


def shown(value: float, error: float) -> str:
    """A share of the mean in per cent, or the bound that noise puts on it.

    Parameters
    ----------
    value : float
        The share.
    error : float
        Its standard error.

    Returns
    -------
    str
        The share, or "under" and twice the error where it may be noise.

    Examples
    --------
    >>> shown(0.089, 0.01), shown(0.089, 0.06), shown(0.0001, 0.0001)
    ('8.9%', 'under 12.0%', '0.0%')
    """
    bound = f"{2 * error:.1%}"
    return f"under {bound}" if is_noise(value, error) and bound != f"{0:.1%}" else f"{value:.1%}"


def report(squared: Array, periods: Sequence[int] = (), replicates: Sequence[Array] = ()) -> Report:
    """All the numbers of a map at once.

    Parameters
    ----------
    squared : array_like
        Expected squared gradients over input positions, or anything proportional to them.
    periods : sequence of int, default ()
        Periods at which a grid is looked for, where they fit four times into every axis.
    replicates : sequence of ndarray, default ()
        The same map with one part of what was counted left out each; the `errors` follow from them.

    Returns
    -------
    Report
        The numbers.

    Examples
    --------
    >>> report(np.ones(8), periods=[2]).gridding
    {2: 0.0}
    """
    scaled = relative(squared)
    fitting = [p for p in periods if 1 < p <= min(scaled.shape) // 4]
    return replace(_numbers(scaled, fitting), errors=_errors(replicates, fitting) if len(replicates) > 1 else None)


def _numbers(scaled: Array, periods: Sequence[int]) -> Report:
    return Report(
        centre_bias=centre_bias(scaled),
        unreachable=float(np.mean(scaled == 0)),
        faint=float(np.mean(scaled < 0.01)),
        gridding={p: gridding(scaled, p) for p in periods},
        flip_asymmetry=flip_asymmetry(scaled),
        total_variation=total_variation(scaled),
        laplacian_energy=laplacian_energy(scaled),
        effective_area={share: effective_area(scaled, share) for share in (0.5, 0.9, 0.99)},
    )


def deviations(replicates: Sequence[Array]) -> Array:
    """sqrt(G - 1) (map without part g - mean of these): as large as the standard error of the whole map (jackknife).

    Parameters
    ----------
    replicates : sequence of ndarray
        The map with one of G parts left out each.

    Returns
    -------
    ndarray, shape (G, *positions)
        The deviations.

    Examples
    --------
    >>> deviations([np.array([1.0]), np.array([3.0])]).tolist()
    [[-1.0], [1.0]]
    """
    maps = np.stack([np.asarray(one) for one in replicates])
    return np.asarray(np.sqrt(len(maps) - 1) * (maps - maps.mean(axis=0)))


def _errors(replicates: Sequence[Array], periods: Sequence[int]) -> Report:
    """What the noise of each replicate makes of a flat map, as root mean squares over the replicates.

    The noise itself and not the spread of a number over replicates: a number that is never negative, such as an asymmetry,
    is that of the noise where there is nothing else, and hardly spreads.
    """
    noisy = [_numbers(np.maximum(1 + part, 0), periods) for part in deviations([relative(one) for one in replicates])]

    def size(values: Sequence[float]) -> float:
        return float(np.linalg.norm(values) / len(values) ** 0.5)

    return Report(
        centre_bias=size([one.centre_bias - 1 for one in noisy]),
        unreachable=0.0,
        faint=size([one.faint for one in noisy]),
        gridding={p: size([one.gridding[p] for one in noisy]) for p in periods},
        flip_asymmetry=tuple(size(values) for values in zip(*(one.flip_asymmetry for one in noisy), strict=True)),
        total_variation=float(np.mean([one.total_variation for one in noisy])),
        laplacian_energy=float(np.mean([one.laplacian_energy for one in noisy])),
        effective_area={
            share: size([effective - share for effective in (one.effective_area[share] for one in noisy)])
            for share in noisy[0].effective_area
        },
    )
