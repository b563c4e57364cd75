"""Networks drawn at random, and what the squared input gradient of each is: passes of the model itself, no law stands in them.

A factory is called for each. Of a module the weights of each layer change places and signs at random; where their variances
are given, they are normal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from landscape.tracing.graph.randomness import only_torch_draws
from landscape.tracing.modules import drawn_module, inside, mode_of
from landscape.tracing.outputs import resolve_output
from landscape.tracing.proof.running import Unfinished, input_gradient, seeded

__all__ = ["Ensemble"]

Array = np.ndarray[Any, Any]
INPUTS = 8  # of each draw
SEEDS = 1000  # the first of those of the draws; smaller ones are those by which weights are read


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Networks of one kind, over inputs of one shape.

    `variances`: those of each layer's weights, by the name of the parameter that holds them, and `given`: are they what the
    weights are to have? `output`: which of what a model returns is meant, and `weights` what each unit of it is multiplied by
    beside a random sign, None is that of their mean. `batch`: the inputs over which batch norms take their statistics, None in
    evaluation mode. `images`: the inputs, None is white noise. `inputs`: how many each draw has in evaluation mode. `double`:
    in double precision, or in the model's own type?
    """

    model: torch.nn.Module | Callable[[], torch.nn.Module]
    shape: tuple[int, ...]
    variances: Mapping[str, float]
    given: bool = False
    output: Any = None
    weights: Array | None = None
    batch: int | None = None
    images: Array | None = None
    inputs: int = INPUTS
    double: bool = True

    @property
    def runs(self) -> Iterator[Ensemble]:
        """These networks as they might be run: with several inputs or one, in double precision or in their own type."""
        for inputs, double in product(dict.fromkeys((self.inputs, 1)), (True, False)):
            yield replace(self, inputs=inputs, double=double)

    @cached_property
    def _own(self) -> torch.nn.Module | None:
        """A copy of the module; None of a factory."""
        if not isinstance(self.model, torch.nn.Module):
            return None
        try:
            return deepcopy(inside(self.model))
        except Exception as error:
            raise Unfinished(f"the model cannot be copied: {error}") from error

    def network(self, seed: int) -> torch.nn.Module:
        """One network before its weights are drawn; of a factory they are. It may share parts with others."""
        made: torch.nn.Module = inside(drawn_module(self.model, SEEDS + seed)) if self._own is None else self._own
        return made

    def squares(self, network: torch.nn.Module, seed: int) -> Array:
        """What one network measures: the mean over inputs and channels of (v . dh/dx_i)^2, float64 over positions."""
        with mode_of(network, self.batch is not None), torch.enable_grad(), only_torch_draws():
            tensors = {name: self._copied(tensor) for name, tensor in (*network.named_parameters(), *network.named_buffers())}
            first = next(iter(tensors.values()))
            with seeded(first.device, seed):
                if self.given or network is self._own:
                    tensors |= self._redrawn(tensors)
                x = self._inputs().to(first.device, first.dtype).requires_grad_()
                result = resolve_output(functional_call(network, tensors, (x.clone(),)), self.output)[0]
                asked = result if self.batch is None else result[:1]  # a batch norm makes samples depend on each other
                signs = torch.randint(0, 2, asked.shape, device="cpu").mul_(2).sub_(1)
                gradient = input_gradient(asked, x, (signs * self._weights(tuple(asked.shape[1:]))).to(asked))[: len(asked)]
        found: Array = gradient.detach().cpu().double().square().mean((0, 1)).numpy()
        return found

    def _weights(self, shape: tuple[int, ...]) -> Any:
        """What each unit of an output of this shape is multiplied by, beside its sign."""
        if self.weights is None:
            return prod(shape) ** -0.5
        if self.weights.shape != shape:
            raise Unfinished("the output has other axes in the model")
        return torch.from_numpy(self.weights)

    def _inputs(self) -> torch.Tensor:
        number = self.batch or self.inputs
        if self.images is None:
            return torch.randn(number, *self.shape, dtype=torch.float64, device="cpu")
        return torch.from_numpy(np.array(self.images[torch.randperm(len(self.images))[:number].numpy()]))

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy, as networks may share parts and passes change statistics."""
        return tensor.detach().to(torch.float64 if self.double and tensor.is_floating_point() else tensor.dtype, copy=True)

    def _redrawn(self, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """New weights: normal ones of the given variances, or the present ones in other places, with other signs."""
        if not set(self.variances) <= set(own):
            raise Unfinished("weights that are no parameters")
        found = {}
        for name, variance in self.variances.items():
            weights = own[name]
            if self.given:
                new = torch.randn(weights.shape, dtype=torch.float64, device="cpu") * variance**0.5
            else:
                signs = torch.randint(0, 2, weights.shape, device="cpu").mul_(2).sub_(1)
                new = signs * weights.cpu().flatten()[torch.randperm(weights.numel())].view(weights.shape)
            found[name] = new.to(weights)
        return found
