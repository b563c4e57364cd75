"""Products of two signals that are summed: read as a product cell by cell, in every order of their axes."""

import pytest
import torch
from torch import nn

from landscape.tracing.trace import trace
from lattice import Attention, Multiply

SHAPE = (4, 3, 4)


class Products(nn.Module):
    """q, k and v (B, heads, N, d) of a convolution, what `mix` makes of them, and a readout."""

    def __init__(self, mix):
        super().__init__()
        self.mix, self.qkv, self.head = mix, nn.Conv2d(4, 24, 1), nn.Linear(8, 3)

    def forward(self, x):
        q, k, v = self.qkv(x).flatten(2).unflatten(1, (3, 2, 4)).mT.unbind(1)
        return self.head(self.mix(q, k, v).transpose(1, 2).flatten(2).mean(1))


FORMS = {
    "between-positions": lambda q, k, v: (q @ k.mT) @ v / 12,
    "context-first": lambda q, k, v: q @ (k.mT @ v),
    "einsums": lambda q, k, v: torch.einsum("bhnc,bhcd->bhnd", q, torch.einsum("bhmc,bhmd->bhcd", k.relu(), v)),
    "each-position": lambda q, k, v: (q.unsqueeze(-2) @ (k.unsqueeze(-1) * v.unsqueeze(-2))).squeeze(-2),
    "a-signal-added": lambda q, k, v: 2 * (q @ (k.softmax(2).mT @ v)) + v,
    "two-products-added": lambda q, k, v: q @ (k.mT @ v) + k @ (k.softmax(2).mT @ v),
}


@pytest.mark.parametrize("mix", FORMS.values(), ids=FORMS)
def test_summed_products_are_what_the_model_computes(mix):
    torch.manual_seed(0)
    traced = trace(Products(mix).eval(), SHAPE, initialisation="weights")
    assert not traced.unproven  # output and input gradient are the model's own
    assert any(isinstance(node.op, Multiply) for node in traced.lattice.nodes)


def test_factors_can_be_watched_in_forward_passes():
    torch.manual_seed(0)
    traced = trace(Products(FORMS["context-first"]).eval(), SHAPE, initialisation="weights", inputs="noise")
    assert traced.gates.products


def test_shares_of_a_softmax_stay_attention():
    torch.manual_seed(0)
    net = trace(Products(FORMS["a-signal-added"]).eval(), SHAPE, initialisation="weights").lattice
    assert sum(isinstance(node.op, Attention) for node in net.nodes) == 1
