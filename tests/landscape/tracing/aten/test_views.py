"""Views: flattenings, slices, concatenations, permutations and channel shuffles are read as the cells that they leave."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import trace
from lattice import Norm
from tests.landscape.tracing.models import Beside, assert_computes_the_same, rebuilt

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


MOVED = [
    lambda x: x.mean()[None, None],
    lambda x: x.mean(2),
    lambda x: x.mean((1, 2, 3))[:, None],
    lambda x: x.flatten(2),
    lambda x: x.flatten(1, 2),
    lambda x: x.reshape(1, 4, 10, 7),
    lambda x: x.reshape(1, 2, 2, 10, 7),
    lambda x: x.flatten(1).view(1, 280, 1, 1),
    lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 3).reshape(1, 4, 7, 10),
    lambda x: x.view(1, 2, 2, 7, 10).relu(),
    lambda x: x.view(1, 2, 2, 7, 10).transpose(1, 2).reshape(1, 2, 20, 7),
    lambda x: functional.avg_pool2d(x.transpose(1, 2), 2),
    lambda x: x + x[:, :1],
    lambda x: torch.cat([x, x], dim=2),
    lambda x: x.chunk(2, dim=3)[0],
    lambda x: x[:, ::2],
    lambda x: x[:, :, 1:],
    lambda x: functional.pad(x, (1, 1, 1, 1, 1, 1)),
    lambda x: functional.pad(x, (-1, 1)),
    lambda x: x.roll((2, 3), (2, 3)).flip(-1)[..., ::2],
    lambda x: x.movedim(1, -1).view(1, 7, 2, 5, 4).permute(0, 1, 3, 4, 2).flatten(3).permute(0, 3, 1, 2),
    lambda x: torch.cat([x[..., ::2], x[..., 1::2]], 1),
    lambda x: torch.stack([x, x.flip(1)]).sum(0),
    lambda x: functional.pixel_unshuffle(functional.pad(x, (0, 0, 0, 1)), 2),
    lambda x: functional.unfold(x, 3, stride=2).relu(),
    lambda x: functional.pad(x[:, :2], (0, 0, 0, 0, 1, 1)),
    lambda x: x.repeat_interleave(2, 3)[:, [2, 0]],
]


@pytest.mark.parametrize("number", range(len(MOVED)))
def test_what_moves_numbers_is_followed_whatever_it_is(number):
    model = Beside(MOVED[number]).eval()
    traced = trace(model, PLANE)
    assert not traced.unproven  # value and gradient are the model's
    if Norm("scale") in [node.op for node in traced.lattice.nodes]:
        return  # `build` makes no factor
    x = torch.randn(1, *PLANE, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rebuilt(model, PLANE).double()(x), model.double()(x))
