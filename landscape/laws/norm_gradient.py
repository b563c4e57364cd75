r"""What a norm over the signal leaves of the gradient: its mean and its variance follow the signal, and take a part.

For y = (x - m) / s over n values, dy/dx = (I - 1 1'/n - y y'/n) / s. The law of single connections keeps 1 / s^2 and loses

- the projections: two of n directions, so that n - 2 of n are left for Gaussian values;
- what all values share. Scaling the inputs that the variance sees changes no y. With S = sum_i c_i x_i^2 the size of a value,
  c the path sums of Proposition 1 from it to the inputs, the kernel of y follows S through the correlation rho alone, and

      d^2 rho / dx_i dx'_i = c_i / S - c_i^2 x_i^2 / S^2   at x' = x:

  of D = (sum c)^2 / sum c^2 inputs that are worth the same one direction is lost, so that D - 1 of D are left.

What a norm divides by is known as E[s^2]; for chi-squared sizes of n - 1 and of D degrees of freedom E[1 / s^2] is larger than
its inverse, and both together are (n - 2)/(n - 3) (D - 1)/(D - 2). For given inputs E[1 / s^2] itself was counted, and
(1 - 2/n) (1 - 1/D) is left.
D belongs to the lowest norms only: what stands on a norm has one size already.

The values of one channel at P positions are no independent ones where they share a level, a bias for example. With v the
variance of the levels and w that of the rest, n s^2 of a group of C channels is a sum of chi-squared numbers,
(P v + w) chi2_(C-1) + w chi2_(C (P-1)). Two of n directions are lost, and in the place of (n - 1)/(n - 3) stands

    E[s^2] E[1 / (s^2 + eps)],    E[1 / (y + eps)] = int_0^inf exp(-eps t) E[exp(-t y)] dt.

Where eps is not small beside the variance v, y has the size (v / (v + eps))^1/2, and of the direction along it the share
(eps / (v + eps))^2 is left: the norm multiplies by a number where eps is all that it divides by. With n values and n - k
directions that nothing is taken from, both losses are

    (E[v] + eps) / n ((n - k) E[1 / (v + eps)] + eps^2 E[1 / (v + eps)^3]).

Where an average over all positions reads a function f of y, with slope D, that average follows the distribution of y, of which
the norm holds the mean and the variance. Of E[D^2] the part E[D]^2 along the mean and E[D y]^2 along the values are taken, a
share 1 / m of either where m channels are normed together. The mean is taken from the joint moments of positions
(`landscape.laws.positions.sweep`); for the values of Gaussian y stands the factor

    1 - E[D y]^2 / m / (E[D^2] - E[D]^2 / m)

(1 - 2 / pi for a ReLU and m = 1, 0.05 for a SiLU, 1 for a tanh, and 0 for a square). An average over the channels too takes the
whole of both.
"""

from collections.abc import Collection
from itertools import product
from math import prod
from typing import Any

import numpy as np

from landscape.gates.activations import law_of
from landscape.gates.averaging import significant
from landscape.gates.composites import Form, curve_of, forms
from landscape.gates.forward.levels import ROUNDING, Law, inverse_of_sum
from landscape.gates.forward.mean_field import MeanField
from landscape.gates.forward.mean_field_rules import differences
from landscape.gates.gates import gate_under, gates_below
from landscape.gates.windows.distinct import Distinct, different_channels, different_positions
from landscape.laws.batchnorm import averaged_next
from landscape.laws.moments import expected_squares
from landscape.prior import Prior
from landscape.structure.signs import NEGATED, SIGNAL_NORMS, has_slopes, slopes
from landscape.weights.fans import fans
from lattice import Activation, Add, AssumptionError, Dropout, Lattice, Node, Norm, Op, Pad, Slice, UnsupportedError, Upsample
from lattice.network.ops import Pooling, Weighted, Windowed

__all__ = ["kept_by_norms"]

Array = np.ndarray[Any, Any]
MOST_CHANNELS = 64  # of a group: of more, levels are as many as values
MOST_EXCESS = 10.0  # of E[1 / s^2] over 1 / E[s^2]
TINY = np.finfo(float).tiny
LEAST_LEFT = 0.03
FEW_RECTIFIED = 4.0  # degrees of freedom: of nine values that are halved now and then two are left, whose inverse has no mean
LEAST_EPS = 0.5  # of E[s^2] + eps: below it the inverse of the variance of few values is that of rare draws
MOST_POSITIONS = 64  # above it the size of the middle position stands for all


