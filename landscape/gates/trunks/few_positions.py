r"""A costly function of many channels and positions, from a few positions of most channels (an interpolative decomposition)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from landscape.gates.averaging import alike_rows, pointwise, ratio

__all__ = ["from_few_positions"]

Array = np.ndarray[Any, Any]
SAMPLED = 16  # channels that tell which positions the others are computed at
NEAR, CLOSE = 1e-4, 1e-3  # of the largest: so near the sample is met, and every other channel
CHECKED = 2  # further positions at which every channel is computed


def from_few_positions(function: Callable[..., tuple[Array, ...]], *arrays: Array, averaged: int = 0) -> tuple[Array, ...]:
    """A costly function that acts entry by entry on arrays (channels, *spatial), from a few positions of most channels.

    Positions differ little, and in much the same way at all channels: what a smooth function gives at one is nearly the same
    combination of what it gives at a few others, whatever the channel. A sample of the channels tells the positions and the
    combinations (an interpolative decomposition). Every channel is computed there, and at two positions more, where the sample
    is met worst; one that is missed there by more than 1e-3 of its largest is computed at all. For rates, not for moments whose
    small differences count. Of the first `averaged` outputs the mean over channels is given, (1, *spatial).

    >>> level, size = np.linspace(-1, 1, 500)[:, None], np.linspace(1, 2, 80)
    >>> calls = []
    >>> (found,) = from_few_positions(
    ...     lambda x, y: (calls.append(x.size), (np.tanh(x * y),))[1],
    ...     level,
    ...     size,
    ... )
    >>> sum(calls) < 10000, bool(abs(found - np.tanh(level * size)).max() < 1e-4)
    (True, True)
    """
    arrays = tuple(np.broadcast_arrays(*arrays))
    shape = arrays[0].shape
    if len(shape) < 2 or shape[0] < 8 * SAMPLED:
        return _averaged(pointwise(function, *arrays), averaged)
    sample = np.arange(SAMPLED) * shape[0] // SAMPLED
    first, kind = alike_rows([array[sample].reshape(SAMPLED, -1).T for array in arrays])
    seen = np.array(function(*(_at(array[sample], first) for array in arrays)))
    sizes = np.abs(seen).max(axis=2, keepdims=True)
    near, combined = _skeleton(ratio(seen, sizes).reshape(-1, len(first)))
    if 2 * len(near) > len(first):
        at_first = _averaged(function(*(_at(array, first) for array in arrays)), averaged)
        return tuple(part[:, kind].reshape(-1, *shape[1:]) for part in at_first)
    known = np.array(function(*(_at(array, first[near]) for array in arrays)))
    told = known[:, :, : len(combined)]
    wrong = np.abs(told @ combined[:, near] - known) > CLOSE * np.abs(known).max(axis=2, keepdims=True)
    missed = wrong.any(axis=(0, 2))
    exact = np.array(function(*(_at(array[missed], first) for array in arrays))) if missed.any() else None
    found = []
    for number, part in enumerate(told):
        if number < averaged:
            sums = part[~missed].sum(axis=0, keepdims=True) @ combined
            whole = (sums if exact is None else sums + exact[number].sum(axis=0)) / shape[0]
        else:
            whole = part @ combined
            if exact is not None:
                whole[missed] = exact[number]
        found.append(whole[:, kind].reshape(-1, *shape[1:]))
    return tuple(found)


def _averaged(found: tuple[Array, ...], averaged: int) -> tuple[Array, ...]:
    return *(part.mean(axis=0, keepdims=True) for part in found[:averaged]), *found[averaged:]


def _at(array: Array, positions: Array) -> Array:
    """An array (channels, *spatial) at some positions, (channels, positions)."""
    where: tuple[Any, ...] = (slice(None), *np.unravel_index(positions, array.shape[1:]))
    return np.asarray(array[where])


def _skeleton(rows: Array) -> tuple[Array, Array]:
    """The positions that tell all others, then those that they tell worst; and every one as a combination of the first.

    By Gram and Schmidt, the position that is furthest from what is known next. That ends after a few of them, where a library's
    QR would go through all.
    """
    left = rows.copy()
    chosen: list[int] = []
    factor: list[Array] = []
    sizes = np.sqrt(np.einsum("ij,ij->j", left, left))
    first = sizes.max()
    while len(chosen) < min(rows.shape) and sizes.max() > NEAR * first:
        chosen.append(int(sizes.argmax()))
        direction = left[:, chosen[-1]] / sizes[chosen[-1]]
        factor.append(np.einsum("i,ij->j", direction, left))
        left -= direction[:, None] * factor[-1]
        left[:, chosen] = 0.0
        sizes = np.sqrt(np.einsum("ij,ij->j", left, left))
    combined = solve_triangular(np.array(factor)[:, chosen], np.array(factor))
    return np.array([*chosen, *np.argsort(-sizes)[:CHECKED]]), combined
