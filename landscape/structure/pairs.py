r"""Pairs of positions on ONE axis, and how a layer turns moments over pairs of outputs into moments over pairs of inputs.

A layer reads its input through maps A (outputs x inputs). Seen from below, K(i, i') = E[dy/dh_i dy/dh_i'] is

    K(i, i') = sum over maps k, outputs j, j' of A_k[j, i] B_k[j', i'] K(j, j'),

where A_k = B_k is the reading of tap k for a convolution with fresh weights (only equal taps share a weight), and one map
A = B, the whole layer, for a fixed one: an average, a resize, a padding. Where two branches meet, A is the left branch's
map and B that of the right one. A layer of two or three axes is the product of its axes.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = [
    "Maps",
    "Matrix",
    "Pairs",
    "apply_maps",
    "carried_below",
    "diagonal",
    "everything",
    "freeze",
    "needed_above",
    "operator",
]

MOST_TERMS = 2**24  # of an operator, each of which takes some hundred bytes
DENSE_CODES = 64  # marks in a table of all pairs that take as long as one code to sort, about
DENSE = 4  # terms of a sum that take as long as a step of a product of matrices, about
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """A set of pairs (i, i'), i among `left` cells and i' among `right` ones: ascending codes i * right + i', as bytes."""

    left: int
    right: int
    data: bytes

    @classmethod
    def of(cls, left: int, right: int, codes: Ints) -> "Pairs":
        """The pairs with these ascending codes."""
        return cls(left, right, np.ascontiguousarray(codes, dtype=np.int64).tobytes())

    @property
    def codes(self) -> Ints:
        """i * right + i' of every pair, ascending."""
        return np.frombuffer(self.data, dtype=np.int64)

    @property
    def first(self) -> Ints:
        """i of every pair."""
        return self.codes // self.right

    @property
    def second(self) -> Ints:
        """i' of every pair."""
        return self.codes % self.right

    def __len__(self) -> int:
        return len(self.data) // 8

    def __or__(self, other: "Pairs") -> "Pairs":
        if self == other:
            return self
        if self.left * self.right > DENSE_CODES * (len(self) + len(other)):
            return Pairs.of(self.left, self.right, np.union1d(self.codes, other.codes))
        found = np.zeros(self.left * self.right, dtype=bool)
        found[self.codes] = found[other.codes] = True
        return Pairs.of(self.left, self.right, np.flatnonzero(found))

    @cached_property
    def is_diagonal(self) -> bool:
        """Is every position paired with itself, and with no other?"""
        return self.left == self.right and len(self) == self.left and self == diagonal(self.left)


@lru_cache(maxsize=512)
def diagonal(n: int) -> Pairs:
    """(i, i) for all i.

    >>> diagonal(3).codes
    array([0, 4, 8])
    """
    return Pairs.of(n, n, np.arange(0, n * n, n + 1))


@lru_cache(maxsize=64)
def everything(left: int, right: int) -> Pairs:
    """All pairs of two axes."""
    return Pairs.of(left, right, np.arange(left * right))


@dataclass(frozen=True)
class Matrix:
    """A linear map of one axis as a hashable value: its shape (outputs, inputs) and its entries, as bytes."""

    outputs: int
    inputs: int
    data: bytes

    @property
    def values(self) -> Floats:
        """The entries, (outputs, inputs)."""
        return np.frombuffer(self.data).reshape(self.outputs, self.inputs)


Maps = tuple[tuple[Matrix, Matrix], ...]


def freeze(values: Floats) -> Matrix:
    """A (outputs, inputs) array as a `Matrix`."""
    outputs, inputs = values.shape
    return Matrix(outputs, inputs, np.ascontiguousarray(values, dtype=float).tobytes())


@lru_cache(maxsize=2048)
def needed_above(maps: Maps, below: Pairs) -> Pairs:
    """The pairs of outputs from which the pairs `below` collect.

    >>> average = freeze(np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]))
    >>> needed_above(((average, average),), diagonal(3)).codes
    array([0, 1, 2, 3])
    """
    asked = sparse.csr_array((np.ones(len(below)), (below.first, below.second)), shape=(below.left, below.right))
    needed = sparse.coo_array(sum(_pattern(a) @ asked @ _pattern(b).T for a, b in maps))
    left, right = needed.shape
    return Pairs.of(left, right, np.sort(needed.row.astype(np.int64) * right + needed.col))


@lru_cache(maxsize=2048)
def operator(maps: Maps, below: Pairs, above: Pairs) -> sparse.csr_array:
    """sum_k A_k[j, i] B_k[j', i'] as a matrix from the pairs `above` (others are taken as zero) to the pairs `below`.

    >>> average = freeze(np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]))
    >>> operator(((average, average),), diagonal(3), everything(2, 2)).toarray()
    array([[0.25, 0.  , 0.  , 0.  ],
           [0.25, 0.25, 0.25, 0.25],
           [0.  , 0.  , 0.  , 0.25]])
    """
    if _terms(maps, above, axis=1) < _terms(maps, below, axis=0):  # most of what a wide pool reads may lead to no pair above
        turned = tuple((freeze(a.values.T), freeze(b.values.T)) for a, b in maps)
        return operator(turned, above, below).T.tocsr()
    rows, codes, values = _entries(maps, below)
    columns = np.searchsorted(above.codes, codes)
    columns[columns == len(above)] = 0
    there = above.codes[columns] == codes if len(above) else np.zeros(len(codes), dtype=bool)
    shape = (len(below), len(above))
    return sparse.coo_array((values[there], (rows[there], columns[there])), shape=shape).tocsr()


@lru_cache(maxsize=2048)
def carried_below(maps: Maps, below: Pairs, above: Pairs) -> Pairs:
    """Those of the pairs `below` that something reaches from the pairs `above`."""
    there = sparse.csr_array((np.ones(len(above)), (above.first, above.second)), shape=(above.left, above.right))
    reached = sparse.csr_array(sum(_pattern(a).T @ there @ _pattern(b) for a, b in maps))
    asked = sparse.csr_array((np.ones(len(below)), (below.first, below.second)), shape=(below.left, below.right))
    found = sparse.coo_array(reached.multiply(asked))
    return Pairs.of(below.left, below.right, np.sort(found.row.astype(np.int64) * below.right + found.col))


def apply_maps(maps: Maps, below: Pairs, above: Pairs, values: Floats) -> Floats:
    """sum_k A_k[j, i] B_k[j', i'] of values (pairs above, ...), at the pairs below: by `operator`, or by products of matrices.

    Where nearly all pairs are carried, as below an average over all positions, A' K B in full takes fewer steps.
    """
    columns = values.reshape(len(above), prod(values.shape[1:]))
    terms = min(_terms(maps, above, axis=1), _terms(maps, below, axis=0))
    products = sum(a.outputs * a.inputs * b.outputs + a.inputs * b.outputs * b.inputs for a, b in maps)
    if terms < DENSE * products and terms <= max(MOST_TERMS, values.size // max(len(above), 1) * above.left * above.right):
        found: Floats = operator(maps, below, above) @ columns
        return found
    full = np.zeros((columns.shape[1], above.left, above.right))
    full[:, above.first, above.second] = columns.T
    passed = sum(a.values.T @ full @ b.values for a, b in maps)
    return np.asarray(passed)[:, below.first, below.second].T


@lru_cache(maxsize=1024)
def _pattern(matrix: Matrix) -> sparse.csr_array:
    """1 where the map has an entry."""
    return sparse.csr_array((matrix.values != 0).astype(float))


def _terms(maps: Maps, pairs: Pairs, axis: int) -> int:
    """How many terms the sums have: over pairs of outputs (axis 1), or of inputs (axis 0)."""
    return sum(
        int(np.count_nonzero(a.values, axis=axis)[pairs.first] @ np.count_nonzero(b.values, axis=axis)[pairs.second])
        for a, b in maps
    )


@lru_cache(maxsize=256)
def _entries(maps: Maps, below: Pairs) -> tuple[Ints, Ints, Floats]:
    """The terms of the sum: index of the pair below, code of the pair above, coefficient."""
    first, second = below.first, below.second
    rows, codes, values = [], [], []
    for a, b in maps:
        counts, starts, outputs, entries = _columns(a)
        other_counts, other_starts, other_outputs, other_entries = _columns(b)
        left, right = counts[first], other_counts[second]
        each = left * right
        row = np.repeat(np.arange(len(below)), each)
        term = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each)  # of a term among those of its pair
        one = starts[first][row] + term // np.maximum(right[row], 1)
        two = other_starts[second][row] + term % np.maximum(right[row], 1)
        rows.append(row)
        codes.append(outputs[one] * b.outputs + other_outputs[two])
        values.append(entries[one] * other_entries[two])
    return np.concatenate(rows), np.concatenate(codes), np.concatenate(values)


@lru_cache(maxsize=1024)
def _columns(matrix: Matrix) -> tuple[Ints, Ints, Ints, Floats]:
    """The entries of a map column by column: how many, where they start, their rows, their values."""
    columns, rows = np.nonzero(matrix.values.T)
    counts = np.bincount(columns, minlength=matrix.inputs)
    return counts, np.cumsum(counts) - counts, rows, matrix.values[rows, columns]
