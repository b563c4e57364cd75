"""Reading an ATen graph node by node into lattice nodes, collecting everything that has no rule.

A rule takes the `Reader`, the graph's call and its arguments by name, appends lattice nodes, and returns the value of
the call; it raises `Refusal` with the reason where it cannot. The rules themselves are in `landscape.tracing.aten.table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from landscape.tracing.graph.aliasing import Memory, changed_argument
from landscape.tracing.graph.calls import Refusal, arguments_of, place_of, shape_of
from landscape.tracing.graph.constants import Constants, operation
from landscape.tracing.graph.layouts import first_sample
from landscape.tracing.graph.nodes import Nodes
from landscape.tracing.graph.numbers import Numbers, named_tensors
from landscape.tracing.graph.refusals import told_once
from landscape.tracing.graph.values import Fixed, Length, Noise, PaddedLow, Scores, Shared, Stale, Unknown, Value
from lattice import Activation, Conv, Input, Node, Op, Pad, SpecificationError, UnsupportedError
from lattice.errors import listed

if TYPE_CHECKING:
    import torch

__all__ = [
    "COPIES",
    "PRODUCTS",
    "Fixed",
    "Noise",
    "Reader",
    "Refusal",
    "Rule",
    "Stale",
    "Value",
    "named_tensors",
    "operation",
    "shape_of",
]

Rule: TypeAlias = Callable[["Reader", Any, dict[str, Any]], Any]
Array = np.ndarray[Any, Any]
RESHAPES = ("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze")
COPIES = ("type_as", "contiguous", "clone", "alias", "to", "_to_copy", "lift_fresh_copy", "detach", "positive")
PRODUCTS = "sum of products"  # the rule, of no call of a graph, that makes a signal of products of signals


class Reader(Nodes, Numbers):
    """Reads the graph node by node into lattice nodes, collecting refusals.

    `train`: the graph was exported in training mode. `weights` says of each node with numbers of its own where they are: names
    of `tensors`, or the numbers themselves. `masks` says of each dropout which call of the graph drew its mask, and how.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        program: Any,
        names: dict[str, str],
        rules: Mapping[str, Rule],
        reasons: Mapping[str, str],
        result: Any,
        train: bool = False,
    ) -> None:
        Nodes.__init__(self)
        self.graph = program.graph_module.graph
        self.memory = Memory(self.graph)
        self.needed = self.memory.needed(result)
        Numbers.__init__(self, model, program, names, Constants(self.graph, self.memory, names, self.needed))
        self.result = result
        self.train = train
        self.rules = rules
        self.reasons = reasons
        self.values: dict[Any, Any] = {}
        self.silenced: frozenset[Any] = frozenset()  # refused calls all of whose results are multiplied by zeros
        self.left_out: list[str] = []  # where
        self.masks: dict[str, tuple[Any, Callable[[Any], Any]]] = {}
        self.factors: dict[str, list[tuple[int, Array | None]]] = {}  # product: for each input the argument, and what it reads

    def read(self, shape: tuple[int, ...]) -> tuple[list[Node], dict[str, dict[str, Any]]]:
        self._refuse_changed_parameters()
        refused: list[tuple[Any, str, str]] = []  # call, operation and reason, where
        for call in list(self.graph.nodes):
            if call.op == "placeholder":
                self._read_placeholder(call, shape)
            elif call.op == "get_attr" and call in self.needed:
                refused.append((call, "a constant inside the graph (not yet)", call.name))
            elif call.op == "call_function" and call in self.needed:
                try:
                    self._read_call(call)
                except Refusal as refusal:
                    cause = refusal.at or call
                    if all(cause is not other for other, *_ in refused):
                        refused.append((cause, f"{cause.target}: {refusal}", place_of(cause) or cause.name))
        refusals: dict[str, list[str]] = {}
        for call, reason, place in refused:
            if call not in self.silenced or isinstance(self.values[self.result], Unknown):
                refusals.setdefault(reason, []).append(place)
        if refusals:
            count = sum(map(len, refusals.values()))
            lines = "\n".join(f"  {listed(names)}: {reason}" for reason, names in told_once(refusals))
            some = "1 operation of this model has" if count == 1 else f"{count} operations of this model have"
            raise UnsupportedError(f"{some} no rule here:\n{lines}")
        return self._finish()

    def _refuse_changed_parameters(self) -> None:
        """What a pass leaves in the model for the next one, and reads itself, makes every pass another function."""
        changes = (changed_argument(call) for call in self.needed)
        nodes = (node for argument in changes if argument is not None for node in self.memory.sharing(argument))
        names = {self.names[node.name] for node in nodes if node.op == "placeholder" and node.name in self.names}
        if names:
            raise UnsupportedError(f"the model changes {listed(sorted(names))} as it runs, and its output depends on that")

    def _read_placeholder(self, call: Any, shape: tuple[int, ...]) -> None:
        if call.name in self.names:
            self.values[call] = Fixed(self.names[call.name])
            return
        self.nodes.append(Node("input", Input(shape)))
        self.shapes.append(shape)
        self.signals.append(len(self.signals))
        self.values[call] = Value(len(self.nodes) - 1)
        self.batch = shape_of(call)[0]

    def _read_call(self, call: Any) -> None:
        if call in self.constants.fixed:
            self.values[call] = self._fixed(call)
            return
        name = operation(call)
        self.call = call
        try:
            if name not in self.rules:
                raise Refusal(self.reasons.get(name, "not yet: no rule for it"))
            unknown = [one for node in call.all_input_nodes if isinstance(one := self.values.get(node), Unknown)]
            if unknown:
                zero = self._times_zero(call, name)
                refused = frozenset[Any]().union(*(one.refused for one in unknown))
                self.values[call] = Unknown(refused) if zero is None else zero
                self.silenced |= refused if zero is not None else frozenset()
                for node in call.all_input_nodes:
                    if zero is None and isinstance(self.values.get(node), Shared):
                        raise _of_shares(self.values[node])
                    if zero is None and isinstance(self.values.get(node), Scores) and self.values[node].soft:
                        raise _of_shares(self.values[node])
                return
            if 0 in getattr(call.meta.get("val"), "shape", ()):
                raise Refusal(f"gives a tensor of shape {shape_of(call)}, which holds nothing; leave that call out")
            value = self.rules[name](self, call, arguments_of(call))
            self._check_shapes(call, value)
            changed = changed_argument(call)
            if changed is not None and value is not self.values[changed]:
                self._rebind(changed, value)
            self.values[call] = value
        except (Refusal, SpecificationError) as refusal:
            self.values[call] = Unknown(frozenset([call]))  # what depends on it is not a refusal of its own
            raise Refusal(str(refusal), getattr(refusal, "at", None)) from refusal

    def _times_zero(self, call: Any, name: str) -> Value | None:
        """What is not known times a parameter of zeros, as a signal below it times that: nothing passes at initialisation."""
        factors = call.args[:2] if name == "mul" else call.args[1:3] if name == "addcmul" else ()
        zeros = [one for one in factors if self.is_fixed(one) and self.is_zero(call, one)]
        others = [one for one in factors if isinstance(self.values.get(one), Unknown)]
        if len(zeros) != 1 or len(others) != 1:
            return None
        below = [node for node in others[0].all_input_nodes if isinstance(self.values.get(node), Value)]
        source = next((node for node in below if shape_of(node) == shape_of(call)), None)
        if source is None:
            return None
        arguments = dict(zip(("self", "tensor1", "tensor2"), (call.args[0], source, zeros[0]), strict=True))
        if name == "mul":
            arguments = {"self": source, "other": zeros[0]}
        value: Value = self.rules[name](self, call, arguments)
        self.left_out.append(self.nodes[value.node].name)
        return value

    def _fixed(self, call: Any) -> Fixed:
        """The value of a call that reads parameters and constants alone."""
        read = [self.values.get(node) for node in call.all_input_nodes]
        same = operation(call) in (*COPIES, *RESHAPES) and call.meta["val"].dtype.is_floating_point
        same = same and len(read) == 1 and not self.memory.of(call) & self.memory.changed
        return Fixed(read[0].name) if same and isinstance(read[0], Fixed) else Fixed()

    def _check_shapes(self, call: Any, value: Any) -> None:
        """The shape of a lattice node must be the one that torch computed, behind the batch."""
        results = call.meta["val"]
        pairs = zip(value, results, strict=False) if isinstance(value, list) else [(value, results)]
        for part, result in pairs:
            if not isinstance(part, Value):
                continue  # noise, or logits
            found = tuple(int(n) for n in result.shape)
            here = (self.batch, *self.shapes[part.node]) if part.layout is None else part.layout.shape
            if here != found:
                raise Refusal(f"gives {found} in torch and {here} here; please report this")

    def _rebind(self, changed: Any, value: Any) -> None:
        """After an in-place call every name of the changed tensor means its new value; other views of its memory are stale."""
        before = self.values[changed]
        for node in self.memory.sharing(changed):
            other = self.values.get(node)
            if other is None or isinstance(other, Unknown):
                continue
            same = isinstance(before, Value) and isinstance(other, Value) and other.node == before.node
            same = same and isinstance(value, Value) and self.is_all_of(before, value)
            self.values[node] = replace(other, node=value.node) if same else Stale()
        self.values[changed] = value

    def value(self, argument: Any) -> Value:
        """The value of an argument that must be an activation of the network, its axes in any order."""
        value = self.values.get(argument)
        if isinstance(value, Stale):
            raise Refusal("reads a tensor of which there is another view, changed in place; use the out-of-place operation")
        if isinstance(value, Scores) and not value.soft:
            made: Value = self.rules[PRODUCTS](self, self.call, value)  # type: ignore[arg-type]
            self.values[argument] = made
            return made
        if isinstance(value, Scores | Shared):
            raise _of_shares(value)
        if isinstance(value, PaddedLow):
            raise Refusal("reads a tensor that was padded with -inf: only a max-pool has a rule")
        if isinstance(value, Noise):
            raise Refusal("reads random numbers; a mask of zeros and ones that multiplies has a rule")
        if isinstance(value, Length):
            raise Refusal("reads the length of a signal (a norm of it): only a signal divided by its own length has a rule")
        if not isinstance(value, Value):
            raise Refusal("reads something that is not an activation of the network (a constant or a parameter)")
        return value

    def tensor(self, argument: Any) -> int:
        """A lattice node of an argument that must be an activation, (batch, channels, *positions) as it is read."""
        found = self.value(argument)
        if found.layout is None:
            return found.node
        own = first_sample(found.layout, self.batch, prod(self.shapes[found.node]))
        if own is None:
            raise Refusal(f"reads {found.layout.shape} with positions or channels in its first axis, that of the batch")
        return self.arranged(found.node, own)

    def pointwise(self, call: Any, op: Op, argument: Any, label: str = "", **weights: Any) -> Value:
        """Append an op that keeps the axes in their order."""
        source = self.whole(self.value(argument))
        return self.placed(self.append(call, op, (source.node,), label, **weights), source.layout)

    def _as_returned(self, value: Value) -> Value:
        """A result whose second axis is that of its channels, in a node of just that shape."""
        if value.layout is None or (self.channel_axes(value) != (1,) and value.layout.ndim > 2):
            return value
        own = first_sample(value.layout, self.batch, prod(self.shapes[value.node]))
        return value if own is None else Value(self.arranged(value.node, own))

    def _finish(self) -> tuple[list[Node], dict[str, dict[str, Any]]]:
        """The nodes that the result depends on, paddings fused into the convolutions that read them."""
        if isinstance(self.values[self.result], Fixed):
            raise UnsupportedError("the model's output is not computed from its input")
        try:
            self.call = self.result
            result = self.values[self.result] = self._as_returned(self.whole(self.value(self.result)))
            needed = {result.node}
        except Refusal as refusal:
            raise UnsupportedError(f"the model's output {refusal}") from refusal
        for position in reversed(range(len(self.nodes))):
            if position in needed:
                needed.update(self.nodes[position].inputs)
        if 0 not in needed:
            raise UnsupportedError("the model's output does not depend on its input")
        kept = _fuse_padding([(i, self.nodes[i]) for i in sorted(needed)])
        where = {old: new for new, (old, _) in enumerate(kept)}
        lone = [node.name for _, node in kept if node.op == Activation("erf")]
        if lone:
            raise UnsupportedError(f"1 operation of this model has no rule here:\n  {listed(lone)}: aten.erf: not yet: no rule")
        nodes = [Node(node.name, node.op, tuple(where[i] for i in node.inputs)) for _, node in kept]
        return nodes, {node.name: self.weights[node.name] for node in nodes if node.name in self.weights}


def _of_shares(value: Scores | Shared) -> Refusal:
    """Why shares are no signal, said of the softmax that made them."""
    scores = value if isinstance(value, Scores) else value.scores
    return Refusal(
        "never: reads shares of a softmax, so that it depends on the data; only their sums with values have a rule",
        scores.call,
    )


def _fuse_padding(nodes: list[tuple[int, Node]]) -> list[tuple[int, Node]]:
    """A padding layer that only one unpadded convolution reads becomes that convolution's own padding."""
    by_position = dict(nodes)
    readers = Counter(i for _, node in nodes for i in node.inputs)
    fused = dict(by_position)
    for position, node in nodes:
        below = fused.get(node.inputs[0]) if node.inputs else None
        if not isinstance(node.op, Conv) or isinstance(node.op.padding, str) or np.any(node.op.padding) or below is None:
            continue
        if isinstance(below.op, Pad) and readers[node.inputs[0]] == 1:
            op = replace(node.op, padding=below.op.padding, mode=below.op.mode)
            fused[position] = Node(node.name, op, below.inputs)
            del fused[node.inputs[0]]
    return sorted(fused.items())
