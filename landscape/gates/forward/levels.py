r"""What two inputs share at two positions of one channel, averaged over positions: the level that a batch norm takes out.

With C(p, q) = E[z_p(x) z_q(x')] over weights and two inputs, the mean of a channel over a large batch and its P positions has
the square (1 / P^2) sum_{p,q} C(p, q). The forward field knows C(p, p) only. For fresh weights it is

    C(p, q) = V[w] sum over taps k and channels of C'(p + k, q + k),    C'(a, b) = sqrt(C'(a, a) C'(b, b)),

where the last holds for what gates leave, whose means are of one sign; a tap that reads the zeros of a padding adds nothing.
Two opposite borders have no tap in common but those of the middle: they share less than sqrt(C(p, p) C(q, q)).
"""

from itertools import product
from typing import Any

import numpy as np

from landscape.gates.forward.signal import Level, Signal
from lattice.network.ops import WeightedWindow

__all__ = ["aligned", "level_of_pairs", "level_of_weights"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def aligned(z: Signal) -> Level:
    """All positions share one level, up to its size: C(p, q) = sqrt(C(p, p) C(q, q))."""
    root = np.sqrt(z.cross)
    middle = _mean(root)
    return Level(root * middle, middle**2)


def level_of_pairs(shared: Array, runs: tuple[int, ...], spatial: Shape) -> Level:
    """Where C is known at all pairs of positions, (runs of channels, pairs of each axis ...)."""
    split = shared.reshape(len(shared), *(n for n in spatial for _ in range(2)))
    with_mean = split.mean(axis=tuple(range(2, 2 * len(spatial) + 1, 2)))
    with_mean = with_mean if len(with_mean) == 1 else np.repeat(with_mean, runs, axis=0)
    return Level(with_mean, _mean(with_mean))


def level_of_weights(op: WeightedWindow, variance: float, z: Signal, shape: Shape) -> Level:
    """Of what fresh weights give of z, whose shape is (channels, *spatial)."""
    channels, *spatial = shape
    root = np.sqrt(z.cross)
    tables = [window.table(n) for window, n in zip(op.windows(tuple(spatial)), spatial, strict=True)]
    total: Any = 0.0
    for rows in product(*(range(len(table)) for table in tables)):
        read = root
        for axis, (table, row) in enumerate(zip(tables, rows, strict=True), start=1):
            padded = np.concatenate([read, np.zeros_like(np.take(read, [0], axis))], axis)  # -1 reads the zero at the end
            read = np.take(padded, table[row], axis)
        total = total + read * _mean(read)
    group = channels // op.groups
    if total.shape[0] == 1:
        total = total * group
    else:
        total = total.reshape(op.groups, group, *total.shape[1:]).sum(axis=1)
        total = total if op.groups == 1 else np.repeat(total, op.channels // op.groups, axis=0)
    return Level(variance * total, variance * _mean(total))


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=tuple(range(1, values.ndim)), keepdims=True))
