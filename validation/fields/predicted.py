"""The prediction beside a field, fields beside each other, and how a field grows over the layers.

The network is cut off at the layer (`UpTo`), traced, and its expected squared gradients at the same unit are counted. What a
trained network is held against is the prediction for its architecture at initialisation, from a factory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape import Landscape, predict
from landscape.input_checks import call_factory
from lattice import PilcroError, SpecificationError
from lattice.checks import given_shape
from lattice.geometry.receptive_field import receptive_field
from validation.comparison.compare import LEAST, Agreement, compare
from validation.fields.field import EffectiveField, Number
from validation.fields.layers import Layer, UpTo, find_layer, layer_shapes, uncompiled
from validation.fields.measure import effective_receptive_field
from validation.fields.numbers import luo_side
from validation.runtime.preserve_state import device_of, preserve_state

__all__ = ["Beside", "beside", "compare_fields", "field_growth", "moved_share", "predicted_field"]

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
    >>> land = predicted_field(nn.Conv1d(1, 4, 3, padding=1, bias=False), (1, 5), initialisation=1.0)
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
class Beside:
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
    >>> factory = lambda: nn.Conv1d(2, 8, 3, padding=1, bias=False)
    >>> both = beside(effective_receptive_field(factory, (2, 9), draws=2000), factory, (2, 9), tolerance=0.2)
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


def moved_share(field: EffectiveField, other: EffectiveField | Array) -> Number:
    """(1/2) sum_i |p_i - q_i| for the shares p and q of two maps: how much of the influence lies elsewhere, from 0 to 1.

    `other`: a map that is known, or another field. The noise of images makes the plain distance too large; to first order the
    jackknife takes that out. Its standard error has both fields' parts.
    """
    from validation.gradients.jackknife import jackknife

    reference = other.share if isinstance(other, EffectiveField) else np.asarray(other) / np.sum(other)
    if reference.shape != field.mean.shape:
        raise SpecificationError(
            f"two maps of shape {field.mean.shape} and {reference.shape}; a distance needs the same positions"
        )
    value, bias, square = 0.0, 0.0, 0.0
    for one, fixed in [(field, reference)] + ([(other, field.share)] if isinstance(other, EffectiveField) else []):
        counts = one.estimate.block_draws
        sums = one.estimate.blocks * counts.reshape(-1, *(1 for _ in one.mean.shape))
        plain, more, error = jackknife(partial(_elsewhere, fixed), sums, counts)
        value, bias, square = float(plain), bias + float(more), square + float(error) ** 2
    return Number("moved", min(max(value - bias, 0.0), 1.0), square**0.5, "share of the influence that lies elsewhere")


def _elsewhere(reference: Array, mean: Array) -> float:
    return float(0.5 * np.abs(mean / mean.sum() - reference).sum())


def compare_fields(subjects: Mapping[str, Any], images: Any = None, **options: Any) -> dict[str, dict[str, Number]]:
    """Several fields side by side: their numbers by name, and "moved", each one's distance from the first.

    Parameters
    ----------
    subjects : mapping
        Fields, or models and factories whose fields over `images` are measured, by name; two at least.
    images : optional
        Images or a shape, as for `effective_receptive_field`, for subjects that are no fields.
    **options : dict
        As for `effective_receptive_field`.

    Returns
    -------
    dict of str to dict of str to Number
        For each subject its numbers by name.

    Raises
    ------
    SpecificationError
        If there are fewer than two subjects.

    Examples
    --------
    >>> nets = {"before": nn.Conv1d(1, 1, 3, padding=1), "after": nn.Conv1d(1, 1, 3, padding=1)}
    >>> sorted(compare_fields(nets, (1, 9), draws=5))
    ['after', 'before']
    """
    measured = images is not None and isinstance(subjects, Mapping)
    fields = {
        name: effective_receptive_field(one, images, **options) if measured and not isinstance(one, EffectiveField) else one
        for name, one in subjects.items()
    }
    if len(fields) < 2 or not all(isinstance(one, EffectiveField) for one in fields.values()):
        raise SpecificationError("compare_fields takes two fields or more by name, as {'before': a, 'after': b}")
    first = next(iter(fields.values()))
    table = {name: {number.name: number for number in one.numbers()} for name, one in fields.items()}
    for name, one in fields.items():
        if one is not first:
            table[name]["moved"] = moved_share(one, first)
    return table


def field_growth(
    model: nn.Module | Callable[[], nn.Module],
    images: Any,
    layers: Sequence[str] | None = None,
    *,
    most: int = 8,
    **options: Any,
) -> dict[str, EffectiveField]:
    """The field of the centre unit of several layers, from the input up.

    `validation.fields.drawing.plot_growth` draws them in one figure.

    Parameters
    ----------
    model : torch.nn.Module or callable
        As for `effective_receptive_field`.
    images : array_like or tuple of int
        Images or a shape, as for `effective_receptive_field`.
    layers : sequence of str or None, default None
        Their names; None for those that have positions, evenly spread over the order in which they run.
    most : int, default 8
        How many layers at most, where they are not named.
    **options : dict
        As for `effective_receptive_field`.

    Returns
    -------
    dict of str to EffectiveField
        The fields by layer name, in the order in which layers run.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1))
    >>> list(field_growth(net, (1, 9), ["0", "1"], draws=4))
    ['0', '1']
    """
    names = list(layers) if layers is not None else _spread(model, images, most, options)
    return {name: effective_receptive_field(model, images, layer=name, **options) for name in names}


def _spread(model: Any, images: Any, most: int, options: Mapping[str, Any]) -> list[str]:
    from validation.fields.images import images_from

    first = images_from(images, draws=2).first()
    module = model if isinstance(model, nn.Module) else call_factory(model)
    read = {name: options[name] for name in ("layout", "channels_last") if name in options}
    found: list[str] = []
    with preserve_state(module):
        image = first.to(device_of(module))
        for name in layer_shapes(module, image):
            if not name and found:  # the output is that of the last block
                continue
            try:
                layer = find_layer(module, image, name, **read)
            except PilcroError:
                continue
            if layer.is_placed and max(layer.grid) > 1 and list(module.get_submodule(name).children()):
                found.append(name)
    if not found:
        raise SpecificationError("no block of layers has positions; name the layers")
    chosen = dict.fromkeys(round(i) for i in np.linspace(0, len(found) - 1, min(most, len(found))))
    return [found[i] for i in chosen]
