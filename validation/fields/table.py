"""The numbers of a field in a table, each with its standard error and its source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.maps.numbers import centre_bias
from lattice import SpecificationError
from lattice.results.values import Result, axis_names
from validation.fields import numbers as of_map

if TYPE_CHECKING:
    from validation.fields.field import EffectiveField

__all__ = ["Number", "all_numbers", "area_ratio"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Number(Result):
    """One number of a field, its standard error over images (NaN where there is none), and where it is defined."""

    name: str
    value: float
    error: float
    source: str

    def __str__(self) -> str:
        error = f" ± {self.error:.2g}" if np.isfinite(self.error) else ""
        return f"{self.value:.4g}{error}"


def area_ratio(field: "EffectiveField", t: float, form: str) -> Number:
    """r(t) of a field, see `EffectiveField.area_ratio`."""
    t = of_map.checked_share(t)
    if form == "free":
        value, error = field.number(lambda mean: of_map.area_ratio(mean, t, field.centre))
        return Number(f"r({t:.0%})", float(value), float(error), "area of the centred square that holds t, scale-free")
    if form not in ("script", "text"):
        raise SpecificationError(f"form is {form!r}; it is 'free', 'script' or 'text'")
    many = field.count if form == "text" else 1
    published = of_map.published_area_ratio(field.mean, t, summed_over=many)

    def interpolated(mean: Array) -> float:
        smooth = of_map.published_area_ratio(mean, t, summed_over=many, interpolated=True)
        return smooth[1] if smooth else float("nan")

    spread = float(field.number(interpolated)[1]) if published else float("nan")
    own = "" if field.statistic in ("rectified", "positive") else " (its scores: statistic 'rectified')"
    source = f"as RepLKNet's {'script' if form == 'script' else 'paper'}, of log10(x + 1){own}"
    return Number(f"r({t:.0%}), {form}", published[1] if published else float("nan"), spread, source)


def all_numbers(field: "EffectiveField", thresholds: Sequence[float]) -> tuple[Number, ...]:
    """Every number of a field, see `EffectiveField.numbers`."""
    of_map.contribution(field.mean)
    names = axis_names(field.mean.ndim)
    forms = ("free", "script", "text") if field.statistic in ("rectified", "positive") else ("free", "script")
    rows = [area_ratio(field, t, form) for form in forms for t in thresholds]
    fit, error = field.gaussian_fit()
    luo = "Luo et al. 2016"
    rows += [Number(f"Gaussian width, {n}s", s, e, luo) for n, s, e in zip(names, fit.sigma, error.sigma, strict=True)]
    rows.append(Number("Gaussian misfit", fit.residual, error.residual, "||map - fit|| / ||map||"))
    rows += [
        Number(f"spread, {n}s", s, e, "standard deviation of position")
        for n, s, e in zip(names, fit.spread, error.spread, strict=True)
    ]
    side = partial(of_map.luo_side, centre=field.centre)
    rows.append(_number(field, "field side", side, f"{luo}: pixels above 4.55 % of the centre"))
    rows.append(_number(field, "centre bias", centre_bias, "middle half of the image / the rest"))
    flips = field.number(partial(of_map.flip_asymmetry, centre=field.centre))
    rows += [
        Number(f"flip asymmetry, {n}s", float(v), float(e), "about the unit") for n, v, e in zip(names, *flips, strict=True)
    ]
    if field.cell is not None:
        leans = field.number(partial(of_map.lean, cell=field.cell))
        rows += [
            Number(f"lean, {n}s", float(v), float(e), "share above the unit - below")
            for n, v, e in zip(names, *leans, strict=True)
        ]
    for period in _periods(field):
        rows.append(
            _number(field, f"gridding, period {period}", partial(of_map.phase_contrast, period=period), "spread over phases")
        )
    return tuple(rows)


def _number(field: "EffectiveField", name: str, statistic: Callable[[Array], Any], source: str) -> Number:
    value, error = field.number(statistic)
    return Number(name, float(value), float(error), source)


def _periods(field: "EffectiveField") -> list[int]:
    """Powers of two up to the layer's stride, and the stride, where they fit into the map four times."""
    if len(field.grid) != field.mean.ndim:
        return []
    stride = max(round(n / g) for n, g in zip(field.mean.shape, field.grid, strict=True))
    candidates = {2**k for k in range(1, stride.bit_length())} | {stride}
    return sorted(p for p in candidates if 1 < p <= min(stride, min(field.mean.shape) // 4))
