"""Which run the corruption errors of each other are relative to: by default the one without the regulariser."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lattice import SpecificationError
from validation.evaluation.runs.subjects import Repeats
from validation.training.penalty import Penalty
from validation.training.recipes import Recipe

__all__ = ["ALEXNET", "AUTO", "references"]

AUTO, ALEXNET = "auto", "alexnet"


def references(groups: Sequence[Repeats], reference: str = AUTO) -> list[int | None]:
    """The number of each group's reference among the groups; None where there is none, or AlexNet is it.

    Of runs, "auto" is the unregularised one on the same images: the one of the same recipe, or else the only one. Of factories,
    which say nothing about their training, it is the first.

    Parameters
    ----------
    groups : sequence of Repeats
        What is evaluated.
    reference : str
        "auto", "alexnet", a label, a run folder (one of its repeats, or the folder that holds them), a factory, or its weights.

    Returns
    -------
    list of int or None
        One for each group.

    Raises
    ------
    SpecificationError
        For a name that none of them has, or several have.
    """
    if reference == ALEXNET:
        return [None] * len(groups)
    if reference != AUTO:
        chosen = _named(groups, reference)
        return [chosen if _together(groups[chosen], group) else None for group in groups]
    return [_unregularised(groups, group) for group in groups]


def _together(first: Repeats, second: Repeats) -> bool:
    """Did both see the same images?"""
    return first.subjects[0].images == second.subjects[0].images


def _named(groups: Sequence[Repeats], name: str) -> int:
    where = Path(name).resolve()

    def is_called(group: Repeats) -> bool:
        places = [place.resolve() for place in group.places]
        return name == group.label or where in places or {place.parent for place in places} == {where}

    found = [number for number, group in enumerate(groups) if is_called(group)]
    if len(found) == 1:
        return found[0]
    there = "; ".join(f"{group.label} ({', '.join(map(str, group.places))})" for group in groups)
    several = "names several of" if found else "is none of"
    raise SpecificationError(f"--reference {name} {several} what is evaluated: {there}; or give auto or alexnet")


def _without(recipe: Recipe) -> Recipe:
    """The recipe without the regulariser, whatever its seed."""
    return replace(recipe, penalty=Penalty(), reweight=False, seed=0)


def _is_plain(recipe: Recipe) -> bool:
    return recipe.penalty.kind == "none" and not recipe.reweight


def _unregularised(groups: Sequence[Repeats], group: Repeats) -> int | None:
    among = [number for number, other in enumerate(groups) if _together(other, group)]
    if group.recipe is None:
        return among[0]
    recipes = {number: recipe for number in among if (recipe := groups[number].recipe) is not None}
    plain = [number for number, recipe in recipes.items() if _is_plain(recipe)]
    same = [number for number in plain if _without(recipes[number]) == _without(group.recipe)]
    found = same or plain
    return found[0] if len(found) == 1 else None
