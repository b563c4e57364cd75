"""Section 3.1: how many paths there are, by formulas and by listing them."""

from itertools import combinations_with_replacement, permutations, product
from math import comb, factorial, perm, prod
from typing import Any

import networkx as nx
import numpy as np

from experiments.claims.claim import Finding, listed, number
from experiments.claims.means import chain, end, listed_counts, mean, ones_jacobian, outputs, same
from experiments.claims.network.routes import EXAMPLES, section
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
    route,
    unit_graph,
)


@section.claim(
    "Def. 2",
    "there is a path from h_j to h_i iff some command vector leads from j to i",
    tests=("tests/lattice/geometry/test_receptive_field.py::test_a_cell_is_seen_iff_a_path_leads_to_it",),
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
    tests=("tests/lattice/counts/test_multisets.py::test_combinations_are_the_multisets_of_the_command_vectors",),
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
