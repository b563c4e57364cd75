r"""The zero-padded strip, k = 3, padding 1, stride 1, N cells wide: exact counts in two forms, and their limit.

A layer is the N x N matrix with ones on three diagonals. Its eigenvectors are sines, sin(pi m (i+1)/(N+1)), with eigenvalues
1 + 2 cos(pi m/(N+1)); mirror images at -1 and N say the same without sines. Deep strips forget everything but the first
eigenvector: the map of path counts tends to half a sine wave, and not to a Gaussian.
"""

from math import log, log2, pi
from typing import Any

import numpy as np

from lattice.checks import is_real, is_whole, whole
from lattice.closed_forms.pascal import MOST_ROW_BITS, pascal_row
from lattice.errors import ResourceError, SpecificationError

__all__ = ["perron_depth", "perron_vector", "strip_counts_reflection", "strip_counts_spectral"]

Array = np.ndarray[Any, Any]

MOST_CELLS = 2**28  # of a float64 array: 2 GiB
MOST_SUMS = 10**8  # over mirror images: a minute


def strip_counts_reflection(width: int, depth: int, output: int | None = None) -> Array:
    """Path counts of `depth` zero-padded k = 3 layers over a strip of `width` cells, by the reflection principle.

        #p_(j -> i) = sum_q p(i - j + 2 q (N+1)) - p(i + j + 2 + 2 q (N+1)),     p(d) = [x^d] (1/x + 1 + x)^L

    A path that leaves the strip at -1 or N is paired with its mirror image there; what remains are those that stay inside.

    Parameters
    ----------
    width : int
        Number of cells N, at least 1.
    depth : int
        Number of layers L, at least 0.
    output : int or None, default None
        The output cell j; None is the sum over all of them.

    Returns
    -------
    ndarray of object, shape (width,)
        Exact Python ints, one per input cell i.

    Raises
    ------
    SpecificationError
        If the strip has no such output.
    ResourceError
        If it would take more than 10^8 sums.

    Examples
    --------
    >>> strip_counts_reflection(5, 2)
    array([5, 8, 9, 8, 5], dtype=object)
    """
    width, depth, outputs = _strip(width, depth, output)
    if width * len(outputs) > MOST_SUMS:
        raise ResourceError(
            f"strip_counts_reflection({width}, {depth}) takes {width} x {len(outputs)} sums (the limit is {MOST_SUMS}); name "
            "one output, or count with path_counts, which is linear in the width"
        )
    period = 2 * (width + 1)
    folded = [0] * period
    for position, number in enumerate(pascal_row(3, depth), start=-depth):
        folded[position % period] += number
    counts = [sum(folded[(i - j) % period] - folded[(i + j + 2) % period] for j in outputs) for i in range(width)]
    return np.array(counts, dtype=object)


