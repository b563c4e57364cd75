"""The architecture as a picture: `make architecture` reads every import of the packages and draws docs/architecture.svg.

Imports are parsed, not run; those inside functions count like the others, those for types alone (`TYPE_CHECKING`) do not.
Display hooks, by which a value draws itself (`_repr_html_`, `plot`, `overlay`), are kept apart: they alone may import what
stands above them.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import wrap

import matplotlib as mpl
import networkx as nx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

__all__ = ["HOOKS", "PACKAGES", "Import", "arrows", "draw", "folder", "imports", "modules"]

ROOT = Path(__file__).parents[1]
PACKAGES = ("lattice", "landscape", "validation", "experiments")  # from the bottom up
HOOKS = ("_repr_html_", "_repr_svg_", "plot", "overlay")
PICTURE = ROOT / "docs" / "architecture.svg"
COLOURS = {"lattice": "#cfe3f5", "landscape": "#d6efd8", "validation": "#fbe6c6", "experiments": "#eadcf3"}
LINES = "#7d8590"  # readable on white and on black
WIDTH, HEIGHT, FILE, GAP, BAND = 2.3, 0.84, 0.36, 0.3, 0.62  # of a folder and a file, between boxes, for a package's name


@dataclass(frozen=True)
class Import:
    """Module `source` imports module `target`, inside `function` where it does so late."""

    source: str
    target: str
    function: str | None

    @property
    def is_hook(self) -> bool:
        """Does a value draw itself here?"""
        return self.function in HOOKS


@cache
def modules(root: Path = ROOT) -> dict[str, Path]:
    """The files of the packages by dotted name."""
    files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    names = (".".join(path.relative_to(root).with_suffix("").parts) for path in files)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, files, strict=True)}


@cache
def imports(root: Path = ROOT) -> tuple[Import, ...]:
    """Every import of one module of the packages by another, but for a package's own list of public names."""
    known = modules(root)
    found = []
    for name, path in known.items():
        if path.name == "__init__.py" and "." not in name and name != "experiments":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for statement, function in _statements(tree, None):
            targets = {target for target in _targets(statement, known) if target not in (name, "")}
            found += [Import(name, target, function) for target in sorted(targets)]
    return tuple(found)


def _statements(tree: ast.AST, function: str | None) -> Iterator[tuple[ast.Import | ast.ImportFrom, str | None]]:
    """The import statements below a node, with the innermost function that each stands in; those for types alone are none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, function
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _statements(node, node.name if inside else function)


def _targets(statement: ast.Import | ast.ImportFrom, known: dict[str, Path]) -> Iterator[str]:
    """The modules that a statement imports: `from a import b` is a.b where that is a module, else a."""
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        base = statement.module or ""
        names = [f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in statement.names]
    yield from (name for name in names if name in known)


def folder(module: str) -> str:
    """The folder of a package in which a module stands, however deep; a file beside the folders stands for itself."""
    return ".".join(module.split(".")[:2])


def arrows(root: Path = ROOT) -> list[tuple[str, str]]:
    """(folder, folder that it imports from), display hooks left out; a package's public names belong to the package."""
    pairs = {(folder(one.source), folder(one.target)) for one in imports(root) if not one.is_hook}
    return sorted((a, b) for a, b in pairs if a != b)


# --- the picture ----------------------------------------------------------------------------------------------------------


def draw(root: Path = ROOT) -> Figure:
    """Validation over landscape over lattice; in each, folders above those that they import from."""
    graph = nx.DiGraph(arrows(root))
    shown = [(package, _rows(graph, package, root)) for package in reversed(PACKAGES[:3])]
    width = max(len(row) for _, rows in shown for row in rows) * (WIDTH + GAP) + GAP
    height = sum(sum(_tall(row, root) for row in rows) + BAND for _, rows in shown)
    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    top = height
    for package, rows in shown:
        places, below = {}, top - BAND
        ax.text(GAP, top - 0.42, package, weight="bold", size=15, color=LINES)
        for row in rows:
            below -= _tall(row, root)
            left = width / 2 - (len(row) - 1) * (WIDTH + GAP) / 2
            places |= {name: (left + k * (WIDTH + GAP), below + _tall(row, root) / 2) for k, name in enumerate(row)}
        for one, other in nx.transitive_reduction(graph.subgraph(places)).edges:
            _arrow(ax, places[one], places[other], (HEIGHT if _is_folder(other, root) else FILE) / 2)
        for name, place in places.items():
            _box(ax, name, place, root)
        if package != PACKAGES[0]:
            ax.plot([0, width], [below - 0.06] * 2, color=LINES, linewidth=0.8, linestyle=(0, (4, 4)))
        top = below
    return figure


