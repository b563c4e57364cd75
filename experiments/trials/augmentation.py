"""Is a gain from augmentation evidence that a network is not invariant to translation? Tried on one that is, exactly.

Section 3.3: that random modifications "help the networks to generalize better can be seen as indirect evidence for the claim
that ... translation invariance of CNNs is not verified". The network here is convolutions around the border with stride 1 and a
global average: no translation around the border changes its answer, so that whatever it gains says nothing about invariance.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from experiments.trials.places import interval
from experiments.trials.scenes import CLASSES, NOISE, TILE, Digits, digits
from experiments.trials.training import BATCH, MOMENTUM, RATE, SEEDS, Labelled, accuracy
from validation.datasets.dataset import NUMBERS, moved_and_flipped
from validation.reproduction.significance import paired

__all__ = ["augmentation", "invariant"]

SIDE, WIDTH, IMAGES, STEPS, REACH = 16, 8, 200, 400, 2
Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def invariant(seed: int) -> nn.Module:
    """Three 5 x 5 convolutions around the border, stride 1, a global average, a dense layer."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for inputs in (1, WIDTH, WIDTH):
            layers += [
                nn.Conv2d(inputs, WIDTH, 5, padding=2, padding_mode="circular", bias=False),
                nn.BatchNorm2d(WIDTH),
                nn.ReLU(),
            ]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, CLASSES))


def _rolled(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each image translated around the border."""
    shifts = torch.randint(SIDE, (len(images), 2), generator=generator).tolist()
    return torch.stack([image.roll((row, column), dims=(1, 2)) for image, (row, column) in zip(images, shifts, strict=True)])


def _cropped(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The paper's crops: moved by up to 2 pixels, what enters being reflected."""
    return moved_and_flipped(images, torch.rand(len(images), NUMBERS, generator=generator), False, REACH)


def _noised(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """With new noise of the canvas's deviation."""
    return images + NOISE * torch.randn(images.shape, generator=generator)


CHANGES: dict[str, Change] = {
    "none": lambda images, _: images,
    "rolled": _rolled,
    "cropped": _cropped,
    "noised": _noised,
}


def scenes_of(found: Digits, count: int, seed: int) -> Labelled:
    """Digits in the middle of 16 x 16 pixels of noise."""
    generator = torch.Generator().manual_seed(seed)
    images = NOISE * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    edge = (SIDE - TILE) // 2
    images[:, 0, edge : edge + TILE, edge : edge + TILE] += found.pixels[:count]
    return Labelled(images, found.labels[:count])


def one_run(change: str, seed: int) -> float:
    """Test Top-1 after training on 200 images, changed at every step."""
    train, test = digits()
    shown, model = scenes_of(train, IMAGES, seed), invariant(seed)
    order, draws = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(IMAGES, (BATCH,), generator=order)
        optimiser.zero_grad()
        functional.cross_entropy(model(CHANGES[change](shown.images[chosen], draws)), shown.labels[chosen]).backward()
        optimiser.step()
        falling.step()
    return accuracy(model, scenes_of(test, len(test), 1000 + seed))


def moves_nothing(seed: int) -> float:
    """The largest relative change of the logits of an untrained network, in training mode, when images are rolled."""
    model, shown = invariant(seed), scenes_of(digits()[0], BATCH, seed)
    with torch.no_grad():
        one, other = model(shown.images), model(_rolled(shown.images, torch.Generator().manual_seed(seed)))
    return float((one - other).abs().max() / one.abs().max())


def augmentation() -> dict[str, Any]:
    """Top-1 by change, the differences from none with intervals over seeds, and that rolling changes no answer."""
    runs = {change: {seed: one_run(change, seed) for seed in SEEDS} for change in CHANGES}
    return {
        "Top-1": {change: float(np.mean(list(by.values()))) for change, by in runs.items()},
        "difference": {change: interval(paired(by, runs["none"])) for change, by in runs.items() if change != "none"},
        "rolled logits apart": moves_nothing(0),
    }
