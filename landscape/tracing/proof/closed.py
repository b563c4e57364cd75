"""Weights that are all zero: where they stand on every way to the output, the gradient is zero everywhere and proves nothing.

The heads of many networks begin so. A copy of the model in which these weights are random numbers, for the model's pass and
for the lattice's, is the same network with other weights, and its gradient shows what was read. So is one whose layers have
other signs, where gates are closed at every input (a ReLU over few filters, all of them negative) or filters cancel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from landscape.tracing.graph.reader import Reader, named_tensors
from lattice import Lattice

__all__ = ["closing", "opened", "turn_signs"]


def closing(lattice: Lattice, reader: Reader, tensors: Mapping[str, Any]) -> list[str]:
    """The names of the weights and factors that are all zero, where no way from the input to the output is without one."""
    ways, zeros = [True], []
    for node in lattice.nodes[1:]:
        used = reader.weights.get(node.name, {})
        names = [used[role] for role in ("weight", "weight_map") if isinstance(used.get(role), str)]
        shut = [name for name in names if _is_zero(tensors[name])]
        zeros += shut
        ways.append(not shut and any(ways[i] for i in node.inputs))
    return [] if ways[-1] else zeros


def _is_zero(tensor: torch.Tensor) -> bool:
    return not tensor.reshape(-1)[:64].any() and not tensor.any()  # the first few tell, if any do


def opened(copy: torch.nn.Module, lattice: Lattice, reader: Reader) -> bool:
    """Give a copy of the model random numbers for the zeros that close it; is it closed still?

    Numbers that are made of others stay as they are, and all of them where a branch was left out for being multiplied by zeros.
    """
    parameters = dict(copy.named_parameters(remove_duplicate=False))
    tensors = {**reader.tensors, **named_tensors(copy)}
    zeros = closing(lattice, reader, tensors)
    if reader.left_out:
        return bool(zeros)
    generator = torch.Generator("cpu").manual_seed(0)
    for name in dict.fromkeys(zeros):
        if name in parameters:
            own = parameters[name].data
            numbers = torch.randn(own.shape, generator=generator, dtype=torch.float64)
            own.copy_(numbers / max(own[:1].numel(), 1) ** 0.5)
    return bool(zeros and closing(lattice, reader, tensors))


def turn_signs(copy: torch.nn.Module, lattice: Lattice, reader: Reader, seed: int) -> None:
    """Multiply each filter of a copy of the model by a random sign."""
    parameters = dict(copy.named_parameters(remove_duplicate=False))
    used = (reader.weights.get(node.name, {}).get("weight") for node in lattice.nodes)
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        for name in dict.fromkeys(used):
            if isinstance(name, str) and name in parameters:
                own = parameters[name]
                signs = torch.randint(0, 2, own.shape[:1], generator=generator) * 2 - 1
                own.mul_(signs.to(own).reshape(-1, *(1 for _ in own.shape[1:])))
