"""Regions without autocast and paddings with a number are written out, and compute what the model computes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.tracing.trace import trace
from lattice import UnsupportedError


class Padded(nn.Module):
    """A layer over positions after a padding, so that what is padded matters."""

    def __init__(self, pad, number, width, channels=4):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Linear(width, 2)
        self.after, self.pad, self.number = nn.Conv2d(channels, 4, 1), pad, number

    def forward(self, x):
        return self.after(self.last(functional.pad(self.first(x), self.pad, value=self.number)).relu())


class Region(nn.Module):
    """Calls in a region with or without autocast, two results, one of them in a region of its own."""

    def __init__(self, enabled=False):
        super().__init__()
        self.one, self.two, self.three, self.enabled = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3), nn.Conv2d(4, 2, 3), enabled

    def forward(self, x):
        x = self.one(x)
        with torch.autocast("cpu", enabled=self.enabled, dtype=torch.bfloat16):
            y = self.two(x).relu()
            with torch.autocast("cpu", enabled=False):
                z = y + 2 * self.three(x)
        return y * z.sigmoid()


@pytest.mark.parametrize(
    ("pad", "width", "channels"), [((0, 1), 7, 4), ((2, 1, 1, 0), 9, 4), ((0, 0, 1, 1), 6, 4), ((0, 1, 0, 0, 1, 0), 7, 5)]
)
def test_a_padding_with_a_number_computes_what_the_model_does(pad, width, channels):
    torch.manual_seed(0)
    assert not trace(Padded(pad, -0.7, width, channels), (3, 8, 8), initialisation="weights").unproven


def test_a_crop_with_a_number_beside_it_is_refused():
    with pytest.raises(UnsupportedError, match="pads with the constant"):
        trace(Padded((1, -1), 1.0, 6), (3, 8, 8), initialisation="weights")


def test_regions_without_autocast_are_calls_of_the_model():
    torch.manual_seed(0)
    assert not trace(Region(), (3, 8, 8), initialisation="weights").unproven


def test_regions_of_another_type_are_refused():
    with pytest.raises(UnsupportedError, match="wrap_with_autocast"):
        trace(Region(enabled=True), (3, 8, 8), initialisation="weights")
