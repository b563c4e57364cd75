"""Reading a graph: names, what the output needs, paddings that become a convolution's own, what is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape import trace
from landscape.tracing.aten.table import RULES
from lattice import Activation, AssumptionError, Blur, Conv, GlobalPool, Pad, Slice, SpecificationError, UnsupportedError
from tests.landscape.tracing.graph.functions import Layers, ops


def test_a_padding_becomes_that_of_the_one_convolution_that_reads_it():
    def padded(x):
        return functional.pad(x, (2, 1), mode="reflect")

    def shared(m, x):
        y = padded(x)
        return m.one(y) + m.two(y)

    plain = Conv(2, (3,), (1,), 0, (1,))
    assert ops(lambda m, x: m.one(padded(x))) == {"one": Conv(2, (3,), (1,), ((2, 1),), (1,), mode="reflect")}
    assert ops(lambda m, x: m.one(functional.pad(x, (2, 1)))) == {"one": Conv(2, (3,), (1,), ((2, 1),), (1,))}
    both = ops(lambda m, x: m.two(padded(m.one(padded(x)))))
    assert all(op == Conv(2, (3,), (1,), ((2, 1),), (1,), mode="reflect") for op in both.values())
    assert len(both) == 2
    kept = ops(shared)
    assert kept["pad"] == Pad(((2, 1),), "reflect")
    assert kept["one"] == kept["two"] == plain
    behind = ops(lambda m, x: m.one(padded(x)), padding=1)
    assert behind == {"pad": Pad(((2, 1),), "reflect"), "one": Conv(2, (3,), (1,), 1, (1,))}
    assert "pad" in ops(lambda m, x: m.one(padded(x)), padding="same")
    assert "pad" in ops(lambda m, x: m.one(padded(x).relu()))
    assert "pad" in ops(lambda m, x: functional.relu(padded(x)))


def test_names_are_those_of_the_modules_and_of_the_operations_in_them():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Layers(lambda m, x: functional.relu(m.two(m.one(x))).relu())
            self.stack = nn.Sequential(nn.ReLU(), nn.Tanh())

        def forward(self, x):
            return self.stack(torch.sigmoid(self.inner(x)))

    names = trace(Outer(), (2, 9)).lattice.names
    assert names == ("input", "inner.one", "inner.two", "inner.relu", "inner.relu_2", "sigmoid", "stack.0", "stack.1")


def test_what_the_output_does_not_need_is_not_read():
    def function(m, x):
        torch.fft.fft(x)
        m.two(x).softmax(1)
        y = m.one(x)
        y.exp()
        return y

    assert list(ops(function)) == ["one"]


def test_an_output_that_is_not_computed_from_the_input_is_refused():
    for function in (lambda m, x: m.one.weight * 1, lambda m, x: m.one.weight.reshape(1, 2, 6)):
        with pytest.raises(UnsupportedError):
            ops(function)


def test_weights_that_are_computed_are_refused_and_reshaped_ones_are_read():
    with pytest.raises(UnsupportedError, match="computes a weight from other tensors"):
        ops(lambda m, x: functional.conv1d(x, m.one.weight + m.two.weight))
    with pytest.raises(UnsupportedError, match="whose sign it does not keep"):
        trace(Layers(lambda m, x: functional.conv1d(x, m.one.weight.square())), (2, 9))
    made = trace(Layers(lambda m, x: functional.conv1d(x, m.one.weight * 2)), (2, 9))
    assert any("made of a parameter" in doubt for doubt in made.doubts)
    found = ops(lambda m, x: functional.conv1d(x, m.one.weight.reshape(2, 2, 3)))
    assert list(found.values()) == [Conv(2, (3,), (1,), 0, (1,))]


def test_a_constant_inside_the_graph_shifts_each_unit():
    traced = trace(Layers(lambda m, x: m.one(x) + torch.arange(7.0)), (2, 9))
    assert (traced.shifts["add"].mean == [range(7)] * 2).all()


def test_an_in_place_gate_is_read_where_it_stands():
    assert ops(lambda m, x: functional.relu_(m.one(x)))["relu"] == Activation("relu")


def test_tied_weights_of_two_calls_are_named():
    with pytest.raises(AssumptionError, match="one, one_2: tied"):
        ops(lambda m, x: m.one(m.one(x)))


def test_a_shape_that_is_not_torchs_is_refused(monkeypatch):
    def wrong(reader, call, a):
        return reader.append(call, GlobalPool(), (reader.tensor(a["self"]),))

    monkeypatch.setitem(RULES, "relu", wrong)
    with pytest.raises(UnsupportedError, match=r"gives \(1, 2, 7\) in torch and \(1, 2, 1\) here"):
        ops(lambda m, x: m.one(x).relu())
    monkeypatch.setitem(RULES, "chunk", lambda reader, call, a: [wrong(reader, call, a)])
    with pytest.raises(UnsupportedError, match=r"gives \(1, 1, 7\) in torch and \(1, 2, 1\) here"):
        ops(lambda m, x: m.one(x).chunk(2, 1)[0])


def test_a_fixed_filter_under_two_names_is_one():
    class Smooth(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("taps", torch.tensor([0.25, 0.5, 0.25]).expand(2, 1, 3).clone())

        def forward(self, x):
            return functional.conv1d(x, self.taps, groups=2)

    smooth = Smooth()
    net = trace(nn.Sequential(smooth, nn.Conv1d(2, 2, 1), smooth), (2, 9)).lattice
    assert [node.op for node in net.nodes if isinstance(node.op, Blur)] == [Blur((0.25, 0.5, 0.25), (1,))] * 2


def test_an_op_whose_shapes_do_not_fit_is_a_refusal_and_leaves_no_node(monkeypatch):
    def wrong(reader, call, a):
        before = len(reader.nodes), len(reader.shapes), dict(reader.calls)
        with pytest.raises(SpecificationError):
            reader.append(call, Slice(0, 99), (reader.tensor(a["self"]),))
        assert before == (len(reader.nodes), len(reader.shapes), reader.calls)
        return reader.append(call, Slice(0, 99), (reader.tensor(a["self"]),))

    monkeypatch.setitem(RULES, "relu", wrong)
    with pytest.raises(UnsupportedError, match=r"relu.*the input has 2 channels only"):
        ops(lambda m, x: m.two(functional.conv1d(m.one(x).relu(), m.two.weight)).relu())


def test_refusals_name_the_impossible_first_and_each_layer_once():
    class Twice(nn.Module):
        def forward(self, x):
            return x.softmax(1) + x.softmax(2)

    model = nn.ModuleDict({"self_attn": Twice()})
    model.forward = lambda x: model["self_attn"](x) + x.exp()
    with pytest.raises(UnsupportedError) as caught:
        trace(model, (8, 8))
    lines = str(caught.value).splitlines()[1:]
    assert "never" in lines[0]
    assert [line for line in lines if line.count("self_attn") > 1] == []
    assert sum("self_attn" in line for line in lines) == 1
