"""What is asked for, checked at the boundary: whole numbers and real ones, with messages that restate the request."""

from collections.abc import Iterable
from operator import index
from typing import Any

from lattice.errors import ResourceError, SpecificationError

__all__ = ["given_shape", "is_real", "is_whole", "whole"]

MOST = 2**64  # nothing here has more layers, taps or cells; float64 estimates of the cost stay finite below


def is_whole(value: Any) -> bool:
    """Is this a whole number of any type, numpy's included? True and False are none, nor is 2.0.

    >>> [is_whole(value) for value in (3, -1, True, 2.0, "3", None)]
    [True, True, False, False, False, False]
    """
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # numpy's own bool has two names
        return False
    try:
        index(value)
    except TypeError:
        return False
    return getattr(value, "ndim", 0) == 0


def whole(name: str, value: Any, least: float, most: float = MOST) -> int:
    """The value as a Python int, which never overflows; `SpecificationError` unless it is whole and at least `least`.

    `ResourceError` above `most`.
    """
    if not is_whole(value) or index(value) < least:
        raise SpecificationError(f"{name} is {_shown(value)}; it is a whole number, at least {least}")
    if index(value) > most:
        raise ResourceError(f"{name} is {_shown(value)}; the most that can be computed here is {_shown(most)}")
    return index(value)


def given_shape(shape: Any) -> tuple[int, ...]:
    """The shape of one input, (channels, *spatial), as Python ints; `SpecificationError` for anything else."""
    sizes = tuple(shape) if isinstance(shape, Iterable) and not isinstance(shape, str | bytes) else ()
    if hasattr(shape, "shape") and len(shape.shape) > 2:  # a batch of images, as torch's own functions take it
        raise SpecificationError(
            f"shape is a {type(shape).__name__}; it is that of one input: did you mean {tuple(shape.shape[1:])}?"
        )
    if not 2 <= len(sizes) <= 4 or not all(is_whole(size) and index(size) > 0 for size in sizes):
        raise SpecificationError(
            f"shape is {_shown(shape)}; it is (channels, *spatial) with one to three spatial axes, for example (3, 224, 224)"
        )
    return tuple(map(index, sizes))


def is_real(value: Any) -> bool:
    """Is this a finite number, and no bool?"""
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        return False
    try:
        return abs(float(value)) < float("inf")
    except (TypeError, ValueError, OverflowError):
        return False


def _shown(value: Any) -> str:
    """A value as a message can hold it: Python refuses to print very long integers."""
    try:
        text = repr(value)
    except ValueError:
        text = f"a number of {value.bit_length()} bits"
    return text if len(text) <= 80 else f"{text[:77]}..."
