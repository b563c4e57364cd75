"""Models as users write them are understood completely, or refused in one error that lists everything."""

import logging
import warnings

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import lattice
import validation
from landscape import he, predict, trace
from landscape.weights.fresh_weights import problem_with
from landscape.weights.weight_draws import FINEST, LayerDraws
from lattice import AssumptionError, Conv, Lattice, SpecificationError, UnsupportedError, path_counts


def total_paths(model, shape):
    """All-ones weights in float64: the summed Jacobian counts the paths, in a network without pools and gates."""
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.ones_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    x = torch.ones(1, *shape, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    return gradient[0, 0].numpy()


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x):
        return F.relu(self.two(F.relu(self.one(x))))


class InPlace(Functional):
    def forward(self, x):
        kept = self.one(x)
        F.relu_(kept)  # `kept` now is the rectified tensor
        out = self.two(kept)
        out += 0 * out if False else out.clone()
        return out.relu_()


class Sequence(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(True))


@pytest.mark.parametrize("style", [Functional, Sequence])
def test_functional_and_in_place_styles_give_the_same_lattice(style):
    traced = trace(style(), (3, 12, 10)).lattice
    relu = lattice.Activation("relu")
    by_hand = Lattice.chain((3, 12, 10), [Conv(4, 3, padding=1), relu, Conv(4, 3, stride=2), relu])
    assert [type(node.op) for node in traced.nodes] == [type(node.op) for node in by_hand.nodes]
    assert (path_counts(traced) == path_counts(by_hand)).all()


def test_an_in_place_call_changes_what_later_readers_see():
    traced = trace(InPlace(), (3, 12, 12)).lattice
    names = {node.name: [traced.nodes[i].name for i in node.inputs] for node in traced.nodes}
    assert names["two"] == ["relu"]
    assert names["add"] == ["two", "two"]


class TwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(1, 2, 3, padding=1)
        self.again = self.first
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.again(self.act(x)))


def test_a_module_under_two_names_used_once_is_not_tied():
    assert [type(node.op).__name__ for node in trace(TwoNames(), (1, 9)).lattice.nodes] == [
        "Input",
        "Activation",
        "Conv",
        "Activation",
    ]


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv1d(2, 3, 5, stride=2, padding=1), nn.Conv1d(3, 1, 2, dilation=2)), (2, 30)),
        (nn.Sequential(nn.Conv2d(3, 6, (3, 2), padding=(1, 0), groups=3), nn.Conv2d(6, 2, 3, stride=(2, 1))), (3, 9, 14)),
        (nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 4 * 5 * 6, 3)), (1, 4, 5, 6)),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), nn.Conv2d(2, 2, 2, padding="valid")), (1, 6, 6)),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Conv2d(2, 1, 3)), (1, 6, 7)),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")), (1, 6, 7)),
        (nn.Sequential(nn.ReplicationPad2d((1, 0, 2, 1)), nn.Conv2d(1, 2, 3)), (1, 6, 7)),
        (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 2, 3, stride=2)), (1, 6, 6)),
        (nn.Sequential(nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1), nn.Conv2d(3, 1, 3)), (2, 5, 4)),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3)), (4, 3, 4)),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 2, 3, padding=1)), (1, 4, 5)),
    ],
    ids=lambda value: value[0].__class__.__name__ if isinstance(value, nn.Sequential) else None,
)
def test_the_traced_lattice_has_the_paths_of_the_model(model, shape):
    counts = path_counts(trace(model, shape).lattice).astype(float)
    assert (counts == total_paths(model, shape)).all()


def test_torchvision_resnets_are_the_lattices_made_by_hand():
    traced = trace(torchvision.models.resnet18(weights=None), (3, 64, 64)).lattice
    assert (path_counts(traced) == path_counts(lattice.families.resnet((3, 64, 64)))).all()


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "vgg11", "vgg13_bn"])
def test_torchvision_resnets_and_vggs_trace(name):
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(weights=None)
    land = predict(model, (3, 64, 64), initialisation=he)
    assert land.squared.shape == (64, 64)
    assert (land.squared > 0).all()


def test_variances_are_the_second_moments_of_the_weights():
    model = nn.Sequential(nn.Conv1d(1, 64, 3), nn.BatchNorm1d(64), nn.Conv1d(64, 64, 3))
    nn.init.constant_(model[1].weight, 0.5)
    traced = trace(model, (1, 9))
    assert traced.variances["0"] == pytest.approx(float(model[0].weight.detach().square().mean()), rel=1e-6)
    assert traced.factors["1"] == pytest.approx(0.25 / (1 + 1e-5), rel=1e-6)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        return torch.sigmoid(self.attend(tokens, tokens, tokens)[0].mean(1))


