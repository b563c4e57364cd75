"""Section 3.1: routes, paths and their numbers."""

from itertools import combinations_with_replacement, permutations, product
from math import comb, factorial, perm, prod
from typing import Any

import networkx as nx
import numpy as np
import torch

from experiments.claims.claim import Finding, Section, listed, number
from experiments.claims.means import chain, end, jacobian, listed_counts, mean, ones_jacobian, outputs, same
from lattice import (
    Conv,
    Lattice,
    Unit,
    combinations,
    commands,
    is_regular,
    mean_path_counts,
    pascal_row,
    path_counts,
    path_exists,
    residual,
    route,
    unit_graph,
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
        "tests/lattice/counts/test_regular.py::test_a_lattice_is_regular_exactly_if_no_order_of_any_commands_matters",
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
    tests=("tests/lattice/counts/test_counting.py::test_skip_is_one_more_command_of_its_layer",),
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


@section.claim(
    "Def. 2",
    "there is a path from h_j to h_i iff some command vector leads from j to i",
    tests=("tests/lattice/geometry/test_geometry.py::test_a_cell_is_seen_iff_a_path_leads_to_it",),
)
def path_exists_iff_routed() -> Finding:
    same_answer = tried = 0
    for net in EXAMPLES:
        graph = unit_graph(net)
        for unit, i in product(outputs(net), range(net.input_shape[1])):
            below = ("input", Unit((i,), 0))
            walk = nx.has_path(graph, below, (net.nodes[-1].name, unit))
            routed = any(route(net, vector, unit) == below[1] for vector in commands(net, unit))
            same_answer, tried = same_answer + (walk == routed == path_exists(net, unit, (i,))), tried + 1
    return Finding(
        f"{same_answer} of {tried} pairs of units in {len(EXAMPLES)} nets: routes, graph walks agree", same_answer == tried
    )


@section.claim(
    "Eq. 2",
    "C ∈ P(L, K·C): command vectors are “L length permutations” of the single commands",
    misprint=True,
    instead="They are words: tuples with repetition, (K·C)^L of them. The text after Eq. 2 uses them as such.",
    tests=("tests/lattice/test_theorems.py::test_command_vectors_are_words",),
)
def words_not_permutations() -> Finding:
    tried = list(product(range(1, 4), range(1, 4)))
    vectors = {(k, n): len(list(commands(chain((k - 1) * n + 1, [Conv(1, k)] * n), (0,)))) for k, n in tried}
    words = all(vectors[kernel, depth] == kernel**depth for kernel, depth in tried)
    kernel, depth = next(pair for pair in sorted(tried, key=sum) if vectors[pair] != perm(*pair))
    return Finding(
        f"smallest: K = {kernel}, L = {depth}: {vectors[kernel, depth]} vector, {perm(kernel, depth)} permutations; K = L = "
        f"2: {vectors[2, 2]} vectors, {perm(2, 2)} permutations",
        printed=all(vectors[pair] == perm(*pair) for pair in tried),
        corrected=words,
    )


@section.claim(
    "Eq. 2",
    "the commands are drawn from K·C² items (C = C_in = C_out)",
    misprint=True,
    instead="The weight tensor has K·C² entries, but the output channel is where the route already stands: K·C choices a "
    "layer, as the sentence below Eq. 2 and Eq. 3 have it.",
    tests=("tests/lattice/test_theorems.py::test_command_vectors_are_words",),
)
def commands_per_layer() -> Finding:
    found = {(k, c): len(list(commands(chain(k, [Conv(c, k)], c), (0,)))) for k, c in product((1, 2, 3), (1, 2, 3))}
    kernel, channels = next(pair for pair in sorted(found, key=sum) if found[pair] != pair[0] * pair[1] ** 2)
    return Finding(
        f"K = {kernel}, C = {channels}, L = 1: {found[kernel, channels]} commands at an output unit, K·C² = "
        f"{kernel * channels**2}",
        printed=all(number == k * c**2 for (k, c), number in found.items()),
        corrected=all(number == k * c for (k, c), number in found.items()),
    )


@section.claim(
    "after Eq. 2",
    "“the number of paths linking two nodes is simply defined as the cardinality of this set”, #p",
    instead="Counted without listing by one reverse sweep in exact integers (`lattice.path_counts`).",
    tests=(
        "tests/lattice/test_against_torch.py::test_a_whole_net_of_ones_has_its_path_counts_as_jacobian",
        "tests/lattice/drawing/test_graph.py::test_path_counts_are_numbers_of_walks",
    ),
)
def counts_are_cardinalities() -> Finding:
    right = tried = 0
    for net in EXAMPLES:
        rows = ones_jacobian(net)
        for unit, row in zip(outputs(net), rows, strict=True):
            right, tried = right + (listed_counts(net, unit) == list(path_counts(net, unit)) == row), tried + 1
    return Finding(f"{right} of {tried} maps: listed vectors, the sweep, torch's all-ones Jacobian are equal", right == tried)


@section.claim(
    "after Eq. 2",
    "“Usually, for two adjacent layers, there is at the most one path linking two unit entries”",
    when="no padding copies cells (none, or zeros)",
    instead="With replicate, reflect or circular padding two taps can read one cell.",
    tests=("tests/lattice/drawing/test_graph.py::test_two_taps_that_read_one_cell_are_two_edges",),
)
def one_path_between_neighbours() -> Finding:
    def most(size: int, kernel: int, mode: str) -> int:
        net = chain(size, [Conv(1, kernel, padding=((kernel - 1, 0),), mode=mode)])
        return max(max(listed_counts(net, unit)) for unit in outputs(net)) if net else 0

    sizes = sorted(product(range(1, 4), range(1, 4)), key=sum)
    within = all(most(size, kernel, "zeros") <= 1 for size, kernel in sizes)
    size, kernel = next(pair for pair in sizes if most(*pair, "replicate") > 1)
    paths = most(size, kernel, "replicate")
    return Finding(f"smallest: {size} cell, K = {kernel}, one replicated cell: {paths} paths", paths <= 1, within)


@section.claim(
    "#p̄ (unnumbered)",
    "#p̄ = E_j[#p_j] = (1/Z) Σ_j #p_j, Z the number of output units",
    instead="Mind that #p̄ contains 1/Z already: Eq. 12 and 20 divide by Z once more.",
    tests=("tests/lattice/counts/test_counting.py::test_the_sum_over_outputs_is_the_sum_of_their_counts",),
)
def mean_number_of_paths() -> Finding:
    right = sum(
        list(mean_path_counts(net)) == [mean(column) for column in zip(*ones_jacobian(net), strict=True)] for net in EXAMPLES
    )
    example = mean_path_counts(same(4, 1))
    return Finding(f"{right} of {len(EXAMPLES)} nets; one k = 3 layer over 4 cells: {listed(example)}", right == len(EXAMPLES))


@section.claim(
    "Eq. 3",
    "C ∈ C(L, K·C): the “combinations of single commands” that lead to h_i",
    misprint=True,
    instead="Multisets (combinations with repetition): (K·C + L − 1 choose L) of them, not (K·C choose L).",
    tests=("tests/lattice/counts/test_regular.py::test_combinations_are_the_multisets_of_the_command_vectors",),
)
def multisets_not_combinations() -> Finding:
    tried = sorted(product(range(1, 4), range(1, 4)), key=sum)
    found = {(k, n): len(list(combinations(chain((k - 1) * n + 1, [Conv(1, k)] * n), (0,)))) for k, n in tried}
    kernel, depth = next(pair for pair in tried if found[pair] != comb(*pair))
    return Finding(
        f"smallest: K = {kernel}, L = {depth}: {found[kernel, depth]} multiset, (1 choose 2) = {comb(kernel, depth)}; K = L = "
        f"2: {found[2, 2]} multisets, (2 choose 2) = {comb(2, 2)}",
        printed=all(found[pair] == comb(*pair) for pair in tried),
        corrected=all(number == comb(k + n - 1, n) for (k, n), number in found.items()),
    )


def _multinomial(net: Lattice, kernel: int, depth: int, output: Any, any_order: bool) -> list[int]:
    """The printed sum over multisets; a multiset leads to i if its sorted vector does, or if any of its arrangements does."""
    counts = [0] * net.input_shape[1]
    for word in combinations_with_replacement(range(kernel), depth):
        arrangements = factorial(depth) // prod(factorial(word.count(k)) for k in range(kernel))
        orders = set(permutations(word)) if any_order else {word}
        for unit in {end(net, order, output) for order in orders} - {None}:
            assert unit is not None
            counts[unit.position[0]] += arrangements
    return counts


@section.claim(
    "after Eq. 3",
    "#p = Σ over combinations of L! / Π #(C)_c!, “if the lattice is regular”",
    when="the lattice is regular in the sense above (`lattice.is_regular`), and has one channel",
    instead="Elsewhere `lattice.multinomial_count` refuses and names the layer; `path_counts` counts every lattice.",
    tests=(
        "tests/lattice/counts/test_regular.py::test_the_formula_gives_the_path_counts_of_regular_lattices",
        "tests/lattice/test_theorems.py::test_the_multinomial_formula_is_wrong_with_a_stride_below",
    ),
)
def multinomial_formula() -> Finding:
    def readings(net: Lattice, kernel: int, depth: int, unit: Any) -> list[list[int]]:
        return [_multinomial(net, kernel, depth, unit, any_order) for any_order in (False, True)]

    def smallest(stride: int, padding: int) -> tuple[Any, ...]:
        return next(
            (depth, kernel, size, unit.position[0], listed_counts(net, unit), readings(net, kernel, depth, unit)[0])
            for size, depth, kernel in sorted(
                product(range(1, 8), range(1, 4), range(1, 4)), key=lambda s: (s[0] * s[1] * s[2], s)
            )
            if (net := chain(size, [Conv(1, kernel, stride, padding)] * depth)) is not None
            for unit in outputs(net)
            if listed_counts(net, unit) not in readings(net, kernel, depth, unit)
        )

    depth, kernel, size, cell, truth, formula = smallest(1, 1)
    padded = f"with padding 1: L = {depth}, K = {kernel}, N = {size}, output {cell}: "
    padded += f"{listed(truth)} paths, formula {listed(formula)}"
    depth, kernel, size, cell, truth, formula = smallest(2, 0)
    strided = f"with stride 2: L = {depth}, K = {kernel}, N = {size}: {listed(truth)} paths, formula {listed(formula)}"
    regular = [
        (net, kernel, depth)
        for kernel, depth, stride, padding, size in product((1, 2, 3), (1, 2, 3), (1, 2), (0, 1), (3, 5, 7))
        if (net := chain(size, [Conv(1, kernel, stride, padding)] * depth)) is not None and is_regular(net)
    ]
    within = all(
        listed_counts(net, unit) in readings(net, kernel, depth, unit)
        for net, kernel, depth in regular
        for unit in outputs(net)[:2]
    )
    return Finding(f"right on {len(regular)} regular nets. Smallest exceptions: {padded}; {strided}", truth == formula, within)


@section.claim(
    "after Eq. 3",
    "the same formula with C > 1 channels",
    instead="All arrangements of a multiset end at one position, but in the channel of whichever command stands at the "
    "bottom: only the share #(C)_channel / L ends in the channel asked for. The plain sum counts the paths to all C channels.",
    tests=("tests/lattice/counts/test_regular.py::test_with_channels_the_printed_formula_counts_paths_to_all_of_them",),
)
def multinomial_with_channels() -> Finding:
    def tally(depth: int, channels: int) -> tuple[int, int, float]:
        """Of K = 1 layers: paths to one channel, the printed sum over multisets that reach it, the sum with its share."""
        net = chain(1, [Conv(channels, 1)] * depth, channels)
        truth = listed_counts(net, (0,))[0]
        printed, shared = 0, 0.0
        for word in combinations_with_replacement(range(channels), depth):
            arrangements = factorial(depth) // prod(factorial(word.count(c)) for c in range(channels))
            if 0 in word:
                printed, shared = printed + arrangements, shared + arrangements * word.count(0) / depth
        return truth, printed, shared

    tried = {pair: tally(*pair) for pair in sorted(product((1, 2, 3), (1, 2, 3)), key=sum)}
    depth, channels = next(pair for pair, (truth, printed, _) in tried.items() if truth != printed)
    truth, formula, _ = tried[depth, channels]
    return Finding(
        f"smallest: K = 1, L = {depth}, C = {channels}: {truth} paths to a channel; the multisets that reach it sum to "
        f"{formula} (all that reach the position, to {channels**depth})",
        printed=truth == formula,
        corrected=all(truth == round(shared, 9) for truth, _, shared in tried.values()),
    )


def _bell_distance(counts: Any) -> float:
    """Total variation between shares of paths and the normal density of the same mean and variance at the cells."""
    shares = np.array([float(c) for c in counts])
    shares /= shares.sum()
    cells = np.arange(len(shares))
    centre = float(shares @ cells)
    variance = float(shares @ (cells - centre) ** 2)
    bell = np.exp(-((cells - centre) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return float(np.abs(shares - bell).sum() / 2)


@section.claim(
    "end of 3.1",
    "“using the central limit theorem … the number of paths from top to bottom … will follow a shape dictated by a Gaussian "
    "bell centered on the middle input units”",
    when="it is the map of ONE output unit, at stride 1, whose paths meet no padding",
    instead="With zero padding and depth ≫ n² the map of any unit tends to half a sine wave, sin(π(i + 1)/(n + 1)). With K = "
    "3 and stride 2 it is Stern's diatomic sequence at every depth.",
    tests=(
        "tests/lattice/test_theorems.py::test_the_bell_of_one_unit_is_gaussian_up_to_one_over_the_depth",
        "tests/lattice/test_theorems.py::test_a_deep_padded_strip_is_half_a_sine_wave_and_no_bell",
    ),
)
def gaussian_bell() -> Finding:
    free = {depth: _bell_distance(pascal_row(3, depth)) for depth in (5, 10, 20, 40, 80)}
    deep = np.array([float(c) for c in path_counts(same(9, 400), (4,))])
    sine = np.sin(np.pi * np.arange(1, 10) / 10)
    from_sine = float(np.abs(deep / deep.sum() - sine / sine.sum()).sum() / 2)
    stern = [_bell_distance(path_counts(chain(2 ** (depth + 1) - 1, [Conv(1, 3, 2)] * depth), (0,))) for depth in (3, 6, 9)]
    return Finding(
        f"distance in total variation, one unit, K = 3, no padding: {number(free[5])} at L = 5, {number(free[20])} at 20, "
        f"{number(free[80])} at 80. Nine padded cells, L = 400: {number(_bell_distance(deep))} from a bell, less than 1e-9 "
        f"from the sine. Stride 2: {listed(stern)} at L = 3, 6, 9",
        printed=stern[-1] < 0.01,
        within=all(free[2 * depth] < 0.6 * free[depth] for depth in (5, 10, 20, 40)),
        corrected=from_sine < 1e-9 < _bell_distance(deep),
    )


@section.claim(
    "end of 3.1, with #p̄",
    "the same bell for the connectivity #p̄ of the output layer",
    instead="Averaged over the outputs of zero-padded layers the counts are a plateau of K^L with dark borders.",
    tests=(
        "tests/lattice/test_theorems.py::test_the_mean_over_the_outputs_of_padded_layers_is_no_bell",
        "tests/lattice/test_theorems.py::test_the_mean_over_outputs_of_padded_layers_has_dark_borders",
    ),
)
def mean_map_is_a_plateau() -> Finding:
    total, single = listed_counts(same(9, 2)), listed_counts(same(9, 2), (4,))
    plateau = all(set(listed_counts(same(2 * depth + 3, depth))[depth:-depth]) == {3**depth} for depth in (1, 2, 3))
    peak = sum(count == max(total) for count in total) == 1
    return Finding(f"9 cells, K = 3, L = 2: one unit {listed(single)}, all units {listed(total)}", peak, corrected=plateau)
