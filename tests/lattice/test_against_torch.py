"""Every layer reads what torch's layer of that name reads: path counts are the Jacobian of the net with all weights one."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Lattice,
    Norm,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    Unit,
    Upsample,
    path_counts,
)
from lattice.network.shapes import output_shape
from lattice.sweep.pullback import pull_back
from lattice.testing.strategies import EVERY_MODE, lattices, layers
from tests.lattice.in_torch import padded

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


ADAPTIVE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


NUMPY = {"circular": "wrap", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}


def pairs(padding, axes):
    """(lo, hi) per axis, from what the user wrote."""
    if isinstance(padding, int):
        return [(padding, padding)] * axes
    if axes == 1 and all(isinstance(p, int) for p in padding) and len(padding) == 2:
        return [tuple(padding)]
    return [(p, p) if isinstance(p, int) else p for p in padding]


def tuples(value, axes):
    return (value,) * axes if isinstance(value, int) else tuple(value)


def torch_conv(op, x):
    axes = x.ndim - 2
    stride, dilation, kernel = (tuples(value, axes) for value in (op.stride, op.dilation, op.kernel))
    if op.padding == "same":  # TensorFlow's rule, from its documentation
        totals = []
        for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
            span = d * (k - 1) + 1
            totals.append(max(span - s, 0) if n % s == 0 else max(span - n % s, 0))
        pads = [(total // 2, total - total // 2) for total in totals]
    else:
        pads = pairs(0 if op.padding == "valid" else op.padding, axes)
    weight = torch.ones(op.channels, x.shape[1] // op.groups, *kernel, dtype=x.dtype)
    x = padded(x, pads, op.mode)
    return CONVOLUTIONS[axes](x, weight, stride=stride, dilation=dilation, groups=op.groups)


def torch_conv_transpose(op, x):
    axes = x.ndim - 2
    pads, extra = pairs(op.padding, axes), tuples(op.output_padding, axes)
    weight = torch.ones(x.shape[1], op.channels // op.groups, *tuples(op.kernel, axes), dtype=x.dtype)
    settings = {"stride": tuples(op.stride, axes), "dilation": tuples(op.dilation, axes), "groups": op.groups}
    if all(lo == hi for lo, hi in pads):
        return TRANSPOSED[axes](x, weight, padding=tuple(lo for lo, _ in pads), output_padding=extra, **settings)
    whole = TRANSPOSED[axes](x, weight, output_padding=extra, **settings)
    for axis, (lo, hi) in enumerate(pads, start=2):
        whole = whole.narrow(axis, lo, whole.shape[axis] - lo - hi)
    return whole


def torch_pool(op, x):
    """Averages only: a maximum reads the same cells, and its gradient depends on the data."""
    axes = x.ndim - 2
    pads = tuple(lo for lo, _ in pairs(op.padding, axes))
    arguments = tuples(op.kernel, axes), tuples(op.stride, axes), pads, op.ceil
    return AVERAGES[axes](x, *arguments, count_include_pad=op.count_include_pad)


def torch_blur(op, x):
    """A grouped convolution with an outer product of the taps, over numpy's padding."""
    axes = x.ndim - 2
    row = torch.tensor(op.taps, dtype=x.dtype) / sum(op.taps)
    weight = torch.ones((), dtype=x.dtype)
    for _ in range(axes):
        weight = weight[..., None] * row
    x = padded(x, pairs(op.padding, axes), op.mode)
    weight = weight.expand(x.shape[1], 1, *weight.shape)
    return (F.conv1d, F.conv2d, F.conv3d)[axes - 1](x, weight, stride=tuples(op.stride, axes), groups=x.shape[1])


