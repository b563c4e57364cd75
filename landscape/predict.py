"""The landscape that a network's topology forces on it at initialisation: `predict(...) -> Landscape`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.laws.guarantee import Guarantee
from landscape.laws.moments import layer_gradients
from landscape.laws.sizes import Size, stated_size
from landscape.maps import measures
from landscape.stages import Request, apply_law, fill_gates, path_law, read
from landscape.tracing.trace import Trace
from landscape.weights.initialisation import Initialisation
from lattice import GlobalPool, Lattice, Window
from lattice.network.ops import Windowed

if TYPE_CHECKING:
    import torch

__all__ = ["Landscape", "predict"]

Array = np.ndarray[Any, Any]
WORTH_SAYING = 0.005  # of the scale's relative error


@dataclass(frozen=True, eq=False)
class Landscape:
    """A predicted importance map and its warrant.

    `squared`: E over output units j, input channels and weights of (dh_j/dx_i)^2, float64 over input positions.
    `guarantee`, `reasons`: how far it can be trusted, and what weakens it. `traced`: what was counted, with its variances.
    `output`: the output unit that it is of; None: the mean over all. `pooled`: was the law of a pooled head asked for too?
    """

    squared: Array
    guarantee: Guarantee
    reasons: tuple[str, ...]
    traced: Trace = field(repr=False)
    output: Any = field(default=None, repr=False)
    pooled: bool = field(default=False, repr=False)

    @property
    def lattice(self) -> Lattice:
        """The network as it was counted."""
        return self.traced.lattice

    @property
    def relative(self) -> Array:
        """The map with mean one."""
        return measures.relative(self.squared)

    @property
    def importance(self) -> Array:
        """I' of Eq. 14: the map with mean square one."""
        return measures.importance(self.squared)

    @cached_property
    def replicates(self) -> tuple[Array, ...]:
        """The map with one part of the forward passes left out each, computed when asked for; none if nothing was counted."""
        counted = self.traced.gates
        return tuple(
            path_law(replace(self.traced, gates=replace(gates, kept=counted.kept), unit=self.output), self.pooled)[0]
            for gates in counted.replicates
        )

    @cached_property
    def standard_error(self) -> Array:
        """The standard error of `squared` that counting gates leaves, float64, by a jackknife over the forward passes.

        Zero where nothing was counted. It does not hold what the reasons name.

        >>> from lattice import Conv, Lattice
        >>> predict(Lattice.chain((1, 3), [Conv(2, kernel=3, padding=1)])).standard_error
        array([0., 0., 0.])
        """
        if not self.replicates:
            return np.zeros(self.squared.shape)
        scale = self.squared.max()  # so that no square leaves the range of float64
        deviations = measures.deviations([one / scale for one in self.replicates])
        return np.asarray(scale * np.sqrt(np.mean(deviations**2, axis=0)))

    @property
    def scale_error(self) -> float:
        """Relative standard error of the whole map's scale, as far as V[w] are estimates: (sum over layers of e^2)^(1/2).

        A map is linear in each V[w] (Eq. 8: a path uses a layer once at most), so a relative error e of one changes the scale
        by e at most; gates and norms that depend on V[w] in turn are left out. 0 where `initialisation` gave the variances.

        >>> from lattice import families
        >>> predict(families.plain(12, depth=2, channels=4)).scale_error
        0.0
        """
        return float(np.sqrt(sum(error**2 for error in self.traced.variance_errors.values())))

    @property
    def size(self) -> Size:
        """How far off it may be, as its guarantee states: least and largest measured / predicted, and the map's error."""
        return stated_size(self.lattice, self.guarantee, self.scale_error, self.traced.gates.taps)

    @property
    def scale_range(self) -> tuple[float, float]:
        """Between what measured / predicted may lie."""
        return self.size[:2]

    @property
    def map_error(self) -> float:
        """The largest relative root mean square error of the map of mean one."""
        return self.size.map_error

    def report(self) -> measures.Report:
        """Centre bias, blind spots, gridding, flip asymmetry, total variation: numbers with names, and their errors."""
        return measures.report(self.squared, _stride_periods(self.lattice), self.replicates)

    def layers(self, output: Any = None) -> dict[str, Array]:
        """How the map comes about: E[(dh_j/du)^2] at the output u of each layer, from the network's output to its input.

        Float64 maps over each layer's own positions (the mean over its channels), by layer name; layers without positions
        are left out. The sum over paths alone (Eq. 8): what joins it only at the input, as the second path law under a
        pooled head does, is not in it. `output` names one output unit (None: the mean over all).

        >>> from lattice import Conv, Dense, Flatten, Lattice
        >>> net = Lattice.chain((1, 4), [Conv(1, kernel=3, padding=1), Conv(1, kernel=3, padding=1), Flatten(), Dense(1)])
        >>> {name: squared.tolist() for name, squared in predict(net, initialisation=1.0).layers().items()}
        {'conv2': [1.0, 1.0, 1.0, 1.0], 'conv1': [2.0, 3.0, 3.0, 2.0], 'input': [5.0, 8.0, 8.0, 5.0]}
        """
        found = layer_gradients(self.traced, output)
        return {name: squared for name, squared in found.items() if squared.ndim}

    def plot(self, ax: Any = None) -> Any:
        """Draw the relative map; returns the matplotlib Axes. See `landscape.maps.plot.plot_map`."""
        from landscape.maps.plot import plot_map

        return plot_map(self.relative, ax, title=f"predicted, {self.guarantee.name.lower().replace('_', ' ')}")

    def _repr_html_(self) -> str:
        from landscape.display.html import landscape_html

        return landscape_html(self)

    def __repr__(self) -> str:
        lines = [f"importance landscape over {self.squared.shape}: {self.guarantee.name}"]
        lines += [f"  because of {reason}" for reason in self.reasons]
        if self.guarantee is not Guarantee.EXACT:
            low, high, error = self.size
            lines.append(f"  measured / predicted may lie between {low:.2g} and {high:.2g}, and the map be off by {error:.0%}")
        if self.scale_error > WORTH_SAYING:
            lines.append(f"  scale known to {self.scale_error:.1%}: the variances of the weights are estimates")
        return "\n".join([*lines, str(self.report())])


