"""One linear rule a function: its gradient is that of double backward, and what has no rule is named."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lattice import UnsupportedError
from tests.training_nets import difference, gradients, images, seeded
from validation.gradients.input_gradient import input_gradient
from validation.gradients.linearised import GATES, Record, Replay, Tape, signal

CORNERS = [-7.0, -3.0, -1.0, -0.5, -0.1, 0.0, 0.1, 0.3, 1.0, 1.5, 3.0, 5.5, 6.0, 6.5]


@pytest.mark.parametrize(
    ("name", "arguments", "function"),
    [
        ("relu", {}, F.relu),
        ("relu_", {}, F.relu),
        ("relu6", {}, F.relu6),
        ("hardtanh", {}, F.hardtanh),
        ("hardtanh", {"min_val": -0.5, "max_val": 1.5}, F.hardtanh),
        ("hardsigmoid", {}, F.hardsigmoid),
        ("leaky_relu", {}, F.leaky_relu),
        ("leaky_relu", {"negative_slope": 0.3}, F.leaky_relu),
        ("abs", {}, torch.abs),
    ],
)
def test_a_gate_is_torchs_derivative_also_at_the_corners(name, arguments, function):
    a = torch.tensor(CORNERS, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(function(a, **arguments).sum(), a)
    torch.testing.assert_close(GATES[name](a.detach(), **arguments), expected)
    assert torch.equal(GATES[name](a.detach(), *arguments.values()), GATES[name](a.detach(), **arguments))


class Net(nn.Module):
    """A convolution, a function of its output and of the parameters, and a linear head."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.first, self.weight = nn.Conv2d(2, 4, 3), nn.Parameter(torch.randn(4, 4, 3, 3, generator=seeded(2)) / 4)
        self.column = nn.Parameter(torch.rand(4, 1, 1, generator=seeded(3)) + 0.5)
        self.row = nn.Parameter(torch.rand(4, generator=seeded(4)) + 0.5)
        self.register_buffer("mean", torch.randn(4, generator=seeded(5)))
        self.register_buffer("variance", torch.rand(4, generator=seeded(6)) + 0.5)
        self.head = nn.Parameter(torch.randn(3, 4, generator=seeded(7)))

    def forward(self, x):
        out = self.function(self, self.first(x).relu()).relu()
        place = torch.cos(torch.arange(out[0].numel(), dtype=out.dtype)).reshape(out.shape[1:])  # no two units count alike
        return F.linear((out * place).sum((2, 3)), self.head, self.row[:3])


RULES = {
    "signal + constant": lambda m, a: a + m.column,
    "constant + signal": lambda m, a: m.column + a,
    "signal - constant": lambda m, a: a - m.column,
    "constant - signal": lambda m, a: m.column - a,
    "add of a constant": lambda m, a: torch.add(m.column, a),
    "sub of a signal": lambda m, a: torch.sub(m.column, a),
    "signal - signal": lambda m, a: a - a.roll(1, 2) * m.column,
    "a sum that grows": lambda m, a: a.mean((2, 3), keepdim=True) + (m.row[:, None, None] * torch.ones(4, 5, 7)),
    "in place": lambda m, a: (a * m.column).add_(m.column).sub_(1.0),
    "a constant that takes a signal in": lambda m, a: m.column.expand(a.shape).clone().add_(a),
    "number": lambda m, a: a - 0.5 + 2,
    "signal * parameter": lambda m, a: a * m.column,
    "parameter * signal": lambda m, a: m.column * a,
    "number * signal": lambda m, a: 2 * a,
    "signal / parameter": lambda m, a: a / m.column,
    "div": lambda m, a: torch.div(a, m.column),
    "conv by position": lambda m, a: F.conv2d(a, m.weight, m.row, 2, 1),
    "conv by name": lambda m, a: F.conv2d(a, m.weight, bias=m.row, stride=(1, 2), padding=(0, 1)),
    "transposed conv": lambda m, a: F.conv_transpose2d(a, m.weight, m.row, (1, 2), (1, 0), (0, 1)),
    "linear": lambda m, a: F.linear(a.movedim(1, -1), m.weight[:, :, 0, 0], m.row).movedim(-1, 1),
    "norm": lambda m, a: F.batch_norm(a, m.mean, m.variance, m.row, m.row, False, 0.1, 0.3),
    "norm without a scale": lambda m, a: F.batch_norm(a * m.column, m.mean, m.variance, eps=0.2),
    "norm with defaults": lambda m, a: F.batch_norm(a * m.column, m.mean, m.variance * 1e-5),
    "dropout that is off": lambda m, a: F.dropout(a * m.column, 0.5, False),
    "torch's own dropout that is off": lambda m, a: torch.dropout(a * m.column, 0.5, False),
    "dropout of channels that is off": lambda m, a: F.dropout2d(a * m.column, 0.5, training=False),
    "pad": lambda m, a: F.pad(a * m.column, (1, 0, 2, 1)),
    "pad with a value": lambda m, a: F.pad(a * m.column, (1, 0, 2, 1), "constant", 0.7),
    "pad with a named value": lambda m, a: F.pad(a * m.column, (1, 0, 2, 1), value=0.7),
    "pad by position": lambda m, a: torch._C._nn.pad(a * m.column, (1, 0, 2, 1), "constant", 0.7),
    "pad by reflection, by position": lambda m, a: torch._C._nn.pad(a * m.column, (1, 0, 2, 1), "reflect"),
    "pad by reflection": lambda m, a: F.pad(a * m.column, (1, 0, 2, 1), mode="reflect"),
    "max pool": lambda m, a: F.max_pool2d(a * m.column, (2, 3), stride=(1, 2), padding=(1, 0), dilation=(2, 1)),
    "max pool with indices": lambda m, a: F.max_pool2d(a * m.column, 3, ceil_mode=True, return_indices=False),
    "average pool": lambda m, a: F.avg_pool2d(a * m.column, 2),
    "concatenation": lambda m, a: torch.cat([a[:, 1:3] * m.column[:2], -a[:, :2]], dim=1),
    "leaky": lambda m, a: -F.leaky_relu(a - m.column, 0.3),
    "leaky by position": lambda m, a: -torch._C._nn.leaky_relu(a - m.column, 0.3),
    "leaky in place": lambda m, a: -F.leaky_relu(a - m.column, inplace=True),
    "hardtanh": lambda m, a: F.hardtanh(a - m.column, -0.4, 0.6),
    "relu6": lambda m, a: F.relu6(9 * (a - m.column), inplace=True),
    "abs": lambda m, a: (a - m.column).abs(),
}
REFUSED = {
    "mul": lambda m, a: a * a,
    "div": lambda m, a: torch.div(m.column, a + 1),
    "__rdiv__": lambda m, a: 1 / (a + 1),
    "add": lambda m, a: torch.add(a, a, alpha=2),
    "batch_norm": lambda m, a: F.batch_norm(a, m.mean.clone(), m.variance.clone(), training=True),
    "dropout": lambda m, a: F.dropout(a, 0.5, True) * 0 + a,
    "feature_dropout": lambda m, a: torch.feature_dropout(a, 0.5, True) * 0 + a,
    "tanh": lambda m, a: a.tanh(),
    "conv2d": lambda m, a: F.conv2d(a[:1], a[:, :, :3, :3]).expand(6, -1, -1, -1)[:, :4],
    "linear": lambda m, a: F.linear(m.weight[:, :, 0], a[0, 0, 0, :3]).expand(6, 4, 4)[..., None],
}


