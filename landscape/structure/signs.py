r"""E[phi'(z)^2] of each pointwise op: what a gate lets through, and on what ground.

A ReLU over one filter's output is open half of the time, exactly: flipping the signs of the filter's weights flips z.
What a gate reads decides, so every node is given a `Sign`: the symmetry of its values over the weight distribution.
"""

from bisect import bisect
from collections.abc import Collection, Mapping
from enum import Enum
from functools import singledispatch
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from landscape.structure.channel_runs import channel_runs
from lattice import (
    Activation,
    Add,
    Blur,
    Concat,
    Dropout,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Op,
    Pad,
    Slice,
    UnsupportedError,
    Upsample,
)
from lattice.network.attention import Attention, roles
from lattice.network.ops import Pooling, Rearrangement, Weighted
from lattice.network.rearrange import Resample

__all__ = [
    "Sign",
    "Steps",
    "activation_gain",
    "has_slopes",
    "is_batch_norm",
    "node_signs",
    "run_signs",
    "slopes",
    "starts",
    "steps",
    "together",
]


SIGNAL_NORMS = ("layer", "rms", "group", "instance")  # norms that divide by the variance of the signal itself
ODD = ("tanh", "hardtanh", "softsign")
THROUGH_ZERO = (*ODD, "elu", "selu", "celu", "silu", "gelu", "hardswish", "mish")  # as negative or positive as what they read
POSITIVE = ("square", "relu6", "sigmoid", "hardsigmoid", "softplus")


def is_batch_norm(node: Node) -> bool:
    """Does a node divide by the statistics of a batch, in training mode?"""
    return isinstance(node.op, Norm) and node.op.kind == "batch"


class Sign(Enum):
    """The symmetry of a node's values over the distribution of the weights."""

    FILTER = "the output of one filter: changes sign with its weights"
    SUM = "a sum of filters' outputs: symmetric in the wide limit"
    NONNEGATIVE = "never negative"
    NONPOSITIVE = "never positive"
    SKEWED = "not symmetric"
    DATA = "the data itself"


def slopes(activation: Activation) -> tuple[float, float]:
    """(phi'(z) for z < 0, phi'(z) for z > 0) of a piecewise linear activation; `UnsupportedError` for the others.

    >>> slopes(Activation("leaky_relu", 0.1))
    (0.1, 1.0)
    """
    match activation.name:
        case "identity":
            return 1.0, 1.0
        case "relu":
            return 0.0, 1.0
        case "leaky_relu":
            return (0.01 if activation.parameter is None else activation.parameter), 1.0
        case "abs":
            return -1.0, 1.0
    raise UnsupportedError(
        f"{activation.name}: only piecewise linear activations with their kink at 0 have a rule "
        "(identity, relu, leaky_relu, abs); for the others E[phi'(z)^2] depends on the variance of z, not yet computed"
    )


def has_slopes(activation: Activation) -> bool:
    """Is it piecewise linear with its kink at 0, so that its gain does not depend on the variance of what it reads?"""
    return activation.name in ("identity", "relu", "leaky_relu", "abs")


class Steps(NamedTuple):
    """A slope that is constant between kinks: `lowest`, left of all of them, and by how much it jumps at each."""

    lowest: float
    kinks: tuple[float, ...]
    jumps: tuple[float, ...]


def steps(activation: Activation) -> Steps | None:
    """The slope of a piecewise linear activation; None for those that bend.

    >>> steps(Activation("relu6"))
    Steps(lowest=0.0, kinks=(0.0, 6.0), jumps=(1.0, -1.0))
    """
    if has_slopes(activation):
        below, above = slopes(activation)
        return Steps(below, (0.0,), (above - below,))
    return {"relu6": Steps(0.0, (0.0, 6.0), (1.0, -1.0)), "hardtanh": Steps(0.0, (-1.0, 1.0), (1.0, -1.0))}.get(activation.name)


