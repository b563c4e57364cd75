r"""The moments of single connections, and E[(dh_j / dx_i)^2] by one sweep over them in float64.

    E[(dh_j / dx_i)^2] = sum over paths from j to i of prod over layers of weight(layer)           (Eq. 8, Proposition 1)

with weight V[w] for fresh weights, E[phi'(z)^2] for gates, gamma^2 / (running variance + eps) for norms in evaluation
mode, 1 / n^2 for an average over n cells (its n paths carry 1/n each) and 1/n for a maximum (one of n cells gets it all;
over gates, as often as the largest of them is open), or the rates that were counted. Where paths share all their weights
the sum over single paths is not enough: see `landscape.covariance`, which the sweep follows.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from landscape.covariance import across, pull_moments, sweep_moments
from landscape.gains import SIGNAL_NORMS, Sign, activation_gain, node_signs, slopes
from landscape.gates import Gates
from landscape.initialisation import Initialisation, checked_variances, he, layer_variances, weighted
from landscape.plan import Axes, window_sizes
from landscape.trunk import trunk_factors
from lattice import (
    Activation,
    AdaptivePool,
    Blur,
    ChannelShuffle,
    Concat,
    Dropout,
    GlobalPool,
    Lattice,
    Node,
    Norm,
    Pad,
    Pool,
    ResourceError,
    Slice,
    UnsupportedError,
    Upsample,
    pull_back,
)
from lattice.counting import one_unit
from lattice.lattice import check_lattice

__all__ = ["Rules", "layer_gradients", "path_sum", "squared_gradients"]

Array = np.ndarray[Any, Any]


def squared_gradients(
    lattice: Lattice,
    variances: Mapping[str, float],
    factors: Mapping[str, Any] | None = None,
    shifted: Collection[str] = (),
    output: Any = None,
    gates: Gates | None = None,
) -> Array:
    """E[(dh_j / dx_i)^2] over weights, output units j (all, or the one named `output`) and input channels; Eq. 8.

    `variances` and `factors` are by node name: V[w], and the squared factor of each norm (a number, one per channel, or one
    per position); `gates` what gates and choices let through where symmetry does not say it.
    Returns a float64 map over input positions. Raises `UnsupportedError` for an op without a rule, and `ResourceError`
    where the result leaves the range of float64.

    >>> from lattice import Conv, Flatten, Dense
    >>> net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
    >>> squared_gradients(net, {"conv1": 1.0, "dense1": 1.0})
    array([2., 3., 3., 2.])
    """
    rules = Rules(lattice, variances, factors or {}, shifted, gates or Gates())
    with np.errstate(over="ignore", under="ignore"):
        rules.settle(_asked(lattice, output))
        squared: Array = pull_moments(lattice, rules, _asked(lattice, output)).mean(axis=0)
    if not np.isfinite(squared).all():
        raise ResourceError("the expected squared gradient overflows float64; give smaller variances")
    return squared


def layer_gradients(
    lattice: Lattice,
    variances: Mapping[str, float],
    factors: Mapping[str, Any] | None = None,
    shifted: Collection[str] = (),
    output: Any = None,
    gates: Gates | None = None,
) -> dict[str, Array]:
    """E[(dh_j / du)^2] at the output u of every layer, from the output down: Eq. 8 cut off at each node of one sweep.

    Arguments as of `squared_gradients`; returns float64 maps by node name, each over the positions of its layer (the mean
    over its channels); layers without positions have arrays of no axes.

    >>> from lattice import Conv, Flatten, Dense
    >>> net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
    >>> layer_gradients(net, {"conv1": 1.0, "dense1": 1.0})["conv1"]
    array([1., 1., 1., 1.])
    """
    rules = Rules(lattice, variances, factors or {}, shifted, gates or Gates())
    with np.errstate(over="ignore", under="ignore"):
        rules.settle(_asked(lattice, output))
        found = sweep_moments(lattice, rules, _asked(lattice, output))
        return {node.name: values.mean(axis=0) for node, values in found}


def path_sum(
    lattice: Lattice, initialisation: Initialisation | Mapping[str, float] | float | str = he, output: Any = None
) -> Array:
    """Eq. 8 as printed: every path squared by itself, whether or not the cross terms of this lattice vanish (Eq. 9 to 11).

    The right side of Proposition 1, 1/2 for the gate of a ReLU and 1 / n^2 for an average over n cells included, to hold
    against `predict`, which adds what it leaves out. Arguments as for `predict`. Returns a float64 map over input positions;
    raises `UnsupportedError` for blurs and linear resizes, whose coefficients differ from tap to tap.

    >>> from lattice import Conv, Flatten, Dense
    >>> copies = Conv(1, kernel=3, padding=1, mode="replicate")  # the border pixel is read twice through one weight
    >>> path_sum(Lattice.chain((1, 4), [copies, GlobalPool("avg"), Flatten(), Dense(1)]), 1.0) * 16
    array([3., 3., 3., 3.])
    """
    check_lattice(lattice, "path_sum")
    variances = layer_variances(lattice, initialisation)
    rules = Rules(lattice, variances, {}, (), Gates())

    def weight(node: Node) -> Any:
        factor = rules.squared(node)
        if factor is None:
            raise UnsupportedError(f"{node.name} ({node.op}): its taps have different coefficients; predict follows them")
        return factor

    return np.asarray(pull_back(lattice, weight, _asked(lattice, output)).mean(axis=0))


def _asked(lattice: Lattice, output: Any) -> Array:
    """The cotangent of the mean over output units, or of one."""
    cotangent = one_unit(lattice, output, one=1.0)
    if output is None:
        cotangent /= prod(lattice.output_shape)
    return cotangent


class Rules:
    """The weight of every node of a lattice for the diagonal and the general law: `landscape.covariance.Local`."""

    def __init__(
        self,
        lattice: Lattice,
        variances: Mapping[str, float],
        factors: Mapping[str, Any],
        shifted: Collection[str],
        gates: Gates,
    ) -> None:
        check_lattice(lattice, "squared_gradients")
        self.lattice, self.variances, self.factors, self.gates = lattice, checked_variances(lattice, variances), factors, gates
        self.edges: dict[tuple[str, int], Array] = {}
        self.signs = dict(zip(lattice.names, node_signs(lattice, shifted), strict=True))

    def settle(self, cotangent: Array) -> None:
        """Find the factors of the trunk law for this cotangent, where gates of a trunk are known together."""

        def sweep(edges: dict[tuple[str, int], Array]) -> Iterator[tuple[Node, Array]]:
            self.edges = edges
            return sweep_moments(self.lattice, self, cotangent)

        if self.gates.runs:
            self.edges = trunk_factors(self.lattice, self.gates.runs, self.gates.gains, sweep)

    def squared(self, node: Node) -> Any:
        """V[w], E[phi'^2], gamma^2 / sigma^2, 1 / n^2 of an average, 1 / n of a maximum; None: only the maps of the op tell."""
        op = node.op
        if weighted(op):
            return self.variances[node.name]
        if isinstance(op, Norm):
            return self._factor(node)
        if node.name in self.gates.gains:
            return self.gates.gains[node.name]
        if isinstance(op, Activation):
            return activation_gain(op, self._below(node))
        if isinstance(op, Pool | AdaptivePool | GlobalPool):
            cells = pool_cells(op, self.lattice.input_shapes(node)[0][1:])
            weight = 1 / cells**2 if op.kind == "avg" else self.single(node) / cells
            return float(weight.flat[0]) if np.ptp(weight) == 0 else weight
        return None if isinstance(op, Blur) or (isinstance(op, Upsample) and op.mode == "linear") else 1

    def single(self, node: Node) -> Any:
        """E[phi'] of an activation, gamma / sigma of a norm; how often the largest of a window passes at all."""
        op = node.op
        if isinstance(op, Activation):
            below, above = slopes(op)
            return above if self._below(node) is Sign.NONNEGATIVE else (below + above) / 2
        if isinstance(op, Norm):
            return np.sqrt(self._factor(node))
        if node.name in self.gates.taps:
            return float(self.gates.taps[node.name].sum(axis=0).mean())
        if isinstance(op, Pool | AdaptivePool | GlobalPool) and op.kind == "max" and self._reads_gates(node):
            cells = pool_cells(op, self.lattice.input_shapes(node)[0][1:]).max()
            return float(2 * (1 - 2.0**-cells))  # P(the largest of independent ones is positive) / P(one is)
        return 1

    def joint(self, node: Node, axes: Axes) -> Any:
        """E[phi' phi''] at pairs of positions: measured, or as of independent gates where the positions differ."""
        if isinstance(node.op, Norm):
            return self._factor(node)
        if node.name in self.gates.joint:
            return self.gates.joint[node.name]
        same = np.asarray(reduce(np.multiply.outer, [pairs.first == pairs.second for pairs in axes]))
        gain = self.squared(node)
        if np.ndim(gain):
            full = np.broadcast_to(gain, (np.shape(gain)[0], *(pairs.left for pairs in axes)))
            left = full[across([pairs.first for pairs in axes])]
            right = full[across([pairs.second for pairs in axes])]
            return np.where(same, left, left * right)
        return np.where(same, gain, self.single(node) ** 2)

    def edge(self, node: Node, place: int) -> Any:
        """The factor of the trunk law, or None."""
        return self.edges.get((node.name, place))

    def taps(self, node: Node) -> Array | None:
        """The win rates of a max-pool, or None."""
        return self.gates.taps.get(node.name)

    def _reads_gates(self, node: Node) -> bool:
        """Does everything that a max-pool reads come straight from gates that are open half of the time?"""
        below = [self.lattice.nodes[i] for i in node.inputs]
        return all(
            self._reads_gates(one)
            if isinstance(one.op, Concat | Slice | ChannelShuffle | Dropout | Pad)
            else isinstance(one.op, Activation) and one.op.name == "relu" and self._below(one) is not Sign.NONNEGATIVE
            for one in below
        )

    def _below(self, node: Node) -> Sign:
        return self.signs[self.lattice.nodes[node.inputs[0]].name]

    def _factor(self, node: Node) -> Any:
        factor = np.asarray(self.factors.get(node.name, 1.0), dtype=float)
        spatial = len(self.lattice.input_shapes(node)[0]) - 1
        factor = factor.reshape(-1, *(1 for _ in range(spatial))) if factor.ndim == 1 else factor[()]
        if isinstance(node.op, Norm) and node.op.kind in SIGNAL_NORMS:
            if node.name not in self.gates.gains:
                raise UnsupportedError(
                    f"{node.name}: a {node.op.kind} norm divides by the variance of the signal, which is not known here"
                )
            return factor * self.gates.gains[node.name]
        return factor


def pool_cells(op: Pool | AdaptivePool | GlobalPool, spatial: tuple[int, ...]) -> Array:
    """Over how many cells each output of a pool averages (torch's divisor) or takes the maximum: float64, output positions."""
    cells: Array = reduce(np.multiply.outer, window_sizes(op, spatial))
    return cells
