"""Where the networks of the draws come from: the user's factory, or a lattice that is built once and drawn anew."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import nn

from landscape.input_checks import call_factory
from landscape.weights.initialisation import he, layer_variances
from lattice import Lattice, SpecificationError
from validation.montecarlo.build import build, draw_weight

__all__ = ["Factory", "LatticeSource", "ModuleSource", "State", "seeded"]

Factory: TypeAlias = Callable[[], nn.Module]
State: TypeAlias = dict[str, torch.Tensor]


class ModuleSource:
    """Networks from the user's factory. They are read, never changed: their tensors are passed to them from outside."""

    def __init__(self, factory: Factory, device: torch.device) -> None:
        self.factory, self.device = factory, device

    def draw(self, seed: int) -> tuple[nn.Module, State]:
        """The network that the factory builds from this seed, and its tensors."""
        with seeded(seed, self.device):
            network = call_factory(self.factory)
        if not isinstance(network, nn.Module):
            raise SpecificationError(f"the factory returned a {type(network).__name__}; it must return a torch.nn.Module")
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        return network, {name: tensor.detach() for name, tensor in tensors.items()}

    def fill(self, stacks: State, position: int, seed: int) -> None:
        """Write the tensors of a draw to a position of the stacks."""
        for name, tensor in self.draw(seed)[1].items():
            stacks[name][position].copy_(tensor)

    def __str__(self) -> str:
        return "the factory"


class LatticeSource:
    """Networks of a lattice: built once, its weights drawn anew, in place, at every draw."""

    def __init__(self, lattice: Lattice, initialisation: Any, distribution: str) -> None:
        self.lattice, self.distribution = lattice, distribution
        self.variances = layer_variances(lattice, he if initialisation is None else initialisation)
        self.generator = torch.Generator()
        self.network = build(lattice, self.variances, generator=self.generator, distribution=distribution)
        tensors = {**dict(self.network.named_parameters()), **dict(self.network.named_buffers())}
        self.state = {name: tensor.detach() for name, tensor in tensors.items()}
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        self.drawn = [(names[id(weight)], self.variances[node]) for node, weight in self.network.weights().items()]

    def draw(self, seed: int) -> tuple[nn.Module, State]:
        """The network and its tensors, which the next draw overwrites."""
        generator = self.generator.manual_seed(seed)
        for name, variance in self.drawn:
            draw_weight(self.state[name], variance, generator, self.distribution)
        return self.network, self.state

    def twin(self) -> "LatticeSource":
        """Another source of the same weights with a generator of its own, so that both may `fill` at the same time."""
        other = copy.copy(self)
        other.generator = torch.Generator()
        return other

    def fill(self, stacks: State, position: int, seed: int) -> None:
        """Draw the weights straight to a position of the stacks, where all else stands already."""
        generator = self.generator.manual_seed(seed)
        for name, variance in self.drawn:
            draw_weight(stacks[name][position], variance, generator, self.distribution)

    def __str__(self) -> str:
        return f"{self.lattice!r} {self.variances} {self.distribution}"


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's global random state seeded within, and afterwards as it was."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.type == "cuda" else ()):
        # torch.manual_seed also queues a call for a CUDA that was never started, at ten times the cost
        start = torch.manual_seed if device.type == "cuda" else torch.default_generator.manual_seed
        start(seed)
        yield
