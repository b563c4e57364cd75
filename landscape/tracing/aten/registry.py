"""Where the rules of ATen operations are registered, and why some operations can have none."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from landscape.tracing.graph.layouts import inverse
from landscape.tracing.graph.reader import PRODUCTS, Fixed, Reader, Refusal, Rule, Value, shape_of
from lattice import Norm

__all__ = ["OVER_HEADS", "PRODUCTS", "REASONS", "RULES", "met", "per_axis", "positions", "rule", "shifted", "statistics"]

RULES: dict[str, Rule] = {}
OVER_HEADS = "layer over heads"  # the rule, of no call of a graph, of a layer that reads logits or shares
_DATA = "never: what it computes depends on the data; the theory counts fixed paths"
_RECURRENT = "never: a recurrent layer uses its weights again at every step"
_COMPUTED = "replace: computes a weight from other tensors; remove the parametrisation, or fold it into the weight"
_FLAT = "never: its gradient is zero"
_ROUNDS = ("floor", "ceil", "round", "trunc", "fix", "sign", "sgn", "floor_divide", "heaviside", "argmin", "bincount")
_COMPARES = ("gt", "ge", "lt", "le", "eq", "ne", "greater", "less", "logical_and", "logical_or", "logical_not", "isnan")
REASONS = {
    **dict.fromkeys(("scaled_dot_product_attention", "softmax", "_softmax", "topk", "sort", "argmax", "grid_sampler"), _DATA),
    **dict.fromkeys(("log_softmax", "matmul", "bmm"), _DATA),
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


def met(
    reader: Reader, call: Any, source: Value, argument: Any, role: str, made: Callable[[Any], Any] | None = None
) -> dict[str, str]:
    """{role: name} of a fixed argument that meets all units of `source`: one number, or one per channel, or, as the role with
    "_map", one per unit, (channels, *positions).

    What is `made` of its numbers (a reciprocal) gets a name of its own.
    """
    if not isinstance(reader.values[argument], Fixed):
        raise Refusal("scales or shifts by something that depends on the input or on chance")
    whole, shape = reader.layout(source).shape, shape_of(argument)
    if shape_of(call) != whole:
        raise Refusal(f"broadcasts {whole} against {shape}: not yet")
    make, units = made or _same, reader.shapes[source.node]
    name = reader.names_of(argument)
    along = [axis for axis, n in enumerate(reversed(shape), start=1) if n > 1]  # counted from the last, as torch matches them
    in_order = source.layout is None and along == [len(whole) - 1]
    if name is not None and made is None and (along == [] or in_order):
        return {role: name}
    places = inverse(reader.layout(source), reader.batch * prod(units))
    assert places is not None

    import torch

    index = torch.from_numpy(places)

    def each(value: Any) -> Any:
        return value.expand(whole).flatten()[index].reshape(reader.batch, *units)

    if not along:
        return {role: reader.keep(call, argument, lambda value: make(value).flatten())}
    try:
        numbers = each(reader.known(call, argument))
    except Refusal:  # on the meta device the shape decides
        if name is None or made is not None or len(along) > 1 or not _by_channel(reader, source, shape):
            raise
        return {role: name}
    if not bool((numbers == numbers[:1]).all()):
        raise Refusal("meets numbers that differ from sample to sample of the batch")
    channels = numbers[0].reshape(units[0], -1)
    alike = bool((channels == channels[:, :1]).all())
    if alike and (name is None or len(units) == 1 or _by_channel(reader, source, shape)):
        return {role: reader.keep(call, argument, lambda value: make(each(value)[0].reshape(units[0], -1)[:, 0]))}
    return {f"{role}_map": reader.keep(call, argument, lambda value: make(each(value)[0]))}


def _by_channel(reader: Reader, source: Value, shape: tuple[int, ...]) -> bool:
    """Can numbers of this shape differ along the axes of channels alone? A parameter that is all ones may not stay so."""
    whole = reader.layout(source).shape
    axes = {len(whole) - axis for axis, n in enumerate(reversed(shape), start=1) if n > 1}
    return axes <= set(reader.channel_axes(source))


def shifted(
    reader: Reader, call: Any, argument: Any, source: Value, made: Callable[[Any], Any] | None = None, label: str = "constant"
) -> Value:
    """A signal plus a fixed tensor of its shape, or what is `made` of it."""
    source = reader.whole(source)
    units = reader.shapes[source.node]
    places = inverse(reader.layout(source), reader.batch * prod(units))
    assert places is not None

    def each(value: Any) -> Any:
        return (made or _same)(value).flatten()[places[: prod(units)]].reshape(units)

    name = reader.keep(call, argument, each)
    op = reader.append(call, Norm("scale"), (source.node,), label, **statistics(bias_map=name))
    return reader.placed(op, source.layout)


def _same(value: Any) -> Any:
    return value
