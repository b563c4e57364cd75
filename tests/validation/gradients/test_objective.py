"""The regulariser (Eq. 13 to 17): its values, its gradient three ways, and the traps on the way to it."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from lattice import AssumptionError, SpecificationError, UnsupportedError
from tests.training_nets import difference, gradients, images, residual, seeded, smooth
from validation.gradients.empirical import empirical_landscape
from validation.gradients.input_gradient import input_gradient, sample_classes
from validation.gradients.objective import (
    curvature_penalty,
    importance_map,
    laplacian,
    normalised,
    smoothness_target,
    target_penalty,
)
from validation.training.penalty import Objective, Penalty

WAYS = ("linearised", "double_backward", "forward_mode")


def penalty_of(model, x, way="auto", seed=3):
    return curvature_penalty(importance_map(model, x, generator=seeded(seed), way=way), reduction="sum")


# --- the map


def test_the_map_is_eq_14_of_the_sampled_landscape():
    model, x = residual(), images()
    found = importance_map(model, x, generator=seeded(3))
    expected = empirical_landscape(model, [x], generator=seeded(3)).map_of_means
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-10)
    assert found.detach().square().mean() == pytest.approx(1)


def test_classes_are_drawn_from_the_models_own_probabilities():
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(200_000, 4)
    drawn = sample_classes(logits, torch.rand(200_000, generator=seeded(), dtype=torch.float64))
    found = torch.bincount(drawn.flatten(), minlength=4) / 200_000
    # 5.3 standard deviations of the largest binomial: a false alarm in 10^7
    assert (found - logits[0].softmax(0)).abs().max() < 5.3 * 0.5 / 200_000**0.5


def test_a_generator_draws_the_same_classes_however_a_batch_is_split():
    logits = torch.randn(12, 5, generator=seeded())
    u = torch.rand(12, generator=seeded(1), dtype=torch.float64)
    halves = torch.cat([sample_classes(logits[:5], u[:5]), sample_classes(logits[5:], u[5:])])
    assert torch.equal(sample_classes(logits, u), halves)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15])
def test_the_map_ignores_the_scale_of_the_logits_down_to_underflow(scale):
    """The map does not depend on the scale of the logits where squares of squares underflow."""
    squared = torch.rand(2, 5, 5, generator=seeded()) + 0.1
    torch.testing.assert_close(normalised(squared * scale**2), normalised(squared))


def test_the_map_takes_the_length_over_channels_and_has_mean_square_one():
    squared = torch.rand(3, 4, 5, generator=seeded(), dtype=torch.float64)
    expected = np.sqrt((squared.numpy() ** 2).sum(axis=0))
    np.testing.assert_allclose(normalised(squared), expected / np.sqrt(np.mean(expected**2)))
    assert normalised(torch.tensor([[[1e-30]]], dtype=torch.float64)) == 1
    for value in (0.0, float("inf"), float("nan")):
        with pytest.raises(SpecificationError, match="largest squared gradient"):
            normalised(torch.full((2, 3, 3), value))


def test_the_map_is_of_the_mean_square_whoever_draws_the_classes():
    model, x = residual(), images()
    u = torch.rand(6, generator=seeded(3), dtype=torch.float64)
    found = importance_map(model=model, images=x, uniforms=u)
    assert torch.equal(found, importance_map(model, x, generator=seeded(3)))
    squared = input_gradient(model, x, u).square().sum(dim=0) / 6
    torch.testing.assert_close(found, normalised(squared))
    torch.testing.assert_close(importance_map(model, x, uniforms=u, reduce=lambda s: s**2), normalised(squared**2))
    with pytest.raises(SpecificationError, match="ndarray"):
        importance_map(model, x.numpy(), generator=seeded())


def test_a_map_that_is_zero_everywhere_is_refused():
    blind = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    nn.init.zeros_(blind[1].weight)
    with pytest.raises(SpecificationError, match="do not depend on the input"):
        importance_map(blind, torch.ones(2, 1, 2, 2), generator=seeded())


# --- its gradient


def functional_penalty(model, x, values):
    """P_c with the parameters as arguments: what gradcheck differentiates numerically."""
    named = dict(zip([name for name, _ in model.named_parameters()], values, strict=True))

    class Frozen(nn.Module):
        def forward(self, batch):
            return torch.func.functional_call(model, named, (batch,))

    u = torch.rand(len(x), generator=seeded(5), dtype=torch.float64)
    importance = normalised(input_gradient(Frozen(), x, u, way="double_backward").square().mean(dim=0))
    return curvature_penalty(importance), target_penalty(importance, torch.ones_like(importance))


def test_both_penalties_pass_gradcheck_and_gradgradcheck():
    model, x = smooth(classes=2), images(2, 1, 5)
    values = [p.detach().clone().requires_grad_() for p in model.parameters()]
    assert torch.autograd.gradcheck(lambda *v: functional_penalty(model, x, v), values)
    assert torch.autograd.gradgradcheck(lambda *v: functional_penalty(model, x, v), values, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_has_the_numerical_gradient(way):
    model, x = residual(), images()
    parameters = list(model.parameters())
    step = [torch.randn(p.shape, generator=seeded(9), dtype=p.dtype) * 1e-7 for p in parameters]
    slope = gradients(model, penalty_of(model, x, way)) @ torch.cat([s.flatten() for s in step])

    def value(sign):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            torch._foreach_add_(list(twin.parameters()), step, alpha=sign)
        return penalty_of(twin, x, way).item()

    assert slope.item() == pytest.approx((value(1) - value(-1)) / 2, rel=1e-4)


class Clipped(nn.Module):
    """The method that works in place."""

    def forward(self, x):
        return x.relu_()


ACTIVATIONS = {
    "relu in place": lambda: nn.ReLU(inplace=True),
    "relu_": Clipped,
    "leaky": lambda: nn.LeakyReLU(0.2),
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("way", ["linearised", "forward_mode"])
def test_the_ways_agree_in_float64(activation, way):
    model, x = residual(ACTIVATIONS[activation]), images()
    expected = gradients(model, penalty_of(model, x, "double_backward"))
    assert difference(gradients(model, penalty_of(model, x, way)), expected) < 1e-11


def test_the_ways_agree_to_float_precision_on_a_resnet18():
    models = pytest.importorskip("torchvision.models")
    model, x = models.resnet18(num_classes=10), images(4, 3, 32, dtype=torch.float32)
    expected = gradients(model, penalty_of(model, x, "double_backward"))
    assert difference(gradients(model, penalty_of(model, x, "linearised")), expected) < 2e-5


def test_pools_pads_concatenations_and_constants_have_linear_rules():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.Conv2d(2, 4, 1)
            self.shift, self.head = nn.Parameter(torch.randn(4, 1, 1)), nn.Linear(8, 3)

        def forward(self, x):
            a = nn.functional.avg_pool2d(nn.functional.pad(self.a(x), (1, 0, 0, 1), value=0.3), 2)
            b = nn.functional.max_pool2d(self.shift - self.b(x) / 2, 2, ceil_mode=True)
            return self.head(torch.cat([a.abs(), -b], dim=1).mean((2, 3)))

    model, x = Mixed().double(), images()
    expected = gradients(model, penalty_of(model, x, "double_backward"))
    assert difference(gradients(model, penalty_of(model, x, "linearised")), expected) < 1e-11


def test_a_smooth_network_takes_double_backward_by_itself():
    """A smooth network takes double backward by itself and the linear way names what it lacks."""
    model, x = residual(nn.GELU), images()
    expected = gradients(model, penalty_of(model, x, "double_backward"))
    assert difference(gradients(model, penalty_of(model, x)), expected) < 1e-12
    assert difference(gradients(model, penalty_of(model, x, "forward_mode")), expected) < 1e-10
    with pytest.raises(UnsupportedError, match="gelu"):
        penalty_of(model, x, "linearised")


def test_dropout_that_cannot_be_switched_off_has_no_linear_rule():
    class Always(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(images()[0].numel(), 3)

        def forward(self, x):
            return self.head(nn.functional.dropout(x, 0.5, training=True).flatten(1))

    with pytest.raises(UnsupportedError, match="dropout"):
        penalty_of(Always().double(), images(), "linearised")


# --- the traps


@pytest.mark.parametrize("way", ["linearised", "double_backward", "forward_mode"])
@pytest.mark.parametrize("inplace", [False, True])
def test_hardsigmoid_has_the_gradient_of_its_formula(way, inplace):
    """Hardsigmoid has the gradient of its formula though torch lacks its second derivative."""
    model, x = residual(lambda: nn.Hardsigmoid(inplace)), images()
    found = gradients(model, penalty_of(model, x, way))

    class Composed(nn.Module):
        def forward(self, x):
            return (x / 6 + 0.5).clamp(0, 1)

    twin = residual(Composed)
    twin.load_state_dict(model.state_dict())
    assert difference(found, gradients(twin, penalty_of(twin, x, "double_backward"))) < 1e-6  # torch holds 1/6 in float32


def test_a_training_forward_after_the_penalty_cannot_change_its_gradient():
    """With torch alone the running statistics move under the saved graph, and nothing is raised."""
    model, x = residual(), images()
    twin = copy.deepcopy(model)
    expected = gradients(model, penalty_of(model, x))
    for way in WAYS:
        model = copy.deepcopy(twin)
        penalty = penalty_of(model, x, way)
        with torch.no_grad():
            model.train()(images(seed=8) * 3)
        assert difference(gradients(model, penalty), expected) < 1e-11


def test_a_parameter_that_changed_under_the_penalty_is_an_error():
    model, x = residual(), images()
    penalty = penalty_of(model, x)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        penalty.backward()


@pytest.mark.parametrize("way", WAYS)
def test_the_penalty_leaves_statistics_modes_gradients_and_seeds_alone(way):
    model, x = residual(dtype=torch.float32), images(dtype=torch.float32)
    model.train()
    model.stem[1].eval()  # a frozen norm stays frozen
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    versions = [b._version for b in model.buffers()]
    random = torch.random.get_rng_state()
    torch.autograd.grad(penalty_of(model, x, way), list(model.parameters()), allow_unused=True)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))
    assert modes == [m.training for m in model.modules()]
    assert versions == [b._version for b in model.buffers()]
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(p.grad is None for p in model.parameters())
    assert not x.requires_grad


def test_dropout_is_off_in_the_penalty():
    model, x = residual(), images()
    model.train()
    assert penalty_of(model, x).item() == penalty_of(model, x).item() == penalty_of(model.eval(), x).item()


def test_a_compiled_model_has_no_double_backward_and_is_unwrapped():
    model, x = residual(), images()
    compiled = torch.compile(model, backend="aot_eager")
    expected = penalty_of(model, x)
    assert penalty_of(compiled, x).item() == expected.item()
    assert difference(gradients(model, penalty_of(compiled, x)), gradients(model, expected)) < 1e-12


def test_a_network_that_is_not_what_its_gates_say_is_caught_at_backward():
    class Restless(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.net = 0, residual()

        def forward(self, x):
            self.calls += 1
            return self.net(x) * self.calls

    with pytest.raises(AssumptionError, match="double_backward"):
        penalty_of(Restless(), images()).backward()


@pytest.mark.parametrize(
    ("model", "x", "error", "words"),
    [
        (nn.Conv2d(2, 3, 3), images(), UnsupportedError, "logits"),
        (nn.Flatten(), torch.ones(2, 2, 4, 4, dtype=torch.int64), SpecificationError, "floats"),
    ],
)
def test_what_is_no_batch_or_no_logits_is_refused(model, x, error, words):
    with pytest.raises(error, match=words):
        importance_map(model.double(), x, generator=seeded())


def test_a_map_without_a_generator_is_refused():
    with pytest.raises(SpecificationError, match="generator="):
        importance_map(residual(), images())


# --- the penalties


def test_the_laplacian_is_the_five_point_stencil():
    values = torch.randn(6, 7, generator=seeded(), dtype=torch.float64)
    stencil = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)
    expected = nn.functional.conv2d(values[None, None], stencil[None, None])[0, 0]
    torch.testing.assert_close(laplacian(values), expected)
    assert curvature_penalty(values) == pytest.approx(float(expected.var(correction=0)))
    assert curvature_penalty(values, reduction="sum") == pytest.approx(float(expected.var(correction=0)) * 20)


@pytest.mark.parametrize("width", [3, 5, 7])
def test_a_laplacian_of_any_width_is_exact_on_quadratics(width):
    row = torch.arange(9.0, dtype=torch.float64)
    values = row[:, None] ** 2 + 3 * row[None] ** 2 + row[:, None] * row[None]
    torch.testing.assert_close(laplacian(values, width), torch.full((10 - width, 10 - width), 8.0, dtype=torch.float64))
    assert float(curvature_penalty(values, width)) == pytest.approx(0)


@pytest.mark.parametrize("width", [0, 1, 2, 4, 11])
def test_even_small_and_too_large_laplacians_are_refused(width):
    with pytest.raises(SpecificationError, match="width"):
        curvature_penalty(torch.ones(9, 9), width)


@pytest.mark.parametrize("width", [3, 5, 7])
@pytest.mark.parametrize(("shape", "axes"), [((9,), None), ((8, 11), None), ((7, 8, 9), None), ((2, 8, 11), 2), ((2, 3, 9), 1)])
def test_the_laplacian_is_a_convolution_along_each_axis_of_inner_cells(shape, axes, width):
    kernel = np.convolve([1, -2, 1], [math.comb(width - 3, i) / 2 ** (width - 3) for i in range(width - 2)])
    values = torch.randn(shape, generator=seeded(2), dtype=torch.float64)
    places = range(len(shape))[-(axes or len(shape)) :]
    inner = tuple(slice(width // 2, -(width // 2)) if axis in places else slice(None) for axis in range(len(shape)))
    expected = sum(ndimage.correlate1d(values.numpy(), kernel, axis=axis)[inner] for axis in places)
    np.testing.assert_allclose(laplacian(values=values, width=width, axes=axes), expected, atol=1e-12)


def test_a_map_as_wide_as_the_laplacian_has_one_cell():
    values = torch.randn(5, 5, generator=seeded(), dtype=torch.float64)
    assert laplacian(values, 5).shape == (1, 1)
    assert curvature_penalty(importance=values, width=5) == 0  # one cell does not vary
    for shape in ((5, 4), (4, 5), ()):
        with pytest.raises(SpecificationError, match="does not fit"):
            laplacian(torch.ones(shape), 5)
    with pytest.raises(SpecificationError, match=r"not a ndarray"):
        laplacian(np.ones((5, 5)))
    for width in (3.0, True, "3"):
        with pytest.raises(SpecificationError, match="odd"):
            laplacian(values, width)


def test_sum_and_mean_differ_by_the_number_of_cells():
    importance, target = torch.rand(32, 32), torch.ones(32, 32)
    assert target_penalty(importance, target) / target_penalty(importance, target, reduction="mean") == pytest.approx(1024)
    assert curvature_penalty(importance, reduction="sum") / curvature_penalty(importance) == pytest.approx(900)
    with pytest.raises(SpecificationError, match="'sum' or 'mean'"):
        target_penalty(importance, target, reduction="median")
    with pytest.raises(SpecificationError, match="shape"):
        target_penalty(importance, target[:5])


def test_the_target_is_the_mean_normalised_laplacian_in_any_batches():
    x = images(10, 3, 8)
    maps = []
    for image in x:
        inner = torch.stack([laplacian(channel) for channel in image]).norm(dim=0)
        edged = nn.functional.pad(inner[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
        maps.append(edged / edged.square().mean().sqrt())
    torch.testing.assert_close(smoothness_target(x), torch.stack(maps).mean(0))
    torch.testing.assert_close(smoothness_target(x.split(3)), smoothness_target(x))


@pytest.mark.parametrize(("shape", "width"), [((7, 9), 5), ((10,), 3), ((5, 7, 6), 5), ((3, 8), 3)])
def test_the_border_of_the_target_has_the_value_of_the_nearest_inner_cell(shape, width):
    x = torch.randn(4, 2, *shape, generator=seeded(3), dtype=torch.float64) * 1e-3
    maps = []
    for image in x:
        inner = np.sqrt(sum(laplacian(channel, width).numpy() ** 2 for channel in image))
        edged = np.pad(inner, width // 2, mode="edge")
        maps.append(edged / np.sqrt(np.mean(edged**2)))
    np.testing.assert_allclose(smoothness_target(images=x, width=width), np.mean(maps, axis=0))
    assert smoothness_target(x.float(), width).dtype == torch.float64


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (torch.ones(5, 5), "images of shape"),
        (torch.full((2, 1, 5, 5), float("inf")), "finite"),
        ([torch.rand(2, 1, 5, 5), torch.rand(2, 1, 5, 6)], "one size only"),
        ([torch.rand(2, 1, 5, 5), np.ones((2, 1, 5, 5))], "ndarray"),
        ([], "no target"),
        (torch.rand(2, 1, 5, 2), "does not fit"),
    ],
)
def test_what_are_no_images_of_one_size_have_no_target(wrong, words):
    with pytest.raises(SpecificationError, match=words):
        smoothness_target(wrong)


def test_stationary_images_have_a_flat_target():
    target = smoothness_target(torch.rand(4000, 1, 8, 8, generator=seeded()))
    assert float(target.std() / target.mean()) < 0.02


def test_images_without_shape_are_left_out_and_alone_refused():
    x = images(5, 2, 6)
    flat = torch.ones(2, 2, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(smoothness_target(torch.cat([x, flat])), smoothness_target(x))
    with pytest.raises(SpecificationError, match="no target"):
        smoothness_target(flat)


# --- when and how strongly


def test_the_weight_at_every_t_th_step_is_alpha_after_its_warm_up():
    penalty = Penalty("target", alpha=2, interval=5, warmup=20)
    assert [penalty.weight(step) for step in (0, 4, 5, 10, 11, 20, 25)] == [0, 0, 0.5, 1, 0, 2, 2]


def test_alpha_0_is_multiplied_by_t_so_that_its_mean_over_steps_is_itself():
    for interval in (1, 3, 10):
        given = Penalty("curvature", 3.0, interval, reading="alpha_0")
        assert sum(given.weight(step) for step in range(30)) / 30 == pytest.approx(3)
        assert given.applied == Penalty("curvature", 3.0 * interval, interval).applied == 3.0 * interval


def test_values_from_before_readings_had_names_keep_the_one_they_had():
    """They multiplied by T, and summed Eq. 17 over pixels."""
    old = {"kind": "target", "alpha": 0.5, "interval": 10, "width": 3, "warmup": 0, "reduction": "literal"}
    found = Penalty.of(old)
    assert (found.reading, found.reduction, found.weight(0)) == ("alpha_0", "literal", 5.0)
    assert Penalty.of({}) == Penalty()
    assert Penalty.of({"reading": "alpha"}) == Penalty()


def test_the_defaults_are_the_papers():
    assert Penalty() == Penalty(
        kind="none", alpha=10, interval=10, width=3, warmup=0, reduction="mean", reading="alpha", border="unpadded"
    )


@pytest.mark.parametrize("warmup", [1, 4])
def test_with_every_step_the_weight_rises_linearly(warmup):
    penalty = Penalty("norm", alpha=3, interval=1, warmup=warmup)
    assert [penalty.weight(step) for step in range(7)] == [3 * min(step / warmup, 1) for step in range(7)]
    assert [Penalty("none", alpha=3, interval=1).weight(step) for step in range(3)] == [0, 0, 0]
    assert Penalty("curvature", alpha=0).weight(0) == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "flat"},
        {"alpha": -1},
        {"alpha": -0.01},
        {"alpha": float("nan")},
        {"alpha": "1"},
        {"alpha": True},
        {"interval": 0},
        {"interval": 2.0},
        {"warmup": -1},
        {"warmup": 0.5},
        {"width": 4},
        {"width": 1},
        {"width": -3},
        {"width": 3.0},
        {"reduction": "max"},
        {"reading": "beta"},
        {"border": "zeros"},
    ],
)
def test_a_penalty_that_means_nothing_is_refused(bad):
    with pytest.raises(SpecificationError):
        Penalty(**bad)


@pytest.mark.parametrize("width", [3, 5])
def test_a_penalty_is_a_mean_or_a_sum_over_pixels_as_asked(width):
    importance, target = (torch.rand(8, 9, generator=seeded(seed), dtype=torch.float64) for seed in (1, 2))
    curved = laplacian(importance, width).numpy()
    variance, distance = curved.var(), ((importance - target) ** 2).numpy()
    for reduction, curvature, off in (
        ("literal", variance, distance.sum()),
        ("mean", variance, distance.mean()),
        ("sum", variance * curved.size, distance.sum()),
    ):
        found = Penalty("curvature", width=width, reduction=reduction).of_map(importance)
        assert float(found) == pytest.approx(curvature)
        assert float(Penalty("target", reduction=reduction).of_map(importance, target)) == pytest.approx(off)
    assert float(target_penalty(importance=importance, target=target)) == pytest.approx(distance.sum())
    for kind in ("none", "norm"):
        with pytest.raises(SpecificationError, match="not one of a map"):
            Penalty(kind).of_map(importance, target)
    for pair in ((importance, target.numpy()), (importance.numpy(), target)):
        with pytest.raises(SpecificationError, match="not a ndarray"):
            target_penalty(*pair)


def test_the_norm_penalty_is_the_mean_squared_length_of_the_gradients():
    model, x = residual(), images()
    u = torch.rand(6, generator=seeded(4), dtype=torch.float64)
    lengths = [float(g.norm()) ** 2 for g in input_gradient(model, x, u).detach()]
    assert Penalty("norm").of_model(model, x, u).item() == pytest.approx(np.mean(lengths))


def test_the_objective_smooths_labels_as_torch_and_does_not_save_targets():
    """The objective smooths labels as torch does and keeps its target out of checkpoints."""
    model, x, labels = residual().eval(), images(), torch.arange(6) % 5
    u, target = torch.rand(6, dtype=torch.float64), torch.ones(9, 9, dtype=torch.float64)
    smoothed = Objective(model=model, penalty=Penalty("target"), target=target, label_smoothing=0.2)
    total, loss, value, _ = smoothed(x, labels, u, 0.0)
    expected = nn.functional.cross_entropy(model(x).float(), labels, label_smoothing=0.2)
    assert loss.item() == pytest.approx(expected.item())
    assert (total.item(), value.item()) == (loss.item(), 0)
    assert total.requires_grad
    assert not loss.requires_grad
    assert smoothed.state_dict().keys() == {f"model.{name}" for name in model.state_dict()}
    assert Objective(model).penalty == Penalty()


def test_with_bfloat16_the_network_is_evaluated_in_it_and_the_loss_is_not():
    model, x, labels = residual(dtype=torch.float32).eval(), images(dtype=torch.float32), torch.arange(6) % 5
    kinds = [Objective(model, precision=precision)(x, labels, torch.rand(6), 0.0) for precision in ("bfloat16", "float32")]
    assert [logits.dtype for *_, logits in kinds] == [torch.bfloat16, torch.float32]
    assert [loss.dtype for _, loss, *_ in kinds] == [torch.float32, torch.float32]


@pytest.mark.parametrize("kind", ["curvature", "target", "norm"])
def test_the_objective_is_cross_entropy_plus_the_weighted_penalty(kind):
    model, x = residual(), images()
    model.eval()
    labels, u = torch.arange(6) % 5, torch.rand(6, generator=seeded(4), dtype=torch.float64)
    target = torch.ones(9, 9, dtype=torch.float64)
    penalty = Penalty(kind)
    total, loss, value, logits = Objective(model, penalty, target)(x, labels, u, 0.5)
    assert loss.item() == pytest.approx(nn.functional.cross_entropy(model(x), labels).item(), rel=1e-6)
    assert total.item() == pytest.approx((loss + 0.5 * value).item())
    assert value.item() == pytest.approx(penalty.of_model(model, x, u, target).item())
    assert not logits.requires_grad
    assert float(Objective(model, penalty, target)(x, labels, u, 0.0)[2]) == 0


def test_a_target_penalty_without_a_target_is_refused():
    with pytest.raises(SpecificationError, match="smoothness_target"):
        Penalty("target").of_map(torch.ones(4, 4))


def test_the_printed_curvature_penalty_sees_no_corner_and_hardly_a_border():
    """Eq. 16 leaves its Laplacian unpadded: a landscape in one corner cell is as good as a flat one."""

    def concentrated(row, column):
        importance = torch.zeros(16, 16, dtype=torch.float64)
        importance[row, column] = 16.0  # mean square one
        return float(curvature_penalty(importance))

    assert concentrated(0, 0) == concentrated(15, 0) == 0 == float(curvature_penalty(torch.ones(16, 16)))
    assert concentrated(8, 8) > 15 * concentrated(0, 8) > 0


@pytest.mark.parametrize("border", ["replicate", "reflect"])
@pytest.mark.parametrize("width", [3, 5])
def test_with_a_border_rule_every_cell_has_a_laplacian(border, width):
    """Beside numpy's own padding, and the inner cells are those of the unpadded one."""
    values = torch.rand(7, 8, generator=seeded(3), dtype=torch.float64)
    radius, mode = width // 2, {"replicate": "edge", "reflect": "reflect"}[border]
    padded = torch.from_numpy(np.pad(values.numpy(), radius, mode=mode))
    found = laplacian(values, width, border=border)
    torch.testing.assert_close(found, laplacian(padded, width))
    torch.testing.assert_close(found[radius:-radius, radius:-radius], laplacian(values, width))


def test_replicated_borders_leave_nowhere_to_hide_a_landscape():
    """The unpadded Laplacian is blind to whole spaces of maps, the four corners among them; the replicated one to constants."""

    def blind(border):
        units = torch.eye(36, dtype=torch.float64).reshape(36, 6, 6)
        matrix = torch.stack([laplacian(unit, border=border).flatten() for unit in units])
        return 36 - int(torch.linalg.matrix_rank(matrix - matrix.mean(dim=1, keepdim=True)))

    assert blind("replicate") == 1
    assert blind("unpadded") == 36 - 15  # 16 values less their mean
    corner = torch.zeros(16, 16, dtype=torch.float64)
    corner[0, 0] = 16.0
    found = [float(Penalty("curvature", border=border).of_map(corner)) for border in ("unpadded", "replicate", "reflect")]
    assert found[0] == 0
    assert min(found[1:]) > 3
    with pytest.raises(SpecificationError, match="'unpadded', 'replicate' or 'reflect'"):
        laplacian(corner, border="zeros")
