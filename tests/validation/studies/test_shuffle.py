"""Lemma 1: what is exact in it, the factor two, and honest errors."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from lattice import Activation, Conv, Dense, Flatten, Lattice, SpecificationError, UnsupportedError
from validation import build
from validation.studies.shuffle import MEASURES, shuffled_importance


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def correlated(samples, shape, seed=0):
    """Samples whose entries share one large common part, with a mean and unlike variances."""
    entries = int(np.prod(shape))
    x = torch.randn(samples, entries, generator=seeded(seed)).double() + 2 * torch.randn(samples, 1, generator=seeded(seed + 1))
    return (x * torch.linspace(0.5, 2, entries).double() + 3).reshape(samples, *shape)


LINEAR = build(Lattice.chain((2, 5), [Conv(3, 3, padding=1), Conv(2, 3, 2), Flatten(), Dense(3)]), generator=seeded()).double()


def relu_net(seed=0):
    """Two ReLU layers with biases of the size of the weights: kinks away from the origin."""
    model = nn.Sequential(nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=seeded(seed))
    return model


RELU = relu_net()


@pytest.mark.parametrize("unit", ["entry", "position"])
def test_for_linear_nets_all_four_are_one_and_the_shuffle_is_twice_that(unit):
    """Exactly, and for correlated inputs too: the other inputs cancel in every difference of f."""
    result = shuffled_importance(LINEAR, correlated(30, (2, 5)), generator=seeded(), replacements=None, unit=unit)
    assert result.squared_gradient.shape == ((2, 5) if unit == "entry" else (5,))
    np.testing.assert_allclose(result.shuffled, 2 * result.squared_gradient, rtol=1e-9)
    np.testing.assert_allclose(result.expectation_replaced, result.squared_gradient, rtol=1e-9)
    np.testing.assert_allclose(result.mean_replaced, result.squared_gradient, rtol=1e-9)
    for name, factor in zip(MEASURES, (2, 1, 1, 1), strict=True):
        if name != "mean_replaced":  # its xbar is held fixed, which leaves the same first-order spread
            np.testing.assert_allclose(result.errors[name], factor * result.errors["squared_gradient"], rtol=1e-9)


def test_the_linear_value_is_variance_times_squared_weight():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    x = correlated(25, (1, 4))
    result = shuffled_importance(model, x, generator=seeded(), replacements=None)
    expected = x.flatten(1).var(dim=0, unbiased=False) * model[1].weight.square().mean(dim=0)
    np.testing.assert_allclose(result.squared_gradient[0], expected.detach().numpy(), rtol=1e-10)


def test_with_independent_inputs_the_shuffle_is_twice_eq_4_for_any_net():
    """On a full grid of values the samples' own law is a product, so that the identity is exact, and Lemma 1 is not."""
    grid = torch.tensor(list(product([-1.0, 0.3, 2.0], repeat=4))).double()[:, None]
    result = shuffled_importance(RELU, grid, generator=seeded(), replacements=None)
    np.testing.assert_allclose(result.shuffled, 2 * result.expectation_replaced, rtol=1e-10)
    assert result.map_error("shuffled") > 0.01
    tilted = grid[grid[:, 0].sum(dim=1) < 4]  # not a product any more
    broken = shuffled_importance(RELU, tilted, generator=seeded(), replacements=None)
    assert np.abs(broken.shuffled / broken.expectation_replaced - 2).max() > 0.01


def test_near_a_point_a_relu_net_is_linear_and_far_off_the_lemma_fails():
    centre = torch.randn(1, 4, generator=seeded(5)).double()
    noise = torch.randn(1500, 1, 4, generator=seeded(6)).double()
    near, far = (shuffled_importance(RELU, centre + scale * noise, generator=seeded(), replacements=8) for scale in (1e-4, 3.0))
    ratio, error = near.ratios["shuffled"]
    assert error < 0.2
    assert abs(ratio - 2) < 5 * error
    assert near.ratios["mean_replaced"][0] == pytest.approx(1, abs=1e-3)
    ratio, error = far.ratios["mean_replaced"]
    assert abs(ratio - 1) > 5 * error


