"""How far the influence on a unit reaches: what a tile of an image must overlap its neighbours by.

A unit stands for a cell of pixels (one pixel, where the output is as large as the input). Pixels are counted by how far they
lie outside that cell, the largest distance over axes: `beyond[h]` is the share of the influence further than h. A network of
stride S whose output is as large as its input treats units by their position modulo S (the phase), and the tile must serve the
worst.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from torch import nn

from landscape.laws.moments import expected_squares
from landscape.tracing.trace import Trace, trace
from lattice import AssumptionError, PilcroError, SpecificationError
from lattice.checks import is_real, whole
from lattice.geometry.receptive_field import ReceptiveField, receptive_field
from lattice.results.values import Result
from validation.fields.attribution.layers import Layer
from validation.fields.field import EffectiveField
from validation.fields.measure import effective_receptive_field
from validation.fields.numbers import share_beyond
from validation.fields.predicted import cut_model

__all__ = ["Halo", "halo"]

Array = np.ndarray[Any, Any]
Unit = tuple[int, ...]

MOST_PHASES = 1024  # predicted units; beyond, those with one phase on all axes


@dataclass(frozen=True, eq=False)
class Halo(Result):
    """How far the influence on a unit reaches.

    Parameters
    ----------
    field : EffectiveField
        The measured field, at the worst unit that was measured.
    keep : float
        The share of the influence to keep.
    beyond : ndarray of float64
        Entry h is the measured share of the influence further than h pixels outside the unit's cell.
    beyond_error : ndarray of float64
        Its standard error.
    predicted : ndarray of float64 or None
        The same as predicted, at the worst of all phases; None where the network cannot be traced.
    exact : tuple of tuple of int, or None
        The receptive field per axis, (below, above) the cell, over all phases; None where the network cannot be traced.
    refused : str
        Why it cannot be traced.
    phases : int
        How many phases were looked at.
    by_unit : dict of tuple of int to int
        The overlap of each unit that was measured.
    source : str, default ""
        What the prediction is from ("at initialisation").
    """

    field: EffectiveField
    keep: float
    beyond: Array
    beyond_error: Array
    predicted: Array | None
    exact: tuple[tuple[int, int], ...] | None
    refused: str
    phases: int
    by_unit: dict[Unit, int]
    source: str = ""
    _made_of = (EffectiveField,)

    @property
    def overlap(self) -> int:
        """The smallest h with beyond[h] <= 1 - keep: the overlap on each side, in pixels, that keeps the wanted share."""
        return _overlap(self.beyond, self.keep)

    @property
    def overlap_high(self) -> int:
        """The same with two standard errors added to what lies beyond."""
        error = np.where(np.isfinite(self.beyond_error), self.beyond_error, 0)
        return _overlap(self.beyond + 2 * error, self.keep)

    @property
    def predicted_overlap(self) -> int | None:
        """The overlap by the prediction at initialisation."""
        return None if self.predicted is None else _overlap(self.predicted, self.keep)

    @property
    def is_cut(self) -> bool:
        """Whether the measured field touches the border of the image; then it may reach further in a larger one."""
        edges = [np.take(self.field.mean, end, axis=axis) for axis in range(self.field.mean.ndim) for end in (0, -1)]
        return any(bool(edge.any()) for edge in edges)

    def _facts(self) -> dict[str, Any]:
        return {
            "layer": self.field.layer,
            "unit": self.field.unit,
            "keep": self.keep,
            "overlap": self.overlap,
            "overlap_high": self.overlap_high,
            "predicted_overlap": self.predicted_overlap,
            "predicted_from": self.source,
            "receptive_field": self.exact,
            "refused": self.refused,
            "phases": self.phases,
            "by_unit": [{"unit": unit, "overlap": overlap} for unit, overlap in self.by_unit.items()],
            "touches_border": self.is_cut,
            "beyond": self.beyond,
            "beyond_error": self.beyond_error,
            "predicted": self.predicted,
            "images": self.field.images,
            "count": self.field.count,
        }

    def _rows(self) -> list[dict[str, Any]]:
        """A row for each distance."""
        foretold = np.zeros(0) if self.predicted is None else self.predicted
        return [
            {"distance": h, "beyond": beyond, "beyond_error": error}
            | ({} if self.predicted is None else {"predicted": foretold[h] if h < len(foretold) else 0.0})
            for h, (beyond, error) in enumerate(zip(self.beyond, self.beyond_error, strict=True))
        ]

    def plot(self, ax: Any = None) -> Any:
        """Draw the shares beyond h on a logarithmic scale.

        Parameters
        ----------
        ax : matplotlib Axes or None, default None
            Where to draw; None is a new figure.

        Returns
        -------
        matplotlib Axes
            What was drawn on.
        """
        from validation.fields.drawing import plot_halo

        return plot_halo(self, ax)

    def __str__(self) -> str:
        high = f" ({self.overlap_high} with two standard errors)" if self.overlap_high != self.overlap else ""
        lines = [f"{self.field.title}: an overlap of {self.overlap} pixels{high} keeps {self.keep:.4g} of the influence"]
        if self.exact is None:
            lines.append(f"  receptive field and prediction: none, {self.refused}")
        else:
            sides = ", ".join(f"{low} below and {high} above" for low, high in self.exact)
            lines.append(f"  receptive field outside the unit's cell, exact: {sides}")
            lines.append(f"  predicted {self.source}: {self.predicted_overlap} pixels")
        worst = "the one unit asked for" if self.phases == 1 else f"the worst of {self.phases} phases of the stride"
        lines.append(f"  {worst}; {self.field.count} {self.field.over}s, {self.field.statistic}")
        if self.is_cut:
            lines.append("  the field touches the border of the input: in a larger one it may reach further")
        steps = sorted({h for h in (1, 2, 4, 8, 16, 32, 64, 128, 256) if h < len(self.beyond)})
        lines += [f"  beyond {h:3d} px  {self.beyond[h]:9.3g} ± {self.beyond_error[h]:.2g}{self._foretold(h)}" for h in steps]
        return "\n".join(lines)

    def _foretold(self, h: int) -> str:
        return "" if self.predicted is None else f"   predicted {self.predicted[h] if h < len(self.predicted) else 0.0:.3g}"


def halo(
    field_or_model: EffectiveField | nn.Module | Callable[[], nn.Module],
    images: Any = None,
    *,
    keep: float = 0.99,
    layer: str | None = None,
    unit: Any = None,
    period: int | None = None,
    shape: Sequence[int] | None = None,
    fresh: Callable[[], nn.Module] | None = None,
    **options: Any,
) -> Halo:
    """The share of the influence on a unit beyond h pixels, for every h, and the smallest overlap that keeps the share `keep`.

    Of a measured field, or of a model or factory with `images`, at the unit whose phase is worst: that of the prediction, and
    the centre. Where the network cannot be traced, `period` units from the centre on along the diagonal are measured.

    Parameters
    ----------
    field_or_model : EffectiveField, torch.nn.Module or callable
        A measured field; or a model or factory, which is measured.
    images : optional
        Images or a shape, as for `effective_receptive_field`; needed for a model.
    keep : float, default 0.99
        The share of the influence to keep.
    layer : str or None, default None
        Name of the layer.
    unit : int, tuple of int or None, default None
        Look at this one alone.
    period : int or None, default None
        Units to measure where the network cannot be traced; None is 1.
    shape : tuple of int or None, default None
        Shape of one input, (channels, *spatial), where the images do not tell it.
    fresh : callable or None, default None
        A factory of freshly initialised modules, from which a trained model is predicted.
    **options : dict
        As for `effective_receptive_field`.

    Returns
    -------
    Halo
        The shares, measured and predicted, and the overlap in pixels.

    Raises
    ------
    SpecificationError
        If the unit stands for no pixels (a class token, or the mean over all), or `keep` is no share.

    Examples
    --------
    >>> import torch
    >>> conv = nn.Conv1d(1, 1, 5, padding=2, bias=False)
    >>> with torch.no_grad():
    ...     _ = conv.weight.copy_(torch.tensor([[[1.0, 1.0, 2.0, 1.0, 1.0]]]))
    >>> reach = halo(effective_receptive_field(conv, torch.randn(3, 1, 9)), keep=0.7)
    >>> reach.beyond[:3], reach.overlap
    (array([0.5 , 0.25, 0.  ]), 1)
    """
    if not is_real(keep) or not 0 < float(keep) <= 1:
        raise SpecificationError(f"keep is {keep!r}; it is a share of the influence, for example 0.99")
    if isinstance(field_or_model, EffectiveField):
        return _of_field(field_or_model, float(keep), None, None, "not asked for: this is of a measured field", 1, {}, "")
    if images is None:
        raise SpecificationError("halo(model, images) needs images, or a shape (channels, *positions)")
    if period is not None:
        whole("period", period, 1)
    one = tuple(shape) if shape is not None else _shape(images)
    read: dict[str, Any] = {name: options[name] for name in ("layout", "entry", "channels_last") if name in options}
    cut, found, first = cut_model(fresh or field_or_model, one, layer, read)
    centre = found.unit("centre" if unit is None else unit)
    if found.cell(centre) is None:
        raise SpecificationError(f"unit {unit!r} of {found.title} stands for no pixels of the input; give a unit at a position")
    assert centre is not None
    predicted, exact, refused, source = None, None, "", ""
    phases, worst = [centre], centre
    try:
        traced, source = _traced(cut, first)
        seen = receptive_field(traced.lattice)
        phases = [centre] if unit is not None else _phases(centre, found, _periods(seen))
        exact = _exact(seen, found, phases)
        worst, predicted = _worst(traced, found, phases, float(keep))
    except PilcroError as error:
        refused = str(error).splitlines()[0]
        phases = [centre] if unit is not None else _diagonal(centre, found, period or 1)
    units = dict.fromkeys([worst, centre] if predicted is not None else phases)
    fields = {one: effective_receptive_field(field_or_model, images, layer=found.name, unit=one, **options) for one in units}
    overlaps = {one: _overlap(share_beyond(field.mean, field.cell or ()), float(keep)) for one, field in fields.items()}
    top = max(overlaps, key=lambda one: overlaps[one])
    return _of_field(fields[top], float(keep), predicted, exact, refused, len(phases), overlaps, source)


def _traced(cut: Any, shape: tuple[int, ...]) -> tuple[Trace, str]:
    """The network up to the layer, and what its variances are of: its initialisation or, of a trained one, its weights."""
    try:
        return trace(cut, shape, inputs="noise"), "at initialisation"
    except AssumptionError:
        return trace(cut, shape, inputs="noise", initialisation="weights"), "by the sizes of its weights alone"


def _of_field(
    field: EffectiveField,
    keep: float,
    predicted: Array | None,
    exact: Any,
    refused: str,
    phases: int,
    overlaps: dict[Unit, int],
    source: str,
) -> Halo:
    cell = field.cell
    if cell is None or field.unit is None:
        raise SpecificationError(f"{field.title} stands for no pixels of the input; a halo needs a unit at a position")
    beyond, error = field.number(lambda mean: share_beyond(mean, cell))
    by_unit = overlaps or {field.unit: _overlap(beyond, keep)}
    return Halo(field, keep, beyond, error, predicted, exact, refused, phases, by_unit, source)


def _overlap(beyond: Array, keep: float) -> int:
    """The smallest h with beyond[h] <= 1 - keep; the last entry of `beyond` is 0 but for errors."""
    enough = np.flatnonzero(beyond <= (1 - keep) + len(beyond) * np.finfo(float).eps)
    return int(enough[0]) if enough.size else len(beyond) - 1


def _shape(images: Any) -> tuple[int, ...]:
    from validation.fields.attribution.images import images_from

    return images_from(images, draws=2).shape


def _periods(seen: ReceptiveField) -> tuple[int, ...]:
    """Per axis, after how many units what they see repeats."""
    return tuple(int(np.lcm.reduce([len(period.phases) for period in axis.field.periods])) for axis in seen.axes)


def _phases(centre: Unit, layer: Layer, periods: tuple[int, ...]) -> list[Unit]:
    """One unit of each phase, from the centre on; as far as the layer has units."""
    if layer.positions != layer.grid:
        return [centre]
    number = int(np.prod(periods))
    if number > MOST_PHASES:
        return _diagonal(centre, layer, max(periods))
    ranges = [[(c + step) % n for step in range(min(q, n))] for c, q, n in zip(centre, periods, layer.grid, strict=True)]
    return list(dict.fromkeys(product(*ranges)))


def _diagonal(centre: Unit, layer: Layer, period: int) -> list[Unit]:
    if layer.positions != layer.grid:
        return [centre]
    return list(dict.fromkeys(tuple((c + step) % n for c, n in zip(centre, layer.grid, strict=True)) for step in range(period)))


def _exact(seen: ReceptiveField, layer: Layer, phases: Sequence[Unit]) -> tuple[tuple[int, int], ...]:
    """Per axis, how many cells below and above its own cell any of these units sees, on the unbounded line."""
    reach = []
    for axis, field in enumerate(seen.axes):
        low = high = 0
        for unit in dict.fromkeys(unit[axis] for unit in phases):
            cells = field.seen(unit)
            edges = layer.cell(tuple(unit if a == axis else 0 for a in range(len(layer.grid))))
            assert edges is not None
            if len(cells):
                low, high = max(low, edges[axis][0] - cells.start), max(high, cells.stop - edges[axis][1])
        reach.append((low, high))
    return tuple(reach)


def _worst(traced: Trace, layer: Layer, phases: Sequence[Unit], keep: float) -> tuple[Unit, Array]:
    """The unit whose predicted influence needs the largest overlap (then has most beyond it), and its shares."""
    found = []
    for unit in phases:
        squared = expected_squares(traced, unit)
        cell = layer.cell(unit)
        assert cell is not None
        beyond = share_beyond(squared, cell)
        found.append((_overlap(beyond, keep), float(beyond.sum()), unit, beyond))
    _, _, unit, beyond = max(found, key=lambda one: one[:2])
    return unit, beyond
