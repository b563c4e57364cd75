"""What kinds of layers there are: the bases of the ops, for which rules are written."""

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TypeAlias

from lattice.network.windows.axis import AxisMap

__all__ = ["Merge", "Op", "Pointwise", "Pooling", "Rearrangement", "Shape", "Summed", "Weighted", "WeightedWindow", "Windowed"]

Shape: TypeAlias = tuple[int, ...]


class Op:
    """One layer of a network: a frozen value that says what the layer does, and not what it reads.

    Subclasses are frozen dataclasses; rules for them are added from outside by `functools.singledispatch`.

    Examples
    --------
    >>> from lattice import Conv
    >>> isinstance(Conv(4, kernel=3), Op)
    True
    """

    __slots__ = ()

    def __str__(self) -> str:
        """The op with those of its parameters that are not the default: Conv(8, kernel=3, padding=1)."""
        shown = []
        for position, part in enumerate(fields(self)):  # type: ignore[arg-type]
            value = getattr(self, part.name)
            if position == 0:
                shown.append(repr(value))
            elif value != part.default:
                shown.append(f"{part.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Weighted(Op):
    """An op with weights of its own, one for each command: the layers that an initialisation draws."""

    __slots__ = ()


class Pointwise(Op):
    """An op that acts cell by cell and channel by channel on one input; paths pass straight through."""

    __slots__ = ()


class Rearrangement(Op):
    """An op that gives the cells of its one input other places, and changes none."""

    __slots__ = ()


class Merge(Op):
    """An op that reads several inputs."""

    __slots__ = ()


class Summed(Merge):
    """An op through which one step of a path leads to any of its inputs: a sum, or a product, d(ab) = b da + a db."""

    __slots__ = ()


class Windowed(Op, ABC):
    """An op that reads a neighbourhood: one `AxisMap` per spatial axis, the taps of all axes combined freely."""

    __slots__ = ()

    @abstractmethod
    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        """The map of each spatial axis: which input cell an output cell reads at a tap.

        Parameters
        ----------
        spatial : tuple of int
            Cells of the input on each axis.

        Returns
        -------
        tuple of AxisMap
            One per axis.
        """


class Pooling(Windowed):
    """An average or a maximum over windows, as its `kind` says."""

    __slots__ = ()

    kind: str


class WeightedWindow(Weighted, Windowed):
    """A convolution of some kind: weights for every tap, to `channels` output channels in `groups`."""

    __slots__ = ()

    channels: int
    groups: int
