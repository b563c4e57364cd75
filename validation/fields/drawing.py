"""Figures and notebook views of fields: functions of results that take `ax=` and return Axes. No computation happens here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.display.html import side_by_side, table
from landscape.maps.plot import axes_or_new, draw_image, draw_line, plot_profile
from lattice import SpecificationError
from validation.report.html import ORANGE, measured_svgs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from validation.fields.field import EffectiveField
    from validation.fields.halo import Halo
    from validation.fields.predicted import Beside

__all__ = ["field_html", "plot_beside", "plot_field", "plot_fields", "plot_growth", "plot_halo", "plot_overlay"]

Array = np.ndarray[Any, Any]

DECADES = 4  # of a logarithmic scale
SCALES = ("linear", "log")
NO_STYLE: Mapping[str, Any] = {}


def plot_field(
    field: EffectiveField, ax: Axes | None = None, *, scale: str = "linear", title: str | None = None, **style: Any
) -> Axes:
    """The map over its largest value, the unit's cell outlined; "log" shows four decades. Three axes: the slice of the unit."""
    ax = axes_or_new(ax)
    size = float(np.abs(field.mean).max())
    _draw(field, ax, field.mean / size, scale, field.standard_error / size, style)
    ax.set_title(title or f"{field.title}\n{field.statistic}, {field.count} {field.over}s", fontsize=9)
    return ax


def _draw(
    field: EffectiveField, ax: Axes, values: Array, scale: str, error: Array | None = None, style: Mapping[str, Any] = NO_STYLE
) -> None:
    """Values over their largest at the field's positions."""
    if scale not in SCALES:
        raise SpecificationError(f"scale is {scale!r}; it is {' or '.join(SCALES)}")
    if values.ndim == 1:
        _draw_line(field, ax, values, scale, error, style)
        return
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    values = _slice(field, values)
    signed = bool((values < 0).any())
    if scale == "log" and not signed:
        image = draw_image(ax, np.maximum(values, 10.0**-DECADES), style, norm=LogNorm(10.0**-DECADES, 1))
    else:
        image = draw_image(ax, values, {"cmap": "PuOr", **style} if signed else style, vmin=-1 if signed else 0, vmax=1)
    if field.cell is not None:
        (top, bottom), (left, right) = field.cell[-2:]
        corner = (left - 0.5, top - 0.5)
        ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=ORANGE, linewidth=1))
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04).set_label("contribution / largest")


def _draw_line(
    field: EffectiveField, ax: Axes, values: Array, scale: str, error: Array | None, style: Mapping[str, Any]
) -> None:
    position = np.arange(len(values))
    draw_line(ax, values, {"color": ORANGE if error is not None else "black", **style})
    if error is not None:
        ax.fill_between(position, values - 2 * error, values + 2 * error, color=ORANGE, alpha=0.25, linewidth=0)
    if scale == "log" and not (values < 0).any():
        ax.set_yscale("log")
        ax.set_ylim(style.get("vmin", 10.0**-DECADES), style.get("vmax", 2))
    ax.set(xlabel="input position", ylabel="contribution / largest")
    if field.cell is not None:
        ax.axvspan(field.cell[0][0] - 0.5, field.cell[0][1] - 0.5, color="grey", alpha=0.2, linewidth=0)


def plot_fields(fields: Mapping[str, EffectiveField], *, scale: str = "log") -> Figure:
    """Several fields beside each other, each over its own largest value, named; returns the Figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(fields), 3.6), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False)
    for ax, (name, field) in zip(axes[0], fields.items(), strict=True):
        plot_field(field, ax, scale=scale, title=name)
    return figure


def plot_growth(fields: Mapping[str, EffectiveField]) -> Figure:
    """How the field grows over layers: the side of the square that holds half and 99 % of it, with two standard errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.0, 0.7 * len(fields) + 3), 4), layout="constrained")
    ax = figure.subplots()
    names = list(fields)
    for t, colour in ((0.5, "black"), (0.99, ORANGE)):
        found = [fields[name].area_ratio(t) for name in names]
        ratio, error = (np.array(column) for column in zip(*((one.value, one.error) for one in found), strict=True))
        axes = next(iter(fields.values())).mean.ndim
        side = ratio ** (1 / axes)  # of the image's side
        bars = np.divide(2 * error * side, axes * ratio, out=np.zeros_like(side), where=ratio > 0)
        ax.errorbar(np.arange(len(names)), side, bars, marker="o", color=colour, label=f"{t:.0%} of the influence", capsize=2)
    ax.set_xticks(np.arange(len(names)), [name or "output" for name in names], rotation=40, ha="right", fontsize=8)
    ax.set(ylabel="side of the square / side of the image", ylim=(0, 1.05), title="effective receptive field by layer")
    ax.legend(frameon=False)
    return figure


