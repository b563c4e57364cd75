"""`pilcro evaluate`: location sensitivity and ablation of trained runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lattice import SpecificationError
from validation.evaluation.ablation import Ablation, ablation
from validation.evaluation.location import Location, location_sensitivity
from validation.evaluation.tables import Group, Result, collect, grouped, label
from validation.montecarlo.files import write_bytes
from validation.training.checkpoint import RunFolder
from validation.training.data import Dataset, load
from validation.training.models import build
from validation.training.randomness import number

__all__ = ["Evaluate", "trained"]


def trained(result: Result, root: Path | None = None, device: str = "cpu") -> tuple[torch.nn.Module, Dataset]:
    """The network of a finished run with its last weights, in evaluation mode, and its data.

    Raises `SpecificationError` where the run has no whole checkpoint, or the data are others than it was trained on.
    """
    recipe = result.recipe
    data = load(recipe.data, root=root, size=recipe.size, evaluation_size=recipe.evaluation_size)
    if data.sha256 != result.content["data"]:
        raise SpecificationError(f"{result.folder} was trained on other data: {recipe.data} has another hash here")
    channels = data.train.batch(torch.arange(1)).shape[1]
    seed = number(recipe.seed, "weights")
    model = build(recipe.model, channels, data.classes, seed=seed, size=recipe.size, reweight=recipe.reweight)
    saved = RunFolder(result.folder).latest()
    if saved is None:
        raise SpecificationError(f"{result.folder} has no checkpoint")
    model.load_state_dict({name[6:]: value for name, value in saved.tensors.items() if name.startswith("model.")})
    return model.to(device).eval(), data


@dataclass(frozen=True)
class Evaluate:
    """Where must a feature sit to be seen (--location), and on how few pixels does the answer hang (--ablation)?

    Tables over repeats and figures of finished runs. Ablation costs images x baselines x steps gradients a run; the paper's
    own numbers are 512 images and 1000 baselines.
    """

    runs: tuple[Path, ...]
    """run folders, or folders that hold some"""
    location: bool = False
    """accuracy and consistency over translated test images"""
    ablation: bool = False
    """the most relevant pixels replaced one after another (Figure 5)"""
    reach: int = 8
    """location: the largest shift in pixels"""
    stride: int = 4
    """location: pixels between shifts"""
    images: int = 64
    """ablation: correctly classified images"""
    baselines: int = 16
    """ablation: baseline images of Integrated Gradients"""
    steps: int = 16
    """ablation: points on the way from each baseline"""
    points: int = 65
    """ablation: numbers of pixels at which the curve is taken, ends included"""
    seed: int = 0
    """ablation: which images"""
    root: Path | None = None
    """where CIFAR's archives or the image folders lie"""
    device: str = "cpu"
    """cpu or cuda"""
    out: Path | None = None
    """write OUT.md and OUT-location.png, OUT-ablation.png"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Evaluate every run, average over repeats, write and print."""
        if not (self.location or self.ablation):
            raise SpecificationError("nothing was asked for; give --location, --ablation or both")
        if self.out is not None and not self.out.absolute().parent.is_dir():
            raise SpecificationError(f"--out {self.out}: the folder {self.out.absolute().parent} does not exist")
        if self.stride < 1 or self.reach % self.stride:
            raise SpecificationError(f"--reach {self.reach} --stride {self.stride}: the stride divides the reach")
        groups = grouped(collect(self.runs))
        names = [label(group.recipe, [other.recipe for other in groups]) for group in groups]
        found = [[self._evaluate(result) for result in group.results] for group in groups]
        text = "\n".join([*_markdown(names, groups, found), "", *self._note(), ""])
        files = []
        if self.out is not None:
            write_bytes(self.out.with_name(f"{self.out.name}.md"), text.encode())
            files.append(str(self.out.with_name(f"{self.out.name}.md")))
            for kind, figure in _figures(names, found):
                path = self.out.with_name(f"{self.out.name}-{kind}.png")
                figure.savefig(path, dpi=110)
                files.append(str(path))
        if not self.json:
            print("\n".join([text, *(f"written: {file}" for file in files)]), flush=True)
        rows = [{"run": name, **_numbers(runs)} for name, runs in zip(names, found, strict=True)]
        return {"rows": rows, "files": files}

    def _note(self) -> list[str]:
        """What the columns are, and from which images."""
        lines = ["Means over repeats with other seeds, plus or minus their standard error."]
        if self.location:
            lines.append(
                f"Location: test images moved by every pair of shifts from {-self.reach} to {self.reach} pixels in steps of "
                f"{self.stride}; consistency: share of answers that are those for the unmoved image; asymmetry: the largest "
                "difference of Top-1 between opposite shifts."
            )
        if self.ablation:
            lines.append(
                f"Ablation: {self.images} correctly classified images (seed {self.seed}), Integrated Gradients over "
                f"{self.baselines} baselines with {self.steps} steps each, {self.points} numbers of pixels from none to all."
            )
        return [" ".join(lines)]

    def _evaluate(self, result: Result) -> tuple[Location | None, Ablation | None]:
        model, data = trained(result, self.root, self.device)
        shifts = range(-self.reach, self.reach + 1, self.stride)
        where = location_sensitivity(model, data.test, shifts, device=self.device) if self.location else None
        gone = None
        if self.ablation:
            gone = ablation(
                model,
                data.test,
                images=self.images,
                baselines=self.baselines,
                steps=self.steps,
                points=self.points,
                seed=self.seed,
                device=self.device,
                progress=not self.json,
            )
        return where, gone