def test_random_donors_estimate_the_exhaustive_values_without_bias():
    x = correlated(12, (1, 4))
    exact = shuffled_importance(RELU, x, generator=seeded(), replacements=None)
    runs = [shuffled_importance(RELU, x, generator=seeded(seed), replacements=2) for seed in range(150)]
    for name in ("shuffled", "expectation_replaced"):
        values = np.stack([getattr(run, name) for run in runs])
        z = (values.mean(axis=0) - getattr(exact, name)) / (values.std(axis=0, ddof=1) / np.sqrt(150))
        assert np.abs(z).max() < 5.5, name
    same = np.stack([run.squared_gradient for run in runs])
    assert (same == exact.squared_gradient).all()


def wide_net():
    """A net with kinks on two channels, several outputs, and units that hold two numbers each."""
    model = nn.Sequential(nn.Conv1d(2, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=seeded(3))
    return model


def replaced(model, x, where, values):
    """Outputs with the entries `where` of each sample replaced by values (..., samples, entries)."""
    inputs = x.expand(*values.shape[:-2], *x.shape).clone()
    inputs[..., where] = values.reshape(*values.shape[:-1], -1)
    with torch.no_grad():
        return model(inputs.flatten(0, -4).reshape(-1, *x.shape[1:])).reshape(*values.shape[:-1], -1)


def with_weights(model, x, where):
    """The four measures of one unit as functions of the samples' weights w, xbar and the gradients g held fixed."""
    own = x[:, where]
    with torch.no_grad():
        base = model(x)
    donated = torch.stack([own[k].expand_as(own) for k in range(len(x))])
    d = (replaced(model, x, where, donated) - base).numpy()  # (donor, receiver, output)
    centred = (replaced(model, x, where, own.mean(dim=0).expand(1, *own.shape))[0] - base).numpy()
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda image: model(image[None])[0], image) for image in x])
    g, values = jacobians[:, :, where].numpy(), own.numpy()

    def squared_gradient(w):
        w = w / w.sum()
        mean = w @ values
        covariance = sum(share * np.outer(v - mean, v - mean) for share, v in zip(w, values, strict=True))
        return sum(share * np.mean(np.einsum("ju,uv,jv->j", rows, covariance, rows)) for share, rows in zip(w, g, strict=True))

    return {
        "shuffled": lambda w: np.einsum("k,m,kmj->", w, w, d**2) / d.shape[2] / w.sum() ** 2,
        "expectation_replaced": lambda w: w @ np.square(np.einsum("k,kmj->mj", w / w.sum(), d)).mean(axis=1) / w.sum(),
        "mean_replaced": lambda w: w @ np.square(centred).mean(axis=1) / w.sum(),
        "squared_gradient": squared_gradient,
    }


def standard_error(function, count):
    """The infinitesimal jackknife: the derivative of a function of the samples' weights towards each sample."""
    w, step = np.full(count, 1 / count), 1e-6
    slopes = [(function(w + step * (e - w)) - function(w - step * (e - w))) / (2 * step) for e in np.eye(count)]
    return np.sqrt(np.sum(np.square(slopes)) / (count * (count - 1)))


@pytest.mark.parametrize("unit", ["entry", "position"])
def test_values_are_the_measures_and_errors_their_derivatives_by_weights(unit):
    """Values and errors are the measures and their derivatives in the weights of the samples."""
    model, x = wide_net(), correlated(7, (2, 3))
    found = shuffled_importance(model=model, inputs=x, generator=seeded(), replacements=None, unit=unit)
    units = list(np.ndindex(2, 3) if unit == "entry" else np.ndindex(3))
    masks = []
    for place in units:
        mask = torch.zeros(2, 3, dtype=torch.bool)
        mask[place if unit == "entry" else (slice(None), *place)] = True
        masks.append(mask)
    functions = [with_weights(model, x, mask) for mask in masks]
    equal = np.full(7, 1 / 7)
    for name in MEASURES:
        for place, function in zip(units, functions, strict=True):
            assert getattr(found, name)[place] == pytest.approx(function[name](equal), rel=1e-9)
            assert found.errors[name][place] == pytest.approx(standard_error(function[name], 7), rel=1e-5)
        if name == "squared_gradient":
            continue

        def ratio(w, name=name):
            return sum(f[name](w) for f in functions) / sum(f["squared_gradient"](w) for f in functions)

        assert found.ratios[name] == pytest.approx((ratio(equal), standard_error(ratio, 7)), rel=1e-5)
        mine, theirs = (values / values.mean() for values in (getattr(found, name), found.squared_gradient))
        assert found.map_error(name) == pytest.approx(np.sqrt(np.mean((mine - theirs) ** 2)))
        assert f"{name.replace('_', ' ')} / squared gradient = {found.ratios[name][0]:.3g}" in str(found)
    assert (found.samples, found.replacements) == (7, 7)
    assert "squared gradient / squared gradient" not in str(found)


