"""Different values among copies: drawn maxima, and norms over few of them against drawn networks or refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape import predict
from landscape.gates.windows.distinct import different_channels, different_positions
from lattice import AssumptionError, Concat, Conv, Input, Lattice, Node, Pool
from validation import measure


@pytest.mark.parametrize(("cells", "kernel", "stride", "padding"), [(6, 3, 1, 1), (8, 5, 1, 2), (9, 3, 2, 1), (8, 2, 2, 0)])
def test_different_maxima_are_as_many_as_are_drawn(cells, kernel, stride, padding):
    net = Lattice.chain((1, cells), [Conv(2, 1), Pool("max", kernel, stride, padding)])
    found = different_positions(net, 2, lambda node: 1.0)
    values = torch.randn(20_000, cells, generator=torch.Generator().manual_seed(0))
    maxima = F.max_pool1d(values, kernel, stride, padding)
    drawn = 1 + (maxima.diff() != 0).sum(1).double().mean().item()
    assert abs(found.number - drawn) < 0.05
    assert found.random == (stride < kernel)


def test_a_gate_between_copies_makes_other_values():
    nodes = [Node("x", Input((1, 6))), Node("y", Conv(4, 3), (0,)), Node("twice", Concat(), (1, 1, 1))]
    assert different_channels(Lattice(tuple(nodes)), 2, 1) == 4
    assert different_channels(Lattice(tuple(nodes)), 2, 3) == 4


class Normed(nn.Module):
    """A layer, something that repeats its values, a norm of each channel or over the channels, another layer."""

    def __init__(self, repeat, over, cells=8, width=4):
        super().__init__()
        self.repeat, self.over = repeat, over
        self.first = nn.Conv1d(3, width, 3, padding=1, bias=False)
        with torch.no_grad():
            shape = repeat(torch.zeros(1, width, cells)).shape
        self.last = nn.Linear(shape[1] * shape[2], 4, bias=False)

    def forward(self, x):
        y = self.repeat(self.first(x))
        over = y.transpose(1, 2)
        y = F.instance_norm(y) if self.over == "cells" else F.layer_norm(over, over.shape[2:]).transpose(1, 2)
        return self.last(y.flatten(1))


REPEATED = {
    "mirrored": (lambda y: y + y.flip(-1), "cells", 12),
    "rolled": (lambda y: y + y.roll(6, -1), "cells", 12),
    "reflected": (lambda y: F.pad(y, (3, 3), mode="reflect"), "cells", 6),
    "chosen": (lambda y: F.max_pool1d(y, 3, 1, 1), "cells", 14),
    "twice": (lambda y: torch.cat([y, y], 1), "channels", 6),
    "interleaved": (lambda y: y.repeat_interleave(3, 1), "channels", 6),
    "channels mirrored": (lambda y: y + torch.cat([y[:, 2:], y[:, :2]], 1), "channels", 6),
}


@pytest.mark.parametrize("name", list(REPEATED)[:-1])
def test_a_norm_over_copies_divides_by_the_variance_of_what_differs(name):
    repeat, over, cells = REPEATED[name]

    def net():
        return Normed(repeat, over, cells)

    land, drawn = predict(net, (3, cells)), measure(net, (3, cells), draws=1500, seed=0)
    assert abs(drawn.mean.mean() / land.squared.mean() - 1) < 0.2


@pytest.mark.parametrize(
    ("repeat", "over", "cells"),
    [
        (lambda y: F.max_pool1d(y, 3, 1, 1), "cells", 6),
        (lambda y: F.max_pool1d(torch.relu(y), 5, 1, 2), "cells", 8),
        (lambda y: y + y.flip(-1), "cells", 6),
        (lambda y: (lambda z: z - z.flip(-1))(torch.relu(y)), "cells", 8),
        (lambda y: F.pad(torch.relu(y), (3, 3), mode="replicate"), "cells", 6),
        (lambda y: y[:, :3].repeat(1, 3, 1), "channels", 6),
        (REPEATED["channels mirrored"][0], "channels", 6),
    ],
)
def test_a_norm_over_few_different_values_is_refused(repeat, over, cells):
    with pytest.raises(AssumptionError, match="divides by the variance of"):
        predict(lambda: Normed(repeat, over, cells), (3, cells))


def test_a_norm_over_many_values_is_as_before():
    """Maxima of windows that do not overlap, and averages, leave as many values as there are."""
    net = Lattice.chain((1, 12), [Conv(2, 1), Pool("max", 2, 2), Pool("avg", 3, 1, 1)])
    assert different_positions(net, 2, lambda node: 0.5) == (6, False)
    np.testing.assert_allclose(different_positions(net, 3, lambda node: 1.0).number, 6)
