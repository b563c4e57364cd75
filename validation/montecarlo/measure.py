r"""Monte Carlo over initialisations: E[(dh_j/dx_i)^2] measured, with its standard error.

One draw is one initialisation W, one (or a few) inputs x and one Rademacher cotangent v. One backward pass gives

    g_i = d(v . h)/dx_i,      E_v[g_i^2] = sum_j (dh_j/dx_i)^2,

since E[v_j v_j'] = 0 for j != j': an unbiased estimate of Z times the mean over output units. (The square of the summed
outputs is another quantity.) Draw i depends on (seed, i) and nothing else: not on the chunk it runs in, nor on the path
(batched with `torch.func`, or one by one) that computes it, nor on the process. Draws are summed within blocks in the
order of their indices and blocks never share a sum, so that on a CPU the bits do not depend on the workers either.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape.input_checks import checked_images, either_spelling
from landscape.progress import progress_bar
from lattice import AssumptionError, Lattice, ResourceError, SpecificationError
from lattice.checks import given_shape, is_whole, whole
from lattice.results.files import digest
from validation.montecarlo.estimate import Estimate
from validation.montecarlo.outputs import checked_output
from validation.montecarlo.sampler import SMALL, Sampler
from validation.montecarlo.shards import Shards, Tally
from validation.montecarlo.sources import Factory, LatticeSource, ModuleSource
from validation.montecarlo.threads import squares_in_order
from validation.runtime.locks import locked
from validation.runtime.versions import versions
from validation.runtime.workers import Workers, exact_arithmetic, one_thread_each

__all__ = ["Estimate", "measure"]

MOST_DRAWS = 2**30  # three numbers of each are kept: 24 GiB
MOST_BLOCKS = 200  # block means kept for `compare`; up to as many draws, every draw is its own block

Array = np.ndarray[Any, Any]


@either_spelling
def measure(
    factory: Factory | Lattice,
    shape: tuple[int, ...] | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    device: str = "auto",
    mode: str = "eval",
    output: Any = None,
    inputs: Any = None,
    inputs_per_draw: int = 1,
    batched: bool | None = None,
    chunk: int | None = None,
    initialisation: Any = None,
    distribution: str = "normal",
    folder: str | Path | None = None,
    shard: int = 100,
    progress: bool = False,
) -> Estimate:
    """(1/Z) sum_j (dh_j/dx_i)^2 averaged over `draws` initialisations and inputs (Proposition 1's left side).

        estimate = 1/D sum_d mean over inputs of sum_j (dh_j/dx_i)^2 / Z,     Z outputs, draw d fixed by (seed, d) alone

    On a CPU, with the same `batched`, `chunk` and number of torch threads, the result is the same to the bit: in one go or
    resumed, by one process or by many. Under `torchrun` (every process making this call) the draws are shared out, and each
    process returns the whole estimate. A keyboard interrupt returns an `Estimate` with the draws so far, unless these are all
    of one block (of `draws` / 200, or one), whose error is not known, or there are several processes. Random states, modes,
    running statistics and TF32 settings are left as they were.

    Parameters
    ----------
    factory : callable or Lattice
        A function without arguments that returns a freshly initialised `torch.nn.Module`; or a `Lattice`, whose weights are
        then drawn by `initialisation` and `distribution`.
    shape : tuple of int or None, default None
        Shape of one input, (channels, *spatial); a lattice has its own.
    draws : int, default 1000
        How many initialisations.
    seed : int, default 0
        The root seed.
    device : {"auto", "cpu", "cuda"}, default "auto"
        "auto" is CUDA if there is one.
    mode : {"eval", "train"}, default "eval"
        In "train" BatchNorm takes the statistics of the batch of `inputs_per_draw` inputs, and the gradient is that of each
        output sample with respect to its own input sample.
    output : optional
        As in `landscape.predict`: None for all output units; one unit (3, 4), the mean over its channels; the entry "out" or 0
        of a model that returns several tensors; or both, ("out", 3, 4).
    inputs : array_like or None, default None
        Images (N, channels, *spatial), of which each draw takes `inputs_per_draw` at random, without repetition; None is white
        noise.
    inputs_per_draw : int, default 1
        Inputs of a draw, over which squares are averaged.
    batched : bool or None, default None
        Whether `chunk` draws run at once with torch.func; None is where the network is small. Where torch.func cannot, draws
        run one by one and `Estimate.batched` is False. The draws are the same either way.
    chunk : int or None, default None
        Draws that run at once; None is as many as hold about 256 MiB, 64 at most. Draws of a lattice run in as many chunks at
        once as torch has threads, each with its own memory.
    initialisation : optional
        Variances of a lattice's weights: a scheme such as `landscape.he` (the default), a number, or a mapping by layer.
    distribution : {"normal", "uniform", "rademacher"}, default "normal"
        Distribution of a lattice's weights.
    folder : str or Path or None, default None
        Where finished draws are kept, in a file for every `shard` draws or more; the same call goes on from them after any
        end. A folder knows its model by its layers, and by the weights, output and gradient of draw 0.
    shard : int, default 100
        Draws of a file.
    progress : bool, default False
        Whether to show a bar over the draws.

    Returns
    -------
    Estimate
        Mean map and standard error, float64 over input positions.

    Raises
    ------
    AssumptionError
        If the factory returns the same weights twice, or gradients are not finite.
    SpecificationError
        If an argument is out of its range, or the folder belongs to other arguments or is in use.
    ResourceError
        If there are too many draws to keep.

    Examples
    --------
    >>> from lattice import families
    >>> estimate = measure(families.plain(9, depth=2, channels=4), draws=50)
    >>> estimate.mean.shape, estimate.draws
    ((9,), 50)
    """
    settings = _Settings.checked(factory, shape, draws, seed, mode, inputs, inputs_per_draw, chunk, shard)
    team = Workers.here(device)
    tally = Tally.empty(settings.draws, min(settings.draws, MOST_BLOCKS), settings.shape[1:])
    with exact_arithmetic(team.device), ExitStack() as stack:
        sampler, chunk, batched = settings.sampler(team, output, initialisation, distribution, batched)
        facts = {"seed": settings.seed, "mode": mode, "batched": batched, "device": _name(team.device), "versions": versions()}
        shards = None
        if folder is not None:
            shards = Shards(Path(folder))
            manifest = settings.manifest(sampler, chunk, facts)
            if team.rank == 0:  # the other workers wait for it in team.sum
                try:
                    stack.enter_context(locked(shards.folder))
                except OSError as error:
                    raise SpecificationError(f"the folder {shards.folder} cannot be used: {error}") from error
                shards.agree_on(manifest)
                shards.read(tally)
        shown = progress and team.rank == 0
        bar = stack.enter_context(progress_bar(shown, settings.draws, unit="draw", desc="Monte Carlo"))
        known = team.sum(tally.done).copy()  # what the folder holds, the same on every worker
        _show(bar, tally, int(known.sum()))
        interrupted = False
        try:
            units = _units(tally.block_of, chunk, known)[team.rank :: team.world]
            for indices in _drawn(sampler, units, chunk, batched, known, tally, stack):
                _show(bar, tally, len(indices))
                if shards is not None and any(indices.stop == unit.stop for unit in units):
                    shards.write(tally, least=shard)
        except KeyboardInterrupt:
            tally.forget_half()
            if team.world > 1 or (tally.counts > 0).sum() < 2:  # one block has no spread, so no error
                raise
            interrupted = True
        finally:
            if shards is not None:
                shards.write(tally)
        tally = Tally(tally.block_of, *(team.sum(array) for array in (tally.sums, tally.energies, tally.done)))
    _check_finite(tally)
    return tally.estimate(interrupted=interrupted, **facts)


@dataclass(frozen=True, eq=False)
class _Settings:
    """What is measured, checked."""

    factory: Factory | Lattice
    shape: tuple[int, ...]
    draws: int
    seed: int
    mode: str
    images: Array | None
    inputs_per_draw: int
    chunk: int | None

    @classmethod
    def checked(
        cls,
        factory: Any,
        shape: Any,
        draws: Any,
        seed: Any,
        mode: str,
        inputs: Any,
        inputs_per_draw: Any,
        chunk: Any,
        shard: Any,
    ) -> "_Settings":
        """The caller's arguments, or a `SpecificationError` that says what is wrong with one."""
        if mode not in ("eval", "train"):
            raise SpecificationError(f"mode is {mode!r}; it is 'eval' or 'train'")
        for name, value, least in (
            ("inputs_per_draw", inputs_per_draw, 1),
            ("chunk", 1 if chunk is None else chunk, 1),
            ("shard", shard, 1),
        ):
            whole(name, value, least, inf)
        if not is_whole(draws) or draws < 2:
            raise SpecificationError(f"draws is {draws!r}; it is a whole number, and a standard error needs two draws at least")
        draws, seed = int(draws), whole("seed", seed, 0, inf)
        if draws > MOST_DRAWS:
            raise ResourceError(f"{draws} draws keep {draws * 24 / 2**30:.3g} GiB of numbers (the limit is {MOST_DRAWS} draws)")
        shape = _shape(factory, shape)
        images = None if inputs is None else _images(inputs, shape, inputs_per_draw)
        return cls(factory, shape, draws, seed, mode, images, inputs_per_draw, chunk)

    def sampler(
        self, team: Workers, output: Any, initialisation: Any, distribution: str, batched: bool | None
    ) -> tuple[Sampler, int, bool]:
        """What draws, how many draws at once, and whether by torch.func."""
        given = self.factory
        # operations of a lattice's small trial are too short to be shared out among threads
        with one_thread_each() if isinstance(given, Lattice) and team.device.type == "cpu" else nullcontext():
            source: LatticeSource | ModuleSource
            if isinstance(given, Lattice):
                source = LatticeSource(given, initialisation, distribution)
            else:
                source = ModuleSource(given, team.device)
            sampler = Sampler(
                source,
                self.shape,
                self.seed,
                inputs_per_draw=self.inputs_per_draw,
                inputs=self.images,
                device=team.device,
                train=self.mode == "train",
                output=checked_output(output),
            )
            batched = (sampler.parameters < SMALL if batched is None else batched) and sampler.batches()
        chunk = (sampler.chunk() if self.chunk is None else self.chunk) if batched else 1
        return sampler, chunk, batched

    def manifest(self, sampler: Sampler, chunk: int, facts: dict[str, Any]) -> dict[str, Any]:
        """All that the draws of a folder depend on."""
        return {
            "draws": self.draws,
            "shape": list(self.shape),
            "inputs": "white noise" if self.images is None else digest({}, {"inputs": self.images}),
            "inputs_per_draw": self.inputs_per_draw,
            "chunk": chunk,
            "output": list(sampler.output),
            "model": sampler.model,
            "answer": sampler.answer() | {"precision": torch.finfo(sampler.dtype).eps ** 0.5},
            **facts,
        }


def _shape(factory: Any, shape: Any) -> tuple[int, ...]:
    """The shape of one input."""
    if isinstance(factory, Lattice):
        if shape is not None and tuple(shape) != factory.input_shape:
            raise SpecificationError(f"the lattice has input shape {factory.input_shape}, and shape={tuple(shape)} was given")
        return factory.input_shape
    if not callable(factory) or isinstance(factory, torch.nn.Module):
        raise SpecificationError(
            f"factory is a {type(factory).__name__}; it is a function without arguments that returns a freshly initialised "
            "torch.nn.Module, for example lambda: MyModel(classes=10), or a lattice.Lattice"
        )
    if shape is None:
        raise SpecificationError("measure(factory, shape) needs the shape of one input, (channels, *spatial)")
    return tuple(given_shape(shape))


def _drawn(
    sampler: Sampler, units: list[range], chunk: int, batched: bool, known: Array, tally: Tally, stack: ExitStack
) -> Iterator[range]:
    """Draw the units, chunk by chunk, and add what is not known to the tally; yields the draws that are done."""
    chunks = (range(i, min(i + chunk, unit.stop)) for unit in units for i in range(unit.start, unit.stop, chunk))
    for indices, squares in stack.enter_context(closing(squares_in_order(sampler, chunks, batched))):
        for index, square in zip(indices, squares, strict=True):
            if not known[index]:  # an interrupt may have left only some blocks of a unit on the disk
                tally.add(index, square)
        yield indices


def _check_finite(tally: Tally) -> None:
    broken = np.flatnonzero(~np.isfinite(tally.energies))
    if broken.size:
        raise AssumptionError(
            f"{broken.size} of {len(tally.energies)} draws have NaN or infinite gradients, draw {broken[0]} is the first; are "
            "there NaN weights, or does the model overflow at its initialisation?"
        )


def _images(inputs: Any, shape: tuple[int, ...], per_draw: int) -> Array:
    images = checked_images(inputs, shape)
    if len(images) < per_draw:
        raise SpecificationError(f"inputs holds {len(images)} images; a draw takes inputs_per_draw = {per_draw}")
    return images


def _units(block_of: Array, chunk: int, done: Array) -> list[range]:
    """What a worker takes at a time, without what is done: as many whole blocks as fit a chunk of draws, or one block.

    Where they begin depends on the arguments alone, so that a draw always shares its chunk with the same others.

    >>> _units(np.array([0, 0, 1, 1, 2, 2]), 5, np.zeros(6))
    [range(0, 4), range(4, 6)]
    """
    edges = [*np.flatnonzero(np.diff(block_of, prepend=-1)).tolist(), len(block_of)]
    starts = [0]
    for start, stop in pairwise(edges):
        if start > starts[-1] and stop - starts[-1] > chunk:
            starts.append(start)
    units = (range(start, stop) for start, stop in pairwise([*starts, len(block_of)]))
    return [unit for unit in units if not done[unit.start : unit.stop].all()]


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _show(bar: Any, tally: Tally, step: int) -> None:
    """Some more draws are done; beside the bar stands the error so far."""
    bar.update(step)
    if not bar.disable and (tally.counts > 0).sum() > 2:
        so_far = tally.estimate(seed=0, batched=False)
        error = np.sqrt(np.mean(np.square(so_far.relative_error)))
        bar.set_postfix_str(f"error {error:.1%} a pixel", refresh=False)
