r"""Exact counts by machine arithmetic: each whole number is a column of digits, and the reverse sweep adds columns.

A number is sum_k d_k 2^(32 k) with digits d_0, d_1, ... in uint64, so 32 bits of each digit are room to add in. The digits
are the leading axis of an array, a batch to the rules of `lattice.sweep.pullback`, which only add and multiply by whole
numbers.

No digit overflows. Let g be the gain of a layer: how often it reads a unit, at most. The rules are linear with coefficients
that are not negative, so digits of at most b become digits of at most g b, all partial sums included, and where two
branches meet their bounds add up. Where the next bound would reach 2^64, every digit first hands all but its low 32 bits
on to the next: digits of at most b become digits of at most 2^32 - 1 + floor(b / 2^32), and the number stays the same,
since the last digit has nothing to hand on: that would be 2^(32 length) or more, and as many digits are kept as the
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
LIMB_LIMIT = 2**64  # every digit stays below
MOST_GAIN = 2**31  # digits that have just handed on are at most 2^32, and have room for this

CELLWISE = pull.dispatch(Pointwise)  # the rule of layers that pass everything on as it is


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
        here = here.with_room(most)
        pulled = pull(node.op, inputs, here.digits, output)
        return [Numbers(digits, here.digit * most, here.number * most) for digits in pulled]

    return bottom(sweep(lattice, top, step, down_to)).objects()


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array of whole numbers as digits (length, *shape), and the most that any digit and any number may be."""

    digits: Array
    digit: int
    number: int

    def with_room(self, gain: int) -> "Numbers":
        """The same numbers, with digits that may grow by a factor of `gain`; OverflowError beyond `MOST_GAIN`."""
        if gain > MOST_GAIN:
            raise OverflowError(f"a layer reads a unit {gain} times, and digits have room for {MOST_GAIN}")
        numbers = self
        while numbers.digit * gain >= LIMB_LIMIT:
            numbers = numbers.propagate_carries()
        return numbers

    def propagate_carries(self) -> "Numbers":
        """The same numbers, each digit's high part handed on to the next digit."""
        length = max(-(-self.number.bit_length() // 32), len(self.digits))
        digits = np.empty((length, *self.digits.shape[1:]), np.uint64)
        np.bitwise_and(self.digits, LOW, out=digits[: len(self.digits)])
        digits[len(self.digits) :] = 0
        digits[1 : len(self.digits) + 1] += (self.digits >> HIGH)[: length - 1]
        return Numbers(digits, int(LOW) + (self.digit >> 32), self.number)

    def __add__(self, other: "Numbers") -> "Numbers":
        one, two = self, other
        if one.digit + two.digit >= LIMB_LIMIT:
            one, two = one.propagate_carries(), two.propagate_carries()
        if len(one.digits) < len(two.digits):
            one, two = two, one
        digits = np.empty(np.broadcast_shapes(one.digits.shape, (1, *two.digits.shape[1:])), np.uint64)
        digits[len(two.digits) :] = one.digits[len(two.digits) :]
        np.add(one.digits[: len(two.digits)], two.digits, out=digits[: len(two.digits)])
        return Numbers(digits, one.digit + two.digit, one.number + two.number)

    def objects(self) -> Array:
        """The numbers as an object array of Python ints."""
        if self.number < LIMB_LIMIT and len(self.digits) == 1:
            return self.digits[0].astype(object)
        digits = self.propagate_carries().digits
        for here, following in pairwise(digits):
            following += here >> HIGH
            here &= LOW
        columns = np.moveaxis(digits, 0, -1).astype("<u4", order="C")
        strings = columns.view(f"V{4 * len(digits)}").ravel().tolist()
        result = np.empty(len(strings), dtype=object)
        result[:] = list(map(int.from_bytes, strings, repeat("little")))  # type: ignore[arg-type]
        return result.reshape(columns.shape[:-1])