def test_random_donors_are_the_permutations_of_the_generator():
    """Each error counts a sample as receiver, and as donor of what its value did to others."""
    model, x, count = wide_net(), correlated(7, (2, 3)), 3
    found = shuffled_importance(model, x, generator=seeded(4), replacements=count)
    generator = seeded(4)
    donors = [torch.randperm(7, generator=generator) for _ in range(count)]
    with torch.no_grad():
        base = model(x)
    for place in np.ndindex(2, 3):
        mask = torch.zeros(2, 3, dtype=torch.bool)
        mask[place] = True
        own = x[:, mask]
        d = (replaced(model, x, mask, torch.stack([own[donor] for donor in donors])) - base).numpy()
        squares = np.square(d).mean(axis=2)
        others = np.stack([sum(d[s] for s in range(count) if s != r) / (count - 1) for r in range(count)])
        products = (d * others).mean(axis=2)
        for name, values, donated in (("shuffled", squares, 1), ("expectation_replaced", products, 2)):
            gifts = np.zeros(7)
            for donor, row in zip(donors, values, strict=True):
                gifts[donor.numpy()] += donated * row / count
            influence = values.mean(axis=0) + gifts - (1 + donated) * values.mean()
            assert getattr(found, name)[place] == pytest.approx(values.mean(), rel=1e-9)
            assert found.errors[name][place] == pytest.approx(np.sqrt(np.sum(influence**2) / 42), rel=1e-9)
    assert found.replacements == count
    assert shuffled_importance(model, x, generator=seeded()).replacements == 4


def test_inputs_without_positions_have_units_of_one_channel_or_of_all():
    model, x = nn.Linear(3, 2).double(), correlated(6, (3,))
    entry, whole = (shuffled_importance(model, x, generator=seeded(), replacements=None, unit=u) for u in ("entry", "position"))
    assert (entry.squared_gradient.shape, whole.squared_gradient.shape) == ((3,), ())
    centred = (x - x.mean(dim=0)) @ model.weight.detach().T
    assert whole.squared_gradient == pytest.approx(float(centred.square().mean()))
    assert shuffled_importance(model, x, generator=seeded(), chunk=1).shuffled.shape == (3,)


def test_two_samples_two_replacements_and_one_at_a_time_are_the_least():
    found = shuffled_importance(RELU, correlated(2, (1, 4)), generator=seeded(), replacements=2, chunk=1)
    assert (found.samples, found.replacements) == (2, 2)
    for unit in ("entry", "position"):
        exact = shuffled_importance(LINEAR, correlated(2, (2, 5)) * 1e-4, generator=seeded(), replacements=None, unit=unit)
        np.testing.assert_allclose(exact.shuffled, 2 * exact.squared_gradient, rtol=1e-6)


@pytest.mark.parametrize(("replacements", "most"), [(None, 1.25), (4, 1.6)])
def test_standard_errors_are_the_spread_over_fresh_samples(replacements, most):
    """Counting receivers only would state about half of the shuffle's spread; few random donors err on the safe side."""
    runs = []
    for seed in range(80):
        x = torch.randn(60, 1, 4, generator=seeded(seed)).double()
        runs.append(shuffled_importance(RELU, x, generator=seeded(seed), replacements=replacements))
    for name in MEASURES:
        spread = np.stack([getattr(run, name) for run in runs]).std(axis=0, ddof=1).mean()
        stated = np.mean([run.errors[name].mean() for run in runs])
        assert 0.8 < stated / spread < most, (name, stated / spread)
    ratios = np.array([run.ratios["shuffled"] for run in runs])
    assert 0.75 < ratios[:, 1].mean() / ratios[:, 0].std(ddof=1) < most


@pytest.mark.parametrize("unit", ["entry", "position"])
def test_the_chunk_changes_nothing_but_memory(unit, monkeypatch):
    x = correlated(9, (2, 5))
    net = nn.Sequential(LINEAR, nn.ReLU())
    whole = shuffled_importance(net, x, generator=seeded(), replacements=3, unit=unit)
    monkeypatch.setattr("validation.studies.shuffle.HELD", 20)
    parts = shuffled_importance(net, x, generator=seeded(), replacements=3, unit=unit, chunk=7)
    for name in MEASURES:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)
        np.testing.assert_allclose(parts.errors[name], whole.errors[name], rtol=1e-9)


