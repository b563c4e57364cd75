"""One table or figure from nothing: train what is missing, evaluate, write the page beside the paper's numbers."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from lattice.results.files import write_bytes
from validation.evaluation.runs.perturbed import Ablate, Corrupt
from validation.evaluation.runs.plan import measured
from validation.evaluation.runs.subjects import of_runs
from validation.evaluation.summaries.cells import Cell, Row, Table, plain
from validation.evaluation.summaries.figures import plot_ablations, plot_curves, plot_landscapes
from validation.reproduction.archetypes import plot_archetypes
from validation.reproduction.rows import Line, lines, row_label
from validation.reproduction.scales import Scale, named_scale, recipes, seeds_of
from validation.reproduction.significance import Ordering
from validation.reproduction.sweep import Sweep, sweep, turn
from validation.reproduction.tables import (
    differences,
    orderings_of_robustness,
    orderings_of_scores,
    orderings_text,
    robustness_table,
    score_tables,
)
from validation.runtime.files import write_figure
from validation.runtime.process_group import world
from validation.runtime.workers import one_thread_each

__all__ = ["Page", "reproduce"]


@dataclass(frozen=True, eq=False)
class Page:
    """What an experiment gives: tables, more Markdown, numbers, and perhaps a figure."""

    tables: Sequence[Table] = ()
    text: str = ""
    numbers: Any = None
    figure: Any = None


def reproduce(experiment: str, scale: Scale | str, where: Sweep, *, seeds: int | None = None) -> dict[str, Any]:
    """Train every recipe of an experiment that is not trained yet, evaluate, and write FOLDER/EXPERIMENT.md, .tex, .json, .png.

    Killed at any moment, the same call goes on; several processes with the same folder share the runs.

    Parameters
    ----------
    experiment : str
        "table1" to "table4" or "figure1" to "figure5".
    scale : Scale or str
        "laptop", "cifar" or "paper".
    where : Sweep
        Folder, data, device.
    seeds : int, optional
        Repeats of each recipe, with seeds 0, 1, ... (default: as many as are customary at this scale).

    Returns
    -------
    dict
        What the .json file holds, and the names of the files.

    Raises
    ------
    SpecificationError
        For an experiment or a scale that there is not, and for data that cannot be had.
    TrainingError
        For a disk that refuses.
    """
    scale = named_scale(scale) if isinstance(scale, str) else scale
    wanted, repeats = recipes(experiment, scale), seeds_of(scale, seeds)
    # seed by seed, so that a sweep that is stopped early has whole tables of the first seeds
    folders = dict(
        zip(
            [recipe.changed(seed=seed) for seed in repeats for recipe in wanted],
            sweep([recipe.changed(seed=seed) for seed in repeats for recipe in wanted], where) if wanted else [],
            strict=True,
        )
    )
    runs = [recipe.changed(seed=seed) for recipe in wanted for seed in repeats]
    rows = lines(runs, [folders[run] for run in runs])
    page = PAGES[experiment](experiment, scale, rows, where)
    return _written(experiment, scale, len(repeats), page, where)


def _scores(experiment: str, scale: Scale, rows: Sequence[Line], where: Sweep) -> Page:
    """Tables 1 and 2."""
    made = score_tables(rows, f"{experiment.capitalize()[:-1]} {experiment[-1]}", imagenet=experiment == "table2")
    text, numbers = differences(rows)
    orderings = orderings_of_scores(rows)
    everything = {"differences": numbers, "orderings": [one.json() for one in orderings], "runs": _values(rows)}
    return Page(made, f"{text}\n{orderings_text(orderings)}", everything)


def _values(rows: Sequence[Line]) -> list[dict[str, Any]]:
    names = ("top1", "top5", "tv", "loss")
    return [
        {
            "setting": line.setting,
            "recipe": line.recipe.json(),
            "diverged": line.failures,
            **{when: {name: line.values(name, when) for name in names} for when in ("scores", "best", "before")},
            "asymmetry": line.values("asymmetry"),
        }
        for line in rows
    ]


def _landscapes(experiment: str, scale: Scale, rows: Sequence[Line], where: Sweep) -> Page:
    """Figures 2 and 3."""
    page = _scores("table1", scale, rows, where)
    groups = [line.group for line in rows if line.group is not None]
    return Page(page.tables[:1], "", page.numbers, plot_landscapes(groups, columns=7))


def _curves(experiment: str, scale: Scale, rows: Sequence[Line], where: Sweep) -> Page:
    """Figure 4, its first epoch zoomed in."""
    page = _scores("table2", scale, rows, where)
    groups = [line.group for line in rows if line.group is not None]
    return Page(page.tables[:1], page.text, page.numbers, plot_curves(groups))


def _robustness(experiment: str, scale: Scale, rows: Sequence[Line], where: Sweep) -> Page:
    """Tables 3 and 4."""
    imagenet = experiment == "table4"
    found = _evaluated(Corrupt(), rows, where)
    note = (
        "Mean over test images, a category's corruptions and five severities of p(class | corrupted image) / p(class | image), "
        "the class being the one predicted for the clean image; means over seeds; s.e.: their standard error."
    )
    table = robustness_table(found, f"Table {experiment[-1]}: robustness", note, imagenet=imagenet)
    orderings = orderings_of_robustness(found, imagenet=imagenet)
    kept = [{"setting": which, "kept": {seed: run.by_category() for seed, run in runs.items()}} for which, runs in found]
    numbers = {"orderings": [one.json() for one in orderings], "categories": kept}
    return Page([table], orderings_text(orderings), numbers)


def _ablation(experiment: str, scale: Scale, rows: Sequence[Line], where: Sweep) -> Page:
    """Figure 5."""
    found = _evaluated(scale.ablation, rows, where)
    names = [row_label(which, False) for which, _ in found]
    areas = {which: {seed: float(run.area[0]) for seed, run in runs.items()} for which, runs in found}
    by = {which[1:]: values for which, values in areas.items()}
    orderings = [
        Ordering(
            "¶_t with α = 10 has a larger area than all others", [(by["target", 10], by[k]) for k in by if k != ("target", 10)]
        ),
        Ordering("¶_t with α = 100 has a smaller area than SOTA", [(by["none", 0], by["target", 100])]),
    ]
    made = tuple(
        Row(name, len(runs), (Cell.of([run.area for run in runs.values()]),))
        for name, (_, runs) in zip(names, found, strict=True)
    )
    chosen = scale.ablation
    note = (
        f"{chosen.images} correctly classified test images, Integrated Gradients over {chosen.baselines} others as baselines "
        f"with {chosen.steps} steps each; the most relevant pixels are replaced by the image's mean, at {chosen.points} "
        "numbers of pixels. Means over seeds, plus or minus their standard error; the paper gives its areas in a picture only."
    )
    table = Table("Figure 5: area under the ablation curve", (("", "area"),), made, best="high", note=note)
    numbers = {"areas": [[which, values] for which, values in areas.items()], "orderings": [one.json() for one in orderings]}
    return Page([table], orderings_text(orderings), numbers, plot_ablations(names, [list(runs.values()) for _, runs in found]))


def _evaluated(evaluation: Corrupt | Ablate, rows: Sequence[Line], where: Sweep) -> list[Any]:
    """(setting, seed -> what was measured of its run); one process at a time, the others find its numbers kept."""
    ended = [line for line in rows if line.results]
    folders = [result.folder for line in ended for result in line.results]
    with ExitStack() as stack:
        stack.enter_context(turn(where.folder / "evaluation"))
        place = stack.enter_context(world(where.device))
        if place.device.type == "cpu":
            stack.enter_context(one_thread_each())
        groups = of_runs(folders, root=where.root, device=place.device, kept=None)
        found = measured([evaluation], groups, place, progress=where.progress)[evaluation.kind]
    return [
        (line.setting, {result.recipe.seed: run for result, run in zip(line.results, runs, strict=True)})
        for line, runs in zip(ended, found, strict=True)
    ]


def _archetypes(experiment: str, scale: Scale, rows: Sequence[Line], where: Sweep) -> Page:
    """Figure 1."""
    figure, numbers = plot_archetypes()
    text = "\n".join(f"- {name}: {counts}" for name, counts in numbers.items())
    return Page((), f"Paths from the output to each input unit:\n\n{text}\n", numbers, figure)


PAGES: dict[str, Callable[[str, Scale, Sequence[Line], Sweep], Page]] = {
    "table1": _scores,
    "table2": _scores,
    "table3": _robustness,
    "table4": _robustness,
    "figure1": _archetypes,
    "figure2": _landscapes,
    "figure3": _landscapes,
    "figure4": _curves,
    "figure5": _ablation,
}


def _written(experiment: str, scale: Scale, seeds: int, page: Page, where: Sweep) -> dict[str, Any]:
    where.folder.mkdir(parents=True, exist_ok=True)
    name = f"{experiment.capitalize()[:-1]} {experiment[-1]}"
    content = {
        "experiment": experiment,
        "scale": scale.name,
        "what": scale.cost,
        "seeds": list(range(seeds)),
        "ablation": asdict(scale.ablation),
        "tables": [table.json() for table in page.tables],
        "numbers": page.numbers,
    }
    trained = "" if experiment == "figure1" else f" Scale {scale.name}: {scale.cost}. Seeds 0 to {seeds - 1}."
    picture = f"![{name}]({experiment}.png)\n" if page.figure is not None else ""
    body = [table.markdown() for table in page.tables]
    markdown = "\n".join([f"# {name}\n\nMade by `pilcro reproduce {experiment}`.{trained}\n", *body, page.text, picture])
    texts = {"md": markdown, "json": json.dumps(plain(content), indent=1, sort_keys=True, default=str) + "\n"}
    if page.tables:
        texts["tex"] = "\n".join(table.latex() for table in page.tables)
    files = []
    for ending, text in texts.items():
        files.append(where.folder / f"{experiment}.{ending}")
        write_bytes(files[-1], text.encode())
    if page.figure is not None:
        for ending, dated in (("png", {}), ("pdf", {"CreationDate": None})):
            files.append(where.folder / f"{experiment}.{ending}")
            write_figure(files[-1], page.figure, dpi=110, metadata=dated)
    return {**json.loads(texts["json"]), "markdown": markdown, "files": [str(file) for file in files]}
