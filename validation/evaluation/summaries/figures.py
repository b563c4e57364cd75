"""Figures of several runs side by side: landscapes, curves of training, robustness, location, ablation (Figures 2 to 5)."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np

from landscape.maps.plot import draw_image, plot_map
from validation.evaluation.measures.drawing import COLOURS, banded, plot_shifts, style
from validation.evaluation.runs.tables import Group, label
from validation.evaluation.summaries.cells import Cell

__all__ = ["plot_ablations", "plot_curves", "plot_landscapes", "plot_places", "plot_robustness"]

Array = np.ndarray[Any, Any]


def plot_landscapes(groups: Sequence[Group], *, columns: int = 6) -> Any:
    """The test landscape of each recipe (Figures 2 and 3), over its repeats: before training once, then after it; one scale.

    I' with mean square one: the root of the mean over repeats of its square. The scale ends where all but one cell in 200 lie;
    a tip of its bar says that larger values are cut off there. Recipes that begin with the same map share it. The titles have
    TV with its standard error: over repeats, or over the test images of a single run. Returns the matplotlib Figure.

    Parameters
    ----------
    groups : sequence of Group
        Recipes with their repeats.
    columns : int
        At most so many maps in a row.

    Returns
    -------
    object
        matplotlib's Figure.
    """
    from matplotlib.figure import Figure

    shown = [*_beginnings(groups), *_ends(groups)]
    cells = np.concatenate([values.ravel() for _, values in shown])
    most = float(np.quantile(cells, 0.995))
    wide = min(columns, len(shown))
    high = -(-len(shown) // wide)
    figure = Figure(figsize=(2.1 * wide + 0.8, 2.5 * high), layout="constrained")
    axes = figure.subplots(high, wide, squeeze=False)
    for ax, (title, values) in zip(axes.flat, shown, strict=False):
        image = draw_image(ax, values, {}, vmin=0, vmax=most)
        ax.set_title(title, fontsize=8)
        ax.tick_params(labelsize=7)
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    cut = "max" if cells.max() > most else "neither"
    figure.colorbar(image, ax=list(axes.flat[: len(shown)]), extend=cut, shrink=0.8 / high**0.5, pad=0.01).set_label(
        "I' (root mean square one)"
    )
    return figure


def _beginnings(groups: Sequence[Group]) -> list[tuple[str, Array]]:
    """The maps before training, each once, with their titles."""
    recipes = [group.recipe for group in groups]
    found: list[tuple[Array, list[Group]]] = []
    for group in groups:
        values = group.landscape("before")
        same = [members for other, members in found if other.shape == values.shape and np.allclose(other, values)]
        if same:
            same[0].append(group)
        else:
            found.append((values, [group]))
    shown = []
    for values, members in found:
        whose = label(members[0].recipe, recipes) if len(members) == 1 else f"{len(members)} recipes"
        words = "before training" if len(found) == 1 else f"{fill(whose, 26)}\nbefore training"
        shown.append((f"{words}\n{_tv(members[0], 'before')}", values))
    return shown


def _ends(groups: Sequence[Group]) -> list[tuple[str, Array]]:
    recipes = [group.recipe for group in groups]
    return [(f"{fill(label(g.recipe, recipes), 26)}\nafter: {_tv(g, 'scores')}", g.landscape("after")) for g in groups]


def _tv(group: Group, when: str) -> str:
    value, error = group.score("tv", when)
    if len(group.results) == 1:
        error = float(group.results[0].content[when]["tv_error"])
    return f"TV {value:.3g} ± {0.0 if error < 1e-12 else error:.1g}"  # equal repeats, but for rounding


def plot_curves(groups: Sequence[Group], *, columns: int = 7) -> Any:
    """Top-1 and TV on the test images epoch by epoch (Figure 4): a column for each recipe, against the one without a penalty.

    Means over repeats, bands of two standard errors. Where the runs have scores inside their first epoch, a second row of each
    zooms in on it, from before the first step to its end.

    Parameters
    ----------
    groups : sequence of Group
        Recipes with their repeats; the first without a penalty, or the first of all, is drawn in each column.
    columns : int
        At most so many columns.

    Returns
    -------
    matplotlib.figure.Figure
        Two rows of Axes, or four, for each row of recipes.
    """
    from matplotlib.figure import Figure

    base = next((group for group in groups if group.recipe.penalty.kind == "none"), groups[0])
    others = [group for group in groups if group is not base] or [base]
    zoomed = all(result.content.get("early") for group in groups for result in group.results)
    kinds = [(name, early) for name in ("top1", "tv") for early in ((False, True) if zoomed else (False,))]
    wide = min(columns, len(others))
    bands = -(-len(others) // wide)
    figure = Figure(figsize=(2.1 * wide + 0.8, 1.7 * len(kinds) * bands + 0.5), layout="constrained")
    axes = figure.subplots(len(kinds) * bands, wide, squeeze=False)
    for number, group in enumerate(others):
        band, column = divmod(number, wide)
        for row, (name, early) in enumerate(kinds):
            ax = axes[band * len(kinds) + row][column]
            _beside(ax, base, group, [g.recipe for g in groups], name, early=early)
            if column == 0:
                ax.set_ylabel(("Top-1" if name == "top1" else "total variation") + (", first epoch" if early else ""))
        axes[band * len(kinds)][column].set_title(fill(label(group.recipe, [g.recipe for g in groups]), 24), fontsize=8)
        axes[band * len(kinds) + len(kinds) - 1][column].set_xlabel("epoch")
    _common_limits(axes, kinds)
    for ax in axes.flat:
        if not ax.has_data():
            ax.remove()
    handles, names = axes[0][0].get_legend_handles_labels()
    if others != [base]:
        names = [names[0], "the recipe of the column"]
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _beside(ax: Any, base: Group, group: Group, recipes: Sequence[Any], name: str, *, early: bool) -> None:
    """One panel: a recipe and the one that it is compared with."""
    drawn_base: tuple[Group, dict[str, Any]] = (base, {"color": "0.35", "linestyle": "--"})
    drawn_group: tuple[Group, dict[str, Any]] = (group, {"color": COLOURS[1], "marker": "o"})
    for one, drawn in [drawn_group] if group is base else [drawn_base, drawn_group]:
        rows = [_first_epoch(result.content) if early else result.content["rows"] for result in one.results]
        _curve(ax, rows, name, {"label": label(one.recipe, recipes), "markersize": 3, **drawn})
    if not early:
        ax.xaxis.get_major_locator().set_params(integer=True)


def _common_limits(axes: Any, kinds: Sequence[tuple[str, bool]]) -> None:
    """One vertical axis for all panels of a kind: Top-1 from 0 to 1, TV logarithmic over all means, with room for the bands."""
    for row, (name, _) in enumerate(kinds):
        panels = [ax for ax in axes[row :: len(kinds)].flat if ax.has_data()]
        if name == "top1":
            for ax in panels:
                ax.set_ylim(0, 1)
            continue
        means = np.concatenate([line.get_ydata() for ax in panels for line in ax.get_lines()])
        seen = means[np.isfinite(means) & (means > 0)]
        for ax in panels:
            ax.set_yscale("log")
            if len(seen):
                ax.set_ylim(seen.min() / 2, seen.max() * 2)


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
