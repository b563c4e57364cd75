r"""What would flatten a landscape: changes of the network that the theory evaluates in milliseconds, ranked.

The score of a map is its relative deviation from flat, sqrt(mean((r - 1)^2)) with r the map of mean one; a change is as
good as it lowers that. Every change is a `lattice.Lattice` with variances of its own, so that it can be predicted, built
and measured. A flatter map says where a network looks before training, and nothing about its accuracy after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize

from landscape.gates.gate_rates import theory_gates
from landscape.input_checks import either_spelling
from landscape.laws.moments import expected_squares
from landscape.maps import measures
from landscape.predict import Landscape, predict
from landscape.prior import Prior
from landscape.progress import progress_bar
from landscape.rewriting import sizes_nearby, with_average_pools, with_dividing_kernels, with_padding_mode
from landscape.tracing.trace import trace
from landscape.unproductive import Unproductive, unproductive_layers
from landscape.weights.fans import fans, weighted
from landscape.weights.initialisation import he, layer_variances
from lattice import Add, Conv, Lattice, PilcroError, SpecificationError
from lattice.checks import is_whole
from lattice.network.ops import Op
from lattice.results.values import Result

if TYPE_CHECKING:
    import torch

__all__ = ["Advice", "Change", "advise", "deviation_from_flat"]

Array = np.ndarray[Any, Any]
COPYING_MODES = ("circular", "reflect", "replicate")
MOST_SHOWN = 4  # layers that add no context
MOST_GROUPS = 4  # of residual sums that share a multiplier


def deviation_from_flat(squared: Array) -> float:
    """sqrt(mean((r - 1)^2)), r = squared / mean: 0 for a flat map.

    >>> deviation_from_flat(np.array([1.0, 3.0]))
    0.5
    """
    return float(measures.relative(squared).std())


@dataclass(frozen=True, eq=False)
class Change(Result):
    """One change: what it is in words, the network that it gives, and its map.

    Parameters
    ----------
    text : str
        The change in words.
    lattice : Lattice
        The changed network.
    variances : dict of str to float
        V[w] by layer.
    landscape : Landscape
        The predicted map of the changed network.
    """

    text: str
    lattice: Lattice
    variances: dict[str, float]
    landscape: Landscape
    _made_of = (Lattice, Landscape)

    @property
    def deviation(self) -> float:
        """The map's relative deviation from flat."""
        return deviation_from_flat(self.landscape.squared)

    def _facts(self) -> dict[str, Any]:
        return {"text": self.text, "deviation": self.deviation, "report": self.report()}

    def report(self) -> measures.Report:
        """The numbers of the map.

        Returns
        -------
        Report
            Centre bias, blind spots, gridding, flip asymmetry and so on.
        """
        return self.landscape.report()


