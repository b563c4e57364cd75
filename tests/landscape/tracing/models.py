"""Models of a few functions, traced and built again with their weights."""

import numpy as np
import torch
from torch import nn

from landscape import trace
from validation.montecarlo.build import build


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Beside(nn.Module):
    """Layers that read one input, their outputs flattened side by side: one trace serves them all."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layer if isinstance(layer, nn.Module) else Function(layer) for layer in layers)

    def forward(self, x):
        return torch.cat([layer(x).flatten(1) for layer in self.layers], 1)


def rebuilt(model, shape):
    """The lattice of a model as a module, with the weights of the layers of the same names."""
    net = trace(model, shape, initialisation=1.0).lattice
    module = build(net, 1.0)
    for name, weight in module.weights().items():
        weight.data = model.get_submodule(name.removesuffix("_2")).weight.detach().reshape(weight.shape)
    return module


def assert_computes_the_same(shape, *layers):
    model = Beside(*layers).eval()
    x = 4 * torch.randn(2, *shape, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = rebuilt(model, shape).double()(x)
        for layer in model.double().layers:
            truth = layer(x).flatten(1)
            torch.testing.assert_close(found[:, : truth.shape[1]], truth, msg=lambda text, layer=layer: f"{layer}: {text}")
            found = found[:, truth.shape[1] :]
    assert found.shape[1] == 0


LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


class Scaled(nn.Module):
    """One parameter, and what is done with it."""

    def __init__(self, value, function):
        super().__init__()
        self.value, self.function = nn.Parameter(torch.tensor(value)), function

    def forward(self, x):
        return self.function(x, self.value)


def read(function, shape=PLANE, **options):
    """The trace of a function or a module, and its ops."""
    torch.manual_seed(0)
    found = trace(function if isinstance(function, nn.Module) else Function(function), shape, **options)
    return found, [node.op for node in found.lattice.nodes[1:]]


def coefficients(found):
    """The factors of a trace with their signs, in the order of the nodes."""
    return [np.sqrt(found.factors[name]) * found.signs.get(name, 1) for name in found.lattice.names if name in found.factors]


class Fixed(nn.Module):
    """Buffers and parameters, and a function of them and the input."""

    def __init__(self, function):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None])
        self.register_buffer("two", torch.tensor(2.0))
        self.parts, self.function = nn.Parameter(torch.tensor([0.0, 1.0, 2.0, 3.0])), function

    def forward(self, x):
        return self.function(self, x)
