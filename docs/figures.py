"""Rebuild every figure of the README: `make figures`, or `python docs/figures.py NAME...` for some of them."""

import sys
from pathlib import Path

import torch
import torchvision
from matplotlib.figure import Figure

from landscape import he_fan_out, predict
from landscape.plot import plot_map, plot_profile
from validation import compare, measure, plot_agreement

FOLDER = Path(__file__).parent / "figures"


def resnet18_64() -> Figure:
    """ResNet-18 at 64 pixels: predicted and measured over 1000 initialisations (some minutes)."""

    def factory() -> torch.nn.Module:
        return torchvision.models.resnet18(weights=None)

    land = predict(factory, (3, 64, 64))
    estimate = measure(factory, (3, 64, 64), draws=1000, progress=True)
    agreement = compare(land, estimate)
    print(agreement)
    return plot_agreement(land, estimate, agreement, title="ResNet-18 at 64 x 64")


def resnet50_224_225() -> Figure:
    """One more pixel: the map that ResNet-50's topology forces on it at 224 and at 225 pixels."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    with torch.device("meta"):
        model = torchvision.models.resnet50(weights=None)
    lands = {size: predict(model, (3, size, size), initialisation=he_fan_out) for size in (224, 225)}
    most = float(max(land.relative.max() for land in lands.values()))
    styles = ({"color": "#d55e00"}, {"color": "black", "linestyle": "--"})
    for (size, land), ax, style in zip(lands.items(), (left, middle), styles, strict=True):
        asymmetry = land.report().flip_asymmetry[0]
        title = f"ResNet-50 at {size} ({land.guarantee.name.lower()})\nflip asymmetry {asymmetry:.1%}"
        plot_map(land.relative, ax, title=title, most=most)
        plot_profile(land.relative, right, label=f"{size} pixels", linewidth=0.8, **style)
    right.set(title="profile through the middle", ylim=(0, None))
    right.legend(frameon=False)
    return figure


FIGURES = {function.__name__: function for function in (resnet50_224_225, resnet18_64)}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FIGURES:
        figure = FIGURES[name]()
        for suffix in ("png", "pdf"):
            figure.savefig(FOLDER / f"{name}.{suffix}", dpi=120)
        print(f"docs/figures/{name}.png, .pdf")
