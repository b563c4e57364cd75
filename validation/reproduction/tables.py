"""Tables 1 to 4 with the paper's numbers beside them, differences from SOTA, and the paper's orderings, tried on ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from validation.evaluation.runs.paper import TABLE_1, TABLE_2, Setting
from validation.evaluation.runs.paper_robustness import CATEGORIES, TABLE_3, TABLE_4
from validation.evaluation.summaries.cells import Cell, Row, Table
from validation.reproduction.rows import Line, row_label
from validation.reproduction.significance import Difference, Ordering, paired

__all__ = ["differences", "orderings_of_robustness", "orderings_of_scores", "robustness_table", "score_tables", "text_table"]

NAN = float("nan")
HEADS = {"top1": "Top-1", "top5": "Top-5", "tv": "TV", "loss": "Loss"}
DIGITS = (4, 4, 4, 4, 4, 4, 5, 4)  # the paper prints TV to five
PRINTED = {**TABLE_1, **TABLE_2}
Values = Mapping[int, float]
NOTE = (
    "Means over seeds; s.e.: their standard error. TV: mean squared difference of neighbouring pixels of the landscape "
    "on the test images, its mean square one. The numbers of the paper are of its own data and network, one run each."
)


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)) + "\n"


def _cell(values: Values) -> Cell:
    return Cell.of([(value, NAN) for value in values.values()]) if values else Cell(NAN, NAN, NAN)


def _printed(which: Setting, imagenet: bool) -> Setting:
    """The key of a row of ours in the paper's tables: what stands for ImageNet has its augmentation's name."""
    return ("zoom" if imagenet else which[0], *which[1:])


def score_tables(rows: Sequence[Line], title: str, *, imagenet: bool) -> list[Table]:
    """Tables 1 and 2: scores of the last epoch beside the paper's, and those of the epoch with the highest Top-1.

    Parameters
    ----------
    rows : sequence of Line
        In the paper's order.
    title : str
        Of the tables.
    imagenet : bool
        Beside Table 2 instead of Table 1.

    Returns
    -------
    list of Table
        Two, with a row for each recipe; "–" where no run ended.
    """
    several = len({line.setting[0] for line in rows}) > 1 or not imagenet

    def table(when: str, words: str) -> Table:
        columns = [("", head) for head in HEADS.values()] + [("paper", head) for head in HEADS.values()]
        made = []
        for line in rows:
            paper = PRINTED[_printed(line.setting, imagenet)]
            ours = [_cell(line.values(name, when)) for name in HEADS]
            made.append(
                Row(
                    row_label(line.setting, several),
                    len(line.results),
                    (*ours, *(Cell(getattr(paper, name), NAN, NAN) for name in HEADS)),
                )
            )
        return Table(f"{title}: {words}", tuple(columns), tuple(made), digits=DIGITS, note=NOTE + _failed(rows))

    return [table("scores", "after the last epoch"), table("best", "at the epoch with the highest Top-1")]


def _failed(rows: Sequence[Line]) -> str:
    words = [
        f"{row_label(line.setting, True) if line.setting[0] in ('flip', 'flip+crop') else row_label(line.setting, False)} "
        f"(seeds {', '.join(map(str, line.failures))})"
        for line in rows
        if line.failures
    ]
    return f" Training diverged, and the run was left out: {'; '.join(words)}." if words else ""


def _log(values: Values) -> dict[int, float]:
    return {seed: float(np.log(value)) for seed, value in values.items() if value > 0}


def _of(rows: Sequence[Line]) -> dict[Setting, Line]:
    return {line.setting: line for line in rows}


def differences(rows: Sequence[Line]) -> tuple[str, list[dict[str, Any]]]:
    """Every row less SOTA with the same augmentation, over seeds: Top-1, loss, and how many times TV is lower.

    Parameters
    ----------
    rows : sequence of Line
        Of one table.

    Returns
    -------
    (str, list of dict)
        A Markdown table with 95 % intervals, and the numbers.
    """
    by, texts, numbers = _of(rows), [], []
    for (augment, kind, _), line in by.items():
        if kind == "none":
            continue
        plain = by[augment, "none", 0]
        found = {
            "Top-1": paired(line.values("top1"), plain.values("top1")),
            "Top-1 at the best epoch": paired(line.values("top1", "best"), plain.values("top1", "best")),
            "loss": paired(line.values("loss"), plain.values("loss")),
            "first epoch": paired(line.early, plain.early),
        }
        flatter = paired(_log(plain.values("tv")), _log(line.values("tv")))
        label = row_label(line.setting, augment in ("flip", "flip+crop"))
        norms = [result.content.get("gradient_norms", {}).get("ratio", NAN) for result in line.results]
        texts.append([label, *map(str, found.values()), _factor(flatter), f"{np.mean(norms) if norms else NAN:.3g}"])
        numbers.append(
            {"row": label, "seeds": flatter.seeds, "gradient ratio at step 0": norms}
            | {name: [d.mean, d.low, d.high, d.p] for name, d in {**found, "log TV": flatter}.items()}
        )
    head = [
        "row",
        "Top-1",
        "Top-1 at the best epoch",
        "loss",
        "Top-1 in the first epoch",
        "TV lower by the factor",
        "gradients",
    ]
    note = (
        "Means over seeds of the difference from SOTA with the same seed, with Student's 95 % interval. First epoch: the mean "
        "of Top-1 inside it and at its end. Gradients: the norm of the penalty's, weight included, over that of the "
        "cross-entropy, before the first step."
    )
    return f"## Differences from SOTA\n\n{text_table(head, texts)}\n{note}\n", numbers


def _factor(log: Difference) -> str:
    mean, low, high = (float(np.exp(value)) for value in (log.mean, log.low, log.high))
    return f"{mean:.3g}" if np.isnan(low) else f"{mean:.3g} [{low:.3g}, {high:.3g}]"


def orderings_of_scores(rows: Sequence[Line]) -> list[Ordering]:
    """What Section 4.2 says of Tables 1 and 2, for each augmentation: best, flattest, fastest, and what cropping does."""
    by, found = _of(rows), []
    augments = list(dict.fromkeys(line.setting[0] for line in rows))
    for augment in augments:
        plain = by[augment, "none", 0]
        others = {key: line for key, line in by.items() if key[0] == augment}
        best = by[augment, "target", 10]
        where = {"flip": "RC-: ", "flip+crop": "RC+: "}.get(augment, "")
        top, logs = best.values("top1"), {key: _log(line.values("tv")) for key, line in others.items()}
        found += [
            Ordering(
                f"{where}¶_t with α = 10 has a higher Top-1 than all others",
                [(top, line.values("top1")) for line in others.values() if line is not best],
            ),
            Ordering(f"{where}¶_t with α = 10 has a higher Top-1 than SOTA", [(top, plain.values("top1"))]),
            Ordering(
                f"{where}every penalty lowers TV", [(logs[plain.setting], log) for key, log in logs.items() if key[1] != "none"]
            ),
            Ordering(
                f"{where}¶_t lowers TV more than ¶_c with the same α",
                [(logs[augment, "curvature", alpha], logs[augment, "target", alpha]) for alpha in (1, 10, 100)],
            ),
            Ordering(
                f"{where}¶_t (α = 1, 10) has a higher Top-1 in the first epoch than SOTA",
                [(by[augment, "target", alpha].early, plain.early) for alpha in (1, 10)],
            ),
        ]
    if set(augments) >= {"flip", "flip+crop"}:
        settings = [which[1:] for which in by if which[0] == "flip"]
        pairs = [(_log(by["flip", *which].values("tv")), _log(by["flip+crop", *which].values("tv"))) for which in settings]
        found.append(Ordering("random crops lower TV, whatever the penalty", pairs))
    return found


def robustness_table(rows: Sequence[tuple[Setting, Mapping[int, Any]]], title: str, note: str, *, imagenet: bool) -> Table:
    """Tables 3 and 4 shortened to means over the five severities, the paper's beside ours.

    Parameters
    ----------
    rows : sequence of (setting, runs)
        Seed -> what was measured of its run (`Robustness`).
    title, note : str
        Of the table.
    imagenet : bool
        Beside Table 4 instead of Table 3.

    Returns
    -------
    Table
        Four categories, and four of the paper.
    """
    columns = tuple((span, category) for span in ("", "paper") for category in CATEGORIES)
    made = []
    for which, runs in rows:
        paper = (TABLE_4 if imagenet else TABLE_3)[_printed(which, imagenet)]
        ours = [_cell(values) for values in _kept(runs).values()]
        label = row_label(which, not imagenet)
        made.append(Row(label, len(runs), (*ours, *(Cell(float(np.mean(paper[c])), NAN, NAN) for c in CATEGORIES))))
    return Table(title, columns, tuple(made), digits=3, note=note)


def _kept(runs: Mapping[int, Any]) -> dict[str, dict[int, float]]:
    """Category -> seed -> mean over severities of what is kept."""
    return {c: {seed: float(run.by_category()[c][0].mean()) for seed, run in runs.items()} for c in CATEGORIES}


def orderings_of_robustness(rows: Sequence[tuple[Setting, Mapping[int, Any]]], *, imagenet: bool) -> list[Ordering]:
    """What Section 4.2.1 says of Table 3: ¶_t with α = 10 before all others in blur, weather and digital, SOTA in noise.

    What 4.2.2 says of Table 4: every penalty before its naive counterpart, in every category.
    """
    by, found = {which: _kept(runs) for which, runs in rows}, []
    if imagenet:
        (plain,) = (kept for which, kept in by.items() if which[1] == "none")
        penalised = [kept for which, kept in by.items() if which[1] != "none"]
        return [
            Ordering(
                f"{category}: every penalty is more robust than SOTA", [(kept[category], plain[category]) for kept in penalised]
            )
            for category in CATEGORIES
        ]
    for augment in dict.fromkeys(which[0] for which in by):
        where = {"flip": "RC-: ", "flip+crop": "RC+: "}.get(augment, "")
        for category in CATEGORIES:
            first = (augment, "none", 0) if category == "noise" else (augment, "target", 10)
            name = "SOTA" if category == "noise" else "¶_t with α = 10"
            others = [kept[category] for which, kept in by.items() if which[0] == augment and which != first]
            found.append(
                Ordering(
                    f"{where}{category}: {name} is more robust than all others", [(by[first][category], o) for o in others]
                )
            )
    return found


def orderings_text(found: Sequence[Ordering]) -> str:
    """A Markdown table of statements with their verdicts."""
    if not found:
        return ""
    rows = []
    for ordering in found:
        values = ordering.json()
        right, of = values["right way round"]
        rows.append([ordering.text, ordering.verdict, f"{right} of {of}"])
    head = ["what the paper says of its table", "here", "means the right way round"]
    note = (
        "SEEN: every difference that the statement needs has a 95 % interval above zero, all of them together (Bonferroni, "
        "over seeds); CONTRADICTED: one lies below; NOT DECIDED: neither."
    )
    return f"## The paper's orderings\n\n{text_table(head, rows)}\n{note}\n"
