r"""Monte Carlo over initialisations: E[(dh_j/dx_i)^2] measured, with its standard error.

One draw is one initialisation W, one (or a few) inputs x and one Rademacher cotangent v. One backward pass gives

    g_i = d(v . h)/dx_i,      E_v[g_i^2] = sum_j (dh_j/dx_i)^2,

since E[v_j v_j'] = 0 for j != j': an unbiased estimate of Z times the mean over output units. (The square of the summed
outputs is another quantity.) Draw i depends on (seed, i) and nothing else: not on the chunk it runs in, nor on the path
(batched with `torch.func`, or one by one) that computes it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from landscape.initialisation import he, layer_variances
from lattice import AssumptionError, Lattice, SpecificationError, UnsupportedError
from validation.montecarlo.build import build, draw_weights

__all__ = ["Estimate", "measure"]

MOST_BLOCKS = 200  # block means kept for `compare`; up to as many draws, every draw is its own block
SMALL = 200_000  # parameters; below, running many networks at once (vmap) beats a loop

Array = np.ndarray[Any, Any]
Factory = Callable[[], torch.nn.Module]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A measured map of expected squared gradients, and how well it is known.

    `mean`, `standard_error`: float64 over input positions. `draws`: how many initialisations; `seed`: the root seed.
    `blocks`, `block_draws`: means of consecutive draws (blocks, *positions) and how many draws each holds; `compare`
    takes their spread. `batched`: whether draws ran together. `interrupted`: fewer draws than asked for.
    """

    mean: Array
    standard_error: Array
    draws: int
    seed: int
    blocks: Array
    block_draws: Array
    batched: bool
    interrupted: bool = False

    @property
    def relative(self) -> Array:
        """The measured map with mean one."""
        return np.asarray(self.mean / self.mean.mean())

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

    def __str__(self) -> str:
        typical = float(np.sqrt(np.mean(np.square(self.relative_error))))
        stopped = " (interrupted)" if self.interrupted else ""
        return (
            f"measured map over {self.mean.shape}: {self.draws} draws{stopped}, seed {self.seed}, error {typical:.1%} a pixel"
        )


def _error(deviations: Array, weights: Array) -> Array:
    """Standard error of a weighted mean of blocks, from their deviations from it."""
    shares = (weights / weights.sum()).reshape(-1, *(1 for _ in deviations.shape[1:]))
    count = len(deviations)
    return np.asarray(np.sqrt(np.sum(np.square(shares * deviations), axis=0) * count / (count - 1)))