def kept_by_norms(prior: Prior, given: bool = False, of_signs: Collection[str] = ()) -> dict[str, Array]:
    """The factor beside 1 / E[s^2] of every norm over the signal, by name: one number, or over (1, *spatial).

    `given`: E[1 / s^2] was counted on given inputs, and is what the factor stands beside. `of_signs` names the layers whose
    weights all have one size.

    Raises `AssumptionError` where the variance is that of so few values that its inverse has no mean.

    >>> from lattice import Conv
    >>> net = Lattice.chain(
    ...     (4, 5), [Conv(16, 3, padding=1, mode="circular"), Norm("layer")]
    ... )
    >>> kept_by_norms(Prior(net, {"conv1": 1.0}))["norm1"].round(3)  # 14/13 of 11/10
    array([[1.185, 1.185, 1.185, 1.185, 1.185]])
    """
    lattice, kept = prior.lattice, dict[str, Array]()
    found: list[MeanField] = []  # once, where a norm asks for them
    normed: list[bool] = []  # is there a norm over the signal at or below each node?
    weights: list[bool] = []  # are there fresh weights?
    for position, node in enumerate(lattice.nodes):
        here = isinstance(node.op, Norm) and node.op.kind in SIGNAL_NORMS
        below = any(normed[i] for i in node.inputs)
        weights.append(isinstance(node.op, Weighted) or any(weights[i] for i in node.inputs))
        normed.append(here or below)
        if here:
            assert isinstance(node.op, Norm)
            _check_not_constant(lattice, position)
            following = _following(prior, node.inputs[0])
            n, random = _different_values(prior, position)
            n *= following
            _check_filters_differ(prior, position, n, of_signs)
            eps = np.clip(node.op.eps * np.asarray(prior.gates.gains.get(node.name, 0.0)), 0, 1)  # of E[s^2] + eps
            levels = None if given else _left_of_levels(prior, position, n, found)
            centred = node.op.kind != "rms"
            random = random or following < 1
            means = int(centred or following < 1)  # few of those that a gate leaves are fewer now and then
            back = 1 + means - centred * following  # where eps is large, the mean takes 1 / n of what n values let pass
            if random and 2 < n - means <= FEW_RECTIFIED and np.all(eps < LEAST_EPS):
                kind, where = ("rectified", "gate") if following < 1 else ("different", "maximum")
                raise AssumptionError(
                    f"{node.name}: the {node.op.kind} norm divides by the variance of {n:.3g} {kind} values on average, of "
                    "which so few are left now and then that rare draws decide; give more channels, a larger input, or the "
                    f"norm before the {where}"
                )
            own = _left(max(n - means, 0), means, eps, given, node, back) if levels is None else levels
            kept[node.name] = np.asarray(own)
            if weights[position] and not below:
                kept[node.name] = kept[node.name] * _left(_inputs_seen(prior, position), 0, eps, given, node)
            kept[node.name] = kept[node.name] * _left_under_average(prior, position)
    return kept


def _check_not_constant(lattice: Lattice, position: int) -> None:
    node = lattice.nodes[position]
    assert isinstance(node.op, Norm)
    each = node.op.kind == "instance" or (node.op.kind == "group" and node.op.groups == lattice.shapes[position][0])
    if each and averaged_next(lattice, position):
        raise AssumptionError(
            f"{node.name}: the average over all positions of what a norm of each channel gives is constant, so that the "
            "gradient through it is exactly 0; take the average before the norm"
        )