def strip_counts_spectral(width: int, depth: int, output: int | None = None) -> Array:
    """The counts of `strip_counts_reflection` from the eigenvectors of a layer, the discrete Dirichlet problem.

        #p_(j -> i) = 2/(N+1) sum_(m=1..N) sin(pi m (i+1)/(N+1)) sin(pi m (j+1)/(N+1)) (1 + 2 cos(pi m/(N+1)))^L

    Evaluated in fixed point with 32 bits to spare, 2 log2(N+1) of them for the sum, then rounded, so that the counts are exact.

    Parameters
    ----------
    width : int
        Number of cells N, at least 1.
    depth : int
        Number of layers L, at least 0.
    output : int or None, default None
        The output cell j; None is the sum over all of them.

    Returns
    -------
    ndarray of object, shape (width,)
        Exact Python ints, one per input cell i.

    Raises
    ------
    SpecificationError
        If the strip has no such output.
    ResourceError
        If the products would be too long.

    Examples
    --------
    >>> strip_counts_spectral(5, 2, output=0)
    array([2, 2, 1, 0, 0], dtype=object)
    """
    from mpmath.ctx_mp import MPContext  # type: ignore[import-untyped]

    width, depth, outputs = _strip(width, depth, output)
    bits = int(depth * log2(3)) + 4 * (width + 1).bit_length() + depth.bit_length() + 32
    if bits * width**2 > MOST_ROW_BITS:
        raise ResourceError(
            f"strip_counts_spectral({width}, {depth}) sums {width}^2 products of {bits} bits; strip_counts_reflection gives "
            f"the same counts from one row"
        )
    context = MPContext()  # its own precision: the caller's mpmath stays as it is
    context.prec = bits
    angles = [context.pi * k / (width + 1) for k in range(2 * (width + 1))]
    sines = [int(context.nint(context.ldexp(context.sin(angle), bits))) for angle in angles]
    powers = [int(context.nint(context.ldexp((1 + 2 * context.cos(angles[m])) ** depth, bits))) for m in range(1, width + 1)]
    modes = np.outer(np.arange(1, width + 1), np.arange(1, width + 1)) % len(sines)
    vectors = np.array(sines, dtype=object)[modes]  # [mode, cell], times 2^bits
    weights = vectors[:, list(outputs)].sum(axis=1) * np.array(powers, dtype=object)
    half = (width + 1) << (3 * bits - 1)
    return np.array([(2 * total + half) // (2 * half) for total in weights @ vectors], dtype=object)


def _strip(width: int, depth: int, output: int | None) -> tuple[int, int, range]:
    width, depth = whole("width", width, 1), whole("depth", depth, 0)
    if output is None:
        return width, depth, range(width)
    if not is_whole(output) or not 0 <= output < width:
        raise SpecificationError(f"output is {output!r}; a strip of width {width} has outputs 0 to {width - 1}")
    return width, depth, range(output, output + 1)


def perron_vector(width: int) -> Array:
    """Half a sine wave, sin(pi (i+1)/(N+1)): what the path counts of a deep zero-padded strip look like.

    The eigenvector of the largest eigenvalue 1 + 2 cos(pi/(N+1)) of a k = 3 layer (Perron's: the only positive one). The
    counts over (1 + 2 cos(pi/(N+1)))^L tend to it for every output, once `perron_depth` is passed.

    Parameters
    ----------
    width : int
        Number of cells N, at least 1.

    Returns
    -------
    ndarray of float64, shape (width,)
        The sine wave, at most 1.

    Raises
    ------
    ResourceError
        If the width is more than 2^28.

    Examples
    --------
    >>> perron_vector(3).round(4)
    array([0.7071, 1.    , 0.7071])
    """
    width = whole("width", width, 1, MOST_CELLS)
    return np.sin(pi * np.arange(1, width + 1) / (width + 1))


def perron_depth(width: int, tolerance: float = 0.01) -> int:
    """The depth from which on the counts of a strip are half a sine wave to within `tolerance`, from every output.

        sum_(m=2..N) m^2 |lambda_m / lambda_1|^L <= tolerance,     lambda_m = 1 + 2 cos(pi m/(N+1))

    bounds the relative distance of #p_(j -> i) to its first term for all i and j, since |sin m t / sin t| <= m. The spectral
    gap decides: lambda_1/lambda_2 is about 1 + pi^2/(N+1)^2, so the depth is about (N+1)^2/pi^2 log(4/tolerance).

    Parameters
    ----------
    width : int
        Number of cells N, at least 1.
    tolerance : float, default 0.01
        Relative distance to the sine wave (`perron_vector`), positive.

    Returns
    -------
    int
        The smallest such number of layers L.

    Raises
    ------
    SpecificationError
        If the tolerance is not positive.
    ResourceError
        If the width is more than 2^28.

    Examples
    --------
    >>> perron_depth(8), perron_depth(224)
    (47, 30731)
    """
    width = whole("width", width, 1, MOST_CELLS)
    if not is_real(tolerance) or not tolerance > 0:
        raise SpecificationError(f"tolerance is {tolerance!r}; it is a positive number")
    modes = np.arange(2, width + 1)
    eigenvalues = np.abs(1 + 2 * np.cos(pi * np.arange(1, width + 1) / (width + 1)))
    ratios = eigenvalues[1:] / eigenvalues[0]

    def bound(depth: int) -> float:
        return float((modes**2 * ratios**depth).sum())

    if bound(0) <= tolerance:
        return 0
    slow = float(ratios.max())
    low, high = 0, 1 if slow < 1e-12 else 2 + int(log(float((modes**2).sum()) / tolerance) / -log(slow))
    while high - low > 1:  # the bound falls with the depth: above tolerance at low, not at high
        middle = (low + high) // 2
        low, high = (middle, high) if bound(middle) > tolerance else (low, middle)
    return high
