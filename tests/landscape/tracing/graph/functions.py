"""Models of one function with layers of their own."""

from torch import nn

from landscape import trace


class Layers(nn.Module):
    """Two convolutions and a function of them and the input."""

    def __init__(self, function, **options):
        super().__init__()
        self.one, self.two, self.function = nn.Conv1d(2, 2, 3, **options), nn.Conv1d(2, 2, 3, **options), function

    def forward(self, x):
        return self.function(self, x)


def ops(function, shape=(2, 9), **options):
    return {node.name: node.op for node in trace(Layers(function, **options), shape).lattice.nodes[1:]}
