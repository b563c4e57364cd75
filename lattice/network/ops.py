"""The closed family of layers that a lattice is made of: frozen values, and the shape that each one produces.

An op says what a layer reads and nothing about the values of its weights. Spatial parameters are one int for all axes
or a tuple with one per axis; each entry of a padding may also be a pair (lo, hi). Shapes are (channels, *spatial);
`Flatten` makes (features,), which `Dense` reads.
"""

from dataclasses import dataclass

from lattice.checks import is_real
from lattice.errors import SpecificationError
from lattice.network.parameters import ints, normalise
from lattice.network.traits import (
    Merge,
    Op,
    Pointwise,
    Pooling,
    Rearrangement,
    Shape,
    Summed,
    Weighted,
    WeightedWindow,
    Windowed,
)
from lattice.network.windowed_ops import AdaptivePool, Blur, Conv, ConvTranspose, GlobalPool, Pad, Pool, Upsample

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
    "Shape",
    "Weighted",
    "WeightedWindow",
    "Windowed",
]

NORM_KINDS = ("batch", "scale", "layer", "rms", "group", "instance")
MASKS = ("unit", "channel", "sample")  # what one mask of a dropout is drawn for


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
        object.__setattr__(self, "shape", ints(self, "shape", self.shape, least=1))
        if not 1 <= len(self.shape) <= 4:
            raise SpecificationError(f"{self}: an input has a channel axis and at most three spatial axes")


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
        normalise(self, positive=("factor",))


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
        normalise(self, nonnegative=("start", "stop"))
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
        normalise(self, positive=("groups",))


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
        normalise(self, positive=("units",))


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
    kind : {"batch", "scale", "layer", "rms", "group", "instance"}, default "batch"
        "batch" (in evaluation mode) and "scale" (a product with a parameter or a number) multiply by what is known; "layer"
        (over the channels of a position), "rms" (the same without a mean to subtract), "group" (over `groups` of channels and
        all positions) and "instance" (over the positions of a channel) divide by the root of the values' own variance plus
        `eps`.
    groups : int, default 1
        Groups of channels of the kinds "layer", "rms" and "group".
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
        normalise(self, positive=("groups",))
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
