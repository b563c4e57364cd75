"""Weights that are no independent draws are refused or doubted in layers of any size; fresh ones never are."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape import predict, trace
from landscape.weights.fixed_weights import tied_layers
from landscape.weights.fresh_weights import problem_with
from landscape.weights.weight_draws import FINEST, LayerDraws
from lattice import AssumptionError

LAPLACE = torch.tensor([[0, 1.0, 0], [1, -4, 1], [0, 1, 0]])
SOBEL = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])


class Fixed(nn.Module):
    """One filter for every channel, as a parameter."""

    def __init__(self, taps, channels, learned):
        super().__init__()
        self.taps = nn.Parameter(taps.expand(channels, 1, 3, 3).clone(), requires_grad=learned)

    def forward(self, x):
        return F.conv2d(x, self.taps, padding=1, groups=x.shape[1])


def around(middle, channels):
    head = (nn.ReLU(), nn.Flatten(), nn.Linear(36 * channels, 3))
    return nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), middle, *head)


def conv(channels, groups=1):
    return nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=groups)


def changed(change):
    def model(channels):
        layer = conv(channels)
        with torch.no_grad():
            change(layer.weight)
        return around(layer, channels)

    return model


def pair(change):
    """The second of two layers made from the first."""

    def model(channels):
        one, other = conv(channels), conv(channels)
        other.weight.data = change(one.weight.data.clone())
        return around(nn.Sequential(one, nn.ReLU(), other), channels)

    return model


def before_the_centre(weight):
    weight[:, :, 2] = 0
    weight[:, :, 1, 1:] = 0


def delta_orthogonal(weight):
    square = nn.init.orthogonal_(torch.empty(weight.shape[:2]))
    weight.zero_()
    weight[:, :, 1, 1] = square


def identity_and_noise(weight):
    weight.normal_(std=0.02)
    weight[range(len(weight)), range(len(weight)), 1, 1] += 1


def copies(weight):
    weight.copy_(weight[::2].repeat_interleave(2, 0)[: len(weight)])


def same_always(weight):
    weight.normal_(std=0.3, generator=torch.Generator().manual_seed(3))


KINDS = {  # what it is: a model by channels, the fewest channels of which it is one, what the refusal of a factory says
    "frozen Laplacian": (lambda c: around(Fixed(LAPLACE, c, False), c), 1, "a fixed filter"),
    "Laplacian": (lambda c: around(Fixed(LAPLACE, c, True), c), 1, "a fixed filter"),
    "Sobel": (lambda c: around(Fixed(SOBEL, c, True), c), 1, "a fixed filter"),
    "PixelCNN's mask": (
        changed(before_the_centre),
        1,
        r"masked: .* at the taps \(1, 1\), \(1, 2\), \(2, 0\), \(2, 1\) and 1 more",
    ),
    "blind spot": (changed(lambda w: w[:, :, 1, 1].zero_()), 1, r"masked: .* at the taps \(1, 1\)"),
    "channels masked": (changed(lambda w: w.mul_(torch.tril(torch.ones(w.shape[:2]))[..., None, None])), 2, "masked"),
    "Dirac": (changed(nn.init.dirac_), 1, "a fixed filter"),
    "delta-orthogonal": (changed(delta_orthogonal), 2, "masked"),
    "constant": (changed(lambda w: w.fill_(0.1)), 1, "a fixed filter"),
    "fixed at random": (changed(same_always), 1, "a fixed filter"),
    "copies of channels": (changed(copies), 2, "tied weights"),
    "symmetric": (changed(lambda w: w.copy_(w + w.flip(2, 3))), 1, "tied weights"),
    "antisymmetric": (changed(lambda w: w.copy_(w - w.flip(2, 3))), 1, "masked"),
    "positive": (changed(lambda w: w.abs_()), 1, "the mean of its"),
    "identity and noise": (changed(identity_and_noise), 1, "mean|same sign|same in every draw"),
    "one tap with a mean": (changed(lambda w: w[:, :, 0, 0].add_(0.5)), 1, "mean"),
    "one tap wider": (changed(lambda w: w[:, :, 0, 0].mul_(4)), 1, "variance"),
    "filters without mean": (changed(lambda w: w.sub_(w.mean((1, 2, 3), keepdim=True))), 1, "sum to zero|correlated"),
    "copied layer": (pair(lambda w: w), 1, "2.0, 2.2: tied weights"),
    "copied layer times a factor": (pair(lambda w: -0.3 * w), 1, "tied weights"),
    "transposed layer": (pair(lambda w: w.transpose(0, 1).flip(2, 3).contiguous()), 1, "tied weights"),
}


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow), 16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_factory_of_weights_that_are_no_independent_draws_is_refused(kind, channels):
    model, fewest, message = KINDS[kind]
    if channels < fewest:
        return
    torch.manual_seed(channels)
    with pytest.raises(AssumptionError, match=message):
        trace(lambda: model(channels), (1, 6, 6))


UNTOLD = ("fixed at random",)  # numbers that look drawn, and one draw of them


@pytest.mark.parametrize("channels", [1, pytest.param(2, marks=pytest.mark.slow), 16])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNTOLD])
def test_one_module_of_them_is_refused_or_not_called_exact(kind, channels):
    model, fewest, _ = KINDS[kind]
    torch.manual_seed(channels)
    module = model(max(channels, fewest))
    try:
        doubts = trace(module, (1, 6, 6)).doubts
    except AssumptionError:
        return
    assert "one draw" in doubts[0]
    land = predict(module, (1, 6, 6))
    assert (land.guarantee.name, land.reasons[: len(doubts)]) == ("APPROXIMATE", doubts)


def gradients(model, shape, draws):
    """The mean squared input gradient of a random unit, by autograd, and its error."""
    maps = []
    for seed in range(draws):
        torch.manual_seed(1000 + seed)
        x = torch.randn(1, *shape, requires_grad=True)
        y = model()(x)
        (gradient,) = torch.autograd.grad((y * torch.randn_like(y).sign()).sum(), x)
        maps.append((gradient[0].square().mean(0) / y.numel()).numpy())
    return np.mean(maps, axis=0), np.std(maps, axis=0) / np.sqrt(draws)


@pytest.mark.parametrize("kind", ["PixelCNN's mask", "one tap wider"])
def test_the_law_would_be_wrong_for_them(kind):
    """What their second moments give under initialisation='weights' misses Monte Carlo by many standard errors, and says so."""

    def model():
        return nn.Sequential(*KINDS[kind][0](2)[:3], nn.Conv2d(2, 2, 3, padding=1))

    land = predict(model, (1, 6, 6), initialisation="weights")
    truth, error = gradients(model, (1, 6, 6), 300)
    assert land.guarantee.name == "APPROXIMATE"
    assert np.abs((land.squared - truth) / error).max() > 6


SCHEMES = {
    "kaiming_uniform": lambda w: nn.init.kaiming_uniform_(w, a=5**0.5),
    "kaiming_normal": nn.init.kaiming_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "orthogonal": nn.init.orthogonal_,
    "trunc_normal": nn.init.trunc_normal_,
}
SHAPES = [(1, 1, 1, 1), (2, 2, 1, 1), (1, 1, 3, 3), (4, 1, 3, 3), (8, 8, 1, 1), (10, 64), (16, 3, 3, 3), (64, 32, 3, 3)]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_fresh_layer_of_any_size_is_refused(scheme, kind):
    torch.manual_seed(0)
    precision = max(torch.finfo(kind).eps, FINEST)
    for shape in SHAPES:
        for draws in (1, 1, 1, 1, 4, 100):
            if draws * np.prod(shape) > 2e5:
                continue
            weights = [SCHEMES[scheme](torch.empty(shape)).to(kind).to(torch.float64).numpy() for _ in range(draws)]
            layer = LayerDraws("a", weights[0], precision, fixed=False)
            for weight in weights[1:]:
                layer.add(weight)
            assert problem_with(layer) is None, (shape, draws)


def test_random_signs_are_fresh_in_several_draws_and_in_doubt_in_one():
    def model():
        layer = conv(4)
        layer.weight.data = torch.randint(0, 2, layer.weight.shape) * 2.0 - 1
        return around(layer, 4)

    torch.manual_seed(0)
    assert predict(model, (1, 6, 6)).guarantee.name == "EXACT"
    land = predict(model(), (1, 6, 6))
    assert land.guarantee.name == "APPROXIMATE"
    assert "all have one size" in " ".join(land.reasons)


def test_sparse_weights_are_in_doubt_if_their_zeros_move_else_refused():
    """Sparse weights are in doubt where the zeros move and refused where one draw shows them."""
    model = changed(lambda w: nn.init.sparse_(w.view(len(w), -1), 0.5))
    assert predict(lambda: model(8), (1, 6, 6)).reasons[0].startswith("sparse weights: 50% of them are zero")
    with pytest.raises(AssumptionError, match="288 of its 576 entries are exactly zero"):
        predict(model(8), (1, 6, 6))


def test_weights_without_gradient_are_fresh_if_each_draw_changes_them():
    def model():
        net = around(conv(8), 8)
        net[2].weight.requires_grad_(False)
        return net

    assert predict(model, (1, 6, 6)).guarantee.name == "EXACT"
    assert "ask for no gradient" in predict(model(), (1, 6, 6)).reasons[0]
    assert predict(model().requires_grad_(False), (1, 6, 6)).guarantee.name == "EXACT"


def test_a_layer_that_starts_at_zero_passes_nothing_and_is_no_mask():
    def model():
        net = around(conv(4), 4)
        nn.init.zeros_(net[2].weight)
        return net

    for land in (predict(model, (1, 6, 6)), predict(model(), (1, 6, 6))):
        assert not land.squared.any()
        assert land.reasons == ("all weights are zero: nothing passes (2)",)
        assert (land.traced.variances["2"], land.traced.variance_errors["2"]) == (0, 0)


def test_large_layers_are_judged_by_a_sample_and_by_whole_channels():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(300, 200, 3, 3))

    def of(change=lambda w: w):
        return LayerDraws("a", change(weight.copy()), FINEST, fixed=False)

    def copied(w):
        w[251] = -w[13]
        return w

    def balanced(w):
        return w - w.mean(axis=(1, 2, 3), keepdims=True)

    assert problem_with(of()) is None
    assert "251 repeats 13" in problem_with(of(copied))
    assert "sum to zero" in problem_with(of(balanced))
    other = LayerDraws("b", -2 * np.swapaxes(weight, 0, 1)[::-1].reshape(weight.shape), FINEST, fixed=False)
    assert tied_layers([of(), LayerDraws("c", rng.normal(size=weight.shape), FINEST, fixed=False)]) == []
    assert "tied weights" in tied_layers([of(), other])[0]
