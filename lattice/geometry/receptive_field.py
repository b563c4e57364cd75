"""Receptive fields: which input cells one unit can see, on each axis, and whether the branches of a net agree about it.

A unit of layer l at position j sees the cells that some route from it reaches. On the unbounded line (no borders: a
padded cell counts as a cell) what it sees moves regularly with j, so one period describes it: units 0..q-1 see the
hulls [first_r, last_r], and unit j + q sees what unit j sees, moved by p cells. The *effective stride* is p / q. Going
up one layer, with S the stride of the layers below and S s the one after,

    size' = size + S * dilation * (kernel - 1),     S' = S * stride,     start' = start - S * padding,

for a convolution over one period (q = 1), and the same composition of periods for every other layer: transposed
convolutions, upsampling and adaptive pools have q > 1, so that their effective stride is a fraction and the hull may
differ from one unit to the next. Where branches meet, hulls are united, and compared: a net is *aligned* where they have
one stride and one centre (Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Networks", Distill 2019).

Two tables circulate for ResNet-50, and both are right: 483 cells for TensorFlow-slim's, whose stages stride in their last
block, and 427 for torchvision's, whose stages stride in the 3x3 layer of their first block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lattice.counts.counting import Where, one_unit
from lattice.errors import SpecificationError
from lattice.geometry.channel_fields import Run, channel_fields, runs_between
from lattice.geometry.periods import Field, Period, hull
from lattice.network.lattice import Lattice, check_lattice
from lattice.network.ops import AdaptivePool, Concat, GlobalPool, Pointwise, Summed
from lattice.results.values import Result
from lattice.sweep.pullback import pull_back

__all__ = ["AxisField", "ReceptiveField", "cells_seen", "last_map", "receptive_field", "receptive_fields"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class AxisField:
    """The receptive field of a layer's units on one axis, in input cells, on the unbounded line.

    Parameters
    ----------
    size : int
        Cells from the first that a unit sees to the last, both included; the largest, where units differ.
    stride : Fraction
        How far the field moves from one unit to the next, exact; 0 for a flat layer, whose features share one position.
        Where branches have different strides, that of the branch with the largest field; `reasons` lists them all.
    padding : tuple of int
        How many cells the fields of all the layer's units stretch beyond the input, (lo, hi); negative where cells at that
        border are seen by no unit.
    centre : Fraction
        The middle of the first unit's field; cell i stands at i.
    field : Field
        The cells that every unit sees, as periods of the unbounded line.
    reasons : tuple of str, default ()
        Each merge whose branches differ in stride or centre, in words.
    """

    size: int
    stride: Fraction
    padding: tuple[int, int]
    centre: Fraction
    field: Field
    reasons: tuple[str, ...] = ()

    @property
    def aligned(self) -> bool:
        """Whether all branches below have one stride and one centre; `reasons` names each merge where they do not."""
        return not self.reasons

    @property
    def start(self) -> int:
        """The first cell of the first unit's field: -padding[0], unless a later unit sees further to the low side."""
        seen = self.seen(0)
        return seen.start if seen else -self.padding[0]

    def seen(self, j: int) -> range:
        """The cells from the first to the last that unit `j` sees; cells below 0 or beyond the input are padding.

        Parameters
        ----------
        j : int
            Index of the unit on this axis.

        Returns
        -------
        range
            Input cells.
        """
        interval = self.field.at(j)
        return range(0) if interval is None else range(interval[0], interval[1] + 1)

    def __str__(self) -> str:
        lo, hi = self.padding
        size = f"{self.size} cells" + (f" every {self.stride}" if self.stride else "")
        text = f"{size}, padding {lo} and {hi}, first unit centred on {self.centre}"
        return text + "".join(f"\n  not aligned: {reason}" for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class ReceptiveField(Result):
    """The receptive field of the layer `node`: one `AxisField` per input axis; `str` is a readable table.

    Parameters
    ----------
    node : str
        Name of the layer.
    axes : tuple of AxisField
        The field on each spatial axis of the input.
    """

    node: str
    axes: tuple[AxisField, ...]
    _made_of = (AxisField, Field, Period)

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("node", "size", "stride", "padding", "aligned")}

    @property
    def size(self) -> tuple[int, ...]:
        """Cells from the first that a unit sees to the last, per axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def stride(self) -> tuple[Fraction, ...]:
        """How many input cells the field moves from one unit to the next, per axis, exact fractions."""
        return tuple(axis.stride for axis in self.axes)

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """How many cells the fields stretch beyond the input, (lo, hi) per axis."""
        return tuple(axis.padding for axis in self.axes)

    @property
    def aligned(self) -> bool:
        """Whether all branches have one stride and one centre on every axis."""
        return all(axis.aligned for axis in self.axes)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not aligned: each merge and what each of its branches sees, without repetition over the axes."""
        return tuple(dict.fromkeys(reason for axis in self.axes for reason in axis.reasons))

    def _repr_html_(self) -> str:
        """The table of the axes, for notebooks."""
        from lattice.drawing.html import receptive_field_html

        return receptive_field_html(self)

    def __len__(self) -> int:
        return len(self.axes)

    def __iter__(self) -> Iterator[AxisField]:
        return iter(self.axes)

    def __getitem__(self, axis: int) -> AxisField:
        return self.axes[axis]

    def __str__(self) -> str:
        return "\n".join([f"receptive field of {self.node}", *(f"axis {k}: {axis}" for k, axis in enumerate(self.axes))])


