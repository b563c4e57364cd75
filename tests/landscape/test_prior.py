"""A network and its law in one value: parts of it know what the whole one knows of them."""

import numpy as np
import pytest

from landscape import Gates, Prior, predict, squared_gradients, trace
from landscape.laws.moments import expected_squares, layer_gradients
from landscape.structure.plan import plan
from landscape.structure.signs import Sign
from lattice import Activation, Conv, Dense, Flatten, GlobalPool, Lattice, Norm, Pool, SpecificationError

NET = Lattice.chain((1, 8), [Conv(4, 3), Norm(), Activation("relu"), Pool("avg", 2, 1), Conv(2, 3), Flatten(), Dense(1)])
KNOWN = Prior(
    NET,
    {"conv1": 0.3, "conv2": 0.2, "dense1": 0.7},
    {"norm1": 0.25},
    {"norm1", "conv2"},
    signs={"norm1": -1.0},
    skewed=("conv2",),
)


def test_loose_arguments_and_one_value_are_the_same_law():
    loose = squared_gradients(NET, KNOWN.variances, KNOWN.factors, KNOWN.shifted, signs=KNOWN.signs)
    np.testing.assert_array_equal(loose, expected_squares(KNOWN))
    np.testing.assert_array_equal(loose, layer_gradients(KNOWN)["input"])


def test_signs_and_plan_are_those_of_the_lattice():
    assert KNOWN.node_signs[2] is Sign.SKEWED
    assert Prior(NET, {}).node_signs[2] is Sign.FILTER
    assert KNOWN.plan == plan(NET)


def test_a_part_keeps_what_is_known_of_its_own_layers():
    part = KNOWN.up_to(4)
    assert part.lattice == NET.up_to(4)
    assert (part.variances, part.factors, part.shifted, part.skewed) == ({"conv1": 0.3}, {"norm1": 0.25}, {"norm1"}, ())
    assert KNOWN.with_gates(gains={"activation1": 0.6}).up_to(4).gates.gains == {"activation1": 0.6}
    assert KNOWN.gates.gains == {}


def test_a_part_has_tables_over_the_pairs_that_it_carries():
    average = Pool("avg", 2, 1)
    layers = [Conv(4, 3), Pool("avg", 3, 1), Activation("relu"), average, Norm("group", 1), average, GlobalPool()]
    net = Lattice.chain((1, 9), layers)
    whole = Prior(net, {"conv1": 0.3})
    gate = net.names.index("activation1")
    (pairs,) = whole.plan.carried[gate, gate]
    joint = {"activation1": (pairs.first * 100.0 + pairs.second)[None]}
    for position in (gate, gate + 1):  # at the gate itself nothing but the diagonal is left
        part = whole.with_gates(joint=joint).up_to(position)
        (kept,) = part.plan.carried[gate, gate]
        assert len(kept) < len(pairs)
        np.testing.assert_array_equal(part.gates.joint["activation1"], (kept.first * 100.0 + kept.second)[None])
        assert np.isfinite(expected_squares(part)).all()


def test_a_trace_is_a_prior_that_every_law_takes():
    from torch import nn

    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 1))
    traced = trace(model, (1, 8), initialisation=1.0)
    assert isinstance(traced, Prior)
    np.testing.assert_array_equal(expected_squares(traced), predict(model, (1, 8), initialisation=1.0).squared)
    assert isinstance(traced.with_gates(source="elsewhere"), type(traced))


def test_what_is_no_lattice_is_refused():
    with pytest.raises(SpecificationError, match=r"Prior takes a lattice\.Lattice"):
        Prior(None, {}, gates=Gates())
