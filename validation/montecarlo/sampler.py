r"""One draw: an initialisation W, inputs x, a Rademacher cotangent v; one pull-back gives d(v . h)/dx.

In train mode the batch's statistics tie the samples of a batch together, and the gradient asked for is that of each output
sample with respect to its own input sample, the diagonal block J_nn = dh_n/dx_n. Pulling back all of v at once would give
g_n = sum_m J_mn' v_m, whose square has expectation sum_m |J_mn|^2: the blocks m != n mix in. So sample n is pulled back
with the cotangent that is v_n on sample n and zero elsewhere, which is J_nn' v_n on x_n, one pull-back per sample through
one forward pass. In eval mode the blocks m != n are zero, and one pull-back serves all samples.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vjp, vmap

from landscape.weights.weight_draws import FEWEST
from lattice import AssumptionError, SpecificationError, UnsupportedError
from validation.montecarlo.outputs import selected
from validation.montecarlo.sources import LatticeSource, ModuleSource, State, seeded
from validation.runtime.preserve_state import call_model, gradient

__all__ = ["Sampler"]

Array = np.ndarray[Any, Any]

SMALL = 200_000  # parameters; below, running many networks at once (vmap) beats a loop
BUDGET = 256 * 2**20  # bytes that the draws of a chunk may hold at once
LOOKS = 8  # a change that none of them shows would have to be nearly orthogonal to all
LARGEST_CHUNK = 64  # more draws at once gain nothing


class Sampler:
    """Draws networks, inputs and cotangents by index, and squares the gradients."""

    def __init__(
        self,
        source: ModuleSource | LatticeSource,
        shape: tuple[int, ...],
        seed: int,
        *,
        inputs_per_draw: int,
        inputs: Array | None,
        device: torch.device,
        train: bool,
        output: tuple[str | int, ...] = (),
    ) -> None:
        self.output = output
        self.source, self.seed, self.device, self.train, self.inputs = source, seed, device, train, inputs
        self.generator = torch.Generator()
        self.stacks: State = {}
        self.stacked = 0
        self.base, self.state = source.draw(self._seeds(0)[0])
        odd = [name for name, tensor in self.base.named_parameters() if tensor.is_meta or not tensor.is_floating_point()]
        if odd:
            kind = self.state[odd[0]]
            raise UnsupportedError(
                f"{odd[0]}: its weights are {kind.dtype} on {kind.device}; only real floating-point weights that have values "
                "can be drawn and differentiated; let the factory build the model on the CPU in float32"
            )
        floats = [tensor.dtype for tensor in self.state.values() if tensor.is_floating_point()]
        self.dtype = floats[0] if floats else torch.get_default_dtype()
        self.parameters = sum(tensor.numel() for tensor in self.base.parameters())
        self.buffers = {name for name, _ in self.base.named_buffers()} if train else set()
        self.input_shape = (inputs_per_draw, *shape)
        self._check_norms()
        self.model = self._fingerprint()
        self.output_shape, self.bytes_per_draw = self._try()
        self._check_fresh()

    @property
    def can_be_copied(self) -> bool:
        """Whether another one can work beside it; a user's factory may share memory between its networks."""
        return isinstance(self.source, LatticeSource)

    def twin(self) -> "Sampler":
        """Another sampler of the same draws that shares no memory with this one; of a lattice only."""
        assert isinstance(self.source, LatticeSource)
        other = copy.copy(self)
        other.source, other.base = self.source.twin(), copy.deepcopy(self.base)
        other.generator, other.stacks, other.stacked = torch.Generator(), {}, 0
        return other

    # --- what is asked for is checked before it is measured

    def _check_norms(self) -> None:
        norms = [name for name, part in self.base.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        if self.train and norms and self.input_shape[0] < 2:
            raise SpecificationError(
                f"mode is 'train', inputs_per_draw is {self.input_shape[0]}, and layer {norms[0]!r} normalises by the "
                "statistics of the batch; give inputs_per_draw, which is the batch size, of 2 or more"
            )

    def _check_fresh(self) -> None:
        if isinstance(self.source, LatticeSource):
            return
        numbers = sum(tensor.numel() for tensor in self.state.values())
        states = self._states(range(1 + max(1, -(-FEWEST // max(numbers, 1)))))  # two draws of few signs may be the same
        if states and all(torch.equal(stack, stack[:1].expand_as(stack)) for stack in states.values()):
            raise AssumptionError(
                "the factory returned the same weights twice; it must build a new module with new random weights at each "
                "call, for example lambda: torchvision.models.resnet18(weights=None)"
            )

    def _fingerprint(self) -> str:
        """A hash of the layers and of draw 0's weights; `answer` tells models apart that differ in their forward pass alone."""
        total = sha256(f"{self.source} {self.base!r} {self.dtype}".encode())
        for name, tensor in sorted(self.state.items()):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def _try(self) -> tuple[tuple[int, ...], int]:
        """One forward pass: the shape of the output, and the bytes that a draw takes (weights, and activations twice)."""
        saved: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        x = self._inputs(range(1)).to(self.device)[0].requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = self._forward(self.base, self.state, x, 0)
        if output.shape[:1] != x.shape[:1]:
            raise UnsupportedError(
                f"the model returns a tensor of shape {tuple(output.shape)} for {len(x)} inputs; wrap it so that it returns "
                "one tensor of floats (N, ...)"
            )
        copies = 1 + (self.input_shape[0] if self.train else 1)  # what is saved, and the gradients on their way back
        return tuple(output.shape), x.nbytes + copies * (sum(saved.values()) + output.nbytes)

    def answer(self) -> dict[str, list[float]]:
        """What draw 0 makes of its input: of the output h and of d(v . h)/dx, the size and products with fixed vectors of +-1.

        Two calls of one model differ by rounding (other threads, another processor), two models by more: see `same_answer`.
        """
        x, v = (drawn.to(self.device)[0] for drawn in (self._inputs(range(1)), self._cotangents(range(1))))
        with torch.no_grad():
            output = self._forward(*self.source.draw(self._seeds(0)[0]), x, 0)
        return {"output": _seen(output), "gradient": _seen(self._alone(x, v, 0))}

    def batches(self) -> bool:
        """Whether draws can run together: the second of two that do must equal the same one, run alone."""
        try:
            together, alone = self.squares(range(2), batched=True)[1:], self.squares(range(1, 2), batched=False)
        except Exception:  # whatever torch.func cannot do, the loop may; if it cannot either, it says so itself
            return False
        return bool(np.abs(together - alone).sum() <= 0.01 * np.abs(alone).sum())

    def chunk(self) -> int:
        """As many draws at once as the budget of memory holds."""
        return int(max(1, min(LARGEST_CHUNK, BUDGET // self.bytes_per_draw)))

    # --- one draw is what its index says

    def _seeds(self, index: int) -> tuple[int, int]:
        return _seeds(self.seed, index)

    def _inputs(self, indices: range) -> torch.Tensor:
        """(draws, inputs, channels, *spatial): white noise of variance one, or images chosen without repetition in a draw."""
        x = torch.empty(len(indices), *self.input_shape, dtype=self.dtype)
        for row, index in zip(x, indices, strict=True):
            seed = self._seeds(index)[1]
            if self.inputs is None:
                row.normal_(generator=self.generator.manual_seed(seed))
            else:
                chosen = np.random.default_rng(seed).choice(len(self.inputs), len(row), replace=False)
                row.copy_(torch.from_numpy(self.inputs[chosen]))
        return x

    def _cotangents(self, indices: range) -> torch.Tensor:
        """(draws, *output shape): +1 or -1, from one random byte for eight of them."""
        count = prod(self.output_shape)
        octets = torch.empty(len(indices), -(-count // 8), dtype=torch.uint8)
        for row, index in zip(octets, indices, strict=True):
            row.random_(0, 256, generator=self.generator.manual_seed(self._seeds(index)[1] ^ 1))
        bits = octets.unsqueeze(-1).bitwise_right_shift(torch.arange(8, dtype=torch.uint8)).bitwise_and_(1)
        signs = bits.flatten(1)[:, :count].to(self.dtype).mul_(2).sub_(1)
        return signs.reshape(len(indices), *self.output_shape)

    def _states(self, indices: range) -> State:
        """The tensors of several draws, stacked, by name; the memory is used again by the next call."""
        if len(indices) > self.stacked:
            self.stacked = len(indices)
            self.stacks = {name: tensor.expand(self.stacked, *tensor.shape).clone() for name, tensor in self.state.items()}
        for position, index in enumerate(indices):
            self.source.fill(self.stacks, position, self._seeds(index)[0])
        return {name: stack[: len(indices)] for name, stack in self.stacks.items()}

    # --- its gradients

    def squares(self, indices: range, batched: bool) -> Array:
        """The maps of some draws, one backward pass each: float64 (draws, *positions)."""
        x, v = self._inputs(indices).to(self.device), self._cotangents(indices).to(self.device)
        if batched:
            gradients = self._together(x, v, {name: stack.to(self.device) for name, stack in self._states(indices).items()})
        else:
            gradients = torch.stack([self._alone(x[row], v[row], index) for row, index in enumerate(indices)])
        # the mean over inputs and channels of the squares, over Z
        maps = gradients.detach().double().square_().mean(dim=(1, 2)) / prod(self.output_shape[1:])
        return np.asarray(maps.cpu())

    def _forward(self, network: nn.Module, state: State, x: torch.Tensor, index: int) -> torch.Tensor:
        """The network with these tensors; its own, its modes and its running statistics are left as they are."""
        own = {name: tensor.to(self.device, copy=name in self.buffers) for name, tensor in state.items()}
        with seeded(self._seeds(index)[0] ^ 1, self.device), _mode(network, self.train):
            returned = call_model(lambda x: functional_call(network, own, (x,)), x, network)
        return selected(returned, self.output)

    def _alone(self, x: torch.Tensor, v: torch.Tensor, index: int) -> torch.Tensor:
        network, state = self.source.draw(self._seeds(index)[0])
        x.requires_grad_()
        output = self._forward(network, state, x, index)
        if not self.train:
            return gradient(output, x, v)
        rows = range(len(x))
        return torch.stack([gradient(output[n], x, v[n], retain_graph=n + 1 < len(x))[n] for n in rows])

    def _together(self, x: torch.Tensor, v: torch.Tensor, states: State) -> torch.Tensor:
        def gradient(x: torch.Tensor, state: State, v: torch.Tensor) -> torch.Tensor:
            def output(x: torch.Tensor) -> Any:
                # copies: in train mode BatchNorm writes its running statistics. What is not a tensor is alike in all draws
                own = {name: tensor.clone() if name in self.buffers else tensor for name, tensor in state.items()}
                # a copy, as in `call_model`: a model may work in place
                return selected(functional_call(self.base, own, (x.clone(),)), self.output)

            pull: Any = vjp(output, x)[1]
            if not self.train:
                return pull(v)[0]
            samples = torch.arange(len(v), device=v.device)
            masks = torch.eye(len(v), dtype=v.dtype, device=v.device).reshape(len(v), len(v), *(1 for _ in v.shape[1:]))
            return vmap(lambda cotangent: pull(cotangent)[0])(masks * v)[samples, samples]

        with _mode(self.base, self.train):
            return vmap(gradient)(x, states, v)


def _seen(tensor: torch.Tensor) -> list[float]:
    """The Euclidean norm of a tensor, and its products with `LOOKS` fixed vectors of +-1."""
    values = tensor.detach().double().cpu().flatten()
    generator = torch.Generator().manual_seed(0)
    signs = (torch.randint(0, 2, (len(values),), generator=generator, dtype=torch.int8) * 2 - 1 for _ in range(LOOKS))
    return [float(values.norm()), *(float(values @ row.double()) for row in signs)]


@lru_cache(maxsize=4 * LARGEST_CHUNK)
def _seeds(seed: int, index: int) -> tuple[int, int]:
    """Two independent seeds, of the weights and of the inputs, that depend on (seed, index) only."""
    weights, noise = np.random.SeedSequence((seed, index)).generate_state(2, np.uint64)
    return int(weights) >> 1, int(noise) >> 1


@contextmanager
def _mode(network: nn.Module, train: bool) -> Iterator[None]:
    """All of the network in train or evaluation mode within, and each part afterwards as it was."""
    before = [(part, part.training) for part in network.modules()]
    network.train(train)
    try:
        yield
    finally:
        for part, mode in before:
            part.training = mode
