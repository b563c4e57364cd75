"""The scores that the paper prints (Tables 1 and 2), to stand beside runs; `printed` for runs of exactly its settings only."""

from dataclasses import replace
from typing import NamedTuple

from validation.training.penalty import Penalty
from validation.training.recipes import CIFAR100, IMAGENET, Recipe

__all__ = ["SETTINGS", "TABLE_1", "TABLE_2", "Printed", "Setting", "printed"]

Setting = tuple[str, str, int]  # augmentation, penalty, alpha
SETTINGS = (
    ("none", 0),
    *((kind, alpha) for kind in ("target", "curvature") for alpha in (1, 10, 100)),
)  # the rows of Tables 1 and 2, in their order


class Printed(NamedTuple):
    """Top-1, Top-5, TV and loss of one row."""

    top1: float
    top5: float
    tv: float
    loss: float


# (augmentation, penalty, alpha); RC- is "flip", RC+ is "flip+crop"
TABLE_1 = {
    ("flip", "none", 0): Printed(0.6825, 0.8918, 0.0192, 1.4807),
    ("flip", "target", 1): Printed(0.6901, 0.8973, 0.00191, 1.4241),
    ("flip", "target", 10): Printed(0.7041, 0.9053, 0.00094, 1.3850),
    ("flip", "target", 100): Printed(0.6653, 0.8844, 0.00097, 1.5300),
    ("flip", "curvature", 1): Printed(0.6788, 0.8938, 0.00591, 1.4764),
    ("flip", "curvature", 10): Printed(0.6792, 0.8859, 0.00585, 1.5158),
    ("flip", "curvature", 100): Printed(0.6356, 0.8580, 0.00453, 1.8577),
    ("flip+crop", "none", 0): Printed(0.7610, 0.9318, 0.00605, 1.3221),
    ("flip+crop", "target", 1): Printed(0.7684, 0.937, 0.00147, 1.2664),
    ("flip+crop", "target", 10): Printed(0.7833, 0.9431, 0.00088, 1.2117),
    ("flip+crop", "target", 100): Printed(0.7731, 0.9403, 0.00086, 1.1095),
    ("flip+crop", "curvature", 1): Printed(0.7773, 0.9405, 0.00327, 1.2107),
    ("flip+crop", "curvature", 10): Printed(0.7597, 0.9306, 0.00422, 1.3011),
    ("flip+crop", "curvature", 100): Printed(0.7604, 0.9312, 0.00567, 1.3709),
}
TABLE_2 = {
    ("zoom", "none", 0): Printed(0.7768, 0.9384, 0.00499, 1.4045),
    ("zoom", "target", 1): Printed(0.7780, 0.9387, 0.00048, 1.4136),
    ("zoom", "target", 10): Printed(0.7800, 0.9385, 0.00019, 1.4022),
    ("zoom", "target", 100): Printed(0.7702, 0.9350, 0.00007, 1.4017),
    ("zoom", "curvature", 1): Printed(0.7790, 0.9374, 0.00102, 1.4072),
    ("zoom", "curvature", 10): Printed(0.7797, 0.9398, 0.00030, 1.4046),
    ("zoom", "curvature", 100): Printed(0.7755, 0.9366, 0.00024, 1.4097),
}


def printed(recipe: Recipe) -> Printed | None:
    """The paper's row for this recipe; None where anything but seed, augmentation, penalty and alpha differs from its setting.

    Parameters
    ----------
    recipe : Recipe
        The recipe of the run.

    Returns
    -------
    Printed, optional
        Top-1, Top-5, TV and loss, or nothing.

    Examples
    --------
    >>> printed(CIFAR100.changed(kind="target", alpha=10.0, seed=3)).top1
    0.7833
    >>> printed(CIFAR100.changed(epochs=20)) is None
    True
    """
    for setting, rows in ((CIFAR100, TABLE_1), (IMAGENET, TABLE_2)):
        free = replace(setting, seed=recipe.seed, augment=recipe.augment, penalty=recipe.penalty)
        kind, alpha = recipe.penalty.kind, recipe.penalty.alpha if recipe.penalty.kind != "none" else 0
        if recipe == free and (kind == "none" or recipe.penalty == Penalty(kind, alpha)):
            return rows.get((recipe.augment, kind, int(alpha) if alpha == int(alpha) else -1))
    return None