def test_everything_that_has_no_rule_is_listed_in_one_error():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(dim=1), nn.Conv2d(4, 4, 3), nn.RReLU())
    with pytest.raises(UnsupportedError, match=r"(?s)2 operations.*3: aten.rrelu.*2: aten.conv2d.*shares of a softmax"):
        trace(model, (3, 12, 12))


class DataDependent(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3)

    def forward(self, x):
        return self.conv(x), x


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(self.conv(x))


class TiedByMemory(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv1d(1, 1, 3, padding=1), nn.Conv1d(1, 1, 3, padding=1)
        self.two.weight = nn.Parameter(self.one.weight.data)

    def forward(self, x):
        return self.two(self.one(x))


def scripted(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls scripting deprecated
        return torch.jit.trace(model, torch.zeros(1, 1, 9))


def with_weights(model, change):
    with torch.no_grad():
        change(model)
    return model


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (DataDependent(), UnsupportedError, "control flow that depends on data"),
        (TwoOutputs(), UnsupportedError, "returns 2 tensors"),
        (Tied(), AssumptionError, "conv, conv_2: tied weights"),
        (TiedByMemory(), AssumptionError, "one, two: tied weights"),
        (nn.LazyConv1d(1, 3), UnsupportedError, "lazy layers"),
        (scripted(nn.Conv1d(1, 1, 3)), UnsupportedError, "scripted module"),
        (nn.Conv1d(1, 1, 3, dtype=torch.complex64), UnsupportedError, "complex64"),
        (nn.Conv1d(1, 1, 3, device="meta"), AssumptionError, "conv1d: on the meta device"),
        (
            nn.Sequential(*(nn.Conv1d(1, 1, 1, device="meta") for _ in range(6))),
            AssumptionError,
            "2, 3 and 2 more: on the meta",
        ),
        (nn.Sequential(nn.BatchNorm1d(1, track_running_stats=False)), UnsupportedError, "statistics of the batch"),
        (nn.Conv2d(1, 1, 3), UnsupportedError, "could not take Conv2d over an input of shape"),
        (with_weights(nn.Conv1d(1, 9, 3), lambda m: m.weight.fill_(float("nan"))), AssumptionError, "NaN"),
        (with_weights(nn.Conv1d(1, 99, 3), lambda m: m.weight.add_(0.5)), AssumptionError, "mean of its 297 weights"),
        (with_weights(nn.Conv1d(1, 999, 3), lambda m: m.weight[..., 1].mul_(3)), AssumptionError, "from tap to tap"),
    ],
)
def test_what_would_give_a_plausible_wrong_map_is_refused(model, error, message):
    with pytest.raises(error, match=message):
        predict(model, (1, 9))


@pytest.mark.parametrize("shape", [(9,), (1, 0), (1.5, 9)])
def test_a_shape_is_channels_and_sizes(shape):
    with pytest.raises(SpecificationError, match="channels"):
        predict(nn.Conv1d(1, 1, 3), shape)


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 16, 3)

    def forward(self, x):
        h = self.conv(x)
        return h + h


def test_a_tensor_added_to_itself_adds_before_squaring():
    doubled, single = Doubled(), Doubled()
    single.load_state_dict(doubled.state_dict())
    single.forward = single.conv.forward
    land = predict(doubled, (1, 9))
    assert land.guarantee.name == "EXACT"
    np.testing.assert_allclose(land.squared, 4 * predict(single, (1, 9)).squared)


@pytest.mark.parametrize("draw", [nn.init.uniform_, nn.init.normal_])
def test_a_fresh_layer_of_any_size_is_not_taken_for_a_trained_one(draw, monkeypatch):
    chance = 1e-3
    monkeypatch.setattr("landscape.weights.fresh_weights.LEAST_CHANCE", chance)
    alarms = dict.fromkeys([(1, 1, 1), (1, 1, 2), (1, 1, 6), (1, 1, 3, 3), (10, 10, 9)], 0)
    for shape in alarms:
        for _ in range(2000):
            weight = draw(torch.empty(shape)).sub_(0.5 * (draw is nn.init.uniform_)).numpy()
            alarms[shape] += problem_with(LayerDraws("a", weight, FINEST, fixed=False)) is not None
    assert max(alarms.values()) < 20, alarms  # uniform weights are somewhat more often alike than Student's t says


@pytest.mark.parametrize(("shape", "shift"), [((1, 1, 6), 1e4), ((1, 1, 3, 3), 20), ((8, 8, 9), 0.5)])
def test_weights_far_from_zero_are_taken_for_trained_ones(shape, shift):
    weight = torch.randn(shape).add_(shift).numpy()
    assert "not zero" in problem_with(LayerDraws("a", weight, FINEST, fixed=False))


