"""The theorems about path counts, as properties; and the paper's statements that are wrong, each with a counterexample.

The proofs stand in the docstrings of the closed forms, or here, where a theorem has no function of its own. Every refuted
statement is tested twice: the corrected one holds wherever it is tried, the printed one fails on the stored lattice.
"""

from fractions import Fraction
from itertools import pairwise, permutations, product
from math import comb, gcd, perm

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from lattice import (
    SKIP,
    Conv,
    Lattice,
    Pool,
    SpecificationError,
    commands,
    families,
    mean_path_counts,
    path_counts,
    residual,
    route,
)
from lattice.closed_forms.limits import gaussian_limit, offset_moments
from lattice.closed_forms.pascal import pascal_coefficient, pascal_row, residual_row, stern, stern_maximum, stern_period
from lattice.closed_forms.strips import perron_depth, perron_vector, strip_counts_reflection, strip_counts_spectral
from lattice.closed_forms.symbolic import generating_function, path_polynomials
from lattice.counts.distributions import skip_distribution
from lattice.counts.regular import is_regular, multinomial_count

kernels, depths = st.integers(1, 6), st.integers(1, 6)


def assert_equal(found, expected):
    assert list(found) == list(expected)


def chain_of(windows, more=0):
    """An unpadded chain of (kernel, stride, dilation) whose top has one unit, over the fewest cells and `more`."""
    size = 1
    for kernel, stride, dilation in reversed(windows):
        size = stride * (size - 1) + dilation * (kernel - 1) + 1
    return Lattice.chain((1, size + more), [Conv(1, kernel, stride, dilation=dilation) for kernel, stride, dilation in windows])


# --- unpadded layers ------------------------------------------------------------


@given(kernels, depths)
def test_stacked_layers_draw_the_generalised_pascal_triangle(kernel, depth):
    net = families.plain((kernel - 1) * depth + 1, depth, kernel)
    assert_equal(path_counts(net, (0,)), pascal_row(kernel, depth))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_a_stride_raises_the_letter_of_the_layers_above_it(windows):
    """prod_l (1 + x^d + ... + x^(d (K-1))) at x^(S_l): i = s j + d k, so a step of j above is s steps of i below."""
    net = chain_of(windows)
    row, step = [1], 1
    for kernel, stride, dilation in windows:
        below = [0] * (len(row) + step * dilation * (kernel - 1))
        for k in range(kernel):
            for position, number in enumerate(row, start=step * dilation * k):
                below[position] += number
        row, step = below, step * stride
    assert_equal(path_counts(net, (0,)), row)
    assert sympy.Poly(generating_function(net), sympy.Symbol("x")).all_coeffs()[::-1] == row


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_the_offset_has_the_mean_and_variance_of_independent_taps(windows):
    net = chain_of(windows)
    counts = path_counts(net, (0,))
    total = sum(counts)
    mean = Fraction(sum(i * count for i, count in enumerate(counts)), total)
    variance = Fraction(sum(i * i * count for i, count in enumerate(counts)), total) - mean**2
    assert offset_moments(net) == ((mean, variance),)


