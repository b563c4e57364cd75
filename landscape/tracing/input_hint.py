"""What would work, where a model cannot take an input of the shape that was asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from math import log, prod
from typing import Any

__all__ = ["input_hint", "takes"]

SIZES = (8, 16, 24, 28, 32, 48, 64, 96, 112, 128, 160, 192, 224, 227, 240, 256, 288, 299, 320, 384, 448, 512)  # customary
MOST_CELLS = 2**19  # of all inputs that are tried: seconds


def input_hint(model: Any, shape: tuple[int, ...]) -> str:
    """What is wrong with an input shape (channels, *spatial), and which one the model takes; empty where nothing is known.

    The first convolution says how many channels and axes it reads, and the model itself is run on the shape that is proposed:
    the one asked for with its usual mistakes mended, or else customary sizes, the nearest ones first.

    Returns
    -------
    str
        a sentence without a full stop, or ""

    Examples
    --------
    >>> from torch import nn
    >>> input_hint(nn.Conv2d(3, 8, 3), (1, 3, 64, 64))
    'drop the batch axis: did you mean (3, 64, 64)?'
    >>> input_hint(nn.Conv2d(1, 8, 3), (3, 64, 64))
    'this model reads 1 channel: did you mean (1, 64, 64), or --channels 1 on the command line?'
    >>> input_hint(nn.Conv2d(3, 8, 3), (3, 64, 64))
    ''
    """
    if takes(model, shape):
        return ""
    needed = _other_inputs(model)
    if needed:
        return f"its forward needs {', '.join(needed)} too: give a module whose forward takes the images alone"
    for proposed, why in _proposals(model, shape):
        if takes(model, proposed):
            return why
    return ""


def takes(model: Any, shape: tuple[int, ...]) -> bool:
    """Can the model, in evaluation mode, be run on an input of this shape? The model is left as it was."""
    import torch
    from torch.func import functional_call

    first = next(iter(model.parameters()), torch.zeros(()))
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}  # some change in evaluation mode too
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            functional_call(model, buffers, (torch.zeros(1, *shape, dtype=first.dtype, device=first.device),))
    except Exception:  # whatever a model raises: it does not take this shape
        return False
    finally:
        for module, training in modes:
            module.training = training
    return True


def _proposals(model: Any, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], str]]:
    """Other shapes, by what the first convolution reads, and what to say of each."""
    from torch.nn.modules.conv import _ConvNd

    first = next((module for module in model.modules() if isinstance(module, _ConvNd)), None)
    if first is None:
        return
    channels, axes = first.in_channels, first.weight.ndim - 2
    if len(shape) == axes + 2:
        yield shape[1:], f"drop the batch axis: did you mean {shape[1:]}?"
    elif len(shape) == axes:
        if shape[0] == channels:
            proposed = (*shape, shape[-1])
            yield proposed, f"an axis is missing: {_meant(proposed)}"
        proposed = (channels, *shape)
        yield proposed, f"the axis of the channels is missing: did you mean {proposed}?"
    elif len(shape) == axes + 1:
        if shape[-1] == channels:
            proposed = (channels, *shape[:-1])
            yield proposed, f"channels come first: {_meant(proposed)}"
        proposed, plural = (channels, *shape[1:]), "s" if channels > 1 else ""
        told = f"did you mean {proposed}, or --channels {channels} on the command line?"
        yield proposed, f"this model reads {channels} channel{plural}: {told}"
    asked, tried = max(shape[1:], default=1), 0
    for size in sorted(SIZES, key=lambda n: abs(log(n / asked))):
        proposed = (channels, *(size,) * axes)
        if tried + prod(proposed) <= MOST_CELLS:
            tried += prod(proposed)
            yield proposed, f"it takes other inputs: {_meant(proposed)}"


def _meant(shape: tuple[int, ...]) -> str:
    return f"did you mean {shape}, or --shape {' '.join(map(str, shape))} on the command line?"


def _other_inputs(model: Any) -> list[str]:
    """What the model's forward cannot do without, besides its first argument."""
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is inspect.Parameter.empty and one.kind not in kinds]
