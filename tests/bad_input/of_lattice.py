"""Bad and strange requests to `lattice`: its layers, axis maps, routes, counts, closed forms, symbols, geometry, drawings."""

from fractions import Fraction

import numpy as np

import lattice
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Attention,
    Blur,
    Branch,
    ChannelShuffle,
    Command,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    IrregularLatticeError,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pad,
    PixelShuffle,
    Pool,
    Rearrange,
    Resample,
    ResourceError,
    Slice,
    Unit,
    UnsupportedError,
    Upsample,
    Window,
    families,
    residual,
)
from lattice.closed_forms.formulas import PascalNumber, pascal_formula, residual_formula, strip_formula
from lattice.closed_forms.limits import Moments
from lattice.counts.counting import spatial_lattice
from lattice.geometry.receptive_field import last_map
from lattice.network.branches import Branches
from lattice.network.rearrange import ListedWindow
from lattice.network.shapes import output_shape
from lattice.network.windows.axis import AxisMap
from lattice.network.windows.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.windows.window import FilterWindow, TransposedWindow
from tests.bad_input.table import answered, refused, refuses, table

HUGE = 2**40
FORK = Lattice.chain((1, 5), [lattice.residual([Conv(1, 3, padding=1)], [Conv(1, 1)])])
LINE = Lattice.chain((2, 8), [Conv(3, 3, padding=1), Conv(2, 3)])  # two channels, eight cells, six outputs
FLAT = Lattice.chain((1, 4), [Flatten(), Dense(3)])
SKIPPED = Lattice.chain((1, 4), [residual([Conv(1, 3, padding=1)])])
DEEP = families.plain(9, 4)


def listed(*cells):
    return ListedWindow(tuple((cell,) for cell in cells))


def masked(*cells):
    return Attention(reads=(listed(*cells).cells,))


def rearranged(channels, size, take=None):
    return Rearrange(((channels,), (size,)), ((0,), (1,)), (None, take))


def over(*layers, shape=(2, 8)):
    return Lattice.chain(shape, layers)


