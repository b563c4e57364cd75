"""One evaluation of the penalty against one plain training step."""

from collections.abc import Callable
from typing import Any

from benchmarks.rows import Result, Skip, at_most, row, side_by_side


@row("one penalty evaluation: ResNet-18, 32x32, batch 16")
def penalty() -> Result:
    """Forward and backward of the penalty, by its three ways, beside forward and backward of the cross-entropy."""
    try:
        from torchvision.models import resnet18
    except ImportError as error:
        raise Skip("torchvision is not installed") from error
    import torch
    from torch.nn import functional

    from validation import curvature_penalty, importance_map

    torch.manual_seed(0)
    model = resnet18(num_classes=10)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    uniforms = torch.rand(16, dtype=torch.float64)
    parameters = list(model.parameters())

    def step() -> None:
        model.train()
        torch.autograd.grad(functional.cross_entropy(model(images), labels), parameters)

    def penalised(way: str) -> Callable[[], Any]:
        def once() -> None:
            loss = curvature_penalty(importance_map(model, images, uniforms=uniforms, way=way))
            torch.autograd.grad(loss, parameters, allow_unused=True)

        return once

    ways: dict[str, Callable[[], Any]] = {"plain step": step}
    ways |= {way: penalised(way) for way in ("linearised", "double_backward", "forward_mode")}
    seconds = side_by_side(ways, seconds=20)
    ratio = seconds["linearised"] / seconds["plain step"]
    others = ", ".join(f"{way} {seconds[way] / seconds['plain step']:.2f}" for way in ("double_backward", "forward_mode"))
    return Result(seconds, [at_most(1.8, "linearised / plain step", ratio)], [f"the other ways, in plain steps: {others}"])
