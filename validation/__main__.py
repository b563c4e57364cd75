"""The command line: `pilcro map`, `erf`, `halo`, `advise`, `paths`, `study`, `train`, `tables`, `figures`, `evaluate`.

All take `--json`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lattice
from lattice import PilcroError, SpecificationError
from lattice.checks import is_real, whole

if TYPE_CHECKING:
    import torch

__all__ = ["main", "model_factory"]

MOST_DEPTH = 10_000  # a lattice has a node for every layer


@dataclass(frozen=True)
class Map:
    """Predict the importance map that a network's topology forces on it, and check it by Monte Carlo.

    MODEL is a torchvision name (resnet18), package.module:factory or file.py:factory; a factory takes no arguments and
    returns a freshly initialised torch module.
    """

    model: str
    """torchvision name, package.module:factory or file.py:factory"""
    size: tuple[int, ...] = (224,)
    """height and width of the input in pixels: one number for both, or two"""
    channels: int = 3
    """channels of the input"""
    shape: tuple[int, ...] = ()
    """the whole input shape (channels and every axis) instead, for models that do not read images"""
    check: int = 0
    """Monte Carlo draws to check the prediction with (0: none)"""
    tolerance: float = 0.05
    """map error up to which prediction and measurement are said to agree"""
    seed: int = 0
    """root seed of the draws"""
    out: Path | None = None
    """write a figure here (.png, .pdf, .svg)"""
    report: Path | None = None
    """write one self-contained HTML page here: map, findings, layers, advice, and the check where there is one"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Predict, check and draw; returns what `--json` prints."""
        from landscape import predict
        from validation import compare, measure, plot_agreement
        from validation.montecarlo.files import FIGURES, checked_out, write_figure

        # before anything that takes time
        if whole("--check", self.check, 0) == 1:
            raise SpecificationError("--check 1: a standard error needs two draws at least (0: no check)")
        whole("--seed", self.seed, 0, inf)
        if not is_real(self.tolerance) or self.tolerance < 0:
            raise SpecificationError(f"--tolerance {self.tolerance}: it is an error of the relative map, for example 0.05")
        shape = self.shape or (self.channels, *(self.size * 2 if len(self.size) == 1 else self.size))
        factory = model_factory(self.model)
        checked_out(self.out, FIGURES)
        checked_out(self.report, ("",), option="--report")
        land = predict(factory, shape)
        result: dict[str, Any] = {
            "model": self.model,
            "shape": shape,
            "guarantee": land.guarantee.name,
            "reasons": land.reasons,
            "report": asdict(land.report()),
            "relative": land.relative.tolist(),
        }
        self.say(f"{self.model} over {shape}\n\n{land}\n")
        estimate = agreement = None
        if self.check:
            estimate = measure(factory, shape, draws=self.check, seed=self.seed, progress=not self.json)
            agreement = compare(land, estimate, tolerance=self.tolerance)
            self.say(f"\n{agreement}")
            result["measured"] = estimate.relative.tolist()
            result["standard_error"] = estimate.relative_error.tolist()
            result["agreement"] = {key: value for key, value in asdict(agreement).items() if key not in ("z", "verdict")} | {
                "verdict": agreement.verdict.name
            }
        title = f"{self.model} at {' x '.join(map(str, shape[1:]))}"
        if self.out is not None:
            write_figure(self.out, plot_agreement(land, estimate, agreement, title=title), dpi=150)
            self.say(f"\nfigure: {self.out}")
            result["figure"] = str(self.out)
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


@dataclass(frozen=True)
class Advise:
    """What would flatten a network's predicted map: input size, padding, kernels, pools, branch weights; ranked.

    MODEL is a torchvision name (resnet18), package.module:factory or file.py:factory. Nothing is said about accuracy.
    """

    model: str
    """torchvision name, package.module:factory or file.py:factory"""
    size: tuple[int, ...] = (224,)
    """height and width of the input in pixels: one number for both, or two"""
    channels: int = 3
    """channels of the input"""
    shape: tuple[int, ...] = ()
    """the whole input shape (channels and every axis) instead, for models that do not read images"""
    most: int = 8
    """how many changes to show"""
    out: Path | None = None
    """write a figure of the maps before and after here (.png, .pdf, .svg)"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Try the changes and draw; returns what `--json` prints."""
        from landscape import advise
        from landscape.given import made
        from validation.montecarlo.files import FIGURES, checked_out, write_figure

        shape = self.shape or (self.channels, *(self.size * 2 if len(self.size) == 1 else self.size))
        checked_out(self.out, FIGURES)
        advice = advise(made(model_factory(self.model)), shape, most=self.most)
        if not self.json:
            print(f"{self.model} over {shape}\n\n{advice}", flush=True)
        result: dict[str, Any] = {
            "model": self.model,
            "shape": shape,
            "before": {"deviation": advice.before.deviation, "report": asdict(advice.before.report())},
            "changes": [
                {"text": change.text, "deviation": change.deviation, "report": asdict(change.report())}
                for change in advice.changes
            ],
            "reweighting": advice.reweighting.tolist(),
            "unproductive": [asdict(layer) for layer in advice.unproductive],
        }
        if self.out is not None:
            write_figure(self.out, advice.plot(), dpi=150)
            result["figure"] = str(self.out)
            if not self.json:
                print(f"\nfigure: {self.out}")
        return result


