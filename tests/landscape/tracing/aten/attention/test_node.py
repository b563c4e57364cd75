"""Attention in the forms that people write it: each is read as one op and computes what the model does."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from landscape.gates.forward.logits import logits
from landscape.laws.moments import expected_squares
from landscape.tracing.trace import trace
from lattice import Attention, Rearrange, UnsupportedError
from validation.comparison.compare import compare
from validation.montecarlo.measure import measure

SHAPE = (3, 4, 6)


class Tokens(nn.Module):
    """A patch embedding, one attention, a readout: `mix` takes queries, keys and values (B, heads, N, d)."""

    def __init__(self, mix, width=8, heads=2, token=False, readout="mean"):
        super().__init__()
        self.mix, self.heads, self.readout = mix, heads, readout
        self.stem, self.qkv = nn.Conv2d(3, width, 2, 2), nn.Linear(width, 3 * width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)
        self.token = nn.Parameter(torch.randn(1, 1, width)) if token else None
        self.place = nn.Parameter(0.1 * torch.randn(1, 6 + token, width))

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        x = x + self.place
        batch, n, width = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.mix(q, k, v).transpose(1, 2).reshape(batch, n, width)
        return self.head(x.mean(1) if self.readout == "mean" else x[:, 0])


def written_out(q, k, v):
    return torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1) @ v


def scaled_first(q, k, v):
    return torch.matmul(torch.matmul(q * 0.3, k.mT).softmax(dim=-1), v)


def einsums(q, k, v):
    shares = torch.einsum("bhid,bhjd->bhij", q, k).softmax(-1)
    return torch.einsum("bhij,bhjd->bhid", shares, v)


def values_on_the_left(q, k, v):
    return (v.mT @ (q @ k.mT).softmax(-1).mT).mT


def biased(q, k, v):
    return torch.softmax(q @ k.mT / 2 + torch.arange(36.0).view(6, 6) / 40, -1) @ v


def causal(q, k, v):
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked(q, k, v):
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(6, 6, dtype=torch.bool).tril())


def normalised(q, k, v):
    q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
    return functional.scaled_dot_product_attention(q, k, v)


FORMS = [
    functional.scaled_dot_product_attention, written_out, scaled_first, einsums, values_on_the_left, biased, causal, masked,
    normalised,
]  # fmt: skip


@pytest.mark.parametrize("mix", FORMS, ids=lambda mix: mix.__name__)
def test_attention_is_one_op_however_it_is_written(mix):
    torch.manual_seed(0)
    traced = trace(Tokens(mix).eval(), SHAPE, initialisation="weights")
    assert not traced.unproven  # output and input gradient are the model's own
    (op,) = [node.op for node in traced.lattice.nodes if isinstance(node.op, Attention)]
    assert op.heads == 2


def test_tokens_stay_on_their_grid_until_one_joins_them():
    torch.manual_seed(0)
    mix = functional.scaled_dot_product_attention
    grid = trace(Tokens(mix).eval(), SHAPE, initialisation="weights").lattice
    assert not any(isinstance(node.op, Rearrange) for node in grid.nodes)
    assert next(s for n, s in zip(grid.nodes, grid.shapes, strict=True) if isinstance(n.op, Attention)) == (8, 2, 3)
    line = trace(Tokens(mix, token=True, readout="token").eval(), SHAPE, initialisation="weights")
    assert not line.unproven
    assert next(s for n, s in zip(line.lattice.nodes, line.lattice.shapes, strict=True) if isinstance(n.op, Attention)) == (
        8,
        7,
    )


def test_a_causal_mask_is_read_as_who_reads_whom():
    torch.manual_seed(0)
    for mix in (causal, masked):
        net = trace(Tokens(mix, token=False).eval(), SHAPE, initialisation="weights").lattice
        (op,) = [node.op for node in net.nodes if isinstance(node.op, Attention)]
        assert op.reads == (tuple(tuple(range(i + 1)) for i in range(6)),)


def test_multihead_attention_of_torch_is_followed():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.attend = nn.Conv2d(3, 8, 2, 2), nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            x = self.stem(x).flatten(2).mT
            return self.attend(x, x, x, need_weights=False)[0].mean(1)

    torch.manual_seed(0)
    traced = trace(Own().eval(), SHAPE, initialisation="weights")
    assert not traced.unproven
    assert any(isinstance(node.op, Attention) for node in traced.lattice.nodes)


@pytest.mark.parametrize(
    ("mix", "reason"),
    [
        (lambda q, k, v: (q @ k.mT).softmax(-2) @ v, "other axes than the keys"),
        (lambda q, k, v: (q.mT @ k).softmax(-1).mean(-1)[:, :, None] * v, "shares of a softmax"),
        (lambda q, k, v: q.exp() * v, "no rule for it"),
    ],
)
def test_other_mixings_are_refused(mix, reason):
    with pytest.raises(UnsupportedError, match=reason):
        trace(Tokens(mix).eval(), SHAPE, initialisation="weights")


def test_logits_that_vary_raise_what_single_tokens_get():
    """With hardly any variance of the logits the law is that of uniform shares, and grows with them from there."""
    torch.manual_seed(0)
    model = Tokens(functional.scaled_dot_product_attention, readout="token").eval()
    found = []
    for size in (1e-5, 0.3):
        nn.init.normal_(model.qkv.weight, std=size)
        traced = landscape.stages.fill_gates(trace(model, SHAPE, initialisation="weights"), landscape.stages.Request())[0]
        plain = traced.with_gates(logits={})
        (known,) = logits(traced).values()
        found.append((float(known.variance.max()), np.abs(expected_squares(traced) / expected_squares(plain) - 1).max()))
    assert found[0][0] < 1e-10
    assert found[0][1] < 1e-10
    assert found[1][1] > 0.01


class Outlook(nn.Module):
    """Outlook attention (VOLO): the shares of a window's cells are a layer of its middle, what windows give is added."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.Linear(12, 5, bias=False)
        self.values, self.logits = nn.Conv2d(12, 12, 1, bias=False), nn.Conv2d(12, 2 * 81, 1, bias=False)

    def forward(self, x):
        x = self.stem(x)
        batch, width, rows, columns = x.shape
        values = functional.unfold(self.values(x), 3, padding=1, stride=2).view(batch, 2, width // 2, 9, -1)
        logits = self.logits(functional.avg_pool2d(x, 2)).flatten(2).view(batch, 2, 9, 9, -1)
        mixed = logits.permute(0, 1, 4, 2, 3).softmax(-1) @ values.permute(0, 1, 4, 3, 2)
        mixed = mixed.permute(0, 1, 4, 3, 2).reshape(batch, 9 * width, -1)
        return self.head(functional.fold(mixed, (rows, columns), 3, padding=1, stride=2)[:, :, 1, 2])


def test_windows_beyond_the_edge_attend_to_zeros():
    """What a window reads beyond the edge has a share too; the map is that of many draws, and folded windows overlap."""
    torch.manual_seed(0)
    assert not trace(Outlook(), (3, 12, 16), initialisation="weights").unproven
    land = landscape.predict(Outlook, (3, 12, 16), gates="theory", check=False)
    found = compare(land, measure(Outlook, (3, 12, 16), draws=1000, seed=0, inputs_per_draw=4))
    low, high = land.scale_range
    assert land.relative.std() > 0.5
    assert found.error < 0.05
    assert found.resolution < 0.15
    assert low < found.scale_ratio < high
