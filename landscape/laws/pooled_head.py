r"""ReLU under a pooled head: the second path law, for white inputs and wide layers.

Let z be the last pre-activations under a global average over P positions, c(p, i) the variance-weighted path sum from
z_p to input i, and S(p) = sum_i c(p, i) x_i^2 the size of z_p. Two positions of one channel share their filter, so

    E[f(x) f(x')] = 1/P^2 sum_{p,q} sqrt(S_x(p) S_x'(q)) kappa(rho_pq),    kappa(r) = (sqrt(1 - r^2) + r (pi - arccos r)) / 2 pi

in the limit of many channels (kappa for a ReLU; (b - a)^2 kappa(r) + a b r for slopes a and b). The expected product of
derivatives is its mixed derivative in x_i and x'_i at x' = x. The part through rho is the sum over single paths of
Proposition 1. The part through the two sizes, d sqrt(S(p)) / dx_i = c(p, i) x_i / sqrt(S(p)), survives wherever p != q, and
for a white input of unit power it is

    kappa(rho) / P^2 * (m_i^2 - sum_p c(p, i)^2 / S(p)),        m_i = sum_p c(p, i) / sqrt(S(p)),

with rho the correlation that all positions share, cross / power of `landscape.gates.forward.mean_field`. Against the path sum
its size is about 2 kappa P / (channels of the input * positions of the input): it matters for nets without strides, and
vanishes for pyramids. Where the gate is the top of a run of gates without weights between (a ReLU of a leaky ReLU, a gate of
y - relu(y)) that is piecewise linear in one Gaussian, z is that Gaussian and a, b are the slopes of the run. Left out: what
fluctuates in S and rho from input to input, of relative size 1 / (cells of z's receptive field * channels).
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from landscape.gates.activations import closed_moments
from landscape.gates.composites import line_of
from landscape.gates.forward.mean_field import MeanField
from landscape.laws.connections import Rules
from landscape.laws.moments import expected_squares
from landscape.prior import Prior
from landscape.structure.plan import axis_maps
from landscape.structure.signs import has_slopes, slopes
from lattice import Activation, Concat, Dropout, GlobalPool, Lattice, Op
from lattice.network.attention import Attention, roles
from lattice.network.ops import Shape
from lattice.sweep.pullback import pull
from lattice.sweep.reverse import bottom, sweep

__all__ = ["head_correction", "pooled_gates"]

Array = np.ndarray[Any, Any]
MOST_NUMBERS = 200_000_000  # above it the terms with p = q, 1 / P of the rest, are left out


def pooled_gates(lattice: Lattice) -> tuple[int, ...]:
    """The positions of the ReLUs (or leaky ReLUs, abs) that a global average at the head reads, concatenated or alone.

    >>> from lattice import Conv, Dense, Flatten
    >>> relu = Activation("relu")
    >>> pooled_gates(
    ...     Lattice.chain(
    ...         (1, 8), [Conv(4, 3), relu, GlobalPool("avg"), Flatten(), Dense(2)]
    ...     )
    ... )
    (2,)
    >>> pooled_gates(Lattice.chain((1, 8), [Conv(4, 3), relu, Flatten(), Dense(2)]))
    ()
    """
    pools = [i for i, node in enumerate(lattice.nodes) if isinstance(node.op, GlobalPool) and node.op.kind == "avg"]
    if not pools or not _straight_to_the_top(lattice, pools[-1]):
        return ()
    gates, waiting = [], [lattice.nodes[pools[-1]].inputs[0]]
    while waiting:
        position = waiting.pop()
        op = lattice.nodes[position].op
        if isinstance(op, Dropout | Concat):
            waiting.extend(lattice.nodes[position].inputs)
        elif isinstance(op, Activation) and has_slopes(op) and len(lattice.readers[position]) == 1:
            gates.append(position)
    return tuple(sorted(gates))


def _straight_to_the_top(lattice: Lattice, position: int) -> bool:
    """Does only one chain lead from this node to the output?"""
    while position < len(lattice.nodes) - 1:
        if len(lattice.readers[position]) != 1:
            return False
        position = lattice.readers[position][0]
        if len(lattice.nodes[position].inputs) != 1:
            return False
    return True


def head_correction(prior: Prior, output: Any = None) -> Array | None:
    """What the second path law adds to `squared_gradients`: float64 over input positions.

    None where no gate stands right under a global average at the head. `UnsupportedError` for ops without a rule.

    >>> from lattice import Conv
    >>> net = Lattice.chain(
    ...     (1, 4),
    ...     [
    ...         Conv(64, 3, padding=1, mode="circular"),
    ...         Activation("relu"),
    ...         GlobalPool("avg"),
    ...     ],
    ... )
    >>> # kappa = 1 / (2 pi), S = 2, c = 2/3: 3 * 2 pairs p != q of 16
    >>> head_correction(Prior(net, {"conv1": 2 / 3})).round(5)
    array([0.01326, 0.01326, 0.01326, 0.01326])
    """
    lattice = prior.lattice
    gates = pooled_gates(lattice)
    if not gates:
        return None
    prior = replace(prior, gates=replace(prior.gates, replicates=()))  # they are made when asked for, and not needed
    head = _weight_of_the_head(prior, output)
    rest = prior.up_to(lattice.nodes[_last_pool(lattice)].inputs[0])
    field = MeanField(rest, train=False, pairs=False)
    field.sweep(1.0)
    read = [rest.lattice.names.index(lattice.nodes[gate].name) for gate in gates]
    parts = [_per_channel(prior, field, place) for place in read]
    return np.asarray(sum(head * lattice.shapes[gate][0] * part for gate, part in zip(gates, parts, strict=True)))


def _gaussian_below(field: MeanField, gate: int) -> tuple[int, tuple[Any, Any]]:
    """The node of which a gate is a function, and the slopes of that below and above zero."""
    node = field.lattice.nodes[gate]
    assert isinstance(node.op, Activation)
    base, form = field.forms[gate]
    run = field.run(gate)
    line = None if form.gates < 2 or run is None else line_of(form, run.affine)
    return (node.inputs[0], slopes(node.op)) if line is None else (base, line)


def _per_channel(prior: Prior, field: MeanField, gate: int) -> Array:
    """What one channel of this gate adds under a head of weight one."""
    base, (down, up) = _gaussian_below(field, gate)
    signal = field.found[base]
    part = prior.up_to(base)
    sub = part.lattice
    spatial = sub.output_shape[1:]
    power = np.broadcast_to(signal.power.mean(axis=0), spatial)  # channels are alike, or taken so
    rho = float(np.clip(signal.cross.mean() / signal.power.mean(), -1, 1)) if signal.power.any() else 0.0
    rules = Rules(part)
    root = np.where(power > 0, power, np.inf) ** -0.5
    squares = (_one_channel(sub, rules, root[None]).mean(axis=0)) ** 2
    positions = prod(spatial)
    if positions * sum(map(prod, sub.shapes)) <= MOST_NUMBERS:
        single = _one_channel(sub, rules, (np.eye(positions).reshape(positions, *spatial) * root)[:, None])
        squares = squares - (single.mean(axis=1) ** 2).sum(axis=0)
    kappa = closed_moments(np.asarray(down), np.asarray(up), np.zeros(1), np.ones(1), np.array([rho]))[2]
    result: Array = np.mean(kappa) / positions**2 * squares
    return result


def _one_channel(sub: Lattice, rules: Rules, cotangent: Array) -> Array:
    """The path sums from one channel of the output, (..., channels or 1, *spatial)."""
    wide = np.zeros((*cotangent.shape[: cotangent.ndim - len(sub.output_shape)], *sub.output_shape))
    channel = wide.ndim - len(sub.output_shape)
    np.moveaxis(wide, channel, 0)[0] = np.moveaxis(cotangent, channel, 0)[0]

    def step(position: int, here: Array) -> Iterator[Array]:
        node = sub.nodes[position]
        shapes = sub.input_shapes(node)
        for number in range(len(node.inputs)):
            weight = rules.squared(node, number)
            if weight is None:
                yield _squared_map(node.op, number, shapes, sub.shapes[position], here)
            else:
                yield pull(node.op, shapes, here * weight, sub.shapes[position])[number]

    return bottom(sweep(sub, wide, step))


def _squared_map(op: Op, number: int, shapes: tuple[Shape, ...], output: Shape, here: Array) -> Array:
    """sum_j A[j, i]^2 K(j): a resize, a blur, attention, whose coefficients differ; logits of attention add nothing here."""
    if isinstance(op, Attention) and roles(shapes)[number] != "values":
        return np.zeros((*here.shape[: here.ndim - len(output)], *shapes[number]))
    maps = axis_maps(op, shapes[number], output)
    assert maps is not None
    for axis, ((fixed, _),) in zip(range(-len(maps), 0), maps, strict=True):
        here = np.moveaxis(np.tensordot(fixed.values**2, here, (0, axis % here.ndim)), 0, axis)
    return here


def _last_pool(lattice: Lattice) -> int:
    return max(i for i, node in enumerate(lattice.nodes) if isinstance(node.op, GlobalPool))


def _weight_of_the_head(prior: Prior, output: Any) -> float:
    """E[(dy / d(average of a channel))^2], averaged over the output units and the channels of the global average."""
    lattice = prior.lattice
    pool = _last_pool(lattice)
    shape = lattice.shapes[pool]
    top = [node.op for node in lattice.nodes[pool + 1 :]]
    if not top:
        return 1.0 / shape[0]  # each output unit is the average of one channel
    head = Lattice.chain(shape, top)
    renamed = dict(zip((node.name for node in lattice.nodes[pool + 1 :]), head.names[1:], strict=True))
    own = {new: prior.variances[old] for old, new in renamed.items() if old in prior.variances}
    scale = {new: prior.factors[old] for old, new in renamed.items() if old in prior.factors}
    return float(expected_squares(Prior(head, own, scale), output).mean())
