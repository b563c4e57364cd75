r"""Signals kept at one position of each kind: those that equal another one in all channels are left out.

Zero padding makes positions near a border differ, and mirrored or transposed ones alike: of n x n positions n^2 / 8 are left of
a symmetric net, n^2 / 2 of one whose strides tell its two ends apart. What acts at every position by itself leaves the kinds as
they are; only what reads neighbours, or is asked for, needs all positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.averaging import alike_rows
from landscape.gates.forward.signal import Signal

__all__ = ["Later", "Signals", "Thin", "thinned", "together"]

Array = np.ndarray[Any, Any]


class Thin(NamedTuple):
    """A signal at one position of each kind, (channels or 1, kinds, 1, ...), and of which kind each position is, (*spatial)."""

    signal: Signal
    kinds: Array

    def number(self) -> int:
        """How many kinds there are."""
        return int(self.signal.power.shape[1])

    def at(self, first: Array, kinds: Array) -> "Thin":
        """The same with finer kinds, the first positions of which are these."""
        own = self.kinds.ravel()[first]
        return Thin(Signal(*(np.take(part, own, axis=1) for part in self.signal)), kinds)

    def whole(self) -> Signal:
        """At all positions."""
        return Signal(*map(self.spread, self.signal))

    def mean_channel(self) -> Signal:
        """The mean over channels, at all positions."""
        return Signal(*(self.spread(part.mean(axis=0, keepdims=True)) for part in self.signal))

    def spread(self, values: Array) -> Array:
        """Values at one position of each kind, at all positions."""
        return np.take(values.reshape(values.shape[:2]), self.kinds, axis=1)


def together(parts: Sequence[Thin]) -> list[Thin]:
    """The same signals at one position of each kind of all of them: alike are positions that are so in every one."""
    if len(parts) == 1:
        return list(parts)
    kinds = max(parts, key=Thin.number).kinds
    first = _first_of(kinds)
    for part in parts:
        own = part.kinds.ravel()
        if not np.array_equal(own[first][kinds.ravel()], own):  # two of one kind are apart here
            _, code = np.unique(kinds.ravel() * part.number() + own, return_inverse=True)
            kinds = code.reshape(kinds.shape)
            first = _first_of(kinds)
    return [part if np.array_equal(part.kinds, kinds) else part.at(first, kinds) for part in parts]


def _first_of(kinds: Array) -> Array:
    """The first position of each kind."""
    first = np.empty(kinds.max() + 1, dtype=np.int64)
    first[kinds.ravel()[::-1]] = np.arange(kinds.size)[::-1]  # the last that is written stays
    return first


def thinned(signal: Signal) -> Thin | None:
    """The same at one position of each kind, where at least one of three is left out."""
    spatial = signal.power.shape[1:]
    if not spatial:
        return None
    parts, rows = list(np.broadcast_arrays(*signal)), [np.arange(n) for n in spatial]
    if len(parts[0]) > 1:  # of many channels first what is cheap: whole rows
        for axis in range(len(spatial)):
            first, rows[axis] = alike_rows([np.moveaxis(part, axis + 1, 0) for part in parts])
            parts = [np.take(part, first, axis + 1) for part in parts]
    places = np.ravel_multi_index(np.ix_(*rows), parts[0].shape[1:])
    flat = [part.reshape(len(part), -1) for part in parts]
    first, kind = alike_rows([part.T for part in flat])
    if 3 * len(first) > 2 * prod(spatial):
        return None
    shape = (-1, len(first), *(1,) * (len(spatial) - 1))
    return Thin(Signal(*(part[:, first].reshape(shape) for part in flat)), kind[places])


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


class Later(Mapping[str, Array]):
    """Arrays over all positions, by name, which are spread when they are asked for."""

    def __init__(self, parts: Mapping[str, tuple[Array, Thin | None]]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> Array:
        values, places = self._parts[name]
        return values if places is None else places.spread(values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
