"""A user's model in evaluation mode, and afterwards as it was: modes, buffers and random state, whatever happens inside."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lattice import SpecificationError

__all__ = ["device_of", "untouched"]


@contextmanager
def untouched(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside; on leaving, by any exit, the modes, buffers and global random states of before.

    Gradients belong to `torch.autograd.grad` inside, which writes no `.grad`. A module in a frozen or mixed mode gets
    each part's own mode back; a buffer that was written to, or replaced by another tensor, is put back with its values.

    >>> model = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout())
    >>> with untouched(model):
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
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else ()):
        try:
            model.eval()
            yield
        finally:
            with torch.no_grad():
                for part, mode, kept in zip(parts, modes, buffers, strict=True):
                    part.training = mode
                    for name, buffer, values in kept:
                        part._buffers[name] = buffer
                        # an untouched buffer is not written to, so that its version counter stands still
                        if buffer is not None and not _same(buffer, values):
                            buffer.copy_(values)


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lies; the CPU for a model without any."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _copy(buffer: torch.Tensor | None) -> Any:
    return None if buffer is None else buffer.detach().clone()


def _same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return bool(torch.eq(first, second).all()) or (
        first.is_floating_point() and bool(torch.allclose(first, second, rtol=0, atol=0, equal_nan=True))
    )
