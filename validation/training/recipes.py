"""The paper's settings (Section 4.1), and one for a laptop, as frozen values that print, save and load."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from lattice import SpecificationError
from lattice.checks import is_real, is_whole
from validation.training.penalty import Penalty

__all__ = ["CIFAR100", "IMAGENET", "LAPTOP", "RECIPES", "Recipe", "preset"]

LEAST = {"size": 1, "evaluation_size": 0, "batch": 1, "epochs": 1, "lr_warmup": 0, "early_scores": 0, "seed": 0}
RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "lr": ("a finite number above 0", lambda value: value > 0),
    "momentum": ("0 at least and below 1", lambda value: 0 <= value < 1),
    "label_smoothing": ("0 at least and below 1", lambda value: 0 <= value < 1),
    "weight_decay": ("a finite number, 0 at least", lambda value: value >= 0),
}
CHOICES = {"precision": ("float32", "bfloat16"), "stem": ("auto", "imagenet", "cifar")}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a run's result depends on. SGD with a cosine from `lr` to zero over all steps (Section 4.1).

    Raises
    ------
    SpecificationError
        For values that mean nothing.
    """

    data: str = "mnist"
    """mnist, mnist-corner, digits, photos, photographs, cifar10, cifar100 or folder"""
    size: int = 32
    """pixels of a training image's side"""
    evaluation_size: int = 0
    """pixels of a test image's side, for folders (0: the same)"""
    augment: str = "none"
    """none, flip (RC-), flip+crop (RC+) or zoom"""
    model: str = "small"
    """small, a torchvision name, NAME-cifar, package.module:factory or file.py:factory"""
    stem: Literal["auto", "imagenet", "cifar"] = "auto"
    """of torchvision's ResNets: imagenet (7x7 stride 2, max-pool), cifar (3x3, no pool), auto (cifar for NAME-cifar)"""
    batch: int = 64
    """images of a step, over all processes"""
    epochs: int = 6
    """passes over the training images"""
    lr: float = 0.1
    """learning rate of the first step, after its warm-up"""
    lr_warmup: int = 0
    """steps over which the learning rate rises linearly to lr, before the cosine"""
    momentum: float = 0.9
    """momentum of SGD"""
    weight_decay: float = 5e-4
    """L2 weight decay"""
    decay_norms: bool = True
    """whether the scales and shifts of norms decay too"""
    decay_biases: bool = True
    """whether the biases of all other layers decay too"""
    label_smoothing: float = 0.0
    """mass spread over all classes"""
    early_scores: int = 0
    """how often the test images are scored inside the first epoch (Figure 4's zoom)"""
    penalty: Penalty = field(default_factory=Penalty)
    """the regulariser"""
    reweight: bool = False
    """multiply each input pixel by the weight that landscape.advise proposes (a comparison, not the paper's)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """of the training forward; the penalty is always float32"""
    channels_last: bool = False
    """memory format"""
    seed: int = 0
    """root of all randomness: weights, order, augmentation, sampled classes"""

    def __post_init__(self) -> None:
        wrong = [f"{name} {getattr(self, name)} ({what})" for name, what in self._wrong()]
        if wrong:
            raise SpecificationError(f"no run can have {', '.join(wrong)}")

    def _wrong(self) -> Iterator[tuple[str, str]]:
        """Fields whose values mean nothing, each with what would."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name, least in LEAST.items():
            if not (is_whole(values[name]) and values[name] >= least):
                yield name, f"a whole number, {least} at least"
        for name, (words, fits) in RANGES.items():
            if not (is_real(values[name]) and fits(values[name])):
                yield name, words
        for name in ("data", "augment", "model"):
            if not isinstance(values[name], str):
                yield name, "a name"
        for name in ("decay_norms", "decay_biases", "reweight", "channels_last"):
            if not isinstance(values[name], bool):
                yield name, "True or False"
        for name, choices in CHOICES.items():
            if values[name] not in choices:
                yield name, f"one of {', '.join(choices)}"
        if not isinstance(values["penalty"], Penalty):
            yield "penalty", "a Penalty"

    def rate(self, step: int, steps: int) -> float:
        """lr (1 + cos(pi (step - w) / (steps - w))) / 2 after a warm-up of w steps, and lr (step + 1) / (w + 1) during it.

        Parameters
        ----------
        step : int
            Updates made so far.
        steps : int
            Updates of the whole run.

        Returns
        -------
        float
            The learning rate of the next update.

        Examples
        --------
        >>> [round(Recipe(lr=0.2).rate(step, 4), 3) for step in range(5)]
        [0.2, 0.171, 0.1, 0.029, 0.0]
        >>> [round(Recipe(lr=0.3, lr_warmup=2).rate(step, 4), 3) for step in range(5)]
        [0.1, 0.2, 0.3, 0.15, 0.0]
        """
        if step < self.lr_warmup:
            return self.lr * (step + 1) / (self.lr_warmup + 1)
        part = (step - self.lr_warmup) / max(1, steps - self.lr_warmup)
        return self.lr * (1 + math.cos(math.pi * part)) / 2

    def json(self) -> dict[str, Any]:
        """Plain values, as they are saved.

        Returns
        -------
        dict
            The fields by name, those of the penalty in a dictionary of their own.

        Examples
        --------
        >>> Recipe.of(LAPTOP.json()) == LAPTOP
        True
        """
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Recipe":
        """The recipe of plain values, of this version or of an older one.

        Runs from before `Penalty.reading` existed keep theirs (see `Penalty.of`); before `decay_biases` existed, `decay_norms`
        spoke for biases, too.

        Parameters
        ----------
        values : Mapping
            What `json` gave.

        Returns
        -------
        Recipe
            With the fields that are missing at their defaults.

        Raises
        ------
        SpecificationError
            For a field that there is not.
        """
        inner = values.get("penalty", {}) if isinstance(values, Mapping) else None
        if not isinstance(inner, Mapping):
            raise SpecificationError(f"a recipe and its penalty are values by name, not {values!r:.80}")
        unknown = set(values) - {f.name for f in fields(cls)}
        unknown |= set(inner) - {f.name for f in fields(Penalty)}
        if unknown:
            raise SpecificationError(f"a recipe has no {', '.join(sorted(unknown))}; was it written by a newer version?")
        biases = {"decay_biases": values["decay_norms"]} if "decay_norms" in values else {}
        return cls(**{**biases, **values, "penalty": Penalty.of(inner)})

    def changed(self, **values: Any) -> "Recipe":
        """The same with other values; `kind`, `alpha` and the penalty's others go to the penalty.

        Parameters
        ----------
        **values
            Fields of the recipe or of its penalty.

        Returns
        -------
        Recipe
            A new one.

        Raises
        ------
        SpecificationError
            For a field that there is not, and for values that mean nothing.
        """
        inner = {name: values.pop(name) for name in [f.name for f in fields(Penalty)] if name in values}
        unknown = set(values) - {f.name for f in fields(Recipe)}
        if unknown:
            raise SpecificationError(f"a recipe has no {', '.join(sorted(unknown))}")
        return replace(self, **values, penalty=replace(self.penalty, **inner))

    def __str__(self) -> str:
        return json.dumps(self.json(), indent=1)


