r"""What two inputs share at two positions of one channel, averaged over positions: the level that a batch norm takes out.

With C(p, q) = E[z_p(x) z_q(x')] over weights and two inputs, the mean of a channel over a large batch and its P positions has
the square (1 / P^2) sum_{p,q} C(p, q). The forward field knows C(p, p) only. For fresh weights it is

    C(p, q) = V[w] sum over taps k and channels of C'(p + k, q + k),    C'(a, b) = sqrt(C'(a, a) C'(b, b)),

where the last holds for what gates leave, whose means are of one sign; a tap that reads the zeros of a padding adds nothing.
Two opposite borders have no tap in common but those of the middle: they share less than sqrt(C(p, p) C(q, q)).

What positions differ in, of all inputs alike, B = (1 / P) sum_p C(p, p) - (1 / P^2) sum_{p,q} C(p, q), is that of few weights:
those of the taps that a padding cuts off. Given the weights it is a sum of squares of Gaussians, taken as (B / r) chi2_r with

    r = (tr X)^2 / tr X^2,    X(p, q) = C(p, q) - its averages over p and over q,

and a norm divides by it and by the variance S between inputs (`variance_parts`), where E[1 / (S + y)] is more than 1 / (S + B).
"""

from itertools import product
from math import factorial, prod
from typing import Any

import numpy as np

from landscape.gates.averaging import ratio, significant
from landscape.gates.forward.signal import Level, Signal
from lattice.network.ops import WeightedWindow

__all__ = ["Law", "ROUNDING", "aligned", "inverse_of_sum", "level_of_pairs", "level_of_weights", "by_few_differences"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Law = tuple[tuple[float, float], ...]  # the (c, f) of a sum of c chi2_f
LOGARITHMS = np.linspace(-40.0, 60.0, 4001)  # of t E[y]
ROUNDING = 1e-9  # of the whole variance: less than this is not known


def aligned(z: Signal) -> Level:
    """All positions share one level, up to its size: C(p, q) = sqrt(C(p, p) C(q, q))."""
    root = np.sqrt(z.cross)
    middle = _mean(root)
    return Level(root * middle, middle**2, np.ones_like(middle))


def level_of_pairs(shared: Array, runs: tuple[int, ...], spatial: Shape) -> Level:
    """Where C is known at all pairs of positions, (runs of channels, pairs of each axis ...)."""
    split = shared.reshape(len(shared), *(n for n in spatial for _ in range(2)))
    with_mean = split.mean(axis=tuple(range(2, 2 * len(spatial) + 1, 2)))
    of_mean, positions = _mean(with_mean), prod(spatial)
    rows = np.moveaxis(split, range(2, 2 * len(spatial) + 1, 2), range(-len(spatial), 0)).reshape(len(split), positions, -1)
    flat, middle = with_mean.reshape(len(rows), -1), of_mean.reshape(-1, 1, 1)
    centred = rows - flat[:, :, None] - flat[:, None] + middle
    rank = ratio(np.trace(centred, axis1=1, axis2=2) ** 2, (centred**2).sum(axis=(1, 2)))
    rank = np.maximum(rank, 1.0).reshape(of_mean.shape)
    if len(with_mean) > 1:
        with_mean, of_mean, rank = (np.repeat(part, runs, axis=0) for part in (with_mean, of_mean, rank))
    return Level(with_mean, of_mean, rank)


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
    of_mean = variance * _mean(total)
    return Level(variance * total, of_mean, np.full_like(of_mean, 2 * len(spatial)))  # two borders an axis


def by_few_differences(rest: Array, apart: Array, rank: Array, eps: float) -> Array:
    """(S + B + eps) E[1 / (S + y + eps)] of S the `rest`, B the mean of y, `apart`, which has this `rank`.

    >>> rank = np.array([1.0, 1000.0])
    >>> by_few_differences(np.ones(2), np.ones(2), rank, 0.0).round(3)
    array([1.311, 1.   ])
    """
    fixed = rest + eps
    share = ratio(apart, fixed + apart)
    rows = significant(np.stack([share.ravel(), np.broadcast_to(rank, share.shape).ravel()]))
    kinds, which = np.unique(rows, axis=1, return_inverse=True)
    found = [1.0 if b < ROUNDING else inverse_of_sum(((b / r, r),), 1 - b) for b, r in kinds.T]
    return np.array(found)[which.ravel()].reshape(share.shape)


def inverse_of_sum(law: Law, eps: float, power: int = 1) -> float:
    """E[1 / (y + eps)^power] of y = sum of c chi2_f over the (c, f) of the law.

    >>> round(inverse_of_sum(((1.0, 3), (1.0, 4)), 0.0), 6)  # 1 / 5
    0.2
    """
    mean = sum(one * freedom for one, freedom in law) + eps
    t = np.exp(LOGARITHMS) / mean
    laplace = np.exp(-eps * t - sum(freedom / 2 * np.log1p(2 * one * t) for one, freedom in law))
    return float((t**power * laplace).sum() * (LOGARITHMS[1] - LOGARITHMS[0]) / factorial(power - 1))


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=tuple(range(1, values.ndim)), keepdims=True))
