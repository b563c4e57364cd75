"""Drawn networks measure what exact laws say, whichever way they are drawn, and leave nothing behind."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from landscape import predict, trace
from landscape.tracing.proof.running import Unfinished
from landscape.warrant.drawn_networks import ensemble
from lattice import Unit
from tests.landscape.tracing.proof.models import Net, linear


def one(networks, seed):
    return networks.squares(networks.network(seed), seed)


def squares_of(networks, draws=200):
    return np.array([one(networks, seed) for seed in range(draws)])


def assert_agree(maps, predicted, errors=5.0):
    """Total and map, at `errors` standard errors of the draws."""
    totals = maps.mean((1, *range(2, maps.ndim))) if maps.ndim > 2 else maps.mean(1)
    error = totals.std(ddof=1) / len(totals) ** 0.5
    assert abs(totals.mean() - predicted.mean()) < errors * error
    pixels = maps.std(0, ddof=1) / len(maps) ** 0.5
    assert (np.abs(maps.mean(0) - predicted) <= errors * pixels).mean() > 0.95


def test_networks_of_a_factory_measure_what_the_exact_law_says():
    land = predict(linear, (2, 7, 7), initialisation="torch_default")
    assert land.guarantee.name == "EXACT"
    assert_agree(squares_of(ensemble(linear, trace(linear, (2, 7, 7)))), land.squared)


def test_a_module_is_drawn_anew_by_signs_and_places():
    """Independent draws of its own second moments: the law of the module's own variances."""
    torch.manual_seed(0)
    module = linear(8)
    land = predict(module, (2, 7, 7))
    assert_agree(squares_of(ensemble(module, land.traced)), land.squared)


def test_variances_that_are_given_are_those_of_the_draws():
    land = predict(linear, (2, 7, 7), initialisation=0.7)
    assert_agree(squares_of(ensemble(linear, land.traced, given=True)), land.squared)
    module = linear()
    assert_agree(squares_of(ensemble(module, land.traced, given=True)), land.squared)


def test_given_images_are_what_is_drawn_from():
    """A square's slope is twice its input: of one image all draws have the same."""

    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1, bias=False)

        def forward(self, x):
            return self.layer(x * x)

    images = np.arange(1.0, 7.0).reshape(1, 1, 6)
    found = one(ensemble(Square(), trace(Square, (1, 6)), images=images), 0)
    assert found.shape == (6,)
    torch.manual_seed(0)
    module = Square()
    with torch.no_grad():
        module.layer.weight.fill_(0.5)
    found = one(ensemble(module, trace(Square, (1, 6)), images=images), 0)
    np.testing.assert_allclose(found, np.arange(1.0, 7.0) ** 2)  # (2 x 0.5)^2


def test_one_output_of_several_and_one_unit_of_it():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv1d(1, 4, 3, bias=False), nn.Conv1d(1, 5, 1, bias=False)

        def forward(self, x):
            return {"narrow": self.two(x), "wide": [self.one(x)]}

    for output in ("narrow", ("wide", 0), ("wide", 0, 3), ("wide", 0, Unit((3,), channel=1))):
        land = predict(Two, (1, 9), output=output, initialisation="torch_default")
        assert_agree(squares_of(ensemble(Two, land.traced, output), 400), land.squared)


def test_a_batch_norm_takes_the_statistics_of_the_batch():
    """With a batch of two a norm over few values leaves less than without: the draws see it."""

    def net():
        return Net(nn.Conv1d(1, 8, 1, bias=False), nn.BatchNorm1d(8), nn.Conv1d(8, 8, 1, bias=False))

    of_batch, of_statistics = (
        squares_of(ensemble(net, trace(net, (1, 4), train=bool(batch)), batch=batch)).mean() for batch in (2, None)
    )
    assert of_batch > 2 * of_statistics  # it divides by a variance of 1/3 of that of the weights, and not by one


def test_draws_are_the_same_each_time_and_nothing_is_left_behind():
    torch.manual_seed(0)
    module = Net(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.Tanh(), nn.Conv1d(4, 4, 3))
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    first, second = (predict(module, (1, 9)) for _ in range(2))
    assert first.drawn is not None
    assert first.drawn == second.drawn
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert module.training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_what_cannot_be_drawn_is_said():
    """Weights that are no parameters, and an output with other axes than those of the lattice."""
    from dataclasses import replace

    networks = ensemble(linear(), trace(linear, (2, 7, 7)))
    with pytest.raises(Unfinished, match="weights that are no parameters"):
        one(replace(networks, variances={"made": 1.0}), 0)
    with pytest.raises(Unfinished, match="other axes"):
        one(replace(networks, weights=np.ones((3, 2))), 0)


def test_parts_that_networks_share_are_left_as_they_are():
    """A factory may build around a part of its own: neither its type nor its weights change."""
    shared = nn.Conv1d(1, 4, 3).train()
    before = copy.deepcopy(shared.state_dict())

    def net():
        return Net(shared, nn.Tanh(), nn.Conv1d(4, 4, 3))

    networks = ensemble(net, trace(net, (1, 9), initialisation="he"), given=True)
    assert one(networks, 0).any()
    assert shared.training
    assert all(torch.equal(before[name], tensor) for name, tensor in shared.state_dict().items())
