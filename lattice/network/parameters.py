"""The parameters of ops: checked once, at construction, and read for a number of axes."""

from dataclasses import fields
from typing import TypeAlias

from lattice.checks import is_whole
from lattice.errors import SpecificationError
from lattice.network.traits import Op, Shape, Windowed
from lattice.network.windows.window import PADDING_MODES, Window

__all__ = ["Padding", "PerAxis", "ints", "normalise", "per_axis", "per_side", "sliding"]

PerAxis: TypeAlias = int | tuple[int, ...]
Padding: TypeAlias = int | str | tuple[int | tuple[int, int], ...]

POOL_KINDS = ("avg", "max")
SINGLE = ("channels", "units", "groups", "factor", "start", "stop")  # one number, whatever the axes


def ints(op: object, name: str, value: object, least: int) -> tuple[int, ...]:
    """`value`, an int or a sequence of ints, as a tuple of ints that are at least `least`."""
    entries = tuple(value) if isinstance(value, tuple | list) and name not in SINGLE else (value,)
    if not entries and name != "shape":
        raise SpecificationError(f"{type(op).__name__}: {name} is {value!r}; it takes one whole number, or one per axis")
    for entry in entries:
        if not is_whole(entry):
            raise SpecificationError(f"{type(op).__name__}: {name} is {value!r}; it takes whole numbers")
        if entry.__index__() < least:
            raise SpecificationError(f"{type(op).__name__}: {name} is {value!r}; the least is {least}")
    return tuple(entry.__index__() for entry in entries)


def _sides(op: Op, value: object) -> int | tuple[int, ...]:
    """One entry of a padding: an int, or (lo, hi)."""
    sides = ints(op, "padding", value, least=0)
    return sides if isinstance(value, tuple | list) else sides[0]


def normalise(
    op: Op,
    positive: tuple[str, ...] = (),
    nonnegative: tuple[str, ...] = (),
    modes: tuple[str, ...] = PADDING_MODES,
) -> None:
    """Check an op's parameters once, at construction, and turn lists and numpy integers into ints and tuples."""
    for field in fields(op):  # type: ignore[arg-type]
        name, value = field.name, getattr(op, field.name)
        if name in (*positive, *nonnegative):
            entries = ints(op, name, value, least=1 if name in positive else 0)
            object.__setattr__(op, name, entries if isinstance(value, tuple | list) else entries[0])
        elif name == "padding" and not isinstance(value, str):
            pads = tuple(_sides(op, side) for side in value) if isinstance(value, tuple | list) else _sides(op, value)
            object.__setattr__(op, name, pads)
        elif name == "padding" and value not in ("same", "valid"):
            raise SpecificationError(f"{type(op).__name__}: padding is {value!r}; a name is 'same' or 'valid'")
        elif name == "kind" and isinstance(op, Windowed) and value not in POOL_KINDS:
            raise SpecificationError(f"{type(op).__name__}: kind is {value!r}; it is one of {', '.join(POOL_KINDS)}")
        elif name == "mode" and modes and value not in modes:
            raise SpecificationError(f"{type(op).__name__}: mode is {value!r}; it is one of {', '.join(modes)}")


def per_axis(op: Op, name: str, value: PerAxis, axes: int) -> tuple[int, ...]:
    """One value per axis."""
    if isinstance(value, int):
        return (value,) * axes
    if len(value) != axes:
        raise SpecificationError(f"{op}: {name} has {len(value)} entries and the input has {axes} spatial axes")
    return value


def per_side(op: Op, padding: int | tuple[int | tuple[int, int], ...], axes: int) -> tuple[tuple[int, int], ...]:
    """(lo, hi) per axis, from an int, one entry per axis, or, on one axis, a plain (lo, hi)."""
    if isinstance(padding, int):
        return ((padding, padding),) * axes
    if axes == 1 and len(padding) == 2 and all(isinstance(entry, int) for entry in padding):
        return (padding,)  # type: ignore[return-value]
    if len(padding) != axes or any(isinstance(entry, tuple) and len(entry) != 2 for entry in padding):
        raise SpecificationError(
            f"{op}: padding {padding} does not fit {axes} spatial axes; give an int, one int per axis, or one (lo, hi) per axis"
        )
    return tuple((entry, entry) if isinstance(entry, int) else (entry[0], entry[1]) for entry in padding)


def sliding(
    op: Op,
    spatial: Shape,
    kernel: PerAxis,
    stride: PerAxis,
    dilation: PerAxis,
    padding: Padding,
    mode: str,
    ceil: bool = False,
) -> tuple[Window, ...]:
    axes = len(spatial)
    kernels = per_axis(op, "kernel", kernel, axes)
    strides = per_axis(op, "stride", stride, axes)
    dilations = per_axis(op, "dilation", dilation, axes)
    if padding == "same":
        totals = (
            max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, k, s, d in zip(spatial, kernels, strides, dilations, strict=True)
        )
        pads = tuple((total // 2, total - total // 2) for total in totals)
    else:
        pads = per_side(op, 0 if isinstance(padding, str) else padding, axes)
    return tuple(Window(k, s, d, p, mode, ceil) for k, s, d, p in zip(kernels, strides, dilations, pads, strict=True))
