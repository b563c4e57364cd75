"""The forward mean field against wide torch networks, quadrature, and the gates that forward passes count."""

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import nn
from torch.nn import functional

from landscape import he, predict
from landscape.gates.activations import FUNCTIONS, gaussian_moments
from landscape.gates.forward.covariances import _squared
from landscape.gates.forward.mean_field import signals
from landscape.gates.gate_rates import theory_gates
from landscape.gates.trunks import runs
from landscape.gates.trunks.runs import pair_of_gates
from landscape.prior import Prior
from landscape.structure.arrays import diagonal_of
from landscape.structure.pairs import everything
from landscape.weights.initialisation import layer_variances
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    AssumptionError,
    Blur,
    ChannelShuffle,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Flatten,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pad,
    PixelShuffle,
    Pool,
    Slice,
    UnsupportedError,
    Upsample,
    concatenate,
    residual,
)
from lattice.network.branches import Branches
from lattice.network.ops import GlobalPool, Input
from lattice.network.rearrange import Rearrange
from validation import compare, measure
from validation.montecarlo.build import build

relu = Activation("relu")


def gaussian(function, mean, variance):
    deviation = variance**0.5
    density = lambda t: function(mean + deviation * t) * np.exp(-t * t / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    return integrate.quad(density, -9, 9, limit=400, points=[-mean / deviation])[0]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (0.7, 4.0)])
