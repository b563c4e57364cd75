"""The rules of random masks that do not depend on the signal: stochastic depth and dropouts as they are written out.

A mask is zeros and ones drawn by `bernoulli`, or by comparing or rounding uniform numbers; divided by its mean it is what a
dropout multiplies with. `aten_products` turns the product into a `Dropout`.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any

from landscape.tracing.aten.registry import REASONS, rule
from landscape.tracing.graph.reader import Noise, Reader, Refusal, operation

__all__: list[str] = []

COMPARE = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}


@rule("bernoulli")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Noise:
    kept = a.get("p")
    if isinstance(kept, float | int):
        return Noise(call, float(kept))
    rates = reader.known(call, call.args[0])
    if (rates != rates.flatten()[0]).any():
        raise Refusal("draws a mask with several rates; one has a rule")
    return Noise(call, float(rates.flatten()[0]))


@rule("rand", "rand_like")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Noise:
    return Noise(call)


@rule("uniform")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Noise:
    if (a["from"], a["to"]) != (0, 1):
        raise Refusal("draws uniform numbers that are not between 0 and 1")
    return Noise(call)


@rule("floor", "gt", "ge", "lt", "le")
def _(reader: Reader, call: Any, a: dict[str, Any]) -> Noise:
    """floor(u + p) and u < p are one at rate p; u > p at rate 1 - p."""
    noise, name = reader.values.get(call.args[0]), operation(call)
    if not isinstance(noise, Noise):
        raise Refusal(REASONS[name])
    bound = 1.0 if name == "floor" else a["other"]
    if noise.kept is not None or noise.factor != 1 or hasattr(bound, "op"):
        raise Refusal("rounds random numbers; uniform ones between 0 and 1, against a number, have a rule")
    below = name in ("lt", "le")
    kept = bound - noise.shift if below else 1 - bound + noise.shift
    if not 0 <= kept <= 1:
        raise Refusal("makes a mask of more than zeros and ones")
    shift = noise.shift
    compare = COMPARE.get(name, lambda drawn, _: drawn.floor())
    return replace(noise, kept=kept, shift=0.0, mask=lambda drawn: compare(drawn + shift, bound))
