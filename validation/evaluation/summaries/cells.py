"""Tables of means with their standard errors, in Markdown, LaTeX (booktabs) and plain values for JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

__all__ = ["Cell", "Row", "Table", "plain"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean over repeats, its standard error over them (NaN for one), and the mean of theirs over images."""

    mean: float
    over_repeats: float
    over_images: float

    @classmethod
    def of(cls, values: Sequence[tuple[float, float]]) -> "Cell":
        """From (value, standard error over images) of each repeat.

        >>> Cell.of([(1.0, 0.5), (3.0, 0.5)])
        Cell(mean=2.0, over_repeats=1.0, over_images=0.5)
        """
        means, errors = np.asarray(values, dtype=float).reshape(-1, 2).T
        spread = float(means.std(ddof=1) / len(means) ** 0.5) if len(means) > 1 else float("nan")
        return cls(float(means.mean()), spread, float(errors.mean()))

    @property
    def error(self) -> float:
        """Over repeats, where there are some, else over images."""
        return self.over_images if np.isnan(self.over_repeats) else self.over_repeats


@dataclass(frozen=True)
class Row:
    """What the row is about, how many repeats it is a mean of, and its cells."""

    label: str
    repeats: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """`columns`: (heading over several columns or "", own heading). `best`: which of a column is bold."""

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    digits: int | tuple[int, ...] = 4
    """after the decimal point, of all columns or of each"""
    scale: float = 1.0
    best: Literal["high", "low", ""] = ""
    below: bool = False
    """standard errors in a row of their own, for tables of many columns"""
    note: str = ""

    def _texts(self, joined: str, bold: str) -> list[list[str]]:
        lines = []
        means = np.array([[cell.mean for cell in row.cells] for row in self.rows])
        for row in self.rows:
            errors = [_error(cell.error * self.scale) for cell in row.cells]
            cells = []
            for column, cell in enumerate(row.cells):
                digits = self.digits if isinstance(self.digits, int) else self.digits[column]
                text = "–" if np.isnan(cell.mean) else f"{cell.mean * self.scale:.{digits}f}"
                every = means[:, column]
                if self.best and len(self.rows) > 1 and not np.isnan(every).all():
                    most = np.nanmax(every) if self.best == "high" else np.nanmin(every)
                    text = bold % text if cell.mean == most else text
                shown = not self.below and not np.isnan(cell.mean) and errors[column]
                cells.append(f"{text}{joined}{errors[column]}" if shown else text)
            lines.append([row.label, str(row.repeats), *cells])
            if self.below:
                lines.append([joined.strip(), "", *errors])
        return lines

    def markdown(self) -> str:
        """With a heading over several columns before the first of them."""
        spans = ["", *(span for span, _ in self.columns)]
        head = [
            f"{span} {name}" if span and span != before else name
            for before, (span, name) in zip(spans, self.columns, strict=False)
        ]
        lines = [["run", "repeats", *head], ["---"] * (2 + len(head)), *self._texts(" ± ", "**%s**")]
        body = ["| " + " | ".join(line) + " |" for line in lines]
        return "\n".join([f"## {self.title}", "", *body, "", self.note, ""])

    def latex(self) -> str:
        """With booktabs; headings over several columns are centred above them, as in the paper's Tables 3 and 4."""
        spans = [span for span, _ in self.columns]
        top = []
        if any(spans):
            cells, rules, first = [], [], 0
            while first < len(spans):
                wide = next((i for i in range(first, len(spans)) if spans[i] != spans[first]), len(spans)) - first
                cells.append(rf"\multicolumn{{{wide}}}{{c}}{{{_escaped(spans[first])}}}")
                rules.append(rf"\cmidrule(lr){{{first + 3}-{first + 2 + wide}}}")
                first += wide
            top = [" & & " + " & ".join(cells) + r" \\", " ".join(rules)]
        head = " & ".join(map(_escaped, ["run", "repeats", *(name for _, name in self.columns)])) + r" \\"
        texts = self._texts(r" $\pm$ ", r"\textbf{%s}")
        body = [" & ".join([_escaped(line[0]), *line[1:]]) + r" \\" for line in texts]
        begin = [f"% {self.title}", rf"\begin{{tabular}}{{l{'r' * (1 + len(spans))}}}", r"\toprule"]
        return "\n".join([*begin, *top, head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", f"% {self.note}", ""])

    def json(self) -> dict[str, Any]:
        """All numbers, by row and column."""
        names = [f"{span} {name}".strip() for span, name in self.columns]
        rows = [
            {
                "run": row.label,
                "repeats": row.repeats,
                **{
                    name: {"mean": cell.mean, "error over repeats": cell.over_repeats, "error over images": cell.over_images}
                    for name, cell in zip(names, row.cells, strict=True)
                },
            }
            for row in self.rows
        ]
        return {"title": self.title, "rows": rows, "note": self.note}


def _error(error: float) -> str:
    if np.isnan(error):
        return ""
    return f"{error:.0f}" if error >= 1 else f"{0.0 if error < 1e-12 else error:.1g}"  # zero: equal repeats, but for rounding


def _escaped(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, rf"\{sign}")
    return text if text != r"\$\pm\$" else r"$\pm$"


def plain(value: Any) -> Any:
    """Arrays as lists, and what JSON has no number for as None.

    Parameters
    ----------
    value : object
        Anything made of numbers, arrays, lists and dictionaries.

    Returns
    -------
    object
        What json.dumps takes.

    Examples
    --------
    >>> plain({"a": np.array([1.0, np.nan])})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value