def test_an_initialisation_stands_in_for_trained_weights():
    trained = with_weights(nn.Conv1d(1, 99, 3), lambda m: m.weight.add_(0.5))
    assert predict(trained, (1, 9), initialisation=he).squared.shape == (9,)
    with pytest.raises(AssumptionError, match="'weights' for these as they are"):
        predict(trained, (1, 9))


def test_trained_weights_count_by_second_moments_if_asked_for():
    trained = with_weights(nn.Conv1d(1, 99, 3), lambda m: m.weight.add_(0.5))
    land = predict(trained, (1, 9), initialisation="weights")
    assert land.guarantee.name == "APPROXIMATE"
    assert "only their second moments are used" in land.reasons[0]
    moment = float(trained.weight.detach().square().mean())
    np.testing.assert_allclose(land.squared, predict(trained, (1, 9), initialisation=moment).squared, rtol=1e-6)
    torch.manual_seed(0)
    fresh = nn.Conv1d(1, 99, 3)
    assert predict(fresh, (1, 9), initialisation="weights").guarantee.name == "EXACT"
    with pytest.raises(AssumptionError, match="NaN"):
        predict(with_weights(nn.Conv1d(1, 9, 3), lambda m: m.weight.fill_(float("nan"))), (1, 9), initialisation="weights")


@pytest.mark.parametrize("refused", [False, True])
def test_the_model_is_left_as_it_was(refused):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Softmax(1) if refused else nn.ReLU()
    )
    model[0].eval()
    model[0].weight.requires_grad_(False)
    calls = []
    model[2].register_forward_hook(lambda *_: calls.append(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random, hooks = torch.get_rng_state(), len(model[2]._forward_hooks)
    if refused:
        with pytest.raises(UnsupportedError):
            trace(model, (3, 8, 8))
    else:
        trace(model, (3, 8, 8))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert len(model[2]._forward_hooks) == hooks


def test_a_factory_gives_the_variances_of_many_draws():
    def factory():
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))

    traced = trace(factory, (1, 9, 9))
    assert traced.variances["0"] == pytest.approx(1 / 27, rel=0.1)  # 64 draws of 36 uniform weights: known to 2 %
    assert traced.variances["2"] == pytest.approx(1 / 108, rel=0.05)
    random = torch.get_rng_state()
    assert trace(factory, (1, 9, 9)).variances == traced.variances
    assert torch.equal(torch.get_rng_state(), random)
    with pytest.raises(UnsupportedError, match=r"<lambda> returned a int; a factory returns a torch.nn.Module"):
        trace(lambda: 3, (1, 9, 9))


@pytest.mark.parametrize(
    ("layers", "draws"),
    [
        ([nn.Conv1d(1, 3, 3)], 100),  # an entry's own mean can be told from zero
        ([nn.Conv1d(1, 1000, 1), nn.Conv1d(1000, 1, 5)], 100),
        ([nn.Conv1d(1, 30_000, 1)], 66),  # two million numbers are enough
        ([nn.Conv1d(1, 9, 1), nn.Conv1d(9, 100_000, 1)], 100),  # but every layer must have shown 5,000
        ([nn.Conv1d(1, 900_000, 1)], 4),
        ([nn.Conv1d(1, 2500, 1), nn.Conv1d(2500, 401, 1)], 2),  # a million weights
        ([nn.Conv1d(1, 100, 1), nn.Conv1d(100, 10_000, 1)], 4),
        ([nn.ReLU()], 1),
    ],
    ids=str,
)
def test_a_factory_is_drawn_from_until_its_weights_can_be_judged(layers, draws):
    calls = []

    def factory():
        calls.append(1)
        for layer in layers:
            if hasattr(layer, "weight"):
                layer.weight = nn.Parameter(torch.randn(layer.weight.shape))
                layer.bias = None  # how large a bias is only draws tell, whatever the variances
        return nn.Sequential(*layers)

    trace(factory, (1, 9))
    assert len(calls) == draws
    trace(factory, (1, 9), initialisation=he)
    assert len(calls) == draws + 1


def test_a_factory_that_returns_the_same_weights_twice_is_refused():
    one, other = nn.Conv1d(1, 9, 3), nn.Conv1d(9, 1, 3)
    with pytest.raises(AssumptionError, match="the same weights twice"):
        trace(lambda: nn.Sequential(one, other), (1, 9))
    with pytest.raises(AssumptionError, match="0: 27 of its 27 weights are the same in each of 100 draws"):
        trace(lambda: nn.Sequential(one, nn.Conv1d(9, 1, 3)), (1, 9))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_few_signs_may_be_the_same_twice(number):
    for shift in range(8):

        def factory(shift=shift):
            torch.rand(shift)  # other draws
            layer = nn.Conv1d(1, number, 1, bias=False)
            nn.init.uniform_(layer.weight, -1, 1)
            layer.weight.data.sign_()
            return nn.Sequential(layer)

        assert trace(factory, (1, 4)).variances == {"0": 1.0}


