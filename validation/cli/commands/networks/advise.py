"""`pilcro advise`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Advise"]


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
    report: Path | None = None
    """write one self-contained HTML page here: the changes, the map as it is, its numbers, the layers"""
    save: Path | None = None
    """write the advice with all its maps here (.npz), for Advice.load"""
    json: bool = False
    """print one JSON object, without maps, instead of text"""

    def run(self) -> dict[str, Any]:
        """Try the changes and draw; returns what `--json` prints."""
        from landscape import advise
        from landscape.input_checks import call_factory
        from landscape.tracing.model_names import model_factory
        from validation.runtime.files import FIGURES, checked_out, write_figure

        shape = self.shape or (self.channels, *(self.size * 2 if len(self.size) == 1 else self.size))
        checked_out(self.out, FIGURES)
        checked_out(self.report, ("",), option="--report")
        checked_out(self.save, (".npz",), option="--save")
        advice = advise(call_factory(model_factory(self.model)), shape, most=self.most)
        if not self.json:
            print(f"{self.model} over {shape}\n\n{advice}", flush=True)
        result: dict[str, Any] = {
            "model": self.model,
            "shape": shape,
            **{name: value for name, value in advice.to_dict().items() if name != "reweighting"},
        }
        if self.out is not None:
            write_figure(self.out, advice.plot(), dpi=150)
            result["figure"] = str(self.out)
            if not self.json:
                print(f"\nfigure: {self.out}")
        if self.report is not None:
            from validation.report.write import command_line, write_advice

            title = f"{self.model} at {' × '.join(map(str, shape[1:]))}"
            write_advice(self.report, advice, title=title, made={"command": command_line("advise", self)})
            result["page"] = str(self.report)
            if not self.json:
                print(f"\nreport: {self.report}")
        if self.save is not None:
            result["saved"] = str(advice.save(self.save))
            if not self.json:
                print(f"\nadvice: {self.save}")
        return result
