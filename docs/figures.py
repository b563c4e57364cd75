"""Rebuild every figure of the README: `make figures`, or `python docs/figures.py NAME...` for some of them."""

import sys
from pathlib import Path

import torch
import torchvision
from matplotlib.figure import Figure

import lattice
from landscape import advise, he_fan_out, predict
from landscape.plot import plot_layers, plot_map, plot_profile
from lattice import Conv, Lattice
from validation import compare, measure, plot_agreement
from validation.montecarlo.gallery import FAMILIES, classifier

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


def layers_resnet50() -> Figure:
    """How the map of ResNet-50 at 224 pixels comes about, from its last block down to its input."""
    with torch.device("meta"):
        model = torchvision.models.resnet50(weights=None)
    land = predict(model, (3, 224, 224), initialisation=he_fan_out)
    figure = plot_layers(land.layers(), most=6)
    figure.suptitle(f"ResNet-50 at 224: squared gradient at the output of each layer ({land.guarantee.name.lower()})")
    return figure


def limits() -> Figure:
    """One output of an unpadded chain tends to a Gaussian; a zero-padded strip tends to half a sine wave, not to one."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    depth = 10
    bell = lattice.gaussian_limit(Lattice.chain((1, 41), [Conv(1, kernel=3)] * depth), output=(10,))
    left.plot(bell.exact, "o", color="black", markersize=4, label=f"exact counts, {depth} layers, one output")
    left.plot(bell.share, color="#d55e00", label=f"Gaussian limit (largest error {bell.largest_error:.1%} of its top)")
    left.set(title="unpadded, kernel 3", xlabel="input position (pixels)", ylabel="share of the paths", ylim=(0, 0.2))
    width = 32
    for depth, style in ((4, ":"), (32, "--"), (1024, "-")):
        counts = lattice.strip_counts_reflection(width, depth)
        right.plot([width * n / sum(counts) for n in counts], style, color="black", label=f"exact, {depth} layers")
    sine = lattice.perron_vector(width)
    right.plot(sine / sine.mean(), color="#d55e00", linewidth=3, alpha=0.5, label="Perron limit, half a sine wave")
    right.set(
        title=f"zero-padded strip of {width} pixels, all outputs", xlabel="input position (pixels)", ylabel="paths / mean"
    )
    right.set_ylim(0, None)
    for ax in (left, right):
        ax.legend(frameon=False, fontsize="small")
    return figure


def gallery_maps() -> Figure:
    """The landscapes of torchvision's families at 224 pixels, on one scale, with their guarantees."""
    figure = Figure(figsize=(15, 12.5), layout="constrained")
    for ax, name in zip(figure.subplots(4, 5).flat, FAMILIES, strict=False):
        pixels = 299 if name == "inception_v3" else 224
        land = predict(classifier(name), (3, pixels, pixels))
        plot_map(land.relative, ax, most=3)
        ax.set_title(f"{name} at {pixels}\n{land.guarantee.name.lower()}, deviation {land.relative.std():.0%}", fontsize=9)
        ax.set(xlabel="", ylabel="")
    for ax in figure.axes:
        if not ax.has_data():
            ax.remove()
    return figure


def advice_resnet18() -> Figure:
    """ResNet-18 at 64 pixels: its map before, and after the changes that the theory ranks first."""
    with torch.device("meta"):
        model = torchvision.models.resnet18(weights=None)
    return advise(model, (3, 64, 64), initialisation=he_fan_out).plot()


FIGURES = {
    function.__name__: function
    for function in (resnet50_224_225, resnet18_64, layers_resnet50, limits, gallery_maps, advice_resnet18)
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FIGURES:
        figure = FIGURES[name]()
        for suffix in ("png", "pdf"):
            figure.savefig(FOLDER / f"{name}.{suffix}", dpi=120)
        print(f"docs/figures/{name}.png, .pdf")
