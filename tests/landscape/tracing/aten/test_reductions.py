"""Means, sums and maxima over axes: the ops that they are read as, which compute what the model does."""

import pytest
import torch

from lattice import AdaptivePool, Add, GlobalPool, UnsupportedError
from tests.landscape.tracing.aten.test_lengths import traced

OPS = {
    "mean over positions": (lambda y: y.mean((2, 3)), GlobalPool("avg")),
    "sum over positions": (lambda y: y.sum((2, 3)), GlobalPool("avg")),
    "maximum over positions": (lambda y: y.amax((2, 3)), GlobalPool("max")),
    "mean over rows": (lambda y: y.mean(2, keepdim=True), AdaptivePool("avg", (1, 5))),
    "maximum over columns": (lambda y: y.max(3, keepdim=True).values, AdaptivePool("max", (4, 1))),
    "mean over tokens": (lambda y: y.flatten(2).mean(2), GlobalPool("avg")),
    "sum over channels": (lambda y: y.sum(1, keepdim=True), Add()),
    "mean over channels": (lambda y: y.mean(1, keepdim=True), Add()),
}


@pytest.mark.parametrize("name", OPS)
def test_a_reduction_is_a_pool_or_a_sum_of_parts(name):
    function, op = OPS[name]
    found = traced(function)
    assert not found.unproven  # output and input gradient are the model's own
    assert op in [node.op for node in found.lattice.nodes]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda y: y.amax(1, keepdim=True), "largest over channels"),
        (lambda y: y.max(), "largest of all numbers"),
        (lambda y: torch.max(y, y.relu()), "larger one of two"),
    ],
)
def test_other_maxima_are_refused(function, reason):
    with pytest.raises(UnsupportedError, match=reason):
        traced(function)
