"""Calls in place change what every other name of their memory holds, or are refused."""

import pytest
import torch
from torch.nn import functional

from landscape import trace
from lattice import UnsupportedError
from tests.landscape.tracing.graph.functions import Layers, ops


def test_in_place_calls_change_every_name_of_a_tensor():
    def function(m, x):
        y = m.one(x)
        same = y.contiguous()
        y.mul_(2)
        return same.tanh_()

    assert list(ops(function)) == ["one", "mul", "tanh"]
    copied = ops(lambda m, x: (lambda y: (y.clone(), y.relu_())[0])(m.one(x)))
    assert list(copied) == ["one"]
    dropped = ops(lambda m, x: (lambda y: (functional.dropout(y, 0.5, False, True), y)[1].tanh())(m.one(x)))
    assert list(dropped)[-1] == "tanh"


def test_an_in_place_call_on_a_tensor_reaches_its_other_views():
    def function(m, x):
        y = m.one(x)
        part = y[:, :1]
        y.relu_()
        return part

    def later(m, x):
        y = m.one(x)
        part = y[:, :1]
        y.relu_()
        return y * part.mean(2, keepdim=True)

    for one in (function, later):
        assert "relu" in ops(one)
        assert not trace(Layers(one), (2, 9)).unproven


def test_a_view_that_is_not_read_again_may_be_changed():
    def unread(m, x):
        y = m.one(x)
        part = y[:, :1]
        z = y + 0
        part.exp_()
        return m.two(z)

    assert list(ops(unread)) == ["one", "add", "two"]


def test_a_value_changed_after_it_was_read_is_kept_for_its_readers():
    def later(m, x):
        y = m.one(x)
        z = y + 0
        y.relu_()
        return z + y

    net = trace(Layers(later), (2, 9)).lattice
    names = {node.name: [net.nodes[i].name for i in node.inputs] for node in net.nodes}
    assert names["add_2"] == ["add", "relu"]


def test_a_copy_shares_no_memory_and_a_permuted_view_does():
    def copied(m, x):
        y = m.one(x)
        other = y.transpose(1, 2).contiguous().transpose(1, 2)
        other.relu_()
        return y + other

    def permuted(m, x):
        y = m.one(x)
        y.transpose(1, 2).relu_()
        return y

    assert list(ops(copied)) == ["one", "relu", "add"]
    assert list(ops(permuted)) == ["one", "relu"]


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y[:, :1].mul_(2),
        lambda y: y[:, 1:].relu_(),
        lambda y: y[:, :, :4].zero_(),
        lambda y: y[:, 0].add_(1),
        lambda y: y.chunk(2, 1)[0].neg_(),
        lambda y: y.flatten(1)[:, :3].fill_(0),
        lambda y: y.transpose(1, 2)[:, :2].copy_(y.new_ones(1, 2, 2)),
        lambda y: y.index_fill_(2, torch.tensor([0]), 0.0),
        lambda y: y.masked_fill_(torch.ones(7) > 0, 0.0),
    ],
)
def test_a_change_of_a_part_is_refused_though_nothing_reads_the_part(change):
    def changed(m, x):
        y = m.one(x)
        change(y)
        return m.two(y)

    with pytest.raises(UnsupportedError, match=r"view|takes a part|no rule|never"):
        trace(Layers(changed), (2, 9), check=False)
