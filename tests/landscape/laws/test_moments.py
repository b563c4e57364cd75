"""The sweep of single connections: Eq. 8 as printed, its variances, and its map at every layer."""

import numpy as np
import pytest

from landscape import path_sum, predict, rademacher
from lattice import (
    Activation,
    Blur,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Pool,
    UnsupportedError,
    commands,
)
from tests.landscape.enumerated import single_paths
from validation.montecarlo.enumerate import enumerated_squared_gradients

relu = Activation("relu")


def test_variances_multiply_along_paths():
    net = Lattice.chain((1, 5), [Conv(1, 2, padding=1), relu, Conv(1, 3), Flatten(), Dense(1)])
    variances = {"conv1": 0.25, "conv2": 9.0, "dense1": 2.0}
    truth = enumerated_squared_gradients(net, initialisation=variances)
    np.testing.assert_allclose(predict(net, initialisation=variances).squared, truth, rtol=1e-12)


POOLED = [GlobalPool("avg"), Flatten(), Dense(1)]


def test_path_sum_is_equation_8_as_printed_and_nothing_more():
    def block(channels):
        return [Conv(channels, 3, padding=1), relu, Conv(channels, 3, 2)]

    chain = Lattice.chain((1, 9), [*block(2), Flatten(), Dense(3)])
    assert path_sum(chain, rademacher) == pytest.approx(predict(chain, initialisation=rademacher).squared)
    overlapping = Lattice.chain((1, 6), [Pool("avg", 3, 1, 1), Conv(1, 1), *POOLED])
    assert path_sum(overlapping, rademacher) == pytest.approx(single_paths(overlapping))
    listed = [len(list(commands(chain, input=(i,)))) for i in range(9)]  # 1/2 for the gate, 3 outputs
    assert path_sum(chain, 1.0) == pytest.approx(np.array(listed) / 2 / 3)
    with pytest.raises(UnsupportedError, match="blur1"):
        path_sum(Lattice.chain((1, 6), [Blur((1, 2, 1))]), 1.0)
