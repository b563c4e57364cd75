"""What `predict` calls EXACT equals the enumeration of every +-1 weight pattern; what it does not, is shown to differ."""

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from landscape import Guarantee, predict, rademacher
from landscape.laws.moments import squared_gradients
from landscape.structure.plan import plan
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Blur,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Node,
    Norm,
    PixelShuffle,
    Pool,
    UnsupportedError,
    Upsample,
    concatenate,
    residual,
)
from lattice.testing.strategies import lattices
from tests.landscape.enumerated import assert_exact, single_paths
from validation.montecarlo.enumerate import count_weights, enumerated_squared_gradients

MOST_WEIGHTS = 12  # 4096 patterns: milliseconds


relu = Activation("relu")


def can_be_built(net):
    """Does torch have all of its layers?"""
    try:
        count_weights(net)
    except UnsupportedError:
        return False
    return True


def has_linear_upsampling(net):
    return any(isinstance(node.op, Upsample) and node.op.mode == "linear" for node in net.nodes)


@settings(max_examples=150)
@given(lattices(axes=st.sampled_from((1, 1, 2)), channels=2, size=5))
def test_nothing_is_called_exact_that_enumeration_can_refute(net):
    assume(can_be_built(net) and 0 < count_weights(net) <= MOST_WEIGHTS and not has_linear_upsampling(net))
    try:
        land = predict(net, initialisation=rademacher)
    except UnsupportedError:
        event("refused")
        assert plan(net).unresolved or plan(net).copies
        return
    event(land.guarantee.name)
    if land.guarantee is Guarantee.EXACT:
        assert_exact(net, land)


@pytest.mark.parametrize(("window", "above"), [(1, 0.5), (2, 0.75), (3, 0.875)])
def test_the_largest_of_a_window_of_gates_is_open_unless_all_are_closed(window, above):
    net = Lattice.chain((1, 6), [Conv(2, 1), relu, Pool("max", window), Flatten(), Dense(3)])
    land = predict(net, initialisation={"conv1": 3.0, "dense1": 5.0})
    np.testing.assert_allclose(land.squared, 2 * 15 * above / window, rtol=1e-12)


def test_a_norm_beside_a_skip_has_a_factor_of_its_own_for_every_channel():
    net = Lattice.chain((2, 4), [residual([Norm(), Pool("avg", 3, 1, padding=1)]), Flatten(), Dense(1)])
    average = np.array([[1 / 3 if abs(i - j) < 2 else 0 for i in range(4)] for j in range(4)])
    factors = np.array([4.0, 0.25])
    truth = [((np.eye(4) + np.sqrt(factor) * average) ** 2).sum(axis=0) for factor in factors]
    squared = squared_gradients(net, {"dense1": 5.0}, {"norm1": factors})
    np.testing.assert_allclose(squared, 5 * np.mean(truth, axis=0), rtol=1e-12)


def test_gates_at_two_positions_are_taken_for_independent():
    """x_1 is read by both gates: (1/4)^2 (1/2 + 2 * 1/2 * 1/2 + 1/2)."""
    net = Lattice.chain((1, 3), [Conv(1, 1), Pool("avg", 2, 1), relu, GlobalPool("avg"), Flatten(), Dense(1)])
    squared = squared_gradients(net, {"conv1": 3.0, "dense1": 5.0})
    np.testing.assert_allclose(squared, np.array([0.5, 1.5, 0.5]) * 15 / 16, rtol=1e-12)


def test_the_winners_of_two_windows_are_one_cell_or_any_two():
    """Windows of cells 0, 1 and 1, 2: cell 1 wins both with probability 1/3, three other pairs share the rest."""
    net = Lattice.chain((1, 4), [Conv(1, 1), Pool("avg", 2, 1), Pool("max", 2, 1), GlobalPool("avg"), Flatten(), Dense(1)])
    truth = np.zeros(4)
    for window in (0, 1):
        for cell in (window, window + 1):
            truth[cell : cell + 2] += 1 / 2
    for (first, second), probability in {(1, 1): 1 / 3, (0, 1): 2 / 9, (0, 2): 2 / 9, (1, 2): 2 / 9}.items():
        both = set(range(first, first + 2)) & set(range(second, second + 2))
        truth[list(both)] += 2 * probability
    squared = squared_gradients(net, {"conv1": 3.0, "dense1": 5.0})
    np.testing.assert_allclose(squared, truth * 15 / 16, rtol=1e-12)


