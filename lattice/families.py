"""The named lattices of the paper, the notebooks and the tests."""

from collections.abc import Sequence
from typing import Any

from lattice.checks import is_whole, whole
from lattice.errors import SpecificationError
from lattice.network.branches import Layer, residual
from lattice.network.lattice import Lattice
from lattice.network.ops import Activation, Conv, Dense, Flatten, GlobalPool, Norm, Pool, Shape
from lattice.network.parameters import Padding, PerAxis

__all__ = ["bottleneck_resnet", "plain", "resnet", "vgg"]


def plain(
    size: int | Sequence[int],
    depth: int,
    kernel: PerAxis = 3,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    channels: int = 1,
    mode: str = "zeros",
    activation: str | None = None,
) -> Lattice:
    """`depth` equal convolutions over one input channel: the paper's archetypal CNN (Figure 1).

    Parameters
    ----------
    size : int or sequence of int
        Spatial size of the input: one axis, or one entry per axis.
    depth : int
        Number of layers, at least 0.
    kernel : int or tuple of int, default 3
        Kernel size, one for all axes or one per axis; likewise stride and dilation.
    stride : int or tuple of int, default 1
        Stride.
    padding : int or tuple, default 0
        Padding, as for `Conv`.
    dilation : int or tuple of int, default 1
        Dilation.
    channels : int, default 1
        Width of every layer.
    mode : str, default "zeros"
        What padded cells hold, as for `Conv`.
    activation : str or None, default None
        Torch's name of an activation behind every layer.

    Returns
    -------
    Lattice
        The network, over an input of shape (1, *size).

    Raises
    ------
    SpecificationError
        If an argument is out of its range, or a layer does not fit.

    Examples
    --------
    >>> plain(5, depth=2).output_shape
    (1, 1)
    """
    layer: list[Layer] = [Conv(channels, kernel, stride, padding, dilation, mode=mode)]
    if activation:
        layer.append(Activation(activation))
    given: Any = size
    if not is_whole(given) and not isinstance(given, Sequence):
        raise SpecificationError(f"size is {size!r}; it is the number of input cells, or one for each axis")
    spatial = (given,) if is_whole(given) else tuple(given)
    return Lattice.chain((1, *spatial), layer * whole("depth", depth, 0))


def resnet(
    input_shape: Shape = (3, 224, 224), blocks: Sequence[int] = (2, 2, 2, 2), *, width: int = 64, classes: int = 1000
) -> Lattice:
    """A post-activation ResNet of basic blocks (He et al. 2016): ResNet-18 by default, ResNet-34 with (3, 4, 6, 3).

    `Norm` stands for batch normalisation.

    Parameters
    ----------
    input_shape : tuple of int, default (3, 224, 224)
        Shape of one input, (channels, height, width).
    blocks : sequence of int, default (2, 2, 2, 2)
        Number of blocks of each stage.
    width : int, default 64
        Channels of the first stage; each later one has twice as many.
    classes : int, default 1000
        Outputs of the head.

    Returns
    -------
    Lattice
        The network, with output shape (classes,).

    Raises
    ------
    SpecificationError
        If `blocks` is not a sequence of positive whole numbers, or a layer does not fit.

    Examples
    --------
    >>> resnet((3, 64, 64)).output_shape
    (1000,)
    """

    def body(channels: int, stride: int) -> list[Layer]:
        return [
            *_conv_norm(channels, 3, stride, padding=1),
            Activation("relu"),
            *_conv_norm(channels, 3, 1, padding=1),
        ]

    return Lattice.chain(input_shape, _resnet(body, 1, blocks, width, classes))


def bottleneck_resnet(
    input_shape: Shape = (3, 224, 224), blocks: Sequence[int] = (3, 4, 6, 3), *, width: int = 64, classes: int = 1000
) -> Lattice:
    """A ResNet of bottleneck blocks, the stride in the 3x3 layer as in torchvision: ResNet-50 by default.

    Parameters
    ----------
    input_shape : tuple of int, default (3, 224, 224)
        Shape of one input, (channels, height, width).
    blocks : sequence of int, default (3, 4, 6, 3)
        Number of blocks of each stage.
    width : int, default 64
        Inner channels of the first stage; each later one has twice as many.
    classes : int, default 1000
        Outputs of the head.

    Returns
    -------
    Lattice
        The network, with output shape (classes,).

    Raises
    ------
    SpecificationError
        If `blocks` is not a sequence of positive whole numbers, or a layer does not fit.

    Examples
    --------
    >>> bottleneck_resnet().output_shape
    (1000,)
    """

    def body(channels: int, stride: int) -> list[Layer]:
        return [
            *_conv_norm(channels, 1, 1),
            Activation("relu"),
            *_conv_norm(channels, 3, stride, padding=1),
            Activation("relu"),
            *_conv_norm(4 * channels, 1, 1),
        ]

    return Lattice.chain(input_shape, _resnet(body, 4, blocks, width, classes))


def _conv_norm(channels: int, kernel: int, stride: int, padding: int = 0) -> list[Layer]:
    return [Conv(channels, kernel, stride, padding), Norm()]


def _resnet(body, expansion: int, blocks: Sequence[int], width: int, classes: int) -> list[Layer]:  # type: ignore[no-untyped-def]
    layers: list[Layer] = [*_conv_norm(width, 7, 2, padding=3), Activation("relu"), Pool("max", 3, 2, padding=1)]
    below = width
    if not isinstance(blocks, Sequence) or not all(is_whole(count) and count > 0 for count in blocks):
        raise SpecificationError(f"blocks is {blocks!r}; it is the number of blocks of each stage, for example (2, 2, 2, 2)")
    for stage, count in enumerate(blocks):
        channels = width * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            changes = stride > 1 or below != expansion * channels
            shortcut = _conv_norm(expansion * channels, 1, stride) if changes else []
            layers += [residual(body(channels, stride), shortcut), Activation("relu")]
            below = expansion * channels
    return [*layers, GlobalPool("avg"), Flatten(), Dense(classes)]


def vgg(
    input_shape: Shape = (3, 224, 224),
    stages: Sequence[Sequence[int]] = ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    *,
    norm: bool = False,
    classes: int = 1000,
) -> Lattice:
    """A VGG net (Simonyan & Zisserman 2014), with one dense layer as its head: VGG-11's features by default.

    Parameters
    ----------
    input_shape : tuple of int, default (3, 224, 224)
        Shape of one input, (channels, height, width).
    stages : sequence of sequences of int
        Channels of each stage's 3x3 convolutions; a 2x2 max-pool ends every stage.
    norm : bool, default False
        Whether a `Norm` (batch normalisation) follows every convolution.
    classes : int, default 1000
        Outputs of the head.

    Returns
    -------
    Lattice
        The network, with output shape (classes,).

    Raises
    ------
    SpecificationError
        If `stages` is not a sequence of sequences, or a layer does not fit.

    Examples
    --------
    >>> vgg((3, 32, 32), classes=10).output_shape
    (10,)
    """
    layers: list[Layer] = []
    if not isinstance(stages, Sequence) or not all(isinstance(stage, Sequence) for stage in stages):
        raise SpecificationError(f"stages is {stages!r}; it is the channels of each stage's layers, as ((64,), (128,))")
    for stage in stages:
        for channels in stage:
            layers += [Conv(channels, 3, padding=1), *([Norm()] if norm else []), Activation("relu")]
        layers.append(Pool("max", 2))
    return Lattice.chain(input_shape, [*layers, Flatten(), Dense(classes)])
