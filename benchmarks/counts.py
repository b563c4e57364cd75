"""Rows on exact counts: against object arrays of Python ints, networkx, sympy and python-flint."""

import os
import subprocess
import sys
from typing import Any

import networkx as nx
import numpy as np

import lattice
from benchmarks.rows import Result, Skip, at_least, at_most, row, side_by_side
from lattice import Conv, Lattice, families
from lattice.counts.counting import one_unit
from lattice.network.ops import Windowed
from lattice.network.windows.window import Window
from lattice.sweep.pullback import pull

Array = np.ndarray[Any, Any]


def plain_sweep(net: Lattice, cotangent: Array) -> Array:
    """The reverse sweep as one writes it first: per axis one shifted, strided addition per tap, on zero-padded lines."""
    waiting = {len(net.nodes) - 1: cotangent}
    for position in reversed(range(1, len(net.nodes))):
        node, here = net.nodes[position], waiting.pop(position)
        shapes = net.input_shapes(node)
        if isinstance(node.op, Windowed):
            if isinstance(node.op, Conv):
                here = here * node.op.channels
            axes = zip(node.op.windows(shapes[0][1:]), shapes[0][1:], strict=True)
            for axis, (window, n) in enumerate(axes, start=1 - len(shapes[0])):
                assert isinstance(window, Window)
                here = _shifted_additions(window, here, n, axis)
            pulled: tuple[Array, ...] = (here,)
        else:
            pulled = pull(node.op, shapes, here, net.shapes[position])
        for below, passed in zip(node.inputs, pulled, strict=True):
            waiting[below] = waiting[below] + passed if below in waiting else passed
    return waiting[0]


def _shifted_additions(window: Window, cotangent: Array, n: int, axis: int) -> Array:
    above = np.moveaxis(cotangent, axis, -1)
    reach = window.stride * (above.shape[-1] - 1) + 1
    lo, hi = window.padding
    line = np.zeros((*above.shape[:-1], max(lo + n + hi, reach + window.span)), cotangent.dtype)
    for k in range(window.kernel):
        line[..., window.dilation * k : window.dilation * k + reach : window.stride] += above
    return np.moveaxis(line[..., lo : lo + n], -1, axis)


def exact_against_objects(name: str, net: Lattice, aim: float) -> Result:
    """path_counts against the plain sweep over object arrays, and equality of the two."""
    one = one_unit(net, None, one=1)
    counts = lattice.path_counts(net)
    if not (plain_sweep(net, one)[0] == counts).all():
        raise AssertionError(f"{name}: the two sweeps disagree")
    seconds = side_by_side({"path_counts": lambda: lattice.path_counts(net), "object arrays": lambda: plain_sweep(net, one)})
    ratio = seconds["object arrays"] / seconds["path_counts"]
    return Result(
        seconds,
        [at_least(aim, "faster than a sweep over object arrays", ratio)],
        [f"{counts.size} positions, integers of up to {int(counts.max()).bit_length()} bits"],
    )


@row("exact counts, ResNet-50 at 224 with channels")
def resnet_counts() -> Result:
    """450-bit integers: digits above the stem, in it Python ints one axis after the other, half of the map mirrored."""
    return exact_against_objects("ResNet-50", families.bottleneck_resnet(), 5)


@row("exact counts, VGG-16 at 224 with channels")
def vgg_counts() -> Result:
    """150-bit integers: an outer product of two rows."""
    stages = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)
    return exact_against_objects("VGG-16", families.vgg((3, 224, 224), stages), 5)


SYMPY_ROW = """
import time
from sympy import Poly, symbols
x = symbols("x")
for _ in range(3):
    before = time.perf_counter()
    (Poly(1 + x + x**2, x) ** 1000).all_coeffs()
    print(time.perf_counter() - before)
"""


@row("exact row, depth 1000, kernel 3, unpadded")
def pascal() -> Result:
    """A row of the generalised Pascal triangle."""
    try:
        from lattice.closed_forms.pascal import pascal_row
    except ImportError:
        raise Skip("lattice.closed_forms.pascal is not there") from None

    def objects() -> Array:
        row = np.ones(1, dtype=object)
        for _ in range(1000):
            wider = np.zeros(len(row) + 2, dtype=object)
            wider[:-2] += row
            wider[1:-1] += row
            wider[2:] += row
            row = wider
        return row

    assert pascal_row(3, 1000) == objects().tolist()
    ways = {"pascal_row": lambda: pascal_row(3, 1000), "object arrays": objects}
    notes = ["sympy with its own integers, in a process of its own: where python-flint is installed sympy uses that"]
    try:
        from flint import fmpz_poly
    except ImportError:
        notes.append("python-flint is not installed")
    else:
        ways["python-flint power"] = lambda: fmpz_poly([1, 1, 1]) ** 1000
    seconds = side_by_side(ways)
    process = subprocess.run(
        [sys.executable, "-c", SYMPY_ROW],
        env={**os.environ, "SYMPY_GROUND_TYPES": "python"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds["sympy Poly"] = min(map(float, process.stdout.split()))
    claims = [
        at_least(50, "faster than object arrays", seconds["object arrays"] / seconds["pascal_row"]),
        at_least(100, "faster than sympy", seconds["sympy Poly"] / seconds["pascal_row"]),
    ]
    if "python-flint power" in seconds:
        times_flint = seconds["pascal_row"] / seconds["python-flint power"]
        claims.append(at_most(1.5, "times python-flint's own power", times_flint))
    return Result(seconds, claims, notes)


@row("exact map, depth 200, 224 cells, kernel 3, padded")
def padded_map() -> Result:
    """All outputs of a padded strip, summed."""
    size, depth = 224, 200
    net = families.plain(size, depth, padding=1)

    def objects() -> Array:
        counts = np.ones(size, dtype=object)
        for _ in range(depth):
            line = np.zeros(size + 2, dtype=object)
            line[1:-1] = counts
            counts = line[:-2] + line[1:-1] + line[2:]
        return counts

    def over_units() -> list[int]:
        graph: Any = nx.DiGraph()
        for layer in range(depth):
            graph.add_edges_from(((layer + 1, j), (layer, i)) for j in range(size) for i in (j - 1, j, j + 1) if 0 <= i < size)
        counts = dict.fromkeys(graph, 0) | {(depth, j): 1 for j in range(size)}
        for unit in nx.topological_sort(graph):
            for below in graph.successors(unit):
                counts[below] += counts[unit]
        return [counts[0, i] for i in range(size)]

    counts = lattice.path_counts(net)
    assert counts.tolist() == objects().tolist() == over_units()
    seconds = side_by_side(
        {"path_counts": lambda: lattice.path_counts(net), "object arrays": objects, "networkx": over_units}, seconds=10
    )
    return Result(
        seconds,
        [
            at_least(250, "faster than networkx over the graph of units", seconds["networkx"] / seconds["path_counts"]),
            at_least(1, "as fast as object arrays", seconds["object arrays"] / seconds["path_counts"]),
        ],
        ["networkx: building the graph of units (44,800 of them) and summing over it in topological order"],
    )
