"""Rows and coefficients of Pascal's generalised triangle against OEIS rows and against each other."""

import builtins
import time
from math import comb, log, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice import (
    Conv,
    Lattice,
    path_counts,
    residual,
)
from lattice.closed_forms.pascal import pascal_coefficient, pascal_row, residual_row, stern, stern_maximum, stern_period


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
