"""Evaluations cut into pieces, and put together again."""

from collections.abc import Sequence
from typing import Any, Protocol

from validation.evaluation.runs.pieces import Arrays, Piece, finished
from validation.evaluation.runs.subjects import Repeats, Subject
from validation.runtime.process_group import World

__all__ = ["Evaluation", "blocks", "measured"]

BLOCK = 5000  # images of one piece: minutes of a GPU, and nearly all of a laptop's data sets


class Evaluation(Protocol):
    """Pieces for subjects, and a subject's result from what its pieces gave, in their order."""

    @property
    def kind(self) -> str:
        """What files and tables call it."""

    def pieces(self, subjects: Sequence[Subject], place: World) -> list[Piece]: ...

    def result(self, subject: Subject, parts: Sequence[Arrays]) -> Any: ...


def measured(
    evaluations: Sequence[Evaluation], groups: Sequence[Repeats], place: World, *, progress: bool = False
) -> dict[str, list[list[Any]]]:
    """By kind of evaluation: the results of each group's subjects. Empty in all processes but the first.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        What to measure.
    groups : sequence of Repeats
        Subjects that are repeats of each other.
    place : World
        This process among those that share the work.
    progress : bool
        Show a bar.

    Returns
    -------
    dict[str, list[list[Any]]]
        Kind -> group -> subject.
    """
    subjects = [subject for group in groups for subject in group.subjects]
    pieces = [piece for evaluation in evaluations for piece in evaluation.pieces(subjects, place)]
    parts: dict[tuple[str, int], list[Arrays]] = {}
    found = finished(pieces, place, progress=progress)
    if not place.first:
        return {}
    for piece, arrays in zip(pieces, found, strict=True):
        for subject, one in zip(piece.subjects, arrays, strict=True):
            parts.setdefault((piece.kind, id(subject)), []).append(one)
    return {
        evaluation.kind: [
            [evaluation.result(subject, parts[evaluation.kind, id(subject)]) for subject in group.subjects] for group in groups
        ]
        for evaluation in evaluations
    }


def blocks(count: int, size: int = BLOCK) -> list[range]:
    """Runs of images that cover `count` of them.

    Parameters
    ----------
    count : int
        How many images.
    size : int
        Of a block, the last one apart.

    Returns
    -------
    list[range]
        They follow each other.

    Examples
    --------
    >>> blocks(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    return [range(first, min(first + size, count)) for first in range(0, count, size)]
