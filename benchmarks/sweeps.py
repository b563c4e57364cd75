"""Rows on the float sweep: against one training step's gradient, and its cost against positions and layers."""

from collections.abc import Callable, Mapping
from functools import partial
from math import log2
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.rows import Result, Skip, at_least, at_most, row, side_by_side
from landscape import predict
from lattice import Lattice, families, pull_back


def lattice_sweep(net: Lattice) -> Callable[[], Any]:
    return lambda: pull_back(net, lambda node: 0.5, np.ones((1, *net.output_shape[1:])))


def _beside_one_step(
    name: str,
    way: Callable[[Any], Any],
    rounds: int,
    first: Callable[[Any], None] = lambda model: None,
    more: Mapping[str, Callable[[Any], Any]] = MappingProxyType({}),
) -> dict[str, float]:
    """Seconds of `way(model)`, of `more`, and of one forward and backward pass of ResNet-50 at 224 and batch 1; two threads."""
    try:
        import torch
        from torchvision.models import resnet50
    except ImportError as error:
        raise Skip(f"{error.name} is not installed") from None
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        model = resnet50(weights=None).eval()
        first(model)
        image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))

        def step() -> None:
            model.zero_grad()
            model(image).sum().backward()

        ways = {name: way, **more}
        timed = {one: partial(way_of, model) for one, way_of in ways.items()}
        return side_by_side({**timed, "forward and backward": step}, seconds=20, rounds=rounds)
    finally:
        torch.set_num_threads(threads)


@row("float64 sweep, ResNet-50 at 224")
def resnet_sweep() -> Result:
    """What a prediction does after tracing, against one forward and backward pass of the same model at batch 1."""
    sweep = lattice_sweep(families.bottleneck_resnet())
    seconds = _beside_one_step("sweep", lambda model: sweep(), rounds=30)
    ratio = seconds["forward and backward"] / seconds["sweep"]
    return Result(seconds, [at_least(80, "of one forward and backward at batch 1: 1 in", ratio)], ["torch with 2 threads"])


@row("predict with tracing, ResNet-50 at 224")
def whole_predict() -> Result:
    """All that `predict` does, and without the comparison with the model, against one forward and backward pass."""
    more = {"without the comparison": lambda model: predict(model, (3, 224, 224), check=False)}
    seconds = _beside_one_step("predict", lambda model: predict(model, (3, 224, 224)), rounds=5, more=more)
    step = seconds["forward and backward"]
    claims = [
        at_most(5, "times one forward and backward at batch 1", seconds["predict"] / step),
        at_most(3, "times it without the comparison", seconds["without the comparison"] / step),
    ]
    return Result(seconds, claims, ["torch with 2 threads"])


@row("predict with running statistics of its own, ResNet-50 at 224")
def predict_with_statistics() -> Result:
    """A network that has seen images: its gates read signals with a mean, channel by channel."""

    def seen(model: Any) -> None:
        import torch

        with torch.no_grad():
            model.train()(torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
        model.eval()

    def by_theory(check: bool) -> Callable[[Any], Any]:
        return lambda model: predict(model, (3, 224, 224), check=check)

    def of_four_images(model: Any) -> None:
        import torch

        images = torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(3))
        predict(model, (3, 224, 224), inputs=images)

    more = {"without the comparison": by_theory(check=False), "of four given images": of_four_images}
    seconds = _beside_one_step("predict", by_theory(check=True), rounds=3, first=seen, more=more)
    step = seconds["forward and backward"]
    claims = [
        at_most(6, "times one forward and backward at batch 1", seconds["predict"] / step),
        at_most(4, "times it without the comparison", seconds["without the comparison"] / step),
    ]
    note = f"torch with 2 threads; of four given images {seconds['of four given images'] / step:.1f} times"
    return Result(seconds, claims, [note])


@row("cost against positions")
def positions() -> Result:
    """Float sweeps of 20 layers over more and more cells."""
    sizes = [2**power for power in range(12, 18)]
    seconds = side_by_side({f"{size} cells": lattice_sweep(families.plain(size, 20, padding=1)) for size in sizes})
    return Result(seconds, [at_most(1.2, "exponent of the cost in positions", exponent(sizes, list(seconds.values())))])


@row("cost against layers")
def depth() -> Result:
    """Float sweeps over 224 cells through more and more layers."""
    depths = [50 * 2**power for power in range(6)]
    seconds = side_by_side({f"{layers} layers": lattice_sweep(families.plain(224, layers, padding=1)) for layers in depths})
    return Result(seconds, [at_most(1.1, "exponent of the cost in layers", exponent(depths, list(seconds.values())))])


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log time against log size, by least squares over all doublings: 1 is linear, below 1 overheads show."""
    return float(np.polyfit(list(map(log2, sizes)), list(map(log2, seconds)), 1)[0])