def activation_gain(activation: Activation, sign: Sign) -> float:
    """E[phi'(z)^2] = (a^2 + b^2) / 2 for slopes a, b and a symmetric z (Eq. 18: 1/2 for ReLU); b^2 for z >= 0, a^2 for z <= 0.

    >>> (
    ...     activation_gain(Activation("relu"), Sign.FILTER),
    ...     activation_gain(Activation("relu"), Sign.NONNEGATIVE),
    ... )
    (0.5, 1.0)
    """
    below, above = (slope**2 for slope in slopes(activation))
    return {Sign.NONNEGATIVE: above, Sign.NONPOSITIVE: below}.get(sign, (below + above) / 2)


def node_signs(lattice: Lattice, shifted: Collection[str] = (), signs: Mapping[str, Any] | None = None) -> list[Sign]:
    """The `Sign` of every node's output; `shifted` names the layers whose bias or shift is not zero on average.

    `signs`: the sign of each norm's factor where it is negative anywhere, -1 or one per channel.

    >>> from lattice import Conv
    >>> net = Lattice.chain((1, 8), [Conv(4, kernel=3), Activation("relu")])
    >>> [sign.name for sign in node_signs(net)]
    ['DATA', 'FILTER', 'NONNEGATIVE']
    """
    return [together(each) for each in run_signs(lattice, shifted, signs)]


def run_signs(
    lattice: Lattice, shifted: Collection[str] = (), signs: Mapping[str, Any] | None = None
) -> list[tuple[Sign, ...]]:
    """The `Sign` of every run of channels of every node (`landscape.structure.channel_runs`); arguments as of `node_signs`.

    >>> from lattice import Conv, Node
    >>> conv, relu = Node("conv", Conv(4, 1), (0,)), Node("relu", Activation("relu"), (1,))
    >>> net = Lattice(
    ...     (Node("input", Input((1, 8))), conv, relu, Node("both", Concat(), (1, 2)))
    ... )
    >>> [sign.name for sign in run_signs(net)[-1]]
    ['FILTER', 'NONNEGATIVE']
    """
    runs = channel_runs(lattice)
    known: list[tuple[Sign, ...]] = []
    for node, own in zip(lattice.nodes, runs, strict=True):
        if node.name in shifted:
            known.append((Sign.SKEWED,) * len(own))
            continue
        below = [(runs[i], known[i]) for i in node.inputs]
        if isinstance(node.op, Concat):
            each = tuple(sign for _, part in below for sign in part)
        elif isinstance(node.op, Slice):
            each = tuple(_at(*below[0], node.op.start + start) for start in starts(own))
        elif isinstance(node.op, Weighted) or (isinstance(node.op, Rearrangement) and len(own) == 1):
            each = (output_sign(node.op, [together(part) for _, part in below]),)
        else:
            each = tuple(output_sign(node.op, [_at(*part, start) for part in below]) for start in starts(own))
        if signs and node.name in signs:
            factors = np.ravel(signs[node.name])  # one, one per channel, or one per unit
            by_channel = np.broadcast_to(factors, (sum(own),)) if factors.size == 1 else factors.reshape(sum(own), -1)
            parts = np.split(by_channel, np.cumsum(own)[:-1])
            each = tuple(_times_factor(sign, part) for sign, part in zip(each, parts, strict=True))
        known.append(each)
    return known


def starts(runs: tuple[int, ...]) -> list[int]:
    """The first channel of each run.

    >>> starts((4, 2, 3))
    [0, 4, 6]
    """
    return [0, *accumulate(runs)][:-1]


def together(signs: tuple[Sign, ...]) -> Sign:
    """The `Sign` of channels of these signs, taken together."""
    return output_sign(Concat(), list(signs))


def _at(runs: tuple[int, ...], signs: tuple[Sign, ...], channel: int) -> Sign:
    """The sign of the run that holds this channel; of a factor of one channel, its own."""
    return signs[bisect(starts(runs), min(channel, sum(runs) - 1)) - 1]


