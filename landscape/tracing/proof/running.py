"""A model run once forwards and backwards, on a copy that leaves it as it was, with what it draws at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.tracing.graph.constants import RANDOM
from landscape.tracing.graph.randomness import only_torch_draws
from lattice import UnsupportedError

__all__ = ["Run", "Unfinished", "copied", "run_model", "seeded"]


class Unfinished(Exception):  # noqa: N818
    """Raised where a model and its lattice could not be compared; the text says why."""


@dataclass(slots=True)
class Run:
    """One pass: output, input gradient, what was drawn at random, and the value and the gradient at every module's output.

    Modules by path; the second call of one is "path_2". Only filled where they were asked for.
    """

    output: torch.Tensor
    gradient: torch.Tensor
    drawn: list[torch.Tensor] = field(default_factory=list)
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps a copy of what every random operation draws."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drawn: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if name in RANDOM:
            self.drawn.append((result[1] if name == "native_dropout" else result).detach().clone())
        return result


@contextmanager
def seeded(device: torch.device, seed: int = 0) -> Iterator[None]:
    """Torch's random state, as it is after this seed, within; as it was afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def copied(model: torch.nn.Module, dtype: torch.dtype, own: torch.dtype) -> Iterator[torch.nn.Module]:
    """A copy of a model in this type. Where it cannot be copied, itself, its buffers restored afterwards; in its own type."""
    try:
        converted = {id(tensor): _converted(tensor, dtype) for tensor in (*model.parameters(), *model.buffers())}
        copy = deepcopy(model, {key: tensor for key, tensor in converted.items() if tensor is not None})
        copy = copy.to(dtype).requires_grad_(False)
    except Exception as error:
        if dtype != own:
            raise Unfinished(f"the model cannot be copied: {_line(error)}") from error
    else:
        yield copy
        return
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        yield model
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])


def _converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """A copy in another type, made at once; None where that is for deepcopy to know."""
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.dtype == dtype or not tensor.is_floating_point():
        return None
    copy = tensor.detach().to(dtype)
    return torch.nn.Parameter(copy, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else copy


def run_model(
    model: torch.nn.Module,
    x: torch.Tensor,
    cotangent: Callable[[torch.Tensor], torch.Tensor],
    select: Callable[[Any], Any],
    *,
    random: bool,
    watch: bool = False,
    seed: int = 0,
) -> Run:
    """One forward and backward pass of a model, which draws at random (from this seed) or not; `watch` keeps what its modules give.

    `select` takes the output that is meant from what the model returns; `cotangent` gives a cotangent of its shape.
    """
    draws = _Draws()
    values: dict[str, torch.Tensor] = {}
    gradients: dict[str, torch.Tensor] = {}
    hooks = _watch(model, values, gradients) if watch else []
    parameters = [(parameter, parameter.requires_grad) for parameter in model.parameters()] if watch else []
    for parameter, _ in parameters:  # so that gradients reach a layer whatever is cut off below it
        parameter.requires_grad_()
    leaf = x.detach().clone().requires_grad_()
    try:
        with torch.enable_grad(), seeded(x.device, seed), only_torch_draws():
            if random:
                with draws:
                    output = select(model(leaf.clone()))
            else:
                output = select(model(leaf.clone()))
            gradient = input_gradient(output, leaf, cotangent(output), [parameter for parameter, _ in parameters])
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise Unfinished(f"there is not enough memory for a pass of the model: {_line(error)}") from error
    except UnsupportedError:
        raise
    except Exception as error:
        if "alloc" in str(error):
            raise Unfinished(f"there is not enough memory for a pass of the model: {_line(error)}") from error
        raise UnsupportedError(
            f"the model gives no gradient of its own for a random input: {type(error).__name__}: {_line(error)}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, required in parameters:
            parameter.requires_grad_(required)
    return Run(output.detach(), gradient, draws.drawn, values, gradients)


def input_gradient(
    output: torch.Tensor, leaf: torch.Tensor, cotangent: torch.Tensor, others: Sequence[torch.Tensor] = ()
) -> torch.Tensor:
    """The gradient of cotangent * output; zero where no path leads to the input. The pass goes down to the others too."""
    if not output.requires_grad:
        return torch.zeros_like(leaf)
    gradient, *_ = torch.autograd.grad(output, (leaf, *others), cotangent, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient


def _watch(model: torch.nn.Module, values: dict[str, torch.Tensor], gradients: dict[str, torch.Tensor]) -> list[Any]:
    """Hooks that keep the value and the gradient of every module's output, where that is one tensor."""
    calls: dict[str, int] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(_module: Any, _arguments: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                return
            calls[path] = calls.get(path, 0) + 1
            name = path if calls[path] == 1 else f"{path}_{calls[path]}"
            values[name] = output.detach().clone()
            gradients[name] = torch.zeros_like(values[name])  # unless one arrives
            if output.requires_grad:
                output.register_hook(lambda slope: gradients.update({name: slope.detach().clone()}))  # type: ignore[no-untyped-call]

        return hook

    return [module.register_forward_hook(keep(path)) for path, module in model.named_modules()]


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:300]
