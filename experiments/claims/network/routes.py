"""Section 3.1: routes, paths and their numbers."""

from itertools import permutations, product
from typing import Any

import numpy as np
import torch

from experiments.claims.claim import Finding, Section, listed
from experiments.claims.means import chain, end, jacobian, listed_counts, ones_jacobian, outputs, same
from lattice import (
    Conv,
    Lattice,
    Unit,
    commands,
    pascal_row,
    path_counts,
    residual,
    route,
)
from validation.montecarlo.build import build

section = Section("3.1 The number of paths", [])

EXAMPLES = [
    net
    for kernel, stride, padding, dilation, size in product((1, 2, 3), (1, 2), (0, 1), (1, 2), (4, 6))
    if (net := chain(size, [Conv(1, kernel, stride, padding, dilation), Conv(1, kernel, 1, padding)])) is not None
]


@section.claim(
    "Fig. 1a",
    "“the number of paths from the output tensor to a single unit of the input tensor is greater for the input units located "
    "at the center than for units situated on the edges” (L = 2, K = 3, stride 1, no padding)",
    instead="Every cell that is L(K − 1) or more from both borders has the same K^L paths: a plateau, not one peak.",
    tests=("tests/lattice/test_theorems.py::test_the_mean_over_outputs_of_padded_layers_has_dark_borders",),
)
def centre_has_more_paths_than_edges() -> Finding:
    counts = {size: listed_counts(chain(size, [Conv(1, 3)] * 2)) for size in range(5, 12)}
    more = all(row[len(row) // 2] > row[0] and row[len(row) // 2] > row[-1] for row in counts.values())
    plateau = all(set(row[4:-4]) <= {9} for row in counts.values())
    return Finding(f"5 cells: {listed(counts[5])}; 11 cells: {listed(counts[11])}", more, corrected=plateau)


@section.claim(
    "before Def. 1",
    "“although our analysis generalises to more complex cases”: more paths at the center than on the edges",
    when="at stride 1 without circular padding",
    instead="Circular padding at stride 1 is flat, and so is the interior under strides that divide the kernel. With K = 3 "
    "and stride 2 the counts alternate: a cell at the centre can have fewer paths than a cell near the edge. The worst ratio "
    "after L such layers is the Fibonacci number F(L + 2).",
    tests=(
        "tests/lattice/test_theorems.py::test_circular_padding_at_stride_one_is_flat",
        "tests/lattice/test_theorems.py::test_k3_with_stride_two_is_sterns_sequence_worst_bias_fibonacci",
    ),
)
def strides_and_circles() -> Finding:
    circular = listed_counts(chain(4, [Conv(1, 3, padding=1, mode="circular")] * 2))
    strided = listed_counts(chain(7, [Conv(1, 3, 2)]))
    divided = listed_counts(chain(8, [Conv(1, 2, 2)] * 2))
    deep = [path_counts(chain(5 * 2**depth - 1, [Conv(1, 3, 2)] * depth)).max() for depth in range(1, 7)]
    plain = [listed_counts(same(size, 2)) for size in range(3, 9)]
    within = all(row[len(row) // 2] > row[0] for row in plain)
    true = deep == [2, 3, 5, 8, 13, 21] and set(circular) == {9} and set(divided) == {1}
    return Finding(
        f"circular, 4 cells, K = 3, L = 2: {listed(circular)}; K = s = 2, L = 2: {listed(divided)}; K = 3, s = 2, 7 cells: "
        f"{listed(strided)}, the centre (cell 3) has {strided[3]} and its neighbour {strided[2]}; largest counts for L = 1 … "
        f"6: {listed(deep)}",
        printed=strided[3] > strided[2] and len(set(circular)) > 1,
        within=within,
        corrected=true,
    )


@section.claim(
    "before Def. 1",
    "the number of paths “behaves like a Generalized Pascal triangle”",
    when="the layers have stride 1 and the output unit's paths meet no padding",
    instead="Entry n of row L is the coefficient of xⁿ in (1 + x + … + x^(K−1))^L. Zero padding cuts routes off, also routes "
    "that leave the input and come back.",
    tests=("tests/lattice/test_theorems.py::test_stacked_layers_draw_the_generalised_pascal_triangle",),
)
def pascal_triangle() -> Finding:
    def row(kernel: int, depth: int) -> list[int]:
        found = [1]
        for _ in range(depth):
            found = np.convolve(found, [1] * kernel).tolist()
        return found

    def is_pascal(net: Lattice, kernel: int, depth: int, padding: int) -> bool:
        expected = row(kernel, depth)
        for unit in outputs(net):
            shift = unit.position[0] - padding * depth
            if listed_counts(net, unit) != [
                expected[i - shift] if 0 <= i - shift < len(expected) else 0 for i in range(net.input_shape[1])
            ]:
                return False
        return True

    within = all(
        row(kernel, depth)
        == list(pascal_row(kernel, depth))
        == listed_counts(chain((kernel - 1) * depth + 1, [Conv(1, kernel)] * depth), (0,))
        for kernel, depth in product(range(1, 5), range(1, 5))
    )
    smallest = next(
        (size, depth, unit.position[0], listed_counts(net, unit))
        for size, depth in sorted(product(range(1, 5), range(1, 4)), key=lambda pair: (pair[0] * pair[1], pair))
        if not is_pascal(net := same(size, depth), 3, depth, 1)
        for unit in outputs(net)
        if not is_pascal(net, 3, depth, 1)
    )
    size, depth, _, counts = smallest
    window = row(3, depth)[depth : depth + size]
    return Finding(
        f"rows of K ≤ 4, L ≤ 4 are the counts of listed routes. Smallest padded exception (K = 3, padding 1): {_cells(size)}, "
        f"L = {depth}: {listed(counts)}; Pascal's row there: {listed(window)}",
        printed=counts == window,
        within=within,
    )


@section.claim(
    "layer (unnumbered)",
    "A_m = Σ_k W_k H_(m+k) + b for m = 0 … N − K: what a layer is",
    instead="It is a cross-correlation, torch's `conv1d`, without padding.",
    tests=("tests/lattice/test_against_torch.py::test_a_layer_reads_what_torch_reads",),
)
def layer() -> Finding:
    random, worst, tried = np.random.default_rng(0), 0.0, 0
    for kernel, below, above in product((1, 2, 3), (1, 2), (1, 3)):
        w, h, b = random.normal(size=(kernel, above, below)), random.normal(size=(5, below)), random.normal(size=above)
        ours = np.array([sum(w[k] @ h[m + k] for k in range(kernel)) + b for m in range(5 - kernel + 1)])
        weight = torch.from_numpy(w.transpose(1, 2, 0).copy())
        theirs = torch.nn.functional.conv1d(torch.from_numpy(h.T.copy())[None], weight, torch.from_numpy(b))[0]
        worst, tried = max(worst, float(np.abs(theirs.numpy().T - ours).max())), tried + 1
    return Finding(f"equal to torch's within 1e-12 on {tried} layers", worst < 1e-12)


@section.claim(
    "Def. 1, Eq. 1",
    "route(c) is the index i such that h_i^(l′) = ∂h_j^(l)/∂w_c^(l′), applied layer by layer from the top",
    when="no two inputs of the layer have the same value, and the tap reads a cell, not padding",
    instead="As a definition by taps, i = s·j + d·k − padding, it is right everywhere (`lattice.route`). (Slips: j is both "
    "the cell above and the cell reached; the commands that remain are 0 : l − l′ − 1. With a ReLU the derivative has its "
    "gate as a factor.)",
    tests=("tests/lattice/counts/test_counting.py::test_counts_are_numbers_of_command_vectors",),
)
def route_by_derivatives() -> Finding:
    kernel, size, channels = 2, 4, 2
    net = Lattice.chain((channels, size), [Conv(channels, kernel), Conv(channels, kernel)])
    network = build(net, 1.0, generator=torch.Generator().manual_seed(0)).double()
    weights = list(network.weights().values())  # bottom first, (channels above, channels below, taps)
    agree = tried = 0
    for top in outputs(net):
        for vector in commands(net, top):
            with torch.no_grad():
                channel = top.channel
                for weight, command in zip(reversed(weights), reversed(vector), strict=True):
                    weight.zero_()
                    weight[channel, command.channel, command.taps[0]] = 1.0
                    channel = command.channel
            row = jacobian(network, torch.zeros(1, channels, size, dtype=torch.float64))
            found = row.reshape(channels, size - 2 * (kernel - 1), channels, size)[top.channel, top.position[0]]
            reached = [tuple(place) for place in found.nonzero().tolist()]
            unit = route(net, vector, top)
            agree, tried = agree + (reached == [(unit.channel, *unit.position)]), tried + 1
    constant = torch.ones(2, dtype=torch.float64)  # N = 2, K = 1: h_0 = w x_0, and dh_0/dw = x_0 = x_1
    matches = int((constant == constant[0]).sum())
    return Finding(
        f"{agree} of {tried} command vectors (K = 2, two channels, L = 2) lead where one-hot weights send torch's gradient. "
        f"Smallest ambiguity: two cells, K = 1, x = (1, 1): ∂h_0/∂w = 1 is the value of {matches} cells",
        printed=matches == 1,
        within=agree == tried,
    )


@section.claim(
    "after Def. 1",
    "“the path in a regular lattice is permutation invariant w.r.t. C”: swapping commands does not move the end of the route",
    when="“regular” means: no padding, equal kernels and dilations, stride 1 below the top layer",
    instead="The paper leaves “regular” open. Padding breaks the symmetry at the edges, a stride below the top breaks it "
    "everywhere; `lattice.is_regular` decides exactly.",
    tests=(
        "tests/lattice/test_theorems.py::test_otherwise_the_order_of_commands_matters",
        "tests/lattice/counts/test_stacks.py::test_a_lattice_is_regular_exactly_if_no_order_of_any_commands_matters",
    ),
)
def permutation_invariance() -> Finding:
    def broken(net: Lattice, kernel: int, depth: int) -> tuple[Any, ...] | None:
        for unit, vector in product(outputs(net), product(range(kernel), repeat=depth)):
            ends = {end(net, order, unit) for order in permutations(vector)}
            if len(ends) > 1:
                return unit.position[0], vector, end(net, vector, unit), end(net, vector[::-1], unit)
        return None

    def smallest(stride: int, padding: int) -> tuple[Any, ...]:
        sizes = sorted(product(range(1, 7), range(1, 4)))
        return next(
            (size, kernel, *found)
            for size, kernel in sizes
            if (net := chain(size, [Conv(1, kernel, stride, padding)] * 2)) is not None
            if (found := broken(net, kernel, 2)) is not None
        )

    cell, taps, output, vector, first, second = smallest(1, 1)
    padded = (
        f"{cell} cells, K = {taps}, padding 1: from cell {output}, {vector} {_leads(first)} and {vector[::-1]} {_leads(second)}"
    )
    cell, taps, output, vector, first, second = smallest(2, 0)
    strided = f"{cell} cells, K = {taps}, stride 2: {vector} {_leads(first)}, {vector[::-1]} {_leads(second)}"
    regular = [
        broken(
            chain(kernel * depth + 2, [Conv(1, kernel, dilation=d)] * (depth - 1) + [Conv(1, kernel, s, dilation=d)]),
            kernel,
            depth,
        )
        for kernel, depth, d, s in product((1, 2, 3), (2, 3), (1,), (1, 2))
    ]
    return Finding(
        f"smallest exceptions, L = 2. {padded}. {strided}",
        printed=first == second,
        within=all(found is None for found in regular),
    )


def _cells(number_of: int) -> str:
    return f"{number_of} cell{'s' if number_of > 1 else ''}"


def _leads(unit: Unit | None) -> str:
    return "leads nowhere" if unit is None else f"leads to cell {unit.position[0]}"


@section.claim(
    "after Def. 1",
    "residual connections: the commands are “enriched by a skipped command”, {0, …, k − 1, skip} at every layer",
    when="each skip goes around one layer",
    instead="A skip around a block of two layers is one command for both: k² + 1 vectors a block, not (k + 1)².",
    tests=("tests/lattice/sweep/test_routes.py::test_skip_is_one_more_command_of_its_layer",),
)
def skip_commands() -> Finding:
    def vectors(layers: int) -> int:
        block = residual([Conv(1, 3, padding=1)] * layers)
        return len(list(commands(Lattice.chain((1, 9), [block]), (4,))))

    within = all(
        sum(ones_jacobian(net)[4]) == len(list(commands(net, (4,)))) == 4**depth
        for depth in (1, 2, 3)
        for net in [Lattice.chain((1, 9), [residual([Conv(1, 3, padding=1)])] * depth)]
    )
    return Finding(f"one block of two k = 3 layers: {vectors(2)} vectors, (k + 1)² = 16", vectors(2) == 16, within)