NEGATED = {Sign.NONNEGATIVE: Sign.NONPOSITIVE, Sign.NONPOSITIVE: Sign.NONNEGATIVE}


def _times_factor(sign: Sign, factors: "np.ndarray[Any, Any]") -> Sign:
    """The `Sign` of a product with factors of these signs, one or one per channel."""
    if sign not in NEGATED or (factors >= 0).all():
        return sign
    return NEGATED[sign] if (factors <= 0).all() else Sign.SKEWED


@singledispatch
def output_sign(op: Op, inputs: list[Sign]) -> Sign:
    """The `Sign` of an op's output, given those of its inputs."""
    raise UnsupportedError(f"no sign rule for {op!r}; add one with landscape.structure.signs.output_sign.register")


@output_sign.register
def _(op: Input, inputs: list[Sign]) -> Sign:
    return Sign.DATA


@output_sign.register(Weighted)
def _(op: Op, inputs: list[Sign]) -> Sign:
    return Sign.FILTER


@output_sign.register
def _(op: Norm, inputs: list[Sign]) -> Sign:
    if op.kind in SIGNAL_NORMS:  # a difference from a mean changes sign with all filters at once
        return inputs[0] if inputs[0] in (Sign.FILTER, Sign.SUM) else Sign.SKEWED
    return inputs[0]


@output_sign.register(Blur)
@output_sign.register(Dropout)
@output_sign.register(Pad)
@output_sign.register(Rearrangement)
@output_sign.register(Resample)
@output_sign.register(Upsample)
def _(op: Op, inputs: list[Sign]) -> Sign:
    return inputs[0]


@output_sign.register
def _(op: Attention, inputs: list[Sign]) -> Sign:
    return inputs[roles(inputs).index("values")]  # a mean of them


@output_sign.register
def _(op: Pooling, inputs: list[Sign]) -> Sign:
    if op.kind == "avg" or inputs[0] in NEGATED:
        return inputs[0]
    return Sign.SKEWED


@output_sign.register
def _(op: Multiply, inputs: list[Sign]) -> Sign:
    for sign in (Sign.FILTER, Sign.SUM):
        if sign in inputs:  # changes sign with the weights of this factor, whatever the other one is
            return sign
    one, other = inputs
    if Sign.NONNEGATIVE in inputs:
        return other if one is Sign.NONNEGATIVE else one
    return Sign.NONNEGATIVE if one is other is Sign.NONPOSITIVE else Sign.SKEWED


@output_sign.register
def _(op: Add, inputs: list[Sign]) -> Sign:
    if len(set(inputs)) == 1 and inputs[0] in NEGATED:
        return inputs[0]
    return Sign.SUM if all(sign in (Sign.FILTER, Sign.SUM) for sign in inputs) else Sign.SKEWED


@output_sign.register
def _(op: Concat, inputs: list[Sign]) -> Sign:
    if len(set(inputs)) == 1:
        return inputs[0]
    return Sign.SUM if all(sign in (Sign.FILTER, Sign.SUM) for sign in inputs) else Sign.SKEWED


@output_sign.register
def _(op: Activation, inputs: list[Sign]) -> Sign:
    if not has_slopes(op):
        if op.name in THROUGH_ZERO and inputs[0] in NEGATED and (op.parameter is None or op.parameter > 0):
            return inputs[0]
        if op.name in ODD and inputs[0] in (Sign.FILTER, Sign.SUM):
            return inputs[0]
        return Sign.NONNEGATIVE if op.name in POSITIVE else Sign.SKEWED
    below, above = slopes(op)
    if below == above > 0 or (inputs[0] is Sign.NONNEGATIVE and above >= 0) or (inputs[0] is Sign.NONPOSITIVE and below >= 0):
        return inputs[0]
    return Sign.NONNEGATIVE if below <= 0 <= above else Sign.SKEWED
