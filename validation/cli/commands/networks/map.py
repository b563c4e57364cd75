"""`pilcro map`."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from lattice import SpecificationError
from lattice.checks import is_real, whole

__all__ = ["Map"]


@dataclass(frozen=True)
class Map:
    """Predict the importance map that a network's topology forces on it, and check it by Monte Carlo.

    MODEL is a torchvision name (resnet18), timm:NAME, hub:OWNER/REPOSITORY:NAME, package.module:factory or file.py:factory;
    a factory takes no arguments and returns a freshly initialised torch module.
    """

    model: str
    """torchvision name, timm:NAME, hub:OWNER/REPOSITORY:NAME, package.module:factory or file.py:factory"""
    size: tuple[int, ...] = (224,)
    """height and width of the input in pixels: one number for both, or two"""
    channels: int = 3
    """channels of the input"""
    shape: tuple[int, ...] = ()
    """the whole input shape (channels and every axis) instead, for models that do not read images"""
    check: int = 0
    """Monte Carlo draws to check the prediction with, 20 at least (0: none)"""
    tolerance: float = 0.05
    """map error up to which prediction and measurement are said to agree"""
    seed: int = 0
    """root seed of the draws"""
    out: Path | None = None
    """write a figure here (.png, .pdf, .svg)"""
    save: Path | None = None
    """keep the map here (FILE.npz, for `Landscape.load`), and what --check measured in FILE-measured.npz (`Estimate.load`)"""
    report: Path | None = None
    """write one self-contained HTML page here: map, findings, layers, advice, and the check where there is one"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Predict, check and draw; returns what `--json` prints."""
        from landscape import predict
        from landscape.tracing.model_names import model_factory
        from validation.comparison.compare import LEAST, compare
        from validation.comparison.figure import plot_agreement
        from validation.montecarlo.measure import measure
        from validation.runtime.files import FIGURES, checked_out, write_figure

        # before anything that takes time
        if 0 < whole("--check", self.check, 0) < LEAST:
            raise SpecificationError(f"--check {self.check}: a comparison needs {LEAST} draws at least (0: no check)")
        whole("--seed", self.seed, 0, inf)
        if not is_real(self.tolerance) or self.tolerance < 0:
            raise SpecificationError(f"--tolerance {self.tolerance}: it is an error of the relative map, for example 0.05")
        shape = self.shape or (self.channels, *(self.size * 2 if len(self.size) == 1 else self.size))
        factory = model_factory(self.model)
        checked_out(self.out, FIGURES)
        checked_out(self.save, (".npz",), option="--save")
        checked_out(self.report, ("",), option="--report")
        land = predict(factory, shape)
        result: dict[str, Any] = {"model": self.model, **land.to_dict(arrays=False), "shape": shape}
        self.say(f"{self.model} over {shape}\n\n{land}\n")
        estimate = agreement = None
        if self.check:
            estimate = measure(factory, shape, draws=self.check, seed=self.seed, progress=not self.json)
            agreement = compare(land, estimate, tolerance=self.tolerance)
            self.say(f"\n{agreement}")
            result["agreement"] = agreement.to_dict(arrays=False)
        title = f"{self.model} at {' x '.join(map(str, shape[1:]))}"
        if self.out is not None:
            write_figure(self.out, plot_agreement(land, estimate, agreement, title=title), dpi=150)
            self.say(f"\nfigure: {self.out}")
            result["figure"] = str(self.out)
        if self.save is not None:
            saved = [land.save(self.save)]
            if estimate is not None:
                saved.append(estimate.save(self.save.with_name(f"{self.save.stem}-measured.npz")))
            self.say("\n".join(["", *(f"map: {path}" for path in saved)]))
            result["saved"] = [str(path) for path in saved]
        if self.report is not None:
            from validation.report.write import command_line, write_report

            made = {"command": command_line("map", self), "seed": f"{self.seed}" if self.check else ""}
            title = title.replace(" x ", "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}")
            write_report(self.report, land, estimate, agreement, model=factory, title=title, made=made, progress=not self.json)
            self.say(f"\nreport: {self.report}")
            result["page"] = str(self.report)
        return result

    def say(self, text: str) -> None:
        """Print for people, unless a machine reads."""
        if not self.json:
            print(text, flush=True)
