"""What the evaluation's figures have in common: colours for the colour-blind, lines with bands, maps over shifts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["COLOURS", "STYLES", "axes", "banded", "plot_shifts", "style"]

Array = np.ndarray[Any, Any]
COLOURS = ("black", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("-", "--", ":", "-.")
MARKERS = "osD^vPX"


def style(number: int) -> dict[str, Any]:
    """Colour, line style and marker of the line with this number; no two of the first 28 are alike, also in grey.

    Parameters
    ----------
    number : int
        Of the line, from 0.

    Returns
    -------
    dict[str, Any]
        Options of `Axes.plot`.
    """
    which = number % len(COLOURS)
    return {"color": COLOURS[which], "linestyle": STYLES[number // len(COLOURS) % len(STYLES)], "marker": MARKERS[which]}


def axes(ax: Any) -> Any:
    """The Axes given, or those of a new figure.

    Parameters
    ----------
    ax : object
        Where to draw; a new figure's, if none is given.

    Returns
    -------
    object
        matplotlib's Axes.
    """
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(5.5, 4), layout="constrained").subplots()


def banded(ax: Any, x: Any, mean: Array, error: Array, **style: Any) -> None:
    """A line with a band of two standard errors (none where the error is unknown).

    Parameters
    ----------
    ax : object
        Where to draw; a new figure's, if none is given.
    x : object
        Positions.
    mean : numpy.ndarray
        Of the line.
    error : numpy.ndarray
        Standard errors; NaN draws no band.
    **style
        Options of the drawing.
    """
    (line,) = ax.plot(x, mean, **{"markersize": 3.5, **style})
    ax.fill_between(x, mean - 2 * error, mean + 2 * error, color=line.get_color(), alpha=0.15, linewidth=0)


def plot_shifts(accuracy: Array, shifts: Sequence[int], ax: Any, *, title: str = "", **style: Any) -> Any:
    """Top-1 over shifts down and right as a map.

    Parameters
    ----------
    accuracy : numpy.ndarray
        (shifts, shifts), down and right.
    shifts : sequence of int
        Pixels.
    ax : object
        Where to draw; a new figure's, if none is given.
    title : str
        Of the Axes.
    **style
        What `imshow` takes.

    Returns
    -------
    object
        The Axes.
    """
    low, high = shifts[0], shifts[-1]
    half = (high - low) / (2 * max(len(shifts) - 1, 1)) or 0.5
    box = (low - half, high + half, high + half, low - half)
    scale: dict[str, Any] = {} if "norm" in style else {"vmin": 0, "vmax": 1}
    image = ax.imshow(accuracy, **{"cmap": "cividis", **scale, **style, "extent": box})
    ax.set(xlabel="moved right (pixels)", ylabel="moved down (pixels)", title=title, xticks=shifts, yticks=shifts)
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04).set_label("Top-1")
    return ax
