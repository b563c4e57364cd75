"""A training loop of seconds, the same in every trial: SGD with momentum, and test accuracy every few steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

__all__ = ["SEEDS", "Curves", "Labelled", "accuracy", "trained"]

SEEDS = range(6)
STEPS, BATCH, RATE, MOMENTUM, EVERY = 240, 64, 0.05, 0.9, 30


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images and their classes."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Curves:
    """Test Top-1 of each set, every `EVERY` steps."""

    top1: dict[str, list[float]]

    def speed(self, name: str) -> float:
        """The mean over the whole curve: high where accuracy rises early."""
        return sum(self.top1[name]) / len(self.top1[name])

    def final(self, name: str) -> float:
        """At the end."""
        return self.top1[name][-1]


def accuracy(model: nn.Module, found: Labelled) -> float:
    """Top-1 in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return float((model(found.images).argmax(1) == found.labels).double().mean())


def trained(model: nn.Module, train: Labelled, tests: Mapping[str, Labelled], seed: int, *, steps: int = STEPS) -> Curves:
    """Train in place; batches are drawn by the seed alone, so that trials with one seed see the same order.

    Parameters
    ----------
    model : nn.Module
        Fresh; trained afterwards, in evaluation mode.
    train : Labelled
        All training images.
    tests : mapping of str to Labelled
        What accuracy is taken of.
    seed : int
        Of the order.
    steps : int
        Updates.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    curves: dict[str, list[float]] = {name: [] for name in tests}
    for step in range(1, steps + 1):
        chosen = torch.randint(len(train.labels), (BATCH,), generator=generator)
        model.train()
        optimiser.zero_grad()
        functional.cross_entropy(model(train.images[chosen]), train.labels[chosen]).backward()
        optimiser.step()
        if step % EVERY == 0:
            for name, test in tests.items():
                curves[name].append(accuracy(model, test))
    model.eval()
    return Curves(curves)