@pytest.mark.parametrize(("chunk", "replacements"), [(1, 2), (7, 3), (12, None)])
def test_the_model_never_sees_more_inputs_at_once_than_the_chunk(chunk, replacements):
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append(len(x))
            return RELU(x)

    shuffled_importance(Watching(), correlated(9, (1, 4)), generator=seeded(), replacements=replacements, chunk=chunk)
    assert 0 < max(seen) <= chunk


def test_one_channel_is_the_position_where_there_is_one_channel():
    x = correlated(10, (1, 4))
    entry, position = (shuffled_importance(RELU, x, generator=seeded(), unit=unit) for unit in ("entry", "position"))
    for name in MEASURES:
        np.testing.assert_allclose(getattr(entry, name)[0], getattr(position, name), rtol=1e-10)


def test_the_models_modes_buffers_and_random_state_are_left_alone():
    model = nn.Sequential(nn.Conv1d(1, 2, 2), nn.BatchNorm1d(2), nn.Dropout(), nn.Flatten(), nn.Linear(6, 1))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    x = torch.randn(8, 1, 4, generator=seeded())
    first, again = (shuffled_importance(model, x, generator=seeded(1)) for _ in range(2))
    assert (first.shuffled == again.shuffled).all()
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (torch.ones(1, 1, 4), {}, "two samples at least"),
        (torch.ones(4, 1, 4, dtype=torch.long), {}, "floating-point"),
        (torch.full((4, 1, 4), float("nan")), {}, "finite"),
        (np.ones((4, 1, 4)), {}, "inputs is a ndarray"),
        (torch.ones(4, 1, 4).double(), {}, "no variance"),
        (torch.randn(4, 1, 4).double(), {"replacements": 1}, "two replacements at least"),
        (torch.randn(4, 1, 4).double(), {"unit": "pixel"}, "'entry'.*'position'"),
        (torch.randn(4).double(), {}, "two samples at least"),
        (torch.randn(4, 1, 4).double(), {"replacements": 2.5}, "two replacements at least"),
        (torch.randn(4, 1, 4).double(), {"replacements": 0}, "two replacements at least"),
        (torch.randn(4, 1, 4).double(), {"chunk": 0}, "chunk 0"),
        (torch.randn(4, 1, 4).double(), {"chunk": 1.5}, "chunk 1.5"),
        (torch.randn(4, 1, 4).double(), {"generator": 3}, "generator is 3"),
    ],
)
def test_bad_requests_are_refused(inputs, options, message):
    with pytest.raises(SpecificationError, match=message):
        shuffled_importance(RELU, inputs, **{"generator": seeded(), **options})


@pytest.mark.parametrize("function", [lambda h: (h, h), lambda h: h[:1], lambda h: h.sum()[None]])
def test_a_model_that_does_not_return_one_row_a_sample_is_refused(function):
    class Returning(nn.Module):
        def forward(self, x):
            return function(RELU(x))

    with pytest.raises(UnsupportedError, match="one tensor"):
        shuffled_importance(Returning(), correlated(4, (1, 4)), generator=seeded())


def test_a_bias_free_relu_net_ignores_the_scale_of_centred_inputs():
    """Its kinks pass through the origin, so small variance does not rescue the lemma there: f(a x) = a f(x)."""
    relu = Activation("relu")
    net = build(Lattice.chain((1, 4), [Conv(4, 2), relu, Conv(4, 2), relu, Flatten(), Dense(2)]), generator=seeded(1)).double()
    x = torch.randn(1500, 1, 4, generator=seeded(2)).double()
    large, small = (shuffled_importance(net, scale * x, generator=seeded()) for scale in (1.0, 1e-3))
    assert small.ratios["mean_replaced"][0] == pytest.approx(large.ratios["mean_replaced"][0], rel=1e-6)
    assert abs(large.ratios["mean_replaced"][0] - 1) > 5 * large.ratios["mean_replaced"][1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_four_measures_are_those_of_the_cpu():
    x = correlated(20, (1, 4))
    here = shuffled_importance(RELU, x, generator=seeded())
    there = shuffled_importance(copy.deepcopy(RELU).cuda(), x, generator=seeded())
    for name in MEASURES:
        np.testing.assert_allclose(getattr(there, name), getattr(here, name), rtol=1e-8)
        np.testing.assert_allclose(there.errors[name], here.errors[name], rtol=1e-8)
