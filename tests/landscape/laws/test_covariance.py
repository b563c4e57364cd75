"""The general law over pairs of positions and the diagonal rule are one law: where both hold they agree, for every op."""

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import nn

from landscape import predict
from landscape.laws import covariance
from landscape.laws.batchnorm import dropout_gains
from landscape.laws.moments import squared_gradients
from landscape.prior import Gates
from landscape.structure import arrays
from landscape.structure.plan import plan
from landscape.weights.fans import weighted
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pool,
    ResourceError,
    UnsupportedError,
)
from lattice.testing.strategies import lattices


def random_law(net: Lattice, seed: int) -> dict:
    """Random variances, factors with signs, gains of gates, dropouts and products, over channels and positions."""
    draw = np.random.default_rng(seed)
    names = dict(zip(net.names, net.shapes, strict=True))
    each = {node.name: node.op for node in net.nodes}
    factors = {name: draw.uniform(0.5, 2, names[name][0]) for name, op in each.items() if isinstance(op, Norm)}
    gains = {name: draw.uniform(0.2, 1, names[name]) for name, op in each.items() if isinstance(op, Activation)}
    norms = {name: draw.uniform(0.2, 1, names[name]) for name, op in each.items() if isinstance(op, Norm)}
    products = {
        (name, place): draw.uniform(0.2, 1, names[name])
        for name, op in each.items()
        if isinstance(op, Multiply)
        for place in range(2)
    }
    return {
        "variances": {name: draw.uniform(0.5, 2) for name, op in each.items() if weighted(op)},
        "factors": factors,
        "signs": {name: np.sign(draw.normal(size=len(factor))) for name, factor in factors.items()},
        "gates": Gates(gains={**gains, **norms, **dropout_gains(net)}, products=products),
    }


def with_a_product(net: Lattice, wide: bool) -> Lattice:
    """The network times a gate of its own output: one per channel, or one channel for all positions."""
    channels, *spatial = net.output_shape
    top = len(net.nodes) - 1
    if wide or not spatial:
        gate = [Node("gate", Conv(1, 1) if spatial else Dense(channels), (top,))]
    else:
        gate = [Node("pooled", GlobalPool("avg"), (top,)), Node("gate", Conv(channels, 1), (top + 1,))]
    return Lattice((*net.nodes, *gate, Node("product", Multiply(), (top, top + len(gate)))))


@settings(max_examples=150)
@given(
    lattices(axes=st.sampled_from((1, 1, 2)), channels=3, size=5), st.integers(0, 10**6), st.sampled_from((None, True, False))
)
def test_the_rule_for_pairs_contains_the_diagonal_rule(net, seed, wide):
    if wide is not None:
        net = with_a_product(net, wide)
    if plan(net).unresolved or plan(net).copies:
        event("refused")
        return
    law = random_law(net, seed)
    direct = squared_gradients(net, **law)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covariance, "is_diagonal", lambda above, below: not (above and below))  # flat layers have no pairs
        general = squared_gradients(net, **law)
    np.testing.assert_allclose(general, direct, rtol=1e-12, atol=1e-14 * direct.max())


def average_around(*middle: Node, channels: int = 4) -> Lattice:
    """An average, layers, and a global average: pairs of positions are carried through all of them."""
    nodes = (
        Node("input", Input((1, 9))),
        Node("stem", Conv(channels, 3), (0,)),
        Node("below", Pool("avg", 2, 1), (1,)),
        *middle,
    )
    top = len(nodes) - 1
    return Lattice(
        (
            *nodes,
            Node("above", GlobalPool("avg"), (top,)),
            Node("flat", Flatten(), (top + 1,)),
            Node("head", Dense(2), (top + 2,)),
        )
    )


def relative_to_plain(net: Lattice, gates: Gates) -> np.ndarray:
    ones = {node.name: 1.0 for node in net.nodes if weighted(node.op)}
    plain = average_around()
    base = {node.name: 1.0 for node in plain.nodes if weighted(node.op)}
    return squared_gradients(net, ones, gates=gates) / squared_gradients(plain, base)


def test_one_gate_for_all_positions_multiplies_by_its_square():
    gate = (Node("pool", GlobalPool("avg"), (1,)), Node("gate", Conv(4, 1), (3,)), Node("product", Multiply(), (2, 4)))
    net = average_around(*gate)
    through_gate = {("product", 1): 0.0}
    for squared in (0.0, 0.25):
        each = np.full((4, 6), squared)  # over the output, though one gate: pairs of positions take it as one
        gates = Gates(products={("product", 0): each, **through_gate}, product_joint=through_gate)
        np.testing.assert_allclose(relative_to_plain(net, gates), squared, rtol=1e-12)


