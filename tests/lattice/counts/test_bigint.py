"""Products, quotients, binomials and sums of long integers are those of Python's own."""

import operator
from math import comb

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lattice.counts.bigint import _ratio_sum, binomial, exact_quotient, exact_ratio_sum, product


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
