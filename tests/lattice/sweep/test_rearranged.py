"""What a rearrangement passes down, against the matrix of zeros and ones that it is."""

import numpy as np
import pytest

from lattice import Rearrange
from lattice.network.shapes import output_shape, sources
from lattice.sweep.pullback import pull

OPS = [
    Rearrange(((2,), (2, 2), (3,)), ((2, 0), (1,), (3,))),
    Rearrange(((2,), (4,), (3,)), ((0,), (1, 2))),
    Rearrange(((2,), (5,), (2,)), ((0,), (1,), (2,)), (None, (0, 0, -1, 3, 2), (2, 0))),
    Rearrange(((3,), (4,), (3,)), ((0,), (2,), (1,)), ((1, -1, 1), None, None)),
]


@pytest.mark.parametrize("op", OPS, ids=str)
def test_the_sweep_is_the_transposed_matrix(op):
    shape = (2, 4, 3)
    output = output_shape(op, shape)
    matrix = (sources(op, shape).ravel()[:, None] == np.arange(24)).astype(int)
    cotangent = np.random.default_rng(0).integers(1, 9, size=(2, *output))
    (found,) = pull(op, (shape,), cotangent, output)
    assert (found == (cotangent.reshape(2, -1) @ matrix).reshape(2, *shape)).all()


def test_channels_that_are_alike_stay_one():
    (found,) = pull(OPS[2], ((2, 4, 3),), np.arange(1, 11).reshape(1, 5, 2), (2, 5, 2))
    assert found.tolist() == [[[2 + 4, 0, 1 + 3], [0, 0, 0], [10, 0, 9], [8, 0, 7]]]
