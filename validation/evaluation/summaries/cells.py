"""Tables of means with their standard errors, in Markdown, LaTeX (booktabs), plain values for JSON and data frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lattice.results.values import Result

__all__ = ["Cell", "Row", "Table", "plain"]

ERROR = "s.e."  # what a column of standard errors is called
LEVEL = 0.95
BOLD = "Bold: {most}, where its 95 % interval over repeats (Student's t) parts from all others."


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

    def interval(self, repeats: int) -> tuple[float, float]:
        """Student's 95 % interval of the mean over repeats; NaN for one.

        >>> low, high = Cell.of([(1.0, 0.5), (3.0, 0.5)]).interval(2)
        >>> round(low, 3), round(high, 3)
        (-10.706, 14.706)
        """
        from scipy.special import stdtrit

        half = float(stdtrit(repeats - 1, (1 + LEVEL) / 2)) * self.over_repeats if repeats > 1 else float("nan")
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Row:
    """What the row is about, how many repeats it is a mean of, and its cells."""

    label: str
    repeats: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table(Result):
    """`columns`: (heading over several columns or "", own heading). `best`: which of a column is bold, where intervals part."""

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    digits: int | tuple[int, ...] = 4
    """after the decimal point, of all columns or of each"""
    scale: float = 1.0
    best: Literal["high", "low", ""] = ""
    below: bool = False
    """standard errors in a row of their own in LaTeX, for tables of many columns"""
    note: str = ""

    @property
    def names(self) -> list[str]:
        """What each column is called where there are no headings over several: no name stands twice, none is a number alone."""
        own = [name for _, name in self.columns]
        alone = [own.count(name) == 1 and not name.isdecimal() for name in own]
        return [name if clear else f"{span} {name}".strip() for clear, (span, name) in zip(alone, self.columns, strict=True)]

    @property
    def errors_shown(self) -> list[bool]:
        """Which columns have standard errors."""
        return [any(_error(row.cells[column].error) for row in self.rows) for column in range(len(self.columns))]

    def _means(self, row: Row, bold: str) -> list[str]:
        texts = []
        for column, cell in enumerate(row.cells):
            digits = self.digits if isinstance(self.digits, int) else self.digits[column]
            text = "–" if np.isnan(cell.mean) else f"{cell.mean * self.scale:.{digits}f}"
            texts.append(bold % text if self._stands_out(row, column) else text)
        return texts

    def _stands_out(self, row: Row, column: int) -> bool:
        """Is this the best of its column, and does its interval part from those of all other rows?"""
        others = [other for other in self.rows if other is not row and not np.isnan(other.cells[column].mean)]
        if not self.best or not others:
            return False
        low, high = row.cells[column].interval(row.repeats)
        intervals = [other.cells[column].interval(other.repeats) for other in others]
        if self.best == "high":
            return all(low > above for _, above in intervals)
        return all(high < below for below, _ in intervals)  # nothing parts from NaN

    def _errors(self, row: Row) -> list[str]:
        return [_error(cell.error * self.scale) for cell in row.cells]

    @property
    def _remark(self) -> str:
        marked = any(self._stands_out(row, column) for row in self.rows for column in range(len(self.columns)))
        most = {"high": "the highest", "low": "the lowest"}.get(self.best, "") if marked else ""
        return " ".join(text for text in (self.note, BOLD.format(most=most) if most else "") if text)

    def _beside(self, head: Sequence[str], bold: str) -> tuple[list[str], list[list[str]]]:
        """Heading and rows, with a column of standard errors beside each column that has some."""
        shown = self.errors_shown
        heads, lines = ["run", "repeats"], [[row.label, str(row.repeats)] for row in self.rows]
        texts = [(self._means(row, bold), self._errors(row)) for row in self.rows]
        for column, name in enumerate(head):
            heads += [name, f"{name} {ERROR}"] if shown[column] else [name]
            for line, (means, errors) in zip(lines, texts, strict=True):
                line += [means[column], errors[column]] if shown[column] else [means[column]]
        return heads, lines

    def markdown(self) -> str:
        """One line of headings, each its own, and each standard error in a column beside its mean."""
        head, lines = self._beside(self.names, "**%s**")
        body = ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines)]
        heading = [f"## {self.title}", ""] if self.title else []
        return "\n".join([*heading, *body, "", self._remark, ""])

    def latex(self) -> str:
        """With booktabs; headings over several columns are centred above them, as in the paper's Tables 3 and 4."""
        wide = [1 + (shown and not self.below) for shown in self.errors_shown]
        top = self._spans(wide)
        if self.below:
            head = ["run", "repeats", *(name for _, name in self.columns)]
            lines = []
            for row in self.rows:
                lines.append([row.label, str(row.repeats), *self._means(row, r"\textbf{%s}")])
                lines.append([ERROR, "", *self._errors(row)])
        else:
            head, lines = self._beside([name for _, name in self.columns], r"\textbf{%s}")
            head = [ERROR if name.endswith(f" {ERROR}") else name for name in head]
        body = [" & ".join([_escaped(line[0]), *line[1:]]) + r" \\" for line in lines]
        begin = [*([f"% {self.title}"] if self.title else []), rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule"]
        middle = [" & ".join(map(_escaped, head)) + r" \\", r"\midrule", *body]
        return "\n".join([*begin, *top, *middle, r"\bottomrule", r"\end{tabular}", f"% {self._remark}", ""])

    def _spans(self, wide: Sequence[int]) -> list[str]:
        """The line of headings over several columns, and the rules below them; nothing where there are none."""
        spans = [span for span, _ in self.columns]
        if not any(spans):
            return []
        cells, rules, first, place = [], [], 0, 3
        while first < len(spans):
            last = next((i for i in range(first, len(spans)) if spans[i] != spans[first]), len(spans))
            width = sum(wide[first:last])
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{_escaped(spans[first])}}}")
            rules += [rf"\cmidrule(lr){{{place}-{place + width - 1}}}"] if spans[first] else []
            first, place = last, place + width
        return [" & & " + " & ".join(cells) + r" \\", " ".join(rules)]

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
        return {"title": self.title, "rows": rows, "note": self._remark}

    _facts = json
    _made_of = (Row, Cell)

    def _rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.json()["rows"]
        return rows


def _error(error: float) -> str:
    if np.isnan(error):
        return ""
    return f"{error:.0f}" if error >= 1 else f"{0.0 if error < 1e-12 else error:.1g}"  # zero: equal repeats, but for rounding


def _escaped(text: str) -> str:
    for sign in "&%$#_{}":
        text = text.replace(sign, rf"\{sign}")
    return text


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
