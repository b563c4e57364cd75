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
from landscape.gates.forward.mean_field import MeanField
from landscape.gates.gate_rates import read_under_pool
from landscape.gates.gates import pooled_gates
from landscape.laws.connections import Rules
from landscape.laws.moments import expected_squares
from landscape.prior import Pooled, Prior
from landscape.structure.plan import axis_maps
from lattice import GlobalPool, Lattice, Op
from lattice.network.attention import Attention, roles
from lattice.network.ops import Shape
from lattice.sweep.pullback import pull
from lattice.sweep.reverse import bottom, sweep

__all__ = ["head_correction"]

Array = np.ndarray[Any, Any]
MOST_NUMBERS = 200_000_000  # above it the terms with p = q, 1 / P of the rest, are left out


def head_correction(prior: Prior, output: Any = None) -> Array | None:
    """What the second path law adds to `squared_gradients`: float64 over input positions.

    None where no gate stands right under a global average at the head. `UnsupportedError` for ops without a rule.

    >>> from lattice import Activation, Conv
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
    names, known = [lattice.names[gate] for gate in gates], prior.gates.pooled
    known = known if set(names) <= set(known) else _read_by_gates(prior)
    parts = [head * lattice.shapes[gate][0] * _per_channel(prior, known[name]) for gate, name in zip(gates, names, strict=True)]
    return np.asarray(sum(parts))


def _read_by_gates(prior: Prior) -> dict[str, Pooled]:
    """What the gates under a global average read, where no rates were found before."""
    lattice = prior.lattice
    field = MeanField(prior.up_to(lattice.nodes[_last_pool(lattice)].inputs[0]), train=False, pairs=False)
    field.sweep(1.0)
    gates, names = (lattice.names[i] for i in pooled_gates(lattice)), field.lattice.names
    return {gate: read_under_pool(field, names.index(gate)) for gate in gates}


def _per_channel(prior: Prior, read: Pooled) -> Array:
    """What one channel of a gate that reads this adds under a head of weight one."""
    part = prior.up_to(prior.lattice.names.index(read.base))
    sub = part.lattice
    spatial = sub.output_shape[1:]
    down, up = read.slopes
    power = np.broadcast_to(read.power, spatial)
    rules = Rules(part)
    root = np.where(power > 0, power, np.inf) ** -0.5
    squares = (_one_channel(sub, rules, root[None]).mean(axis=0)) ** 2
    positions = prod(spatial)
    if positions * sum(map(prod, sub.shapes)) <= MOST_NUMBERS:
        single = _one_channel(sub, rules, (np.eye(positions).reshape(positions, *spatial) * root)[:, None])
        squares = squares - (single.mean(axis=1) ** 2).sum(axis=0)
    kappa = closed_moments(np.asarray(down), np.asarray(up), np.zeros(1), np.ones(1), np.array([read.correlation]))[2]
    result: Array = np.mean(kappa) / positions**2 * squares
    return result


def _one_channel(sub: Lattice, rules: Rules, cotangent: Array) -> Array:
    """The path sums c from one channel of the output, the mean over its channels, (..., channels or 1, *spatial)."""

    def step(position: int, here: Array) -> Iterator[Array]:
        node = sub.nodes[position]
        shapes = sub.input_shapes(node)
        for number in range(len(node.inputs)):
            weight = rules.squared(node, number)
            if weight is None:
                yield _squared_map(node.op, number, shapes, sub.shapes[position], here)
            elif np.ndim(weight) == 0:  # below, there may be one channel left
                yield pull(node.op, shapes, here, sub.shapes[position])[number] * weight
            else:
                yield pull(node.op, shapes, here * weight, sub.shapes[position])[number]

    return bottom(sweep(sub, cotangent / sub.output_shape[0], step))


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