def _left_under_average(prior: Prior, position: int) -> float:
    """(E[D^2] - a (E[D]^2 + E[D y]^2)) / (E[D^2] - b E[D]^2), where an average of a function of a norm alone reads it.

    a is 1 / m for an average over all positions, and 1 for one over the channels too; b, 1 / m, is what the joint moments of
    positions take.
    """
    lattice, node = prior.lattice, prior.lattice.nodes[position]
    assert isinstance(node.op, Norm)
    found = forms(lattice)
    members = {position, *(i for i, (base, _) in enumerate(found) if base == position)}
    top = max(members)
    form = found[top][1] if top != position else Form()
    inside = all(set(lattice.readers[i]) <= members for i in members - {top})
    norms = [lattice.nodes[lattice.names.index(name)] for name in form.norms]
    if not inside or any(norm.op.kind in SIGNAL_NORMS for norm in norms if isinstance(norm.op, Norm)):
        return 1.0
    taken, before = _shares(prior, position, top, [node, *norms])
    if not taken or (top == position and taken == before):
        return 1.0
    affine = {norm.name: _factor_and_shift(prior, norm.name) for norm in norms}
    factor, mean = _factor_and_shift(prior, node.name)
    function = curve_of(form, affine, mean, factor**2)
    law = law_of(function, mean, factor**2)
    slope = function.slope(law.z)
    whole, level = float(slope**2 @ law.masses), float(slope @ law.masses) ** 2
    rest = whole - before * level
    if factor == 0 or rest <= ROUNDING * whole:
        return 1.0
    along = (float((slope * (law.z - mean)) @ law.masses) / factor) ** 2
    left = (whole - taken * ((node.op.kind != "rms") * level + along)) / rest
    if left < LEAST_LEFT:
        raise AssumptionError(
            f"{lattice.nodes[top].name}: its average follows the mean and the variance of what it reads, which {node.name} "
            f"holds, and hardly anything else: {left if left > ROUNDING else 0:.1g} of the squared gradient is left, which "
            "depends on how Gaussian the values are; take the average before the norm"
        )
    return left


def _shares(prior: Prior, position: int, top: int, norms: list[Node]) -> tuple[float, float]:
    """a and b of `_left_under_average`; 0 for a where no average over all that is normed reads the node `top`."""
    lattice, op = prior.lattice, prior.lattice.nodes[position].op
    assert isinstance(op, Norm)
    alike = all(np.ptp(part) == 0 for norm in norms for part in _of_norm(prior, norm.name))
    summed = alike and _sums_channels(lattice, top)
    if op.kind in ("layer", "rms"):
        return float(summed), 0.0
    m = 1 if op.kind == "instance" else lattice.shapes[position][0] // op.groups
    return float(averaged_next(lattice, top)) * (1.0 if summed else 1 / m), 1 / m


def _sums_channels(lattice: Lattice, position: int) -> bool:
    """Is the sum of all channels of a node, or of averages of it, all that reads it?"""
    parts = lattice.readers[position]
    if len(parts) == 1 and _keeps_channels(lattice.nodes[parts[0]].op):
        return _sums_channels(lattice, parts[0])
    cuts = [one.op for one in (lattice.nodes[i] for i in parts) if isinstance(one.op, Slice)]
    channels = [(cut.start, cut.stop) for cut in cuts if cut.stop - cut.start == 1]
    above = {i for part in parts for i in lattice.readers[part]}
    if len(parts) < 2 or sorted(channels) != [(c, c + 1) for c in range(lattice.shapes[position][0])] or len(above) != 1:
        return False
    (total,) = above
    return isinstance(lattice.nodes[total].op, Add) and set(lattice.nodes[total].inputs) == set(parts)


def _keeps_channels(op: Op) -> bool:
    """Is it a fixed linear map of the positions of each channel?"""
    return isinstance(op, Dropout) or (
        isinstance(op, Windowed) and not isinstance(op, Weighted) and getattr(op, "kind", "") != "max"
    )


def _of_norm(prior: Prior, name: str) -> tuple[Any, Any, Any]:
    return prior.factors.get(name, 1.0), prior.signs.get(name, 1.0), prior.shifts.get(name, (0.0, 0.0))[0]


def _factor_and_shift(prior: Prior, name: str) -> tuple[float, float]:
    """What a norm multiplies by and adds, the mean over its channels."""
    factor, sign, shift = _of_norm(prior, name)
    return float(np.mean(np.sqrt(factor) * sign)), float(np.mean(shift))