@given(kernels, depths, st.integers(-1, 40))
def test_a_coefficient_is_an_inclusion_exclusion_sum(kernel, depth, n):
    terms = range(max(n, -1) // kernel + 1)
    total = sum((-1) ** j * comb(depth, j) * comb(depth - 1 + n - kernel * j, depth - 1) for j in terms)
    assert pascal_coefficient(kernel, depth, n) == total


@given(st.integers(0, 12))
def test_the_bell_of_one_unit_is_gaussian_up_to_one_over_the_depth(more):
    depth = 10 + more
    limit = gaussian_limit(families.plain(2 * depth + 1, depth), (0,))
    assert 0.05 < limit.total_variation * depth < 0.12


# --- identity skips ------------------------------------------------------------


@given(depths)
def test_identity_skips_around_k3_make_pascal_s_own_triangle(depth):
    """1/x + 1 + x + 1 = (1 + x)^2 / x."""
    net = Lattice.chain((1, 2 * depth + 1), [residual([Conv(1, 3, padding=1)])] * depth)
    assert_equal(path_counts(net, (depth,)), [comb(2 * depth, depth + d) for d in range(-depth, depth + 1)])


@given(st.integers(0, 2), st.integers(1, 4))
def test_skips_choose_which_blocks_count(radius, depth):
    kernel, reach = 2 * radius + 1, radius * depth
    net = Lattice.chain((1, 2 * reach + 1), [residual([Conv(1, kernel, padding=radius)])] * depth)
    assert_equal(path_counts(net, (reach,)), residual_row(kernel, depth))
    for skips, counts in enumerate(skip_distribution(net, (reach,))):
        row = pascal_row(kernel, depth - skips)
        assert_equal(counts, [0] * (radius * skips) + [comb(depth, skips) * number for number in row] + [0] * (radius * skips))


# --- zero padding ------------------------------------------------------------


@given(st.integers(1, 10), st.integers(1, 25), st.data())
def test_spectrum_reflections_and_paths_agree_on_the_padded_strip(width, depth, data):
    output = data.draw(st.none() | st.integers(0, width - 1))
    counts = path_counts(families.plain(width, depth, padding=1), None if output is None else (output,))
    assert_equal(strip_counts_spectral(width, depth, output), counts)
    assert_equal(strip_counts_reflection(width, depth, output), counts)


@given(st.integers(5, 12), st.data())
def test_a_deep_padded_strip_is_half_a_sine_wave_and_no_bell(width, data):
    depth = perron_depth(width, 1e-3)
    output = data.draw(st.integers(0, width - 1))
    counts = path_counts(families.plain(width, depth, padding=1), (output,))
    shares = np.array([count / sum(counts) for count in counts])
    sine = perron_vector(width) / perron_vector(width).sum()
    assert np.abs(shares / sine - 1).max() < 3e-3
    # a Gaussian of any width would have differences of its logarithm that fall in a straight line
    bends = np.diff(np.log(shares), 2)
    assert np.ptp(bends) > 0.1


@given(st.integers(0, 2), st.integers(1, 4), st.integers(2, 14))
def test_one_more_cell_adds_all_words_iff_no_path_meets_both_borders(radius, depth, width):
    """Zero 'same' padding, K = 2r + 1: total(w, L) - total(w - 1, L) = K^L iff w > r L.

    A word of taps fits w - (its span) places, its span being the highest minus the lowest of its partial sums, or none. So
    total(w) = sum over words of max(0, w - span), and one more cell adds the words with span < w: all of them iff the
    longest, r L, is one.
    """

    def total(cells):
        return sum(path_counts(families.plain(cells, depth, 2 * radius + 1, padding=radius)))

    assert (total(width) - total(width - 1) == (2 * radius + 1) ** depth) == (width > radius * depth)


# --- circular padding and strides ------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.data())
def test_circular_padding_at_stride_one_is_flat(kernel, dilation, depth, data):
    span = dilation * (kernel - 1)
    size = data.draw(st.integers(max(span, 1), span + 6))
    low = data.draw(st.integers(0, span))
    layer = Conv(1, kernel, padding=((low, span - low),), dilation=dilation, mode="circular")
    assert_equal(path_counts(Lattice.chain((1, size), [layer] * depth)), [kernel**depth] * size)


@settings(max_examples=60)
@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 3))
def test_the_interior_is_flat_iff_the_stride_divides_the_kernel(kernel, stride, depth):
    """A period of s^L is flat iff prod_l F(w^(s^l)) = 0 for all s^L-th roots w of one, F(x) = (1 - x^K)/(1 - x).

    If s | K the factor that kills w is the one with w^(s^l) a primitive s-th root or a power of it. If not, a primitive
    w is killed by none, for that would need s^(L-l) | K.
    """
    period = stride**depth
    reach = kernel * (period if stride > 1 else depth)
    net = Lattice.chain((1, 3 * reach + 3 * period), [Conv(1, kernel, stride)] * depth)
    start = -(-reach // period) * period
    interior = path_counts(net)[start : start + period]
    assert (len(set(interior)) == 1) == (kernel % stride == 0)


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 5))
def test_with_a_dilation_it_must_also_share_no_divisor_with_the_stride(kernel, stride, dilation):
    net = Lattice.chain((1, 120), [Conv(1, kernel, stride, dilation=dilation)])
    interior = path_counts(net)[50 : 50 + stride]
    assert (len(set(interior)) == 1) == (kernel % stride == 0 and gcd(dilation, stride) == 1)


