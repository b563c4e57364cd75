"""Finished runs from their folders: repeats together, their scores, and what tells a recipe from those beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from lattice import SpecificationError
from lattice.checks import is_real
from lattice.results.files import read_arrays
from validation.evaluation.runs.paper import Printed, printed
from validation.training.checkpoint import read_json
from validation.training.penalty import Penalty
from validation.training.recipes import Recipe
from validation.training.scores import best_row

__all__ = ["Group", "Result", "collect", "grouped", "label"]


@dataclass(frozen=True, eq=False)
class Result:
    """One finished run: its folder, recipe and what result.json says."""

    folder: Path
    recipe: Recipe
    content: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ by their seed alone."""

    results: tuple[Result, ...]

    @property
    def recipe(self) -> Recipe:
        """The recipe, with the seed of the first run."""
        return self.results[0].recipe

    def score(self, name: str, when: str = "scores") -> tuple[float, float]:
        """Mean over repeats of "top1", "top5", "tv", "loss" or "asymmetry", and its standard error (NaN for one run)."""
        values = []
        for result in self.results:
            try:
                values.append(float(np.max(result.content[when][name])))
            except (KeyError, TypeError, ValueError, OverflowError) as missing:
                raise SpecificationError(f"{result.folder / 'result.json'} has no number {name} in its {when}") from missing
        error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
        return float(np.mean(values)), error

    def landscape(self, when: str = "after") -> "np.ndarray[Any, Any]":
        """I' on the test images "before" or "after" training, its mean square one: the root mean square over repeats."""
        squares = [read_arrays(result.folder / "landscape.npz")[1][when] ** 2 for result in self.results]
        return np.asarray(np.sqrt(np.mean(squares, axis=0)))

    @property
    def printed(self) -> Printed | None:
        """The paper's own numbers, where the setting is the same."""
        return printed(self.recipe)


def collect(folders: Sequence[Path]) -> list[Result]:
    """The finished runs in these folders, or in the folders right below them.

    Parameters
    ----------
    folders : sequence of Path
        Run folders, or folders that hold some.

    Returns
    -------
    list[Result]
        In the order of the folders and their names.

    Raises
    ------
    SpecificationError
        For a folder without any, naming runs that have begun and not ended.
    """
    found = []
    if not folders:
        raise SpecificationError("no run folders were named; give one or more")
    for folder in folders:
        places = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())] if folder.is_dir() else []
        ended = [place for place in places if (place / "result.json").exists()]
        if not ended:
            begun = [str(place) for place in places if (place / "config.json").exists()]
            more = f"; begun and not ended: {', '.join(begun)}; run `pilcro train` on them again" if begun else ""
            raise SpecificationError(f"{folder} holds no finished run (no result.json in it or right below it){more}")
        for place in ended:
            content = read_json(place / "result.json")
            recipe = content.get("recipe") if isinstance(content, dict) else None
            if not isinstance(recipe, dict):
                raise SpecificationError(f"{place / 'result.json'} is no result of a run: it has no recipe")
            rows = content.get("rows", [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) and is_real(row.get("top1")) for row in rows):
                raise SpecificationError(f"{place / 'result.json'} is no result of a run: its rows are not numbers of epochs")
            content.setdefault("best", best_row(rows))  # of runs of before there was one
            found.append(Result(place, Recipe.of(content["recipe"]), content))
    return found


def grouped(results: Sequence[Result]) -> list[Group]:
    """Runs by recipe, the seed apart, in the order of first appearance; refused where two have the same seed.

    Parameters
    ----------
    results : sequence of Result
        Finished runs.

    Returns
    -------
    list[Group]
        One for each recipe.
    """
    groups: dict[Recipe, list[Result]] = {}
    for result in results:
        groups.setdefault(replace(result.recipe, seed=0), []).append(result)
    for members in groups.values():
        seeds = [member.recipe.seed for member in members]
        if len(set(seeds)) < len(seeds):
            places = ", ".join(str(member.folder) for member in members)
            raise SpecificationError(f"runs with the same recipe and the same seed are no repeats: {places}")
    return [Group(tuple(members)) for members in groups.values()]


def label(recipe: Recipe, beside: Sequence[Recipe] = ()) -> str:
    """What tells a recipe from those beside it: the penalty first, then every field in which they differ, defaults left out.

    >>> label(Recipe(penalty=Penalty("target", alpha=10.0)))
    'target, alpha 10'
    """
    penalty = recipe.penalty
    words = ["no penalty" if penalty.kind == "none" else f"{penalty.kind}, {penalty.reading} {penalty.alpha:g}"]
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        differ = len({getattr(other, field.name) for other in (recipe, *beside)}) > 1
        if field.name not in ("penalty", "seed") and differ and value != field.default:
            words.append(field.name if value is True else f"{field.name} {value}")
    for field in fields(Penalty):
        penalised = [other.penalty for other in (recipe, *beside) if other.penalty.kind != "none"]
        differ = len({getattr(other, field.name) for other in penalised}) > 1
        differ |= field.name == "reduction" and penalty.reduction != field.default  # else it would be read as another weight
        if field.name not in ("kind", "alpha", "reading") and differ and penalty.kind != "none":
            words += [f"{field.name} {getattr(penalty, field.name)}"]
    return ", ".join(words)
