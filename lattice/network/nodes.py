"""The units of a lattice, its nodes (a layer with what it reads), and what else a lattice in a file may be made of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from sys import modules
from typing import NamedTuple

from lattice.network.rearrange import ListedWindow
from lattice.network.traits import Op
from lattice.results.saved import Saved

__all__ = ["Node", "SavedNetwork", "Unit", "own_kinds"]

OWN = __name__.partition(".")[0]


class Unit(NamedTuple):
    """One unit of a layer: its spatial position and its channel.

    Parameters
    ----------
    position : tuple of int
        Index on each spatial axis; () for a feature of a flat layer.
    channel : int, default 0
        Channel, or feature of a flat layer.

    Examples
    --------
    >>> Unit((2, 3), channel=1)
    Unit(position=(2, 3), channel=1)
    """

    position: tuple[int, ...]
    channel: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One layer of a lattice: its name, its op, and the indices of the nodes that it reads.

    Parameters
    ----------
    name : str
        Name, different from that of every other node of the lattice.
    op : Op
        What the layer does.
    inputs : tuple of int, default ()
        Indices, in `Lattice.nodes`, of the nodes that it reads, in order; each stands before this one.

    Examples
    --------
    >>> from lattice import Conv
    >>> Node("conv1", Conv(4, kernel=3), inputs=(0,)).name
    'conv1'
    """

    name: str
    op: Op
    inputs: tuple[int, ...] = ()


def own_kinds(above: type) -> Iterator[type]:
    """The kinds of this that the package has under their names, and none of a user's own."""
    kinds: list[type] = above.__subclasses__()
    for kind in kinds:
        if kind.__module__.partition(".")[0] == OWN:
            if getattr(modules[kind.__module__], kind.__name__, None) is kind:  # a dataclass with slots is made twice
                yield kind
            yield from own_kinds(kind)


class SavedNetwork(Saved):
    """The nodes, their ops, and the lists that some ops hold."""

    @classmethod
    def _parts(cls) -> Iterable[type]:
        return (Node, Unit, ListedWindow, *own_kinds(Op))