def loss_of(model, x, way):
    u = torch.linspace(0.05, 0.95, len(x), dtype=torch.float64)
    g = input_gradient(model, x, u, way=way)
    return (g.square() * torch.sin(torch.arange(g.numel(), dtype=g.dtype)).reshape(g.shape)).sum()


@pytest.mark.parametrize("rule", RULES)
def test_a_linear_rule_has_the_gradient_of_double_backward(rule):
    torch.manual_seed(1)
    model, x = Net(RULES[rule]).double(), images()
    expected = gradients(model, loss_of(model, x, "double_backward"))
    assert expected.norm() > 0
    assert difference(gradients(model, loss_of(model, x, "linearised")), expected) < 1e-11


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_linear_is_refused_by_name_and_auto_avoids_it(name):
    torch.manual_seed(1)
    model, x = Net(REFUSED[name]).double(), images()
    with pytest.raises(UnsupportedError, match=f"calls {name}"):
        loss_of(model, x, "linearised")
    if "dropout" not in name:  # whose draws differ from call to call
        expected = gradients(model, loss_of(model, x, "double_backward"))
        assert difference(gradients(model, loss_of(model, x, "auto")), expected) < 1e-12


@pytest.mark.parametrize("mode", [Record, Replay])
def test_functions_in_place_cost_autograd_no_copies(mode):
    """What depends on the input is marked, not a view: of a view, an in-place function's backward pass copies the base."""
    torch.manual_seed(1)
    model, x, tape = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True)).double(), images(), Tape()
    with Record(tape):
        out = model(signal(x.requires_grad_()))
    if mode is Replay:
        with Replay(tape):
            out = model(signal(torch.ones_like(x)))
    names, waiting = [], [out.grad_fn]
    while waiting:
        node = waiting.pop()
        names.append(node.name())
        waiting += [below for below, _ in node.next_functions if below is not None]
    assert "ConvolutionBackward0" in names
    assert not {"CopySlices", "AliasBackward0"} & set(names)


def test_a_second_pass_that_takes_another_branch_is_caught():
    calls = []

    def fickle(m, a):
        calls.append(1)
        return F.relu6(a) if len(calls) > 1 else F.relu(a)

    def shorter(m, a):
        calls.append(1)
        return F.relu(a).relu() if len(calls) > 3 else F.relu(a)

    for function in (fickle, shorter):
        model = Net(function).double()
        with pytest.raises(UnsupportedError, match="control flow"):
            loss_of(model, images(), "linearised").backward()


@pytest.mark.parametrize("axes", [1, 3])
def test_pools_and_norms_have_their_rules_on_any_number_of_axes(axes):
    def layer(name, *arguments, **options):
        return getattr(nn, f"{name}{axes}d")(*arguments, **options)

    torch.manual_seed(1)
    model = nn.Sequential(
        layer("Conv", 2, 3, 2), layer("BatchNorm", 3), nn.ReLU(), layer("MaxPool", 2), nn.Flatten(), nn.LazyLinear(3)
    )
    x = torch.randn(3, 2, *(7, 5, 6)[:axes], generator=seeded(8), dtype=torch.float64)
    model = model.double()
    model(x)
    expected = gradients(model.eval(), loss_of(model, x, "double_backward"))
    assert difference(gradients(model, loss_of(model, x, "linearised")), expected) < 1e-11