@pytest.mark.parametrize(("shared", "masks"), [("channel", 2.0), ("sample", 2.0)])
def test_a_mask_that_positions_share_doubles_every_pair(shared, masks):
    net = average_around(Node("drop", Dropout(0.5, shared), (2,)))
    np.testing.assert_allclose(
        relative_to_plain(
            net,
            Gates(gains={"drop": masks}),
        ),
        2.0,
        rtol=1e-12,
    )


def test_masks_of_their_own_leave_pairs_of_two_positions_alone():
    """E[m m'] = 1 between positions and 2 on the diagonal: by every mask of the 8 cells of one channel."""
    net = average_around(Node("drop", Dropout(0.5), (2,)), channels=1)
    found = squared_gradients(net, dict.fromkeys(("stem", "head"), 1.0), gates=Gates(gains={"drop": 2.0}))
    cells = net.shapes[2][1]
    averages = np.array([[0.5 if i in (j, j + 1) else 0.0 for i in range(cells + 1)] for j in range(cells)])
    stem = np.array([[1.0 if 0 <= i - j < 3 else 0.0 for i in range(9)] for j in range(7)])
    truth = np.zeros(9)
    for pattern in range(2**cells):
        mask = np.array([2.0 * (pattern >> j & 1) for j in range(cells)])
        weights = (mask / cells) @ averages  # what each cell of the stem's output is worth
        truth += (weights**2 @ stem) / 2**cells  # the taps of the stem are uncorrelated; one reads each cell
    np.testing.assert_allclose(found, truth, rtol=1e-12)


def test_a_product_of_two_functions_of_one_signal_is_refused():
    nodes = (Node("input", Input((1, 8))), Node("x", Conv(2, 3), (0,)), Node("s", Activation("sigmoid"), (1,)))
    net = Lattice((*nodes, Node("product", Multiply(), (1, 2))))
    with pytest.raises(UnsupportedError, match="product: branches of one signal"):
        squared_gradients(net, {"x": 1.0}, gates=Gates(gains={"s": 1.0}, products={("product", 0): 1.0, ("product", 1): 1.0}))


def test_signs_count_where_branches_share_their_weights():
    """y - y / 2 is y / 2: a quarter, not 9/4."""
    nodes = (Node("input", Input((1, 6))), Node("y", Conv(2, 3), (0,)), Node("half", Norm("scale"), (1,)))
    net = Lattice((*nodes, Node("sum", Add(), (1, 2)), Node("flat", Flatten(), (3,)), Node("head", Dense(1), (4,))))
    plain = Lattice((*nodes[:2], Node("flat", Flatten(), (1,)), Node("head", Dense(1), (2,))))
    ones = {"y": 1.0, "head": 1.0}
    for sign, worth in ((-1.0, 0.25), (1.0, 2.25)):
        found = squared_gradients(net, ones, {"half": 0.25}, signs={"half": sign})
        np.testing.assert_allclose(found, worth * squared_gradients(plain, ones), rtol=1e-12)


def test_bins_that_read_one_cell_through_one_tap_add_up():
    """An adaptive maximum to more cells than there are: every output is the one cell, counted winners or not."""
    net = Lattice.chain((2, 1), [Conv(2, 1), AdaptivePool("max", 3), Flatten(), Dense(1)])
    ones = {"conv1": 1.0, "dense1": 1.0}
    counted = Gates(taps={"adaptivepool1": np.ones((1, 1, 3))})
    assert squared_gradients(net, ones).tolist() == squared_gradients(net, ones, gates=counted).tolist() == [6.0]


def test_a_maximum_over_a_signal_and_its_own_gate_is_refused():
    """y - relu(y) is 0 with slope 0 wherever y wins."""
    nodes = (Node("input", Input((1, 8))), Node("y", Conv(2, 3), (0,)), Node("gate", Activation("relu"), (1,)))
    net = Lattice((*nodes, Node("sum", Add(), (1, 2)), Node("max", Pool("max", 2), (3,))))
    with pytest.raises(UnsupportedError, match="max: branches of one signal"):
        squared_gradients(net, {"y": 1.0})
    other = Lattice((*nodes[:2], Node("gate", Conv(2, 1), (1,)), *net.nodes[3:]))  # fresh weights between
    assert squared_gradients(other, {"y": 1.0, "gate": 1.0}).min() > 0


def pooled_twice() -> Lattice:
    """An average under a grouped convolution, gates, and a skip, so that pairs of positions of several channels are carried."""
    nodes = (
        Node("input", Input((2, 9))),
        Node("conv1", Conv(4, 3, padding=1), (0,)),
        Node("pool1", Pool("avg", 3, 1, padding=1), (1,)),
        Node("relu", Activation("relu"), (2,)),
        Node("conv2", Conv(4, 3, padding=1, groups=2), (3,)),
        Node("add", Add(), (2, 4)),
        Node("pool2", GlobalPool("avg"), (5,)),
        Node("flatten", Flatten(), (6,)),
        Node("dense", Dense(3), (7,)),
    )
    return Lattice(nodes)


