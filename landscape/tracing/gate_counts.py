r"""Gates and choices counted in forward passes: on white noise, or on the images that the user gives.

For each activation E[phi'(z)^2], for each max-pool the rate at which each tap wins while the gate below it is open, for
each sum P(the gates on both ends of a skip are open) against the product of their rates (the trunk law), for norms over
the signal itself E[1 / variance], for products E[g^2] of each factor g. Averages run over draws of weights and biases, inputs,
channels, the symmetries of the network and, but near the borders, positions. What follows from symmetry is not counted: a
ReLU of one filter's output is open half of the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.gates import gate_under, gates_below, unknown_rates
from landscape.prior import Gates, Prior, even
from landscape.structure.symmetry import Symmetries, symmetries
from landscape.tracing.counter import Counter
from landscape.tracing.graph.layouts import inverse
from landscape.tracing.graph.reader import Reader
from landscape.weights.fans import fans
from lattice import Activation, Lattice, Multiply, Node, SpecificationError
from lattice.network.ops import Pooling

__all__ = ["Parameters", "observe"]

Array = np.ndarray[Any, Any]
ENOUGH = 100_000  # filters: a win rate of one in nine is known to 1 % at one position
MOST_WEIGHTS = 1_000_000_000  # drawn anew in all: about a second
OFFSETS = 1 << 20
MOST_CALLS = 8_000  # of layers in all: about a second
FEW_DRAWS = 4
MOST_WORK = 20_000_000_000  # multiplications in all: about a second


class Parameters(NamedTuple):
    """What a model calls the weight, and the bias where there is one, of each layer with weights, by node name."""

    weights: Mapping[str, str]
    biases: Mapping[str, str]


def observe(
    program: Any,
    names: dict[str, str],
    reader: Reader,
    prior: Prior,
    parameters: Parameters,
    inputs: Array | None = None,
) -> Gates:
    """The `Gates` of a traced model, from forward passes over `inputs` or white noise, each with weights drawn anew.

    `inputs` is (N, channels, *spatial); all of them are read, equally often, or as many as may be afforded, evenly chosen:
    `Gates.source` says which. `SpecificationError` where they do not fit. Models on the meta device have no values and give
    no rates. Passes are made in single precision at least, and again in double precision where that leaves its range.
    """
    import torch

    lattice, wanted = prior.lattice, unknown_rates(prior)
    like = next((tensor for tensor in reader.tensors.values() if tensor.is_floating_point()), torch.zeros(()))
    if not wanted or like.is_meta:
        return Gates()
    if inputs is not None and np.shape(inputs)[1:] != lattice.input_shape:
        raise SpecificationError(
            f"inputs have shape {np.shape(inputs)}; the network reads (N, {', '.join(map(str, lattice.input_shape))})"
        )
    watched = _with_gates_below(lattice, wanted)
    top = max(lattice.names.index(name) for name in watched)
    redrawn = {name: parameters.weights[name] for name in lattice.names[:top] if name in parameters.weights}
    draws = _draws_needed(lattice, watched, reader.tensors, redrawn)
    chosen, source = _chosen(inputs, draws)
    draws = draws if chosen is None else len(chosen)
    alike = symmetries(lattice) if inputs is None and even(prior) else Symmetries((), ())
    biases = {name: bias for name, bias in parameters.biases.items() if name in redrawn and np.any(_variance(prior, name))}
    wide = torch.promote_types(like.dtype, torch.float32)
    for dtype in dict.fromkeys((wide, torch.float64)):
        counter = Counter(prior, watched, draws, given=inputs is not None)
        watcher = _watcher(program, reader, lattice, watched, counter, dtype)
        placeholders = [call.name for call in program.graph_module.graph.nodes if call.op == "placeholder"]
        images = None if inputs is None or chosen is None else (np.array(inputs[i]) for i in chosen)
        with torch.no_grad():
            passes = _drawn(prior, reader.tensors, Parameters(redrawn, biases), draws, images, like.to(dtype))
            for draw, (tensors, image) in enumerate(passes):
                counter.begin(draw)
                watcher.run(*(tensors[names[name]] if name in names else image for name in placeholders))
        if counter.in_range():
            break
    return counter.gates(source, list(wanted), alike)


def _with_gates_below(lattice: Lattice, wanted: Mapping[str, Node]) -> dict[str, Node]:
    """The wanted nodes, and the gates right below them, whose slopes theirs are counted with."""
    nodes, under = dict(zip(lattice.names, lattice.nodes, strict=True)), gates_below(lattice)
    watched, waiting = dict(wanted), list(wanted)
    for node in wanted.values():
        if isinstance(node.op, Multiply):
            waiting += [lattice.nodes[i].name for i in node.inputs]
        gate = gate_under(lattice, node.inputs[0]) if isinstance(node.op, Pooling) else None
        if gate is not None and nodes[gate].op != Activation("relu"):  # of a ReLU the values say where it is open
            watched[gate] = nodes[gate]
            waiting.append(gate)
    while waiting:
        name = waiting.pop()
        below = under.get(name)
        if below is not None and below not in watched:
            watched[below] = nodes[below]
            waiting.append(below)
    return {name: node for name, node in nodes.items() if name in watched}


def _chosen(inputs: Array | None, draws: int) -> tuple[list[int] | None, str]:
    """Which image each pass reads, each equally often; and what is to be said of it."""
    if inputs is None:
        return None, "counted on white noise"
    count = len(inputs)
    if count <= draws:
        return [draw % count for draw in range(draws - draws % count)], f"counted on {count} given inputs"
    chosen = [int((draw + 0.5) * count / draws) for draw in range(draws)]
    return chosen, f"counted on {draws} of {count} given inputs"


def _watcher(program: Any, reader: Reader, lattice: Lattice, watched: Mapping[str, Node], counter: Counter, dtype: Any) -> Any:
    """An interpreter of the graph that shows the counter each watched call, and computes in no less than this precision."""
    import torch

    by_module = defaultdict(list)
    for name in watched:
        by_module[reader.calls[name].name].append(name)
    typed = {
        call.name
        for call in program.graph_module.graph.nodes
        if any(isinstance(value, torch.dtype) for value in (*call.args, *call.kwargs.values()))
    }
    narrow = (torch.float16, torch.bfloat16, torch.float32)

    def widened(value: Any) -> Any:
        return dtype if isinstance(value, torch.dtype) and value in narrow else value

    class Watcher(torch.fx.Interpreter):
        def fetch_args_kwargs_from_env(self, n: torch.fx.Node) -> Any:
            arguments, named = super().fetch_args_kwargs_from_env(n)
            if n.name not in typed:
                return arguments, named
            return tuple(map(widened, arguments)), {key: widened(value) for key, value in named.items()}

        def run_node(self, n: torch.fx.Node) -> Any:
            if n.name in by_module:
                arguments, named = self.fetch_args_kwargs_from_env(n)
                for name in by_module[n.name]:
                    counter.update(watched[name], n.target, _arranged(reader, lattice, watched[name], arguments), named)
            return super().run_node(n)

    return Watcher(program.graph_module)


def _arranged(reader: Reader, lattice: Lattice, node: Node, arguments: Any) -> tuple[Any, ...]:
    """The arguments of a call with channels first; those of a product in the order of the lattice's inputs."""
    shapes = lattice.input_shapes(node)
    if not isinstance(node.op, Multiply):
        layout = reader.read_layouts.get(node.name, reader.layouts.get(node.name))
        return (_channels_first(arguments[0], layout, shapes[0]), *arguments[1:])
    found = []
    for shape, (number, places) in zip(shapes, reader.factors[node.name], strict=True):
        argument = arguments[number]
        found.append(argument if places is None else argument.flatten()[places.ravel()].reshape(1, *shape))
    return tuple(found)


