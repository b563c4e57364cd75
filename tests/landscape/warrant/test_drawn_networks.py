"""Drawn networks measure what exact laws say, and what is stated of a prediction holds what they measure."""

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Landscape, predict, trace
from landscape.warrant.drawn_networks import BLOCKS, FIRST, MOST, DrawnNetworks, Ensemble, _Seen, drawn_networks
from landscape.warrant.sizes import Size
from lattice import AssumptionError, Unit, UnsupportedError, families

ALL = Size(0.0, 1e9, 1e9)
NONE = Size(1.0, 1.0, 0.0)


class Net(nn.Module):
    """Layers in a row."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


def linear(channels=4):
    """Its law is exact: white inputs and independent weights."""
    return Net(nn.Conv2d(2, channels, 3, padding=1, bias=False), nn.Conv2d(channels, 3, 3, stride=2, bias=False))


def squares_of(networks, draws=200):
    return np.array([networks.squares(seed) for seed in range(draws)])


def assert_agree(maps, predicted, errors=5.0):
    """Total and map, at `errors` standard errors of the draws."""
    totals = maps.mean((1, *range(2, maps.ndim))) if maps.ndim > 2 else maps.mean(1)
    error = totals.std(ddof=1) / len(totals) ** 0.5
    assert abs(totals.mean() - predicted.mean()) < errors * error
    pixels = maps.std(0, ddof=1) / len(maps) ** 0.5
    assert (np.abs(maps.mean(0) - predicted) <= errors * pixels).mean() > 0.95


# --- what is drawn --------------------------------------------------------------------------------------------------------


def test_networks_of_a_factory_measure_what_the_exact_law_says():
    land = predict(linear, (2, 7, 7), initialisation="torch_default")
    assert land.guarantee.name == "EXACT"
    assert_agree(squares_of(Ensemble(linear, trace(linear, (2, 7, 7)))), land.squared)


def test_a_module_is_drawn_anew_by_signs_and_places():
    """Independent draws of its own second moments: the law of the module's own variances."""
    torch.manual_seed(0)
    module = linear(8)
    land = predict(module, (2, 7, 7))
    assert_agree(squares_of(Ensemble(module, land.traced)), land.squared)


def test_variances_that_are_given_are_those_of_the_draws():
    land = predict(linear, (2, 7, 7), initialisation=0.7)
    assert_agree(squares_of(Ensemble(linear, land.traced, given=True)), land.squared)
    module = linear()
    assert_agree(squares_of(Ensemble(module, land.traced, given=True)), land.squared)


def test_given_images_are_what_is_drawn_from():
    """A square's slope is twice its input: of one image all draws have the same."""

    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1, bias=False)

        def forward(self, x):
            return self.layer(x * x)

    images = np.arange(1.0, 7.0).reshape(1, 1, 6)
    found = Ensemble(Square(), trace(Square, (1, 6)), images=images).squares(0)
    assert found.shape == (6,)
    torch.manual_seed(0)
    module = Square()
    with torch.no_grad():
        module.layer.weight.fill_(0.5)
    found = Ensemble(module, trace(Square, (1, 6)), images=images).squares(0)
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
        assert_agree(squares_of(Ensemble(Two, land.traced, output), 400), land.squared)


