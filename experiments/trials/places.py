"""Digits at the brightest and at the darkest place of the predicted map: how fast they are learnt, and where nets look then.

Section 1: a network "may be slower to train if a subset of images violates its default saliency map". Section 3.3: the data
have "an impact on the landscape at test time for trained CNNs". Section 3.2: importance should "loosely correlate with the
impact that that location will have, on average, over the loss".
"""

from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from experiments.trials.networks import NETWORKS, brightness, fresh, places
from experiments.trials.scenes import CANVAS, TILE, Digits, Place, digits, scenes
from experiments.trials.training import SEEDS, Labelled, trained
from validation.gradients.empirical import empirical_landscape
from validation.reproduction.significance import Difference, paired

__all__ = ["places_of_features"]

BLOCK = 4  # pixels of a block's side, of those that are shuffled
Values = dict[int, float]


def interval(found: Difference) -> list[float]:
    """Mean, low and high end, as JSON keeps them."""
    return [found.mean, found.low, found.high]


def placed(found: Digits, where: list[Place], seed: int) -> Labelled:
    """Each digit at its place, on noise of the seed."""
    return Labelled(scenes([(found.pixels, where)], torch.Generator().manual_seed(seed)), found.labels)


def one_run(name: str, spots: dict[str, Place], condition: str, seed: int) -> dict[str, Any]:
    """Train a network on digits at the bright place, at the dark one, or half of them at each."""
    train, test = digits()
    halves = ("bright", "dark") if condition == "half" else (condition,)

    def alternating(count: int) -> list[Place]:
        return [spots[halves[i % len(halves)]] for i in range(count)]

    model = fresh(name, seed)
    tests = {
        "own": placed(test, alternating(len(test)), 1000 + seed),
        **{spot: placed(test, [place] * len(test), 2000 + seed) for spot, place in spots.items()},
    }
    before = looks(model, tests["own"], spots)
    curves = trained(model, placed(train, alternating(len(train)), seed), tests, seed)
    after = looks(model, tests["own"], spots)
    speeds = {f"speed {name}": curves.speed(name) for name in tests} | {"final own": curves.final("own")}
    return {**speeds, **{f"{key} before": value for key, value in before.items()}, **after}


def looks(model: nn.Module, test: Labelled, spots: dict[str, Place]) -> dict[str, float]:
    """The share of squared gradient in each spot, and how gradients correlate with what shuffling blocks does to the loss."""
    model.eval()
    squared = empirical_landscape(model, [test.images], classes="all").squared
    share = {
        f"share {spot}": float(squared[r : r + TILE, c : c + TILE].sum() / squared.sum()) for spot, (r, c) in spots.items()
    }
    impact, varying = shuffled(model, test), test.images.var(0)[0].double().numpy()
    found = {
        "gradient": _blocks(np.asarray(squared)),
        "gradient, scaled": _blocks(np.asarray(squared) * varying),
    }
    return share | {f"correlation {name}": float(stats.spearmanr(values, impact)[0]) for name, values in found.items()}


def _blocks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    cells = CANVAS // BLOCK
    return np.asarray(values.reshape(cells, BLOCK, cells, BLOCK).sum(axis=(1, 3)).ravel())


def shuffled(model: nn.Module, test: Labelled) -> np.ndarray[Any, Any]:
    """The mean absolute change of an image's loss when a block of 4 x 4 pixels comes from another image, block by block."""
    order = torch.randperm(len(test.labels), generator=torch.Generator().manual_seed(0))

    def losses(images: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(model(images), test.labels, reduction="none").double()

    found = []
    with torch.no_grad():
        clean = losses(test.images)
        for row in range(0, CANVAS, BLOCK):
            for column in range(0, CANVAS, BLOCK):
                changed = test.images.clone()
                block = (slice(None), slice(None), slice(row, row + BLOCK), slice(column, column + BLOCK))
                changed[block] = test.images[order][block]
                found.append(float((losses(changed) - clean).abs().mean()))
    return np.array(found)


def places_of_features() -> dict[str, Any]:
    """For each network: speeds, differences between places, shares of the landscape, correlations; intervals over seeds."""
    found: dict[str, Any] = {}
    for name in NETWORKS:
        # no place of the circular network is bright: it has those of the ResNet, as a control
        spots = places("resnet" if name == "circular" else name)
        bright = brightness(name)
        runs = {c: {s: one_run(name, spots, c, s) for s in SEEDS} for c in ("bright", "half", "dark")}

        def values(condition: str, key: str, runs: dict[str, Any] = runs) -> Values:
            return {seed: one[key] for seed, one in runs[condition].items()}

        def means(key: str, runs: dict[str, Any] = runs) -> dict[str, float]:
            return {c: float(np.mean([one[key] for one in by.values()])) for c, by in runs.items()}

        zero = dict.fromkeys(SEEDS, 0.0)
        found[name] = {
            "predicted": {spot: bright[place] for spot, place in spots.items()},
            "speed": means("speed own"),
            "final": means("final own"),
            "speed, half less bright": interval(paired(values("half", "speed own"), values("bright", "speed own"))),
            "speed, dark less bright": interval(paired(values("dark", "speed own"), values("bright", "speed own"))),
            "speed in half, dark less bright": interval(paired(values("half", "speed dark"), values("half", "speed bright"))),
            "share of the dark place": means("share dark") | {"before": means("share dark before")["half"]},
            "share of the bright place": means("share bright") | {"before": means("share bright before")["half"]},
            "share of the dark place, dark less bright": interval(
                paired(values("dark", "share dark"), values("bright", "share dark"))
            ),
            "correlation": {
                f"{key}{when}": interval(paired(values("half", f"correlation {key}{when}"), zero))
                for key in ("gradient", "gradient, scaled")
                for when in (" before", "")
            },
        }
    return found
