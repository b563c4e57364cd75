r"""ReLU under a pooled head: the second path law, for white inputs and wide layers.

Let z be the last pre-activations under a global average over P positions, c(p, i) the variance-weighted path sum from
z_p to input i, and S(p) = sum_i c(p, i) x_i^2 the size of z_p. Two positions of one channel share their filter, so

    E[f(x) f(x')] = 1/P^2 sum_{p,q} sqrt(S_x(p) S_x'(q)) kappa(rho_pq),    kappa(r) = (sqrt(1 - r^2) + r (pi - arccos r)) / 2 pi

in the limit of many channels (kappa for a ReLU; times (b - a)^2 for slopes a and b). The expected product of derivatives is
its mixed derivative in x_i and x'_i at x' = x. The part through rho is the sum over single paths of Proposition 1. The part
through the two sizes, d sqrt(S(p)) / dx_i = c(p, i) x_i / sqrt(S(p)), survives wherever p != q, and for a white input of
unit power it is

    kappa(rho) / P^2 * (m_i^2 - sum_p c(p, i)^2 / S(p)),        m_i = sum_p c(p, i) / sqrt(S(p)),

with rho the correlation that all positions share, cross / power of `landscape.signal`. Against the path sum its size is about
2 kappa P / (channels of the input * positions of the input): it matters for nets without strides, and vanishes for pyramids.
Left out: what fluctuates in S and rho from input to input, of relative size 1 / (cells of z's receptive field * channels).
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from landscape.gains import has_slopes, slopes
from landscape.gates import Gates
from landscape.moments import Rules, squared_gradients
from landscape.signal import signals
from lattice import Activation, Dropout, GlobalPool, Lattice, Node, pull_back

__all__ = ["head_correction", "pooled_gate"]

Array = np.ndarray[Any, Any]
MOST_POSITIONS = 256  # above it the terms with p = q are less than 1/256 of the rest


def pooled_gate(lattice: Lattice) -> int | None:
    """The position of the ReLU (or leaky ReLU, abs) that a global average at the head reads; None where there is none.

    >>> from lattice import Conv, Dense, Flatten
    >>> relu = Activation("relu")
    >>> pooled_gate(Lattice.chain((1, 8), [Conv(4, 3), relu, GlobalPool("avg"), Flatten(), Dense(2)]))
    2
    >>> pooled_gate(Lattice.chain((1, 8), [Conv(4, 3), relu, Flatten(), Dense(2)]))
    """
    pools = [i for i, node in enumerate(lattice.nodes) if isinstance(node.op, GlobalPool) and node.op.kind == "avg"]
    if not pools or not _straight_to_the_top(lattice, pools[-1]):
        return None
    below = lattice.nodes[pools[-1]].inputs[0]
    while isinstance(lattice.nodes[below].op, Dropout):
        below = lattice.nodes[below].inputs[0]
    op = lattice.nodes[below].op
    return below if isinstance(op, Activation) and has_slopes(op) and len(lattice.readers[below]) == 1 else None


def _straight_to_the_top(lattice: Lattice, position: int) -> bool:
    """Does only one chain lead from this node to the output?"""
    while position < len(lattice.nodes) - 1:
        if len(lattice.readers[position]) != 1:
            return False
        position = lattice.readers[position][0]
        if len(lattice.nodes[position].inputs) != 1:
            return False
    return True


def head_correction(
    lattice: Lattice,
    variances: Mapping[str, float],
    factors: Mapping[str, Any] | None = None,
    output: Any = None,
    gates: Gates | None = None,
) -> Array | None:
    """What the second path law adds to `landscape.moments.squared_gradients`, with its arguments: float64 over input positions.

    None where no gate stands right under a global average at the head. `UnsupportedError` for ops without a rule.

    >>> from lattice import Conv
    >>> net = Lattice.chain((1, 4), [Conv(64, 3, padding=1, mode="circular"), Activation("relu"), GlobalPool("avg")])
    >>> head_correction(net, {"conv1": 2 / 3}).round(5)  # kappa = 1 / (2 pi), S = 2, c = 2/3: 3 * 2 pairs p != q of 16
    array([0.01326, 0.01326, 0.01326, 0.01326])
    """
    gate = pooled_gate(lattice)
    if gate is None:
        return None
    below = lattice.nodes[gate].inputs[0]
    sub = _up_to(lattice, below)
    names = sub.names
    signal = signals(sub, {n: variances[n] for n in names if n in variances}, factors=factors)[-1]
    spatial = sub.output_shape[1:]
    power = np.broadcast_to(signal.power.mean(axis=0), spatial)  # channels are alike, or taken so
    rho = float(np.clip(signal.cross.mean() / signal.power.mean(), -1, 1))
    rules = Rules(sub, variances, factors or {}, (), gates or Gates())
    root = np.where(power > 0, power, np.inf) ** -0.5
    squares = (_one_channel(sub, rules, root[None]).mean(axis=0)) ** 2
    positions = prod(spatial)
    if positions <= MOST_POSITIONS:
        single = _one_channel(sub, rules, (np.eye(positions).reshape(positions, *spatial) * root)[:, None])
        squares = squares - (single.mean(axis=1) ** 2).sum(axis=0)
    bottom, top = slopes(lattice.nodes[gate].op)  # type: ignore[arg-type]
    kappa = (np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho))) / (2 * np.pi)
    head = _weight_of_the_head(lattice, gate, variances, factors, output, gates)
    result: Array = head * (top - bottom) ** 2 * kappa / positions**2 * squares
    return result


def _one_channel(sub: Lattice, rules: Rules, cotangent: Array) -> Array:
    """The path sums from one channel of the output, (..., channels or 1, *spatial)."""
    wide = np.zeros((*cotangent.shape[: cotangent.ndim - len(sub.output_shape)], *sub.output_shape))
    channel = wide.ndim - len(sub.output_shape)
    np.moveaxis(wide, channel, 0)[0] = np.moveaxis(cotangent, channel, 0)[0]
    return pull_back(sub, rules.squared, wide)


def _up_to(lattice: Lattice, position: int) -> Lattice:
    """The lattice whose output is this node."""
    needed = {position}
    for i in range(position, -1, -1):
        if i in needed:
            needed.update(lattice.nodes[i].inputs)
    kept = sorted(needed)
    place = {old: new for new, old in enumerate(kept)}
    nodes = [lattice.nodes[i] for i in kept]
    return Lattice(tuple(Node(node.name, node.op, tuple(place[i] for i in node.inputs)) for node in nodes))


def _weight_of_the_head(
    lattice: Lattice, gate: int, variances: Mapping[str, float], factors: Any, output: Any, gates: Gates | None
) -> float:
    """sum over the channels of the gate of E[(dy / d(average of the channel))^2], averaged over the output units."""
    pool = next(i for i in range(gate + 1, len(lattice.nodes)) if isinstance(lattice.nodes[i].op, GlobalPool))
    shape = lattice.shapes[pool]
    top = [node.op for node in lattice.nodes[pool + 1 :]]
    if not top:
        return 1.0  # each output unit is the average of one channel
    head = Lattice.chain(shape, top)
    renamed = dict(zip((node.name for node in lattice.nodes[pool + 1 :]), head.names[1:], strict=True))
    own = {new: variances[old] for old, new in renamed.items() if old in variances}
    scale = {new: factors[old] for old, new in renamed.items() if factors and old in factors}
    return float(squared_gradients(head, own, scale, (), output).mean() * shape[0])
