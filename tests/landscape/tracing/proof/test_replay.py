"""A trace proves itself: whatever the exported graph does not know, or its reader misreads, is refused by name.

The truth is the model's own autograd. Rules that would refuse a case by themselves are switched off where it says so.
"""

import random
import sys

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from landscape import trace
from landscape.tracing.aten.table import RULES
from landscape.tracing.graph.aliasing import Memory
from landscape.tracing.proof.proving import CLOSE, _apart
from lattice import Add, Slice, UnsupportedError

SHAPE = (2, 8)


class Layers(nn.Module):
    """Two convolutions, a norm, a dropout, and a function of them and the input."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.one, self.two = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.act, self.norm, self.drop = nn.ReLU(), nn.BatchNorm1d(4), nn.Dropout(0.4)

    def forward(self, x):
        return self.function(self, x)


def traced(function, **options):
    torch.manual_seed(0)
    return trace(Layers(function), SHAPE, initialisation="he", **options)


def refused(function, match, **options):
    with pytest.raises(UnsupportedError, match=match):
        traced(function, **options)


# --- what the graph does not know -----------------------------------------------------------------------------------------


def frozen_stem(m, x):
    with torch.no_grad():
        y = m.one(x)
    return m.two(y)


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


class Reversed(torch.autograd.Function):
    """The identity, its gradient reversed (domain-adversarial training)."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def test_a_backward_of_its_own_is_refused():
    refused(lambda m, x: m.two(Reversed.apply(m.one(x))), "gradient at one, by 2.*autograd.Function")


def test_backward_hooks_are_refused():
    model = Layers(lambda m, x: m.two(m.act(m.one(x))))
    model.act.register_full_backward_hook(lambda module, inputs, outputs: (2 * inputs[0],))
    with pytest.raises(UnsupportedError, match=r"the gradient at one, by 0\.5"):
        trace(model, SHAPE)
    assert trace(model, SHAPE, check=False).lattice.names == ("input", "one", "act", "two")


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


# --- what a reader can misread, its rules switched off --------------------------------------------------------------------


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
        return reader.view(call.args[0]) if changes is None else own(reader, call, {**a, **changes})

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


# --- what is equal is never refused ---------------------------------------------------------------------------------------


def passes(function, **options):
    found = traced(function, **options)
    assert found.unproven == ""
    return found


@pytest.mark.parametrize("train", [False, True])
def test_functions_that_are_zero_but_for_rounding_pass(train):
    """A mean over what was normalised is zero: all that both sides give is the noise of their sums."""
    passes(lambda m, x: functional.instance_norm(m.one(x)).mean(2), train=train)
    passes(lambda m, x: functional.layer_norm(m.one(x), (4, 8)).mean(2), train=train)
    passes(lambda m, x: functional.group_norm(m.two(functional.instance_norm(m.one(x)).mean(2, True)), 1), train=train)
    passes(lambda m, x: m.norm(m.one(x)).mean(2), train=train)


def test_ties_pass():
    """At zero signals every gate is at its threshold and every window tied: the same functions take the same side."""
    model = Layers(lambda m, x: functional.max_pool1d(m.two(m.act(m.norm(m.one(x))).clamp(0, 6)).clamp(min=0), 2))
    for part in (model.norm, model.two):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    assert trace(model, SHAPE, initialisation="he").unproven == ""


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.double])
def test_models_of_any_type_pass(dtype):
    model = Layers(lambda m, x: m.norm(m.two(m.act(m.one(x))))).to(dtype)
    assert trace(model, SHAPE, initialisation="he").unproven == ""


def test_models_that_are_fixed_to_a_type_are_compared_in_their_own():
    passes(lambda m, x: m.two(m.act(m.one(x.float()))))
    refused(lambda m, x: m.two(Reversed.apply(m.one(x.float()))), "in torch.float32")


def test_numbers_out_of_range_are_said_and_not_refused():
    def huge(m, x):
        y = m.one(x)
        for _ in range(9):
            y = y * 1e40
        return y

    small = Layers(huge)
    nn.init.zeros_(small.one.bias)
    assert trace(small, SHAPE, initialisation="he").unproven == ""  # at a smaller input
    model = Layers(lambda m, x: huge(m, x) * 1e150 * 1e150)
    assert trace(model, SHAPE, initialisation="he").unproven == "its values or gradients are not finite at a random input"
    with torch.device("meta"):
        assert "meta" in trace(Layers(lambda m, x: m.one(x)), SHAPE, initialisation="he").unproven


def test_a_pass_that_does_not_fit_into_memory_is_not_tried(monkeypatch):
    monkeypatch.setattr("landscape.tracing.proof.proving._memory", lambda lattice, reader: (2e12, 1e9))
    assert "about 2000.0 GB of memory, and 1.0 GB are free" in traced(lambda m, x: m.one(x)).unproven


def test_two_values_apart_are_measured_relative_to_the_larger():
    one = torch.tensor([1.0, 2.0], dtype=torch.double)
    assert _apart(one, one) == 0
    assert _apart(one * 1e-300, 2 * one * 1e-300) == pytest.approx(0.5)
    assert _apart(one, 0 * one) == 1
    assert _apart(0 * one, 0 * one) == 0
    assert _apart(one * (1 + 1e-8), one) > CLOSE


# --- the model is left as it was ------------------------------------------------------------------------------------------


class Uncopied(Layers):
    def __deepcopy__(self, memo):
        raise TypeError("holds a lock")


@pytest.mark.parametrize("kind", [Layers, Uncopied])
@pytest.mark.parametrize("train", [False, True])
def test_the_model_is_left_as_it_was(kind, train):
    model = kind(lambda m, x: m.two(m.drop(m.act(m.norm(m.one(x))))))
    model.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, random = [part.training for part in model.modules()], torch.get_rng_state()
    assert trace(model, SHAPE, train=train).unproven == ""
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None and p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert not any(part._forward_hooks for part in model.modules())


def test_it_works_where_gradients_are_off():
    with torch.inference_mode():
        assert traced(lambda m, x: m.two(m.act(m.one(x)))).unproven == ""
    with torch.no_grad():
        refused(frozen_stem, "the gradient at one")


def test_one_pass_of_the_model_is_all_it_takes():
    calls = []
    model = Layers(lambda m, x: (calls.append(x.dtype), m.two(m.act(m.one(x))))[1])
    trace(model, SHAPE, check=False)
    exports = len(calls)
    trace(model, SHAPE)
    assert calls[2 * exports :] == [torch.float64]


# --- real networks ------------------------------------------------------------------------------------------------------


NETWORKS = {
    "resnet18": {}, "mobilenet_v3_small": {}, "googlenet": {"aux_logits": False, "init_weights": False}, "densenet121": {},
    "efficientnet_b0": {}, "convnext_tiny": {}, "shufflenet_v2_x1_0": {},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_torchvision_prove_themselves(name, train):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None, **NETWORKS[name])
    assert trace(model, (3, 64, 64), initialisation="he", train=train).unproven == ""
