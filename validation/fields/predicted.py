"""The prediction beside a field.

The network is cut off at the layer (`UpTo`), traced, and its expected squared gradients at the same unit are counted. What a
trained network is held against is the prediction for its architecture at initialisation, from a factory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape import Landscape, predict
from landscape.input_checks import call_factory
from lattice import PilcroError, SpecificationError
from lattice.checks import given_shape
from lattice.geometry.receptive_field import receptive_field
from lattice.results.values import Result
from validation.comparison.compare import LEAST, Agreement, compare
from validation.fields.attribution.layers import Layer, UpTo, find_layer, uncompiled
from validation.fields.comparisons import moved_share
from validation.fields.field import EffectiveField
from validation.fields.numbers import luo_side
from validation.fields.table import Number
from validation.runtime.preserve_state import device_of, preserve_state

__all__ = ["Beside", "beside", "predicted_field"]

Array = np.ndarray[Any, Any]


def predicted_field(
    model: nn.Module | Callable[[], nn.Module],
    shape: Sequence[int],
    *,
    layer: str | None = None,
    unit: Any = "centre",
    **options: Any,
) -> Landscape:
    """E[(dh_c / dx_i)^2] of one unit of a layer at initialisation: what a field of statistic "squared" estimates over draws.

    Parameters
    ----------
    model : torch.nn.Module or callable
        A module that is as it was initialised, or a factory of freshly initialised ones.
    shape : tuple of int
        Shape of one input, (channels, *spatial).
    layer : str or None, default None
        Name of the layer, as for `effective_receptive_field`.
    unit : "centre", "mean", int or tuple of int, default "centre"
        The unit, as for `effective_receptive_field`.
    **options : dict
        `layout`, `entry`, `channels_last` of `effective_receptive_field`, and `initialisation` of `landscape.predict`.

    Returns
    -------
    Landscape
        The predicted map with its guarantee.

    Raises
    ------
    PilcroError
        If the network up to that layer cannot be traced, as `landscape.predict` raises it.

    Examples
    --------
    >>> land = predicted_field(
    ...     nn.Conv1d(1, 4, 3, padding=1, bias=False), (1, 5), initialisation=1.0
    ... )
    >>> land.squared, land.guarantee.name
    (array([0., 1., 1., 1., 0.]), 'EXACT')
    """
    initialisation = options.pop("initialisation", None)
    cut, found, first = cut_model(model, shape, layer, options)
    return predict(cut, first, output=found.unit(unit), initialisation=initialisation)


def cut_model(
    model: nn.Module | Callable[[], nn.Module], shape: Sequence[int], layer: str | None, options: Mapping[str, Any]
) -> tuple[Any, Layer, tuple[int, ...]]:
    """A model or a factory cut off at a layer, the layer, and the shape of its input with channels first."""
    last = bool(options.get("channels_last", False))
    shape = given_shape(tuple(shape))
    model = uncompiled(model) if isinstance(model, nn.Module) else model
    module = model if isinstance(model, nn.Module) else call_factory(model)
    if not isinstance(module, nn.Module):
        raise SpecificationError(f"the model is a {type(module).__name__}; it is a torch.nn.Module or a factory of them")
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())
    with preserve_state(module):
        found = find_layer(module, torch.zeros(1, *shape, dtype=dtype, device=device_of(module)), layer, **options)
    first = (shape[-1], *shape[:-1]) if last else shape
    if isinstance(model, nn.Module):
        return UpTo(model, found, channels_last=last), found, first
    return (lambda: UpTo(call_factory(model), found, channels_last=last)), found, first


@dataclass(frozen=True, eq=False)
class Beside(Result):
    """A field and the prediction for it.

    Parameters
    ----------
    field : EffectiveField
        The measured field.
    land : Landscape or None
        The prediction; None where there is none.
    agreement : Agreement or None
        The verdict of `validation.compare`; None for fewer than 20 images or draws.
    moved : Number or None
        The share of the influence that lies elsewhere than predicted, between 0 and 1, with its standard error.
    refused : str, default ""
        Why there is no prediction.
    """

    field: EffectiveField
    land: Landscape | None
    agreement: Agreement | None
    moved: Number | None
    refused: str = ""
    _made_of = (EffectiveField, Landscape, Agreement, Number)

    def _facts(self) -> dict[str, Any]:
        names = ("moved", "distance", "distance_interval", "receptive_field", "effective_side", "refused")
        predicted = None if self.land is None else self.land.to_dict()
        verdict = None if self.agreement is None else self.agreement.to_dict(arrays=False)
        own = {name: getattr(self, name) for name in names if name == "refused" or self.land is not None}
        return {"field": self.field.to_dict(), "prediction": predicted, "agreement": verdict, **own}

    @property
    def distance(self) -> float | None:
        """The debiased relative distance ||measured - predicted|| / ||predicted|| of the maps of mean one.

        None without `agreement`.
        """
        return None if self.agreement is None else self.agreement.error / self._size

    @property
    def distance_interval(self) -> tuple[float, float] | None:
        """The confidence interval of `distance`, (low, high); None without `agreement`."""
        if self.agreement is None:
            return None
        low, high = self.agreement.error_interval
        return low / self._size, high / self._size

    @property
    def _size(self) -> float:
        assert self.land is not None
        return float(np.sqrt(np.mean(np.square(self.land.relative))))

    @property
    def receptive_field(self) -> tuple[int, ...] | None:
        """Per axis, how many pixels the unit can see at most, counted on the unbounded line; None without a prediction."""
        return None if self.land is None else receptive_field(self.land.lattice).size

    @property
    def effective_side(self) -> Number | None:
        """The side of the field (Luo et al., 2016) over that of the receptive field: they grow as L^(1/2) and as L."""
        sizes = self.receptive_field
        if sizes is None or not min(sizes):
            return None
        whole = float(np.prod(sizes)) ** (1 / len(sizes))
        value, error = self.field.number(lambda mean: luo_side(mean, self.field.centre) / whole)
        return Number("field side / receptive field", float(value), float(error), "Luo et al. 2016 / exact")

    def __str__(self) -> str:
        if self.land is None:
            return f"no prediction: {self.refused}"
        assert self.moved is not None
        lines = [
            f"predicted ({self.land.guarantee.name.lower().replace('_', ' ')}): {self.moved} of the influence lies elsewhere"
        ]
        if self.distance is not None and self.distance_interval is not None:
            low, high = self.distance_interval
            lines.append(
                f"  distance of the maps {self.distance:.1%} of the predicted one, {low:.1%} to {high:.1%} at 99% confidence"
            )
        if self.agreement is not None and self.field.over == "draw":
            verdict = self.agreement.verdict.name.replace("_", " ")
            lines.append(f"  {verdict} at a map error of {self.agreement.tolerance:.0%}; {self.agreement.scale_in_words}")
        if self.effective_side is not None and self.receptive_field is not None:
            sizes = " x ".join(map(str, self.receptive_field))
            lines.append(f"  receptive field {sizes} pixels; the effective one has {self.effective_side} of its side")
        return "\n".join(lines)


def beside(
    field: EffectiveField,
    model: nn.Module | Callable[[], nn.Module],
    shape: Sequence[int],
    *,
    tolerance: float = 0.05,
    **options: Any,
) -> Beside:
    """The prediction at initialisation for the layer and unit of a field, and how far the field is from it.

    Parameters
    ----------
    field : EffectiveField
        What `effective_receptive_field` returned.
    model : torch.nn.Module or callable
        A factory of freshly initialised modules, or a module that is as it was initialised.
    shape : tuple of int
        Shape of one input, (channels, *spatial).
    tolerance : float, default 0.05
        The relative error of the map that the verdict tolerates.
    **options : dict
        As for `predicted_field`.

    Returns
    -------
    Beside
        The prediction, the share of the influence that lies elsewhere, and the verdict; where the network cannot be traced,
        `Beside.refused` says why.

    Raises
    ------
    SpecificationError
        If the model's layer has another shape than the field's.

    Examples
    --------
    >>> from validation import effective_receptive_field
    >>> factory = lambda: nn.Conv1d(2, 8, 3, padding=1, bias=False)
    >>> both = beside(
    ...     effective_receptive_field(factory, (2, 9), draws=2000),
    ...     factory,
    ...     (2, 9),
    ...     tolerance=0.2,
    ... )
    >>> both.agreement.verdict.name, both.land.guarantee.name
    ('AGREE', 'EXACT')
    """
    shape = given_shape(tuple(shape))
    positions = shape[:-1] if options.get("channels_last") else shape[1:]
    if positions != field.mean.shape:
        raise SpecificationError(f"the field has {field.mean.shape} positions, an input of shape {shape} has {positions}")
    if field.statistic != "squared":
        return Beside(field, None, None, None, f"predictions are of squared gradients, and this field is {field.statistic!r}")
    unit = "mean" if field.unit is None else field.unit
    try:
        land = predicted_field(model, shape, layer=field.layer, unit=unit, **options)
    except PilcroError as error:
        return Beside(field, None, None, None, " ".join(str(error).split("\n")[:2]))
    agreement = None
    if len(field.estimate.blocks) >= LEAST:
        agreement = compare(land, field.estimate, tolerance=tolerance)
    return Beside(field, land, agreement, moved_share(field, land.squared))
