"""Networks small enough to enumerate, and the comparison with all their weights."""

import numpy as np

from landscape import rademacher
from landscape.laws.moments import pool_cells
from lattice import (
    GlobalPool,
    Pool,
    pull_back,
)
from validation.montecarlo.enumerate import enumerated_squared_gradients


def assert_exact(net, land, rtol=1e-12):
    truth = enumerated_squared_gradients(net, initialisation=rademacher)
    np.testing.assert_allclose(land.squared, truth, rtol=rtol, atol=rtol * truth.max())


def single_paths(net):
    """Proposition 1 as printed: single paths only, V[w] = 1."""

    def weight(node):
        cells = pool_cells(node.op, net.input_shapes(node)[0][1:]) if isinstance(node.op, Pool | GlobalPool) else np.ones(1)
        return cells**-2.0

    return pull_back(net, weight, np.ones((1, *net.output_shape[1:])) / np.prod(net.output_shape)).mean(axis=0)
