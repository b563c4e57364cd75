"""Where the rules of ATen operations are registered, and why some operations can have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from landscape.tracing.graph.reader import Fixed, Reader, Refusal, Rule, shape_of

__all__ = ["REASONS", "RULES", "along_channels", "per_axis", "positions", "rule", "statistics"]

RULES: dict[str, Rule] = {}
_DATA = "never: what it computes depends on the data; the theory counts fixed paths"
_RECURRENT = "never: a recurrent layer uses its weights again at every step"
_COMPUTED = "replace: computes a weight from other tensors; remove the parametrisation, or fold it into the weight"
_FLAT = "never: its gradient is zero"
_ROUNDS = ("floor", "ceil", "round", "trunc", "fix", "sign", "sgn", "floor_divide", "heaviside", "argmin", "bincount")
_COMPARES = ("gt", "ge", "lt", "le", "eq", "ne", "greater", "less", "logical_and", "logical_or", "logical_not", "isnan")
REASONS = {
    **dict.fromkeys(("scaled_dot_product_attention", "softmax", "_softmax", "topk", "sort", "argmax", "grid_sampler"), _DATA),
    **dict.fromkeys(("log_softmax", "matmul", "bmm", "pow", "square"), _DATA),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RECURRENT),
    **dict.fromkeys(("_weight_norm", "linalg_vector_norm", "linalg_qr", "matrix_exp"), _COMPUTED),
    **dict.fromkeys((*_ROUNDS, *_COMPARES), _FLAT),
    **dict.fromkeys(("alpha_dropout", "feature_alpha_dropout"), "never: an alpha dropout replaces units by a number"),
    "detach": "never: it cuts the gradient",
    "rrelu": "never: its slopes are random",
}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of these operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """An int, a list with one entry, or one entry per axis: one entry per axis."""
    entries = tuple(value) if isinstance(value, list | tuple) else (value,)
    return entries * axes if len(entries) == 1 else entries


def positions(call: Any) -> int:
    """The number of spatial axes of what a call reads first."""
    shape = shape_of(call.args[0])
    if len(shape) < 3:
        raise Refusal(f"reads a tensor of shape {shape}: not (batch, channels, *spatial)")
    return len(shape) - 2


def statistics(**used: Any) -> dict[str, Any]:
    """What weights.py asks of a factor and a shift: tensors by name, and fixed numbers."""
    unset = {"weight": None, "bias": None, "running_mean": None, "running_var": None}
    return {**unset, "eps": 0.0, "number": 1.0, "shift": 0.0, **used}


def along_channels(
    reader: Reader,
    call: Any,
    source: Any,
    argument: Any,
    made: Callable[[Any], Any] | None = None,
    repeated: bool = False,
) -> str:
    """The name of a fixed argument that meets `source` with one number, or one per channel.

    What is `made` of its numbers (a reciprocal) gets a name of its own, as do numbers that are the same at every position,
    which a parameter may have only if `repeated` says so: a scale that can differ from cell to cell is not one of channels.
    """
    fixed = reader.values[argument]
    if not isinstance(fixed, Fixed):
        raise Refusal("scales or shifts by something that depends on the input or on chance")
    whole, shape = shape_of(source), shape_of(argument)
    order = reader.value(source).order or tuple(range(len(whole)))
    if shape_of(call) != whole:
        raise Refusal(f"broadcasts {whole} against {shape}: not yet")
    along = [axis for axis, n in enumerate(reversed(shape), start=1) if n > 1]  # counted from the last, as torch matches them
    if along in ([], [len(whole) - order.index(1)]):
        if fixed.name is not None and made is None:
            return str(fixed.name)
        return reader.keep(call, argument, lambda value: (made or _same)(value).flatten())
    refusal = Refusal(
        f"meets numbers of shape {shape} that can differ along more than the channels: one, or one per channel, fit"
    )
    if fixed.name is not None and not repeated:
        raise refusal
    numbers = reader.known(call, argument)

    def each(value: Any) -> Any:
        return value.expand(whole).movedim(order.index(1), 0).flatten(1)

    if (each(numbers) != each(numbers)[:, :1]).any():
        raise refusal
    return reader.keep(call, argument, lambda value: (made or _same)(each(value)[:, 0]))


def _same(value: Any) -> Any:
    return value
