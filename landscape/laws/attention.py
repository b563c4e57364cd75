r"""Attention in the general law: a mixing of positions whose shares vary a little, and the paths through its logits.

Fresh queries and keys give logits l_ts = a q_t . k_s of mean zero, so that the shares A = softmax(l) of the n positions that a
query reads are 1 / n on average. With s^2(t, t') the covariance of the logits of two queries with one key (d channels of a
head, E[q_t q_t'], and the variance of keys; what all keys share cancels in the softmax),

    E[A_ts A_t's'] = (1 + g (n 1[s = s'] - 1)) / n^2,      g = x / (n + x), x = exp(s^2(t, t')) - 1,

for shares in proportion to log-normal numbers. The gradient comes down through the values by A, through the keys by
A_ts (v_s - mean) a q_t, and through the queries by the sum of A_ts (v_s - mean) a (k_s - mean) over s:

    values:   K(s, s') = sum over t, t' of K(t, t') E[A_ts A_t's']
    keys:     K(s, s)  = a^2 V[v_s] (1 - 1 / n) sum over t, t' of K(t, t') E[q_t q_t'] / n^2
    queries:  K(t, t') = a^2 V[v] V[k] (1 - 1 / n) K(t, t') m / n^2, m the positions that both t and t' read,

the last two summed over the channels of the head, where V[v] (1 - 1 / n) is the variance of a value about the mean of the n
that are read. Logits that are given beside q . k, or alone, add their variance to s^2(t, t), and the gradient comes down to
each of them by A_ts (v_s - mean):

    logits:   K(t, t) = V[v] (1 - 1 / n) K(t, t) / n^2, summed over the channels of the head,

taken as apart from one query to the next.
"""

from typing import Any

import numpy as np

from landscape.gates.forward.logits import Logits
from landscape.structure.arrays import Axes, collect, on_diagonal, outer, rearranged
from landscape.structure.plan import Step
from lattice.network.attention import Attention, roles
from lattice.network.ops import Shape
from lattice.sweep.pullback import sum_channels

__all__ = ["through_attention"]

Array = np.ndarray[Any, Any]
SIDES = ("first", "second")  # of a pair


def through_attention(
    op: Attention, shapes: tuple[Shape, ...], step: Step, known: Logits | None, here: Array, above: Axes, below: Axes
) -> Array:
    """The moments of an input that come from those of the output; without `Logits`, for constant logits."""
    role, of = roles(shapes)[step.places[0]], dict(zip(roles(shapes), shapes, strict=True))
    spatial = tuple(pairs.left for pairs in above)
    windows = list(zip(op.windows(spatial, of["values"][1:]), of["values"][1:], strict=True))
    tables = [window.table(size) for window, size in windows]
    n, other = (_at(outer([(table >= 0).sum(axis=0).astype(float) for table in tables]), above, side) for side in SIDES)
    if known is None:
        if role == "values":
            assert step.maps is not None
            return collect(step.maps, here, above, below)
        return np.zeros((1, *map(len, below)))

    def head(values: Array) -> Array:
        """The sum over the channels of each head of the values, for every channel of that head of the input."""
        return sum_channels(values, len(above), of["values"][0], shapes[step.places[0]][0], op.heads)

    if role == "queries":
        weight = known.scale**2 * known.keys.mean() * known.values.mean()
        read = [window.matrix(size) for window, size in windows]
        common = outer([(a @ a.T)[pairs.first, pairs.second] for a, pairs in zip(read, above, strict=True)])
        return rearranged(head(here * weight * (1 - 1 / n) * common / (n * other)), above, below)
    if role == "logits":
        return rearranged(head(here * on_diagonal(above) * known.values.mean() * (1 - 1 / n) / n**2), above, below)
    assert step.maps is not None
    pairs = np.sqrt(_at(known.level, above, "first") * _at(known.level, above, "second"))
    joint = np.where(on_diagonal(above), _at(known.queries, above, "first"), pairs)
    if role == "keys":
        passed = collect(step.maps, head(here * joint * known.scale**2 * (1 - 1 / n)), above, below)
        return passed * on_diagonal(below) * _at(known.values, below, "first")
    variance = known.width * known.scale**2 * known.keys.mean() * joint
    variance = variance + np.where(on_diagonal(above), _at(known.given, above, "first"), 0.0)
    x = np.expm1(np.minimum(variance, np.log(n)))
    more = x / (n + x)
    same = collect(step.maps, here * more * n, above, below) * on_diagonal(below)
    return np.asarray(collect(step.maps, here * (1 - more), above, below) + same)


def _at(values: Array, axes: Axes, side: str) -> Array:
    """Values over positions, at one side of every pair."""
    return np.asarray(values[np.ix_(*(getattr(pairs, side) for pairs in axes))])