def _channels_first(tensor: Any, layout: Any, shape: tuple[int, ...]) -> Any:
    """A tensor of one sample, whose layout has all units of a node of this shape, as (1, channels, *positions)."""
    if layout is None:
        return tensor
    places = inverse(layout, prod(shape))
    assert places is not None
    return tensor.flatten()[places].reshape(1, *shape)


def _drawn(
    prior: Prior,
    given: Mapping[str, Any],
    redrawn: Parameters,
    draws: int,
    images: Iterable[Array] | None,
    like: Any,
) -> Any:
    """For each pass the tensors of the model, with weights and biases of their law in place of one draw, and an image."""
    import torch

    generator = torch.Generator().manual_seed(0)
    # each weight is a stretch of one row of normal numbers, from a place drawn at random: ten times as fast as new ones
    longest = max((given[name].numel() for name in redrawn.weights.values()), default=0)
    normal = torch.randn(OFFSETS + longest, generator=generator).to(like)
    tensors = {name: tensor.detach() for name, tensor in given.items()}
    tensors |= {name: tensor.to(like) for name, tensor in tensors.items() if tensor.is_floating_point()}
    fresh = {name: torch.empty_like(tensors[name]) for name in redrawn.weights.values()}
    tensors |= fresh
    given_images = None if images is None else iter(images)
    for _ in range(draws):
        for layer, name in redrawn.weights.items():  # the rates are those of the law of the weights, not of one draw
            start = int(torch.randint(OFFSETS, (1,), generator=generator))
            numbers = normal[start : start + fresh[name].numel()].view(fresh[name].shape)
            torch.mul(numbers, prior.variances[layer] ** 0.5, out=fresh[name])
        for layer, name in redrawn.biases.items():
            mean, deviation = np.asarray(prior.shifts[layer][0]), np.sqrt(_variance(prior, layer))
            numbers = torch.randn(tensors[name].shape, generator=generator, dtype=torch.float64)
            tensors[name] = (torch.as_tensor(mean) + torch.as_tensor(deviation) * numbers).to(like)
        if given_images is None:
            image = torch.randn(1, *prior.lattice.input_shape, generator=generator, dtype=torch.float64)
        else:
            image = torch.tensor(next(given_images)[None])  # a copy: models may work in place
        yield tensors, image.to(like)


def _variance(prior: Prior, layer: str) -> Array:
    """The variance of a layer's bias over draws; a constant has none, and stays."""
    return np.asarray(prior.shifts[layer][1] if layer in prior.shifts else 0.0)


def _draws_needed(lattice: Lattice, watched: Mapping[str, Node], tensors: dict[str, Any], parameters: dict[str, str]) -> int:
    """Enough filters for the rates that are asked for, within what this may cost."""
    channels = min(lattice.shapes[lattice.names.index(name)][0] for name in watched)
    weights = sum(tensors[name].numel() for name in parameters.values())
    layers = [(node, shape) for node, shape in zip(lattice.nodes, lattice.shapes, strict=True) if node.name in parameters]
    work = sum(fans(node.op, lattice.input_shapes(node)[0])[0] * prod(shape) for node, shape in layers)
    most = min(MOST_CALLS // len(lattice.nodes), MOST_WEIGHTS // max(weights, 1), MOST_WORK // max(work, 1))
    return min(max(FEW_DRAWS, most), -(-ENOUGH // channels))
