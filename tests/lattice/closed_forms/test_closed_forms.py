"""Closed forms against OEIS rows, against each other, and against the paths of the lattices that they describe."""

import builtins
import operator
import time
from fractions import Fraction
from math import comb, log, pi

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lattice import (
    Conv,
    IrregularLatticeError,
    Lattice,
    Pool,
    ResourceError,
    SpecificationError,
    families,
    path_counts,
    residual,
)
from lattice.closed_forms.limits import gaussian_limit, offset_cumulant, offset_moments
from lattice.closed_forms.pascal import pascal_coefficient, pascal_row, residual_row, stern, stern_maximum, stern_period
from lattice.closed_forms.strips import perron_depth, perron_vector, strip_counts_reflection, strip_counts_spectral
from lattice.counts.bigint import _ratio_sum, binomial, exact_quotient, exact_ratio_sum, product


def power_row(coefficients, depth):
    """The row by shifted additions, the definition."""
    row = [1]
    for _ in range(depth):
        below = [0] * (len(row) + len(coefficients) - 1)
        for n, number in enumerate(row):
            for k, factor in enumerate(coefficients):
                below[n + k] += number * factor
        row = below
    return row


# --- generalised Pascal triangles ------------------------------------------------------------


@pytest.mark.parametrize(
    ("oeis", "kernel", "triangle"),
    [
        ("A007318", 2, [1, 1, 1, 1, 2, 1, 1, 3, 3, 1, 1, 4, 6, 4, 1, 1, 5, 10, 10, 5, 1]),
        ("A027907", 3, [1, 1, 1, 1, 1, 2, 3, 2, 1, 1, 3, 6, 7, 6, 3, 1, 1, 4, 10, 16, 19, 16, 10, 4, 1]),
        ("A008287", 4, [1, 1, 1, 1, 1, 1, 2, 3, 4, 3, 2, 1, 1, 3, 6, 10, 12, 12, 10, 6, 3, 1]),
        ("A035343", 5, [1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 4, 3, 2, 1, 1, 3, 6, 10, 15, 18, 19, 18, 15, 10, 6, 3, 1]),
    ],
)
def test_rows_are_those_of_the_oeis(oeis, kernel, triangle):
    found = []
    for depth in range(20):
        found += pascal_row(kernel, depth)
    assert found[: len(triangle)] == triangle


def test_central_coefficients_are_those_of_the_oeis():
    trinomial = [1, 1, 3, 7, 19, 51, 141, 393, 1107, 3139, 8953, 25653, 73789, 212941, 616227, 1787607]  # A002426
    assert [pascal_row(3, depth)[depth] for depth in range(16)] == trinomial
    assert [pascal_coefficient(3, depth, depth) for depth in range(16)] == trinomial
    binomials = [1, 2, 6, 20, 70, 252, 924, 3432, 12870, 48620, 184756]  # A000984
    assert [residual_row(3, depth)[depth] for depth in range(11)] == binomials
    assert [pascal_row(2, 2 * depth)[depth] for depth in range(11)] == binomials


@given(st.integers(1, 9), st.integers(0, 30))
def test_rows_are_powers_of_the_kernel_polynomial(kernel, depth):
    row = pascal_row(kernel, depth)
    assert row == power_row([1] * kernel, depth)
    assert all(type(number) is int for number in row)
    assert sum(row) == kernel**depth


@given(st.integers(1, 9), st.integers(0, 40), st.data())
def test_a_coefficient_is_an_entry_of_the_row(kernel, depth, data):
    row = pascal_row(kernel, depth)
    n = data.draw(st.integers(-2, len(row) + 1))
    assert pascal_coefficient(kernel, depth, n) == (row[n] if 0 <= n < len(row) else 0)


@pytest.mark.parametrize(("kernel", "depth"), [(3, 1000), (2, 1001), (5, 333), (8, 250)])
def test_rows_and_coefficients_agree_where_numbers_are_long(kernel, depth):
    row = pascal_row(kernel, depth)
    assert sum(row) == kernel**depth
    for n in (0, 1, kernel, len(row) // 3, len(row) // 2, len(row) - 2):
        assert pascal_coefficient(kernel, depth, n) == row[n]


def test_python_flint_finds_the_same_rows_and_coefficients():
    flint = pytest.importorskip("flint")
    for kernel, depth in [(3, 400), (4, 123), (7, 200)]:
        assert pascal_row(kernel, depth) == [int(c) for c in (flint.fmpz_poly([1] * kernel) ** depth).coeffs()]


def test_coefficients_do_not_need_python_flint(monkeypatch):
    expected = pascal_coefficient(3, 20_000, 19_000)

    def without_flint(name, *arguments, **keywords):
        if name == "flint":
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without_flint)
    found = pascal_coefficient(3, 20_000, 19_000)
    assert found == expected
    assert type(found) is int


