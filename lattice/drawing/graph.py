"""The lattice as networkx graphs: of its layers, and, where there are few, of its units with one edge per command.

Edges point the way data flows, from what is read to who reads it; a route walks them backwards. The graph of units is
Definition 2 as a graph: a path from an output unit to an input unit is a walk in it, and #p is their number.
"""

from functools import singledispatch
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from lattice.errors import ResourceError, UnsupportedError
from lattice.network.lattice import Lattice, check_lattice
from lattice.network.ops import Concat, Dense, Op, Pointwise, Rearrangement, Shape, Summed, WeightedWindow, Windowed
from lattice.sweep.choices import all_units, choices_at

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["count_edges", "to_networkx", "unit_graph"]

BYTES_PER_EDGE = 800  # of a MultiDiGraph with a command on every edge, measured


def to_networkx(lattice: Lattice) -> "nx.DiGraph[str]":
    """The layers as a directed graph: one node per layer, by name, with `op`, `shape` and `position`; one edge per reader.

    An edge carries `inputs`, the indices in the reader's list of inputs that it fills: two of them in h + h.

    Parameters
    ----------
    lattice : Lattice
        The network.

    Returns
    -------
    networkx.DiGraph
        Edges point the way data flows.

    Examples
    --------
    >>> from lattice import families
    >>> graph = to_networkx(families.plain(5, depth=2))
    >>> list(graph.edges), graph.nodes["conv2"]["shape"]
    ([('input', 'conv1'), ('conv1', 'conv2')], (1, 1))
    """
    import networkx as nx  # a third of a second to import, for few who draw

    check_lattice(lattice, "to_networkx")
    graph: nx.DiGraph[str] = nx.DiGraph()
    for position, (node, shape) in enumerate(zip(lattice.nodes, lattice.shapes, strict=True)):
        graph.add_node(node.name, op=node.op, shape=shape, position=position)
        for i in dict.fromkeys(node.inputs):
            indices = tuple(index for index, below in enumerate(node.inputs) if below == i)
            graph.add_edge(lattice.nodes[i].name, node.name, inputs=indices)
    return graph


def unit_graph(lattice: Lattice, *, most_edges: int = 200_000) -> "nx.MultiDiGraph[tuple[str, Any]]":
    """The units as a directed multigraph: one node (layer name, `Unit`) per unit, one edge per command (Definition 2).

    Nodes carry `layer`, `position` and `channel`; edges carry `command`, None where there is one way down (a pointwise layer, a
    concatenation). A walk from an output to an input against the edges is a path. The graph is built from the rules of
    `lattice.sweep.routes`, unit by unit, and shares no code with the sweep that counts paths.

    Parameters
    ----------
    lattice : Lattice
        The network.
    most_edges : int, default 200000
        The largest number of edges to build.

    Returns
    -------
    networkx.MultiDiGraph
        Edges point the way data flows.

    Raises
    ------
    ResourceError
        If there would be more than `most_edges` edges; raised before the graph is built.

    Examples
    --------
    >>> from lattice import families
    >>> graph = unit_graph(families.plain(5, depth=2))
    >>> graph.number_of_nodes(), graph.number_of_edges()
    (9, 12)
    """
    check_lattice(lattice, "unit_graph")
    units, edges = sum(prod(shape) for shape in lattice.shapes), count_edges(lattice)
    if edges > most_edges:
        raise ResourceError(
            f"the graph of units of this lattice ({len(lattice.nodes)} layers over an input {lattice.input_shape}) has "
            f"{units:,} units and {edges:,} edges (about {edges * BYTES_PER_EDGE / 1e9:.2g} GB), more than "
            f"most_edges={most_edges:,}; count paths with path_counts(lattice), which needs no graph, or look at its layers "
            "with to_networkx(lattice)"
        )
    import networkx as nx

    graph: nx.MultiDiGraph[tuple[str, Any]] = nx.MultiDiGraph()
    for position, (node, shape) in enumerate(zip(lattice.nodes, lattice.shapes, strict=True)):
        for unit in all_units(shape):
            graph.add_node((node.name, unit), layer=node.name, position=unit.position, channel=unit.channel)
            if position:
                for command, below, where in choices_at(lattice, position, unit):
                    graph.add_edge((lattice.nodes[below].name, where), (node.name, unit), command=command)
    return graph


def count_edges(lattice: Lattice) -> int:
    """The number of edges of `unit_graph(lattice)`, without building it: unit by unit, the commands that exist there.

    >>> from lattice import families
    >>> count_edges(families.resnet()), count_edges(families.plain(5, depth=2))
    (1688498496, 12)
    """
    pairs = zip(lattice.nodes[1:], lattice.shapes[1:], strict=True)
    return sum(_edges(node.op, lattice.input_shapes(node), shape) for node, shape in pairs)


@singledispatch
def _edges(op: Op, inputs: tuple[Shape, ...], output: Shape) -> int:
    """Commands at all units of an op."""
    raise UnsupportedError(f"no number of edges for {op!r}; add one with lattice.drawing.graph._edges.register")


@_edges.register(Concat)
@_edges.register(Pointwise)
@_edges.register(Rearrangement)
def _(op: Op, inputs: tuple[Shape, ...], output: Shape) -> int:
    return prod(output)


@_edges.register
def _(op: Summed, inputs: tuple[Shape, ...], output: Shape) -> int:
    return len(inputs) * prod(output)


@_edges.register
def _(op: Dense, inputs: tuple[Shape, ...], output: Shape) -> int:
    return inputs[0][0] * output[0]


@_edges.register
def _(op: Windowed, inputs: tuple[Shape, ...], output: Shape) -> int:
    ((channels, *spatial),) = inputs
    read = channels // op.groups if isinstance(op, WeightedWindow) else 1
    taps = (int(np.sum(window.table(n) >= 0)) for window, n in zip(op.windows(tuple(spatial)), spatial, strict=True))
    return output[0] * read * prod(taps)