def predict(
    model: torch.nn.Module | Callable[[], torch.nn.Module] | Lattice,
    shape: tuple[int, ...] | None = None,
    *,
    initialisation: Initialisation | Mapping[str, float] | float | str | None = None,
    output: Any = None,
    mode: str = "eval",
    gates: str = "measured",
    inputs: Any = None,
    batch: int = 32,
    factors: Mapping[str, Any] | None = None,
    check: bool = True,
) -> Landscape:
    """E_j,W[(dh_j/dx_i)^2] = (1/Z) sum_j sum over paths of prod V[w] (Proposition 1, Eq. 8), gates and norms included.

    `model`: a torch module or, better for the scale, a factory of freshly initialised ones, with `shape` = (channels,
    *spatial) of its input; its variances are read from its weights unless `initialisation` gives them: a scheme such as
    `landscape.he` or its name, one variance for all layers, or a mapping from layer name to variance. Trained weights are
    refused, unless initialisation="weights" asks for their second moments, an approximation. Or a `Lattice`, with
    `landscape.he` unless told otherwise, and `factors` may give gamma^2 / sigma^2 of its norms (default 1). `output` names
    one output unit (None: the mean over all), the entry of a model that returns a dictionary ("out"), or both ("out", unit).
    `mode`: "eval", or "train": batch norms divide by the variance of a `batch` of white inputs, and the gradient is that of
    each output sample with respect to its own input (Lemma 2, corrected).
    `gates`: "measured" counts, in forward passes of the model on `inputs` (N, channels, *spatial) or on white noise, what
    symmetry does not tell: gates behind residual sums, smooth activations, which cells win a max-pool; "theory" takes them
    from the lattice alone, as for a `Lattice` or a model without values. For small nets with `inputs`, where gates under an
    average share filters, the law is that of infinite width (see `landscape.laws.infinite_width`).

    `check`: compare the lattice with the model itself, output and input gradient at one random point, before anything is said;
    that takes two passes in double precision (`landscape.trace`).

    Returns a `Landscape`. Raises `UnsupportedError` (operations without a rule), `AssumptionError` (tied, trained or NaN
    weights), `SpecificationError` (shapes).

    >>> from lattice import Conv, Dense, Flatten, Lattice
    >>> net = Lattice.chain((1, 4), [Conv(8, kernel=3, padding=1), Flatten(), Dense(10)])
    >>> land = predict(net, initialisation=1.0)
    >>> land.squared, land.guarantee.name
    (array([16., 24., 24., 16.]), 'EXACT')
    """
    request = Request(shape, initialisation, output, mode, gates, inputs, batch, factors, check)
    traced, request = read(model, request)
    traced, said = fill_gates(traced, request)
    squared, guarantee, reasons, traced, pooled = apply_law(traced, request, isinstance(model, Lattice), said)
    return Landscape(squared, guarantee, reasons, traced, traced.unit, pooled)


def _stride_periods(lattice: Lattice) -> list[int]:
    """The products of strides from the input up: the periods at which a grid can appear."""
    strides = [1] * len(lattice.nodes)
    for position, node in enumerate(lattice.nodes):
        if node.inputs:
            strides[position] = max(strides[i] for i in node.inputs)
        if isinstance(node.op, Windowed) and not isinstance(node.op, GlobalPool):
            spatial = lattice.input_shapes(node)[0][1:]
            windows = [window for window in node.op.windows(spatial) if isinstance(window, Window)]
            strides[position] *= max((window.stride for window in windows), default=1)
    return sorted(set(strides) - {1})
