"""Bad and strange requests to `lattice`: its layers, axis maps, routes, counts, closed forms, symbols, geometry, drawings."""

from fractions import Fraction

import numpy as np

import lattice
from lattice import (
    Activation,
    AdaptivePool,
    Add,
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
    ResourceError,
    Slice,
    Unit,
    Upsample,
    Window,
    families,
    residual,
)
from lattice.closed_forms.formulas import PascalNumber, pascal_formula, residual_formula, strip_formula
from lattice.closed_forms.limits import Moments
from lattice.counts.counting import spatial_lattice
from lattice.geometry.receptive_field import last_map
from lattice.network.axis import AxisMap
from lattice.network.branches import Branches
from lattice.network.resizing import AdaptiveWindow, ResizeWindow
from lattice.network.window import FilterWindow, TransposedWindow
from tests.bad_input.table import answers, refuses

HUGE = 2**40
FORK = Lattice.chain((1, 5), [lattice.residual([Conv(1, 3, padding=1)], [Conv(1, 1)])])
LINE = Lattice.chain((2, 8), [Conv(3, 3, padding=1), Conv(2, 3)])  # two channels, eight cells, six outputs
FLAT = Lattice.chain((1, 4), [Flatten(), Dense(3)])
SKIPPED = Lattice.chain((1, 4), [residual([Conv(1, 3, padding=1)])])
DEEP = families.plain(9, 4)


def over(*layers, shape=(2, 8)):
    return Lattice.chain(shape, layers)


