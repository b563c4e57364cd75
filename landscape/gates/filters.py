r"""Filters of few channels between gates: what pairs of different taps give, the second path law.

The n weights w of a depthwise filter, or the c n of one over c channels, decide both what passes and how often the gates
above it are open. With h the values of its channel, z_p = sum_m w_m h_{p+m} what a gate phi reads at position p, and G_p the
gradient above the gate, the gradient at input i is sum_k w_k phi'(z_p) G_p over the taps k that read i. Its square has terms
of two taps k and l at two positions p and q, wherever G_p and G_q have something in common: below an average. Given h they are,
for Gaussian weights of variance V, tap k of p at input i and tap l of q at input j (Stein's lemma, twice; Theorem 24 of the
documentation),

    E_w[w_k w_l phi'(z_p) phi'(z_q)] = V [k = l] E[phi'(z_p) phi'(z_q)]
        + V^2 (E[phi''(z_p) phi''(z_q)] (h_i h_j + h_{q+k} h_{p+l})
               + E[phi^(3)(z_p) phi'(z_q)] h_i h_{p+l} + E[phi'(z_p) phi^(3)(z_q)] h_j h_{q+k}).

phi'' has deltas at the kinks, so that all of these are densities of two Gaussians. h in turn is psi(a) of what the wide layers
below give, and the gate psi' stands on the way to i and j: an open gate has a large h, and with it a large share in z. (That is
a third of the effect, and why the gates cannot be taken one after the other.)

The mean over h is taken on the points of a Sobol sequence, over two windows that have one cell in common, or none; the cells
are alike and share what inputs share. Three numbers for each filter come out, in units of V E[psi' psi'] E[phi' phi'], which is
what the sweep makes of the layers one by one:

    one:  two taps at one input position, i = j;    two:  two taps at two positions;    same:  one tap at two positions.

At borders, where a window has fewer cells, each tap decides more: as V^2 over the size of z. Left out: that neighbouring
windows share more than one cell. In training mode batch norms divide by the size of the filter, and nothing is added.
"""

from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from landscape.gates.averaging import ratio
from landscape.gates.forward.covariances import both_slopes
from landscape.gates.forward.mean_field import MeanField
from landscape.gates.forward.signal import gaussian
from landscape.gates.functions import Curve, curve
from landscape.gates.gates import is_affine
from landscape.gates.windows.simulation.drawn_cells import gaussian_points
from landscape.structure.plan import plan
from landscape.structure.signs import Sign, Steps, steps
from lattice import Activation, Conv, Dropout, Input, Lattice, Pad

__all__ = ["Crossing", "averaged", "crossings", "filters_under_gates"]

Array = np.ndarray[Any, Any]
POINTS = 2**12  # and as many mirror images
MOST_PAIRS = 2**19  # of positions in one layer; above it the filters nearest to the input are left out
MOST_CHANNELS = 4  # of a filter; of more the law adds less than 10 % a layer
MOST_CELLS = 72  # of a window that is simulated
PARALLEL = 2.0**-40  # 1 - rho^2 of two windows that are multiples of one another: one weight decides both


class Crossing(NamedTuple):
    """What two taps give at `one` input position and at `two`, and what the `same` tap gives at two.

    They are shares of V E[psi' psi'] E[phi' phi'], which the layers give one by one. `few`, (1, *outputs), is by how much a tap
    decides more than it does in a whole window: the root of the size of z there over that here.
    """

    one: float
    two: float
    same: float
    few: Array


def filters_under_gates(lattice: Lattice) -> dict[str, int]:
    """The convolutions over few channels that a piecewise linear gate reads, and the position of that gate.

    >>> from lattice import GlobalPool
    >>> relu = Activation("relu")
    >>> layers = [Conv(64, 1), relu, Conv(64, 3, groups=64), relu, Conv(4, 3), GlobalPool()]
    >>> filters_under_gates(Lattice.chain((1, 8, 8), layers))
    {'conv2': 4}
    """
    found = {}
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Conv) and 0 < _channels(lattice, position) <= MOST_CHANNELS:
            gate = _gate_above(lattice, position)
            if gate is not None and _taps(lattice, position) > 1:
                found[node.name] = gate
    while found and _too_many(lattice, frozenset(found)):
        del found[next(iter(found))]
    return found


