r"""The law of the largest of f(a_k) for a function that turns once: a SiLU, whose smallest value lies in a valley, or |a|.

With w the other point that has the value of v, f(w) = f(v), cells below it are those between the two (in a valley) or outside
(of a peak), so that in place of the normal distribution function of `landscape.gates.windows.largest` stands

    F_m(v | t) = |N_m(v) - N_m(w)|     or     1 - |N_m(v) - N_m(w)|,

and E[f'(v)^2; k wins] = E_t int f'(v)^2 p_k(v | t) prod_{m != k} F_m(v | t) dv as there. Where no other point has the value,
w is at infinity; a flat part counts as one that goes on turning the way it did.
"""

from typing import Any

import numpy as np
from scipy.special import ndtr

from landscape.gates.rising import Rising
from landscape.gates.windows.largest import Largest, Window, factor_points, given_factor, in_chunks, panels

__all__ = ["largest_turning"]

Array = np.ndarray[Any, Any]
REACH = 7.0  # deviations of the cells from their means


def largest_turning(window: Window, function: Rising) -> Largest:
    """What `landscape.gates.windows.largest.largest` tells, with `level` and `square` those of the winning cell before f.

    >>> from landscape.gates.rising import rising_activation
    >>> from landscape.gates.windows.largest import common_factor
    >>> from lattice import Activation
    >>> pair = common_factor(np.zeros((1, 2)), np.eye(2)[None], np.ones((1, 2), dtype=bool))
    >>> # E[max(|a|, |b|)] = 2 / sqrt(pi)
    >>> largest_turning(pair, rising_activation(Activation("abs"))).first.round(6)
    array([1.128379])
    """
    cells = window.mean.shape[1]

    def rule(part: Window, _: Any) -> tuple[Array, ...]:
        return _largest(part, function)

    wins, picked, first, second, shared, level, square = in_chunks(rule, window, function.function, cells)
    return Largest(wins, first, second, shared, picked, level, square)


def _largest(window: Window, function: Rising) -> tuple[Array, ...]:
    assert function.turn is not None
    t, masses = factor_points(window)
    middle, own = given_factor(window, t)
    low, high = (end(middle + side * REACH * own[:, None, :], axis=-1) for end, side in ((np.nanmin, -1), (np.nanmax, 1)))
    wins, picked = (np.zeros(window.mean.shape) for _ in range(2))
    total, given, square, level, second = (np.zeros(t.shape) for _ in range(5))
    for v, lengths in panels(function.function, low, high, (function.turn.at,)):
        density = _each_wins(v, middle, own, function) * lengths[..., None]
        wins += np.einsum("wtvk,wtv->wk", density * masses[..., None, None], function.function.slope(v) ** 2)
        picked += (density * masses[..., None, None]).sum(axis=(1, 2))
        whole, value = density.sum(axis=-1), function.function.value(v)
        for part, values in ((total, 1.0), (given, value), (second, value**2), (level, v), (square, v**2)):
            part += (whole * values).sum(axis=-1)
    mass = (total * masses).sum(axis=1)
    moments = [(part * masses).sum(axis=1) / mass for part in (given, second, given**2 / total, level, square)]
    return wins / mass[:, None], picked / mass[:, None], *moments


def _each_wins(v: Array, middle: Array, own: Array, function: Rising) -> Array:
    """p_k(v | t) prod_{m != k} F_m(v | t), (windows, t, v, cells)."""
    assert function.turn is not None
    there = ~np.isnan(own)[:, None, None, :]
    u, w = ((part[..., None] - middle[..., None, :]) / own[:, None, None, :] for part in (v, function.turn.other(v)))
    between = np.abs(ndtr(u) - ndtr(w))
    below = np.where(there, between if function.turn.valley else 1 - between, 1.0)
    density = np.where(there, np.exp(-np.square(u) / 2) / np.sqrt(2 * np.pi) / own[:, None, None, :], 0.0)
    whole = below.prod(axis=-1, keepdims=True)
    return density * np.divide(whole, below, out=np.zeros_like(below), where=below > 0)
