"""The gradient of a sampled logit: which class is drawn at the edges, its value image by image, and what is refused."""

import pytest
import torch
from torch import nn

from lattice import AssumptionError, SpecificationError, UnsupportedError
from tests.training_nets import difference, gradients, images, residual, seeded
from validation.gradients.input_gradient import WAYS, input_gradient, sample_classes, sample_uniforms


@pytest.mark.parametrize(
    ("probabilities", "uniform", "drawn"),
    [
        ([0.5, 0.25, 0.25], 0.0, 0),
        ([0.5, 0.25, 0.25], 0.5, 1),  # a class begins where the one before it ends
        ([0.5, 0.25, 0.25], 0.4999, 0),
        ([0.5, 0.25, 0.25], 0.75, 2),
        ([0.5, 0.25, 0.25], 1.0, 2),
        ([0.0, 1.0], 0.0, 1),  # what has no probability is not drawn
        ([1.0, 0.0], 0.99, 0),
        ([1.0], 0.3, 0),
        ([1.0], 1.0, 0),
    ],
)
def test_a_class_is_drawn_where_the_cdf_passes_the_number(probabilities, uniform, drawn):
    logits = torch.tensor([probabilities]).double().log()
    assert sample_classes(logits, torch.tensor([uniform])).tolist() == [[drawn]]


def test_one_uniform_number_an_image_in_double_precision():
    found = sample_uniforms(5, seeded(3))
    assert (found.shape, found.dtype) == ((5,), torch.float64)
    assert torch.equal(found, torch.rand(5, generator=seeded(3), dtype=torch.float64))
    with pytest.raises(SpecificationError, match="generator is None"):
        sample_uniforms(5, None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("axes", [1, 2])
def test_it_is_the_gradient_of_each_images_own_class(way, axes):
    torch.manual_seed(2)
    conv = (nn.Conv1d if axes == 1 else nn.Conv2d)(2, 3, 2)
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)).double()
    x = torch.randn(5, 2, *(6, 4)[:axes], generator=seeded(1), dtype=torch.float64)
    u = torch.tensor([0.0, 0.3, 0.5, 0.8, 1.0], dtype=torch.float64)
    classes = sample_classes(model(x), u).flatten()
    found = input_gradient(model=model, images=x, uniforms=u, way=way)
    for image, drawn, mine in zip(x, classes, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda pixels: model(pixels[None])[0], image)
        torch.testing.assert_close(mine.detach(), jacobian[drawn])
    assert len(set(classes.tolist())) > 1


@pytest.mark.parametrize("way", WAYS)
def test_frozen_parameters_are_left_out_and_change_nothing_for_the_others(way):
    x, u = images(), torch.linspace(0, 1, 6, dtype=torch.float64)
    model, frozen = residual(), residual()
    frozen.load_state_dict(model.state_dict())
    frozen.stem.requires_grad_(False)
    weights = [parameter for name, parameter in model.branch.named_parameters() if "weight" in name]
    expected = torch.autograd.grad(input_gradient(model, x, u).pow(3).sum(), weights)
    input_gradient(frozen, x, u, way=way).pow(3).sum().backward()
    assert all(parameter.grad is None for parameter in frozen.stem.parameters())
    found = [parameter.grad for name, parameter in frozen.branch.named_parameters() if "weight" in name]
    for mine, value in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, value)


@pytest.mark.parametrize("change", [0.99, 1.01])
def test_one_percent_off_the_recorded_gates_is_caught(change):
    class Drifting(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor, self.net = 1.0, residual()

        def forward(self, x):
            self.factor *= change
            return self.net(x) * self.factor

    u = torch.linspace(0, 1, 6, dtype=torch.float64)
    with pytest.raises(AssumptionError, match="double_backward"):
        input_gradient(Drifting(), images(), u).square().sum().backward()


def test_in_single_precision_rounding_is_no_fault():
    model, x = residual(dtype=torch.float32), images(dtype=torch.float32)
    u = torch.linspace(0, 1, 6)
    single = gradients(model, input_gradient(model, x, u).square().sum())
    expected = gradients(model.double(), input_gradient(model, x.double(), u).square().sum())
    assert difference(single.double(), expected) < 1e-4


def test_outside_of_gradient_mode_and_under_autocast_it_is_the_same():
    model, x, u = residual(dtype=torch.float32), images(dtype=torch.float32), torch.linspace(0, 1, 6)
    expected = input_gradient(model, x, u)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = input_gradient(model, x, u)
        torch.testing.assert_close(found, expected)
    assert difference(gradients(model, found.square().sum()), gradients(model, expected.square().sum())) < 1e-5


@pytest.mark.parametrize(
    ("x", "u", "way"),
    [
        (images(), torch.rand(6), "backward"),
        (images().numpy(), torch.rand(6), "auto"),
        (images().long(), torch.rand(6), "auto"),
        (images()[:, 0, 0], torch.rand(6), "auto"),
        (images()[:0], torch.rand(0), "auto"),
        (images(), torch.rand(5), "auto"),
        (images(), torch.rand(6, 1), "auto"),
        (images() / 0, torch.rand(6), "auto"),
        (images(), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, -0.1]), "auto"),
        (images(), torch.tensor([1.1, 0.2, 0.3, 0.4, 0.5, 0.6]), "auto"),
        (images(), torch.full((6,), float("nan")), "auto"),
    ],
)
def test_what_is_no_batch_or_no_uniform_numbers_is_refused(x, u, way):
    with pytest.raises(SpecificationError):
        input_gradient(residual(), x, u, way=way)


class Returning(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.net = function, residual()

    def forward(self, x):
        return self.function(self.net(x))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "function",
    [lambda h: h[0], lambda h: h[:, 0], lambda h: h[:4], lambda h: h[None], lambda h: h.flatten()[None], lambda h: (h, h)],
)
def test_outputs_that_are_not_logits_of_each_image_are_refused(function, way):
    with pytest.raises(UnsupportedError, match="logits"):
        input_gradient(Returning(function), images(), torch.rand(6), way=way)
