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

    from validation.fields.attribution.images import Images

__all__ = []

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
    """noise, a folder of pictures, or mnist, mnist-corner, digits, photos, photographs, cifar10, cifar100"""
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
    channels_last: bool = False
    """the model reads (N, *positions, channels), as recurrent layers do; --shape is in that order"""
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
        from landscape.tracing.model_names import model_factory

        whole("--images", self.images, 2)
        whole("--batch-size", self.batch_size, 1)
        whole("--seed", self.seed, 0, inf)
        return model_factory(self.model)

    def subject(self, factory: "Callable[[], nn.Module]") -> "Callable[[], nn.Module] | nn.Module":
        """The trained network, or the factory."""
        if self.weights is None:
            return factory
        import torch

        from landscape.input_checks import call_factory
        from validation.evaluation.runs.subjects import read_weights

        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            model: nn.Module = call_factory(factory)
        try:
            model.load_state_dict(read_weights(self.weights, torch_load=self.torch_load))
        except RuntimeError as error:  # names or shapes that do not fit
            raise SpecificationError(f"{self.weights} does not fit {self.model}: {error}") from error
        return model.to(
            "cuda" if self.device == "auto" and torch.cuda.is_available() else "cpu" if self.device == "auto" else self.device
        )

    def inputs(self) -> "Images | tuple[int, ...] | Any":
        """The images, or the shape of noise; for draws an array."""
        from validation.fields.attribution.images import named_images, white_noise

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
            "channels_last": self.channels_last,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "device": self.device if self.weights is None else None,
        } | ({"folder": folder} if folder is not None else {})  # fmt: skip


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
