"""The effective receptive field of a unit: its contributions averaged over images or over initialisations."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from landscape.input_checks import call_factory, checked_images
from landscape.progress import progress_bar
from lattice import SpecificationError, UnsupportedError
from lattice.checks import given_shape, is_whole, whole
from validation.fields.attribution.contributions import STATISTICS, contributions
from validation.fields.attribution.images import Images, images_from, white_noise
from validation.fields.attribution.layers import Layer, UpTo, find_layer, uncompiled
from validation.fields.field import EffectiveField
from validation.fields.files import Settings, device_name, manifest_of, unfinished
from validation.montecarlo.estimate import Estimate
from validation.montecarlo.measure import measure
from validation.montecarlo.shards import Tally
from validation.montecarlo.sources import ModuleSource
from validation.runtime.preserve_state import device_of, preserve_state
from validation.runtime.workers import checked_device, exact_arithmetic

__all__ = ["effective_receptive_field"]

Array = np.ndarray[Any, Any]

MOST_BLOCKS, MOST_BYTES = 64, 512 * 2**20  # sums over blocks of images are kept, for standard errors
LEAST_BLOCKS = 20  # what `validation.compare` asks for


def effective_receptive_field(
    model: nn.Module | Callable[[], nn.Module],
    images_or_shape: Any,
    *,
    layer: str | None = None,
    unit: Any = "centre",
    statistic: str = "squared",
    count: int | None = None,
    draws: int = 200,
    seed: int = 0,
    batch_size: int = 8,
    layout: str = "auto",
    entry: str | int | None = None,
    channels_last: bool = False,
    device: str | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> EffectiveField:
    """Where a unit of a layer looks: the mean over images of its squared input gradient, with a standard error per pixel.

        squared(i) = 1/N sum_n (1 / (C K)) sum_c sum_k (dh_c / dx_(k,i))^2      (Luo et al. 2016; other statistics below)

    for features h_c of one unit, C of them, and K input channels. Evaluation mode, with the modes, buffers, gradients, hooks
    and random state of before afterwards; the images are copied. Memory: a batch, and at most 64 float64 maps. A keyboard
    interrupt returns what there is so far.

    Parameters
    ----------
    model : torch.nn.Module or callable
        Any module, trained or not, that autograd can differentiate; or a factory of freshly initialised ones, and then the mean
        is over `draws` initialisations.
    images_or_shape : array_like, iterable, str, Path or tuple of int
        Images (N, channels, *positions), a loader of batches, the name of a data set, or a folder; or a shape (channels,
        *positions): white noise, `draws` images of it for a module.
    layer : str or None, default None
        A name of `model.named_modules()`, "" for the output, None for the output or the last layer with positions.
    unit : "centre", "mean", int or tuple of int, default "centre"
        "centre" is size // 2 on each axis, otherwise an index into the layer's positions or a token's number; "mean" is over
        all units.
    statistic : {"squared", "absolute", "signed", "rectified", "positive"}, default "squared"
        What is averaged, see `validation.fields.attribution.contributions`.
    count : int or None, default None
        How many images at most.
    draws : int, default 200
        Initialisations of a factory, or images of white noise.
    seed : int, default 0
        The root seed of weights, noise and cotangents.
    batch_size : int, default 8
        Images of one backward pass.
    layout : str, default "auto"
        Where the layer's channels are; "auto" reads it from the shapes.
    entry : str, int or None, default None
        Which tensor is meant of a layer that returns several.
    channels_last : bool, default False
        Whether the model reads (N, *positions, channels).
    device : str or None, default None
        None is where the model lies.
    folder : str or Path or None, default None
        Where finished images are kept; they are not computed again.
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    EffectiveField
        The map over input positions with standard errors, its numbers, plots and files.

    Raises
    ------
    SpecificationError
        If a layer, a unit or the images do not exist.
    UnsupportedError
        If the layer's features do not depend on the input, or cannot be differentiated.
    AssumptionError
        If features or gradients are not finite.

    Examples
    --------
    >>> conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
    >>> with torch.no_grad():
    ...     _ = conv.weight.copy_(torch.tensor([[[1.0, 2.0, 3.0]]]))
    >>> field = effective_receptive_field(conv, torch.ones(4, 1, 5))
    >>> field.mean, field.unit, field.count
    (array([0., 1., 4., 9., 0.]), (2,), 4)
    """
    _check(statistic, batch_size, draws, seed)
    asked: dict[str, Any] = {"layout": layout, "entry": entry, "channels_last": channels_last}
    if isinstance(model, nn.Module):
        images = images_from(images_or_shape, count=count, seed=seed, draws=draws)
        settings = Settings(statistic, seed, batch_size, channels_last, None if folder is None else Path(folder), progress)
        return _over_images(uncompiled(model), images, layer, unit, asked, settings, device)
    if not callable(model):
        raise SpecificationError(
            f"the model is a {type(model).__name__}; it is a torch.nn.Module, or a function without arguments that returns a "
            "freshly initialised one"
        )
    return _over_draws(model, images_or_shape, layer, unit, statistic, asked, draws, seed, device or "cpu", folder, progress)


def _check(statistic: Any, batch_size: Any, draws: Any, seed: Any) -> None:
    if statistic not in STATISTICS:
        raise SpecificationError(f"statistic is {statistic!r}; it is {', '.join(STATISTICS)}")
    whole("batch_size", batch_size, 1)
    whole("draws", draws, 2)
    whole("seed", seed, 0, inf)


def _over_images(
    model: nn.Module, images: Images, name: str | None, unit: Any, asked: Any, settings: Settings, device: str | None
) -> EffectiveField:
    if images.count < 2:
        raise SpecificationError("one image tells a mean and no standard error; give two at least")
    model = _moved(model, device)
    where = device_of(model)
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)

    def ready(batch: torch.Tensor) -> torch.Tensor:
        return batch.to(where, dtype or batch.dtype)

    with preserve_state(model), exact_arithmetic(where):
        first = ready(images.first())
        layer = find_layer(model, first, name, **asked)
        index = layer.unit(unit)
        tap = UpTo(model, layer, channels_last=settings.channels_last).eval()
        space = layer.space
        tally = Tally.empty(images.count, _blocks(images.count, space), space)

        def batches(todo: list[range]) -> Iterator[tuple[range, Array]]:
            for numbers in todo:
                x = ready(images.read(numbers))
                numbers = range(numbers.start, numbers.start + len(x))
                if not len(x):
                    return
                x = x.movedim(-1, 1) if settings.channels_last else x
                yield numbers, contributions(tap, x, index, settings.statistic, numbers, settings.seed, check=not numbers.start)

        manifest = manifest_of(model, first, tap, images, layer, index, settings)
        interrupted = _filled(tally, batches, manifest, settings)
    return _field(tally, layer, index, settings, images.identity or "batches", "image", device_name(where), interrupted)


def _device(name: str) -> torch.device:
    checked_device(name)
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else "cpu" if name == "auto" else name)


def _moved(model: nn.Module, device: str | None) -> nn.Module:
    """The model, or a copy of it on another device."""
    if device is None:
        return model
    wanted = _device(device)
    return model if device_of(model).type == wanted.type else deepcopy(model).to(wanted)


def _blocks(count: int, space: tuple[int, ...]) -> int:
    """How many blocks the images are summed in: one each, as far as memory goes."""
    return min(count, MOST_BLOCKS, max(LEAST_BLOCKS, MOST_BYTES // (8 * prod(space))))


def _filled(
    tally: Tally, batches: Callable[[list[range]], Iterator[tuple[range, Array]]], manifest: dict[str, Any], settings: Settings
) -> bool:
    """Add all images to the tally, those that a folder holds without computing them again; returns: interrupted?"""
    count = len(tally.done)
    with ExitStack() as stack:
        shards = stack.enter_context(unfinished(settings.folder, manifest, tally))
        bar = stack.enter_context(progress_bar(settings.progress, count, unit="image", desc="receptive field"))
        bar.update(int(tally.done.sum()))
        known = tally.done.copy()
        todo = [range(i, min(i + settings.batch_size, count)) for i in range(0, count, settings.batch_size)]
        todo = [numbers for numbers in todo if not known[numbers.start : numbers.stop].all()]
        try:
            for numbers, maps in batches(todo):
                for i, square in zip(numbers, maps, strict=True):
                    if not known[i]:
                        tally.add(i, square)
                bar.update(len(numbers))
                if shards is not None:
                    shards.write(tally, least=settings.batch_size)
        except KeyboardInterrupt:
            tally.forget_half()
            if (tally.counts > 0).sum() < 2:  # one block has no spread, so no error
                raise
            return True
        finally:
            if shards is not None:
                shards.write(tally)
    if (tally.counts > 0).sum() < 2:
        raise SpecificationError(f"there is {int(tally.done.sum())} image; a standard error needs two at least")
    return False


def _over_draws(
    factory: Callable[[], nn.Module],
    images: Any,
    name: str | None,
    unit: Any,
    statistic: str,
    asked: dict[str, Any],
    draws: int,
    seed: int,
    device: str,
    folder: str | Path | None,
    progress: bool,
) -> EffectiveField:
    where = _device(device)
    network = ModuleSource(factory, where).draw(0)[0].to(where)
    last = asked["channels_last"]
    given: Array | None = None
    if isinstance(images, torch.Size | tuple | list) and images and all(map(is_whole, images)):
        shape = given_shape(tuple(images))
    elif isinstance(images, torch.Tensor | np.ndarray):
        shape = tuple(images.shape[1:])
        given = checked_images(images, shape)
        given = np.moveaxis(given, -1, 1) if last else given
    else:
        raise SpecificationError(
            f"images is a {type(images).__name__}; over initialisations give a shape (white noise), or images (N, channels, "
            "*positions)"
        )
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.get_default_dtype())
    with preserve_state(network):
        layer = find_layer(network, torch.zeros(1, *shape, dtype=dtype, device=where), name, **asked)
        index = layer.unit(unit)
        pair = white_noise((shape[-1], *shape[:-1]) if last else shape, 2, seed).read(range(2)).to(where, dtype)
        tap = UpTo(network, layer, channels_last=last).eval()
        contributions(tap, pair, index, statistic, range(2), seed, check=True)  # does it read inputs one by one?

    def cut() -> nn.Module:
        return UpTo(call_factory(factory), layer, channels_last=last)

    first = (shape[-1], *shape[:-1]) if last else shape
    settings = Settings(statistic, seed, 1, last, None if folder is None else Path(folder), progress)
    identity = f"white noise of seed {seed}" if given is None else f"{len(given)} images"
    if statistic == "squared":
        estimate = measure(
            cut, first, draws=draws, seed=seed, device=device, output=index, inputs=given, folder=folder, progress=progress
        )
        return _of_layer(estimate, layer, index, statistic, identity, "draw")
    if folder is not None:
        raise SpecificationError(f"folder= keeps draws of statistic='squared' only; this is {statistic!r}")
    return _loop_over_draws(cut, layer, index, first, given, draws, settings, identity, where)


def _loop_over_draws(
    cut: Callable[[], nn.Module],
    layer: Layer,
    index: tuple[int, ...] | None,
    shape: tuple[int, ...],
    given: Array | None,
    draws: int,
    settings: Settings,
    identity: str,
    where: torch.device,
) -> EffectiveField:
    """The statistics other than squares: one network after another, with the seeds of its draw."""
    source = ModuleSource(cut, where)
    noise = white_noise(shape, draws, settings.seed)
    tally = Tally.empty(draws, _blocks(draws, layer.space), layer.space)

    def networks(todo: list[range]) -> Iterator[tuple[range, Array]]:
        for numbers in todo:
            i = numbers.start
            network, _ = source.draw(int(np.random.SeedSequence((settings.seed, i, 2)).generate_state(1, np.uint64)[0]) >> 1)
            network.to(where).eval()
            x = noise.read(numbers) if given is None else torch.from_numpy(given[i % len(given)][None].copy())
            x = x.to(where, next((p.dtype for p in network.parameters()), x.dtype))
            yield numbers, contributions(network, x, index, settings.statistic, numbers, settings.seed)

    with exact_arithmetic(where):
        interrupted = _filled(tally, networks, {}, settings)
    return _field(tally, layer, index, settings, identity, "draw", device_name(where), interrupted)


def _field(
    tally: Tally,
    layer: Layer,
    index: tuple[int, ...] | None,
    settings: Settings,
    identity: str,
    over: str,
    device: str,
    interrupted: bool,
) -> EffectiveField:
    estimate: Estimate = tally.estimate(seed=settings.seed, batched=False, mode="eval", device=device, interrupted=interrupted)
    if not estimate.mean.any():
        raise UnsupportedError(
            f"the features of {layer.title} had gradient zero at every pixel of every {over}: this unit does not depend on "
            "the input, or its gradients are too small for the model's precision (try model.double())"
        )
    return _of_layer(estimate, layer, index, settings.statistic, identity, over)


def _of_layer(
    estimate: Estimate, layer: Layer, index: tuple[int, ...] | None, statistic: str, images: str, over: str
) -> EffectiveField:
    return EffectiveField(estimate, layer.name, index, statistic, images, over, layer.grid, layer.cell(index))
