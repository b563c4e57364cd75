"""g = grad_x h_y(x), y ~ p(y|x), as a differentiable function of the parameters: three ways, one value.

double_backward   autograd through the backward pass: the only way that can itself be differentiated twice
linearised        grad_theta <u, g> as the gradient of one more linear forward pass on u with recorded gates
forward_mode      the same directional derivative by torch's forward mode
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from lattice import AssumptionError, SpecificationError, UnsupportedError
from validation.evaluation.untouched import gradient, ran, untouched
from validation.training.linearised import Record, Replay, Tape, signal

__all__ = ["WAYS", "input_gradient", "sample_classes", "sample_uniforms"]

WAYS = ("auto", "linearised", "double_backward", "forward_mode")
SLACK = 1e-3  # of sum |u g|: above what float32 and TF32 round, far below what a wrong rule changes


def sample_uniforms(count: int, generator: torch.Generator) -> torch.Tensor:
    """One uniform number an image, float64: the same classes however a batch is split over processes."""
    if not isinstance(generator, torch.Generator):
        raise SpecificationError(f"generator is {generator!r}; it is torch.Generator().manual_seed(0), for example")
    return torch.rand(count, dtype=torch.float64, generator=generator, device=generator.device)


def sample_classes(logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """y ~ p(y|x) = softmax(h) (Eq. 13), by the inverse of the distribution function; (B, 1) class numbers.

    >>> sample_classes(torch.zeros(2, 4), torch.tensor([0.1, 0.9])).flatten()
    tensor([0, 3])
    """
    p = logits.detach().double().softmax(dim=1)
    drawn = torch.searchsorted(p.cumsum(dim=1), uniforms.to(p).reshape(-1, 1), right=True)
    return drawn.clamp_(max=logits.shape[1] - 1)


def input_gradient(model: torch.nn.Module, images: torch.Tensor, uniforms: torch.Tensor, *, way: str = "auto") -> torch.Tensor:
    """g (B, channels, *positions): the gradient of each image's sampled logit in its pixels, differentiable in the parameters.

    Raises `SpecificationError` for images that are no floating-point batch or an unknown way, `UnsupportedError` for
    outputs that are not logits (B, classes), and for way="linearised" where a function of the network has no rule.
    """
    if way not in WAYS:
        raise SpecificationError(f"way is {way!r}; it is one of {', '.join(WAYS)}")
    if not isinstance(images, torch.Tensor):
        raise SpecificationError(f"images is a {type(images).__name__}; it is a tensor (B, channels, *positions) of floats")
    if not images.is_floating_point() or images.ndim < 3 or not len(images):
        raise SpecificationError(f"images of shape {tuple(images.shape)}, {images.dtype}: (B, channels, *positions) of floats")
    if uniforms.shape != (len(images),):
        raise SpecificationError(f"{tuple(uniforms.shape)} uniform numbers for {len(images)} images: one an image")
    if not bool(torch.isfinite(images).all()) or not bool(((uniforms >= 0) & (uniforms <= 1)).all()):
        raise SpecificationError("the images must be finite, and the uniform numbers lie from 0 to 1")
    model = getattr(model, "_orig_mod", model)  # what torch.compile made has no second derivative; the module inside has
    # a later forward pass in training mode writes the buffers: the graph keeps copies
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with torch.enable_grad(), untouched(model), torch.autocast(images.device.type, enabled=False):
        x = images.detach().clone().requires_grad_()
        tape = Tape()

        def called(x: torch.Tensor) -> Any:
            return functional_call(model, buffers, (x,))

        if way in ("auto", "linearised"):
            with Record(tape):
                logits = ran(called, signal(x), type(model).__name__)
            if tape.refused and way == "linearised":
                raise UnsupportedError(
                    f"the network calls {tape.refused}, which has no linear rule here; use way='double_backward' or 'auto'"
                )
            way = "double_backward" if tape.refused else "linearised"
        else:
            logits = ran(called, x, type(model).__name__)
        if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(x):
            raise UnsupportedError(
                f"the model returns a {type(logits).__name__} of shape {tuple(getattr(logits, 'shape', ()))} for {len(x)} "
                "images; wrap it so that it returns logits (B, classes)"
            )
        classes = sample_classes(logits, uniforms)
        chosen = logits.gather(1, classes).sum()
        found = gradient(chosen, x, create_graph=way == "double_backward")
        if way == "double_backward":
            return found
        directional = _linearised if way == "linearised" else _forward_mode

        def along(u: torch.Tensor) -> torch.Tensor:
            with untouched(model), torch.autocast(u.device.type, enabled=False):
                return directional(model, buffers, x.detach(), u, tape).gather(1, classes).flatten()

        parameters = [p for p in model.parameters() if p.requires_grad]
        result: torch.Tensor = _Gradient.apply(along, found, parameters, *parameters)
        return result


def _linearised(model: torch.nn.Module, buffers: Any, x: torch.Tensor, u: torch.Tensor, tape: Tape) -> torch.Tensor:
    with Replay(tape):
        moved: torch.Tensor = functional_call(model, buffers, (signal(u.clone()),))
    return moved


def _forward_mode(model: torch.nn.Module, buffers: Any, x: torch.Tensor, u: torch.Tensor, tape: Tape) -> torch.Tensor:
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about how it compiles its derivative formulas
        moved = functional_call(model, buffers, (forward_ad.make_dual(x, u),))  # type: ignore[no-untyped-call]
        tangent: torch.Tensor = forward_ad.unpack_dual(moved).tangent  # type: ignore[no-untyped-call]
        return tangent


class _Gradient(torch.autograd.Function):
    """The value g, whose derivative along u is that of sum_m `along(u)`_m, where `along(u)`_m = <u_m, g_m(theta)>."""

    @staticmethod
    def forward(
        ctx: Any, along: Callable[[torch.Tensor], torch.Tensor], gradient: torch.Tensor, leaves: Any, *parameters: torch.Tensor
    ) -> torch.Tensor:
        ctx.along, ctx.leaves = along, leaves
        ctx.save_for_backward(gradient, *parameters)
        return gradient.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: torch.Tensor) -> Any:
        gradient, *_ = ctx.saved_tensors  # raises where a parameter was changed since the forward pass
        u = u.detach()
        with torch.enable_grad():
            moved = ctx.along(u)
            total = moved.sum()
        # image by image: the sum over images is zero for every function of the landscape's shape alone
        products = (u.double() * gradient.double()).flatten(1)
        apart = (moved.detach() - products.sum(dim=1)).abs().sum()
        if not bool(apart <= SLACK * products.abs().sum()):
            raise AssumptionError(
                f"the directional derivatives and <u, g> are {apart.item():g} apart, of {products.abs().sum().item():g}: this "
                "network is not what its recorded gates say (its forward pass is not deterministic?); use way='double_backward'"
            )
        return None, None, None, *torch.autograd.grad(total, ctx.leaves, allow_unused=True)
