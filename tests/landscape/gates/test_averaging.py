"""Averages over positions that are alike, against loops over the positions."""

import itertools

import numpy as np
import pytest

from landscape.gates.averaging import average_alike, pointwise, ratio


def kind(position, size, kernel, border):
    """What makes a cell alike: its place in its window, and its windows' distances from the two borders, cut off."""
    windows, window = -(-size // kernel), position // kernel
    first, last = window, windows - 1 - window
    where = ("first", first) if first < border else ("last", last) if last < border else ("inside",)
    return (*where, position % kernel)


@pytest.mark.parametrize(
    ("shape", "kernel"), [((12,), None), ((13,), (2,)), ((9, 11), None), ((10, 7), (3, 2)), ((2, 3), None)]
)
@pytest.mark.parametrize("border", [0, 1, 3])
def test_rates_are_averaged_over_the_cells_that_are_alike(shape, kernel, border):
    rates = np.random.default_rng(0).random(shape)
    cells = list(itertools.product(*map(range, shape)))
    kinds = {
        c: tuple(kind(i, n, k, border) for i, n, k in zip(c, shape, kernel or (1,) * len(shape), strict=True)) for c in cells
    }
    expected = {c: np.mean([rates[d] for d in cells if kinds[d] == kinds[c]]) for c in cells}
    found = average_alike(rates, kernel, border)
    assert all(found[c] == pytest.approx(expected[c]) for c in cells)


def test_a_ratio_of_nothing_is_nothing_at_any_scale():
    top, bottom = np.array([3e-300, 0.0, 2e300, 1.0]), np.array([1e-300, 0.0, 1e300, 4.0])
    assert ratio(top, bottom).tolist() == [3.0, 0.0, 2.0, 0.25]
    assert ratio(np.ones((2, 1)), np.array([2.0, 4.0])).tolist() == [[0.5, 0.25]] * 2


@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 3, 4)])
def test_a_function_of_entries_is_the_same_with_equal_rows_left_out(shape):
    draw = np.random.default_rng(1)
    x, y = draw.integers(0, 2, shape).astype(float), draw.integers(0, 2, shape[-1]).astype(float)
    asked = []

    def both(a, b):
        asked.append(a.size)
        return a + 2 * b, a * b

    total, product = pointwise(both, x, y)
    np.testing.assert_array_equal(total, x + 2 * y)
    np.testing.assert_array_equal(product, x * y)
    assert asked[0] <= x.size


def test_equal_rows_are_asked_for_once():
    asked = []
    (found,) = pointwise(
        lambda a: (asked.append(a.size), (a**2,))[1], np.repeat(np.repeat([[1.0, 2.0]], 50, axis=0), 30, axis=1)
    )
    assert asked == [2]
    assert found.shape == (50, 60)
