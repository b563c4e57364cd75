"""The sweep of single connections: Eq. 8 as printed, its variances, and its map at every layer."""

import numpy as np
import pytest

from landscape import Guarantee, path_sum, predict, rademacher, squared_gradients
from landscape.laws.moments import layer_gradients, squares_and_rest
from landscape.prior import Prior
from lattice import (
    Activation,
    Blur,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Pool,
    Rearrange,
    Unit,
    UnsupportedError,
    commands,
    residual,
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


TO_CHANNELS = Rearrange(((3,), (6,)), ((0, 1),))
BACK = Rearrange(((3, 6),), ((0,), (1,)))


def beside_a_skip(*there_and_back):
    """A branch whose positions are channels for a while, between an average over neighbours and one over all positions."""
    branch = [Conv(3, 1), *there_and_back, Conv(3, 1)]
    return Lattice.chain((1, 6), [Conv(3, 1), Pool("avg", 3, 1, 1), residual(branch), *POOLED])


def law(net, branch):
    inner = {name for name in net.names if name.startswith("conv") and name != "conv1"}
    return {node.name: branch if node.name in inner else 1.0 for node in net.nodes if isinstance(node.op, Conv | Dense)}


def test_what_copies_of_one_signal_could_add_is_told_and_bounds_the_truth():
    plain, net = beside_a_skip(), beside_a_skip(TO_CHANNELS, BACK)
    truth = squared_gradients(plain, law(plain, 0.1))
    land = predict(net, initialisation=law(net, 0.1))
    found, share = squares_and_rest(Prior(net, law(net, 0.1)))
    np.testing.assert_array_equal(found, land.squared)
    assert 0.01 < share < 0.25
    assert land.guarantee is Guarantee.APPROXIMATE
    assert f"{share:.2g} of the map at most" in " ".join(land.reasons)
    assert (truth > found * (1 + 1e-3)).all()
    # under an average over all positions copies are as alike as they can be, so that the bound is the truth
    np.testing.assert_allclose(found.sum() * (1 + share), truth.sum(), rtol=1e-12)


def test_copies_that_could_add_much_are_refused():
    net = beside_a_skip(TO_CHANNELS, BACK)
    with pytest.raises(UnsupportedError, match=r"could add \d+% to the squared gradient"):
        predict(net, initialisation=law(net, 1.0))
    with pytest.raises(UnsupportedError, match="several channels"):
        squared_gradients(net, law(net, 1.0))
    with pytest.raises(UnsupportedError, match="several channels"):
        layer_gradients(Prior(net, law(net, 1.0)))


def test_a_position_alone_is_the_mean_over_its_channels():
    windows = Rearrange(((2,), (3, 2)), ((2, 0), (1,)))  # two positions stand on the channels of one
    net = Lattice.chain((1, 6), [Conv(2, 3, padding=1), windows])
    units = [predict(net, output=Unit((0,), channel)).squared for channel in range(4)]
    np.testing.assert_allclose(predict(net, output=0).squared, np.mean(units, axis=0), rtol=1e-12)
    assert not np.allclose(units[0], units[-1])
