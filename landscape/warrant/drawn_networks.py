r"""Drawn networks: what a few of a small network's kind measure, beside what widths alone allow to be said of it.

What `landscape.warrant.sizes` states is made for layers with many values, and no bound of that kind knows every maximum, norm
or product of a few. But networks with few values are quickly drawn. With m the mean of measured / predicted over K drawn
networks, each with inputs and random signs at the outputs of its own, and s its standard error, measured / predicted lies in

    m exp(-3 s / m) to m exp(3 s / m),

and with d_i the draws' mean of what is measured at pixel i, less what is predicted there times the draw's own total, in units
of m, the error of the map is at most

    e = (mean over i of (E d_i)^2 + 3 t)^(1/2),

where (E d_i)^2 is the mean of products of different blocks of draws, so that the noise of one adds nothing, and t is its
standard error by a jackknife over the blocks. What is stated of a prediction holds this too. 32 networks are drawn, and twice
as many again until all this lies within what is stated anyway, at most 512, and none where these passes would take long.

Of an exact prediction 32 are drawn to see whether they contradict it, and more where they seem to; where 512 do, by 8 standard
errors, something was read that is not so.

A factory is called for each. Of a module the weights of each layer change places and signs at random; where their variances
are given, they are normal. It is a pass forwards and backwards of the model itself: no law stands in it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from landscape.laws.moments import asked_of
from landscape.tracing.trace import Trace
from landscape.warrant.sizes import Size
from landscape.weights.fans import fans
from lattice import AssumptionError, Lattice, UnsupportedError
from lattice.network.ops import Weighted

if TYPE_CHECKING:
    import torch

    from landscape.tracing.proof.ensemble import Ensemble

__all__ = ["DrawnNetworks", "check_exact", "drawn_networks", "ensemble"]

Array = np.ndarray[Any, Any]
FIRST, MOST = 32, 512  # draws
BLOCKS = 16
ERRORS = 3.0  # standard errors
BEYOND_DOUBT = 8.0  # of them
MOST_LOGARITHM = 700.0
ROUNDING = 1e-6  # of what does not vary from draw to draw: the variances are those of numbers in single precision
WORK = 1 << 31  # multiplications of all forward passes together
OVERHEAD = 1 << 16  # multiplications that take as long as to call a layer


class DrawnNetworks(NamedTuple):
    """What some drawn networks measure.

    Parameters
    ----------
    number : int
        How many were drawn.
    scale : float
        Measured / predicted.
    scale_error : float
        Its standard error.
    map_error : float
        The relative error of the map, without the draws' noise.
    largest_map_error : float
        That and three of its standard errors.
    """

    number: int
    scale: float
    scale_error: float
    map_error: float
    largest_map_error: float

    @property
    def size(self) -> Size:
        """Between what measured / predicted lies, and the largest error of the map.

        >>> low, high, _ = DrawnNetworks(64, 2.0, 0.2, 0.1, 0.15).size
        >>> round(low, 2), round(high, 2)
        (1.48, 2.7)
        """
        factor = exp(min(ERRORS * self.scale_error / self.scale, MOST_LOGARITHM))
        return Size(self.scale / factor, self.scale * factor, self.largest_map_error)

    def agree(self, stated: Size, errors: float = 0.0) -> bool:
        """Does what was measured lie in what is stated, or no more than so many of its standard errors outside?

        >>> DrawnNetworks(64, 2.0, 0.2, 0.1, 0.15).agree(Size(1.0, 1.0, 0.1), errors=8)
        True
        """
        factor = (1 + ROUNDING) * exp(min(errors * self.scale_error / self.scale, MOST_LOGARITHM))
        square = self.map_error**2 - (self.largest_map_error**2 - self.map_error**2) * errors / ERRORS
        inside = stated.lowest <= self.scale * factor and self.scale / factor <= stated.highest
        return inside and square <= (stated.map_error + ROUNDING) ** 2

    def __str__(self) -> str:
        measured = f"{self.number} drawn networks measure {self.scale:.3g} +- {self.scale_error:.2g} times the predicted scale"
        return f"{measured}, and a map that is off by {self.map_error:.0%} ({self.largest_map_error:.0%} at most)"


def ensemble(
    model: torch.nn.Module | Callable[[], torch.nn.Module],
    traced: Trace,
    output: Any = None,
    batch: int | None = None,
    images: Array | None = None,
    given: bool = False,
) -> Ensemble:
    """The networks that a prediction is about.

    `output`: as of `landscape.predict`. `batch`: over how many inputs batch norms take their statistics, None in evaluation
    mode. `images`: the inputs, None is white noise. `given`: does `initialisation` say the variances?
    """
    from landscape.tracing.proof.ensemble import Ensemble

    variances = {name: traced.variances[layer] for layer, name in traced.parameters.items()}
    weights = None if traced.unit is None else np.sqrt(asked_of(traced.lattice, traced.unit))
    return Ensemble(model, traced.lattice.input_shape, variances, given, output, weights, batch, images)


def drawn_networks(networks: Ensemble, lattice: Lattice, predicted: Array, stated: Size) -> DrawnNetworks | None:
    """What drawn networks measure of the map that is `predicted`; None where they cannot be drawn, or that would take long.

    As many as it takes for what is stated to hold it. Raises `AssumptionError` where none of them has a gradient, though one is
    predicted.
    """
    return _drawn(networks, _most(networks, lattice), predicted, lambda found: stated.holds(found.size))


def check_exact(networks: Ensemble, lattice: Lattice, predicted: Array, stated: Size) -> None:
    """Raise `UnsupportedError` where drawn networks contradict an exact prediction beyond doubt."""
    found = _drawn(networks, _most(networks, lattice), predicted, lambda found: found.agree(stated, ERRORS))
    if found is not None and not found.agree(stated, BEYOND_DOUBT):
        raise UnsupportedError(
            f"the law for this network is exact, and {found}. Likely causes: a gradient that is not that of the values, or "
            "weights that depend on each other; if there is none of them, please report it"
        )


def _most(networks: Ensemble, lattice: Lattice) -> int:
    """How many networks are drawn at most, by the multiplications of a forward pass."""
    cells = list(map(prod, lattice.shapes))
    for position, node in enumerate(lattice.nodes):
        if isinstance(node.op, Weighted):
            cells[position] *= fans(node.op, lattice.input_shapes(node)[0])[0]
    return min(MOST, WORK // ((networks.batch or networks.inputs) * sum(cells) + OVERHEAD * len(cells)))


def _drawn(networks: Ensemble, most: int, predicted: Array, enough: Callable[[DrawnNetworks], bool]) -> DrawnNetworks | None:
    """Networks are drawn until it is enough, or as many as there may be; None where they cannot be run."""
    from landscape.tracing.proof.running import Unfinished

    found, seen, number = None, _Seen(predicted), FIRST
    runs = iter(networks.runs)
    networks = next(runs)
    while number <= most and (found is None or not enough(found)):
        while seen.number < number:
            try:
                network = networks.network(seen.number)
            except Unfinished:  # it cannot be copied
                return None
            try:
                seen.add(networks.squares(network, seen.number))
            except Exception:  # the user's own code may take one input at a time, or no double precision
                others = next(runs, None)
                if others is None or seen.number:
                    return None
                networks = others
        if not np.isfinite(seen.totals).all():
            return None
        found, number = seen.found(), 2 * number
    if found is None and seen.number == MOST:
        raise AssumptionError(
            f"none of {seen.number} drawn networks has a gradient at all: the predicted {predicted.mean():.2g} is that of rare "
            "draws, and says nothing of one network; give its layers more channels, or smaller shifts"
        )
    return found


class _Seen:
    """What was measured so far, relative to the mean of what is predicted: of all draws the totals, of blocks of them the maps.

    The mean is one over all positions and draws.
    """

    def __init__(self, predicted: Array) -> None:
        self.mean = float(predicted.mean())
        self.relative = predicted.ravel() / self.mean
        self.totals: list[float] = []
        self.maps = np.zeros((BLOCKS, self.relative.size))

    @property
    def number(self) -> int:
        return len(self.totals)

    def add(self, squares: Array) -> None:
        """One more draw."""
        values = squares.ravel() / self.mean
        total = float(values.mean())
        self.maps[self.number % BLOCKS] += values - total * self.relative
        self.totals.append(total)

    def found(self) -> DrawnNetworks | None:
        """What they measure; None where no draw has a gradient."""
        totals = np.array(self.totals)
        scale, error = float(totals.mean()), float(totals.std(ddof=1)) / self.number**0.5
        if not scale:
            return None
        apart = self.maps * (BLOCKS / self.number / scale)
        squared, own = np.sum(apart, axis=0), np.sum(apart**2, axis=0)
        without = squared - apart, own - apart**2
        mean = _of_pairs(squared, own, BLOCKS)
        others = np.array([_of_pairs(*pair, BLOCKS - 1) for pair in zip(*without, strict=True)])
        deviation = float(np.sqrt((BLOCKS - 1) * others.var()))
        square = max(mean, 0.0)
        return DrawnNetworks(self.number, scale, error, square**0.5, (square + ERRORS * deviation) ** 0.5)


def _of_pairs(total: Array, squares: Array, blocks: int) -> float:
    """The mean over positions of the product of two different blocks, of the sums of all and of their squares."""
    return float(np.mean(total**2 - squares)) / (blocks * (blocks - 1))
