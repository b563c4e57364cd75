"""The gradient of the landscape's gradient: what finite differences say of every kind of layer, or a refusal by name.

Central differences of step 1e-6 in float64 are right to about 1e-6 / 1e-16 in the third decimal of 1e-7 here: 1e-6 is asked.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lattice import PilcroError, UnsupportedError
from tests.training_nets import gradients, images, residual, seeded
from validation import Penalty, importance_map
from validation.gradients.input_gradient import WAYS, input_gradient

UNIFORMS = torch.tensor([0.1, 0.35, 0.6, 0.8, 0.95], dtype=torch.float64)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Last(nn.Module):
    """A module that works on the last axis, over the channels."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x.movedim(1, -1)).movedim(-1, 1)


def attention(x):
    tokens = x.flatten(2).transpose(1, 2)[:, None]
    return F.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0].transpose(1, 2).reshape(x.shape)


LAYERS = {
    "layer norm": lambda: Last(nn.LayerNorm(8)),
    "layer norm without weights": lambda: Last(nn.LayerNorm(8, elementwise_affine=False)),
    "group norm": lambda: nn.GroupNorm(2, 8),
    "instance norm": lambda: nn.InstanceNorm2d(8),
    "instance norm with weights": lambda: nn.InstanceNorm2d(8, affine=True),
    "instance norm with running statistics": lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
    "batch norm": lambda: nn.BatchNorm2d(8),
    "root mean square norm": lambda: Last(nn.RMSNorm(8)),
    "local response norm": lambda: nn.LocalResponseNorm(3),
    "gated linear unit": lambda: nn.Sequential(nn.GLU(1), nn.Conv2d(4, 8, 1)),
    "softmax gate": lambda: Function(lambda x: x * x.softmax(1)),
    "log-softmax": lambda: nn.LogSoftmax(1),
    "sigmoid gate": lambda: Function(lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
    "hard sigmoid gate": lambda: Function(lambda x: x * F.hardsigmoid(x.mean((2, 3), keepdim=True))),
    "SiLU": nn.SiLU,
    "GELU": nn.GELU,
    "hard swish": nn.Hardswish,
    "max pool": lambda: nn.MaxPool2d(2),
    "average pool": lambda: nn.AvgPool2d(2),
    "attention": lambda: Function(attention),
}


def network(layer, activation=nn.SiLU):
    torch.manual_seed(0)
    middle = layer()
    for parameter in middle.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), middle, activation(), *head).double().eval()


def batch():
    return torch.randn(5, 3, 6, 6, generator=seeded(1), dtype=torch.float64)


def slopes(model, function, step=1e-6):
    """The derivative along one random direction of all parameters: by central differences, and by autograd."""
    parameters = list(model.parameters())
    direction = [torch.randn(p.shape, generator=seeded(4), dtype=p.dtype) for p in parameters]
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            torch._foreach_add_(parameters, direction, alpha=sign * step)
        values.append(function().item())
        with torch.no_grad():
            torch._foreach_add_(parameters, direction, alpha=-sign * step)
    return (values[0] - values[1]) / (2 * step), lambda found: float(found @ torch.cat([d.flatten() for d in direction]))


@pytest.mark.parametrize("layer", LAYERS)
def test_every_way_is_what_finite_differences_say_or_is_refused(layer):
    model, x = network(LAYERS[layer]), batch()

    def loss(way="double_backward"):
        return importance_map(model, x, uniforms=UNIFORMS, way=way).pow(3).sum()

    expected, along = slopes(model, loss)
    assert abs(expected) > 1
    answered = []
    for way in WAYS:
        refusal = ""
        try:
            found = along(gradients(model, loss(way)))
        except UnsupportedError as error:
            refusal = str(error)
        assert "double_backward" in refusal if refusal else found == pytest.approx(expected, rel=1e-6), (way, refusal)
        answered += [] if refusal else [way]
    assert {"auto", "double_backward"} <= set(answered)
    if layer in ("group norm", "batch norm", "SiLU", "max pool", "average pool"):  # where torch's forward mode is right
        assert "forward_mode" in answered


@pytest.mark.parametrize("layer", ["max pool", "average pool", "batch norm"])
def test_the_linear_way_answers_where_all_is_piecewise_linear(layer):
    model, x = network(LAYERS[layer], nn.ReLU), batch()

    def loss(way="linearised"):
        return importance_map(model, x, uniforms=UNIFORMS, way=way).pow(3).sum()

    expected, along = slopes(model, loss)
    assert along(gradients(model, loss())) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["curvature", "norm"])
