"""A measured effective receptive field: its map with standard errors, its numbers, and files that hold no code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from lattice.results.values import MapResult
from validation.fields import numbers as of_map
from validation.fields.files import OWN, check_field, read_field, write_field
from validation.fields.table import Number, all_numbers, area_ratio
from validation.montecarlo.estimate import Estimate

__all__ = ["EffectiveField"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class EffectiveField(MapResult):
    """Where one unit of a layer looks: a measured map of its input gradients, as `effective_receptive_field` returns it.

    Parameters
    ----------
    estimate : Estimate
        The mean map over images or initialisations, its standard error and the sums that both come from.
    layer : str
        Name of the layer ("" for the output).
    unit : tuple of int or None
        Index into the layer's positions; None for the mean over all.
    statistic : {"squared", "absolute", "signed", "rectified", "positive"}
        What was averaged.
    images : str
        Which images.
    over : {"image", "draw"}
        What the mean is over.
    grid : tuple of int
        The layer's units as they tile the input.
    cell : tuple of tuple of int, or None
        The pixels [first, stop) per axis that the unit stands for; None where it stands for none.
    """

    estimate: Estimate = field(repr=False)
    layer: str
    unit: tuple[int, ...] | None
    statistic: str
    images: str
    over: str
    grid: tuple[int, ...]
    cell: tuple[tuple[int, int], ...] | None
    _made_of = (Estimate,)

    @property
    def mean(self) -> Array:
        """The mean map: float64 over input positions."""
        return self.estimate.mean

    @property
    def standard_error(self) -> Array:
        """Its standard error over images or draws."""
        return self.estimate.standard_error

    @property
    def count(self) -> int:
        """How many images or draws."""
        return self.estimate.draws

    @property
    def relative(self) -> Array:
        """The map with mean one."""
        return self.estimate.relative

    @property
    def share(self) -> Array:
        """The map with sum one: the share of the influence that each pixel has."""
        values = of_map.contribution(self.mean)
        return np.asarray(values / values.sum())

    @property
    def importance(self) -> Array:
        """I' of Eq. 14: the map with mean square one."""
        from landscape.maps.numbers import importance

        return importance(self.mean)

    @property
    def centre(self) -> tuple[float, ...]:
        """The middle of the unit's cell in pixels (cell i stands at i); of the image, for a unit that stands nowhere."""
        cell = self.cell or tuple((0, n) for n in self.mean.shape)
        return tuple((first + stop - 1) / 2 for first, stop in cell)

    @property
    def title(self) -> str:
        """The unit in words."""
        where = "mean over all units" if self.unit is None else f"unit {', '.join(map(str, self.unit))}"
        return f"{self.layer or 'output'}, {where}"

    def number(self, statistic: Callable[[Array], Any]) -> tuple[Array, Array]:
        """Any number of the mean map, with its standard error (the jackknife over images).

        Parameters
        ----------
        statistic : callable
            From a mean map, float64 over input positions, to a number or an array.

        Returns
        -------
        value : ndarray
            The number of the mean map.
        standard_error : ndarray
            Its standard error, of the same shape.
        """
        counts = self.estimate.block_draws
        sums = self.estimate.blocks * counts.reshape(-1, *(1 for _ in self.mean.shape))
        return of_map.with_error(statistic, sums, counts)

    def area_ratio(self, t: float, form: str = "free") -> Number:
        """r(t), the high-contribution area ratio: how much of the image holds the share t of the influence.

        The standard error is that of the interpolated number. See `validation.fields.numbers`.

        Parameters
        ----------
        t : float
            Share of the influence, between 0 and 1.
        form : {"free", "script", "text"}, default "free"
            "free" of scale, as RepLKNet's "script" has it, or as its "text" has it.

        Returns
        -------
        Number
            The ratio and its standard error; NaN where the script returns none.

        Raises
        ------
        SpecificationError
            If `form` is something else, or t is no share.
        """
        return area_ratio(self, t, form)

    def gaussian_fit(self) -> tuple[of_map.Gaussian, of_map.Gaussian]:
        """The least-squares Gaussian (Luo et al., 2016), and the standard errors of its numbers.

        Returns
        -------
        fit : Gaussian
            Centre, width, amplitude, misfit and spread, in pixels.
        errors : Gaussian
            Standard error of each.
        """
        fit = self._gaussian
        axes = self.mean.ndim

        def flat(mean: Array) -> Array:
            found = of_map.gaussian_fit(mean, fit)
            return np.array([*found.centre, *found.sigma, found.amplitude, found.residual, *found.spread])

        e = self.number(flat)[1].tolist()
        rest = 2 * axes
        return fit, of_map.Gaussian(tuple(e[:axes]), tuple(e[axes:rest]), e[rest], e[rest + 1], tuple(e[rest + 2 :]))

    @cached_property
    def _gaussian(self) -> of_map.Gaussian:
        return of_map.gaussian_fit(self.mean)

    def numbers(self, thresholds: Sequence[float] = of_map.THRESHOLDS) -> tuple[Number, ...]:
        """All numbers that describe the field, with their sources and standard errors.

        Parameters
        ----------
        thresholds : sequence of float
            Shares t of the area ratios.

        Returns
        -------
        tuple of Number
            Area ratios, Gaussian fit, side, centre bias, flip asymmetry, lean and gridding.

        Raises
        ------
        SpecificationError
            If the map has negative entries (statistic "signed").
        """
        return all_numbers(self, thresholds)

    def report(self, thresholds: Sequence[float] = of_map.THRESHOLDS) -> str:
        """The numbers as a table in text.

        Parameters
        ----------
        thresholds : sequence of float
            Shares t of the area ratios.

        Returns
        -------
        str
            One line per number: name, value with standard error, source.
        """
        rows = [(number.name, str(number), number.source) for number in self.numbers(thresholds)]
        wide = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{name:<{wide[0]}}  {value:<{wide[1]}}  {source}" for name, value, source in rows)

    # --- what others take up

    def _facts(self) -> dict[str, Any]:
        names = ("count", "seed", "device", "versions", "interrupted")
        of_estimate = {name: self.count if name == "count" else getattr(self.estimate, name) for name in names}
        numbers = {"numbers": self.numbers()} if (self.mean >= 0).all() else {}
        return {**self._own(), **of_estimate, **numbers}

    def _maps(self) -> dict[str, Array]:
        share = {"share": self.share} if (self.mean >= 0).all() else {}
        return {"mean": self.mean, "standard_error": self.standard_error, **share}

    def _own(self) -> dict[str, Any]:
        """What a file says beside the estimate."""
        cell = None if self.cell is None else [list(edges) for edges in self.cell]
        unit = None if self.unit is None else list(self.unit)
        return {**{name: getattr(self, name) for name in OWN}, "cell": cell, "unit": unit, "grid": list(self.grid)}

    def save(self, path: str | Path) -> Path:
        """Write all of it to one file: arrays, and a JSON header with their hash.

        Parameters
        ----------
        path : str or Path
            FILE.npz or FILE.safetensors.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        SpecificationError
            If the name ends otherwise, or the folder does not exist.
        """
        return write_field(Path(path), self._own(), self.estimate)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The field that `save` wrote.

        Parameters
        ----------
        path : str or Path
            FILE.npz or FILE.safetensors.

        Returns
        -------
        EffectiveField
            Equal to the one that was saved.

        Raises
        ------
        SpecificationError
            If the file is damaged, or one of another kind.
        """
        estimate, facts = read_field(Path(path))
        loaded = cls(estimate, **facts)
        check_field(loaded, Path(path))
        return loaded

    def plot(self, ax: Any = None, *, scale: str = "linear", **style: Any) -> Any:
        """Draw the map, with the unit marked.

        Parameters
        ----------
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.
        scale : {"linear", "log"}, default "linear"
            Scale of the colours.
        **style : dict
            What matplotlib's `imshow` takes (cmap, vmin, vmax, norm), on one axis what `plot` takes beside vmin and vmax.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from validation.fields.drawing import plot_field

        return plot_field(self, ax, scale=scale, **style)

    def overlay(self, image: Any, ax: Any = None) -> Any:
        """Draw an image, darkened where the unit does not look.

        Parameters
        ----------
        image : array_like
            (channels, rows, columns).
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from validation.fields.drawing import plot_overlay

        return plot_overlay(self, image, ax)

    def _repr_html_(self) -> str:
        from validation.fields.drawing import field_html

        return field_html(self)

    def __repr__(self) -> str:
        typical = float(
            np.linalg.norm(self.standard_error / np.abs(self.mean).max()) / np.linalg.norm(self.mean / np.abs(self.mean).max())
        )
        stopped = " (interrupted)" if self.estimate.interrupted else ""
        return (
            f"effective receptive field of {self.title} over {' x '.join(map(str, self.mean.shape))} positions: "
            f"{self.statistic}, {self.count} {self.over}s{stopped}, error {typical:.1%} of the map"
        )
