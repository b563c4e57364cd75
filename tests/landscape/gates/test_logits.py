"""Sizes of the logits of attention against closed forms for linear queries, keys and values of white input."""

import numpy as np
import pytest

from landscape.gates.logits import logits
from landscape.prior import Prior
from lattice import Attention, Conv, Input, Lattice, Node

VARIANCES = {"q": 0.5, "k": 0.25, "v": 2.0}
CHANNELS, WIDTH, HEADS = 3, 8, 2


def attending(**options):
    nodes = [Node("input", Input((CHANNELS, 5)))]
    nodes += [Node(name, Conv(WIDTH, 1), (0,)) for name in VARIANCES]
    return Lattice((*nodes, Node("attention", Attention(HEADS, **options), (1, 2, 3))))


@pytest.mark.parametrize("scale", [None, 0.3])
def test_logits_vary_by_the_sizes_of_queries_and_keys(scale):
    found = logits(Prior(attending(scale=scale), VARIANCES))["attention"]
    d = WIDTH // HEADS
    q, k, v = (CHANNELS * variance for variance in VARIANCES.values())
    np.testing.assert_allclose([*found.queries, *found.keys, *found.values], [q] * 5 + [k] * 5 + [v] * 5)
    np.testing.assert_allclose(found.variance, d * (scale or d**-0.5) ** 2 * q * k)


def test_a_network_without_attention_has_none():
    assert logits(Prior(Lattice.chain((1, 4), [Conv(1, 3)]), {"conv1": 1.0})) == {}
