"""Figures of several runs side by side: landscapes, curves of training, robustness, location, ablation (Figures 2 to 5)."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np

from landscape.maps.plot import plot_map
from validation.evaluation.measures.drawing import banded, plot_shifts, style
from validation.evaluation.runs.tables import Group, label
from validation.evaluation.summaries.cells import Cell

__all__ = ["plot_ablations", "plot_curves", "plot_landscapes", "plot_places", "plot_robustness"]

Array = np.ndarray[Any, Any]


def plot_landscapes(groups: Sequence[Group], *, columns: int = 6) -> Any:
    """The test landscape of each recipe (Figures 2 and 3), over all its repeats, before training and after; one scale.

    I' with mean square one: the root of the mean over repeats of its square. The scale ends where all but one cell in 200 lie.
    The titles have TV with its standard error: over repeats, or over the test images of a single run. Returns the matplotlib
    Figure.

    Parameters
    ----------
    groups : sequence of Group
        Recipes with their repeats.
    columns : int
        At most so many recipes in a row.

    Returns
    -------
    object
        matplotlib's Figure.
    """
    from matplotlib.figure import Figure

    recipes = [group.recipe for group in groups]
    maps = [{when: group.landscape(when) for when in ("before", "after")} for group in groups]
    most = float(np.quantile(np.concatenate([values.ravel() for pair in maps for values in pair.values()]), 0.995))
    wide = min(columns, len(groups))
    high = 2 * -(-len(groups) // wide)
    figure = Figure(figsize=(2.6 * wide, 2.9 * high), layout="constrained")
    axes = figure.subplots(high, wide, squeeze=False)
    for number, (group, pair) in enumerate(zip(groups, maps, strict=True)):
        for row, when in enumerate(("before", "after")):
            ax = plot_map(pair[when], axes[number // wide * 2 + row][number % wide], vmax=most)
            text = f"{fill(label(group.recipe, recipes), 24)}\nbefore training" if row == 0 else "after"
            value, error = _tv(group, "before" if row == 0 else "scores")
            ax.set_title(f"{text}: TV {value:.3g} ± {error:.1g}", fontsize=8)
            ax.set(xlabel="", ylabel="")
    for ax in figure.axes:
        if ax.get_label() == "<colorbar>":
            ax.set_ylabel("I' (root mean square one)", fontsize=7)
        elif not ax.has_data():
            ax.remove()
    return figure


def _tv(group: Group, when: str) -> tuple[float, float]:
    value, error = group.score("tv", when)
    if len(group.results) == 1:
        return value, float(group.results[0].content[when]["tv_error"])
    return value, 0.0 if error < 1e-12 else error  # equal repeats, but for rounding


def plot_curves(groups: Sequence[Group]) -> Any:
    """Top-1 and TV on the test images epoch by epoch (Figure 4): means over repeats, bands of two standard errors.

    Where the runs have scores inside their first epoch, a second row zooms in on it, from before the first step to its end.

    Parameters
    ----------
    groups : sequence of Group
        Recipes with their repeats.

    Returns
    -------
    matplotlib.figure.Figure
        One row of two Axes, or two.
    """
    from matplotlib.figure import Figure

    zoomed = all(result.content.get("early") for group in groups for result in group.results)
    figure = Figure(figsize=(11, 7.6 if zoomed else 4), layout="constrained")
    axes = figure.subplots(2 if zoomed else 1, 2, squeeze=False)
    recipes = [group.recipe for group in groups]
    for column, (name, title) in enumerate({"top1": "Top-1", "tv": "total variation"}.items()):
        for number, group in enumerate(groups):
            drawn: dict[str, Any] = {"label": label(group.recipe, recipes), **style(number)}
            _curve(axes[0][column], [result.content["rows"] for result in group.results], name, drawn)
            if zoomed:
                _curve(axes[1][column], [_first_epoch(result.content) for result in group.results], name, drawn)
        for row, ax in enumerate(axes[:, column]):
            ax.set(xlabel="epoch", ylabel=title if row == 0 else f"{title}, first epoch")
            if row == 0:
                ax.xaxis.get_major_locator().set_params(integer=True)
            if name == "tv":
                ax.set_yscale("log")
    axes[0][0].legend(frameon=False, fontsize="small")  # lower right is free there
    return figure


def _curve(ax: Any, repeats: Sequence[Sequence[dict[str, Any]]], name: str, drawn: dict[str, Any]) -> None:
    values = np.array([[row[name] for row in rows] for rows in repeats])
    error = values.std(axis=0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.full(values.shape[1], np.nan)
    banded(ax, [row["epoch"] for row in repeats[0]], values.mean(axis=0), error, **drawn)


def _first_epoch(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores before training, inside the first epoch and at its end."""
    return [{"epoch": 0, **content["before"]}, *content["early"], content["rows"][0]]


