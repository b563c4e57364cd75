"""A study's result as a value: a table of rows, the series that its figure shows, power-law fits, and provenance."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

from lattice import SpecificationError
from lattice.results.files import write_bytes
from lattice.results.values import Result
from validation.runtime.files import write_figure

__all__ = ["Fit", "Provenance", "Series", "Table", "fit_power", "provenance"]

Array = np.ndarray[Any, Any]
COLOURS = ("black", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
MARKERS = "osD^vP"


@dataclass(frozen=True)
class Fit:
    """y = amplitude * x^exponent, with standard errors, and how well it fits: chi-square over its degrees of freedom."""

    exponent: float
    exponent_error: float
    amplitude: float
    amplitude_error: float
    chi_square: float
    freedom: int

    @property
    def probability(self) -> float:
        """The probability of a larger chi-square where the power law is true; NaN without degrees of freedom."""
        return float(stats.chi2(self.freedom).sf(self.chi_square)) if self.freedom > 0 else float("nan")

    def __str__(self) -> str:
        good = f", chi-square {self.chi_square:.1f} over {self.freedom} (p = {self.probability:.2g})" if self.freedom else ""
        return (
            f"{self.amplitude:.3g} x^{self.exponent:.3f}, exponent +- {self.exponent_error:.2g}, "
            f"amplitude +- {self.amplitude_error:.2g}{good}"
        )


def fit_power(x: Sequence[float] | Array, y: Sequence[float] | Array, error: Sequence[float] | Array) -> Fit:
    """Weighted least squares of y = A x^s on the values themselves, not on their logarithms.

    A value that noise has pushed below zero still counts, where taking logarithms would drop it. `error` are the standard
    errors of y, all positive; the exponent's own error is infinite where the values are all noise. Raises
    `SpecificationError` for fewer than two values, or no positive one.

    Parameters
    ----------
    x : Sequence[float] | numpy.ndarray
        Positive.
    y : Sequence[float] | numpy.ndarray
        The values.
    error : Sequence[float] | numpy.ndarray
        Their standard errors.

    Returns
    -------
    Fit
        Factor and exponent with their errors.

    Examples
    --------
    >>> fit = fit_power([1, 2, 4, 8], [0.8, 0.4, 0.2, 0.1], [0.01, 0.01, 0.01, 0.01])
    >>> round(fit.exponent, 6), round(fit.amplitude, 6), fit.freedom
    (-1.0, 0.8, 2)
    """
    x, y, error = (np.asarray(values, dtype=float) for values in (x, y, error))
    if len(x) < 2 or not (error > 0).all() or not (x > 0).all() or not (y > 0).any() or not np.isfinite(y).all():
        raise SpecificationError(
            f"a power law through y = {y.tolist()} at x = {x.tolist()} with errors {error.tolist()}: it takes two values at "
            "least, positive x and errors, and one positive y"
        )
    positive = np.flatnonzero(y > 0)
    if len(np.unique(x[positive])) > 1:
        weights = y[positive] / error[positive]
        slope, intercept = np.polyfit(np.log(x[positive]), np.log(y[positive]), 1, w=weights)
    else:
        slope, intercept = -1.0, float(np.log(y[positive[0]]) + np.log(x[positive[0]]))

    def residuals(parameters: Array) -> Array:
        return np.asarray((np.exp(parameters[0]) * x ** parameters[1] - y) / error)

    found = optimize.least_squares(residuals, [intercept, slope], method="lm", xtol=1e-14, ftol=1e-14)
    amplitude = float(np.exp(found.x[0]))
    at_best = amplitude * x ** found.x[1] / error
    design = np.stack([at_best, at_best * np.log(x)], axis=1)
    sizes = np.linalg.svd(design, compute_uv=False)
    known = bool(np.isfinite(sizes).all() and sizes[-1] > 1e-9 * sizes[0])
    # where the values hold no power of x at all, its exponent is not known
    deviations = np.linalg.norm(np.linalg.pinv(design), axis=1) if known else np.full(2, np.inf)
    return Fit(
        exponent=float(found.x[1]),
        exponent_error=float(deviations[1]),
        amplitude=amplitude,
        amplitude_error=amplitude * float(deviations[0]),
        chi_square=float(2 * found.cost),
        freedom=len(x) - 2,
    )


@dataclass(frozen=True)
class Series:
    """One line of a figure: y at x with the ends of its interval (empty: none), drawn as points or as a line."""

    label: str
    x: tuple[Any, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    line: bool = False


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from: versions, seed, draws, device, threads, and the command that makes them again."""

    versions: dict[str, str]
    seed: int
    draws: int
    device: str
    threads: int
    command: str = ""

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        command = f"`{self.command}`; " if self.command else ""
        return f"{command}seed {self.seed}, {self.draws} draws, {self.device} ({self.threads} threads); {versions}"


