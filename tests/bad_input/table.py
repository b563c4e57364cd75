"""The rows of the battery: what is called with what, and the error or the right answer that is due."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError

__all__ = ["Case", "answered", "answers", "refused", "refuses", "same", "table"]


@dataclass(frozen=True)
class Case:
    """`call(folder)`, on a fresh folder, raises `error` with `says` in its message, or returns `gives`."""

    subject: str
    what: str
    call: Callable[[Path], Any]
    error: type[Exception] | None = None
    says: str = ""
    gives: Any = None

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}"


def refuses(
    subject: str, what: str, call: Callable[[Path], Any], says: str, error: type[Exception] = SpecificationError
) -> Case:
    """A request that cannot be met."""
    return Case(subject, what, call, error, says)


def answers(subject: str, what: str, call: Callable[[Path], Any], gives: Any) -> Case:
    """A strange request that has a right answer."""
    return Case(subject, what, call, gives=gives)


Row = Callable[[str], Case]


def refused(what: str, call: Callable[[Path], Any], says: str, error: type[Exception] = SpecificationError) -> Row:
    """A row of `table`: a request that cannot be met."""
    return lambda subject: refuses(subject, what, call, says, error)


def answered(what: str, call: Callable[[Path], Any], gives: Any) -> Row:
    """A row of `table`: a strange request that has a right answer."""
    return lambda subject: answers(subject, what, call, gives)


def table(rows: Mapping[str, Sequence[Row]]) -> list[Case]:
    """The cases of rows that stand under what they are about."""
    return [row(subject) for subject, own in rows.items() for row in own]


def same(found: Any, expected: Any) -> bool:
    """Equality, exact for whole numbers, to 1e-12 for floats, also inside arrays and lists."""
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu().numpy()
    if isinstance(expected, float) or (isinstance(found, np.ndarray) and found.dtype.kind == "f"):
        return np.shape(found) == np.shape(expected) and bool(np.allclose(found, expected, rtol=1e-12, atol=0, equal_nan=True))
    if isinstance(found, np.ndarray):
        return bool(found.tolist() == (expected.tolist() if isinstance(expected, np.ndarray) else expected))
    return bool(found == expected)
