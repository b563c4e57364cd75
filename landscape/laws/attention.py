r"""Attention in the general law: a mixing of positions whose shares vary a little, and the paths through its logits.

Fresh queries and keys give logits l_ts = a q_t . k_s of mean zero, so that the shares A = softmax(l) of the n positions that a
query reads are 1 / n on average. With s^2(t, t') the covariance of the logits of two queries with one key (d channels of a
head, E[q_t q_t'], and the variance of keys; what all keys share cancels in the softmax),

    E[A_ts A_t's'] = (1 + g (n 1[s = s'] - 1)) / n^2,      g = x / (n + x), x = exp(s^2(t, t')) - 1,

for shares in proportion to log-normal numbers. The gradient comes down through the values by A, through the keys by
A_ts (v_s - mean) a q_t, and through the queries by the sum of A_ts (v_s - mean) a (k_s - mean) over s:

    values:   K(s, s') = sum over t, t' of K(t, t') E[A_ts A_t's']
    keys:     K(s, s)  = a^2 V[v_s] (1 - 1 / n) sum over t, t' of K(t, t') E[q_t q_t'] / n^2
    queries:  K(t, t') = a^2 V[v] V[k] (1 - 1 / n) K(t, t') / n,

the last two summed over the channels of the head, where V[v] (1 - 1 / n) is the variance of a value about the mean of the n
that are read.
"""

from typing import Any

import numpy as np

from landscape.gates.forward.logits import Logits
from landscape.structure.arrays import Axes, collect, on_diagonal, outer
from landscape.structure.plan import Step
from lattice.network.attention import Attention
from lattice.network.ops import Shape
from lattice.sweep.pullback import sum_channels

__all__ = ["VALUES", "through_attention"]

Array = np.ndarray[Any, Any]
QUERIES, KEYS, VALUES = range(3)


def through_attention(
    op: Attention, shapes: tuple[Shape, ...], step: Step, known: Logits | None, here: Array, above: Axes, below: Axes
) -> Array:
    """The moments of queries, keys or values that come from those of the output; without `Logits`, for constant logits."""
    place = step.places[0]
    n = _at(_read(op, shapes), above, "first")
    if known is None:
        if place == VALUES:
            assert step.maps is not None
            return collect(step.maps, here, above, below)
        return np.zeros((1, *map(len, below)))
    if place == QUERIES:
        weight = known.scale**2 * known.keys.mean() * known.values.mean()
        return _head(op, shapes, here * weight * (1 - 1 / n) / n, above)
    assert step.maps is not None
    pairs = np.sqrt(_at(known.level, above, "first") * _at(known.level, above, "second"))
    joint = np.where(on_diagonal(above), _at(known.queries, above, "first"), pairs)
    if place == KEYS:
        passed = collect(step.maps, _head(op, shapes, here * joint * known.scale**2 * (1 - 1 / n), above), above, below)
        return passed * on_diagonal(below) * _at(known.values, below, "first")
    x = np.expm1(np.minimum(known.width * known.scale**2 * known.keys.mean() * joint, np.log(n)))
    more = x / (n + x)
    same = collect(step.maps, here * more * n, above, below) * on_diagonal(below)
    return np.asarray(collect(step.maps, here * (1 - more), above, below) + same)


def _read(op: Attention, shapes: tuple[Shape, ...]) -> Array:
    """How many positions each query reads, (*positions)."""
    windows = op.windows(shapes[QUERIES][1:], shapes[KEYS][1:])
    return outer([(w.table(n) >= 0).sum(axis=0).astype(float) for w, n in zip(windows, shapes[KEYS][1:], strict=True)])


def _head(op: Attention, shapes: tuple[Shape, ...], here: Array, axes: Axes) -> Array:
    """The sum over the channels of each head of the values, for every channel of that head of the queries."""
    return sum_channels(here, len(axes), shapes[VALUES][0], shapes[QUERIES][0], op.heads)


def _at(values: Array, axes: Axes, side: str) -> Array:
    """Values over positions, at one side of every pair."""
    return np.asarray(values[np.ix_(*(getattr(pairs, side) for pairs in axes))])
