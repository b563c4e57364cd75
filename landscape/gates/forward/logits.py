"""How much the logits of attention vary at initialisation: what the second moments of its shares follow from."""

from typing import Any, NamedTuple

import numpy as np

from landscape.gates.forward.mean_field import signals
from landscape.prior import Prior
from lattice.network.attention import Attention

__all__ = ["Logits", "logits"]

Array = np.ndarray[Any, Any]


class Logits(NamedTuple):
    """Sizes over positions, (*positions) each, of the mean channel.

    `queries`: E[q^2]; `level`: the part of it that all inputs, and so all positions, share. `keys` and `values`: the variances
    of keys and values beside their own levels. `width`: channels of a head of the queries; `scale`: what multiplies q . k.
    """

    queries: Array
    level: Array
    keys: Array
    values: Array
    width: int
    scale: float

    @property
    def variance(self) -> Array:
        """The variance of the logits of every query, with the mean key."""
        return np.asarray(self.width * self.scale**2 * self.queries * self.keys.mean())


def logits(prior: Prior) -> dict[str, Logits]:
    """The `Logits` of every attention of a network by name, from the forward mean field."""
    lattice = prior.lattice
    if not any(isinstance(node.op, Attention) for node in lattice.nodes):
        return {}
    found, sizes = signals(prior), {}
    for node in lattice.nodes:
        if isinstance(node.op, Attention):
            shape = lattice.input_shapes(node)[0]
            q, k, v = (found[i] for i in node.inputs)
            powers = [part.mean(axis=0) for part in (q.power, q.cross, k.power - k.cross, v.power - v.cross)]
            width = shape[0] // node.op.heads
            spatial = [lattice.shapes[i][1:] for i in (*node.inputs[:1], *node.inputs)]
            full: Any = [np.broadcast_to(part, size) for part, size in zip(powers, spatial, strict=True)]
            sizes[node.name] = Logits(full[0], full[1], full[2], full[3], width, node.op.scale or width**-0.5)
    return sizes