Found = Sequence[tuple[Location | None, Ablation | None]]


def _numbers(runs: Found) -> dict[str, list[float]]:
    """Per repeat: accuracy in place, over all shifts, the worst shift, consistency, asymmetry; the ablation's area."""
    numbers: dict[str, list[float]] = {}
    for where, gone in runs:
        if where is not None:
            middle = len(where.shifts) // 2
            for name, value in {
                "Top-1 in place": where.accuracy[middle, middle],
                "Top-1, mean over shifts": where.accuracy.mean(),
                "Top-1, worst shift": where.accuracy.min(),
                "consistency": where.consistency.mean(),
                "asymmetry": where.asymmetry,
            }.items():
                numbers.setdefault(name, []).append(float(value))
        if gone is not None:
            numbers.setdefault("area under the ablation curve", []).append(gone.area[0])
    return numbers


def _markdown(names: list[str], groups: Sequence[Group], found: Sequence[Found]) -> list[str]:
    columns = list(_numbers(found[0]))
    lines = [["run", "repeats", *columns], ["---"] * (2 + len(columns))]
    for name, group, runs in zip(names, groups, found, strict=True):
        cells = []
        for values in _numbers(runs).values():
            error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.1g}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.4f}{error}")
        lines.append([name, str(len(group.results)), *cells])
    return ["| " + " | ".join(line) + " |" for line in lines]


def _figures(names: list[str], found: Sequence[Found]) -> list[tuple[str, Any]]:
    """One map of accuracy over shifts a recipe, the mean of its repeats; one ablation curve a recipe, over all its images."""
    from textwrap import fill

    from matplotlib.figure import Figure

    from validation.evaluation.figures import COLOURS

    made = []
    if found[0][0][0] is not None:
        figure = Figure(figsize=(3.6 * len(names), 3.8), layout="constrained")
        for ax, name, runs in zip(figure.subplots(1, len(names), squeeze=False)[0], names, found, strict=True):
            places = [where for where, _ in runs if where is not None]
            accuracy = np.mean([where.accuracy for where in places], axis=0)
            Location(places[0].shifts, accuracy, accuracy, places[0].images).plot(ax)
            ax.set_title(fill(name, 28), fontsize=9)
        made.append(("location", figure))
    if found[0][0][1] is not None:
        figure = Figure(figsize=(6.5, 4.2), layout="constrained")
        ax = figure.subplots()
        for number_, (name, runs) in enumerate(zip(names, found, strict=True)):
            curves = [gone for _, gone in runs if gone is not None]
            joined = Ablation(curves[0].replaced, np.concatenate([gone.ratio for gone in curves]), curves[0].pixels)
            joined.plot(ax, label=name, color=COLOURS[number_ % len(COLOURS)])
        made.append(("ablation", figure))
    return made
