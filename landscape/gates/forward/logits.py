"""How much the logits of attention vary at initialisation: what the second moments of its shares follow from."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.forward.mean_field import Signal, signals
from landscape.prior import Prior
from lattice import Lattice
from lattice.network.attention import Attention, Role, roles
from lattice.network.ops import Shape

__all__ = ["Logits", "logits"]

Array = np.ndarray[Any, Any]


class Logits(NamedTuple):
    """Sizes over positions, (*positions) each, of the mean channel.

    `queries`: E[q^2]; `level`: the part of it that all inputs, and so all positions, share. `keys` and `values`: the variances
    of keys and values beside their own levels; `given`: that of logits that are given, at each query. `width`: channels of a
    head of the queries; `scale`: what multiplies q . k, nothing where there is none.
    """

    queries: Array
    level: Array
    keys: Array
    values: Array
    given: Array
    width: int
    scale: float

    @property
    def variance(self) -> Array:
        """The variance of the logits of every query, with the mean key."""
        return np.asarray(self.width * self.scale**2 * self.queries * self.keys.mean() + self.given)


def logits(prior: Prior) -> dict[str, Logits]:
    """The `Logits` of every attention of a network by name, from the forward mean field."""
    lattice = prior.lattice
    if not any(isinstance(node.op, Attention) for node in lattice.nodes):
        return {}
    found, sizes = signals(prior), {}
    for node in lattice.nodes:
        if isinstance(node.op, Attention):
            sizes[node.name] = _sizes(node.op, dict(zip(roles(node.inputs), node.inputs, strict=True)), lattice, found)
    return sizes


def _sizes(op: Attention, inputs: dict[Role, int], lattice: Lattice, found: Sequence[Signal]) -> Logits:
    """The sizes of one attention, of its inputs by role; what it has none of is 0."""
    values = lattice.shapes[inputs["values"]][1:]
    queries = lattice.shapes[inputs.get("queries", inputs.get("logits", 0))]

    def size(role: Role, spatial: Shape, part: Callable[[Signal], Array]) -> Array:
        own = part(found[inputs[role]]).mean(axis=0) if role in inputs else np.zeros(())
        return np.broadcast_to(own, spatial)

    def beside(signal: Signal) -> Array:
        return np.asarray(signal.power - signal.cross)

    parts = (
        size("queries", queries[1:], lambda signal: signal.power),
        size("queries", queries[1:], lambda signal: signal.cross),
        size("keys", values, beside),
        size("values", values, beside),
        size("logits", queries[1:], beside),
    )
    width = queries[0] // op.heads if "queries" in inputs else 0
    return Logits(*parts, width, (op.scale or width**-0.5) if width else 0.0)
