"""What an exported graph computes from parameters, buffers and constants alone: known before any input is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape.tracing.graph.aliasing import Memory, changed_argument

__all__ = ["RANDOM", "Constants", "operation"]

SHAPE_ONLY = {"ones_like", "zeros_like", "full_like", "empty_like", "new_ones", "new_zeros", "new_full", "new_empty"}
RANDOM = {
    "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout", "rrelu", "bernoulli", "normal",
    "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "multinomial", "poisson", "uniform",
    "exponential", "random", "geometric", "cauchy", "log_normal",
}  # fmt: skip


def operation(call: Any) -> str:
    """aten.relu_.default -> relu"""
    name: str = str(call.target).split(".")[1] if str(call.target).startswith("aten.") else str(call.target)
    return name.rstrip("_")


def _drops_nothing(call: Any) -> bool:
    """Is it a dropout in evaluation mode?"""
    return "dropout" in operation(call) and len(call.args) == 3 and not (call.args[2] and call.args[1])


class Constants:
    """The nodes of a graph that do not depend on its input, and their values.

    `names`: for each placeholder that is not the input, the parameter, buffer or constant that it stands for. `needed`: the
    nodes that matter. `dtype`: the type of the input that the graph was exported with, which it names where it makes tensors.
    """

    def __init__(self, graph: Any, memory: Memory, names: Mapping[str, str], needed: set[Any]) -> None:
        self.graph = graph
        self.memory = memory
        self.names = names
        self.dtype = next(n.meta["val"].dtype for n in graph.nodes if n.op == "placeholder" and n.name not in names)
        self.fixed: set[Any] = set()
        depending: set[int] = set()  # storages with something in them that depends on the input or on chance
        for node in graph.nodes:
            if self._is_fixed(node, depending):
                self.fixed.add(node)
                continue
            changed = changed_argument(node)
            depending |= memory.of(node) | (memory.of(changed) if changed is not None else frozenset())
        self.needed = needed & self.fixed

    def _is_fixed(self, node: Any, depending: set[int]) -> bool:
        if node.op != "call_function":
            return node.op == "placeholder" and node.name in self.names
        if operation(node) in RANDOM and not _drops_nothing(node):
            return False
        reads = node.all_input_nodes
        return operation(node) in SHAPE_ONLY or all(i in self.fixed and not self.memory.of(i) & depending for i in reads)

    def values(self, tensors: Mapping[str, Any], dtype: Any) -> dict[tuple[Any, Any], Any]:
        """By (call that depends on the input, its argument): the value that the argument has when the call reads it.

        `tensors` are the parameters and buffers by name. Tensors that the model makes in its own type are made in `dtype`.
        """
        import torch

        values: dict[Any, Any] = {}
        seen: dict[tuple[Any, Any], Any] = {}

        def snapshot(node: Any, value: Any) -> Any:
            return value.clone() if self.memory.of(node) & self.memory.changed else value

        def read(node: Any) -> Any:
            if node in values:
                return values[node]
            value = node.meta["val"]  # of something that depends on the input only the shape is read
            return torch.empty(value.shape, dtype=dtype, device=value.device)

        def typed(value: Any) -> Any:
            return dtype if isinstance(value, torch.dtype) and value == self.dtype else value

        with torch.no_grad():
            for node in self.graph.nodes:
                if node.op == "placeholder" and node in self.needed:
                    values[node] = snapshot(node, tensors[self.names[node.name]].detach())
                elif node in self.needed:
                    arguments = torch.fx.node.map_arg((node.args, node.kwargs), read)
                    values[node] = node.target(*map(typed, arguments[0]), **{k: typed(a) for k, a in arguments[1].items()})
                else:
                    known = [i for i in node.all_input_nodes if isinstance(values.get(i), torch.Tensor)]
                    seen.update({(node, i): snapshot(i, values[i]) for i in known})
        return seen
