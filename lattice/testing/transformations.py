"""New lattices from old ones, for theorems about them: `flip`, `transpose`, `compose`.

    path_counts(flip(net, axes))    = numpy.flip(path_counts(net), axes)
    path_counts(transpose(net, p))  = numpy.transpose(path_counts(net), p)      summed over the outputs, spatial axes only
    path_counts(compose(a, b))      = the sweep of b's counts through a         Eq. 2: every route of b continued by one of a

They are rewritings of layers, one rule a layer, and share nothing with the sweep that counts paths.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any

from lattice.checks import is_whole
from lattice.errors import SpecificationError, UnsupportedError
from lattice.network.attention import Attention
from lattice.network.lattice import Lattice, Node, check_lattice
from lattice.network.ops import (
    AdaptivePool,
    Blur,
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    GlobalPool,
    Input,
    Merge,
    Op,
    Pad,
    Pointwise,
    Pool,
    Shape,
    Slice,
    Upsample,
    Windowed,
)
from lattice.network.rearrange import ListedWindow, Resample
from lattice.network.windows.window import TransposedWindow, Window

__all__ = ["compose", "flip", "transpose"]

PER_AXIS = ("kernel", "stride", "padding", "dilation", "output_padding", "size", "scale", "axes")


def flip(net: Lattice, axes: int | Sequence[int] | None = None) -> Lattice:
    """The lattice read from the other end: position i of the flipped axes is position n - 1 - i of `net`.

    A window with kernel K, dilation d, stride s and padding (lo, hi) over n cells leaves r = (n + lo + hi - span) mod s
    cells unread on its high side; its mirror image is the same window with padding (hi - r, lo).

    Parameters
    ----------
    net : Lattice
        Any lattice whose mirror image is one: no pixel shuffle, whose channels a flip exchanges.
    axes : int, sequence of int or None, default None
        Spatial axes, counted from 0; None is all of them.

    Returns
    -------
    Lattice
        With the same names and shapes.

    Raises
    ------
    UnsupportedError
        Where the mirror image of a layer is no layer: it would start beyond its padding. The message names it.

    Examples
    --------
    >>> from lattice import Conv, Lattice, path_counts
    >>> net = Lattice.chain((1, 6), [Conv(1, kernel=3, stride=2, padding=1)])
    >>> path_counts(net), path_counts(flip(net))
    (array([1, 2, 1, 2, 1, 1], dtype=object), array([1, 1, 2, 1, 2, 1], dtype=object))
    """
    check_lattice(net, "flip")
    chosen = _axes(net, axes, "flip")
    nodes = [net.nodes[0]]
    for node in net.nodes[1:]:
        nodes.append(_rewritten(net, node, "flip", flipped, chosen))
    return Lattice(tuple(nodes))


def transpose(net: Lattice, axes: Sequence[int] | None = None) -> Lattice:
    """The lattice with its spatial axes in another order, as `numpy.transpose` takes it (by default reversed).

    Parameters
    ----------
    net : Lattice
        Any lattice without pixel shuffles, whose channels a transposition exchanges.
    axes : sequence of int or None, default None
        A permutation of the spatial axes, counted from 0; None reverses them.

    Returns
    -------
    Lattice
        With the same names; axis a of every layer is axis `axes[a]` of that layer in `net`.

    Raises
    ------
    SpecificationError
        Where `axes` is no permutation.
    UnsupportedError
        Where a layer has no rule. The message names it.

    Examples
    --------
    >>> from lattice import Conv, Lattice
    >>> transpose(Lattice.chain((1, 6, 9), [Conv(2, kernel=(1, 3))])).output_shape
    (2, 7, 6)
    """
    check_lattice(net, "transpose")
    count = len(net.input_shape) - 1
    order = _listed(axes) if axes is not None else tuple(reversed(range(count)))
    if not all(map(is_whole, order)) or sorted(order) != list(range(count)):
        raise SpecificationError(f"transpose: axes is {axes!r}; it is a permutation of {tuple(range(count))}")
    channels, *spatial = net.input_shape
    nodes = [replace(net.nodes[0], op=Input((channels, *(spatial[a] for a in order))))]
    for node in net.nodes[1:]:
        nodes.append(_rewritten(net, node, "transpose", transposed, order))
    return Lattice(tuple(nodes))


def compose(below: Lattice, above: Lattice) -> Lattice:
    """The lattice that reads the output of `below` by `above`.

    Parameters
    ----------
    below, above : Lattice
        The output shape of the first is the input shape of the second.

    Returns
    -------
    Lattice
        Names that stand in both are numbered.

    Raises
    ------
    SpecificationError
        Where the shapes differ.

    Examples
    --------
    >>> from lattice import families, path_counts
    >>> path_counts(compose(families.plain(7, depth=2), families.plain(3, depth=1)))
    array([1, 3, 6, 7, 6, 3, 1], dtype=object)
    """
    for net in (below, above):
        check_lattice(net, "compose")
    if below.output_shape != above.input_shape:
        raise SpecificationError(f"compose: {below.output_shape} comes out below, and {above.input_shape} is read above")
    taken = Counter(below.names)
    offset = len(below.nodes) - 1
    nodes = list(below.nodes)
    for node in above.nodes[1:]:
        nodes.append(Node(_free(node.name, taken), node.op, tuple(i + offset for i in node.inputs)))
        taken[nodes[-1].name] += 1
    return Lattice(tuple(nodes))


def _free(name: str, taken: Counter[str]) -> str:
    if name not in taken:
        return name
    stem = name.rstrip("0123456789") or name
    number = 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def _axes(net: Lattice, axes: int | Sequence[int] | None, request: str) -> tuple[int, ...]:
    count = len(net.input_shape) - 1
    chosen = tuple(range(count)) if axes is None else _listed(axes)
    if not all(is_whole(axis) and 0 <= axis < count for axis in chosen):
        raise SpecificationError(f"{request}: axes is {axes!r}; the lattice has the spatial axes {tuple(range(count))}")
    return chosen


def _listed(axes: Any) -> tuple[Any, ...]:
    return tuple(axes) if isinstance(axes, Iterable) else (axes,)


def _rewritten(net: Lattice, node: Node, request: str, rule: Callable[[Op, Shape, tuple[int, ...]], Op], axes: Shape) -> Node:
    """The node with what the rule makes of its op; a refusal names the node."""
    try:
        return replace(node, op=rule(node.op, net.input_shapes(node)[0][1:], axes))
    except UnsupportedError as error:
        raise UnsupportedError(f"{request}: {node.name}: {error}") from None


# --- mirror images --------------------------------------------------------------------------------------------------------


@singledispatch
def flipped(op: Op, spatial: Shape, axes: tuple[int, ...]) -> Op:
    """Return the mirror image of one layer over an input with these spatial sizes."""
    raise UnsupportedError(f"{op} has no mirror image here; add one with flipped.register({type(op).__name__})")


@flipped.register(Pointwise)
@flipped.register(Merge)
@flipped.register(Flatten)  # the features stand in another order, which a Dense does not see
@flipped.register(Dense)
@flipped.register(Slice)
@flipped.register(ChannelShuffle)
@flipped.register(GlobalPool)
@flipped.register(AdaptivePool)  # its bins are their own mirror images
def _(op: Op, spatial: Shape, axes: tuple[int, ...]) -> Op:
    return op


@flipped.register(Conv)
@flipped.register(Pad)
@flipped.register(Pool)
@flipped.register(ConvTranspose)
def _(op: Any, spatial: Shape, axes: tuple[int, ...]) -> Op:
    windows = op.windows(spatial)
    pads = tuple(
        _other_padding(op, window, n) if axis in axes else window.padding
        for axis, (window, n) in enumerate(zip(windows, spatial, strict=True))
    )
    changed: Op = replace(op, padding=pads)
    return changed


@flipped.register
def _(op: Blur, spatial: Shape, axes: tuple[int, ...]) -> Op:
    if op.taps != op.taps[::-1] and set(axes) != set(range(len(spatial))):
        raise UnsupportedError(f"{op}: its taps are the same on all axes, so that it is flipped on all or on none")
    windows = op.windows(spatial)
    pads = tuple(
        _other_padding(op, window, n) if axis in axes else window.padding  # type: ignore[attr-defined]
        for axis, (window, n) in enumerate(zip(windows, spatial, strict=True))
    )
    return replace(op, taps=op.taps[::-1], padding=pads)


@flipped.register
def _(op: Upsample, spatial: Shape, axes: tuple[int, ...]) -> Op:
    for axis in axes:
        matrix = op.windows(spatial)[axis].matrix(spatial[axis])
        if (matrix != matrix[::-1, ::-1]).any():
            raise UnsupportedError(f"{op} takes {spatial[axis]} cells: read from the other end it takes other cells")
    return op


@flipped.register
def _(op: Resample, spatial: Shape, axes: tuple[int, ...]) -> Op:
    sizes = enumerate(zip(op.axes, spatial, strict=True))
    return Resample(tuple(_mirrored(window, n) if axis in axes else window for axis, (window, n) in sizes))


@flipped.register
def _(op: Attention, spatial: Shape, axes: tuple[int, ...]) -> Op:
    if any(op.reads[axis] is not None for axis in axes if op.reads):
        raise UnsupportedError(f"{op}: which positions it reads is a list, which has no mirror image here")
    return op


def _mirrored(window: ListedWindow, n: int) -> ListedWindow:
    """The list read from the other end, of cells that are counted from the other end; -1 stays what reads nothing."""
    cells = tuple(tuple(n - 1 - i if i >= 0 else i for i in row) for row in reversed(window.cells))
    return ListedWindow(cells, window.weights and tuple(reversed(window.weights)))


def _other_padding(op: Op, window: Any, n: int) -> tuple[int, int]:
    """The padding of a window's mirror image."""
    lo, hi = window.padding
    if isinstance(window, TransposedWindow):
        first, last = hi - window.output_padding, lo + window.output_padding
    else:
        assert isinstance(window, Window)
        unread = n + lo + hi - (window.stride * (window.outputs(n) - 1) + window.span)
        first, last = hi - unread, lo
        if unread < 0:
            raise UnsupportedError(f"{op} over {n} cells: its last window hangs over the end (ceil_mode)")
    if first < 0:
        raise UnsupportedError(
            f"{op} over {n} cells leaves {-first} of them unread, and padding cannot be negative; "
            f"{n + first} cells have the same windows and a mirror image"
        )
    return first, last


