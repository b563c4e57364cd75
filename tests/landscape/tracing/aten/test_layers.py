"""Convolutions, pools, paddings and resizes: the lattice, built again with the weights, computes what the model computes."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import lattice
from landscape import trace
from lattice import UnsupportedError
from lattice.network.rearrange import Resample
from tests.landscape.tracing.models import Beside, Function, assert_computes_the_same, read

LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


LAYERS = [
    pytest.param(
        LINE,
        [
            nn.Conv1d(2, 4, 3, 2, padding=1, dilation=2, groups=2, bias=False),
            nn.Conv1d(2, 3, 4, padding="same", dilation=1, bias=False),
            nn.Conv1d(2, 3, 4, padding="valid", stride=3, bias=False),
            nn.ConvTranspose1d(2, 4, 3, 3, padding=1, output_padding=2, groups=2, bias=False),
            nn.Sequential(nn.Flatten(), nn.Linear(22, 3, bias=False)),
        ],
        id="layers with weights of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.Conv2d(4, 6, (3, 2), (1, 2), padding=(2, 0), dilation=(2, 1), groups=2, bias=False),
            nn.Conv2d(4, 3, (2, 4), padding="same", dilation=(3, 1), bias=False),
            nn.Conv2d(4, 3, (3, 2), padding=(1, 0), padding_mode="reflect", bias=False),
            nn.Conv2d(4, 3, 3, padding=(2, 1), padding_mode="circular", bias=False),
            nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (0, 2), groups=2, bias=False, dilation=(1, 2)),
        ],
        id="layers with weights of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.Conv3d(2, 2, (1, 2, 3), (2, 1, 3), padding=(0, 1, 2), bias=False),
            nn.ConvTranspose3d(2, 1, (1, 2, 3), (2, 1, 1), padding=(0, 0, 1), bias=False),
        ],
        id="layers with weights of three axes",
    ),
    pytest.param(
        LINE,
        [
            nn.MaxPool1d(3, 2, 1, ceil_mode=True),
            nn.AvgPool1d(3, 2, 1, count_include_pad=False),
            nn.AdaptiveAvgPool1d(4),
            nn.AdaptiveMaxPool1d(4),
            lambda x: x.mean(-1),
        ],
        id="pools of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.MaxPool2d((3, 2)),
            nn.MaxPool2d((3, 2), (1, 3), (1, 0), (2, 1)),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.AvgPool2d((3, 2)),
            nn.AvgPool2d(3, (2, 1), (0, 1)),
            nn.AvgPool2d(4, 3, 1, ceil_mode=True, count_include_pad=False),
            nn.AdaptiveAvgPool2d((3, 4)),
            nn.AdaptiveAvgPool2d((1, 4)),
            nn.AdaptiveAvgPool2d(1),
            nn.AdaptiveMaxPool2d((3, 1)),
            nn.AdaptiveMaxPool2d(1),
            lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        ],
        id="pools of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.MaxPool3d((2, 1, 3), (1, 2, 3)),
            nn.AvgPool3d((2, 1, 3), (1, 2, 3), (1, 0, 1)),
            nn.AdaptiveAvgPool3d((2, 3, 1)),
            nn.AdaptiveMaxPool3d((2, 3, 4)),
        ],
        id="pools of three axes",
    ),
    pytest.param(
        LINE,
        [
            nn.ReflectionPad1d((2, 1)),
            nn.ZeroPad1d((3, 0)),
        ],
        id="paddings of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.ReflectionPad2d((2, 1, 0, 3)),
            nn.ReplicationPad2d((1, 3, 2, 0)),
            nn.CircularPad2d((1, 3, 2, 0)),
            lambda x: functional.pad(x, (1, 2, 0, 1), mode="replicate"),
        ],
        id="paddings of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.ReplicationPad3d((2, 1, 0, 3, 1, 0)),
            nn.ZeroPad3d((2, 1, 0, 3, 1, 0)),
            lambda x: functional.pad(x, (1, 2)),
        ],
        id="paddings of three axes",
    ),
    pytest.param(
        LINE,
        [
            nn.Upsample(scale_factor=3),
            nn.Upsample(size=7, mode="linear"),
        ],
        id="resizing of one axis",
    ),
    pytest.param(
        PLANE,
        [
            nn.Upsample(scale_factor=(2, 3), mode="bilinear"),
            nn.Upsample(size=(3, 15), mode="bilinear", align_corners=True),
            nn.UpsamplingBilinear2d(scale_factor=1.5),
        ],
        id="resizing of two axes",
    ),
    pytest.param(
        SOLID,
        [
            nn.Upsample(size=(7, 4, 9)),
            nn.Upsample(size=(7, 4, 9), mode="trilinear"),
        ],
        id="resizing of three axes",
    ),
]


@pytest.mark.parametrize(("shape", "layers"), LAYERS)
def test_a_layer_is_read_with_all_of_its_options(shape, layers):
    assert_computes_the_same(shape, *layers)


def test_a_linear_layer_over_a_last_axis_of_channels_is_a_convolution():
    """A linear layer over the last axis is a convolution where that holds the channels."""

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 6, bias=False)

        def forward(self, x):
            return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    assert_computes_the_same(PLANE, Last())
    mixing = [nn.Sequential(Function(lambda x: x.transpose(1, 2)), nn.Linear(10, 3, bias=False)), nn.Linear(10, 3, bias=False)]
    assert_computes_the_same(PLANE, *mixing)  # positions stand as channels then


class Filter(nn.Module):
    """A fixed filter over every channel."""

    def __init__(self, taps, channels=2, bias=False, **options):
        super().__init__()
        taps = torch.tensor(taps)
        self.register_buffer("taps", taps.expand(channels, 1, *taps.shape).clone())
        self.register_buffer("bias", torch.ones(channels) if bias else None)
        self.options = options
        self.convolve = getattr(functional, f"conv{taps.ndim}d")

    def forward(self, x):
        return self.convolve(x, self.taps, self.bias, **self.options)


ROW = [0.2, 0.5, 0.3]


def test_a_fixed_filter_is_a_blur():
    square = np.multiply.outer(ROW, ROW)
    lines = [Filter(ROW, groups=2, stride=2, padding=1), Filter(ROW, groups=2), Filter(ROW, groups=2, padding="same")]
    assert_computes_the_same((2, 9), *lines)
    assert_computes_the_same((2, 9, 8), Filter(square.tolist(), groups=2, stride=(2, 1), padding=(0, 1)))
    assert_computes_the_same((2, 4, 5, 6), Filter(np.multiply.outer(square, ROW).tolist(), groups=2, padding=1))


def test_another_fixed_filter_is_refused():
    filters = [
        Filter([0.2, 0.5, 0.4], groups=2),  # its sum is not one
        Filter([0.5, 0.0, 0.5], groups=2),
        Filter(ROW, groups=2, dilation=2),
        Filter(ROW, groups=2, bias=True),
        Filter(ROW, groups=2, channels=4),
    ]
    with pytest.raises(UnsupportedError, match=r"^5 operations"):
        trace(Beside(*filters), (2, 9))
    several = Filter(ROW, groups=2)
    several.taps[1] = torch.tensor([0.3, 0.5, 0.2])
    with pytest.raises(UnsupportedError, match="is a buffer, so fixed"):
        trace(several, (2, 9))


def test_a_pool_of_one_cell_changes_nothing():
    assert read(nn.Sequential(nn.MaxPool2d(1), nn.AvgPool2d(1), nn.AdaptiveMaxPool2d((7, 10)), nn.ReLU()))[1] == [
        lattice.Activation("relu")
    ]
    assert read(nn.MaxPool2d(1, 2))[1] == [lattice.Pool("avg", (1, 1), (2, 2), (0, 0), (1, 1))]


@pytest.mark.parametrize("layer", [nn.MaxPool1d(2, 2, ceil_mode=True), nn.AvgPool1d(3, 4, 1, ceil_mode=True)])
def test_a_window_larger_than_what_it_reads_has_an_output_in_ceil_mode(layer):
    assert_computes_the_same((4, 1), layer)


def test_nearest_resizes_read_the_cells_that_torch_reads():
    """2 to 82 is one of the pairs of sizes where rounding in single precision reads another cell."""
    assert read(nn.Upsample(size=82), (2, 2))[1] == [lattice.Upsample(size=(82,))]
    assert read(nn.Upsample(scale_factor=41), (2, 2))[1] == [lattice.Upsample(size=(82,))]
    assert read(nn.Upsample(scale_factor=1.5), (2, 6))[1] == [lattice.Upsample(size=(9,))]
    with pytest.raises(UnsupportedError, match="do not fit"):
        read(nn.Upsample(scale_factor=1.4), (2, 7))


def test_a_maximum_over_lowest_padding_is_a_max_pool_that_pads():
    class Same(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(2, 4, 1)

        def forward(self, x):
            return functional.max_pool2d(functional.pad(self.layer(x), (0, 1, 1, 2), value=-torch.inf), 3, 2)

    torch.manual_seed(0)
    traced = trace(Same(), (2, 6, 8), initialisation="weights")
    assert not traced.unproven
    assert traced.lattice.nodes[-1].op == lattice.Pool("max", (3, 3), (2, 2), ((1, 2), (0, 1)), (1, 1))


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 4, 3, 2, 1, groups=4), nn.MaxPool2d(3, 2, 1)])
def test_windows_in_the_axis_of_the_batch_are_an_axis_of_positions(layer):
    """A layer in each of four windows, whose padding is that of the window."""

    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.layer = nn.Conv2d(2, 4, 3, padding=1), layer

        def forward(self, x):
            x = self.stem(x).unflatten(2, (2, -1)).unflatten(-1, (2, -1)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
            x = self.layer(x).unflatten(0, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5)
            return x.flatten(4).flatten(2, 3)

    torch.manual_seed(0)
    traced = trace(Windows().eval(), (2, 8, 12), initialisation="weights")
    assert not traced.unproven
    (own,) = [node for node in traced.lattice.nodes if node.name == "layer"]
    assert traced.lattice.input_shapes(own)[0] == (4, 4, 4, 6)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1, "stride": (2, 3)},
        {"kernel_size": (2, 3), "dilation": 2},
        {"kernel_size": 1, "stride": 4},
    ],
)
def test_folded_windows_are_one_fixed_map_of_each_axis(options):
    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            columns = functional.unfold(torch.zeros(1, 1, 11, 8), **options).shape
            self.before, self.after = nn.Linear(12, 4 * columns[1]), nn.Conv2d(4, 2, 3)
            self.line = nn.Linear(7, columns[2])

        def forward(self, x):
            return self.after(functional.fold(self.line(self.before(x.mT).mT), (11, 8), **options))

    torch.manual_seed(0)
    traced = trace(Folded(), (12, 7), initialisation="weights")
    assert not traced.unproven
    assert sum(isinstance(node.op, Resample) for node in traced.lattice.nodes) == 1
