"""`python -m experiments.laptop`: the paper's experiments at laptop scale, and the page about them.

Runs that are finished are not run again, and one that was stopped goes on. With arguments, each OUT of a
`pilcro evaluate --out OUT`, what pages show or read of these evaluations is kept in docs/.
"""

import json
import shutil
import sys
from pathlib import Path

from experiments.laptop.borders import borders
from experiments.laptop.said import INTRODUCTION
from experiments.laptop.studies import earlier
from experiments.pictures import with_a_palette
from validation.evaluation.summaries.cells import plain
from validation.reproduction.reproduce import reproduce
from validation.reproduction.sweep import Sweep

DOCS = Path(__file__).parents[2] / "docs"
RUNS = Path("runs/laptop")
EVALUATION = DOCS / "laptop-evaluation.json"  # what the claims read of it
SEEDS = {"table1": 5, "figure2": 5, "figure3": 5, "table3": 3}


def lowered(markdown: str, experiment: str) -> str:
    """A page's text as a part of ours: headings one level down, figures where the documentation has them."""
    text = markdown.replace("\n## ", "\n### ").replace("# ", "## ", 1)
    return text.replace(f"({experiment}.png)", f"(figures/laptop-{experiment}.png)")


def main() -> None:
    where = Sweep(RUNS, progress=sys.stderr.isatty(), say=lambda text: print(text, flush=True))
    parts, numbers = [INTRODUCTION], {}
    for experiment, seeds in SEEDS.items():
        found = reproduce(experiment, "laptop", where, seeds=seeds)
        # Figures 2 and 3 have Table 1's numbers: the picture is enough
        picture = f"## {experiment.capitalize()[:-1]} {experiment[-1]}\n\n![{experiment}](figures/laptop-{experiment}.png)\n"
        parts.append(picture if experiment.startswith("figure") else lowered(found["markdown"], experiment))
        if not experiment.startswith("figure"):
            numbers[experiment] = {name: found["numbers"].get(name, []) for name in ("differences", "orderings")} | {
                "seeds": seeds
            }
        if (RUNS / f"{experiment}.png").exists():
            smaller = with_a_palette((RUNS / f"{experiment}.png").read_bytes())
            (DOCS / "figures" / f"laptop-{experiment}.png").write_bytes(smaller)
    text, numbers["borders"] = borders(where, range(SEEDS["table1"]))
    parts.append(text)
    (DOCS / "laptop.json").write_text(json.dumps(plain(numbers), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    parts.append(earlier(RUNS, DOCS))
    (DOCS / "laptop.md").write_text("\n".join(parts), encoding="utf-8")


def keep_evaluation(out: Path) -> None:
    """Keep in docs/ what pages show or read of `pilcro evaluate --out OUT`: the page, its figures, its rows of numbers."""
    for path in (out.with_suffix(".md"), *out.parent.glob(f"{out.name}-*.png")):
        shutil.copy(path, DOCS)
    if out.name == EVALUATION.stem:
        rows = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        EVALUATION.write_text(f'{{"rows": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        for out in sys.argv[1:]:
            keep_evaluation(Path(out))
    else:
        main()
