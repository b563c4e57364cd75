"""The laptop's results: `make laptop` trains every run below (half an hour on two cores) and writes docs/laptop.md and figures.

Runs that are finished are not run again, and one that was stopped goes on.
"""

import sys
from pathlib import Path

from validation.evaluation.figures import plot_curves, plot_landscapes
from validation.evaluation.tables import collect, grouped, markdown
from validation.training.loop import train
from validation.training.recipes import LAPTOP, Recipe

DOCS = Path(__file__).parent
RUNS = Path("runs/laptop")
SEEDS = (0, 1, 2)


def penalties(alphas: dict[str, tuple[float, ...]], **others: object) -> list[Recipe]:
    return [LAPTOP.changed(kind=kind, alpha=alpha, **others) for kind, values in alphas.items() for alpha in values]


FEW: dict[str, tuple[float, ...]] = {"none": (0.0,), "curvature": (0.03,), "target": (3e-4,)}
STUDIES: dict[str, tuple[str, list[Recipe]]] = {
    "digits": (
        "5000 MNIST digits in the middle of 32 x 32 pixels: penalties over alpha, and what else one might do",
        [
            *penalties(
                {
                    "none": (0.0,),
                    "curvature": (0.003, 0.03, 0.3),
                    "target": (3e-5, 3e-4, 3e-3),
                    "norm": (0.01, 0.1),
                }
            ),
            LAPTOP.changed(kind="none", alpha=0.0, augment="flip+crop"),
            LAPTOP.changed(kind="none", alpha=0.0, reweight=True),
        ],
    ),
    "corners": (
        "The same digits at half the size, each in one of the four corners",
        [*penalties(FEW, data="mnist-corner"), LAPTOP.changed(kind="none", alpha=0.0, data="mnist-corner", reweight=True)],
    ),
    "photos": (
        "Crops of eight colour photographs: which photograph is it?",
        penalties({"none": (0.0,), "curvature": (0.03,), "target": (3e-5, 3e-4)}, data="photos"),
    ),
    "sizes": (
        "32 against 33 pixels: at 33 every stride-2 layer reads its padding on both sides",
        [*penalties({"none": (0.0,)}), *penalties({"none": (0.0,)}, size=33)],
    ),
}


def name(recipe: Recipe) -> str:
    words = [recipe.data, str(recipe.size), recipe.augment, recipe.penalty.kind, f"{recipe.penalty.alpha:g}"]
    return "-".join([*words, *(["reweighted"] if recipe.reweight else []), f"seed{recipe.seed}"])


def main() -> None:
    parts = ["# The laptop's results", "", "Made by `make laptop` (`python docs/laptop.py`).", ""]
    for study, (title, recipes) in STUDIES.items():
        folders = []
        for recipe in recipes:
            for seed in SEEDS:
                run = recipe.changed(seed=seed)
                folders.append(RUNS / name(run))
                train(run, folders[-1], progress=sys.stderr.isatty())
                print(folders[-1], flush=True)
        groups = grouped(collect(folders))
        parts += [f"## {title}", "", markdown(groups)]
        for kind, figure in (("landscapes", plot_landscapes(groups)), ("curves", plot_curves(groups))):
            figure.savefig(DOCS / "figures" / f"laptop-{study}-{kind}.png", dpi=100)
            parts += [f"![{kind}](figures/laptop-{study}-{kind}.png)", ""]
        (DOCS / "laptop.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
