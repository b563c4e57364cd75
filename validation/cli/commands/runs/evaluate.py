"""`pilcro evaluate`: robustness, ablation and location sensitivity of trained networks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lattice import SpecificationError
from lattice.checks import whole
from lattice.results.files import write_bytes
from validation.runtime.files import checked_out, write_figure

if TYPE_CHECKING:
    import torch

    from validation.evaluation.runs.plan import Evaluation
    from validation.evaluation.runs.subjects import Repeats

__all__ = ["Evaluate"]


@dataclass(frozen=True)
class Evaluate:
    """How a trained network bears corruptions, the loss of its most relevant pixels, and moved images.

    WHAT are folders of finished runs, or package.module:factory or file.py:factory with --weights and --data; the images are
    normalised as in training (mean zero and variance one of each channel over the training set; ImageNet's customary constants
    for folders). What was computed is kept beside each run: after a stop the same command goes on. Each process has one thread;
    `torchrun --nproc-per-node 2 -m validation evaluate ...` shares the work, with the same results.
    """

    what: tuple[str, ...]
    """run folders, folders that hold some, or factories"""
    robustness: bool = False
    """the paper's Tables 3 and 4, and corruption errors"""
    ablation: bool = False
    """the most relevant pixels replaced one after another (Figure 5); costs images x baselines x steps gradients a run"""
    location: bool = False
    """accuracy and consistency over translated test images, beside the landscape predicted before training"""
    weights: tuple[Path, ...] = ()
    """the state dict of each factory (.safetensors), or several of one factory: its repeats"""
    torch_load: bool = False
    """read other --weights by torch.load(weights_only=True)"""
    data: str | None = None
    """for factories: mnist, mnist-corner, digits, photos, photographs, cifar10, cifar100 or folder"""
    size: int = 32
    """for factories: pixels of an image's side"""
    root: Path | None = None
    """where CIFAR's archives or the image folders lie"""
    categories: tuple[str, ...] | None = None
    """robustness: of noise, blur, weather, digital, extra (default: the paper's, which are all but extra)"""
    constants: Literal["auto", "imagenet", "cifar"] = "auto"
    """robustness: whose parameters the corruptions have (auto: cifar for images below 64 pixels)"""
    published: Path | None = None
    """robustness: read corrupted images from this folder of CIFAR-C or ImageNet-C instead of making them"""
    reference: str = "auto"
    """robustness: what mCE is relative to: auto (the run without the regulariser; of factories the first), the folder of a run,
    a factory, or alexnet (its published errors on ImageNet-C)"""
    images: int = 64
    """ablation: correctly classified images (the paper: 512)"""
    baselines: int = 16
    """ablation: baseline images of Integrated Gradients (the paper: 1000)"""
    steps: int = 16
    """ablation: points on the way from each baseline"""
    points: int = 65
    """ablation: numbers of pixels at which the curve is taken, ends included"""
    reach: int = 8
    """location: the largest shift in pixels"""
    stride: int = 4
    """location: pixels between shifts"""
    pairs: int = 4
    """location: pairs of random shifts of each image, for shift consistency"""
    seed: int = 0
    """of corruptions, shifts, and the choice of images"""
    chunk: int = 250
    """images that a network is given at once"""
    device: str = "cpu"
    """auto, cpu or cuda"""
    cache: Path | None = None
    """keep what was computed here (default: RUN/evaluation, WEIGHTS.evaluation)"""
    out: Path | None = None
    """write OUT.md, OUT.tex, OUT.json, and OUT-robustness, OUT-location, OUT-ablation as .png and .pdf"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Evaluate, average over repeats, write and print; the other processes of torchrun return nothing."""
        from validation.evaluation.runs.plan import measured
        from validation.evaluation.runs.reference import ALEXNET, references
        from validation.evaluation.summaries.cells import plain
        from validation.evaluation.summaries.report import details, summary, tables
        from validation.runtime.process_group import is_first, world
        from validation.runtime.workers import one_thread_each

        evaluations = self._evaluations()
        with ExitStack() as stack:
            place = stack.enter_context(world(self.device, timedelta(days=30)))
            if place.device.type == "cpu":  # so that the bits do not depend on how many processes share the cores
                stack.enter_context(one_thread_each())
            groups = self._groups(place.device)
            reference = references(groups, self.reference)
            found = measured(evaluations, groups, place, progress=not self.json)
        if not is_first():
            return {}
        made = {
            e.kind: tables(e, groups, found[e.kind], reference=None if self.reference == ALEXNET else reference)
            for e in evaluations
        }
        flat = [table for each in made.values() for table in each]
        content = {
            "settings": {evaluation.kind: asdict(evaluation) for evaluation in evaluations},  # type: ignore[call-overload]
            "rows": [
                {"run": group.label}
                | {name: values for e in evaluations for name, values in summary(e, found[e.kind][i]).items()}
                for i, group in enumerate(groups)
            ],
            "runs": [
                {"run": group.label, "repeats": [{"name": one.name, "sha256": one.sha256} for one in group.subjects]}
                | {evaluation.kind: details(evaluation, found[evaluation.kind][i]) for evaluation in evaluations}
                for i, group in enumerate(groups)
            ],
            "tables": {kind: [table.json() for table in each] for kind, each in made.items()},
        }
        text = "\n".join(table.markdown() for table in flat)
        files = []
        if self.out is not None:
            asked = " ".join(f"--{evaluation.kind}" for evaluation in evaluations)
            title = f"# Evaluation\n\nMade by `pilcro evaluate RUN... {asked}`, from whose `.json` all numbers can be read.\n\n"
            pictures = "".join(f"\n![{e.kind}]({self.out.name}-{e.kind}.png)\n" for e in evaluations)
            body = json.dumps(plain(content), indent=1, sort_keys=True) + "\n"
            latex = "\n".join(table.latex() for table in flat)
            files = [*self._written({"md": title + text + pictures, "tex": latex, "json": body})]
            files += self._drawn(evaluations, groups, found)
        if not self.json:
            print("\n".join([text, *(f"written: {file}" for file in files)]), flush=True)
        return {**plain(content), "files": files}

    def _evaluations(self) -> list[Evaluation]:
        from validation.evaluation.measures.robustness import PAPER, named
        from validation.evaluation.runs.perturbed import Ablate, Corrupt
        from validation.evaluation.runs.positions import Move

        categories = PAPER if self.categories is None else self.categories
        if not (self.robustness or self.ablation or self.location):
            raise SpecificationError("nothing was asked for; give --robustness, --ablation, --location or several of them")
        checked_out(self.out)
        whole("--seed", self.seed, 0, inf)
        if self.stride < 1 or self.reach < 0 or self.reach % self.stride:
            raise SpecificationError(f"--reach {self.reach} --stride {self.stride}: the stride divides the reach")
        whole("--chunk", self.chunk, 1)
        if self.robustness and self.reference == "alexnet":
            named(categories)  # refused where there is no such category
            if "extra" in categories or (self.published is None and self.constants != "imagenet"):
                raise SpecificationError(
                    "AlexNet's errors are published for ImageNet-C without the extra ones: give --reference alexnet with "
                    "--published FOLDER or --constants imagenet, and the categories noise, blur, weather, digital"
                )
        asked: list[Evaluation] = []
        if self.robustness:
            asked.append(
                Corrupt(categories, seed=self.seed, constants=self.constants, chunk=self.chunk, published=self.published)
            )
        if self.location:
            asked.append(Move(self.reach, self.stride, self.pairs, seed=self.seed, chunk=self.chunk))
        if self.ablation:
            asked.append(Ablate(self.images, self.baselines, self.steps, self.points, seed=self.seed, chunk=self.chunk))
        return asked

    def _groups(self, device: torch.device) -> list[Repeats]:
        from validation.datasets.catalogue import load
        from validation.evaluation.runs.subjects import of_factories, of_runs

        factories = [name for name in self.what if ":" in name and not Path(name).is_dir()]
        if factories and len(factories) < len(self.what):
            raise SpecificationError("run folders and factories are evaluated apart: give either the ones or the others")
        if not factories:
            if self.weights or self.data:
                raise SpecificationError("--weights and --data are for factories; a run folder has its own")
            return of_runs([Path(name) for name in self.what], root=self.root, device=device, kept=self.cache)
        if not self.weights or self.data is None:
            raise SpecificationError(f"{', '.join(factories)}: a factory needs --weights FILE.safetensors and --data NAME")
        data = load(self.data, root=self.root, size=self.size)
        return of_factories(factories, self.weights, data, device=device, kept=self.cache, torch_load=self.torch_load)

    def _written(self, texts: dict[str, str]) -> Iterator[str]:
        assert self.out is not None
        for ending, text in texts.items():
            path = self.out.with_name(f"{self.out.name}.{ending}")
            write_bytes(path, text.encode())
            yield str(path)

    def _drawn(self, evaluations: Sequence[Evaluation], groups: Sequence[Repeats], found: dict[str, Any]) -> Iterator[str]:
        from validation.evaluation.summaries.figures import plot_ablations, plot_places, plot_robustness

        assert self.out is not None
        plots = {"robustness": plot_robustness, "location": plot_places, "ablation": plot_ablations}
        for kind in (evaluation.kind for evaluation in evaluations):
            figure = plots[kind]([group.label for group in groups], found[kind])
            for ending, dated in (("png", {}), ("pdf", {"CreationDate": None})):
                path = self.out.with_name(f"{self.out.name}-{kind}.{ending}")
                write_figure(path, figure, dpi=110, metadata=dated)
                yield str(path)
