"""Prediction beside measurement: maps, difference and profiles, z, and both over the sum over single paths."""

from typing import TYPE_CHECKING, Any

import numpy as np

from landscape import Landscape
from landscape.maps.plot import axes_or_new, draw_image, draw_line, middle, plot_map, plot_profile
from lattice import SpecificationError
from validation.comparison.compare import Agreement, checked_comparison
from validation.montecarlo.measure import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_against_paths", "plot_agreement", "plot_z"]

Array = np.ndarray[Any, Any]


def plot_agreement(
    land: Landscape, estimate: Estimate | None = None, agreement: Agreement | None = None, *, title: str = ""
) -> "Figure":
    """The predicted map, and, with an `Estimate`, the measured one, their difference and profiles with error bands.

    Parameters
    ----------
    land : Landscape
        The prediction.
    estimate : Estimate or None, default None
        The measurement to draw beside it.
    agreement : Agreement or None, default None
        Their comparison; None computes it.
    title : str, default ""
        Title of the figure.

    Returns
    -------
    matplotlib Figure
        A figure that belongs to no window.

    Raises
    ------
    SpecificationError
        If `land` is no `Landscape`.

    Examples
    --------
    >>> from landscape import predict
    >>> from lattice import families
    >>> len(plot_agreement(predict(families.plain(9, depth=2))).axes)
    2
    """
    from matplotlib.figure import Figure

    if not isinstance(land, Landscape):
        raise SpecificationError(f"plot_agreement draws a Landscape, not a {type(land).__name__}; landscape.predict makes one")
    if estimate is not None:
        checked_comparison(land, estimate)
    guarantee = land.guarantee.name.lower().replace("_", " ")
    predicted = land.relative
    if estimate is None:
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        plot_map(predicted, left, title=f"predicted ({guarantee})")
        plot_profile(predicted, right, color="black")
        right.set(title="profile", ylim=(0, None))
        figure.suptitle(title)
        return figure
    measured, error = estimate.relative, estimate.relative_error
    most = float(max(predicted.max(), measured.max()))
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    ((first, second), (third, fourth)) = figure.subplots(2, 2)
    plot_map(predicted, first, title=f"predicted ({guarantee})", vmax=most)
    plot_map(measured, second, title=f"measured ({estimate.draws} draws)", vmax=most)
    _plot_difference(measured - predicted, third)
    plot_profile(predicted, fourth, label="predicted", color="black", zorder=3)
    plot_profile(measured, fourth, label="measured, two standard errors", error=error, color="#d55e00", linestyle="--")
    fourth.set(title="profile through the middle", ylim=(0, None))
    fourth.legend(frameon=False)
    if agreement is not None:
        low, high = agreement.error_interval
        verdict = agreement.verdict.name.replace("_", " ").lower()
        title += f"\nmap error {agreement.error:.1%} ({low:.1%} to {high:.1%}): {verdict} at {agreement.tolerance:.0%}"
    figure.suptitle(title)
    return figure


def plot_z(agreement: Agreement, ax: "Axes | None" = None, **style: Any) -> "Axes":
    """Draw z = (measured - predicted) / standard error over the input positions, its colours ending at the simultaneous band.

    A true prediction leaves noise without a pattern and no pixel beyond the band (drawn as the ends of the colours).

    Parameters
    ----------
    agreement : Agreement
        What `compare` returned.
    ax : matplotlib Axes or None, default None
        Where to draw; None is a new figure.
    **style : dict
        What matplotlib's `imshow` takes (cmap, vmin, vmax, norm).

    Returns
    -------
    matplotlib Axes
        What was drawn on.

    Raises
    ------
    SpecificationError
        If it is no `Agreement`, or matplotlib does not take the style.

    Examples
    --------
    >>> from landscape import predict
    >>> from lattice import families
    >>> from matplotlib.figure import Figure
    >>> from validation import compare, measure
    >>> net = families.plain(9, depth=2, padding=1)
    >>> plot_z(
    ...     compare(predict(net), measure(net, draws=50)), Figure().subplots()
    ... ).get_ylabel()
    'z'
    """
    if not isinstance(agreement, Agreement):
        raise SpecificationError(f"plot_z draws an Agreement, not a {type(agreement).__name__}; validation.compare makes one")
    ax = axes_or_new(ax)
    z, most = agreement.z, agreement.critical_z
    ax.set_title(f"z of the relative map: {len(agreement.worst)} pixels beyond {most:.1f}")
    if z.ndim == 1:
        draw_line(ax, z, {"marker": ".", "linestyle": "none", **style})
        for edge in (-most, most):
            ax.axhline(edge, color="#d55e00", linestyle="--", linewidth=0.8)
        ax.set(xlabel="input position", ylabel="z")
        return ax
    image = draw_image(ax, z, style, cmap="PuOr", vmin=-most, vmax=most)
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04, extend="both").set_label("z")
    return ax