def _too_many(lattice: Lattice, names: frozenset[str]) -> bool:
    return any(prod(map(len, axes)) > MOST_PAIRS for axes in plan(lattice, names).carried.values())


def _gate_above(lattice: Lattice, position: int) -> int | None:
    """The piecewise linear gate that alone reads a node, with nothing but factors between."""
    while len(lattice.readers[position]) == 1:
        (position,) = lattice.readers[position]
        node = lattice.nodes[position]
        if isinstance(node.op, Activation):
            return position if steps(node.op) is not None else None
        if not is_affine(node):
            return None
    return None


def _channels(lattice: Lattice, position: int) -> int:
    """How many channels each filter reads; 0 for those of the input, which the law of the pooled head has."""
    node = lattice.nodes[position]
    assert isinstance(node.op, Conv)
    below = lattice.nodes[node.inputs[0]]
    while isinstance(below.op, Pad | Dropout):
        below = lattice.nodes[below.inputs[0]]
    return 0 if isinstance(below.op, Input) else lattice.input_shapes(node)[0][0] // node.op.groups


def _taps(lattice: Lattice, position: int) -> int:
    """How many cells of a channel a window of a convolution reads at most."""
    node = lattice.nodes[position]
    assert isinstance(node.op, Conv)
    spatial = lattice.input_shapes(node)[0][1:]
    windows = zip(node.op.windows(spatial), spatial, strict=True)
    return int(prod((window.table(n) >= 0).sum(axis=0).max() for window, n in windows))


def crossings(field: MeanField, filters: dict[str, int]) -> dict[str, Crossing]:
    """The numbers of each of these filters, from the signals of a forward sweep."""
    return {name: _crossing(field, name, gate) for name, gate in filters.items()}


def _crossing(field: MeanField, name: str, gate: int) -> Crossing:
    lattice = field.lattice
    position = lattice.names.index(name)
    op = lattice.nodes[gate].op
    assert isinstance(op, Activation)
    slope, read = steps(op), _read(field, lattice.nodes[position].inputs[0])
    mean, variance, _ = gaussian(field.found[lattice.nodes[gate].inputs[0]])
    if slope is None or read is None or not variance.any():
        return Crossing(0.0, 0.0, 1.0, np.ones((1, *variance.shape[1:])))
    each = variance.mean(axis=0, keepdims=True)
    few = np.sqrt(ratio(each.max(), each))
    cells = _taps(lattice, position) * _channels(lattice, position)
    return averaged(slope, float(mean.mean()), float(each.max()), *read, cells)._replace(few=few)


def _read(field: MeanField, position: int) -> tuple[Curve, tuple[float, float, float]] | None:
    """What a filter reads: psi, and the mean, the variance and the shared part of the variance of the Gaussian a."""
    lattice = field.lattice
    node = lattice.nodes[position]
    while isinstance(node.op, Dropout):
        position = node.inputs[0]
        node = lattice.nodes[position]
    if isinstance(node.op, Activation):
        function, signal = curve(node.op), field.found[node.inputs[0]]
    elif all(sign in (Sign.FILTER, Sign.SUM, Sign.DATA) for sign in field.signs_of_runs[position]):
        function, signal = curve(Activation("identity")), field.found[position]
    else:
        return None
    mean, variance, share = gaussian(signal)
    if not variance.any():
        return None
    return function, (float(mean.mean()), float(variance.mean()), float((share * variance).mean()))


