"""The marks that drawings are made of: units with numbers, lines between them, a legend."""

from typing import TYPE_CHECKING, Any, TypeAlias

from lattice.errors import SpecificationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FAINT", "INK", "SKIPS", "TAPS", "axes_for", "dot", "legend", "line"]

Point: TypeAlias = tuple[float, float]

# Okabe and Ito's colours, darkest first; the line styles tell them apart without colour
TAPS: tuple[tuple[str, Any], ...] = (
    ("#0072B2", "solid"),
    ("#D55E00", (0, (5, 1.5))),
    ("#009E73", (0, (1.2, 1.2))),
    ("#CC79A7", (0, (6, 1.5, 1.2, 1.5))),
    ("#E69F00", (0, (2.5, 1))),
    ("#56B4E9", (0, (8, 2))),
)
INK, FAINT, SKIPS = "#1a1a1a", "#d8d8d8", "#6e6e6e"


def axes_for(ax: "Axes | None", width: float, height: float) -> "Axes":
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(min(width, 14), min(height, 12)), layout="constrained")
    if not hasattr(ax, "set_axis_off"):
        raise SpecificationError(f"ax is {ax!r}; it is a matplotlib Axes, or None for a new one")
    ax.set_axis_off()
    ax.set_aspect("equal")
    return ax


def line(axes: "Axes", low: Point, high: Point, *, bulge: float, **style: Any) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not bulge:
        axes.plot([low[0], high[0]], [low[1], high[1]], **style)
        return
    # straight lines through several rows would hide behind their dots, so these pass beside them
    x = max(low[0], high[0]) + bulge
    curve = Path([low, (x, low[1] + 0.5), (x, high[1] - 0.5), high], [Path.MOVETO, *[Path.CURVE4] * 3])
    axes.add_patch(PathPatch(curve, fill=False, **style))


def dot(axes: "Axes", position: Point, count: int, *, face: str, ink: str, edge: str = INK) -> None:
    """A unit with a number in it."""
    text = str(count) if count < 10**5 else f"{count:.1e}".replace("e+", "e").replace("e0", "e")
    size = 9 if len(text) < 3 else 8 if len(text) == 3 else 6.5 if len(text) == 4 else 5.3
    axes.plot(*position, "o", markersize=19, markerfacecolor=face, markeredgecolor=edge, markeredgewidth=1, zorder=4)
    axes.text(*position, text, ha="center", va="center_baseline", fontsize=size, color=ink, zorder=5, gid="count")


def legend(drawn: dict[str, dict[str, Any]], axes: "Axes") -> None:
    from matplotlib.lines import Line2D

    taps_first = sorted(drawn, key=lambda label: (not label.startswith("tap"), len(label), label))
    lines = [Line2D([], [], label=label, **drawn[label]) for label in taps_first]
    axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, handlelength=3)
