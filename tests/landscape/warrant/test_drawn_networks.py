"""What is stated of a prediction holds what drawn networks measure, and an exact law that they contradict is refused."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from landscape import Landscape, predict, trace
from landscape.tracing.proof.ensemble import Ensemble
from landscape.warrant.drawn_networks import BLOCKS, FIRST, MOST, WORK, DrawnNetworks, _most, _Seen, drawn_networks, ensemble
from landscape.warrant.sizes import Size
from lattice import Activation, AssumptionError, Conv, Lattice, UnsupportedError, families
from tests.landscape.tracing.proof.models import Net, linear

ALL = Size(0.0, 1e9, 1e9)
NONE = Size(1.0, 1.0, 0.0)
SHAPE = (2, 7, 7)


def drawn(predicted, stated, model=linear, shape=SHAPE):
    traced = trace(model, shape)
    return drawn_networks(ensemble(model, traced), traced.lattice, predicted, stated)


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
    predicted = predict(linear, SHAPE).squared
    assert drawn(predicted, ALL).number == FIRST
    assert drawn(predicted, NONE).number == MOST


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
    networks = ensemble(few_winners, land.traced)
    scale = np.mean([networks.squares(networks.network(seed), seed).mean() for seed in range(1000, 1600)]) / land.squared.mean()
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
    assert predict(linear, SHAPE).guarantee.name == "EXACT"
    original = predicting.apply_law
    for factor in (2.5, 0.4, np.linspace(0.2, 1.8, 7)):

        def wrong(*arguments, factor=factor):
            outcome = original(*arguments)
            return outcome._replace(squared=outcome.squared * factor)

        monkeypatch.setattr(predicting, "apply_law", wrong)
        with pytest.raises(UnsupportedError, match="the law for this network is exact, and 512 drawn networks measure"):
            predict(linear, SHAPE)


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
    monkeypatch.setattr(Ensemble, "squares", lambda self, network, seed: np.zeros(SHAPE[1:]))
    with pytest.raises(AssumptionError, match="none of 512 drawn networks has a gradient at all"):
        drawn(np.ones(SHAPE[1:]), ALL)


def test_few_networks_without_a_gradient_tell_nothing(monkeypatch):
    monkeypatch.setattr(Ensemble, "squares", lambda self, network, seed: np.zeros(SHAPE[1:]))
    monkeypatch.setattr("landscape.warrant.drawn_networks.WORK", 2**25)
    assert drawn(np.ones(SHAPE[1:]), ALL) is None


def test_what_is_not_finite_tells_nothing(monkeypatch):
    monkeypatch.setattr(Ensemble, "squares", lambda self, network, seed: np.full(SHAPE[1:], np.inf))
    assert drawn(np.ones(SHAPE[1:]), ALL) is None


# --- where none is drawn --------------------------------------------------------------------------------------------------


def test_none_is_drawn_where_nothing_is_to_be_learned():
    def net():
        return Net(nn.Conv1d(1, 4, 3), nn.Tanh(), nn.Conv1d(4, 4, 3))

    assert predict(net, (1, 9), check=False).drawn is None
    assert predict(linear, SHAPE).drawn is None  # exact
    assert predict(families.plain(9, depth=2)).drawn is None  # a lattice has no model
    assert predict(net, (1, 9)).drawn is not None


def test_none_is_drawn_of_a_large_network():
    def net():
        return Net(nn.Conv2d(3, 64, 3, padding=1), nn.Tanh(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())

    assert WORK < 32 * 8 * 64**2 * (27 * 64 + 576 * 64)
    assert drawn(np.ones((64, 64)), NONE, net, (3, 64, 64)) is None


def test_none_is_drawn_of_a_deep_network():
    """Whose layers take time though they multiply little."""
    lattice = Lattice.chain((1, 3), [op for _ in range(700) for op in (Conv(1, 1), Activation("tanh"))])
    few = Lattice.chain((1, 3), [Conv(1, 1), Activation("tanh")])
    networks = Ensemble(linear, (1, 3), {})
    assert _most(networks, lattice) < FIRST
    assert _most(networks, few) == MOST


class Particular(nn.Module):
    """A model that takes one input at a time, or a filter that is no buffer and stays in single precision."""

    def __init__(self, what):
        super().__init__()
        self.what, self.one, self.two = what, nn.Conv1d(1, 4, 3), nn.Linear(28, 4)
        self.filters = [torch.full((1, 1, 3), 1 / 3)]

    def forward(self, x):
        x = nn.functional.conv1d(x, self.filters[0], padding="same") if self.what == "type" else x
        return self.two(torch.tanh(self.one(x)).reshape(1 if self.what == "one" else -1, 28))


@pytest.mark.parametrize("what", ["one", "type"])
def test_particular_models_are_drawn_as_they_can_be_run(what):
    land = predict(lambda: Particular(what), (1, 9))
    assert land.drawn is not None


def test_a_module_that_cannot_be_copied_is_predicted_without():
    class Alone(Particular):
        def __deepcopy__(self, memo):
            raise TypeError("there is one of it")

    assert predict(Alone(""), (1, 9)).drawn is None
    assert predict(Particular(""), (1, 9)).drawn is not None


def test_a_model_that_cannot_be_run_again_is_predicted_without(monkeypatch):
    def fails(self, network, seed):
        raise RuntimeError("no more")

    monkeypatch.setattr(Ensemble, "squares", fails)
    assert predict(lambda: Particular(""), (1, 9)).drawn is None


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
