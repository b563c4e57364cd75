"""What double backward needs: functions that torch can differentiate twice, and the name of one that it cannot."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

__all__ = ["missing_second_derivative", "twice_differentiable"]


def _hardsigmoid(x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    written_out = functional.relu6(x + 3) / 6
    return x.copy_(written_out) if inplace else written_out


# functions of which torch has a first derivative only, in functions of which it has both
WRITTEN_OUT: dict[str, Callable[..., torch.Tensor]] = {"hardsigmoid": _hardsigmoid}
DEAD_ENDS = ("NotImplemented", "Error")  # torch's nodes for a derivative that it lacks, or that the user ruled out


class _WrittenOut(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return WRITTEN_OUT.get(getattr(func, "__name__", ""), func)(*args, **(kwargs or {}))


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Inside, attention and `WRITTEN_OUT` run in functions with second derivatives; the values are the same.

    >>> x = torch.tensor(0.6, requires_grad=True)
    >>> with twice_differentiable():
    ...     (slope,) = torch.autograd.grad(
    ...         torch.nn.functional.hardsigmoid(x) ** 2, x, create_graph=True
    ...     )
    >>> [round(float(g), 4) for g in torch.autograd.grad(slope, x)]
    [0.0556]
    """
    with sdpa_kernel(SDPBackend.MATH), _WrittenOut():
        yield


def missing_second_derivative(gradient: torch.Tensor) -> str:
    """What torch says of a derivative that is missing in the graph of a gradient; "" where the graph is whole.

    `torch.autograd.grad` stops at such a node with an error, or passes it by as if its derivative were zero.

    Parameters
    ----------
    gradient : torch.Tensor
        A gradient with its graph.

    Returns
    -------
    str
        torch's words, or nothing.
    """
    seen, waiting = set(), [gradient.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if type(node).__name__ in DEAD_ENDS:
            return _reason(node)
        seen.add(node)
        waiting += [below for below, _ in node.next_functions]
    return ""


def _reason(node: Any) -> str:
    """The error that a node raises when it is called; its name where it raises none."""
    try:
        node(*(torch.zeros(()) for _ in getattr(node, "_input_metadata", "1")))
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return f"there is a node {node.name()}"
