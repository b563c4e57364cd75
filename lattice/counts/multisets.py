"""Multisets of commands as sorted words, listed without a dead end: what Eq. 3 ranges over in a regular lattice.

Layers are tables here, as in `AxisMap.table`: (commands, cells above) -> cell below, -1 where a command leads nowhere.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import comb
from typing import Any

import numpy as np

from lattice.errors import ResourceError

__all__ = ["SortedWords", "arrangements", "pair_tables", "restrict", "with_same_commands"]

Array = np.ndarray[Any, Any]

MOST_STATES = 2 * 10**8  # (layer, command, cell) triples: 3 GB


def with_same_commands(tables: Sequence[Array]) -> list[Array]:
    """The tables with the same commands in all of them: those that a layer does not have lead nowhere."""
    most = max((table.shape[0] for table in tables), default=0)
    return [np.pad(table, ((0, most - table.shape[0]), (0, 0)), constant_values=-1) for table in tables]


def restrict(tables: Sequence[Array], start: int) -> tuple[list[Array], Array]:
    """The tables with the same commands, top first, over the cells that `start` reaches, and the input cells it reaches."""
    cells, restricted = np.array([start]), []
    for table in reversed(with_same_commands(tables)):
        below = table[:, cells]
        cells = np.unique(below[below >= 0])
        restricted.append(np.where(below >= 0, np.searchsorted(cells, below), -1))
    return restricted, cells


def pair_tables(tables: Sequence[Array], others: Sequence[Array], ends: int) -> list[Array]:
    """The tables of pairs of commands over pairs of cells, top first; the last of `others` leads to `ends` cells.

    Command (a, b) is numbered a * (commands of the other) + b, and cells likewise.
    """
    widths = [other.shape[1] for other in others[1:]] + [ends]
    pairs = []
    for table, other, width in zip(tables, others, widths, strict=True):
        together = table[:, None, :, None] * width + other[None, :, None, :]
        exists = (table >= 0)[:, None, :, None] & (other >= 0)[None, :, None, :]
        pairs.append(np.where(exists, together, -1).reshape(table.shape[0] * other.shape[0], -1))
    return pairs


class SortedWords:
    """The words c_0 >= c_1 >= ... (top first) from the one top cell to the wanted bottom cells, without a dead end."""

    def __init__(self, tables: Sequence[Array], wanted: Array) -> None:
        states = sum(table.size for table in tables)
        if states > MOST_STATES:
            raise ResourceError(
                f"the combinations of {len(tables)} layers need a table of {states:.1e} entries (the limit is "
                f"{MOST_STATES:.0e}); path_counts(net, output) needs a step per layer and position only"
            )
        self.tables = tables
        # numbers[l][c, cell]: how many sorted words lead on from a cell with commands up to c; floats, for the estimate
        letters = tables[-1].shape[0] if tables else 1
        self.numbers = [np.tile(wanted.astype(float), (letters, 1))]
        for table in reversed(tables):
            below = self.numbers[0]
            taken = np.where(table >= 0, np.take_along_axis(below, np.maximum(table, 0), axis=1) if below.size else 0.0, 0.0)
            self.numbers.insert(0, np.cumsum(taken, axis=0))

    @property
    def number(self) -> float:
        return float(self.numbers[0][-1, 0])

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        word: list[int] = []
        pending = [self._letters(0, 0, len(self.numbers[0]) - 1)]
        if not self.tables:
            pending = []
            if self.number:
                yield ()
        while pending:
            step = next(pending[-1], None)
            if step is None:
                pending.pop()
                if word:
                    word.pop()
                continue
            letter, cell = step
            if len(pending) == len(self.tables):
                yield (*word, letter)
            else:
                word.append(letter)
                pending.append(self._letters(len(word), cell, letter))

    def _letters(self, layer: int, cell: int, most: int) -> Iterator[tuple[int, int]]:
        table, below = self.tables[layer], self.numbers[layer + 1]
        for letter in range(most, -1, -1):
            to = int(table[letter, cell])
            if to >= 0 and below[letter, to]:
                yield letter, to


def arrangements(word: Sequence[int]) -> int:
    """L! / prod_c #(word)_c!: the number of ways to arrange a sorted word."""
    total, result = 0, 1
    for _, same in groupby(word):
        many = len(list(same))
        total += many
        result *= comb(total, many)
    return result