OPS = table(
    {
        "lattice.Input": [
            refused("no channels", lambda _: Input((0, 8)), "the least is 1"),
            refused("a negative size", lambda _: Input((1, -3)), "the least is 1"),
            refused("four spatial axes", lambda _: Input((1, 2, 2, 2, 2)), "at most three spatial axes"),
            refused("a string", lambda _: Input("3x8"), "takes whole numbers"),
            refused("a float", lambda _: Input((1, 8.0)), "takes whole numbers"),
            refused("nothing", lambda _: Input(()), "channel axis"),
            refused("a second one in a chain", lambda _: over(Input((2, 8))), "is not a layer"),
            answered("numpy integers", lambda _: Input((np.int64(2), np.uint8(8))).shape, (2, 8)),
        ],
        "lattice.Conv": [
            refused("kernel 0", lambda _: Conv(1, 0), "kernel is 0; the least is 1"),
            refused("stride 0", lambda _: Conv(1, 3, stride=0), "stride is 0; the least is 1"),
            refused("dilation 0", lambda _: Conv(1, 3, dilation=0), "dilation is 0; the least is 1"),
            refused("a negative stride", lambda _: Conv(1, 3, stride=-2), "stride is -2; the least is 1"),
            refused("a float stride", lambda _: Conv(1, 3, stride=2.0), "stride is 2.0; it takes whole numbers"),
            refused("a bool stride", lambda _: Conv(1, 3, stride=True), "stride is True; it takes whole numbers"),
            refused("a NaN kernel", lambda _: Conv(1, float("nan")), "kernel is nan"),
            refused("None for a kernel", lambda _: Conv(1, None), "kernel is None"),
            refused("no channels", lambda _: Conv(0, 3), "channels is 0"),
            refused("a tuple of channels", lambda _: Conv((4, 4), 3), "channels is (4, 4)"),
            refused("an empty kernel", lambda _: Conv(1, ()), "kernel is ()"),
            refused("channels that do not divide", lambda _: Conv(3, 3, groups=2), "do not divide into 2 groups"),
            refused("groups that do not divide the input", lambda _: over(Conv(4, 3, groups=4)), "2 input channels"),
            refused("negative padding", lambda _: Conv(1, 3, padding=-1), "padding is -1; the least is 0"),
            refused("an unknown padding", lambda _: Conv(1, 3, padding="full"), "'same' or 'valid'"),
            refused("an unknown mode", lambda _: Conv(1, 3, mode="mirror"), "mode is 'mirror'; it is one of zeros"),
            refused("a mode that is a list", lambda _: Conv(1, 3, mode=["zeros"]), "mode is ['zeros']"),
            refused("three numbers for a side", lambda _: over(Conv(1, 3, padding=((1, 2, 3),))), "does not fit 1"),
            refused("two kernels on one axis", lambda _: over(Conv(1, (3, 3))), "conv1: Conv(1, kernel=(3, 3))"),
            refused("a kernel larger than its input", lambda _: over(Conv(1, 9)), "a kernel of 9"),
            refused("a huge kernel", lambda _: over(Conv(1, HUGE)), "spans 1099511627776 cells"),
            refused("a huge dilation", lambda _: over(Conv(1, 3, dilation=HUGE)), "but the padded input has only 8"),
            refused("reflection of more than there is", lambda _: over(Conv(1, 3, padding=8, mode="reflect")), "at most 7"),
            answered("a huge stride", lambda _: over(Conv(1, 3, stride=HUGE)).output_shape, (1, 1)),
            answered("a kernel as large as its padded input", lambda _: over(Conv(1, 10, padding=1)).output_shape, (1, 1)),
            answered("numpy integers", lambda _: Conv(np.int64(4), np.int32(3)), Conv(4, 3)),
            answered("a list of kernels", lambda _: hash(Conv(1, [3, 3])), hash(Conv(1, (3, 3)))),
        ],
        "lattice.ConvTranspose": [
            refused("padding that leaves nothing", lambda _: over(ConvTranspose(1, 1, padding=4)), "no output"),
            refused("a named padding", lambda _: over(ConvTranspose(1, 3, padding="same")), "in cells"),
            refused("negative output padding", lambda _: ConvTranspose(1, 3, output_padding=-1), "least is 0"),
            answered(
                "output padding beyond what torch has",
                lambda _: over(ConvTranspose(1, 3, 2, output_padding=5)).output_shape,
                (1, 22),
            ),
            answered(
                "a stride above its kernel", lambda _: lattice.path_counts(over(ConvTranspose(1, 1, 3), shape=(1, 2))), [1, 1]
            ),
        ],
        "lattice.Pool": [
            refused("an unknown kind", lambda _: Pool("median", 2), "kind is 'median'; it is one of avg, max"),
            refused("a kind that is a list", lambda _: Pool(["avg"], 2), "kind is ['avg']"),
            refused("a kernel larger than its input", lambda _: over(Pool("max", 9)), "pool1"),
            refused("kernel and kind changed places", lambda _: Pool(2, "avg"), "kind is 2"),
            answered("one cell", lambda _: lattice.path_counts(over(Pool("avg", 1))), [1] * 8),
        ],
        "lattice.GlobalPool": [
            refused("a flat input", lambda _: over(Flatten(), GlobalPool()), "reads (channels, *spatial)"),
            refused("an unknown kind", lambda _: GlobalPool("sum"), "kind is 'sum'"),
        ],
        "lattice.AdaptivePool": [
            refused("size 0", lambda _: AdaptivePool("avg", 0), "size is 0"),
            refused("two sizes on one axis", lambda _: over(AdaptivePool("avg", (2, 2))), "size has 2 entries"),
            answered("more bins than cells", lambda _: lattice.path_counts(over(AdaptivePool("avg", 3), shape=(1, 2))), [2, 2]),
        ],
        "lattice.Pad": [
            refused("circular padding of more than there is", lambda _: over(Pad(9, mode="circular")), "at most 8 a side"),
            refused("an unknown mode", lambda _: Pad(1, mode="constant"), "mode is 'constant'"),
            refused("half a cell", lambda _: Pad(0.5), "takes whole numbers"),
            answered("nothing", lambda _: over(Pad(0)).output_shape, (2, 8)),
        ],
        "lattice.Blur": [
            refused("a negative tap", lambda _: Blur((1, -2, 1)), "takes positive numbers"),
            refused("a tap of 0", lambda _: Blur((1, 0, 1)), "takes positive numbers"),
            refused("a NaN tap", lambda _: Blur((1, float("nan"))), "takes positive numbers"),
            refused("no taps", lambda _: Blur(()), "takes positive numbers"),
            refused("bool taps", lambda _: Blur((True, False)), "takes positive numbers"),
            refused("a number", lambda _: Blur(3), "takes positive numbers"),
            answered("one tap", lambda _: over(Blur((5,))).output_shape, (2, 8)),
        ],
        "lattice.Upsample": [
            refused("neither scale nor size", lambda _: Upsample(), "give either scale or size"),
            refused("scale and size", lambda _: Upsample(2, size=4), "give either scale or size"),
            refused("scale 0", lambda _: Upsample(0), "scale is 0"),
            refused("a scale of 1.5", lambda _: Upsample(1.5), "takes whole numbers"),
            refused("cubic", lambda _: Upsample(2, mode="cubic"), "mode is 'nearest' or 'linear'"),
            refused("nearest with aligned corners", lambda _: Upsample(2, align_corners=True), "only linear resizing"),
            answered("downwards", lambda _: lattice.path_counts(over(Upsample(size=2), shape=(1, 4))), [1, 0, 1, 0]),
        ],
        "lattice.PixelShuffle": [
            refused("too few channels", lambda _: over(PixelShuffle(3)), "not a multiple of 3^1"),
            refused("factor 0", lambda _: PixelShuffle(0), "factor is 0"),
            refused("a pair", lambda _: PixelShuffle((2, 2)), "factor is (2, 2)"),
        ],
        "lattice.Slice": [
            refused("channels that are not there", lambda _: over(Slice(0, 3)), "has 2 channels only"),
            refused("nothing", lambda _: Slice(1, 1), "an empty slice"),
            refused("from the end", lambda _: Slice(-2, -1), "the least is 0"),
            refused("a pair", lambda _: Slice((0, 1), 2), "start is (0, 1)"),
        ],
        "lattice.ChannelShuffle": [
            refused("groups that do not divide", lambda _: over(ChannelShuffle(3)), "do not divide into 3"),
        ],
        "lattice.Concat": [
            refused("one input", lambda _: over(lattice.concatenate([])), "two or more inputs"),
            refused("two sizes", lambda _: over(lattice.concatenate([], [Conv(1, 3)])), "of one spatial size"),
        ],
        "lattice.Add": [
            refused("one input", lambda _: over(Add()), "two or more inputs"),
            refused("two shapes", lambda _: over(residual([Conv(2, 3)])), "of one shape, not (2, 6), (2, 8)"),
            answered("one thing twice", lambda _: lattice.path_counts(over(residual([]), shape=(1, 2))), [2, 2]),
        ],
        "lattice.Multiply": [
            refused(
                "a gate of another size", lambda _: over(Branches(((), (Pool("avg", 2),)), Multiply())), "takes two inputs"
            ),
            refused("one input", lambda _: over(Multiply()), "takes two inputs"),
        ],
        "lattice.Rearrange": [
            refused("factors that are numbers", lambda _: Rearrange((2, 8), (0, 1)), "factors is (2, 8)"),
            refused("no axes", lambda _: Rearrange((), ()), "an output has a channel axis"),
            refused("a factor of 0", lambda _: Rearrange(((2,), (0,)), ((0,), (1,))), "whole numbers from 1"),
            refused("a factor in no group", lambda _: Rearrange(((2,), (8,)), ((0,),)), "stands in one group"),
            refused("a factor in two groups", lambda _: Rearrange(((2,), (8,)), ((0,), (0,))), "stands in one group"),
            refused("a group of letters", lambda _: Rearrange(((2,), (8,)), (("c",), ("w",))), "groups (('c',), ('w',))"),
            refused("a cell of -2", lambda _: rearranged(2, 1, take=(-2,)), "takes cells or -1"),
            refused("cells of one axis of two", lambda _: Rearrange(((2,), (8,)), ((0,), (1,)), (None,)), "one entry for each"),
            refused("a size that its factors have not", lambda _: over(rearranged(2, 9)), "8 cells does not split into (9,)"),
            refused("a cell beyond its input", lambda _: over(rearranged(2, 1, take=(8,))), "keeps cell 8 of an axis of 8"),
            answered(
                "one cell twice and another never",
                lambda _: lattice.path_counts(over(rearranged(2, 3, take=(0, 0, 7))), input_channel=1),
                [2, 0, 0, 0, 0, 0, 0, 1],
            ),
        ],
        "lattice.Resample": [
            refused("no axes", lambda _: Resample(()), "one ListedWindow for each axis"),
            refused("a number", lambda _: Resample(3), "axes is 3"),
            refused("another axis map", lambda _: Resample((Window(3),)), "one ListedWindow for each axis"),
            refused("two axes over one", lambda _: over(Resample((listed(0), listed(0)))), "has 2 axes, and the input 1"),
            refused("a cell beyond its input", lambda _: over(Resample((listed(8),))), "reads cell 8, and the input has 8"),
            answered("the last cell, then none", lambda _: over(Resample((listed(7, -1),))).output_shape, (2, 2)),
        ],
        "lattice.network.rearrange.ListedWindow": [
            refused("no outputs", lambda _: ListedWindow(()), "cells is ()"),
            refused("cells without their rows", lambda _: ListedWindow((0, 1)), "cells is (0, 1)"),
            refused("half a cell", lambda _: listed(0.5), "the cells of each output"),
            refused("fewer weights than cells", lambda _: ListedWindow(((0, 1),), ((1.0,),)), "one finite number for each"),
            refused("a number for weights", lambda _: ListedWindow(((0,),), 3), "one finite number for each"),
            refused("a NaN weight", lambda _: ListedWindow(((0,),), ((float("nan"),),)), "one finite number for each"),
            answered("an output that reads nothing", lambda _: listed(-1).matrix(2), np.zeros((1, 2))),
        ],
        "lattice.Attention": [
            refused("no heads", lambda _: Attention(0), "heads is 0"),
            refused("a NaN scale", lambda _: Attention(scale=float("nan")), "scale is nan"),
            refused("a number for what is read", lambda _: Attention(reads=3), "reads is 3"),
            refused("cells without their rows", lambda _: Attention(reads=((0, 1),)), "reads is ((0, 1),)"),
            refused("one input", lambda _: over(Attention()), "has 1 inputs; it takes queries, keys and values"),
            refused("keys of other channels", lambda _: output_shape(Attention(), (4, 2), (6, 3), (4, 3)), "as many channels"),
            refused("heads that do not divide", lambda _: output_shape(Attention(3), *[(4, 2)] * 3), "divide into 3 heads"),
            refused("a mask of fewer queries", lambda _: output_shape(masked(0), *[(4, 2)] * 3), "the queries have 2"),
            refused("a mask beyond the keys", lambda _: output_shape(masked(0, 9), *[(4, 2)] * 3), "reads cell 9"),
            answered(
                "queries elsewhere than the keys",
                lambda _: output_shape(
                    Attention(),
                    (4, 2),
                    (
                        4,
                        3,
                    ),
                    (6, 3),
                ),
                (6, 2),
            ),
        ],
        "lattice.Dense": [
            refused("no units", lambda _: Dense(0), "units is 0"),
            refused("positions", lambda _: over(Dense(3)), "put Flatten() before it"),
        ],
        "lattice.Flatten": [
            refused("a parameter", lambda _: over(Flatten(), Conv(1, 1)), "reads (channels, *spatial), not (16,)"),
            answered("twice", lambda _: over(Flatten(), Flatten()).output_shape, (16,)),
        ],
        "lattice.Activation": [
            refused("a number for a name", lambda _: Activation(3), "name is 3"),
            refused("a NaN parameter", lambda _: Activation("leaky_relu", float("nan")), "parameter is nan"),
            refused("a parameter that is a word", lambda _: Activation("leaky_relu", "0.1"), "parameter is '0.1'"),
        ],
        "lattice.Norm": [
            refused("an unknown kind", lambda _: Norm("spectral"), "kind is 'spectral'"),
            refused("groups that do not divide", lambda _: over(Norm("group", 3)), "do not divide into 3 groups"),
            refused("a negative epsilon", lambda _: Norm("layer", eps=-1.0), "eps is -1.0"),
            refused("a NaN epsilon", lambda _: Norm("layer", eps=float("nan")), "eps is nan"),
        ],
        "lattice.Dropout": [
            refused("a probability of 2", lambda _: Dropout(2.0), "p is 2.0"),
            refused("a NaN probability", lambda _: Dropout(float("nan")), "p is nan"),
        ],
        "lattice.Op": [
            refused("an op without rules", lambda _: over(_Mystery()), "no shape rule for"),
        ],
        "lattice.network.windows.axis.AxisMap": [
            refused("a map that says nothing", lambda _: AxisMap(), "abstract", TypeError),
        ],
        "lattice.Window": [
            refused("stride 0", lambda _: Window(3, stride=0), "stride is 0"),
            refused("dilation -1", lambda _: Window(3, dilation=-1), "dilation is -1"),
            refused("an unknown mode", lambda _: Window(3, padding=(1, 1), mode="mirror"), "mode is 'mirror'"),
            refused("a padding for one side", lambda _: Window(3, padding=1), "padding is 1"),
            refused("no cells", lambda _: Window(1).outputs(0), "0"),
        ],
        "lattice.network.windows.window.FilterWindow": [
            refused("more weights than taps", lambda _: FilterWindow(3, weights=(1.0,)), "weights"),
            refused("a NaN weight", lambda _: FilterWindow(1, weights=(float("nan"),)), "weights"),
        ],
        "lattice.network.windows.window.TransposedWindow": [
            refused("kernel 0", lambda _: TransposedWindow(0), "kernel is 0"),
        ],
        "lattice.network.windows.resizing.AdaptiveWindow": [
            refused("size 0", lambda _: AdaptiveWindow(0), "size is 0"),
        ],
        "lattice.network.windows.resizing.ResizeWindow": [
            refused("size -1", lambda _: ResizeWindow(-1), "size is -1"),
            refused("an unknown mode", lambda _: ResizeWindow(4, "cubic"), "mode is 'cubic'"),
        ],
    }
)


