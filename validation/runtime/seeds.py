"""Randomness as a function of (seed, purpose, number): nothing to save, nothing to restore, the same after every resume."""

import math

import numpy as np
import torch

from lattice.checks import whole

__all__ = ["PURPOSES", "generator", "number"]

PURPOSES = ("weights", "order", "augmentation", "classes", "dropout", "landscape", "ablation", "shifts")


def number(seed: int, purpose: str, index: int = 0) -> int:
    """A 63-bit number of its own for every (seed, purpose, index)."""
    seed = whole("seed", seed, 0, math.inf)
    entropy = (seed, PURPOSES.index(purpose), index)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A CPU generator that begins at `number(seed, purpose, index)`.

    >>> torch.equal(
    ...     torch.rand(3, generator=generator(0, "order", 5)),
    ...     torch.rand(3, generator=generator(0, "order", 5)),
    ... )
    True
    """
    return torch.Generator().manual_seed(number(seed, purpose, index))
