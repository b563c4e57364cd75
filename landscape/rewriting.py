"""Networks with one thing changed: the mode of padding, kernels, strides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lattice import Conv, Lattice, Node, Pad, Pool, even_sizes
from lattice.network.ops import Op

__all__ = ["rewritten", "sizes_nearby", "with_average_pools", "with_dividing_kernels", "with_padding_mode"]

Array = np.ndarray[Any, Any]
SIZES = 3  # even sizes that are tried, the nearest first


def rewritten(net: Lattice, change: Callable[[Op, tuple[int, ...]], Op]) -> Lattice:
    """The net with each op replaced by what `change(op, shape that it reads)` returns."""
    shapes = [net.input_shapes(node)[0] if node.inputs else () for node in net.nodes]
    pairs = zip(net.nodes, shapes, strict=True)
    return Lattice(tuple(Node(node.name, change(node.op, shape), node.inputs) for node, shape in pairs))


def sizes_nearby(net: Lattice) -> tuple[int, ...]:
    """Sizes with even padding near that of the net, where its input is square and not even already."""
    sizes = set(net.input_shape[1:])
    if len(sizes) != 1:
        return ()
    (size,) = sizes
    return tuple(s for s in even_sizes(net, around=size, within=max(4, size // 6)) if s != size)[:SIZES]


def with_padding_mode(net: Lattice, mode: str) -> Lattice:
    def change(op: Op, shape: tuple[int, ...]) -> Op:
        if isinstance(op, Conv) and op.mode == "zeros" and np.any(_padding(op, shape)):
            return replace(op, mode=mode)
        return replace(op, mode=mode) if isinstance(op, Pad) and op.mode == "zeros" else op

    return rewritten(net, change)


def _padding(op: Conv, shape: tuple[int, ...]) -> Any:
    return [window.padding for window in op.windows(shape[1:])]  # type: ignore[attr-defined]


def with_dividing_kernels(net: Lattice) -> Lattice:
    """The next larger kernel that the stride divides, its extra cell on the far side."""

    def change(op: Op, shape: tuple[int, ...]) -> Op:
        if not isinstance(op, Conv | Pool) or isinstance(op.padding, str):
            return op
        windows: Any = op.windows(shape[1:])
        if all(w.stride == 1 or w.kernel % w.stride == 0 or w.dilation > 1 for w in windows):
            return op
        kernels = tuple(w.kernel if w.dilation > 1 else -(-w.kernel // w.stride) * w.stride for w in windows)
        return replace(op, kernel=kernels)

    return rewritten(net, change)


def with_average_pools(net: Lattice) -> Lattice:
    """Every strided convolution or maximum at stride 1, and an average over the stride behind it."""
    nodes: list[Node] = []
    renumbered: dict[int, int] = {}
    for position, node in enumerate(net.nodes):
        op, stride = node.op, 1
        strided = isinstance(op, Conv) or (isinstance(op, Pool) and op.kind == "max" and op.kernel != op.stride)
        if strided and not isinstance(op.padding, str):  # type: ignore[attr-defined]
            windows: Any = op.windows(net.input_shapes(node)[0][1:])  # type: ignore[attr-defined]
            strides = tuple(w.stride for w in windows)
            stride = strides if set(strides) != {1} else 1  # type: ignore[assignment]
        nodes.append(Node(node.name, replace(op, stride=1) if stride != 1 else op, tuple(renumbered[i] for i in node.inputs)))  # type: ignore[type-var]
        renumbered[position] = len(nodes) - 1
        if stride != 1:
            nodes.append(Node(f"{node.name}.average", Pool("avg", stride, ceil=True), (renumbered[position],)))
            renumbered[position] = len(nodes) - 1
    return Lattice(tuple(nodes))
