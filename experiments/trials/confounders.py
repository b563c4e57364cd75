"""Two digits in each image, one of them the class: does the one at the bright place prevail?

Section 1: "if the relevant signal does not match the preferred location of the network, there is a risk that confounding
signals will prevail, and hence generalisation will be harmed". In training the other digit is of the same class nine times in
ten; in the test it is of any.
"""

from typing import Any

import numpy as np
import torch

from experiments.trials.networks import NETWORKS, fresh, places
from experiments.trials.places import interval
from experiments.trials.scenes import Digits, Place, digits, scenes
from experiments.trials.training import SEEDS, Labelled, trained
from validation.reproduction.significance import paired

__all__ = ["confounders"]

ALIKE = 0.9  # how often the other digit tells the class, in training
PLACES = {"signal bright": ("bright", "dark"), "signal dark": ("dark", "bright")}  # of the signal, of the other digit


def pairs(found: Digits, where: tuple[Place, Place], alike: float, seed: int) -> tuple[Labelled, torch.Tensor]:
    """Scenes of two digits, labelled by the first, and the classes of the second.

    Parameters
    ----------
    found : Digits
        Of which the first ones are all, and the second ones are drawn.
    where : tuple of (row, column)
        Places of the first and of the second.
    alike : float
        How often the second has the class of the first; otherwise any digit.
    seed : int
        Of all that is drawn.
    """
    draw = np.random.default_rng(seed)
    labels = found.labels.numpy()
    members = [np.flatnonzero(labels == c) for c in range(int(labels.max()) + 1)]
    others = [draw.choice(members[c]) if draw.random() < alike else draw.integers(len(labels)) for c in labels]
    second = torch.from_numpy(np.array(others))
    images = scenes(
        [(found.pixels, [where[0]] * len(found)), (found.pixels[second], [where[1]] * len(found))],
        torch.Generator().manual_seed(seed),
    )
    return Labelled(images, found.labels), found.labels[second]


def one_run(name: str, spots: dict[str, Place], condition: str, seed: int) -> dict[str, float]:
    """Top-1 by the signal where the two digits differ, and how often the answer is the other digit's class."""
    train, test = digits()
    where = (spots[PLACES[condition][0]], spots[PLACES[condition][1]])
    model = fresh(name, seed)
    shown, others = pairs(test, where, 0.0, 1000 + seed)
    trained(model, pairs(train, where, ALIKE, seed)[0], {"test": shown}, seed)
    with torch.no_grad():
        answers = model(shown.images).argmax(1)
    apart = others != shown.labels
    return {
        "Top-1": float((answers == shown.labels)[apart].double().mean()),
        "follows the other": float((answers == others)[apart].double().mean()),
    }


def confounders() -> dict[str, Any]:
    """For each network: both shares, with the signal at the bright and at the dark place; intervals over seeds."""
    found: dict[str, Any] = {}
    for name in NETWORKS:
        spots = places("resnet" if name == "circular" else name)
        runs = {condition: {seed: one_run(name, spots, condition, seed) for seed in SEEDS} for condition in PLACES}
        found[name] = {}
        for key in ("Top-1", "follows the other"):
            by = {c: {seed: one[key] for seed, one in of.items()} for c, of in runs.items()}
            found[name][key] = {c: float(np.mean(list(of.values()))) for c, of in by.items()}
            found[name][f"{key}, dark less bright"] = interval(paired(by["signal dark"], by["signal bright"]))
    return found
