"""What a row of the speed table is, and how the ways that it compares are timed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ROWS", "Claim", "Result", "Skip", "at_least", "at_most", "row", "side_by_side"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A measured number beside its aim, which is a least or a greatest value."""

    what: str
    measured: float
    aim: float
    least: bool

    @property
    def met(self) -> bool:
        """Is the aim reached?"""
        return self.measured >= self.aim if self.least else self.measured <= self.aim


def at_least(aim: float, what: str, measured: float) -> Claim:
    """A claim that `measured` reaches `aim`."""
    return Claim(what, measured, aim, least=True)


def at_most(aim: float, what: str, measured: float) -> Claim:
    """A claim that `measured` stays within `aim`."""
    return Claim(what, measured, aim, least=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What a row measured: seconds by the name of the way, the claims that follow, and what a reader should know."""

    seconds: Mapping[str, float]
    claims: list[Claim]
    notes: list[str] = field(default_factory=list)


class Skip(Exception):  # noqa: N818 - it ends a row, it is not an error
    """A row cannot be measured here; the message says why."""


ROWS: dict[str, Callable[[], Result]] = {}


def row(name: str) -> Callable[[Callable[[], Result]], Callable[[], Result]]:
    """Enter a function into the table under this name."""

    def enter(function: Callable[[], Result]) -> Callable[[], Result]:
        ROWS[name] = function
        return function

    return enter


def side_by_side(ways: Mapping[str, Callable[[], Any]], *, seconds: float = 5.0, rounds: int = 30) -> dict[str, float]:
    """The least time of each way over rounds that run all of them in turn, so that a slow moment of the machine hits all.

    Each way runs once unmeasured before; at least three rounds, then more until `rounds` or `seconds` are used up.
    """
    for way in ways.values():
        way()
    least = dict.fromkeys(ways, float("inf"))
    started = time.perf_counter()
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - started > seconds:
            break
        for name, way in ways.items():
            before = time.perf_counter()
            way()
            least[name] = min(least[name], time.perf_counter() - before)
    return least
