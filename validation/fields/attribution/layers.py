"""Which layer, and which of its units: any module by its name, read by a forward hook that is gone when the call ends.

One forward pass of one input records what every module returns. A layer has positions where it returns (N, C, *positions), as
convolutions do, (N, *positions, C), as many attention blocks do, or tokens (N, T, C); which of these is read from the shapes,
and from the kinds of layers inside where the shapes fit both.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any

import numpy as np
import torch
from torch import nn

from lattice import SpecificationError, UnsupportedError
from lattice.checks import is_whole
from validation.montecarlo.outputs import selected
from validation.runtime.preserve_state import call_model, preserve_state

__all__ = ["Layer", "UpTo", "find_layer", "layer_shapes", "uncompiled"]

LAYOUTS = ("auto", "channels_first", "channels_last")
MOST_LEADING = 8  # class and register tokens before those of the image
MOST_LISTED = 12  # layers that an error names
FIRST: tuple[type[nn.Module], ...] = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.modules.pooling._AvgPoolNd,
)
FIRST += (nn.modules.pooling._MaxPoolNd, nn.Upsample, nn.PixelShuffle, nn.LocalResponseNorm)
LAST = (nn.Linear, nn.LayerNorm, nn.MultiheadAttention, nn.RNNBase)
ANSWER_FIRST = (nn.RNNBase, nn.MultiheadAttention)  # they return (answer, something else)


@dataclass(frozen=True)
class Layer:
    """One module of a model and where the units of what it returns stand.

    `name`: its name in `model.named_modules()`, "" for the model itself. `entry`: which of several tensors it returns.
    `positions`: the axes of its units; `channels`: how many features each has. `channels_last`: they are its last axis.
    `grid`: the units as they tile the input, `leading`: how many tokens stand before them. `calls`: how often a forward pass
    runs it; the last time counts. `space`: the input's positions.
    """

    name: str
    entry: tuple[str | int, ...]
    channels: int
    positions: tuple[int, ...]
    channels_last: bool
    grid: tuple[int, ...]
    leading: int
    calls: int
    space: tuple[int, ...]

    @property
    def title(self) -> str:
        """The name, or words for the model itself."""
        return self.name or "the model's output"

    @property
    def is_placed(self) -> bool:
        """Do the units tile the input? Tokens whose number fits no grid of the input's proportions do not."""
        return len(self.grid) == len(self.space)

    def unit(self, asked: Any) -> tuple[int, ...] | None:
        """The index into `positions` of "centre" (size // 2 on each axis of the grid, as the published scripts take it), of a
        token's number, of a grid index; None for "mean".

        Raises `SpecificationError` for a unit that the layer does not have.
        """
        if asked == "mean":
            return None
        if asked in ("centre", "center") and not self.is_placed:
            raise SpecificationError(
                f"unit is {asked!r}, and the {_sizes(self.grid)} tokens of {self.title} fit no grid over {_sizes(self.space)} "
                "positions; give the number of a token"
            )
        index = tuple(n // 2 for n in self.grid) if asked in ("centre", "center") else asked
        index = (index,) if is_whole(index) else index
        if isinstance(index, tuple | list) and all(map(is_whole, index)):
            found = tuple(int(i) for i in index)
            if len(found) == len(self.grid) and self.positions != self.grid and self._inside(found, self.grid):
                return (self.leading + int(np.ravel_multi_index(found, self.grid)),)
            if asked not in ("centre", "center") and self._inside(found, self.positions):
                return found
            if self.positions == self.grid and self._inside(found, self.grid):
                return found
        tokens = "" if self.positions == self.grid else f", or the number of one of {prod(self.positions)} tokens"
        raise SpecificationError(
            f"unit is {asked!r}; {self.title} has {_sizes(self.grid)} units: give 'centre', 'mean', or an index of "
            f"{len(self.grid)} whole numbers such as {tuple(n // 2 for n in self.grid)}{tokens}"
        )

    @staticmethod
    def _inside(index: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
        return len(index) == len(sizes) and all(0 <= i < n for i, n in zip(index, sizes, strict=True))

    def cell(self, index: tuple[int, ...] | None) -> tuple[tuple[int, int], ...] | None:
        """The pixels [first, stop) of each axis that this unit stands for, were the units to tile the input.

        Where g units divide n pixels, unit i has those from i n / g on. Where they do not, as without padding, they stand
        in the middle with the stride n / g rounded. None for all units together, and for a token that stands before the grid.
        """
        if index is None or not self.is_placed or (self.positions != self.grid and index[0] < self.leading):
            return None
        at = index if self.positions == self.grid else tuple(map(int, np.unravel_index(index[0] - self.leading, self.grid)))
        return tuple(_pixels(i, n, g) for i, n, g in zip(at, self.space, self.grid, strict=True))


class UpTo(nn.Module):
    """A model cut off at a layer: (N, channels, *positions of the input) to (N, C, *positions of the layer).

    The model runs as it is, with a hook on the layer that is removed on every way out. What the layer returned is copied, since
    a later layer may work on it in place. `channels_last`: the model reads (N, *positions, channels).

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
    >>> layer = find_layer(model, torch.zeros(1, 1, 5, 5), "0")
    >>> UpTo(model, layer)(torch.zeros(2, 1, 5, 5)).shape, len(model[0]._forward_hooks)
    (torch.Size([2, 4, 3, 3]), 0)
    """

    def __init__(self, model: nn.Module, layer: Layer, *, channels_last: bool = False) -> None:
        super().__init__()
        self.model, self.layer, self.channels_last = model, layer, channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the layer returns, channels first."""
        kept: list[Any] = []
        model = self.model
        x = x.movedim(1, -1) if self.channels_last else x
        if self.layer.name:
            handle = model.get_submodule(self.layer.name).register_forward_hook(
                lambda _, __, returned: kept.append(_copied(returned))
            )
            try:
                model(x)
            finally:
                handle.remove()
        else:
            kept.append(model(x))
        if not kept:
            raise UnsupportedError(f"{self.layer.title} did not run for this input, as it did for the first one")
        features = selected(kept[-1], self.layer.entry)
        found: torch.Tensor = features.movedim(-1, 1) if self.layer.channels_last else features
        if found.shape[1:] != (self.layer.channels, *self.layer.positions) or len(found) != len(x):
            raise UnsupportedError(
                f"{self.layer.title} returns {tuple(features.shape)} for {len(x)} inputs; for one it had {self.layer.channels} "
                f"channels at {_sizes(self.layer.positions)} positions. Inputs come first in a batch here (batch_first=True)"
            )
        return found


def uncompiled(model: nn.Module) -> nn.Module:
    """The module inside of what torch.compile made: compiled code may not run hooks that came after it."""
    return getattr(model, "_orig_mod", model)


def layer_shapes(model: nn.Module, image: torch.Tensor) -> dict[str, tuple[Any, int]]:
    """What each module returns for one image (1, ...), and how often it ran, in the order in which they end; "" is the model.

    Modules that do not run are not in it. Hooks are removed on every way out, and the model is left as it was.
    """
    found: dict[str, tuple[Any, int]] = {}

    def hook(name: str) -> Any:
        def record(_: nn.Module, __: Any, returned: Any) -> None:
            calls = found.pop(name, (None, 0))[1]
            found[name] = (_detached(returned), calls + 1)

        return record

    handles = [part.register_forward_hook(hook(name)) for name, part in model.named_modules() if name]
    try:
        with preserve_state(model), torch.no_grad():
            returned = call_model(model, image)
    finally:
        for handle in handles:
            handle.remove()
    found[""] = (_detached(returned), 1)
    return found


def find_layer(
    model: nn.Module,
    image: torch.Tensor,
    name: str | None = None,
    *,
    layout: str = "auto",
    entry: str | int | None = None,
    channels_last: bool = False,
) -> Layer:
    """The layer of this name; None: the model's own output, or where that has no positions the last layer that has some.

    `image`: one input (1, channels, *positions), or with `channels_last` (1, *positions, channels). Raises
    `SpecificationError`, which lists the layers, nearest names first, for a name that the model does not have or that does not
    run.
    """
    given: object = name
    if given is not None and not isinstance(given, str):
        raise SpecificationError(
            f"layer is {given!r}; it is a name of model.named_modules(), such as 'layer2.0', or '' for the output"
        )
    if layout not in LAYOUTS:
        raise SpecificationError(f"layout is {layout!r}; it is {', '.join(LAYOUTS)}")
    space = tuple(image.shape[1:-1] if channels_last else image.shape[2:])
    found = layer_shapes(model, image)
    if name is not None:
        if name not in found:
            raise SpecificationError(_no_such_layer(model, found, name))
        return _layer(model, found, name, space, layout, entry)
    for candidate in ("", *reversed(found)):
        try:
            layer = _layer(model, found, candidate, space, layout, entry)
        except (SpecificationError, UnsupportedError):
            continue
        if prod(layer.positions) > 1:
            return layer
    raise UnsupportedError(
        f"no layer of {type(model).__name__} returns features at positions for an input of shape {tuple(image.shape)}; name "
        f"one, and its layout: its layers return {'; '.join(_described(found))}"
    )


def _layer(
    model: nn.Module, found: dict[str, tuple[Any, int]], name: str, space: tuple[int, ...], layout: str, entry: str | int | None
) -> Layer:
    returned, calls = found[name]
    module = model.get_submodule(name)
    chosen: tuple[str | int, ...] = () if entry is None else (entry,)
    if entry is None and isinstance(returned, tuple) and isinstance(module, ANSWER_FIRST):
        chosen = (0,)
    try:
        features = selected(returned, chosen)
    except UnsupportedError as error:
        raise UnsupportedError(f"{name or 'the model'}: {str(error).replace('output', 'entry')}") from error
    shape = tuple(features.shape)
    if len(shape) < 3 or shape[0] != 1:
        raise UnsupportedError(
            f"{name or 'the model'} returns {shape} for one input: no features at positions, (N, C, *positions), "
            "(N, *positions, C) or tokens (N, T, C) with inputs first (batch_first=True). Layers that have some: "
            + ("; ".join(_described(found, positions=True)) or "none")
        )
    last = _is_channels_last(module, model, name, shape[1:], space) if layout == "auto" else layout == "channels_last"
    positions, channels = (shape[1:-1], shape[-1]) if last else (shape[2:], shape[1])
    grid, leading = _token_grid(positions, space) if len(positions) == 1 < len(space) else (positions, 0)
    return Layer(name, chosen, channels, positions, last, grid, leading, calls, space)


def _is_channels_last(module: nn.Module, model: nn.Module, name: str, shape: tuple[int, ...], space: tuple[int, ...]) -> bool:
    """Are channels the last axis of these features? By the input's proportions, the kinds of layers, its length."""
    if len(shape) == len(space) + 1 and len(space) > 1:
        first, last = (_is_scaled(positions, space) for positions in (shape[1:], shape[:-1]))
        if first != last:
            return last
    elif len(shape) == 2 and len(space) > 1:
        return True  # tokens
    for inside in (module, model):
        kinds = {isinstance(part, LAST) for part in inside.modules() if isinstance(part, FIRST + LAST)}
        if len(kinds) == 1:
            return kinds.pop()
    if len(shape) == 2 and (shape[0] == space[0]) != (shape[1] == space[0]):
        return shape[0] == space[0]  # as many units as positions
    raise SpecificationError(
        f"{name or 'the model'} returns {shape} for one input: say whether its channels come first or last, "
        "layout='channels_first' or 'channels_last'"
    )


def _is_scaled(positions: tuple[int, ...], space: tuple[int, ...]) -> bool:
    """Can these be the input's positions divided by one stride, rounded either way?

    >>> _is_scaled((7, 10), (224, 320)), _is_scaled((64, 7), (224, 224))
    (True, False)
    """
    ratios = [n / g for n, g in zip(space, positions, strict=True)]
    return all(abs(n / ratios[0] - g) <= 1.5 for n, g in zip(space, positions, strict=True))


def _token_grid(positions: tuple[int, ...], space: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """How tokens tile the input: the grid, and how many tokens stand before it."""
    count = positions[0]
    grids = {tuple(n // side for n in space) for side in range(1, min(space) + 1)}
    if len(space) == 2 and space[0] == space[1]:
        grids |= {(isqrt(count - extra),) * 2 for extra in range(min(count, MOST_LEADING + 1))}
    fitting = [(count - prod(grid), grid) for grid in grids if 0 <= count - prod(grid) <= min(MOST_LEADING, count - 1)]
    fitting = [(leading, grid) for leading, grid in fitting if prod(grid) > leading]
    leading, grid = min(fitting, default=(0, positions))  # tokens without a known place stand for themselves
    return grid, leading


def _copied(returned: Any) -> Any:
    """The tensors of what a layer returned, copied within the autograd graph."""
    if isinstance(returned, torch.Tensor):
        return returned.clone()
    if isinstance(returned, tuple | list):
        return tuple(_copied(part) for part in returned)
    return {key: _copied(part) for key, part in returned.items()} if isinstance(returned, dict) else returned


def _detached(returned: Any) -> Any:
    """The shapes and types alone: tensors without storage."""
    if isinstance(returned, torch.Tensor):
        return torch.empty(returned.shape, dtype=returned.dtype, device="meta")
    if isinstance(returned, tuple | list):
        return tuple(_detached(part) for part in returned)
    return {key: _detached(part) for key, part in returned.items()} if isinstance(returned, dict) else None


def _described(found: dict[str, tuple[Any, int]], names: Sequence[str] = (), *, positions: bool = False) -> Iterator[str]:
    """Layers with the shapes that they return for one input: those named, or the last ones."""
    known = [
        name
        for name in (names or list(reversed(found)))
        if name and (not positions or (isinstance(found[name][0], torch.Tensor) and found[name][0].ndim > 2))
    ]
    for name in known[:MOST_LISTED]:
        returned = found[name][0]
        yield f"{name} {tuple(returned.shape)}" if isinstance(returned, torch.Tensor) else f"{name} ({type(returned).__name__})"
    if len(known) > MOST_LISTED:
        yield f"and {len(known) - MOST_LISTED} more"


def _no_such_layer(model: nn.Module, found: dict[str, tuple[Any, int]], name: str) -> str:
    if any(name == known for known, _ in model.named_modules()):
        return f"the layer {name!r} does not run in a forward pass; those that run are {'; '.join(_described(found))}"
    score = {known: difflib.SequenceMatcher(None, name, known).ratio() for known in found if known}
    nearest = sorted(score, key=lambda known: -score[known])
    listed = "; ".join(_described(found, nearest))
    return f"{type(model).__name__} has no layer {name!r}; it has, nearest names first, {listed or 'no layers by name'}"


def _pixels(i: int, n: int, g: int) -> tuple[int, int]:
    """The pixels of unit i of g over n.

    >>> _pixels(3, 8, 4), _pixels(3, 8, 6), _pixels(5, 8, 16)
    ((6, 8), (4, 5), (2, 3))
    """
    if g > n or n % g == 0:
        return i * n // g, -(-(i + 1) * n // g)
    stride = round(n / g)
    first = min(max((n - g * stride) // 2 + i * stride, 0), n - 1)
    return first, min(max((n - g * stride) // 2 + (i + 1) * stride, first + 1), n)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