def plot_halo(found: Halo, ax: Axes | None = None) -> Axes:
    """The share of the influence beyond h pixels, measured with two standard errors and predicted, and the overlap."""
    ax = axes_or_new(ax)
    shown = np.flatnonzero(found.beyond > 0)
    h = np.arange(int(shown[-1]) + 2 if shown.size else 1)
    beyond, error = (values[: len(h)] for values in (found.beyond, found.beyond_error))
    least = float(beyond[beyond > 0].min()) if (beyond > 0).any() else 1e-3
    ax.plot(
        h[: len(beyond)],
        np.where(beyond > 0, beyond, np.nan),
        color=ORANGE,
        label=f"measured, {found.field.count} {found.field.over}s",
    )
    low = np.maximum(beyond - 2 * error, least / 10)
    high = np.maximum(beyond + 2 * error, low)
    ax.fill_between(h[: len(beyond)], low, high, where=(beyond > 0).tolist(), color=ORANGE, alpha=0.25, linewidth=0)
    if found.predicted is not None:
        predicted = np.where(found.predicted > 0, found.predicted, np.nan)
        ax.plot(np.arange(len(predicted)), predicted, color="black", linestyle="--", label=f"predicted {found.source}")
    ax.axhline(max(1 - found.keep, least / 10), color="grey", linestyle=":", linewidth=0.8)
    ax.axvline(found.overlap, color="grey", linestyle=":", linewidth=0.8, label=f"{found.overlap} px keep {found.keep:.4g}")
    ax.set(
        yscale="log",
        xlabel="h (pixels outside the unit's cell)",
        ylabel="share of the influence beyond h",
        title=found.field.title,
    )
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_beside(found: Beside, *, scale: str = "log") -> Figure:
    """The measured field, the predicted one where there is one, and the profiles of both with two standard errors."""
    from matplotlib.figure import Figure

    field = found.field
    figure = Figure(figsize=(12 if found.land is not None else 8, 3.9), layout="constrained")
    axes = figure.subplots(1, 3 if found.land is not None else 2)
    plot_field(field, axes[0], scale=scale)
    if found.land is not None:
        guarantee = found.land.guarantee.name.lower().replace("_", " ")
        _draw(field, axes[1], found.land.squared / found.land.squared.max(), scale)
        axes[1].set_title(f"predicted at initialisation\n({guarantee})", fontsize=9)
        plot_profile(_profile(field, found.land.relative), axes[-1], label="predicted", color="black", zorder=3)
    error = _profile(field, field.estimate.relative_error)
    measured = _profile(field, field.relative)
    plot_profile(measured, axes[-1], label="measured, two standard errors", error=error, color=ORANGE, linestyle="--")
    axes[-1].set_title("profile through the unit", fontsize=9)
    axes[-1].set(xlabel="column (pixels)" if field.mean.ndim > 1 else "input position", ylabel="contribution / mean")
    axes[-1].legend(frameon=False, fontsize="small")
    return figure


def plot_overlay(field: EffectiveField, image: Any, ax: Axes | None = None) -> Axes:
    """An image (channels, rows, columns) in grey or colour, its brightness scaled by the field on a logarithmic scale."""
    picture = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image, dtype=float)
    if picture.ndim != 3 or picture.shape[1:] != field.mean.shape or field.mean.ndim != 2:
        raise SpecificationError(
            f"the image has shape {picture.shape}; give (channels, {', '.join(map(str, field.mean.shape))}): "
            "an overlay is of a field of two axes"
        )
    shown = picture if picture.shape[0] in (1, 3) else picture.mean(axis=0, keepdims=True)
    low, high = float(shown.min()), float(shown.max())
    shown = (shown - low) / (high - low) if high > low else np.full_like(shown, 0.5)
    values = np.abs(field.mean) / np.abs(field.mean).max()
    seen = 1 + np.log10(np.maximum(values, 10.0**-DECADES)) / DECADES  # 1 at the largest, 0 four decades below
    ax = axes_or_new(ax)
    colour = np.broadcast_to(shown.transpose(1, 2, 0), (*shown.shape[1:], 3))
    ax.imshow(colour * (0.15 + 0.85 * seen[..., None]))
    ax.contour(values, levels=[0.0455], colors=ORANGE, linewidths=0.8)
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
    ax.set_title(f"{field.title}: outlined above 4.55 % of the largest", fontsize=9)
    return ax


def field_html(field: EffectiveField) -> str:
    """The map, its standard errors, and the numbers, for notebooks and reports."""
    rows = [("layer, unit", field.title), ("statistic", field.statistic), (f"{field.over}s", f"{field.count}, {field.images}")]
    if (field.mean < 0).any():
        values, error = field.mean / np.abs(field.mean).max(), field.standard_error / np.abs(field.mean).max()
        return side_by_side([*measured_svgs(values, error, f"signed field of {field.title}"), table(rows)])
    wanted = ("r(20%)", "r(50%)", "r(99%)", "Gaussian misfit", "field side")
    rows += [(one.name, str(one)) for one in field.numbers() if one.name in wanted or one.name.startswith("Gaussian width")]
    drawings = measured_svgs(
        field.relative, field.estimate.relative_error, f"field of {field.title}, {field.count} {field.over}s"
    )
    return side_by_side([*drawings, table(rows)])


def _slice(field: EffectiveField, values: Array) -> Array:
    """Of three axes the slice through the unit."""
    return values[round(field.centre[0])] if values.ndim == 3 else values


def _profile(field: EffectiveField, values: Array) -> Array:
    """Along the last axis, through the unit."""
    shown = _slice(field, values)
    return shown if shown.ndim == 1 else shown[min(max(int(field.centre[-2]), 0), len(shown) - 1)]
