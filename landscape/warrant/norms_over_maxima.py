r"""What a norm over channels divides by, where these are maxima of few filters.

All n cells of a maximum are read by one filter, so that its value is a = |w| M, with |w|^2 the size of the filter (chi-squared,
of F normal weights) and M the largest of n numbers of one size. The forward mean field knows M alone. Over channels,

    V[a] = E|w|^2 V[M] + V|w| E[M]^2,

and a norm divides by 1 + v r times what it is taken to divide by, with r = E[M]^2 / V[M], that of independent cells at most (6
of 9 cells, 15 of 25), and

    v = V|w| / E|w|^2 = 1 - 2/F (Gamma((F+1)/2) / Gamma(F/2))^2,    about 1 / 2 F.

Where a filter reads a few inputs alone, its winner's are all that the norm sees, and one direction of F + 1 of them is lost:
measured / predicted may be as low as

    F / (F + 1) / (1 + v r).

A norm over 16 maxima of 25 cells measures 0.08, 0.21, 0.30, 0.38 and 0.48 at 1, 2, 3, 4 and 6 weights a filter, where this is
0.08, 0.16, 0.23, 0.29 and 0.39.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import exp, lgamma
from typing import Any

import numpy as np
from scipy.special import erf

from landscape.structure.signs import SIGNAL_NORMS
from landscape.warrant.saturated_winners import largest_of, layers_under, weights_read
from lattice import Lattice, Norm

__all__ = ["largest_square", "least_through_norms_over_maxima"]

Array = np.ndarray[Any, Any]


def least_through_norms_over_maxima(lattice: Lattice) -> float:
    """prod over norms of F / (F + 1) / (1 + v r), the least over the layers below whose maxima it reads; 1 without any.

    >>> from lattice import Conv, Pool
    >>> net = Lattice.chain((3, 5, 5), [Conv(16, 1), Pool("max", 5), Norm("layer")])
    >>> round(least_through_norms_over_maxima(net), 2)
    0.23
    """
    least = 1.0
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Norm) and node.op.kind in SIGNAL_NORMS and node.op.kind in ("layer", "group"):
            read = [few / (few + 1) / (1 + _spread_of_size(few) * _level(cells)) for few, cells in _maxima(lattice, position)]
            least *= min(read, default=1.0)
    return least


def _maxima(lattice: Lattice, position: int) -> Iterator[tuple[int, int]]:
    """(F, n) of every layer whose maxima over n cells a node reads without weights between."""
    for layer, cells in layers_under(lattice, lattice.nodes[position]):
        if cells > 1:
            yield weights_read(layer.op, lattice.input_shapes(layer)[0]), cells


def _spread_of_size(weights: int) -> float:
    """V|w| / E|w|^2 of this many normal weights.

    >>> [round(_spread_of_size(f), 3) for f in (1, 2, 6)]
    [0.363, 0.215, 0.08]
    """
    return 1 - 2 / weights * exp(2 * (lgamma((weights + 1) / 2) - lgamma(weights / 2)))


@lru_cache(maxsize=64)
def largest_square(cells: int) -> float:
    """E[max_i z_i^2] of this many independent normal numbers.

    >>> [round(largest_square(n), 3) for n in (1, 2)]  # 1 and 1 + 2 / pi
    [1.0, 1.637]
    """
    z = np.arange(0.0005, 10, 0.001)
    density = np.exp(-(z**2) / 2) * erf(z / np.sqrt(2)) ** (cells - 1)
    return float(density @ z**2 / density.sum())


def _level(cells: int) -> float:
    """E[M]^2 / V[M] of the largest of this many independent normal numbers.

    >>> round(_level(2), 3)  # (1 / pi) / (1 - 1 / pi)
    0.467
    """
    mean, square = largest_of(cells)
    return mean**2 / (square - mean**2)
