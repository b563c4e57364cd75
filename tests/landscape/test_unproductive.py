"""Layers that add no context at an input size: against receptive fields worked out by hand."""

import pytest
from torch import nn

from landscape import advise
from landscape.prior import Prior
from landscape.unproductive import unproductive_layers
from lattice import Conv, Lattice, Pool, residual


def names(net, **options):
    variances = {node.name: 0.1 for node in net.nodes if isinstance(node.op, Conv)}
    return {layer.name: layer for layer in unproductive_layers(Prior(net, variances, **options))}


def chain(size, *layers):
    return Lattice.chain((1, size), layers)


@pytest.mark.parametrize("size", [7, 8, 9, 40])
def test_a_layer_is_idle_from_where_its_input_covers_the_image(size):
    convolutions = [Conv(2, 3, padding=1) for _ in range(6)]
    found = names(chain(size, *convolutions))
    # the input of layer k sees 2 k - 1 cells
    covered = [f"conv{k}" for k in range(1, 7) if 2 * k - 1 > size]
    assert [name for name, layer in found.items() if layer.growth is None] == covered


def test_strides_multiply_and_dilation_counts():
    net = chain(20, Conv(2, 3, 2, padding=1), Pool("avg", 2, 2), Conv(2, 3, padding=2, dilation=2), Conv(2, 3, padding=1))
    # 3, then 3 + 2 = 5, then 5 + 4 * 2 * 2 = 21 cells
    found = names(net)
    assert found["conv3"].covered == (21,)
    assert "conv2" not in found


def test_of_branches_the_smallest_field_counts():
    blocks = [residual([Conv(1, 5, padding=2)]) for _ in range(4)]
    net = Lattice.chain((1, 9), [Conv(1, 3, padding=1), *blocks, Conv(1, 3, padding=1)])
    assert all(layer.growth is not None for layer in names(net).values())  # the skips see three cells only


def test_a_pointwise_layer_is_not_asked():
    assert "conv3" not in names(chain(3, Conv(2, 3, padding=1), Conv(2, 3, padding=1), Conv(2, 1)))


def test_a_field_that_stays_is_idle_too():
    net = chain(12, *[Conv(2, 3, padding=1, mode="circular") for _ in range(30)])
    found = names(net)
    assert "conv30" in found


def test_advise_names_them():
    def factory():
        return nn.Sequential(*[nn.Conv1d(2, 2, 3, padding=1, bias=False) for _ in range(5)], nn.Flatten(), nn.Linear(10, 2))

    advice = advise(factory(), (2, 5))
    assert [layer.name for layer in advice.unproductive if layer.growth is None] == ["3", "4"]
    assert "add no context at this input size" in repr(advice)
    assert "already sees 7 pixels of 5" in repr(advice)
