"""Layers that add nothing to what a unit sees at this input size: the image is covered already, or the field stays.

Richter, Byttner, Krumnack, Wiedenroth, Schallner and Shenk ("(Input) Size Matters for CNN Classifiers", ICANN 2021) call a
layer unproductive where its input's receptive field exceeds the image: it can combine features, but it meets no new context.
Along paths with k taps, dilation d and stride s a field grows by S d (k - 1), S the product of the strides below; where
branches merge the smallest one counts, since any of them may carry what is new. The second way to be idle is of the effective
field: the predicted spread of the layer's centre unit, the standard deviation of position under its expected squared
gradients, no longer grows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.laws.moments import expected_squares
from landscape.prior import Prior
from lattice import Conv, GlobalPool, Lattice, Node, PilcroError, Window
from lattice.network.ops import Merge, Pointwise, Rearrangement, Weighted, Windowed

__all__ = ["Unproductive", "unproductive_layers"]

Array = np.ndarray[Any, Any]
GROWTH = 0.01  # of the spread: a smaller growth is none


@dataclass(frozen=True)
class Unproductive:
    """A convolution that adds no context.

    `covered`: per axis, the smallest receptive field of its input along any path, in pixels of the unbounded line. `growth`: by
    which share the spread of its effective field exceeds that of its input; None where the field already covers the image.
    """

    name: str
    covered: tuple[int, ...]
    size: tuple[int, ...]
    growth: float | None

    def __str__(self) -> str:
        if self.growth is None:
            return f"{self.name}: its input already sees {_sizes(self.covered)} pixels of {_sizes(self.size)}, along every path"
        return f"{self.name}: its effective field is {self.growth:.1%} wider than that of its input"


def unproductive_layers(prior: Prior) -> tuple[Unproductive, ...]:
    """The convolutions with more than one tap that add no context at this input size, from the bottom up.

    Networks with transposed convolutions or resizing are judged by their effective field alone.

    >>> layers = [Conv(4, 3, padding=1) for _ in range(6)]
    >>> net = Lattice.chain((1, 8), layers)
    >>> for layer in unproductive_layers(
    ...     Prior(net, {name: 1 / 12 for name in net.names[1:]})
    ... ):
    ...     print(layer)
    conv5: its input already sees 9 pixels of 8, along every path
    conv6: its input already sees 11 pixels of 8, along every path
    """
    lattice = prior.lattice
    smallest = _smallest_fields(lattice)
    size = lattice.input_shape[1:]
    layers = []
    for position, node in enumerate(lattice.nodes):
        if not isinstance(node.op, Conv) or not _has_taps(lattice, node):
            continue
        below = node.inputs[0]
        covered = smallest[below]
        if covered is not None and all(seen > n for seen, n in zip(covered[0], size, strict=True)):
            layers.append(Unproductive(node.name, covered[0], size, None))
            continue
        spread, before = (_spread(prior, i) for i in (position, below))
        if spread is not None and before is not None and before > 0 and spread < (1 + GROWTH) * before:
            layers.append(Unproductive(node.name, covered[0] if covered else (), size, spread / before - 1))
    return tuple(layers)


def _smallest_fields(lattice: Lattice) -> list[tuple[tuple[int, ...], tuple[int, ...]] | None]:
    """For each node the smallest receptive field along any path and its stride, per axis; None where there is no such rule."""
    axes = len(lattice.input_shape) - 1
    fields: list[tuple[tuple[int, ...], tuple[int, ...]] | None] = []
    for node in lattice.nodes:
        if not node.inputs:
            fields.append(((1,) * axes, (1,) * axes))
            continue
        below = [fields[i] for i in node.inputs]
        known = [one for one in below if one is not None]
        if len(known) < len(below):
            fields.append(None)
            continue
        sizes = tuple(min(one[0][axis] for one in known) for axis in range(axes))
        strides = tuple(max(one[1][axis] for one in known) for axis in range(axes))
        fields.append(_grown(lattice, node, sizes, strides))
    return fields


def _grown(lattice: Lattice, node: Node, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    if isinstance(node.op, GlobalPool):
        return lattice.input_shape[1:], strides
    if isinstance(node.op, Merge | Pointwise | Rearrangement | Weighted) and not isinstance(node.op, Windowed):
        return sizes, strides
    if not isinstance(node.op, Windowed):
        return None
    spatial = lattice.input_shapes(node)[0][1:]
    windows = [window for window in node.op.windows(spatial) if isinstance(window, Window)]
    if len(windows) < len(spatial) or len(spatial) != len(sizes):
        return None
    pairs = list(zip(sizes, strides, windows, strict=True))
    return tuple(n + s * w.dilation * (w.kernel - 1) for n, s, w in pairs), tuple(s * w.stride for _, s, w in pairs)


def _has_taps(lattice: Lattice, node: Node) -> bool:
    """More than one tap on some axis?"""
    assert isinstance(node.op, Conv)
    windows = node.op.windows(lattice.input_shapes(node)[0][1:])
    return any(isinstance(window, Window) and window.kernel > 1 for window in windows)


def _spread(prior: Prior, position: int) -> float | None:
    """The standard deviation of position, over all axes, under the squared gradients of the centre unit of a node."""
    if not position:
        return 0.0
    cut = prior.up_to(position)
    unit = tuple(n // 2 for n in cut.lattice.output_shape[1:])
    if not unit:
        return None
    try:
        squared = expected_squares(cut, unit)
    except PilcroError:
        return None
    total = float(squared.sum())
    if not total > 0:
        return None
    spread = 0.0
    for axis, n in enumerate(squared.shape):
        marginal = squared.sum(axis=tuple(a for a in range(squared.ndim) if a != axis)) / total
        cells = np.arange(n)
        spread += float(marginal @ (cells - marginal @ cells) ** 2)
    return float(np.sqrt(spread))


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
