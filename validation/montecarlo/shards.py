"""A folder of finished blocks of draws: killed at any moment, a measurement goes on from it to the same bits.

`manifest.json` says of which arguments the draws are; each `shard-*.npz` holds the sums of whole blocks. A block is
always summed by one worker, in the order of its draws, so that nothing depends on who computed which shard, or when.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lattice import SpecificationError
from lattice.results.files import read_arrays, write_arrays, write_bytes
from validation.montecarlo.estimate import Estimate

__all__ = ["Shards", "Tally", "same_answer"]

Array = np.ndarray[Any, Any]
HALF = -1  # what `Tally.done` says of a draw while it is being added


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the draws of each block, filled in place: `sums` (blocks, *positions), `energies` and `done` (draws,).

    `block_of` (draws,): the block that a draw belongs to; blocks are runs of consecutive draws.
    """

    block_of: Array
    sums: Array
    energies: Array
    done: Array

    @classmethod
    def empty(cls, draws: int, blocks: int, positions: tuple[int, ...]) -> "Tally":
        """Nothing done yet."""
        block_of = np.arange(draws) * blocks // draws
        return cls(block_of, np.zeros((blocks, *positions)), np.zeros(draws), np.zeros(draws))

    def add(self, draw: int, square: Array) -> None:
        """Add the map of one draw; within a block, draws come in the order of their indices."""
        self.done[draw] = HALF
        self.sums[self.block_of[draw]] += square
        self.energies[draw] = square.sum()
        self.done[draw] = 1

    def forget_half(self) -> None:
        """Empty the block that an interrupt came upon while a draw was added to it."""
        block = np.isin(self.block_of, self.block_of[self.done == HALF])
        self.sums[self.block_of[block]] = 0
        self.energies[block] = self.done[block] = 0

    def whole(self) -> Array:
        """The blocks whose draws are all done, in order."""
        sizes = np.bincount(self.block_of)
        return np.flatnonzero(np.bincount(self.block_of, weights=self.done) == sizes)

    @property
    def counts(self) -> Array:
        """How many draws of each block are done."""
        return np.bincount(self.block_of, weights=self.done).astype(np.int64)

    def estimate(self, **facts: Any) -> Estimate:
        """The estimate from the draws that are done."""
        return Estimate.of_blocks(self.sums, self.counts, energies=self.energies[self.done > 0], **facts)


@dataclass(frozen=True)
class Shards:
    """The shards of one measurement in a folder; `written`: the blocks that are on the disk."""

    folder: Path
    written: set[int] = field(default_factory=set)

    def agree_on(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, or refuse a folder that holds the draws of other arguments."""
        path = self.folder / "manifest.json"
        if not path.exists():
            if any(self.folder.glob("shard-*.npz")):
                raise SpecificationError(
                    f"{self.folder} holds shards and no manifest.json that says of what; take another folder"
                )
            write_bytes(path, json.dumps(manifest, indent=1).encode())
            return
        try:
            found = json.loads(path.read_bytes())
            if not isinstance(found, dict):
                raise ValueError("it holds no names and values")
        except (ValueError, OSError, RecursionError) as error:
            raise SpecificationError(f"{path} is damaged: {error}; take another folder") from error
        other = [
            f"{key} is {found.get(key)!r} there and {manifest.get(key)!r} here"
            for key in sorted({*found, *manifest} - {"answer"})
            if found.get(key) != manifest.get(key)
        ]
        if not other and not same_answer(found.get("answer"), manifest.get("answer")):
            other = ["layers and weights are the same there and here, and draw 0 gives another output or gradient"]
        if other:
            raise SpecificationError(
                f"{self.folder} holds the draws of another call: {'; '.join(other)}. Take another folder, or the same arguments"
            )

    def read(self, tally: Tally) -> None:
        """Take all finished blocks into the tally; a damaged shard is named in a warning, and its draws are drawn again."""
        for leftover in self.folder.glob(".*.tmp"):  # of a writer that was killed
            leftover.unlink(missing_ok=True)
        for path in sorted(self.folder.glob("shard-*.npz")):
            try:
                _, arrays = read_arrays(path)
                blocks = _checked(path, arrays, tally)
            except SpecificationError as error:
                warnings.warn(f"{error}; its draws are drawn again", RuntimeWarning, stacklevel=2)
                continue
            draws = np.isin(tally.block_of, blocks)
            tally.sums[blocks] = arrays["sums"]
            tally.energies[draws] = arrays["energies"]
            tally.done[draws] = 1
            self.written.update(blocks.tolist())

    def write(self, tally: Tally, least: int = 1) -> None:
        """Write the whole blocks that are not on the disk yet into one shard, if they hold `least` draws or more."""
        blocks = np.array([block for block in tally.whole().tolist() if block not in self.written], dtype=np.int64)
        draws = np.isin(tally.block_of, blocks)
        if not blocks.size or draws.sum() < least:
            return
        arrays = {"blocks": blocks, "sums": tally.sums[blocks], "energies": tally.energies[draws]}
        write_arrays(self.folder / f"shard-{blocks[0]:06d}.npz", {"draws": int(draws.sum())}, arrays)
        self.written.update(blocks.tolist())


def same_answer(there: Any, here: Any) -> bool:
    """Are two of `Sampler.answer` those of one model, up to the rounding of sums that are taken in another order?

    Each holds lists that begin with the size of a tensor, and `precision`: the share of it by which numbers may differ.

    >>> same_answer({"output": [2.0, 1.0]}, {"output": [2.0, 1.0], "precision": 1e-4})
    False
    >>> one = {"output": [2.0, 1.0], "precision": 1e-4}
    >>> (
    ...     same_answer(one, one | {"output": [2.0, 1.0001]}),
    ...     same_answer(one, one | {"output": [2.0, 1.001]}),
    ... )
    (True, False)
    """
    if here is None or not isinstance(there, dict) or there.keys() != here.keys():
        return there == here
    try:
        pairs = [np.broadcast_arrays(np.asarray(there[name], float), np.asarray(here[name], float)) for name in here]
    except (TypeError, ValueError):  # a manifest that somebody wrote into
        return False
    sizes = (np.maximum(*(np.abs(values.flat[0]) for values in pair)) for pair in pairs)
    return all(
        bool(np.all((a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= here["precision"] * size)))
        for (a, b), size in zip(pairs, sizes, strict=True)
    )


def _checked(path: Path, arrays: Mapping[str, Array], tally: Tally) -> Array:
    """The blocks of a shard; `SpecificationError` where its arrays are not those of whole blocks of this tally."""
    blocks = arrays.get("blocks", np.empty(0))
    known = blocks.dtype.kind in "iu" and blocks.ndim == 1 and np.isin(blocks, np.arange(len(tally.sums))).all()
    if known and set(arrays) == {"blocks", "sums", "energies"} and len(set(blocks.tolist())) == len(blocks):
        draws = int(np.isin(tally.block_of, blocks).sum())
        shapes = arrays["sums"].shape, arrays["energies"].shape
        numbers = arrays["sums"].dtype.kind == arrays["energies"].dtype.kind == "f"
        if numbers and shapes == ((len(blocks), *tally.sums.shape[1:]), (draws,)):
            return blocks
    raise SpecificationError(f"{path} does not hold whole blocks of this measurement")
