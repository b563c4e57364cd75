"""What one pass computed is used in the other where all numbers are equal, and there alone."""

import pytest
import torch
from torch.nn import functional

from landscape.tracing.proof import proving
from landscape.tracing.proof.repeated import Missed, Results
from tests.landscape.tracing.proof.models import Reversed, passes, refused


@pytest.fixture
def weight():
    return torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def x():
    return torch.randn(1, 2, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradient_of(layer, x):
    leaf = x.clone().requires_grad_()
    value = layer(leaf)
    (gradient,) = torch.autograd.grad(value.square().sum(), leaf)
    return value.detach(), gradient


@pytest.mark.parametrize("change", [lambda y: y, torch.relu_, torch.sigmoid_, lambda y: y.data.mul_(3)])
def test_both_passes_give_what_each_gives_alone(x, weight, change):
    def model(leaf):
        y = functional.conv1d(leaf * 1, weight)
        kept = y.clone()
        change(y)
        return functional.conv1d(functional.pad(y, (2, 2)), weight.transpose(0, 1)) + kept.sum()

    alone, results = gradient_of(model, x), Results()
    with results.kept():
        first = gradient_of(model, x)
    with results.used():
        second = gradient_of(model, x)
    for one, other in ((alone, first), (alone, second)):
        assert all(map(torch.equal, one, other))


@pytest.mark.parametrize("other", ["input", "weight", "stride", "type"])
def test_other_arguments_are_computed(x, weight, other):
    results = Results()
    with results.kept():
        functional.conv1d(x, weight)
    x = x.index_fill(2, torch.tensor([4]), 0.0) if other == "input" else x
    weight = weight + 1e-15 if other == "weight" else weight
    x, weight = (x.float(), weight.float()) if other == "type" else (x, weight)
    stride = 2 if other == "stride" else 1
    expected = functional.conv1d(x, weight, stride=stride)
    with results.used():
        assert torch.equal(functional.conv1d(x, weight, stride=stride), expected)


def test_arguments_that_were_changed_in_place_are_not_those_of_before(x, weight):
    results, changed = Results(), x.clone()
    with results.kept():
        functional.conv1d(changed, weight)
        changed.mul_(2)
    with results.used():
        assert torch.equal(functional.conv1d(2 * x, weight), functional.conv1d(2 * x, weight))
        assert not torch.equal(functional.conv1d(2 * x, weight), functional.conv1d(x, weight))


def test_numbers_that_are_none_equal_nothing():
    results, x = Results(), torch.full((2, 2), torch.nan)
    with results.kept():
        x.clone() @ x.clone()
    with results.used():
        assert (x @ x).isnan().all()


@pytest.mark.parametrize("kept", [1, 3])
def test_results_that_are_all_there_is_are_each_used_once(x, weight, kept):
    results = Results()
    with results.kept():
        for _ in range(kept):
            functional.conv1d(x, weight)

    def computed_twice():
        with results.used(alone=True):
            functional.conv1d(x, weight)
            functional.conv1d(x.clone(), weight)

    with pytest.raises(Missed):
        computed_twice()


def test_a_proof_computes_each_convolution_once(monkeypatch):
    computed = []
    plain = proving.Results.used

    def counted(self, alone=False):
        computed.append(sum(map(len, self._calls.values())))
        return plain(self, alone)

    monkeypatch.setattr(proving.Results, "used", counted)
    passes(lambda m, x: m.two(m.act(m.norm(m.one(x)))))
    assert computed == [2, 2]  # two convolutions forwards, and two backwards


@pytest.mark.parametrize("cut", [lambda y: y.detach() + 0 * y, Reversed.apply])
def test_results_of_a_model_that_is_another_do_not_vouch_for_it(cut):
    refused(lambda m, x: m.two(cut(m.act(m.one(x)))) if torch.is_grad_enabled() else m.two(m.act(m.one(x))), "differs by")


def test_functions_that_work_in_place_pass():
    passes(lambda m, x: m.two(functional.relu_(m.one(x))))
    passes(lambda m, x: m.two(functional.silu(m.one(x), inplace=True).mul_(2)))
