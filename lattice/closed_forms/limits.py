r"""The bell of unpadded nets: exact moments of where a path ends, the Gaussian limit, and how far from it the truth is.

A path of an unpadded chain ends at S_L j + X, X = sum_l S_l d_l c_l: a sum of independent uniform taps c_l in 0..K_l-1, each
with its step, S_l being the product of the strides below layer l. So its cumulants are sums over layers, and the paper's
"Gaussian bell" (Section 3.1) is the central limit theorem. Erratum: it is the map of ONE output unit; the sum over the
outputs of zero-padded layers is a plateau with dark borders.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import comb, gcd, pi, sqrt
from typing import Any, NamedTuple

import numpy as np

from lattice.counts.counting import Where, path_counts
from lattice.errors import IrregularLatticeError, SpecificationError
from lattice.network.lattice import Lattice, Unit, check_lattice
from lattice.network.ops import Input, Pointwise, Windowed
from lattice.network.windows.window import Window
from lattice.results.values import MapResult

__all__ = ["GaussianLimit", "Moments", "gaussian_limit", "offset_cumulant", "offset_moments"]

Array = np.ndarray[Any, Any]


class Moments(NamedTuple):
    """Mean and variance of the offset of a path on one axis, exact (see `offset_moments`).

    Parameters
    ----------
    mean : Fraction
        Mean offset, in input cells.
    variance : Fraction
        Variance of the offset, in input cells squared.
    """

    mean: Fraction
    variance: Fraction


@dataclass(frozen=True, slots=True)
class GaussianLimit(MapResult):
    """A limit law beside the truth: shares of the paths per input position, and the measured distance between them.

    Parameters
    ----------
    share : ndarray of float64
        Share of the paths at each input position, as the limit law gives it.
    exact : ndarray of float64
        The true share, #p / sum of #p, over the same positions (spatial commands).
    total_variation : float
        Their total variation distance, sum |share - exact| / 2.
    largest_error : float
        The largest error of one share.
    """

    share: Array
    exact: Array
    total_variation: float
    largest_error: float
    _map_names = ("share", "exact")


def offset_moments(lattice: Lattice) -> tuple[Moments, ...]:
    """Exact mean and variance, per axis, of the offset of a uniformly drawn path of an unpadded chain.

        mean = sum_l S_l d_l (K_l - 1) / 2,      variance = sum_l S_l^2 d_l^2 (K_l^2 - 1) / 12

    An output at j looks at S j + mean, S the product of all strides. Pools count as layers.

    Parameters
    ----------
    lattice : Lattice
        An unpadded chain of layers with windows.

    Returns
    -------
    tuple of Moments
        Mean and variance per spatial axis, exact fractions, in input cells.

    Raises
    ------
    IrregularLatticeError
        If layers branch or read padding; the message names the layer.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> offset_moments(
    ...     Lattice.chain((1, 20), [Conv(1, kernel=3, stride=2), Conv(1, kernel=3)])
    ... )
    (Moments(mean=Fraction(3, 1), variance=Fraction(10, 3)),)
    """
    check_lattice(lattice, "offset_moments")
    return tuple(Moments(_cumulant(steps, 1), _cumulant(steps, 2)) for steps, _ in _unpadded_axes(lattice, "offset_moments"))


def offset_cumulant(lattice: Lattice, order: int) -> tuple[Fraction, ...]:
    """The cumulant of any order >= 1, per axis, of the offset of a path; cumulants of independent taps add.

        kappa_m = B_m / m sum_l (S_l d_l)^m (K_l^m - 1)    for m >= 2 (Bernoulli numbers B_m; 0 for odd m),    kappa_1 = mean

    Orders 1 and 2 are `offset_moments`; errors are the same.

    >>> from lattice import Conv, Lattice
    >>> offset_cumulant(Lattice.chain((1, 5), [Conv(1, kernel=3)] * 2), 4)
    (Fraction(-4, 3),)
    """
    if order < 1:
        raise SpecificationError(f"order is {order}; the first cumulant is the mean, order 1")
    return tuple(_cumulant(steps, order) for steps, _ in _unpadded_axes(lattice, "offset_cumulant"))


def gaussian_limit(lattice: Lattice, output: Where, order: int = 2) -> GaussianLimit:
    """The Gaussian bell of one output unit of an unpadded chain, its Edgeworth corrections, and their distance to the truth.

        share(i) = g phi(z) / sigma [1 + kappa_4 He_4(z) / (24 sigma^4) + ...],     z = (i - S j - mean) / sigma

    per axis, on the cells that the steps S_l d_l, with greatest common divisor g, can reach; axes multiply. With strides the
    limit of the single shares need not exist (k = 3, s = 2: Stern's sequence); the distance shows it.

    Parameters
    ----------
    lattice : Lattice
        An unpadded chain of layers with windows.
    output : Unit, tuple of int or int
        The output unit; a bare position means channel 0.
    order : {2, 4, 6}, default 2
        2 is the Gaussian, 4 adds the term in kappa_4, 6 those in kappa_6 and kappa_4^2 (all odd cumulants are 0).

    Returns
    -------
    GaussianLimit
        The limit's shares, the true ones, and two distances between them.

    Raises
    ------
    SpecificationError
        If the order is another one, or the output does not exist.
    IrregularLatticeError
        If layers branch or read padding; the message names the layer.

    Examples
    --------
    >>> from lattice import families
    >>> [
    ...     round(gaussian_limit(families.plain(41, 20), (0,), order).total_variation, 6)
    ...     for order in (2, 4, 6)
    ... ]
    [0.004476, 0.000105, 6e-06]
    """
    check_lattice(lattice, "gaussian_limit")
    if order not in (2, 4, 6):
        raise SpecificationError(f"order is {order}; it is 2 (the Gaussian), 4 or 6 (Edgeworth corrections)")
    unit = lattice.unit(output)
    share = np.ones(())
    axes = _unpadded_axes(lattice, f"gaussian_limit of order {order}")
    for (steps, stride), j, n in zip(axes, unit.position, lattice.input_shape[1:], strict=True):
        share = share[..., None] * _bell(steps, stride * j, n, order)
    counts = path_counts(lattice, Unit(unit.position), channels=False)
    total = int(counts.sum())
    exact = np.array([count / total for count in counts.ravel()]).reshape(counts.shape)  # int / int rounds correctly
    error = np.abs(share - exact)
    return GaussianLimit(share, exact, float(error.sum() / 2), float(error.max()))


def _unpadded_axes(lattice: Lattice, request: str) -> list[tuple[list[tuple[int, int]], int]]:
    """Per axis the (kernel, step) of all layers, and the product of their strides, of a chain that reads no padding."""
    chain: list[tuple[str, tuple[Any, ...], tuple[int, ...]]] = []
    position = len(lattice.nodes) - 1
    while not isinstance(lattice.nodes[position].op, Input):
        node = lattice.nodes[position]
        position = node.inputs[0]
        if isinstance(node.op, Windowed):
            spatial = lattice.shapes[position][1:]
            chain.append((node.name, node.op.windows(spatial), spatial))
        elif not isinstance(node.op, Pointwise):
            raise IrregularLatticeError(
                f"{request} needs a chain of layers, and {node.name} ({node.op}) is none; path_counts has no such limit"
            )
    axes = []
    for axis in range(len(lattice.input_shape) - 1):
        steps, stride = [], 1
        for name, windows, spatial in reversed(chain):
            window, n = windows[axis], spatial[axis]
            inside = isinstance(window, Window) and not window.padding[0]
            if not inside or window.stride * (window.outputs(n) - 1) + window.span > n:
                raise IrregularLatticeError(
                    f"{request} needs layers that read no padding, and {name} reads {window} over {n} cells; use padding=0, "
                    f"or path_counts, which has no such limit"
                )
            steps.append((window.kernel, window.dilation * stride))
            stride *= window.stride
        axes.append((steps, stride))
    return axes


def _cumulant(steps: list[tuple[int, int]], order: int) -> Fraction:
    if order == 1:
        return sum((Fraction(step * (kernel - 1), 2) for kernel, step in steps), Fraction(0))
    return _bernoulli(order) / order * sum((Fraction(step**order * (kernel**order - 1)) for kernel, step in steps), Fraction(0))


def _bernoulli(order: int) -> Fraction:
    numbers = [Fraction(1)]
    for m in range(1, order + 1):
        numbers.append(-sum((comb(m + 1, k) * numbers[k] for k in range(m)), Fraction(0)) / (m + 1))
    return numbers[order]


def _bell(steps: list[tuple[int, int]], start: int, n: int, order: int) -> Array:
    """The limit on one axis of n cells, from the cell `start` where all taps are 0."""
    cells: Array = np.arange(n)
    variance = _cumulant(steps, 2)
    if variance == 0:  # kernels of 1: every path ends at the same cell
        return np.asarray(cells == start, dtype=float)
    sigma = sqrt(variance)
    z = (cells - start - float(_cumulant(steps, 1))) / sigma
    fourth, sixth = (float(_cumulant(steps, m) / variance ** (m // 2)) for m in (4, 6))
    hermite: list[Array] = [np.polynomial.hermite_e.hermeval(z, [0] * m + [1]) for m in (4, 6, 8)]
    correction = np.ones(n)
    if order >= 4:
        correction += fourth / 24 * hermite[0]
    if order >= 6:
        correction += sixth / 720 * hermite[1] + fourth**2 / 1152 * hermite[2]
    span = gcd(*(step for kernel, step in steps if kernel > 1))
    density: Array = span * np.exp(-(z**2) / 2) / (sigma * sqrt(2 * pi)) * correction
    density[(cells - start) % span != 0] = 0.0
    return density
