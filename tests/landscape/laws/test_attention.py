"""Moments through attention against all signs of queries, keys and values, the gradients by autograd."""

from itertools import product

import numpy as np
import pytest
import torch

from landscape.gates.forward.logits import Logits
from landscape.laws.attention import through_attention
from landscape.structure.pairs import everything, freeze
from landscape.structure.plan import Step
from lattice import Attention

QUERIES, KEYS, VALUES = range(3)
SMALL = 0.05  # of the keys: the law holds to the second order of the logits


def by_law(n, place):
    """Of one query with one channel that reads n keys; (n, n), or a number for the queries."""
    shares = freeze(np.full((1, n), 1 / n))
    known = Logits(np.ones(1), np.zeros(1), np.full(n, SMALL**2), np.ones(n), np.zeros(1), 1, 1.0)
    step = Step(0, (0, 0), (0, 0), (place, place), None if place == QUERIES else (((shares, shares),),))
    above, below = (everything(1, 1),), (everything(1, 1) if place == QUERIES else everything(n, n),)
    return through_attention(Attention(), ((1, 1), (1, n), (1, n)), step, known, np.ones((1, 1)), above, below).reshape(-1)


def by_signs(n):
    """The gradients of the output by queries, keys and values, for every pattern of signs."""
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=1 + 2 * n)), dtype=torch.double)
    parts = [signs[:, :1].clone(), SMALL * signs[:, 1 : 1 + n], signs[:, 1 + n :].clone()]
    q, k, v = (part.requires_grad_() for part in parts)
    return [g.numpy() for g in torch.autograd.grad((torch.softmax(q * k, 1) * v).sum(), (q, k, v))]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_pairs_of_values_are_weighed_by_pairs_of_shares(n):
    shares = by_signs(n)[VALUES]
    expected = shares.T @ shares / len(shares)
    uniform = 1 / n**2
    np.testing.assert_allclose(by_law(n, VALUES).reshape(n, n) - uniform, expected - uniform, rtol=0.01, atol=1e-15)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_keys_and_queries_pass_what_the_logits_do(n):
    by_queries, by_keys, _ = by_signs(n)
    np.testing.assert_allclose(np.diag(by_law(n, KEYS).reshape(n, n)), (by_keys**2).mean(axis=0), rtol=0.01, atol=1e-15)
    np.testing.assert_allclose(by_law(n, QUERIES), (by_queries**2).mean(axis=0), rtol=0.01, atol=1e-15)


@pytest.mark.parametrize("n", [2, 4])
def test_given_logits_pass_what_small_ones_do_for_every_pattern_of_signs(n):
    """One query with logits of its own and no keys: gradients of softmax(l) v by l and v, by autograd."""
    signs = torch.tensor(list(product((-1.0, 1.0), repeat=2 * n)), dtype=torch.double)
    logits, values = (SMALL * signs[:, :n]).requires_grad_(), signs[:, n:].clone().requires_grad_()
    by_logits, by_values = (g.numpy() for g in torch.autograd.grad((torch.softmax(logits, 1) * values).sum(), (logits, values)))
    shares = freeze(np.full((1, n), 1 / n))
    zeros = np.zeros(1)
    known = Logits(zeros, zeros, np.zeros(n), np.ones(n), np.full(1, SMALL**2), 0, 0.0)
    one, all_of_them = (everything(1, 1),), (everything(n, n),)
    shapes = ((1, n), (n, 1))

    def by_law_of(place, maps, below):
        return through_attention(
            Attention(), shapes, Step(0, (0, 0), (0, 0), (place, place), maps), known, np.ones((1, 1)), one, below
        )

    np.testing.assert_allclose(np.full(n, by_law_of(1, None, one)), (by_logits**2).mean(axis=0), rtol=0.01)
    expected, uniform = by_values.T @ by_values / len(by_values), 1 / n**2
    found = by_law_of(0, (((shares, shares),),), all_of_them).reshape(n, n)
    np.testing.assert_allclose(found - uniform, expected - uniform, rtol=0.01, atol=1e-15)


def test_queries_share_what_comes_through_the_keys_that_both_read():
    """Four queries, of which the last is a copy of the first in another window, and the second reads half of its window."""
    reads = ((0, 1, 2, 3), (2, 3, 4, 5), (4, 5, 6, 7), (4, 5, 6, 7))
    n = 8
    signs = torch.randint(0, 2, (40_000, 2 * n), generator=torch.Generator().manual_seed(0), dtype=torch.double) * 2 - 1
    keys, values = SMALL * signs[:, :n], signs[:, n:]
    queries = torch.zeros(len(signs), 4, dtype=torch.double).requires_grad_()
    outputs = [
        (torch.softmax(queries[:, t, None] * keys[:, cells], 1) * values[:, cells]).sum(1) for t, cells in enumerate(reads)
    ]
    slopes = torch.autograd.grad(sum(outputs).sum(), queries)[0].numpy()
    expected = slopes.T @ slopes / len(slopes)
    everywhere = (everything(4, 4),)
    known = Logits(np.ones(4), np.zeros(4), np.full(n, SMALL**2), np.ones(n), np.zeros(4), 1, 1.0)
    step = Step(0, (0, 0), (0, 0), (QUERIES, QUERIES), None)
    found = through_attention(
        Attention(reads=(reads,)), ((1, 4), (1, n), (1, n)), step, known, np.ones((1, 16)), everywhere, everywhere
    ).reshape(4, 4)
    own = found[0, 0]
    np.testing.assert_allclose(np.diag(expected), own, rtol=0.05)
    np.testing.assert_allclose(found[2, 3], own, rtol=1e-12)
    assert found[0, 2] == found[0, 3] == 0.0 == pytest.approx(expected[0, 3] / own, abs=0.03)
    # where half of a window is common the law takes the means as those of a whole one: 1/2 for (2 - 1 + 1/4) / (4 - 2 + 1)
    assert found[0, 1] / own == pytest.approx(0.5)
    assert expected[0, 1] / own == pytest.approx(5 / 12, abs=0.03)
