"""A user's model in evaluation mode, and afterwards as it was: modes, buffers and random state, whatever happens inside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from landscape.input_checks import users_line
from landscape.tracing.input_hint import input_hint
from lattice import PilcroError, SpecificationError, UnsupportedError

__all__ = ["device_of", "gradient", "call_model", "preserve_state"]


@contextmanager
def preserve_state(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside; on leaving, by any exit, the modes, buffers and global random states of before.

    Gradients belong to `torch.autograd.grad` inside, which writes no `.grad`. A module in a frozen or mixed mode gets
    each part's own mode back; a buffer that was written to, or replaced by another tensor, is put back with its values.

    >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    >>> with preserve_state(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    given: object = model
    if not isinstance(given, torch.nn.Module):
        raise SpecificationError(f"the model is a {type(given).__name__}; it must be a torch.nn.Module")
    parts = list(model.modules())
    modes = [part.training for part in parts]
    # the tensors themselves and copies of their values: a forward pass may write into a buffer, or replace it
    buffers = [[(name, buffer, _copy(buffer)) for name, buffer in part._buffers.items()] for part in parts]
    device = device_of(model)
    random = torch.get_rng_state()
    random_there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore() -> None:
        torch.set_rng_state(random)
        if random_there is not None:
            torch.cuda.set_rng_state(random_there, device)
        with torch.no_grad():
            for part, mode, kept in zip(parts, modes, buffers, strict=True):
                part.training = mode
                for name, buffer, values in kept:
                    part._buffers[name] = buffer
                    # a buffer that did not change is not written to, so that its version counter stands still
                    if buffer is not None and not _same(buffer, values):
                        buffer.copy_(values)

    try:
        model.eval()
        yield
    finally:
        try:
            restore()
        except KeyboardInterrupt:  # it came while this was at work, so that this begins again
            restore()
            raise


def call_model(model: Callable[[torch.Tensor], Any], images: torch.Tensor, module: torch.nn.Module | None = None) -> Any:
    """What the model returns for a copy of the images; what it raises becomes an `UnsupportedError` that says for what.

    `module` is what an error speaks of, where `model` only calls it.

    A model may work in place on its input (`x -= mean`, a first ReLU in place). The copy keeps the caller's images as they
    are, and it is no leaf of the autograd graph, in which torch allows no such change: gradients flow through it to `images`.

    >>> x = torch.ones(1, 3, requires_grad=True)
    >>> call_model(torch.nn.ReLU(inplace=True), x).sum().backward()
    >>> x.grad
    tensor([[1., 1., 1.]])
    """
    try:
        return model(images.clone())
    except (PilcroError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        shape = tuple(images.shape[1:])
        named = module or model
        hint = input_hint(named, shape) if isinstance(named, torch.nn.Module) else ""
        raise UnsupportedError(
            f"the model ({type(named).__name__}) raised {type(error).__name__} for an input of shape "
            f"{tuple(images.shape)}, {images.dtype}, on {images.device}: {reason}{users_line(error)}; "
            + (hint or "give inputs of the size, channels and precision that it takes")
        ) from error


def gradient(outputs: torch.Tensor, x: torch.Tensor, cotangent: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
    """The gradient of outputs (with a cotangent) in x; zero where they do not depend on x.

    >>> x = torch.ones(2, requires_grad=True)
    >>> gradient((3 * x).sum(), x), gradient(torch.ones(()), x)
    (tensor([3., 3.]), tensor([0., 0.]))
    """
    if not outputs.requires_grad:
        return torch.zeros_like(x)
    found = torch.autograd.grad(outputs, x, cotangent, allow_unused=True, materialize_grads=True, **options)[0]
    return found if options.get("create_graph") else found.detach()  # the zeros of torch 2.6 ask for gradients themselves


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lies; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _copy(buffer: torch.Tensor | None) -> Any:
    return None if buffer is None else buffer.detach().clone()


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.equal(first, second) or (
        first.is_floating_point() and bool(torch.allclose(first, second, rtol=0, atol=0, equal_nan=True))
    )
