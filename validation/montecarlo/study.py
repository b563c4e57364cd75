"""Studies: error against draws, and the command that runs any of the studies and writes its table and figure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lattice import SpecificationError
from lattice.checks import whole
from validation.montecarlo.files import checked_out
from validation.montecarlo.gallery import FAMILIES, gallery
from validation.montecarlo.ladders import Net, chain_net, depth_ladder, measured, pooled_net, predicted, width_ladder
from validation.montecarlo.lemma import lemma_table
from validation.montecarlo.table import Fit, Series, Table, fit_power, provenance
from validation.montecarlo.workers import checked_device

__all__ = ["Study", "error_against_draws"]

Array = np.ndarray[Any, Any]


def error_against_draws(
    net: Net, draws: Sequence[int] = (100, 300, 1000, 3000), *, repeats: int = 12, seed: int = 0, device: str = "auto"
) -> Table:
    """rms(r - p) against the number n of draws: b / sqrt(n) until the model's own error, the floor.

    rms^2 = floor^2 + b^2 / n is fitted to the means over `repeats` independent runs at each n; on a net whose law is
    exact the floor is 0 and the plain power of n is -1/2. Columns: draws, rms error of the relative map, its standard
    error over the repeats, the noise that `measure` itself states, and the debiased error of the runs together.
    """
    if len(set(draws)) < 2 or min(draws) < 10 or repeats < 3:
        raise SpecificationError(
            f"draws is {tuple(draws)}, repeats {repeats}; a curve takes two numbers of draws, 10 at least, and three repeats"
        )
    land = predicted(net)
    p = land.relative
    rows, squares, errors = [], [], []
    for step, count in enumerate(draws):
        runs = [measured(net, count, seed + 1000 * (step + 1) + run, device) for run in range(repeats)]
        distance = np.array([np.mean((run.relative - p) ** 2) for run in runs])
        noise = np.array([np.mean(run.relative_error**2) for run in runs])
        squares.append(float(distance.mean()))
        errors.append(float(distance.std(ddof=1) / np.sqrt(repeats)))
        rms = squares[-1] ** 0.5
        clean = max(float(np.mean(distance - noise)), 0.0) ** 0.5
        rows.append((count, rms, errors[-1] / (2 * rms), float(noise.mean()) ** 0.5, clean))
    (slope, slope_error), (floor, floor_error) = _line(1 / np.asarray(draws, dtype=float), np.array(squares), np.array(errors))
    power = fit_power(draws, squares, errors)
    halved = Fit(
        power.exponent / 2,
        power.exponent_error / 2,
        power.amplitude**0.5,
        power.amplitude_error / (2 * power.amplitude**0.5),
        power.chi_square,
        power.freedom,
    )
    curve = np.geomspace(min(draws), max(draws), 40)
    fitted = np.sqrt(np.maximum(floor + slope / curve, 0))
    x, y, spread = (tuple(row[i] for row in rows) for i in range(3))
    low, high = tuple(np.subtract(y, spread)), tuple(np.add(y, spread))
    return Table(
        title=f"Error against draws ({land.guarantee.name})",
        columns=("draws", "rms error", "standard error", "stated noise", "debiased error"),
        rows=tuple(rows),
        origin=provenance(seed, sum(draws) * repeats, device),
        series=(
            Series("rms error of the measured map", x, y, low, high),
            Series("noise that the runs state", x, tuple(row[3] for row in rows), line=True),
            Series(f"fit: floor {max(floor, 0.0) ** 0.5:.1%}, and 1 / sqrt(draws)", tuple(curve), tuple(fitted), line=True),
        ),
        fits={"rms error as one power of the draws": halved},
        notes=(
            f"floor^2 = {floor:.3g} +- {floor_error:.2g} (a model error of {max(floor, 0.0) ** 0.5:.2%})",
            f"rms^2 falls as {slope:.3g} / draws, +- {slope_error:.2g}",
        ),
        axes=("draws", "relative rms error"),
    )


def _line(x: Array, y: Array, error: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """Weighted least squares of y = a x + b: (a, its error), (b, its error)."""
    design = np.stack([x, np.ones_like(x)], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    a, b = covariance @ design.T @ (y / error)
    deviations = np.sqrt(np.diag(covariance))
    return (float(a), float(deviations[0])), (float(b), float(deviations[1]))


@dataclass(frozen=True)
class Study:
    """Measure how prediction and truth compare, and write a table (Markdown) and a figure (PNG).

    draws: error against the number of draws, of an exact net and of one with a floor; width: a pre-activation residual
    net's O(1/C); depth: ReLU under a pooled head; gallery: torchvision's nets; lemma: shuffled inputs against gradients.
    """

    kind: Literal["draws", "width", "depth", "gallery", "lemma"]
    """which study"""
    draws: int = 0
    """draws of each net, the most of them in `draws`, samples in `lemma` (0: the study's own default)"""
    nets: tuple[str, ...] = FAMILIES
    """torchvision names that the gallery measures (default: one of each family)"""
    every: bool = False
    """the gallery predicts every other classifier of torchvision too, without measuring it"""
    size: int = 64
    """input pixels of the gallery"""
    seed: int = 0
    """root seed"""
    device: str = "auto"
    """auto, cpu or cuda"""
    folder: Path | None = None
    """keep the gallery's draws here, net by net, and go on from them after any end"""
    out: Path | None = None
    """write OUT.md and OUT.png (one of each per net for `draws`)"""
    json: bool = False
    """print one JSON object instead of text"""

    def tables(self) -> dict[str, Table]:
        """The study's tables by the ending of their file names."""
        if self.draws < 0:
            raise SpecificationError(f"--draws {self.draws}: a number of draws is positive (0: the study's own default)")
        whole("--size", self.size, 1)
        whole("--seed", self.seed, 0, inf)
        ignored = [f"--{name}" for name in ("nets", "every", "size", "folder") if self.kind != "gallery" and self._told(name)]
        if ignored:
            raise SpecificationError(
                f"{', '.join(ignored)}: only the gallery has that; pilcro study {self.kind} takes --draws, --seed and --device"
            )
        checked_device(self.device)
        given: dict[str, Any] = {"draws": self.draws} if self.draws else {}
        common: dict[str, Any] = {"seed": self.seed, "device": self.device}
        match self.kind:
            case "draws":
                steps = tuple(sorted({max(10, round((self.draws or 3000) / k)) for k in (30, 10, 3, 1)}))
                nets = {"exact": chain_net(4), "floor": pooled_net(4)}
                return {f"-{name}": error_against_draws(net, steps, **common) for name, net in nets.items()}
            case "width":
                return {"": width_ladder(**given, **common)}
            case "depth":
                return {"": depth_ladder(**given, **common)}
            case "gallery":
                kept: dict[str, Any] = {"folder": self.folder, "progress": not self.json}
                return {"": gallery(self.nets, self.size, every=self.every, **kept, **given, **common)}
            case "lemma":
                return {"": lemma_table(samples=self.draws or 1000, seed=self.seed)}

    def run(self) -> dict[str, Any]:
        """Run the study, write and print it; returns what `--json` prints."""
        checked_out(self.out)
        result: dict[str, Any] = {"kind": self.kind, "tables": []}
        for ending, table in self.tables().items():
            made = replace(table, origin=replace(table.origin, command=self.command()))
            entry = asdict(made) | {"files": []}
            if self.out is not None:
                entry["files"] = [str(path) for path in made.write(self.out.with_name(self.out.name + ending))]
            result["tables"].append(entry)
            if not self.json:
                print("\n".join([made.markdown(), *(f"written: {path}" for path in entry["files"])]), flush=True)  # noqa: T201
        return result

    def command(self) -> str:
        """The command line that runs this study again, its output files apart."""
        words = ["pilcro study", self.kind]
        for name in ("draws", "nets", "every", "size", "seed", "device"):
            if self._told(name):
                value = getattr(self, name)
                told = map(str, value) if isinstance(value, tuple) else [] if value is True else [str(value)]
                words += [f"--{name}", *told]
        return " ".join(words)

    def _told(self, name: str) -> bool:
        """Was this option given?"""
        return bool(getattr(self, name) != Study.__dataclass_fields__[name].default)
