r"""The truth about a network, by plain autograd: Monte Carlo over its initialisations, and all sign patterns of a tiny one.

One draw is a fresh network, some inputs of white noise, Rademacher cotangents v; its map is

    (1 / (Z C)) sum_c (d(v . h) / dx_{c,i})^2,      E_v[...] = (1/Z) sum_j mean_c (dh_j / dx_{c,i})^2.

In train mode, where samples of a batch depend on each other, the gradient is that of one output sample with respect to its own
input. Nothing here uses the packages that are tested.
"""

from itertools import product
from math import prod

import numpy as np
import torch
from torch import nn

from tests.nets.build import Case

MOST_WEIGHTS = 10  # 2^10 patterns
PROBES = 8  # draws that tell which weights are random signs


def output_of(case: Case, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The output that is meant; the model may write into what it is given, which is a copy."""
    y = model(x.clone())
    return y if case.output is None else y[case.output]


def monte_carlo(case: Case, draws: int, start: int = 0) -> np.ndarray:
    """The maps of some draws, float64 (draws, *positions); draw i is the same whenever it is taken."""
    maps = np.empty((draws, *case.shape[1:]))
    with torch.random.fork_rng(devices=()):
        for row in range(draws):
            torch.default_generator.manual_seed(10_000_019 * (case.seed + 1) + start + row)
            maps[row] = _one(case)
    return maps


def _one(case: Case) -> np.ndarray:
    model = case.factory().train(case.mode == "train")
    x = torch.randn(case.batch, *case.shape, dtype=case.dtype).requires_grad_()
    y = output_of(case, model, x)
    v = torch.randint(0, 2, y.shape).mul_(2).sub_(1).to(y.dtype)
    samples = slice(0, 1) if case.coupled else slice(None)
    if not y.requires_grad:
        return np.zeros(case.shape[1:])
    (g,) = torch.autograd.grad((y[samples] * v[samples]).sum(), x, allow_unused=True)
    if g is None:
        return np.zeros(case.shape[1:])
    return g[samples].double().square().mean((0, 1)).numpy() / prod(y.shape[1:])


def random_signs(case: Case) -> dict[str, torch.Tensor] | None:
    """The size of every random weight by parameter, if all random weights are signs times constants, and there are few."""
    if not case.signs or case.mode == "train" or "dropout-always" in case.kinds or case.dtype is torch.bfloat16:
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(case.seed)
        states = [dict(case.factory().named_parameters()) for _ in range(PROBES)]
    sizes: dict[str, torch.Tensor] = {}
    for name in states[0]:
        values = torch.stack([state[name].detach() for state in states])
        if bool((values == values[0]).all()):
            continue
        if not bool((values.abs() == values.abs()[0]).all()):
            return None
        sizes[name] = values.abs()[0]
    return sizes if sizes and sum(size.numel() for size in sizes.values()) <= MOST_WEIGHTS else None


def enumerated(case: Case, sizes: dict[str, torch.Tensor], draws: int = 4) -> np.ndarray:
    """The maps over EVERY pattern of signs, for each of some inputs: (draws, *positions), in float64, without any noise of the
    weights."""
    total = sum(size.numel() for size in sizes.values())
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(case.seed)
        model = case.factory().eval().double()
        images = torch.randn(draws, *case.shape, dtype=torch.float64)
    parameters = dict(model.named_parameters())
    maps = np.zeros((draws, *case.shape[1:]))
    for signs in product((1.0, -1.0), repeat=total):
        pieces = torch.tensor(signs, dtype=torch.float64).split([size.numel() for size in sizes.values()])
        with torch.no_grad():
            for (name, size), piece in zip(sizes.items(), pieces, strict=True):
                parameters[name].copy_(size * piece.view_as(size))
        for row, image in enumerate(images):
            maps[row] += _jacobian_squared(case, model, image)
    return maps / 2**total


def _jacobian_squared(case: Case, model: nn.Module, image: torch.Tensor) -> np.ndarray:
    """mean_c (1/Z) sum_j (dh_j / dx_{c,i})^2 at one image, the outputs j in one batch."""
    with torch.no_grad():
        outputs = prod(output_of(case, model, image[None]).shape[1:])
    x = image.expand(outputs, *image.shape).clone().requires_grad_()
    y = output_of(case, model, x).reshape(outputs, outputs)
    if not y.requires_grad:
        return np.zeros(case.shape[1:])
    (g,) = torch.autograd.grad(y.diagonal().sum(), x, allow_unused=True)
    return np.zeros(case.shape[1:]) if g is None else g.square().mean(1).sum(0).numpy() / outputs


def variance_error(case: Case) -> float:
    """The relative standard error of prod V[w] when V[w] is read from draws of the factory: 64, or 5,000 weights a layer.

    A layer of n weights with kurtosis k has V[w] known to sqrt((k - 1) / (n draws)); the layers' errors add in squares.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(case.seed)
        states = [dict(case.factory().named_parameters()) for _ in range(64)]
    squared, smallest = 0.0, 5000
    for name in states[0]:
        values = torch.stack([state[name].detach().double().square().mean() for state in states])
        if states[0][name].dim() > 1 and float(values.mean()) > 0:
            smallest = min(smallest, states[0][name].numel())
            squared += float(values.var() / values.mean().square())
    return float(np.sqrt(squared / max(1, min(64, 5000 // smallest))))
