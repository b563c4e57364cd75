"""The map at every layer is the map of the network above that layer."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from landscape import predict
from landscape.maps.plot import plot_layers
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Norm, Pool, residual

RELU = Activation("relu")
HEADS = {"flatten": [Flatten(), Dense(3)], "pooled": [GlobalPool("avg"), Flatten(), Dense(3)]}


@pytest.mark.parametrize("head", HEADS)
def test_the_map_at_a_layer_is_that_of_the_network_above_it(head):
    layers = [
        Conv(4, kernel=3, padding=1),
        Norm("batch"),
        Pool("avg", kernel=3, stride=1, padding=1),
        residual([Conv(4, kernel=3, padding=1)]),
        Conv(6, kernel=4, stride=2, padding=1),
        *HEADS[head],
    ]
    net = Lattice.chain((2, 9), layers)
    found = predict(net).layers()
    for place, name in {0: "conv1", 1: "norm1", 2: "pool1", 3: "add1", 4: "conv3"}.items():
        above = Lattice.chain(net.shapes[net.names.index(name)], layers[place + 1 :])
        np.testing.assert_allclose(found[name], predict(above).layers()["input"], rtol=1e-12)
    assert list(found)[-1] == "input"
    assert "dense1" not in found


def test_the_map_at_the_input_is_the_landscape():
    net = Lattice.chain((2, 9), [Conv(4, kernel=3, padding=1), RELU, Conv(4, kernel=3, stride=2), Flatten(), Dense(3)])
    land = predict(net)
    np.testing.assert_array_equal(land.layers()["input"], land.squared)
    np.testing.assert_array_equal(land.layers(output=())["input"], predict(net, output=()).squared)


def test_layers_are_drawn_from_the_output_down():
    net = Lattice.chain((2, 9, 9), [Conv(4, kernel=3, padding=1), RELU, Conv(4, kernel=3, stride=2), Flatten(), Dense(3)])
    land = predict(net)
    plt.close("all")
    figure = plot_layers(land.layers())
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert [title.split("\n")[0] for title in titles] == ["conv2", "activation1", "input"]
    assert not plt.get_fignums()  # pyplot keeps none of it