OPS = [
    # Input
    refuses("lattice.Input", "no channels", lambda _: Input((0, 8)), "the least is 1"),
    refuses("lattice.Input", "a negative size", lambda _: Input((1, -3)), "the least is 1"),
    refuses("lattice.Input", "four spatial axes", lambda _: Input((1, 2, 2, 2, 2)), "at most three spatial axes"),
    refuses("lattice.Input", "a string", lambda _: Input("3x8"), "takes whole numbers"),
    refuses("lattice.Input", "a float", lambda _: Input((1, 8.0)), "takes whole numbers"),
    refuses("lattice.Input", "nothing", lambda _: Input(()), "channel axis"),
    refuses("lattice.Input", "a second one in a chain", lambda _: over(Input((2, 8))), "is not a layer"),
    answers("lattice.Input", "numpy integers", lambda _: Input((np.int64(2), np.uint8(8))).shape, (2, 8)),
    # Conv
    refuses("lattice.Conv", "kernel 0", lambda _: Conv(1, 0), "kernel is 0; the least is 1"),
    refuses("lattice.Conv", "stride 0", lambda _: Conv(1, 3, stride=0), "stride is 0; the least is 1"),
    refuses("lattice.Conv", "dilation 0", lambda _: Conv(1, 3, dilation=0), "dilation is 0; the least is 1"),
    refuses("lattice.Conv", "a negative stride", lambda _: Conv(1, 3, stride=-2), "stride is -2; the least is 1"),
    refuses("lattice.Conv", "a float stride", lambda _: Conv(1, 3, stride=2.0), "stride is 2.0; it takes whole numbers"),
    refuses("lattice.Conv", "a bool stride", lambda _: Conv(1, 3, stride=True), "stride is True; it takes whole numbers"),
    refuses("lattice.Conv", "a NaN kernel", lambda _: Conv(1, float("nan")), "kernel is nan"),
    refuses("lattice.Conv", "None for a kernel", lambda _: Conv(1, None), "kernel is None"),
    refuses("lattice.Conv", "no channels", lambda _: Conv(0, 3), "channels is 0"),
    refuses("lattice.Conv", "a tuple of channels", lambda _: Conv((4, 4), 3), "channels is (4, 4)"),
    refuses("lattice.Conv", "an empty kernel", lambda _: Conv(1, ()), "kernel is ()"),
    refuses("lattice.Conv", "channels that do not divide", lambda _: Conv(3, 3, groups=2), "do not divide into 2 groups"),
    refuses("lattice.Conv", "groups that do not divide the input", lambda _: over(Conv(4, 3, groups=4)), "2 input channels"),
    refuses("lattice.Conv", "negative padding", lambda _: Conv(1, 3, padding=-1), "padding is -1; the least is 0"),
    refuses("lattice.Conv", "an unknown padding", lambda _: Conv(1, 3, padding="full"), "'same' or 'valid'"),
    refuses("lattice.Conv", "an unknown mode", lambda _: Conv(1, 3, mode="mirror"), "mode is 'mirror'; it is one of zeros"),
    refuses("lattice.Conv", "a mode that is a list", lambda _: Conv(1, 3, mode=["zeros"]), "mode is ['zeros']"),
    refuses("lattice.Conv", "three numbers for a side", lambda _: over(Conv(1, 3, padding=((1, 2, 3),))), "does not fit 1"),
    refuses("lattice.Conv", "two kernels on one axis", lambda _: over(Conv(1, (3, 3))), "conv1: Conv(1, kernel=(3, 3))"),
    refuses("lattice.Conv", "a kernel larger than its input", lambda _: over(Conv(1, 9)), "a kernel of 9"),
    refuses("lattice.Conv", "a huge kernel", lambda _: over(Conv(1, HUGE)), "spans 1099511627776 cells"),
    refuses("lattice.Conv", "a huge dilation", lambda _: over(Conv(1, 3, dilation=HUGE)), "but the padded input has only 8"),
    refuses(
        "lattice.Conv", "reflection of more than there is", lambda _: over(Conv(1, 3, padding=8, mode="reflect")), "at most 7"
    ),
    answers("lattice.Conv", "a huge stride", lambda _: over(Conv(1, 3, stride=HUGE)).output_shape, (1, 1)),
    answers(
        "lattice.Conv", "a kernel as large as its padded input", lambda _: over(Conv(1, 10, padding=1)).output_shape, (1, 1)
    ),
    answers("lattice.Conv", "numpy integers", lambda _: Conv(np.int64(4), np.int32(3)), Conv(4, 3)),
    answers("lattice.Conv", "a list of kernels", lambda _: hash(Conv(1, [3, 3])), hash(Conv(1, (3, 3)))),
    # ConvTranspose
    refuses(
        "lattice.ConvTranspose", "padding that leaves nothing", lambda _: over(ConvTranspose(1, 1, padding=4)), "no output"
    ),
    refuses("lattice.ConvTranspose", "a named padding", lambda _: over(ConvTranspose(1, 3, padding="same")), "in cells"),
    refuses("lattice.ConvTranspose", "negative output padding", lambda _: ConvTranspose(1, 3, output_padding=-1), "least is 0"),
    answers(
        "lattice.ConvTranspose",
        "output padding beyond what torch has",
        lambda _: over(ConvTranspose(1, 3, 2, output_padding=5)).output_shape,
        (1, 22),
    ),
    answers(
        "lattice.ConvTranspose",
        "a stride above its kernel",
        lambda _: lattice.path_counts(over(ConvTranspose(1, 1, 3), shape=(1, 2))),
        [1, 1],
    ),
    # Pool, GlobalPool, AdaptivePool
    refuses("lattice.Pool", "an unknown kind", lambda _: Pool("median", 2), "kind is 'median'; it is one of avg, max"),
    refuses("lattice.Pool", "a kind that is a list", lambda _: Pool(["avg"], 2), "kind is ['avg']"),
    refuses("lattice.Pool", "a kernel larger than its input", lambda _: over(Pool("max", 9)), "pool1"),
    refuses("lattice.Pool", "kernel and kind changed places", lambda _: Pool(2, "avg"), "kind is 2"),
    answers("lattice.Pool", "one cell", lambda _: lattice.path_counts(over(Pool("avg", 1))), [1] * 8),
    refuses("lattice.GlobalPool", "a flat input", lambda _: over(Flatten(), GlobalPool()), "reads (channels, *spatial)"),
    refuses("lattice.GlobalPool", "an unknown kind", lambda _: GlobalPool("sum"), "kind is 'sum'"),
    refuses("lattice.AdaptivePool", "size 0", lambda _: AdaptivePool("avg", 0), "size is 0"),
    refuses("lattice.AdaptivePool", "two sizes on one axis", lambda _: over(AdaptivePool("avg", (2, 2))), "size has 2 entries"),
    answers(
        "lattice.AdaptivePool",
        "more bins than cells",
        lambda _: lattice.path_counts(over(AdaptivePool("avg", 3), shape=(1, 2))),
        [2, 2],
    ),
    # Pad, Blur, Upsample
    refuses(
        "lattice.Pad", "circular padding of more than there is", lambda _: over(Pad(9, mode="circular")), "at most 8 a side"
    ),
    refuses("lattice.Pad", "an unknown mode", lambda _: Pad(1, mode="constant"), "mode is 'constant'"),
    refuses("lattice.Pad", "half a cell", lambda _: Pad(0.5), "takes whole numbers"),
    answers("lattice.Pad", "nothing", lambda _: over(Pad(0)).output_shape, (2, 8)),
    refuses("lattice.Blur", "a negative tap", lambda _: Blur((1, -2, 1)), "takes positive numbers"),
    refuses("lattice.Blur", "a tap of 0", lambda _: Blur((1, 0, 1)), "takes positive numbers"),
    refuses("lattice.Blur", "a NaN tap", lambda _: Blur((1, float("nan"))), "takes positive numbers"),
    refuses("lattice.Blur", "no taps", lambda _: Blur(()), "takes positive numbers"),
    refuses("lattice.Blur", "bool taps", lambda _: Blur((True, False)), "takes positive numbers"),
    refuses("lattice.Blur", "a number", lambda _: Blur(3), "takes positive numbers"),
    answers("lattice.Blur", "one tap", lambda _: over(Blur((5,))).output_shape, (2, 8)),
    refuses("lattice.Upsample", "neither scale nor size", lambda _: Upsample(), "give either scale or size"),
    refuses("lattice.Upsample", "scale and size", lambda _: Upsample(2, size=4), "give either scale or size"),
    refuses("lattice.Upsample", "scale 0", lambda _: Upsample(0), "scale is 0"),
    refuses("lattice.Upsample", "a scale of 1.5", lambda _: Upsample(1.5), "takes whole numbers"),
    refuses("lattice.Upsample", "cubic", lambda _: Upsample(2, mode="cubic"), "mode is 'nearest' or 'linear'"),
    refuses(
        "lattice.Upsample", "nearest with aligned corners", lambda _: Upsample(2, align_corners=True), "only linear resizing"
    ),
    answers("lattice.Upsample", "downwards", lambda _: lattice.path_counts(over(Upsample(size=2), shape=(1, 4))), [1, 0, 1, 0]),
    # channels
    refuses("lattice.PixelShuffle", "too few channels", lambda _: over(PixelShuffle(3)), "not a multiple of 3^1"),
    refuses("lattice.PixelShuffle", "factor 0", lambda _: PixelShuffle(0), "factor is 0"),
    refuses("lattice.PixelShuffle", "a pair", lambda _: PixelShuffle((2, 2)), "factor is (2, 2)"),
    refuses("lattice.Slice", "channels that are not there", lambda _: over(Slice(0, 3)), "has 2 channels only"),
    refuses("lattice.Slice", "nothing", lambda _: Slice(1, 1), "an empty slice"),
    refuses("lattice.Slice", "from the end", lambda _: Slice(-2, -1), "the least is 0"),
    refuses("lattice.Slice", "a pair", lambda _: Slice((0, 1), 2), "start is (0, 1)"),
    refuses("lattice.ChannelShuffle", "groups that do not divide", lambda _: over(ChannelShuffle(3)), "do not divide into 3"),
    refuses("lattice.Concat", "one input", lambda _: over(lattice.concatenate([])), "two or more inputs"),
    refuses("lattice.Concat", "two sizes", lambda _: over(lattice.concatenate([], [Conv(1, 3)])), "of one spatial size"),
    refuses("lattice.Add", "one input", lambda _: over(Add()), "two or more inputs"),
    refuses("lattice.Add", "two shapes", lambda _: over(residual([Conv(2, 3)])), "of one shape, not (2, 6), (2, 8)"),
    answers("lattice.Add", "one thing twice", lambda _: lattice.path_counts(over(residual([]), shape=(1, 2))), [2, 2]),
    refuses(
        "lattice.Multiply",
        "a gate of another size",
        lambda _: over(Branches(((), (Pool("avg", 2),)), Multiply())),
        "takes two inputs",
    ),
    refuses("lattice.Multiply", "one input", lambda _: over(Multiply()), "takes two inputs"),
    # heads and pointwise layers
    refuses("lattice.Dense", "no units", lambda _: Dense(0), "units is 0"),
    refuses("lattice.Dense", "positions", lambda _: over(Dense(3)), "put Flatten() before it"),
    refuses("lattice.Flatten", "a parameter", lambda _: over(Flatten(), Conv(1, 1)), "reads (channels, *spatial), not (16,)"),
    answers("lattice.Flatten", "twice", lambda _: over(Flatten(), Flatten()).output_shape, (16,)),
    refuses("lattice.Activation", "a number for a name", lambda _: Activation(3), "name is 3"),
    refuses("lattice.Activation", "a NaN parameter", lambda _: Activation("leaky_relu", float("nan")), "parameter is nan"),
    refuses(
        "lattice.Activation", "a parameter that is a word", lambda _: Activation("leaky_relu", "0.1"), "parameter is '0.1'"
    ),
    refuses("lattice.Norm", "an unknown kind", lambda _: Norm("spectral"), "kind is 'spectral'"),
    refuses("lattice.Norm", "groups that do not divide", lambda _: over(Norm("group", 3)), "do not divide into 3 groups"),
    refuses("lattice.Norm", "a negative epsilon", lambda _: Norm("layer", eps=-1.0), "eps is -1.0"),
    refuses("lattice.Norm", "a NaN epsilon", lambda _: Norm("layer", eps=float("nan")), "eps is nan"),
    refuses("lattice.Dropout", "a probability of 2", lambda _: Dropout(2.0), "p is 2.0"),
    refuses("lattice.Dropout", "a NaN probability", lambda _: Dropout(float("nan")), "p is nan"),
    refuses("lattice.Op", "an op without rules", lambda _: over(_Mystery()), "no shape rule for"),
    # one axis
    refuses("lattice.network.axis.AxisMap", "a map that says nothing", lambda _: AxisMap(), "abstract", TypeError),
    refuses("lattice.Window", "stride 0", lambda _: Window(3, stride=0), "stride is 0"),
    refuses("lattice.Window", "dilation -1", lambda _: Window(3, dilation=-1), "dilation is -1"),
    refuses("lattice.Window", "an unknown mode", lambda _: Window(3, padding=(1, 1), mode="mirror"), "mode is 'mirror'"),
    refuses("lattice.Window", "a padding for one side", lambda _: Window(3, padding=1), "padding is 1"),
    refuses("lattice.Window", "no cells", lambda _: Window(1).outputs(0), "0"),
    refuses(
        "lattice.network.window.FilterWindow", "more weights than taps", lambda _: FilterWindow(3, weights=(1.0,)), "weights"
    ),
    refuses(
        "lattice.network.window.FilterWindow", "a NaN weight", lambda _: FilterWindow(1, weights=(float("nan"),)), "weights"
    ),
    refuses("lattice.network.window.TransposedWindow", "kernel 0", lambda _: TransposedWindow(0), "kernel is 0"),
    refuses("lattice.network.resizing.AdaptiveWindow", "size 0", lambda _: AdaptiveWindow(0), "size is 0"),
    refuses("lattice.network.resizing.ResizeWindow", "size -1", lambda _: ResizeWindow(-1), "size is -1"),
    refuses("lattice.network.resizing.ResizeWindow", "an unknown mode", lambda _: ResizeWindow(4, "cubic"), "mode is 'cubic'"),
]


