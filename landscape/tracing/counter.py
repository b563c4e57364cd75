r"""Sums over forward passes: what gates, maxima, norms and products let through, and the rates that follow.

A gate right above a gate (`landscape.gates.gates.gates_below`) counts given the ones below it: with P the product of their
slopes, E[phi'^2 P^2] / E[P^2]. The sums are kept in double precision, whatever the model computes in, and apart for groups of
passes, so that leaving one group out at a time tells how precise they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from landscape.gates.composites import forms
from landscape.gates.gates import gate_under, gates_below, skips
from landscape.prior import Gates, Prior
from landscape.structure.plan import Axes
from landscape.structure.signs import Sign
from landscape.structure.symmetry import Symmetries
from landscape.tracing.rates import Key, Rates, Replicates, Watched
from lattice import Activation, Lattice, Multiply, Node, Norm, Pool, UnsupportedError
from lattice.network.ops import Pooling

__all__ = ["Counter"]

Array = np.ndarray[Any, Any]
MOST_GROUPS = 8
MOST_KEPT = 1 << 25  # numbers that the groups keep for pairs of positions: fewer groups above it
MOST_POSITIONS = 256  # whose products are all taken, by one multiplication of matrices
MOST_COMPARED = 1 << 20  # winners with taps at once
MOST_PRODUCTS = 300_000  # of slopes at pairs of more positions, in one pass; fewer channels do then


class Counter(Watched):
    """Sums over forward passes, one at a time; batches of one input."""

    def __init__(self, prior: Prior, watched: dict[str, Node], draws: int, given: bool = False) -> None:
        super().__init__(prior, watched)
        lattice = prior.lattice
        self.signs = dict(zip(lattice.names, prior.node_signs, strict=True))
        self.skips = list(skips(lattice))
        self.below = gates_below(lattice)
        self.own = _gates_of_factors(lattice)
        self.runs_up: dict[str, dict[str, Any]] = {}  # of this pass: gate: lowest gate of a trunk: product of squared slopes
        self.slopes: dict[str, Any] = {}  # of this pass: gate: product of the slopes of the gates from it down
        self.taps: dict[str, Any] = {}  # by maximum, the cell that each tap of each output reads
        self.draws = draws
        self.given = given  # images: their own sizes are averaged over, those of white noise are theory's
        self.finite = True
        kept = sum(prod(map(len, self.pairs[name])) for name in watched if not self.is_diagonal(name))
        self.groups: list[dict[Key, Any]] = [{} for _ in range(min(draws, max(2, min(MOST_GROUPS, MOST_KEPT // max(kept, 1)))))]
        self.passes = [0] * len(self.groups)

    def begin(self, draw: int) -> None:
        """The next pass: neighbouring draws make a group."""
        self.group = draw * len(self.groups) // self.draws
        self.passes[self.group] += 1
        self.runs_up.clear()
        self.slopes.clear()

    def update(self, node: Node, function: Any, arguments: Any, named: Any) -> None:
        """Count what one call of the pass shows; of a product `arguments` are its factors in the order of the node's inputs."""
        self.finite = self.finite and bool(arguments[0].sum().isfinite())
        if isinstance(node.op, Activation):
            self._activation(node, function, arguments, named)
        elif isinstance(node.op, Multiply):
            self._product(node, arguments)
        elif isinstance(node.op, Norm):
            variance = _variance(node.op, arguments[0], of_sample=self.given)
            key, values = ("gain", 1 / (variance + node.op.eps)) if self.given else ("variance", variance)
            self._add((key, node.name), _over_values(node.op, values)[None])
        elif isinstance(node.op, Pooling):
            self._maximum(node, arguments)
        else:
            raise UnsupportedError(
                f"{node.name}: the rates of {node.op!r} cannot be counted; add a way in landscape.tracing.counter"
            )

    def gates(self, source: str, wanted: Sequence[str], symmetries: Symmetries) -> Gates:
        """The rates of the `wanted` nodes, with those that leave out one group of passes each."""
        totals = [{key: np.asarray(total.cpu()) for key, total in group.items()} for group in self.groups]
        self.runs_up.clear()
        self.slopes.clear()

        def rates(left_out: int | None, replicates: Sequence[Gates] = ()) -> Gates:
            kept = [part for part in range(len(totals)) if part != left_out]
            sums, passes = reduce(_plus, (totals[part] for part in kept)), sum(self.passes[part] for part in kept)
            return Rates(self, {key: total / passes for key, total in sums.items()}, wanted, symmetries).gates(
                source, replicates
            )

        return rates(None, Replicates(rates, len(totals) if len(totals) > 1 else 0))

    def in_range(self) -> bool:
        """Did nothing overflow, and no layer vanish altogether?"""
        whole = reduce(_plus, [{key: np.asarray(total.cpu()) for key, total in group.items()} for group in self.groups])
        finite = all(np.isfinite(total).all() for total in whole.values())
        return self.finite and finite and all(total.any() for key, total in whole.items() if key[0] in ("alive", "gain"))

    def _activation(self, node: Node, function: Any, arguments: Any, named: Any) -> None:
        import torch

        name = node.name
        ones = arguments[0].new_ones(()).expand_as(arguments[0])
        z = arguments[0].detach()
        if node.op == Activation("relu"):  # known without a backward pass, and its own square
            squared = slope = (z > 0).to(z.dtype)
        else:
            with torch.enable_grad():
                z.requires_grad_()
                (slope,) = torch.autograd.grad(function(z.clone(), *arguments[1:], **named), z, ones)
            squared = slope.square()
        under = self.slopes.get(self.below.get(name, ""))
        self.slopes[name] = slope if under is None else slope * under
        through = squared if under is None else self.slopes[name].square()
        gain = self._mean(name, through)
        self._add(("gain", name), gain)
        self._add(("first", name), gain if through is self.slopes[name] else self._mean(name, self.slopes[name]))
        # a gate that is closed at exactly zero reads nothing but closed gates: no open path leads through it
        everywhere = int(torch.count_nonzero(z)) == z.numel()  # the common case, in a quarter of the time
        alive = ones if everywhere else torch.logical_or(z, slope).to(squared)
        reached = alive if under is None else alive * under
        certain = everywhere and under is None
        self._add(
            ("alive", name), torch.ones_like(gain) if certain else self._mean(name, alive if under is None else reached * under)
        )
        if under is not None:
            self._add(("open", name), self._mean(name, reached))
        self.runs_up[name] = {name: through}  # as `gain`: given the gates right below, which `alive` divides by
        for _, _, lower, upper, *_ in self.skips:
            if upper == name:
                for lowest, run in self.runs_up.get(lower, {}).items():
                    whole = self.runs_up[upper][lowest] = run * squared
                    self._add(("run", lowest, upper), self._mean(lowest, whole))
        if not self.is_diagonal(name):
            self._add(("joint", name), _products(self.slopes[name], self.pairs[name]))
            self._add(("both alive", name), ones.new_ones(()) if certain else _products(reached, self.pairs[name]))

    def _product(self, node: Node, arguments: Any) -> None:
        """The squares of each factor, given the gates that stand under the other one where both are of one signal."""
        shape = (len(arguments[0]), *self.lattice.shapes[self.lattice.names.index(node.name)])
        for number, factor in enumerate((arguments[1], arguments[0])):
            under = self.slopes.get(self.own.get((node.name, number), ""))
            values = factor.expand(shape) if under is None else factor * under
            self._add(("product", node.name, number), self._mean(node.name, values.square()))
            if under is not None:
                self._add(("product below", node.name, number), self._mean(node.name, under.square()))
            if not self.is_diagonal(node.name) and prod(factor.shape[2:]) > 1:  # one cell is the same at both positions
                axes = self.pairs[node.name]
                self._add(("product joint", node.name, number), _products(values, axes))
                if under is not None:
                    self._add(("product joint below", node.name, number), _products(under, axes))

    def _maximum(self, node: Node, arguments: Any) -> None:
        """Which tap won each window, worth the squared slope of the gates right below at the winner, or whether it is open.

        Winner and slope are one event: what wins is open where gates open upwards, and saturated where they saturate.
        """
        import torch

        x = arguments[0]
        axes = x.dim() - 2
        kind = f"max_pool{axes}d_with_indices" if isinstance(node.op, Pool) else f"adaptive_max_pool{axes}d"
        sizes = arguments[1:] if isinstance(node.op, Pool) else [self.lattice.shapes[self.lattice.names.index(node.name)][1:]]
        largest, winner = getattr(torch.ops.aten, kind)(x, *sizes)
        slope = self.slopes.get(gate_under(self.lattice, node.inputs[0]) or "")
        worth = slope.square().double() if slope is not None else (x > 0).double() if self.gated(node) else None
        if worth is None:
            passed = torch.ones_like(largest, dtype=torch.float64)
        else:
            passed = worth.flatten(2).gather(2, winner.flatten(2)).reshape(winner.shape)
            self._add(("open cells", node.name), self._mean(node.name, worth))
        if node.name not in self.taps:
            self.taps[node.name] = torch.as_tensor(np.stack(self.cells(node)))
        together = max(1, MOST_COMPARED // winner.numel())  # taps at once
        wins = [self._wins(node.name, passed, winner, cells) for cells in self.taps[node.name].split(together)]
        self._add(("taps", node.name), torch.cat(wins))

    def _wins(self, name: str, passed: Any, winner: Any, cells: Any) -> Any:
        """What passes where the winner is the cell of each of these taps: (taps, runs, *outputs)."""
        import torch

        won = passed[:, :, None] * (winner[:, :, None] == cells)
        return torch.stack([part.mean(dim=(0, 1)) for part in won.split(self.runs[name], dim=1)], dim=1)

    def _mean(self, name: str, values: Any) -> Any:
        """Over images and the channels of each run: (runs, *spatial)."""
        import torch

        return torch.stack([part.mean(dim=(0, 1)) for part in values.split(self.runs[name], dim=1)])

    def gated(self, node: Node) -> bool:
        """Does a maximum read what is never negative?"""
        return self.signs[self.lattice.nodes[node.inputs[0]].name] is Sign.NONNEGATIVE

    def _add(self, key: Key, value: Any) -> None:
        sums, value = self.groups[self.group], value.detach().double()
        sums[key] = sums[key] + value if key in sums else value


def _gates_of_factors(lattice: Lattice) -> dict[tuple[str, int], str]:
    """By (product, input number), the gate right under this factor, where both factors are functions of one signal."""
    gates = {}
    for node, (_, form) in zip(lattice.nodes, forms(lattice), strict=True):
        if form.kind == "times" and isinstance(node.op, Multiply):
            for number, i in enumerate(node.inputs):
                gate = gate_under(lattice, i)
                if gate is not None:
                    gates[node.name, number] = gate
    return gates


def _products(slope: Any, axes: Axes) -> Any:
    """The mean over images and channels of slope times slope at the pairs of positions."""
    import torch

    first, second = (_places([getattr(pairs, side) for pairs in axes]) for side in ("first", "second"))
    spatial = slope.shape[2:]
    if prod(spatial) > MOST_POSITIONS:
        some = slope[0, :: 1 + slope.shape[1] * prod(map(len, axes)) // MOST_PRODUCTS]
        return (some[(slice(None), *first)] * some[(slice(None), *second)]).mean(dim=0, dtype=torch.float64)
    rows = slope.flatten(0, 1).flatten(1)
    table = (rows.T @ rows / len(rows)).reshape(*spatial, *spatial)
    return table[(*first, *second)]


def _places(indices: Sequence[Array]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.as_tensor(index) for index in np.ix_(*indices))


def _variance(op: Norm, x: Any, *, of_sample: bool) -> Any:
    """The variance over the axes of the norm: the norm's own, `of_sample`, or an unbiased estimate (n - 1 for n)."""
    x, correction = x.double(), 0 if of_sample else 1
    if op.kind == "group":
        x = x.reshape(x.shape[0], op.groups, -1, *x.shape[2:])
        return x.var(dim=tuple(range(2, x.dim())), correction=correction)
    if op.kind in ("layer", "rms"):
        split = x.unflatten(1, (op.groups, -1))
        return split.square().mean(dim=2) if op.kind == "rms" else split.var(dim=2, correction=correction)
    dims = tuple(range(2, x.dim()))
    return x.var(dim=dims, correction=correction, keepdim=True)


def _over_values(op: Norm, values: Any) -> Any:
    """The mean over groups or channels: one number, or one for each position of a norm over channels."""
    return values.mean() if op.kind == "group" else values.mean(dim=(0, 1))


def _plus(one: dict[Key, Array], other: dict[Key, Array]) -> dict[Key, Array]:
    return {key: one[key] + other[key] for key in one}
