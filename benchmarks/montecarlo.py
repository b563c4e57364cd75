"""Rows on Monte Carlo: `measure` against a loop that builds, initialises and backpropagates one network at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.rows import Result, at_least, row, side_by_side
from lattice import Activation, Conv, Lattice
from validation import measure
from validation.montecarlo.sampler import Sampler
from validation.montecarlo.sources import LatticeSource

DRAWS, CHUNK, SHAPE, CORES = 1024, 64, (3, 32, 32), 2
NET = Lattice.chain(SHAPE, [layer for _ in range(6) for layer in (Conv(8, 3, padding=1), Activation("relu"))])


def factory() -> nn.Module:
    """The same network as one writes it in torch."""
    layers: list[nn.Module] = []
    for position in range(6):
        conv = nn.Conv2d(8 if position else 3, 8, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)


def one_at_a_time() -> torch.Tensor:
    """The loop that one writes first."""
    total = torch.zeros(SHAPE[1:], dtype=torch.double)
    for draw in range(DRAWS):
        torch.manual_seed(draw)
        network, x = factory(), torch.randn(1, *SHAPE, requires_grad=True)
        output = network(x)
        (gradient,) = torch.autograd.grad(output, x, 2.0 * torch.randint(0, 2, output.shape) - 1)
        total += gradient[0].double().square().mean(dim=0)
    return total / DRAWS


def arithmetic_alone() -> Callable[[], Any]:
    """The batched forward and backward passes of as many draws, on weights, inputs and cotangents that are there."""
    device = torch.device("cpu")
    source = LatticeSource(NET, None, "normal")
    sampler = Sampler(source, SHAPE, 0, inputs_per_draw=1, inputs=None, device=device, train=False)
    indices = range(CHUNK)
    x, v, states = sampler._inputs(indices), sampler._cotangents(indices), sampler._states(indices)
    return lambda: [sampler._together(x, v, states) for _ in range(DRAWS // CHUNK)]


def on_both_cores(way: Callable[[], Any]) -> Callable[[], Any]:
    """With two torch threads."""

    def run() -> Any:
        torch.set_num_threads(CORES)
        try:
            return way()
        finally:
            torch.set_num_threads(1)

    return run


@row("measure, 1024 draws of 6 layers, 8 channels, 32x32")
def small_nets() -> Result:
    """With one torch thread for all ways but `measure`, which gives each of two a chunk of its own.

    Within an operation a second thread costs such small convolutions more than it does.
    """
    ways: dict[str, Callable[[], Any]] = {
        "measure(lattice)": on_both_cores(lambda: measure(NET, draws=DRAWS, device="cpu")),
        "measure(factory)": lambda: measure(factory, SHAPE, draws=DRAWS, device="cpu"),
        "one network at a time": one_at_a_time,
        "arithmetic alone": arithmetic_alone(),
    }
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=()):
            best = side_by_side(ways, seconds=20)
    finally:
        torch.set_num_threads(before)
    rest = 1 - best["arithmetic alone"] / CORES / best["measure(lattice)"]
    return Result(
        best,
        [
            at_least(
                5, "faster than one network at a time, of a lattice", best["one network at a time"] / best["measure(lattice)"]
            ),
            at_least(
                2, "faster than one network at a time, of a factory", best["one network at a time"] / best["measure(factory)"]
            ),
        ],
        [f"{rest:.0%} of measure(lattice), on {CORES} cores, is not forward and backward but drawing, squaring, Python"],
    )
