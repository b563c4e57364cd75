"""A statement of the paper, the check that tries it, and the verdict that follows from what the check found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

__all__ = ["Claim", "Finding", "Section", "Verdict", "listed", "number"]


class Verdict(Enum):
    """What became of a statement."""

    HOLDS = "HOLDS"
    HOLDS_WHEN = "HOLDS WHEN"
    MISPRINT = "MISPRINT"
    FAILS = "DOES NOT HOLD"
    NOT_TESTED = "NOT TESTED AT SCALE"


@dataclass(frozen=True)
class Finding:
    """What a check computed: the numbers in words, and what they say.

    `printed`: is the statement, as it stands, true wherever the check tried it? None where it cannot be tried here.
    `within`: is it true wherever the condition of the claim (`when`) is met? None where the claim states no condition.
    `corrected`: is the corrected statement (`instead`) true wherever the check tried it? None where nothing is corrected.
    """

    measured: str
    printed: bool | None
    within: bool | None = None
    corrected: bool | None = None

    def __post_init__(self) -> None:
        for name in ("printed", "within", "corrected"):  # numpy's booleans are no one's `False`
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else bool(value))


@dataclass(frozen=True)
class Claim:
    """One row of the page. `when` is the condition under which the statement holds, `instead` what is true instead or besides.

    `misprint`: a formula whose evident intention is right, so that only its print is wrong; `tests`: "file::function".
    """

    where: str
    statement: str
    check: Callable[[], Finding]
    when: str = ""
    instead: str = ""
    misprint: bool = False
    tests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.check.__name__

    @property
    def file(self) -> str:
        """The module of the check, relative to docs/."""
        return f"../{self.check.__module__.replace('.', '/')}.py"

    @cached_property
    def finding(self) -> Finding:
        return self.check()

    @property
    def verdict(self) -> Verdict:
        """From the finding alone; `AssertionError` where the prose of the claim says something that the numbers do not bear."""
        found = self.finding
        assert found.corrected is not False, f"{self.name}: the corrected statement is not true: {found.measured}"
        assert (found.within is not None) == bool(self.when), f"{self.name}: a condition and its trial belong together"
        if found.printed is None:
            return Verdict.NOT_TESTED
        if found.printed:
            assert not self.when, f"{self.name}: holds without its condition: {found.measured}"
            assert not self.misprint, f"{self.name}: is right as printed: {found.measured}"
            return Verdict.HOLDS
        if found.within:
            return Verdict.HOLDS_WHEN
        assert found.within is None, f"{self.name}: fails although its condition is met: {found.measured}"
        assert found.corrected, f"{self.name}: does not hold, and nothing true is put in its place: {found.measured}"
        return Verdict.MISPRINT if self.misprint else Verdict.FAILS


@dataclass(frozen=True)
class Section:
    """A part of the paper, and its claims in the paper's order."""

    title: str
    claims: list[Claim]

    def claim(self, where: str, statement: str, **prose: Any) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
        """Put the decorated check on the page, with its place in the paper, the statement, and the prose of `Claim`."""

        def add(check: Callable[[], Finding]) -> Callable[[], Finding]:
            self.claims.append(Claim(where, statement, check, **prose))
            return check

        return add


def number(value: Any) -> str:
    """Exact numbers in full, floats to three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def listed(values: Sequence[Any]) -> str:
    """Numbers in a row: (2, 3, 2)."""
    return f"({', '.join(number(value) for value in values)})"