def torch_pixel_shuffle(op, x):
    if x.ndim == 4:
        return F.pixel_shuffle(x, op.factor)
    # torch has it in two dimensions only: nn.PixelShuffle's formula, with as many axes as there are
    r, axes = op.factor, x.ndim - 2
    channels, spatial = x.shape[1] // r**axes, x.shape[2:]
    x = x.reshape(1, channels, *(r,) * axes, *spatial)
    order = [axis for k in range(axes) for axis in (2 + axes + k, 2 + k)]
    return x.permute(0, 1, *order).reshape(1, channels, *(n * r for n in spatial))


LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


IN_TORCH = {
    Conv: torch_conv,
    ConvTranspose: torch_conv_transpose,
    Pool: torch_pool,
    AdaptivePool: lambda op, x: ADAPTIVE[x.ndim - 2](x, tuples(op.size, x.ndim - 2)),
    GlobalPool: lambda op, x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True),
    Pad: lambda op, x: padded(x, pairs(op.padding, x.ndim - 2), op.mode),
    Blur: torch_blur,
    Upsample: lambda op, x: F.interpolate(
        x,
        scale_factor=tuple(map(float, tuples(op.scale, x.ndim - 2))),
        mode="nearest" if op.mode == "nearest" else LINEAR[x.ndim - 2],
    ),
    PixelShuffle: torch_pixel_shuffle,
    Slice: lambda op, x: x[:, op.start : op.stop],
    ChannelShuffle: lambda op, x: torch.nn.ChannelShuffle(op.groups)(x),
    Flatten: lambda op, x: x.flatten(1),
    Dense: lambda op, x: F.linear(x, torch.ones(op.units, x.shape[1], dtype=x.dtype)),
    Activation: lambda op, x: x,
    Norm: lambda op, x: x,
    Dropout: lambda op, x: x,
}


def forward(net, x):
    values = []
    for node in net.nodes:
        below = [values[i] for i in node.inputs]
        if isinstance(node.op, Add):
            values.append(sum(below[1:], below[0]))
        elif isinstance(node.op, Concat):
            values.append(torch.cat(below, dim=1))
        else:
            values.append(IN_TORCH[type(node.op)](node.op, below[0]) if below else x)
    return values[-1]


def jacobian(net):
    """(*output, *input), exact in float64 far beyond the counts of drawn nets."""
    x = torch.zeros(1, *net.input_shape, dtype=torch.float64)
    matrix = torch.autograd.functional.jacobian(lambda x: forward(net, x), x)
    return matrix.reshape(*net.output_shape, *net.input_shape).numpy()


def counts_of_every_unit(net):
    """(*output, *input): the pull-back of every output unit."""
    units = int(np.prod(net.output_shape))
    batch = np.eye(units, dtype=int).astype(object).reshape(units, *net.output_shape)
    pulled = np.broadcast_to(pull_back(net, lambda node: 1, batch), (units, *net.input_shape))
    return pulled.reshape(*net.output_shape, *net.input_shape)


def assert_counts_are_the_jacobian(net, pattern=False):
    """Raises where a count differs from torch's derivative, or, for weights that are not one, from whether there is one."""
    derivative = jacobian(net)
    counts = counts_of_every_unit(net)
    assert derivative.shape == counts.shape
    if pattern:
        derivative = (derivative != 0).astype(float)
    assert (counts.astype(float) == derivative).all(), (net, counts, derivative)


SHAPES = st.sampled_from([(1, 6), (2, 5), (4, 4), (9, 3), (1, 5, 4), (4, 3, 4), (2, 1, 6), (1, 3, 4, 3), (8, 2, 2, 3)])


WEIGHTED = (Conv, ConvTranspose)


FIXED = (AdaptivePool, GlobalPool, Upsample, Pool, Blur)


COPIES = (Pad, PixelShuffle, Slice, ChannelShuffle, Flatten)


@pytest.mark.parametrize("op", [*WEIGHTED, *COPIES[:-1]], ids=lambda op: op.__name__)
def test_a_layer_reads_what_torch_reads(op):
    @settings(max_examples=150, database=None)
    @given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), layers(shape, modes=EVERY_MODE, ops=[op]))))
    def check(drawn):
        shape, layer = drawn
        assert_counts_are_the_jacobian(Lattice.chain(shape, [layer]))

    check()