@st.composite
def relu_nets(draw):
    """Convolutions, gates, linear residuals and concatenations under a flatten head: EXACT by the sign-flip argument."""
    channels, layers = draw(st.integers(1, 2)), []
    for _ in range(draw(st.integers(1, 3))):
        width = draw(st.integers(1, 2))
        stride = draw(st.integers(1, 2)) if not layers else 1
        conv = Conv(width, draw(st.integers(1, 2)), stride, draw(st.integers(0, 1)))
        gate = draw(st.sampled_from((relu, Activation("leaky_relu", 0.5), Activation("abs"), Norm())))
        block = draw(st.integers(0, 3))
        layers += [conv, gate]
        if block == 0 and width == 1:
            layers.append(concatenate([Conv(1, 1), relu], []))
        elif block == 1:
            layers.append(residual([Conv(width, 1)], []))
    layers += [Flatten(), Dense(1)] if draw(st.booleans()) else []
    return Lattice.chain((channels, draw(st.integers(6, 8))), layers)


@settings(max_examples=60)
@given(relu_nets())
def test_relu_chains_under_a_flatten_head_are_exact_at_any_width(net):
    assume(0 < count_weights(net) <= MOST_WEIGHTS + 2)
    land = predict(net, initialisation=rademacher)
    assert land.guarantee is Guarantee.EXACT, land.reasons
    assert_exact(net, land)


