r"""Functions that rise: the largest of f(a_k) is f of the largest a_k, and a gate below a maximum is open as the winner says.

A run of gates, factors and shifts without fresh weights (`landscape.gates.composites`) is one function f of the Gaussian below;
what it passes to the cell that wins is

    E[f'(max a)^2; k wins],   and not   E[f'(a_k)^2] P(k wins):

the largest of 36 cells is where tanh(relu(a)) is flat. A function that falls is one that rises of -a, f(a) = g(-a); of one that
has a valley or a peak (SiLU, |a|) see `landscape.gates.windows.turning`. Factors and shifts at the bottom of a run keep a
Gaussian a Gaussian, and belong to its law. Whether f rises is seen on the points of a sum over the Gaussian, which lie between
all its kinks.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.activations import closed_moments, curve_moments, law_of
from landscape.gates.averaging import pointwise
from landscape.gates.composites import Affine, Form, curve_of, line_of
from landscape.gates.functions import Curve, line
from landscape.structure.signs import slopes
from lattice import Activation

__all__ = ["Rising", "Turn", "over_gaussian", "rising", "rising_activation"]

Array = np.ndarray[Any, Any]
NOWHERE = 1e-18  # of the mass: no value lies there
REACH = 8.5  # deviations
GRID = 4001  # points on either side of a turn


class Turn(NamedTuple):
    """Where a function has its only valley (or peak), and the other point that has the value of each; infinity: none has."""

    at: float
    valley: bool
    other: Callable[[Array], Array]


class Rising(NamedTuple):
    """A function that rises, or has one `turn`, and its slopes below and above zero where it is a line on either side."""

    function: Curve
    slopes: tuple[float, float] | None = None
    turn: Turn | None = None

    def moments(self, mean: Array, variance: Array, correlation: Array) -> tuple[Array, ...]:
        """E[f(z)], E[f(z)^2], E[f(z) f(z')] and E[f'(z)^2], as `landscape.gates.activations.gaussian_moments`."""
        if self.slopes is None:
            return curve_moments(self.function, mean, variance, correlation)
        below, above = map(np.asarray, self.slopes)
        return pointwise(partial(closed_moments, below, above), mean, variance, correlation)[:4]


def rising_activation(activation: Activation) -> Rising:
    """An activation that is a line on either side of zero.

    >>> rising_activation(Activation("relu"))[1:]
    ((0.0, 1.0), None)
    """
    return _line(*slopes(activation))


def over_gaussian(form: Form) -> tuple[Form, tuple[str, ...]]:
    """A run above the norms at its bottom, whose names come with it, the lowest first."""
    if len(form.parts) != 1:
        return form, ()
    below, names = over_gaussian(form.parts[0])
    if form.kind == "norm" and below == Form():
        return below, (*names, str(form.op))
    return Form(form.kind, form.op, (below,)), names


def rising(form: Form, affine: Mapping[str, Affine], mean: Array, variance: Array) -> tuple[Rising, bool] | None:
    """The function if it rises over Gaussians of these laws, or of the negative if it falls, and whether it falls.

    With its turn where it has one; None where it has several. Factors and shifts that differ between channels or positions
    are taken as their mean.

    >>> over_relu = Form(
    ...     "gate", Activation("tanh"), (Form("gate", Activation("relu"), (Form(),)),)
    ... )
    >>> found = rising(over_relu, {}, np.zeros(1), np.ones(1))
    >>> found[1], found[0].function.slope(np.array([-1.0, 0.0, 3.0])).round(3)
    (False, array([0.  , 0.  , 0.01]))
    >>> silu, _ = rising(
    ...     Form("gate", Activation("silu"), (Form(),)), {}, np.zeros(1), np.ones(1)
    ... )
    >>> round(silu.turn.at, 4), silu.turn.other(np.array([-2.0, 2.0])).round(4)
    (-1.2785, array([-0.7362,    -inf]))
    """
    numbers = {}
    for name in form.norms:
        coefficient, shift = affine[name]
        if coefficient.min() < 0 < coefficient.max():
            return None
        numbers[name] = Affine(coefficient.mean(keepdims=True).ravel(), shift.mean(keepdims=True).ravel())
    sides = line_of(form, numbers)
    if sides is not None:
        below, above = (float(part.ravel()[0]) for part in sides)
        falls = max(below, above) <= 0 and below != above
        return _line(*((-above, -below) if falls else (below, above))), falls
    middle, half = (mean.max() + mean.min()) / 2, (mean.max() - mean.min()) / 2
    whole = float(middle), float((np.sqrt(variance.max()) + half / REACH) ** 2)
    given = {name: (float(part.coefficient[0]), float(part.shift[0])) for name, part in numbers.items()}
    function = curve_of(form, given, *whole)
    law = law_of(function, *whole)
    z = np.sort(law.z[law.masses > NOWHERE])
    slope = function.slope(z)
    if (slope >= 0).all():
        return Rising(function), False
    if (slope <= 0).all():
        return Rising(_mirrored(function)), True
    turn = _turn(function, z, np.sign(slope))
    return None if turn is None else (Rising(function, turn=turn), False)


def _line(below: float, above: float) -> Rising:
    turn = None
    if min(below, above) < 0:
        turn = Turn(0.0, below < 0, lambda z: z * np.where(z > 0, above / below, below / above))
    return Rising(line(below, above), (below, above), turn)


def _turn(function: Curve, z: Array, sign: Array) -> Turn | None:
    """The only place where the slope changes its sign, on points of the law; None where there are several."""
    z, sign = z[sign != 0], sign[sign != 0]
    (changes,) = np.nonzero(np.diff(sign))
    if len(changes) != 1:
        return None
    low, high = z[changes[0]], z[changes[0] + 1]
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if function.slope(middle) * sign[0] > 0 else (low, middle)
    at, up = float(high), float(sign[-1])
    steps = np.linspace(0, 1, GRID) ** 2  # dense at the turn, where the function is flat
    left, right = at - (at - z[0]) * steps, at + (z[-1] - at) * steps
    levels = [np.maximum.accumulate(up * function.value(side)) for side in (left, right)]

    def other(points: Array) -> Array:
        level = up * function.value(points)
        found = [
            np.where(level > values[-1], side * np.inf, np.interp(level, values, points_there))
            for side, values, points_there in zip((-1.0, 1.0), levels, (left, right), strict=True)
        ]
        return np.where(points > at, found[0], found[1])

    return Turn(at, up > 0, other)


def _mirrored(function: Curve) -> Curve:
    """f(-z)."""
    kinks, extra = (tuple(sorted(-cut for cut in cuts)) for cuts in (function.kinks, function.extra))
    return replace(function, value=lambda z: function.value(-z), slope=lambda z: -function.slope(-z), kinks=kinks, extra=extra)