class _Mystery(lattice.Op):
    pass


LATTICES = table(
    {
        "lattice.Lattice": [
            refused("no nodes", lambda _: Lattice(()), "first node of a lattice is its Input"),
            refused("a shape for nodes", lambda _: Lattice((1, 8)), "nodes"),
            refused("a number", lambda _: Lattice(3), "nodes"),
            refused("layers that are a word", lambda _: over("conv"), "'conv' is not a layer"),
            refused("a layer that was not put into a list", lambda _: Lattice.chain((1, 8), Conv(1, 3)), "layers"),
            refused(
                "a layer that nothing reads",
                lambda _: Lattice((*LINE.nodes, Node("stray", Conv(1, 1), (0,)))),
                "no layer reads conv2",
            ),
            refused(
                "a name that is used twice",
                lambda _: Lattice((*LINE.nodes, Node("conv1", Conv(1, 1), (2,)))),
                "two nodes are called",
            ),
            refused("an empty output", lambda _: over(Conv(1, 3), Conv(1, 7)), "conv2"),
            answered("no layers", lambda _: lattice.path_counts(over()), [1] * 8),
        ],
        "lattice.Node": [
            refused(
                "a node that reads itself",
                lambda _: Lattice((Node("input", Input((1, 4))), Node("a", Conv(1, 1), (1,)))),
                "stand before it",
            ),
            refused(
                "a node that reads what comes later",
                lambda _: Lattice((Node("input", Input((1, 4))), Node("a", Conv(1, 1), (7,)))),
                "stand before it",
            ),
            refused(
                "a node that reads a name",
                lambda _: Lattice((Node("input", Input((1, 4))), Node("a", Conv(1, 1), ("input",)))),
                "'input'",
            ),
            refused("a node without an op", lambda _: Lattice((Node("input", Input((1, 4))), Node("a", None, (0,)))), "a"),
        ],
        "lattice.Unit": [
            refused("a channel that is not there", lambda _: LINE.unit(Unit((0,), 2)), "no unit at position (0,), channel 2"),
            refused("a negative position", lambda _: LINE.unit(-1), "no unit at position (-1,)"),
            refused("a float position", lambda _: LINE.unit((1.0,)), "no unit at position (1.0,)"),
            refused("a bool position", lambda _: LINE.unit(True), "no unit at position (True,)"),
            refused("a word", lambda _: LINE.unit("0"), "no unit at position ('0',)"),
            refused("a bare number as position of a Unit", lambda _: LINE.unit(Unit(3)), "no unit at position 3"),
            refused("a position in a flat layer", lambda _: FLAT.unit(0), "its units have position ()"),
        ],
        "lattice.network.branches.Branches": [
            refused("another merge", lambda _: over(Branches(((), ()), Conv(1, 1))), "does not take 2 inputs"),
            refused("no chains", lambda _: over(Branches((), Add())), "a node reads nodes that stand before it"),
        ],
        "lattice.residual": [
            refused("an op without its list", lambda _: residual(Conv(1, 3)), "list"),
        ],
        "lattice.concatenate": [
            refused("ops without their lists", lambda _: lattice.concatenate(Conv(1, 3), Conv(1, 3)), "list"),
        ],
        "lattice.families": [
            refused("no cells", lambda _: families.plain(0, 3), "the least is 1"),
            refused("a depth of -1", lambda _: families.plain(9, -1), "depth is -1"),
            refused("a float depth", lambda _: families.plain(9, 2.0), "depth is 2.0"),
            refused("a size of words", lambda _: families.plain("12", 2), "takes whole numbers"),
            refused("a float size", lambda _: families.plain(12.0, 2), "size is 12.0"),
            refused("an image that a ResNet eats up", lambda _: families.vgg((3, 8, 8)), "pool4"),
            refused("a ResNet of no width", lambda _: families.resnet((3, 32, 32), width=0), "channels is 0"),
            refused("a ResNet of a negative number of blocks", lambda _: families.resnet((3, 32, 32), (2, -1)), "blocks"),
            refused("a ResNet of one number of blocks", lambda _: families.resnet((3, 32, 32), 2), "blocks"),
            refused(
                "classes that are a word", lambda _: families.bottleneck_resnet((3, 64, 64), classes="10"), "units is '10'"
            ),
            answered("numpy numbers", lambda _: families.plain(np.int64(9), np.int64(4)), DEEP),
            answered("no depth", lambda _: families.plain(4, 0).output_shape, (1, 4)),
        ],
        "lattice.counts.counting.spatial_lattice": [
            refused("a pixel shuffle", lambda _: spatial_lattice(over(PixelShuffle(2))), "count with channels"),
        ],
    }
)

