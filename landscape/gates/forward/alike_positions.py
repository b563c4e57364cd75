r"""Signals kept at one position of each kind: on every axis the rows that equal another one are left out.

Zero padding makes the rows near a border differ, and mirrored ones alike: of n x n positions (n / 2)^2 are left at most. What
acts at every position by itself leaves the kinds as they are; only what reads neighbours, or is asked for, needs all positions.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.averaging import alike_rows
from landscape.gates.forward.signal import Signal

__all__ = ["Signals", "Thin", "thinned", "together"]

Array = np.ndarray[Any, Any]


class Thin(NamedTuple):
    """A signal at one position of each kind, and which kind each row of every axis is."""

    signal: Signal
    kinds: tuple[Array, ...]

    def whole(self) -> Signal:
        """At all positions."""
        return Signal(*(self.spread(part) for part in self.signal))

    def mean_channel(self) -> Signal:
        """The mean over channels, at all positions."""
        return Signal(*(self.spread(part.mean(axis=0, keepdims=True)) for part in self.signal))

    def spread(self, values: Array) -> Array:
        """Values at one position of each kind, at all positions."""
        for axis, kind in enumerate(self.kinds, start=1):
            values = np.take(values, kind, axis)
        return values


def together(parts: Sequence[Thin]) -> list[Thin]:
    """The same signals at one position of each kind of all of them: alike are positions that are so in every one."""
    axes = [
        np.unique(np.stack(kinds), axis=1, return_index=True, return_inverse=True)
        for kinds in zip(*(part.kinds for part in parts), strict=True)
    ]
    kinds = tuple(kind.ravel() for _, _, kind in axes)
    finer = []
    for part in parts:
        own = tuple(old[first] for old, (_, first, _) in zip(part.kinds, axes, strict=True))
        finer.append(Thin(part._replace(kinds=own).whole(), kinds))
    return finer


def thinned(signal: Signal) -> Thin | None:
    """The same at one position of each kind, where at least every other one is left out."""
    spatial = signal.power.shape[1:]
    if not spatial:
        return None
    parts, kinds = list(np.broadcast_arrays(*signal)), []
    for axis in range(1, len(spatial) + 1):
        first, kind = alike_rows([np.moveaxis(part, axis, 0) for part in parts])
        parts = [np.take(part, first, axis) for part in parts]
        kinds.append(kind)
    found = Thin(Signal(*parts), tuple(kinds))
    return found if 2 * prod(found.signal.power.shape[1:]) <= prod(spatial) else None


class Signals(Sequence[Signal]):
    """The signals of the nodes, in their order; those that are thin are spread over all positions when they are asked for."""

    def __init__(self) -> None:
        self._whole: list[Signal | None] = []
        self._thin: list[Thin | None] = []
        self._all_differ: set[int] = set()

    def append(self, signal: Signal | Thin) -> None:
        thin = isinstance(signal, Thin)
        self._thin.append(signal if isinstance(signal, Thin) else None)
        self._whole.append(None if thin else Signal(*signal))

    def thin(self, position: int) -> Thin | None:
        """What is known of a node at one position of each kind, if it is kept so."""
        return self._thin[position]

    def thinned(self, *positions: int) -> list[Thin] | None:
        """The same of what one node reads, looked for where it is not yet kept so; None if positions differ in one of them."""
        for position in positions:
            if self._thin[position] is None and position not in self._all_differ:
                self._thin[position] = thinned(self[position])
                if self._thin[position] is None:
                    self._all_differ.add(position)
        parts = [one for position in positions if (one := self._thin[position]) is not None]
        if len(parts) == len(positions):
            return together(parts)
        self._all_differ.add(len(self))  # it would be looked for in vain in the node that reads them
        return None

    def __len__(self) -> int:
        return len(self._whole)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        whole, thin = self._whole[position], self._thin[position]
        if whole is None:
            assert thin is not None
            whole = self._whole[position] = thin.whole()
        return whole

    def __setitem__(self, position: int, signal: Signal) -> None:
        self._whole[position], self._thin[position] = signal, None
        self._all_differ.discard(position)

    def __iter__(self) -> Iterator[Signal]:
        return (self[i] for i in range(len(self)))
