r"""The largest of cells that are taken as alike and independent: what a max-pool gives where no covariances are known."""

from collections.abc import Callable
from functools import lru_cache
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
from lattice.network.ops import Pooling, Windowed

__all__ = ["SURE", "alike_maximum", "check_sizes_of", "passed_by_winners"]

Array = np.ndarray[Any, Any]
SURE = 0.2  # passed: too much for a tail
SIZES = tuple(np.exp(np.linspace(-2.0, 0.75, 12)))  # of cells, in units of their mean size
MOST_OF_SIZES = 2.0
LINE, RELU = curve(Activation("identity")), curve(Activation("relu"))


def alike_maximum(op: Pooling, known: Known, z: Signal) -> Signal:
    """The largest of n values that have the average law of the window.

    The largest of a function that rises is the function of the largest (`landscape.gates.rising`); of other values that are
    never negative it is taken as that of rectified Gaussians.
    """
    of_run = _of_run(known.below)
    law, function = (gaussian(z), LINE) if of_run is None else (of_run[0], of_run[1].function)
    if function is LINE and known.symmetry is Sign.NONNEGATIVE:
        law, function = (np.zeros_like(z.power), 2 * z.power, _correlations(z)), RELU
    return Signal(*_by_window(op, known, law, lambda n, *laws: _largest(n, function, *laws)))


def passed_by_winners(op: Pooling, known: Known, few: float) -> Array | None:
    """E[f'(M)^2] / E[f'(a)^2] of each window, (channels or 1, *outputs), of M the largest of n values a.

    None where f is no run of gates that rises, or a line on either side of zero, whose winners are open or not. A function with
    a valley rises where it is far larger on one side (SiLU). Raises `AssumptionError` where the winner passes a tail, for sums
    of `few` weights: see `landscape.gates.forward.maxima.check_sizes`.
    """
    found = _of_run(known.below, True)
    if found is None or found[1].slopes is not None:
        return None
    law, (function, *_) = found
    mean, variance, correlation = law

    def passed_at(c: float) -> float:
        scaled = c * mean, c**2 * variance, correlation
        return float(_by_window(op, known, scaled, lambda n, *laws: (_at_largest(n, function, *laws),)).mean())

    check_sizes_of(passed_at, few)
    return _by_window(op, known, law, lambda n, *laws: (_passed(n, function, *laws),))[0]


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


def _by_window(op: Pooling, known: Known, law: tuple[Array, ...], rule: Callable[..., Any]) -> Array:
    """A rule of the number of cells and their average mean, variance and shared part, for all windows: (results, *outputs)."""
    mean, variance, correlation = law
    spatial = known.shapes[0][1:]
    assert isinstance(op, Windowed)
    maps = [fixed_map(op, axis, spatial).values for axis in range(len(spatial))]
    parts = [through(maps, part) for part in np.broadcast_arrays(mean, variance, correlation * variance)]
    arrays = np.broadcast_arrays(pool_cells(op, spatial), *parts)
    cases, which = distinct(*(significant(array) for array in arrays))
    found = np.array([rule(int(case[0]), *case[1:]) for case in cases])[which]
    return np.moveaxis(found.reshape(*arrays[0].shape, -1), -1, 0)


def _of_run(run: Run | None, nearly: bool = False) -> tuple[tuple[Array, Array, Array], Rising] | None:
    """The Gaussian below a run that rises or falls, as of a function that rises (or `nearly` does), and that function."""
    if run is None:
        return None
    form, below = over_gaussian(run.form)
    mean, variance, correlation = gaussian(run.base)
    for name in below:
        coefficient, shift = run.affine[name]
        mean, variance = coefficient * mean + shift, coefficient**2 * variance
    known = rising(form, run.affine, mean, variance)
    if known is None or (known[0].turn is not None and not (nearly and _nearly_rises(known[0], mean, variance))):
        return None
    return ((-mean if known[1] else mean, variance, correlation), known[0])


def _nearly_rises(function: Rising, mean: Array, variance: Array) -> bool:
    """Is it far larger two deviations above the mean than below?"""
    down, up = (function.function.value(np.mean(mean) + side * np.sqrt(np.mean(variance))) for side in (-2.0, 2.0))
    return bool(up > 2 * down)


@lru_cache(maxsize=4096)
def _largest(n: int, function: Curve, mean: float, variance: float, shared: float) -> tuple[float, float, float]:
    """E[M^2], E[E[M | what inputs share]^2] and E[M] for M the largest of n values f(mean + shared + own Gaussians)."""
    t, weights, law, largest = _points(n)
    values = function.value(mean + np.sqrt(shared) * t[:, None] + np.sqrt(max(variance - shared, 0.0)) * largest)
    first, second = values @ law, values**2 @ law
    return float(weights @ second), float(weights @ first**2), float(weights @ first)


@lru_cache(maxsize=4096)
def _passed(n: int, function: Curve, mean: float, variance: float, shared: float) -> float:
    """E[f'(M)^2] / E[f'(a)^2] for M the largest of n values a = mean + shared + own Gaussians."""
    squares = [_at_largest(cells, function, mean, variance, shared) for cells in (n, 1)]
    return squares[0] / squares[1] if squares[1] > 0 else 0.0


def _at_largest(n: int, function: Curve, mean: float, variance: float, shared: float) -> float:
    """E[f'(M)^2]."""
    t, weights, law, largest = _points(n)
    own = np.sqrt(max(variance - shared, 0.0)) * largest
    return float(weights @ (function.slope(mean + np.sqrt(shared) * t[:, None] + own) ** 2 @ law))


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
