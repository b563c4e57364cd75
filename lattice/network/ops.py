"""The closed family of layers that a lattice is made of: frozen values, and the shape that each one produces.

An op says what a layer reads and nothing about the values of its weights. Spatial parameters are one int for all axes
or a tuple with one per axis; each entry of a padding may also be a pair (lo, hi). Shapes are (channels, *spatial);
`Flatten` makes (features,), which `Dense` reads.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TypeAlias

from lattice.checks import is_real, is_whole
from lattice.errors import SpecificationError
from lattice.network.axis import AxisMap
from lattice.network.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.window import PADDING_MODES, FilterWindow, TransposedWindow, Window

__all__ = [
    "Activation",
    "AdaptivePool",
    "Add",
    "Blur",
    "ChannelShuffle",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalPool",
    "Input",
    "Merge",
    "Multiply",
    "Norm",
    "Op",
    "Pad",
    "PixelShuffle",
    "Pointwise",
    "Pool",
    "Pooling",
    "Rearrangement",
    "Slice",
    "Summed",
    "Upsample",
    "Weighted",
    "Windowed",
]

Shape: TypeAlias = tuple[int, ...]
PerAxis: TypeAlias = int | tuple[int, ...]
Padding: TypeAlias = int | str | tuple[int | tuple[int, int], ...]

POOL_KINDS = ("avg", "max")
NORM_KINDS = ("batch", "scale", "layer", "group", "instance")
MASKS = ("unit", "channel", "sample")  # what one mask of a dropout is drawn for
SINGLE = ("channels", "units", "groups", "factor", "start", "stop")  # one number, whatever the axes


class Op:
    """One layer of a network: a frozen value that says what the layer does, and not what it reads.

    Subclasses are frozen dataclasses; rules for them are added from outside by `functools.singledispatch`.

    Examples
    --------
    >>> isinstance(Conv(4, kernel=3), Op)
    True
    """

    __slots__ = ()

    def __str__(self) -> str:
        """The op with those of its parameters that are not the default: Conv(8, kernel=3, padding=1)."""
        shown = []
        for position, part in enumerate(fields(self)):  # type: ignore[arg-type]
            value = getattr(self, part.name)
            if position == 0:
                shown.append(repr(value))
            elif value != part.default:
                shown.append(f"{part.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Weighted(Op):
    """An op with weights of its own, one for each command: the layers that an initialisation draws."""

    __slots__ = ()


class Pooling(Op):
    """An average or a maximum over windows, as its `kind` says."""

    __slots__ = ()

    kind: str


class Pointwise(Op):
    """An op that acts cell by cell and channel by channel on one input; paths pass straight through."""

    __slots__ = ()


class Rearrangement(Op):
    """An op that gives the cells of its one input other places, and changes none."""

    __slots__ = ()


class Merge(Op):
    """An op that reads several inputs."""

    __slots__ = ()


class Summed(Merge):
    """An op through which one step of a path leads to any of its inputs: a sum, or a product, d(ab) = b da + a db."""

    __slots__ = ()


class Windowed(Op, ABC):
    """An op that reads a neighbourhood: one `AxisMap` per spatial axis, the taps of all axes combined freely."""

    __slots__ = ()

    @abstractmethod
    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        """The map of each spatial axis: which input cell an output cell reads at a tap.

        Parameters
        ----------
        spatial : tuple of int
            Cells of the input on each axis.

        Returns
        -------
        tuple of AxisMap
            One per axis.
        """


@dataclass(frozen=True, slots=True)
class Input(Op):
    """The input of a lattice.

    Parameters
    ----------
    shape : tuple of int
        (channels, *spatial), with at most three spatial axes.

    Examples
    --------
    >>> Input((3, 224, 224)).shape
    (3, 224, 224)
    """

    shape: Shape

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _ints(self, "shape", self.shape, least=1))
        if not 1 <= len(self.shape) <= 4:
            raise SpecificationError(f"{self}: an input has a channel axis and at most three spatial axes")


@dataclass(frozen=True, slots=True)
class Conv(Weighted, Windowed):
    """A convolution (torch's Conv1d, Conv2d, Conv3d): output j reads input s j + d k - lo at tap k.

    Parameters
    ----------
    channels : int
        Output channels.
    kernel : int or tuple of int
        Kernel size, one for all axes or one per axis; likewise stride, padding and dilation.
    stride : int or tuple of int, default 1
        Stride.
    padding : int, tuple or str, default 0
        Padded cells: an int, or per axis an int or (lo, hi); or "valid" (none), or "same": ceil(n / stride) outputs, an odd
        cell of padding on the high side, as TensorFlow does and as torch does at stride 1.
    dilation : int or tuple of int, default 1
        Dilation.
    groups : int, default 1
        Groups of channels.
    mode : {"zeros", "circular", "reflect", "replicate", "symmetric"}, default "zeros"
        What padded cells hold.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((3, 32, 32), [Conv(16, kernel=3, stride=2, padding=1)]).output_shape
    (16, 16, 16)
    """

    channels: int
    kernel: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: int = 1
    mode: str = "zeros"

    def __post_init__(self) -> None:
        _normalise(self, positive=("channels", "kernel", "stride", "dilation", "groups"))
        if self.channels % self.groups:
            raise SpecificationError(f"{self}: {self.channels} channels do not divide into {self.groups} groups")

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        return _sliding(self, spatial, self.kernel, self.stride, self.dilation, self.padding, self.mode)


@dataclass(frozen=True, slots=True)
class ConvTranspose(Weighted, Windowed):
    """A transposed convolution (torch's ConvTranspose1d, 2d, 3d).

    Parameters
    ----------
    channels : int
        Output channels.
    kernel : int or tuple of int
        Kernel size, one for all axes or one per axis; likewise the others.
    stride : int or tuple of int, default 1
        Output cells from one input cell to the next.
    padding : int or tuple, default 0
        Output cells that are cut off: an int, or per axis an int or (lo, hi).
    output_padding : int or tuple of int, default 0
        Output cells added on the high side.
    dilation : int or tuple of int, default 1
        Dilation.
    groups : int, default 1
        Groups of channels.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((4, 8), [ConvTranspose(2, kernel=2, stride=2)]).output_shape
    (2, 16)
    """

    channels: int
    kernel: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    output_padding: PerAxis = 0
    dilation: PerAxis = 1
    groups: int = 1

    def __post_init__(self) -> None:
        _normalise(self, positive=("channels", "kernel", "stride", "dilation", "groups"), nonnegative=("output_padding",))
        if self.channels % self.groups:
            raise SpecificationError(f"{self}: {self.channels} channels do not divide into {self.groups} groups")

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        axes = len(spatial)
        if isinstance(self.padding, str):
            raise SpecificationError(f"{self}: a transposed convolution takes its padding in cells")
        parts = zip(
            _axes(self, "kernel", self.kernel, axes),
            _axes(self, "stride", self.stride, axes),
            _axes(self, "dilation", self.dilation, axes),
            _pairs(self, self.padding, axes),
            _axes(self, "output_padding", self.output_padding, axes),
            strict=True,
        )
        return tuple(TransposedWindow(k, s, d, p, o) for k, s, d, p, o in parts)


@dataclass(frozen=True, slots=True)
class Pool(Pooling, Windowed):
    """Average or maximum over a sliding window.

    Parameters
    ----------
    kind : {"avg", "max"}
        Average or maximum.
    kernel : int or tuple of int
        Window size, one for all axes or one per axis.
    stride : int, tuple of int or None, default None
        Stride; None is the kernel, as in torch.
    padding : int, tuple or str, default 0
        Padded cells, as for `Conv`.
    dilation : int or tuple of int, default 1
        Dilation.
    ceil : bool, default False
        Whether outputs are counted as with torch's `ceil_mode`.
    count_include_pad : bool, default True
        Whether an average is divided by the taps inside the padded input, else by those inside the input.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((4, 8), [Pool("avg", kernel=2)]).output_shape
    (4, 4)
    """

    kind: str
    kernel: PerAxis
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        if self.stride is None:
            object.__setattr__(self, "stride", self.kernel)
        _normalise(self, positive=("kernel", "stride", "dilation"))

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        assert self.stride is not None
        return _sliding(self, spatial, self.kernel, self.stride, self.dilation, self.padding, "zeros", self.ceil)


@dataclass(frozen=True, slots=True)
class AdaptivePool(Pooling, Windowed):
    """Average or maximum over bins that divide the input into `size` outputs (torch's AdaptiveAvgPool, AdaptiveMaxPool).

    Parameters
    ----------
    kind : {"avg", "max"}
        Average or maximum.
    size : int or tuple of int
        Outputs, one for all axes or one per axis.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((4, 9), [AdaptivePool("avg", size=2)]).output_shape
    (4, 2)
    """

    kind: str
    size: PerAxis

    def __post_init__(self) -> None:
        _normalise(self, positive=("size",))

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        # Bins of equal size are an ordinary pool, which is faster and easier to analyse.
        sizes = _axes(self, "size", self.size, len(spatial))
        return tuple(
            AdaptiveWindow(m) if n % m else Window(kernel=n // m, stride=n // m) for n, m in zip(spatial, sizes, strict=True)
        )


@dataclass(frozen=True, slots=True)
class GlobalPool(Pooling, Windowed):
    """Average or maximum over all positions; keeps one position, so that `Flatten` gives one feature per channel.

    Parameters
    ----------
    kind : {"avg", "max"}, default "avg"
        Average or maximum.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((4, 9, 9), [GlobalPool("avg"), Flatten()]).output_shape
    (4,)
    """

    kind: str = "avg"

    def __post_init__(self) -> None:
        _normalise(self)

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        return tuple(Window(kernel=n, stride=n) for n in spatial)


@dataclass(frozen=True, slots=True)
class Pad(Windowed):
    """Padding as a layer of its own (torch's ZeroPad, CircularPad, ReflectionPad, ReplicationPad, `functional.pad`).

    Parameters
    ----------
    padding : int or tuple
        Padded cells, as for `Conv`.
    mode : {"zeros", "circular", "reflect", "replicate", "symmetric"}, default "zeros"
        What padded cells hold.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((4, 9), [Pad(((1, 2),))]).output_shape
    (4, 12)
    """

    padding: Padding
    mode: str = "zeros"

    def __post_init__(self) -> None:
        _normalise(self)

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        return _sliding(self, spatial, 1, 1, 1, self.padding, self.mode)


@dataclass(frozen=True, slots=True)
class Blur(Windowed):
    """One fixed positive filter over every channel, the same on each axis: the anti-aliasing of Zhang (2019).

    Parameters
    ----------
    taps : tuple of float, default (1, 2, 1)
        The filter, divided by its sum, so that (1, 2, 1) averages with weights 1/4, 1/2, 1/4.
    stride : int or tuple of int, default 1
        Stride.
    padding : int, tuple or str, default 0
        Padded cells, as for `Conv`.
    mode : {"zeros", "circular", "reflect", "replicate", "symmetric"}, default "zeros"
        What padded cells hold.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((4, 8), [Blur(stride=2, padding=1)]).output_shape
    (4, 4)
    """

    taps: tuple[float, ...] = (1, 2, 1)
    stride: PerAxis = 1
    padding: Padding = 0
    mode: str = "zeros"

    def __post_init__(self) -> None:
        _normalise(self, positive=("stride",))
        taps = tuple(self.taps) if isinstance(self.taps, tuple | list) else ()
        if not taps or not all(is_real(tap) and tap > 0 for tap in taps):
            raise SpecificationError(f"Blur: taps is {self.taps!r}; it takes positive numbers, for example (1, 2, 1)")
        object.__setattr__(self, "taps", taps)

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        parts = _sliding(self, spatial, len(self.taps), self.stride, 1, self.padding, self.mode)
        weights = tuple(tap / sum(self.taps) for tap in self.taps)
        return tuple(
            FilterWindow(w.kernel, w.stride, w.dilation, w.padding, w.mode, w.ceil, weights)
            for w in parts
            if isinstance(w, Window)
        )


@dataclass(frozen=True, slots=True)
class Upsample(Windowed):
    """Nearest or (bi-, tri-)linear resizing (torch's `interpolate`): either `scale` or `size`.

    Parameters
    ----------
    scale : int, tuple of int or None, default None
        Output cells per input cell.
    mode : {"nearest", "linear"}, default "nearest"
        How an output reads the input.
    size : int, tuple of int or None, default None
        Output cells, one for all axes or one per axis.
    align_corners : bool, default False
        As torch's, for mode "linear".

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((4, 8), [Upsample(scale=2)]).output_shape
    (4, 16)
    """

    scale: PerAxis | None = None
    mode: str = "nearest"
    size: PerAxis | None = None
    align_corners: bool = False

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.size is None):
            raise SpecificationError(f"Upsample: give either scale or size, not scale={self.scale}, size={self.size}")
        _normalise(self, positive=("scale",) if self.size is None else ("size",))
        if self.mode not in ("nearest", "linear"):
            raise SpecificationError(f"{self}: mode is 'nearest' or 'linear', not {self.mode!r}")
        if self.align_corners and self.mode == "nearest":
            raise SpecificationError(f"{self}: only linear resizing aligns corners")

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        if self.size is not None:
            sizes = _axes(self, "size", self.size, len(spatial))
        else:
            assert self.scale is not None
            sizes = tuple(n * by for n, by in zip(spatial, _axes(self, "scale", self.scale, len(spatial)), strict=True))
        return tuple(ResizeWindow(size, self.mode, self.align_corners) for size in sizes)


@dataclass(frozen=True, slots=True)
class PixelShuffle(Rearrangement):
    """Channels to positions: (C r^d, *n) becomes (C, *(n r)); position r i + a reads channel c r^d + a (torch's order).

    Parameters
    ----------
    factor : int
        The factor r.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((8, 5, 5), [PixelShuffle(2)]).output_shape
    (2, 10, 10)
    """

    factor: int

    def __post_init__(self) -> None:
        _normalise(self, positive=("factor",))


@dataclass(frozen=True, slots=True)
class Slice(Rearrangement):
    """Channels start, start + 1, ..., stop - 1.

    Parameters
    ----------
    start : int
        The first channel.
    stop : int
        One past the last.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((8, 5), [Slice(2, 5)]).output_shape
    (3, 5)
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        _normalise(self, nonnegative=("start", "stop"))
        if self.stop <= self.start:
            raise SpecificationError(f"{self}: an empty slice of channels")


@dataclass(frozen=True, slots=True)
class ChannelShuffle(Rearrangement):
    """Channels as a (groups, C / groups) matrix, transposed: ShuffleNet's mixing (torch's `nn.ChannelShuffle`).

    Parameters
    ----------
    groups : int
        Groups, which divide the channels.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((8, 5), [ChannelShuffle(2)]).output_shape
    (8, 5)
    """

    groups: int

    def __post_init__(self) -> None:
        _normalise(self, positive=("groups",))


@dataclass(frozen=True, slots=True)
class Add(Summed):
    """The sum of two or more inputs of one shape."""


@dataclass(frozen=True, slots=True)
class Concat(Merge):
    """Two or more inputs side by side along the channel axis."""


@dataclass(frozen=True, slots=True)
class Flatten(Rearrangement):
    """(channels, *spatial) to (features,), the last axis running fastest (torch's order)."""


@dataclass(frozen=True, slots=True)
class Dense(Weighted):
    """A linear layer over (features,), after `Flatten`.

    Parameters
    ----------
    units : int
        Outputs.

    Examples
    --------
    >>> from lattice import Lattice
    >>> Lattice.chain((3, 4), [Flatten(), Dense(10)]).output_shape
    (10,)
    """

    units: int

    def __post_init__(self) -> None:
        _normalise(self, positive=("units",))


@dataclass(frozen=True, slots=True)
class Activation(Pointwise):
    """A pointwise function.

    Parameters
    ----------
    name : str, default "relu"
        Torch's name for it ("relu", "leaky_relu", ...).
    parameter : float or None, default None
        Its one parameter, if it has one.

    Examples
    --------
    >>> Activation("leaky_relu", 0.1).parameter
    0.1
    """

    name: str = "relu"
    parameter: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise SpecificationError(f"Activation: name is {self.name!r}; it is torch's name of a function, such as 'relu'")
        if self.parameter is not None and not is_real(self.parameter):
            raise SpecificationError(f"Activation: parameter is {self.parameter!r}; it is a finite number, or None")


@dataclass(frozen=True, slots=True)
class Norm(Pointwise):
    """A factor and a shift per channel; paths pass straight through.

    The numbers are not the lattice's: `landscape.Prior` has them.

    Parameters
    ----------
    kind : {"batch", "scale", "layer", "group", "instance"}, default "batch"
        "batch" (in evaluation mode) and "scale" (a product with a parameter or a number) multiply by what is known; "layer"
        (over the channels of a position), "group" (over `groups` of channels and all positions) and "instance" (over the
        positions of a channel) divide by the root of the values' own variance plus `eps`.
    groups : int, default 1
        Groups of channels of the kind "group".
    eps : float, default 0.0
        Added to the variance.

    Examples
    --------
    >>> Norm("group", groups=4).groups
    4
    """

    kind: str = "batch"
    groups: int = 1
    eps: float = 0.0

    def __post_init__(self) -> None:
        _normalise(self, positive=("groups",))
        if self.kind not in NORM_KINDS:
            raise SpecificationError(f"Norm: kind is {self.kind!r}; it is one of {', '.join(NORM_KINDS)}")
        if not is_real(self.eps) or self.eps < 0:
            raise SpecificationError(f"Norm: eps is {self.eps!r}; it is a finite number, and not negative")


@dataclass(frozen=True, slots=True)
class Multiply(Summed):
    """The product of two inputs, cell by cell: d(ab) = b da + a db, so that paths lead through both, in either order.

    An input may have one cell on an axis, or one channel, where the other has several: squeeze-and-excitation has one cell
    per channel, spatial attention one channel for all. What multiplies a path depends on the data, and is not in the lattice.
    """


@dataclass(frozen=True, slots=True)
class Dropout(Pointwise):
    """Dropout; it does nothing in evaluation mode.

    Parameters
    ----------
    p : float, default 0.5
        Probability of dropping; what is kept is divided by 1 - p.
    shared : {"unit", "channel", "sample"}, default "unit"
        What one mask entry is drawn for: each unit (torch's Dropout), each channel of a sample (Dropout2d), or each sample
        (stochastic depth).

    Examples
    --------
    >>> Dropout(0.1, shared="channel").p
    0.1
    """

    p: float = 0.5
    shared: str = "unit"

    def __post_init__(self) -> None:
        if self.shared not in MASKS:
            raise SpecificationError(f"Dropout: shared is {self.shared!r}; it is one of {', '.join(MASKS)}")
        if not is_real(self.p) or not 0 <= self.p <= 1:
            raise SpecificationError(f"Dropout: p is {self.p!r}; it is a probability, from 0 to 1")


# --- reading the parameters ----------------------------------------------------------------------------------------------


def _ints(op: object, name: str, value: object, least: int) -> tuple[int, ...]:
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
    sides = _ints(op, "padding", value, least=0)
    return sides if isinstance(value, tuple | list) else sides[0]


def _normalise(op: Op, positive: tuple[str, ...] = (), nonnegative: tuple[str, ...] = ()) -> None:
    """Check an op's parameters once, at construction, and turn lists and numpy integers into ints and tuples."""
    for field in fields(op):  # type: ignore[arg-type]
        name, value = field.name, getattr(op, field.name)
        if name in (*positive, *nonnegative):
            entries = _ints(op, name, value, least=1 if name in positive else 0)
            object.__setattr__(op, name, entries if isinstance(value, tuple | list) else entries[0])
        elif name == "padding" and not isinstance(value, str):
            pads = tuple(_sides(op, side) for side in value) if isinstance(value, tuple | list) else _sides(op, value)
            object.__setattr__(op, name, pads)
        elif name == "padding" and value not in ("same", "valid"):
            raise SpecificationError(f"{type(op).__name__}: padding is {value!r}; a name is 'same' or 'valid'")
        elif name == "kind" and isinstance(op, Windowed) and value not in POOL_KINDS:
            raise SpecificationError(f"{type(op).__name__}: kind is {value!r}; it is one of {', '.join(POOL_KINDS)}")
        elif name == "mode" and not isinstance(op, Upsample) and value not in PADDING_MODES:
            raise SpecificationError(f"{type(op).__name__}: mode is {value!r}; it is one of {', '.join(PADDING_MODES)}")


def _axes(op: Op, name: str, value: PerAxis, axes: int) -> tuple[int, ...]:
    """One value per axis."""
    if isinstance(value, int):
        return (value,) * axes
    if len(value) != axes:
        raise SpecificationError(f"{op}: {name} has {len(value)} entries and the input has {axes} spatial axes")
    return value


def _pairs(op: Op, padding: int | tuple[int | tuple[int, int], ...], axes: int) -> tuple[tuple[int, int], ...]:
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


def _sliding(
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
    kernels = _axes(op, "kernel", kernel, axes)
    strides = _axes(op, "stride", stride, axes)
    dilations = _axes(op, "dilation", dilation, axes)
    if padding == "same":
        totals = (
            max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, k, s, d in zip(spatial, kernels, strides, dilations, strict=True)
        )
        pads = tuple((total // 2, total - total // 2) for total in totals)
    else:
        pads = _pairs(op, 0 if isinstance(padding, str) else padding, axes)
    return tuple(Window(k, s, d, p, mode, ceil) for k, s, d, p in zip(kernels, strides, dilations, pads, strict=True))