@dataclass(frozen=True, eq=False)
class Advice(Result):
    """What would lower a network's deviation from a flat map, the flattest first.

    Parameters
    ----------
    before : Change
        The network as it is.
    changes : tuple of Change
        What lowers its deviation from flat, the flattest first.
    reweighting : ndarray of float64
        Factors on the input pixels, of mean square one over what is not blind, that would make the map of the unchanged network
        flat at once; 0 where no path leads.
    unproductive : tuple of Unproductive, default ()
        Convolutions that add no context at this input size.
    """

    before: Change
    changes: tuple[Change, ...]
    reweighting: Array
    unproductive: tuple[Unproductive, ...] = ()
    _made_of = (Change, Unproductive)

    def _facts(self) -> dict[str, Any]:
        return {
            "before": {"deviation": self.before.deviation, "report": self.before.report()},
            "changes": [change._facts() for change in self.changes],
            "reweighting": self.reweighting,
            "unproductive": self.unproductive,
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [change._facts() for change in (self.before, *self.changes)]

    def _repr_html_(self) -> str:
        from landscape.display.html import advice_html

        return advice_html(self)

    def __repr__(self) -> str:
        def row(change: Change) -> str:
            report = change.report()
            numbers = f"{change.deviation:8.1%}  {report.centre_bias:6.2f}  {max(report.flip_asymmetry):6.1%}"
            return f"{numbers}  {report.total_variation:9.3g}   {change.text}"

        lines = [f"{'from flat':>9} {'centre':>6}  {'flips':>6}  {'variation':>9}   change", row(self.before)]
        lines += [row(change) for change in self.changes] or ["nothing that was tried makes this map flatter"]
        least, most = self.reweighting[self.reweighting > 0].min(initial=np.inf), self.reweighting.max()
        lines.append(f"or multiply the input by `reweighting` ({least:.2f} to {most:.2f}): flat at once, where there are paths")
        lines.append("a flatter map at initialisation; no claim about accuracy")
        if self.unproductive:
            shown = [f"  {layer}" for layer in self.unproductive[:MOST_SHOWN]]
            more = len(self.unproductive) - len(shown)
            lines += [f"{len(self.unproductive)} layers add no context at this input size", *shown]
            lines += [f"  and {more} more in .unproductive"] if more else []
        return "\n".join(lines)

    def plot(self, most: int = 2) -> Any:
        """The map before and after the best changes, on one scale.

        Parameters
        ----------
        most : int, default 2
            How many changes to draw.

        Returns
        -------
        matplotlib Figure
            One map per network.
        """
        from landscape.maps.plot import plot_changes

        shown = [("as it is", self.before.landscape), *((c.text, c.landscape) for c in self.changes[:most])]
        return plot_changes([(text, land.relative, land.guarantee.name) for text, land in shown])


@either_spelling
def advise(
    model: torch.nn.Module | Callable[[], torch.nn.Module] | Lattice | str,
    shape: tuple[int, ...] | None = None,
    *,
    initialisation: Any = None,
    most: int = 8,
    progress: bool = False,
) -> Advice:
    """What to do about topology-induced bias: changes that lower sqrt(mean((r - 1)^2)) of the predicted map r, ranked.

    Tried: input sizes near by with even padding (225 for 224), padding that copies, kernels that the stride divides, strides
    replaced by averages, the weight of branches against skips, and the best of these together. Maps are those of theory (gates
    from the forward mean field, without biases). Check a change with
    `validation.measure(change.lattice, initialisation=change.variances)`.

    Parameters
    ----------
    model : torch.nn.Module, callable, Lattice or str
        The network, as for `predict`.
    shape : tuple of int or None, default None
        Shape of one input, (channels, *spatial); a lattice has its own.
    initialisation : optional
        V[w], as for `predict`.
    most : int, default 8
        How many changes to return at most, at least 1.
    progress : bool, default False
        Whether to show a bar over the changes that are tried.

    Returns
    -------
    Advice
        The network as it is, and the changes with their maps.

    Raises
    ------
    SpecificationError
        If `most` is less than 1, or a model comes without a shape.
    PilcroError
        What `predict` raises.

    Examples
    --------
    >>> from lattice import Dense, Flatten
    >>> net = Lattice.chain(
    ...     (1, 16),
    ...     [Conv(8, 3, 2, padding=1), Conv(8, 3, 2, padding=1), Flatten(), Dense(4)],
    ... )
    >>> advice = advise(net)
    >>> advice.changes[0].deviation < advice.before.deviation
    True
    """
    if not is_whole(most) or most < 1:
        raise SpecificationError(f"most is {most!r}; it is the number of changes to return, at least 1")
    if isinstance(model, Lattice):
        land = predict(model, shape, initialisation=initialisation)
        known = Prior(model, layer_variances(model, he if initialisation is None else initialisation))
        before = Change("as it is", model, dict(known.variances), land)
    else:
        if shape is None:
            raise SpecificationError("advise(model, shape) needs the shape of one input, (channels, *spatial)")
        known = trace(model, shape, initialisation=initialisation)
        before = _changed("as it is", known.lattice, known)
    tried = []
    with progress_bar(progress, desc="trying", unit=" changes") as bar:
        for change in _candidates(known):
            tried += [change] if change is not None else []
            bar.update()
    better = sorted((c for c in tried if c.deviation < before.deviation * 0.995), key=lambda change: change.deviation)
    relative = before.landscape.relative
    seen = relative > 0
    weights = np.where(seen, np.where(seen, relative, 1.0) ** -0.5, 0.0)
    idle = unproductive_layers(before.landscape.traced)
    return Advice(before, tuple(better[:most]), weights / np.sqrt(np.mean(weights[seen] ** 2)), idle)


def _changed(text: str, lattice: Lattice, known: Prior) -> Change:
    """The change that a new lattice is: a layer of another fan-in keeps V[w] * fan_in."""
    original = known.lattice
    own = dict(zip(original.names, original.nodes, strict=True))
    scaled = {}
    for node in lattice.nodes:
        if weighted(node.op):
            old = own[node.name]
            ratio = fans(old.op, original.input_shapes(old)[0])[0] / fans(node.op, lattice.input_shapes(node)[0])[0]
            scaled[node.name] = known.variances[node.name] * ratio
    land = predict(lattice, initialisation=scaled, factors=known.factors)
    return Change(text, lattice, scaled, land)


def _candidates(known: Prior) -> Iterator[Change | None]:
    """Every change that is tried; None where one gives no network."""
    net = known.lattice

    def attempt(text: str, make: Callable[[], Lattice]) -> Change | None:
        try:
            lattice = make()
            return None if lattice == net else _changed(text, lattice, known)
        except PilcroError:
            return None

    sizes = sizes_nearby(net)
    modes: list[tuple[str, Callable[[Lattice], Lattice]]] = [
        (f"padding that copies: mode={mode!r} in every padded layer", partial(with_padding_mode, mode=mode))
        for mode in COPYING_MODES
    ]
    strides: list[tuple[str, Callable[[Lattice], Lattice]]] = [
        ("kernels that the stride divides (3 to 4, 7 to 8, 1 to 2)", with_dividing_kernels),
        ("stride 1 and an average pool in place of every stride", with_average_pools),
    ]
    for size in sizes:
        yield attempt(f"inputs of {size} pixels, with even padding", partial(net.at_size, size))
    for text, make in (*modes, *strides):
        yield attempt(text, partial(make, net))
    yield _branch_weights(known)
    for mode_text, pad in modes:
        for text, make in strides:
            yield attempt(f"{text}; {mode_text}", lambda make=make, pad=pad: pad(make(net)))  # type: ignore[misc]
        for size in sizes[:1]:
            text = f"inputs of {size} pixels; {mode_text}"
            yield attempt(text, lambda size=size, pad=pad: pad(net.at_size(size)))  # type: ignore[misc]


# --- rewriting a lattice --------------------------------------------------------------------------------------------------


# --- the variance of branches ---------------------------------------------------------------------------------------------


def _branch_weights(known: Prior) -> Change | None:
    """Multipliers on the last layers of residual branches, by a direct search; in chains a variance only scales the map."""
    net = known.lattice
    sums = [names for position in range(len(net.nodes)) if (names := _last_layers(net, position))]
    if not sums:
        return None
    groups = [list(chain.from_iterable(part)) for part in _split(sums, MOST_GROUPS)]
    plain = Prior(net, known.variances, known.factors)
    plain = replace(plain, gates=theory_gates(plain))

    def scaled(logs: Array) -> Prior:
        factor = {name: float(np.exp(log)) for names, log in zip(groups, np.clip(logs, -4, 4), strict=True) for name in names}
        return replace(plain, variances={name: value * factor.get(name, 1.0) for name, value in plain.variances.items()})

    def deviation(logs: Array) -> float:
        return deviation_from_flat(expected_squares(scaled(logs)))

    minimum = minimize(deviation, np.zeros(len(groups)), method="Powell", options={"maxfev": 40 * len(groups), "xtol": 0.1})
    best = np.clip(np.atleast_1d(minimum.x), -4, 4)
    shown = ", ".join(f"{np.exp(log / 2):.2g}" for log in best)
    text = f"residual branches scaled at initialisation, from the bottom to the top, by {shown}"
    return _changed(text, net, scaled(best))


def _split(items: list[Any], most: int) -> list[list[Any]]:
    """At most this many runs of neighbours, as even as possible."""
    count = min(most, len(items))
    return [items[len(items) * k // count : len(items) * (k + 1) // count] for k in range(count)]


def _last_layers(net: Lattice, position: int) -> list[str]:
    """The layers with weights whose output reaches this sum with nothing but norms and gates between, beside a skip."""
    node = net.nodes[position]
    if not isinstance(node.op, Add):
        return []
    ends = []
    for i in node.inputs:
        below = net.nodes[i]
        while len(below.inputs) == 1 and not weighted(below.op) and len(net.readers[net.nodes.index(below)]) == 1:
            below = net.nodes[below.inputs[0]]
        ends.append(below)
    layers = [end.name for end in ends if weighted(end.op)]
    kernels = [end for end in ends if weighted(end.op) and _kernel(end.op) > 1]
    if len(layers) == len(ends) and len(kernels) != 1:
        layers = layers[:1]  # only the ratio of the branches matters
    elif len(layers) == len(ends):
        layers = [kernels[0].name]
    return layers


def _kernel(op: Op) -> int:
    return int(np.prod(op.kernel)) if isinstance(op, Conv) else 1
