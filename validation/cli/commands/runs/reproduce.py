"""`pilcro reproduce`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Reproduce"]


@dataclass(frozen=True)
class Reproduce:
    """A table or a figure of the paper: every run that it takes, evaluated, beside the paper's numbers.

    Killed at any moment, the same command goes on. Started several times, the processes share the runs (on several GPUs, give
    each its own by CUDA_VISIBLE_DEVICES). Experiments share runs: Figure 2 needs no more training than Table 1. Written are the
    scores after the last epoch and at the best one, with standard errors over seeds; differences from the network without
    penalty with 95 % intervals; which of the paper's orderings is seen in them; the figure.
    """

    experiment: Literal["table1", "table2", "table3", "table4", "figure1", "figure2", "figure3", "figure4", "figure5"]
    """of the paper"""
    scale: Literal["laptop", "photographs", "cifar", "paper"] = "laptop"
    """laptop (under an hour on two cores, no download), photographs (a ResNet-18 on crops of photographs, hours on one core,
    no download), cifar (a ResNet-18 on CIFAR-100), paper (its own settings)"""
    seeds: int | None = None
    """repeats of each recipe (default: 3; for the paper's scale 1)"""
    out: Path | None = None
    """where runs and pages are kept (default: runs/SCALE)"""
    root: Path | None = None
    """where CIFAR's archives or the image folders lie"""
    device: str = "auto"
    """auto, cpu or cuda"""
    save_every: int = 200
    """steps between checkpoints"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Train, evaluate, write and print."""
        from validation.reproduction.reproduce import reproduce
        from validation.reproduction.sweep import Sweep

        folder = self.out or Path("runs") / self.scale
        where = Sweep(
            folder,
            root=self.root,
            device=self.device,
            save_every=self.save_every,
            progress=not self.json,
            say=(lambda _: None) if self.json else (lambda text: print(text, flush=True)),
        )
        found = reproduce(self.experiment, self.scale, where, seeds=self.seeds)
        if not self.json:
            print("\n".join([found["markdown"], *(f"written: {file}" for file in found["files"])]), flush=True)
        return found
