"""What Monte Carlo found: a map with its standard error, what it rests on, and a file format that holds no code."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from lattice import SpecificationError
from lattice.checks import is_whole
from lattice.results.files import read_arrays, write_arrays
from lattice.results.values import MapResult
from validation.runtime.versions import versions

__all__ = ["Estimate", "degrees_of_freedom"]

Array = np.ndarray[Any, Any]
FORMAT = "pilcro estimate 1"
ARRAYS = ("mean", "standard_error", "blocks", "block_draws", "energies")
FACTS = ("draws", "seed", "batched", "interrupted", "mode", "device", "versions")


@dataclass(frozen=True, eq=False)
class Estimate(MapResult):
    """A measured map of expected squared gradients, and how well it is known.

    Parameters
    ----------
    mean : ndarray of float64
        The mean map over input positions.
    standard_error : ndarray of float64
        Its standard error, of the same shape.
    draws : int
        How many initialisations.
    seed : int
        The root seed.
    blocks : ndarray of float64, shape (blocks, *positions)
        Means of consecutive draws; `compare` takes their spread.
    block_draws : ndarray of int, shape (blocks,)
        How many draws each block holds.
    batched : bool
        Whether draws ran together.
    interrupted : bool, default False
        Whether these are fewer draws than asked for.
    energies : ndarray of float64, shape (draws,)
        Each draw's map summed over positions.
    mode : {"eval", "train"}, default "eval"
        The mode of the network.
    device : str, default "cpu"
        Where it ran.
    versions : mapping of str to str
        Versions of Python and the libraries.

    Examples
    --------
    >>> from lattice import families
    >>> from validation import measure
    >>> measure(families.plain(9, depth=2), draws=20).draws
    20
    """

    mean: Array
    standard_error: Array
    draws: int
    seed: int
    blocks: Array
    block_draws: Array
    batched: bool
    interrupted: bool = False
    energies: Array = field(default_factory=lambda: np.full(1, np.nan))
    mode: str = "eval"
    device: str = "cpu"
    versions: Mapping[str, str] = field(default_factory=versions)
    _map_names = ("mean", "standard_error")

    @classmethod
    def of_blocks(cls, sums: Array, counts: Array, **facts: Any) -> Self:
        """The estimate from sums over the draws of each block.

        Parameters
        ----------
        sums : ndarray, shape (blocks, *positions)
            Sums of the maps of each block's draws.
        counts : ndarray of int, shape (blocks,)
            How many draws each block holds.
        **facts : dict
            The other fields of `Estimate`: seed, batched, and so on.

        Returns
        -------
        Estimate
            The mean over all draws, and its standard error from the spread of the blocks.

        Examples
        --------
        >>> estimate = Estimate.of_blocks(
        ...     np.array([[2.0], [4.0]]), np.array([1, 1]), seed=0, batched=False
        ... )
        >>> float(estimate.mean[0]), float(estimate.standard_error[0])
        (3.0, 1.0)
        """
        kept = counts > 0
        sums, counts = sums[kept], counts[kept]
        means = sums / counts.reshape(-1, *(1 for _ in sums.shape[1:]))
        mean = sums.sum(axis=0) / counts.sum()
        error = _error(means - mean, counts)
        return cls(mean, error, draws=int(counts.sum()), blocks=means, block_draws=counts, **facts)

    @property
    def relative(self) -> Array:
        """The measured map with mean one."""
        scale = float(self.mean.mean())
        if not 0 < scale < np.inf:
            raise SpecificationError(
                f"the mean of this measured map is {scale}, so it has no shape: no draw's output depended on its input"
            )
        return np.asarray(self.mean / scale)

    @property
    def relative_error(self) -> Array:
        """Standard error of `relative`, to first order (the mean that it is divided by is measured too)."""
        return _error(self.influence, self.block_draws)

    @property
    def influence(self) -> Array:
        """What each block contributes to `relative`, to first order: (blocks, *positions), weighted mean zero."""
        axes = tuple(range(1, self.blocks.ndim))
        means = self.blocks.mean(axis=axes, keepdims=True)
        return np.asarray((self.blocks - self.relative * means) / self.mean.mean())

    @property
    def effective_draws(self) -> float:
        """(sum w)^2 / sum w^2 over the draws' energies w (Kish): the draws that the mean really rests on."""
        return float(self.energies.sum() ** 2 / np.square(self.energies).sum()) if self.energies.any() else 0.0

    @property
    def largest_share(self) -> float:
        """max w / sum w: the share of the whole sum that the one heaviest draw carries."""
        return float(self.energies.max() / self.energies.sum()) if self.energies.any() else 1.0

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in FACTS}

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the relative map.

        Parameters
        ----------
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.
        **style : dict
            What matplotlib's `imshow` takes (cmap, vmin, vmax, norm), on one axis what `plot` takes beside vmin and vmax.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from landscape.maps.plot import plot_map

        return plot_map(self.relative, ax, title=f"measured, {self.draws} draws", **style)

    def _repr_html_(self) -> str:
        from validation.report.html import estimate_html

        return estimate_html(self)

    def __repr__(self) -> str:
        if not self.mean.any():
            return f"measured map over {self.mean.shape}: zero in all of {self.draws} draws"
        typical = float(np.sqrt(np.mean(np.square(self.relative_error))))
        stopped = " (interrupted)" if self.interrupted else ""
        return (
            f"measured map over {self.mean.shape}: {self.draws} draws{stopped}, seed {self.seed}, error {typical:.1%} a pixel"
            f"\n  worth {self.effective_draws:.0f} equal draws; the heaviest one carries {self.largest_share:.1%}"
        )

    def save(self, path: str | Path) -> Path:
        """Write all of it to one file: arrays, and a JSON header with their hash.

        The file is there as a whole or not at all (temporary name, fsync, rename), and holds nothing that could be executed.

        Parameters
        ----------
        path : str or Path
            The file to write.

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        SpecificationError
            If the folder does not exist.
        """
        if not os.path.isdir(Path(path).absolute().parent):
            raise SpecificationError(f"cannot save to {path}: the folder {Path(path).absolute().parent} does not exist")
        header = {"format": FORMAT, **{name: getattr(self, name) for name in FACTS}, "versions": dict(self.versions)}
        write_arrays(Path(path), header, {name: getattr(self, name) for name in ARRAYS})
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The estimate that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file to read.

        Returns
        -------
        Estimate
            Equal to the one that was saved.

        Raises
        ------
        SpecificationError
            If the file is damaged, or one of another kind.
        """
        header, arrays = read_arrays(Path(path))
        if header.pop("format", None) != FORMAT:
            raise SpecificationError(f"{path} is no estimate; Estimate.load reads what Estimate.save wrote")
        if set(header) != set(FACTS) or set(arrays) != set(ARRAYS):
            raise SpecificationError(f"{path} is no estimate of this version: it holds {sorted({*header, *arrays})}")
        contents: dict[str, Any] = {**header, **arrays}
        found = cls(**contents)
        shape, blocks = found.mean.shape, len(found.blocks)
        shapes = found.standard_error.shape, found.blocks.shape, found.block_draws.shape, found.energies.ndim
        if shapes != (shape, (blocks, *shape), (blocks,), 1) or any(array.dtype.kind not in "if" for array in arrays.values()):
            raise SpecificationError(f"{path} is no estimate: its arrays have shapes {shapes} that do not fit together")
        facts = is_whole(found.draws) and is_whole(found.seed) and isinstance(found.versions, dict)
        if not facts or not all(isinstance(given, str) for given in (found.mode, found.device)):
            raise SpecificationError(f"{path} is no estimate: draws is {found.draws!r}, seed {found.seed!r}")
        return found


def _error(deviations: Array, weights: Array) -> Array:
    """Standard error of a weighted mean of blocks, from their deviations from it."""
    shares = (weights / weights.sum()).reshape(-1, *(1 for _ in deviations.shape[1:]))
    count = len(deviations)
    return np.asarray(np.sqrt(np.sum(np.square(shares * deviations), axis=0) * count / (count - 1)))


def degrees_of_freedom(pieces: Array) -> float:
    """Degrees of freedom of sum a^2 over n pieces a, 2 / (sum s^2 - 1/n) for their shares s of it (Satterthwaite).

    That is n for normal pieces, fewer where a few large ones make up the sum, and 2 at least.

    >>> (
    ...     degrees_of_freedom(np.array([1.0, -1.0, 1.0, -1.0])),
    ...     round(degrees_of_freedom(np.array([0.0, 0.0, 0.0, 9.0])), 2),
    ... )
    (3.0, 2.67)
    """
    squares = np.square(pieces)
    total = squares.sum()
    if not total > 0:
        return float(len(pieces) - 1)
    spread = float(np.sum((squares / total) ** 2)) - 1 / len(pieces)
    return min(2 / max(spread, 1e-300), len(pieces) - 1.0)
