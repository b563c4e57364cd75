"""`pilcro halo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.cli.options.fields import _Asked, unit_of

__all__ = ["Halo"]


@dataclass(frozen=True)
class Halo(_Asked):
    """How far the influence on a unit reaches: the smallest overlap of tiles that keeps a share of it.

    MODEL is a torchvision name, package.module:factory or file.py:factory; --weights as of `pilcro erf`. The unit is the worst
    one over the phases of the stride, by the prediction, where the network can be traced.
    """

    keep: float = 0.99
    """share of the influence to keep"""
    unit: str | None = None
    """look at this unit alone: centre, or R,C"""
    period: int | None = None
    """units along the diagonal to measure where the network cannot be traced"""
    out: Path | None = None
    """write a figure here (.png, .pdf, .svg)"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Trace, measure, draw; returns what `--json` prints."""
        from matplotlib.figure import Figure

        from validation.fields.halo import halo
        from validation.runtime.files import FIGURES, checked_out, write_figure

        checked_out(self.out, FIGURES)
        factory = self.factory()
        unit = None if self.unit is None else unit_of(self.unit)
        subject = self.subject(factory)
        found = halo(
            subject,
            self.inputs(),
            keep=self.keep,
            layer=self.layer,
            unit=unit,
            period=self.period,
            fresh=None if subject is factory else factory,
            progress=not self.json,
            **self.options(),
        )
        result = {"model": self.model, **found.to_dict()}
        if not self.json:
            print(found, flush=True)
        if self.out is not None:
            figure = Figure(figsize=(6, 4), layout="constrained")
            found.plot(figure.subplots())
            write_figure(self.out, figure, dpi=150)
            result["figure"] = str(self.out)
        return result
