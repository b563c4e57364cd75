"""The lattice nodes that are appended while a graph is read, and which of their units stand where in which tensor."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from landscape.tracing.graph.calls import Refusal, place_of
from landscape.tracing.graph.layouts import Rows, first_sample, inverse, plain, rows_of, steps
from landscape.tracing.graph.values import Value, same_layout
from lattice import Activation, Add, Concat, Dropout, Multiply, Node, Norm, Op
from lattice.network.shapes import output_shape

__all__ = ["Nodes"]

Array = np.ndarray[Any, Any]


class Nodes:
    """Lattice nodes in order. `weights` says of each node with numbers of its own where they are.

    `call` is the call that is read; `parents` names, of a weight that is made of a parameter, that parameter.
    """

    call: Any

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.shapes: list[tuple[int, ...]] = []
        self.signals: list[int] = []  # the node that each node is a pointwise function of
        self.weights: dict[str, dict[str, Any]] = {}
        self.parents: dict[str, str] = {}
        self.calls: dict[str, Any] = {}  # node name: the call that it stands for
        self.layouts: dict[str, Array | None] = {}  # node name: how the numbers of what it gives stand
        self.read_layouts: dict[str, Array] = {}  # of a pool over whole axes: how the numbers of what it reads stand
        self.moved: dict[tuple[int, Op], int] = {}  # rearrangements of a node that were appended
        self.used: Counter[str] = Counter()
        self.batch = 1

    def append(self, call: Any, op: Op, inputs: tuple[int, ...], label: str = "", **weights: Any) -> Value:
        """Append a lattice node; `label` tells it from others of the same call."""
        shape = output_shape(op, *(self.shapes[i] for i in inputs))
        name = ".".join(part for part in (place_of(call), label) if part)
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

    def layout(self, value: Value) -> Array:
        """Which unit of its node stands where in a value's tensor."""
        return plain(self.batch, self.shapes[value.node]) if value.layout is None else value.layout

    def arranged(self, node: int, wanted: Array) -> int:
        """The lattice node whose (channels, *positions) are these units of a node."""
        node, wanted = self._through_concatenations(node, wanted)
        for op in steps(wanted, self.shapes[node]):
            key = (node, op)
            if key not in self.moved:
                self.moved[key] = self.append(self.call, op, (node,), "rearranged").node
            node = self.moved[key]
        return node

    def _through_concatenations(self, node: int, wanted: Array) -> tuple[int, Array]:
        """The input of a concatenation that has all units that are wanted, and which of its own they are."""
        while isinstance(self.nodes[node].op, Concat):
            start, read = 0, wanted[wanted >= 0]
            for part in self.nodes[node].inputs:
                units = prod(self.shapes[part])
                if read.size and read.min() >= start and read.max() < start + units:
                    node, wanted = part, np.where(wanted >= 0, wanted - start, -1)
                    break
                start += units
            else:
                break
        return node, wanted

    def rows(self, value: Value, axes: tuple[int, ...]) -> tuple[int, Rows]:
        """A value with its channels on these axes: the node whose channels they are, and the rows that its positions are."""
        layout = self.layout(value)
        rows = rows_of(layout, axes, self.batch, self.shapes[value.node])
        if rows is None:
            raise Refusal(f"reads {layout.shape} with samples of the batch that are not treated alike")
        return self.arranged(value.node, rows.wanted), rows

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

    def is_all_of(self, before: Value, after: Value) -> bool:
        """Do two values stand for all units of nodes of one shape, in the same places?"""
        shape = self.shapes[before.node]
        whole = before.layout is None or inverse(before.layout, self.batch * prod(shape)) is not None
        return whole and self.shapes[after.node] == shape and same_layout(before.layout, after.layout)

    def placed(self, value: Value, layout: Array | None) -> Value:
        """A value of this layout, which is also what the proof and the counts find it by."""
        self.layouts[self.nodes[value.node].name] = layout
        return replace(value, layout=layout)


def _is_pointwise(op: Op) -> bool:
    """Does an op take each number by itself, with those of its other inputs at the same place?"""
    return isinstance(op, Activation | Dropout | Add | Multiply) or (isinstance(op, Norm) and op.kind in ("scale", "batch"))
