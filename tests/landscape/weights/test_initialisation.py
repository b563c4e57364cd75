"""Initialisations by name have the variances that torch draws."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict, truncated_normal
from landscape.weights.fans import fans
from landscape.weights.weight_draws import moments_of
from lattice import Conv, ConvTranspose, Dense, SpecificationError


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("he", nn.init.kaiming_normal_),
        ("he_fan_out", lambda w: nn.init.kaiming_normal_(w, mode="fan_out")),
        ("glorot", nn.init.xavier_uniform_),
        ("torch_default", lambda w: nn.init.kaiming_uniform_(w, a=5**0.5)),
        ("lecun", lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear")),
        ("orthogonal", nn.init.orthogonal_),
        ("truncated_normal", nn.init.trunc_normal_),
    ],
)
def test_an_initialisation_by_name_is_what_torch_draws(name, draw):
    def layer():
        conv = nn.Conv2d(40, 60, 3, groups=2, bias=False)
        draw(conv.weight)
        return conv

    torch.manual_seed(0)
    by_name, drawn = predict(layer(), (40, 9, 9), initialisation=name), predict(layer, (40, 9, 9))
    assert drawn.guarantee.name == by_name.guarantee.name == "EXACT"
    np.testing.assert_allclose(drawn.squared, by_name.squared, rtol=0.03)


def test_an_unknown_initialisation_lists_the_known_ones():
    with pytest.raises(SpecificationError, match="there is no initialisation 'kaiming'; there are glorot, he,"):
        predict(nn.Conv1d(1, 9, 3), (1, 9), initialisation="kaiming")
    with pytest.raises(SpecificationError, match="must be -c and c"):
        truncated_normal(1.0, -1.0, 2.0)


@pytest.mark.parametrize(
    ("op", "shape", "layer"),
    [
        (Conv(6, (3, 2), groups=2), (4, 7, 5), nn.Conv2d(4, 6, (3, 2), groups=2)),
        (ConvTranspose(6, (3, 2), groups=2), (4, 7, 5), nn.ConvTranspose2d(4, 6, (3, 2), groups=2)),
        (ConvTranspose(3, 4, 2), (5, 9), nn.ConvTranspose1d(5, 3, 4, 2)),
        (Dense(3), (8,), nn.Linear(8, 3)),
    ],
)
def test_fans_are_those_that_torch_counts(op, shape, layer):
    assert fans(op, shape) == nn.init._calculate_fan_in_and_fan_out(layer.weight)


def test_random_signs_have_a_variance_without_error():
    signs = np.where(np.random.default_rng(0).random((40, 40, 3)) < 0.5, -0.3, 0.3)
    assert moments_of(signs).variance_error == pytest.approx(0, abs=1e-7)