class _Mystery(lattice.Op):
    pass


LATTICES = [
    refuses("lattice.Lattice", "no nodes", lambda _: Lattice(()), "first node of a lattice is its Input"),
    refuses("lattice.Lattice", "a shape for nodes", lambda _: Lattice((1, 8)), "nodes"),
    refuses("lattice.Lattice", "a number", lambda _: Lattice(3), "nodes"),
    refuses("lattice.Lattice", "layers that are a word", lambda _: over("conv"), "'conv' is not a layer"),
    refuses("lattice.Lattice", "a layer that was not put into a list", lambda _: Lattice.chain((1, 8), Conv(1, 3)), "layers"),
    refuses(
        "lattice.Lattice",
        "a layer that nothing reads",
        lambda _: Lattice((*LINE.nodes, Node("stray", Conv(1, 1), (0,)))),
        "no layer reads conv2",
    ),
    refuses(
        "lattice.Lattice",
        "a name that is used twice",
        lambda _: Lattice((*LINE.nodes, Node("conv1", Conv(1, 1), (2,)))),
        "two nodes are called",
    ),
    refuses("lattice.Lattice", "an empty output", lambda _: over(Conv(1, 3), Conv(1, 7)), "conv2"),
    answers("lattice.Lattice", "no layers", lambda _: lattice.path_counts(over()), [1] * 8),
    refuses(
        "lattice.Node",
        "a node that reads itself",
        lambda _: Lattice((Node("input", Input((1, 4))), Node("a", Conv(1, 1), (1,)))),
        "stand before it",
    ),
    refuses(
        "lattice.Node",
        "a node that reads what comes later",
        lambda _: Lattice((Node("input", Input((1, 4))), Node("a", Conv(1, 1), (7,)))),
        "stand before it",
    ),
    refuses(
        "lattice.Node",
        "a node that reads a name",
        lambda _: Lattice((Node("input", Input((1, 4))), Node("a", Conv(1, 1), ("input",)))),
        "'input'",
    ),
    refuses(
        "lattice.Node", "a node without an op", lambda _: Lattice((Node("input", Input((1, 4))), Node("a", None, (0,)))), "a"
    ),
    refuses(
        "lattice.Unit", "a channel that is not there", lambda _: LINE.unit(Unit((0,), 2)), "no unit at position (0,), channel 2"
    ),
    refuses("lattice.Unit", "a negative position", lambda _: LINE.unit(-1), "no unit at position (-1,)"),
    refuses("lattice.Unit", "a float position", lambda _: LINE.unit((1.0,)), "no unit at position (1.0,)"),
    refuses("lattice.Unit", "a bool position", lambda _: LINE.unit(True), "no unit at position (True,)"),
    refuses("lattice.Unit", "a word", lambda _: LINE.unit("0"), "no unit at position ('0',)"),
    refuses("lattice.Unit", "a bare number as position of a Unit", lambda _: LINE.unit(Unit(3)), "no unit at position 3"),
    refuses("lattice.Unit", "a position in a flat layer", lambda _: FLAT.unit(0), "its units have position ()"),
    refuses(
        "lattice.network.branches.Branches",
        "another merge",
        lambda _: over(Branches(((), ()), Conv(1, 1))),
        "does not take 2 inputs",
    ),
    refuses(
        "lattice.network.branches.Branches",
        "no chains",
        lambda _: over(Branches((), Add())),
        "a node reads nodes that stand before it",
    ),
    refuses("lattice.residual", "an op without its list", lambda _: residual(Conv(1, 3)), "list"),
    refuses("lattice.concatenate", "ops without their lists", lambda _: lattice.concatenate(Conv(1, 3), Conv(1, 3)), "list"),
    refuses("lattice.families", "no cells", lambda _: families.plain(0, 3), "the least is 1"),
    refuses("lattice.families", "a depth of -1", lambda _: families.plain(9, -1), "depth is -1"),
    refuses("lattice.families", "a float depth", lambda _: families.plain(9, 2.0), "depth is 2.0"),
    refuses("lattice.families", "a size of words", lambda _: families.plain("12", 2), "takes whole numbers"),
    refuses("lattice.families", "a float size", lambda _: families.plain(12.0, 2), "size is 12.0"),
    refuses("lattice.families", "an image that a ResNet eats up", lambda _: families.vgg((3, 8, 8)), "pool4"),
    refuses("lattice.families", "a ResNet of no width", lambda _: families.resnet((3, 32, 32), width=0), "channels is 0"),
    refuses(
        "lattice.families", "a ResNet of a negative number of blocks", lambda _: families.resnet((3, 32, 32), (2, -1)), "blocks"
    ),
    refuses("lattice.families", "a ResNet of one number of blocks", lambda _: families.resnet((3, 32, 32), 2), "blocks"),
    refuses(
        "lattice.families",
        "classes that are a word",
        lambda _: families.bottleneck_resnet((3, 64, 64), classes="10"),
        "units is '10'",
    ),
    answers("lattice.families", "numpy numbers", lambda _: families.plain(np.int64(9), np.int64(4)), DEEP),
    answers("lattice.families", "no depth", lambda _: families.plain(4, 0).output_shape, (1, 4)),
    refuses(
        "lattice.counts.counting.spatial_lattice",
        "a pixel shuffle",
        lambda _: spatial_lattice(over(PixelShuffle(2))),
        "count with channels",
    ),
]

