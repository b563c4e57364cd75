r"""Activations as functions of one number: values, slopes, and where a sum over them must be cut.

Every slope is written down, so that no step is taken, at any scale. A `Curve` also says at which points its slope jumps and
over which width it bends: between these points it is as smooth as a polynomial of low degree, which is what makes sums on
a few points exact (`landscape.gates.activations`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy.special import expit, ndtr

from landscape.structure.signs import has_slopes, slopes
from lattice import Activation, UnsupportedError

__all__ = ["FUNCTIONS", "Curve", "composed", "curve", "line"]

Array = np.ndarray[Any, Any]
Function = Callable[[Array], Array]
RATIO = 4.0  # of neighbouring cuts: a pole at distance 1 then lies far outside each panel
BENDS = 64.0  # widths beyond which exp(-z) is below the last digit of 1: what bends exponentially is straight there


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of one number: its `value`, its `slope`, and the points at which its slope jumps.

    `width`: over which length it bends around 0, no pole being nearer to the real line than pi / 2 of it; 0 means that it is a
    polynomial between the kinks. `tail`: does it go on bending algebraically, so that no length is enough? `extra`: further
    cuts, which a composition has. `pieces`: the polynomials between the kinks, coefficients of 1, z, z^2; none where others
    bend.
    """

    value: Function
    slope: Function
    kinks: tuple[float, ...] = ()
    width: float = 0.0
    tail: bool = False
    extra: tuple[float, ...] = ()
    pieces: tuple[tuple[float, ...], ...] = ()

    def cuts(self, reach: float, width: float = 0.0) -> Array:
        """The points between which it is smooth, as far out as `reach`; `width` for what was smoothed over that length.

        >>> curve(Activation("relu6")).cuts(100.0)
        array([0., 6.])
        >>> curve(Activation("sigmoid")).cuts(10.0)
        array([-4.  , -1.  , -0.25,  0.  ,  0.25,  1.  ,  4.  ])
        """
        bends = [(0.0, self.width, self.tail)] if self.width else []
        bends += [(kink, 0.0, False) for kink in self.kinks]
        found = [np.asarray((*self.kinks, *self.extra))]
        for centre, own, tail in bends:
            step = max(own, width)
            if not step:
                continue
            most = reach + abs(centre) if tail else min(BENDS * step, reach + abs(centre))
            count = int(np.ceil(np.log(max(most / step, 1.0)) / np.log(RATIO))) + 2
            away = step * RATIO ** np.arange(-1.0, count)
            found += [centre - away, centre + away, np.array([centre])]
        points = np.unique(np.concatenate(found))
        return points[np.abs(points) <= reach]


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _elu(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def _elu_slope(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0)))


def _inside(z: Array, low: float, high: float) -> Array:
    return np.asarray((z > low) & (z < high), dtype=float)


def _mish_slope(z: Array) -> Array:
    t = np.tanh(_softplus(z))
    return np.asarray(t + z * (1 - t**2) * expit(z))


def _gelu_slope(z: Array) -> Array:
    return ndtr(z) + z * np.exp(-(np.minimum(np.abs(z), BENDS) ** 2) / 2) / np.sqrt(2 * np.pi)


def _tanh_slope(z: Array) -> Array:
    return np.asarray(4 * expit(2 * z) * expit(-2 * z))


