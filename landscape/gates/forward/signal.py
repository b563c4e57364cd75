r"""What the forward mean field knows of a node: the moments of its signal, and what a rule is told of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from landscape.gates.averaging import ratio
from landscape.gates.composites import Affine, Form
from landscape.structure.signs import NEGATED, Sign, together
from lattice import UnsupportedError

__all__ = ["Known", "Level", "Run", "Signal", "gaussian", "through", "variance_of"]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class Signal(NamedTuple):
    """The moments of one node's output over weights and white inputs, (channels or 1, *spatial) each."""

    power: Array
    cross: Array
    mean: Array

    def ordered(self) -> "Signal":
        """The same with power >= cross >= mean^2, which differences of branches break in their last digits.

        What inputs share is known less well than the power (of maxima, for example), and gives way.

        `UnsupportedError` where a moment has left the range of float64.
        """
        power = np.maximum(self.power, self.mean**2)
        cross = np.clip(self.cross, self.mean**2, power)
        if not np.isfinite(power).all():
            raise UnsupportedError("the size of the signal leaves the range of float64")
        return Signal(power, cross, self.mean)


class Level(NamedTuple):
    """`with_mean`: the average of C(p, q) over q, (channels or 1, *spatial); `of_mean`: over p too, (channels or 1, 1, ...).

    `rank`: in how many independent ways the positions differ in what inputs share, of one size each, (channels or 1, 1, ...).
    """

    with_mean: Array
    of_mean: Array
    rank: Array


class Run(NamedTuple):
    """What a node is as a pointwise function of one of these signals: see `landscape.gates.composites`."""

    form: Form
    affine: Mapping[str, Affine]
    signals: Sequence[Signal]
    position: int

    @property
    def base(self) -> Signal:
        """The signal, which is spread over all positions when it is asked for."""
        return self.signals[self.position]


class Known(NamedTuple):
    """What a rule is told of its node.

    `variance`: V[w]. `factor`: the squared factor of a norm, `sign` its sign, (channels or 1, ...). `shift`: the mean and the
    variance of what is added. `shapes`: those that it reads. `train`: do norms see a batch? `parts`: the number of channels
    and the symmetry of each run that it reads. `run`: it as a function of one signal, where a gate stands below it without
    weights between; `below`: the same of what it reads. `level`: what inputs share over the positions that a batch norm reads.
    """

    variance: float
    factor: Array
    shapes: tuple[Shape, ...]
    train: bool
    sign: Array
    shift: tuple[Array, Array]
    parts: tuple[tuple[int, Sign], ...]
    run: Run | None
    below: Run | None
    level: Level | None = None

    @property
    def symmetry(self) -> Sign:
        """That of all channels together."""
        return together(tuple(sign for _, sign in self.parts))

    def rectified(self) -> tuple[Array, Array] | None:
        """1 at the channels that are never negative, or never positive, whatever the law; None where there are no such."""
        channels, axes = [count for count, _ in self.parts], (1,) * (len(self.shapes[0]) - 1)
        found = [np.repeat([sign is each for _, sign in self.parts], channels).reshape(-1, *axes) for each in NEGATED]
        if not any(one.any() for one in found):
            return None
        positive, negative = (one[:1] if one.all() or not one.any() else one for one in found)
        return positive, negative


def gaussian(z: Signal) -> tuple[Array, Array, Array]:
    """The mean, the variance and the correlation between inputs of the Gaussian that stands for a signal."""
    variance = variance_of(z)
    shared = np.maximum(z.cross - z.mean**2, 0)
    return z.mean, variance, np.minimum(ratio(shared, variance), 1)


def variance_of(z: Signal) -> Array:
    """The variance of a signal."""
    return np.asarray(np.maximum(z.power - z.mean**2, 0))


def through(maps: list[Array], values: Array) -> Array:
    """A fixed map of each axis of values (channels, *spatial)."""
    for axis, a in enumerate(maps, start=1):
        values = np.moveaxis(np.tensordot(a, values, (1, axis)), 0, axis)
    return values