def test_gaussian_moments_are_those_of_torchs_function(name, mean, variance):
    function = getattr(functional, name, None) or getattr(torch, name)

    def value(z):
        return function(torch.tensor(z, dtype=torch.float64)).item()

    def slope(z):
        x = torch.tensor(z, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(function(x), x)[0].item()

    found = gaussian_moments(Activation(name), np.array([mean]), np.array([variance]), np.array([0.0]))
    first = gaussian(value, mean, variance)
    truth = (
        first,
        gaussian(lambda z: value(z) ** 2, mean, variance),
        first**2,
        gaussian(lambda z: slope(z) ** 2, mean, variance),
    )
    np.testing.assert_allclose(np.ravel(found), truth, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("activation", [relu, Activation("leaky_relu", 0.2), Activation("abs"), Activation("silu")], ids=str)
@pytest.mark.parametrize(("mean", "correlation"), [(0.0, 0.6), (0.8, -0.4), (0.8, 0.95)])
def test_products_of_correlated_values_are_those_of_a_double_integral(activation, mean, correlation):
    rng = np.random.default_rng(0)
    first, rest = rng.normal(size=(2, 2_000_000))
    pair = mean + first, mean + correlation * first + (1 - correlation**2) ** 0.5 * rest
    values = [build(Lattice.chain((1, 1), [activation]))(torch.tensor(z)[:, None, None]).numpy().ravel() for z in pair]
    product = values[0] * values[1]
    found = gaussian_moments(activation, np.array([mean]), np.ones(1), np.array([correlation]))[2][0]
    assert abs(found - product.mean()) < 5 * product.std() / product.size**0.5 + 1e-3 * product.mean()  # 1e-3: the cut series


def counted(net, draws=24, inputs=40):
    """power, cross and mean of a built net over draws of its weights, inputs and channels; and their standard errors."""
    rows = []
    for draw in range(draws):
        module = build(net, he, generator=torch.Generator().manual_seed(draw)).eval()
        x = torch.randn(inputs, *net.input_shape, generator=torch.Generator().manual_seed(1000 + draw))
        with torch.no_grad():
            y = module(x)
        total, squares = y.sum(0), y.square().sum(0)
        rows.append([squares.mean(0) / inputs, ((total**2 - squares) / (inputs * (inputs - 1))).mean(0), y.mean((0, 1))])
    stacked = np.array([[part.numpy() for part in row] for row in rows])
    return stacked.mean(axis=0), stacked.std(axis=0, ddof=1) / draws**0.5


WIDTH = 128
CONV = Conv(WIDTH, 3, padding=1)


@pytest.mark.parametrize(
    ("layers", "allowed"),
    [
        # (allowed: what the approximations of the head of landscape/gates/forward/mean_field.py cost here, and O(1 / channels))
        ([CONV, relu, CONV], 0.03),
        ([CONV, Activation("silu"), CONV, Activation("hardswish")], 0.06),
        ([CONV, relu, CONV, Pool("avg", 2), CONV], 0.05),
        ([CONV, relu, Pool("max", 2), CONV], 0.06),
        ([CONV, Norm("layer"), relu, CONV], 0.05),
        ([CONV, relu, residual([CONV]), relu, residual([CONV]), relu], 0.09),
        ([CONV, residual([relu, CONV]), relu], 0.05),
    ],
    ids=str,
)
def test_power_cross_and_mean_are_those_of_wide_networks_borders_included(layers, allowed):
    net = Lattice.chain((8, 6), layers)
    positions = net.output_shape[1]
    found = np.array([np.broadcast_to(part[0], positions) for part in signals(Prior(net, layer_variances(net, he)))[-1]])
    truth, error = counted(net)
    assert (np.abs(found - truth) < 5 * error + allowed * np.abs(truth).max(axis=1, keepdims=True)).all()
    assert found[0, 0] < 0.97 * found[0, positions // 2]  # the border is weaker, and that was seen


@pytest.mark.parametrize(
    "averages",
    [[Pool("avg", 2, 1), Pool("avg", 3, 2)], [Upsample(2), Pool("avg", 3, 1)], [Pool("avg", 3, 1), relu, GlobalPool("avg")]],
    ids=str,
)
@pytest.mark.parametrize("below", [[CONV], [CONV, relu]], ids=["linear", "rectified"])
def test_averages_of_averages_know_that_their_cells_are_alike(below, averages):
    """Taken as independent cells, the power of the last average is 0.4 to 0.7 of what it is."""
    net = Lattice.chain((8, 6), [*below, *averages])
    power = signals(Prior(net, layer_variances(net, he)))[-1].power[0]
    (truth, *_), (error, *_) = counted(net)
    assert (np.abs(power - truth) < 5 * error + 0.05 * truth.max()).all(), (power, truth)


@pytest.mark.parametrize(
    "layers", [[CONV, relu, Norm("group", groups=4)], [CONV, Norm("group", groups=4), relu, CONV]], ids=str
)
def test_a_group_norm_takes_out_the_mean_that_a_gate_has_left(layers):
    net = Lattice.chain((8, 6), layers)
    power = signals(Prior(net, layer_variances(net, he)))[-1].power[0]
    (truth, *_), (error, *_) = counted(net)
    assert (np.abs(power - truth) < 5 * error + 0.03 * truth.max()).all()


def test_theory_and_counting_agree_on_the_gates_of_a_residual_net():
    def factory():
        torch.manual_seed(torch.initial_seed())
        net = Lattice.chain(
            (3, 16), [CONV, relu, *(part for _ in range(3) for part in (residual([CONV]), relu)), Flatten(), Dense(4)]
        )
        return build(net, he)

    from landscape import trace

    traced = trace(factory, (3, 16), inputs="noise")
    theory = theory_gates(Prior(traced.lattice, traced.variances))
    assert set(theory.runs) == set(traced.gates.runs)
    assert len(theory.runs) == 6  # of neighbours, and the longer ones
    for name, gain in theory.gains.items():
        np.testing.assert_allclose(np.broadcast_to(gain, (1, 16)), traced.gates.gains[name], rtol=0.12)
        np.testing.assert_allclose(np.mean(gain), traced.gates.gains[name].mean(), rtol=0.04)
    for gates, rate in theory.runs.items():
        np.testing.assert_allclose(np.mean(rate), traced.gates.runs[gates].mean(), rtol=0.04)


def test_a_trunk_of_too_many_different_channels_is_counted(monkeypatch):
    """Running statistics make every channel another case of the law of a trunk."""

    def factory():
        net = build(Lattice.chain((3, 10), [CONV, relu, residual([CONV, Norm()]), relu, Conv(4, 1)]), he)
        for part in net.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_var.copy_(torch.linspace(0.5, 2, WIDTH))
        return net

    assert not any("counted" in reason for reason in predict(factory, (3, 10)).reasons)
    monkeypatch.setattr(runs, "MOST_CASES", 30)
    why = "units that differ along a trunk of 2 gates; at most 30 are looked at"
    assert any(why in reason for reason in predict(factory, (3, 10)).reasons)
    with pytest.raises(UnsupportedError, match=why):
        predict(factory, (3, 10), gates="theory")


def test_the_trunk_law_gives_a_residual_net_its_scale():
    block = residual([Conv(24, 3, padding=1)])
    net = Lattice.chain(
        (3, 10), [Conv(24, 3, padding=1), relu, *(part for _ in range(4) for part in (block, relu)), Flatten(), Dense(6)]
    )
    estimate = measure(net, draws=3000, seed=0)
    agreement = compare(predict(net), estimate)
    assert abs(agreement.scale_ratio - 1) < 0.15
    assert agreement.error < 0.03
    assert any("from the forward mean field" in reason for reason in predict(net).reasons)


def test_gates_of_a_trunk_have_the_rates_of_their_runs_at_pairs_too():
    """Pairs of one position are the gain, and not that of Gaussians, which would double ResNeXt's scale."""
    block = residual([Conv(8, 3, padding=1), Activation("relu"), Conv(8, 3, padding=1)])
    layers = [Conv(8, 3, padding=1), Activation("relu"), block, Activation("relu"), block, Activation("relu")]
    net = Lattice.chain((2, 8, 8), [Conv(8, 1), Pool("avg", 3, 1), *layers, GlobalPool("avg")])
    gates = theory_gates(Prior(net, layer_variances(net, he)))
    plan = Prior(net, {}, gates=gates).plan
    assert gates.joint
    for name in gates.joint:
        node = net.names.index(name)
        own = diagonal_of(gates.joint[name], plan.carried[node, node])
        assert own == pytest.approx(np.broadcast_to(gates.gains[name], own.shape), rel=1e-12)


def test_a_smooth_net_has_the_scale_of_its_mean_field():
    net = Lattice.chain(
        (8, 10), [Conv(48, 3, padding=1), Activation("gelu"), Conv(48, 3, padding=1), Activation("tanh"), Flatten(), Dense(6)]
    )
    agreement = compare(predict(net), measure(net, draws=2000, seed=0))
    assert abs(agreement.scale_ratio - 1) < 0.1
    assert agreement.error < 0.03


def test_a_gate_and_a_norm_have_their_size_from_theory():
    nodes = [Node("input", Input((16, 8))), Node("conv", CONV, (0,)), Node("norm", Norm("group", 4), (1,))]
    nodes += [
        Node("pool", GlobalPool(), (2,)),
        Node("squeeze", Conv(WIDTH, 1), (3,)),
        Node("sigmoid", Activation("sigmoid"), (4,)),
    ]
    net = Lattice((*nodes, Node("product", Multiply(), (2, 5)), Node("flat", Flatten(), (6,)), Node("dense", Dense(4), (7,))))
    agreement = compare(predict(net), measure(net, draws=400, seed=0))
    assert abs(agreement.scale_ratio - 1) < 0.1
    assert agreement.error < 0.05


def test_a_pixel_shuffle_moves_moments_as_it_moves_values():
    net = Lattice.chain((2, 3, 4), [concatenate([Conv(3, 3, padding=1), relu], [Conv(5, 1)]), PixelShuffle(2)])
    *_, below, shuffled = signals(Prior(net, layer_variances(net, he)))
    for part, moved in zip(below, shuffled, strict=True):
        np.testing.assert_array_equal(moved, functional.pixel_shuffle(torch.tensor(part)[None], 2)[0].numpy())


def test_what_has_no_mean_field_is_refused_by_name():
    net = Lattice.chain((4, 4, 4), [Conv(4, 1), Activation("rrelu")])
    with pytest.raises(UnsupportedError, match="activation1: rrelu: no moments"):
        signals(Prior(net, layer_variances(net, he)))


class Shifted(nn.Module):
    """A gate over values of variance 1 less a shift."""

    def __init__(self, shift, gate):
        super().__init__()
        self.stem, self.head = nn.Conv1d(2, 8, 3, bias=False), nn.Conv1d(8, 2, 3, bias=False)
        self.shift, self.gate = shift, gate

    def forward(self, x):
        return self.head(self.gate(functional.instance_norm(self.stem(x)) - self.shift))


@pytest.mark.parametrize(
    "gate", [torch.relu, lambda z: torch.relu(functional.leaky_relu(z, 0.1)), functional.silu, torch.sigmoid, functional.relu6]
)
def test_a_gate_that_hardly_ever_opens_is_refused_as_a_tail(gate):
    """P(y > 9 deviations) is many times larger for values that are a little less Gaussian."""
    with pytest.raises(
        AssumptionError, match=r"(relu|silu|sigmoid|relu6): it would open .*e-.* of the time for Gaussian values"
    ):
        predict(lambda: Shifted(9, gate), (2, 12))
    assert predict(lambda: Shifted(1, gate), (2, 12)).squared.all()


def test_a_tanh_that_is_saturated_but_once_in_a_million_is_refused():
    def factory(scale):
        return lambda: nn.Sequential(nn.Conv1d(2, 8, 3), Scaled(scale), nn.Tanh(), nn.Conv1d(8, 2, 3))

    assert predict(factory(1e4), (2, 12)).squared.all()
    with pytest.raises(AssumptionError, match=r"2: it would open 9e-10 of the time"):
        predict(factory(1e9), (2, 12))


@pytest.mark.parametrize(("lower", "upper"), [(0.2, 0.0), (0.5, 0.3), (0.5, -1.0)])
def test_a_dropout_between_two_gates_changes_no_rate(lower, upper):
    """E[phi'(d f)^2 (d f')^2] / E[(d f')^2] and E[phi' d f'] / E[d f'] over drawn z and masks d."""
    gates = [Activation("leaky_relu", slope) for slope in (lower, upper)]
    net = Lattice.chain((1, 8), [Conv(4, 3), gates[0], Dropout(0.4), gates[1], Conv(2, 3)])
    found = theory_gates(Prior(net, {"conv1": 0.3, "conv2": 0.3}), train=True)
    draw = np.random.default_rng(0)
    z, mask = draw.normal(size=10**6), (draw.random(10**6) > 0.4) / 0.6
    below = np.where(z > 0, 1, lower)
    above = np.where(mask * below * z > 0, 1, upper)
    gain, first = (((above * mask * below) ** k).mean() / ((mask * below) ** k).mean() for k in (2, 1))
    np.testing.assert_allclose(found.gains["activation2"], gain, rtol=0.01)
    np.testing.assert_allclose(found.firsts["activation2"], first, rtol=0.01)


class Falling(nn.Module):
    """A ReLU over a skip of values that are never positive, beside a branch of a given size."""

    def __init__(self, scale):
        super().__init__()
        self.stem, self.branch = nn.Conv1d(1, 8, 3), nn.Conv1d(8, 8, 3, padding=1, bias=False)
        self.head, self.scale = nn.Conv1d(8, 2, 3), scale

    def forward(self, x):
        y = functional.logsigmoid(self.stem(x))
        return self.head(torch.relu(y + self.scale * self.branch(y)))


def test_a_gate_of_a_trunk_that_hardly_ever_opens_is_refused():
    """As a Gaussian with the mean and variance of the sum it would open often enough; with the law of its run it does not."""
    with pytest.raises(AssumptionError, match=r"relu: it would open .* of the time for Gaussian values"):
        predict(lambda: Falling(0.1), (1, 12))
    assert predict(lambda: Falling(2.0), (1, 12)).squared.all()


class Halved(nn.Module):
    """A ReLU over a skip that has gates of its own, beside a branch of a given size."""

    def __init__(self, skip, scale):
        super().__init__()
        self.stem, self.branch = nn.Conv1d(2, 8, 3, bias=False), nn.Conv1d(8, 8, 1, bias=False)
        self.head, self.skip = nn.Conv1d(8, 2, 3), skip
        nn.init.normal_(self.branch.weight, std=scale / 8**0.5)

    def forward(self, x):
        y = self.skip(self.stem(x))
        return self.head(torch.relu(y + self.branch(y)))


HALVES = {
    "y - relu(y)": lambda y: y - torch.relu(y),
    "y - |y|": lambda y: y - torch.abs(y),
    "gate on gate": lambda y: -torch.relu(functional.leaky_relu(y, 0.1)),
}


@pytest.mark.parametrize("skip", HALVES.values(), ids=HALVES)
def test_a_gate_that_is_closed_where_its_skip_passes_is_refused(skip):
    """The skip passes where it is negative; 0.07 of the prediction with a branch of a tenth of it, 0.65 with an equal one."""
    with pytest.raises(AssumptionError, match=r"has gates of its own and is negative where it lets the gradient through"):
        predict(lambda: Halved(skip, 0.1), (2, 7))
    found = measure(lambda: Halved(skip, 1.0), (2, 7), draws=500, seed=1).mean.mean()
    assert 0.5 < found / predict(lambda: Halved(skip, 1.0), (2, 7)).squared.mean() < 0.8


@pytest.mark.parametrize("skip", [lambda y: y + torch.relu(y), lambda y: y + torch.abs(y)], ids=["both", "positive"])
def test_a_gate_that_is_open_where_its_skip_passes_is_not(skip):
    assert predict(lambda: Halved(skip, 0.1), (2, 7)).squared.all()


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale * x


class Zeros(nn.Module):
    """A maximum over a signal that a transposed convolution has spread over twice as many cells."""

    def __init__(self):
        super().__init__()
        self.stem, self.up = nn.Conv2d(2, 8, 3, bias=False), nn.ConvTranspose2d(8, 4, 1, 2, bias=False)

    def forward(self, x):
        return functional.gelu(self.up(self.stem(x))).flatten(2).max(-1).values


def test_a_maximum_over_zeros_without_a_law_is_not_guessed():
    with pytest.raises(UnsupportedError, match="most of its cells are zero whatever the input, and windows of 361 cells"):
        predict(Zeros, (2, 12, 12), gates="theory")
    counted = predict(Zeros, (2, 12, 12))
    assert any("most of its cells are zero" in reason for reason in counted.reasons)
    assert 0.7 < compare(counted, measure(Zeros, (2, 12, 12), draws=300)).scale_ratio < 1.4


class Unlike(nn.Module):
    """A maximum over GELUs of which the last is 100 times as large as the first; or over copies of such sizes."""

    def __init__(self, kernel, copies):
        super().__init__()
        self.stem, self.head = nn.Conv1d(2, 8, 3, bias=False), nn.Conv1d(8, 2, 1, bias=False)
        self.kernel, self.copies = kernel, copies

    def forward(self, x):
        z = self.stem(x)
        wide = torch.cat([z, 100 * z], -1) if self.copies else torch.linspace(0.1, 10, z.shape[-1]) * z
        return self.head(functional.max_pool1d(functional.gelu(wide), self.kernel))


def test_a_maximum_over_unlike_cells_without_a_law_is_not_guessed():
    def factory():
        return Unlike(280, copies=False)

    with pytest.raises(UnsupportedError, match="its cells are of different sizes, and"):
        predict(factory, (2, 292), gates="theory")
    assert any("cells are of different sizes" in reason for reason in predict(factory, (2, 292)).reasons)


@pytest.mark.parametrize("head", ["mean", "amax"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_layer_that_reads_nothing_but_padding_has_no_gradient(head, mode):
    class Padding(nn.Module):
        """A convolution of stride 2 over one column of values between two of zeros."""

        def __init__(self):
            super().__init__()
            self.stem, self.layer, self.head = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1, 2, bias=False), nn.Linear(4, 2)

        def forward(self, x):
            y = functional.interpolate(self.layer(functional.pad(self.stem(x).relu(), (1, 1))), scale_factor=2, mode="bilinear")
            return self.head(getattr(y, head)((2, 3)))

    assert not predict(Padding, (2, 4, 1), mode=mode).squared.any()


@pytest.mark.parametrize(("kernel", "copies"), [(70, False), (4, True)])
def test_a_maximum_over_many_unlike_cells_has_a_law(kernel, copies):
    found, seen = (
        predict(lambda: Unlike(kernel, copies), (2, 82), gates="theory"),
        measure(lambda: Unlike(kernel, copies), (2, 82), draws=400),
    )
    assert 0.9 < compare(found, seen).scale_ratio < 1.15


# --- one op at a time, over channels and positions that differ --------------------------------------------------------------

UNLIKE = concatenate([Conv(4, 3, padding=1), relu], [Conv(2, (1, 3), padding=(0, 1))])
ALIKE = [Conv(6, 3, padding=1), relu]


def below_and_above(shape, layers, op, train=False, **options):
    """The signals that an op reads and gives; every layer below it has V[w] = 0.2, the op itself 0.7."""
    net = Lattice.chain(shape, [*layers, op])
    variances = {**dict.fromkeys(net.names, 0.2), net.names[-1]: 0.7}
    *_, below, above = signals(Prior(net, variances, **options), train=train)
    return [np.broadcast_to(part, net.shapes[-2]) for part in below], [np.broadcast_to(part, net.shapes[-1]) for part in above]


def through(op, part, weight=None):
    """torch's layer of an op, over one array (channels, *spatial), all weights set to one number."""
    layer = build(Lattice.chain(part.shape, [op]), 1.0).double()
    for parameter in layer.weights().values():
        parameter.data.fill_(weight)
    with torch.no_grad():
        return layer(torch.from_numpy(np.array(part))[None])[0].numpy()


@pytest.mark.parametrize("layers", [[UNLIKE], ALIKE], ids=["unlike", "alike"])
@pytest.mark.parametrize(
    "op",
    [
        Conv(4, (3, 2), (2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), groups=2),
        Conv(3, 1, groups=3),
        Conv(5, 3, padding=1, mode="circular"),
        Conv(5, (2, 3), padding=(1, 2), mode="reflect"),
        ConvTranspose(4, (3, 2), (2, 3), padding=(1, 0), output_padding=(1, 2), groups=2),
        ConvTranspose(3, 2, 1, dilation=(1, 2)),
    ],
    ids=str,
)
def test_fresh_weights_sum_powers_over_what_torch_reads(op, layers):
    below, above = below_and_above((3, 5, 6), layers, op)
    for part, found in zip(below[:2], above[:2], strict=True):
        np.testing.assert_allclose(found, through(op, part, 0.7), rtol=1e-12)
    assert not above[2].any()


def test_a_dense_layer_sums_powers_over_all_features():
    below, above = below_and_above((3, 4, 3), [UNLIKE, Flatten()], Dense(5))
    for part, found in zip(below[:2], above[:2], strict=True):
        np.testing.assert_allclose(found, 0.7 * part.sum(), rtol=1e-12)
    assert not above[2].any()


@pytest.mark.parametrize("layers", [[UNLIKE], ALIKE], ids=["unlike", "alike"])
@pytest.mark.parametrize("op", [Slice(1, 5), ChannelShuffle(2), ChannelShuffle(3), Flatten(), Dropout(0.3)], ids=str)
def test_what_moves_or_keeps_values_moves_or_keeps_their_moments(op, layers):
    for part, found in zip(*below_and_above((3, 4, 5), layers, op), strict=True):
        np.testing.assert_array_equal(found, through(op, part))


@pytest.mark.parametrize(
    "op",
    [
        Pool("avg", (2, 3), (2, 1), padding=(0, 1)),
        Pool("avg", 3, 2, padding=1, count_include_pad=False),
        Pool("avg", 2, ceil=True),
        AdaptivePool("avg", (3, 2)),
        GlobalPool("avg"),
        Pad(((1, 0), (0, 2))),
        Pad(((1, 2), (0, 2)), "circular"),
        Blur((1, 2, 4), (1, 2), padding=1, mode="reflect"),
        Upsample((2, 3)),
        Upsample(size=(7, 3), mode="linear"),
    ],
    ids=str,
)
def test_a_fixed_map_adds_shared_parts_as_levels_the_rest_as_variances(op):
    (power, cross, mean), above = below_and_above((3, 5, 4), [UNLIKE], op)
    matrix = through(op, np.eye(20).reshape(20, 5, 4)).reshape(20, -1)  # channels are moved alike: each is one cell here
    rows = [part.reshape(6, 20) for part in (np.sqrt(cross), power - cross, mean)]
    level, apart, middle = (part @ a for part, a in zip(rows, (matrix, matrix**2, matrix), strict=True))
    for found, truth in zip(above, (apart + level**2, level**2, middle), strict=True):
        np.testing.assert_allclose(found.reshape(6, -1), truth, rtol=1e-9, atol=1e-15)


def test_factors_of_a_norm_are_per_network_channel_or_unit():
    rng = np.random.default_rng(0)
    for factor in (0.3, rng.random(6), rng.random((6, 4, 5))):
        (power, cross, mean), above = below_and_above((3, 4, 5), [UNLIKE], Norm("scale"), factors={"norm1": factor})
        scale = np.reshape(factor, (-1, 1, 1)) if np.ndim(factor) == 1 else factor
        for found, truth in zip(above, (scale * power, scale * cross, np.sqrt(scale) * mean), strict=True):
            np.testing.assert_allclose(found, truth, rtol=1e-12)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("kind", ["batch", "instance"])
@pytest.mark.parametrize("layers", [[UNLIKE], ALIKE], ids=["unlike", "alike"])
def test_a_norm_over_positions_does_what_torchs_batch_norm_does(kind, train, layers):
    """A norm over positions does what torch's batch norm does to values with these moments."""
    (power, cross, mean), above = below_and_above((3, 4, 5), layers, Norm(kind, eps=0.05), train=train)
    if kind == "batch" and not train:  # the statistics that it has seen are in its factor
        for found, truth in zip(above, (power, cross, mean), strict=True):
            np.testing.assert_array_equal(found, truth)
        return
    draws = 20_000
    noise = np.random.default_rng(0).normal(size=(draws, *power.shape))
    values = torch.from_numpy(np.sqrt(cross) + np.sqrt(power - cross) * noise)
    normed = functional.batch_norm(values, None, None, training=True, eps=0.05).numpy()
    np.testing.assert_allclose(above[0], (normed**2).mean(axis=0), atol=5 * (normed**2).std() / draws**0.5)
    np.testing.assert_allclose(np.sqrt(above[1]), np.abs(normed.mean(axis=0)), atol=5 * normed.std() / draws**0.5)
    assert not above[2].any()


def test_norms_over_the_signal_divide_by_the_variance_of_their_channels():
    """Half of the channels are rectified: power v / 2 and mean m = sqrt(v / 2 pi); the other half have power v.

    A norm over all of them takes out m / 2, which leaves the mean m / 2 to the one half and -m / 2 to the other.
    """
    v, eps = 1.3, 0.4
    mean = np.sqrt(v / (2 * np.pi))
    rectified = v / 2 - mean**2
    both = v * 3 / 4 - (mean / 2) ** 2
    own = np.array([rectified] * 3 + [v] * 3)
    spreads = {Norm("group", 2, eps): (own, own), Norm("instance", eps=eps): (own, own)}
    spreads |= dict.fromkeys((Norm("layer", eps=eps), Norm("group", 1, eps)), (both, own + (mean / 2) ** 2))
    for norm, (spread, left) in spreads.items():
        net = Lattice.chain((1, 2, 3), [concatenate([Conv(3, 1), relu], [Conv(3, 1)]), norm, Conv(2, 1)])
        variances = {"conv1": v, "conv2": v, "conv3": 1.0}
        power = signals(Prior(net, variances))[-2].power
        np.testing.assert_allclose(power, np.broadcast_to((left / (spread + eps))[:, None, None], power.shape), rtol=1e-9)
        gain = theory_gates(Prior(net, variances)).gains["norm1"]
        truth = np.broadcast_to(1 / (spread + eps), 6)[:, None, None]
        np.testing.assert_allclose(np.broadcast_to(gain, (6, 2, 3)), np.broadcast_to(truth, (6, 2, 3)), rtol=1e-9)


def test_a_layer_norm_divides_by_the_variance_of_each_position():
    (power, cross, mean), above = below_and_above((3, 4, 5), ALIKE, Norm("layer", eps=0.1))
    np.testing.assert_allclose(above[0], (power - mean**2) / (power - mean**2 + 0.1), rtol=1e-12)
    (power, cross, mean), above = below_and_above((3, 4, 5), [*ALIKE, Conv(4, 1)], Norm("layer", eps=0.1))
    assert cross.min() > 0
    assert not mean.any()
    np.testing.assert_allclose(above[0], power / (power + 0.1), rtol=1e-12)
    np.testing.assert_allclose(above[1], cross / (power + 0.1), rtol=1e-12)
    np.testing.assert_array_equal(above[2], 0)


@pytest.mark.parametrize("kind", ["layer", "group"])
def test_a_norm_over_channels_keeps_what_each_has_of_its_own(kind):
    """Constants of channels, as position embeddings beside a class token: torch's norm over 4,000 draws below."""
    own = np.random.default_rng(0).normal(1, 2, 96)
    net = Lattice.chain((8, 3), [Conv(96, 1), Norm("scale"), Norm(kind, 1)])
    *_, signal = signals(Prior(net, {"conv1": 1 / 8}, shifts={"norm1": (own, 0.0)}))
    draw = torch.Generator().manual_seed(0)
    z = torch.einsum("noc,nci->noi", torch.randn(4000, 96, 8, generator=draw) / 8**0.5, torch.randn(4000, 8, 3, generator=draw))
    z = z + torch.from_numpy(own).float()[:, None]
    y = functional.group_norm(z, 1) if kind == "group" else functional.layer_norm(z.transpose(1, 2), (96,)).transpose(1, 2)
    for part, found in zip(signal, (y.square(), None, y), strict=True):
        if found is not None:
            np.testing.assert_allclose(np.broadcast_to(part, (96, 3)), found.mean(0), atol=0.12)


def test_a_group_norm_within_a_run_takes_the_mean_of_its_group():
    """tanh over a group norm over ReLU: padding leaves the border a smaller mean, and one number is taken out."""
    net = Lattice.chain((3, 5), [Conv(64, 3, padding=1), relu, Norm("group", 1), Activation("tanh")])
    mean = signals(Prior(net, {"conv1": 0.3}))[-1].mean[0]
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(400):
        x, weights = torch.randn(16, 3, 5, generator=draw), torch.randn(64, 3, 3, generator=draw) * 0.3**0.5
        found.append(functional.group_norm(functional.conv1d(x, weights, padding=1).relu(), 1).tanh().mean((0, 1)))
    seen, error = torch.stack(found).mean(0).numpy(), torch.stack(found).std(0).max() / 20
    assert mean[0] < mean[2] - 0.04
    np.testing.assert_allclose(mean, seen, atol=0.01 + 5 * float(error))  # 0.01: 64 channels


def test_products_of_shifts_are_averaged_over_channels():
    """(1, -1) at one position and (2, 2) at another: products 1, 0 and 4, though the averages are 0 and 2."""
    axes = (everything(2, 2),)
    shift = np.array([[1.0, 2.0], [-1.0, 2.0]])
    np.testing.assert_allclose(_squared(shift, (2,), axes), [[1, 0, 0, 4]])
    np.testing.assert_allclose(_squared(shift, (1, 1), axes), [[1, 2, 2, 4], [1, -2, -2, 4]])


def test_variances_of_branches_add_whatever_their_means():
    branches = [[Conv(3, 1), relu], [Conv(3, 3, padding=1), relu], [Conv(3, 1)]]
    net = Lattice.chain((2, 5), [Branches(tuple(map(tuple, branches)), Add())])
    variances = {"conv1": 0.3, "conv2": 0.9, "conv3": 0.5}
    parts = [signals(Prior(net, variances))[position] for position in (2, 4, 5)]
    total = signals(Prior(net, variances))[-1]
    assert [net.nodes[i].name for i in net.nodes[-1].inputs] == [net.names[position] for position in (2, 4, 5)]
    np.testing.assert_allclose(total.mean, sum(part.mean for part in parts))
    np.testing.assert_allclose(total.power - total.mean**2, sum(part.power - part.mean**2 for part in parts))
    np.testing.assert_allclose(total.cross - total.mean**2, sum(part.cross - part.mean**2 for part in parts), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_what_all_inputs_share_cancels_in_a_difference_from_the_mean(scale):
    """relu(h) less its mean shares nothing between inputs: what rounding leaves below zero has no root."""
    relu, back = Node("relu", Activation("relu"), (1,)), Norm("scale")
    nodes = [
        Node("input", Input((1, 7, 7)), ()),
        Node("conv", Conv(8, 1), (0,)),
        relu,
        Node("mean", GlobalPool("avg"), (2,)),
        Node("negated", back, (3,)),
        Node("spread", Upsample(size=(7, 7)), (4,)),
        Node("difference", Add(), (2, 5)),
        Node("conv2", Conv(4, 1), (6,)),
        Node("average", Pool("avg", 2, 1), (7,)),
    ]
    prior = Prior(
        Lattice(tuple(nodes)), {"conv": 2.0 * scale, "conv2": 0.25}, factors={"negated": 1.0}, signs={"negated": -1.0}
    )
    found = signals(prior)[-1]
    assert np.isfinite(found.power).all()
    assert (found.power > 0).all()
    assert (found.cross <= 1e-12 * found.power).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_signal_beyond_float64_has_no_mean_field():
    net = Lattice.chain((1, 4), [Conv(8, 3, padding=1), Activation("relu"), Conv(8, 3, padding=1)])
    with pytest.raises(UnsupportedError, match="range of float64"):
        signals(Prior(net, {"conv1": 1e200, "conv2": 1e200}))


def test_a_product_of_independent_factors_has_the_product_of_the_moments():
    nodes = [Node("input", Input((1, 3))), Node("conv", Conv(2, 1), (0,)), Node("gate", Activation("sigmoid"), (1,))]
    nodes += [Node("other", Conv(2, 1), (0,)), Node("open", relu, (3,))]
    net = Lattice((*nodes, Node("product", Multiply(), (4, 2))))
    variances = {"conv": 2.0, "other": 0.7}
    _, _, gate, _, trunk, product = signals(Prior(net, variances))
    for one, other, both in zip(trunk, gate, product, strict=True):
        np.testing.assert_allclose(both, one * other)
    found = theory_gates(Prior(net, variances)).products
    np.testing.assert_allclose(found["product", 0], np.broadcast_to(gate.power, (1, 3)))
    np.testing.assert_allclose(found["product", 1], np.broadcast_to(trunk.power, (1, 3)))


def test_the_power_of_the_input_is_one_unless_told_otherwise():
    net = Lattice.chain((2, 3), [Conv(1, 1)])
    assert (signals(Prior(net, {"conv1": 0.5}))[-1].power == 1).all()
    assert (signals(Prior(net, {"conv1": 0.5}), input_power=3.0)[-1].power == 3).all()
    first = signals(Prior(net, {"conv1": 0.5}))[0]
    assert not first.cross.any()
    assert not first.mean.any()


SUMS = {
    "a sum of a gate and a filter": [Conv(2, 1), residual([Conv(2, 3, padding=1), relu], [Conv(2, 1)])],
    "a scaled sum": [Conv(2, 1), residual([Conv(2, 1), relu], [Conv(2, 1)]), Norm("scale")],
    "a smooth gate": [Conv(2, 3, padding=1), Activation("sigmoid")],
}


@pytest.mark.parametrize("layers", SUMS.values(), ids=SUMS)
@pytest.mark.parametrize("activation", [relu, Activation("silu"), Activation("hardtanh")], ids=str)
def test_a_gate_acts_on_the_gaussian_of_these_moments(activation, layers):
    (power, cross, mean), above = below_and_above((2, 4), layers, activation, factors={"norm1": 0.4})
    variance = power - mean**2
    shared = np.clip((cross - mean**2) / variance, 0, 1)
    rng = np.random.default_rng(0)
    common, *rest = rng.normal(size=(3, 400_000))
    for place in np.ndindex(*mean.shape):
        r, deviation = shared[place], variance[place] ** 0.5
        values = [mean[place] + deviation * (r**0.5 * common + (1 - r) ** 0.5 * part) for part in rest]
        one, other = (through(activation, part[None])[0] for part in values)
        for sample, found in zip((one**2, one * other, one), above, strict=True):
            assert abs(sample.mean() - found[place]) < 5 * sample.std() / one.size**0.5 + 2e-3 * abs(sample.mean())


# --- the largest of several -------------------------------------------------------------------------------------------------


def order_statistics(n, lowest=-np.inf):
    """E[M] and E[M^2] of max(lowest, the largest of n standard Gaussians), for lowest = -inf or 0."""
    cdf = lambda t: (1 + special.erf(t / 2**0.5)) / 2  # noqa: E731
    density = lambda t: n * cdf(t) ** (n - 1) * np.exp(-t * t / 2) / np.sqrt(2 * np.pi)  # noqa: E731
    return [integrate.quad(lambda t, k=k: t**k * density(t), lowest, np.inf)[0] for k in (1, 2)]


POOLS = {
    Pool("max", (3, 2), (1, 2), padding=(1, 0)): np.outer([2, 3, 3, 2], [2, 2]),
    Pool("max", (2, 3), (2, 1), padding=(0, 1)): np.outer([2, 2], [2, 3, 3, 3, 2]),
    AdaptivePool("max", (2, 3)): np.outer([2, 2], [2, 3, 2]),
    GlobalPool("max"): np.array([[20]]),
}


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("rectified", [False, True])
def test_a_max_pool_gives_the_largest_of_the_values_in_its_window(pool, rectified):
    """A max pool gives the largest of as many independent values as lie in the window."""
    net = Lattice.chain((1, 4, 5), [Conv(1, 1), *([relu] if rectified else []), pool])
    found = signals(Prior(net, {"conv1": 1.7}))[-1]
    for place in np.ndindex(*POOLS[pool].shape):
        first, second = order_statistics(POOLS[pool][place], lowest=0 if rectified else -np.inf)
        truth = 1.7 * second, 1.7 * first**2, 1.7**0.5 * first
        np.testing.assert_allclose(
            [np.broadcast_to(part, (1, *POOLS[pool].shape))[0][place] for part in found], truth, rtol=2e-3
        )


@pytest.mark.parametrize("n", [1, 2, 5])
def test_what_the_cells_share_moves_their_largest_as_a_whole(n):
    """Two inputs at one position, as two positions of one input, are correlated by 1 / pi above one gate."""
    r = 1 / np.pi
    first, second = order_statistics(n)
    *_, found = signals(
        Prior(Lattice.chain((1, n), [Conv(1, 1), relu, Conv(1, 1), GlobalPool("max")]), {"conv1": 2.0, "conv2": 3.0})
    )
    truth = 3 * (r + (1 - r) * second), 3 * (r + (1 - r) * first**2), (3 * (1 - r)) ** 0.5 * first
    np.testing.assert_allclose(np.ravel(found), truth, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("layers", [[], [Conv(1, 1), relu], [Conv(1, 1), relu, Conv(1, 1), relu]], ids=len)
def test_the_largest_of_correlated_rectified_values_is_as_simulated(n, layers):
    net = Lattice.chain((1, n), [Conv(1, 1), relu, *layers, GlobalPool("max")])
    *_, z, _, found = signals(Prior(net, dict.fromkeys(net.names, 2.0)))
    variance, r = z.power.flat[0], z.cross.flat[0] / z.power.flat[0]
    rng = np.random.default_rng(0)
    common = rng.normal(size=400_000)
    one, other = (
        np.maximum(r**0.5 * common + (1 - r) ** 0.5 * rng.normal(size=(n, common.size)), 0).max(axis=0) * variance**0.5
        for _ in range(2)
    )
    for sample, number in zip((one**2, one * other, one), found, strict=True):
        assert abs(sample.mean() - number.item()) < 5 * sample.std() / one.size**0.5 + 2e-3 * number.item()


# --- gates along a skip ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "deviation", "width"), [(0.0, 1.0, 1.0), (0.0, 3.0, 0.5), (-1.5, 0.7, 2.0), (2.0, 1.5, 0.6), (-4.0, 0.8, 0.9)]
)
def test_the_gates_of_a_skip_are_open_as_often_as_a_double_integral_says(mean, deviation, width):
    density = lambda t: np.exp(-((t - mean) ** 2) / (2 * deviation**2)) / (deviation * np.sqrt(2 * np.pi))  # noqa: E731
    passed = lambda z: density(z) * (1 + special.erf(z / (width * 2**0.5))) / 2  # noqa: E731
    both = integrate.quad(passed, 0, max(mean, 0) + 12 * deviation)[0]
    closed = integrate.quad(density, min(mean, 0) - 12 * deviation, 0)[0]
    one = np.ones((1, 2))
    found, upper = pair_of_gates(mean * one, deviation**2 * one, width**2 * one)
    np.testing.assert_allclose(found, both * one, rtol=1e-8)
    np.testing.assert_allclose(upper, (both + closed / 2) * one, rtol=1e-8)


def test_a_skip_opens_both_gates_by_the_angle_between_their_inputs():
    """b > -z for z > 0: the angle pi / 2 + arctan(s / w) of the plane, s and w the deviations of the trunk and the branch."""
    net = Lattice.chain((1, 3), [Conv(4, 1), relu, residual([Conv(4, 1)]), relu, Flatten(), Dense(1)])
    gates = theory_gates(Prior(net, {"conv1": 2.0, "conv2": 0.3}))
    both = 1 / 4 + np.arctan((2.0 / (0.3 * 4 * 1.0)) ** 0.5) / (2 * np.pi)
    (rate,) = gates.runs.values()
    assert set(gates.runs) == {("activation1", "activation2")}
    np.testing.assert_allclose(rate, np.broadcast_to(both, rate.shape), rtol=1e-6)
    np.testing.assert_allclose(gates.gains["activation2"], np.broadcast_to(both + 1 / 4, rate.shape), rtol=1e-6)


def test_the_gate_at_the_lower_end_of_a_skip_may_read_a_trunk():
    """Of a = relu(z) + b and relu(a) + b' both are open as often as a double integral over z and a says."""
    block = [residual([Conv(3, 1)]), relu]
    net = Lattice.chain((1, 3), [Conv(3, 1), relu, *block, *block, Flatten(), Dense(1)])
    variances = dict(
        zip([node.name for node in net.nodes if isinstance(node.op, Conv | Dense)], (2.0, 0.3, 0.2, 1.0), strict=True)
    )
    (_, lower, upper) = [node.name for node in net.nodes if node.op == relu]
    s, w = 2.0**0.5, (0.3 * 3 * 1.0) ** 0.5
    power = integrate.quad(lambda a: a**2 * _trunk(a, s, w), 0, 12 * s)[0]
    above = (0.2 * 3 * power) ** 0.5
    expected = integrate.quad(lambda a: _trunk(a, s, w) * stats.norm.cdf(a / above), 0, 12 * s)[0]
    np.testing.assert_allclose(theory_gates(Prior(net, variances)).runs[lower, upper], expected, rtol=5e-3)


def _trunk(a, s, w):
    """The density of relu(z) + b at a, for z ~ N(0, s^2) and b ~ N(0, w^2)."""
    whole = np.hypot(s, w)
    return stats.norm.pdf(a, 0, w) / 2 + stats.norm.pdf(a, 0, whole) * stats.norm.cdf(a * s / w / whole)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.0), (0.0, 0.2), (0.2, 0.2)])
def test_leaky_rectifiers_at_the_ends_of_a_skip_have_a_joint_rate(low, high):
    """E[phi'(z)^2 phi'(a)^2] for a = phi(z) + b, by an integral over z."""
    gates = [relu if slope == 0 else Activation("leaky_relu", slope) for slope in (low, high)]
    net = Lattice.chain((1, 3), [Conv(4, 1), gates[0], residual([Conv(4, 1)]), gates[1], Flatten(), Dense(1)])
    found = theory_gates(Prior(net, {"conv1": 2.0, "conv2": 0.5, "dense1": 1.0}))
    w = (0.5 * 4 * (1 + low**2)) ** 0.5

    def passed(z):
        positive = stats.norm.cdf((z if z > 0 else low * z) / w)
        return stats.norm.pdf(z, 0, 2**0.5) * (1 if z > 0 else low**2) * (positive + high**2 * (1 - positive))

    expected = integrate.quad(passed, -12, 0)[0] + integrate.quad(passed, 0, 12)[0]
    (rate,) = found.runs.values()
    np.testing.assert_allclose(rate, np.full(rate.shape, expected), rtol=3e-3)


def test_a_gate_over_a_rectified_branch_is_open_as_an_integral_says():
    leaky = Activation("leaky_relu", 0.5)
    net = Lattice.chain((1, 3), [Conv(4, 1), residual([Conv(4, 1), relu], [Conv(4, 1)]), leaky, Conv(1, 1)])
    variances = {"conv1": 1.0, "conv2": 0.5, "conv3": 0.1}  # the sum: a gate over N(0, 2), and N(0, 0.4)
    positive = integrate.quad(lambda a: _trunk(a, 2**0.5, 0.4**0.5), 0, 15)[0]
    gain = theory_gates(Prior(net, variances)).gains["activation2"]
    np.testing.assert_allclose(gain, np.full(gain.shape, positive + (1 - positive) / 4), rtol=1e-3)


def test_what_needs_no_rates_has_none():
    gates = theory_gates(Prior(Lattice.chain((1, 4), [Conv(2, 3), relu, Flatten(), Dense(1)]), {}))
    assert (dict(gates.gains), dict(gates.runs)) == ({}, {})


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_windows_that_read_padding_alone_give_a_map_of_zeros(mode):
    """On an axis of one cell, padded by one on each side and read at every second place."""
    layers = [Conv(4, 3, padding=1), Activation("relu"), Conv(4, 1, stride=(1, 2), padding=(0, 1)), Activation("relu")]
    net = Lattice.chain((2, 4, 1), [*layers, Upsample(2), GlobalPool("avg")])  # copies, whose pairs an average asks for
    assert not predict(net, mode=mode).squared.any()


@pytest.mark.parametrize("factor_first", [True, False])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_what_is_added_to_its_mirror_image_doubles_or_vanishes_midway(factor_first, sign):
    """y - flip(y) is zero in the middle, whether the factor stands below the mirroring or above it."""
    flip = Rearrange(((2,), (5,)), ((0,), (1,)), (None, (4, 3, 2, 1, 0)))
    one, other = [("factor", Norm("scale")), ("flip", flip)][:: 1 if factor_first else -1]
    nodes = [Node("x", Input((3, 5))), Node("y", Conv(2, 1), (0,)), Node(*one, (1,)), Node(*other, (2,))]
    nodes += [Node("sum", Add(), (1, 3)), Node("max", Pool("max", 2), (4,))]
    prior = Prior(Lattice(tuple(nodes)), {"y": 1 / 3}, factors={"factor": 1.0}, signs={"factor": sign})
    np.testing.assert_allclose(signals(prior)[4].power, [[2, 2, 2 * (1 + sign), 2, 2]], atol=1e-12)