@pytest.mark.parametrize("op", FIXED, ids=lambda op: op.__name__)
def test_a_layer_with_fixed_weights_reads_what_torch_reads(op):
    """A window reads a cell once, so the cells with a derivative are the paths, whatever an average divides by."""

    @settings(max_examples=150, database=None)
    @given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), layers(shape, ops=[op]))))
    def check(drawn):
        shape, layer = drawn
        if isinstance(layer, Pool) and layer.kind == "max":
            return
        assert_counts_are_the_jacobian(Lattice.chain(shape, [layer]), pattern=True)

    check()


@settings(max_examples=150)
@given(SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), layers(shape, ops=[Pool]))))
def test_a_max_pool_chooses_among_the_cells_that_it_reads(drawn):
    shape, op = drawn
    axes = len(shape) - 1
    if op.kind != "max":
        return
    pads = tuple(lo for lo, _ in pairs(op.padding, axes))
    arguments = tuples(op.kernel, axes), tuples(op.stride, axes), pads, tuples(op.dilation, axes), op.ceil
    net = Lattice.chain(shape, [op])
    counts = counts_of_every_unit(net)
    # every cell in turn is the largest: it wins wherever it is read, and nowhere else
    for index in np.ndindex(shape):
        x = torch.zeros(1, *shape, dtype=torch.float64)
        x[(0, *index)] = 1
        wins = MAXIMA[axes](x, *arguments)[0].numpy()
        assert wins.shape == output_shape(op, shape)
        assert (counts[(..., *index)] == wins).all()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding_at_stride_one_is_torchs_same(kernel, dilation):
    x = torch.zeros(1, 1, 9, dtype=torch.float64)
    weight = torch.ones(1, 1, kernel, dtype=torch.float64)
    theirs = torch.autograd.functional.jacobian(lambda x: F.conv1d(x, weight, padding="same", dilation=dilation), x)
    net = Lattice.chain((1, 9), [Conv(1, kernel, padding="same", dilation=dilation)])
    assert (counts_of_every_unit(net)[0, :, 0].astype(float) == theirs.reshape(9, 9).numpy()).all()


ONES = (Conv, ConvTranspose, Pad, PixelShuffle, Slice, ChannelShuffle, Activation, Norm, Dropout)


@settings(max_examples=200)
@given(lattices(ops=ONES))
def test_a_whole_net_of_ones_has_its_path_counts_as_jacobian(net):
    assert_counts_are_the_jacobian(net)


@settings(max_examples=60)
@given(lattices(ops=ONES))
def test_the_summed_jacobian_is_the_map_of_all_outputs(net):
    summed = jacobian(net).reshape(-1, *net.input_shape).sum(axis=0)
    for channel in range(net.input_shape[0]):
        assert (path_counts(net, input_channel=channel).astype(float) == summed[channel]).all()


@settings(max_examples=150)
@given(lattices())
def test_any_net_reads_the_cells_that_torch_reads(net):
    """Fixed positive weights cannot cancel: a derivative is there iff a path is."""
    if not any(isinstance(node.op, Pool | AdaptivePool | GlobalPool) and node.op.kind == "max" for node in net.nodes):
        assert ((counts_of_every_unit(net) > 0) == (jacobian(net) > 0)).all()


def test_one_output_unit_of_a_deep_net_in_exact_float64():
    net = Lattice.chain(
        (2, 21, 17), [Conv(4, 3, padding=1), Conv(4, (3, 5), 2, dilation=(1, 2), padding=(1, 3)), Conv(3, 3, groups=1)]
    )
    unit = Unit((2, 1), 2)
    assert (path_counts(net, unit).astype(float) == jacobian(net)[2, 2, 1, 0]).all()
