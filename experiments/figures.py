"""Rebuild every figure of the README: `make figures`, or `python -m experiments.figures NAME...` for some of them."""

import sys
from pathlib import Path

import torch
import torchvision
from matplotlib.figure import Figure

import lattice
from experiments.pictures import save
from landscape import predict
from landscape.maps.plot import plot_map, plot_profile
from lattice import Conv, Lattice
from validation import Estimate, compare, measure, plot_agreement
from validation.studies.gallery import FAMILIES, classifier

FOLDER = Path(__file__).parents[1] / "docs" / "figures"


def resnet18_64() -> Figure:
    """ResNet-18 at 64 pixels: predicted and measured over 1000 initialisations (some minutes)."""

    def factory() -> torch.nn.Module:
        return torchvision.models.resnet18(weights=None)

    land = predict(factory, (3, 64, 64))
    estimate = measure(factory, (3, 64, 64), draws=1000, progress=True)
    agreement = compare(land, estimate)
    print(agreement)
    return plot_agreement(land, estimate, agreement, title="ResNet-18 at 64 x 64")


def paths() -> Figure:
    """The paper's Figure 1 in our form: a small lattice with one route, and the bell over the inputs of a deeper one."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 2, width_ratios=(1, 1.25))
    for ax, (net, title) in zip(top, {
        lattice.families.plain(7, depth=2): "two layers of kernel 3, one output: #p is a row of Pascal's triangle",
        lattice.families.plain(9, depth=3, padding=1): "three zero-padded layers, all outputs: a plateau with dark borders",
    }.items(), strict=True):  # fmt: skip
        alone = net.output_shape[1] == 3
        lattice.draw_lattice(net, *([(1,)] if alone else []), commands=[2, 0] if alone else None, ax=ax)
        ax.set_title(title, fontsize=10)
    skips = Lattice.chain((1, 7), [lattice.residual([Conv(1, kernel=3, padding=1)])] * 2)
    lattice.draw_lattice(skips, (3,), commands=[lattice.SKIP, 2], ax=bottom[0])
    bottom[0].set_title("two residual blocks: the skip is one more path, straight down", fontsize=10)
    lattice.draw_lattice(lattice.families.plain(15, depth=3, stride=2), ax=bottom[1])
    bottom[1].set_title("three layers of stride 2, one output: Stern's sequence, a grid", fontsize=10)
    return figure


def resnet50_224_225() -> Figure:
    """One more pixel: ResNet-50's map at 224 and at 225 pixels, predicted and measured over 200 initialisations (some minutes).

    The profiles are means over all rows, which average the noise of the measurement; bands are two standard errors.
    """
    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    axes = figure.subplots(2, 3)
    lands, estimates = {}, {}
    for size in (224, 225):
        lands[size] = predict(resnet50, (3, size, size))
        estimates[size] = measure(resnet50, (3, size, size), draws=200, progress=True)
        print(size, compare(lands[size], estimates[size]))
    most = float(max(land.relative.max() for land in lands.values()))
    for (left, middle, right), size in zip(axes, lands, strict=True):
        land, estimate = lands[size], estimates[size]
        asymmetry = land.report().flip_asymmetry[0]
        title = f"{size} pixels, predicted ({land.guarantee.name.lower()})\nflip asymmetry {asymmetry:.1%}"
        plot_map(land.relative, left, title=title, vmax=most)
        plot_map(estimate.relative, middle, title=f"{size} pixels, measured\n({estimate.draws} initialisations)", vmax=most)
        rows = Estimate.of_blocks(
            (estimate.blocks * estimate.block_draws[:, None, None]).mean(axis=1), estimate.block_draws, seed=0, batched=False
        )
        plot_profile(land.relative.mean(axis=0), right, label="predicted", color="black", linewidth=0.8, zorder=3)
        style = {"label": "measured, two standard errors", "color": "#d55e00", "linewidth": 0.8}
        plot_profile(rows.relative, right, error=rows.relative_error, **style)
        right.set(title="mean over rows", xlabel="column (pixels)", ylim=(0, None))
        right.legend(frameon=False, loc=(0.25, 0.2))
    return figure


def resnet50() -> torch.nn.Module:
    return torchvision.models.resnet50(weights=None)


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
        plot_map(land.relative, ax, vmax=3)
        ax.set_title(f"{name} at {pixels}\n{land.guarantee.name.lower()}, deviation {land.relative.std():.0%}", fontsize=9)
        ax.set(xlabel="", ylabel="")
    for ax in figure.axes:
        if not ax.has_data():
            ax.remove()
    return figure


FIGURES = {function.__name__: function for function in (paths, resnet50_224_225, resnet18_64, limits, gallery_maps)}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FIGURES:
        save(FIGURES[name](), FOLDER / name)
        print(f"docs/figures/{name}.png")
