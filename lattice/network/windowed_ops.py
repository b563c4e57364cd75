"""The ops that read neighbourhoods: convolutions, pools, paddings, fixed filters, resizes."""

from dataclasses import dataclass

from lattice.checks import is_real
from lattice.errors import SpecificationError
from lattice.network.parameters import Padding, PerAxis, normalise, per_axis, per_side, sliding
from lattice.network.traits import Pooling, Shape, WeightedWindow, Windowed
from lattice.network.windows.axis import AxisMap
from lattice.network.windows.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.windows.window import FilterWindow, TransposedWindow, Window

__all__ = ["AdaptivePool", "Blur", "Conv", "ConvTranspose", "GlobalPool", "Pad", "Pool", "Upsample"]


@dataclass(frozen=True, slots=True)
class Conv(WeightedWindow):
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
        normalise(self, positive=("channels", "kernel", "stride", "dilation", "groups"))
        if self.channels % self.groups:
            raise SpecificationError(f"{self}: {self.channels} channels do not divide into {self.groups} groups")

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        return sliding(self, spatial, self.kernel, self.stride, self.dilation, self.padding, self.mode)


@dataclass(frozen=True, slots=True)
class ConvTranspose(WeightedWindow):
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
        normalise(self, positive=("channels", "kernel", "stride", "dilation", "groups"), nonnegative=("output_padding",))
        if self.channels % self.groups:
            raise SpecificationError(f"{self}: {self.channels} channels do not divide into {self.groups} groups")

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        axes = len(spatial)
        if isinstance(self.padding, str):
            raise SpecificationError(f"{self}: a transposed convolution takes its padding in cells")
        parts = zip(
            per_axis(self, "kernel", self.kernel, axes),
            per_axis(self, "stride", self.stride, axes),
            per_axis(self, "dilation", self.dilation, axes),
            per_side(self, self.padding, axes),
            per_axis(self, "output_padding", self.output_padding, axes),
            strict=True,
        )
        return tuple(TransposedWindow(k, s, d, p, o) for k, s, d, p, o in parts)


@dataclass(frozen=True, slots=True)
class Pool(Pooling):
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
        normalise(self, positive=("kernel", "stride", "dilation"))

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        assert self.stride is not None
        return sliding(self, spatial, self.kernel, self.stride, self.dilation, self.padding, "zeros", self.ceil)


@dataclass(frozen=True, slots=True)
class AdaptivePool(Pooling):
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
        normalise(self, positive=("size",))

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        # Bins of equal size are an ordinary pool, which is faster and easier to analyse.
        sizes = per_axis(self, "size", self.size, len(spatial))
        return tuple(
            AdaptiveWindow(m) if n % m else Window(kernel=n // m, stride=n // m) for n, m in zip(spatial, sizes, strict=True)
        )


@dataclass(frozen=True, slots=True)
class GlobalPool(Pooling):
    """Average or maximum over all positions; keeps one position, so that `Flatten` gives one feature per channel.

    Parameters
    ----------
    kind : {"avg", "max"}, default "avg"
        Average or maximum.

    Examples
    --------
    >>> from lattice import Flatten, Lattice
    >>> Lattice.chain((4, 9, 9), [GlobalPool("avg"), Flatten()]).output_shape
    (4,)
    """

    kind: str = "avg"

    def __post_init__(self) -> None:
        normalise(self)

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
        normalise(self)

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        return sliding(self, spatial, 1, 1, 1, self.padding, self.mode)


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
        normalise(self, positive=("stride",))
        taps = tuple(self.taps) if isinstance(self.taps, tuple | list) else ()
        if not taps or not all(is_real(tap) and tap > 0 for tap in taps):
            raise SpecificationError(f"Blur: taps is {self.taps!r}; it takes positive numbers, for example (1, 2, 1)")
        object.__setattr__(self, "taps", taps)

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        parts = sliding(self, spatial, len(self.taps), self.stride, 1, self.padding, self.mode)
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
        normalise(self, positive=("scale",) if self.size is None else ("size",), modes=())
        if self.mode not in ("nearest", "linear"):
            raise SpecificationError(f"{self}: mode is 'nearest' or 'linear', not {self.mode!r}")
        if self.align_corners and self.mode == "nearest":
            raise SpecificationError(f"{self}: only linear resizing aligns corners")

    def windows(self, spatial: Shape) -> tuple[AxisMap, ...]:
        if self.size is not None:
            sizes = per_axis(self, "size", self.size, len(spatial))
        else:
            assert self.scale is not None
            sizes = tuple(n * by for n, by in zip(spatial, per_axis(self, "scale", self.scale, len(spatial)), strict=True))
        return tuple(ResizeWindow(size, self.mode, self.align_corners) for size in sizes)
