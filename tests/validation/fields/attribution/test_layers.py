"""Which layer and which unit: every kind of module by its name, and clear answers where there is none."""

import numpy as np
import pytest
import torch
from torch import nn

from lattice import AssumptionError, SpecificationError, UnsupportedError
from validation import effective_receptive_field
from validation.fields.attribution.layers import UpTo, find_layer


def by_hand(model, images, name, pick):
    """Mean over images of the sum over channels of |d sum_c h_c / dx|, with a hook of one's own."""
    kept = []
    handle = model.get_submodule(name).register_forward_hook(lambda _, __, out: kept.append(out))
    total = 0
    for image in images:
        x = image[None].clone().requires_grad_(True)
        model(x)
        (gradient,) = torch.autograd.grad(pick(kept.pop()).sum(), x)
        total = total + gradient[0].abs().double().sum(dim=0).numpy()
    handle.remove()
    return total / len(images)


def test_a_vision_transformer_has_a_grid_of_tokens_after_its_class_token(nets):
    model = nets["patches"]().eval()
    images = torch.randn(3, 3, 16, 16)
    field = effective_receptive_field(model, images, layer="encoder.layers.0", statistic="absolute")
    assert (field.unit, field.grid, field.cell) == ((11,), (4, 4), ((8, 12), (8, 12)))  # token 1 + 2 * 4 + 2
    expected = by_hand(model, images, "encoder.layers.0", lambda out: out[:, 11])
    assert np.allclose(field.mean, expected, rtol=1e-4, atol=1e-6 * expected.max())  # batches of 3 and of 1 in float32
    same = effective_receptive_field(model, images, layer="encoder.layers.0", statistic="absolute", unit=(2, 2))
    assert np.array_equal(same.mean, field.mean)
    token = effective_receptive_field(model, images, layer="encoder.layers.0", statistic="absolute", unit=0)
    assert token.cell is None  # the class token stands for no pixels
    assert token.unit == (0,)


def test_without_a_name_the_last_layer_with_positions_is_taken(nets):
    assert effective_receptive_field(nets["patches"](), torch.randn(2, 3, 16, 16)).layer == "encoder"
    assert effective_receptive_field(nets["unet"](), torch.randn(2, 1, 16, 16)).layer == ""
    head = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    assert effective_receptive_field(head, torch.randn(2, 1, 9, 9)).layer == "0"