@pytest.mark.parametrize("alike", [True, False])
def test_one_row_of_channels_that_are_alike_stands_for_all(monkeypatch, alike):
    net = pooled_twice()
    law = random_law(net, 0)
    gains = {"relu": np.full(net.shapes[3], 0.5)} if alike else law["gates"].gains
    given = {**law, "gates": Gates(gains)}
    short = squared_gradients(net, **given)
    monkeypatch.setattr(covariance, "one_row", lambda values: values)
    assert np.allclose(squared_gradients(net, **given), short, rtol=1e-13, atol=0)


def test_moments_that_wait_for_layers_below_are_counted(monkeypatch):
    net = pooled_twice()
    monkeypatch.setattr(covariance, "MOST_BYTES", 8)
    with pytest.raises(ResourceError, match="the moments between positions below it and beside it"):
        squared_gradients(net, random_law(net, 0)["variances"])


def test_layers_without_room_are_refused_by_name(monkeypatch):
    net = pooled_twice()
    monkeypatch.setattr(arrays, "MOST_NUMBERS", 12)  # of neighbours among 9 positions
    with pytest.raises(ResourceError, match=r"^(pool1|relu|conv2|add): .* moments between positions, of . channels"):
        squared_gradients(net, random_law(net, 0)["variances"])


@pytest.mark.parametrize(("groups", "added"), [(4, False), (2, False), (1, False), (4, True)])
def test_channels_that_differ_by_a_number_are_carried_together(groups, added, monkeypatch):
    filters = Node("filter", Conv(4, 3, padding=1, groups=groups), (3,))
    nodes = [Node("norm", Norm(), (2,)), filters, Node("other", Norm(), (4,))]
    nodes += [Node("sum", Add(), (3, 5))] if added else []
    net = average_around(*nodes)
    law = random_law(net, 3)
    factors = [law["factors"][name] for name in ("norm", "other")]
    assert all(np.ptp(factor) > 0.1 for factor in factors)
    each = squared_gradients(net, **law)
    rows, pass_ = [], covariance._pass

    def counted(lattice, planned, local, step, here):
        pairs = not all(axis.is_diagonal for axis in planned.carried[step.source])
        rows.append(len(here) if pairs else 1)
        return pass_(lattice, planned, local, step, here)

    monkeypatch.setattr(covariance, "_pass", counted)
    monkeypatch.setattr(arrays, "MOST_OF_CHANNELS", 0)
    np.testing.assert_allclose(squared_gradients(net, **law), each, rtol=1e-12)
    assert (max(rows) > 1) == added  # what a skip adds is no multiple of the branch


def test_blocks_with_statistics_of_their_own_keep_map_and_scale(monkeypatch):
    """Depthwise filters and squeeze-and-excitation between norms that differ channel by channel."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.wide, self.narrow = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 24, 1), nn.Conv2d(24, 8, 1)
            self.filter, self.head = nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Linear(8, 4)
            self.few, self.many = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1)
            self.one, self.two = nn.BatchNorm2d(24), nn.BatchNorm2d(24)

        def forward(self, x):
            x = torch.relu(self.two(self.filter(torch.relu(self.one(self.wide(self.stem(x)))))))
            x = x * torch.sigmoid(self.many(torch.relu(self.few(x.mean((2, 3), keepdim=True)))))
            return self.head(self.narrow(x).mean((2, 3)))

    net = Block()
    for norm in (net.one, net.two):
        for numbers in (norm.running_var.data, norm.weight.data):
            numbers.uniform_(0.5, 2)
        norm.bias.data.normal_(std=0.3)
    each = predict(net.eval(), (3, 10, 10)).squared
    monkeypatch.setattr(arrays, "MOST_OF_CHANNELS", 0)
    together = predict(net, (3, 10, 10))
    assert any("differ by one number each" in reason for reason in together.reasons)
    np.testing.assert_allclose(together.squared.mean(), each.mean(), rtol=0.01)
    np.testing.assert_allclose(together.squared / together.squared.mean(), each / each.mean(), rtol=0.01)


def test_gates_of_a_trunk_keep_a_row_for_every_channel(monkeypatch):
    """A RegNet that has seen images: with one number for each channel of its trunk the map was 67 % off."""
    torch.manual_seed(0)
    net = torchvision.models.regnet_y_400mf(weights=None).train()
    with torch.no_grad():
        net(torch.randn(8, 3, 64, 64))
    each = predict(net.eval(), (3, 64, 64), check=False).squared
    monkeypatch.setattr(arrays, "MOST_OF_CHANNELS", 2**14)
    together = predict(net, (3, 64, 64), check=False).squared
    np.testing.assert_allclose(together.mean(), each.mean(), rtol=0.01)
    assert map_distance(together, each) < 0.01


def map_distance(one, other):
    return np.sqrt(np.mean((one / one.mean() - other / other.mean()) ** 2))
