r"""The largest of cells that are taken as alike and independent: what a max-pool gives where no covariances are known.

Each of n cells wins as often, and the gate below one that wins passes E[f'(max a)^2] and not E[f'(a)^2].
"""

from collections.abc import Callable
from functools import lru_cache, reduce
from itertools import product
from typing import Any

import numpy as np
from scipy.special import ndtr

from landscape.gates.activations import distinct
from landscape.gates.averaging import ratio, significant
from landscape.gates.forward.signal import Known, Run, Signal, gaussian, through
from landscape.gates.functions import Curve, curve
from landscape.gates.rising import Rising, over_gaussian, rising
from landscape.structure.plan import fixed_map, pool_cells
from landscape.structure.signs import Sign
from lattice import Activation, AssumptionError
from lattice.network.ops import Pooling

__all__ = ["SURE", "alike_maximum", "alike_rates", "check_sizes_of"]

Array = np.ndarray[Any, Any]
SURE = 0.2  # passed: too much for a tail
SIZES = tuple(np.exp(np.linspace(-2.0, 0.75, 12)))  # of cells, in units of their mean size
MOST_OF_SIZES = 2.0
MANY = 32  # cells, of which one lies beyond a valley
LINE, RELU = curve(Activation("identity")), curve(Activation("relu"))


def alike_maximum(op: Pooling, known: Known, z: Signal, maps: list[Array]) -> Signal:
    """The largest of n values that have the average law of the window.

    The largest of a function that rises is the function of the largest (`landscape.gates.rising`); of other values that are
    never negative it is taken as that of rectified Gaussians.
    """
    below = _of_run(known.below, int(pool_cells(op, known.shapes[0][1:]).min()))
    law, function = (gaussian(z), LINE) if below is None else (below[0], below[1].function)
    if function is LINE and known.symmetry is Sign.NONNEGATIVE:
        law, function = (np.zeros_like(z.power), 2 * z.power, _correlations(z)), RELU
    mean, variance, correlation = law
    parts = [through(maps, part) for part in np.broadcast_arrays(mean, variance, correlation * variance)]
    arrays = np.broadcast_arrays(pool_cells(op, known.shapes[0][1:]), *parts)
    cases, which = distinct(*(significant(array) for array in arrays))
    found = np.array([_largest(int(case[0]), function, *case[1:]) for case in cases])[which]
    return Signal(*np.moveaxis(found.reshape(*arrays[0].shape, 3), -1, 0))


def alike_rates(op: Pooling, known: Known, few: float) -> Array | None:
    """E[f'(M)^2] / n E[f'^2] at each tap, (taps, 1 or channels, *outputs); None over gates that are lines on either side.

    Raises `AssumptionError` where the winner passes a tail: see `landscape.gates.forward.maxima.check_sizes`.
    """
    spatial = known.shapes[0][1:]
    cells = pool_cells(op, spatial)
    below = _of_run(known.below, int(cells.min()))
    if below is None or below[1].slopes is not None:
        return None
    (mean, variance, correlation), function = below
    maps = [fixed_map(op, axis, spatial).values for axis in range(len(spatial))]
    laws = [through(maps, part) for part in np.broadcast_arrays(mean, variance, correlation * variance)]

    def passed(c: float, n: Any = cells) -> Array:
        arrays = np.broadcast_arrays(n, c * laws[0], c**2 * laws[1], c**2 * laws[2])
        cases, which = distinct(*(significant(array) for array in arrays))
        found = [_passed_by_largest(int(case[0]), function.function, *case[1:]) for case in cases]
        return np.array(found)[which].reshape(arrays[0].shape)

    check_sizes_of(lambda c: float(passed(c).mean()), few)
    rates = ratio(passed(1.0), cells * passed(1.0, 1))
    inside = [window.table(n) >= 0 for window, n in zip(op.windows(spatial), spatial, strict=True)]
    return np.stack([rates * reduce(np.logical_and.outer, lines) for lines in product(*inside)])


def check_sizes_of(passed_at: Callable[[float], float], few: float) -> None:
    """`check_sizes`, of what the winner passes where all cells are c times as large."""
    passed = passed_at(1.0)
    if not 0 < passed < SURE:
        return
    more = [passed, *map(passed_at, SIZES)]
    c = np.exp(np.linspace(np.log(SIZES[0]), np.log(SIZES[-1]), 400))
    size = few * (2 * np.log(c) - c**2) / 2  # the logarithm of the density of log c
    masses = np.exp(size - size.max())
    found = np.interp(np.log(c), np.log(SIZES), np.log(np.maximum(more[1:], np.finfo(float).tiny)))
    factor = float((masses * c**2 * np.exp(found)).sum() / masses.sum() / more[0])
    if factor > MOST_OF_SIZES:
        raise AssumptionError(
            f"its winner would pass {passed:.1g} for cells of one size, and {factor:.2g} times as much on average for sums of "
            f"{few:.3g} weights: a tail that the size of the signal does not tell; make factors or shifts below it smaller, or "
            "give the layer below more inputs"
        )


def _of_run(run: Run | None, cells: int) -> tuple[tuple[Array, Array, Array], Rising] | None:
    """The Gaussian below a run that rises or falls, as of a function that rises, and that function.

    What has a valley rises where the largest of many cells lies.
    """
    if run is None:
        return None
    form, below = over_gaussian(run.form)
    mean, variance, correlation = gaussian(run.base)
    for name in below:
        coefficient, shift = run.affine[name]
        mean, variance = coefficient * mean + shift, coefficient**2 * variance
    known = rising(form, run.affine, mean, variance)
    if known is None or (known[0].turn is not None and not (known[0].turn.valley and cells >= MANY)):
        return None
    return ((-mean if known[1] else mean, variance, correlation), known[0])


@lru_cache(maxsize=4096)
def _largest(n: int, function: Curve, mean: float, variance: float, shared: float) -> tuple[float, float, float]:
    """E[M^2], E[E[M | what inputs share]^2] and E[M] for M the largest of n values f(mean + shared + own Gaussians)."""
    t, weights, law, largest = _points(n)
    values = function.value(mean + np.sqrt(shared) * t[:, None] + np.sqrt(max(variance - shared, 0.0)) * largest)
    first, second = values @ law, values**2 @ law
    return float(weights @ second), float(weights @ first**2), float(weights @ first)


@lru_cache(maxsize=4096)
def _passed_by_largest(n: int, function: Curve, mean: float, variance: float, shared: float) -> float:
    """E[f'^2] at the largest of n values."""
    t, weights, law, largest = _points(n)
    z = mean + np.sqrt(shared) * t[:, None] + np.sqrt(max(variance - shared, 0.0)) * largest
    return float(weights @ (function.slope(z) ** 2 @ law))


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