class Windows(nn.Module):
    """Channels last, as Swin's blocks are: (N, rows, columns, C) inside."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 10, 4, stride=4)
        self.block = nn.Sequential(nn.LayerNorm(10), nn.Linear(10, 10))

    def forward(self, x):
        y = self.embed(x).permute(0, 2, 3, 1)
        return (y + self.block(y)).permute(0, 3, 1, 2)


def test_channels_last_is_read_from_the_shapes():
    model = Windows().eval()
    images = torch.randn(2, 3, 16, 16)
    field = effective_receptive_field(model, images, layer="block", statistic="absolute")
    assert field.grid == (4, 4)
    assert np.allclose(field.mean, by_hand(model, images, "block", lambda out: out[:, 2, 2]), rtol=1e-5)


def test_where_shapes_do_not_tell_the_kinds_of_layers_do():
    square = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())  # (8, 8, 8)
    assert not find_layer(square, torch.zeros(1, 3, 8, 8), "0").channels_last
    last = nn.Sequential(nn.Linear(8, 8), nn.GELU())
    assert find_layer(last, torch.zeros(1, 8, 8, 8), "1", channels_last=True).channels_last
    unknown = nn.Sequential(nn.Linear(8, 8), nn.Conv2d(8, 8, 1), nn.Identity())
    with pytest.raises(SpecificationError, match="layout='channels_first'"):
        find_layer(unknown, torch.zeros(1, 8, 8, 8), "2")
    assert find_layer(unknown, torch.zeros(1, 8, 8, 8), "2", layout="channels_last").channels_last


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_look_back(kind):
    torch.manual_seed(0)
    model = nn.Sequential(kind(3, 5, batch_first=True))
    field = effective_receptive_field(model, torch.randn(4, 9, 3), layer="0", unit=6, channels_last=True)
    assert (field.mean[:7] > 0).all()
    assert not field.mean[7:].any()


def test_attention_alone_returns_two_tensors_and_the_first_is_meant():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x)[0]

    field = effective_receptive_field(Attend(), torch.randn(3, 7, 4), layer="attention", channels_last=True)
    assert field.grid == (7,)
    assert (field.mean > 0).all()


def test_inputs_that_are_not_first_are_refused():
    model = nn.TransformerEncoderLayer(4, 2, 8)  # (tokens, N, C)
    with pytest.raises((UnsupportedError, SpecificationError), match="batch_first"):
        effective_receptive_field(nn.Sequential(Transposed(), model), torch.randn(3, 7, 4), layer="1", channels_last=True)


def test_images_that_are_read_as_time_are_noticed():
    lstm = nn.Sequential(nn.LSTM(4, 5))  # reads (T, N, C): the images of a batch are its time
    with pytest.raises(UnsupportedError, match="depend on the images beside it"):
        effective_receptive_field(lstm, torch.randn(4, 7, 4), layer="0", channels_last=True, layout="channels_last")
    with pytest.raises(UnsupportedError, match="depend on the images beside it"):
        effective_receptive_field(lambda: nn.Sequential(nn.LSTM(4, 5)), (7, 4), layer="0", channels_last=True, draws=3)
    norm = nn.BatchNorm1d(2, track_running_stats=False)  # statistics of the batch, in evaluation mode too
    with pytest.raises(UnsupportedError, match="batch_size=1"):
        effective_receptive_field(norm, torch.randn(4, 2, 7))
    assert effective_receptive_field(norm, torch.randn(4, 2, 7), batch_size=1).count == 4


class Transposed(nn.Module):
    def forward(self, x):
        return x.transpose(0, 1)


def test_a_later_layer_in_place_does_not_change_what_the_layer_returned():
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 3, 3, padding=1)
    images = torch.randn(3, 1, 7, 7)
    alone = effective_receptive_field(nn.Sequential(conv), images, statistic="absolute")
    followed = effective_receptive_field(nn.Sequential(conv, nn.ReLU(inplace=True)), images, layer="0", statistic="absolute")
    assert np.array_equal(alone.mean, followed.mean)


def test_of_a_layer_that_runs_twice_the_last_time_counts():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), relu, nn.Conv1d(1, 1, 3, padding=1), relu)
    layer = find_layer(model, torch.zeros(1, 1, 9), "1")
    assert layer.calls == 2
    assert torch.equal(UpTo(model, layer)(torch.ones(1, 1, 9)), model(torch.ones(1, 1, 9)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": "1"}, SpecificationError, "nearest names first"),
        ({"layer": "spare"}, SpecificationError, "does not run in a forward pass"),
        ({"unit": (9, 0)}, SpecificationError, "8 x 8 units"),
        ({"unit": (1,)}, SpecificationError, "2 whole numbers"),
        ({"unit": "middle"}, SpecificationError, "'centre', 'mean'"),
        ({"unit": (1.5, 2)}, SpecificationError, "whole numbers"),
        ({"statistic": "cubed"}, SpecificationError, "squared, absolute, signed"),
        ({"layout": "sideways"}, SpecificationError, "channels_last"),
        ({"batch_size": 0}, SpecificationError, "batch_size"),
        ({"device": "tpu"}, SpecificationError, "device"),
    ],
)
def test_a_request_that_cannot_be_met_says_what_would_do(options, error, message):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.spare = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(x)

    with pytest.raises(error, match=message):
        effective_receptive_field(Net(), torch.randn(2, 3, 8, 8), **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "grid"),
    [
        ("vit_b_16", (3, 224, 224), (14, 14)),
        ("swin_t", (3, 64, 64), (2, 2)),
        ("convnext_tiny", (3, 64, 64), (2, 2)),
        ("maxvit_t", (3, 224, 224), (7, 7)),
        ("r3d_18", (3, 8, 32, 32), (1, 2, 2)),
        ("swin3d_t", (3, 8, 64, 64), (4, 2, 2)),
    ],
)
def test_networks_of_torchvision_have_the_grids_that_they_have(name, shape, grid):
    torchvision = pytest.importorskip("torchvision")
    field = effective_receptive_field(torchvision.models.get_model(name, weights=None), torch.randn(2, *shape))
    assert field.grid == grid
    assert field.mean.shape == shape[1:]
    first = field.cell[-1][0]
    assert field.mean[..., first : field.cell[-1][1]].sum() > 0


def test_networks_without_a_field_are_refused():
    images = torch.randn(2, 1, 6)

    class Detached(nn.Module):
        def forward(self, x):
            return nn.functional.conv1d(x.detach(), torch.ones(1, 1, 3, requires_grad=True))

    with pytest.raises(UnsupportedError, match="not depend on the input"):
        effective_receptive_field(Detached(), images, layout="channels_first")
    broken = nn.Conv1d(1, 1, 3)
    broken.weight.data[:] = float("nan")
    with pytest.raises(AssumptionError, match="image 0 has features that are NaN"):
        effective_receptive_field(broken, images)
    with pytest.raises(UnsupportedError, match="raised RuntimeError for an input of shape"):
        effective_receptive_field(nn.Conv1d(2, 1, 3), images)
    with pytest.raises(UnsupportedError, match="features at positions"):
        effective_receptive_field(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)), images)
    with pytest.raises(SpecificationError, match="without arguments"):
        effective_receptive_field("resnet18", images)
    dead = nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU())
    nn.init.constant_(dead[0].bias, -1e6)
    with pytest.raises(UnsupportedError, match="gradient zero at every pixel"):
        effective_receptive_field(dead, images)
