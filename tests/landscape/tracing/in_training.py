"""Models traced in training mode."""

import torch
from torch import nn

from landscape import trace

SHAPE = (2, 6)


class Layers(nn.Module):
    def __init__(self, function, **parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleDict(parts)
        self.one, self.two = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.function(self, x)


def in_training(function, **parts):
    torch.manual_seed(0)
    return trace(Layers(function, **parts), SHAPE, initialisation="he", train=True)
