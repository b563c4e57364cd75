"""Layers that read the same input, and the op that merges them: residual blocks and concatenations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lattice.errors import SpecificationError
from lattice.network.ops import Add, Concat, Op

__all__ = ["Branches", "Layer", "as_layers", "concatenate", "residual"]


@dataclass(frozen=True, slots=True)
class Branches:
    """Several chains that read the same input, and the op that merges them (`Add` or `Concat`).

    Parameters
    ----------
    chains : tuple of tuple
        The layers of each chain, bottom first; an empty chain is the identity.
    merge : Op
        The op that joins the outputs of the chains.
    """

    chains: tuple[tuple["Layer", ...], ...]
    merge: Op


Layer: TypeAlias = Op | Branches


def residual(body: Sequence[Layer], shortcut: Sequence[Layer] = ()) -> Branches:
    """A residual block, h + body(h) or shortcut(h) + body(h): the sum of two chains that read the same input.

    Parameters
    ----------
    body : sequence of layers
        The layers of the block, bottom first.
    shortcut : sequence of layers, default ()
        The layers of the other branch, bottom first; empty is the identity skip (`SKIP`).

    Returns
    -------
    Branches
        A layer for `Lattice.chain`.

    Raises
    ------
    SpecificationError
        If a branch is not a sequence of layers.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> Lattice.chain((4, 8), [residual([Conv(4, kernel=3, padding=1)])]).names
    ('input', 'conv1', 'add1')
    """
    return Branches((as_layers(body), as_layers(shortcut)), Add())


def concatenate(*chains: Sequence[Layer]) -> Branches:
    """A merge of chains that read the same input, side by side along the channel axis.

    Parameters
    ----------
    *chains : sequence of layers
        The layers of each chain, bottom first; an empty chain is the identity.

    Returns
    -------
    Branches
        A layer for `Lattice.chain`.

    Raises
    ------
    SpecificationError
        If a chain is not a sequence of layers.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> Lattice.chain((4, 8), [concatenate([Conv(2, kernel=1)], [])]).output_shape
    (6, 8)
    """
    return Branches(tuple(map(as_layers, chains)), Concat())


def as_layers(layers: Any) -> tuple[Layer, ...]:
    """The layers of a chain, bottom first."""
    if not isinstance(layers, Iterable) or isinstance(layers, str):
        raise SpecificationError(f"{layers!r} is not a list of layers, bottom first; a single one goes into brackets, [layer]")
    return tuple(layers)
