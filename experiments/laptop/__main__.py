"""`python -m experiments.laptop [PART ...]`: the paper's experiments at laptop scale, and the page about them.

Parts are made again where they are named (all of them by default); the page keeps the others as docs/laptop.json has them.
Runs that are finished are not run again, and one that was stopped goes on.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from experiments.laptop.borders import borders
from experiments.laptop.noise import noise
from experiments.laptop.rung import rung
from experiments.laptop.said import INTRODUCTION
from experiments.laptop.studies import STUDIES, study
from experiments.laptop.text import lowered
from experiments.pictures import with_a_palette
from lattice.results.files import write_bytes
from validation.evaluation.summaries.cells import plain
from validation.reproduction.reproduce import reproduce
from validation.reproduction.sweep import Sweep

DOCS = Path(__file__).parents[2] / "docs"
PAGE, NUMBERS, FIGURES = DOCS / "laptop.md", DOCS / "laptop.json", DOCS / "figures"
RUNS = Path("runs/laptop")
SEEDS = {  # the experiments of the paper in the page's order, and repeats of each recipe
    "figure1": 1, "table1": 5, "figure2": 5, "figure3": 5, "table2": 3, "figure4": 3, "figure5": 3, "table3": 3, "table4": 3,
}  # fmt: skip
OF_TABLES = {"figure2": "Table 1", "figure3": "Table 1", "figure4": "Table 2"}  # whose numbers these figures have
Part = Callable[[Sweep], tuple[str, dict[str, Any]]]


def experiment(name: str, where: Sweep) -> tuple[str, dict[str, Any]]:
    """A table or figure of the paper: text and numbers."""
    found = reproduce(name, "laptop", where, seeds=SEEDS[name])
    picture = where.folder / f"{name}.png"
    if f"({name}.png)" in found["markdown"]:
        write_bytes(FIGURES / f"laptop-{name}.png", with_a_palette(picture.read_bytes()))
    text = lowered(found["markdown"]).replace(f"({name}.png)", f"(figures/laptop-{name}.png)")
    numbers = found["numbers"] if isinstance(found["numbers"], dict) else {}
    kept = {key: numbers[key] for key in ("differences", "orderings", "areas", "runs", "categories") if key in numbers}
    if name in OF_TABLES:  # the picture is enough
        shown = f"{name.capitalize()[:-1]} {name[-1]}"
        text = f"## {shown}\n\nOf the runs of {OF_TABLES[name]}.\n\n![{name}](figures/laptop-{name}.png)\n"
        kept = {}
    return text, {**kept, "seeds": SEEDS[name]}


PARTS: dict[str, Part] = {
    **{name: partial(experiment, name) for name in SEEDS},
    "borders": lambda where: borders(where, range(SEEDS["table1"])),
    "noise": lambda where: noise(where, range(SEEDS["table1"])),
    **{name: partial(study, name, figures=FIGURES) for name in STUDIES},
    "rung": rung,
}


def page(content: dict[str, dict[str, Any]]) -> str:
    """The whole page from its parts."""
    return "\n".join([INTRODUCTION, *(content[name]["text"] for name in PARTS if name in content)])


def main(names: list[str]) -> None:
    where = Sweep(RUNS, device="cpu", progress=sys.stderr.isatty(), say=lambda text: print(text, flush=True))
    content = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
    for name in names or PARTS:
        text, numbers = PARTS[name](where)
        content[name] = {"text": text, **plain(numbers)}
        write_bytes(NUMBERS, (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
    write_bytes(PAGE, page(content).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m experiments.laptop", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    asked = parser.parse_args().parts
    if unknown := set(asked) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    main(asked)
