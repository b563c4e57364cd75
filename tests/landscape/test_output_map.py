"""The output side of a landscape."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import output_map, predict
from lattice import Conv, Dense, Flatten, Lattice, UnsupportedError, families, path_counts


def test_output_positions_get_what_their_paths_are_worth():
    net = Lattice.chain((2, 5, 4), [Conv(3, 3, padding=1), Conv(2, 3, stride=2, padding=1)])
    counts = [path_counts(net, output=where).sum() * 2 for where in np.ndindex(*net.output_shape[1:])]
    np.testing.assert_allclose(output_map(net, initialisation=1.0).ravel(), np.array(counts, dtype=float))


def test_a_stride_that_does_not_divide_the_kernel_makes_a_checkerboard():
    def maps(kernel):
        torch.manual_seed(0)
        made = output_map(nn.ConvTranspose2d(8, 8, kernel, 2, bias=False), (8, 6, 6), initialisation="weights")[3:-3, 3:-3]
        return made / made.mean()

    assert np.ptp(maps(3)) > 0.5
    assert np.ptp(maps(4)) < 1e-12


def test_its_mean_is_that_of_the_input_side():
    net = Lattice.chain((1, 6), [Conv(2, 3, padding=1), Conv(1, 3)])
    assert np.isclose(output_map(net).mean(), predict(net).squared.sum())


def test_a_flat_output_has_no_map():
    with pytest.raises(UnsupportedError, match="no positions"):
        output_map(Lattice.chain((1, 6), [Conv(2, 3), Flatten(), Dense(2)]))
    assert output_map(families.plain(8, depth=1)).shape == (6,)
