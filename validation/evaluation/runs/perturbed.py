"""Robustness and ablation in pieces: one frozen value each, of all that their numbers depend on."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from validation.evaluation.corruptions import defaults_for
from validation.evaluation.measures.ablation import Ablation, checked, chosen_images, counts, ratios
from validation.evaluation.measures.corrupted import Corrupted, Held, Made
from validation.evaluation.measures.robustness import PAPER, SEVERITIES, Robustness, named, under_corruption
from validation.evaluation.runs.pieces import Arrays, Piece
from validation.evaluation.runs.plan import blocks
from validation.evaluation.runs.subjects import Subject
from validation.runtime.process_group import World

__all__ = ["Ablate", "Corrupt"]

Array = np.ndarray[Any, Any]
ABLATED = 8  # images of one piece of ablation, where each takes thousands of gradients


@dataclass(frozen=True)
class Corrupt:
    """Tables 3 and 4; see robustness.py. `constants` "auto": those made for the size of the images.

    `published`: read the corrupted images from this folder of CIFAR-C or ImageNet-C instead of making them.
    """

    categories: tuple[str, ...] = PAPER
    severities: tuple[int, ...] = SEVERITIES
    seed: int = 0
    constants: str = "auto"
    chunk: int = 250
    published: Path | None = None
    kind = "robustness"

    def pieces(self, subjects: Sequence[Subject], place: World) -> list[Piece]:
        """One for each corruption and block of images, over all subjects with the same data: an image is corrupted once."""
        by_data: dict[Any, list[Subject]] = {}
        for subject in subjects:
            by_data.setdefault(subject.images, []).append(subject)
        return [
            piece
            for members in by_data.values()
            for name in named(self.categories)
            for piece in self._of(tuple(members), name, place)
        ]

    def corrupted(self, subject: Subject) -> Corrupted:
        """The corrupted forms of a subject's test images."""
        if self.published is not None:
            return Held(subject.test, self.published)
        constants = defaults_for(min(subject.shape[1:])) if self.constants == "auto" else self.constants
        return Made(subject.test, self.seed, constants)

    def _of(self, subjects: tuple[Subject, ...], name: str, place: World) -> Iterator[Piece]:
        source, corrupted = subjects[0].test, self.corrupted(subjects[0])
        plain = {"name": name, "severities": self.severities, "chunk": self.chunk, **corrupted.key(name)}
        for block in blocks(len(source)):

            def compute(missing: Sequence[Subject], block: range = block) -> list[dict[str, Array]]:
                return under_corruption(
                    [subject.model for subject in missing],
                    source,
                    name,
                    self.severities,
                    corrupted,
                    images=block,
                    chunk=self.chunk,
                    device=place.device,
                )

            yield Piece(self.kind, {**plain, "images": [block.start, block.stop]}, subjects, compute)

    def result(self, subject: Subject, parts: Sequence[Arrays]) -> Robustness:
        """All corruptions over all images."""
        names = named(self.categories)
        each = len(parts) // len(names)
        joined = [
            {what: _joined(parts[i * each : (i + 1) * each], what) for what in ("kept", "right", "clean")}
            for i in range(len(names))
        ]
        return Robustness.of_parts(names, self.severities, joined)


@dataclass(frozen=True)
class Ablate:
    """Figure 5; see ablation.py."""

    images: int = 64
    baselines: int = 16
    steps: int = 16
    points: int = 65
    seed: int = 0
    chunk: int = 250
    kind = "ablation"

    def pieces(self, subjects: Sequence[Subject], place: World) -> list[Piece]:
        """For each subject, a few images at a time."""
        checked(self.images, self.baselines, self.steps, self.points)
        return [piece for subject in subjects for piece in self._of(subject, place)]

    def _of(self, subject: Subject, place: World) -> Iterator[Piece]:
        options: dict[str, Any] = {"chunk": self.chunk, "device": place.device}

        @cache
        def chosen() -> Any:
            return chosen_images(
                subject.model, subject.test, images=self.images, baselines=self.baselines, seed=self.seed, **options
            )

        for block in blocks(self.images, ABLATED):

            def compute(missing: Sequence[Subject], block: range = block) -> list[dict[str, Array]]:
                images, rest = chosen()
                replaced = self.replaced(subject).tolist()
                some = images[block.start : block.stop]
                found = ratios(subject.model, subject.test, some, rest, replaced, steps=self.steps, **options)
                return [{"ratio": found} for _ in missing]

            yield Piece(self.kind, {**asdict(self), "block": [block.start, block.stop]}, (subject,), compute)

    def replaced(self, subject: Subject) -> Array:
        """The numbers of pixels."""
        return counts(subject.shape[1] * subject.shape[2], self.points)

    def result(self, subject: Subject, parts: Sequence[Arrays]) -> Ablation:
        """All images."""
        ratio = np.concatenate([part["ratio"] for part in parts])
        return Ablation(self.replaced(subject), ratio, subject.shape[1] * subject.shape[2])


def _joined(parts: Sequence[Arrays], what: str) -> Array:
    return np.concatenate([part[what] for part in parts if what in part], axis=-1)
