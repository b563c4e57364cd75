"""Which calls of an exported graph change which tensors, and which calls the output therefore depends on.

The graph is not functional: `y[:, :2] = 0` is a view of y and a call that fills the view, and nothing reads either. What
shares memory is known from the fake tensors of the export: views have the storage of their base, copies have their own.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

__all__ = ["Memory", "changed_argument"]


class Memory:
    """The storages behind the nodes of a graph, and those that some call `changed`."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._storages = {node: _storages(node) for node in graph.nodes}
        self._nodes: dict[int, list[Any]] = defaultdict(list)
        for node, storages in self._storages.items():
            for storage in storages:
                self._nodes[storage].append(node)
        changes = (changed_argument(node) for node in graph.nodes)
        self.changed = frozenset().union(*(self.of(node) for node in changes if node is not None))

    def of(self, node: Any) -> frozenset[int]:
        """The storages of the tensors that a node stands for, one or several."""
        return self._storages[node]

    def sharing(self, node: Any) -> list[Any]:
        """All nodes that share memory with this one, itself included."""
        return [other for storage in self.of(node) for other in self._nodes[storage]]

    def needed(self, result: Any) -> set[Any]:
        """The nodes that a result depends on: a call is needed if a later needed one reads its value, or memory it changes."""
        needed, live = {result}, set(self.of(result))
        for node in reversed(self.graph.nodes):
            changed = changed_argument(node)
            if node in needed or (changed is not None and self.of(changed) & live):
                needed.add(node)
                for read in node.all_input_nodes:
                    needed.add(read)
                    live |= self.of(read)
        return needed


def changed_argument(call: Any) -> Any:
    """The argument that an in-place call changes, or None."""
    schema = getattr(call.target, "_schema", None)
    if schema is None:
        return None
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return call.args[position] if position < len(call.args) else call.kwargs.get(argument.name)
    return None


def _storages(node: Any) -> frozenset[int]:
    value = node.meta.get("val")
    tensors = value if isinstance(value, list | tuple) else (value,)
    return frozenset(tensor.untyped_storage()._cdata for tensor in tensors if hasattr(tensor, "untyped_storage"))
