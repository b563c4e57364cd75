"""The effective receptive field of a trained network against the same gradients in a bare loop."""

from typing import Any

from benchmarks.rows import Result, Skip, at_most, row, side_by_side

IMAGES, BATCH, SIZE, LAYER = 50, 8, 128, "layer3"


@row("erf: ResNet-18, 50 images of 128x128, layer3")
def field() -> Result:
    """`effective_receptive_field` with standard errors, and a loop with a hook, signs, a backward pass and a sum of squares."""
    try:
        from torchvision.models import resnet18
    except ImportError as error:
        raise Skip("torchvision is not installed") from error
    import torch

    from validation import effective_receptive_field

    torch.manual_seed(0)
    model = resnet18().eval()
    images = torch.randn(IMAGES, 3, SIZE, SIZE)

    def bare() -> Any:
        kept: list[torch.Tensor] = []
        handle = model.get_submodule(LAYER).register_forward_hook(lambda _, __, returned: kept.append(returned))
        total = torch.zeros(SIZE, SIZE, dtype=torch.double)
        for batch in images.split(BATCH):
            x = batch.clone().requires_grad_()
            model(x)
            unit = kept.pop()[:, :, SIZE // 32, SIZE // 32]
            (gradient,) = torch.autograd.grad(unit, x, 2.0 * torch.randint(0, 2, unit.shape) - 1)
            total += gradient.double().square().mean(dim=1).sum(dim=0)
        handle.remove()
        return total / IMAGES

    ways = {
        "effective_receptive_field": lambda: effective_receptive_field(model, images, layer=LAYER, batch_size=BATCH),
        "bare loop": bare,
    }
    seconds = side_by_side(ways, seconds=30)
    ratio = seconds["effective_receptive_field"] / seconds["bare loop"]
    return Result(seconds, [at_most(1.1, "effective_receptive_field / bare loop", ratio)])
