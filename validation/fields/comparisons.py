"""Fields beside each other, and how a field grows over the layers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from landscape.input_checks import call_factory
from lattice import PilcroError, SpecificationError
from validation.fields.attribution.layers import find_layer, layer_shapes
from validation.fields.field import EffectiveField
from validation.fields.measure import effective_receptive_field
from validation.fields.table import Number
from validation.runtime.preserve_state import device_of, preserve_state

__all__ = ["compare_fields", "field_growth", "moved_share"]

Array = np.ndarray[Any, Any]


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
    >>> nets = {
    ...     "before": nn.Conv1d(1, 1, 3, padding=1),
    ...     "after": nn.Conv1d(1, 1, 3, padding=1),
    ... }
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
    from validation.fields.attribution.images import images_from

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
