"""Hypothesis strategies for lattices whose windows a theorem fixes: unpadded, stride 1, regular, flip symmetric.

Sizes are chosen from the output down, n = s (m - 1) + span - lo - hi + rest with 0 <= rest < s, so that every layer fits
and nothing is filtered away. `rest` cells stay unread; a flip-symmetric window has none (see `lattice.evenness`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from lattice.checks import whole
from lattice.errors import SpecificationError
from lattice.network.branches import Layer, residual
from lattice.network.ops import Activation, Conv, Dropout, Norm, Op, Pool, Shape
from lattice.testing.layer_strategies import MOST_UNITS

__all__ = ["FixedWindows", "fixed_chains"]


@dataclass(frozen=True, slots=True)
class FixedWindows:
    """What a theorem assumes of every window; None is free."""

    kernel: int | None = None
    stride: int | None = None
    padding: int | None = None
    dilation: int | None = None
    regular: bool = False
    symmetric: bool = False

    def __post_init__(self) -> None:
        for name, least in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            if getattr(self, name) is not None:
                whole(f"lattices: {name}", getattr(self, name), least)
        if self.regular and self.padding:
            raise SpecificationError("lattices: a regular lattice has no padding; leave padding out, or regular")

    def __bool__(self) -> bool:
        return self != FixedWindows()


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer to be: its window on every axis, and whether it stands beside a skip."""

    op: type[Op]
    channels: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    mode: str
    skipped: bool
    after: tuple[Op, ...]

    @property
    def span(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    @property
    def shrinks(self) -> int:
        """By how many cells, at stride 1, the input has to be smaller than the output."""
        return max(0, 2 * self.padding + 1 - self.span)

    def layers(self, channels: int) -> list[Layer]:
        layer: Op
        if self.op is Conv:
            layer = Conv(self.channels, self.kernel, self.stride, self.padding, self.dilation, mode=self.mode)
        else:
            layer = Pool("avg" if self.dilation == 1 else "max", self.kernel, self.stride, self.padding, self.dilation)
        return [residual([layer]) if self.skipped and self.channels == channels else layer, *self.after]


@st.composite
def fixed_chains(
    draw: st.DrawFn,
    fixed: FixedWindows,
    axes: st.SearchStrategy[int] | None,
    depth: tuple[int, int],
    channels: int,
    modes: Sequence[str],
    ops: Sequence[type[Op]],
    branches: bool,
) -> tuple[Shape, list[Layer]]:
    """Return an input shape and layers over it: convolutions and pools with these windows, pointwise layers, plain skips."""
    windowed: list[type[Op]] = [op for op in (Conv, Pool) if op in ops]
    if fixed.regular and Conv in windowed:  # a pool offers other channels than a convolution
        windowed = [Conv]
    if not windowed:
        raise SpecificationError("lattices: windows can be fixed for Conv and Pool, and ops has neither")
    count = draw(st.integers(1, channels))
    pointwise: list[type[Op]] = [] if fixed.regular else [op for op in (Activation, Norm, Dropout) if op in ops]
    widths = count if fixed.regular else None
    chain: list[_Layer] = []
    for _ in range(draw(st.integers(*depth))):
        chain.append(draw(_one(fixed, chain, widths, channels, tuple(modes), windowed, pointwise, branches)))
    if fixed.regular:  # a stride anywhere below the top would make the order of the commands matter
        stride = fixed.stride or draw(st.integers(1, 3))
        chain = [_with(layer, stride=stride if layer is chain[-1] else 1) for layer in chain]
    least = 1 + sum(layer.shrinks for layer in chain) + max(layer.padding for layer in chain)

    def cells() -> int:
        size = draw(st.integers(least, least + 2))
        for layer in reversed(chain):
            rest = 0 if fixed.symmetric or layer.skipped else draw(st.integers(0, layer.stride - 1))
            size = layer.stride * (size - 1) + layer.span - 2 * layer.padding + rest
        return size

    dimensions = draw(axes if axes is not None else st.sampled_from((1, 1, 1, 2)))
    spatial = [cells()]
    wide = max(count, *(layer.channels for layer in chain))
    while len(spatial) < dimensions and (axes is not None or wide * spatial[0] ** (len(spatial) + 1) <= 4 * MOST_UNITS):
        spatial.append(cells())
    layers: list[Layer] = []
    below = count
    for layer in chain:
        if layer.op is Pool:
            layer = _with(layer, channels=below)
        layers += layer.layers(below)
        below = layer.channels
    return (count, *spatial), layers


def _with(layer: _Layer, **changes: Any) -> _Layer:
    return _Layer(**{name: changes.get(name, getattr(layer, name)) for name in _Layer.__dataclass_fields__})


@st.composite
def _one(
    draw: st.DrawFn,
    fixed: FixedWindows,
    chain: list[_Layer],
    width: int | None,
    channels: int,
    modes: tuple[str, ...],
    windowed: list[type[Op]],
    pointwise: list[type[Op]],
    branches: bool,
) -> _Layer:
    op: type[Op] = draw(st.sampled_from(windowed))
    alike = fixed.regular and bool(chain)  # equal kernels and dilations
    kernel = chain[0].kernel if alike else fixed.kernel or draw(st.integers(1, 4))
    dilation = chain[0].dilation if alike else fixed.dilation or draw(st.integers(1, 2))
    span = dilation * (kernel - 1) + 1
    if fixed.regular:
        padding = 0
    elif fixed.padding is not None:
        padding = fixed.padding
    else:
        padding = draw(st.integers(0, min(2, (span - 1) // 2)))
    if op is Pool and 2 * padding > kernel:
        op = Conv if Conv in windowed else Pool
    same = 2 * padding == span - 1
    skipped = branches and not fixed.regular and same and fixed.stride in (None, 1) and draw(st.integers(0, 3)) == 3
    stride = 1 if skipped else fixed.stride or draw(st.integers(1, 3))
    after = tuple(draw(st.lists(st.sampled_from([kind() for kind in pointwise]), max_size=1))) if pointwise else ()
    mode = draw(st.sampled_from(modes)) if op is Conv and padding else "zeros"
    return _Layer(op, width or draw(st.integers(1, channels)), kernel, stride, padding, dilation, mode, skipped, after)