def receptive_field(lattice: Lattice, node: str | None = None, channel: int | None = None) -> ReceptiveField:
    """What one unit of a layer can see, per axis: the hull of the input cells that some route from it reaches.

    A head sees everything below it: units of a `GlobalPool`, and of a flat layer, have the hull of all positions as their
    field. Ask for `node=last_map(lattice)` (`lattice.geometry.receptive_field.last_map`) to get the number that tables of
    receptive fields print for a classifier. The field is that of a unit far from the borders; `cells_seen` in the same module
    lists what one given unit sees, borders and holes included.

    Parameters
    ----------
    lattice : Lattice
        The network.
    node : str or None, default None
        Name of the layer; None is the output.
    channel : int or None, default None
        One channel, where branches give channels different fields (a concatenation); None is the hull over all channels.

    Returns
    -------
    ReceptiveField
        Size, stride, padding (lo, hi), and whether branches are aligned, per input axis, in input cells.

    Raises
    ------
    SpecificationError
        If the layer or the channel does not exist.

    Examples
    --------
    >>> from lattice import Conv, Lattice, Pool
    >>> net = Lattice.chain(
    ...     (3, 32),
    ...     [Conv(8, kernel=3, padding=1), Pool("max", 2), Conv(8, kernel=3, padding=1)],
    ... )
    >>> print(receptive_field(net))
    receptive field of conv2
    axis 0: 8 cells every 2, padding 3 and 3, first unit centred on 1/2
    """
    check_lattice(lattice, "receptive_field")
    position = _position(lattice, node)
    return _fields_up_to(lattice, position, [position], channel)[0]


def receptive_fields(lattice: Lattice) -> tuple[ReceptiveField, ...]:
    """The receptive field of every layer, in the order of the lattice's nodes, from one pass.

    Parameters
    ----------
    lattice : Lattice
        The network.

    Returns
    -------
    tuple of ReceptiveField
        One per node, the input first.

    Examples
    --------
    >>> from lattice import families
    >>> [field.size[0] for field in receptive_fields(families.plain(9, depth=3))]
    [1, 3, 5, 7]
    """
    check_lattice(lattice, "receptive_fields")
    last = len(lattice.nodes) - 1
    return _fields_up_to(lattice, last, range(last + 1), None)


def last_map(lattice: Lattice) -> str:
    """The name of the last layer below the head: below the flat layers and whatever pools over all positions.

    Parameters
    ----------
    lattice : Lattice
        The network.

    Returns
    -------
    str
        Name of the layer.

    Examples
    --------
    >>> from lattice import families
    >>> net = families.resnet((3, 224, 224))
    >>> last_map(net), receptive_field(net, last_map(net)).size
    ('activation17', (435, 435))
    """
    check_lattice(lattice, "last_map")
    position = len(lattice.nodes) - 1
    while len(lattice.nodes[position].inputs) == 1:
        op, shape = lattice.nodes[position].op, lattice.shapes[position]
        pointwise = isinstance(op, Pointwise) and set(shape[1:]) <= {1}
        whole = isinstance(op, GlobalPool | AdaptivePool) and set(shape[1:]) == {1}
        if len(shape) > 1 and not pointwise and not whole:
            break
        position = lattice.nodes[position].inputs[0]
    return lattice.names[position]


