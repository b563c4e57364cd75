"""The general law over pairs of positions and the diagonal rule are one law: where both hold they agree, for every op."""

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from landscape.laws.moments import squared_gradients
from landscape.laws.positions import sweep, through_ops
from landscape.prior import Gates
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
    UnsupportedError,
)
from lattice.testing.strategies import lattices
from tests.landscape.laws.positions.nets import average_around, random_law


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
        for module in (sweep, through_ops):
            patch.setattr(module, "is_diagonal", lambda above, below: not (above and below))  # flat layers have no pairs
        general = squared_gradients(net, **law)
    np.testing.assert_allclose(general, direct, rtol=1e-12, atol=1e-14 * direct.max())


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