def _check_filters_differ(prior: Prior, position: int, n: float, of_signs: Collection[str]) -> None:
    """Refuse a norm over channels where with too large a probability P there are two different filters among them.

    Its values are then a and b alone, y has one size wherever a and b differ by more than sqrt(eps), and all of its gradient
    stands where they do not: beside that of other filters its square grows as P (E[s^2] / eps)^(1/2).
    """
    lattice = prior.lattice
    node, shape = lattice.nodes[position], lattice.shapes[position]
    assert isinstance(node.op, Norm)
    if node.op.kind != "layer" and not (node.op.kind == "group" and prod(shape[1:]) == 1):
        return
    layer = _weighted_below(lattice, position)
    if layer is None or lattice.nodes[layer].name not in of_signs:
        return
    name = lattice.nodes[layer].name
    if name in prior.shifts and np.any(prior.shifts[name][1]):
        return  # what biases make different
    signs, _ = fans(lattice.nodes[layer].op, lattice.input_shapes(lattice.nodes[layer])[0])
    chance = _chance_of_two(signs, n)
    small = np.sqrt(node.op.eps * np.max(prior.gates.gains.get(node.name, 1.0)))
    if chance > small:
        raise AssumptionError(
            f"{node.name}: the {node.op.kind} norm divides by the variance of {n:.3g} filters of {signs} weights of one size "
            f"({name}), of which only two differ with probability {chance:.2g}: the gradient is then that of rare inputs, and "
            "only eps keeps it finite; give weights of more than one size, more of them, or more channels"
        )


def _chance_of_two(signs: int, n: float) -> float:
    """C(2^F, 2) (2^n - 2) / 2^(F n): that n filters of F random signs are two different ones, some of each.

    >>> _chance_of_two(1, 2)
    0.5
    """
    patterns = 2.0 ** min(signs, 64)
    return float((patterns - 1) * (1 - 2.0 ** (1 - n)) * (patterns / 2) ** (1 - n))


def _weighted_below(lattice: Lattice, position: int) -> int | None:
    """The layer with weights that a node reads, through what acts on each channel alone; None where there is none."""
    below = lattice.nodes[position].inputs[0]
    while isinstance(lattice.nodes[below].op, Activation | Dropout | Upsample | Pooling | Pad):
        below = lattice.nodes[below].inputs[0]
    return below if isinstance(lattice.nodes[below].op, Weighted) else None


def _different_values(prior: Prior, position: int) -> tuple[float, bool]:
    """Over how many different values a norm takes its variance, and are there fewer in some draws?"""
    lattice, node = prior.lattice, prior.lattice.nodes[position]
    assert isinstance(node.op, Norm)
    channels, positions = 1.0, Distinct(1.0)
    if node.op.kind != "instance":
        channels = different_channels(lattice, node.inputs[0], node.op.groups)
    if node.op.kind in ("instance", "group"):
        positions = different_positions(lattice, node.inputs[0], lambda read: _following(prior, read))
    return channels * positions.number, positions.random


def _left_of_levels(prior: Prior, position: int, n: float, found: list[MeanField]) -> float | None:
    """What is left of n values of which those of a channel share a level, and those at a border differ from the others in what
    all inputs have in common; None where there is neither."""
    node, shape = prior.lattice.nodes[position], prior.lattice.shapes[position]
    assert isinstance(node.op, Norm)
    channels = 1 if node.op.kind == "instance" else shape[0] // node.op.groups
    if node.op.kind not in ("group", "instance") or prod(shape[1:]) == 1 or channels > MOST_CHANNELS or n <= 3:
        return None
    try:
        if not found:
            field = MeanField(prior, train=False, pairs=False)
            field.sweep(1.0)
            found.append(field)
        level = found[0].level(node.inputs[0])
    except (AssumptionError, UnsupportedError):
        return None
    z = found[0].found[node.inputs[0]]
    power, _, mean = (float(np.mean(part)) for part in z)
    shared, rank, apart = (float(np.mean(part)) for part in (level.of_mean, level.rank, differences(z, level)))
    common, rest = max(shared - mean**2, 0.0) * (channels > 1), max(power - shared - apart, 0.0)
    if max(common, apart) <= ROUNDING * power:
        return None
    following = channels * _following(prior, node.inputs[0])  # the channels that follow the signal
    positions = n / following  # without copies
    if positions <= 1:
        return None
    at_borders = min(following * rank, n - following)
    law: Law = ((rest, n - following - at_borders), (positions * apart / rank + rest, at_borders))
    law = ((positions * common + rest, max(following - 1, 0.0)), *law) if channels > 1 else law
    size, eps = (sum(one * freedom for one, freedom in law) + rest) / n, node.op.eps
    excess = (size + eps) * n * inverse_of_sum(law, eps * n)
    if excess > MOST_EXCESS:
        values = f"{following:.3g} channels" if channels > 1 else "one channel"
        raise AssumptionError(
            f"{node.name}: the {node.op.kind} norm divides by the variance of {values} that hardly differ between "
            f"positions: the mean of its inverse is {excess:.2g} times the inverse of its mean, for being that of rare draws; "
            "give more channels a group, or smaller biases below"
        )
    return _of_directions(n, 2, law, size, eps)