def test_a_batch_norm_takes_the_statistics_of_the_batch():
    """With a batch of two a norm over few values leaves less than without: the draws see it."""

    def net():
        return Net(nn.Conv1d(1, 8, 1, bias=False), nn.BatchNorm1d(8), nn.Conv1d(8, 8, 1, bias=False))

    of_batch, of_statistics = (
        squares_of(Ensemble(net, trace(net, (1, 4), train=bool(batch)), batch=batch)).mean() for batch in (2, None)
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


# --- what is made of it ---------------------------------------------------------------------------------------------------


def test_the_error_of_a_map_is_without_the_noise_of_the_draws():
    """A map that is off by 30 %, and one that is not off, under gamma noise: the estimates scatter about both."""
    generator = np.random.default_rng(0)
    tilted = 1 + 0.3 * np.sqrt(2) * np.cos(2 * np.pi * np.arange(20) / 20)
    for truth, error in ((tilted, 0.3), (np.ones(20), 0.0)):
        found = []
        for _ in range(40):
            seen = _Seen(np.ones(20))
            for _ in range(10 * BLOCKS):
                seen.add(truth * generator.gamma(0.5, 2.0) * generator.gamma(1.0, 1.0, 20))
            found.append(seen.found())
        assert abs(np.mean([one.map_error**2 for one in found]) - error**2) < 0.01
        held = [one.largest_map_error >= error for one in found]
        assert np.mean(held) > 0.95


def test_the_interval_of_the_scale_holds_the_truth():
    generator = np.random.default_rng(1)
    inside = []
    for _ in range(200):
        seen = _Seen(np.full(4, 2.0))
        for _ in range(64):
            seen.add(np.full(4, 6.0 * generator.gamma(0.5, 2.0)))  # three times what is predicted
        low, high, _ = seen.found().size
        inside.append(low < 3 < high)
    assert np.mean(inside) > 0.97


def test_more_are_drawn_until_what_is_stated_holds_them():
    networks = Ensemble(linear, trace(linear, (2, 7, 7)))
    predicted = predict(linear, (2, 7, 7)).squared
    assert drawn_networks(networks, predicted, ALL).number == FIRST
    assert drawn_networks(networks, predicted, NONE).number == MOST


def few_winners():
    """The maximum of a hard swish over six cells, signs as weights, gammas below zero: 3.3 times the law of many values."""
    layers = [nn.Conv2d(2, 4, 5, stride=2, bias=False), nn.BatchNorm2d(4), nn.Hardswish(), nn.AdaptiveMaxPool2d(1)]
    net = Net(*layers, nn.Flatten(), nn.Linear(4, 4))
    with torch.no_grad():
        layers[0].weight.copy_(torch.randint(0, 2, layers[0].weight.shape) * 2.0 - 1)
        layers[1].weight.fill_(-1.0)
    return net


def test_what_is_stated_holds_what_networks_of_few_values_measure():
    shape = (2, 7, 9)
    without, land = predict(few_winners, shape, check=False), predict(few_winners, shape)
    np.testing.assert_array_equal(land.squared, without.squared)
    maps = squares_of(Ensemble(few_winners, land.traced), 600)
    scale = maps.mean() / land.squared.mean()
    assert land.scale_range[0] <= scale <= land.scale_range[1]
    assert without.drawn is None
    assert land.size.holds(without.size)


def test_a_law_that_is_wrong_is_contradicted(monkeypatch):
    """Whatever is wrong in a law: the stated size holds what is measured, and the reasons say so."""
    predicting = sys.modules["landscape.predict"]

    def net():
        return Net(nn.Conv1d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv1d(4, 4, 3, padding=1))

    right = predict(net, (1, 9))
    assert not any("drawn networks" in reason for reason in right.reasons)
    original = predicting.apply_law

    def wrong(*arguments):
        outcome = original(*arguments)
        return outcome._replace(squared=outcome.squared * np.linspace(1, 40, 9))

    monkeypatch.setattr(predicting, "apply_law", wrong)
    land = predict(net, (1, 9))
    assert land.drawn.scale < 0.1
    assert land.scale_range[0] < 0.1
    assert land.map_error > 0.4
    assert any("for so few: 512 drawn networks measure" in reason for reason in land.reasons)


def test_an_exact_law_that_is_wrong_is_refused(monkeypatch):
    predicting = sys.modules["landscape.predict"]
    assert predict(linear, (2, 7, 7)).guarantee.name == "EXACT"
    original = predicting.apply_law
    for factor in (2.5, 0.4, np.linspace(0.2, 1.8, 7)):

        def wrong(*arguments, factor=factor):
            outcome = original(*arguments)
            return outcome._replace(squared=outcome.squared * factor)

        monkeypatch.setattr(predicting, "apply_law", wrong)
        with pytest.raises(UnsupportedError, match="the law for this network is exact, and 512 drawn networks measure"):
            predict(linear, (2, 7, 7))


def test_what_does_not_vary_is_compared_up_to_rounding():
    """Signs in one layer: every network measures the same."""

    def net():
        layer = nn.Conv1d(1, 1, 3, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.randint(0, 2, (1, 1, 3)) * 0.6 - 0.3)
        return layer

    assert predict(net, (1, 3)).guarantee.name == "EXACT"
    assert not DrawnNetworks(32, 1.01, 0.0, 0.0, 0.0).agree(Size(1.0, 1.0, 0.0), 8)
    assert DrawnNetworks(32, 1 + 1e-8, 0.0, 1e-9, 1e-9).agree(Size(1.0, 1.0, 0.0), 8)


def test_where_no_network_has_a_gradient_a_prediction_is_refused(monkeypatch):
    monkeypatch.setattr(Ensemble, "squares", lambda self, seed: np.zeros((5, 5)))
    networks = Ensemble(linear, trace(linear, (2, 7, 7)))
    with pytest.raises(AssumptionError, match="none of 512 drawn networks has a gradient at all"):
        drawn_networks(networks, np.ones((5, 5)), ALL)


def test_what_is_not_finite_tells_nothing(monkeypatch):
    monkeypatch.setattr(Ensemble, "squares", lambda self, seed: np.full((5, 5), np.inf))
    assert drawn_networks(Ensemble(linear, trace(linear, (2, 7, 7))), np.ones((5, 5)), ALL) is None


# --- where none is drawn --------------------------------------------------------------------------------------------------


def test_none_is_drawn_where_nothing_is_to_be_learned():
    def net():
        return Net(nn.Conv1d(1, 4, 3), nn.Tanh(), nn.Conv1d(4, 4, 3))

    assert predict(net, (1, 9), check=False).drawn is None
    assert predict(linear, (2, 7, 7)).drawn is None  # exact
    assert predict(families.plain(9, depth=2)).drawn is None  # a lattice has no model
    assert predict(net, (1, 9)).drawn is not None


def test_none_is_drawn_of_a_large_network():
    def net():
        return Net(nn.Conv2d(3, 64, 3, padding=1), nn.Tanh(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())

    networks = Ensemble(net, trace(net, (3, 64, 64)))
    assert networks.multiplications > 8 * 64**2 * (27 * 64 + 576 * 64)
    assert drawn_networks(networks, np.ones((64, 64)), NONE) is None


def test_a_model_of_one_input_at_a_time_is_predicted_without():
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv1d(1, 4, 3), nn.Linear(28, 4)

        def forward(self, x):
            return self.two(torch.tanh(self.one(x)).reshape(1, 28))

    assert predict(One, (1, 9)).drawn is None


# --- where it is seen -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def land():
    return predict(lambda: Net(nn.Conv1d(1, 4, 3), nn.Tanh(), nn.Conv1d(4, 4, 3)), (1, 9))


def test_it_is_shown(land):
    words = str(land.drawn)
    assert words.startswith(f"{land.drawn.number} drawn networks measure ")
    assert words in repr(land)
    assert "drawn networks measure" in land._repr_html_()
    assert land.to_dict()["drawn"] == land.drawn._asdict()


def test_it_is_saved(land, tmp_path):
    again = Landscape.load(land.save(tmp_path / "land.npz"))
    assert isinstance(again.drawn, DrawnNetworks)
    assert again.drawn == land.drawn
    assert again.size == land.size
