r"""A network and the law of its weights as one value: what every law reads, and what it makes a better one of.

The lattice says what is connected to what, `Prior` how large the connections are: V[w] of each layer, the factors of the
norms, what gates and choices let through. Reading a model makes one (`landscape.tracing.trace`), gates and norms complete it,
a law turns it into a map.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from landscape.structure.plan import Plan, plan
from landscape.structure.signs import Sign, node_signs
from lattice import Lattice
from lattice.network.lattice import check_lattice

__all__ = ["Gates", "Pooled", "Prior", "Shift", "even"]

Array = np.ndarray[Any, Any]


class Shift(NamedTuple):
    """What a layer adds: the mean and the variance of its bias, each a number or an array over channels."""

    mean: Any
    variance: Any


class Pooled(NamedTuple):
    """The Gaussian of which an activation under a global average is a function, and that function.

    `base`: the node that gives it. `slopes`: those of the function, below and above zero. `power`: E[z^2], the mean over
    channels, (1, *spatial) or without the first axis. `correlation`: that of the values at two inputs.
    """

    base: str
    slopes: tuple[Any, Any]
    power: Array
    correlation: float


BY_LAYER = frozenset(("kept", "logits", "runs", "source"))  # rates that are no matter of how windows are joined


@dataclass(frozen=True, eq=False)
class Gates:
    """Rates at which gates and choices let gradients through, by node name.

    What is absent follows from symmetry, or takes the cells of a max-pool as equally likely to win.

    Parameters
    ----------
    gains : mapping
        E[phi'(z)^2] of an activation, 1 / E[variance] of a norm over the signal, over the output (channels or 1, *spatial), or
        one number.
    joint : mapping
        E[phi'(z) phi'(z')] at the pairs of positions that `landscape.structure.plan` carries.
    taps : mapping
        For a max-pool, how often each tap of each window passes its gradient, divided by how often the gate below it is open:
        (taps, channels or 1, *outputs).
    runs : mapping
        By (lowest, highest) gate of a trunk, E[prod phi'(z)^2] over the gates from the one to the other
        (`landscape.laws.trunk`), (channels or 1, *spatial).
    source : str
        Where they come from, in words.
    firsts : mapping
        E[phi'(z)] of an activation, as `gains`.
    products : mapping
        By (product, input number) E[g^2] of the factors g that multiply this input, over the output of the product.
    product_joint : mapping
        E[g g'] at the pairs of positions that are carried.
    replicates : sequence of Gates, default ()
        The same rates with one part of the forward passes left out each, from which a jackknife takes their error; empty where
        they have none.
    kept : mapping
        What a norm over the signal leaves of the gradient beside 1 / E[variance] (`landscape.laws.norm_gradient`).
    logits : mapping
        How much the logits of attention vary (`landscape.gates.forward.logits`).
    notes : mapping
        What is to be said of how the rates of a node were found, in words.
    product_means : mapping
        By (product, input number) E[g] of the factors that multiply this input.
    beside : mapping
        By (activation, node below it in one run of gates) its mean slope for a path beside another one that is at this node, at
        the same position (`landscape.gates.composites.beside`).
    winners : mapping
        For a max-pool, which cells win two windows and how often both pass, at the pairs that are carried
        (`landscape.gates.windows.pairs_of_winners.Winners`).
    filters : mapping
        For a convolution over few channels, what pairs of its taps have in common with the gates around it
        (`landscape.gates.filters.Crossing`).
    pooled : mapping
        What activations under a global average at the head read (`Pooled`).
    united : Gates or None
        Those of the network whose maxima of maxima are taken over the unions of their windows, which is the same map
        (`landscape.gates.windows.united`); None where there are no such.
    """

    gains: Mapping[str, Any] = field(default_factory=dict)
    joint: Mapping[str, Array] = field(default_factory=dict)
    taps: Mapping[str, Array] = field(default_factory=dict)
    runs: Mapping[tuple[str, str], Array] = field(default_factory=dict)
    source: str = "taken as equally likely"
    firsts: Mapping[str, Any] = field(default_factory=dict)
    products: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    product_joint: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    replicates: Sequence["Gates"] = ()
    kept: Mapping[str, Any] = field(default_factory=dict)
    logits: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    product_means: Mapping[tuple[str, int], Any] = field(default_factory=dict)
    beside: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    winners: Mapping[str, Any] = field(default_factory=dict)
    filters: Mapping[str, Any] = field(default_factory=dict)
    pooled: Mapping[str, Pooled] = field(default_factory=dict)
    united: "Gates | None" = None


@dataclass(frozen=True, eq=False)
class Prior:
    """A network and the law of its weights before training, by node name: what every law reads.

    Parameters
    ----------
    lattice : Lattice
        The network.
    variances : mapping of str to float
        V[w] of each layer with weights.
    factors : mapping
        The squared factor of each norm, gamma^2 / (running variance + eps): a number, one per channel, or one per unit (absent:
        1).
    shifted : collection of str, default frozenset()
        Layers whose bias or shift is not zero on average.
    gates : Gates
        What gates and choices let through where symmetry does not say it.
    skewed : tuple of str, default ()
        Layers whose weights are not as in a fresh initialisation, though they were to be taken as they are.
    signs : mapping
        The sign of each norm's factor gamma / sigma where it is negative anywhere, -1 or one per channel (absent: 1).
    shifts : mapping
        Mean and variance over channels or draws of the biases and shifts that are not all zero.

    Examples
    --------
    >>> from lattice import Activation, Conv
    >>> prior = Prior(
    ...     Lattice.chain((1, 8), [Conv(4, kernel=3), Activation("relu")]), {"conv1": 2 / 3}
    ... )
    >>> [sign.name for sign in prior.node_signs], prior.plan.is_diagonal
    (['DATA', 'FILTER', 'NONNEGATIVE'], True)
    """

    lattice: Lattice
    variances: Mapping[str, float]
    factors: Mapping[str, Any] = field(default_factory=dict)
    shifted: Collection[str] = frozenset()
    gates: Gates = field(default_factory=Gates)
    skewed: tuple[str, ...] = ()
    signs: Mapping[str, Any] = field(default_factory=dict)
    shifts: Mapping[str, Shift | tuple[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_lattice(self.lattice, "Prior")

    @cached_property
    def node_signs(self) -> tuple[Sign, ...]:
        """The symmetry of every node's values, in the order of the nodes: `landscape.structure.signs.node_signs`."""
        return tuple(node_signs(self.lattice, self.shifted, self.signs))

    @property
    def plan(self) -> Plan:
        """Which moments between positions a sweep must carry: `landscape.structure.plan.plan`."""
        return plan(self.lattice, self.filters)

    @property
    def filters(self) -> frozenset[str]:
        """The convolutions of which pairs of different taps matter, by name."""
        return frozenset(self.gates.filters)

    def sign(self, position: int) -> Sign:
        """The symmetry of what a node reads as its first input.

        Parameters
        ----------
        position : int
            Index of the node.

        Returns
        -------
        Sign
            Whether values are symmetric about zero, not negative, and so on.
        """
        return self.node_signs[self.lattice.nodes[position].inputs[0]]

    def with_gates(self, **rates: Any) -> Self:
        """The same network and law with some parts of its `gates` replaced.

        Parameters
        ----------
        **rates : dict
            Parts of `Gates` by name.

        Returns
        -------
        Prior
            With the other rates.
        """
        joined = self.gates.united
        if joined is not None:
            joined = replace(joined, **rates) if set(rates) <= BY_LAYER else None
        return replace(self, gates=replace(self.gates, **{"united": joined, **rates}))

    def up_to(self, position: int) -> "Prior":
        """What is known of the network whose output is one node, with the gates of the whole network.

        Parameters
        ----------
        position : int
            Index of the node.

        Returns
        -------
        Prior
            The part of the network below and including the node.
        """
        part = self.lattice.up_to(position)
        names = set(part.names)

        def own(values: Mapping[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in values.items() if name in names}

        def carried(gates: Gates) -> Gates:
            joint = {name: self._fewer_pairs(part, name, table) for name, table in own(gates.joint).items()}
            products = {
                key: self._fewer_pairs(part, key[0], table) for key, table in gates.product_joint.items() if key[0] in names
            }
            return replace(
                gates,
                united=None,
                winners={},
                filters={},
                joint={name: table for name, table in joint.items() if table is not None},
                product_joint={key: table for key, table in products.items() if table is not None},
            )

        return Prior(
            part,
            own(self.variances),
            own(self.factors),
            frozenset(self.shifted) & names,
            replace(carried(self.gates), replicates=tuple(map(carried, self.gates.replicates))),
            tuple(name for name in self.skewed if name in names),
            own(self.signs),
            own(self.shifts),
        )

    def _fewer_pairs(self, part: Lattice, name: str, table: Any) -> Any:
        """A table over the pairs that are carried at a node, at those that a part of it carries; None if it has others."""
        node, other = self.lattice.names.index(name), part.names.index(name)
        axes, wanted = self.plan.carried.get((node, node)), plan(part).carried.get((other, other))
        if (
            axes is None
            or wanted is None
            or any(not np.isin(w.codes, a.codes).all() for a, w in zip(axes, wanted, strict=True))
        ):
            return None
        places = [np.searchsorted(a.codes, w.codes) for a, w in zip(axes, wanted, strict=True)]
        values = np.broadcast_to(table, (np.shape(table)[0], *map(len, axes)))
        return values[np.ix_(np.arange(len(values)), *places)]


def even(prior: Prior) -> bool:
    """Whether nothing that a norm multiplies or adds differs from position to position.

    Parameters
    ----------
    prior : Prior
        The network and the law of its weights.

    Returns
    -------
    bool
        Whether rates have all symmetries of the network.
    """
    channels = {name: shape[0] for name, shape in zip(prior.lattice.names, prior.lattice.shapes, strict=True)}
    added = [(name, part) for name, shift in prior.shifts.items() for part in shift]
    values = [*prior.factors.items(), *prior.signs.items(), *added]
    return all(np.ndim(value) == 0 or np.shape(value) == (channels[name],) for name, value in values if name in channels)
