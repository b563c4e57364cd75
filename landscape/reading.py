"""Reading an ATen graph node by node into lattice nodes, collecting everything that has no rule.

A rule takes the `Reader`, the graph's call and its arguments by name, appends lattice nodes, and returns the value of
the call; it raises `Refusal` with the reason where it cannot. The rules themselves are in `landscape.aten`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from landscape.assumptions import listed
from lattice import Conv, Input, Node, Op, Pad, SpecificationError, UnsupportedError
from lattice.shapes import output_shape

if TYPE_CHECKING:
    import torch

__all__ = ["Reader", "Refusal", "Rule", "Value", "operation", "shape_of"]


@dataclass(slots=True)
class Value:
    """What a graph node stands for: the lattice node that holds it. Views of one tensor share their `storage`.

    `order` says which axis (0 batch, 1 channels, 2 ... positions) stands at each dimension of the tensor, where they were
    permuted. `groups` is set between the reshapings of a channel shuffle: the channels are split into (groups, channels /
    groups), or the other way round where they are `swapped`.
    """

    node: int
    storage: object = field(default_factory=object)
    order: tuple[int, ...] | None = None
    groups: int = 0
    swapped: bool = False


class Refusal(Exception):  # noqa: N818
    """Raised by a rule that cannot take an operation; its text is the reason."""


Rule: TypeAlias = Callable[["Reader", Any, dict[str, Any]], Any]


class Reader:
    """Reads the graph node by node into lattice nodes, collecting refusals."""

    def __init__(
        self,
        model: torch.nn.Module,
        graph: Any,
        names: dict[str, str],
        rules: Mapping[str, Rule],
        reasons: Mapping[str, str],
        result: Any,
    ) -> None:
        self.graph = graph
        self.result = result
        self.rules = rules
        self.reasons = reasons
        self.names = names
        self.tensors = named_tensors(model)
        self.fixed = {name for name, _ in model.named_buffers(remove_duplicate=False)}
        self.nodes: list[Node] = []
        self.shapes: list[tuple[int, ...]] = []
        self.values: dict[Any, Any] = {}
        self.weights: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, Any] = {}  # node name: the call that it stands for
        self.orders: dict[str, tuple[int, ...] | None] = {}  # node name: how the axes of what it reads stand
        self.used: Counter[str] = Counter()

    def read(self, shape: tuple[int, ...]) -> tuple[list[Node], dict[str, dict[str, Any]]]:
        refusals: dict[str, list[str]] = {}  # operation and reason: where
        output = self._needed_by_output()
        for call in self.graph.nodes:
            if call.op == "placeholder" and call.name not in self.names:
                self.nodes.append(Node("input", Input(shape)))
                self.shapes.append(shape)
                self.values[call] = Value(len(self.nodes) - 1)
            elif call.op == "get_attr" and call in output:
                refusals.setdefault("a constant inside the graph (not yet)", []).append(call.name)
            elif call.op == "call_function" and call in output:
                try:
                    self._read_call(call)
                except Refusal as refusal:
                    refusals.setdefault(f"{call.target}: {refusal}", []).append(_place(call) or call.name)
        if refusals:
            count = sum(map(len, refusals.values()))
            lines = "\n".join(f"  {listed(places)}: {reason}" for reason, places in refusals.items())
            raise UnsupportedError(f"{count} operations of this model have no rule here:\n{lines}")
        return self._finish()

    def _needed_by_output(self) -> set[Any]:
        """The calls that the output depends on. An in-place call changes what later readers of its argument see, and views."""
        needed: set[Any] = {self.result}
        before = 0
        while len(needed) > before:  # a view that was taken earlier makes a later call needed
            before = len(needed)
            for call in reversed(self.graph.nodes):
                changed = _changed_argument(call)
                if call in needed or (changed is not None and changed in needed):
                    needed.update((call, *call.all_input_nodes))
        return needed

    def _read_call(self, call: Any) -> None:
        arguments = _arguments(call)
        name = operation(call)
        try:
            if name not in self.rules:
                raise Refusal(self.reasons.get(name, "not yet: no rule for it"))
            if any(isinstance(self.values.get(node), Unknown) for node in call.all_input_nodes):
                self.values[call] = Unknown()
                return
            value = self.rules[name](self, call, arguments)
            self._check_shapes(call, value)
        except Refusal:
            self.values[call] = Unknown()  # what depends on it is not a refusal of its own
            raise
        self.values[call] = value
        changed = _changed_argument(call)
        if changed is not None and name != "dropout":  # in evaluation mode it changes nothing
            self._rebind(changed, value)

    def _check_shapes(self, call: Any, value: Any) -> None:
        """The shape of a lattice node must be the one that torch computed, behind a batch of one."""
        results = call.meta["val"]
        pairs = zip(value, results, strict=False) if isinstance(value, list) else [(value, results)]
        for part, result in pairs:
            if isinstance(part, Reshaped) or part.groups:
                continue  # a parameter, or half of a channel shuffle
            found = [int(n) for n in result.shape]
            batch, *expected = found if part.order is None else [found[part.order.index(i)] for i in range(len(found))]
            if batch != 1 or self.shapes[part.node] != tuple(expected):
                shape = self.shapes[part.node]
                raise Refusal(f"gives {(batch, *expected)} in torch and {(1, *shape)} here; please report this")

    def _rebind(self, changed: Any, value: Value) -> None:
        """After an in-place call every name of the changed tensor means its new value."""
        before = self.values[changed]
        for node, other in list(self.values.items()):
            if isinstance(other, Value) and other.storage is before.storage and node is not changed:
                if other.node != before.node:
                    raise Refusal("in place, on a tensor of which there is another view; use the out-of-place operation")
                self.values[node] = value
        self.values[changed] = value

    def append(self, call: Any, op: Op, inputs: tuple[int, ...], **weights: Any) -> Value:
        """Append a lattice node."""
        name = _place(call)
        self.used[name] += 1
        if self.used[name] > 1:
            name = f"{name}_{self.used[name]}"
        self.nodes.append(Node(name, op, inputs))
        self.calls[name] = call
        try:
            self.shapes.append(output_shape(op, *(self.shapes[i] for i in inputs)))
        except SpecificationError as error:
            raise Refusal(str(error)) from error
        if weights:
            self.weights[name] = weights
        return Value(len(self.nodes) - 1)

    def value(self, argument: Any) -> Value:
        """The value of an argument that must be an activation of the network, its axes in any order."""
        found = self.values.get(argument)
        if not isinstance(found, Value):
            raise Refusal("reads something that is not an activation of the network (a constant or a parameter)")
        if found.groups:
            raise Refusal("reads channels that were split in two axes; only a channel shuffle has a rule")
        return found

    def tensor(self, argument: Any) -> int:
        """The lattice node of an argument that must be an activation, (batch, channels, *positions)."""
        found = self.value(argument)
        if found.order is not None:
            raise Refusal("reads a tensor whose axes were permuted; only pointwise operations, norms and linear layers do")
        return found.node

    def is_activation(self, argument: Any) -> bool:
        """Does the argument come from the input, and not from the parameters alone?"""
        return isinstance(self.values.get(argument), Value | Unknown)

    def pointwise(self, call: Any, op: Op, argument: Any, **weights: Any) -> Value:
        """Append an op that keeps the axes in their order."""
        source = self.value(argument)
        value = replace(self.append(call, op, (source.node,), **weights), order=source.order)
        self.orders[self.nodes[value.node].name] = source.order
        return value

    def parameter(self, value: Any, what: str) -> str | None:
        """The name of an argument that must be a parameter or buffer itself, or None where there is none."""
        if value is None:
            return None
        found = self.values.get(value)
        if isinstance(found, Reshaped):
            return found.name
        if getattr(value, "op", None) != "placeholder" or value.name not in self.names:
            raise Refusal(f"its {what} is computed from other tensors (weight norm, parametrisation); remove that first")
        return self.names[value.name]

    def _finish(self) -> tuple[list[Node], dict[str, dict[str, Any]]]:
        """The nodes that the result depends on, paddings fused into the convolutions that read them."""
        result = self.values[self.result]
        if not isinstance(result, Value):
            raise UnsupportedError("the model's output is not computed from its input")
        needed = {result.node}
        for position in reversed(range(len(self.nodes))):
            if position in needed:
                needed.update(self.nodes[position].inputs)
        if 0 not in needed:
            raise UnsupportedError("the model's output does not depend on its input")
        kept = _fuse_padding([(i, self.nodes[i]) for i in sorted(needed)])
        where = {old: new for new, (old, _) in enumerate(kept)}
        nodes = [Node(node.name, node.op, tuple(where[i] for i in node.inputs)) for _, node in kept]
        return nodes, {node.name: self.weights[node.name] for node in nodes if node.name in self.weights}


class Unknown:
    """The value of a call that was refused, and of everything above it."""


@dataclass(frozen=True)
class Reshaped:
    """A parameter in another shape, by its name."""

    name: str


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


def named_tensors(module: torch.nn.Module) -> dict[str, Any]:
    """Parameters and buffers by every name that they have."""
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}


def operation(call: Any) -> str:
    """aten.relu_.default -> relu"""
    name: str = str(call.target).split(".")[1] if str(call.target).startswith("aten.") else str(call.target)
    return name.rstrip("_")


def _changed_argument(call: Any) -> Any:
    """The argument that an in-place call changes, or None."""
    schema = getattr(call.target, "_schema", None)
    if schema is None:
        return None
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return call.args[position] if position < len(call.args) else call.kwargs.get(argument.name)
    return None


def _arguments(call: Any) -> dict[str, Any]:
    """The arguments of a call by the names of its schema, defaults filled in."""
    schema = getattr(call.target, "_schema", None)
    if schema is None:
        return dict(call.kwargs)
    arguments: dict[str, Any] = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    arguments.update({a.name: value for a, value in zip(schema.arguments, call.args, strict=False)})
    return {**arguments, **call.kwargs}


def _place(call: Any) -> str:
    """Where in the model a call stands: the module's path, and the operation where the module has several."""
    stack = list((call.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    leaf = str(kind).startswith("torch.nn.modules") and "container" not in str(kind)
    return path if leaf and path else ".".join(part for part in (path, operation(call)) if part)


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape that torch computed for a graph node, batch included."""
    return tuple(int(n) for n in node.meta["val"].shape)