def provenance(seed: int, draws: int, device: str = "auto", command: str = "") -> Provenance:
    """The provenance of a run in this process.

    Parameters
    ----------
    seed : int
        Of all that is drawn.
    draws : int
        Initialisations.
    device : str
        On what it ran.
    command : str
        What was called.

    Returns
    -------
    Provenance
        Versions, seed, draws, device, command.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()
    versions = {"python": platform.python_version()}
    for package in ("pilcro", "numpy", "scipy", "torch", *(("torchvision",) if "torchvision" in sys.modules else ())):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return Provenance(versions, seed, draws, f"{device}, {name}", torch.get_num_threads(), command)


@dataclass(frozen=True)
class Table(Result):
    """A study's result. `columns` name the entries of each row; `series` is what `plot` shows; `fits` by what was fitted.

    `axes` names the figure's x and y; `logarithmic` says which of the two are drawn so ("x", "y", "xy" or "").
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    origin: Provenance
    series: tuple[Series, ...] = ()
    fits: dict[str, Fit] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    axes: tuple[str, str] = ("", "")
    logarithmic: str = "xy"
    _made_of = (Provenance, Series, Fit)

    def _facts(self) -> dict[str, Any]:
        return {"title": self.title, "rows": self._rows(), "fits": self.fits, "notes": self.notes, "origin": self.origin}

    def _rows(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def column(self, name: str) -> list[Any]:
        """The entries of one column."""
        if name not in self.columns:
            raise SpecificationError(f"the table has no column {name!r}; it has {', '.join(self.columns)}")
        return [row[self.columns.index(name)] for row in self.rows]

    def markdown(self) -> str:
        """The table, its fits, its notes and its provenance as Markdown."""
        lines = [f"# {self.title}", "", _row(self.columns), _row(["---"] * len(self.columns))]
        lines += [_row([_text(value) for value in row]) for row in self.rows]
        lines += ["", *(f"- {name}: {fit}" for name, fit in self.fits.items()), *(f"- {note}" for note in self.notes)]
        return "\n".join([*lines, "", f"Made by {self.origin}.", ""])

    def plot(self, ax: Any = None) -> Any:
        """Draw the series with their intervals and fits; returns the matplotlib Axes."""
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(7, 4.5), layout="constrained").subplots()
        dots = [series for series in self.series if not series.line]
        for number, series in enumerate(self.series):
            colour = COLOURS[number % len(COLOURS)]
            if series.line:
                ax.plot(series.x, series.y, color=colour, linestyle="--", linewidth=1, label=series.label)
                continue
            bars = None
            if series.low:
                bars = [np.maximum(np.subtract(series.y, series.low), 0), np.maximum(np.subtract(series.high, series.y), 0)]
            x: Any = series.x
            if len(dots) > 1 and "x" in self.logarithmic:  # side by side, so that no interval hides another
                x = np.asarray(x) * 1.03 ** (dots.index(series) - (len(dots) - 1) / 2)
            ax.errorbar(x, series.y, bars, fmt=MARKERS[number % 6], color=colour, capsize=3, markersize=5, label=series.label)
            fit = self.fits.get(series.label)
            if fit is not None and 2 * fit.exponent_error < abs(fit.exponent):  # a slope that is not known is no line
                line = np.geomspace(min(series.x), max(series.x), 50)
                label = f"{fit.amplitude:.2g} x^({fit.exponent:.2f} ± {fit.exponent_error:.2g})"
                ax.plot(line, fit.amplitude * line**fit.exponent, color=colour, linewidth=0.8, label=label)
        if "y" in self.logarithmic:
            ax.set_yscale("log")
            # values at or below zero have no place on this axis; their intervals show as far as the others reach
            errors = [high - y for series in dots for y, high in zip(series.y, series.high, strict=False) if high > y]
            least = min((y for series in dots for y in series.y if y > 0), default=1.0)
            ax.set_ylim(bottom=max(least, min(errors, default=least)) / 2)
        if "x" in self.logarithmic:
            ax.set_xscale("log")
            marks = sorted({value for series in dots for value in series.x})
            ax.set_xticks(marks, [f"{value:g}" for value in marks])
            ax.set_xticks([], minor=True)
        elif dots:
            for label in ax.get_xticklabels():
                label.set(rotation=45, ha="right", rotation_mode="anchor")
        ax.set(title=self.title, xlabel=self.axes[0], ylabel=self.axes[1])
        if self.series:
            ax.legend(frameon=False, fontsize="small")
        return ax

    def write(self, path: Path) -> tuple[Path, ...]:
        """Write PATH.md and, where there is a series to show, PATH.png, each whole or not at all; returns their paths."""
        path = path.with_suffix("") if path.suffix in (".md", ".png") else path
        if not os.path.isdir(path.absolute().parent):
            raise SpecificationError(f"cannot write {path}: the folder {path.absolute().parent} does not exist")
        text, figure = path.with_name(path.name + ".md"), path.with_name(path.name + ".png")
        write_bytes(text, self.markdown().encode())
        if not self.series:
            return (text,)
        write_figure(figure, self.plot().figure, dpi=150)
        return text, figure


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None:
        return ""
    return str(value).replace("|", "\\|").replace("\n", " ")
