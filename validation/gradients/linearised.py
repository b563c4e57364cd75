"""The directional derivative of a piecewise-linear network, as one more LINEAR forward pass with recorded gates.

    s(theta) = sum_m <u_m, grad_x h_{y_m}(x_m)> = sum_m (J_m u_m)_{y_m}

A network of convolutions, affine norms in evaluation mode, sums and gates is h = J x + const around every input. The first
forward pass writes down its gates (`Tape`); the second sends u through the same layers, biases dropped, each gate replaced
by multiplication with what was recorded. Gates are constant in theta almost everywhere, so ordinary backward of s gives
grad_theta s without any second derivative. What has no rule here is named, never guessed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lattice import UnsupportedError

__all__ = ["Record", "Replay", "Tape", "signal"]


def signal(tensor: torch.Tensor) -> torch.Tensor:
    """Mark a tensor as one that depends on the network's input; inside the modes below, what is computed from one is one too.

    A mark on the tensor itself, and no subclass of it: that would be a view of the tensor, in which autograd pays for
    every in-place function with copies.

    Parameters
    ----------
    tensor : torch.Tensor
        What depends on the input.

    Returns
    -------
    torch.Tensor
        The same values, marked.

    Examples
    --------
    >>> with Record(Tape()):
    ...     hasattr(3 * signal(torch.ones(2)), "depends_on_input")
    True
    """
    tensor.depends_on_input = True  # type: ignore[attr-defined]
    return tensor


def _is_signal(value: Any) -> bool:
    return hasattr(value, "depends_on_input")


def _marked(results: Any) -> Any:
    for tensor in _tensors(results):
        signal(tensor)
    return results


def _signals(values: Any) -> int:
    return sum(map(_is_signal, _tensors(values)))


def _only_signals(value: Any) -> Any:
    """The same arguments with zeros in the place of tensors that do not depend on the input."""
    if isinstance(value, torch.Tensor):
        return value if _is_signal(value) else torch.zeros_like(value)
    return type(value)(map(_only_signals, value)) if isinstance(value, list | tuple) else value


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors among what a function takes or returns; torch's own walk over trees takes ten times as long."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors([*value.values()])


class Tape:
    """The gates of one forward pass, in order, and the first function that has no rule here (None: all have)."""

    def __init__(self) -> None:
        self.gates: list[tuple[str, torch.Tensor]] = []
        self.refused: str | None = None


# what asks for facts about a tensor that do not depend on its values
FACTS = frozenset({"size", "dim", "numel", "stride", "is_floating_point", "is_contiguous", "__len__", "ndimension"})
PROPERTIES = frozenset({"shape", "ndim", "dtype", "device", "requires_grad", "is_cuda", "layout"})
# linear in the list of tensors that is their first argument
JOINS = frozenset({"cat", "concat", "stack"})
# linear in their first argument
LINEAR = frozenset({
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "chunk",
    "split", "narrow", "getitem", "__getitem__", "roll", "clone", "contiguous", "to", "expand", "flatten", "unflatten",
    "reshape", "view", "squeeze", "unsqueeze", "movedim", "permute", "transpose", "interpolate", "upsample",
    "pixel_shuffle", "mean", "sum", "neg", "__neg__",
})  # fmt: skip
# linear in their first argument, plus a bias that is the third
AFFINE = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
})  # fmt: skip
SUMS = frozenset({"add", "add_", "__add__", "__iadd__", "__radd__", "sub", "sub_", "__sub__", "__isub__"})
IN_PLACE_SUMS = frozenset({"add_", "__iadd__", "sub_", "__isub__"})
SCALES = frozenset({
    "mul", "__mul__", "__rmul__", "div", "__truediv__", "true_divide", "mul_", "__imul__", "div_", "__itruediv__",
})  # fmt: skip
POOLS = frozenset({"max_pool1d", "max_pool2d", "max_pool3d"})


def _slope(low: float, high: float, slope: float = 1.0) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda a: ((a > low) & (a < high)).to(a.dtype) * slope


def _leaky(a: torch.Tensor, negative_slope: float = 0.01, inplace: bool = False) -> torch.Tensor:
    return torch.ones_like(a).masked_fill_(a <= 0, negative_slope)


# phi'(a) of the piecewise-linear functions, as torch's own backward passes have it at the corners
GATES: dict[str, Callable[..., torch.Tensor]] = {
    "relu": lambda a, inplace=False: (a > 0).to(a.dtype),
    "relu_": lambda a: (a > 0).to(a.dtype),
    "relu6": lambda a, inplace=False: _slope(0, 6)(a),
    "hardtanh": lambda a, min_val=-1.0, max_val=1.0, inplace=False: _slope(min_val, max_val)(a),
    "hardsigmoid": lambda a, inplace=False: _slope(-3, 3, 1 / 6)(a),
    "leaky_relu": _leaky,
    "abs": lambda a: a.sign(),
}


def _name(function: Any) -> str:
    name = str(getattr(function, "__name__", function))
    return f"property {function.__self__.__name__}" if name == "__get__" else name


def _is_fact(name: str) -> bool:
    return name in FACTS or name.removeprefix("property ") in PROPERTIES


class Record(TorchFunctionMode):
    """Run a network on a `signal` and write its gates to the tape; results are what they would be without it.

    What depends on the input without a mark was computed where this mode does not look (an `autograd.Function`, TorchScript,
    a hook); what has a mark and no gradient was cut off (`no_grad`, whole numbers). Both are refused.
    """

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape
        self.reaches: dict[Any, bool] = {None: False}  # node of the autograd graph: does it depend on the input?

    def close(self, outputs: Any) -> None:
        """Refuse a network whose outputs depend on the input unseen."""
        if not self.tape.refused and self._unseen(outputs):
            self.tape.refused = "a function of its own"

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if self.tape.refused or not _signals((args, kwargs)) or _is_fact(name):
            return func(*args, **kwargs)
        if self._unseen((args, kwargs)):
            self.tape.refused = f"a function of its own before {name}"
            return func(*args, **kwargs)
        if name in GATES and args:
            # before the call, which may work in place
            self.tape.gates.append((name, GATES[name](args[0].detach(), *args[1:], **kwargs)))
        elif name in POOLS and args:
            options = {key: value for key, value in kwargs.items() if key != "return_indices"}
            pooled, chosen = getattr(functional, name)(*args, **options, return_indices=True)
            self.tape.gates.append((name, chosen))
            return signal(pooled)
        elif not self._linear(name, args, kwargs):
            self.tape.refused = name
        results = _marked(func(*args, **kwargs))
        if not self.tape.refused and not all(tensor.requires_grad for tensor in _tensors(results)):
            self.tape.refused = f"{name} without a gradient"
        return results

    def _unseen(self, values: Any) -> bool:
        """Does a tensor without a mark depend on the input?"""
        return any(not _is_signal(tensor) and self._depends(tensor.grad_fn) for tensor in _tensors(values))

    def _depends(self, node: Any) -> bool:
        """Does the node of the autograd graph lead to a leaf with a mark? Every node is asked once."""
        waiting = [node]
        while waiting:
            here = waiting[-1]
            below = [found for found, _ in here.next_functions] if here not in self.reaches else []
            missing = [found for found in below if found not in self.reaches]
            waiting += missing
            if not missing:
                waiting.pop()
                leaf = getattr(here, "variable", None)
                self.reaches.setdefault(here, any(self.reaches[found] for found in below) or _is_signal(leaf))
        return self.reaches[node]

    @staticmethod
    def _linear(name: str, args: Sequence[Any], kwargs: Any) -> bool:
        others = _signals((args[1:], kwargs))
        first_only = _is_signal(args[0]) and others == 0 if args else False
        if name in AFFINE or name == "pad":
            return first_only
        if name in ("batch_norm", "dropout", "feature_dropout", "dropout2d"):
            # by position the flag is the sixth of a norm's, the third of a dropout's; where it is not given dropout is on
            place, default = (5, False) if name == "batch_norm" else (2, True)
            training = kwargs.get("training", args[place] if len(args) > place else default)
            return first_only and not training
        if name in LINEAR:
            return first_only
        if name in JOINS:
            return bool(args) and others == 0
        # of two by position: a named or scaled second term, and a quotient that is rounded, have no rule
        if len(args) != 2 or kwargs:
            return False
        return name in SUMS or (name in SCALES and (first_only or ("mul" in name and not _is_signal(args[0]))))


class Replay(TorchFunctionMode):
    """Run the same network on a direction u: the linear part of every layer, with the gates of the tape."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.gates: Iterator[tuple[str, torch.Tensor]] = iter(tape.gates)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = _name(func)
        if not _signals((args, kwargs)) or _is_fact(name):
            return func(*args, **kwargs)
        return _marked(self._linear_part(func, name, args, kwargs))

    def _linear_part(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
        if name in GATES or name in POOLS:
            written, gate = next(self.gates, ("nothing", torch.empty(0)))
            if written != name:
                raise UnsupportedError(
                    f"the network's second forward pass calls {name} where the first called {written}: its control flow "
                    "depends on the data; use way='double_backward'"
                )
            if name in POOLS:
                return args[0].flatten(2).gather(2, gate.flatten(2)).view(gate.shape)
            if name.endswith("_") or kwargs.get("inplace"):
                return args[0].mul_(gate)
            return args[0] * gate
        if name in AFFINE:
            kwargs.pop("bias", None)
            return func(*args[:2], None, *args[3:], **kwargs)
        if name == "batch_norm":
            return _without_shift(*args, **kwargs)
        if "dropout" in name:
            return args[0]
        if name == "pad":
            return functional.pad(*args[:2], *args[2:3], **{k: v for k, v in kwargs.items() if k != "value"})
        if name in JOINS:
            return func(_only_signals(args[0]), *args[1:], **kwargs)
        if name in IN_PLACE_SUMS and not _is_signal(args[0]):
            return func(args[0].zero_(), *args[1:])
        if name in SUMS and _signals((args, kwargs)) == 1:
            return self._alone(name, *args[:2])
        return func(*args, **kwargs)

    @staticmethod
    def _alone(name: str, first: Any, second: Any) -> Any:
        """Signal + constant: the constant goes, and leaves its shape."""
        kept, other = (first, second) if _is_signal(first) else (second, first)
        turned = -kept if kept is second and "sub" in name else kept
        return turned.expand(np.broadcast_shapes(turned.shape, getattr(other, "shape", ())))


def _without_shift(
    x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> torch.Tensor:  # fmt: skip
    return functional.batch_norm(x, torch.zeros_like(mean), variance, weight, None, False, momentum, eps)
