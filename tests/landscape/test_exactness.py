"""What `predict` calls EXACT equals the enumeration of every +-1 weight pattern, on nets that hypothesis draws."""

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from landscape import Guarantee, predict, rademacher
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    Lattice,
    Node,
    Norm,
    Pad,
    Pool,
    concatenate,
    residual,
)
from lattice.strategies import lattices
from validation.montecarlo.enumerate import count_weights, enumerated_squared_gradients

FIXED = (Activation, AdaptivePool, Conv, GlobalPool, Norm, Pad, Pool)
MOST_WEIGHTS = 12  # 4096 patterns: milliseconds


def assert_exact(net, land, rtol=1e-12):
    truth = enumerated_squared_gradients(net, initialisation=rademacher)
    np.testing.assert_allclose(land.squared, truth, rtol=rtol, atol=rtol * max(truth.max(), 1e-300))


@settings(max_examples=250)
@given(lattices(axes=st.sampled_from((1, 1, 2)), channels=2, size=5, ops=FIXED))
def test_nothing_is_called_exact_that_enumeration_can_refute(net):
    assume(0 < count_weights(net) <= MOST_WEIGHTS)
    land = predict(net, initialisation=rademacher)
    event(land.guarantee.name)
    if land.guarantee is Guarantee.EXACT:
        assert_exact(net, land)
