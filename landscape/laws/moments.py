r"""E[(dh_j / dx_i)^2] by one sweep over the moments of single connections, in float64.

    E[(dh_j / dx_i)^2] = sum over paths from j to i of prod over layers of weight(layer)           (Eq. 8, Proposition 1)

with the weights of `landscape.laws.connections`. Where paths share all their fresh weights the sum over single paths is not
enough: see `landscape.laws.positions.sweep`, which the sweep follows.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from landscape.gates.windows.united import united
from landscape.input_checks import either_spelling
from landscape.laws.connections import Rules
from landscape.laws.positions.sweep import pull_moments, sweep_moments
from landscape.prior import Gates, Prior
from landscape.structure.plan import pool_cells
from landscape.weights.initialisation import Initialisation, he, layer_variances
from lattice import Lattice, Node, Unit, UnsupportedError, pull_back
from lattice.counts.counting import one_unit
from lattice.errors import listed
from lattice.network.lattice import check_lattice

__all__ = [
    "Rules", "expected_squares", "layer_gradients", "path_sum", "pool_cells", "squared_gradients",
    "squares_and_rest",
]  # fmt: skip

Array = np.ndarray[Any, Any]
MOST_LEFT_OUT = 0.25  # of the squared gradient, by what has no rule


def squared_gradients(
    lattice: Lattice,
    variances: Mapping[str, float],
    factors: Mapping[str, Any] | None = None,
    shifted: Collection[str] = (),
    output: Any = None,
    gates: Gates | None = None,
    signs: Mapping[str, Any] | None = None,
) -> Array:
    """E[(dh_j / dx_i)^2] over weights, output units j (all, or the one named `output`) and input channels (Eq. 8).

    Parameters
    ----------
    lattice : Lattice
        The network.
    variances : mapping of str to float
        V[w] by layer name.
    factors : mapping or None, default None
        The squared factor of each norm by name: a number, one per channel, or one per position.
    shifted : collection of str, default ()
        Layers whose bias or shift is not zero on average.
    output : Unit, tuple of int, int or None, default None
        One output unit; None is the mean over all.
    gates : Gates or None, default None
        What gates and choices let through where symmetry does not say it.
    signs : mapping or None, default None
        The sign of a norm's factor where it is negative, -1 or one per channel.

    Returns
    -------
    ndarray of float64
        The map over input positions.

    Raises
    ------
    UnsupportedError
        If an op has no rule.
    ResourceError
        If the result leaves the range of float64.

    Examples
    --------
    >>> from lattice import Conv, Flatten, Dense
    >>> net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
    >>> squared_gradients(net, {"conv1": 1.0, "dense1": 1.0})
    array([2., 3., 3., 2.])
    """
    check_lattice(lattice, "squared_gradients")
    return expected_squares(Prior(lattice, variances, factors or {}, shifted, gates or Gates(), signs=signs or {}), output)


def expected_squares(prior: Prior, output: Any = None) -> Array:
    """E[(dh_j / dx_i)^2] as of `squared_gradients`, for a network and its law in one value.

    Parameters
    ----------
    prior : Prior
        The network and the law of its weights.
    output : Unit, tuple of int, int or None, default None
        One output unit; None is the mean over all.

    Returns
    -------
    ndarray of float64
        The map over input positions.

    Examples
    --------
    >>> from lattice import Conv, Flatten, Dense
    >>> net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
    >>> expected_squares(Prior(net, {"conv1": 1.0, "dense1": 1.0}))
    array([2., 3., 3., 2.])
    """
    return squares_and_rest(prior, output)[0]


def squares_and_rest(prior: Prior, output: Any = None) -> tuple[Array, float]:
    """E[(dh_j/dx_i)^2] and the share of it that joint moments without a rule could add at most.

    These are the moments of copies of one signal on several channels (`landscape.structure.plan.Plan.copies`); at most they are
    what Cauchy-Schwarz allows.

    Parameters
    ----------
    prior : Prior
        The network and the law of its weights.
    output : Unit, tuple of int, int or None, default None
        One output unit; None is the mean over all.

    Returns
    -------
    ndarray of float64, float
        The map over input positions, and the share of its sum.

    Raises
    ------
    UnsupportedError
        If that share is above a quarter, or an op has no rule.
    ResourceError
        If the result leaves the range of float64.

    Examples
    --------
    >>> from lattice import Conv
    >>> squared, share = squares_and_rest(
    ...     Prior(Lattice.chain((1, 4), [Conv(2, 3)]), {"conv1": 1.0})
    ... )
    >>> squared
    array([0.5, 1. , 1. , 0.5])
    """
    if prior.gates.united is not None:
        prior = replace(united(prior), gates=prior.gates.united)
    rules, asked = Rules(prior), asked_of(prior.lattice, output)
    with np.errstate(over="ignore", under="ignore"):
        found = pull_moments(prior.lattice, rules, asked).mean(axis=0)
        if not prior.plan.copies or not found.any():
            return found, 0.0
        largest = pull_moments(prior.lattice, rules, asked, copies_alike=True).mean(axis=0)
    share = max(float(largest.sum() / found.sum()) - 1, 0.0)
    if not share <= MOST_LEFT_OUT:
        raise UnsupportedError(
            f"{listed(list(prior.plan.copies))}: one signal on several channels, whose joint moments have no rule here; "
            f"they could add {share:.0%} to the squared gradient, and {MOST_LEFT_OUT:.0%} is the most that is left out"
        )
    return found, share


def layer_gradients(prior: Prior, output: Any = None) -> dict[str, Array]:
    """E[(dh_j / du)^2] at the output u of every layer, from the output down: Eq. 8 cut off at each node of one sweep.

    Parameters
    ----------
    prior : Prior
        The network and the law of its weights.
    output : Unit, tuple of int, int or None, default None
        One output unit; None is the mean over all.

    Returns
    -------
    dict of str to ndarray of float64
        Maps by node name, each over the positions of its layer (the mean over its channels); layers without positions have
        arrays of no axes.

    Examples
    --------
    >>> from lattice import Conv, Flatten, Dense
    >>> net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
    >>> layer_gradients(Prior(net, {"conv1": 1.0, "dense1": 1.0}))["conv1"]
    array([1., 1., 1., 1.])
    """
    if prior.plan.copies:
        squares_and_rest(prior, output)  # refused where too much is left out
    rules = Rules(prior)
    with np.errstate(over="ignore", under="ignore"):
        visited = sweep_moments(prior.lattice, rules, asked_of(prior.lattice, output))
        return {node.name: values.mean(axis=0) for node, values in visited}


@either_spelling
def path_sum(
    lattice: Lattice, initialisation: Initialisation | Mapping[str, float] | float | str = he, output: Any = None
) -> Array:
    """Eq. 8 as printed: every path squared by itself, whether or not the cross terms of this lattice vanish (Eq. 9 to 11).

    The right side of Proposition 1, 1/2 for the gate of a ReLU and 1 / n^2 for an average over n cells included, to hold
    against `predict`, which adds what it leaves out.

    Parameters
    ----------
    lattice : Lattice
        The network.
    initialisation : callable, str, float, or mapping of str to float, default landscape.he
        V[w], as for `predict`.
    output : Unit, tuple of int, int or None, default None
        One output unit; None is the mean over all.

    Returns
    -------
    ndarray of float64
        The map over input positions.

    Raises
    ------
    UnsupportedError
        If there are blurs or linear resizes, whose coefficients differ from tap to tap.

    Examples
    --------
    >>> from lattice import Conv, Dense, Flatten, GlobalPool
    >>> # the border pixel is read twice through one weight
    >>> copies = Conv(1, kernel=3, padding=1, mode="replicate")
    >>> path_sum(
    ...     Lattice.chain((1, 4), [copies, GlobalPool("avg"), Flatten(), Dense(1)]), 1.0
    ... ) * 16
    array([3., 3., 3., 3.])
    """
    check_lattice(lattice, "path_sum")
    rules = Rules(Prior(lattice, layer_variances(lattice, initialisation)))

    def weight(node: Node) -> Any:
        factor = rules.squared(node)
        if factor is None:
            raise UnsupportedError(f"{node.name} ({node.op}): its taps have different coefficients; predict follows them")
        return factor

    return np.asarray(pull_back(lattice, weight, asked_of(lattice, output)).mean(axis=0))


def asked_of(lattice: Lattice, output: Any) -> Array:
    """The cotangent of the mean over output units, of one, or of the mean over the channels of one position."""
    cotangent = one_unit(lattice, output, one=1.0)
    if output is None:
        return cotangent / prod(lattice.output_shape)
    if isinstance(output, Unit) or cotangent.ndim == 1:
        return cotangent
    return np.broadcast_to(cotangent.mean(axis=0), cotangent.shape)
