"""Figures 2 to 4 from run folders: landscapes before and after training, and how accuracy and TV go while training."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np

from landscape.plot import plot_map
from validation.evaluation.tables import Group, label

__all__ = ["plot_curves", "plot_landscapes"]

COLOURS = ("black", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", ":", "-.")


def plot_landscapes(groups: Sequence[Group], *, columns: int = 6) -> Any:
    """The test landscape of each recipe (Figures 2 and 3), over all its repeats, before training and after; one scale.

    I' with mean square one: the root of the mean over repeats of its square. The scale ends where all but one cell in 200 lie.
    The titles have TV with its standard error: over repeats, or over the test images of a single run. Returns the matplotlib
    Figure.
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
            ax = plot_map(pair[when], axes[number // wide * 2 + row][number % wide], most=most)
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

    Returns the matplotlib Figure.
    """
    from matplotlib.figure import Figure

    recipes = [group.recipe for group in groups]
    figure = Figure(figsize=(11, 4), layout="constrained")
    for ax, (name, title) in zip(figure.subplots(1, 2), {"top1": "Top-1", "tv": "total variation"}.items(), strict=True):
        for number, group in enumerate(groups):
            rows = np.array([[row[name] for row in result.content["rows"]] for result in group.results])
            epochs = np.arange(1, rows.shape[1] + 1)
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number // len(COLOURS) % len(STYLES)]}
            ax.plot(epochs, rows.mean(axis=0), label=label(group.recipe, recipes), **style)
            if len(rows) > 1:
                band = 2 * rows.std(axis=0, ddof=1) / len(rows) ** 0.5
                low, high = rows.mean(axis=0) - band, rows.mean(axis=0) + band
                ax.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)
        ax.set(xlabel="epoch", ylabel=title)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if name == "tv":
            ax.set_yscale("log")
        else:  # lower right is free there
            ax.legend(frameon=False, fontsize="small")
    return figure