def cells_seen(lattice: Lattice, output: Where | None = None) -> Array:
    """Which input cells one output unit sees, borders and holes included: the pull-back with weight True.

    `output`: a `Unit`, a spatial index (channel 0), or None: what any output unit sees; a False there is a blind spot.
    Returns a boolean map (*spatial): does any channel of the cell count? Errors as `path_counts`.

    >>> from lattice import Conv, Lattice
    >>> cells_seen(
    ...     Lattice.chain(
    ...         (1, 8), [Conv(1, kernel=2, dilation=2), Conv(1, kernel=1, stride=3)]
    ...     )
    ... ).astype(int)
    array([1, 0, 1, 1, 0, 1, 0, 0])
    """
    return np.any(pull_back(lattice, lambda node: True, one_unit(lattice, output, one=True)), axis=0)


def _position(lattice: Lattice, node: str | None) -> int:
    if node is None:
        return len(lattice.nodes) - 1
    if node not in lattice.names:
        names = ", ".join(lattice.names[:8]) + (", ..." if len(lattice.names) > 8 else "")
        raise SpecificationError(f"there is no layer {node!r} in this lattice; its layers are {names}")
    return lattice.names.index(node)


def _fields_up_to(lattice: Lattice, last: int, wanted: Sequence[int], channel: int | None) -> tuple[ReceptiveField, ...]:
    """One pass from the input up: the fields of all channels, and why branches do not align, per axis."""
    axes = len(lattice.input_shape) - 1
    fields: list[list[Run]] = []
    reasons: list[tuple[dict[str, None], ...]] = []
    result = []
    for position, node in enumerate(lattice.nodes[: last + 1]):
        below = [fields[i] for i in node.inputs]
        fields.append(channel_fields(node.op, lattice.input_shapes(node), below, lattice.shapes[position], node.name))
        why: tuple[dict[str, None], ...] = tuple({} for _ in range(axes))
        for i in node.inputs:
            for axis in range(axes):
                why[axis].update(reasons[i][axis])
        same = len({lattice.shapes[i][1:] for i in node.inputs}) == 1  # a gate of one cell stands nowhere
        if isinstance(node.op, Summed | Concat) and same and len(lattice.shapes[position]) > 1:  # flat features stand nowhere
            names = [lattice.names[i] for i in node.inputs]
            for axis in range(axes):
                why[axis].update(_misaligned(node.name, names, [hull(run.axes[axis] for run in runs) for runs in below]))
        reasons.append(why)
        if position in wanted:
            result.append(_receptive_field(lattice, position, fields[-1], why, channel))
    return tuple(result)


def _misaligned(node: str, names: Sequence[str], branches: Sequence[Field]) -> dict[str, None]:
    """The reason why the branches of a merge do not align, or nothing."""
    if all(branch.centres == branches[0].centres for branch in branches[1:]):
        return {}
    return {f"{node} merges " + "; ".join(f"{name}: {field}" for name, field in zip(names, branches, strict=True)): None}


def _receptive_field(
    lattice: Lattice, position: int, runs: list[Run], reasons: Sequence[dict[str, None]], channel: int | None
) -> ReceptiveField:
    name, shape = lattice.names[position], lattice.shapes[position]
    if channel is not None:
        if not 0 <= channel < shape[0]:
            raise SpecificationError(f"channel is {channel}; {name} has {shape[0]} channels")
        runs = runs_between(runs, channel, channel + 1)
    spatial = shape[1:] or (1,) * (len(lattice.input_shape) - 1)  # a flat layer has one position
    axes = []
    for axis, (n, count) in enumerate(zip(lattice.input_shape[1:], spatial, strict=True)):
        field = hull(run.axes[axis] for run in runs)
        intervals = [interval for j in range(count) if (interval := field.at(j)) is not None]
        first, last = intervals[0] if intervals else (0, -1)
        axes.append(
            AxisField(
                size=max((hi - lo + 1 for lo, hi in intervals), default=0),
                stride=field.stride,
                padding=(-min(lo for lo, _ in intervals), max(hi for _, hi in intervals) - n + 1) if intervals else (0, -n),
                centre=Fraction(first + last, 2),
                field=field,
                reasons=tuple(reasons[axis]),
            )
        )
    return ReceptiveField(name, tuple(axes))