PATHS = table(
    {
        "lattice.path_counts": [
            refused("an output that is not there", lambda _: lattice.path_counts(LINE, 6), "no unit at position (6,)"),
            refused("an output of two axes", lambda _: lattice.path_counts(LINE, (1, 1)), "no unit at position (1, 1)"),
            refused(
                "an input channel that is not there", lambda _: lattice.path_counts(LINE, input_channel=2), "input_channel is 2"
            ),
            refused("an input channel of 0.5", lambda _: lattice.path_counts(LINE, input_channel=0.5), "input_channel is 0.5"),
            refused("channels that differ", lambda _: lattice.path_counts(over(Slice(0, 1))), "name one with input_channel"),
            refused("a list of layers", lambda _: lattice.path_counts([Conv(1, 3)]), "Lattice"),
            refused(
                "3000 layers over 10^7 cells",
                lambda _: lattice.path_counts(families.plain(10**7, 3000, padding=1)),
                "log_path_counts",
                ResourceError,
            ),
            refused("an input of 2^40 cells", lambda _: lattice.path_counts(families.plain(HUGE, 1)), "GiB", ResourceError),
        ],
        "lattice.mean_path_counts": [
            refused("no lattice", lambda _: lattice.mean_path_counts(None), "Lattice"),
            answered(
                "one output", lambda _: lattice.mean_path_counts(over(GlobalPool(), shape=(1, 2))), [Fraction(1), Fraction(1)]
            ),
        ],
        "lattice.path_count": [
            refused("an input that is not there", lambda _: lattice.path_count(LINE, 0, 8), "input has shape (2, 8)"),
            refused("an input of None", lambda _: lattice.path_count(LINE, 0, None), "no unit at position (None,)"),
            answered("units that no path joins", lambda _: lattice.path_count(LINE, 0, 7), 0),
        ],
        "lattice.log_path_counts": [
            refused("an output that is not there", lambda _: lattice.log_path_counts(LINE, -1), "no unit at"),
            answered(
                "a pixel that no path reaches",
                lambda _: lattice.log_path_counts(over(Conv(1, 1, 2), shape=(1, 3))),
                [0.0, -np.inf, 0.0],
            ),
        ],
        "lattice.path_length_distribution": [
            refused("an output that is not there", lambda _: lattice.path_length_distribution(LINE, 9), "no unit at"),
        ],
        "lattice.skip_distribution": [
            refused("a dense output with a position", lambda _: lattice.skip_distribution(FLAT, 0), "it is flat"),
        ],
        "lattice.pull_back": [
            refused(
                "a cotangent of another shape",
                lambda _: lattice.pull_back(LINE, lambda node: 1, np.ones((1, 5))),
                "does not fit the output",
            ),
            refused(
                "a cotangent of no axes",
                lambda _: lattice.pull_back(LINE, lambda node: 1, np.float64(1)),
                "does not fit the output",
            ),
            refused("a list for a cotangent", lambda _: lattice.pull_back(LINE, lambda node: 1, [[1] * 6]), "cotangent"),
            refused("a number for a weight", lambda _: lattice.pull_back(LINE, 1, np.ones((1, 6))), "weight"),
            refused(
                "a weight of another shape",
                lambda _: lattice.pull_back(LINE, lambda node: np.ones(5), np.ones((1, 6))),
                "conv2",
            ),
        ],
        "lattice.show_count": [
            answered("a negative number", lambda _: lattice.show_count(-(10**5000)), "~-1.0e5000 (exact, 5001 digits)"),
            answered("zero", lambda _: lattice.show_count(0), "0"),
            refused("a float", lambda _: lattice.show_count(1e300), "whole number"),
            refused("a word", lambda _: lattice.show_count("12"), "whole number"),
        ],
        "lattice.route": [
            refused("too few commands", lambda _: lattice.route(LINE, [(0, 0)], 0), "command"),
            refused("too many commands", lambda _: lattice.route(LINE, [(0, 0)] * 3, 0), "command"),
            refused("a tap that is not there", lambda _: lattice.route(LINE, [(0, 0), (3, 0)], 0), "conv2"),
            refused("a tap that reads padding", lambda _: lattice.route(LINE, [(0, 0), (0, 0)], 0), "padding"),
            refused("a channel that is not there", lambda _: lattice.route(LINE, [(1, 2), (0, 0)], 0), "conv1"),
            refused("a float tap", lambda _: lattice.route(DEEP, [0, 1.0, 0, 0], 0), "1.0"),
            refused(
                "a tap where two branches meet",
                lambda _: lattice.route(FORK, [Command((1,), 0)], 2),
                "add1: there is no command (1, 0)",
            ),
            refused("a negative tap", lambda _: lattice.route(DEEP, [0, -1, 0, 0], 0), "-1"),
            refused("a number for commands", lambda _: lattice.route(LINE, 3, 0), "commands"),
            refused("None for an output", lambda _: lattice.route(DEEP, [0] * 4, None), "no unit at"),
        ],
        "lattice.Command": [
            refused("taps of two axes on one", lambda _: lattice.route(DEEP, [Command((0, 0))] * 4, 0), "conv4"),
            refused("a number for taps", lambda _: lattice.route(DEEP, [Command(0)] * 4, 0), "conv4"),
        ],
        "lattice.SKIP": [
            refused("where nothing is skipped", lambda _: lattice.route(DEEP, [lattice.SKIP] * 4, 0), "SKIP"),
            answered("the identity", lambda _: lattice.route(SKIPPED, [lattice.SKIP], 3), Unit((3,), 0)),
        ],
        "lattice.Branch": [
            refused("a branch that is not there", lambda _: lattice.route(SKIPPED, [Branch(5)], 0), "Branch"),
        ],
        "lattice.commands": [
            refused("an output that is not there", lambda _: next(lattice.commands(LINE, 99)), "no unit at"),
            refused("an input that is not there", lambda _: next(lattice.commands(LINE, 0, 99)), "no unit at"),
            answered("units that no path joins", lambda _: list(lattice.commands(LINE, 0, 7)), []),
        ],
        "lattice.path_exists": [
            refused("an input of another rank", lambda _: lattice.path_exists(LINE, 0, (0, 0)), "no unit at"),
            answered("units that no path joins", lambda _: lattice.path_exists(LINE, 0, 7), False),
        ],
        "lattice.combinations": [
            refused("an output that is not there", lambda _: next(lattice.combinations(LINE, 9)), "no unit at"),
        ],
        "lattice.multinomial_count": [
            refused("layers that pad", lambda _: lattice.multinomial_count(LINE, 0, 0), "conv1", IrregularLatticeError),
            refused("an input that is not there", lambda _: lattice.multinomial_count(DEEP, 0, 9), "no unit at"),
        ],
        "lattice.is_regular": [
            refused("no lattice", lambda _: lattice.is_regular(7), "Lattice"),
            answered("a lattice without layers", lambda _: lattice.is_regular(over()), True),
        ],
    }
)

