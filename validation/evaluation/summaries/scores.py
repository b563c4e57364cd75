"""Tables 1 and 2 from run folders: Top-1, Top-5, TV and loss with standard errors, the paper's numbers beside."""

from collections.abc import Sequence

from validation.evaluation.runs.tables import Group, label
from validation.evaluation.summaries.cells import Cell, Row, Table

__all__ = ["scores_table"]

NAN = float("nan")
HEADS = {"top1": "Top-1", "top5": "Top-5", "tv": "TV", "loss": "Loss"}
DIGITS = {"top1": 4, "top5": 4, "tv": 5, "loss": 4}  # the paper's
NOTE = (
    "Means over repeats with other seeds; s.e.: their standard error. TV: mean squared neighbour difference of the "
    "test landscape with mean square one; flip asymmetry: ||I' - flipped|| / ||I' + flipped||, the larger of the two axes; TV "
    "before: of the network before its first step."
)


def scores_table(groups: Sequence[Group]) -> Table:
    """One row for each recipe; the paper's own numbers beside it where the setting is the same.

    Parameters
    ----------
    groups : sequence of Group
        Recipes with their repeats.

    Returns
    -------
    Table
        In the order of the groups.
    """
    recipes = [group.recipe for group in groups]
    beside = any(group.printed for group in groups)
    columns = [("", head) for head in (*HEADS.values(), "flip asymmetry", "TV before")]
    columns += [("paper", head) for head in HEADS.values()] if beside else []
    rows = []
    for group in groups:
        cells = [Cell(*group.score(name), NAN) for name in (*HEADS, "asymmetry")]
        cells.append(Cell(group.score("tv", "before")[0], NAN, NAN))
        paper = group.printed or (NAN,) * len(HEADS)
        cells += [Cell(value, NAN, NAN) for value in paper] if beside else []
        rows.append(Row(label(group.recipe, recipes), len(group.results), tuple(cells)))
    digits = (*DIGITS.values(), 3, DIGITS["tv"], *(DIGITS.values() if beside else ()))
    return Table("", tuple(columns), tuple(rows), digits=digits, note=NOTE)