def plot_against_paths(
    single: Array, truth: Array | Estimate, land: Landscape | None = None, ax: "Axes | None" = None, *, title: str = ""
) -> "Axes":
    """What Proposition 1 misses: the truth, and what `predict` says, over the sum over single paths, along the middle.

    Pixels without a path are left out.

    Parameters
    ----------
    single : ndarray
        The sum over single paths, `landscape.path_sum`, over input positions.
    truth : ndarray or Estimate
        The map of `enumerated_squared_gradients`, or an `Estimate`, which is drawn with two standard errors.
    land : Landscape or None, default None
        The prediction.
    ax : matplotlib Axes or None, default None
        Where to draw; None is a new figure.
    title : str, default ""
        Title of the axes.

    Returns
    -------
    matplotlib Axes
        What was drawn on.

    Raises
    ------
    SpecificationError
        If the maps have different shapes.

    Examples
    --------
    >>> from landscape import path_sum, predict
    >>> from lattice import families
    >>> from matplotlib.figure import Figure
    >>> from validation import enumerated_squared_gradients
    >>> net = families.plain(4, depth=1, padding=1)
    >>> axes = plot_against_paths(
    ...     path_sum(net),
    ...     enumerated_squared_gradients(net, initialisation="he"),
    ...     ax=Figure().subplots(),
    ... )
    >>> axes.lines[0].get_ydata().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    from matplotlib.ticker import MaxNLocator

    maps = [np.shape(single), np.shape(truth.mean if isinstance(truth, Estimate) else truth)]
    maps += [land.squared.shape] if land is not None else []
    if len(set(maps)) > 1:
        raise SpecificationError(f"maps of shape {' and '.join(map(str, maps))}; all are over the same positions")
    ax = axes_or_new(ax)
    below = np.where(single > 0, single, np.nan)
    style: dict[str, Any] = {"color": "#d55e00", "alpha": 0.6, "linestyle": "none"}
    if isinstance(truth, Estimate):
        ratio, bars = middle(truth.mean / below), middle(2 * truth.standard_error / below)
        ax.errorbar(np.arange(len(ratio)), ratio, bars, marker="o", label=f"measured, {truth.draws} draws", **style)
    else:
        ax.plot(middle(truth / below), marker="D", label="every weight pattern", **style)
    if land is not None:
        guarantee = land.guarantee.name.lower().replace("_", " ")
        ax.plot(middle(land.squared / below), color="black", label=f"predict ({guarantee})")
    ax.axhline(1, color="black", linestyle=":", label="Proposition 1")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(title=title, xlabel="input position (pixels)", ylabel="ratio to Proposition 1")
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # from zero, with room for a legend
    ax.legend(frameon=False, fontsize="small", loc="best")
    return ax


def _plot_difference(difference, ax) -> None:  # type: ignore[no-untyped-def]
    ax.set_title("measured - predicted")
    if difference.ndim == 1:
        ax.plot(difference, color="black")
        ax.axhline(0, color="grey", linewidth=0.8)
        ax.set(xlabel="input position", ylabel="difference / mean")
        return
    if difference.ndim == 3:
        difference = difference[difference.shape[0] // 2]
    most = float(np.abs(difference).max())
    image = ax.imshow(difference, cmap="PuOr", vmin=-most, vmax=most)
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04).set_label("difference / mean")
