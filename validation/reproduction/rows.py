"""A finished sweep by the rows of the paper's tables: scores by seed, at the last epoch and at the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from validation.evaluation.runs.paper import Setting
from validation.evaluation.runs.tables import Group, Result, collect
from validation.reproduction.scales import setting
from validation.reproduction.sweep import failure
from validation.training.recipes import Recipe

__all__ = ["Line", "by_seed", "lines", "row_label"]

NAMES = {"none": "SOTA", "target": "¶_t", "curvature": "¶_c"}
CROPS = {"flip": "RC-", "flip+crop": "RC+"}


@dataclass(frozen=True, eq=False)
class Line:
    """One row: its recipe, the runs that ended, and why others did not."""

    recipe: Recipe
    results: tuple[Result, ...]
    failures: dict[int, str]

    @property
    def setting(self) -> Setting:
        """(augmentation, penalty, alpha)."""
        return setting(self.recipe)

    @property
    def group(self) -> Group | None:
        """Its runs as repeats; None where there are none."""
        return Group(self.results) if self.results else None

    def values(self, name: str, when: str = "scores") -> dict[int, float]:
        """Seed -> a score: of the last epoch ("scores"), of the one with the highest Top-1 ("best"), or "before" training."""
        return by_seed(self.results, lambda result: float(np.max(result.content[when][name])))

    @property
    def early(self) -> dict[int, float]:
        """Seed -> Top-1 averaged over the scores inside the first epoch and at its end: how fast training begins."""

        def mean(result: Result) -> float:
            rows = [*result.content.get("early", []), result.content["rows"][0]]
            return float(np.mean([row["top1"] for row in rows]))

        return by_seed(self.results, mean)


def by_seed(results: Sequence[Result], value: Callable[[Result], float]) -> dict[int, float]:
    """Seed -> a number of its run."""
    return {result.recipe.seed: value(result) for result in results}


def row_label(which: Setting, several: bool) -> str:
    """What the paper calls a row.

    Examples
    --------
    >>> (
    ...     row_label(("flip", "target", 10), several=True),
    ...     row_label(("zoom", "none", 0), several=False),
    ... )
    ('RC- ¶_t, α = 10', 'SOTA')
    """
    augment, kind, alpha = which
    name = NAMES[kind] + (f", α = {alpha}" if alpha else "")
    return f"{CROPS[augment]} {name}" if several else name


def lines(recipes: Sequence[Recipe], folders: Sequence[Path]) -> list[Line]:
    """The rows of a sweep, whose folders belong to the recipes one by one; recipes that differ by their seed share a row."""
    found: dict[Recipe, tuple[list[Result], dict[int, str]]] = {}
    for recipe, folder in zip(recipes, folders, strict=True):
        results, failures = found.setdefault(recipe.changed(seed=0), ([], {}))
        why = failure(folder)
        if why is None:
            results += collect([folder])
        else:
            failures[recipe.seed] = why
    return [Line(recipe, tuple(results), failures) for recipe, (results, failures) in found.items()]
