"""Committed results, read from where their commands wrote them, and the numbers that the paper prints in Tables 3 and 4."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from validation.evaluation.runs.paper import SETTINGS as SETTINGS_OF_THE_PAPER
from validation.evaluation.runs.paper import Setting
from validation.evaluation.runs.paper_robustness import CATEGORIES
from validation.evaluation.runs.paper_robustness import TABLE_3 as PRINTED_3
from validation.evaluation.runs.paper_robustness import TABLE_4 as PRINTED_4

__all__ = [
    "CATEGORIES", "SETTINGS", "TABLE_3", "TABLE_4", "Network", "Value", "gallery", "over_seeds", "reproduced", "study", "trial",
]  # fmt: skip

DOCS = Path(__file__).parents[2] / "docs"


class Value(NamedTuple):
    """A mean over seeds and its standard error (0 where there is none)."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:g} ± {self.error:g}" if self.error else f"{self.mean:g}"


class Network(NamedTuple):
    """One row of docs/gallery.md; `verdict` is empty where nothing was measured, and the end of the error's interval NaN."""

    guarantee: str
    verdict: str
    variation: float
    error_high: float


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
        row["network"]: Network(
            row["guarantee"], row["verdict"], float(row["total variation"]), float(row["error high"] or "nan")
        )
        for _, row in _tables(DOCS / "gallery.md")
        if row["guarantee"] != "refused"
    }


@cache
def _kept(file: str) -> dict[str, Any]:
    return dict(json.loads((DOCS / file).read_text(encoding="utf-8")))


def reproduced(part: str) -> dict[str, Any]:
    """The numbers of a part of docs/laptop.md, from docs/laptop.json."""
    return dict(_kept("laptop.json")[part])


def trial(name: str) -> dict[str, Any]:
    """The numbers of `python -m experiments.trials`, from docs/trials.json."""
    return dict(_kept("trials.json")[name])


def study(name: str) -> dict[str, dict[str, Value]]:
    """One of the studies of docs/laptop.md: each run's scores, as means over seeds with their standard errors."""
    runs = {run: scores for run, scores in reproduced(name).items() if isinstance(scores, dict)}
    return {
        run: {score: over_seeds(by.values()) for score, by in scores.items() if score != "moved"}
        for run, scores in runs.items()
    }


def over_seeds(values: Iterable[float]) -> Value:
    """Mean and standard error."""
    found = list(values)
    mean = sum(found) / len(found)
    spread = (sum((v - mean) ** 2 for v in found) / (len(found) - 1) / len(found)) ** 0.5 if len(found) > 1 else 0.0
    return Value(float(f"{mean:.4g}"), float(f"{spread:.1g}"))


SETTINGS = [*SETTINGS_OF_THE_PAPER[1:], SETTINGS_OF_THE_PAPER[0]]


def _means(table: Mapping[Setting, Mapping[str, Sequence[float]]], name: dict[str, str]) -> dict[Setting, dict[str, float]]:
    """(RC- or RC+ or ImageNet, penalty, alpha) -> category -> mean robustness over the five levels."""
    return {
        (name[augmentation], kind, alpha): {category: round(sum(values) / 5, 4) for category, values in row.items()}
        for (augmentation, kind, alpha), row in table.items()
    }


TABLE_3 = _means(PRINTED_3, {"flip": "RC-", "flip+crop": "RC+"})
TABLE_4 = _means(PRINTED_4, {"zoom": "ImageNet"})
