"""Committed results, read from where their commands wrote them, and the numbers that the paper prints in Tables 3 and 4."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from validation.evaluation.runs.paper import SETTINGS as SETTINGS_OF_THE_PAPER
from validation.evaluation.runs.paper import Setting
from validation.evaluation.runs.paper_robustness import CATEGORIES
from validation.evaluation.runs.paper_robustness import TABLE_3 as PRINTED_3
from validation.evaluation.runs.paper_robustness import TABLE_4 as PRINTED_4

__all__ = ["CATEGORIES", "SETTINGS", "TABLE_3", "TABLE_4", "Network", "Value", "evaluation", "gallery", "laptop", "reproduced"]

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
    """The earlier studies of docs/laptop.md by the first word of what sets each apart, by run, by column."""
    studies: dict[str, dict[str, dict[str, Value]]] = {}
    names = {
        "5000 MNIST digits in the middle": "digits",
        "The same digits": "corners",
        "Crops": "photos",
        "32 against 33": "sizes",
    }
    for heading, row in _tables(DOCS / "laptop.md"):
        study = next((name for start, name in names.items() if heading.startswith(start)), None)
        if study is None:
            continue
        values = {}
        for column, cell in row.items():
            if column not in ("run", "repeats"):
                first, _, error = cell.partition("±")
                values[column] = Value(float(first), float(error or 0))
        studies.setdefault(study, {})[row["run"]] = values
    return studies


def reproduced(experiment: str) -> dict[str, Any]:
    """What `pilcro reproduce` found at laptop scale, from docs/laptop.json; empty where it was not run."""
    content: dict[str, Any] = json.loads((DOCS / "laptop.json").read_text(encoding="utf-8"))
    return dict(content.get(experiment, {})) if experiment != "borders" else {"rows": content.get("borders", [])}


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


SETTINGS = [*SETTINGS_OF_THE_PAPER[1:], SETTINGS_OF_THE_PAPER[0]]


def _means(table: Mapping[Setting, Mapping[str, Sequence[float]]], name: dict[str, str]) -> dict[Setting, dict[str, float]]:
    """(RC- or RC+ or ImageNet, penalty, alpha) -> category -> mean robustness over the five levels."""
    return {
        (name[augmentation], kind, alpha): {category: round(sum(values) / 5, 4) for category, values in row.items()}
        for (augmentation, kind, alpha), row in table.items()
    }


TABLE_3 = _means(PRINTED_3, {"flip": "RC-", "flip+crop": "RC+"})
TABLE_4 = _means(PRINTED_4, {"zoom": "ImageNet"})