PATHS = [
    refuses(
        "lattice.path_counts", "an output that is not there", lambda _: lattice.path_counts(LINE, 6), "no unit at position (6,)"
    ),
    refuses(
        "lattice.path_counts",
        "an output of two axes",
        lambda _: lattice.path_counts(LINE, (1, 1)),
        "no unit at position (1, 1)",
    ),
    refuses(
        "lattice.path_counts",
        "an input channel that is not there",
        lambda _: lattice.path_counts(LINE, input_channel=2),
        "input_channel is 2",
    ),
    refuses(
        "lattice.path_counts",
        "an input channel of 0.5",
        lambda _: lattice.path_counts(LINE, input_channel=0.5),
        "input_channel is 0.5",
    ),
    refuses(
        "lattice.path_counts",
        "channels that differ",
        lambda _: lattice.path_counts(over(Slice(0, 1))),
        "name one with input_channel",
    ),
    refuses("lattice.path_counts", "a list of layers", lambda _: lattice.path_counts([Conv(1, 3)]), "Lattice"),
    refuses(
        "lattice.path_counts",
        "3000 layers over 10^7 cells",
        lambda _: lattice.path_counts(families.plain(10**7, 3000, padding=1)),
        "log_path_counts",
        ResourceError,
    ),
    refuses(
        "lattice.path_counts",
        "an input of 2^40 cells",
        lambda _: lattice.path_counts(families.plain(HUGE, 1)),
        "GiB",
        ResourceError,
    ),
    refuses("lattice.mean_path_counts", "no lattice", lambda _: lattice.mean_path_counts(None), "Lattice"),
    answers(
        "lattice.mean_path_counts",
        "one output",
        lambda _: lattice.mean_path_counts(over(GlobalPool(), shape=(1, 2))),
        [Fraction(1), Fraction(1)],
    ),
    refuses(
        "lattice.path_count", "an input that is not there", lambda _: lattice.path_count(LINE, 0, 8), "input has shape (2, 8)"
    ),
    refuses(
        "lattice.path_count", "an input of None", lambda _: lattice.path_count(LINE, 0, None), "no unit at position (None,)"
    ),
    answers("lattice.path_count", "units that no path joins", lambda _: lattice.path_count(LINE, 0, 7), 0),
    refuses(
        "lattice.log_path_counts", "an output that is not there", lambda _: lattice.log_path_counts(LINE, -1), "no unit at"
    ),
    answers(
        "lattice.log_path_counts",
        "a pixel that no path reaches",
        lambda _: lattice.log_path_counts(over(Conv(1, 1, 2), shape=(1, 3))),
        [0.0, -np.inf, 0.0],
    ),
    refuses(
        "lattice.path_length_distribution",
        "an output that is not there",
        lambda _: lattice.path_length_distribution(LINE, 9),
        "no unit at",
    ),
    refuses(
        "lattice.skip_distribution",
        "a dense output with a position",
        lambda _: lattice.skip_distribution(FLAT, 0),
        "it is flat",
    ),
    refuses(
        "lattice.pull_back",
        "a cotangent of another shape",
        lambda _: lattice.pull_back(LINE, lambda node: 1, np.ones((1, 5))),
        "does not fit the output",
    ),
    refuses(
        "lattice.pull_back",
        "a cotangent of no axes",
        lambda _: lattice.pull_back(LINE, lambda node: 1, np.float64(1)),
        "does not fit the output",
    ),
    refuses(
        "lattice.pull_back", "a list for a cotangent", lambda _: lattice.pull_back(LINE, lambda node: 1, [[1] * 6]), "cotangent"
    ),
    refuses("lattice.pull_back", "a number for a weight", lambda _: lattice.pull_back(LINE, 1, np.ones((1, 6))), "weight"),
    refuses(
        "lattice.pull_back",
        "a weight of another shape",
        lambda _: lattice.pull_back(LINE, lambda node: np.ones(5), np.ones((1, 6))),
        "conv2",
    ),
    answers(
        "lattice.show_count", "a negative number", lambda _: lattice.show_count(-(10**5000)), "~-1.0e5000 (exact, 5001 digits)"
    ),
    answers("lattice.show_count", "zero", lambda _: lattice.show_count(0), "0"),
    refuses("lattice.show_count", "a float", lambda _: lattice.show_count(1e300), "whole number"),
    refuses("lattice.show_count", "a word", lambda _: lattice.show_count("12"), "whole number"),
    # routes
    refuses("lattice.route", "too few commands", lambda _: lattice.route(LINE, [(0, 0)], 0), "command"),
    refuses("lattice.route", "too many commands", lambda _: lattice.route(LINE, [(0, 0)] * 3, 0), "command"),
    refuses("lattice.route", "a tap that is not there", lambda _: lattice.route(LINE, [(0, 0), (3, 0)], 0), "conv2"),
    refuses("lattice.route", "a tap that reads padding", lambda _: lattice.route(LINE, [(0, 0), (0, 0)], 0), "padding"),
    refuses("lattice.route", "a channel that is not there", lambda _: lattice.route(LINE, [(1, 2), (0, 0)], 0), "conv1"),
    refuses("lattice.route", "a float tap", lambda _: lattice.route(DEEP, [0, 1.0, 0, 0], 0), "1.0"),
    refuses(
        "lattice.route",
        "a tap where two branches meet",
        lambda _: lattice.route(FORK, [Command((1,), 0)], 2),
        "add1: there is no command (1, 0)",
    ),
    refuses("lattice.route", "a negative tap", lambda _: lattice.route(DEEP, [0, -1, 0, 0], 0), "-1"),
    refuses("lattice.route", "a number for commands", lambda _: lattice.route(LINE, 3, 0), "commands"),
    refuses("lattice.route", "None for an output", lambda _: lattice.route(DEEP, [0] * 4, None), "no unit at"),
    refuses("lattice.Command", "taps of two axes on one", lambda _: lattice.route(DEEP, [Command((0, 0))] * 4, 0), "conv4"),
    refuses("lattice.Command", "a number for taps", lambda _: lattice.route(DEEP, [Command(0)] * 4, 0), "conv4"),
    refuses("lattice.SKIP", "where nothing is skipped", lambda _: lattice.route(DEEP, [lattice.SKIP] * 4, 0), "SKIP"),
    answers("lattice.SKIP", "the identity", lambda _: lattice.route(SKIPPED, [lattice.SKIP], 3), Unit((3,), 0)),
    refuses("lattice.Branch", "a branch that is not there", lambda _: lattice.route(SKIPPED, [Branch(5)], 0), "Branch"),
    refuses("lattice.commands", "an output that is not there", lambda _: next(lattice.commands(LINE, 99)), "no unit at"),
    refuses("lattice.commands", "an input that is not there", lambda _: next(lattice.commands(LINE, 0, 99)), "no unit at"),
    answers("lattice.commands", "units that no path joins", lambda _: list(lattice.commands(LINE, 0, 7)), []),
    refuses("lattice.path_exists", "an input of another rank", lambda _: lattice.path_exists(LINE, 0, (0, 0)), "no unit at"),
    answers("lattice.path_exists", "units that no path joins", lambda _: lattice.path_exists(LINE, 0, 7), False),
    refuses("lattice.combinations", "an output that is not there", lambda _: next(lattice.combinations(LINE, 9)), "no unit at"),
    refuses(
        "lattice.multinomial_count",
        "layers that pad",
        lambda _: lattice.multinomial_count(LINE, 0, 0),
        "conv1",
        IrregularLatticeError,
    ),
    refuses(
        "lattice.multinomial_count", "an input that is not there", lambda _: lattice.multinomial_count(DEEP, 0, 9), "no unit at"
    ),
    refuses("lattice.is_regular", "no lattice", lambda _: lattice.is_regular(7), "Lattice"),
    answers("lattice.is_regular", "a lattice without layers", lambda _: lattice.is_regular(over()), True),
]

