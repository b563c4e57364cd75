r"""Gates and choices counted in forward passes: on white noise, or on the images that the user gives.

For each activation E[phi'(z)^2], for each max-pool the rate at which each tap wins while the gate below it is open, for
each sum P(the gates on both ends of a skip are open) against the product of their rates (the trunk law), for norms over
the signal itself E[1 / variance], for products E[gate^2]. Averages run over draws, inputs, channels and, but near the
borders, positions. What follows from symmetry is not counted: a ReLU of one filter's output is open half of the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

import lattice.ops
from landscape.alike import average_alike
from landscape.alike_channels import channel_runs
from landscape.gains import Sign, node_signs
from landscape.gates import Gates, skips, unknown_rates
from landscape.initialisation import fans
from landscape.plan import Axes, plan
from landscape.reading import Reader
from lattice import Activation, AdaptivePool, GlobalPool, Lattice, Node, Norm, Pool, SpecificationError

Multiply = getattr(lattice.ops, "Multiply", type(None))
__all__ = ["observe"]

Array = np.ndarray[Any, Any]
ENOUGH = 100_000  # filters: a win rate of one in nine is known to 1 % at one position
MOST_WEIGHTS = 1_000_000_000  # drawn anew in all: about a second
OFFSETS = 1 << 20
MOST_CALLS = 8_000  # of layers in all: about a second
FEW_DRAWS = 4
MOST_WORK = 20_000_000_000  # multiplications in all: about a second
MOST_POSITIONS = 256  # whose products are all taken, by one multiplication of matrices
MOST_PRODUCTS = 300_000  # of slopes at pairs of more positions, in one pass; fewer channels do then


def observe(
    program: Any,
    names: dict[str, str],
    reader: Reader,
    lattice: Lattice,
    shifted: frozenset[str],
    law: tuple[dict[str, float], dict[str, str]],
    inputs: Array | None = None,
) -> Gates:
    """The `Gates` of a traced model, from forward passes over `inputs` or white noise, each with weights drawn anew.

    `law` says how: V[w] by layer, and the name of each layer's parameter. `inputs` is (N, channels, *spatial);
    `SpecificationError` where it does not fit. Models on the meta device have no values and give no rates.
    """
    import torch

    watched = unknown_rates(lattice, shifted)
    like = next((tensor for tensor in reader.tensors.values() if tensor.is_floating_point()), torch.zeros(()))
    if not watched or like.is_meta:
        return Gates()
    if inputs is not None and np.shape(inputs)[1:] != lattice.input_shape:
        raise SpecificationError(
            f"inputs have shape {np.shape(inputs)}; the network reads (N, {', '.join(map(str, lattice.input_shape))})"
        )
    counter = Counter(lattice, watched, shifted)
    made = defaultdict(list)
    for name in watched:
        made[reader.calls[name].name].append(name)

    class Watcher(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            if n.name in made:
                arguments, named = self.fetch_args_kwargs_from_env(n)
                for name in made[n.name]:
                    order = reader.orders.get(name)
                    first = arguments[0] if order is None else arguments[0].permute(np.argsort(order).tolist())
                    counter.see(watched[name], n.target, (first, *arguments[1:]), named)
            return super().run_node(n)

    watcher = Watcher(program.graph_module)
    placeholders = [call.name for call in program.graph_module.graph.nodes if call.op == "placeholder"]
    variances, parameters = law
    generator = torch.Generator().manual_seed(0)
    top = max(lattice.names.index(name) for name in watched)
    redrawn = {name: parameters[name] for name in lattice.names[:top] if name in parameters}
    draws = _draws_needed(lattice, watched, reader.tensors, redrawn)
    # each weight is a stretch of one row of normal numbers, from a place drawn at random: ten times as fast as new ones
    longest = max((reader.tensors[name].numel() for name in redrawn.values()), default=0)
    normal = torch.randn(OFFSETS + longest, generator=generator).to(like)
    fresh = {name: torch.empty_like(reader.tensors[name]) for name in redrawn.values()}
    tensors = {**reader.tensors, **fresh}
    with torch.no_grad():
        for draw in range(draws):
            for layer, name in redrawn.items():  # the rates are those of the law of the weights, not of one draw
                start = int(torch.randint(OFFSETS, (1,), generator=generator))
                numbers = normal[start : start + fresh[name].numel()].view(fresh[name].shape)
                torch.mul(numbers, variances[layer] ** 0.5, out=fresh[name])
            if inputs is None:
                image = torch.randn(1, *lattice.input_shape, generator=generator, dtype=torch.float64).to(like)
            else:
                image = torch.tensor(np.asarray(inputs[draw % len(inputs)])[None]).to(like)  # a copy: models may work in place
            watcher.run(*(tensors[names[name]].detach() if name in names else image for name in placeholders))
    return counter.gates("counted on white noise" if inputs is None else f"counted on {len(inputs)} given inputs")


def _draws_needed(lattice: Lattice, watched: dict[str, Node], tensors: dict[str, Any], parameters: dict[str, str]) -> int:
    """Enough filters for the rates that are asked for, within what this may cost."""
    channels = min(lattice.shapes[lattice.names.index(name)][0] for name in watched)
    weights = sum(tensors[name].numel() for name in parameters.values())
    layers = [(node, shape) for node, shape in zip(lattice.nodes, lattice.shapes, strict=True) if node.name in parameters]
    work = sum(fans(node.op, lattice.input_shapes(node)[0])[0] * prod(shape) for node, shape in layers)
    most = min(MOST_CALLS // len(lattice.nodes), MOST_WEIGHTS // max(weights, 1), MOST_WORK // max(work, 1))
    return min(max(FEW_DRAWS, most), -(-ENOUGH // channels))


class Counter:
    """Sums over forward passes, one at a time; batches of one input."""

    def __init__(self, lattice: Lattice, watched: dict[str, Node], shifted: frozenset[str]) -> None:
        self.lattice = lattice
        self.watched = watched
        self.signs = dict(zip(lattice.names, node_signs(lattice, shifted), strict=True))
        self.pairs = {lattice.nodes[a].name: axes for (a, b), axes in plan(lattice).carried.items() if a == b}
        self.skips = list(skips(lattice))
        self.runs = dict(zip(lattice.names, channel_runs(lattice), strict=True))
        self.runs_up: dict[str, dict[str, Any]] = {}  # of this pass: gate: lowest gate of a trunk: product of squared slopes
        self.sums: dict[tuple[str, ...], Any] = {}
        self.passes: dict[tuple[str, ...], int] = {}

    def see(self, node: Node, function: Any, arguments: Any, named: Any) -> None:
        """Count what one call of the pass shows."""
        if isinstance(node.op, Activation):
            self._activation(node, function, arguments, named)
        elif isinstance(node.op, Multiply):
            trunk, gate = self._trunk_and_gate(node, arguments)
            self._add(("gain", node.name), gate.square().mean(dim=(0, 1)).expand(trunk.shape[2:])[None])
        elif isinstance(node.op, Norm):
            self._add(("gain", node.name), _inverse_variance(node.op, arguments[0])[None])
        else:
            self._maximum(node, arguments)

    def gates(self, ground: str) -> Gates:
        """The rates: sums over passes divided by their number, averaged over positions that are alike."""
        means = {key: np.asarray(total.double().cpu()) / self.passes[key] for key, total in self.sums.items()}
        alive = {key[1]: np.maximum(_smooth(mean), 1e-12) for key, mean in means.items() if key[0] == "alive"}
        gains = {
            key[1]: self._expand(key[1], _smooth(mean) / alive.get(key[1], 1.0))
            for key, mean in means.items()
            if key[0] == "gain"
        }
        taps = {key[1]: self._per_gate(self.watched[key[1]], mean, means) for key, mean in means.items() if key[0] == "taps"}
        runs = {
            (key[1], key[2]): self._expand(key[1], _smooth(mean) / alive[key[1]])
            for key, mean in means.items()
            if key[0] == "run"
        }
        joint = {
            key[1]: (mean / np.maximum(means["both alive", key[1]], 1e-12))[None]
            for key, mean in means.items()
            if key[0] == "joint"
        }
        return Gates(gains, joint, taps, runs, ground)

    def _activation(self, node: Node, function: Any, arguments: Any, named: Any) -> None:
        import torch

        ones = arguments[0].new_ones(()).expand_as(arguments[0])
        with torch.enable_grad():
            z = arguments[0].detach().requires_grad_()
            (slope,) = torch.autograd.grad(function(z.clone(), *arguments[1:], **named), z, ones)
        squared = slope.square()
        self._add(("gain", node.name), self._mean(node.name, squared))
        # a gate that is closed at exactly zero reads nothing but closed gates: no open path leads through it
        everywhere = int(torch.count_nonzero(z)) == z.numel()  # the common case, in a quarter of the time
        alive = ones if everywhere else torch.logical_or(z, slope).to(squared)
        self._add(("alive", node.name), self._mean(node.name, alive))
        self.runs_up[node.name] = {node.name: squared}
        for _, _, lower, upper in self.skips:
            if upper == node.name:
                for lowest, run in self.runs_up.get(lower, {}).items():
                    self.runs_up[upper][lowest] = run * squared
                    self._add(("run", lowest, upper), self._mean(lowest, run * squared))
        axes = self.pairs.get(node.name, ())
        if not all(pairs.is_diagonal for pairs in axes):
            self._add(("joint", node.name), _products(slope, axes))
            self._add(("both alive", node.name), _products(alive, axes))

    def _maximum(self, node: Node, arguments: Any) -> None:
        """Which tap won each window, where what won is above zero if gates stand below."""
        import torch

        x = arguments[0]
        axes = x.dim() - 2
        kind = f"max_pool{axes}d_with_indices" if isinstance(node.op, Pool) else f"adaptive_max_pool{axes}d"
        sizes = arguments[1:] if isinstance(node.op, Pool) else [self.lattice.shapes[self.lattice.names.index(node.name)][1:]]
        largest, winner = getattr(torch.ops.aten, kind)(x, *sizes)
        gated = self._gated(node)
        if gated:
            winner = torch.where(largest > 0, winner, -2)
            self._add(("open", node.name), self._mean(node.name, (x > 0).double()))
        wins = [self._mean(node.name, (winner == torch.as_tensor(cells)).double()) for cells in self._cells(node)]
        self._add(("taps", node.name), torch.stack(wins))

    def _per_gate(self, node: Node, taps: Array, means: dict[tuple[str, ...], Array]) -> Array:
        """P(a tap wins and is open) / P(the gate below it is open), over windows that are alike."""
        sliding = isinstance(node.op, Pool)
        smooth = np.stack([_smooth(tap) if sliding else tap for tap in taps])
        if self._gated(node):
            rate = _smooth(means["open", node.name]).reshape(smooth.shape[1], -1)
            smooth = smooth / np.maximum([rate[:, np.maximum(cells, 0)] for cells in self._cells(node)], 1e-12)
        return self._expand(node.name, smooth, axis=1)

    def _mean(self, name: str, values: Any) -> Any:
        """Over images and the channels of each run: (runs, *spatial)."""
        import torch

        return torch.stack([part.mean(dim=(0, 1)) for part in values.split(self.runs[name], dim=1)])

    def _expand(self, name: str, values: Array, axis: int = 0) -> Array:
        """One entry per channel where there is more than one run."""
        return values if values.shape[axis] == 1 else np.repeat(values, self.runs[name], axis)

    def _gated(self, node: Node) -> bool:
        return self.signs[self.lattice.nodes[node.inputs[0]].name] is Sign.NONNEGATIVE

    def _cells(self, node: Node) -> list[Array]:
        """For every tap, the flat index of the cell that each output reads (-1: none)."""
        assert isinstance(node.op, Pool | AdaptivePool | GlobalPool)
        spatial = self.lattice.input_shapes(node)[0][1:]
        tables = [window.table(n) for window, n in zip(node.op.windows(spatial), spatial, strict=True)]
        cells = []
        for taps in product(*(range(len(table)) for table in tables)):
            rows = np.ix_(*(table[tap] for table, tap in zip(tables, taps, strict=True)))
            inside = np.logical_and.reduce(np.broadcast_arrays(*(row >= 0 for row in rows)))
            flat = np.ravel_multi_index(tuple(np.maximum(row, 0) for row in rows), spatial)
            cells.append(np.where(inside, flat, -1))
        return cells

    def _trunk_and_gate(self, node: Node, arguments: Any) -> tuple[Any, Any]:
        """The two factors of a product; a gate that is one number per channel may stand on either side."""
        first, second = arguments[:2]
        return (second, first) if first.numel() < second.numel() else (first, second)

    def _add(self, key: tuple[str, ...], value: Any) -> None:
        self.sums[key] = self.sums[key] + value if key in self.sums else value.detach()
        self.passes[key] = self.passes.get(key, 0) + 1


def _smooth(runs: Array) -> Array:
    """Each run averaged over positions that are alike."""
    return np.stack([average_alike(run) for run in runs])


def _products(slope: Any, axes: Axes) -> Any:
    """The mean over images and channels of slope times slope at the pairs of positions."""
    first, second = (_places([getattr(pairs, side) for pairs in axes]) for side in ("first", "second"))
    spatial = slope.shape[2:]
    if prod(spatial) > MOST_POSITIONS:
        some = slope[0, :: 1 + slope.shape[1] * prod(map(len, axes)) // MOST_PRODUCTS]
        return (some[(slice(None), *first)] * some[(slice(None), *second)]).mean(dim=0)
    rows = slope.flatten(0, 1).flatten(1)
    table = (rows.T @ rows / len(rows)).reshape(*spatial, *spatial)
    return table[(*first, *second)]


def _places(indices: Sequence[Array]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.as_tensor(index) for index in np.ix_(*indices))


def _inverse_variance(op: Norm, x: Any) -> Any:
    """1 / (variance + eps) over the axes of the norm, (*spatial)."""
    spatial = tuple(range(2, x.dim()))
    if op.kind == "group":
        x = x.reshape(x.shape[0], op.groups, -1, *x.shape[2:])
        variance = x.var(dim=tuple(range(2, x.dim())), correction=0)
        return (1 / (variance + op.eps)).mean()
    dims = {"layer": (1,), "instance": spatial}[op.kind]
    return (1 / (x.var(dim=dims, correction=0, keepdim=True) + op.eps)).mean(dim=(0, 1))