CLOSED_FORMS = table(
    {
        "lattice.pascal_row": [
            refused("kernel 0", lambda _: lattice.pascal_row(0, 3), "kernel is 0; it is a whole number, at least 1"),
            refused("a float depth", lambda _: lattice.pascal_row(3, 2.0), "depth is 2.0"),
            refused("a huge depth", lambda _: lattice.pascal_row(3, HUGE), "pascal_coefficient", ResourceError),
            refused("a depth of 401 digits", lambda _: lattice.pascal_row(3, 10**400), "depth is 1000", ResourceError),
            answered("depth 0", lambda _: lattice.pascal_row(3, 0), [1]),
            answered(
                "numpy integers", lambda _: lattice.pascal_row(np.int64(3), np.int64(60))[60], lattice.pascal_row(3, 60)[60]
            ),
        ],
        "lattice.pascal_coefficient": [
            answered("a place outside of the row", lambda _: lattice.pascal_coefficient(3, 4, -1), 0),
            refused("half a place", lambda _: lattice.pascal_coefficient(3, 4, 0.5), "n is 0.5"),
            refused("a huge middle", lambda _: lattice.pascal_coefficient(3, HUGE, HUGE), "pascal_coefficient", ResourceError),
        ],
        "lattice.residual_row": [
            refused("an even kernel", lambda _: lattice.residual_row(4, 3), "use an odd one"),
            refused("a bool depth", lambda _: lattice.residual_row(3, True), "depth is True"),
        ],
        "lattice.stern": [
            refused("a negative place", lambda _: lattice.stern(-1), "n is -1"),
            answered("a place of 2^4000", lambda _: lattice.stern(2**4000), 1),
        ],
        "lattice.stern_period": [
            refused("a depth of 64", lambda _: lattice.stern_period(64), "the limit is 2^24", ResourceError),
            refused("a NaN depth", lambda _: lattice.stern_period(float("nan")), "depth is nan"),
        ],
        "lattice.stern_maximum": [
            refused("a negative depth", lambda _: lattice.stern_maximum(-1), "depth is -1"),
            refused("a huge depth", lambda _: lattice.stern_maximum(HUGE), "its logarithm", ResourceError),
        ],
        "lattice.strip_counts_spectral": [
            refused("an output that is not there", lambda _: lattice.strip_counts_spectral(5, 2, 5), "output is 5"),
            refused("a float output", lambda _: lattice.strip_counts_spectral(5, 2, 1.0), "output is 1.0"),
        ],
        "lattice.strip_counts_reflection": [
            refused("no width", lambda _: lattice.strip_counts_reflection(0, 2), "width is 0"),
            refused("a huge width", lambda _: lattice.strip_counts_reflection(HUGE, 2), "width", ResourceError),
            answered("one cell", lambda _: lattice.strip_counts_reflection(1, 9), [1]),
        ],
        "lattice.perron_vector": [
            refused("a width of -3", lambda _: lattice.perron_vector(-3), "width is -3"),
            refused("a huge width", lambda _: lattice.perron_vector(HUGE), "width", ResourceError),
        ],
        "lattice.perron_depth": [
            refused("a NaN tolerance", lambda _: lattice.perron_depth(8, float("nan")), "tolerance is nan"),
            refused("a tolerance of 0", lambda _: lattice.perron_depth(8, 0), "tolerance is 0"),
            refused("a tolerance that is a word", lambda _: lattice.perron_depth(8, "1"), "tolerance is '1'"),
            answered("one cell", lambda _: lattice.perron_depth(1), 0),
        ],
        "lattice.offset_moments": [
            refused("padding", lambda _: lattice.offset_moments(LINE), "conv1", IrregularLatticeError),
        ],
        "lattice.closed_forms.limits.Moments": [
            answered("no layers", lambda _: lattice.offset_moments(over())[0], Moments(Fraction(0), Fraction(0))),
        ],
        "lattice.gaussian_limit": [
            refused("order 3", lambda _: lattice.gaussian_limit(DEEP, 0, 3), "order is 3"),
            refused("an output that is not there", lambda _: lattice.gaussian_limit(DEEP, 1), "no unit at"),
        ],
        "lattice.closed_forms.limits.GaussianLimit": [
            answered("kernels of one cell", lambda _: lattice.gaussian_limit(families.plain(3, 2, 1), 1).total_variation, 0.0),
        ],
    }
)

