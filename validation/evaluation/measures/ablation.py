r"""Ablation of the most relevant pixels (Section 4.2.2, Figure 5).

Relevance is Integrated Gradients (Sundararajan et al. 2017), averaged over a batch of baseline images and summed over
channels. The K most relevant pixels of an image are replaced by the mean of that image, channel by channel, and

    r(K) = p_y(image with K pixels replaced) / p_y(image),      K = 0, ..., P

is averaged over correctly classified images; the area under r against K / P says how much the answer hangs on few pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from landscape.progress import progress_bar
from lattice import SpecificationError
from lattice.lazy import to_install
from lattice.results.values import Result
from validation.datasets.dataset import Source
from validation.evaluation.measures.drawing import axes, banded
from validation.runtime.logits import logits, probabilities
from validation.runtime.preserve_state import preserve_state
from validation.runtime.seeds import generator

__all__ = ["Ablation", "ablation", "ablation_curve", "relevance"]

Array = np.ndarray[Any, Any]


def relevance(
    model: torch.nn.Module, image: torch.Tensor, label: int, baselines: torch.Tensor, *, steps: int = 32, chunk: int = 512
) -> torch.Tensor:
    """Integrated Gradients of p_y's logit for one image (channels, height, width), the mean over `baselines`: (height, width).

    Captum's, by the Gauss-Legendre rule with `steps` points a baseline. `chunk` points exist at once, however many the
    baselines: captum splits the points of each baseline, but never the baselines. The sum over baselines is float64.
    Evaluation mode; the model is left as it was.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    image : torch.Tensor
        (channels, height, width).
    label : int
        The class, a whole number.
    baselines : torch.Tensor
        (N, channels, height, width).
    steps : int
        Points on the way from each baseline.
    chunk : int
        Images that a network is given at once.

    Returns
    -------
    torch.Tensor
        float64 (height, width).
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as missing:
        raise SpecificationError(f"Integrated Gradients need captum: {to_install('evaluate')}") from missing
    gradients = IntegratedGradients(lambda points: logits(model, points, int(label) + 1))
    total = torch.zeros(image.shape[1:], dtype=torch.float64, device=image.device)
    with preserve_state(model):
        for group in torch.split(baselines, chunk):
            some = group.to(image.device)
            inputs = image.expand(len(some), *image.shape)
            found = gradients.attribute(inputs, some, target=int(label), n_steps=steps, internal_batch_size=chunk)
            total += found.detach().double().sum(dim=(0, 1))
    return total / len(baselines)


@dataclass(frozen=True, eq=False)
class Ablation(Result):
    """`ratio` (images, points): r at each of the numbers of pixels `replaced`; `pixels`: P."""

    replaced: Array
    ratio: Array
    pixels: int

    def _facts(self) -> dict[str, Any]:
        area, error = self.area
        curve = {"replaced": self.replaced, "curve": self.curve, "curve_error": self.curve_error}
        return {"images": len(self.ratio), "pixels": self.pixels, "area": area, "area_error": error} | curve

    def _rows(self) -> list[dict[str, Any]]:
        """A row for each number of pixels replaced."""
        columns = (self.replaced, self.curve, self.curve_error)
        return [{"replaced": k, "curve": mean, "curve_error": error} for k, mean, error in zip(*columns, strict=True)]

    @property
    def curve(self) -> Array:
        """The mean over images."""
        return np.asarray(self.ratio.mean(axis=0))

    @property
    def curve_error(self) -> Array:
        """Its standard error."""
        return np.asarray(self.ratio.std(axis=0, ddof=1) / len(self.ratio) ** 0.5)

    @property
    def area(self) -> tuple[float, float]:
        """The area under the curve against K / P (trapezoid, both ends included), and its standard error over images."""
        areas = (self.ratio[:, 1:] + self.ratio[:, :-1]) @ np.diff(self.replaced / self.pixels) / 2
        return float(areas.mean()), float(areas.std(ddof=1) / len(areas) ** 0.5)

    def plot(self, ax: Any = None, *, label: str = "", **style: Any) -> Any:
        """The curve with a band of two standard errors (Figure 5); returns the matplotlib Axes."""
        ax = axes(ax)
        area, error = self.area
        text = f"{label} (area {area:.3f} ± {error:.1g})".strip()
        banded(ax, self.replaced / self.pixels, self.curve, self.curve_error, label=text, **style)
        ax.set(xlabel="most relevant pixels replaced (share)", ylabel="p(class) / p(class) of the whole image", ylim=(0, None))
        ax.legend(frameon=False, fontsize="small")
        return ax


