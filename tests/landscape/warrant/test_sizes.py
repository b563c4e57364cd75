"""What a guarantee states in numbers: how far off the scale and the map may be."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Guarantee, predict
from landscape.warrant.sizes import stated_size
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Multiply, Node, Norm, Pool, residual
from validation import compare, measure

relu = Activation("relu")


def test_an_exact_map_states_no_error_but_that_of_its_variances():
    net = Lattice.chain((1, 8), [Conv(4, 3), relu, Flatten(), Dense(2)])
    assert stated_size(net, Guarantee.EXACT) == (1, 1, 0)
    assert stated_size(net, Guarantee.EXACT, scale_error=0.01) == pytest.approx((1 / 1.03, 1.03, 0.01))


def test_what_is_approximate_is_closer_the_wider_it_is():
    found = [stated_size(Lattice.chain((1, 8), [Conv(c, 3), relu, GlobalPool()]), Guarantee.APPROXIMATE) for c in (1, 8, 1000)]
    assert found[0] == pytest.approx((1 / 3, 3, 0.25))
    assert [size.highest for size in found] == sorted((size.highest for size in found), reverse=True)
    assert found[2] == pytest.approx((0.5, 2, 0.2), rel=1e-2)


def test_depthwise_filters_widen_the_upper_bound_more_beside_a_skip():
    depthwise = Conv(8, 3, padding=1, groups=8)
    plain = stated_size(Lattice.chain((8, 8), [relu, depthwise, relu]), Guarantee.APPROXIMATE)
    beside = stated_size(Lattice.chain((8, 8), [relu, residual([depthwise, Norm()]), relu]), Guarantee.APPROXIMATE)
    full = stated_size(Lattice.chain((8, 8), [relu, Conv(8, 3, padding=1), relu]), Guarantee.APPROXIMATE)
    assert plain.highest / full.highest == pytest.approx(1 + 0.4 / 3)
    assert beside.highest / full.highest == pytest.approx(1 + 1.5 / 3)
    assert plain.lowest == beside.lowest == full.lowest


def test_maxima_that_were_not_counted_lower_the_lower_bound():
    net = Lattice.chain((4, 9), [Conv(8, 3), Pool("max", 2), Conv(8, 3)])
    counted, guessed = (stated_size(net, Guarantee.APPROXIMATE, counted=names) for names in (["pool1"], []))
    assert guessed.lowest == pytest.approx(0.7 * counted.lowest)
    assert guessed.highest == counted.highest


def test_maxima_that_were_guessed_over_sums_of_gates_state_twice_more():
    average = Pool("avg", 2, stride=1)
    nets = [Lattice.chain((4, 9), [Conv(8, 3), *below, Pool("max", 2)]) for below in ([relu, average], [average, relu])]
    apart, right_below = (stated_size(net, Guarantee.APPROXIMATE) for net in nets)
    assert apart.highest == pytest.approx(2 * right_below.highest)
    assert stated_size(nets[0], Guarantee.APPROXIMATE, counted=["pool2"]).highest == pytest.approx(right_below.highest)


def test_a_landscape_says_its_size_unless_it_is_exact():
    net = Lattice((Node("input", Lattice.chain((2, 8), []).nodes[0].op), Node("conv", Conv(8, 3), (0,))))
    exact = predict(net)
    assert exact.scale_range == (1, 1)
    assert "may lie between" not in repr(exact)
    pooled = predict(Lattice.chain((2, 8), [Conv(8, 3), relu, GlobalPool(), Flatten(), Dense(1)]))
    low, high = pooled.scale_range
    assert f"may lie between {low:.2g} and {high:.2g}" in repr(pooled)
    assert pooled.map_error == pooled.size.map_error > 0.2


def test_norms_over_positions_state_more_where_an_average_stands_above():
    layers = [Conv(8, 3), Norm("instance"), relu]
    apart = stated_size(Lattice.chain((4, 9), [*layers, Flatten(), Dense(2)]), Guarantee.APPROXIMATE)
    averaged = stated_size(Lattice.chain((4, 9), [*layers, GlobalPool("avg"), Flatten(), Dense(2)]), Guarantee.APPROXIMATE)
    assert averaged.lowest == pytest.approx(0.3 * apart.lowest)
    assert averaged.map_error == pytest.approx(apart.map_error + 0.5)
    apart, averaged = (
        stated_size(Lattice.chain((4, 49, 49), [*layers, *head, Flatten(), Dense(2)]), Guarantee.APPROXIMATE)
        for head in ([], [GlobalPool("avg")])
    )
    assert averaged.map_error == pytest.approx(apart.map_error + 2)  # too many positions for the law of the mean


def test_a_small_batch_under_an_average_states_what_its_norm_takes_out():
    """Of a value y among B standardised ones (1 - 1/B - y^2/B)^2 is left, on average over Gaussian draws."""
    net = Lattice.chain((2, 8), [Conv(4, 3), Norm("batch"), GlobalPool(), Flatten(), Dense(2)])
    still = stated_size(net, Guarantee.APPROXIMATE)
    draws = np.random.default_rng(0).standard_normal((200_000, 4))
    y = draws - draws.mean(axis=1, keepdims=True)
    y /= y.std(axis=1, keepdims=True)
    left = np.mean((1 - 1 / 4 - y[:, 0] ** 2 / 4) ** 2)
    assert stated_size(net, Guarantee.APPROXIMATE, batch=4).lowest == pytest.approx(left * still.lowest, rel=0.01)
    apart = Lattice.chain((2, 8), [Conv(4, 3), Norm("batch"), Flatten(), Dense(2)])
    assert stated_size(apart, Guarantee.APPROXIMATE, batch=4) == stated_size(apart, Guarantee.APPROXIMATE)


def test_squares_under_a_maximum_of_unknown_winners_widen_the_upper_bound():
    """The winner of 3 squares passes 2.1 times what each passes, and 2.8 to 3.2 where the squares themselves are fewer."""
    layers = [Conv(4, 3), Activation("square"), Pool("max", 3)]
    sizes = [stated_size(Lattice.chain((1, 8), layers), Guarantee.APPROXIMATE, counted=counted) for counted in ((), ("pool1",))]
    assert sizes[0].highest / sizes[1].highest == pytest.approx(2.10, abs=0.01)
    without = [
        stated_size(Lattice.chain((1, 8), [layers[0], *layers[2:]]), Guarantee.APPROXIMATE, counted=c) for c in ((), ("pool1",))
    ]
    assert without[0].highest == without[1].highest


def test_a_maximum_of_one_cell_is_none():
    layers = [Conv(8, 3), relu, Flatten(), Dense(2)]
    with_pool = [*layers[:2], Pool("max", 1, 1), *layers[2:]]
    found = [stated_size(Lattice.chain((2, 8), parts), Guarantee.APPROXIMATE) for parts in (layers, with_pool)]
    assert found[0] == found[1]


def test_gates_joined_by_a_fixed_map_widen_the_bounds_but_not_a_trunk():
    def highest(*layers):
        return stated_size(Lattice.chain((2, 12), [Conv(8, 3), relu, *layers, Conv(8, 3)]), Guarantee.APPROXIMATE).highest

    one_gate = 1 + 1 / 16
    assert highest(Pool("avg", 3, 1), relu) == pytest.approx(2 * highest(Pool("avg", 3, 1)) * one_gate)
    assert highest(Pool("avg", 3, 1), Conv(8, 1), relu) == pytest.approx(highest(Pool("avg", 3, 1)) * one_gate)
    assert highest(residual([Conv(8, 1)]), relu) == pytest.approx(highest() * one_gate)


def test_smooth_gates_under_an_average_widen_the_bound_twice():
    def highest(count, name="gelu"):
        layers = [part for _ in range(count) for part in (Conv(8, 3), Activation(name))]
        return stated_size(Lattice.chain((2, 12), [*layers, GlobalPool()]), Guarantee.APPROXIMATE).highest

    by_count = [highest(count) / highest(count, "relu") for count in (1, 2, 3)]
    assert by_count == pytest.approx([1.6, 1.6**2, 1.6**2])


def test_a_product_of_a_signal_with_itself_is_within_its_size():
    """Two narrow ReLUs below y * conv(y): measured beyond what each factor alone would allow."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.low, self.middle = nn.Conv1d(1, 3, 3, bias=False), nn.Conv1d(3, 3, 3, bias=False)
            self.other, self.head = nn.Conv1d(3, 3, 1, bias=False), nn.Conv1d(3, 2, 1, bias=False)

        def forward(self, x):
            y = torch.relu(self.middle(torch.relu(self.low(x))))
            return self.head(y * self.other(y))

    land = predict(Net, (1, 9), check=False)
    found = compare(land, measure(Net, (1, 9), draws=4000)).scale_ratio
    assert 3 < found < land.scale_range[1], (found, land.scale_range)