@dataclass(frozen=True)
class Paths:
    """Count the paths of a chain of equal convolutions, from all outputs to each input position, in exact integers."""

    kernel: int = 3
    """taps of each convolution"""
    depth: int = 5
    """number of convolutions"""
    stride: int = 1
    """stride of each convolution"""
    dilation: int = 1
    """dilation of each convolution"""
    padding: int = 0
    """cells of padding on each side"""
    mode: str = "zeros"
    """zeros, circular, reflect, replicate or symmetric"""
    size: int | None = None
    """input cells (default: the receptive field of one output, so that the counts are a row of Pascal's triangle)"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Count; returns what `--json` prints."""
        size = self.size
        whole("--depth", self.depth, 0, MOST_DEPTH)
        if size is None:
            size = 1
            for _ in range(self.depth):
                size = (size - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
        net = lattice.families.plain(
            size, self.depth, self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation, mode=self.mode
        )
        counts = [int(count) for count in lattice.path_counts(net)]
        if not self.json:
            print(" ".join(map(str, counts)))
        return {"size": size, "outputs": net.output_shape[1], "counts": counts}


def model_factory(name: str) -> Callable[[], torch.nn.Module]:
    """The factory that a name stands for: a torchvision model, `package.module:factory` or `file.py:factory`.

    Raises `SpecificationError` with close matches where there is none.
    """
    if not isinstance(name, str):
        raise SpecificationError(
            f"the model's name is {name!r}; it is a torchvision name, package.module:factory or file.py:factory"
        )
    if ":" in name:
        place, _, attribute = name.rpartition(":")
        if not place:
            raise SpecificationError(f"{name!r} names no module; give package.module:factory or file.py:factory")
        module = _load(place)
        factory = getattr(module, attribute, None)
        if not callable(factory):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise SpecificationError(f"{place} has no callable {attribute!r}; it has {', '.join(sorted(known)) or 'none'}")
        found: Callable[[], torch.nn.Module] = factory
        return found
    try:
        from torchvision import models
    except ImportError as error:
        raise SpecificationError(
            f"{name!r} is read as a torchvision name, and torchvision is not installed: pip install 'pilcro[vision]', "
            "or give package.module:factory or file.py:factory"
        ) from error
    if name not in models.list_models():
        close = difflib.get_close_matches(name, models.list_models(), n=3)
        hint = (
            f"did you mean {', '.join(close)}?"
            if close
            else "give a torchvision name, package.module:factory or file.py:factory"
        )
        raise SpecificationError(f"torchvision has no model {name!r}; {hint}")
    builder = models.get_model_builder(name)
    return lambda: builder(weights=None)


_WHATEVER = (Exception, SystemExit)  # what the user's own file may raise


def _load(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except _WHATEVER as error:
            raise SpecificationError(f"cannot import {place!r}: {type(error).__name__}: {error}") from error
    path = Path(place)
    if not os.path.isfile(path):  # unlike `path.is_file()` false for null characters and names that are too long
        raise SpecificationError(f"there is no file {place!r}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except _WHATEVER as error:
        raise SpecificationError(f"{place} raised {type(error).__name__} as it was imported: {error}") from error
    return module


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 with a one-paragraph message for a request that cannot be met."""
    try:
        import tyro
    except ImportError:
        print("the command line needs tyro and tqdm: pip install 'pilcro[cli]'", file=sys.stderr)
        return 2
    from validation.evaluation.command import Evaluate
    from validation.fields.command import Erf, Halo
    from validation.montecarlo.study import Study
    from validation.training.command import Figures, Tables, Train

    commands: dict[str, Any] = {"map": Map, "erf": Erf, "halo": Halo, "advise": Advise, "paths": Paths, "study": Study}
    commands |= {"train": Train, "tables": Tables, "figures": Figures, "evaluate": Evaluate}
    required_first = (tyro.conf.PositionalRequiredArgs,)
    command: Any = tyro.extras.subcommand_cli_from_dict(commands, args=arguments, prog="pilcro", config=required_first)
    try:
        result = command.run()
    except (PilcroError, OSError) as error:
        print(f"pilcro: {error}", file=sys.stderr)
        return 2
    if command.json and result:  # nothing from torchrun's other processes
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