def _tall(row: list[str], root: Path) -> float:
    """The height that a row takes: less where it has files alone."""
    return HEIGHT + GAP if any(_is_folder(name, root) for name in row) else FILE + GAP


def _is_folder(name: str, root: Path) -> bool:
    return root.joinpath(*name.split(".")).is_dir()


def _rows(graph: nx.DiGraph, package: str, root: Path) -> list[list[str]]:
    """The folders of a package, each one row below the lowest that imports from it; neighbours near what they import."""
    names = sorted({folder(name) for name in modules(root) if name.startswith(f"{package}.")})
    own = nx.DiGraph(graph.subgraph(names))
    own.add_nodes_from(names)
    rows = [sorted(row) for row in nx.topological_generations(own)]
    for _ in range(4):
        place = {name: (k + 1) / (len(row) + 1) for row in rows for k, name in enumerate(row)}
        near = nx.transitive_reduction(own).to_undirected()
        means = {name: sum(place[other] for other in near[name]) / len(near[name]) if near[name] else 0.5 for name in names}
        rows = [sorted(row, key=lambda name: (means[name], name)) for row in rows]
    return rows


def _box(ax: Axes, name: str, place: tuple[float, float], root: Path) -> None:
    """A folder with the names of what it holds, or a file."""
    package, own = name.split(".")
    is_folder = _is_folder(name, root)
    x, y = place
    height = HEIGHT if is_folder else FILE
    box = FancyBboxPatch((x - WIDTH / 2, y - height / 2), WIDTH, height, boxstyle="round,pad=0,rounding_size=0.1")
    box.set(facecolor=COLOURS[package], edgecolor=LINES, linewidth=1, zorder=3)
    ax.add_patch(box)
    ax.text(x, y + (0.26 if is_folder else 0), f"{own}/" if is_folder else f"{own}.py", ha="center", va="center", zorder=4,
            size=11, weight="bold" if is_folder else "normal", color="#1a1a1a")  # fmt: skip
    if is_folder:
        lines = wrap("  ".join(_holds(root / package / own)), 42, break_on_hyphens=False)
        shown = lines if len(lines) <= 4 else [*lines[:3], lines[3][:38] + " ..."]
        ax.text(x, y + 0.13, "\n".join(shown), ha="center", va="top", zorder=4, size=7.4, color="#333333", linespacing=1.15)


def _holds(path: Path) -> list[str]:
    """The folders in a folder, and its files without their ending."""
    inside = sorted(f"{below.name}/" for below in path.iterdir() if (below / "__init__.py").exists())
    return [*inside, *sorted(file.stem for file in path.glob("*.py") if file.stem != "__init__")]


def _arrow(ax: Axes, above: tuple[float, float], below: tuple[float, float], half: float) -> None:
    """From a box to the upper edge of another, `half` a height over its middle; boxes lie over what begins in them."""
    arrow = FancyArrowPatch(above, (below[0], below[1] + half), arrowstyle="-|>", mutation_scale=11, color=LINES, zorder=1)
    ax.add_patch(arrow)


def text(root: Path = ROOT) -> str:
    """The arrows as text, which the picture carries, so that a test sees whether it is still the packages' own."""
    return "; ".join(f"{a} -> {b}" for a, b in arrows(root))


if __name__ == "__main__":
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "pilcro"}):
        draw().savefig(PICTURE, transparent=True, metadata={"Date": None, "Creator": None, "Description": text()})
    print(f"{PICTURE.relative_to(ROOT)}: {len(arrows())} arrows between {len(dict(arrows()))} folders and files")