def test_an_output_may_be_asked_for_by_its_number():
    assert trace(TwoOutputs(), (1, 9), output=0).lattice.names == ("input", "conv")
    assert trace(TwoOutputs(), (1, 9), output=1).lattice.names == ("input",)
    with pytest.raises(UnsupportedError, match="0, 1: output=2 is not one of them"):
        trace(TwoOutputs(), (1, 9), output=2)
    assert trace(nn.Conv1d(1, 1, 3), (1, 9), output=0).lattice.names == ("input", "conv1d")


def test_gates_are_counted_only_where_asked_for():
    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.SiLU())
    assert dict(trace(model, (1, 9)).gates.gains) == {}
    noise, images = (trace(model, (1, 9), inputs=given).gates for given in ("noise", np.ones((2, 1, 9))))
    assert set(noise.gains) == set(images.gains) == {"1"}
    assert not np.array_equal(noise.gains["1"], images.gains["1"])


def test_logging_and_warnings_are_as_before_after_a_refusal():
    before = logging.root.manager.disable
    with pytest.raises(UnsupportedError):
        trace(nn.Conv2d(1, 1, 3), (1, 9))
    assert logging.root.manager.disable == before


class BlurPool(nn.Module):
    """What anti-aliasing libraries have: a fixed filter in a buffer, over every channel."""

    def __init__(self, channels, taps=((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0)), stride=2):
        super().__init__()
        taps = torch.tensor(taps)
        self.stride = stride
        self.register_buffer("taps", (taps / taps.sum()).expand(channels, 1, *taps.shape).clone(), persistent=False)

    def forward(self, x):
        x = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return nn.functional.conv2d(x, self.taps, stride=self.stride, groups=x.shape[1])


def test_a_blur_pool_is_traced_and_its_map_agrees_with_monte_carlo():
    def model():
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), BlurPool(4), nn.Conv2d(4, 6, 3, padding=1), *head)

    traced = trace(model(), (1, 8, 8)).lattice
    (blur,) = (node.op for node in traced.nodes if isinstance(node.op, lattice.Blur))
    assert blur.taps == (0.25, 0.5, 0.25)
    land = predict(model, (1, 8, 8), initialisation="torch_default")
    assert land.guarantee.name == "EXACT"
    agreement = validation.compare(land, validation.measure(model, (1, 8, 8), draws=1000), tolerance=0.1)
    assert agreement.verdict is validation.Verdict.AGREE
    assert abs(agreement.scale_ratio - 1) < 4 * agreement.scale_ratio_error


@pytest.mark.parametrize(
    "taps",
    [
        ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)),  # Sobel: an edge, not an average
        ((0.0, 1.0, 0.0), (1.0, 4.0, 1.0), (0.0, 1.0, 0.0)),  # no product of rows and columns
    ],
)
def test_a_convolution_with_a_fixed_filter_is_not_taken_for_a_fresh_one(taps):
    """A convolution with another fixed filter is refused and not taken for a fresh one."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), BlurPool(2, taps))
    with pytest.raises(UnsupportedError, match=r"1\.taps is a buffer, so fixed"):
        trace(model, (1, 8, 8))


class LayerScale(nn.Module):
    """x * scale, with the scale reshaped to stand along the channels, or left along the columns."""

    def __init__(self, shape):
        super().__init__()
        self.scale, self.shape = nn.Parameter(torch.full((4,), 0.5)), shape

    def forward(self, x):
        return x * self.scale.reshape(self.shape)


def test_a_reshaped_parameter_scales_the_channels_and_nothing_else():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), LayerScale((1, 4, 1, 1)))
    assert trace(net, (1, 6, 6)).factors["1.mul"] == pytest.approx(0.25)
    by_column = trace(nn.Sequential(nn.Conv2d(1, 4, 3), LayerScale((4,))), (1, 6, 6))
    assert np.mean(by_column.factors["1.mul"]) == pytest.approx(0.25)
    assert not by_column.unproven


@pytest.mark.parametrize("name", ["weight norm", "flat features at positions", "a linear layer over positions"])
def test_what_is_read_by_its_numbers_is_proven(name):
    models = {
        "weight norm": nn.utils.parametrizations.weight_norm(nn.Conv1d(1, 8, 3)),
        "flat features at positions": nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 9))),
        "a linear layer over positions": nn.Linear(9, 4),
    }
    assert not trace(models[name], (1, 9)).unproven


def test_a_resize_below_a_pooled_head_is_predicted():
    net = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 8, 3), nn.ReLU()]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    land = predict(nn.Sequential(*net, *head), (1, 8, 8), initialisation="he")
    assert "a pooled head: the second path law was added" in land.reasons[-1]
