"""Which layers have weights, and how many connections each weight stands in: fans as torch counts them."""

from functools import singledispatch
from math import prod
from typing import TypeAlias

from lattice import Conv, ConvTranspose, Dense, Op, SpecificationError, UnsupportedError
from lattice.network.ops import Weighted, WeightedWindow

__all__ = ["fans", "taps", "weighted"]

Shape: TypeAlias = tuple[int, ...]


def weighted(op: Op) -> bool:
    """Whether a layer has weights.

    Parameters
    ----------
    op : Op
        The layer.

    Returns
    -------
    bool
        True for convolutions, transposed ones, and linear layers.

    Examples
    --------
    >>> weighted(Conv(16, kernel=3))
    True
    """
    return isinstance(op, Weighted)


@singledispatch
def fans(op: Op, shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a layer, as torch counts them.

    Parameters
    ----------
    op : Op
        A layer with weights.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    fan_in : int
        (input channels / groups) * taps.
    fan_out : int
        Output channels * taps, of all groups together.

    Raises
    ------
    SpecificationError
        If the layer has no weights.

    Examples
    --------
    >>> fans(Conv(16, kernel=3, groups=2), (8, 32, 32))
    (36, 144)
    """
    if weighted(op):
        raise UnsupportedError(f"no fans of {op!r}; add a rule with landscape.weights.fans.fans.register")
    raise SpecificationError(f"{op} has no weights, so no fans")


@fans.register
def _(op: Dense, shape: Shape) -> tuple[int, int]:
    return shape[0], op.units


@fans.register
def _(op: Conv, shape: Shape) -> tuple[int, int]:
    return shape[0] // op.groups * taps(op, shape), op.channels * taps(op, shape)


@fans.register
def _(op: ConvTranspose, shape: Shape) -> tuple[int, int]:
    return op.channels // op.groups * taps(op, shape), shape[0] * taps(op, shape)


def taps(op: WeightedWindow, shape: Shape) -> int:
    """How many taps a convolution has on all axes together.

    Parameters
    ----------
    op : WeightedWindow
        A convolution, transposed or not.
    shape : tuple of int
        The shape that it reads, (channels, *spatial).

    Returns
    -------
    int
        The product over the axes.

    Examples
    --------
    >>> taps(Conv(16, kernel=(3, 5)), (8, 32, 32))
    15
    """
    return prod(window.taps(n) for window, n in zip(op.windows(shape[1:]), shape[1:], strict=True))
