"""Independent means: counts by listing, all-ones networks, every pattern of signs. Nothing here knows a path law."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lattice import Conv, Dense, Flatten, GlobalPool, Lattice, Pool, SpecificationError, Unit, commands, route
from validation import enumerated_squared_gradients
from validation.montecarlo.build import build

__all__ = [
    "POOLED", "chain", "end", "jacobian", "listed_counts", "mean", "near", "ones_jacobian", "outputs", "path_sum",
    "relative_error", "same", "sign_patterns", "squares", "train_mode_gradient", "truth",
]  # fmt: skip

Array = np.ndarray[Any, Any]

POOLED = [GlobalPool("avg"), Flatten(), Dense(1)]


def chain(size: int, layers: Iterable[Any], channels: int = 1) -> Any:
    """A `Lattice` over one axis, or None where it has no output."""
    try:
        return Lattice.chain((channels, size), list(layers))
    except SpecificationError:
        return None


def outputs(net: Lattice) -> list[Unit]:
    """All output units."""
    channels, *spatial = net.output_shape
    return [Unit(tuple(position), channel) for position in product(*map(range, spatial)) for channel in range(channels)]


def end(net: Lattice, vector: Sequence[Any], output: Any) -> Unit | None:
    """Where a route ends; None where a tap reads padding."""
    try:
        return route(net, vector, output)
    except SpecificationError:
        return None


def listed_counts(net: Lattice, output: Any = None) -> list[int]:
    """Paths to each cell of the first input channel, on one axis, by listing command vectors and walking every one."""
    tops = outputs(net) if output is None else [net.unit(output)]
    ends = Counter(route(net, vector, top) for top in tops for vector in commands(net, top))
    return [ends[Unit((i,), 0)] for i in range(net.input_shape[1])]


def jacobian(function: Callable[[Any], Any], x: Any) -> torch.Tensor:
    """d function / d x, by torch's autograd: (outputs, inputs)."""
    rows: Any = torch.autograd.functional.jacobian(function, x)
    return rows.reshape(-1, x.numel())


def ones_jacobian(net: Lattice) -> list[list[int]]:
    """The Jacobian of the torch network with all weights one: its entries are numbers of paths, by Eq. 9."""
    network = build(net, 1.0, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for weight in network.weights().values():
            weight.fill_(1.0)
    found = jacobian(network, torch.zeros(1, *net.input_shape, dtype=torch.float64))
    return [[int(value) for value in row] for row in found]


def sign_patterns(weights: int) -> torch.Tensor:
    """All 2^n rows of plus and minus one."""
    return torch.tensor(list(product([1.0, -1.0], repeat=weights)), dtype=torch.float64)


def squares(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], patterns: torch.Tensor, x: Any) -> Array:
    """The mean over weight patterns w and outputs j of (d function(w, x)_j / dx_i)^2, over the entries of x."""
    x = torch.as_tensor(x, dtype=torch.float64)
    rows = torch.func.vmap(torch.func.jacrev(function, argnums=1), in_dims=(0, None))(patterns, x)
    found: Array = rows.reshape(len(patterns), -1, x.numel()).square().mean(dim=(0, 1)).detach().numpy()
    return found


def mean(values: Iterable[Any]) -> Fraction:
    """The exact mean of rational numbers."""
    found = [Fraction(value) for value in values]
    return sum(found, Fraction(0)) / len(found)


def relative_error(found: Any, expected: Any) -> float:
    """Relative rms difference of two maps of mean one."""
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    return float(np.sqrt(np.mean((found / found.mean() - expected / expected.mean()) ** 2)))


def same(size: int, depth: int, kernel: int = 3) -> Lattice:
    """`depth` zero-padded layers that keep the size."""
    return Lattice.chain((1, size), [Conv(1, kernel, padding=kernel // 2)] * depth)


def path_sum(net: Lattice) -> list[float]:
    """Eq. 8 with V[w] = 1 by listing: paths over outputs, times 1/n^2 for every average that all paths cross."""
    factor = 1.0
    for node in net.nodes[1:]:
        if isinstance(node.op, Pool | GlobalPool):
            (window,) = node.op.windows(net.input_shapes(node)[0][1:])
            factor /= window.taps(net.input_shapes(node)[0][1]) ** 2
    return [factor * count / len(outputs(net)) for count in listed_counts(net)]


def truth(net: Lattice, inputs: Any = None) -> Array:
    """E_j,W[(dh_j/dx_i)^2] over every pattern of weights +-1, by autograd."""
    return enumerated_squared_gradients(net, inputs, 1.0)


def near(found: Any, expected: Any) -> bool:
    return bool(np.allclose(found, expected, rtol=1e-10, atol=1e-12))


def train_mode_gradient(inputs: float = 1, weights: Sequence[float] = (1, 1), head: float = 1) -> float:
    """Mean squared gradient of (conv - batch norm - ReLU) - dense in train mode, from fixed draws times these factors."""
    random = np.random.default_rng(1)
    x = torch.from_numpy(inputs * random.normal(size=(8, 1, 6))).requires_grad_()
    h: torch.Tensor = x
    for scale in weights:
        a = functional.conv1d(h, torch.from_numpy(scale * random.normal(size=(2, h.shape[1], 3))), padding=1)
        h = functional.relu((a - a.mean((0, 2), keepdim=True)) / a.std((0, 2), correction=0, keepdim=True))
    (gradient,) = torch.autograd.grad((h * torch.from_numpy(head * random.normal(size=(2, 6)))).sum(), x)
    return float(gradient.square().mean())