@pytest.mark.parametrize("layer", ["layer norm", "instance norm with weights", "gated linear unit", "hard sigmoid gate"])
def test_a_penalty_has_the_slope_of_finite_differences(kind, layer):
    model, x, penalty = network(LAYERS[layer]), batch(), Penalty(kind)

    def loss():
        return penalty.of_model(model, x, UNIFORMS)

    expected, along = slopes(model, loss)
    assert along(gradients(model, loss())) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("layer", ["layer norm", "instance norm"])
def test_forward_mode_through_these_norms_is_refused_or_right(layer):
    """A branch that begins at weight zero: the values along u agree, and so do the gradients of all but later steps."""
    branch = network(LAYERS[layer])[:2]

    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch, self.head = branch, nn.Linear(32, 4)
            self.gamma = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            y = self.gamma * self.branch(x) + F.pad(x, (0, 0, 0, 0, 0, 5))
            return self.head(F.adaptive_avg_pool2d(F.silu(y), 2).flatten(1))

    torch.manual_seed(2)
    model, x = Skip().double(), batch()
    for gamma in (0.0, 0.7):
        nn.init.constant_(model.gamma, gamma)
        expected = gradients(model, input_gradient(model, x, UNIFORMS, way="double_backward").pow(3).sum())
        try:
            found = gradients(model, input_gradient(model, x, UNIFORMS, way="forward_mode").pow(3).sum())
        except UnsupportedError:
            continue
        torch.testing.assert_close(found, expected)


class Fitted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


class Once(Fitted):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


def added_without_being_used(m, x):
    total = m.bias[:, None, None] * torch.ones(x.shape)
    total.add_(x)
    return total


def added_through_a_view(m, x):
    total = m.bias[:, None, None] * torch.ones(x.shape)
    total[:, :2].add_(x[:, :2])
    return total


def without_gradient(m, x):
    with torch.no_grad():
        return 2 * x


UNSEEN = {
    "a function of the user's": lambda m, x: Fitted.apply(x),
    "no gradient": without_gradient,
    "whole numbers": lambda m, x: x.mul(3).to(torch.int32).to(x.dtype),
    "a quotient that is rounded": lambda m, x: torch.div(x, 0.3, rounding_mode="floor"),
    "a constant beside it": lambda m, x: torch.cat([x[:, :1], (1 + m.bias[:1, None, None]).expand(6, 1, 9, 9)], dim=1),
    "a constant that takes it in": added_without_being_used,
    "a constant that takes it in through a view": added_through_a_view,
    "a constant that takes its type": lambda m, x: x + m.bias[:, None, None].to(x),
}


@pytest.mark.parametrize("what", UNSEEN)
@pytest.mark.parametrize("way", ["auto", "linearised"])
def test_what_the_linear_way_lacks_cannot_hide_behind_a_zero_weight(what, way):
    """The branch counts nothing in the values along u, and all in the gradient with respect to its weight."""

    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.tensor([0.3, -0.2]))
            self.gamma = nn.Parameter(torch.zeros(2, 1, 1))
            self.head = nn.Linear(2 * 81, 3)

        def forward(self, x):
            return self.head(F.relu(x + self.gamma * UNSEEN[what](self, x)).flatten(1))

    torch.manual_seed(0)
    model, x, u = Branch().double(), images(), torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    expected = torch.autograd.grad(input_gradient(model, x, u, way="double_backward").pow(3).sum(), model.gamma)[0]
    try:
        found = torch.autograd.grad(input_gradient(model, x, u, way=way).pow(3).sum(), model.gamma)[0]
    except PilcroError:
        assert way == "linearised"
        return
    torch.testing.assert_close(found, expected)


def test_a_function_differentiable_once_is_refused_not_taken_as_zero():
    """A function that can be differentiated once is refused before its derivative counts as zero."""

    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2 * 81, 3)

        def forward(self, x):
            return self.head(Once.apply(2 * x).flatten(1))

    with pytest.raises(UnsupportedError, match="once_differentiable"):
        input_gradient(Gate().double(), images(), torch.rand(6))


def test_a_derivative_that_torch_lacks_is_named(monkeypatch):
    monkeypatch.setattr("validation.gradients.second_derivatives.WRITTEN_OUT", {})
    with pytest.raises(UnsupportedError, match="hardsigmoid_backward"):
        input_gradient(residual(nn.Hardsigmoid), images(), torch.rand(6), way="double_backward")


@pytest.mark.parametrize("way", WAYS)
def test_an_output_without_parameters_or_input_still_has_a_gradient(way):
    assert input_gradient(nn.Flatten(), images(), torch.rand(6), way=way).sum() == 6

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return self.bias.expand(len(x), 3)

    found = input_gradient(Constant(), images(), torch.rand(6), way=way)
    assert not found.any()
    if found.requires_grad:
        found.sum().backward()
