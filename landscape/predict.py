"""The landscape that a network's topology forces on it at initialisation: `predict(...) -> Landscape`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.input_checks import NOWHERE, either_spelling
from landscape.laws.moments import layer_gradients
from landscape.maps import measures
from landscape.maps.periods import stride_periods
from landscape.saved import parts, read_landscape, write_landscape
from landscape.stages import Request, apply_law, complete, path_law
from landscape.tracing.model_names import model_factory
from landscape.tracing.trace import Trace
from landscape.warrant.drawn_networks import DrawnNetworks, check_exact, drawn_networks, ensemble
from landscape.warrant.guarantee import Guarantee
from landscape.warrant.nested_products import growth_of_products
from landscape.warrant.sizes import Size, stated_size
from landscape.weights.initialisation import Initialisation
from lattice import Lattice
from lattice.results.values import MapResult

if TYPE_CHECKING:
    import torch

__all__ = ["Landscape", "predict"]

Array = np.ndarray[Any, Any]
WORTH_SAYING = 0.005  # of the scale's relative error


@dataclass(frozen=True, eq=False)
class Landscape(MapResult):
    """A predicted importance map, and how far it can be trusted.

    Parameters
    ----------
    squared : ndarray of float64
        E over output units j, input channels and weights of (dh_j/dx_i)^2, over input positions.
    guarantee : Guarantee
        EXACT, WIDE_LIMIT or APPROXIMATE.
    reasons : tuple of str
        What weakens the guarantee, each with its layers.
    traced : Trace
        What was counted, with its variances.
    output : optional
        The output unit that it is of; None is the mean over all.
    pooled : bool, default False
        Whether the law of a pooled head was asked for too.
    batch : int, optional
        Over how many inputs batch norms take their statistics; None in evaluation mode.
    drawn : DrawnNetworks, optional
        What drawn networks measure of it; None where none were.
    """

    squared: Array
    guarantee: Guarantee
    reasons: tuple[str, ...]
    traced: Trace = field(repr=False)
    output: Any = field(default=None, repr=False)
    pooled: bool = field(default=False, repr=False)
    batch: int | None = field(default=None, repr=False)
    drawn: DrawnNetworks | None = field(default=None, repr=False)
    _map_names = ("squared", "standard_error", "relative")
    _made_of = parts()

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

    @cached_property
    def size(self) -> Size:
        """How far off it may be: least and largest measured / predicted, and the map's error.

        As its guarantee states, and as far as drawn networks measure.
        """
        growth = growth_of_products(self.traced, self.batch is not None).factor
        size = stated_size(self.lattice, self.guarantee, self.scale_error, self.traced.gates.taps, self.batch, growth)
        return size if self.drawn is None else self.drawn.size.united(size)

    @property
    def scale_range(self) -> tuple[float, float]:
        """Least and largest measured / predicted that the guarantee allows."""
        return self.size[:2]

    @property
    def map_error(self) -> float:
        """The largest relative root mean square error of the map of mean one."""
        return self.size.map_error

    def report(self) -> measures.Report:
        """Centre bias, blind spots, gridding, flip asymmetry, total variation: numbers with names, and their errors.

        Returns
        -------
        Report
            The numbers; `str` is a readable table.
        """
        return measures.report(self.squared, stride_periods(self.lattice), self.replicates)

    def layers(self, output: Any = None) -> dict[str, Array]:
        """How the map comes about: E[(dh_j/du)^2] at the output u of each layer, from the network's output to its input.

        The sum over paths alone (Eq. 8): what joins it only at the input, as the second path law under a pooled head does, is
        not in it.

        Parameters
        ----------
        output : Unit, tuple of int, int or None, default None
            One output unit; None is the mean over all.

        Returns
        -------
        dict of str to ndarray of float64
            Maps over each layer's own positions (the mean over its channels), by layer name; layers without positions are left
            out.

        Examples
        --------
        >>> from lattice import Conv, Dense, Flatten, Lattice
        >>> net = Lattice.chain(
        ...     (1, 4),
        ...     [
        ...         Conv(1, kernel=3, padding=1),
        ...         Conv(1, kernel=3, padding=1),
        ...         Flatten(),
        ...         Dense(1),
        ...     ],
        ... )
        >>> {
        ...     name: squared.tolist()
        ...     for name, squared in predict(net, initialisation=1.0).layers().items()
        ... }
        {'conv2': [1.0, 1.0, 1.0, 1.0], 'conv1': [2.0, 3.0, 3.0, 2.0], 'input': [5.0, 8.0, 8.0, 5.0]}
        """
        gradients = layer_gradients(self.traced, output)
        return {name: squared for name, squared in gradients.items() if squared.ndim}

    def _facts(self) -> dict[str, Any]:
        low, high, error = self.size
        return {
            "guarantee": self.guarantee,
            "reasons": self.reasons,
            "scale_range": (low, high),
            "map_error": error,
            "scale_error": self.scale_error,
            "drawn": None if self.drawn is None else self.drawn._asdict(),
            "mode": "eval" if self.batch is None else "train",
            "report": self.report(),
        }

    def save(self, path: str | Path) -> Path:
        """Write all of it to one file that holds no code: the maps as arrays, the network and its prior as JSON and arrays.

        Parameters
        ----------
        path : str or Path
            FILE.npz; `numpy.load` reads the maps in it, "squared", "standard_error" and "relative".

        Returns
        -------
        Path
            The path of the file.

        Raises
        ------
        SpecificationError
            If the name ends otherwise, the folder does not exist, or the lattice has an operation of the user's own.
        """
        return write_landscape(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Landscape:
        """The landscape that `save` wrote: what can be asked of the one that was saved can be asked of this one.

        Parameters
        ----------
        path : str or Path
            FILE.npz.

        Returns
        -------
        Landscape
            Equal to the one that was saved.

        Raises
        ------
        SpecificationError
            If the file is damaged, or one of another kind.
        """
        return cls(**read_landscape(Path(path)))

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the relative map (see `landscape.maps.plot.plot_map`).

        Parameters
        ----------
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.
        **style : dict
            What matplotlib's `imshow` takes (cmap, vmin, vmax, norm), on one axis what `plot` takes beside vmin and vmax.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from landscape.maps.plot import plot_map

        return plot_map(self.relative, ax, title=f"predicted, {self.guarantee.name.lower().replace('_', ' ')}", **style)

    def _repr_html_(self) -> str:
        from landscape.display.html import landscape_html

        return landscape_html(self)

    def __repr__(self) -> str:
        lines = [f"importance landscape over {self.squared.shape}: {self.guarantee.name}"]
        lines += [f"  because of {reason}" for reason in self.reasons]
        if self.guarantee is not Guarantee.EXACT:
            low, high, error = self.size
            lines.append(f"  measured / predicted may lie between {low:.2g} and {high:.2g}, and the map be off by {error:.0%}")
        if self.drawn is not None:
            lines.append(f"  {self.drawn}")
        if self.scale_error > WORTH_SAYING:
            lines.append(f"  scale known to {self.scale_error:.1%}: the variances of the weights are estimates")
        return "\n".join([*lines, str(self.report()) if self.squared.any() else f"  {NOWHERE}"])


@either_spelling
def predict(
    model: torch.nn.Module | Callable[[], torch.nn.Module] | Lattice | str,
    shape: tuple[int, ...] | None = None,
    *,
    initialisation: Initialisation | Mapping[str, float] | float | str | None = None,
    output: Any = None,
    mode: str = "eval",
    gates: str | None = None,
    inputs: Any = None,
    batch: int = 32,
    factors: Mapping[str, Any] | None = None,
    check: bool = True,
) -> Landscape:
    """E_j,W[(dh_j/dx_i)^2] = (1/Z) sum_j sum over paths of prod V[w] (Proposition 1, Eq. 8), gates and norms included.

    For small nets with `inputs`, where gates under an average share filters, the law is that of infinite width (see
    `landscape.laws.infinite_width`).

    Parameters
    ----------
    model : torch.nn.Module, callable, Lattice or str
        A module or, better for the scale, a factory of freshly initialised ones; a `Lattice`; or the name of a model:
        "resnet18" of torchvision, "timm:resnet50d", "file.py:factory". Trained weights are refused, unless `initialisation`
        is "weights".
    shape : tuple of int or None, default None
        Shape of one input, (channels, *spatial); a lattice has its own.
    initialisation : callable, str, float, mapping of str to float, or None, default None
        V[w]: a scheme such as `landscape.he` or its name, one variance for all layers, or a mapping from layer name to
        variance; "weights" is the second moments of trained weights, an approximation. None reads variances from a model's
        weights, and is `landscape.he` for a lattice.
    output : optional
        One output unit (None: the mean over all), the entry of a model that returns a dictionary ("out"), or both
        ("out", unit).
    mode : {"eval", "train"}, default "eval"
        In "train" batch norms divide by the variance of a `batch` of white inputs, and the gradient is that of each output
        sample with respect to its own input (Lemma 2, corrected).
    gates : {None, "theory", "measured"}, default None
        Where comes from what symmetry does not tell: gates above sums, smooth activations, which cells win a max-pool.
        "theory" takes it from the lattice alone, for white inputs: without noise, the same bits each time. "measured" counts
        it in forward passes of the model, on `inputs` or on white noise. None is "measured" for given `inputs`, and "theory"
        otherwise; what theory has no rule for is then counted, and `reasons` say so.
    inputs : array_like or None, default None
        Images (N, channels, *spatial): the map is for these inputs, averaged over them.
    batch : int, default 32
        Inputs of a batch in training mode.
    factors : mapping or None, default None
        gamma^2 / sigma^2 of a lattice's norms, by name (absent: 1).
    check : bool, default True
        Whether to compare the lattice with the model itself, output and input gradient at one random point, before anything is
        said; that takes a pass and a little more, in double precision where single cannot tell (`landscape.trace`). Of a small
        network whose law is not exact 32 to 512 are drawn besides, and what is stated of the prediction holds what they measure
        (`Landscape.drawn`).

    Returns
    -------
    Landscape
        The map over input positions, its guarantee, and the reasons why that is not better.

    Raises
    ------
    UnsupportedError
        If there are operations without a rule, or arguments without a law.
    AssumptionError
        If weights are tied, trained or NaN, or none of the drawn networks has a gradient.
    SpecificationError
        If the shape or another argument does not fit.
    ResourceError
        If the moments leave the range of float64.

    Examples
    --------
    >>> from lattice import Conv, Dense, Flatten, Lattice
    >>> net = Lattice.chain((1, 4), [Conv(8, kernel=3, padding=1), Flatten(), Dense(10)])
    >>> land = predict(net, initialisation=1.0)
    >>> land.squared, land.guarantee.name
    (array([16., 24., 24., 16.]), 'EXACT')
    """
    request = Request(shape, initialisation, output, mode, gates, inputs, batch, factors, check)
    traced, request, said = complete(model, request)
    by_hand = isinstance(model, Lattice)
    squared, guarantee, reasons, traced, pooled = apply_law(traced, request, by_hand, said)
    land = Landscape(squared, guarantee, reasons, traced, traced.unit, pooled, batch if request.train else None)
    return land if by_hand or not check else _checked(land, model, request)


def _checked(land: Landscape, model: Any, request: Request) -> Landscape:
    """The landscape of a small network with what drawn networks measure of it."""
    if not land.squared.any():
        return land
    model = model_factory(model) if isinstance(model, str) else model
    given = request.initialisation is not None and request.initialisation != "weights"
    networks = ensemble(model, land.traced, request.output, land.batch, request.inputs, given)
    if land.guarantee is Guarantee.EXACT:
        check_exact(networks, land.lattice, land.squared, land.size)
        return land
    drawn = drawn_networks(networks, land.lattice, land.squared, land.size)
    if drawn is None:
        return land
    more = () if drawn.agree(land.size) else (f"what holds for many values does not for so few: {drawn}",)
    return replace(land, drawn=drawn, reasons=(*land.reasons, *more))