def measure(
    factory: Factory | Lattice,
    shape: tuple[int, ...] | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    device: str = "auto",
    mode: str = "eval",
    inputs_per_draw: int = 1,
    batched: bool | None = None,
    chunk: int = 64,
    initialisation: Any = None,
    distribution: str = "normal",
    progress: bool = False,
) -> Estimate:
    """(1/Z) sum_j (dh_j/dx_i)^2 averaged over `draws` initialisations and white-noise inputs (Proposition 1's left side).

    `factory()` returns a freshly initialised module, or is a `Lattice` (then `initialisation`, default he, and
    `distribution` say how its weights are drawn). `shape`: (channels, *spatial) of one input. `inputs_per_draw` inputs
    are averaged within a draw. `device`: "auto" (CUDA if there is one), "cpu", "cuda". `batched`: run `chunk` draws at
    once with torch.func (None: where the network is small); the draws are the same either way.

    Returns an `Estimate`; a keyboard interrupt returns one with the draws so far (two at least). The global random state
    is left as it was. Raises `AssumptionError` where the factory returns the same weights twice.

    >>> from lattice import families
    >>> estimate = measure(families.plain(9, depth=2, channels=4), draws=50)
    >>> estimate.mean.shape, estimate.draws
    ((9,), 50)
    """
    if mode != "eval":
        raise UnsupportedError(f"mode is {mode!r}: only 'eval' can be measured so far")
    if isinstance(draws, bool) or draws < 2 or inputs_per_draw < 1 or chunk < 1:
        raise SpecificationError(
            f"draws is {draws}, inputs_per_draw {inputs_per_draw}, chunk {chunk}; a standard error needs two draws at least"
        )
    if isinstance(factory, Lattice):
        if shape is not None and tuple(shape) != factory.input_shape:
            raise SpecificationError(f"the lattice has input shape {factory.input_shape}, and shape={tuple(shape)} was given")
        shape, factory = factory.input_shape, _LatticeFactory(factory, initialisation, distribution)
    if shape is None:
        raise SpecificationError("measure(factory, shape) needs the shape of one input, (channels, *spatial)")
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    sampler = _Sampler(factory, tuple(shape), seed, inputs_per_draw, where)
    if batched is None:
        batched = sampler.is_small()
    blocks = min(draws, MOST_BLOCKS)
    block_of = np.arange(draws) * blocks // draws
    sums = np.zeros((blocks, *shape[1:]))
    done = 0
    bar = _progress_bar(draws) if progress else None
    interrupted = False
    try:
        for squares in sampler.squares(draws, chunk if batched else 1, batched):
            for square in squares:  # one draw at a time, in the order of their indices, whatever the chunk
                sums[block_of[done]] += square
                done += 1
            if bar is not None:
                _update(bar, sums, block_of, done, len(squares))
    except KeyboardInterrupt:
        if done < 2:
            raise
        interrupted = True
    finally:
        if bar is not None:
            bar.close()
    return _estimate(sums, block_of[:done], seed, batched, interrupted)


def _estimate(sums: Array, block_of: Array, seed: int, batched: bool, interrupted: bool) -> Estimate:
    counts = np.bincount(block_of)
    kept = counts > 0
    sums, counts = sums[: len(counts)][kept], counts[kept]
    means = sums / counts.reshape(-1, *(1 for _ in sums.shape[1:]))
    mean = sums.sum(axis=0) / counts.sum()
    return Estimate(mean, _error(means - mean, counts), int(counts.sum()), seed, means, counts, batched, interrupted)


class _LatticeFactory:
    """Builds a lattice's network once, and draws its weights anew at every call."""

    def __init__(self, lattice: Lattice, initialisation: Any, distribution: str) -> None:
        self.variances = layer_variances(lattice, he if initialisation is None else initialisation)
        self.distribution = distribution
        self.network = build(lattice, self.variances, generator=torch.Generator(), distribution=distribution)

    def __call__(self) -> torch.nn.Module:
        draw_weights(self.network, self.variances, distribution=self.distribution)
        return self.network


def _progress_bar(draws: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=draws, unit="draw", desc="Monte Carlo")


def _update(bar: Any, sums: Array, block_of: Array, done: int, step: int) -> None:
    bar.update(step)
    if done > 2:
        so_far = _estimate(sums, block_of[:done], 0, False, False)
        if len(so_far.blocks) > 2:
            bar.set_postfix_str(f"error {np.sqrt(np.mean(np.square(so_far.relative_error))):.1%} a pixel", refresh=False)


