"""Torch models that are strange, or broken, each in one way; images are 3 x 12 x 12."""

import warnings

import torch
from torch import nn

__all__ = [
    "Branching",
    "Constant",
    "Counting",
    "Dictionary",
    "Forgetful",
    "Rowdy",
    "SoftQueries",
    "Tied",
    "Tuple",
    "broken",
    "cast",
    "compiled",
    "quantised",
    "small",
    "trained",
]


def small(norm=False, classes=5):
    """conv, (norm,) ReLU, flatten, linear, freshly initialised."""
    layers = [nn.Conv2d(3, 4, 3, padding=1), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 144, classes))


class Branching(nn.Module):
    """Its layers depend on the sign of the data."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else x


class Constant(nn.Module):
    """Its logits are parameters."""

    def __init__(self, classes=5):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(classes))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


class Counting(nn.Module):
    """It counts its forward passes in a buffer."""

    def __init__(self):
        super().__init__()
        self.layer = small()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return self.layer(x)


class Tuple(nn.Module):
    """It returns two tensors."""

    def __init__(self):
        super().__init__()
        self.layer = small()

    def forward(self, x):
        y = self.layer(x)
        return y, y.relu()


class Dictionary(Tuple):
    """It returns two named tensors."""

    def forward(self, x):
        y = self.layer(x)
        return {"out": y, "aux": y.relu()}


class Tied(nn.Module):
    """It uses one convolution twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(self.layer(x))


class Rowdy(nn.Module):
    """It raises what it likes."""

    @staticmethod
    def make():
        raise RuntimeError("no weights today")

    def forward(self, x):
        raise RuntimeError("no forward today")


class SoftQueries(nn.Module):
    """Its attention has shares that add up to one over the queries."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 12, 4, 4)

    def forward(self, x):
        q, k, v = self.layer(x).flatten(2).mT.chunk(3, -1)
        return (q @ k.mT).softmax(-2) @ v


class Forgetful:
    """A factory that always returns its one module."""

    def __init__(self):
        self.model = small()

    def __call__(self):
        return self.model


def broken(value, whole=False):
    """One weight (or all of the first layer) has this value."""
    model = small()
    with torch.no_grad():
        (model[0].weight if whole else model[0].weight[0, 0, 0, :1]).fill_(value)
    return model


def trained():
    """Its weights have another mean than zero."""
    model = small()
    with torch.no_grad():
        model[0].weight.add_(0.2)
    return model


def cast(dtype):
    """The small model in another type of number."""
    model = small()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.to(dtype)
    return model


def compiled():
    """What torch.compile wraps; nothing is compiled until it runs."""
    return torch.compile(small(), backend="eager")


def quantised():
    """Dynamic quantisation of its linear layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(small(), {nn.Linear})