def plot_robustness(names: Sequence[str], found: Sequence[Sequence[Any]]) -> Any:
    """What is kept, and Top-1, against severity: a column a category, a line a run.

    Bands of two standard errors, over repeats where there are some.

    Parameters
    ----------
    names : sequence of str
        What the rows are called.
    found : sequence of Sequence[Any]
        What was measured of each row's repeats.

    Returns
    -------
    object
        matplotlib's Figure.
    """
    from matplotlib.figure import Figure

    kinds = list(found[0][0].categories)
    figure = Figure(figsize=(3 * len(kinds), 6.4), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False, sharex=True, sharey="row")
    for row, (what, text) in enumerate({"kept": "p(class) / p(class), clean", "right": "Top-1"}.items()):
        for ax, kind in zip(axes[row], kinds, strict=True):
            for number, (name, runs) in enumerate(zip(names, found, strict=True)):
                mean, error = cells([run.by_category(what)[kind] for run in runs])
                banded(ax, runs[0].severities, mean, error, label=name, **style(number))
            ax.set(xticks=found[0][0].severities, **({"title": kind} if row == 0 else {"xlabel": "severity"}))
        axes[row][0].set(ylabel=text, ylim=(0, None))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(names), 5), frameon=False)
    return figure


def plot_places(names: Sequence[str], found: Sequence[Sequence[Any]]) -> Any:
    """For each run: the landscape predicted for the untrained network, above the accuracy over shifts of the trained one.

    Means over repeats.

    Parameters
    ----------
    names : sequence of str
        What the rows are called.
    found : sequence of Sequence[Any]
        What was measured of each row's repeats.

    Returns
    -------
    object
        matplotlib's Figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(names), 6.8), layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False)
    maps = [[run.predicted for run in runs if run.predicted is not None] for runs in found]
    most = max((float(np.mean(one, axis=0).max()) for one in maps if one), default=1.0)
    for column, (name, runs) in enumerate(zip(names, found, strict=True)):
        above, below = axes[:, column]
        title = fill(name, 28)
        if maps[column]:
            plot_map(np.mean(maps[column], axis=0), above, title=f"{title}\npredicted before training", vmax=most)
        else:
            above.set_axis_off()
            above.set_title(f"{title}\nno prediction")
            above.text(0.5, 0.5, fill(runs[0].refused, 40)[:400], ha="center", va="center", fontsize=6)
        accuracy = np.mean([run.location.accuracy for run in runs], axis=0)
        plot_shifts(accuracy, runs[0].location.shifts, below, title="measured after training")
        for ax in (above, below):
            ax.title.set_fontsize(9)
    return figure


def plot_ablations(names: Sequence[str], found: Sequence[Sequence[Any]]) -> Any:
    """The mean ablation curve of each run's repeats and the area under it (Figure 5); bands of two standard errors.

    Parameters
    ----------
    names : sequence of str
        What the rows are called.
    found : sequence of Sequence[Any]
        What was measured of each row's repeats.

    Returns
    -------
    object
        matplotlib's Figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.6), layout="constrained")
    ax = figure.subplots()
    for number, (name, runs) in enumerate(zip(names, found, strict=True)):
        mean, error = cells([(run.curve, run.curve_error) for run in runs])
        area = Cell.of([run.area for run in runs])
        x = runs[0].replaced / runs[0].pixels
        banded(ax, x, mean, error, label=f"{name} (area {area.mean:.3f} ± {area.error:.1g})", markevery=8, **style(number))
    ax.set(xlabel="most relevant pixels replaced (share)", ylabel="p(class) / p(class) of the whole image", ylim=(0, None))
    ax.legend(frameon=False, fontsize="small")
    return figure


def cells(values: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Means and standard errors, number by number, of each repeat's (values, standard errors over images)."""
    each = [Cell.of([(mean[i], error[i]) for mean, error in values]) for i in range(len(values[0][0]))]
    return np.array([cell.mean for cell in each]), np.array([cell.error for cell in each])
