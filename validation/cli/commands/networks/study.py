"""`pilcro study`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lattice import SpecificationError
from lattice.checks import whole
from validation.runtime.files import checked_out

if TYPE_CHECKING:
    from validation.studies.table import Table

__all__ = ["Study"]


@dataclass(frozen=True)
class Study:
    """Measure how prediction and truth compare, and write a table (Markdown) and a figure (PNG).

    draws: error against the number of draws, of an exact net and of one with a floor; width: a pre-activation residual
    net's O(1/C); depth: ReLU under a pooled head; gallery: torchvision's nets; lemma: shuffled inputs against gradients;
    zoo: torchvision and timm, read or refused.
    """

    kind: Literal["draws", "width", "depth", "gallery", "lemma", "zoo"]
    """which study"""
    draws: int = 0
    """draws of each net, the most of them in `draws`, samples in `lemma` (0: the study's own default, none in `zoo`)"""
    nets: tuple[str, ...] | None = None
    """torchvision names that the gallery measures (default: one of each family); models of the zoo, tv:NAME or timm:NAME"""
    every: bool = False
    """the gallery predicts every other classifier of torchvision too, without measuring it"""
    size: int = 64
    """input pixels of the gallery and of the zoo"""
    seed: int = 0
    """root seed"""
    device: str = "auto"
    """auto, cpu or cuda"""
    folder: Path | None = None
    """keep the gallery's draws, or the zoo's rows, here, net by net, and go on from them after any end"""
    out: Path | None = None
    """write OUT.md and OUT.png (one of each per net for `draws`)"""
    json: bool = False
    """print one JSON object instead of text"""

    def tables(self) -> dict[str, Table]:
        """The study's tables by the ending of their file names."""
        from validation.runtime.workers import checked_device

        if self.draws < 0:
            raise SpecificationError(f"--draws {self.draws}: a number of draws is positive (0: the study's own default)")
        whole("--size", self.size, 1)
        whole("--seed", self.seed, 0, inf)
        own = {"gallery": (), "zoo": ("every",)}.get(self.kind, ("nets", "every", "size", "folder"))
        ignored = [f"--{name}" for name in own if self._told(name)]
        if ignored:
            raise SpecificationError(
                f"{', '.join(ignored)}: only the gallery has that; pilcro study {self.kind} takes --draws, --seed and --device"
            )
        checked_device(self.device)
        return self._tables()

    def _tables(self) -> dict[str, Table]:
        from validation.studies.gallery import FAMILIES, gallery
        from validation.studies.ladders import chain_net, depth_ladder, pooled_net, width_ladder
        from validation.studies.lemma import lemma_table
        from validation.studies.study import error_against_draws
        from validation.studies.zoo import zoo

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
                return {
                    "": gallery(
                        FAMILIES if self.nets is None else self.nets, self.size, every=self.every, **kept, **given, **common
                    )
                }
            case "zoo":
                kept = {"folder": self.folder, "progress": not self.json}
                return {"": zoo(self.nets or (), self.size, seed=self.seed, **kept, **given)}
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
                print("\n".join([made.markdown(), *(f"written: {path}" for path in entry["files"])]), flush=True)
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
