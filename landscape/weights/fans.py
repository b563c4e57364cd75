"""Which layers have weights, and how many connections each weight stands in: fans as torch counts them."""

from math import prod
from typing import TypeAlias

from lattice import Conv, ConvTranspose, Dense, Op, SpecificationError
from lattice.network.ops import WeightedWindow

__all__ = ["WEIGHTED", "fans", "weighted"]

Shape: TypeAlias = tuple[int, ...]


WEIGHTED = (Conv, ConvTranspose, Dense)


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
    return isinstance(op, WEIGHTED)


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
    if isinstance(op, Dense):
        return shape[0], op.units
    if not isinstance(op, WeightedWindow):
        raise SpecificationError(f"{op} has no weights, so no fans")
    taps = prod(window.taps(n) for window, n in zip(op.windows(shape[1:]), shape[1:], strict=True))
    if isinstance(op, ConvTranspose):
        return op.channels // op.groups * taps, shape[0] * taps
    return shape[0] // op.groups * taps, op.channels * taps
