"""The graph of units has as many walks as there are paths; layer graphs and tables say what the lattice says."""

import xml.etree.ElementTree as ET
from collections import Counter

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice import Conv, Dense, Lattice, Node, ResourceError, Unit, concatenate, families, path_counts, residual
from lattice.drawing.graph import count_edges, to_networkx, unit_graph
from lattice.drawing.html import brief, lattice_html, receptive_field_html
from lattice.geometry.receptive_field import receptive_field
from lattice.network.ops import Activation, Add, Flatten, Input, Norm, Pool
from lattice.sweep.choices import SKIP, Command
from lattice.testing.strategies import lattices


def walks_to(graph, layer, target):
    """Number of walks from each unit of `layer` to `target`: networkx only, in exact integers."""
    walks = Counter({target: 1})
    for node in reversed(list(nx.topological_sort(graph))):
        walks[node] += sum(walks[reader] * graph.number_of_edges(node, reader) for reader in graph.successors(node))
    return {node[1]: walks[node] for node in graph if node[0] == layer}


@settings(max_examples=150)
@given(lattices(), st.data())
def test_path_counts_are_numbers_of_walks(net, data):
    shape = net.output_shape
    output = Unit(tuple(data.draw(st.integers(0, n - 1)) for n in shape[1:]), data.draw(st.integers(0, shape[0] - 1)))
    walks = walks_to(unit_graph(net), "input", (net.names[-1], output))
    for channel in range(net.input_shape[0]):
        counts = path_counts(net, output, input_channel=channel)
        assert all(counts[position] == walks[Unit(position, channel)] for position in np.ndindex(counts.shape))


@settings(max_examples=150)
@given(lattices())
def test_edges_are_counted_without_listing_them(net):
    graph = unit_graph(net)
    assert graph.number_of_edges() == count_edges(net)
    assert graph.number_of_nodes() == sum(int(np.prod(shape)) for shape in net.shapes)


def test_one_edge_per_command():
    net = Lattice.chain((1, 5), [residual([Conv(1, 3, padding=1)])])
    graph = unit_graph(net)
    middle = Unit((2,), 0)
    taps = {data["command"] for _, _, data in graph.in_edges(("conv1", middle), data=True)}
    assert taps == {Command((k,), 0) for k in range(3)}
    assert graph.get_edge_data(("input", middle), ("add1", middle))[0]["command"] is SKIP


def test_two_taps_that_read_one_cell_are_two_edges():
    net = Lattice.chain((1, 3), [Conv(1, 3, padding=1, mode="replicate")])
    assert unit_graph(net).number_of_edges(("input", Unit((0,), 0)), ("conv1", Unit((0,), 0))) == 2


def test_a_graph_too_large_is_refused_with_its_size_and_a_cheaper_call():
    with pytest.raises(ResourceError, match=r"units and 1,688,498,496 edges.*path_counts\(lattice\).*to_networkx"):
        unit_graph(families.resnet())
    with pytest.raises(ResourceError, match="most_edges=11"):
        unit_graph(families.plain(5, depth=2), most_edges=11)
    assert unit_graph(families.plain(5, depth=2), most_edges=12).number_of_edges() == 12


@given(lattices())
def test_the_graph_of_layers_holds_what_the_lattice_holds(net):
    graph = to_networkx(net)
    assert nx.is_directed_acyclic_graph(graph)
    assert list(graph) == list(net.names)
    for position, (node, shape) in enumerate(zip(net.nodes, net.shapes, strict=True)):
        assert graph.nodes[node.name] == {"op": node.op, "shape": shape, "position": position}
        read = {place: below for below, _, data in graph.in_edges(node.name, data=True) for place in data["inputs"]}
        assert [read[place] for place in range(len(node.inputs))] == [net.names[i] for i in node.inputs]


def test_a_layer_that_reads_another_twice_has_one_edge_with_two_places():
    twice = Lattice((Node("input", Input((1, 4))), Node("conv", Conv(1, 1), (0,)), Node("sum", Add(), (1, 1))))
    assert to_networkx(twice).edges["conv", "sum"]["inputs"] == (0, 1)
    assert unit_graph(twice).number_of_edges(("conv", Unit((0,), 0)), ("sum", Unit((0,), 0))) == 2


# --- tables -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(lattices())
def test_the_table_is_well_formed_and_has_a_row_and_a_dot_per_layer(net):
    page = ET.fromstring(lattice_html(net))
    assert len(page.findall(".//tr")) == len(net.nodes) + 1
    assert len(page.findall(".//circle")) == len(net.nodes)
    edges = sum(len(set(node.inputs)) for node in net.nodes)
    assert len(page.findall(".//path")) == edges
    text = "".join(page.itertext())
    assert all(node.name in text and brief(node.op) in text for node in net.nodes)


def test_names_are_escaped():
    net = Lattice((Node("input", Input((1, 4))), Node("<script>", Conv(1, 1), (0,))))
    assert "<script>" not in lattice_html(net)
    assert "&lt;script&gt;" in lattice_html(net)
    assert "<script>" not in receptive_field_html(receptive_field(net))


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Conv(8, (3, 1), padding=((1, 2), 0), mode="circular"), "Conv(8, (3, 1), padding=((1, 2), 0), mode='circular')"),
        (Pool("max", 3, 2, padding=1), "Pool('max', 3, stride=2, padding=1)"),
        (Activation("leaky_relu", 0.1), "Activation(name='leaky_relu', parameter=0.1)"),
        (Dense(10), "Dense(10)"),
        (Norm(), "Norm()"),
        (Flatten(), "Flatten()"),
    ],
)
def test_an_op_is_written_briefly_and_reads_back(op, text):
    import lattice

    assert brief(op) == text
    assert eval(f"lattice.{text}", {"lattice": lattice}) == op


def test_misaligned_branches_are_listed_under_the_table():
    net = Lattice.chain((1, 9), [concatenate([Conv(1, 2, padding=(0, 1))], [Conv(1, 3, padding=1)])])
    page = receptive_field_html(receptive_field(net))
    assert "<td>no</td>" in page
    assert "<li>concat1 merges conv1" in page
