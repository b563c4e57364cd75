"""A measured effective receptive field: its map with standard errors, its numbers, and files that hold no code."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from landscape.maps.measures import centre_bias
from lattice import SpecificationError
from lattice.checks import is_whole
from validation.fields import numbers as of_map
from validation.fields.layers import Layer
from validation.montecarlo.estimate import ARRAYS, FACTS, Estimate
from validation.runtime.files import checked_out, digest, read_arrays, write_arrays, write_bytes

__all__ = ["EffectiveField", "Number"]

Array = np.ndarray[Any, Any]

FORMAT = "pilcro field 1"
OWN = ("layer", "unit", "statistic", "images", "over", "grid", "cell")  # what a file says beside the estimate
ENDINGS = (".npz", ".safetensors")
AXES = {1: ("position",), 2: ("row", "column"), 3: ("slice", "row", "column")}


@dataclass(frozen=True)
class Number:
    """One number of a field, its standard error over images (NaN where there is none), and where it is defined."""

    name: str
    value: float
    error: float
    source: str

    def __str__(self) -> str:
        error = f" ± {self.error:.2g}" if np.isfinite(self.error) else ""
        return f"{self.value:.4g}{error}"


@dataclass(frozen=True, eq=False)
class EffectiveField:
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

    @classmethod
    def of(
        cls, estimate: Estimate, layer: Layer, index: tuple[int, ...] | None, statistic: str, images: str, over: str
    ) -> Self:
        """The field of a unit of a layer.

        Parameters
        ----------
        estimate : Estimate
            The measured map.
        layer : Layer
            The layer, as `validation.fields.layers.find_layer` describes it.
        index : tuple of int or None
            Index of the unit; None for the mean over all.
        statistic : str
            What was averaged.
        images : str
            Which images.
        over : {"image", "draw"}
            What the mean is over.

        Returns
        -------
        EffectiveField
            The field.
        """
        return cls(estimate, layer.name, index, statistic, images, over, layer.grid, layer.cell(index))

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
        from landscape.maps.measures import importance

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
        t = of_map.checked_share(t)
        if form == "free":
            value, error = self.number(lambda mean: of_map.area_ratio(mean, t, self.centre))
            return Number(f"r({t:.0%})", float(value), float(error), "area of the centred square that holds t, scale-free")
        if form not in ("script", "text"):
            raise SpecificationError(f"form is {form!r}; it is 'free', 'script' or 'text'")
        many = self.count if form == "text" else 1
        found = of_map.published_area_ratio(self.mean, t, summed_over=many)

        def interpolated(mean: Array) -> float:
            smooth = of_map.published_area_ratio(mean, t, summed_over=many, interpolated=True)
            return smooth[1] if smooth else float("nan")

        spread = float(self.number(interpolated)[1]) if found else float("nan")
        own = "" if self.statistic in ("rectified", "positive") else " (its scores: statistic 'rectified')"
        source = f"as RepLKNet's {'script' if form == 'script' else 'paper'}, of log10(x + 1){own}"
        return Number(f"r({t:.0%}), {form}", found[1] if found else float("nan"), spread, source)

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
        of_map.contribution(self.mean)
        names = AXES.get(self.mean.ndim, tuple(f"axis {a}" for a in range(self.mean.ndim)))
        forms = ("free", "script", "text") if self.statistic in ("rectified", "positive") else ("free", "script")
        found = [self.area_ratio(t, form) for form in forms for t in thresholds]
        fit, error = self.gaussian_fit()
        luo = "Luo et al. 2016"
        found += [Number(f"Gaussian width, {n}s", s, e, luo) for n, s, e in zip(names, fit.sigma, error.sigma, strict=True)]
        found.append(Number("Gaussian misfit", fit.residual, error.residual, "||map - fit|| / ||map||"))
        found += [
            Number(f"spread, {n}s", s, e, "standard deviation of position")
            for n, s, e in zip(names, fit.spread, error.spread, strict=True)
        ]
        side = partial(of_map.luo_side, centre=self.centre)
        found.append(self._number("field side", side, f"{luo}: pixels above 4.55 % of the centre"))
        found.append(self._number("centre bias", centre_bias, "middle half of the image / the rest"))
        flips = self.number(partial(of_map.flip_asymmetry, centre=self.centre))
        found += [
            Number(f"flip asymmetry, {n}s", float(v), float(e), "about the unit") for n, v, e in zip(names, *flips, strict=True)
        ]
        if self.cell is not None:
            leans = self.number(partial(of_map.lean, cell=self.cell))
            found += [
                Number(f"lean, {n}s", float(v), float(e), "share above the unit - below")
                for n, v, e in zip(names, *leans, strict=True)
            ]
        for period in self._periods():
            found.append(
                self._number(f"gridding, period {period}", partial(of_map.phase_contrast, period=period), "spread over phases")
            )
        return tuple(found)

    def _number(self, name: str, statistic: Callable[[Array], Any], source: str) -> Number:
        value, error = self.number(statistic)
        return Number(name, float(value), float(error), source)

    def _periods(self) -> list[int]:
        """Powers of two up to the layer's stride, and the stride, where they fit into the map four times."""
        if len(self.grid) != self.mean.ndim:
            return []
        stride = max(round(n / g) for n, g in zip(self.mean.shape, self.grid, strict=True))
        candidates = {2**k for k in range(1, stride.bit_length())} | {stride}
        return sorted(p for p in candidates if 1 < p <= min(stride, min(self.mean.shape) // 4))

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

    def to_dict(self, *, arrays: bool = True) -> dict[str, Any]:
        """Everything that `--json` prints: facts, numbers, and the maps as nested lists.

        Parameters
        ----------
        arrays : bool, default True
            Whether the maps are in it.

        Returns
        -------
        dict
            Plain values, which JSON can hold.
        """
        content = self._facts() | {"shape": list(self.mean.shape), "count": self.count, "seed": self.estimate.seed}
        content |= {
            "device": self.estimate.device,
            "versions": dict(self.estimate.versions),
            "interrupted": self.estimate.interrupted,
        }
        if (self.mean >= 0).all():
            content["numbers"] = [
                {
                    key: None if isinstance(value, float) and not np.isfinite(value) else value
                    for key, value in asdict(number).items()
                }
                for number in self.numbers()
            ]
        if arrays:
            content |= {"mean": self.mean.tolist(), "standard_error": self.standard_error.tolist()}
        return content

    def to_dataframe(self) -> Any:
        """A tidy table: a row per pixel, with its position, mean, standard error, and share of the influence.

        Returns
        -------
        pandas.DataFrame
            The table; there is no share where the map has negative entries.

        Raises
        ------
        SpecificationError
            If pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-untyped, unused-ignore]
        except ImportError as error:
            raise SpecificationError("to_dataframe() needs pandas: pip install pandas; or take .to_dict()") from error
        names = AXES.get(self.mean.ndim, tuple(f"axis_{a}" for a in range(self.mean.ndim)))
        columns = dict(zip(names, (axis.ravel() for axis in np.indices(self.mean.shape)), strict=True))
        columns |= {"mean": self.mean.ravel(), "standard_error": self.standard_error.ravel()}
        if (self.mean >= 0).all():
            columns["share"] = self.share.ravel()
        return pandas.DataFrame(columns)

    def _facts(self) -> dict[str, Any]:
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
        path = Path(path)
        checked_out(path, ENDINGS, option="save")
        estimate = {name: getattr(self.estimate, name) for name in FACTS} | {"versions": dict(self.estimate.versions)}
        header = {"format": FORMAT, **self._facts(), "estimate": estimate}
        arrays = {name: np.ascontiguousarray(getattr(self.estimate, name)) for name in ARRAYS}
        if path.suffix.lower() == ".npz":
            write_arrays(path, header, arrays)
        else:
            from safetensors.numpy import save

            marked = json.dumps({**header, "sha256": digest(header, arrays)})
            write_bytes(path, save(arrays, {"pilcro": marked}))
        return path

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
        path = Path(path)
        header, arrays = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else read_arrays(path)
        if header.pop("format", None) != FORMAT or set(header) != {*OWN, "estimate"} or set(arrays) != set(ARRAYS):
            raise SpecificationError(f"{path} is no field; EffectiveField.load reads what EffectiveField.save wrote")
        facts = header.pop("estimate")
        if not isinstance(facts, dict) or set(facts) != set(FACTS):
            raise SpecificationError(f"{path} is no field of this version")
        contents: dict[str, Any] = {**facts, **arrays}
        try:
            found = cls(Estimate(**contents), **_placed(header))
        except (TypeError, ValueError) as error:
            raise SpecificationError(f"{path} is no field: {error}") from error
        found._check(path)
        return found

    def _check(self, path: Path) -> None:
        """Refuse arrays and facts that do not fit together."""
        shape, blocks = self.mean.shape, len(self.estimate.block_draws)
        arrays = [getattr(self.estimate, name) for name in ARRAYS]
        shapes = [array.shape for array in arrays[:4]]
        texts = (self.layer, self.statistic, self.images, self.over)
        if (
            shapes != [shape, shape, (blocks, *shape), (blocks,)]
            or any(array.dtype.kind not in "if" for array in arrays)
            or not all(isinstance(text, str) for text in texts)
            or not all(is_whole(n) for n in (self.count, self.estimate.seed, *self.grid, *(self.unit or ())))
            or (self.cell is not None and len(self.cell) != len(shape))
        ):
            raise SpecificationError(f"{path} is no field: its arrays of shapes {shapes} and its facts do not fit together")

    def plot(self, ax: Any = None, *, scale: str = "linear") -> Any:
        """Draw the map, with the unit marked.

        Parameters
        ----------
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.
        scale : {"linear", "log"}, default "linear"
            Scale of the colours.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from validation.fields.drawing import plot_field

        return plot_field(self, ax, scale=scale)

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


def _placed(header: dict[str, Any]) -> dict[str, Any]:
    """The facts of a file with tuples for lists."""
    unit, cell = header["unit"], header["cell"]
    edges = None if cell is None else tuple((int(first), int(stop)) for first, stop in cell)
    return {**header, "grid": tuple(header["grid"]), "unit": None if unit is None else tuple(unit), "cell": edges}


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise SpecificationError(f"there is no file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["pilcro"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        stated = header.pop("sha256")
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise SpecificationError(f"{path} is damaged or was not written by this project: {error}") from error
    if stated != digest(header, arrays):
        raise SpecificationError(f"{path} is damaged: its content does not have the hash that it was written with")
    return header, arrays
