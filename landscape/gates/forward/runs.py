r"""Whole runs of gates along a trunk: a_{l+1} = c phi(a_l) + b_l is a Markov process of one unit in the wide limit.

b_l, the branches beside the skip, is Gaussian and independent of a_l, since fresh weights stand between. From the law of the
first gate's a on, one step is the matrix

    T(i, j) = P(a_{l+1} in cell j | a_l = x_i) = N((e_{j+1} - c phi(x_i) - m) / w) - N((e_j - c phi(x_i) - m) / w),

and E[prod phi'(a)^2] over a run from gate s up to gate u is the mass that is left of the law at s when it is multiplied by
phi'^2 at every gate. The cells of each gate go with its own deviation, and one of their edges is zero: every rate is a ratio.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr

from landscape.gates.activations import deviations, quadrant
from landscape.gates.averaging import pointwise, significant
from landscape.gates.functions import curve
from landscape.gates.gates import Skip
from lattice import Activation, UnsupportedError

__all__ = ["Step", "chains", "pair_of_gates", "run_rates"]

Array = np.ndarray[Any, Any]
CELLS = 160
MOST_CASES = 10_000  # a millisecond each
NOTHING = 8.5  # deviations, beyond which less than 1e-17 lies
REACH = 8.0  # deviations from the mean, beyond which nothing is kept


class Step(NamedTuple):
    """From one gate of a trunk to the next: its scale c, and the mean m and the variance w^2 of the branches."""

    scale: Array
    mean: Array
    variance: Array


def chains(links: Sequence[Skip]) -> list[list[Skip]]:
    """The skips in runs, each from its lowest gate up; those of a gate with several skips above or below it, one by one."""
    above: dict[str, list[Skip]] = {}
    below: dict[str, list[Skip]] = {}
    for link in links:
        above.setdefault(link.lower, []).append(link)
        below.setdefault(link.upper, []).append(link)

    def alone(gate: str) -> bool:
        return len(above.get(gate, ())) == 1 and len(below.get(gate, ())) == 1

    found = []
    for link in links:
        if not alone(link.lower):
            chain = [link]
            while alone(chain[-1].upper):
                chain += above[chain[-1].upper]
            found.append(chain)
    return found


def run_rates(
    gates: Sequence[Activation], mean: Array, variance: Array, steps: Sequence[Step]
) -> tuple[dict[tuple[int, int], Array], list[Array]]:
    """E[prod phi'^2] by the numbers of the lowest and the highest gate of a run, and E[phi'] of every gate.

    `mean` and `variance` are those of what the first gate reads, (channels or 1, *spatial).

    >>> relu, one = Activation("relu"), np.ones(1)
    >>> rates, _ = run_rates([relu] * 3, 0 * one, one, [Step(one, 0 * one, 0 * one)] * 2)
    >>> # nothing is added: what was open stays open
    >>> [float(rates[0, u][0].round(4)) for u in range(3)]
    [0.5, 0.5, 0.5]
    """
    count = len(gates)
    places = [(s, u) for u in range(count) for s in range(u + 1)]

    def each(*numbers: Array) -> tuple[Array, ...]:
        shape = numbers[0].shape
        rows = np.stack([part.ravel() for part in numbers], axis=1)
        _, first, which = np.unique(significant(rows), axis=0, return_index=True, return_inverse=True)
        if len(first) > MOST_CASES:
            raise UnsupportedError(
                f"{len(first)} units that differ along a trunk of {count} gates; at most {MOST_CASES} are looked at"
            )
        found = np.array([_rates(gates, places, *case) for case in rows[first]])[which.ravel()]
        return tuple(np.moveaxis(found.reshape(*shape, -1), -1, 0))

    found = pointwise(each, mean, np.maximum(variance, 0), *(part for step in steps for part in step))
    rates, firsts = dict(zip(places, found[: len(places)], strict=True)), list(found[len(places) :])
    if [gate.name for gate in gates[:2]] == ["relu", "relu"]:  # closed
        scale, added, spread = steps[0]
        rates[1, 1], rates[0, 1] = pointwise(pair_of_gates, scale * mean, scale**2 * variance, spread, added)
        firsts[1] = rates[1, 1]
    return rates, firsts


def _rates(
    gates: Sequence[Activation], places: list[tuple[int, int]], mean: float, variance: float, *steps: float
) -> list[float]:
    """The rates of one position."""
    edges = _edges(mean, variance)
    law = _cells(edges, np.array([mean]), variance)[0]
    runs: list[Array] = []  # what is left of the law at each gate so far, when all gates from it up are open
    rates, firsts = {}, []
    for u, gate in enumerate(gates):
        x, function = (edges[1:] + edges[:-1]) / 2, curve(gate)
        slope = function.slope(x)
        runs = [run * slope**2 for run in (*runs, law)]
        rates.update({(s, u): float(run.sum()) for s, run in enumerate(runs)})
        firsts.append(float(law @ slope))
        if u == len(gates) - 1:
            break
        scale, added, spread = steps[3 * u : 3 * u + 3]
        value = scale * function.value(x) + added
        middle = float(law @ value)
        edges = _edges(middle, float(law @ (value - middle) ** 2) + spread)
        different, place = _different(value)  # what a ReLU closes is one value
        law, *runs = np.stack([law, *runs]) @ _cells(edges, different, spread)[place]
    return [*(rates[place] for place in places), *firsts]


def _edges(mean: float, variance: float) -> Array:
    """The edges of the cells of a law with these moments, zero among them."""
    reach = REACH * np.sqrt(variance)
    low, high = mean - reach, mean + reach
    if high <= low:
        size = abs(mean) or 1.0
        low, high = mean - size / 2, mean + size / 2
    if not low < 0 < high:
        return np.linspace(low, high, CELLS + 1)
    left = min(max(round(CELLS * -low / (high - low)), 1), CELLS - 1)
    right = CELLS - left
    return np.concatenate([low / left * np.arange(left, 0, -1), high / right * np.arange(right + 1)])


def _different(values: Array) -> tuple[Array, Array]:
    """The different values, and which of them each is; those of a function that grows are in order."""
    steps = np.diff(values)
    if not (steps >= 0).all():
        return np.unique(values, return_inverse=True)
    new = np.concatenate([[True], steps > 0])
    return values[new], np.cumsum(new) - 1


def _cells(edges: Array, means: Array, variance: float) -> Array:
    """The mass of N(mean, variance) in each cell, (means, cells); what lies outside belongs to the outermost."""
    apart = edges[None, 1:-1] - means[:, None]
    if variance > 0:
        apart /= np.sqrt(variance)
        near = np.flatnonzero(np.abs(apart) < NOTHING)
        below = (apart > 0).astype(float)
        below.ravel()[near] = ndtr(apart.ravel()[near])
    else:
        below = (apart > 0) + 0.5 * (apart == 0)
    masses = np.empty((len(means), len(edges) - 1))
    masses[:, 0], masses[:, -1] = below[:, 0], 1 - below[:, -1]
    np.subtract(below[:, 1:], below[:, :-1], out=masses[:, 1:-1])
    return masses


def pair_of_gates(mean: Array, variance: Array, rest: Array, branch: Any = 0.0) -> tuple[Array, Array]:
    """P(a > 0) and P(z > 0, a > 0) for a = relu(z) + b, z ~ N(mean, variance), b ~ N(branch, rest).

    P(z > 0, z + b > 0) is that of two Gaussians of deviations s and sqrt(s^2 + w^2) and correlation s / sqrt(s^2 + w^2).
    """
    s, w = (np.sqrt(np.maximum(size, 0.0)) for size in (variance, rest))
    whole = np.hypot(s, w)
    h, k = deviations(mean, s), deviations(mean + branch, whole)
    share = np.divide(s, whole, out=np.ones(np.shape(whole)), where=whole > 0)
    beside = np.divide(w, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    both = quadrant(h, k, share, beside)
    beside_alone = np.where((w == 0) & (branch == 0), 0.0, ndtr(deviations(branch + 0 * w, w)))
    return both + ndtr(-h) * beside_alone, both
