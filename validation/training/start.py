"""A run before its first step: which parameters decay, and how large the penalty's gradient is beside the cross-entropy's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lattice import PilcroError
from validation.runtime.preserve_state import preserve_state
from validation.runtime.process_group import World
from validation.runtime.seeds import number
from validation.training.penalty import Objective
from validation.training.recipes import Recipe

__all__ = ["decay_groups", "gradient_norms", "seeded_dropout", "stated"]

NORMS: tuple[type[nn.Module], ...] = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def decay_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameters that weight decay shrinks, and those that it leaves alone (Section 4.1.2 excludes batch norm's).

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    recipe : Recipe
        `decay_norms` speaks for scales and shifts of norms, `decay_biases` for all other vectors.

    Returns
    -------
    list of dict
        Two groups, as torch's optimisers take them.
    """
    norms = {id(p) for part in model.modules() if isinstance(part, NORMS) for p in part.parameters(recurse=False)}

    def decays(p: nn.Parameter) -> bool:
        return recipe.decay_norms if id(p) in norms else recipe.decay_biases or p.ndim > 1

    decayed = [p for p in model.parameters() if decays(p)]
    spared = [p for p in model.parameters() if not decays(p)]
    return [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": spared, "weight_decay": 0.0}]


@contextmanager
def seeded_dropout(recipe: Recipe, step: int, place: World) -> Iterator[None]:
    """Torch's random state as a function of seed, step and process inside; as it was before on leaving.

    Parameters
    ----------
    recipe : Recipe
        The recipe of the run.
    step : int
        Updates made so far.
    place : World
        This process among those that share the work.
    """
    with torch.random.fork_rng(devices=[place.device] if place.device.type == "cuda" else ()):
        torch.manual_seed(number(recipe.seed, "dropout", step * place.size + place.rank))
        yield


def gradient_norms(
    objective: Objective, recipe: Recipe, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], place: World
) -> dict[str, float]:
    """||alpha grad L(I')||, ||grad cross-entropy|| and their ratio over the parameters, at step 0 and after any warm-up.

    A ratio far above one says that the penalty, and not the data, would train the network. The objective is left as it was.

    Parameters
    ----------
    objective : Objective
        With the fresh network.
    recipe : Recipe
        Its penalty and seed count.
    batch : tuple of torch.Tensor
        Images, labels and uniform numbers of step 0, this process's part.
    place : World
        The processes; gradients are averaged over them.

    Returns
    -------
    dict of str to float
        "weight", "penalty", "cross_entropy" and "ratio"; without a penalty all but the weight are left out.

    Raises
    ------
    PilcroError
        Where the network has no landscape.
    """
    penalty, model = recipe.penalty, objective.model
    if not penalty.applied:
        return {"weight": 0.0}
    images, labels, uniforms = (values.to(place.device) for values in batch)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def norm(value: torch.Tensor) -> float:
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        return float(torch.nn.utils.get_total_norm([place.mean(g) for g in found if g is not None]))

    with preserve_state(model), seeded_dropout(recipe, 0, place):
        objective.train()
        plain = norm(objective(images, labels, uniforms, 0.0)[0])
        try:
            regular = penalty.applied * norm(penalty.of_model(model, images, uniforms, objective.target))
        except PilcroError as error:
            raise type(error)(f"step 0: {error}. Nothing was updated") from error
    ratio = regular / plain if plain else float("inf")
    return {"weight": penalty.applied, "penalty": regular, "cross_entropy": plain, "ratio": ratio}


def stated(norms: dict[str, float]) -> str:
    """One line about what `gradient_norms` found.

    Examples
    --------

    Parameters
    ----------
    norms : dict[str, float]
        What `gradient_norms` returned.

    Returns
    -------
    str
        For a terminal.

    Examples
    --------
    >>> stated({"weight": 10.0, "penalty": 3.0, "cross_entropy": 1.5, "ratio": 2.0})
    'gradient norms at step 0: penalty 3 (weight 10), cross-entropy 1.5; ratio 2'
    """
    if "ratio" not in norms:
        return "no penalty"
    return (
        f"gradient norms at step 0: penalty {norms['penalty']:.3g} (weight {norms['weight']:g}), cross-entropy "
        f"{norms['cross_entropy']:.3g}; ratio {norms['ratio']:.3g}"
    )
