r"""Robustness to corrupted images (Appendix B, Tables 3 and 4).

With c the class that the network predicts for the clean image, right or wrong, a corruption at a severity keeps

    p_c(corrupted image) / p_c(clean image)

of its probability. The paper's robustness is the mean of that over all test images and over the corruptions of a category; it
may exceed 1. Corruption errors, the field's own measure, are in corruption_error.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from landscape.progress import progress_bar
from lattice import SpecificationError
from lattice.results.values import Result
from validation.datasets.dataset import Source
from validation.evaluation.corruptions import CATEGORIES
from validation.evaluation.measures.corrupted import Corrupted, Made
from validation.evaluation.measures.drawing import axes, banded, style
from validation.runtime.logits import probabilities
from validation.runtime.preserve_state import preserve_state

__all__ = ["PAPER", "SEVERITIES", "Robustness", "over_images", "robustness", "under_corruption"]

Array = np.ndarray[Any, Any]
PAPER = ("noise", "blur", "weather", "digital")  # the categories of Tables 3 and 4: 15 corruptions
SEVERITIES = (1, 2, 3, 4, 5)


def over_images(values: Array) -> tuple[Array, Array]:
    """The mean over the last axis, one value an image, and its standard error; what belongs to one image is averaged before.

    Parameters
    ----------
    values : numpy.ndarray
        (..., images).

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Mean and standard error, (...).

    Examples
    --------
    >>> float(over_images(np.array([1.0, 2.0, 3.0]))[0])
    2.0
    """
    return values.mean(axis=-1), values.std(axis=-1, ddof=1) / values.shape[-1] ** 0.5


@dataclass(frozen=True, eq=False)
class Robustness(Result):
    """What each corruption at each severity leaves of each image's answer.

    `kept` (corruptions, severities, images): p_c(corrupted) / p_c(clean); `right`, of the same shape: whether the answer is
    the label; `clean` (images,): whether it is without corruption.
    """

    names: tuple[str, ...]
    severities: tuple[int, ...]
    kept: Array
    right: Array
    clean: Array

    def _facts(self) -> dict[str, Any]:
        overall = {name: self.overall(name) for name in ("kept", "right")}
        each = {name: getattr(self, name).mean(axis=2) for name in ("kept", "right")}
        facts = {
            "corruptions": self.names,
            "severities": self.severities,
            "images": len(self.clean),
            "clean": self.clean.mean(),
        }
        return facts | {"overall": overall, "by_corruption": each}

    def _rows(self) -> list[dict[str, Any]]:
        """A row for each corruption and severity."""
        return [
            {"corruption": name, "severity": severity, "kept": self.kept[i, j].mean(), "right": self.right[i, j].mean()}
            for i, name in enumerate(self.names)
            for j, severity in enumerate(self.severities)
        ]

    @property
    def categories(self) -> dict[str, list[int]]:
        """The categories that are there, each with the numbers of its corruptions."""
        found = {kind: [self.names.index(name) for name in names if name in self.names] for kind, names in CATEGORIES.items()}
        return {kind: members for kind, members in found.items() if members}

    def by_category(self, what: str = "kept") -> dict[str, tuple[Array, Array]]:
        """Mean of `kept`, or of `right` (Top-1), over images and a category's corruptions, and its error: (severities,).

        An image appears under every corruption, so its values are averaged first: images are independent, corruptions of one
        image are not.
        """
        values = getattr(self, what)
        return {kind: over_images(values[members].mean(axis=0)) for kind, members in self.categories.items()}

    def overall(self, what: str = "kept") -> tuple[float, float]:
        """The same over all corruptions and severities."""
        mean, error = over_images(getattr(self, what).mean(axis=(0, 1)))
        return float(mean), float(error)

    def plot(self, ax: Any = None, what: str = "kept") -> Any:
        """A line a category against severity, with bands of two standard errors; returns the matplotlib Axes."""
        ax = axes(ax)
        for number, (kind, (mean, error)) in enumerate(self.by_category(what).items()):
            banded(ax, self.severities, mean, error, label=kind, **style(number))
        words = {"kept": "p(class) / p(class) of the clean image", "right": "Top-1"}
        ax.set(xlabel="severity", ylabel=words[what], ylim=(0, None), xticks=self.severities)
        ax.legend(frameon=False, fontsize="small")
        return ax

    @classmethod
    def of_parts(cls, names: Sequence[str], severities: Sequence[int], parts: Sequence[Mapping[str, Array]]) -> "Robustness":
        """From what `under_corruption` yields for each of `names`, all of the same images."""
        kept, right = (np.stack([part[what] for part in parts]) for what in ("kept", "right"))
        return cls(tuple(names), tuple(severities), kept, right, parts[0]["clean"])


def under_corruption(
    models: Sequence[torch.nn.Module],
    source: Source,
    name: str,
    severities: Sequence[int],
    corrupted: Corrupted,
    *,
    images: range,
    chunk: int = 250,
    device: torch.device | str = "cpu",
) -> list[dict[str, Array]]:
    """Of each model: `kept` and `right` (severities, images), `clean` (images,); images are corrupted once for all of them.

    Parameters
    ----------
    models : sequence of torch.nn.Module
        Networks for the same images.
    source : Source
        Images with labels.
    name : str
        Of the corruption.
    severities : sequence of int
        From 1 to 5.
    corrupted : Corrupted
        Makes or reads the corrupted images.
    images : range
        Which of the source.
    chunk : int
        Images that a network is given at once.
    device : torch.device | str
        "auto", "cpu" or "cuda".

    Returns
    -------
    list[dict[str, numpy.ndarray]]
        One dictionary a model.
    """
    found: list[dict[str, list[Any]]] = [{"kept": [], "right": [], "clean": []} for _ in models]
    for first in range(images.start, images.stop, chunk):
        last = min(first + chunk, images.stop)
        indices = torch.arange(first, last)
        labels = source.labels[indices].to(device)
        changed = [corrupted.images(name, severity, first, last) for severity in severities]
        batches = [source.normalised(pixels).to(device) for pixels in (source.images(indices), *changed)]
        for model, rows in zip(models, found, strict=True):
            with torch.no_grad(), preserve_state(model):
                clean, *others = (probabilities(model, batch, int(labels.max()) + 1) for batch in batches)
            before, chosen = clean.max(dim=1)
            after = [other.gather(1, chosen[:, None])[:, 0] / before for other in others]
            rows["kept"].append(torch.stack(after).cpu().numpy())
            rows["right"].append(torch.stack([other.argmax(dim=1) == labels for other in others]).cpu().numpy())
            rows["clean"].append((chosen == labels).cpu().numpy())
    return [{what: np.concatenate(values, axis=-1) for what, values in rows.items()} for rows in found]


def named(categories: Sequence[str]) -> tuple[str, ...]:
    """The corruptions of categories; raises `SpecificationError` for a category that there is not."""
    unknown = [kind for kind in categories if kind not in CATEGORIES]
    if unknown or not categories:
        raise SpecificationError(f"categories {', '.join(categories) or '(none)'}: there are {', '.join(CATEGORIES)}")
    return tuple(name for kind in categories for name in CATEGORIES[kind])


def robustness(
    model: torch.nn.Module,
    source: Source,
    *,
    categories: Sequence[str] = PAPER,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    constants: str = "imagenet",
    chunk: int = 250,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Robustness:
    """Tables 3 and 4 for one network: every corruption of `categories` at every one of `severities`, over all test images.

    `constants`: "imagenet", or the milder "cifar" for images of some 32 pixels. What happens to image i depends on (seed,
    corruption, severity, i) alone, so that networks are compared on the same images.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    source : Source
        Images with labels.
    categories : sequence of str
        Of `CATEGORIES`.
    severities : sequence of int
        From 1 to 5.
    seed : int
        Of all that is drawn.
    constants : str
        "imagenet", "cifar", or as said above.
    chunk : int
        Images that a network is given at once.
    device : torch.device | str
        "auto", "cpu" or "cuda".
    progress : bool
        Show a bar.

    Returns
    -------
    Robustness
        What is kept and what is right, by corruption, severity and image.

    Raises
    ------
    SpecificationError
        For a category or a severity that there is not, and for fewer than two images.
    """
    if len(source) < 2:
        raise SpecificationError(f"{len(source)} image: a mean with a standard error takes two")
    names = named(categories)
    corrupted = Made(source, seed, constants)

    parts, every = [], range(len(source))
    with progress_bar(progress, len(names), unit="corruption") as bar:
        for name in names:
            parts += under_corruption([model], source, name, severities, corrupted, images=every, chunk=chunk, device=device)
            bar.update()
    return Robustness.of_parts(names, severities, parts)