def test_single_coefficients_of_a_million_layers_are_cheap_near_the_end():
    depth = 10**6
    start = time.perf_counter()
    assert pascal_coefficient(3, depth, 1) == depth
    assert pascal_coefficient(3, depth, 2 * depth - 2) == depth * (depth + 1) // 2
    assert pascal_coefficient(9, depth, 8) == comb(depth + 7, 8)
    assert time.perf_counter() - start < 2


@pytest.mark.slow
def test_the_central_coefficient_of_a_million_layers():
    """A prime p > 2 in place of L: the central trinomial coefficient is 1 modulo p, by Fermat in the ring of polynomials."""
    prime = 999_983
    value = pascal_coefficient(3, prime, prime)
    assert value % prime == 1
    assert value.bit_length() == round((prime * log(3) - log(4 * pi * prime / 3) / 2) / log(2) + 0.5)


@given(st.integers(0, 4), st.integers(0, 12))
def test_a_residual_row_sums_over_the_blocks_that_are_skipped(radius, depth):
    kernel = 2 * radius + 1
    expected = [0] * (2 * radius * depth + 1)
    for m in range(depth + 1):
        for n, number in enumerate(pascal_row(kernel, m), start=radius * (depth - m)):
            expected[n] += comb(depth, m) * number
    assert residual_row(kernel, depth) == expected
    block = residual([Conv(1, kernel, padding=radius)])
    net = Lattice.chain((1, len(expected)), [block] * depth or [Conv(1, 1)])
    assert path_counts(net, (radius * depth,)).tolist() == expected


