"""Modules: one that a factory makes, the one inside a compiled one, and the mode that one is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from landscape.input_checks import call_factory
from lattice import UnsupportedError

if TYPE_CHECKING:
    import torch

__all__ = ["drawn_module", "inside", "mode_of"]


def drawn_module(factory: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """A module of a factory, the same for the same seed, the global random state left as it was."""
    import torch

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        made = call_factory(factory)
    if not isinstance(made, torch.nn.Module):
        name = getattr(factory, "__qualname__", factory)
        raise UnsupportedError(f"the factory {name} returned a {type(made).__name__}; a factory returns a torch.nn.Module")
    return made


def inside(model: Any) -> Any:
    """What torch.compile made is left out: torch 2.6 cannot export it, only the module inside."""
    return getattr(model, "_orig_mod", model)


@contextmanager
def mode_of(model: torch.nn.Module, train: bool) -> Iterator[None]:
    """The model in evaluation mode, or in training mode with its frozen parts; every module's own mode restored at the end."""
    modes = [(module, module.training) for module in model.modules()]

    def restore() -> None:
        for module, training in modes:
            module.training = training

    try:
        if not train:
            model.eval()
        elif not model.training:
            model.train()
        yield
    finally:
        try:
            restore()
        except KeyboardInterrupt:  # it came while this was at work, so that this begins again
            restore()
            raise
