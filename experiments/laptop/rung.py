"""A second rung between the laptop and the paper: torchvision's ResNet-18 on 64-pixel crops of eighteen photographs."""

import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from validation.datasets.catalogue import load
from validation.evaluation.runs.tables import collect, grouped
from validation.evaluation.summaries.scores import scores_table
from validation.reproduction.scales import SCALES
from validation.reproduction.sweep import Sweep, sweep
from validation.training.models import initial_network
from validation.training.penalty import Objective
from validation.training.recipes import Recipe

__all__ = ["rung"]

BASE = SCALES["photographs"].cifar.changed(augment="flip")
RECIPES = (BASE.changed(kind="none"), *(BASE.changed(kind="target", alpha=alpha) for alpha in (1.0, 10.0)))
SEEDS = (0,)
REPEATS = 5
SUSTAINED = 1e13  # multiplications a second that a GPU of today sustains in float32: an assumption, a third of its peak
TITLE = "## A second rung: ResNet-18 on crops of eighteen photographs"


def cost(recipe: Recipe) -> dict[str, float]:
    """Of one run: processor seconds of an epoch on one thread, with and without the penalty at each T-th step; multiplications.

    Steps are timed on the processor's own clock, so that other work on the machine does not count.
    """
    data = load(recipe.data, size=recipe.size, augment=recipe.augment)
    model = initial_network(recipe, data)
    objective = Objective(model, recipe.changed(kind="target", alpha=1.0).penalty, torch.ones(recipe.size, recipe.size))
    images = data.train.batch(torch.arange(recipe.batch))
    labels, uniforms = data.train.labels[: recipe.batch], torch.rand(recipe.batch, generator=torch.Generator().manual_seed(0))

    def step(weight: float) -> None:
        objective.train()
        objective.zero_grad(set_to_none=True)
        objective(images, labels, uniforms, weight)[0].backward()

    def seconds(weight: float) -> float:
        taken = []
        for _ in range(REPEATS + 1):
            begun = time.process_time()
            step(weight)
            taken.append(time.process_time() - begun)
        return sorted(taken[1:])[REPEATS // 2]

    with FlopCounterMode(display=False) as counter:
        step(0.0)
    plain, penalised = seconds(0.0), seconds(1.0)
    steps, interval = len(data.train) // recipe.batch, recipe.penalty.interval
    return {
        "epoch": steps * plain,
        "epoch with penalty": steps * (plain + (penalised - plain) / interval),
        "multiplications": counter.get_total_flops() / 2 * steps * recipe.epochs,
    }


def rung(where: Sweep) -> tuple[str, dict[str, Any]]:
    """Train without penalty and with ¶_t, alpha 1 and 10; the part of the page, and its numbers.

    Parameters
    ----------
    where : Sweep
        Folder and device.

    Returns
    -------
    (str, dict)
        Markdown; scores by recipe, and what a run costs.
    """
    folders = sweep([recipe.changed(seed=seed) for seed in SEEDS for recipe in RECIPES], where)
    groups = grouped(collect(folders))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        spent = cost(BASE)
    finally:
        torch.set_num_threads(before)
    run = BASE.epochs * spent["epoch with penalty"]
    multiplications = spent["multiplications"]
    text = (
        f"`pilcro reproduce table1 --scale photographs` (fourteen recipes) trains these; here are three of them with seed 0. "
        f"An epoch takes {spent['epoch']:.0f} seconds of one processor core, with the penalty "
        f"{spent['epoch with penalty']:.0f} (measured on the processor's clock), a run of {BASE.epochs} epochs "
        f"{run / 60:.1f} minutes without its scores, the fourteen recipes with three seeds {42 * run / 3600:.1f} hours. On one "
        f"GPU, as an estimate and not a measurement: {multiplications:.1e} multiplications a run, "
        f"{multiplications / SUSTAINED:.1f} seconds at {SUSTAINED:.0e} a second; small batches keep it waiting, so that half a "
        "minute a run is more likely."
    )
    numbers = {
        "cost": spent,
        "rows": [
            {
                "recipe": group.recipe.penalty.kind,
                "alpha": group.recipe.penalty.applied,
                "scores": group.results[0].content["scores"],
            }
            for group in groups
        ],
    }
    return f"{TITLE}\n\n{text}\n\n{scores_table(groups).markdown()}", numbers
