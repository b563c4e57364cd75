"""The rates of all runs of gates of a network, from what the forward mean field knows of the sums between them."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from landscape.gates.forward.alike_positions import Thin
from landscape.gates.forward.mean_field import MeanField
from landscape.gates.forward.signal import variance_of
from landscape.gates.gates import Skip, gates_below, skips
from landscape.gates.trunks.runs import Step, chains, run_rates
from landscape.structure.signs import is_batch_norm
from lattice import Activation, Node

__all__ = ["TrunkRates", "trunk_rates"]

Array = np.ndarray[Any, Any]


class TrunkRates(NamedTuple):
    """E[prod phi'^2] of every run by its lowest and highest gate, the mean over channels; E[phi'^2] and E[phi'] of the gates
    above the lowest one, of every channel, the latter with the positions that it is of."""

    runs: dict[tuple[str, str], Array]
    gains: dict[str, Array]
    firsts: dict[str, tuple[Array, Thin | None]]


def trunk_rates(field: MeanField, unknown: Mapping[str, Node]) -> TrunkRates:
    """The rates of whole runs of gates and of the single gates in them, over all positions.

    Products of matrices run in one thread: those of this size take less time than threads that wait for each other.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        return _trunk_rates(field, unknown)


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that have threads: to look for them takes 3 ms."""
    return ThreadpoolController()


def _trunk_rates(field: MeanField, unknown: Mapping[str, Node]) -> TrunkRates:
    where = {name: position for position, name in enumerate(field.lattice.names)}
    # a gate below makes what the lower one reads no Gaussian; where all branches are functions of one signal `gate` knows
    under = gates_below(field.lattice)
    alone = [skip for skip in skips(field.lattice) if skip.lower not in under and field.run(where[skip.top]) is None]
    scales = {skip: scale for skip in alone if (scale := _scale(field, skip)) is not None}
    found = TrunkRates({}, {}, {})
    for chain in chains(list(scales)):
        names = [chain[0].lower, *(skip.upper for skip in chain)]
        nodes = [name for skip in chain for name in (skip.lower, skip.top)]
        read = [where[name] for name in nodes]
        first = unknown[names[0]].inputs[0]
        thin = field.found.thinned(first, *read)
        below, *signals = [one.signal for one in thin] if thin is not None else [field.found[i] for i in (first, *read)]
        steps = []
        for skip, h, whole in zip(chain, signals[::2], signals[1::2], strict=True):
            scale = scales[skip]
            rest = variance_of(whole) - scale**2 * variance_of(h)
            steps.append(Step(scale * np.ones(()), whole.mean - scale * h.mean, np.maximum(rest, 0)))
        gates = [op for name in names if isinstance(op := unknown[name].op, Activation)]
        rates, slopes = run_rates(gates, below.mean, variance_of(below), steps, averaged=True)
        places = None if thin is None else thin[0]
        rates = rates if places is None else {run: places.spread(rate) for run, rate in rates.items()}
        for place, name in enumerate(names[1:], start=1):
            found.gains[name], found.firsts[name] = rates[place, place], (slopes[place], places)
        found.runs.update({(names[s], names[u]): rate for (s, u), rate in rates.items() if s != u})
    return found


def _scale(field: MeanField, skip: Skip) -> Any:
    """gamma / sigma, with its sign, of the norms between the lower gate of a skip and its sum.

    None where the statistics of a batch take part, or a sign or a shift between the sum and the upper gate.
    """
    scale: Any = 1.0
    for name in (*skip.under, *skip.over):
        norm = field.nodes[name]
        if field.train and is_batch_norm(norm):
            return None
        if name in skip.under:
            scale = scale * np.sqrt(field.factor(norm)) * field.sign(norm)
        elif np.any(field.shift(norm)[0]) or np.any(field.sign(norm) < 0):
            return None
    return scale
