"""What `predict` takes and gives: factors, units, periods, inputs."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Guarantee, glorot, he, predict
from lattice import (
    Activation,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Norm,
    Pool,
    SpecificationError,
    UnsupportedError,
)

relu = Activation("relu")
HEAD = [Flatten(), Dense(2)]


def test_a_report_looks_at_the_periods_of_the_net():
    land = predict(Lattice.chain((1, 64), [Conv(2, 3, 2), relu, Conv(2, 3, 2), *HEAD]))
    assert set(land.report().gridding) == {2, 4}


NORMED = Lattice.chain((2, 5), [Conv(3, 1), Norm("scale"), Conv(1, 1)])


def test_factors_of_norms_multiply_the_squared_gradient():
    plain = predict(NORMED, initialisation=1.0).squared
    np.testing.assert_allclose(predict(NORMED, initialisation=1.0, factors={"norm1": 0.3}).squared, 0.3 * plain)
    np.testing.assert_allclose(predict(NORMED, initialisation=1.0, factors={"norm1": [0, 1, 5]}).squared, 2 * plain)
    cells = np.arange(15.0).reshape(3, 5)
    np.testing.assert_allclose(predict(NORMED, initialisation=1.0, factors={"norm1": cells}).squared, cells.mean(0) * plain)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (-0.1, "finite and not negative"),
        ([1.0, -1.0, 1.0], "finite and not negative"),
        (float("nan"), "finite and not negative"),
        ([1.0, float("inf"), 1.0], "finite and not negative"),
        ("one", "finite and not negative"),
        (True, "finite and not negative"),
        ([1.0, 1.0], "factors of shape"),
        (np.ones((5, 3)), "factors of shape"),
        (np.ones(5), "factors of shape"),
    ],
)
def test_a_factor_that_is_none_is_refused(factor, message):
    with pytest.raises(SpecificationError, match=f"norm1: .*{message}"):
        predict(NORMED, factors={"norm1": factor})


def test_a_factor_of_what_is_no_norm_is_refused():
    with pytest.raises(SpecificationError, match="factors names 'conv1'; the norms of this lattice are norm1"):
        predict(NORMED, factors={"conv1": 1.0})
    with pytest.raises(SpecificationError, match="the norms of this lattice are none"):
        predict(Lattice.chain((1, 5), [Conv(1, 3)]), factors={"norm1": 1.0})


def test_a_lattice_is_taken_as_he_initialised_it_and_over_its_own_shape():
    net = Lattice.chain((2, 9), [Conv(3, 3), relu, *HEAD])
    np.testing.assert_array_equal(predict(net).squared, predict(net, (2, 9), initialisation=he).squared)
    assert not np.allclose(predict(net).squared, predict(net, initialisation=glorot).squared)
    with pytest.raises(ValueError, match="read-only"):
        predict(net).squared[0] = 1


@pytest.mark.parametrize(("options", "message"), [({"mode": "test"}, "mode is 'test'"), ({"gates": "half"}, "gates is 'half'")])
def test_unknown_modes_are_refused(options, message):
    with pytest.raises(SpecificationError, match=message):
        predict(NORMED, **options)


def test_given_inputs_matter_only_where_the_law_is_not_exact():
    images = np.random.default_rng(0).normal(size=(3, 2, 6))
    exact = Lattice.chain((2, 6), [Conv(3, 3), relu, *HEAD])
    land = predict(exact, inputs=images)
    assert land.guarantee is Guarantee.EXACT
    np.testing.assert_array_equal(land.squared, predict(exact).squared)
    pooled = Lattice.chain((2, 6), [Conv(3, 3), relu, GlobalPool(), *HEAD])
    wide = predict(pooled, inputs=images)
    assert wide.guarantee is Guarantee.WIDE_LIMIT
    assert len(wide.reasons) == 1
    assert not np.allclose(wide.squared, predict(pooled).squared)
    assert predict(pooled).guarantee is Guarantee.APPROXIMATE
    with pytest.raises(UnsupportedError, match=r"(?s)does not cover this lattice.*pool1"):
        predict(Lattice.chain((2, 6), [Conv(3, 3), Pool("max", 2), *HEAD]), inputs=images)


def test_the_law_for_given_inputs_needs_fresh_weights_and_zero_biases():
    """The law for given inputs is left where biases are not zero or weights are trained."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 40, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(40, 2))
    images = np.random.default_rng(0).normal(size=(3, 2, 6))
    nn.init.zeros_(model[0].bias)
    nn.init.zeros_(model[4].bias)
    assert predict(model, (2, 6), inputs=images).guarantee is Guarantee.WIDE_LIMIT
    nn.init.constant_(model[0].bias, 0.5)
    assert predict(model, (2, 6), inputs=images).guarantee is Guarantee.APPROXIMATE
    nn.init.zeros_(model[0].bias)
    model[0].weight.data.add_(1.0)
    trained = predict(model, (2, 6), inputs=images, initialisation="weights")
    assert trained.guarantee is Guarantee.APPROXIMATE
    assert trained.reasons[0].endswith("only their second moments are used (0)")


def test_the_second_path_law_is_added_under_a_pooled_head_in_eval_mode():
    net = Lattice.chain((2, 6), [Conv(3, 3), Norm("batch"), relu, GlobalPool(), *HEAD])
    added = "a pooled head: the second path law was added"
    assert any(reason.startswith(added) for reason in predict(net).reasons)
    trained = predict(net, mode="train")
    assert not any(reason.startswith(added) for reason in trained.reasons)
    np.testing.assert_array_equal(trained.squared, predict(net, mode="train", batch=32).squared)
    assert not any(added in reason for reason in predict(Lattice.chain((2, 6), [Conv(3, 3), relu, *HEAD])).reasons)


def test_a_landscape_says_why_it_is_not_exact():
    land = predict(Lattice.chain((2, 6), [Conv(3, 3), Activation("silu"), *HEAD]))
    text = repr(land).splitlines()
    assert text[0].endswith("APPROXIMATE")
    assert [line.strip().removeprefix("because of ") for line in text[1 : 1 + len(land.reasons)]] == list(land.reasons)
    np.testing.assert_allclose(land.relative.mean(), 1)
    np.testing.assert_allclose(np.square(land.importance).mean(), 1)
