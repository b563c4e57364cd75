r"""Which cell of a maximum wins, and how far the gates below it are open there, where its cells are not all alike.

With the cells of a window z_k = m_k + s_k t + w_k e_k, where t is what all positions share (the biases, the level of the
signal) and the e_k are taken as independent, and f the pointwise function that the maximum reads, f' its slope,

    rate_k = E[f'(z_k)^2 P(f(z_l) < f(z_k) for all l != k | z_k, t)] / E[f'(z_k)^2].

What wins is where a gate is open: the largest of nine SiLUs has a slope of about 1, not that of all cells. And a cell that
reads no input (between the taps of a strided transposed convolution) has w_k = 0 and stands for a constant, which seldom wins.
Cells that are alike without a gate, or under a ReLU, need no rates: `landscape.laws.connections` has these in closed form.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtr

from landscape.gates.activations import distinct, significant
from landscape.gates.composites import Form, curve_of
from landscape.gates.mean_field_rules import Run, Signal, gaussian
from landscape.structure.plan import tap_cells
from lattice import Activation
from lattice.network.ops import Pooling, Shape, Windowed

__all__ = ["winning_rates"]

Array = np.ndarray[Any, Any]
LevelLaw = tuple[float, float, float]  # mean, variance of what positions share, variance of their own
Numbers = tuple[float, ...]
E_NODES = np.linspace(-7, 7, 561)  # deviations


def winning_rates(op: Pooling, spatial: Shape, run: Run | None, signal: Signal) -> Array | None:
    """The rate of each tap, (taps, channels or 1, *outputs); None where closed forms do: see above.

    `run` is what the maximum reads as a function of one signal, None where it is none; `signal` what it reads.
    """
    mean, variance, correlation = gaussian(signal if run is None else run.base)
    dead = variance * (1 - correlation) <= 0
    if (not dead.any() and (run is None or _has_closed_form(run.form))) or dead.all():
        return None
    form, affine = (Form(), {}) if run is None else (run.form, run.affine)
    numbers = [np.asarray(part) for name in form.norms for part in affine[name]]
    shape = (1, *spatial)
    laws = np.broadcast_arrays(mean, variance * correlation, variance * (1 - correlation), *numbers, np.zeros(shape))[:-1]
    channels = laws[0].shape[0]
    cases, which = distinct(*(significant(array) for array in laws))
    assert isinstance(op, Windowed)
    cells = tap_cells(op, spatial)
    rates = np.zeros((len(cells), channels, cells[0].size))
    for channel, kinds in enumerate(which.reshape(channels, -1)):
        for place, taps in enumerate(zip(*(tap.ravel() for tap in cells), strict=True)):
            read = [int(kinds[cell]) for cell in taps if cell >= 0]
            alike = {kind: read.count(kind) for kind in sorted(set(read))}
            won = _won(form, tuple((cases[kind][:3], count) for kind, count in alike.items()), cases[read[0]][3:])
            rate = dict(zip(alike, won, strict=True))
            for tap, cell in enumerate(taps):
                if cell >= 0:
                    rates[tap, channel, place] = rate[int(kinds[cell])]
    return rates.reshape(len(cells), channels, *cells[0].shape)


def _has_closed_form(form: Form) -> bool:
    """Is the topmost gate a ReLU, or no gate there?"""
    return not form.gates or (isinstance(form.op, Activation) and form.op.name == "relu")


@lru_cache(maxsize=4096)
def _won(form: Form, laws: tuple[tuple[LevelLaw, int], ...], numbers: Numbers) -> tuple[float, ...]:
    """The rate of one cell of each law; `laws` says of how many cells each is the law, `numbers` are those of the norms."""
    t, levels = np.polynomial.hermite_e.hermegauss(31)
    e, masses = (E_NODES[1:] + E_NODES[:-1]) / 2, np.diff(ndtr(E_NODES))
    norms = dict(zip(form.norms, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
    z = [mean + np.sqrt(shared) * t[:, None] + np.sqrt(own) * e for (mean, shared, own), _ in laws]
    curves = [curve_of(form, norms, mean, shared + own) for (mean, shared, own), _ in laws]
    values = [one.value(points) for one, points in zip(curves, z, strict=True)]
    found = []
    for k, (one, points) in enumerate(zip(curves, z, strict=True)):
        squares = one.slope(points) ** 2
        below = np.ones_like(points)
        for other, (_, count) in enumerate(laws):
            below *= np.stack(list(_below(values[k], values[other], masses))) ** (count - (other == k))
        every = levels @ (squares @ masses)
        found.append(float(levels @ ((squares * below) @ masses) / every) if every else 0.0)
    return tuple(found)


def _below(values: Array, others: Array, masses: Array) -> Iterator[Array]:
    """P(another value < this one), and half of P(they are equal), for each level t."""
    for own, row in zip(values, others, strict=True):
        order = np.argsort(row)
        total = np.concatenate([[0.0], np.cumsum(masses[order])])
        yield (total[np.searchsorted(row[order], own, "left")] + total[np.searchsorted(row[order], own, "right")]) / 2
