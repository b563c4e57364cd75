"""g = grad_x h_y(x), y ~ p(y|x), as a differentiable function of the parameters: three ways, one value.

double_backward   autograd through the backward pass: the only way that can itself be differentiated twice
linearised        grad_theta <u, g> as the gradient of one more linear forward pass on u with recorded gates
forward_mode      the same directional derivative by torch's forward mode, compared with double backward every time: torch's
                  derivative of its own forward mode is wrong for some layers (layer and instance norm: pytorch #196700)
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from lattice import AssumptionError, PilcroError, SpecificationError, UnsupportedError
from validation.gradients.linearised import Record, Replay, Tape, signal
from validation.gradients.second_derivatives import missing_second_derivative, twice_differentiable
from validation.runtime.preserve_state import call_model, gradient, preserve_state

__all__ = ["WAYS", "input_gradient", "sample_classes", "sample_uniforms"]

WAYS = ("auto", "linearised", "double_backward", "forward_mode")
SLACK = 1e-3  # of sum |u g|: above what float32 and TF32 round, far below what a wrong rule changes
ROUNDED = 100  # machine precisions of the whole gradient: what sums over a batch's cells, in two orders, differ by at most


def sample_uniforms(count: int, generator: torch.Generator) -> torch.Tensor:
    """One uniform number an image, float64: the same classes however a batch is split over processes.

    Parameters
    ----------
    count : int
        How many images.
    generator : torch.Generator
        Where the random numbers come from; torch's global state is not touched.

    Returns
    -------
    torch.Tensor
        float64 (count,).
    """
    if not isinstance(generator, torch.Generator):
        raise SpecificationError(f"generator is {generator!r}; it is torch.Generator().manual_seed(0), for example")
    return torch.rand(count, dtype=torch.float64, generator=generator, device=generator.device)


def sample_classes(logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """y ~ p(y|x) = softmax(h) (Eq. 13), by the inverse of the distribution function; (B, 1) class numbers.

    Parameters
    ----------
    logits : torch.Tensor
        h (B, classes).
    uniforms : torch.Tensor
        One uniform number in [0, 1) for each image, (B,): its sampled class.

    Returns
    -------
    torch.Tensor
        int64 (B, 1).

    Examples
    --------
    >>> sample_classes(torch.zeros(2, 4), torch.tensor([0.1, 0.9])).flatten()
    tensor([0, 3])
    """
    p = logits.detach().double().softmax(dim=1)
    drawn = torch.searchsorted(p.cumsum(dim=1), uniforms.to(p).reshape(-1, 1), right=True)
    return drawn.clamp_(max=logits.shape[1] - 1)


def input_gradient(model: torch.nn.Module, images: torch.Tensor, uniforms: torch.Tensor, *, way: str = "auto") -> torch.Tensor:
    """g (B, channels, *positions): the gradient of each image's sampled logit in its pixels, differentiable in the parameters.

     The backward pass of the other ways raises `UnsupportedError` where torch's
    forward mode fails or differs from double backward, `AssumptionError` where the second forward pass differs from the first.

    Parameters
    ----------
    model : torch.nn.Module
        The network; it is run in evaluation mode and left as it was.
    images : torch.Tensor
        (B, channels, *positions), floating point.
    uniforms : torch.Tensor
        One uniform number in [0, 1) for each image, (B,): its sampled class.
    way : str
        "linearised", "double_backward", "forward_mode", or "auto": the first where every layer has a rule, else the second.

    Returns
    -------
    torch.Tensor
        Of the shape of the images.

    Raises
    ------
    SpecificationError
        For images that are no floating-point batch or an unknown way.
    UnsupportedError
        For outputs that are not logits (B, classes), for functions without a second derivative in torch, and for
        way="linearised" where a function of the network has no rule.
    """
    _check(model, images, uniforms, way)
    model = getattr(model, "_orig_mod", model)  # what torch.compile made has no second derivative; the module inside has
    # a later forward pass in training mode writes the buffers: the graph keeps copies
    network = _Network(model, {name: buffer.detach().clone() for name, buffer in model.named_buffers()}, Tape())
    with torch.enable_grad(), network.evaluated(images.device):
        x = images.detach().clone().requires_grad_()
        if way in ("auto", "linearised"):
            logits = network.recorded(x)
            if network.tape.refused and way == "linearised":
                raise UnsupportedError(
                    f"the network calls {network.tape.refused}, which has no linear rule here; use way='double_backward' or "
                    "'auto'"
                )
            way = "double_backward" if network.tape.refused else "linearised"
        else:
            logits = network.logits(x)
        _check_logits(logits, len(x))
        classes = sample_classes(logits, uniforms)
        if way == "double_backward":
            return _twice(logits, classes, x)
        found = gradient(logits.gather(1, classes).sum(), x)
        directional = network.replayed if way == "linearised" else network.tangents
        learned = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        names, parameters = tuple(learned), tuple(learned.values())

        def along(u: torch.Tensor) -> torch.Tensor:
            with network.evaluated(u.device), _torchs_own(way):
                return directional(x.detach(), u).gather(1, classes).flatten()

        def compare(u: torch.Tensor, parts: Sequence[Any]) -> None:
            with network.evaluated(u.device):
                y = x.detach().requires_grad_()
                total = (u * _twice(network.logits(y), classes, y)).sum()
            _agree(names, parts, _in_parameters(total, parameters, way))

        direction = _Direction(way, along, compare if way == "forward_mode" else None, parameters)
        result: torch.Tensor = _Gradient.apply(direction, found, *parameters)
        return result


def _check(model: object, images: object, uniforms: object, way: str) -> None:
    if not isinstance(model, torch.nn.Module):
        raise SpecificationError(f"the model is a {type(model).__name__}; it must be a torch.nn.Module")
    if way not in WAYS:
        raise SpecificationError(f"way is {way!r}; it is one of {', '.join(WAYS)}")
    if not isinstance(images, torch.Tensor):
        raise SpecificationError(f"images is a {type(images).__name__}; it is a tensor (B, channels, *positions) of floats")
    if not images.is_floating_point() or images.ndim < 3 or not len(images):
        raise SpecificationError(f"images of shape {tuple(images.shape)}, {images.dtype}: (B, channels, *positions) of floats")
    if not isinstance(uniforms, torch.Tensor) or uniforms.shape != (len(images),):
        shape = tuple(getattr(uniforms, "shape", ()))
        raise SpecificationError(
            f"uniforms is a {type(uniforms).__name__} {shape} for {len(images)} images: one number an image"
        )
    if not bool(torch.isfinite(images).all()) or not bool(((uniforms >= 0) & (uniforms <= 1)).all()):
        raise SpecificationError("the images must be finite, and the uniform numbers lie from 0 to 1")


def _check_logits(logits: Any, count: int) -> None:
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != count:
        raise UnsupportedError(
            f"the model returns a {type(logits).__name__} of shape {tuple(getattr(logits, 'shape', ()))} for {count} "
            "images; wrap it so that it returns logits (B, classes)"
        )


@dataclass(frozen=True, eq=False)
class _Network:
    """The model with copies of its buffers, and the gates of its first forward pass."""

    model: torch.nn.Module
    buffers: dict[str, torch.Tensor]
    tape: Tape

    @contextmanager
    def evaluated(self, device: torch.device) -> Iterator[None]:
        """Evaluation mode in full precision, in functions with second derivatives; the model is left as it was."""
        with preserve_state(self.model), torch.autocast(device.type, enabled=False), twice_differentiable():
            yield

    def logits(self, x: torch.Tensor) -> Any:
        return call_model(lambda x: functional_call(self.model, self.buffers, (x,)), x, self.model)

    def recorded(self, x: torch.Tensor) -> Any:
        with Record(self.tape) as record:
            logits = self.logits(signal(x))
            record.close(logits)
        return logits

    def replayed(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        with Replay(self.tape):
            moved: torch.Tensor = functional_call(self.model, self.buffers, (signal(u.clone()),))
        return moved

    def tangents(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        with warnings.catch_warnings(), forward_ad.dual_level():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, about how it compiles its derivative formulas
            # of copies: what the model does in place it does to the direction too
            dual = forward_ad.make_dual(x.clone(), u.clone())  # type: ignore[no-untyped-call]
            moved, tangent = forward_ad.unpack_dual(functional_call(self.model, self.buffers, (dual,)))  # type: ignore[no-untyped-call]
            return torch.zeros_like(moved) if tangent is None else tangent


def _twice(logits: torch.Tensor, classes: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """g with its graph, which is checked to be whole."""
    found = gradient(logits.gather(1, classes).sum(), x, create_graph=True)
    missing = missing_second_derivative(found)
    if missing:
        raise UnsupportedError(
            f"this network has no gradient of a gradient: {missing}; write that function out in others that torch "
            "differentiates twice"
        )
    return found


@contextmanager
def _torchs_own(way: str) -> Iterator[None]:
    """What torch raises while it goes this way becomes an `UnsupportedError` that names the other."""
    try:
        yield
    except (PilcroError, torch.OutOfMemoryError):
        raise
    except RuntimeError as error:
        raise UnsupportedError(
            f"way={way!r} does not work for this network, torch raised: {str(error).splitlines()[0][:200]}; use "
            "way='double_backward'"
        ) from error


def _in_parameters(total: torch.Tensor, parameters: Sequence[torch.Tensor], way: str) -> tuple[Any, ...]:
    """The gradients of a number; None for a parameter that it does not depend on."""
    if not total.requires_grad:
        return (None,) * len(parameters)
    with _torchs_own(way):
        return torch.autograd.grad(total, parameters, allow_unused=True)


def _agree(names: Sequence[str], found: Sequence[Any], expected: Sequence[Any]) -> None:
    """Raises `UnsupportedError` where a parameter's gradient is off by more than `SLACK` and what the dtype rounds of all."""
    whole = sum(_size(part) ** 2 for part in expected) ** 0.5
    for name, a, b in zip(names, found, expected, strict=True):
        present = [part for part in (a, b) if part is not None]
        if not present:
            continue
        apart = _size(a - b) if len(present) == 2 else _size(present[0])
        if not apart <= SLACK * _size(b) + ROUNDED * torch.finfo(present[0].dtype).eps * whole:
            raise UnsupportedError(
                f"way='forward_mode' is wrong for this network: torch's own gradient in {name} is {apart:g} off, of "
                f"{_size(b):g} (it differentiates its forward mode wrongly through layer and instance norms, for example); "
                "use way='double_backward'"
            )


