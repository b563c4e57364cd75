"""Which moments between positions a sweep must carry."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import path_sum, predict, rademacher, squared_gradients
from landscape.structure.plan import plan, pool_cells
from lattice import (
    Activation,
    Add,
    Attention,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pool,
    Upsample,
    concatenate,
    residual,
)
from lattice.network.branches import Branches
from tests.landscape.enumerated import assert_exact
from validation.montecarlo.enumerate import enumerated_squared_gradients


def test_a_branch_without_weights_asks_for_pairs_and_leaves_a_map():
    point = Conv(1, 1)
    net = Lattice.chain(
        (2, 2), [concatenate([point, residual([Pool("avg", 3, 1, padding=1)])], [point], [Norm()]), GlobalPool("avg")]
    )
    land = predict(net, initialisation=rademacher)
    assert land.squared.shape == (2,)
    assert_exact(net, land)


def lags(net, name):
    """i' - i of the pairs that are carried between one node and itself."""
    position = net.names.index(name)
    (pairs,) = plan(net).carried[position, position]
    return set((pairs.second - pairs.first).tolist())


@pytest.mark.parametrize(
    ("layers", "name", "carried"),
    [
        ([Pool("avg", 3, 1), Conv(1, 3), GlobalPool()], "avgpool1", {-2, -1, 0, 1, 2}),  # what one pixel's windows pair
        ([Pool("avg", 3, 1), Conv(1, 3), Flatten(), Dense(1)], "avgpool1", {0}),  # nothing pairs positions above
        ([Pool("avg", 3, 1), Conv(1, 1, 2), GlobalPool()], "avgpool1", {-2, 0, 2}),  # a lag t comes from the lag t / stride
        ([Pool("avg", 3, 1), Conv(1, 1, 2), GlobalPool()], "conv1", {-1, 0, 1}),
        ([Pool("avg", 2, 2), Conv(1, 3), GlobalPool()], "avgpool1", {0}),  # windows that do not overlap ask for none
        ([Conv(1, 3), Conv(1, 3), GlobalPool()], "conv1", {0}),
    ],
)
def test_the_lags_carried_are_those_that_a_map_asks_for(layers, name, carried):
    net = Lattice.chain((1, 12), layers)
    assert lags(net, net.names[1] if name == "avgpool1" else name) == carried


@pytest.mark.parametrize(
    "layers",
    [
        [Pool("avg", 2, 1), Conv(1, 2), GlobalPool()],
        [Conv(1, 2), Pool("avg", 2, 1), Conv(1, 2), Flatten(), Dense(1)],
        [Conv(1, 2), Conv(1, 2), GlobalPool()],
        [residual([Conv(1, 3, padding=1)]), residual([Pool("avg", 3, 1, padding=1)]), Flatten(), Dense(1)],
        [Conv(1, 1, 2), residual([]), GlobalPool()],
    ],
)
def test_a_plan_that_is_diagonal_is_the_whole_law(layers):
    """Squares of single paths are enough exactly where no two paths share all their weights: checked over every pattern."""
    net = Lattice.chain((1, 5), layers)
    single = path_sum(net, 1.0)
    whole = enumerated_squared_gradients(net)
    assert np.allclose(single, whole, rtol=1e-12) == plan(net).is_diagonal


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"padding": 1, "count_include_pad": False}, {"ceil": True}])
def test_the_cells_of_a_pool_are_those_of_torchs_divisor(kind, options):
    if kind == "max" and "count_include_pad" in options:
        pytest.skip("of an average")
    op = Pool(kind, 3, 2, **options)
    shape = (7, 6)
    torch_options = {"ceil_mode": options.get("ceil", False), "padding": options.get("padding", 0)}
    include = options.get("count_include_pad", True)
    pool = nn.AvgPool2d(3, 2, **torch_options, count_include_pad=include)
    jacobian = torch.func.jacrev(pool)(torch.zeros(1, 1, *shape, dtype=torch.float64))
    flat = jacobian.reshape(*jacobian.shape[2:4], -1)
    expected = 1 / flat.amax(dim=-1) if kind == "avg" else (flat > 0).sum(dim=-1)
    np.testing.assert_allclose(pool_cells(op, shape), expected)


def test_a_product_of_a_signal_with_itself_is_unresolved():
    gate = Branches(((Activation("sigmoid"),), ()), Multiply())
    assert plan(Lattice.chain((1, 6), [Conv(1, 3), gate, GlobalPool()])).unresolved == ("multiply1",)
    apart = Branches(((Conv(1, 1), Activation("sigmoid")), (Conv(1, 1),)), Multiply())
    assert plan(Lattice.chain((1, 6), [Conv(1, 3), apart, GlobalPool()])).unresolved == ()


def test_branches_that_meet_in_no_cell_carry_nothing():
    """A crop and its rotation meet in the convolution below, but it asks for no pair of neighbours."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.above = nn.Conv1d(1, 1, 2, bias=False), nn.Conv1d(1, 1, 2, bias=False)

        def forward(self, x):
            y = self.below(x)[..., :-1]
            return self.above(y + torch.roll(y, 1, -1)).flatten(1)

    land = predict(Net, (1, 5), initialisation=rademacher)
    assert_exact(land.lattice, land)


def test_values_beside_their_attention_are_values_beside_their_mean():
    """Equal shares are an average over all positions; through queries and keys the two branches have nothing in common."""
    head = [Node("flat", Flatten(), (5,)), Node("dense", Dense(3), (6,))]
    parts = [Node("input", Input((2, 4))), *(Node(name, Conv(3, 3, padding=1), (0,)) for name in "qkv")]
    attended = [*parts, Node("mixed", Attention(), (1, 2, 3)), Node("sum", Add(), (4, 3)), *head]
    parts = [parts[0], parts[3], Node("mean", GlobalPool("avg"), (1,)), Node("up", Upsample(size=(4,)), (2,))]
    averaged = [*parts, Node("alone", Norm("scale"), (3,)), Node("sum", Add(), (4, 1)), *head]
    nets = [Lattice(tuple(nodes)) for nodes in (attended, averaged)]
    assert [plan(net).unresolved for net in nets] == [(), ()]
    found, expected = (
        squared_gradients(net, dict.fromkeys((n.name for n in net.nodes if isinstance(n.op, Conv | Dense)), 1.0))
        for net in nets
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
