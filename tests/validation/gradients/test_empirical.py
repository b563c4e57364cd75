"""A trained network's landscape: the right averages, honest errors, and a model left as it was."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from landscape.maps.numbers import importance, total_variation
from lattice import SpecificationError, UnsupportedError
from validation.gradients.empirical import channel_importance, empirical_landscape
from validation.gradients.jackknife import MOST_BLOCKS, jackknife


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(classes=4):
    """Convolution, batch norm with moved statistics, dropout: all that evaluation mode changes. Sharp probabilities."""
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, classes)
    )
    with torch.no_grad():
        model[1].running_mean.normal_(generator=seeded(1))
        model[1].running_var.uniform_(0.5, 2, generator=seeded(2))
        model[-1].weight.mul_(5)
    return model.double()


def pictures(count=40, seed=3):
    return torch.randn(count, 2, 6, 6, generator=seeded(seed)).double()


def definition(model, images):
    """(M, channels, *positions) of sum_y p(y|x) (dh_y/dx)^2, image by image and class by class, from the whole Jacobian."""
    model = copy.deepcopy(model).eval()
    squares = []
    for image in images:
        jacobian = torch.autograd.functional.jacobian(lambda x: model(x[None])[0], image)
        p = model(image[None])[0].softmax(dim=0)
        squares.append(torch.einsum("y,y...->...", p, jacobian.square()).detach().numpy())
    return np.stack(squares)


def test_the_exact_sum_is_the_papers_definition():
    model, images = network(), pictures()
    found = empirical_landscape(model, images.split(7), classes="all")
    squares = definition(model, images)
    np.testing.assert_allclose(found.channel_squared, squares.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.squared, squares.mean(axis=(0, 1)), rtol=1e-10)


def test_eq_14_of_the_mean_and_the_mean_of_eq_14_differ():
    model, images = network(), pictures()
    found = empirical_landscape(model, images.split(16), classes="all")
    squares = definition(model, images)
    np.testing.assert_allclose(found.map_of_means, channel_importance(squares.mean(axis=0)), rtol=1e-10)
    each = np.stack([channel_importance(square) for square in squares])
    np.testing.assert_allclose(found.mean_of_maps, each.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(np.mean(found.map_of_means**2), 1)
    assert np.mean(found.mean_of_maps**2) < 0.99
    assert np.abs(found.map_of_means - found.mean_of_maps).max() > 0.05


def test_with_one_channel_eq_14_is_the_importance_of_the_landscape():
    square = np.random.default_rng(0).exponential(size=(5, 5))
    np.testing.assert_allclose(channel_importance(square[None]), importance(square))


def test_sampled_classes_agree_with_the_exact_sum_in_expectation():
    model, images = network(), pictures(20)
    exact = empirical_landscape(model, [images], classes="all").squared
    repeats = np.stack([empirical_landscape(model, [images], generator=seeded(seed)).squared for seed in range(200)])
    error = repeats.std(axis=0, ddof=1) / np.sqrt(200)
    z = (repeats.mean(axis=0) - exact) / error
    assert np.abs(z).max() < 6  # 36 pixels at 2e-9 each, heavier tails allowed for
    model.eval()  # the negative control: the most probable class instead of a drawn one
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).max(dim=1).values.sum(), x)
    assert np.abs((gradient.square().mean(dim=(0, 1)).numpy() - exact) / error).max() > 6


def test_drawn_classes_do_not_depend_on_the_batch_size():
    model, images = network(), pictures()
    whole = empirical_landscape(model, [images], generator=seeded(9))
    for size in (1, 7, 16):
        again = empirical_landscape(model, images.split(size), generator=seeded(9))
        np.testing.assert_allclose(again.sums, whole.sums, rtol=1e-10)
        assert (again.images == whole.images).all()
    other = empirical_landscape(model, [images], generator=seeded(10))
    assert not np.allclose(other.squared, whole.squared, rtol=1e-3)


def test_a_long_stream_keeps_few_blocks_and_loses_no_image():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()
    images = torch.randn(5 * MOST_BLOCKS + 3, 1, 4, generator=seeded()).double()
    found = empirical_landscape(model, images.split(50), classes="all")
    assert len(found.images) <= MOST_BLOCKS
    assert found.images[:-1].min() == found.images.max() == 8
    assert found.count == len(images)
    np.testing.assert_allclose(found.channel_squared, definition(model, images).mean(axis=0), rtol=1e-10)


def test_the_jackknife_of_a_mean_is_the_textbook_standard_error():
    values = np.random.default_rng(0).normal(size=(50, 3))
    value, bias, error = jackknife(lambda mean: mean, values, np.ones(50))
    np.testing.assert_allclose(error, values.std(axis=0, ddof=1) / np.sqrt(50))
    np.testing.assert_allclose(bias, 0, atol=1e-14)
    np.testing.assert_allclose(value, values.mean(axis=0))


def test_standard_errors_and_the_bias_of_tv_are_those_of_fresh_data():
    """Over many data sets, the spread of each map and of TV is what one data set says, and TV is debiased."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 1), nn.Softplus(), nn.Linear(1, 3)).double()
    runs = [empirical_landscape(model, [torch.randn(96, 1, 8, generator=seeded(s)).double()], classes="all") for s in range(60)]
    much = empirical_landscape(model, [torch.randn(20_000, 1, 8, generator=seeded(99)).double()], classes="all")
    for name in ("squared", "mean_of_maps"):
        spread = np.stack([getattr(run, name) for run in runs]).std(axis=0, ddof=1).mean()
        stated = np.mean([getattr(run, f"{name}_error").mean() for run in runs])
        assert 0.6 < stated / spread < 1.6 or spread < 1e-9, name
    assert much.squared_error.mean() < np.mean([run.squared_error.mean() for run in runs]) / 8

    net = network()
    truth = empirical_landscape(net, [pictures(6000, seed=5)], classes="all").total_variation()[0]
    small = [empirical_landscape(net, [pictures(14, seed=100 + s)], generator=seeded(s)).total_variation() for s in range(600)]
    plain, error, unbiased = np.array(small).T
    assert plain.mean() - truth > 5 * plain.std() / np.sqrt(600)
    assert abs(unbiased.mean() - truth) < abs(plain.mean() - truth) / 3
    assert 0.6 < error.mean() / plain.std(ddof=1) < 1.8


