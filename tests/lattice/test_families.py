"""The named networks are the published ones: torchvision's layer by layer, and Pascal's triangle."""

import numpy as np
import pytest
import torch
from torch import nn

from lattice import Conv, Dense, SpecificationError, families, path_counts
from validation.montecarlo.build import build

torchvision = pytest.importorskip("torchvision")


def published(name):
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None)


def layers(model, kinds):
    """How often each kind of layer of each size stands in a torch model."""
    sizes = [(type(m).__name__, tuple(m.weight.shape)) for m in model.modules() if isinstance(m, kinds)]
    return {size: sizes.count(size) for size in sizes}


@pytest.mark.parametrize(
    ("name", "net"),
    [
        ("resnet18", families.resnet()),
        ("resnet34", families.resnet((3, 224, 224), (3, 4, 6, 3))),
        ("resnet50", families.bottleneck_resnet()),
    ],
)
def test_a_resnet_has_the_layers_of_torchvisions(name, net):
    kinds = (nn.Conv2d, nn.Linear)
    with torch.device("meta"):
        ours = build(net, 1.0)
    assert layers(ours, kinds) == layers(published(name), kinds)
    assert net.output_shape == (1000,)


def test_a_vgg_has_the_convolutions_of_torchvisions():
    found = [(node.op.channels, node.op.kernel) for node in families.vgg().nodes if isinstance(node.op, Conv)]
    model = published("vgg11")
    assert found == [(m.out_channels, m.kernel_size[0]) for m in model.modules() if isinstance(m, nn.Conv2d)]
    dense = [node.op.units for node in families.vgg().nodes if isinstance(node.op, Dense)]
    assert dense[-1] == 1000


@pytest.mark.parametrize(("kernel", "depth", "stride"), [(3, 4, 1), (2, 5, 1), (3, 3, 2), (4, 2, 3)])
def test_plain_networks_count_paths_as_powers_of_a_polynomial(kernel, depth, stride):
    counts = np.array([1])
    for layer in range(depth):
        taps = np.zeros((kernel - 1) * stride**layer + 1, dtype=int)
        taps[:: stride**layer] = 1
        counts = np.convolve(counts, taps)
    net = families.plain(len(counts), depth, kernel, stride=stride)
    assert net.output_shape == (1, 1)
    assert path_counts(net).tolist() == counts.tolist()


def test_activations_and_widths_go_to_every_layer():
    net = families.plain((9, 8), 2, (3, 1), channels=4, activation="relu")
    assert net.names == ("input", "conv1", "activation1", "conv2", "activation2")
    assert net.shapes[1:] == ((4, 7, 8), (4, 7, 8), (4, 5, 8), (4, 5, 8))
    with pytest.raises(SpecificationError, match="depth is -1"):
        families.plain(9, -1)
