"""Arrays over pairs of positions: moved to other pairs, collected through maps, laid on the diagonal."""

import numpy as np

from landscape.structure.arrays import rearranged
from landscape.structure.pairs import Pairs


def test_moments_move_to_other_pairs_by_place_and_are_zero_elsewhere():
    above, below = Pairs.of(2, 3, np.array([0, 2, 5])), Pairs.of(2, 3, np.array([0, 1, 5]))
    moments = np.array([[1.0, 2.0, 3.0]])
    assert rearranged(moments, (above,), (below,)).tolist() == [[1.0, 0.0, 3.0]]
    square = np.arange(9.0).reshape(1, 3, 3)
    assert rearranged(square, (above, above), (above, below)).tolist() == [[[0, 0, 2], [3, 0, 5], [6, 0, 8]]]
