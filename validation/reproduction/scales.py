"""How large the experiments are: a laptop's stand-ins, a ResNet-18 on photographs or CIFAR-100, the paper's own settings."""

from dataclasses import dataclass

from lattice import SpecificationError
from lattice.checks import is_whole
from validation.evaluation.runs.paper import SETTINGS, Setting
from validation.evaluation.runs.perturbed import Ablate
from validation.training.recipes import CIFAR100, IMAGENET, LAPTOP, Recipe

__all__ = ["EXPERIMENTS", "SCALES", "Scale", "named_scale", "recipes", "setting"]

EXPERIMENTS = ("table1", "table2", "table3", "table4", "figure1", "figure2", "figure3", "figure4", "figure5")
RANDOM_CROPS = {"flip": "RC-", "flip+crop": "RC+"}
# which of the fourteen recipes on CIFAR-100, or the seven on ImageNet, an experiment rests on
AUGMENTATIONS = {
    "table1": ("flip", "flip+crop"),
    "table3": ("flip", "flip+crop"),
    "figure2": ("flip",),
    "figure3": ("flip+crop",),
}


@dataclass(frozen=True)
class Scale:
    """What stands for the paper's two data sets, how many seeds are customary, and what it costs."""

    name: str
    cifar: Recipe
    """Tables 1 and 3, Figures 2 and 3: with "flip" (RC-) and "flip+crop" (RC+)"""
    imagenet: Recipe
    """Tables 2 and 4, Figures 4 and 5"""
    seeds: int
    ablation: Ablate
    """Figure 5"""
    cost: str


IMAGENETS_OWN = {
    name: getattr(IMAGENET, name) for name in ("momentum", "weight_decay", "decay_norms", "label_smoothing", "early_scores")
}
PHOTOGRAPHS = LAPTOP.changed(data="photographs", size=64, model="resnet18", batch=32, epochs=6, lr=0.05, early_scores=4)
SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "laptop",
            LAPTOP.changed(data="photos", augment="flip+crop", early_scores=4),
            LAPTOP.changed(data="mnist", augment="none", **IMAGENETS_OWN),
            3,
            Ablate(images=64, baselines=16, steps=16),
            "a small ResNet on crops of eight photographs (for CIFAR-100) and on 5000 digits (for ImageNet); under an hour on "
            "two cores, no download",
        ),
        Scale(
            "photographs",
            PHOTOGRAPHS.changed(augment="flip+crop"),
            PHOTOGRAPHS.changed(augment="flip", **IMAGENETS_OWN),
            3,
            Ablate(images=64, baselines=16, steps=16),
            "torchvision's ResNet-18 on 64-pixel crops of eighteen photographs, 6 epochs; hours on one core, no download",
        ),
        Scale(
            "cifar",
            CIFAR100.changed(model="resnet18-cifar", epochs=30),
            CIFAR100.changed(model="resnet18-cifar", epochs=30, lr=0.128, **IMAGENETS_OWN),
            3,
            Ablate(images=256, baselines=64, steps=16),
            "ResNet-18 for 32 pixels, 30 epochs of CIFAR-100 (by --root), with the settings of both data sets; 2.5e15 "
            "multiplications a run and seed, for a GPU",
        ),
        Scale(
            "paper",
            CIFAR100,
            IMAGENET,
            1,
            Ablate(images=512, baselines=1000, steps=16, points=257),
            "ResNet-50, 200 epochs of CIFAR-100 and 90 of ImageNet (by --root), as Section 4.1 has them; 4e16 and 1.4e18 "
            "multiplications a run and seed, for many GPUs",
        ),
    )
}


def named_scale(name: str) -> Scale:
    """The scale of this name.

    Raises
    ------
    SpecificationError
        Where there is none.
    """
    if name not in SCALES:
        raise SpecificationError(f"there is no scale {name!r}; there are {', '.join(SCALES)}")
    return SCALES[name]


def setting(recipe: Recipe) -> Setting:
    """(augmentation, penalty, alpha): the recipe's row in the paper's tables.

    Examples
    --------
    >>> setting(CIFAR100.changed(kind="target", alpha=10.0))
    ('flip+crop', 'target', 10)
    """
    penalty = recipe.penalty
    return recipe.augment, penalty.kind, 0 if penalty.kind == "none" else int(penalty.alpha)


def recipes(experiment: str, scale: Scale) -> list[Recipe]:
    """The recipes of an experiment in the order of the paper's rows, with seed 0; none for Figure 1.

    Parameters
    ----------
    experiment : str
        One of `EXPERIMENTS`.
    scale : Scale
        How large.

    Returns
    -------
    list of Recipe
        Fourteen for Tables 1 and 3, seven for all others but Figure 1.

    Raises
    ------
    SpecificationError
        For an experiment that there is not.

    Examples
    --------
    >>> [
    ...     len(recipes(name, SCALES["paper"]))
    ...     for name in ("table1", "table2", "figure1", "figure2")
    ... ]
    [14, 7, 0, 7]
    """
    if experiment not in EXPERIMENTS:
        raise SpecificationError(f"the paper has no {experiment!r} here; there are {', '.join(EXPERIMENTS)}")
    if experiment == "figure1":
        return []
    base = scale.cifar if experiment in AUGMENTATIONS else scale.imagenet
    return [
        base.changed(augment=augment, kind=kind, alpha=float(alpha) if alpha else base.penalty.alpha)
        for augment in AUGMENTATIONS.get(experiment, (base.augment,))
        for kind, alpha in SETTINGS
    ]


def seeds_of(scale: Scale, seeds: int | None) -> range:
    """Seeds 0, 1, ...: as many as were asked for, or as are customary at this scale."""
    if seeds is not None and (not is_whole(seeds) or seeds < 1):
        raise SpecificationError(f"--seeds {seeds}: it is a whole number, 1 at least")
    return range(seeds or scale.seeds)
