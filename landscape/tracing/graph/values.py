"""What a node of an exported graph stands for while the graph is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Fixed", "Noise", "Stale", "Unknown", "Value"]


@dataclass(slots=True)
class Value:
    """What a graph node stands for: the lattice node that holds it.

    `order` says which axis (0 batch, 1 channels, 2 ... positions) stands at each dimension of the tensor, where they were
    permuted. `groups` is set between the reshapings of a channel shuffle: the channels are split into (groups, channels /
    groups), or the other way round where they are `swapped`.
    """

    node: int
    order: tuple[int, ...] | None = None
    groups: int = 0
    swapped: bool = False


@dataclass(frozen=True, slots=True)
class Fixed:
    """A tensor made of parameters, buffers and constants alone; `name` is set where it is one of them, in any shape."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Noise:
    """Random numbers that do not depend on the signal: `factor` times a mask of zeros and ones, which is one at rate `kept`.

    `draw` is the call that drew them, and `mask` makes the zeros and ones of what it drew. Uniform numbers between 0 and 1
    that are no mask yet have no `kept`; `shift` was added to them.
    """

    draw: Any
    kept: float | None = None
    factor: float = 1.0
    shift: float = 0.0
    mask: Callable[[Any], Any] = lambda drawn: drawn


class Unknown:
    """The value of a call that was refused, and of everything above it."""


class Stale:
    """What a view meant before its memory was changed through another one."""