LAPTOP = Recipe()
# Section 4.1.1. The paper gives no weight decay for CIFAR; 5e-4 is what goes with batch 128 and rate 0.1 everywhere
CIFAR100 = Recipe(
    data="cifar100", augment="flip+crop", model="resnet50-cifar", batch=128, epochs=200, lr=0.1, momentum=0.9
)  # fmt: skip
# Section 4.1.2. The paper gives no number of epochs; 90 is the customary one. Its decay "excluded BatchNorm trainable
# parameters", and no others: the last layer's bias decays
IMAGENET = Recipe(
    data="folder", size=224, evaluation_size=288, augment="zoom", model="resnet50", batch=256, epochs=90, lr=0.256,
    momentum=0.875, weight_decay=3e-5, decay_norms=False, label_smoothing=0.1, early_scores=8,
)  # fmt: skip
RECIPES = {"laptop": LAPTOP, "cifar100": CIFAR100, "imagenet": IMAGENET}


def preset(recipe: Recipe | str) -> Recipe:
    """The recipe itself, or the one of a name.

    Parameters
    ----------
    recipe : Recipe or str
        "laptop", "cifar100" or "imagenet" name the presets.

    Returns
    -------
    Recipe
        The recipe.

    Raises
    ------
    SpecificationError
        For another name or type.

    Examples
    --------
    >>> preset("laptop") is preset(LAPTOP) is LAPTOP
    True
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES if isinstance(recipe, str) else True:
        given = repr(recipe) if isinstance(recipe, str) else f"a {type(recipe).__name__}"
        raise SpecificationError(f"recipe is {given}; it is {', '.join(RECIPES)} or a Recipe, and Recipe.of(values) makes one")
    return RECIPES[recipe]