CLOSED_FORMS = [
    refuses(
        "lattice.pascal_row", "kernel 0", lambda _: lattice.pascal_row(0, 3), "kernel is 0; it is a whole number, at least 1"
    ),
    refuses("lattice.pascal_row", "a float depth", lambda _: lattice.pascal_row(3, 2.0), "depth is 2.0"),
    refuses("lattice.pascal_row", "a huge depth", lambda _: lattice.pascal_row(3, HUGE), "pascal_coefficient", ResourceError),
    refuses(
        "lattice.pascal_row", "a depth of 401 digits", lambda _: lattice.pascal_row(3, 10**400), "depth is 1000", ResourceError
    ),
    answers("lattice.pascal_row", "depth 0", lambda _: lattice.pascal_row(3, 0), [1]),
    answers(
        "lattice.pascal_row",
        "numpy integers",
        lambda _: lattice.pascal_row(np.int64(3), np.int64(60))[60],
        lattice.pascal_row(3, 60)[60],
    ),
    answers("lattice.pascal_coefficient", "a place outside of the row", lambda _: lattice.pascal_coefficient(3, 4, -1), 0),
    refuses("lattice.pascal_coefficient", "half a place", lambda _: lattice.pascal_coefficient(3, 4, 0.5), "n is 0.5"),
    refuses(
        "lattice.pascal_coefficient",
        "a huge middle",
        lambda _: lattice.pascal_coefficient(3, HUGE, HUGE),
        "pascal_coefficient",
        ResourceError,
    ),
    refuses("lattice.residual_row", "an even kernel", lambda _: lattice.residual_row(4, 3), "use an odd one"),
    refuses("lattice.residual_row", "a bool depth", lambda _: lattice.residual_row(3, True), "depth is True"),
    refuses("lattice.stern", "a negative place", lambda _: lattice.stern(-1), "n is -1"),
    answers("lattice.stern", "a place of 2^4000", lambda _: lattice.stern(2**4000), 1),
    refuses("lattice.stern_period", "a depth of 64", lambda _: lattice.stern_period(64), "the limit is 2^24", ResourceError),
    refuses("lattice.stern_period", "a NaN depth", lambda _: lattice.stern_period(float("nan")), "depth is nan"),
    refuses("lattice.stern_maximum", "a negative depth", lambda _: lattice.stern_maximum(-1), "depth is -1"),
    refuses("lattice.stern_maximum", "a huge depth", lambda _: lattice.stern_maximum(HUGE), "its logarithm", ResourceError),
    refuses(
        "lattice.strip_counts_spectral",
        "an output that is not there",
        lambda _: lattice.strip_counts_spectral(5, 2, 5),
        "output is 5",
    ),
    refuses(
        "lattice.strip_counts_spectral", "a float output", lambda _: lattice.strip_counts_spectral(5, 2, 1.0), "output is 1.0"
    ),
    refuses("lattice.strip_counts_reflection", "no width", lambda _: lattice.strip_counts_reflection(0, 2), "width is 0"),
    refuses(
        "lattice.strip_counts_reflection",
        "a huge width",
        lambda _: lattice.strip_counts_reflection(HUGE, 2),
        "width",
        ResourceError,
    ),
    answers("lattice.strip_counts_reflection", "one cell", lambda _: lattice.strip_counts_reflection(1, 9), [1]),
    refuses("lattice.perron_vector", "a width of -3", lambda _: lattice.perron_vector(-3), "width is -3"),
    refuses("lattice.perron_vector", "a huge width", lambda _: lattice.perron_vector(HUGE), "width", ResourceError),
    refuses("lattice.perron_depth", "a NaN tolerance", lambda _: lattice.perron_depth(8, float("nan")), "tolerance is nan"),
    refuses("lattice.perron_depth", "a tolerance of 0", lambda _: lattice.perron_depth(8, 0), "tolerance is 0"),
    refuses("lattice.perron_depth", "a tolerance that is a word", lambda _: lattice.perron_depth(8, "1"), "tolerance is '1'"),
    answers("lattice.perron_depth", "one cell", lambda _: lattice.perron_depth(1), 0),
    refuses("lattice.offset_moments", "padding", lambda _: lattice.offset_moments(LINE), "conv1", IrregularLatticeError),
    answers(
        "lattice.closed_forms.limits.Moments",
        "no layers",
        lambda _: lattice.offset_moments(over())[0],
        Moments(Fraction(0), Fraction(0)),
    ),
    refuses("lattice.gaussian_limit", "order 3", lambda _: lattice.gaussian_limit(DEEP, 0, 3), "order is 3"),
    refuses("lattice.gaussian_limit", "an output that is not there", lambda _: lattice.gaussian_limit(DEEP, 1), "no unit at"),
    answers(
        "lattice.closed_forms.limits.GaussianLimit",
        "kernels of one cell",
        lambda _: lattice.gaussian_limit(families.plain(3, 2, 1), 1).total_variation,
        0.0,
    ),
]