def _of_directions(n: float, k: int, law: Law, size: float, eps: float, back: float = 1.0) -> float:
    """(E[v] + eps) / n ((n - k) E[1 / (v + eps)] + back eps^2 E[1 / (v + eps)^3]) of v = y / n, E[v] the `size`.

    `back` of the k directions are those that a large eps gives back.

    >>> round(_of_directions(9, 1, ((1.0, 9),), 1.0, 0.0), 6)  # 8 / 7
    1.142857
    >>> round(_of_directions(9, 2, ((1e-9, 8),), 1e-9, 1.0), 6)  # the mean is taken alone
    0.888889
    """
    once, thrice = inverse_of_sum(law, eps * n), inverse_of_sum(law, eps * n, 3) if eps else 0.0
    return (size + eps) * ((n - k) * once + back * (eps * n) ** 2 * thrice)


def _following(prior: Prior, read: int) -> float:
    """The share of a node's values that follow the signal: 1/2 for each ReLU right below, which makes all others the same.

    The variance of the few that are left is small more often than that of as many Gaussian values.
    """
    lattice, below, share = prior.lattice, gates_below(prior.lattice), 1.0
    name = gate_under(lattice, read)
    while name is not None:
        gate = lattice.names.index(name)
        op = lattice.nodes[gate].op
        if isinstance(op, Activation) and has_slopes(op) and 0 in slopes(op) and prior.sign(gate) not in NEGATED:
            share /= 2
        name = below.get(name)
    return share


def _left(freedom: Any, means: int, eps: Array, given: bool, node: Node, back: float = 1.0) -> Any:
    """(f - 1) / f: one of f directions is lost; times E[1 / s^2] E[s^2] = f / (f - 2) where E[1 / s^2] is not given.

    `means` are taken out of the values beside: of n values that were counted n - 2 are left. `eps` is its part of E[s^2] + eps,
    (channels or 1, *spatial) or one number, and `back` as of `_of_directions`.
    """
    few = np.asarray(freedom) <= 2
    if np.any(few & (eps < LEAST_EPS)):
        raise AssumptionError(
            f"{node.name}: the {getattr(node.op, 'kind', '')} norm divides by the variance of {np.min(freedom) + means:.3g} "
            "independent values, whose inverse has no mean, so neither has the squared gradient; give more channels, or a "
            "larger input"
        )
    if not given and eps.any():
        freedom, eps = np.broadcast_arrays(freedom, eps)
        rows = significant(np.stack([freedom.ravel(), eps.ravel()]))
        kinds, which = np.unique(rows, axis=1, return_inverse=True)
        left = [
            _of_directions(f + means, 1 + means, ((1 - e, f),), 1 - e, e, back) if np.isfinite(f) else 1.0 for f, e in kinds.T
        ]
        return np.array(left)[which.ravel()].reshape(freedom.shape)
    shared = 1 / np.maximum(freedom, TINY)
    if given:
        return np.maximum(1 - shared + back * shared * eps**2, 0) / (1 + means * shared)
    return (1 - shared) / (1 - 2 * shared)


def _inputs_seen(prior: Prior, position: int) -> Array:
    """D at every position of a norm over the channels, (1, *spatial); one number for a norm over positions too."""
    node = prior.lattice.nodes[position]
    part = prior.up_to(node.inputs[0])
    spatial = part.lattice.output_shape[1:]

    def effective(output: tuple[int, ...] | None) -> float:
        sums = expected_squares(part, output)
        squares = float((sums**2).sum())  # a position that reads no input has one size, as if of ever so many
        return float(part.lattice.input_shape[0] * sums.sum() ** 2 / squares) if squares else np.inf

    assert isinstance(node.op, Norm)
    if node.op.kind not in ("layer", "rms") or not spatial:
        return np.asarray(effective(None))
    if prod(spatial) > MOST_POSITIONS:
        return np.asarray(effective(tuple(n // 2 for n in spatial)))
    return np.array([effective(where) for where in product(*map(range, spatial))]).reshape(1, *spatial)
