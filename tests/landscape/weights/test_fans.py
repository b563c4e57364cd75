"""Fans are read off torch's weights."""

import pytest
from torch import nn
from torch.nn.init import _calculate_fan_in_and_fan_out as torch_fans

from landscape.weights.fans import fans, taps, weighted
from lattice import Activation, Conv, ConvTranspose, Dense, SpecificationError


@pytest.mark.parametrize(
    ("op", "shape", "layer"),
    [
        (Conv(6, (3, 2), groups=3), (9, 8, 8), nn.Conv2d(9, 6, (3, 2), groups=3)),
        (ConvTranspose(6, 3, groups=2), (4, 8), nn.ConvTranspose1d(4, 6, 3, groups=2)),
        (Dense(5), (7,), nn.Linear(7, 5)),
    ],
    ids=["conv", "transposed", "dense"],
)
def test_fans_are_torchs(op, shape, layer):
    assert fans(op, shape) == torch_fans(layer.weight)
    assert weighted(op)


def test_what_has_no_weights_has_no_fans():
    assert taps(Conv(6, (3, 2)), (9, 8, 8)) == 6
    with pytest.raises(SpecificationError, match="no weights"):
        fans(Activation(), (3, 4))
