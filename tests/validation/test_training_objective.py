"""The regulariser (Eq. 13 to 17): its values, its gradient three ways, and the traps on the way to it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lattice import AssumptionError, SpecificationError, UnsupportedError
from tests.training_nets import difference, gradients, images, residual, seeded, smooth
from validation.evaluation.empirical import empirical_landscape
from validation.training.gradients import input_gradient, sample_classes
from validation.training.objective import (
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


def test_the_same_generator_draws_the_same_classes_however_the_batch_is_split():
    logits = torch.randn(12, 5, generator=seeded())
    u = torch.rand(12, generator=seeded(1), dtype=torch.float64)
    halves = torch.cat([sample_classes(logits[:5], u[:5]), sample_classes(logits[5:], u[5:])])
    assert torch.equal(sample_classes(logits, u), halves)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15])
def test_the_map_does_not_depend_on_the_scale_of_the_logits_where_squares_of_squares_underflow(scale):
    squared = torch.rand(2, 5, 5, generator=seeded()) + 0.1
    torch.testing.assert_close(normalised(squared * scale**2), normalised(squared))


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


def test_a_smooth_network_takes_double_backward_by_itself_and_the_linear_way_names_what_it_lacks():
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


def test_hardsigmoid_has_no_second_derivative_and_the_linear_way_needs_none():
    model, x = residual(nn.Hardsigmoid), images()
    with pytest.raises(RuntimeError, match="hardsigmoid_backward"):
        gradients(model, penalty_of(model, x, "double_backward"))
    found = gradients(model, penalty_of(model, x))

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


def test_a_parameter_that_changed_under_the_penalty_is_an_error_and_not_a_number():
    model, x = residual(), images()
    penalty = penalty_of(model, x)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        penalty.backward()


@pytest.mark.parametrize("way", WAYS)
def test_the_penalty_leaves_statistics_modes_gradients_and_random_states_alone(way):
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
def test_a_laplacian_of_any_width_keeps_the_second_derivative_of_quadratics(width):
    row = torch.arange(9.0, dtype=torch.float64)
    values = row[:, None] ** 2 + 3 * row[None] ** 2 + row[:, None] * row[None]
    torch.testing.assert_close(laplacian(values, width), torch.full((10 - width, 10 - width), 8.0, dtype=torch.float64))
    assert float(curvature_penalty(values, width)) == pytest.approx(0)


@pytest.mark.parametrize("width", [0, 1, 2, 4, 11])
def test_even_small_and_too_large_laplacians_are_refused(width):
    with pytest.raises(SpecificationError, match="width"):
        curvature_penalty(torch.ones(9, 9), width)


def test_sum_and_mean_differ_by_the_number_of_cells():
    importance, target = torch.rand(32, 32), torch.ones(32, 32)
    assert target_penalty(importance, target) / target_penalty(importance, target, reduction="mean") == pytest.approx(1024)
    assert curvature_penalty(importance, reduction="sum") / curvature_penalty(importance) == pytest.approx(900)
    with pytest.raises(SpecificationError, match="'sum' or 'mean'"):
        target_penalty(importance, target, reduction="median")
    with pytest.raises(SpecificationError, match="shape"):
        target_penalty(importance, target[:5])


def test_the_target_is_the_mean_normalised_laplacian_and_batches_do_not_matter():
    x = images(10, 3, 8)
    maps = []
    for image in x:
        inner = torch.stack([laplacian(channel) for channel in image]).norm(dim=0)
        edged = nn.functional.pad(inner[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
        maps.append(edged / edged.square().mean().sqrt())
    torch.testing.assert_close(smoothness_target(x), torch.stack(maps).mean(0))
    torch.testing.assert_close(smoothness_target(x.split(3)), smoothness_target(x))


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


def test_the_penalty_falls_due_every_t_steps_with_weight_alpha_t_after_its_warm_up():
    penalty = Penalty("target", alpha=2, interval=5, warmup=20)
    assert [penalty.weight(step) for step in (0, 4, 5, 10, 11, 20, 25)] == [0, 0, 2.5, 5, 0, 10, 10]
    # the mean weight is alpha, whatever T is
    for interval in (1, 3, 10):
        assert sum(Penalty("curvature", 3.0, interval).weight(step) for step in range(30)) / 30 == pytest.approx(3)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "flat"},
        {"alpha": -1},
        {"alpha": float("nan")},
        {"interval": 0},
        {"warmup": -1},
        {"width": 4},
        {"reduction": "max"},
    ],
)
def test_a_penalty_that_means_nothing_is_refused(bad):
    with pytest.raises(SpecificationError):
        Penalty(**bad)


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


def test_the_curvature_penalty_as_printed_does_not_see_the_corners_and_hardly_the_border():
    """Eq. 16 leaves its Laplacian unpadded: a landscape in one corner cell is as good as a flat one."""

    def concentrated(row, column):
        importance = torch.zeros(16, 16, dtype=torch.float64)
        importance[row, column] = 16.0  # mean square one
        return float(curvature_penalty(importance))

    assert concentrated(0, 0) == concentrated(15, 0) == 0 == float(curvature_penalty(torch.ones(16, 16)))
    assert concentrated(8, 8) > 15 * concentrated(0, 8) > 0
