"""Drawings of lattices: Figure 1 of the paper, a route through it, and the generalised Pascal triangle.

Every function takes `ax=None` and returns the Axes that it drew on. Nothing is computed here beyond calls to the rest of
the package, and matplotlib's global settings are left alone. Taps are told apart by colour and by line style, from dark
to light, so that a drawing survives a grey printer and colour-blind eyes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lattice.checks import whole
from lattice.counts.counting import Where, path_counts, spatial_lattice
from lattice.drawing.graph import count_edges, unit_graph
from lattice.drawing.marks import FAINT, INK, SKIPS, TAPS, axes_for, dot, legend, line
from lattice.drawing.rows import Row, rows_of
from lattice.errors import ResourceError, SpecificationError
from lattice.families import plain
from lattice.network.lattice import Lattice, Unit, check_lattice
from lattice.sweep.choices import AnyCommand, Command, Skip
from lattice.sweep.routes import steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_lattice", "draw_pascal"]

STOREY = 1.5  # height of a layer, in cells
MOST_EDGES = 3000
WIDEST = 41  # entries in the last row of a triangle whose numbers can be read


def draw_lattice(
    lattice: Lattice,
    output: Where | None = None,
    *,
    commands: Sequence[Any] | None = None,
    counts: str | None = "input",
    labels: bool = True,
    ax: "Axes | None" = None,
) -> "Axes":
    """Figure 1: the units of a one-dimensional lattice as rows of dots, an edge per tap, path counts in the units.

    Layers are drawn with one channel; pointwise layers are not drawn, and a sum is drawn where its branches end, so that a skip
    is one more edge of that row. Units stand above the centre of what they see. Units and edges that no path crosses are faint.

    Parameters
    ----------
    lattice : Lattice
        A network over an input of one spatial axis.
    output : Unit, tuple of int, int or None, default None
        The unit from which paths are counted (Figure 1b); None is all output units (Figure 1a).
    commands : sequence or None, default None
        The command vector, bottom layer first, of a route from `output` to highlight, each command written on its edge; in
        the forms that `route` takes.
    counts : {"input", "all", None}, default "input"
        Where the number of paths #p is written: in the input units, in every unit, or nowhere.
    labels : bool, default True
        Whether layers are named at the side and taps explained by a legend.
    ax : matplotlib Axes or None, default None
        Where to draw; None is a new figure.

    Returns
    -------
    matplotlib Axes
        What was drawn on.

    Raises
    ------
    SpecificationError
        If the lattice has more than one spatial axis, the route does not exist, or `counts` is something else.
    ResourceError
        If the drawing would be too large to be read.

    Examples
    --------
    >>> from lattice import families
    >>> axes = draw_lattice(families.plain(7, depth=2), output=(1,), commands=[2, 0])
    >>> [text.get_text() for text in axes.texts if text.get_gid() == "count"]
    ['0', '1', '2', '3', '2', '1', '0']
    """
    check_lattice(lattice, "draw_lattice")
    if len(lattice.input_shape) != 2:
        raise SpecificationError(
            f"an input of shape {lattice.input_shape} has {len(lattice.input_shape) - 1} spatial axes; a lattice is drawn on "
            "one; build it over a one-axis input, or show path_counts(lattice) as an image"
        )
    if counts not in ("input", "all", None):
        raise SpecificationError(f"counts is {counts!r}; it is 'input', 'all' or None")
    if commands is not None and output is None:
        raise SpecificationError("a route starts at one output unit: give output=... with commands=...")
    net = spatial_lattice(lattice)
    edges = count_edges(net)
    if edges > MOST_EDGES:
        raise ResourceError(
            f"a drawing of {edges:,} edges cannot be read (at most {MOST_EDGES:,}); draw fewer layers or a smaller input, or "
            "plot path_counts(lattice) as a curve"
        )
    start = None if output is None else net.unit(_spatial(output))
    visited = [] if commands is None or start is None else list(steps(net, commands, start))
    rows = rows_of(net, start)

    left, right = min(min(row.x) for row in rows), max(max(row.x) for row in rows)
    axes = axes_for(ax, width=(right - left) * 0.62 + 4.2, height=len(rows) * 0.95 + 0.3)
    axes.set(xlim=(left - 0.6, right + 0.6), ylim=(-0.5, (len(rows) - 1) * STOREY + 0.5))
    drawn = _draw_edges(net, rows, axes)
    written = [counts == "all" or (counts == "input" and not storey) for storey in range(len(rows))]
    if visited:
        _draw_route(rows, visited, written, axes)
    for storey, row in enumerate(rows):
        _draw_row(row, storey * STOREY, written[storey], axes)
    if labels:
        for storey, row in enumerate(rows):
            axes.text(left - 0.9, storey * STOREY, row.label, ha="right", va="center", fontsize=9, color=INK, linespacing=1.3)
        legend(drawn, axes)
    return axes


def draw_pascal(kernel: int = 3, depth: int = 5, *, ax: "Axes | None" = None) -> "Axes":
    """The generalised Pascal triangle: row L holds the path counts of L unpadded layers from one output unit.

    Entry i of row L is the number of ways to write i as a sum of L taps, the sum of `kernel` neighbours in the row above
    (Section 3.1); row L sums to kernel^L. Darker entries have a larger share of their row: the bell of the central limit.

    Parameters
    ----------
    kernel : int, default 3
        Kernel size, at least 1.
    depth : int, default 5
        The last row, at least 0.
    ax : matplotlib Axes or None, default None
        Where to draw; None is a new figure.

    Returns
    -------
    matplotlib Axes
        What was drawn on.

    Raises
    ------
    SpecificationError
        If an argument is not a whole number in its range.
    ResourceError
        If the numbers could not be read side by side; `pascal_row` has them all.

    Examples
    --------
    >>> axes = draw_pascal(kernel=3, depth=2)
    >>> [text.get_text() for text in axes.texts if text.get_gid() == "count"]
    ['1', '1', '1', '1', '1', '2', '3', '2', '1']
    """
    kernel, depth = whole("kernel", kernel, 1), whole("depth", depth, 0)
    if (kernel - 1) * depth + 1 > WIDEST:
        raise ResourceError(
            f"row {depth} of the triangle for kernel {kernel} has {(kernel - 1) * depth + 1} entries, and more than {WIDEST} "
            f"cannot be read side by side; draw a smaller depth, or plot pascal_row({kernel}, {depth}) as a curve"
        )
    triangle = [[1]] + [
        [int(p) for p in path_counts(plain((kernel - 1) * row + 1, row, kernel), output=(0,))] for row in range(1, depth + 1)
    ]
    half = (kernel - 1) / 2
    axes = axes_for(ax, width=((kernel - 1) * depth + 1) * 0.62 + 2.6, height=(depth + 1) * 0.7 + 0.3)
    for row, entries in enumerate(triangle):
        for i, entry in enumerate(entries):
            x, y = i - row * half, -row * 1.15
            if row < depth:
                for k in range(kernel):
                    axes.plot([x, x + k - half], [y, y - 1.15], color="#b5b5b5", linewidth=0.8, zorder=1)
            share = entry / max(entries)
            dot(axes, (x, y), entry, face=str(0.97 - 0.62 * share), ink="white" if share > 0.75 else INK)
        left, right = -depth * half - 1, depth * half + 1
        axes.text(left, -row * 1.15, f"$L = {row}$", ha="right", va="center", fontsize=9, color=INK)
        axes.text(right, -row * 1.15, f"${kernel}^{{{row}}} = {sum(entries)}$", ha="left", va="center", fontsize=9, color=INK)
    return axes


def _spatial(output: Where) -> Where:
    """The unit of the one-channel lattice that stands where `output` stands."""
    return Unit(output.position) if isinstance(output, Unit) else output


def _draw_edges(net: Lattice, rows: Sequence[Row], axes: "Axes") -> dict[str, dict[str, Any]]:
    """A line per command, faint where no path crosses it; returns the kinds of lines, for the legend."""
    storeys = {net.names[position]: storey for storey, row in enumerate(rows) for position in row.nodes}
    drawn: dict[str, dict[str, Any]] = {}
    parallel: dict[tuple[Any, ...], int] = {}
    for (below, low), (above, high), data in unit_graph(net, most_edges=MOST_EDGES).edges(data=True):
        a, b = storeys[below], storeys[above]
        if a == b:
            continue
        i, j = _index(low), _index(high)
        crossed = rows[b].counts[j] > 0
        label, color, style = _mark(data["command"])
        key = below, low, above, high
        repeated = parallel[key] = parallel.get(key, -1) + 1
        line(
            axes,
            (rows[a].x[i], a * STOREY),
            (rows[b].x[j], b * STOREY),
            bulge=_bulge(data["command"], b - a) + 0.28 * repeated,
            color=color if crossed else FAINT,
            linestyle=style if crossed else "solid",
            linewidth=1.4 if crossed else 0.8,
            zorder=2 if crossed else 1,
        )
        if crossed:
            drawn[label] = {"color": color, "linestyle": style, "linewidth": 1.4}
    return drawn


def _mark(command: AnyCommand | None) -> tuple[str, str, Any]:
    """Name, colour and line style of the edge of a command."""
    if isinstance(command, Command) and command.taps:
        tap = command.taps[0]
        return (f"tap {tap}", *TAPS[tap % len(TAPS)])
    if isinstance(command, Skip):
        return "skip", SKIPS, (0, (1, 1))
    return ("weight", INK, "solid") if isinstance(command, Command) else ("branch", SKIPS, (0, (3, 1)))


def _bulge(command: AnyCommand | None, storeys: int) -> float:
    """How far an edge bends aside, so that it does not hide behind the dots it passes or the edge of a middle tap."""
    return 0.42 if storeys > 1 or isinstance(command, Skip) else 0.0


def _draw_route(
    rows: Sequence[Row], visited: Sequence[tuple[AnyCommand | None, int, Unit]], written: Sequence[bool], axes: "Axes"
) -> None:
    """The route as a thick line, with the command that is obeyed on each of its edges."""
    storeys = {position: storey for storey, row in enumerate(rows) for position in row.nodes}
    _, position, unit = visited[0]
    visited_dots = [(storeys[position], _index(unit))]
    said: list[AnyCommand] = []
    for command, position, unit in visited[1:]:
        if command is not None:
            said.append(command)
        (b, j), (a, i) = visited_dots[-1], (storeys[position], _index(unit))
        if a == b:
            continue
        visited_dots.append((a, i))
        low, high = (rows[a].x[i], a * STOREY), (rows[b].x[j], b * STOREY)
        bulge = _bulge(said[-1] if said else None, b - a)
        line(axes, low, high, bulge=bulge, color=INK, linestyle="solid", linewidth=3.6, zorder=3)
        if said:
            middle = ((low[0] + high[0]) / 2 + bulge * 0.75, (low[1] + high[1]) / 2)
            box = {"boxstyle": "round,pad=0.22", "facecolor": INK, "edgecolor": "none"}
            text = " ".join(map(_said, said))
            axes.text(*middle, text, ha="center", va="center", fontsize=8, color="white", zorder=6, bbox=box, gid="command")
            said = []
    for storey, i in visited_dots:
        axes.plot(rows[storey].x[i], storey * STOREY, "o", markersize=23 if written[storey] else 12, color=INK, zorder=3.5)


def _said(command: AnyCommand) -> str:
    return str(command.taps[0] if isinstance(command, Command) and command.taps else command)


def _draw_row(row: Row, y: float, written: bool, axes: "Axes") -> None:
    for x, count in zip(row.x, row.counts, strict=True):
        if written:
            dot(axes, (x, y), count, face="white", ink=INK if count else "#9a9a9a", edge=INK if count else "#bdbdbd")
        else:
            face = INK if count else FAINT
            axes.plot(x, y, "o", markersize=8, color=face, markeredgecolor=face, zorder=4)


def _index(unit: Unit) -> int:
    return unit.position[0] if unit.position else unit.channel
