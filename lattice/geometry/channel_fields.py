"""The fields of all channels of a layer, op by op: which input cells each of its units sees on the unbounded line.

Channels that see the same are kept as one run, so that a layer without branches below it is one run however wide. Axes are
composed one by one: on each axis a field is the hull of what the units at that coordinate see, wherever they stand on the
others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import groupby

from lattice.errors import SpecificationError, UnsupportedError
from lattice.geometry.periods import Field, Period, everywhere, hull, interleave, read
from lattice.network.ops import (
    Add,
    ChannelShuffle,
    Concat,
    Dense,
    Flatten,
    Input,
    Multiply,
    Op,
    PixelShuffle,
    Pointwise,
    Shape,
    Slice,
    WeightedWindow,
    Windowed,
)

__all__ = ["Run", "channel_fields", "runs_between"]


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring channels, `count` of them, that see the same: a field per axis."""

    count: int
    axes: tuple[Field, ...]


def runs_between(runs: Sequence[Run], start: int, stop: int) -> list[Run]:
    """The runs of channels start..stop-1."""
    between, position = [], 0
    for run in runs:
        count = min(stop, position + run.count) - max(start, position)
        if count > 0:
            between.append(Run(count, run.axes))
        position += run.count
    return between


def _runs(channels: Iterable[Run]) -> list[Run]:
    """The same channels in as few runs as possible."""
    return [Run(sum(run.count for run in same), axes) for axes, same in groupby(channels, key=lambda run: run.axes)]


def _all(runs: Iterable[Run]) -> tuple[Field, ...]:
    """The hull of all channels, per axis."""
    return tuple(map(hull, zip(*(run.axes for run in runs), strict=True)))


@singledispatch
def channel_fields(op: Op, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    """The fields of an op's output channels, given those of the channels of its inputs; `name` is for errors."""
    raise SpecificationError(
        f"{name}: no receptive field for {op!r}; add one with lattice.geometry.channel_fields.channel_fields.register"
    )


@channel_fields.register
def _(op: Input, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    return [Run(output[0], (Field((Period(1, ((0, 0),)),)),) * (len(output) - 1))]


@channel_fields.register
def _(op: Pointwise, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    return below[0]


@channel_fields.register
def _(op: Windowed, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    ((channels, *spatial),), (runs,) = inputs, below
    windows = op.windows(tuple(spatial))
    if isinstance(op, WeightedWindow):
        groups = 1 if len(runs) == 1 else op.groups  # channels that see the same need no groups
        width, outputs = channels // groups, op.channels // groups
        runs = [Run(outputs, _all(runs_between(runs, g * width, (g + 1) * width))) for g in range(groups)]
    seen = (tuple(read(w, n, field) for w, n, field in zip(windows, spatial, run.axes, strict=True)) for run in runs)
    return _runs(Run(run.count, _or_nothing(axes)) for run, axes in zip(runs, seen, strict=True))


def _or_nothing(axes: tuple[Field, ...]) -> tuple[Field, ...]:
    """Units that see nothing on one axis see nothing at all."""
    if all(field.size for field in axes):
        return axes
    return tuple(Field(tuple(Period(p.advance, (None,) * len(p.phases)) for p in field.periods)) for field in axes)


@channel_fields.register
def _(op: Multiply, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    return channel_fields(Add(), inputs, [_broadcast(*part, output) for part in zip(below, inputs, strict=True)], output, name)


def _broadcast(runs: list[Run], shape: Shape, output: Shape) -> list[Run]:
    """The fields of an input of this shape at the units of the output: one cell or channel is read by all."""
    still = [n < m for n, m in zip(shape[1:], output[1:], strict=True)]
    runs = [
        Run(run.count, tuple(everywhere(field, 1) if stays else field for field, stays in zip(run.axes, still, strict=True)))
        for run in runs
    ]
    return [Run(output[0], runs[0].axes)] if shape[0] < output[0] else runs


@channel_fields.register
def _(op: Add, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    if all(len(runs) == 1 for runs in below):
        return [Run(output[0], _all(run for runs in below for run in runs))]
    single = [[run for runs in below for run in runs_between(runs, c, c + 1)] for c in range(output[0])]
    return _runs(Run(1, _all(channel)) for channel in single)


@channel_fields.register
def _(op: Concat, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    return _runs(run for runs in below for run in runs)


@channel_fields.register
def _(op: Slice, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    if len(output) == 1:
        raise UnsupportedError(
            f"{name}: slices the features of a flat layer, which stand at different positions; slice channels before Flatten, "
            "or ask for the receptive field of a layer below it with node=..."
        )
    return runs_between(below[0], op.start, op.stop)


@channel_fields.register
def _(op: ChannelShuffle, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    width = output[0] // op.groups
    order = (row * width + column for column in range(width) for row in range(op.groups))
    return _runs(run for channel in order for run in runs_between(below[0], channel, channel + 1))


@channel_fields.register
def _(op: PixelShuffle, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    factor, axes = op.factor, len(inputs[0]) - 1
    cells = factor**axes

    def along(channel: int, axis: int) -> Field:
        """Unit factor * i + a reads unit i of the channels whose offset on this axis is a."""
        strands = []
        for a in range(factor):
            offsets = (o for o in range(cells) if o // factor ** (axes - 1 - axis) % factor == a)
            read = [run for o in offsets for run in runs_between(below[0], channel * cells + o, channel * cells + o + 1)]
            strands.append(hull(run.axes[axis] for run in read))
        return interleave(strands)

    return _runs(Run(1, tuple(along(channel, axis) for axis in range(axes))) for channel in range(output[0]))


@channel_fields.register
def _(op: Flatten, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    spatial = inputs[0][1:]
    if not spatial:
        return below[0]
    cells = output[0] // inputs[0][0]
    return _runs(Run(run.count * cells, tuple(map(everywhere, run.axes, spatial))) for run in below[0])


@channel_fields.register
def _(op: Dense, inputs: tuple[Shape, ...], below: list[list[Run]], output: Shape, name: str) -> list[Run]:
    return [Run(op.units, _all(below[0]))]