SYMBOLS = table(
    {
        "lattice.path_polynomial": [
            refused("an output that is not there", lambda _: lattice.path_polynomial(DEEP, 5, 0), "no unit at"),
            answered("units that no path joins", lambda _: lattice.path_polynomial(LINE, 0, 7), 0),
        ],
        "lattice.path_polynomials": [
            refused(
                "an input channel that is not there",
                lambda _: lattice.path_polynomials(LINE, 0, input_channel=-1),
                "input_channel is -1",
            ),
        ],
        "lattice.variance_symbols": [
            refused("no lattice", lambda _: lattice.variance_symbols("net"), "Lattice"),
        ],
        "lattice.generating_function": [
            refused("no lattice", lambda _: lattice.generating_function("net"), "takes a lattice.Lattice"),
        ],
        "lattice.closed_forms.formulas.pascal_formula": [
            refused("kernel 0", lambda _: pascal_formula(0), "kernel is 0"),
            refused("a kernel of 2.5", lambda _: pascal_formula(2.5), "kernel is 2.5"),
            refused("a depth that is no formula", lambda _: pascal_formula(3, "L +"), "depth"),
            refused("a depth that would run", lambda f: pascal_formula(3, f"open({str(f / 'ran')!r}, 'w')"), "depth"),
        ],
        "lattice.closed_forms.formulas.residual_formula": [
            refused("kernel 0", lambda _: residual_formula(0), "kernel is 0"),
            refused("an even kernel", lambda _: residual_formula(4), "odd kernel"),
        ],
        "lattice.closed_forms.formulas.strip_formula": [
            refused("a list for a width", lambda _: strip_formula([3]), "width"),
        ],
        "lattice.closed_forms.formulas.PascalNumber": [
            answered("a place outside of the row", lambda _: PascalNumber(3, 2, 5), 0),
            refused("a negative kernel", lambda _: PascalNumber(-3, 2, 1), "kernel"),
        ],
    }
)

