"""Tails and quadrants against mpmath and against sums over one of the two variables."""

import mpmath
import numpy as np
import pytest
from scipy.special import ndtr

from landscape.gates.gaussian.normal import deviations, quadrant, tail_products, tails


@pytest.mark.parametrize("h", [-6.0, -0.5, 0.0, 1.9, 2.1, 3.0, 9.0, 25.0, 36.0])
def test_moments_of_tails_have_all_digits_however_far_out(h):
    """E[(x - h)+^j] = j! exp(-h^2 / 4) D(-j - 1, h) / sqrt(2 pi) of the parabolic cylinder; the recursion loses them all."""
    with mpmath.workdps(50):
        for j, found in enumerate(tails(np.array([h]), 4)):
            cylinder = mpmath.pcfd(-j - 1, h) * mpmath.exp(-(mpmath.mpf(h) ** 2) / 4)
            exact = mpmath.factorial(j) * cylinder / mpmath.sqrt(2 * mpmath.pi)
            assert abs(found[0] / exact - 1) < 1e-12, j


def beyond(h, k, r, i, j):
    """E[(x - h)+^i (y - k)+^j] as a sum over x of the moments of the tail of y given x, in twenty digits."""
    with mpmath.workdps(20):
        h, k, r = map(mpmath.mpf, (h, k, r))
        c = mpmath.sqrt(1 - r**2)

        def given(x):
            a = (k - r * x) / c
            moments = [mpmath.erfc(a / mpmath.sqrt(2)) / 2, mpmath.npdf(a) - a * mpmath.erfc(a / mpmath.sqrt(2)) / 2]
            moments.append(moments[0] - a * moments[1])
            return (x - h) ** i * c**j * moments[j] * mpmath.npdf(x)

        near = [k / r + c / abs(r) * step for step in range(-8, 9)]
        cuts = {cut for cut in near if cut > h} | {h + step for step in range(12)}
        return float(mpmath.quad(given, sorted(cuts)))


@pytest.mark.parametrize(("h", "k"), [(0.0, 0.0), (0.3, 1.7), (2.5, 2.5), (4.0, 0.5)])
@pytest.mark.parametrize("r", [-0.9, 0.4, 1 - 1e-6])
def test_products_of_two_tails_are_double_integrals(h, k, r):
    rest = np.sqrt((1 - r) * (1 + r))
    found = tail_products(*(np.array([x]) for x in (h, k, r, rest)), degree=2)
    assert set(found) == {(1, 1), (1, 2), (2, 1), (2, 2)}
    for (i, j), one in found.items():
        exact = beyond(h, k, r, i, j)
        assert abs(one.value[0] - exact) <= 20 * 2**-52 * one.size[0], (i, j)
        assert one.size[0] >= abs(exact)


def test_a_quadrant_of_nearly_equal_values_keeps_its_last_digits():
    """P(x > -h, y > -h) falls short of P(x > -h) by n(h) sqrt((1 - r) / pi) as r goes to 1."""
    h, less = np.array([0.7, -1.1]), 1e-12
    apart = ndtr(h) - quadrant(h, h, np.full(2, 1 - less), np.full(2, np.sqrt(less * (2 - less))))
    density = np.exp(-(h**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(apart, density * np.sqrt(less / np.pi), rtol=1e-4)  # 1 - 1e-12 has four digits


def test_deviations_end_where_the_density_does():
    found = deviations(np.array([1.0, -1e300, 0.0, -2.0]), np.array([2.0, 1e-300, 0.0, 0.0]))
    np.testing.assert_array_equal(found, [0.5, -38.0, 0.0, -38.0])
