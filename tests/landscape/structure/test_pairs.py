"""Sets of pairs of positions and the maps between them, against dense matrices and sets written out."""

import numpy as np
import pytest

from landscape.structure.pairs import Pairs, carried_below, diagonal, everything, freeze, needed_above, operator

SIZES = [(1, 1), (3, 4), (4, 3), (5, 7)]  # (outputs, inputs)


def some_maps(outputs, inputs, count, other=None, seed=0):
    """`count` sparse maps on the left and on the right side; the same ones where no other size is given."""
    draw = np.random.default_rng(seed)

    def one(rows, columns):
        return draw.normal(size=(rows, columns)) * (draw.random((rows, columns)) < 0.5)

    lefts = [one(outputs, inputs) for _ in range(count)]
    rights = lefts if other is None else [one(*other) for _ in range(count)]
    return lefts, rights, tuple((freeze(a), freeze(b)) for a, b in zip(lefts, rights, strict=True))


def some_pairs(left, right, seed=0):
    codes = np.flatnonzero(np.random.default_rng(seed).random(left * right) < 0.5)
    return Pairs.of(left, right, codes)


def as_set(pairs):
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("other", [None, (2, 6)])
@pytest.mark.parametrize("count", [1, 3])
def test_the_operator_is_a_product_of_dense_maps(size, other, count):
    lefts, rights, maps = some_maps(*size, count, other)
    (outputs, inputs), (right_outputs, right_inputs) = size, other or size
    above, below = some_pairs(outputs, right_outputs, 1), some_pairs(inputs, right_inputs, 2)
    moments = np.zeros((outputs, right_outputs))
    moments[above.first, above.second] = np.arange(1, len(above) + 1)
    dense = sum(a.T @ moments @ b for a, b in zip(lefts, rights, strict=True))
    found = operator(maps, below, above) @ moments[above.first, above.second]
    np.testing.assert_allclose(found, dense[below.first, below.second], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_needed_and_carried_is_what_the_entries_join(size, count):
    lefts, rights, maps = some_maps(*size, count)
    below = some_pairs(size[1], size[1], 3)
    joined = {
        (j, k): {(i, m) for i, m in as_set(below) if any(a[j, i] * b[k, m] for a, b in zip(lefts, rights, strict=True))}
        for j in range(size[0])
        for k in range(size[0])
    }
    assert as_set(needed_above(maps, below)) == {pair for pair, reached in joined.items() if reached}
    above = some_pairs(size[0], size[0], 4)
    assert as_set(carried_below(maps, below, above)) == set().union(*(joined[pair] for pair in as_set(above)))


def test_pairs_are_sets_of_two_positions():
    pairs, more = Pairs.of(2, 5, np.array([1, 4, 7])), Pairs.of(2, 5, np.array([0, 7]))
    assert as_set(pairs) == {(0, 1), (0, 4), (1, 2)}
    assert as_set(pairs | more) == as_set(pairs) | as_set(more)
    assert len(pairs) == 3
    assert as_set(everything(2, 3)) == {(i, j) for i in range(2) for j in range(3)}
    assert as_set(diagonal(4)) == {(i, i) for i in range(4)}


def test_only_the_whole_diagonal_of_one_axis_is_diagonal():
    assert diagonal(3).is_diagonal
    assert not Pairs.of(3, 3, np.array([0, 4])).is_diagonal
    assert not Pairs.of(3, 3, np.array([0, 4, 5])).is_diagonal
    assert not Pairs.of(2, 3, np.array([0, 4])).is_diagonal