def ablation_curve(
    model: torch.nn.Module, image: torch.Tensor, label: int, order: torch.Tensor, replaced: Sequence[int], *, chunk: int = 512
) -> torch.Tensor:
    """r(K) of one image for each K of `replaced`, pixels going in `order` (flat indices): float64 (points,).

    In evaluation mode; the model is left as it was.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    image : torch.Tensor
        (channels, height, width).
    label : int
        The class, a whole number.
    order : torch.Tensor
        Flat indices of all pixels, the first to go first.
    replaced : sequence of int
        Numbers of pixels, ascending.
    chunk : int
        Images that a network is given at once.

    Returns
    -------
    torch.Tensor
        p(class) over that of the whole image, for each number of `replaced`.
    """
    flat = image.flatten(1)
    means = flat.mean(dim=1, keepdim=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    counts = torch.as_tensor(list(replaced), device=image.device)
    found = []
    with torch.no_grad(), preserve_state(model):
        whole = probabilities(model, image[None])[0, label]
        for some in torch.split(counts, chunk):
            gone = rank < some[:, None, None]  # (points, 1, pixels)
            probes = torch.where(gone, means, flat).reshape(-1, *image.shape)
            found.append(probabilities(model, probes)[:, label])
    return torch.cat(found) / whole


def chosen_images(
    model: torch.nn.Module,
    source: Source,
    *,
    images: int,
    baselines: int,
    seed: int,
    chunk: int = 512,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `images` that are classified correctly, and the first `baselines` others, in an order drawn from `seed`.

    Raises `SpecificationError` where fewer than two images are classified correctly, or too few are left as baselines.
    """
    order = torch.randperm(len(source), generator=generator(seed, "ablation"))
    right: list[torch.Tensor] = []
    with torch.no_grad(), preserve_state(model):
        for part in torch.split(order, chunk):
            answers = logits(model, source.batch(part).to(device)).argmax(dim=1).cpu()
            right.append(part[answers == source.labels[part]])
            if sum(map(len, right)) >= images:
                break
    chosen = torch.cat(right)[:images]
    rest = order[~torch.isin(order, chosen)][:baselines]
    if len(chosen) < 2 or len(rest) < baselines:
        raise SpecificationError(
            f"{images} correctly classified images and {baselines} others as baselines were asked for; among {len(source)} "
            f"images {len(chosen)} and {len(rest)} were found"
        )
    return chosen, rest


def ratios(
    model: torch.nn.Module,
    source: Source,
    chosen: torch.Tensor,
    rest: torch.Tensor,
    replaced: Sequence[int],
    *,
    steps: int,
    chunk: int = 512,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Array:
    """r(K) of each image of `chosen` over the baselines `rest`, for each K of `replaced`: float64 (images, points)."""
    others, found = source.batch(rest), []
    with preserve_state(model), progress_bar(progress, len(chosen), unit="image") as bar:
        for index in chosen.tolist():
            image, label = source.batch(torch.tensor([index])).to(device)[0], int(source.labels[index])
            relevant = relevance(model, image, label, others, steps=steps, chunk=chunk)
            ranked = relevant.flatten().argsort(descending=True, stable=True)
            found.append(ablation_curve(model, image, label, ranked, replaced, chunk=chunk).cpu().numpy())
            bar.update()
    return np.stack(found) if found else np.empty((0, len(replaced)))


def counts(pixels: int, points: int | None) -> Array:
    """The numbers K: `points` from none to all `pixels`, evenly spread, ends included (None: every one).

    >>> counts(1024, 5)
    array([   0,  256,  512,  768, 1024])
    """
    return np.unique(np.linspace(0, pixels, points or pixels + 1).round().astype(int))


def ablation(
    model: torch.nn.Module,
    source: Source,
    *,
    images: int = 512,
    baselines: int = 1000,
    steps: int = 32,
    points: int | None = None,
    seed: int = 0,
    chunk: int = 512,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Ablation:
    """Figure 5 for one network: `images` correctly classified test images, relevance over `baselines` other ones.

    Which ones is drawn from `seed`, so that networks are compared on the same order of images. `points`: how many K from 0 to
    P, evenly spread (None: every one). Images, baselines and points are the paper's; their cost is images * baselines * steps
    gradients (`steps` it does not tell).

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    source : Source
        Images with labels.
    images : int
        How many correctly classified ones.
    baselines : int
        Baseline images of Integrated Gradients.
    steps : int
        Points on the way from each baseline.
    points : int, optional
        Numbers of pixels at which the curve is taken, both ends included.
    seed : int
        Of all that is drawn.
    chunk : int
        Images that a network is given at once.
    device : torch.device | str
        "auto", "cpu" or "cuda".
    progress : bool
        Show a bar.

    Returns
    -------
    Ablation
        The curve, its error, and the area under it.

    Raises
    ------
    SpecificationError
        Where fewer than two images are classified correctly, or too few are left as baselines.
    """
    checked(images, baselines, steps, points)
    chosen, rest = chosen_images(model, source, images=images, baselines=baselines, seed=seed, chunk=chunk, device=device)
    pixels = source.images(rest[:1])[0, 0].numel()
    replaced = counts(pixels, points)
    found = ratios(
        model, source, chosen, rest, replaced.tolist(), steps=steps, chunk=chunk, device=device, progress=progress
    )  # fmt: skip
    return Ablation(replaced, found, pixels)


def checked(images: int, baselines: int, steps: int, points: int | None) -> None:
    """Raises `SpecificationError` for numbers with which there is no curve."""
    if min(images, 2 * baselines, steps) < 2 or (points is not None and points < 2):
        raise SpecificationError(
            f"images {images}, baselines {baselines}, steps {steps}, points {points}: one baseline, two of each other at least"
        )
