"""Three small networks: a ResNet, one that looks at the middle, and the ResNet around the border, alike at every tile."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments.trials.scenes import CANVAS, CLASSES, TILE, TILES, Place
from landscape import predict
from validation.training.models import SmallResNet

__all__ = ["NETWORKS", "brightness", "fresh", "places"]

WIDTH = 8


def _resnet() -> nn.Module:
    return SmallResNet(1, CLASSES, WIDTH)


def _unpadded() -> nn.Module:
    """5 x 5 convolutions without padding, the first with stride 2: few paths leave a corner, and many the middle."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((1, WIDTH, 2), (WIDTH, 2 * WIDTH, 1), (2 * WIDTH, 4 * WIDTH, 1)):
        layers += [nn.Conv2d(inputs, outputs, 5, stride, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * WIDTH, CLASSES))


def _circular() -> nn.Module:
    """The ResNet with its convolutions around the border: the product of its strides is 8, and no tile differs from another."""
    model = _resnet()
    for name, conv in [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d)]:
        parent, _, last = name.rpartition(".")
        around = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
            bias=False, padding_mode="circular",
        )  # type: ignore[arg-type]  # fmt: skip
        around.weight = conv.weight
        setattr(model.get_submodule(parent), last, around)
    return model


NETWORKS: dict[str, Callable[[], nn.Module]] = {"resnet": _resnet, "unpadded": _unpadded, "circular": _circular}


def fresh(name: str, seed: int) -> nn.Module:
    """A network with weights of its seed; torch's own random state stays as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return NETWORKS[name]()


def brightness(name: str) -> dict[Place, float]:
    """Mean predicted importance of each 8 x 8 tile of the canvas, the mean over the canvas being one."""
    importance: np.ndarray[Any, Any] = predict(NETWORKS[name](), (1, CANVAS, CANVAS)).relative
    return {(r, c): float(importance[r : r + TILE, c : c + TILE].mean()) for r, c in TILES}


def places(name: str) -> dict[str, Place]:
    """The brightest and the darkest tile of the predicted map."""
    found = brightness(name)
    return {"bright": max(found, key=found.__getitem__), "dark": min(found, key=found.__getitem__)}
