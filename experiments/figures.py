"""Rebuild the figures of the documentation: `make figures`, or `python -m experiments.figures NAME...` for some of them.

Each file keeps a digest of the code that drew it, and a test compares it with the code as it stands. Draws are kept in
runs/figures, so that a figure is drawn again without them being drawn again.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from matplotlib.figure import Figure

import lattice
from experiments.pictures import code_of, save
from landscape import Landscape, predict
from landscape.maps.plot import draw_image, plot_profile
from lattice import Conv, Lattice
from validation import Estimate, compare, measure, plot_agreement
from validation.comparison.compare import Agreement
from validation.studies.gallery import FAMILIES, classifier

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
DRAWS = Path(__file__).parents[1] / "runs" / "figures"
ORANGE = "#d55e00"  # of what is measured


def measured(name: str, factory: Callable[[], torch.nn.Module], size: int, draws: int) -> Estimate:
    """Draws of a network at some pixels, kept in runs/figures."""
    DRAWS.mkdir(parents=True, exist_ok=True)
    return measure(factory, (3, size, size), draws=draws, folder=DRAWS / f"{name}_{size}", progress=True)


def resnet18() -> torch.nn.Module:
    return torchvision.models.resnet18(weights=None)


def resnet50() -> torch.nn.Module:
    return torchvision.models.resnet50(weights=None)


def resnet18_64() -> Figure:
    """ResNet-18 at 64 pixels: predicted and measured over 1000 initialisations (some minutes)."""
    land = predict(resnet18, (3, 64, 64))
    estimate = measured("resnet18", resnet18, 64, 1000)
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
    """One more pixel: ResNet-50's map at 224 and at 225 pixels, predicted, measured over 200 initialisations, and where they
    differ (some minutes)."""
    lands, estimates, agreements = {}, {}, {}
    for size in (224, 225):
        lands[size] = predict(resnet50, (3, size, size))
        estimates[size] = measured("resnet50", resnet50, size, 200)
        agreements[size] = compare(lands[size], estimates[size])
        print(size, agreements[size])
    return two_sizes(lands, estimates, agreements)


def two_sizes(lands: dict[int, Landscape], estimates: dict[int, Estimate], agreements: dict[int, Agreement]) -> Figure:
    """A row for each size: the maps on one scale, their difference in blocks of pixels, and means over rows.

    Blocks and means average the noise of single pixels, which would hide a difference that has a shape; bands are two standard
    errors.
    """
    figure = Figure(figsize=(13.5, 6.9), layout="constrained")
    grid = figure.add_gridspec(4, 4, width_ratios=(1, 1, 1, 1.25), height_ratios=(2, 1, 2, 1))
    pairs = [(lands[size].relative, estimates[size].relative) for size in lands]
    most = float(max(np.quantile(values, 0.9995) for pair in pairs for values in pair))
    differences = [blocks(measured - predicted, 15) for predicted, measured in pairs]
    far = float(max(np.abs(values).max() for values in differences))
    maps: list[list[Any]] = []
    lines: list[list[Any]] = [[], []]
    for row, (size, (predicted, seen), difference) in enumerate(zip(lands, pairs, differences, strict=True)):
        place = slice(2 * row, 2 * row + 2)
        maps.append([figure.add_subplot(grid[place, column]) for column in range(3)])
        shown = [
            draw_image(ax, values, {}, vmin=0, vmax=most) for ax, values in zip(maps[row], (predicted, seen), strict=False)
        ]
        extent = (-0.5, size - 0.5, size - 0.5, -0.5)
        residual = maps[row][2].imshow(difference, cmap="PuOr", vmin=-far, vmax=far, extent=extent)
        asymmetry = lands[size].report().flip_asymmetry[0]
        low, high = agreements[size].error_interval
        maps[row][0].set_title(f"predicted: flip asymmetry {asymmetry:.1%}", fontsize=10)
        maps[row][1].set_title(f"measured, {estimates[size].draws} initialisations", fontsize=10)
        maps[row][2].set_title(f"difference: map error {low:.1%} to {high:.1%}", fontsize=10)
        maps[row][0].set_ylabel(f"{size} x {size} pixels", fontsize=11)
        mean_over_rows(figure, grid, row, lines, predicted, estimates[size])
    for ax in (ax for row in maps for ax in row):
        ax.set(xticks=(0, 100, 200), yticks=(0, 100, 200))
        ax.label_outer()
    figure.colorbar(shown[0], ax=[ax for row in maps for ax in row[:2]], location="bottom", extend="max", shrink=0.6, aspect=40)
    figure.colorbar(residual, ax=[row[2] for row in maps], location="bottom", aspect=20)
    for column, text in ((0, "importance / mean"), (1, f"difference / mean, blocks of {15} x {15} pixels")):
        figure.axes[-2 + column].set_xlabel(text)
    return figure


def mean_over_rows(figure: Figure, grid: Any, row: int, lines: list[list[Any]], predicted: Any, estimate: Estimate) -> None:
    """Two panels: means over rows of both maps, and below them their difference with its band."""
    weighted = estimate.blocks * estimate.block_draws[:, None, None]
    rows = Estimate.of_blocks(weighted.mean(axis=1), estimate.block_draws, seed=estimate.seed, batched=False)
    for which in range(2):
        above = lines[which][0] if lines[which] else None
        lines[which].append(figure.add_subplot(grid[2 * row + which, 3], sharey=above))
    upper, lower = lines[0][-1], lines[1][-1]
    foretold = predicted.mean(axis=0)
    plot_profile(rows.relative, upper, label="measured", color=ORANGE, linewidth=0.8)
    plot_profile(foretold, upper, label="predicted", color="black", linewidth=0.8, linestyle=":", zorder=3)
    upper.set(title="mean over rows" if row == 0 else "", xlabel="", ylim=(0, None))
    upper.tick_params(labelbottom=False)
    difference, error = rows.relative - foretold, rows.relative_error
    position = np.arange(len(difference))
    lower.fill_between(position, difference - 2 * error, difference + 2 * error, color=ORANGE, alpha=0.25, linewidth=0)
    lower.plot(position, difference, color=ORANGE, linewidth=0.8)
    lower.axhline(0, color="black", linewidth=0.6)
    lower.set(ylabel="difference", xlabel="column (pixels)" if row else "", xlim=upper.get_xlim())
    if row == 0:
        upper.legend(frameon=False, loc="lower center", ncols=2, fontsize="small")


def blocks(values: Any, side: int) -> Any:
    """Means over blocks of about `side` x `side` cells."""
    for axis in (0, 1):
        parts = np.array_split(values, round(values.shape[axis] / side), axis=axis)
        values = np.stack([part.mean(axis=axis) for part in parts], axis=axis)
    return values


def limits() -> Figure:
    """One output of an unpadded chain tends to a Gaussian; a zero-padded strip tends to half a sine wave, not to one."""
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    depth = 10
    bell = lattice.gaussian_limit(Lattice.chain((1, 41), [Conv(1, kernel=3)] * depth), output=(10,))
    left.plot(bell.exact, "o", color="black", markersize=4, label=f"exact counts, {depth} layers, one output")
    left.plot(bell.share, color=ORANGE, label=f"Gaussian limit (largest error {bell.largest_error:.1%} of its top)")
    left.set(title="unpadded, kernel 3", xlabel="input position (pixels)", ylabel="share of the paths", ylim=(0, 0.2))
    width = 32
    for depth, style in ((4, ":"), (32, "--"), (1024, "-")):
        counts = lattice.strip_counts_reflection(width, depth)
        right.plot([width * n / sum(counts) for n in counts], style, color="black", label=f"exact, {depth} layers")
    sine = lattice.perron_vector(width)
    right.plot(sine / sine.mean(), color=ORANGE, linewidth=3, alpha=0.5, label="Perron limit, half a sine wave")
    right.set(
        title=f"zero-padded strip of {width} pixels, all outputs", xlabel="input position (pixels)", ylabel="paths / mean"
    )
    right.set_ylim(0, None)
    for ax in (left, right):
        ax.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def gallery_maps() -> Figure:
    """The landscapes of torchvision's families at 224 pixels, the flattest first, on one scale that ends at three (minutes)."""
    lands = {}
    for name in FAMILIES:
        pixels = 299 if name == "inception_v3" else 224
        lands[f"{name} at {pixels}"] = predict(classifier(name), (3, pixels, pixels))
        print(name, flush=True)
    return sorted_maps([(name, land.relative, land.guarantee.name.lower()) for name, land in lands.items()], most=3.0)