def test_total_variation_is_the_papers_of_either_map():
    found = empirical_landscape(network(), [pictures()], classes="all")
    assert found.total_variation()[0] == pytest.approx(total_variation(found.map_of_means))
    assert found.total_variation("mean_of_maps")[0] == pytest.approx(total_variation(found.mean_of_maps))
    with pytest.raises(SpecificationError, match="'map_of_means' or 'mean_of_maps'"):
        found.total_variation("both")


def test_the_figure_shows_the_map_of_means_as_its_scale_says():
    found = empirical_landscape(network(), [pictures()], classes="all")
    axes = found.plot(Figure().subplots())
    shown = axes.images[0].get_array()
    np.testing.assert_allclose(shown.mean(), 1)
    np.testing.assert_allclose(shown, found.map_of_means / found.map_of_means.mean())
    assert "40 images, TV" in axes.get_title()


def test_images_without_gradient_count_in_the_mean_of_squares_only():
    model = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    images = torch.cat([torch.ones(2, 1, 3), -torch.ones(1, 1, 3)]).double()
    found = empirical_landscape(model, [images], classes="all")
    assert found.flat.sum() == 1
    lit = empirical_landscape(model, [images[:2]], classes="all")
    np.testing.assert_allclose(found.squared, lit.squared * 2 / 3)
    np.testing.assert_allclose(found.mean_of_maps, lit.mean_of_maps)
    assert "1 without any gradient" in str(found)


