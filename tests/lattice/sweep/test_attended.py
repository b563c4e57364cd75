"""Paths through attention: counts against the routes listed and a closed form."""

import pytest

from lattice import Attention, Conv, Input, Lattice, Node, Unit, commands, path_counts
from tests.lattice.network.test_rearrange import counted


def attended(reads=()):
    nodes = [Node("input", Input((2, 4)))]
    nodes += [Node(name, Conv(4, 1), (0,)) for name in "qkv"]
    return Lattice((*nodes, Node("attention", Attention(2, reads), (1, 2, 3))))


@pytest.mark.parametrize("reads", [(), (((0, 1), (0, 1), (2, 3), (2, 3)),), (((0,), (0, 1), (0, 1, 2), (3,)),)])
def test_counts_through_attention_are_those_of_the_routes_listed(reads):
    net = attended(reads)
    assert (path_counts(net, input_channel=0) == counted(net)).all()


def test_an_output_has_a_path_for_each_query_key_and_value():
    """d channels of its own query, d of each key that it reads, and one value at each of these."""
    found = list(commands(attended(), Unit((1,), 3)))
    width, n, below = 2, 4, 2
    assert len(found) == below * (width + n * width + n)


@pytest.mark.parametrize("with_keys", [False, True])
@pytest.mark.parametrize("reads", [(), (((0, 1), (0, 1), (2, 3), (2, 3)),)])
def test_given_logits_have_a_path_for_each_position_that_is_read(with_keys, reads):
    """Counts through logits that stand at the queries, alone and beside queries and keys, against the routes listed."""
    read = len(reads[0][0]) if reads else 4
    nodes = [Node("input", Input((2, 4))), Node("logits", Conv(2 * read, 1), (0,))]
    nodes += [Node(name, Conv(4, 1), (0,)) for name in ("qkv" if with_keys else "v")]
    net = Lattice((*nodes, Node("attention", Attention(2, reads), (2, 3, 4, 1) if with_keys else (2, 1))))
    assert (path_counts(net, input_channel=0) == counted(net)).all()
    found = list(commands(net, Unit((1,), 3)))
    assert len(found) == 2 * (2 * read + (2 + 2 * read if with_keys else 0))
