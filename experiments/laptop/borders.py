"""The curvature penalty with its Laplacian as printed, and with a border rule that sees every pixel."""

from collections.abc import Sequence

import numpy as np

from lattice.results.files import read_arrays
from validation.reproduction.rows import Line, lines
from validation.reproduction.scales import SCALES
from validation.reproduction.significance import paired
from validation.reproduction.sweep import Sweep, sweep
from validation.reproduction.tables import text_table

__all__ = ["borders"]

TITLE = "## ¶_c with a border rule"
NOTE = (
    "¶_c with α = 1 on the photographs, the Laplacian unpadded as printed and with replicated borders; means over seeds of "
    "the differences (replicated less unpadded) with 95 % intervals. Flip asymmetry: ||I' - flipped|| / ||I' + flipped||, the "
    "larger of the two axes. Border share: the part of the landscape's energy that lies in the outermost pixels, 0.12 if it is "
    "flat."
)


def share(line: Line) -> dict[int, float]:
    """Seed -> the share of the mean squared landscape in the outermost cells."""
    found = {}
    for result in line.results:
        squared = read_arrays(result.folder / "landscape.npz")[1]["after"] ** 2
        found[result.recipe.seed] = float(1 - squared[1:-1, 1:-1].sum() / squared.sum())
    return found


def borders(where: Sweep, seeds: Sequence[int]) -> tuple[str, dict[str, object]]:
    """The part of the page, and its numbers: for each augmentation and score (unpadded, replicated, difference)."""
    base = SCALES["laptop"].cifar.changed(kind="curvature", alpha=1.0)
    texts, numbers = [], []
    for augment, crops in (("flip", "RC-"), ("flip+crop", "RC+")):
        wanted = [base.changed(augment=augment, border=border, seed=s) for border in ("unpadded", "replicate") for s in seeds]
        printed, ruled = lines(wanted, sweep(wanted, where))
        for head, one, other in (
            ("Top-1", printed.values("top1"), ruled.values("top1")),
            ("TV", printed.values("tv"), ruled.values("tv")),
            ("flip asymmetry", printed.values("asymmetry"), ruled.values("asymmetry")),
            ("border share", share(printed), share(ruled)),
        ):
            means = [float(np.mean(list(values.values()))) for values in (one, other)]
            difference = paired(other, one)
            texts.append([crops, head, *(f"{mean:.3f}" for mean in means), str(difference)])
            numbers.append(
                {
                    "augment": augment,
                    "score": head,
                    "means": means,
                    "difference": [difference.mean, difference.low, difference.high],
                }
            )
    columns = ["", "score", "unpadded", "replicated", "difference"]
    return f"{TITLE}\n\n{text_table(columns, texts)}\n{NOTE}\n", {"rows": numbers}
