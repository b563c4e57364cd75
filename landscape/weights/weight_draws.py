"""The draws of one layer's weights: their moments over all entries, and the entries themselves over a sample of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isqrt, prod
from typing import Any

import numpy as np

__all__ = ["AXES", "FEWEST", "FINEST", "LEAST_CHANCE", "LayerDraws", "Moments", "moments_of", "pooled"]

Array = np.ndarray[Any, Any]
AXES = ("draws", "channels of the first axis", "channels of the second axis", "taps")
LEAST_CHANCE = 2e-9  # what independent weights do less often than this is not chance
FEWEST = 30  # that many signs all alike are rarer than that: of fewer weights nothing can be said
PIECE = 1 << 17  # numbers, in double precision 1 MiB
SAMPLE = 1 << 13  # entries that are looked at one by one
KEPT = 1 << 17  # numbers kept of all draws of a layer, and four draws of any
FINEST = 2.0**-23  # torch draws uniform numbers on a grid of 24 bits, in double precision too where a model was converted


@dataclass(frozen=True)
class Moments:
    """Of a layer's weights: how many, their mean, their second moment at every tap, their fourth moment."""

    count: int
    mean: float
    squares: Array
    fourth: float

    @property
    def deviation(self) -> float:
        return float(np.sqrt(max(self.squares.mean() - self.mean**2, 0)))

    @property
    def variance_error(self) -> float:
        """Relative standard error of the second moment m2 of n independent weights: ((m4 / m2^2 - 1) / n)^(1/2).

        Of fewer than 30 weights the fourth moment is not known: it is taken to be that of normal ones, m4 = 3 m2^2, at least.
        """
        square = float(self.squares.mean())
        if square == 0:
            return 0.0
        excess = max(
            self.fourth / square / square - 1, 2.0 if self.count < FEWEST else 0.0
        )  # of random signs it is 0, up to rounding
        return float(np.sqrt(excess / self.count))


def moments_of(weight: Array) -> Moments:
    """Sums in double precision, over pieces that stay in the processor's cache; weight (out, in, *taps), or any vector.

    By einsum: products of matrices would run in threads that wait for those of torch, which takes longer than the sums.
    """
    rows = weight.reshape(-1, prod(weight.shape[2:]))
    sums, squares, fourth = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), 0.0
    for piece in np.array_split(rows, -(-weight.size // PIECE)):
        numbers = piece.astype(np.float64)
        sums += np.einsum("rt->t", numbers)
        numbers *= numbers
        squares += np.einsum("rt->t", numbers)
        fourth += float(np.einsum("rt,rt->", numbers, numbers))
    return Moments(weight.size, float(sums.sum()) / weight.size, squares / len(rows), fourth / weight.size)


def pooled(draws: list[Moments]) -> Moments:
    """The moments of several draws of as many weights, taken together."""
    if len(draws) == 1:
        return draws[0]
    return Moments(
        sum(draw.count for draw in draws),
        float(np.mean([draw.mean for draw in draws])),
        np.mean([draw.squares for draw in draws], axis=0),
        float(np.mean([draw.fourth for draw in draws])),
    )


class LayerDraws:
    """What is kept of the draws of one weight (out, in, *taps), or (in, out, *taps): enough to judge every entry.

    `same`: for every entry, whether all draws so far gave the same number; `None` once none is. `sample`: draws of some rows
    and columns with all their taps, (draws, rows, columns, taps): of all of them in layers of up to 8,192 weights.
    """

    def __init__(self, name: str, weight: Array, precision: float, fixed: bool) -> None:
        self.name = name
        self.first = weight
        self.fixed = fixed  # it asks for no gradient
        self.draws = 1
        self.same: Array | None = None
        self.moments = [moments_of(weight)]
        self._precision = precision
        self._rows, self._columns = _chosen(*self._cube(weight).shape)
        self._kept = [self._chosen(weight)]
        self._stacked: Array | None = None

    @property
    def count(self) -> int:
        return int(self.first.size)

    @cached_property
    def vanishes(self) -> bool:
        """Is the first draw all zeros?"""
        return not (np.any(self._kept[0]) or np.any(self.first))

    @property
    def sample(self) -> Array:
        if self._stacked is None:
            self._stacked = np.stack(self._kept)
        return self._stacked

    @cached_property
    def sizes(self) -> Array:
        """The different sizes of the entries of the first draw that are looked at, in order."""
        return np.unique(np.abs(self._entries(self.first)))  # in their own type: half as many bytes to sort

    @cached_property
    def along_axes(self) -> list[tuple[str, Array]]:
        """The sampled weights along each axis, (places, numbers at each), divided by the largest."""
        sample = self.sample / np.abs(self.sample).max()
        candidates = [
            (name, np.moveaxis(sample, axis, 0).reshape(sample.shape[axis], -1))
            for axis, name in enumerate(AXES)
            if sample.shape[axis] > 1
        ]
        return [*candidates, ("entries", sample.reshape(len(sample), -1).T)]

    @cached_property
    def precision(self) -> float:
        """The chance that two numbers are the same because they were rounded: as fine as the type, or what it was cast from."""
        values = self._kept[0].ravel()
        if len(self.sizes) < 32:
            return self._precision  # a few round numbers are a filter written down, not a number format
        for drop, precision in ((45, 2.0**-7), (42, 2.0**-10)):  # the last bits of bfloat16 and float16 in double precision
            if not np.any(np.ascontiguousarray(values).view(np.uint64) & np.uint64((1 << drop) - 1)):
                return max(precision, self._precision)
        return self._precision

    def add(self, weight: Array) -> None:
        """One more draw."""
        if self.draws == 1 or self.same is not None:
            same = weight == self.first
            if self.same is not None:
                same &= self.same
            self.same = same if same.any() else None
        self.draws += 1
        self.moments.append(moments_of(weight))
        if len(self._kept) < 4 or (len(self._kept) + 1) * self._kept[0].size <= KEPT:
            self._kept.append(self._chosen(weight))
            self._stacked = None
            self.__dict__.pop("along_axes", None)

    @staticmethod
    def _cube(weight: Array) -> Array:
        return weight.reshape(len(weight), weight.shape[1] if weight.ndim > 1 else 1, -1)

    def _entries(self, weight: Array) -> Array:
        return self._cube(weight)[self._rows][:, self._columns]

    def _chosen(self, weight: Array) -> Array:
        return self._entries(weight).astype(np.float64)


def _chosen(rows: int, columns: int, taps: int) -> tuple[Array, Array]:
    """Rows and columns of a sample: pairs of neighbours, evenly spread."""
    side = max(isqrt(SAMPLE // taps), 8)
    across = min(columns, max(side, SAMPLE // (taps * min(rows, side))))
    down = min(rows, max(side, SAMPLE // (taps * across)))
    return _spread(rows, down), _spread(columns, across)


def _spread(size: int, most: int) -> Array:
    if size <= most:
        return np.arange(size)
    starts = np.linspace(0, size - 2, max(most // 2, 1)).astype(int)
    return np.unique(np.concatenate([starts, starts + 1]))