# --- large integers ------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(60_001, 200_000), st.integers(60_001, 200_000), st.booleans())
def test_products_by_fourier_transform_are_exact(seed, one, other, negative):
    generator = np.random.default_rng(seed)
    a, b = (int.from_bytes(generator.bytes(bits // 8 + 8), "little") for bits in (one, other))
    a = -a if negative else a
    assert product(a, b) == a * b
    assert product(a, a) == a * a
    assert exact_quotient(a * b, b) == a
    assert exact_quotient(a * (b << 77), b << 77) == a


@pytest.mark.parametrize("bits", [60_000, 100_000, 2_000_000])
def test_products_are_exact_where_all_bytes_are_largest(bits):
    ones = (1 << bits) - 1
    assert product(ones, ones) == (1 << 2 * bits) - (1 << bits + 1) + 1


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_ratio_sums_are_exact_in_every_integer_type(n, start, length):
    ratios = [(n - j, j + 1) for j in range(start, start + length)]
    expected = sum(comb(n, j) for j in range(start, start + length + 1))
    assume(all(p >= 0 for p, _ in ratios) or start == 0)
    assert exact_ratio_sum(comb(n, start), ratios) == expected
    assert _ratio_sum(comb(n, start), ratios, int, operator.mul, operator.floordiv) == expected


@settings(max_examples=20)
@given(st.integers(0, 60_000), st.integers(-5, 60_000))
@example(60_000, 30_000)  # long enough for its primes
@example(50_021, 24_999)
def test_binomials_from_their_primes(n, k):
    assert binomial(n, k) == (comb(n, k) if k >= 0 else 0)


# --- the padded strip ------------------------------------------------------------


@given(st.integers(1, 14), st.integers(0, 40), st.data())
def test_spectral_form_reflection_form_and_paths_are_equal(width, depth, data):
    output = data.draw(st.none() | st.integers(0, width - 1))
    net = families.plain(width, depth, padding=1) if depth else Lattice.chain((1, width), [Conv(1, 1)])
    counts = path_counts(net, None if output is None else (output,))
    assert (strip_counts_reflection(width, depth, output) == counts).all()
    assert (strip_counts_spectral(width, depth, output) == counts).all()


def test_the_two_forms_are_equal_far_beyond_float64():
    assert (strip_counts_spectral(60, 3000, 7) == strip_counts_reflection(60, 3000, 7)).all()
    assert all(type(count) is int for count in strip_counts_spectral(4, 3))


@given(st.integers(1, 12), st.sampled_from([0.3, 0.01, 1e-4]))
def test_from_the_perron_depth_on_the_counts_are_half_a_sine_wave(width, tolerance):
    depth = perron_depth(width, tolerance)
    sine = perron_vector(width)
    leading = 1 + 2 * np.cos(pi / (width + 1))
    for output in range(width):
        first = 2 / (width + 1) * sine * sine[output] * leading**depth
        counts = strip_counts_reflection(width, depth, output).astype(float)
        assert np.abs(counts / first - 1).max() <= tolerance * (1 + 1e-9)


def test_no_depth_is_needed_for_a_tolerance_of_all_modes_together():
    assert [perron_depth(3, tolerance) for tolerance in (13.1, 13, 12.9)] == [0, 0, 1]  # 2^2 + 3^2


def test_the_perron_depth_is_not_far_too_deep():
    """The bound is sharp: from an edge, at half that depth, the counts are not half a sine wave yet."""
    for width in (5, 12, 30):
        depth = perron_depth(width, 0.01) // 2
        counts = strip_counts_reflection(width, depth, 0).astype(float)
        sine = perron_vector(width)
        first = 2 / (width + 1) * sine * sine[0] * (1 + 2 * np.cos(pi / (width + 1))) ** depth
        assert np.abs(counts / first - 1).max() > 0.01


# --- Stern ------------------------------------------------------------


def test_stern_is_the_oeis_sequence():
    expected = [0, 1, 1, 2, 1, 3, 2, 3, 1, 4, 3, 5, 2, 5, 3, 4, 1, 5, 4, 7, 3, 8, 5, 7, 2, 7, 5, 8, 3, 7, 4, 5]  # A002487
    assert [stern(n) for n in range(32)] == expected


@given(st.integers(0, 2**64))
def test_stern_obeys_its_recurrence(n):
    assert stern(2 * n) == stern(n)
    assert stern(2 * n + 1) == stern(n) + stern(n + 1)


@pytest.mark.parametrize("depth", range(9))
def test_a_period_of_stern_holds_its_maximum(depth):
    period = stern_period(depth)
    assert period == [stern(2**depth + r + 1) for r in range(2**depth)]
    assert period == [stern(r + 1) + stern(2**depth - r - 1) for r in range(2**depth)]
    assert max(period) == stern_maximum(depth)
    assert min(period) == 1


# --- limits ------------------------------------------------------------


@st.composite
def unpadded_chains(draw, axes=1):
    layers = [
        draw(
            st.sampled_from(
                [Conv(1, k, s, dilation=d) for k in (1, 2, 3, 4) for s in (1, 2) for d in (1, 2)] + [Pool("avg", 2)]
            )
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    size = 1
    for layer in reversed(layers):
        window = layer.windows((50,))[0]
        size = window.stride * (size - 1) + window.span
    return Lattice.chain((1, *(size + draw(st.integers(0, 2)) for _ in range(axes))), layers)


@given(unpadded_chains())
def test_moments_and_cumulants_are_those_of_the_paths(net):
    counts = path_counts(net, (0,))
    total = int(counts.sum())

    def moment(order, about=Fraction(0)):
        return sum((count * (i - about) ** order for i, count in enumerate(counts)), Fraction(0)) / total

    ((mean, variance),) = offset_moments(net)
    assert mean == moment(1)
    assert variance == moment(2, mean)
    second, fourth, sixth = (moment(order, mean) for order in (2, 4, 6))
    assert offset_cumulant(net, 3) == offset_cumulant(net, 5) == (0,)
    assert offset_cumulant(net, 4) == (fourth - 3 * second**2,)
    assert offset_cumulant(net, 6) == (sixth - 15 * fourth * second + 30 * second**3,)


@given(unpadded_chains(axes=2))
def test_axes_have_moments_of_their_own(net):
    one, other = offset_moments(net)
    assert one == other
    counts = path_counts(net, (0, 0))
    total = int(counts.sum())
    for axis, moments in enumerate((one, other)):
        along = counts.sum(axis=1 - axis)
        assert moments.mean == sum((Fraction(count * i, total) for i, count in enumerate(along)), Fraction(0))


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_each_correction_brings_the_bell_closer_at_its_rate(kernel):
    """Doubling the depth divides the distance by 2, 4 and 8: errors of order 1/L, 1/L^2, 1/L^3."""
    for order, rate in ((2, 2), (4, 4), (6, 8)):
        near, far = (
            gaussian_limit(families.plain((kernel - 1) * depth + 1, depth, kernel), (0,), order).total_variation
            for depth in (40, 80)
        )
        assert near / far == pytest.approx(rate, rel=0.1)


def test_a_dilated_bell_stands_on_every_second_cell_and_axes_multiply():
    limit = gaussian_limit(families.plain((81, 41), 20, dilation=(2, 1)), (0, 0), order=4)
    assert (limit.share[1::2] == 0).all()
    assert limit.total_variation < 1e-3
    assert limit.exact.sum() == pytest.approx(1)
    point = gaussian_limit(families.plain(5, 3, kernel=1), (2,))
    assert point.total_variation == 0


def test_a_layer_of_kernel_one_changes_no_bell():
    dilated, point = Conv(1, 3, dilation=2), Conv(1, 1)
    alone = gaussian_limit(Lattice.chain((1, 17), [dilated, dilated, dilated]), (0,))
    with_point = gaussian_limit(Lattice.chain((1, 17), [dilated, point, dilated, dilated]), (0,))
    np.testing.assert_array_equal(alone.share, with_point.share)


@pytest.mark.parametrize(("padding", "stride", "size"), [((1, 0), 1, 9), ((0, 1), 1, 9), ((1, 0), 3, 10)])
def test_a_bell_has_no_padding_on_either_side(padding, stride, size):
    with pytest.raises(IrregularLatticeError, match="read no padding, and conv1"):
        gaussian_limit(Lattice.chain((1, size), [Conv(1, 3, stride, padding=(padding,))]), (0,))


def test_strides_have_no_bell_and_the_distance_says_so():
    strided = Lattice.chain((1, 2**9), [Conv(1, 3, stride=2)] * 8)
    assert gaussian_limit(strided, (0,)).total_variation > 0.1


# --- refusals ------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pascal_row(3, 10**6),
            r"pascal_row\(3, 1000000\) has 2000001 entries .*GiB.*pascal_coefficient\(3, 1000000, n\)",
        ),
        (lambda: residual_row(5, 10**6), "GiB.*log_path_counts"),
        (lambda: pascal_coefficient(3, 10**8, 10**8), "bits.*gaussian_limit"),
        (lambda: strip_counts_spectral(10**5, 10**4), "strip_counts_reflection"),
        (lambda: strip_counts_reflection(5, 10**6), "GiB"),
        (lambda: stern_period(60), r"2\^60 entries.*stern_maximum\(60\)"),
    ],
)
def test_huge_requests_are_estimated_and_name_the_cheaper_call(call, message):
    with pytest.raises(ResourceError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pascal_row(0, 3), "kernel is 0; it is a whole number, at least 1"),
        (lambda: pascal_row(3, -1), "depth is -1"),
        (lambda: pascal_row(3, 2.0), r"depth is 2\.0"),
        (lambda: residual_row(4, 2), "even kernel has no centre"),
        (lambda: strip_counts_reflection(4, 2, 4), "outputs 0 to 3"),
        (lambda: perron_depth(4, 0.0), "positive"),
        (lambda: stern(-1), "n is -1"),
        (lambda: offset_cumulant(families.plain(9, 2), 0), "order is 0"),
        (lambda: gaussian_limit(families.plain(9, 2), (0,), 3), "order is 3"),
    ],
)
def test_requests_that_make_no_sense_say_so(call, message):
    with pytest.raises(SpecificationError, match=message):
        call()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv(1, 3), Conv(1, 3, padding=1)], "conv2 reads Window.*padding=0.*path_counts"),
        ([residual([Conv(1, 3, padding=1)])], "add1"),
    ],
)
def test_moments_of_padded_or_branching_nets_name_the_layer(layers, message):
    with pytest.raises(IrregularLatticeError, match=message):
        offset_moments(Lattice.chain((1, 9), layers))


def test_padding_that_no_tap_reads_is_no_padding():
    net = Lattice.chain((1, 8), [Conv(1, 3, stride=2), Conv(1, 1, stride=2, padding=(0, 1))])
    assert offset_moments(net)[0].mean == 1
