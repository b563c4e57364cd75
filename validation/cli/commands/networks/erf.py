"""`pilcro erf`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from validation.cli.options.fields import MOST_LAYERS, _Asked, _plain, _prediction, unit_of

if TYPE_CHECKING:
    from validation.fields.field import EffectiveField
    from validation.fields.predicted import Beside


__all__ = ["Erf"]


@dataclass(frozen=True)
class Erf(_Asked):
    """Where a unit of a layer looks: its effective receptive field, with standard errors, beside the prediction.

    MODEL is a torchvision name (resnet18), package.module:factory or file.py:factory. With --weights the field of that trained
    network over images; without, at initialisation, over draws. The prediction is of the architecture at initialisation.
    """

    unit: str = "centre"
    """centre, mean (over all units), or an index: R,C or a token's number"""
    t: tuple[float, ...] = (0.2, 0.3, 0.5, 0.99)
    """shares of the high-contribution area ratio r(t)"""
    predict: bool = True
    """predict the field too, where the network can be traced"""
    folder: Path | None = None
    """keep what was computed here and go on from it after any end"""
    scale: Literal["linear", "log"] = "log"
    """of the figure"""
    out: Path | None = None
    """write a figure here (.png, .pdf, .svg)"""
    report: Path | None = None
    """write one self-contained HTML page here: field, numbers, prediction, and the fields of up to six layers"""
    save: Path | None = None
    """write the field here (.npz or .safetensors), for EffectiveField.load, and the prediction to FILE-predicted.npz"""
    json: bool = False
    """print one JSON object, without maps, instead of text"""

    def run(self) -> dict[str, Any]:
        """Measure, predict, draw; returns what `--json` prints."""
        from validation.fields.drawing import plot_beside
        from validation.fields.files import ENDINGS
        from validation.fields.measure import effective_receptive_field
        from validation.fields.numbers import checked_share
        from validation.fields.predicted import Beside, beside
        from validation.runtime.files import FIGURES, checked_out, write_figure

        checked_out(self.out, FIGURES)
        checked_out(self.save, ENDINGS, option="--save")
        checked_out(self.report, ("",), option="--report")
        for t in self.t:
            checked_share(t)
        factory, unit = self.factory(), unit_of(self.unit)
        images = self.inputs()
        subject = self.subject(factory)
        field = effective_receptive_field(
            subject,
            images,
            layer=self.layer,
            unit=unit,
            progress=not self.json,
            **self.options(folder=self.folder),
        )
        foretold = Beside(field, None, None, None, "not asked for")
        if self.predict and self.statistic == "squared":
            shape = images if isinstance(images, tuple) else tuple(images.shape[-field.mean.ndim - 1 :])
            foretold = beside(field, factory, shape, layout=self.layout, channels_last=self.channels_last)
        result = {"model": self.model, **field.to_dict(arrays=False)} | _prediction(foretold)
        text = [str(field), *self._numbers(field, result)]
        text += [str(foretold)] if foretold.refused != "not asked for" else []
        if self.out is not None:
            write_figure(self.out, plot_beside(foretold, scale=self.scale), dpi=150)
            result["figure"] = str(self.out)
            text.append(f"figure: {self.out}")
        if self.report is not None:
            self._write_page(foretold, subject, images)
            result["page"] = str(self.report)
            text.append(f"report: {self.report}")
        if self.save is not None:
            saved = [field.save(self.save)]
            if foretold.land is not None:
                saved.append(foretold.land.save(self.save.with_name(f"{self.save.stem}-predicted.npz")))
            result["saved"] = [str(path) for path in saved]
            text += [f"saved: {path}" for path in saved]
        if not self.json:
            print("\n".join(text), flush=True)
        return result

    def _write_page(self, found: "Beside", subject: Any, images: Any) -> None:
        """The HTML page, with the centre units of blocks of layers."""
        from validation.fields.comparisons import field_growth
        from validation.fields.page import write_field_report
        from validation.report.write import command_line

        assert self.report is not None
        grown = field_growth(subject, images, most=MOST_LAYERS, **self.options())
        made = {"command": command_line("erf", self), "seed": f"{self.seed}", "images": found.field.images}
        write_field_report(self.report, found, grown, title=f"{self.model}, {found.field.title}", made=made)

    def _numbers(self, field: "EffectiveField", result: dict[str, Any]) -> list[str]:
        if self.statistic == "signed":
            return ["shares and widths need contributions that are not negative: none for a signed field"]
        found = field.numbers(self.t)
        result["numbers"] = [
            {"name": n.name, "value": _plain(n.value), "error": _plain(n.error), "source": n.source} for n in found
        ]
        return [field.report(self.t)]
