"""Fields that repeat: what the units of a layer see on one axis of the unbounded line, and how windows compose it.

    unit r of a period sees [first_r, last_r];     unit j = q t + r sees [first_r + p t, last_r + p t].

A `Field` is a union of such periods, one per effective stride p / q: branches that move at different speeds stay apart,
because no single period describes their union.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, singledispatch
from math import gcd, lcm
from typing import TypeAlias

from lattice.errors import SpecificationError
from lattice.network.windows.axis import AxisMap
from lattice.network.windows.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.windows.window import TransposedWindow, Window

__all__ = ["Field", "Interval", "Period", "everywhere", "hull", "interleave", "read", "unbounded"]

Interval: TypeAlias = tuple[int, int] | None  # None: sees nothing


@dataclass(frozen=True, slots=True)
class Period:
    """Unit r sees phases[r], r < q = len(phases), and unit j + q what unit j sees, `advance` cells further."""

    advance: int
    phases: tuple[Interval, ...]

    @property
    def stride(self) -> Fraction:
        return Fraction(self.advance, len(self.phases))

    def at(self, j: int) -> Interval:
        turns, phase = divmod(j, len(self.phases))
        seen = self.phases[phase]
        return None if seen is None else (seen[0] + self.advance * turns, seen[1] + self.advance * turns)


@dataclass(frozen=True, slots=True)
class Field:
    """What the units of a layer see on one axis: the union of its periods, which have different strides."""

    periods: tuple[Period, ...]

    def at(self, j: int) -> Interval:
        """The hull of the cells that unit j sees."""
        return _union(period.at(j) for period in self.periods)

    @property
    def size(self) -> int:
        """The largest hull of any single period."""
        return max(map(_size, self.periods))

    @property
    def stride(self) -> Fraction:
        """The stride of the period with the largest hull, among those that move at all."""
        return max(self.periods, key=lambda period: (period.stride != 0, _size(period))).stride

    @property
    def centres(self) -> tuple[Fraction | None, ...]:
        """Stride and centres of one period, in lowest terms: equal for fields that are aligned."""
        centres: list[Fraction | None] = []
        for period in self.periods:
            # the centre of each unit relative to where its stride has carried it, so that periods of any length compare
            offsets = [
                None if seen is None else Fraction(sum(seen), 2) - r * period.stride for r, seen in enumerate(period.phases)
            ]
            centres += [period.stride, *_shortest(offsets)]
        return tuple(centres)

    def __str__(self) -> str:
        parts = []
        for period in self.periods:
            seen = [interval for interval in period.phases if interval is not None]
            if not seen:
                parts.append("no cells")
                continue
            middles = dict.fromkeys(str(Fraction(sum(interval), 2)) for interval in seen)
            parts.append(f"{_size(period)} cells every {period.stride} centred on {', '.join(middles)}")
        return " and ".join(parts)


def _size(period: Period) -> int:
    return max((seen[1] - seen[0] + 1 for seen in period.phases if seen is not None), default=0)


def _union(intervals: Iterable[Interval]) -> Interval:
    seen = [interval for interval in intervals if interval is not None]
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None


def _shortest(offsets: list[Fraction | None]) -> list[Fraction | None]:
    length = next(q for q in range(1, len(offsets) + 1) if offsets == offsets[:q] * (len(offsets) // q))
    return offsets[:length]


def hull(fields: Iterable[Field]) -> Field:
    """The union of fields: periods of one stride become one period, of the least common length."""
    distinct = list(dict.fromkeys(fields))
    if len(distinct) == 1:
        return distinct[0]
    by_stride: dict[Fraction, list[Period]] = {}
    for field in distinct:
        for period in field.periods:
            by_stride.setdefault(period.stride, []).append(period)
    return Field(tuple(_one_period(periods) for _, periods in sorted(by_stride.items())))


def _one_period(periods: Sequence[Period]) -> Period:
    length = lcm(*(len(period.phases) for period in periods))
    phases = tuple(_union(period.at(j) for period in periods) for j in range(length))
    return Period(int(periods[0].stride * length), phases)


# --- one axis of a layer, without borders -----------------------------------------------------------------------------


@singledispatch
def unbounded(window: AxisMap, n: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """How a window reads the unbounded line: (advance p, the cells that units 0..q-1 read); unit j + q reads p further.

    >>> unbounded(Window(kernel=3, stride=2, padding=(1, 1)), 8)
    (2, ((-1, 0, 1),))
    >>> unbounded(TransposedWindow(kernel=3, stride=2, padding=(1, 1)), 8)
    (1, ((0,), (1, 0)))
    """
    raise SpecificationError(f"no unbounded rule for {window!r}; add one with lattice.geometry.periods.unbounded.register")


@unbounded.register
def _(window: Window, n: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    return window.stride, (tuple(window.dilation * k - window.padding[0] for k in range(window.kernel)),)


@unbounded.register
def _(window: TransposedWindow, n: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    def cells(j: int) -> Iterator[int]:
        for k in range(window.kernel):
            i, rest = divmod(j + window.padding[0] - window.dilation * k, window.stride)
            if not rest:
                yield i

    return 1, tuple(tuple(cells(j)) for j in range(window.stride))


@unbounded.register
def _(window: AdaptiveWindow, n: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    size, common = window.size, gcd(window.size, n)
    return n // common, tuple(tuple(range(j * n // size, -(-(j + 1) * n // size))) for j in range(size // common))


@unbounded.register
def _(window: ResizeWindow, n: int) -> tuple[int, tuple[tuple[int, ...], ...]]:
    size, common = window.size, gcd(window.size, n)
    phases = range(size // common)
    if window.mode == "nearest":
        return n // common, tuple((j * n // size,) for j in phases)

    def cells(j: int) -> tuple[int, ...]:
        first, rest = divmod((2 * j + 1) * n - size, 2 * size)
        return (first, first + 1) if rest else (first,)

    return n // common, tuple(cells(j) for j in phases)


@lru_cache(maxsize=4096)
def read(window: AxisMap, n: int, field: Field) -> Field:
    """The field of the units that read through `window` units whose field is `field`."""
    advance, cells = unbounded(window, n)
    return Field(tuple(_compose(advance, cells, period) for period in field.periods))


def _compose(advance: int, cells: Sequence[Sequence[int]], below: Period) -> Period:
    length = len(below.phases)
    turns = length // gcd(length, advance)  # periods of the window that make whole periods below
    phases = tuple(_union(below.at(i + turn * advance) for i in reads) for turn in range(turns) for reads in cells)
    return Period(below.advance * (turns * advance // length), phases)


def interleave(strands: Sequence[Field]) -> Field:
    """Unit len(strands) * i + a sees what unit i of strand a sees."""
    factor, periods = len(strands), []
    for a, strand in enumerate(strands):
        for period in strand.periods:
            spread = (seen if r == a else None for seen in period.phases for r in range(factor))
            periods.append(Field((Period(period.advance, tuple(spread)),)))
    return hull(periods)


def everywhere(field: Field, n: int) -> Field:
    """The hull of units 0..n-1, which stands still."""
    return Field((Period(0, (_union(field.at(j) for j in range(n)),)),))