SYMBOLS = [
    refuses(
        "lattice.path_polynomial", "an output that is not there", lambda _: lattice.path_polynomial(DEEP, 5, 0), "no unit at"
    ),
    answers("lattice.path_polynomial", "units that no path joins", lambda _: lattice.path_polynomial(LINE, 0, 7), 0),
    refuses(
        "lattice.path_polynomials",
        "an input channel that is not there",
        lambda _: lattice.path_polynomials(LINE, 0, input_channel=-1),
        "input_channel is -1",
    ),
    refuses("lattice.variance_symbols", "no lattice", lambda _: lattice.variance_symbols("net"), "Lattice"),
    refuses(
        "lattice.generating_function", "no lattice", lambda _: lattice.generating_function("net"), "takes a lattice.Lattice"
    ),
    refuses("lattice.closed_forms.formulas.pascal_formula", "kernel 0", lambda _: pascal_formula(0), "kernel is 0"),
    refuses("lattice.closed_forms.formulas.pascal_formula", "a kernel of 2.5", lambda _: pascal_formula(2.5), "kernel is 2.5"),
    refuses(
        "lattice.closed_forms.formulas.pascal_formula",
        "a depth that is no formula",
        lambda _: pascal_formula(3, "L +"),
        "depth",
    ),
    refuses(
        "lattice.closed_forms.formulas.pascal_formula",
        "a depth that would run",
        lambda f: pascal_formula(3, f"open({str(f / 'ran')!r}, 'w')"),
        "depth",
    ),
    refuses("lattice.closed_forms.formulas.residual_formula", "kernel 0", lambda _: residual_formula(0), "kernel is 0"),
    refuses("lattice.closed_forms.formulas.residual_formula", "an even kernel", lambda _: residual_formula(4), "odd kernel"),
    refuses("lattice.closed_forms.formulas.strip_formula", "a list for a width", lambda _: strip_formula([3]), "width"),
    answers("lattice.closed_forms.formulas.PascalNumber", "a place outside of the row", lambda _: PascalNumber(3, 2, 5), 0),
    refuses("lattice.closed_forms.formulas.PascalNumber", "a negative kernel", lambda _: PascalNumber(-3, 2, 1), "kernel"),
]

