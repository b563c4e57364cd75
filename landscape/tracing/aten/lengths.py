"""Rules of division: by numbers and fixed tensors, and by the length of what is divided (`functional.normalize`, RMS norms)."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from landscape.tracing.aten.pointwise import normalised
from landscape.tracing.aten.products import scaled, scaled_by, times
from landscape.tracing.aten.registry import met, rule, statistics
from landscape.tracing.graph.reader import Reader, Refusal, Value, shape_of
from landscape.tracing.graph.values import Length
from lattice import Norm

__all__ = ["divided"]


@rule("rms_norm", "_fused_rms_norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    import torch

    shape = shape_of(a["input"])
    axes = range(len(shape) - len(a["normalized_shape"]), len(shape))
    eps = a.get("eps")
    if eps is None:  # torch takes the resolution of the type that it computes in
        eps, reader.rounded = torch.finfo(a["input"].meta["val"].dtype).eps, True
    value = _divided(reader, call, reader.value(a["input"]), tuple(axes), eps, a.get("weight"))
    return value if not isinstance(call.meta["val"], list | tuple) else [value]


def _divided(reader: Reader, call: Any, value: Value, axes: tuple[int, ...], eps: float, weight: Any = None) -> Value:
    source, kind, groups = normalised(reader, value, axes)
    if kind != "layer":  # all numbers together are the channels of a flat layer
        flat = reader.arranged(source.node, np.arange(prod(reader.shapes[source.node])))
        source, groups = Value(flat, reader.layout(source)), 1
    names = {} if weight is None else met(reader, call, source, weight, "weight")
    return reader.placed(reader.append(call, Norm("rms", groups, eps), (source.node,), **statistics(**names)), source.layout)


@rule("linalg_vector_norm", "norm")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Length:
    order, dims = a.get("ord", a.get("p", 2)), a.get("dim")
    if order not in (2, None) or not dims or not a.get("keepdim"):
        raise Refusal("takes a length of another order, or of all numbers: not yet")
    ndim = len(shape_of(call.args[0]))
    return Length(reader.value(call.args[0]), tuple(d % ndim for d in (dims if isinstance(dims, list | tuple) else [dims])))


def divided(reader: Reader, call: Any, first: Any, length: Length) -> Value:
    """x / |x|: an RMS norm of width d, divided by the root of d."""
    value = reader.value(first)
    if not value.is_like(length.of):
        raise Refusal("never: divides by the length of another signal")
    width = 1
    for axis in length.axes:
        width *= reader.layout(value).shape[axis]
    return scaled_by(reader, call, _divided(reader, call, value, length.axes, 0.0), width**-0.5)


@rule("div", "divide", "true_divide")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Any:
    first, second = a["self"], a["other"]
    if a.get("rounding_mode") is not None:
        raise Refusal("never: a division that rounds has the gradient zero")
    if not hasattr(second, "op"):
        if second == 0:
            raise Refusal("divides by zero")
        return times(reader, call, first, 1 / float(second))
    if isinstance(reader.values.get(second), Length):
        return divided(reader, call, first, reader.values[second])
    if not reader.is_fixed(second):
        raise Refusal("never: divides by something that is computed from the input; numbers and fixed tensors have a rule")
    return scaled(reader, call, first, second, lambda value: 1 / value)