@pytest.mark.parametrize("bounded", [False, True])
def test_a_product_of_what_grows_together_widens_the_upper_bound(bounded):
    def highest(product):
        nodes = [*Lattice.chain((2, 12), [Conv(4, 3), relu, Conv(4, 3), relu]).nodes]
        top = len(nodes) - 1
        nodes += [Node("other", Conv(4, 1), (top,)), Node("gate", Activation("sigmoid" if bounded else "identity"), (top + 1,))]
        nodes += [Node("product", Multiply(), (top, top + 2))] if product else []
        return stated_size(Lattice((*nodes, Node("last", Conv(2, 1), (len(nodes) - 1,)))), Guarantee.APPROXIMATE).highest

    expected = (1 + 1 / 4) * (1 if bounded else 1.5 * (1 + 3 / 4) ** 2)  # two gates below both factors
    assert highest(True) / highest(False) == pytest.approx(expected)


def test_what_a_norms_projections_spread_is_on_the_map():
    layers = [Conv(8, 3), Norm("instance"), relu, Flatten(), Dense(2)]
    without = stated_size(Lattice.chain((4, 9), [*layers[:1], *layers[2:]]), Guarantee.APPROXIMATE)
    assert stated_size(Lattice.chain((4, 9), layers), Guarantee.APPROXIMATE).map_error > without.map_error


def test_a_layer_between_gate_and_average_leaves_out_the_second_path_law():
    def highest(*between):
        return stated_size(Lattice.chain((2, 12), [Conv(8, 3), relu, *between, GlobalPool()]), Guarantee.APPROXIMATE).highest

    assert highest(Conv(8, 1)) == pytest.approx(1.5 * highest())
