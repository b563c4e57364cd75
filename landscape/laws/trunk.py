r"""The trunk law: gates along the skips of post-activation residual nets are not independent of each other.

A path that comes down the trunk through the gates s, ..., u of one unit is weighed by R(u, s) = E[prod phi'(z)^2], not by the
product of their rates: a unit that is large stays open through many small branches. Where a path leaves the trunk through
fresh weights and enters it again further down, a new run begins. So going down from gate u' to gate u along a skip, the
moments that entered the trunk at s are multiplied by R(u, s) / R(u', s), and what enters at u itself by R(u, u).

The sweep carries one array for all of them; the factor on a skip is the mean of these ratios, weighted by how much entered
where. All that these weights ask for lies above the skip, so that the factor is known when the sweep comes to it. Where only
neighbouring gates are known together, the law is that of a Markov chain.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from landscape.gates.averaging import ratio
from landscape.gates.gates import Skip, skips
from landscape.prior import Prior

__all__ = ["Trunk"]

Array = np.ndarray[Any, Any]


class Trunk:
    """The factors on the skips of one sweep, beside the gains of their gates.

    `squared`: the squared factor of a norm that stands on the way, by name.
    """

    def __init__(self, prior: Prior, squared: Callable[[str], Any] = lambda norm: 1.0) -> None:
        runs, gains = prior.gates.runs, prior.gates.gains
        self.links = [link for link in reversed(list(skips(prior.lattice))) if (link.lower, link.upper) in runs]
        gates = {gate for link in self.links for gate in (link.lower, link.upper)}
        self.rates = {key: np.asarray(run).mean(axis=0) for key, run in runs.items()}
        self.rates |= {(gate, gate): _over_channels(gains[gate]) for gate in gates}
        self.norms = {name: _over_channels(squared(name)) for link in self.links for name in (*link.under, *link.over)}
        self.factors: dict[tuple[str, int], Array] = {}  # by sum and number of its input
        self.entered: dict[str, dict[str, Array]] = {gate: {} for gate in gates}  # gate: by the gate where they entered
        self.skipped: dict[str, Any] = dict.fromkeys(gates, 0.0)  # gate: how much of its moments came down a skip
        self.followed = {link.total for link in self.links} | gates
        self.exponent: int | None = None

    def reached(self, name: str, moments: Array, exponent: int) -> None:
        """The sweep has come to a node with these moments, m 2^e; (channels or 1, *spatial)."""
        below = [link for link in self.links if link.total == name]
        self.exponent = exponent if self.exponent is None else self.exponent  # what counts are ratios
        moments = np.ldexp(moments.mean(axis=0), exponent - self.exponent)
        if name in self.entered:
            self.entered[name][name] = np.maximum(moments - self.skipped[name], 0)
        for link in below:
            self._pass_down(link, moments)

    def _pass_down(self, link: Skip, moments: Array) -> None:
        rates, upper, lower = self.rates, link.upper, link.lower
        over, under = (prod([self.norms[name] for name in names], start=np.ones(())) for names in (link.over, link.under))
        arrived = {  # at the sum below the upper gate
            start: entered * self._ratio(upper, self._gate_above(upper, start), start) * over
            for start, entered in self.entered[upper].items()
        }
        whole = sum(arrived.values(), np.zeros(()))
        kept = sum((part * self._ratio(lower, upper, start) for start, part in arrived.items()), np.zeros(()))
        passed = rates[lower, lower] * whole
        markov = ratio(rates[lower, upper], rates[upper, upper] * rates[lower, lower])
        factor = np.where(passed > 0, ratio(kept, passed), markov)
        self.factors[link.total, link.place] = factor[None]
        self.skipped[lower] = self.skipped[lower] + factor * moments * under
        for start, part in arrived.items():
            self.entered[lower][start] = self.entered[lower].get(start, 0.0) + part * under

    def _gate_above(self, gate: str, start: str) -> str:
        """The gate above this one through which the moments that entered at `start` came."""
        if gate == start:
            return gate
        return next(link.upper for link in self.links if link.lower == gate and start in self.entered[link.upper])

    def _ratio(self, gate: str, above: str, start: str) -> Array:
        """R(gate, start) / R(above, start), of neighbours where the whole run is not known; R(gate, gate) at the start."""
        rates = self.rates
        if gate == start:
            return rates[gate, gate]
        if (gate, start) in rates and (above, start) in rates:
            return ratio(rates[gate, start], rates[above, start])
        return ratio(rates[gate, above], rates[above, above])


def _over_channels(gain: Any) -> Array:
    """The mean over channels of what may be one number."""
    gain = np.asarray(gain, dtype=float)
    return gain.mean(axis=0) if gain.ndim else gain