TRANSFORMED = table(
    {
        "lattice.flip": [
            refused("no lattice", lambda _: lattice.flip("net"), "flip takes a lattice.Lattice"),
            refused("an axis that is not there", lambda _: lattice.flip(LINE, 1), "axes is 1; the lattice has"),
            refused("an axis from the end", lambda _: lattice.flip(LINE, -1), "axes is -1"),
            refused("half an axis", lambda _: lattice.flip(LINE, 0.5), "axes is 0.5"),
            refused("a bool for an axis", lambda _: lattice.flip(LINE, False), "axes is False"),
            refused("a pixel shuffle", lambda _: lattice.flip(over(PixelShuffle(2))), "no mirror image", UnsupportedError),
            refused("a list of who reads whom", lambda _: lattice.flip(_attending(0, 0)), "is a list", UnsupportedError),
            refused("cells left unread", lambda _: lattice.flip(over(Conv(1, 3, stride=4))), "conv1: Conv", UnsupportedError),
            answered(
                "a list of cells",
                lambda _: lattice.path_counts(lattice.flip(over(Resample((listed(1, 1, -1, 7),)))), input_channel=0),
                [1, 0, 0, 0, 0, 0, 2, 0],
            ),
            answered("no layers", lambda _: lattice.path_counts(lattice.flip(over())), [1] * 8),
        ],
        "lattice.transpose": [
            refused("no lattice", lambda _: lattice.transpose(None), "transpose takes a lattice.Lattice"),
            refused("a number for an order", lambda _: lattice.transpose(LINE, 5), "axes is 5; it is a permutation"),
            refused("an axis twice", lambda _: lattice.transpose(LINE, (0, 0)), "is a permutation of (0,)"),
            refused("a float axis", lambda _: lattice.transpose(LINE, (0.0,)), "axes is (0.0,)"),
            refused("a pixel shuffle", lambda _: lattice.transpose(over(PixelShuffle(2))), "no rule", UnsupportedError),
            answered(
                "lists of cells, one an axis",
                lambda _: lattice.transpose(over(Resample((listed(0), listed(1, 2))), shape=(1, 3, 4))).output_shape,
                (1, 2, 1),
            ),
        ],
        "lattice.compose": [
            refused("no lattice", lambda _: lattice.compose(LINE, 7), "compose takes a lattice.Lattice"),
            refused("shapes that differ", lambda _: lattice.compose(LINE, LINE), "(2, 6) comes out below"),
            answered("nothing below", lambda _: lattice.compose(over(), LINE).names, LINE.names),
        ],
    }
)