GEOMETRY = [
    refuses("lattice.plot_counts", "three axes", lambda _: lattice.plot_counts(np.ones((2, 2, 2))), "axes"),
    refuses("lattice.plot_counts", "counts beyond float64", lambda _: lattice.plot_counts([10**400, 1]), "float64"),
    refuses("lattice.plot_counts", "a word", lambda _: lattice.plot_counts("counts"), "counts"),
    refuses("lattice.receptive_field", "a layer that is not there", lambda _: lattice.receptive_field(LINE, "conv9"), "conv9"),
    refuses(
        "lattice.receptive_field", "a channel that is not there", lambda _: lattice.receptive_field(LINE, channel=7), "channel"
    ),
    refuses("lattice.receptive_fields", "a shape", lambda _: lattice.receptive_fields((1, 8)), "Lattice"),
    answers(
        "lattice.geometry.receptive_field.ReceptiveField",
        "a lattice without layers",
        lambda _: lattice.receptive_field(over()).axes[0].size,
        1,
    ),
    answers(
        "lattice.geometry.receptive_field.AxisField",
        "a stride beyond the input",
        lambda _: lattice.receptive_field(over(Conv(1, 3, 100))).axes[0].size,
        3,
    ),
    answers(
        "lattice.geometry.receptive_field.last_map",
        "a flat lattice",
        lambda _: last_map(Lattice.chain((4,), [Dense(2)])),
        "input",
    ),
    answers("lattice.evenness", "no windows", lambda _: lattice.evenness(over()), ()),
    refuses("lattice.evenness", "None", lambda _: lattice.evenness(None), "Lattice"),
    answers(
        "lattice.geometry.evenness.StageEvenness",
        "a stride beyond the input",
        lambda _: lattice.evenness(over(Conv(1, 1, 99)))[0].missed,
        (0, 7),
    ),
    refuses("lattice.even_sizes", "a number for a function", lambda _: lattice.even_sizes(224), "net_of_size"),
    refuses(
        "lattice.even_sizes",
        "a negative range",
        lambda _: lattice.even_sizes(lambda n: families.plain(n, 1), within=-1),
        "within is -1",
    ),
    refuses(
        "lattice.even_sizes",
        "a float centre",
        lambda _: lattice.even_sizes(lambda n: families.plain(n, 1), around=20.5),
        "around is 20.5",
    ),
    answers(
        "lattice.even_sizes", "sizes that no net has", lambda _: lattice.even_sizes(lambda n: families.plain(n, 200), 20, 4), ()
    ),
    refuses("lattice.to_networkx", "a dictionary", lambda _: lattice.to_networkx({}), "Lattice"),
    refuses(
        "lattice.unit_graph", "too many edges", lambda _: lattice.unit_graph(LINE, most_edges=10), "most_edges", ResourceError
    ),
    refuses(
        "lattice.draw_lattice", "commands without an output", lambda _: lattice.draw_lattice(DEEP, commands=[0] * 4), "output"
    ),
    refuses(
        "lattice.draw_lattice", "counts of something", lambda _: lattice.draw_lattice(DEEP, counts="none"), "counts is 'none'"
    ),
    refuses("lattice.draw_lattice", "an output that is not there", lambda _: lattice.draw_lattice(DEEP, 3), "no unit at"),
    refuses("lattice.draw_lattice", "a figure for an axes", lambda _: lattice.draw_lattice(DEEP, ax="figure"), "ax"),
    refuses("lattice.draw_pascal", "kernel 0", lambda _: lattice.draw_pascal(0), "kernel is 0"),
    refuses(
        "lattice.draw_pascal",
        "a huge depth",
        lambda _: lattice.draw_pascal(3, HUGE),
        "cannot be read side by side",
        ResourceError,
    ),
]


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

CASES = [*OPS, *LATTICES, *PATHS, *CLOSED_FORMS, *SYMBOLS, *GEOMETRY, *ERRORS]