def sorted_maps(shown: Sequence[tuple[str, Any, str]], most: float) -> Figure:
    """Maps (name, values, guarantee) by how far they are from flat; one bar, whose tip says that larger values are cut off."""
    columns = 5
    figure = Figure(figsize=(13, 2.75 * -(-len(shown) // columns)), layout="constrained")
    axes = figure.subplots(-(-len(shown) // columns), columns, squeeze=False)
    ordered = sorted(shown, key=lambda one: float(one[1].std()))
    for ax, (name, values, guarantee) in zip(axes.flat, ordered, strict=False):
        image = draw_image(ax, values, {}, vmin=0, vmax=most)
        cut = float((values > most).mean())
        tail = f"\n{cut:.1%} cut off, up to {values.max():.2g}" if cut else ""
        ax.set_title(f"{name}\n{guarantee}, {values.std():.0%} from flat{tail}", fontsize=8)
        ax.set(xticks=[], yticks=[])
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    bar = figure.colorbar(image, ax=list(axes.flat[: len(shown)]), extend="max", shrink=0.4, aspect=30)
    bar.set_label("importance / mean")
    return figure


# name -> (the function that computes and draws, the functions that draw for it)
FIGURES: dict[str, tuple[Callable[[], Figure], tuple[Callable[..., Any], ...]]] = {
    "paths": (paths, ()),
    "limits": (limits, ()),
    "resnet50_224_225": (resnet50_224_225, (two_sizes, mean_over_rows, blocks)),
    "resnet18_64": (resnet18_64, ()),
    "gallery_maps": (gallery_maps, (sorted_maps,)),
}


def drawn_by(name: str) -> str:
    """What a figure's file says of the code that drew it."""
    function, helpers = FIGURES[name]
    return f"python -m experiments.figures {name}, code {code_of(function, *helpers)}"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FIGURES:
        save(FIGURES[name][0](), FOLDER / name, drawn_by=drawn_by(name))
        print(f"docs/figures/{name}.png")
