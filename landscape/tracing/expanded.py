"""Calls of an exported graph that stand for several plain ones, written out before the graph is read.

A region in which autocast is disabled is a graph of its own; its calls are those of the graph around it. A padding with a
number is a concatenation with constants.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from landscape.tracing.graph.calls import arguments_of
from landscape.tracing.graph.constants import operation

__all__ = ["expand"]

PADS = ("pad", "constant_pad_nd")


def expand(module: Any) -> None:
    """Write out such calls in the graph of an exported module, in place."""
    for call in list(module.graph.nodes):
        if call.op != "call_function":
            continue
        if str(call.target) == "wrap_with_autocast" and call.args[2] is False:
            _region(module, call)
        elif operation(call) in PADS:
            _padding(module.graph, call)


def _region(module: Any, call: Any) -> None:
    """The calls of a region without autocast, in place of the one call that stands for it."""
    inside, given = call.args[4], call.args[5:]
    if any(str(user.target) != "<built-in function getitem>" for user in call.users):
        return
    region = module.get_submodule(inside.target)
    expand(region)
    if any(node.op in ("get_attr", "call_module") for node in region.graph.nodes):
        return  # it holds a region that is not written out
    graph, nodes = module.graph, dict(zip((n for n in region.graph.nodes if n.op == "placeholder"), given, strict=True))
    with graph.inserting_before(call):
        for node in region.graph.nodes:
            if node.op == "call_function":
                nodes[node] = graph.node_copy(node, lambda n: nodes[n])
    results = [nodes[node] for node in region.graph.output_node().args[0]]
    for user in list(call.users):
        user.replace_all_uses_with(results[user.args[1]])
        graph.erase_node(user)
    graph.erase_node(call)
    if not inside.users:
        graph.erase_node(inside)


def _padding(graph: Any, call: Any) -> None:
    """A padding with a number other than zero, axis by axis, as tensors of that number on both sides."""
    import torch

    a = arguments_of(call)
    number, flat = a.get("value"), list(a["pad"])
    if a.get("mode", "constant") != "constant" or not number or not isfinite(number) or min(flat) < 0:
        return
    found, last = call.args[0], call.args[0].meta["val"].dim() - 1
    aten = torch.ops.aten
    with graph.inserting_before(call):
        for place in range(0, len(flat), 2):
            axis, sides = last - place // 2, flat[place : place + 2]
            ends = [_full(graph, call, found, axis, width, number) if width else None for width in sides]
            parts = [part for part in (ends[0], found, ends[1]) if part is not None]
            if len(parts) > 1:
                value = torch.cat([part.meta["val"] for part in parts], axis)
                found = graph.call_function(aten.cat.default, (parts, axis))
                found.meta = dict(call.meta) | {"val": value}
    call.replace_all_uses_with(found)
    graph.erase_node(call)


def _full(graph: Any, call: Any, source: Any, axis: int, width: int, number: float) -> Any:
    """A constant tensor of the shape of another one, but for the width of one axis."""
    import torch

    value = source.meta["val"]
    shape = [width if d == axis else int(n) for d, n in enumerate(value.shape)]
    node = graph.call_function(torch.ops.aten.new_full.default, (source, shape, number))
    node.meta = dict(call.meta) | {"val": value.new_full(shape, number)}
    return node
