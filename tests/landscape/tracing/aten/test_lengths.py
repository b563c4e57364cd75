"""Division by lengths: RMS norms, which compute what the model does."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import trace
from lattice import Norm, UnsupportedError


class After(nn.Module):
    """A convolution to four channels and a function of its output."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3, padding=1), function

    def forward(self, x):
        return self.function(self.conv(x))


def traced(function):
    torch.manual_seed(0)
    return trace(After(function).eval(), (3, 4, 5), initialisation="weights")


DIVIDED = {
    "normalize": lambda y: functional.normalize(y, dim=1),
    "a norm of a tensor": lambda y: y / y.norm(dim=1, keepdim=True),
    "a norm of linalg": lambda y: y / torch.linalg.vector_norm(y, dim=1, keepdim=True),
    "an RMS norm": lambda y: functional.rms_norm(y.movedim(1, -1), (4,)).movedim(-1, 1),
}


@pytest.mark.parametrize("name", DIVIDED)
def test_a_signal_over_its_length_is_an_rms_norm(name):
    found = traced(DIVIDED[name])
    assert not found.unproven  # output and input gradient are the model's own
    assert [node.op.kind for node in found.lattice.nodes if isinstance(node.op, Norm) and node.op.kind != "scale"] == ["rms"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda y: y / y.norm(dim=1, p=1, keepdim=True), "another order"),
        (lambda y: y.relu() / y.norm(dim=1, keepdim=True), "another signal"),
        (lambda y: y / y.norm(), "of all numbers"),
        (lambda y: y * y.norm(dim=2, keepdim=True).mean(1, keepdim=True), "reads the length of a signal"),
    ],
)
def test_other_lengths_are_refused(function, reason):
    with pytest.raises(UnsupportedError, match=reason):
        traced(function)


def test_the_length_of_all_numbers_is_that_of_a_flat_layer():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Conv1d(2, 1, 1), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(functional.normalize(self.layer(x), dim=-1)).flatten(1)

    torch.manual_seed(0)
    assert not trace(Whole(), (2, 6), initialisation="weights").unproven