@given(st.integers(1, 3), st.integers(0, 2), st.sampled_from(("zeros", "circular")))
def test_linear_residual_nets_are_exact_under_any_head(kernel, head, mode):
    block = residual([Conv(1, kernel, padding=(kernel // 2, (kernel - 1) // 2), mode=mode)])
    heads = [[], [GlobalPool("avg"), Flatten(), Dense(1)], [Pool("avg", 2), Flatten(), Dense(1)]]
    net = Lattice.chain((1, 6), [block, block, *heads[head]])
    land = predict(net, initialisation=rademacher)
    assert land.guarantee is Guarantee.EXACT
    assert_exact(net, land)


def twice(op):
    """op(h + h)"""
    nodes = (Node("input", Input((1, 5))), Node("conv", Conv(1, 3, padding=1), (0,)), Node("twice", Add(), (1, 1)))
    return Lattice((*nodes, Node("head", op, (2,))))


POOLED = [GlobalPool("avg"), Flatten(), Dense(1)]


@pytest.mark.parametrize(
    ("net", "measured"),
    [
        # (design: true / path sum at the cell where it differs most, all from the enumeration)
        (twice(Conv(1, 1)), 2.0),
        (Lattice.chain((1, 5), [Conv(1, 3, padding=1), residual([Pool("avg", 3, 1, padding=1)]), Conv(1, 1)]), None),
        (Lattice.chain((1, 6), [Pool("avg", 3, 1, 1), Conv(1, 1), Pool("avg", 3, 1, 1)]), None),
        (Lattice.chain((1, 6), [Pool("avg", 3, 1, 1), Conv(1, 1), *POOLED]), None),
        (Lattice.chain((1, 6), [Conv(1, 3, padding=1, mode="replicate"), *POOLED]), 5 / 3),
        (Lattice.chain((1, 6), [Conv(1, 3, padding=1, mode="reflect"), *POOLED]), 6 / 4),
        (Lattice.chain((1, 6), [Upsample(2), Conv(1, 3), *POOLED]), None),
        (Lattice.chain((1, 6), [Blur((1, 2, 1), padding=1, mode="reflect"), Conv(1, 1), Blur((1, 2, 1)), *POOLED]), None),
        (Lattice.chain((1, 7), [Conv(1, 3), Blur((1, 3), 2, padding=1), Conv(1, 1), *POOLED]), None),
        (Lattice.chain((1, 7), [AdaptivePool("avg", 3), Conv(1, 2), AdaptivePool("avg", 1)]), None),
        (Lattice.chain((1, 4, 4), [Pool("avg", 2, 1), Conv(4, 1), PixelShuffle(2), Pool("avg", 3, 1), *POOLED]), None),
        (Lattice.chain((1, 8), [residual([Pool("avg", 2)], [Pool("avg", 4, 2, padding=1)]), Conv(1, 2), *POOLED]), None),
    ],
)
def test_where_single_paths_are_not_enough_the_general_law_is_exact(net, measured):
    land = predict(net, initialisation=rademacher)
    assert land.guarantee is Guarantee.EXACT
    assert_exact(net, land)
    single = single_paths(net)
    ratios = np.divide(land.squared, single, out=np.ones_like(single), where=single > 0)
    assert np.abs(ratios - 1).max() > 1e-3, "single paths are enough here: the net tests nothing"
    if measured is not None:
        assert ratios.max() == pytest.approx(measured, rel=1e-12)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Lattice.chain((1, 6), [Conv(2, 3), relu, *POOLED]), "relu under an average"),
        (Lattice.chain((1, 6), [Conv(2, 3), Activation("abs"), *POOLED]), "abs under an average"),
        (Lattice.chain((1, 6), [Conv(2, 3), Pool("max", 3, 2, padding=1), Flatten(), Dense(1)]), "max-pool"),
        (
            Lattice.chain((1, 4), [Conv(1, 1), relu, residual([Conv(1, 3, padding=1)]), relu, Flatten(), Dense(1)]),
            "relu of values that are not symmetric",
        ),
        (
            Lattice.chain((1, 5), [Conv(1, 3), residual([relu, Conv(1, 1), relu], [relu, Conv(1, 1), relu]), Conv(1, 1)]),
            "a gated branch added to another",
        ),
        (Lattice.chain((1, 5), [relu, Conv(1, 3)]), "relu of the data itself"),
        (Lattice.chain((1, 2), [residual([Conv(1, 1), relu])]), "a gated branch added to another"),
    ],
)
def test_where_no_law_is_exact_the_prediction_says_so(net, reason):
    land = predict(net, initialisation=rademacher)
    truth = enumerated_squared_gradients(net, initialisation=rademacher)
    ratios = np.divide(truth, land.squared, out=np.ones_like(truth), where=land.squared > 0)
    assert land.guarantee is Guarantee.APPROXIMATE
    assert any(reason in text for text in land.reasons), land.reasons
    assert np.abs(ratios - 1).max() > 1e-3, "the law is right here: the reason is not one"


def test_an_absolute_value_passes_every_square_whatever_its_signs():
    summed = [Conv(1, 2), residual([Conv(1, 1)]), Activation("abs"), Flatten(), Dense(1)]
    for layers in (summed, [Activation("abs"), Conv(1, 3), Activation("abs"), Flatten(), Dense(2)]):
        net = Lattice.chain((1, 5), layers)
        land = predict(net, initialisation=rademacher)
        assert land.reasons == ()
        assert_exact(net, land)


def test_preactivation_residual_nets_are_exact_in_the_wide_limit_only():
    block = residual([relu, Conv(2, 1)])
    net = Lattice.chain((1, 3), [Conv(2, 1), block, relu, Flatten(), Dense(1)])
    land = predict(net, initialisation=rademacher)
    assert land.guarantee is Guarantee.WIDE_LIMIT
    assert "sum of branches" in land.reasons[0]


def test_the_guarantee_of_several_findings_is_the_weakest():
    wide = [Conv(2, 3), residual([relu, Conv(2, 1)]), relu]
    assert predict(Lattice.chain((1, 8), [*wide, Flatten(), Dense(1)])).guarantee is Guarantee.WIDE_LIMIT
    assert predict(Lattice.chain((1, 8), [*wide, *POOLED])).guarantee is Guarantee.APPROXIMATE


def test_a_net_without_layers_has_the_gradient_of_its_outputs():
    land = predict(Lattice.chain((1, 4), []), output=(1,), initialisation=rademacher)
    assert land.squared.tolist() == [0, 1, 0, 0]
    assert land.guarantee is Guarantee.EXACT
