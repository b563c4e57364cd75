"""Location in pieces: accuracy over shifts and by corner, shift consistency, and what topology predicts of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from landscape import predict
from lattice import PilcroError
from validation.evaluation.measures.location import Location, corners, correlation, exposure, location_sensitivity, variance_map
from validation.evaluation.measures.shifts import ShiftConsistency, shift_consistency
from validation.evaluation.runs.pieces import Arrays, Piece
from validation.evaluation.runs.plan import blocks
from validation.evaluation.runs.subjects import Subject
from validation.runtime.process_group import World
from validation.training.models import Reweighted

__all__ = ["Move", "Places"]

Array = np.ndarray[Any, Any]
FEWEST = 20  # images in each corner, for a table by corner


@dataclass(frozen=True, eq=False)
class Places:
    """Where a feature must sit: measured over shifts and by corner, and predicted from topology alone.

    `predicted`: the untrained network's landscape (mean one); None where there is no prediction, for the reason `refused`.
    `exposed` (shifts, shifts) and `corners_exposed` (4,): see `exposure`; `corner` (images,): see `corners`.
    """

    location: Location
    pairs: ShiftConsistency
    predicted: Array | None
    refused: str
    exposed: Array
    corner: Array
    corners_exposed: Array

    @property
    def correlation(self) -> float:
        """Of accuracy with exposure, over shifts."""
        return correlation(self.location.accuracy, self.exposed)

    @property
    def by_corner(self) -> Array | None:
        """Top-1 of the images whose feature sits in each corner: (4,); None for data that are not off the middle."""
        members = [self.location.in_place[self.corner == corner] for corner in range(4)]
        return np.array([one.mean() for one in members]) if min(map(len, members)) >= FEWEST else None


@dataclass(frozen=True)
class Move:
    """Accuracy by location, and shift consistency; see location.py and shifts.py."""

    reach: int = 8
    stride: int = 4
    pairs: int = 4
    seed: int = 0
    chunk: int = 250
    kind = "location"

    def pieces(self, subjects: Sequence[Subject], place: World) -> list[Piece]:
        """For each subject: the prediction, what varies in its images, and its answers block by block."""
        return [piece for subject in subjects for piece in self._of(subject, place)]

    @property
    def shifts(self) -> tuple[int, ...]:
        """In pixels, in both directions."""
        return tuple(range(-self.reach, self.reach + 1, self.stride))

    def _of(self, subject: Subject, place: World) -> Iterator[Piece]:
        def piece(part: str, settings: dict[str, Any], compute: Callable[[], dict[str, Array]]) -> Piece:
            return Piece("location", settings, (subject,), lambda missing: [compute() for _ in missing], part)

        yield piece("predicted", {}, partial(_predicted, subject))
        yield piece("features", {}, partial(_features, subject))
        for block in blocks(len(subject.test)):
            plain = {"images": [block.start, block.stop], "chunk": self.chunk}
            yield piece("shifts", {**plain, "shifts": self.shifts}, partial(self._moved, subject, block, place))
            drawn = {**plain, "most": self.reach, "pairs": self.pairs, "seed": self.seed}
            yield piece("pairs", drawn, partial(self._paired, subject, block, place))

    def _moved(self, subject: Subject, block: range, place: World) -> dict[str, Array]:
        found = location_sensitivity(
            subject.model, subject.test, self.shifts, images=block, chunk=self.chunk, device=place.device
        )
        return {"right": found.right, "same": found.same}

    def _paired(self, subject: Subject, block: range, place: World) -> dict[str, Array]:
        found = shift_consistency(
            subject.model,
            subject.test,
            most=self.reach,
            pairs=self.pairs,
            seed=self.seed,
            images=block,
            chunk=self.chunk,
            device=place.device,
        )
        return {"agreed": found.agreed}

    def result(self, subject: Subject, parts: Sequence[Arrays]) -> Places:
        """Blocks joined, and the prediction held against them."""
        shifts = self.shifts
        together = {
            what: np.concatenate([part[what] for part in parts if what in part]) for what in ("right", "same", "agreed")
        }
        first, features = parts[0], parts[1]
        relative = first.get("relative")
        nothing = np.full((len(shifts), len(shifts)), np.nan)
        return Places(
            Location(shifts, together["right"], together["same"]),
            ShiftConsistency(self.reach, together["agreed"]),
            relative,
            "" if relative is not None else first["refused"].tobytes().decode(),
            nothing if relative is None else exposure(relative, features["variance"], shifts),
            features["corner"],
            np.full(4, np.nan) if relative is None else np.array([exposure(relative, v)[0, 0] for v in features["by_corner"]]),
        )


def _predicted(subject: Subject) -> dict[str, Array]:
    """The landscape that topology forces on the untrained network, or why none is predicted."""
    fresh = subject.fresh()
    try:
        squared = predict(fresh.model if isinstance(fresh, Reweighted) else fresh, subject.shape).squared
        if isinstance(fresh, Reweighted):  # the derivative of f(w x) is w times that of f
            squared = squared * np.asarray(fresh.weights.double()) ** 2
        return {"relative": squared / squared.mean()}
    except PilcroError as error:
        return {"refused": np.frombuffer(str(error).encode(), dtype=np.uint8)}


def _features(subject: Subject) -> dict[str, Array]:
    """Where the test images vary: over all of them, and over those whose feature sits in each corner."""
    corner = corners(subject.test)
    members = [torch.from_numpy(np.flatnonzero(corner == number)) for number in range(4)]
    everywhere = variance_map(subject.test)
    each = [variance_map(subject.test, some) if len(some) else np.zeros_like(everywhere) for some in members]
    return {"variance": everywhere, "corner": corner, "by_corner": np.stack(each)}
