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
from landscape.tracing.graph.constants import Constants, operation
from landscape.tracing.graph.layouts import Rows, first_sample, inverse, plain, rows_of, steps
from landscape.tracing.graph.refusals import told_once
from landscape.tracing.graph.values import Fixed, Noise, Stale, Unknown, Value, same_layout
from lattice import Activation, Add, Conv, Dropout, Input, Multiply, Node, Norm, Op, Pad, SpecificationError, UnsupportedError
from lattice.errors import listed
from lattice.network.shapes import output_shape

if TYPE_CHECKING:
    import torch

__all__ = [
    "COPIES",
    "Fixed",
    "Noise",
    "Reader",
    "Refusal",
    "Rule",
    "Stale",
    "Value",
    "operation",
    "shape_of",
]


class Refusal(Exception):  # noqa: N818
    """Raised by a rule that cannot take an operation; its text is the reason."""


Rule: TypeAlias = Callable[["Reader", Any, dict[str, Any]], Any]
Array = np.ndarray[Any, Any]
RESHAPES = ("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze")
COPIES = ("type_as", "contiguous", "clone", "alias", "to", "_to_copy", "lift_fresh_copy", "detach", "positive")
COMPUTED = "computes a {} from other tensors (weight norm, masks, a parametrisation); remove that, or fold it into the {}"