SELU = (1.0507009873554805, 1.6732632423543772)
CURVES: dict[str, Curve] = {
    "relu6": Curve(lambda z: np.clip(z, 0, 6), lambda z: _inside(z, 0, 6), kinks=(0.0, 6.0), pieces=((0,), (0, 1), (6,))),
    "hardtanh": Curve(
        lambda z: np.clip(z, -1, 1), lambda z: _inside(z, -1, 1), kinks=(-1.0, 1.0), pieces=((-1,), (0, 1), (1,))
    ),
    "silu": Curve(lambda z: z * expit(z), lambda z: expit(z) * (1 + z * expit(-z)), width=1.0),
    "gelu": Curve(lambda z: z * ndtr(z), _gelu_slope, width=1.0),
    "hardswish": Curve(
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(z > 3, 1.0, _inside(z, -3, np.inf) * (2 * z + 3) / 6),
        kinks=(-3.0, 3.0),
        pieces=((0,), (0, 1 / 2, 1 / 6), (0, 1)),
    ),
    "hardsigmoid": Curve(
        lambda z: np.clip(z + 3, 0, 6) / 6,
        lambda z: _inside(z, -3, 3) / 6,
        kinks=(-3.0, 3.0),
        pieces=((0,), (1 / 2, 1 / 6), (1,)),
    ),
    "sigmoid": Curve(expit, lambda z: expit(z) * expit(-z), width=1.0),
    "tanh": Curve(np.tanh, _tanh_slope, width=1.0),
    "elu": Curve(_elu, _elu_slope, kinks=(0.0,), width=1.0),
    "celu": Curve(_elu, _elu_slope, kinks=(0.0,), width=1.0),
    "selu": Curve(lambda z: SELU[0] * _elu(z, SELU[1]), lambda z: SELU[0] * _elu_slope(z, SELU[1]), kinks=(0.0,), width=1.0),
    "mish": Curve(lambda z: z * np.tanh(_softplus(z)), _mish_slope, width=1.0),
    "softplus": Curve(_softplus, expit, width=1.0),
    "softsign": Curve(lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2, kinks=(0.0,), width=1.0, tail=True),
    "square": Curve(np.square, lambda z: 2 * z, pieces=((0, 0, 1),)),
    "logsigmoid": Curve(lambda z: -_softplus(-z), lambda z: expit(-z), width=1.0),
}
FUNCTIONS: dict[str, Function] = {name: one.value for name, one in CURVES.items()}


@lru_cache(maxsize=256)
def curve(activation: Activation) -> Curve:
    """The curve of an activation, its parameter included; `UnsupportedError` where it has none.

    >>> float(curve(Activation("elu", 2.0)).slope(np.array(0.0)))
    2.0
    """
    name, parameter = activation.name, activation.parameter
    if has_slopes(activation):
        return line(*slopes(activation))
    if name not in CURVES:
        raise UnsupportedError(f"{name}: no moments; {', '.join(CURVES)} and the ReLU family have them")
    if parameter is None:
        return CURVES[name]
    if name == "elu":
        return Curve(partial(_elu, alpha=parameter), partial(_elu_slope, alpha=parameter), kinks=(0.0,), width=1.0)
    if name in ("celu", "softplus"):  # alpha elu(z / alpha); softplus(beta z) / beta
        width = parameter if name == "celu" else 1 / parameter
        return _widened(CURVES[name], width)
    raise UnsupportedError(f"{name}: its moments are those without a parameter, and it has {parameter:g}")


def line(below: float, above: float) -> Curve:
    """A line on either side of zero.

    >>> line(-1.0, 2.0).value(np.array([-3.0, 3.0]))
    array([3., 6.])
    """
    return Curve(lambda z: np.where(z > 0, above, below) * z, lambda z: np.where(z > 0, above, below), kinks=(0.0,))


def _widened(inner: Curve, width: float) -> Curve:
    """width * f(z / width)."""
    kinks = tuple(width * kink for kink in inner.kinks)
    return Curve(lambda z: width * inner.value(z / width), lambda z: inner.slope(z / width), kinks, width=abs(width))


def composed(outer: Curve, inner: Curve, points: Array) -> Curve:
    """outer(inner(z)), cut where either is, as far as these `points` reach; between them the cuts of `outer` are sought."""
    values = inner.value(points)

    def before(levels: Array) -> list[Array]:
        return [_crossings(inner.value, level, points, values) for level in levels]

    cuts = [inner.cuts(float(np.max(np.abs(points)))), *before(outer.cuts(float(np.max(np.abs(values)))))]
    kinks = [np.asarray(inner.kinks), *before(np.asarray(outer.kinks))]
    return Curve(
        lambda z: outer.value(inner.value(z)),
        lambda z: outer.slope(inner.value(z)) * inner.slope(z),
        tuple(np.unique(np.concatenate(kinks)).tolist()),
        extra=tuple(np.unique(np.concatenate(cuts)).tolist()),
    )


def _crossings(function: Function, level: float, points: Array, values: Array) -> Array:
    """Where the function crosses a level between neighbouring points, by bisection to the last digit."""
    above = values > level
    (places,) = np.nonzero(above[1:] != above[:-1])
    low, high, side = points[places], points[places + 1], above[places]
    for _ in range(80):  # halves of any interval: to the last digit, and close enough at zero
        middle = (low + high) / 2
        same = (function(middle) > level) == side
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return high
