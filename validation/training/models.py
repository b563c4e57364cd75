"""The networks that recipes name: a small ResNet, the standard ones at 32 pixels, any of torchvision, any factory."""

from typing import Any

import torch
from torch import nn

from landscape.input_checks import call_factory
from lattice import SpecificationError
from lattice.lazy import to_install
from validation.datasets.dataset import Dataset
from validation.runtime.seeds import number
from validation.training.recipes import Recipe

__all__ = ["Reweighted", "SmallResNet", "build", "initial_network"]


class Block(nn.Module):
    """ReLU(norm conv ReLU norm conv x + shortcut(x)): the basic block of He et al. (2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.relu(self.branch(x) + self.shortcut(x))
        return result


class SmallResNet(nn.Sequential):
    """A strided stem, three stages of one block each, a global average: minutes on one core, and every topology of a ResNet.

    >>> SmallResNet(1, 10)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, channels: int, classes: int, width: int = 16) -> None:
        stem = [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        blocks = [Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)]
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class Reweighted(nn.Module):
    """f(w x) with one fixed weight for each pixel: the input reweighting that `landscape.advise` proposes."""

    weights: torch.Tensor

    def __init__(self, model: nn.Module, weights: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("weights", weights.float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.model(x * self.weights)
        return result


def _torchvision(name: str, classes: int, *, stem: str) -> nn.Module:
    try:
        from torchvision import models
    except ImportError as error:
        raise SpecificationError(f"the model {name} needs torchvision: {to_install('vision')}") from error
    if name not in models.list_models():
        raise SpecificationError(f"torchvision has no model {name!r}; give small, NAME-cifar, NAME or file.py:factory")
    model: Any = models.get_model(name, weights=None, num_classes=classes)
    if stem == "cifar":
        if not isinstance(model, models.ResNet):
            raise SpecificationError(f"{name}-cifar: only ResNets have a form for 32 pixels here; give {name} itself")
        # the customary change for 32 pixels: a stem of 3x3 without stride and without pool
        model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    return model


def _stem(name: str, stem: str) -> str:
    """The stem of torchvision's network `name`: what was asked for, where it goes with the name."""
    if stem == "auto":
        return "cifar" if name.endswith("-cifar") else "imagenet"
    if ":" in name or name == "small":
        raise SpecificationError(f"the stem {stem!r} is for torchvision's ResNets; {name} has its own, so leave stem at 'auto'")
    if stem == "imagenet" and name.endswith("-cifar"):
        raise SpecificationError(f"{name} with the stem 'imagenet' contradicts itself; give {name.removesuffix('-cifar')}")
    return stem


def build(
    name: str, channels: int, classes: int, *, seed: int, size: int = 32, reweight: bool = False, stem: str = "auto"
) -> nn.Module:
    """A freshly initialised model; its weights depend on `seed` alone, and torch's own random state stays as it was.

    Parameters
    ----------
    name : str
        "small", a torchvision name, a torchvision ResNet's name with "-cifar", package.module:factory or file.py:factory.
    channels, classes : int
        Of the data; factories decide for themselves.
    seed : int
        Of the weights.
    size : int
        Pixels of an image's side, for `reweight`.
    reweight : bool
        Multiply each input pixel by the weight that `landscape.advise` proposes.
    stem : {"auto", "imagenet", "cifar"}
        Of a torchvision ResNet: 7x7 with stride 2 and a max-pool, or 3x3 without; "auto": as the name says.

    Returns
    -------
    torch.nn.Module
        On the CPU, in training mode.

    Raises
    ------
    SpecificationError
        For a name that nothing has, and a stem that does not go with it.
    """
    stem = _stem(name, stem)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        if name == "small":
            model: nn.Module = SmallResNet(channels, classes)
        elif ":" in name:
            from landscape.tracing.model_names import model_factory

            model = call_factory(model_factory(name))
            if not isinstance(model, nn.Module):
                raise SpecificationError(f"{name} returned a {type(model).__name__}; it must return a torch.nn.Module")
        else:
            model = _torchvision(name.removesuffix("-cifar"), classes, stem=stem)
        if reweight:
            from landscape import advise

            weights = torch.as_tensor(advise(model, (channels, size, size), most=1).reweighting)
            model = Reweighted(model, weights)
    return model


def initial_network(recipe: Recipe, data: Dataset) -> nn.Module:
    """The network of a recipe before its first step: `build` with its seed, for the channels and classes of the data.

    Parameters
    ----------
    recipe : Recipe
        Its model, stem, size, reweighting and seed count.
    data : Dataset
        What it is trained on.

    Returns
    -------
    torch.nn.Module
        On the CPU, in training mode.
    """
    channels = data.train.batch(torch.arange(1)).shape[1]
    options: dict[str, Any] = {"size": recipe.size, "reweight": recipe.reweight, "stem": recipe.stem}
    return build(recipe.model, channels, data.classes, seed=number(recipe.seed, "weights"), **options)
