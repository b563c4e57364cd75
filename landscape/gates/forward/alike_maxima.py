r"""The largest of cells that are taken as alike and independent: what a max-pool gives where no covariances are known."""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr

from landscape.gates.activations import distinct
from landscape.gates.averaging import ratio, significant
from landscape.gates.forward.signal import Known, Run, Signal, gaussian, through
from landscape.gates.functions import Curve, curve
from landscape.gates.rising import over_gaussian, rising
from landscape.structure.plan import pool_cells
from landscape.structure.signs import Sign
from lattice import Activation
from lattice.network.ops import Pooling

__all__ = ["alike_maximum"]

Array = np.ndarray[Any, Any]
LINE, RELU = curve(Activation("identity")), curve(Activation("relu"))


def alike_maximum(op: Pooling, known: Known, z: Signal, maps: list[Array]) -> Signal:
    """The largest of n values that have the average law of the window.

    The largest of a function that rises is the function of the largest (`landscape.gates.rising`); of other values that are
    never negative it is taken as that of rectified Gaussians.
    """
    law, function = _of_run(known.below) or (gaussian(z), LINE)
    if function is LINE and known.symmetry is Sign.NONNEGATIVE:
        law, function = (np.zeros_like(z.power), 2 * z.power, _correlations(z)), RELU
    mean, variance, correlation = law
    parts = [through(maps, part) for part in np.broadcast_arrays(mean, variance, correlation * variance)]
    arrays = np.broadcast_arrays(pool_cells(op, known.shapes[0][1:]), *parts)
    cases, which = distinct(*(significant(array) for array in arrays))
    found = np.array([_largest(int(case[0]), function, *case[1:]) for case in cases])[which]
    return Signal(*np.moveaxis(found.reshape(*arrays[0].shape, 3), -1, 0))


def _of_run(run: Run | None) -> tuple[tuple[Array, Array, Array], Curve] | None:
    """The Gaussian below a run that rises or falls, as of a function that rises, and that function."""
    if run is None:
        return None
    form, below = over_gaussian(run.form)
    mean, variance, correlation = gaussian(run.base)
    for name in below:
        coefficient, shift = run.affine[name]
        mean, variance = coefficient * mean + shift, coefficient**2 * variance
    known = rising(form, run.affine, mean, variance)
    if known is None or known[0].turn is not None:
        return None
    return ((-mean if known[1] else mean, variance, correlation), known[0].function)


@lru_cache(maxsize=4096)
def _largest(n: int, function: Curve, mean: float, variance: float, shared: float) -> tuple[float, float, float]:
    """E[M^2], E[E[M | what inputs share]^2] and E[M] for M the largest of n values f(mean + shared + own Gaussians)."""
    t, weights, law, largest = _points(n)
    values = function.value(mean + np.sqrt(shared) * t[:, None] + np.sqrt(max(variance - shared, 0.0)) * largest)
    first, second = values @ law, values**2 @ law
    return float(weights @ second), float(weights @ first**2), float(weights @ first)


@lru_cache(maxsize=64)
def _points(n: int) -> tuple[Array, Array, Array, Array]:
    """Points and masses of a Gaussian, and masses and values of the largest of n."""
    t, weights = np.polynomial.hermite_e.hermegauss(31)
    e = np.linspace(-7, 7, 561)  # deviations
    return t, weights / weights.sum(), np.diff(ndtr(e) ** n), (e[1:] + e[:-1]) / 2


def _correlations(z: Signal) -> Array:
    """The correlations of the Gaussians of which rectified values have this ratio of cross to power."""
    return np.interp(ratio(z.cross, z.power), *_rectified())


@lru_cache(maxsize=1)
def _rectified() -> tuple[Array, Array]:
    """J(r) / pi and r, for r from 0 to 1."""
    r = 1 - np.linspace(1, 0, 20001) ** 2  # dense at 1, where J bends
    return (np.sqrt(1 - r**2) + r * (np.pi - np.arccos(r))) / np.pi, r
