r"""Exact counts by machine arithmetic: each whole number is a column of limbs, and the reverse sweep adds columns.

A number is sum_k d_k 2^(32 k) with limbs d_0, d_1, ... in uint64, so 32 bits of each limb are free for carries. The limbs
are the leading axis of an array, a batch to the rules of `lattice.sweep.pullback`, which only add and multiply by whole
numbers.

No limb overflows. Let g be the gain of a layer: how often it reads a unit, at most. The rules are linear with coefficients
that are not negative, so limbs of at most b become limbs of at most g b, all partial sums included, and where two
branches meet their bounds add up. Where the next bound would reach 2^64, every limb first carries all but its low 32 bits
on to the next: limbs of at most b become limbs of at most 2^32 - 1 + floor(b / 2^32), and the number stays the same,
since the last limb has nothing to carry: that would be 2^(32 length) or more, and as many limbs are kept as the
largest number needs, which is bounded in the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any

import numpy as np

from lattice.network.lattice import Lattice
from lattice.network.ops import Pointwise
from lattice.sweep.pullback import gain, pull
from lattice.sweep.reverse import bottom, sweep

__all__ = ["Numbers", "pull_back_limbs"]

Array = np.ndarray[Any, Any]

LOW, HIGH = np.uint64(2**32 - 1), np.uint64(32)
LIMB_LIMIT = 2**64  # every limb stays below
MOST_GAIN = 2**31  # after carries limbs are at most 2^32, and may grow by this

CELLWISE = pull.dispatch(Pointwise)  # the rule of layers that change no cotangent


def pull_back_limbs(lattice: Lattice, cotangent: Array, down_to: int = 0) -> Array:
    """`pull_back` with every weight 1 for an object array of ints from 0 to 2^64 - 1: the same Python ints, often faster.

    Down to the input, or to another node that lies on every path. OverflowError where a layer's gain exceeds `MOST_GAIN`.
    """
    largest = int(cotangent.max())
    top = Numbers(cotangent.astype(np.uint64)[np.newaxis], largest, largest)

    def step(position: int, here: Numbers) -> Iterable[Numbers]:
        node, output = lattice.nodes[position], lattice.shapes[position]
        if pull.dispatch(type(node.op)) is CELLWISE:
            return (here,)
        inputs = lattice.input_shapes(node)
        most = gain(node.op, inputs, output)
        here = here.with_headroom(most)
        pulled = pull(node.op, inputs, here.limbs, output)
        return [Numbers(limbs, here.largest_limb * most, here.number * most) for limbs in pulled]

    return bottom(sweep(lattice, top, step, down_to)).objects()


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array of whole numbers as limbs (length, *shape), and the most that any limb and any number may be."""

    limbs: Array
    largest_limb: int
    number: int

    def with_headroom(self, gain: int) -> "Numbers":
        """The same numbers, with limbs that may grow by a factor of `gain`; OverflowError beyond `MOST_GAIN`."""
        if gain > MOST_GAIN:
            raise OverflowError(f"a layer reads a unit {gain} times, and limbs can take {MOST_GAIN}")
        numbers = self
        while numbers.largest_limb * gain >= LIMB_LIMIT:
            numbers = numbers.propagate_carries()
        return numbers

    def propagate_carries(self) -> "Numbers":
        """The same numbers, each limb's high part carried into the next limb."""
        length = max(-(-self.number.bit_length() // 32), len(self.limbs))
        limbs = np.empty((length, *self.limbs.shape[1:]), np.uint64)
        np.bitwise_and(self.limbs, LOW, out=limbs[: len(self.limbs)])
        limbs[len(self.limbs) :] = 0
        limbs[1 : len(self.limbs) + 1] += (self.limbs >> HIGH)[: length - 1]
        return Numbers(limbs, int(LOW) + (self.largest_limb >> 32), self.number)

    def __add__(self, other: "Numbers") -> "Numbers":
        one, two = self, other
        if one.largest_limb + two.largest_limb >= LIMB_LIMIT:
            one, two = one.propagate_carries(), two.propagate_carries()
        if len(one.limbs) < len(two.limbs):
            one, two = two, one
        limbs = np.empty(np.broadcast_shapes(one.limbs.shape, (1, *two.limbs.shape[1:])), np.uint64)
        limbs[len(two.limbs) :] = one.limbs[len(two.limbs) :]
        np.add(one.limbs[: len(two.limbs)], two.limbs, out=limbs[: len(two.limbs)])
        return Numbers(limbs, one.largest_limb + two.largest_limb, one.number + two.number)

    def objects(self) -> Array:
        """The numbers as an object array of Python ints."""
        if self.number < LIMB_LIMIT and len(self.limbs) == 1:
            return self.limbs[0].astype(object)
        limbs = self.propagate_carries().limbs
        for here, following in pairwise(limbs):
            following += here >> HIGH
            here &= LOW
        columns = np.moveaxis(limbs, 0, -1).astype("<u4", order="C")
        strings = columns.view(f"V{4 * len(limbs)}").ravel().tolist()
        result = np.empty(len(strings), dtype=object)
        result[:] = list(map(int.from_bytes, strings, repeat("little")))  # type: ignore[arg-type]
        return result.reshape(columns.shape[:-1])
