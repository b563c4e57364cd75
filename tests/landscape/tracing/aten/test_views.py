"""Views: flattenings, slices, concatenations, permutations and channel shuffles are read as the cells that they leave."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.landscape.tracing.models import assert_computes_the_same

LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


VIEWS = [
    pytest.param(
        PLANE,
        [
            nn.PixelShuffle(2),
            nn.ChannelShuffle(2),
            nn.Flatten(),
            lambda x: x.mean((2, 3)),
            lambda x: x.mean((-1, -2), keepdim=True),
            lambda x: x[:, 1:3],
            lambda x: x[:, -3:-1],
            lambda x: x[:, :, :],
            lambda x: x.split([1, 2, 1], dim=1)[1],
            lambda x: x.chunk(3, dim=-3)[1],
            lambda x: torch.cat([x[:, 2:], x.relu(), x[:, :1]], dim=-3),
            lambda x: torch.cat([x], dim=1),
            lambda x: x.sigmoid() * x,
            lambda x: x * functional.hardsigmoid(x),
            lambda x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2),
            lambda x: x.permute(0, 3, 1, 2).relu().permute(0, -2, -1, 1),
            lambda x: x.transpose(1, -1).tanh().transpose(-1, 1),
            lambda x: (x.transpose(1, 2).tanh() + x.transpose(1, 2)).transpose(1, 2),
            lambda x: (x.transpose(1, 2).sigmoid() * x.transpose(1, 2)).transpose(1, 2),
            lambda x: x.clone().contiguous(),
            lambda x: torch.add(x.relu(), x.tanh()),
        ],
        id="views of two axes",
    ),
    pytest.param(
        (6, 3),
        [
            lambda x: x.view(len(x), 3, 2, 3).transpose(1, 2).reshape(len(x), 6, 3),
            lambda x: x.view(len(x), 2, 3, 3).permute(0, 2, 1, 3).reshape(len(x), 6, 3),
            lambda x: x.view(len(x), 2, 3, 3).reshape(len(x), 6, 3),
        ],
        id="channel shuffles",
    ),
]


@pytest.mark.parametrize(("shape", "layers"), VIEWS)
def test_a_view_is_read_as_the_cells_that_it_leaves(shape, layers):
    assert_computes_the_same(shape, *layers)
