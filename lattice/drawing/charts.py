"""Path counts over input positions, as a curve on one axis and as an image on two. No computation beyond a division."""

from typing import TYPE_CHECKING, Any

import numpy as np

from lattice.drawing.marks import INK
from lattice.errors import SpecificationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_counts"]

Array = np.ndarray[Any, Any]

MAP_COLOURS = "cividis"  # made for colour-blind readers, and monotone in grey


def plot_counts(counts: Any, ax: "Axes | None" = None, *, relative: bool = False, **style: Any) -> "Axes":
    """Path counts over input positions: dots on a line for one axis, an image for two.

    Parameters
    ----------
    counts : array_like
        Exact integers of any length, Fractions or floats over one or two axes, as `path_counts` and the closed forms return
        them.
    ax : matplotlib Axes or None, default None
        Where to draw; None is a new figure.
    relative : bool, default False
        Whether counts are divided by their mean, exactly, so that counts beyond float64 can be drawn too.
    **style : dict
        Options of matplotlib's `plot` (one axis) or `imshow` (two axes).

    Returns
    -------
    matplotlib Axes
        What was drawn on.

    Raises
    ------
    SpecificationError
        If there are three axes or more, if `relative` is asked for and all counts are zero, or if it is not and float64 cannot
        hold a count.

    Examples
    --------
    >>> from lattice import pascal_row
    >>> axes = plot_counts(pascal_row(3, 2), label="L = 2")
    >>> axes.lines[0].get_ydata().tolist(), axes.get_ylabel()
    ([1.0, 2.0, 3.0, 2.0, 1.0], 'paths')
    """
    exact = np.array(counts, dtype=object)
    if exact.ndim not in (1, 2):
        raise SpecificationError(f"counts of shape {exact.shape} have {exact.ndim} axes; give one or two, or a slice of them")
    total = sum(exact.ravel().tolist())
    if relative and not total:
        raise SpecificationError("these counts are zero everywhere, so they have no mean to be divided by; drop relative=True")
    try:
        numbers = [float(n * exact.size / total if relative else n) for n in exact.ravel().tolist()]
    except OverflowError:
        raise SpecificationError("these counts are beyond float64; relative=True divides them by their mean first") from None
    values = np.array(numbers).reshape(exact.shape)
    unit = "paths / mean" if relative else "paths"
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(6.4, 3.2) if values.ndim == 1 else (4.2, 3.6), layout="constrained")[1]
    if values.ndim == 1:
        (line,) = ax.plot(values, **{"color": INK, "marker": "o", "markersize": 3, "linewidth": 1, **style})
        line.sticky_edges.y.append(0)  # counts are read from zero, whatever else is drawn beside them
        ax.update_datalim([(0, 0)], updatex=False)
        ax.autoscale_view()
        ax.set(xlabel="input position (pixels)", ylabel=unit)
        return ax
    image = ax.imshow(values, **{"cmap": MAP_COLOURS, "vmin": 0, **style})
    ax.set(xlabel="column (pixels)", ylabel="row (pixels)")
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04).set_label(unit)
    return ax