class _Sampler:
    """Draws networks, inputs and cotangents by index, and squares the gradients."""

    def __init__(self, factory: Factory, shape: tuple[int, ...], seed: int, inputs: int, device: torch.device) -> None:
        self.factory, self.shape, self.seed, self.inputs, self.device = factory, shape, seed, inputs, device
        self.stacks: dict[str, torch.Tensor] = {}
        self.base = self.network(0)
        self._check(self._states(range(2)))
        self.parameters = sum(parameter.numel() for parameter in self.base.parameters())
        with torch.no_grad():
            output = self.base(self._noise(0))
        if not isinstance(output, torch.Tensor) or output.shape[0] != inputs:
            raise UnsupportedError(f"the model returns {type(output).__name__}; wrap it so that it returns one tensor (N, ...)")
        self.output_shape = tuple(output.shape)

    def is_small(self) -> bool:
        return self.parameters < SMALL

    def _seeds(self, index: int) -> tuple[int, int]:
        """Two independent seeds, of the weights and of the inputs, that depend on (seed, index) only."""
        weights, noise = np.random.SeedSequence((self.seed, index)).generate_state(2, np.uint64)
        return int(weights) >> 1, int(noise) >> 1

    def network(self, index: int) -> torch.nn.Module:
        devices = range(torch.cuda.device_count()) if self.device.type == "cuda" else ()
        with torch.random.fork_rng(devices=devices):
            # torch.manual_seed also queues a call for a CUDA that was never started, at ten times the cost
            seed = torch.manual_seed if self.device.type == "cuda" else torch.default_generator.manual_seed
            seed(self._seeds(index)[0])
            network = self.factory()
        if not isinstance(network, torch.nn.Module):
            raise SpecificationError(f"the factory returned a {type(network).__name__}; it must return a torch.nn.Module")
        # a lattice's network is the same object at every call, already moved and in evaluation mode
        return network if network is getattr(self, "base", None) else network.eval().to(self.device)

    def _noise(self, index: int) -> torch.Tensor:
        """White noise of variance one: the inputs of a draw."""
        generator = torch.Generator().manual_seed(self._seeds(index)[1])
        return torch.randn(self.inputs, *self.shape, generator=generator).to(self.device)

    def _cotangent(self, index: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self._seeds(index)[1] ^ 1)
        bits = torch.randint(0, 2, self.output_shape, generator=generator, dtype=torch.float32)
        return (2 * bits - 1).to(self.device)

    def _states(self, indices: range) -> dict[str, torch.Tensor]:
        """The parameters and buffers of several draws, stacked, by name; the memory is used again by the next call."""
        for position, index in enumerate(indices):
            network = self.network(index)
            tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
            if len(next(iter(self.stacks.values()), ())) < len(indices):
                self.stacks = {name: tensor.new_empty(len(indices), *tensor.shape) for name, tensor in tensors.items()}
            for name, tensor in tensors.items():
                self.stacks[name][position].copy_(tensor.detach())
        return {name: stack[: len(indices)] for name, stack in self.stacks.items()}

    @staticmethod
    def _check(states: dict[str, torch.Tensor]) -> None:
        if states and all(torch.equal(first, second) for first, second in states.values()):
            raise AssumptionError(
                "the factory returned the same weights twice; it must build a new module with new random weights at each "
                "call, for example lambda: torchvision.models.resnet18(weights=None)"
            )

    def squares(self, draws: int, chunk: int, batched: bool) -> Iterator[Array]:
        """The squared gradients of draws 0, 1, ..., in chunks: float64 (draws of the chunk, *positions)."""
        for start in range(0, draws, chunk):
            indices = range(start, min(start + chunk, draws))
            yield self._together(indices) if batched else np.stack([self._alone(index) for index in indices])

    def _alone(self, index: int) -> Array:
        network, x = self.network(index), self._noise(index).requires_grad_()
        (gradient,) = torch.autograd.grad(network(x), x, self._cotangent(index))
        return self._map(gradient[None])[0]

    def _together(self, indices: range) -> Array:
        states = self._states(indices)

        def scalar(x: torch.Tensor, state: dict[str, torch.Tensor], v: torch.Tensor) -> torch.Tensor:
            # everything of a network that is not a tensor is the same in all draws
            return (torch.func.functional_call(self.base, state, (x,)) * v).sum()

        x = torch.stack([self._noise(index) for index in indices])
        v = torch.stack([self._cotangent(index) for index in indices])
        gradients = torch.func.vmap(torch.func.grad(scalar))(x, states, v)
        return self._map(gradients.detach())

    def _map(self, gradients: torch.Tensor) -> Array:
        """(draws, inputs, channels, *positions) -> mean over inputs and channels of the squares, over Z."""
        squares = gradients.double().square().mean(dim=(1, 2)) / prod(self.output_shape[1:])
        return np.asarray(squares.cpu())