class Reader:
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
        self.graph = program.graph_module.graph
        self.result = result
        self.train = train
        self.rules = rules
        self.reasons = reasons
        self.names = names
        self.tensors = {**named_tensors(model), **program.constants}
        self.fixed = {*program.constants, *(name for name, _ in model.named_buffers(remove_duplicate=False))}
        self.memory = Memory(self.graph)
        self.needed = self.memory.needed(result)
        self.constants = Constants(self.graph, self.memory, names, self.needed)
        self.made: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {}  # tensor: call, argument, what is made of it
        self.silenced: frozenset[Any] = frozenset()  # refused calls all of whose results are multiplied by zeros
        self.left_out: list[str] = []  # where
        self.parents: dict[str, str] = {}  # weight that is made of a parameter: that parameter
        self.masks: dict[str, tuple[Any, Callable[[Any], Any]]] = {}
        self.rounded = False  # does the graph have something that double precision changes?
        self.nodes: list[Node] = []
        self.shapes: list[tuple[int, ...]] = []
        self.signals: list[int] = []  # the node that each node is a pointwise function of
        self.values: dict[Any, Any] = {}
        self.weights: dict[str, dict[str, Any]] = {}
        self.calls: dict[str, Any] = {}  # node name: the call that it stands for
        self.layouts: dict[str, Array | None] = {}  # node name: how the numbers of what it gives stand
        self.factors: dict[str, list[tuple[int, Array | None]]] = {}  # product: for each input the argument, and what it reads
        self.moved: dict[tuple[int, Op], int] = {}  # rearrangements of a node that were appended
        self.used: Counter[str] = Counter()
        self.batch = 1
        self._known: dict[tuple[Any, Any], Any] | None = None

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
                    refused.append((call, f"{call.target}: {refusal}", _place(call) or call.name))
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
                return
            value = self.rules[name](self, call, _arguments(call))
            self._check_shapes(call, value)
            changed = changed_argument(call)
            if changed is not None and value is not self.values[changed]:
                self._rebind(changed, value)
            self.values[call] = value
        except (Refusal, SpecificationError) as refusal:
            self.values[call] = Unknown(frozenset([call]))  # what depends on it is not a refusal of its own
            raise Refusal(str(refusal)) from refusal

    def _times_zero(self, call: Any, name: str) -> Value | None:
        """What is not known times a parameter of zeros, as a signal below it times that: nothing passes at initialisation."""
        factors = call.args[:2] if name == "mul" else call.args[1:3] if name == "addcmul" else ()
        zeros = [one for one in factors if self.is_fixed(one) and self._is_zero(call, one)]
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
            same = same and isinstance(value, Value) and self._is_all_of(before, value)
            self.values[node] = replace(other, node=value.node) if same else Stale()
        self.values[changed] = value

    def _is_all_of(self, before: Value, after: Value) -> bool:
        """Do two values stand for all units of nodes of one shape, in the same places?"""
        shape = self.shapes[before.node]
        whole = before.layout is None or inverse(before.layout, self.batch * prod(shape)) is not None
        return whole and self.shapes[after.node] == shape and same_layout(before.layout, after.layout)

    def append(self, call: Any, op: Op, inputs: tuple[int, ...], label: str = "", **weights: Any) -> Value:
        """Append a lattice node; `label` tells it from others of the same call."""
        shape = output_shape(op, *(self.shapes[i] for i in inputs))
        name = ".".join(part for part in (_place(call), label) if part)
        self.used[name] += 1
        if self.used[name] > 1:
            name = f"{name}_{self.used[name]}"
        self.nodes.append(Node(name, op, inputs))
        self.shapes.append(shape)
        below = {self.signals[i] for i in inputs}
        self.signals.append(below.pop() if _is_pointwise(op) and len(below) == 1 else len(self.signals))
        self.calls[name] = call
        if weights:
            parent = self.parents.get(str(weights.get("weight")))
            self.weights[name] = weights if parent is None else weights | {"parent": parent}
        return Value(len(self.nodes) - 1)

    def value(self, argument: Any) -> Value:
        """The value of an argument that must be an activation of the network, its axes in any order."""
        value = self.values.get(argument)
        if isinstance(value, Stale):
            raise Refusal("reads a tensor of which there is another view, changed in place; use the out-of-place operation")
        if isinstance(value, Noise):
            raise Refusal("reads random numbers; a mask of zeros and ones that multiplies has a rule")
        if not isinstance(value, Value):
            raise Refusal("reads something that is not an activation of the network (a constant or a parameter)")
        return value

    def layout(self, value: Value) -> Array:
        """Which unit of its node stands where in a value's tensor."""
        return plain(self.batch, self.shapes[value.node]) if value.layout is None else value.layout

    def tensor(self, argument: Any) -> int:
        """A lattice node of an argument that must be an activation, (batch, channels, *positions) as it is read."""
        found = self.value(argument)
        if found.layout is None:
            return found.node
        own = first_sample(found.layout, self.batch, prod(self.shapes[found.node]))
        if own is None:
            raise Refusal(f"reads {found.layout.shape} with positions or channels in its first axis, that of the batch")
        return self.arranged(found.node, own)

    def arranged(self, node: int, wanted: Array) -> int:
        """The lattice node whose (channels, *positions) are these units of a node."""
        for op in steps(wanted, self.shapes[node]):
            key = (node, op)
            if key not in self.moved:
                self.moved[key] = self.append(self.call, op, (node,), "rearranged").node
            node = self.moved[key]
        return node

    def rows(self, value: Value, axes: tuple[int, ...]) -> tuple[int, Rows]:
        """A value with its channels on these axes: the node whose channels they are, and the rows that its positions are."""
        layout = self.layout(value)
        rows = rows_of(layout, axes, self.batch, self.shapes[value.node])
        if rows is None:
            raise Refusal(f"reads {layout.shape} with samples of the batch that are not treated alike")
        return self.arranged(value.node, rows.wanted), rows

    def names_of(self, argument: Any) -> str | None:
        """The parameter or buffer that a fixed argument is, in any shape; None where it is made of several, or of none."""
        found = self.values.get(argument)
        return found.name if isinstance(found, Fixed) else None

    def whole(self, found: Value) -> Value:
        """A value in a node all of whose units it has, each once."""
        if found.layout is None or inverse(found.layout, self.batch * prod(self.shapes[found.node])) is not None:
            return found
        axes = self.channel_axes(found)
        node, rows = self.rows(found, axes)
        shape = found.layout.shape
        return Value(node, rows.layout(axes, tuple(shape[axis] for axis in axes), self.shapes[node][1:]))

    def channel_axes(self, value: Value) -> tuple[int, ...]:
        """The axes of a tensor along which the channel of its node changes."""
        if value.layout is None:
            return (1,)
        channels = value.layout // max(prod(self.shapes[value.node][1:]), 1)
        channels = np.where(value.layout >= 0, channels % self.shapes[value.node][0], -1)
        largest = [channels.max(axis=axis, keepdims=True) for axis in range(channels.ndim)]
        return tuple(a for a, most in enumerate(largest) if ((channels != most) & (channels >= 0)).any())

    def like(self, value: Value, other: Value, shape: tuple[int, ...]) -> Array:
        """For each unit of the node of `value`, all of whose units it has, the one of `other` in its place of the tensor.

        (channels, *positions); both are broadcast to `shape`, which `value` has.
        """
        places = inverse(self.layout(value), self.batch * prod(self.shapes[value.node]))
        assert places is not None
        own = np.broadcast_to(self.layout(other), shape).ravel()[places].reshape(self.batch, *self.shapes[value.node])
        found = first_sample(own, self.batch, prod(self.shapes[other.node]))
        if found is None:
            raise Refusal("meets a tensor of which other samples of the batch stand in its place")
        return found

    def is_fixed(self, argument: Any) -> bool:
        """Is the argument made of parameters and constants alone?"""
        return isinstance(self.values.get(argument), Fixed)

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

    def placed(self, value: Value, layout: Array | None) -> Value:
        """A value of this layout, which is also what the proof and the counts find it by."""
        self.layouts[self.nodes[value.node].name] = layout
        return replace(value, layout=layout)

    def parameter(self, value: Any, what: str) -> str | None:
        """The name of an argument that must be a parameter or buffer itself, or None where there is none."""
        if value is None:
            return None
        parameter = self.values.get(value)
        if isinstance(parameter, Fixed) and parameter.name is not None:
            return parameter.name
        if isinstance(parameter, Fixed):
            raise Refusal(f"replace: {COMPUTED.format(what, what)}")
        raise Refusal(f"never: its {what} depends on the input")

    def bias(self, call: Any, argument: Any) -> str | None:
        """The name of a layer's bias: a parameter, or numbers that are made of parameters and constants; None without one."""
        if isinstance(self.values.get(argument), Fixed) and self.names_of(argument) is None:
            return self.keep(call, argument, lambda value: value)
        return self.parameter(argument, "bias")

    def weight(self, call: Any, argument: Any) -> str:
        """The name of a layer's weight: a parameter, or numbers that are made of one parameter alone (a parametrisation)."""
        if not isinstance(self.values.get(argument), Fixed) or self.names_of(argument) is not None:
            return str(self.parameter(argument, "weight"))
        parents, waiting, seen = set(), [argument], set()
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += node.all_input_nodes
                if node.op == "placeholder" and node.name in self.names:
                    parents.add(self.names[node.name])
        own = [name for name in parents if name not in self.fixed]
        drawn = [name for name in own if tuple(self.tensors[name].shape) == shape_of(argument)]
        if len(drawn) != 1:
            raise Refusal(f"replace: {COMPUTED.format('weight', 'weight')}")
        own = self.known(call, argument)
        negated = self.constants.values(self.tensors | {drawn[0]: -self.tensors[drawn[0]]}, self.constants.dtype)
        if not bool((negated[call, argument] + own).abs().max() <= own.abs().max() * torch_eps(own) ** 0.5):
            raise Refusal("makes a weight of a parameter whose sign it does not keep, so that its mean is not zero")
        name = self.keep(call, argument, lambda value: value)
        self.parents[name] = drawn[0]
        return name

    def _is_zero(self, call: Any, argument: Any) -> bool:
        try:
            return not bool(self.known(call, argument).any())
        except Refusal:  # no numbers on the meta device: nothing is known to vanish
            return False

    def known(self, call: Any, argument: Any) -> Any:
        """The numbers of an argument that is made of parameters and constants, as this call finds them."""
        if self._known is None:
            self._known = self.constants.values(self.tensors, self.constants.dtype)
        constant = self._known.get((call, argument))
        if constant is None or constant.is_meta:
            raise Refusal("reads numbers that are not known on the meta device")
        return constant

    def keep(self, call: Any, argument: Any, made: Callable[[Any], Any]) -> str:
        """A tensor made of the numbers of an argument, under a name of its own."""
        name = f"{_place(call) or call.name}: {argument.name}"
        self.made[name] = (call, argument, made)
        self.tensors[name] = made(self.known(call, argument))
        self.rounded = True
        return name

    def with_computed(self, tensors: Mapping[str, Any], dtype: Any = None) -> dict[str, Any]:
        """Another draw of the model's tensors, by name, with the constants of the graph and what is made of them."""
        all_of_them = {**self.tensors, **tensors}
        if not self.made:
            return all_of_them
        values = self.constants.values(all_of_them, dtype or self.constants.dtype)
        made = {name: make(values[call, argument]) for name, (call, argument, make) in self.made.items()}
        return all_of_them | (made if dtype is None else {name: tensor.to(dtype) for name, tensor in made.items()})

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


def _is_pointwise(op: Op) -> bool:
    """Does an op take each number by itself, with those of its other inputs at the same place?"""
    return isinstance(op, Activation | Dropout | Add | Multiply) or (isinstance(op, Norm) and op.kind in ("scale", "batch"))


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


def torch_eps(tensor: Any) -> float:
    """The resolution of a tensor's type."""
    import torch

    return float(torch.finfo(tensor.dtype).eps)


def named_tensors(module: torch.nn.Module) -> dict[str, Any]:
    """Parameters and buffers by every name that they have."""
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}


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
