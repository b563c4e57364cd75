"""What the paper's tables do not ask: other data, other sizes, other ways to flatten a landscape, and where features sit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.laptop.text import lowered
from experiments.pictures import save, with_a_palette
from validation.cli.commands.runs.evaluate import Evaluate
from validation.evaluation.runs.tables import collect, grouped, label
from validation.evaluation.summaries.figures import plot_landscapes
from validation.evaluation.summaries.scores import scores_table
from validation.reproduction.sweep import Sweep, sweep
from validation.training.recipes import LAPTOP, Recipe

__all__ = ["SEEDS", "STUDIES", "Study", "study"]

SEEDS = (0, 1, 2)
SCORES = ("top1", "tv", "asymmetry")
PLAIN = LAPTOP.changed(kind="none")
FLATTENED = LAPTOP.changed(kind="target", alpha=1.0)


@dataclass(frozen=True)
class Study:
    """A title, recipes (each with every seed), and whether their test images are moved, too."""

    title: str
    recipes: tuple[Recipe, ...]
    moved: bool = False


STUDIES = {
    "digits": Study(
        "5000 MNIST digits in the middle of 32 x 32 pixels: what else flattens",
        (
            PLAIN,
            FLATTENED,
            PLAIN.changed(augment="flip+crop"),
        ),
        moved=True,
    ),
    "corners": Study(
        "The same digits at half the size, each in one of the four corners",
        tuple(recipe.changed(data="mnist-corner") for recipe in (PLAIN, FLATTENED)),
        moved=True,
    ),
    "sizes": Study(
        "32 against 33 pixels: at 33 every stride-2 layer reads its padding on both sides", (PLAIN, PLAIN.changed(size=33))
    ),
}


def study(name: str, where: Sweep, figures: Path) -> tuple[str, dict[str, Any]]:
    """Train what is not trained, draw, move test images; returns the part of the page and its numbers by run.

    Parameters
    ----------
    name : str
        Of `STUDIES`.
    where : Sweep
        Folder and device.
    figures : Path
        Where the page's pictures are kept.

    Returns
    -------
    (str, dict)
        Markdown; for each run its scores before and after training, by seed, and what was measured of moved images.
    """
    chosen = STUDIES[name]
    folders = sweep([recipe.changed(seed=seed) for recipe in chosen.recipes for seed in SEEDS], where)
    groups = grouped(collect(folders))
    save(plot_landscapes(groups), figures / f"laptop-{name}-landscapes", dpi=100)
    parts = [
        f"## {chosen.title}",
        "",
        scores_table(groups).markdown(),
        f"![landscapes](figures/laptop-{name}-landscapes.png)",
        "",
    ]
    labels = [label(group.recipe, [other.recipe for other in groups]) for group in groups]
    numbers: dict[str, Any] = {
        text: {
            f"{score}{suffix}": {one.recipe.seed: _largest(one.content[when][score]) for one in group.results}
            for score in SCORES
            for when, suffix in (("scores", ""), ("before", " before"))
        }
        for text, group in zip(labels, groups, strict=True)
    }
    if chosen.moved:
        out = where.folder / f"{name}-moved"
        found = Evaluate(what=tuple(map(str, folders)), location=True, out=out, device=where.device, json=True).run()
        for row in found["rows"]:
            numbers[row["run"]]["moved"] = {key: value for key, value in row.items() if key != "run"}
        text = lowered(out.with_suffix(".md").read_text(encoding="utf-8"))
        text = text.replace(f"({out.name}-location.png)", f"(figures/laptop-{name}-moved.png)")
        (figures / f"laptop-{name}-moved.png").write_bytes(
            with_a_palette(out.with_name(f"{out.name}-location.png").read_bytes())
        )
        parts += [text[text.index("### ") :]]  # the evaluation's own heading left out
    return "\n".join(parts), numbers


def _largest(value: float | list[float]) -> float:
    return max(value) if isinstance(value, list) else value
