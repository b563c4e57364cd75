"""What an evaluation says: tables in the form of the paper's, and all numbers as JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from validation.evaluation.measures.corrupted import Made
from validation.evaluation.measures.corruption_error import CorruptionError, corruption_error
from validation.evaluation.measures.robustness import Robustness
from validation.evaluation.runs.perturbed import Ablate, Corrupt
from validation.evaluation.runs.plan import Evaluation
from validation.evaluation.runs.positions import Move
from validation.evaluation.runs.subjects import Repeats
from validation.evaluation.summaries.cells import Cell, Row, Table

__all__ = ["details", "summary", "tables"]

Array = np.ndarray[Any, Any]
Runs = Sequence[Sequence[Any]]
ERRORS = "Means over repeats with other seeds, s.e.: their standard error over repeats (of one run: over images)."


def tables(
    evaluation: Evaluation, groups: Sequence[Repeats], found: Runs, *, reference: Sequence[int | None] | None = None
) -> list[Table]:
    """The tables of one evaluation.

    Parameters
    ----------
    evaluation : Evaluation
        What was evaluated.
    groups : sequence of Repeats
        Subjects by row.
    found : Runs
        What was measured of each row's repeats.
    reference : sequence of int or None, optional
        For each row the row that its mCE is relative to, as `references` gives them; without, AlexNet.

    Returns
    -------
    list[Table]
        In the order of the page.
    """
    if isinstance(evaluation, Corrupt):
        return [_kept(evaluation, groups, found), *_corruption_errors(evaluation, groups, found, reference)]
    if isinstance(evaluation, Move):
        return [_places(evaluation, groups, found), *_corners(groups, found)]
    assert isinstance(evaluation, Ablate)
    note = (
        f"{evaluation.images} correctly classified test images (seed {evaluation.seed}), Integrated Gradients over "
        f"{evaluation.baselines} others as baselines with {evaluation.steps} steps each; the most relevant pixels are replaced "
        f"by the image's mean of their channel, at {evaluation.points} numbers of pixels from none to all. {ERRORS}"
    )
    rows = [[Cell.of([run.area for run in runs])] for runs in found]
    title = "Ablation of the most relevant pixels: area under the curve (Figure 5)"
    return [Table(title, (("", "area"),), _rows(groups, rows), best="high", note=note)]


def _rows(groups: Sequence[Repeats], cells: Sequence[Sequence[Cell]]) -> tuple[Row, ...]:
    return tuple(Row(group.label, len(group.subjects), tuple(row)) for group, row in zip(groups, cells, strict=True))


def _kept(evaluation: Corrupt, groups: Sequence[Repeats], found: Runs) -> Table:
    """Tables 3 and 4."""
    kinds = list(found[0][0].categories)
    columns = tuple((kind, str(severity)) for kind in kinds for severity in evaluation.severities)
    cells = []
    for runs in found:
        each = [run.by_category() for run in runs]
        cells.append(
            [
                Cell.of([(one[kind][0][i], one[kind][1][i]) for one in each])
                for kind in kinds
                for i in range(len(evaluation.severities))
            ]
        )
    made = [where for where in (evaluation.corrupted(group.subjects[0]) for group in groups) if isinstance(where, Made)]
    constants = " and ".join(sorted({where.constants for where in made}))
    origin = f"made with the {constants} constants, seed {evaluation.seed}" if made else f"read from {evaluation.published}"
    note = (
        "Mean over test images and a category's corruptions of p(class | corrupted image) / p(class | image), the class being "
        "the one predicted for the clean image; columns are severities. The corrupted images are "
        f"{origin}. {ERRORS}"
    )
    title = "Robustness to corruptions (the form of Tables 3 and 4)"
    return Table(title, columns, _rows(groups, cells), digits=2, best="high", below=True, note=note)


def _against(groups: Sequence[Repeats], reference: Sequence[int | None] | None) -> str:
    """What the errors are relative to, in words."""
    if reference is None:
        return "AlexNet on ImageNet-C, as published"
    used = {number: [groups[i].label for i, one in enumerate(reference) if one == number] for number in reference}
    named = {groups[number].label: of for number, of in used.items() if number is not None}
    if len(named) == 1:
        text = next(iter(named))
    else:
        text = "; ".join(f"{name} (of {', '.join(of)})" for name, of in named.items()) or "none"
    lacking = used.get(None, [])
    return text + (
        f". No run is it for {'; '.join(lacking)}: none without the regulariser among them, or several, saw the same images; "
        "--reference names one"
        if lacking
        else ""
    )


def _corruption_errors(
    evaluation: Corrupt, groups: Sequence[Repeats], found: Runs, reference: Sequence[int | None] | None
) -> list[Table]:
    summary, by_corruption = [], []
    for number, runs in enumerate(found):
        errors = _errors(runs, found, reference, number)
        summary.append(
            [
                Cell.of([_mean(run.clean) for run in runs]),
                Cell.of([run.overall("right") for run in runs]),
                Cell.of([run.overall("kept") for run in runs]),
                Cell.of([(one.mean, one.mean_error) for one in errors]),
                Cell.of([(one.relative_mean, one.relative_mean_error) for one in errors]),
            ]
        )
        names = errors[0].names
        by_corruption.append([Cell.of([(one.each[i], one.each_error[i]) for one in errors]) for i in range(len(names))])
    against = _against(groups, reference)
    note = (
        "Top-1 corrupted and p ratio: means over all corruptions and severities. mCE and relative mCE (Hendrycks & Dietterich "
        f"2019), 1 being the reference's own; –: there is none, or it makes no more errors than on clean images. Reference: "
        f"{against}. {ERRORS}"
    )
    heads = (("", "Top-1 clean"), ("", "Top-1 corrupted"), ("", "p ratio"), ("", "mCE"), ("", "relative mCE"))
    columns = tuple(
        (kind, found[0][0].names[i].replace("_", " ")) for kind, members in found[0][0].categories.items() for i in members
    )
    return [
        Table("Accuracy under corruption", heads, _rows(groups, summary), note=note),
        Table(
            "Corruption error of each corruption, in per cent of the reference's",
            columns,
            _rows(groups, by_corruption),
            digits=0,
            scale=100,
            best="low",
            below=True,
            note=f"Reference: {against}. {ERRORS}",
        ),
    ]


def _errors(
    runs: Sequence[Robustness], found: Runs, reference: Sequence[int | None] | None, number: int
) -> list[CorruptionError]:
    """Of each repeat; NaN where there is no reference."""
    if reference is None:
        return [corruption_error(run, None) for run in runs]
    beside = reference[number]
    if beside is not None:
        return [corruption_error(run, found[beside]) for run in runs]
    names, nan = runs[0].names, float("nan")
    none = np.full(len(names), nan)
    return [CorruptionError(names, none, none, nan, nan, none, nan, nan) for _ in runs]


def _mean(values: Array) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def _places(evaluation: Move, groups: Sequence[Repeats], found: Runs) -> Table:
    nan = float("nan")
    cells = [
        [
            Cell.of([_mean(run.location.in_place) for run in runs]),
            Cell.of([_mean(run.location.right.mean(axis=(1, 2))) for run in runs]),
            Cell.of([(run.location.accuracy.min(), nan) for run in runs]),
            Cell.of([_mean(run.location.same.mean(axis=(1, 2))) for run in runs]),
            Cell.of([run.pairs.rate for run in runs]),
            Cell.of([(run.location.asymmetry, nan) for run in runs]),
            Cell.of([(run.correlation, nan) for run in runs]),
        ]
        for runs in found
    ]
    heads = ("Top-1 in place", "Top-1, mean over shifts", "Top-1, worst shift", "as in place", "shift consistency")
    columns = tuple(("", head) for head in (*heads, "asymmetry", "correlation with the prediction"))
    note = (
        f"Test images moved by every pair of shifts from {-evaluation.reach} to {evaluation.reach} pixels in steps of "
        f"{evaluation.stride}. As in place: share of answers that are those for the unmoved image; shift consistency: of "
        f"{evaluation.pairs} pairs of random shifts of an image up to {evaluation.reach} pixels (seed {evaluation.seed}), the "
        "share with one answer (Zhang 2019); asymmetry: the largest difference of Top-1 between opposite shifts; correlation: "
        "of Top-1 over shifts with the importance that the untrained network's topology gives the pixels in which the moved "
        f"images differ; –: that hardly varies. {ERRORS}"
    )
    return Table("Location", columns, _rows(groups, cells), note=note)


def _corners(groups: Sequence[Repeats], found: Runs) -> list[Table]:
    held = [(group, runs) for group, runs in zip(groups, found, strict=True) if runs[0].by_corner is not None]
    if not held:
        return []
    cells = []
    for _, runs in held:
        members = [[run.location.in_place[run.corner == corner] for run in runs] for corner in range(4)]
        cells.append([Cell.of([_mean(one) for one in each]) for each in members])
        cells[-1] += [Cell.of([(run.corners_exposed[corner], float("nan")) for run in runs]) for corner in range(4)]
    where = ("top left", "top right", "bottom left", "bottom right")
    columns = tuple((span, place) for span in ("Top-1", "predicted importance") for place in where)
    note = (
        "Test images by the corner in which their feature sits; predicted importance: of the pixels in which those images "
        f"differ, for the untrained network, the mean over all pixels being 1. {ERRORS}"
    )
    return [Table("Corners", columns, _rows([group for group, _ in held], cells), digits=3, note=note)]


def summary(evaluation: Evaluation, runs: Sequence[Any]) -> dict[str, list[float]]:
    """The few numbers that tell most, each with its value for every repeat.

    Parameters
    ----------
    evaluation : Evaluation
        What was evaluated.
    runs : sequence of Any
        What was measured of each repeat.

    Returns
    -------
    dict[str, list[float]]
        By name, one value a repeat.
    """
    if isinstance(evaluation, Corrupt):
        kinds = {
            f"robustness, {kind}": [float(run.by_category()[kind][0].mean()) for run in runs] for kind in runs[0].categories
        }
        return {**kinds, "Top-1 corrupted": [run.overall("right")[0] for run in runs]}
    if isinstance(evaluation, Move):
        return {
            "Top-1 in place": [float(run.location.in_place.mean()) for run in runs],
            "Top-1, mean over shifts": [float(run.location.right.mean()) for run in runs],
            "shift consistency": [run.pairs.rate[0] for run in runs],
        }
    return {"area under the ablation curve": [run.area[0] for run in runs]}


def details(evaluation: Evaluation, runs: Sequence[Any]) -> dict[str, Any]:
    """The numbers behind the figures, of one group: means over its repeats.

    Parameters
    ----------
    evaluation : Evaluation
        What was evaluated.
    runs : sequence of Any
        What was measured of each repeat.

    Returns
    -------
    dict[str, Any]
        Plain values and arrays by name.
    """

    def mean(values: list[Array]) -> Array:
        return np.mean(values, axis=0)

    if isinstance(evaluation, Corrupt):
        return {
            "corruptions": runs[0].names,
            "severities": runs[0].severities,
            "Top-1": mean([run.right.mean(axis=2) for run in runs]),
            "p ratio": mean([run.kept.mean(axis=2) for run in runs]),
        }
    if isinstance(evaluation, Move):
        return {
            "shifts": runs[0].location.shifts,
            "Top-1": mean([run.location.accuracy for run in runs]),
            "as in place": mean([run.location.consistency for run in runs]),
            "predicted importance": mean([run.exposed for run in runs]),
            "no prediction": runs[0].refused,
        }
    return {"replaced": runs[0].replaced, "pixels": runs[0].pixels, "ratio": mean([run.curve for run in runs])}
