r"""The rates that follow from sums over forward passes: averaged over symmetries, and over positions that are alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from landscape.gates.averaging import average_alike, ratio
from landscape.prior import Gates, Prior
from landscape.structure.arrays import tap_cells
from landscape.structure.channel_runs import channel_runs
from landscape.structure.symmetry import Symmetries
from lattice import Node, Norm, Pool
from lattice.network.ops import Pooling
from lattice.network.rearrange import Rearrange

__all__ = ["Key", "Rates", "Replicates", "Watched"]

Array = np.ndarray[Any, Any]
Key: TypeAlias = tuple[Any, ...]
SMALL = 0.01  # a mean slope below this part of its root mean square is one of both signs, and divides nothing


class Watched:
    """The nodes of a network that are watched in forward passes, by name, and what their rates are taken over.

    `pairs`: by node, the pairs of positions whose joint rates are asked for; `runs`: the lengths of its runs of channels.
    """

    def __init__(self, prior: Prior, watched: dict[str, Node]) -> None:
        self.lattice, self.watched = prior.lattice, watched
        self.pairs = {self.lattice.nodes[a].name: axes for (a, b), axes in prior.plan.carried.items() if a == b}
        self.runs = dict(zip(self.lattice.names, channel_runs(self.lattice), strict=True))
        self._regrouped: set[str] | None = None

    def tables(self, node: Node) -> tuple[list[Array], tuple[int, ...]]:
        """Per axis, which cell each tap of each output reads; and the sizes of the input."""
        assert isinstance(node.op, Pooling)
        spatial = self.lattice.input_shapes(node)[0][1:]
        return [window.table(n) for window, n in zip(node.op.windows(spatial), spatial, strict=True)], spatial

    def cells(self, node: Node) -> list[Array]:
        """For every tap, the flat index of the cell that each output reads (-1: none)."""
        assert isinstance(node.op, Pooling)
        return tap_cells(node.op, self.lattice.input_shapes(node)[0][1:])

    def regrouped(self, name: str) -> bool:
        """Does a rearrangement below this node make its axes of parts of several others?"""
        if self._regrouped is None:
            found: list[bool] = []
            for node in self.lattice.nodes:
                own = isinstance(node.op, Rearrange) and not node.op.keeps_axes
                found.append(own or any(found[i] for i in node.inputs))
            self._regrouped = {name for name, regrouped in zip(self.lattice.names, found, strict=True) if regrouped}
        return name in self._regrouped

    def is_diagonal(self, name: str) -> bool:
        """Are no pairs of different positions asked for?"""
        return all(pairs.is_diagonal for pairs in self.pairs.get(name, ()))


class Replicates(Sequence[Gates]):
    """The rates with one group of passes left out each, computed when they are asked for."""

    def __init__(self, rates: Callable[[int], Gates], count: int) -> None:
        self._rates, self._count = rates, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._count)))
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._rates(index % self._count)

    def __reduce__(self) -> Any:  # a function does not travel; what it gives does
        return tuple, (list(self),)


class Rates:
    """The rates that follow from means over passes, averaged over symmetries and over positions that are alike."""

    def __init__(self, of: Watched, means: Mapping[Key, Array], wanted: Sequence[str], symmetries: Symmetries) -> None:
        self.of, self.wanted = of, set(wanted)
        self.means = {key: self._symmetric(key, mean, symmetries) for key, mean in means.items()}

    def gates(self, source: str, replicates: Sequence[Gates]) -> Gates:
        gains = {n: self._rate(n, ("gain", n), ("alive", n)) for n in self._of("gain")}
        gains |= {n: 1 / (self._smoothed("variance", n) + self._eps(n)) for n in self._of("variance")}
        firsts = {n: self._first(n) for n in self._of("first")}
        joint = {n: ratio(self.means["joint", n], self.means["both alive", n])[None] for n in self._of("joint")}
        taps = {n: self._per_gate(self.of.watched[n]) for n in self._of("taps")}
        runs = {
            (lower, upper): self._rate(lower, ("run", lower, upper), ("alive", lower))
            for kind, lower, *rest in self.means
            if kind == "run"
            for upper in rest
        }
        products, product_joint = {}, {}
        for kind, n, *numbers in self.means:
            for number in numbers:
                if kind == "product":
                    products[n, number] = self._rate(n, ("product", n, number), ("product below", n, number))
                    if ("product joint", n, number) not in self.means and not self.of.is_diagonal(n):
                        product_joint[n, number] = products[n, number][
                            (slice(None), *[slice(1)] * (products[n, number].ndim - 1))
                        ]
                elif kind == "product joint":
                    below = self.means.get(("product joint below", n, number))
                    together = self.means["product joint", n, number]
                    product_joint[n, number] = (together if below is None else ratio(together, below))[None]
        return Gates(gains, joint, taps, runs, source, firsts, products, product_joint, replicates)

    def _of(self, kind: str) -> list[str]:
        return [key[1] for key in self.means if key[0] == kind and key[1] in self.wanted]

    def _smoothed(self, kind: str, name: str) -> Array:
        return self._expand(name, self._smooth(name, self.means[kind, name]))

    def _smooth(self, name: str, runs: Array) -> Array:
        """Each run averaged over positions that are alike; the axes of an image that was cut up tell nothing of its borders."""
        return runs if self.of.regrouped(name) else np.stack([average_alike(run) for run in runs])

    def _eps(self, name: str) -> float:
        op = self.of.watched[name].op
        return op.eps if isinstance(op, Norm) else 0.0

    def _rate(self, name: str, top: Key, bottom: Key) -> Array:
        rate = self._smooth(name, self.means[top])
        return self._expand(name, ratio(rate, self._smooth(name, self.means[bottom])) if bottom in self.means else rate)

    def _first(self, name: str) -> Array:
        """E[phi'] given the gates below; they divide nothing where their own slopes cancel."""
        top, squares = (self._smooth(name, self.means[kind, name]) for kind in ("first", "alive"))
        bottom = self._smooth(name, self.means["open", name]) if ("open", name) in self.means else squares
        return self._expand(name, np.where(np.abs(bottom) > SMALL * np.sqrt(squares), ratio(top, bottom), 0.0))

    def _per_gate(self, node: Node) -> Array:
        """P(a tap wins and is open) / P(the gate below it is open), over windows that are alike."""
        taps = self.means["taps", node.name]
        smooth = np.stack([self._smooth(node.name, tap) if isinstance(node.op, Pool) else tap for tap in taps])
        if ("open cells", node.name) in self.means:
            rate = self._smooth(node.name, self.means["open cells", node.name]).reshape(smooth.shape[1], -1)
            smooth = ratio(smooth, np.stack([rate[:, np.maximum(cells, 0)] for cells in self.of.cells(node)]))
        return self._expand(node.name, smooth, axis=1)

    def _expand(self, name: str, values: Array, axis: int = 0) -> Array:
        """One entry per channel where there is more than one run."""
        return values if values.shape[axis] == 1 else np.repeat(values, self.of.runs[name], axis)

    def _symmetric(self, key: Key, mean: Array, symmetries: Symmetries) -> Array:
        kind, name = key[:2]
        if kind == "taps":
            return symmetries.average_taps(mean, *self.of.tables(self.of.watched[name]))
        if kind in ("joint", "both alive", "product joint", "product joint below") and mean.ndim:
            return symmetries.average_pairs(mean, self.of.pairs[name])
        return symmetries.average(mean) if mean.ndim == len(self.of.lattice.input_shape) else mean