@given(st.integers(1, 6))
def test_k3_with_stride_two_is_sterns_sequence_worst_bias_fibonacci(depth):
    net = Lattice.chain((1, 5 * 2**depth - 1), [Conv(1, 3, stride=2)] * depth)
    counts = path_counts(net)
    assert_equal(path_counts(net, (0,))[: 2**depth], [stern(n + 1) for n in range(2**depth)])
    interior = counts[2**depth : 2 * 2**depth]
    assert_equal(interior, stern_period(depth))
    fibonacci = [0, 1]
    while len(fibonacci) < depth + 3:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    assert max(counts) == max(interior) == stern_maximum(depth) == fibonacci[depth + 2]


@given(st.integers(0, 30), st.integers(1, 7), st.integers(1, 3), st.integers(0, 3))
def test_windows_are_symmetric_exactly_if_the_stride_leaves_no_rest(more, kernel, stride, padding):
    """Window j starts at s j - p; mirrored, at n + p - K - s j: the same set of starts iff s | n + 2 p - K."""
    size = kernel + more
    layer = Conv(1, kernel, stride, padding=padding)
    outputs = layer.windows((size,))[0].outputs(size)
    windows = {tuple(stride * j + k - padding for k in range(kernel)) for j in range(outputs)}
    mirrored = {tuple(size - 1 - i for i in reversed(cells)) for cells in windows}
    even = (size + 2 * padding - kernel) % stride == 0
    assert (windows == mirrored) == even
    counts = list(path_counts(Lattice.chain((1, size), [layer])))
    assert not even or counts == counts[::-1]


def test_resnet_stages_are_even_for_sizes_one_above_a_multiple_of_32():
    def layers():
        return [Conv(1, 7, 2, padding=3), Pool("max", 3, 2, padding=1), *[Conv(1, 3, 2, padding=1) for _ in range(3)]]

    for size in range(1, 300):
        net = Lattice.chain((1, size), layers())
        stages = zip(net.nodes[1:], net.shapes[:-1], strict=True)
        even = all((n + 2 * node.op.padding - node.op.kernel) % 2 == 0 for node, (_, n) in stages)
        assert even == (size % 32 == 1)
        counts = list(path_counts(net))
        assert not even or counts == counts[::-1]


# --- errata: what the paper says, and what is true ------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_command_vectors_are_words(kernel, depth, channels):
    """Erratum 1. Eq. 2 draws from "permutations" P(L, K C): there are (K C)^L vectors, with repetition."""
    layers = [Conv(channels, kernel)] * depth
    net = Lattice.chain((channels, (kernel - 1) * depth + 1), layers)
    vectors = list(commands(net, (0,)))
    assert len(vectors) == len(set(vectors)) == (kernel * channels) ** depth


def test_command_vectors_are_not_permutations():
    """Erratum 1, smallest counterexample: K = L = 2 has 4 vectors and 2 permutations; with L > K there would be none."""
    net = families.plain(3, depth=2, kernel=2)
    assert len(list(commands(net, (0,)))) == 4
    assert perm(2, 2) == 2
    assert perm(2, 3) == 0


@given(kernels, st.integers(1, 4), st.integers(1, 3))
def test_unpadded_equal_layers_do_not_care_about_the_order_of_commands(kernel, depth, dilation):
    """Erratum 2, the corrected statement: i = S j + sum_l d c_l is symmetric in the commands; any stride on top."""
    windows = [(kernel, 1, dilation)] * (depth - 1) + [(kernel, 3, dilation)]
    net = chain_of(windows, more=4)
    assert is_regular(net)
    counts = path_counts(net, (0,))
    assert [multinomial_count(net, (0,), (i,)) for i in range(len(counts))] == list(counts)