GEOMETRY = table(
    {
        "lattice.plot_counts": [
            refused("three axes", lambda _: lattice.plot_counts(np.ones((2, 2, 2))), "axes"),
            refused("counts beyond float64", lambda _: lattice.plot_counts([10**400, 1]), "float64"),
            refused("a word", lambda _: lattice.plot_counts("counts"), "counts"),
        ],
        "lattice.receptive_field": [
            refused("a layer that is not there", lambda _: lattice.receptive_field(LINE, "conv9"), "conv9"),
            refused("a channel that is not there", lambda _: lattice.receptive_field(LINE, channel=7), "channel"),
        ],
        "lattice.receptive_fields": [
            refused("a shape", lambda _: lattice.receptive_fields((1, 8)), "Lattice"),
        ],
        "lattice.geometry.receptive_field.ReceptiveField": [
            answered("a lattice without layers", lambda _: lattice.receptive_field(over()).axes[0].size, 1),
        ],
        "lattice.geometry.receptive_field.AxisField": [
            answered("a stride beyond the input", lambda _: lattice.receptive_field(over(Conv(1, 3, 100))).axes[0].size, 3),
        ],
        "lattice.geometry.receptive_field.last_map": [
            answered("a flat lattice", lambda _: last_map(Lattice.chain((4,), [Dense(2)])), "input"),
        ],
        "lattice.evenness": [
            answered("no windows", lambda _: lattice.evenness(over()), ()),
            refused("None", lambda _: lattice.evenness(None), "Lattice"),
        ],
        "lattice.geometry.evenness.StageEvenness": [
            answered("a stride beyond the input", lambda _: lattice.evenness(over(Conv(1, 1, 99)))[0].missed, (0, 7)),
        ],
        "lattice.even_sizes": [
            refused("a number for a function", lambda _: lattice.even_sizes(224), "net_of_size"),
            refused(
                "a negative range", lambda _: lattice.even_sizes(lambda n: families.plain(n, 1), within=-1), "within is -1"
            ),
            refused(
                "a float centre", lambda _: lattice.even_sizes(lambda n: families.plain(n, 1), around=20.5), "around is 20.5"
            ),
            answered("sizes that no net has", lambda _: lattice.even_sizes(lambda n: families.plain(n, 200), 20, 4), ()),
        ],
        "lattice.to_networkx": [
            refused("a dictionary", lambda _: lattice.to_networkx({}), "Lattice"),
        ],
        "lattice.unit_graph": [
            refused("too many edges", lambda _: lattice.unit_graph(LINE, most_edges=10), "most_edges", ResourceError),
        ],
        "lattice.draw_lattice": [
            refused("commands without an output", lambda _: lattice.draw_lattice(DEEP, commands=[0] * 4), "output"),
            refused("counts of something", lambda _: lattice.draw_lattice(DEEP, counts="none"), "counts is 'none'"),
            refused("an output that is not there", lambda _: lattice.draw_lattice(DEEP, 3), "no unit at"),
            refused("a figure for an axes", lambda _: lattice.draw_lattice(DEEP, ax="figure"), "ax"),
        ],
        "lattice.draw_pascal": [
            refused("kernel 0", lambda _: lattice.draw_pascal(0), "kernel is 0"),
            refused("a huge depth", lambda _: lattice.draw_pascal(3, HUGE), "cannot be read side by side", ResourceError),
        ],
    }
)


def _attending(*cells):
    same = ((Conv(2, 1),),) * 3
    return over(Branches(same, masked(*cells)), shape=(2, 2))


def _raise(error):
    raise error("what was asked, and what would work")


ERRORS = [
    refuses(
        f"lattice.{name}",
        "caught as the one base",
        lambda _, name=name: _raise(getattr(lattice, name)),
        "what would work",
        lattice.PilcroError,
    )
    for name in (
        "PilcroError",
        "SpecificationError",
        "UnsupportedError",
        "AssumptionError",
        "IrregularLatticeError",
        "ResourceError",
    )
]

CASES = [*OPS, *LATTICES, *PATHS, *CLOSED_FORMS, *SYMBOLS, *TRANSFORMED, *GEOMETRY, *ERRORS]