def averaged(
    slope: Steps, mean: float, variance: float, function: Curve, law: tuple[float, float, float], cells: int
) -> Crossing:
    """The three numbers of a filter over so many cells (taps times channels) between psi and a gate phi.

    `slope` is that of phi; `mean` and `variance` are those of what phi reads. `function` is psi; `law`: the mean and the
    variance of a, and which part of the variance all positions share.

    >>> relu = Activation("relu")
    >>> found = averaged(steps(relu), 0.0, 1.0, curve(relu), (0.0, 1.0, 0.0), 9)
    >>> [round(one, 2) for one in found[:3]]
    [0.1, 0.08, 1.13]
    """
    middle, whole, shared = law
    taps = min(cells, MOST_CELLS)
    few = taps / cells  # of more cells each decides less in proportion
    normal = gaussian_points(2 * taps + 1, POINTS)
    a = middle + np.sqrt(shared) * normal[0] + np.sqrt(whole - shared) * normal[1:]
    values, opened = function.value(a), function.slope(a)
    left, right = values[:taps], values[taps:]
    joined = right.copy()
    joined[1] = left[0]  # one cell is tap 0 of a window and tap 1 of the other
    weight = variance / (taps * np.mean(values**2))  # V, for what the gate reads
    power, shared_power = weight * (left**2).sum(axis=0).mean(), weight * (left * right).sum(axis=0).mean()
    law_of_z = (np.full(1, part) for part in (mean, power, mean, power, np.clip(shared_power / power, -1, 1)))
    unit = weight * float(both_slopes(slope, *law_of_z)[0][0])

    def share(other: Array, taps_: tuple[int, int], gates: Array, rate: Any) -> float:
        return float(ratio(np.mean(gates * _two_taps(slope, mean, weight, left, other, *taps_)), unit * rate))

    apart = np.mean(opened[0] * opened[taps])
    same = share(right, (0, 0), opened[0] * opened[taps], apart)
    return Crossing(
        few * share(joined, (0, 1), opened[0] ** 2, np.mean(opened**2)),
        few * share(right, (0, 1), opened[0] * opened[taps + 1], apart),
        1 + few * (same - 1),
        np.ones(1),
    )


def _two_taps(slope: Steps, mean: float, weight: float, left: Array, right: Array, one: int, two: int) -> Array:
    """E_w[w_k w_l phi'(z_p) phi'(z_q)] for tap k = `one` of the left window and l = `two` of the right one, at each point."""
    s, s2, c = (weight * (a * b).sum(axis=0) for a, b in ((left, left), (right, right), (left, right)))
    apart = s * s2 - c**2 > PARALLEL * s * s2
    joint: Array = np.zeros_like(s)
    if one == two:
        joint = weight * both_slopes(slope, np.full_like(s, mean), s, np.full_like(s, mean), s2, _correlation(s, s2, c))[0]
    s, s2, c = (np.where(apart, part, other) for part, other in ((s, 1.0), (s2, 1.0), (c, 0.0)))
    room = s * s2 - c**2
    kinks = [(jump, kink - mean) for jump, kink in zip(slope.jumps, slope.kinks, strict=True)]
    curved, upper, lower = np.zeros_like(s), np.zeros_like(s), np.zeros_like(s)
    for (jump, a), (jump2, b) in product(kinks, repeat=2):
        both = jump * jump2 * np.exp(-(a**2 * s2 - 2 * a * b * c + b**2 * s) / (2 * room)) / (2 * np.pi * np.sqrt(room))
        curved += both
        upper -= c / s * both
        lower -= c / s2 * both
    for jump, a in kinks:
        upper += jump * a / s * _density(a, s) * _slope_given(slope.lowest, kinks, c / s * a, room / s)
        lower += jump * a / s2 * _density(a, s2) * _slope_given(slope.lowest, kinks, c / s2 * a, room / s2)
    crossed = left[one] * right[two] + right[one] * left[two]
    second = curved * crossed + upper * left[one] * left[two] + lower * right[one] * right[two]
    return joint + np.where(apart, weight**2 * second, 0.0)


def _correlation(s: Array, s2: Array, c: Array) -> Array:
    return np.clip(ratio(c, np.sqrt(s) * np.sqrt(s2)), -1, 1)


def _density(a: float, variance: Array) -> Array:
    return np.asarray(np.exp(-(a**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))


def _slope_given(lowest: float, kinks: list[tuple[float, float]], middle: Array, variance: Array) -> Array:
    """E[phi'(z)] for z at `middle` above its mean on average, with kinks that stand above that mean."""
    return np.asarray(lowest + sum(jump * ndtr((middle - a) / np.sqrt(variance)) for jump, a in kinks))
