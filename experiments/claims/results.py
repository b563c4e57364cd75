"""Committed results, read from where their commands wrote them, and the numbers that the paper prints in Tables 3 and 4."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["TABLE_3", "TABLE_4", "Network", "Value", "evaluation", "gallery", "laptop"]

DOCS = Path(__file__).parents[2] / "docs"
EVALUATION = DOCS / "laptop-evaluation.json"


class Value(NamedTuple):
    """A mean over seeds and its standard error (0 where there is none)."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:g} ± {self.error:g}" if self.error else f"{self.mean:g}"


class Network(NamedTuple):
    """One row of docs/gallery.md; `verdict` is empty where nothing was measured."""

    guarantee: str
    verdict: str
    variation: float


def _tables(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(heading, row by column) of every table of a markdown file."""
    heading, columns = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading, columns = line.strip("# "), []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not columns:
                columns = cells
            elif not cells[0].startswith("---"):
                yield heading, dict(zip(columns, cells, strict=True))
        elif columns:
            columns = []


@cache
def gallery() -> dict[str, Network]:
    """Torchvision's classifiers that trace: docs/gallery.md."""
    return {
        row["network"]: Network(row["guarantee"], row["verdict"], float(row["total variation"]))
        for _, row in _tables(DOCS / "gallery.md")
        if row["guarantee"] != "refused"
    }


@cache
def laptop() -> dict[str, dict[str, dict[str, Value]]]:
    """docs/laptop.md by the first word of what sets a study apart, by run, by column."""
    studies: dict[str, dict[str, dict[str, Value]]] = {}
    names = {
        "5000 MNIST digits in the middle": "digits",
        "The same digits": "corners",
        "Crops": "photos",
        "32 against 33": "sizes",
    }
    for heading, row in _tables(DOCS / "laptop.md"):
        study = next(name for start, name in names.items() if heading.startswith(start))
        values = {}
        for column, cell in row.items():
            if column not in ("run", "repeats"):
                first, _, error = cell.partition("±")
                values[column] = Value(float(first), float(error or 0))
        studies.setdefault(study, {})[row["run"]] = values
    return studies


def evaluation(*words: str) -> dict[str, dict[str, Value]]:
    """Of docs/laptop-evaluation.json, by run: every number whose name holds one of these words; empty without a file."""
    if not EVALUATION.exists():
        return {}
    content = json.loads(EVALUATION.read_text(encoding="utf-8"))
    found: dict[str, dict[str, Value]] = {}
    for row in content.get("rows", content) if isinstance(content, dict) else content:
        if isinstance(row, dict) and "run" in row:
            values = {name: value for name, value in _flat(row) if any(word in name.lower() for word in words)}
            if values:
                found[str(row["run"])] = values
    return found


def _flat(entry: Any, name: str = "") -> Iterator[tuple[str, Value]]:
    """Numbers, and lists of numbers of repeats, below an entry of a JSON file, each with the names that lead to it."""
    if isinstance(entry, dict):
        for key, below in entry.items():
            yield from _flat(below, f"{name} {key}".strip())
    elif isinstance(entry, int | float) and not isinstance(entry, bool):
        yield name, Value(float(entry), 0.0)
    elif isinstance(entry, list) and entry and all(isinstance(v, int | float) for v in entry):
        mean = sum(entry) / len(entry)
        spread = (sum((v - mean) ** 2 for v in entry) / (len(entry) - 1) / len(entry)) ** 0.5 if len(entry) > 1 else 0.0
        yield name, Value(round(mean, 4), float(f"{spread:.1g}"))


def _levels(text: str) -> list[list[float]]:
    """Rows of twenty numbers: noise, blur, weather, digital, five levels each."""
    return [[float(word) for word in line.split()] for line in text.strip().splitlines()]


SETTINGS = [
    ("target", 1),
    ("target", 10),
    ("target", 100),
    ("curvature", 1),
    ("curvature", 10),
    ("curvature", 100),
    ("none", 0),
]
CATEGORIES = ("noise", "blur", "weather", "digital")


def _table(rows: list[list[float]], first: str) -> dict[tuple[str, str, int], dict[str, float]]:
    """(augmentation, penalty, alpha) -> category -> mean robustness over the five levels."""
    found = {}
    for number, row in enumerate(rows):
        augmentation = first if number < len(SETTINGS) else "RC+"
        means = {category: round(sum(row[5 * c : 5 * c + 5]) / 5, 4) for c, category in enumerate(CATEGORIES)}
        found[augmentation, *SETTINGS[number % len(SETTINGS)]] = means
    return found


TABLE_3 = _table(
    _levels("""
0.36 0.18 0.08 0.05 0.04 0.66 0.58 0.51 0.42 0.34 0.85 0.70 0.64 0.59 0.45 0.79 0.67 0.59 0.48 0.34
0.51 0.29 0.15 0.10 0.07 0.67 0.59 0.52 0.43 0.34 0.86 0.72 0.66 0.61 0.47 0.81 0.69 0.61 0.50 0.37
0.40 0.20 0.09 0.06 0.04 0.66 0.59 0.52 0.43 0.35 0.86 0.70 0.63 0.57 0.43 0.79 0.67 0.59 0.47 0.36
0.40 0.22 0.12 0.08 0.06 0.65 0.56 0.47 0.39 0.30 0.84 0.69 0.62 0.56 0.41 0.77 0.65 0.57 0.46 0.33
0.24 0.11 0.05 0.04 0.03 0.65 0.57 0.49 0.40 0.32 0.84 0.70 0.63 0.57 0.43 0.78 0.65 0.58 0.47 0.34
0.39 0.24 0.13 0.09 0.06 0.64 0.55 0.47 0.38 0.32 0.81 0.66 0.59 0.53 0.39 0.75 0.60 0.54 0.43 0.32
0.59 0.41 0.25 0.17 0.12 0.66 0.58 0.49 0.41 0.32 0.85 0.70 0.63 0.58 0.43 0.78 0.67 0.60 0.49 0.36
0.54 0.33 0.18 0.12 0.09 0.65 0.57 0.49 0.42 0.33 0.86 0.71 0.65 0.60 0.45 0.82 0.71 0.63 0.50 0.36
0.52 0.30 0.15 0.09 0.07 0.67 0.60 0.52 0.44 0.35 0.87 0.74 0.68 0.63 0.49 0.84 0.74 0.66 0.55 0.39
0.38 0.18 0.07 0.04 0.03 0.67 0.59 0.51 0.42 0.34 0.87 0.72 0.67 0.61 0.47 0.83 0.73 0.65 0.52 0.38
0.53 0.32 0.17 0.11 0.07 0.66 0.58 0.50 0.42 0.33 0.86 0.72 0.66 0.61 0.45 0.83 0.72 0.64 0.52 0.37
0.35 0.18 0.09 0.06 0.04 0.65 0.57 0.49 0.42 0.33 0.86 0.71 0.66 0.60 0.45 0.82 0.72 0.63 0.51 0.37
0.19 0.08 0.03 0.02 0.02 0.67 0.59 0.52 0.43 0.35 0.86 0.73 0.67 0.61 0.47 0.83 0.72 0.64 0.51 0.38
0.59 0.39 0.23 0.16 0.11 0.66 0.58 0.50 0.41 0.33 0.86 0.72 0.66 0.60 0.44 0.83 0.72 0.64 0.52 0.38
"""),
    "RC-",
)

TABLE_4 = _table(
    _levels("""
0.61 0.44 0.26 0.10 0.03 0.58 0.41 0.23 0.15 0.10 0.65 0.47 0.40 0.32 0.23 0.72 0.57 0.48 0.29 0.14
0.59 0.40 0.22 0.09 0.03 0.58 0.42 0.24 0.15 0.10 0.65 0.48 0.40 0.33 0.23 0.73 0.59 0.51 0.32 0.19
0.57 0.36 0.18 0.06 0.02 0.59 0.42 0.23 0.15 0.10 0.65 0.47 0.40 0.32 0.23 0.72 0.56 0.48 0.28 0.14
0.62 0.41 0.23 0.08 0.03 0.61 0.44 0.26 0.16 0.11 0.67 0.49 0.42 0.34 0.25 0.73 0.59 0.51 0.32 0.18
0.62 0.43 0.24 0.09 0.04 0.60 0.43 0.25 0.16 0.11 0.67 0.50 0.42 0.35 0.25 0.74 0.60 0.51 0.31 0.17
0.61 0.44 0.25 0.09 0.03 0.60 0.43 0.25 0.16 0.11 0.66 0.49 0.42 0.35 0.24 0.73 0.58 0.51 0.33 0.19
0.62 0.42 0.23 0.09 0.04 0.60 0.44 0.25 0.16 0.11 0.66 0.48 0.41 0.34 0.24 0.73 0.59 0.50 0.31 0.17
"""),
    "ImageNet",
)
