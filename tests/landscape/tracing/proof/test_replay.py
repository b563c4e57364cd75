"""A trace proves itself: whatever the exported graph does not know, or its reader misreads, is refused by name."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from landscape import trace
from landscape.tracing.aten.table import RULES
from landscape.tracing.graph.aliasing import Memory
from lattice import Add, Slice, UnsupportedError
from tests.landscape.tracing.proof.models import Layers, Reversed, frozen_stem, refused, traced

SHAPE = (2, 8)


def frozen_branch(m, x):
    y = m.one(x)
    with torch.no_grad():
        z = m.two(y)
    return y + z


def test_a_region_without_gradients_is_refused_and_its_layer_named():
    refused(frozen_stem, "the gradient at one, by 1")
    refused(frozen_branch, "the gradient at two, by 1")
    refused(lambda m, x: m.act(m.norm(frozen_stem(m, x))).flatten(1), "the gradient at one, by 1")
    assert traced(frozen_stem, check=False).lattice.names == ("input", "one", "two")


def test_a_backward_of_its_own_is_refused():
    refused(lambda m, x: m.two(Reversed.apply(m.one(x))), "gradient at one, by 2.*autograd.Function")


def test_backward_hooks_are_refused():
    model = Layers(lambda m, x: m.two(m.act(m.one(x))))
    model.act.register_full_backward_hook(lambda module, inputs, outputs: (2 * inputs[0],))
    with pytest.raises(UnsupportedError, match=r"the gradient at one, by 0\.5"):
        trace(model, SHAPE)
    assert trace(model, SHAPE, check=False).lattice.names == ("input", "one", "act", "two")


def test_backward_hooks_are_refused_in_half_precision():
    """Not taken for rounding, which in bfloat16 is large below a norm; its weights are made of parameters in the graph."""
    model = nn.Sequential(nn.Conv2d(3, 8, 2), nn.Conv2d(8, 2, 1), nn.Conv2d(2, 4, 3, padding=(0, 1)), nn.LayerNorm([4, 1, 5]))
    model[1].register_full_backward_hook(lambda module, inputs, outputs: (0.5 * inputs[0],))
    with pytest.raises(UnsupportedError, match=r"the gradient at 0, by 0\.5"):
        trace(model.to(torch.bfloat16), (3, 4, 6))
    model[1]._backward_hooks.clear()
    assert len(trace(model.to(torch.bfloat16), (3, 4, 6)).lattice.names) == 5


def test_an_input_that_is_cut_off_inside_is_refused():
    def cut(m, x):
        y = m.one(x)
        return m.two(y.requires_grad_(False) if not y.requires_grad else torch.no_grad()(lambda: y * 1)())

    refused(cut, "the gradient at one")
    refused(lambda m, x: m.two(m.one(x).detach()), "cuts the gradient")


def test_a_forward_that_does_another_thing_when_it_is_recorded_is_refused():
    def other(m, x):
        y = m.one(x)
        return m.two(y if torch.compiler.is_exporting() else 2 * y)

    refused(other, "First where they part: the value at two")


def test_random_numbers_other_than_torchs_are_refused_and_restored():
    for module in (random, np.random):
        python, numpy = random.getstate(), np.random.get_state()[2]  # noqa: NPY002
        refused(lambda m, x, module=module: m.one(x) * (2 if module.random() < 2 else 1), "Python or NumPy", train=True)
        assert (random.getstate(), np.random.get_state()[2]) == (python, numpy)  # noqa: NPY002


def erased(m, x):
    y = m.one(x)
    y[:, :, :4] = 0
    return y


def test_the_replay_sees_it_where_in_place_calls_on_views_are_ignored(monkeypatch):
    refused(erased, "fill_.Tensor: not yet")

    def without_memory(self, result):
        needed = {result}
        for node in reversed(self.graph.nodes):
            if node in needed:
                needed.update(node.all_input_nodes)
        return needed

    monkeypatch.setattr(Memory, "needed", without_memory)
    refused(erased, "the value at the output; it can come from one")


def test_a_difference_read_as_a_sum_is_seen(monkeypatch):
    def wrong(reader, call, a):
        return reader.append(call, Add(), (reader.tensor(a["self"]), reader.tensor(a["other"])))

    assert traced(lambda m, x: (lambda y: y - m.two(y))(m.one(x)))
    monkeypatch.setitem(RULES, "sub", wrong)
    refused(lambda m, x: (lambda y: y - m.two(y))(m.one(x)), "the value at the output; it can come from sub")


CASTS = {
    "floor division": (lambda y: torch.div(y, 2, rounding_mode="floor"), "div", {"rounding_mode": None}),
    "truncation": (lambda y: torch.div(y, 0.01, rounding_mode="trunc"), "div", {"rounding_mode": None}),
    "whole numbers": (lambda y: (50 * y).int(), "to", None),
    "long": (lambda y: (50 * y).long().float(), "to", None),
}


@pytest.mark.parametrize("name", CASTS)
def test_what_rounds_has_no_gradient(name, monkeypatch):
    function, rule, changes = CASTS[name]
    own = RULES[rule]

    def without(reader, call, a):
        return reader.value(call.args[0]) if changes is None else own(reader, call, {**a, **changes})

    def rounded(m, x):
        y = m.one(x)
        return m.two(y) + function(y)

    refused(rounded, "has the gradient zero")
    monkeypatch.setitem(RULES, rule, without)
    refused(rounded, "differs by")


def test_bounds_of_slices_are_clamped_as_torch_does(monkeypatch):
    for part in (slice(-9, 2), slice(-7, -2), slice(1, 99), slice(-99, 99), slice(None, -1), slice(2, None)):
        assert traced(lambda m, x, part=part: m.one(x)[:, part])

    def wrapped(reader, call, a):
        start, n = a["start"] % 4, call.meta["val"].shape[1]
        return reader.append(call, Slice(start, start + n), (reader.tensor(call.args[0]),))

    monkeypatch.setitem(RULES, "slice", wrapped)
    refused(lambda m, x: m.one(x)[:, -7:-2], "the value at the output; it can come from slice")


def test_training_mode_read_from_the_graph_of_evaluation_mode_is_seen(monkeypatch):
    def skip(m, x):
        y = m.one(x)
        return y + m.two(m.drop(y))

    assert traced(skip, train=True).lattice.nodes[-1].inputs == (1, 3)
    module = sys.modules["landscape.tracing.trace"]
    export = module._export
    monkeypatch.setattr(module, "_export", lambda model, shape, train: export(model, shape, False))
    refused(skip, "the value at drop", train=True)
    refused(lambda m, x: m.one(x) * (2 if m.training else 1), "the value at the output", train=True)


def test_a_dropout_read_into_the_skip_beside_it_is_seen(monkeypatch):
    own = RULES["dropout"]

    def aliased(reader, call, a):
        value = own(reader, call, a)
        reader.values[call.args[0]] = value  # whatever reads its input later
        return value

    monkeypatch.setitem(RULES, "dropout", aliased)

    def skip(m, x):
        y = m.one(x)
        return m.two(m.drop(y)) + y

    assert traced(skip)
    refused(skip, "the value at the output; it can come from add", train=True)


@pytest.mark.parametrize("mode", ["constant", "reflect", "circular"])
def test_a_linear_layer_over_padded_tokens_is_replayed(mode):
    class Tokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = torch.nn.Conv1d(2, 8, 1), torch.nn.Linear(8, 2)

        def forward(self, x):
            return self.head(torch.nn.functional.pad(self.stem(x), (2, 1), mode=mode).transpose(1, 2))

    found = trace(Tokens, (2, 4))
    assert not found.unproven
    assert found.lattice.output_shape == (2, 7)