@pytest.mark.parametrize(
    ("broken_by", "net", "output", "vector"),
    [
        ("a stride below", chain_of([(2, 2, 1), (2, 1, 1)]), (0,), (0, 1)),
        ("another kernel", chain_of([(1, 1, 1), (2, 1, 1)]), (0,), (0, 1)),
        ("another dilation", chain_of([(2, 1, 1), (2, 1, 2)]), (0,), (0, 1)),
        ("padding", Lattice.chain((1, 1), [Conv(1, 2, padding=(1, 0)), Conv(1, 2, padding=(0, 1))]), (0,), (1, 0)),
    ],
)
def test_otherwise_the_order_of_commands_matters(broken_by, net, output, vector):
    """Erratum 2, smallest counterexamples to "the path is permutation invariant": two layers, two taps."""

    def end(order):
        try:
            return route(net, order, output)
        except SpecificationError:
            return None

    assert end(vector) is not None
    assert len({end(order) for order in permutations(vector)}) == 2
    assert not is_regular(net)


def test_the_multinomial_formula_is_wrong_with_a_stride_below():
    """Erratum 2, smallest counterexample: K = 2, s = 2. One path leads to each of four cells, the formula gives 1, 2, 1."""
    net = chain_of([(2, 2, 1), (2, 2, 1)])
    printed = [0] * 4
    for one, other in product(range(2), repeat=2):
        if one <= other:  # a combination stands for its 2! / prod #c! arrangements, all of which should end at one cell
            printed[route(net, (one, other), (0,)).position[0]] += 1 if one == other else 2
    assert printed != list(path_counts(net, (0,))) == [1, 1, 1, 1]
    assert sorted(printed) == [0, 1, 1, 2]


@given(st.integers(3, 12))
def test_skips_add_more_paths_in_the_middle(width):
    """Erratum 3, the corrected statement: two padded blocks add 2 A + 1 to A^2, which is 5, 7, ..., 7, 5."""
    blocks = path_counts(Lattice.chain((1, width), [residual([Conv(1, 3, padding=1)])] * 2))
    added = blocks - path_counts(families.plain(width, 2, padding=1))
    assert_equal(added, [5, *[7] * (width - 2), 5])


def test_skips_do_not_add_a_constant_number_of_paths():
    """Erratum 3, smallest counterexample: one unit, two blocks, three cells."""
    net = Lattice.chain((1, 3), [residual([Conv(1, 3, padding=1)])] * 2)
    added = [sum(SKIP in vector for vector in commands(net, (1,), (i,))) for i in range(3)]
    assert added == [2, 3, 2]


def test_importance_of_a_residual_net_is_not_proportional_to_path_counts():
    """Erratum 3: Eq. 12 takes V out of Eq. 8's sum, but a skipped layer has no V. Counterexample: one block, three cells."""
    net = Lattice.chain((1, 3), [residual([Conv(1, 3, padding=1)])])
    variance = sympy.Symbol("V_1", positive=True)
    sums = path_polynomials(net)
    assert_equal(sums, [1 + 2 * variance, 1 + 3 * variance, 1 + 2 * variance])
    assert_equal(path_counts(net), [3, 4, 3])
    proportional = sympy.solve(sums[1] * 3 - sums[0] * 4, variance)
    assert proportional == [1]  # Eq. 12 would be right for unit variance alone


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12))
def test_the_mean_over_outputs_of_padded_layers_has_dark_borders(radius, depth, more):
    """Erratum 11, the corrected statement: all K^L paths from r L cells inside the borders on, fewer nearer to them."""
    kernel, reach = 2 * radius + 1, radius * depth
    width = 2 * reach + more
    mean = mean_path_counts(families.plain(width, depth, kernel, padding=radius))
    plateau = Fraction(kernel**depth, width)
    assert_equal(mean[reach : width - reach], [plateau] * more)
    rising = list(mean[: reach + 1])
    assert all(low < high for low, high in pairwise(rising))
    assert_equal(mean, mean[::-1])


def test_the_mean_over_the_outputs_of_padded_layers_is_no_bell():
    """Erratum 11, counterexample to "a Gaussian bell": the map of one unit peaks at its centre, the mean map does not."""
    net = families.plain(9, 2, padding=1)
    assert_equal(path_counts(net, (4,)), [0, 0, 1, 2, 3, 2, 1, 0, 0])
    assert_equal(path_counts(net), [5, 8, 9, 9, 9, 9, 9, 8, 5])