# --- axes in another order ------------------------------------------------------------------------------------------------


@singledispatch
def transposed(op: Op, spatial: Shape, order: tuple[int, ...]) -> Op:
    """Return one layer with its axes in another order."""
    raise UnsupportedError(f"{op} has no rule for axes in another order; add one with transposed.register({type(op).__name__})")


@transposed.register(Pointwise)
@transposed.register(Merge)
@transposed.register(Flatten)  # the features stand in another order, which a Dense does not see
@transposed.register(Dense)
@transposed.register(Slice)
@transposed.register(ChannelShuffle)
def _(op: Op, spatial: Shape, order: tuple[int, ...]) -> Op:
    return op


@transposed.register
def _(op: Attention, spatial: Shape, order: tuple[int, ...]) -> Op:
    return replace(op, reads=tuple(op.reads[axis] for axis in order)) if op.reads else op


@transposed.register
def _(op: Windowed, spatial: Shape, order: tuple[int, ...]) -> Op:
    changes = {}
    for name in PER_AXIS:
        value = getattr(op, name, None)
        if isinstance(value, tuple) and len(spatial) > 1:  # on one axis a padding may be (lo, hi)
            changes[name] = tuple(value[axis] for axis in order)
    changed: Op = replace(op, **changes)  # type: ignore[type-var]
    return changed
