"""`pilcro erf` and `pilcro halo`: where a layer of a network looks, and how far."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lattice import SpecificationError
from lattice.checks import whole

if TYPE_CHECKING:
    from torch import nn

    from validation.fields.field import EffectiveField
    from validation.fields.images import Images
    from validation.fields.predicted import Beside

__all__ = ["Erf", "Halo"]

MOST_LAYERS = 6  # of a page


@dataclass(frozen=True)
class _Asked:
    """What both commands are told; a dataclass of tyro's."""

    model: str
    """torchvision name, package.module:factory or file.py:factory"""
    weights: Path | None = None
    """the state dict of a trained network, FILE.safetensors (without: at initialisation, over draws)"""
    torch_load: bool = False
    """read other --weights by torch.load(weights_only=True)"""
    layer: str | None = None
    """a layer by its name, as in model.named_modules() (default: the output, or the last layer with positions)"""
    data: str = "noise"
    """noise, a folder of pictures, or mnist, mnist-corner, digits, photos, cifar10, cifar100"""
    images: int = 50
    """images at most, or draws where there are no --weights"""
    size: tuple[int, ...] = (224,)
    """height and width of the input in pixels: one number for both, or two"""
    channels: int = 3
    """channels of the input"""
    shape: tuple[int, ...] = ()
    """the whole input shape (channels and every axis) instead, for models that do not read images"""
    statistic: Literal["squared", "absolute", "signed", "rectified", "positive"] = "squared"
    """squared gradients, or sums of gradients as published scripts take them"""
    layout: Literal["auto", "channels_first", "channels_last"] = "auto"
    """where the layer's channels are"""
    root: Path | None = None
    """where CIFAR's archives lie"""
    batch_size: int = 8
    """images at once"""
    seed: int = 0
    """of noise, signs and initialisations"""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """where it is computed"""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, *positions) of one input."""
        size = self.size * 2 if len(self.size) == 1 else self.size
        return self.shape or (self.channels, *size)

    def factory(self) -> "Callable[[], nn.Module]":
        """What MODEL names."""
        from validation.__main__ import model_factory

        whole("--images", self.images, 2)
        whole("--batch-size", self.batch_size, 1)
        whole("--seed", self.seed, 0, inf)
        return model_factory(self.model)

    def subject(self, factory: "Callable[[], nn.Module]") -> "Callable[[], nn.Module] | nn.Module":
        """The trained network, or the factory."""
        if self.weights is None:
            return factory
        import torch

        from landscape.given import made
        from validation.evaluation.subjects import read_weights

        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            model: nn.Module = made(factory)
        try:
            model.load_state_dict(read_weights(self.weights, torch_load=self.torch_load))
        except RuntimeError as error:  # names or shapes that do not fit
            raise SpecificationError(f"{self.weights} does not fit {self.model}: {error}") from error
        return model.to(
            "cuda" if self.device == "auto" and torch.cuda.is_available() else "cpu" if self.device == "auto" else self.device
        )

    def inputs(self) -> "Images | tuple[int, ...] | Any":
        """The images, or the shape of noise; for draws an array."""
        from validation.fields.images import named_images, white_noise

        if self.data == "noise":
            return self.input_shape if self.weights is None else white_noise(self.input_shape, self.images, self.seed)
        if len(self.size) != 1 or self.shape:
            raise SpecificationError(f"--data {self.data}: pictures are cut to squares; give --size with one number")
        found = named_images(self.data, count=self.images, size=self.size[0], root=self.root)
        return found if self.weights is not None else found.read(range(found.count))

    def options(self, *, folder: Path | None = None) -> dict[str, Any]:
        """What `effective_receptive_field` is told."""
        over = {"draws": self.images} if self.weights is None else {"count": self.images}
        return over | {
            "statistic": self.statistic,
            "layout": self.layout,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "device": self.device if self.weights is None else None,
        } | ({"folder": folder} if folder is not None else {})  # fmt: skip


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
    """write the field here (.npz or .safetensors), for EffectiveField.load"""
    json: bool = False
    """print one JSON object instead of text"""

    def run(self) -> dict[str, Any]:
        """Measure, predict, draw; returns what `--json` prints."""
        from validation.fields.drawing import plot_beside
        from validation.fields.field import ENDINGS
        from validation.fields.measure import effective_receptive_field
        from validation.fields.numbers import checked_share
        from validation.fields.predicted import Beside, beside
        from validation.montecarlo.files import FIGURES, checked_out, write_figure

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
            foretold = beside(field, factory, shape, layout=self.layout)
        result = {"model": self.model, **field.to_dict()} | _prediction(foretold)
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
            result["saved"] = str(field.save(self.save))
            text.append(f"saved: {self.save}")
        if not self.json:
            print("\n".join(text), flush=True)
        return result

    def _write_page(self, found: "Beside", subject: Any, images: Any) -> None:
        """The HTML page, with the centre units of blocks of layers."""
        from validation.fields.predicted import field_growth
        from validation.report.fields import write_field_report
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
        from validation.montecarlo.files import FIGURES, checked_out, write_figure

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


def unit_of(text: str) -> Any:
    """ "centre", "mean", a token's number or an index.

    >>> unit_of("centre"), unit_of("3,4"), unit_of("7")
    ('centre', (3, 4), 7)
    """
    if text in ("centre", "center", "mean"):
        return text
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise SpecificationError(f"--unit {text}: it is centre, mean, or whole numbers with commas between them, such as 3,4")
    index = tuple(int(part) for part in parts)
    return index[0] if len(index) == 1 else index


def _prediction(found: Any) -> dict[str, Any]:
    if found.land is None:
        return {"prediction": None, "refused": found.refused}
    content = {
        "guarantee": found.land.guarantee.name,
        "reasons": list(found.land.reasons),
        "relative": found.land.relative.tolist(),
    }
    content["moved"] = {"share": found.moved.value, "error": _plain(found.moved.error)}
    side = found.effective_side
    content["receptive_field"] = found.receptive_field
    content["effective_side"] = None if side is None else {"value": side.value, "error": _plain(side.error)}
    if found.agreement is not None:
        content["distance"], content["distance_interval"] = found.distance, list(found.distance_interval)
        content["verdict"], content["error"] = found.agreement.verdict.name, found.agreement.error
    return {"prediction": content}


def _plain(value: float) -> float | None:
    return value if -inf < value < inf else None
