r"""The trunk law: gates along the skips of post-activation residual nets are not independent of each other.

A path that comes down the trunk through the gates s, ..., u of one unit is weighed by R(u, s) = E[prod phi'(z)^2], not by the
product of their rates: a unit that is large stays open through many small branches. Where a path leaves the trunk through
fresh weights and enters it again further down, a new run begins. So going down from gate u' to gate u along a skip, the
moments that entered the trunk at s are multiplied by R(u, s) / R(u', s), and what enters at u itself by R(u, u).

The sweep carries one array for all of them; the factor on a skip is the mean of these ratios, weighted by how much entered
where. The weights follow from the sweep itself, so that it is repeated until they stand still: once for each gate of the
longest run at most. Where only neighbouring gates are known together, the law is that of a Markov chain.
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from landscape.gates.averaging import ratio
from landscape.gates.gates import Skip, skips
from landscape.prior import Prior
from lattice import Node

__all__ = ["trunk_factors"]

Array = np.ndarray[Any, Any]
Edges = dict[tuple[str, int], Array]
STILL = 1e-4  # relative change of the factors at which they stand still: rates are counted to 1e-3 or so


def trunk_factors(
    prior: Prior,
    sweep: Callable[[Edges], Iterator[tuple[Node, Array]]],
    squared: Callable[[str], Any] = lambda norm: 1.0,
) -> Edges:
    """The factor on each skip, by (sum, input number), beside the gains of its gates.

    `sweep`: the moments at every node's output from the top down, given such factors; `squared`: the squared factor of a norm
    that stands on the way, by name.
    """
    runs, gains = prior.gates.runs, prior.gates.gains
    links = [link for link in reversed(list(skips(prior.lattice))) if (link.lower, link.upper) in runs]  # from the top down
    rates = {key: np.asarray(run).mean(axis=0) for key, run in runs.items()}
    rates |= {(gate, gate): _over_channels(gains[gate]) for link in links for gate in (link.lower, link.upper)}
    edges = {
        (total, number): ratio(rates[lower, upper], rates[upper, upper] * rates[lower, lower])[None]
        for total, number, lower, upper, *_ in links
    }
    chained = {link.lower for link in links} & {link.upper for link in links}
    if not any((link.lower, other.upper) in rates for link in links for other in links if link.upper == other.lower):
        return edges  # neighbours alone are known
    wanted = {name for link in links for name in (link.total, link.lower, link.upper)}
    norms = {name: _over_channels(squared(name)) for link in links for name in (*link.under, *link.over)}
    for _ in range(len(chained) + 1):
        values = {node.name: values.mean(axis=0) for node, values in sweep(edges) if node.name in wanted}
        new = _factors(links, rates, edges, values, norms)
        change = max(float(np.max(ratio(np.abs(new[edge] - edges[edge]), edges[edge]))) for edge in edges)
        edges = new
        if change < STILL:
            break
    return edges


def _factors(
    links: list[Skip],
    rates: dict[tuple[str, str], Array],
    edges: Edges,
    values: dict[str, Array],
    norms: Mapping[str, Array],
) -> Edges:
    """The factors that one sweep's values call for."""
    entered: dict[str, dict[str, Array]] = {}  # gate: where its moments entered the trunk
    skipped: dict[str, Array] = {}  # gate: how much of its moments this sweep brought down a skip
    for total, number, lower, _, _, under, _ in links:
        down = prod([norms[name] for name in under], start=np.ones(()))
        skipped[lower] = skipped.get(lower, np.zeros(())) + edges[total, number][0] * values[total] * down
    factors: Edges = {}
    for total, number, lower, upper, _, under, over in links:
        for gate in (upper, lower):
            fresh = np.maximum(values[gate] - skipped.get(gate, np.zeros(())), 0)
            entered.setdefault(gate, {})[gate] = fresh
        passed_norms = prod([norms[name] for name in over], start=np.ones(()))
        arrived = {  # at the sum below the upper gate
            start: moments * _ratio(rates, upper, _next(links, upper, start, entered), start) * passed_norms
            for start, moments in entered[upper].items()
        }
        whole = sum(arrived.values(), np.zeros(()))
        kept = sum((moments * _ratio(rates, lower, upper, start) for start, moments in arrived.items()), np.zeros(()))
        passed = rates[lower, lower] * whole
        markov = ratio(rates[lower, upper], rates[upper, upper] * rates[lower, lower])
        factors[total, number] = np.where(passed > 0, ratio(kept, passed), markov)[None]
        down = prod([norms[name] for name in under], start=np.ones(()))
        for start, moments in arrived.items():
            entered[lower][start] = entered[lower].get(start, np.zeros(())) + moments * down
    return factors


def _next(links: list[Skip], gate: str, start: str, entered: dict[str, dict[str, Array]]) -> str:
    """The gate above this one through which the moments that entered at `start` came."""
    if gate == start:
        return gate
    return next(link.upper for link in links if link.lower == gate and start in entered.get(link.upper, {}))


def _ratio(rates: dict[tuple[str, str], Array], gate: str, above: str, start: str) -> Array:
    """R(gate, start) / R(above, start), or that of neighbours where the whole run is not known; R(gate, gate) at the start."""
    if gate == start:
        return rates[gate, gate]
    if (gate, start) in rates and (above, start) in rates:
        return ratio(rates[gate, start], rates[above, start])
    return ratio(rates[gate, above], rates[above, above])


def _over_channels(gain: Any) -> Array:
    """The mean over channels of what may be one number."""
    gain = np.asarray(gain, dtype=float)
    return gain.mean(axis=0) if gain.ndim else gain
