r"""The diagonal rule: Proposition 1 by one reverse sweep in float64.

    E[(dh_j / dx_i)^2] = sum over paths from j to i of prod over layers of weight(layer)           (Eq. 8)

with weight V[w] for fresh weights, E[phi'(z)^2] for gates, gamma^2 / (running variance + eps) for norms in evaluation
mode, 1 / n^2 for an average over n cells (its n paths carry 1/n each) and 1/n for a maximum (one of
n cells gets it all), or, below a ReLU whose wins were counted, the rate at which each cell wins while it is open.
"""

from collections.abc import Callable, Collection, Mapping
from functools import reduce, singledispatch
from math import prod
from typing import Any

import numpy as np

from landscape.gains import activation_gain, node_signs
from landscape.initialisation import weighted
from lattice import (
    Activation,
    AdaptivePool,
    GlobalPool,
    Lattice,
    Node,
    Norm,
    Op,
    Pool,
    ResourceError,
    UnsupportedError,
    Upsample,
    Window,
    pull_back,
)
from lattice.counting import one_unit

__all__ = ["second_moments", "squared_gradients"]

Array = np.ndarray[Any, Any]


def squared_gradients(
    lattice: Lattice,
    variances: Mapping[str, float],
    factors: Mapping[str, Any] | None = None,
    shifted: Collection[str] = (),
    output: Any = None,
    win_rates: Mapping[str, Array] | None = None,
) -> Array:
    """E[(dh_j / dx_i)^2] over weights, output units j (all, or the one named `output`) and input channels; Eq. 8.

    `variances` and `factors` are by node name: V[w], and the squared factor of each norm (a number, or one per channel);
    `win_rates` those of ReLUs under max-pools, per position (see `landscape.win_rates`; else all cells are taken alike).
    Returns a float64 map over input positions. Raises `UnsupportedError` for an op without a rule, and `ResourceError`
    where the result leaves the range of float64.

    >>> from lattice import Conv, Flatten, Dense
    >>> net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
    >>> squared_gradients(net, {"conv1": 1.0, "dense1": 1.0})
    array([2., 3., 3., 2.])
    """
    cotangent = one_unit(lattice, output, one=1.0)
    if output is None:
        cotangent /= prod(lattice.output_shape)
    weights = second_moments(lattice, variances, factors or {}, shifted, win_rates or {})
    with np.errstate(over="ignore", under="ignore"):
        per_channel = pull_back(lattice, weights, cotangent)
        squared: Array = per_channel.mean(axis=0)
    if not np.isfinite(squared).all():
        raise ResourceError("the expected squared gradient overflows float64; give smaller variances")
    return squared


def second_moments(
    lattice: Lattice,
    variances: Mapping[str, float],
    factors: Mapping[str, Any],
    shifted: Collection[str] = (),
    win_rates: Mapping[str, Array] | None = None,
) -> Callable[[Node], Any]:
    """The weight of each node for `pull_back`, as a function of the node."""
    rates = win_rates or {}
    signs = dict(zip(lattice.names, node_signs(lattice, shifted), strict=True))

    def weight(node: Node) -> Any:
        if weighted(node.op):
            return variances[node.name]
        if node.name in rates:
            return rates[node.name]
        if isinstance(node.op, Pool) and lattice.nodes[node.inputs[0]].name in rates:
            return 1  # the rate of the ReLU below is that of winning and being open, together
        if isinstance(node.op, Activation):
            return activation_gain(node.op, signs[lattice.nodes[node.inputs[0]].name])
        if isinstance(node.op, Norm):
            factor = np.asarray(factors.get(node.name, 1.0), dtype=float)
            spatial = len(lattice.input_shapes(node)[0]) - 1
            return factor.reshape(-1, *(1 for _ in range(spatial))) if factor.ndim else float(factor)
        return fixed_moment(node.op, lattice.input_shapes(node))

    return weight


@singledispatch
def fixed_moment(op: Op, shapes: tuple[tuple[int, ...], ...]) -> Any:
    """The squared coefficient of a tap of an op without weights: 1 unless a rule says otherwise."""
    return 1


@fixed_moment.register(Pool)
@fixed_moment.register(AdaptivePool)
@fixed_moment.register(GlobalPool)
def _(op: Pool | AdaptivePool | GlobalPool, shapes: tuple[tuple[int, ...], ...]) -> Any:
    cells = pool_cells(op, shapes[0][1:])
    weight = 1 / cells**2 if op.kind == "avg" else 1 / cells
    return float(weight.flat[0]) if np.ptp(weight) == 0 else weight


@fixed_moment.register
def _(op: Upsample, shapes: tuple[tuple[int, ...], ...]) -> Any:
    if op.mode == "linear":
        raise UnsupportedError(f"{op}: linear upsampling has no moment rule yet; nearest upsampling has")
    return 1


def pool_cells(op: Pool | AdaptivePool | GlobalPool, spatial: tuple[int, ...]) -> Array:
    """Over how many cells each output of a pool averages (torch's divisor) or takes the maximum: float64, output positions."""
    sizes = []
    for window, n in zip(op.windows(spatial), spatial, strict=True):
        inside = (window.table(n) >= 0).sum(axis=0)
        if isinstance(op, Pool) and op.kind == "avg" and op.count_include_pad:
            assert isinstance(window, Window)
            starts = window.stride * np.arange(window.outputs(n)) - window.padding[0]
            inside = np.minimum(starts + window.kernel, n + window.padding[1]) - starts
        sizes.append(inside.astype(float))
    cells: Array = reduce(np.multiply.outer, sizes)
    return cells