class Restless(nn.Module):
    """A module that writes into one buffer and replaces another at every forward pass, and draws random numbers."""

    def __init__(self, fail=None):
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.full((), float("nan")))
        self.fail = fail

    def forward(self, x):
        self.calls += 1
        self.last = x.detach().mean()
        torch.rand(1)
        if self.fail and self.calls > 1:
            raise self.fail
        return self.layer(x)


@pytest.mark.parametrize("failure", [None, RuntimeError("broken"), KeyboardInterrupt()])
def test_the_model_is_left_as_it_was_on_every_way_out(failure):
    model = Restless(failure)
    model.layer[1].eval()  # a frozen norm inside a model that trains
    model.layer[2].weight.requires_grad_(False)
    model.layer[2].bias.grad = torch.ones(2)
    handle = model.layer[1].register_forward_hook(lambda *_: None)
    hooks = dict(model.layer[1]._forward_hooks)
    modes, state, last = [part.training for part in model.modules()], copy.deepcopy(model.state_dict()), model.last
    images = torch.randn(6, 1, 4)
    random, calls = torch.get_rng_state(), model.calls
    raised = UnsupportedError if isinstance(failure, RuntimeError) else KeyboardInterrupt  # the first says what raised it
    with pytest.raises(raised) if failure else nullcontext():
        empirical_landscape(model, images.split(2), generator=seeded())
    assert [part.training for part in model.modules()] == modes
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0, equal_nan=True)
    assert model.last is last
    assert model.calls is calls
    assert not model.layer[2].weight.requires_grad
    assert torch.equal(model.layer[2].bias.grad, torch.ones(2))
    assert model.layer[2].weight.grad is None
    assert dict(model.layer[1]._forward_hooks) == hooks
    assert torch.equal(torch.get_rng_state(), random)
    assert images.grad is None
    handle.remove()


def test_it_works_where_gradients_are_switched_off():
    with torch.no_grad():
        found = empirical_landscape(network(), [pictures(4)], classes="all")
    assert found.squared.min() > 0


def broken(value):
    images = pictures(6)
    images[4, 0, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("model", "batches", "options", "error", "message"),
    [
        (network(), [], {"classes": "all"}, SpecificationError, "no images"),
        (network(), [pictures()], {}, SpecificationError, "give generator="),
        (network(), [pictures()], {"classes": "argmax"}, SpecificationError, "'sampled'.*'all'"),
        (network(), [{"image": 3}], {"classes": "all"}, SpecificationError, "a batch is a dict"),
        (network(), [pictures().long()], {"classes": "all"}, SpecificationError, "floating-point images"),
        (network(), broken(float("nan")).split(3), {"classes": "all"}, SpecificationError, "image 4"),
        (nn.Conv2d(2, 3, 3).double(), [pictures()], {"classes": "all"}, UnsupportedError, "returns logits"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).double(), [pictures(), pictures()[..., 1:]],
         {"classes": "all"}, SpecificationError, r"image 40 has shape \(2, 6, 5\)"),
        (3, [pictures()], {"classes": "all"}, SpecificationError, "the model is a int"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(model, batches, options, error, message):
    with pytest.raises(error, match=message):
        empirical_landscape(model, batches, **options)


def test_a_pair_of_images_and_labels_is_read_as_its_images():
    model, images = network(), pictures(6)
    plain = empirical_landscape(model, [images], classes="all")
    paired = empirical_landscape(model, [(images, torch.zeros(6)), [images, 3]], classes="all")
    np.testing.assert_allclose(plain.squared, paired.squared)
    assert paired.count == 12


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_landscape_is_that_of_the_cpu():
    model, images = network(), pictures()
    for classes in ("all", "sampled"):
        there = empirical_landscape(copy.deepcopy(model).cuda(), images.split(7), classes=classes, generator=seeded(9))
        here = empirical_landscape(model, images.split(7), classes=classes, generator=seeded(9))
        np.testing.assert_allclose(there.sums, here.sums, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(there.mean_of_maps, here.mean_of_maps, rtol=1e-8)
