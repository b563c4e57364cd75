"""Which gates must be counted, and which skips join two gates of one unit."""

import pytest

from landscape.gates.gates import Skip, skips, unknown_rates
from landscape.prior import Prior
from lattice import (
    Activation,
    AdaptivePool,
    Add,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Input,
    Lattice,
    Multiply,
    Node,
    Norm,
    Pool,
    residual,
)

relu, silu, conv = Activation("relu"), Activation("silu"), Conv(2, 3, padding=1)


@pytest.mark.parametrize(
    ("layers", "asked"),
    [
        ([conv, relu, Norm(), conv, relu], []),
        ([conv, silu, conv, Activation("leaky_relu", 0.2), conv, Activation("abs")], ["activation1"]),
        ([relu, conv, relu], ["activation1"]),
        ([conv, Norm("layer"), conv, Norm("group"), conv, Norm("instance"), conv, Norm("scale")], ["norm1", "norm2", "norm3"]),
        ([conv, relu, Norm("layer"), relu], ["norm1", "activation2"]),
        ([conv, Pool("max", 2), Pool("avg", 2)], ["pool1"]),
        ([conv, AdaptivePool("max", 3), AdaptivePool("avg", 2)], ["adaptivepool1"]),
        ([conv, GlobalPool("max")], ["globalpool1"]),
        ([conv, GlobalPool("avg")], []),
        ([conv, residual([relu, conv]), relu], []),
        ([conv, relu, residual([conv]), relu, Flatten(), Dense(1)], ["activation1", "activation2"]),
        ([conv, Pool("avg", 3, 1), relu, Pool("avg", 3, 1), conv], ["activation1"]),
        ([conv, Pool("avg", 2, 2), relu, Pool("avg", 2, 2), conv], []),
    ],
    ids=str,
)
def test_rates_are_asked_for_where_no_symmetry_tells_them(layers, asked):
    found = unknown_rates(Prior(Lattice.chain((1, 8), layers), {}))
    assert sorted(found) == sorted(asked)
    assert all(node.name == name for name, node in found.items())


def test_a_gate_over_what_is_shifted_is_asked_for():
    net = Lattice.chain((1, 8), [conv, relu, conv, relu])
    assert list(unknown_rates(Prior(net, {}, shifted={"conv2"}))) == ["activation2"]


def test_a_product_is_asked_for_whatever_stands_on_its_sides():
    nodes = [Node("input", Input((1, 8))), Node("a", conv, (0,)), Node("b", conv, (0,)), Node("both", Multiply(), (1, 2))]
    assert list(unknown_rates(Prior(Lattice(tuple(nodes)), {}))) == ["both"]


BLOCK = Node("low", relu, (1,)), Node("branch", conv, (2,))


def sums(*above, below=BLOCK):
    """A gate, a branch over it, their sum in either order, and what reads the sum."""
    nodes = [Node("input", Input((1, 8))), Node("stem", conv, (0,)), *below]
    count = len(nodes)
    tops = [Node(f"top{i}", op, (count,)) for i, op in enumerate(above)]
    joined = [Node("out", Add(), tuple(count + 1 + i for i in range(len(tops))))] if len(tops) > 1 else []
    return Lattice((*nodes, Node("sum", Add(), (count - 1, 2)), *tops, *joined))


def test_a_skip_is_told_by_its_sum_its_place_and_its_two_gates():
    assert gates_of(sums(relu)) == gates_of(sums(relu, silu)) == [("sum", 1, "low", "top0")]
    assert gates_of(Lattice.chain((1, 8), [conv, relu, residual([conv]), silu])) == [("add1", 1, "activation1", "activation2")]


def gates_of(net):
    """(sum, input number, gate below, gate above) of every skip."""
    return [skip[:4] for skip in skips(net)]


def test_factors_shifts_and_further_sums_may_stand_on_a_skip():
    branch = [Conv(2, 3, padding=1)]
    inner = residual(branch, [Norm("batch"), Norm("scale")])
    net = Lattice.chain((1, 8), [Conv(2, 3), relu, residual([inner], branch), Norm("batch"), relu])
    assert list(skips(net)) == [Skip("add1", 1, "activation1", "activation2", "add2", ("norm2", "norm1"), ("norm3",))]


def test_a_dropout_on_the_skip_is_passed_and_a_convolution_is_not():
    dropped = (Node("low", relu, (1,)), Node("drop", Dropout(0.1), (2,)), Node("again", Dropout(0.1), (3,)))
    assert gates_of(sums(relu, below=dropped)) == [("sum", 0, "low", "top0"), ("sum", 1, "low", "top0")]
    assert not list(skips(sums(relu, below=(Node("low", conv, (1,)), Node("branch", conv, (2,))))))


@pytest.mark.parametrize("above", [(), (conv,), (conv, relu), (relu, conv)], ids=str)
def test_a_sum_that_anything_but_gates_reads_joins_none(above):
    assert not list(skips(sums(*above)))
