"""An evaluation in pieces: killed at any moment, the same command goes on; several processes share the pieces.

A piece computes some arrays for each of its subjects. Each subject's go to a file of their own in its folder, named by the
hash of all they depend on, written whole or not at all, and checked by a hash when they are read: what is damaged is named
and computed again. All numbers are read back from these files, so that nothing depends on who computed them, or when.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed

from landscape.progress import progress_bar
from lattice import SpecificationError
from lattice.results.files import read_arrays, write_arrays
from validation.evaluation.runs.subjects import Subject
from validation.runtime.locks import locked
from validation.runtime.process_group import World

__all__ = ["Arrays", "Piece", "finished"]

Arrays = Mapping[str, np.ndarray[Any, Any]]
FORM = 1  # goes up when the meaning of kept numbers changes


@dataclass(frozen=True, eq=False)
class Piece:
    """What to compute, for subjects with the same data: `compute` yields the arrays of each subject it is given, in order.

    `settings`: all that the numbers depend on besides the subject and the version of torch, as plain values. `part` tells the
    pieces of one kind apart where they compute different arrays.
    """

    kind: str
    settings: Mapping[str, Any]
    subjects: tuple[Subject, ...]
    compute: Callable[[Sequence[Subject]], Iterable[Arrays]]
    part: str = ""

    @property
    def name(self) -> str:
        """Kind and part, as kept numbers are called."""
        return f"{self.kind}-{self.part}" if self.part else self.kind

    def key(self, subject: Subject, place: World) -> dict[str, Any]:
        """All that a subject's numbers depend on."""
        what = {"kind": self.name, "settings": dict(self.settings), "subject": subject.sha256, "images": subject.images}
        return what | {"form": FORM, "torch": torch.__version__, "device": place.device.type}

    def read(self, subject: Subject, place: World) -> Arrays | None:
        """What is kept for a subject; None where nothing is, or what is there is damaged."""
        key = self.key(subject, place)
        path = subject.home / _name(key)
        if not path.exists():
            return None
        try:
            header, arrays = read_arrays(path)
            if header != json.loads(json.dumps(key)):
                raise SpecificationError(f"{path} says that it is of something else")
        except SpecificationError as error:
            warnings.warn(f"{error}; it is computed again", RuntimeWarning, stacklevel=2)
            return None
        return arrays

    def finish(self, place: World) -> list[Arrays]:
        """The arrays of each subject, those that are missing computed and kept first."""
        found = [self.read(subject, place) for subject in self.subjects]
        missing = [subject for subject, arrays in zip(self.subjects, found, strict=True) if arrays is None]
        made = zip(missing, self.compute(missing) if missing else (), strict=True)
        fresh = [_kept(subject, self.key(subject, place), arrays) for subject, arrays in made]
        fill = iter(fresh)
        return [arrays if arrays is not None else next(fill) for arrays in found]


def _name(key: Mapping[str, Any]) -> str:
    return f"{key['kind']}-{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:20]}.npz"


def _kept(subject: Subject, key: Mapping[str, Any], arrays: Arrays) -> Arrays:
    write_arrays(subject.home / _name(key), key, arrays)
    return read_arrays(subject.home / _name(key))[1]


def finished(pieces: Sequence[Piece], place: World, *, progress: bool = False) -> list[list[Arrays]]:
    """The arrays of all pieces, piece by piece and subject by subject, in the first process; nothing in the others.

    Process r of n takes pieces r, r + n, ...; the first waits for the others, and computes what it does not find then.

    Parameters
    ----------
    pieces : sequence of Piece
        What to compute.
    place : World
        This process among those that share the work.
    progress : bool
        Show a bar.

    Returns
    -------
    list[list[Arrays]]
        One list a piece, one entry a subject.
    """
    homes = sorted({subject.home for piece in pieces for subject in piece.subjects})
    with ExitStack() as stack:
        for home in homes:
            try:
                home.mkdir(parents=True, exist_ok=True)
                if place.first:
                    stack.enter_context(locked(home))
            except OSError as error:
                raise SpecificationError(f"results cannot be kept in {home}: {error}; --cache names another folder") from error
        mine = pieces[place.rank :: place.size]
        with progress_bar(progress and place.first, len(mine), unit="piece") as bar:
            for piece in mine:
                piece.finish(place)
                bar.update()
        if place.size > 1:
            distributed.barrier()
        if not place.first:
            return []
        found = [piece.finish(place) for piece in pieces]
        for home in homes:
            for leftover in home.glob(".*.tmp"):  # of processes that were killed while they wrote
                leftover.unlink(missing_ok=True)
        return found