def _size(part: torch.Tensor | None) -> float:
    return 0.0 if part is None else part.double().norm().item()


@dataclass(frozen=True, eq=False)
class _Direction:
    """How to differentiate along u: `along(u)`_m = <u_m, g_m(theta)>; `compare(u, gradients)` refuses wrong ones."""

    way: str
    along: Callable[[torch.Tensor], torch.Tensor]
    compare: Callable[[torch.Tensor, Sequence[Any]], None] | None
    parameters: Sequence[torch.Tensor]


class _Gradient(torch.autograd.Function):
    """The value g, whose derivative along u is that of sum_m `along(u)`_m."""

    @staticmethod
    def forward(ctx: Any, direction: _Direction, gradient: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        ctx.direction = direction
        ctx.save_for_backward(gradient, *parameters)
        return gradient.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u: torch.Tensor) -> Any:
        gradient, *_ = ctx.saved_tensors  # raises where a parameter was changed since the forward pass
        direction, u = ctx.direction, u.detach()
        with torch.enable_grad():
            moved = direction.along(u)
            total = moved.sum()
        # image by image: the sum over images is zero for every function of the landscape's shape alone
        products = (u.double() * gradient.double()).flatten(1)
        apart = (moved.detach() - products.sum(dim=1)).abs().sum()
        if not bool(apart <= SLACK * products.abs().sum()):
            raise AssumptionError(
                f"the directional derivatives and <u, g> are {apart.item():g} apart, of {products.abs().sum().item():g}: this "
                "network is not what its recorded gates say (its forward pass is not deterministic?); use way='double_backward'"
            )
        found = _in_parameters(total, direction.parameters, direction.way)
        if direction.compare is not None:
            with torch.enable_grad():
                direction.compare(u, found)
        return None, None, *found
