"""After a measurement, and after one that failed, the model, the images and the random states are as before."""

import numpy as np
import pytest
import torch
from torch import nn

from lattice import PilcroError
from validation import beside, effective_receptive_field, halo


class Awkward(nn.Module):
    """Mixed modes, running statistics, dropout, random numbers, in-place work on the input, a frozen parameter."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.fails = False

    def forward(self, x):
        x += 1
        self.calls += 1
        torch.rand(3)
        if self.fails and self.calls > 2:
            raise RuntimeError("out of luck")
        return self.drop(self.norm(self.conv(x)))


def state(model):
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks) for part in model.modules()]
    modes = [part.training for part in model.modules()]
    grads = [(p.requires_grad, p.grad) for p in model.parameters()]
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    return hooks, modes, grads, tensors, torch.get_rng_state(), torch.is_grad_enabled()


def assert_same(before, after):
    assert before[:3] == after[:3]
    assert all(torch.equal(before[3][name], after[3][name]) for name in before[3])
    assert torch.equal(before[4], after[4])
    assert before[5] == after[5]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_the_model_and_the_images_are_left_as_they_were(fails, grad):
    model = Awkward()
    model.norm.eval()
    model.conv.bias.requires_grad_(False)
    model.fails = fails
    images = torch.randn(4, 2, 8, 8)
    kept, before = images.clone(), state(model)
    with torch.set_grad_enabled(grad):
        before = state(model)
        if fails:
            with pytest.raises(PilcroError, match="out of luck"):
                effective_receptive_field(model, images, layer="norm", batch_size=1)
        else:
            effective_receptive_field(model, images, layer="norm", batch_size=1)
        assert_same(before, state(model))
    assert torch.equal(images, kept)
    assert not images.requires_grad


def test_inside_inference_mode_it_works_all_the_same():
    model, images = nn.Conv1d(1, 1, 3, padding=1), torch.randn(2, 1, 5)
    outside = effective_receptive_field(model, images)
    with torch.inference_mode():
        inside = effective_receptive_field(model, images)
    assert np.array_equal(outside.mean, inside.mean)


def test_halo_and_prediction_leave_nothing_either(nets):
    model, images = nets["unet"](), torch.randn(2, 1, 16, 16)
    before = state(model)
    halo(model, images)
    field = effective_receptive_field(model, images, layer="two")
    beside(field, model, (1, 16, 16))
    assert_same(before, state(model))


def test_batch_size_changes_nothing_but_rounding():
    model = Awkward()
    images = torch.randn(7, 2, 8, 8)
    one, other = (effective_receptive_field(model, images, batch_size=size, seed=3) for size in (1, 5))
    assert np.allclose(one.mean, other.mean, rtol=1e-4)  # the same signs for the same image, float32 sums
