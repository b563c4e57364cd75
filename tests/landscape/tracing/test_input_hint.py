"""What is proposed for an input shape that a model cannot take has been run."""

import pytest
import torch
from torch import nn

import landscape
import validation
from landscape.tracing.input_hint import input_hint, takes
from lattice import UnsupportedError


def colour():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def grey():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))


def signal():
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU())


class Masked(nn.Conv2d):
    """Reads more than images."""

    def forward(self, x, mask, *, scale, bias=None):
        return super().forward(x) * mask * scale


def masked():
    return Masked(3, 2, 3)


@pytest.mark.parametrize(
    ("factory", "shape", "hint"),
    [
        (colour, (1, 3, 8, 8), "drop the batch axis: did you mean (3, 8, 8)?"),
        (colour, (16, 3, 8, 8), "drop the batch axis: did you mean (3, 8, 8)?"),
        (colour, (8, 8, 3), "channels come first: did you mean (3, 8, 8), or --shape 3 8 8 on the command line?"),
        (colour, (8, 8), "the axis of the channels is missing: did you mean (3, 8, 8)?"),
        (colour, (1, 8, 8), "this model reads 3 channels: did you mean (3, 8, 8), or --channels 3 on the command line?"),
        (colour, (3, 9, 9), "did you mean (3, 8, 8), or --shape 3 8 8 on the command line?"),  # its head reads 6 x 6 cells
        (colour, (1, 3, 64, 48), "it takes other inputs: did you mean (3, 8, 8)"),
        (grey, (1, 8), "an axis is missing: did you mean (1, 8, 8), or --shape 1 8 8 on the command line?"),
        (signal, (3, 8, 8), "did you mean (2, 8), or --shape 2 8 on the command line?"),
        (masked, (3, 8, 8), "its forward needs mask, scale too: give a module whose forward takes the images alone"),
        (grey, (3, 8, 8), "this model reads 1 channel: did you mean (1, 8, 8), or --channels 1 on the command line?"),
    ],
)
def test_the_error_of_a_wrong_shape_says_which_one_works(factory, shape, hint):
    for call in (landscape.predict, lambda *a: validation.measure(*a, draws=20)):
        with pytest.raises(UnsupportedError) as caught:
            call(factory, shape)
        assert hint in str(caught.value)


def test_nothing_is_proposed_that_the_model_cannot_take():
    odd = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 9 * 9, 2))  # 11 x 11, which nobody would guess
    assert input_hint(odd, (1, 3, 9, 9)) == ""
    assert input_hint(odd, (3, 9, 9)) == ""
    assert input_hint(nn.Linear(3, 2), (4,)) == ""


class Counting(nn.Module):
    """Counts its calls in a buffer, in evaluation mode too, and draws random numbers."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.norm(self.conv(x)) + torch.rand(())


def test_trying_a_shape_has_no_side_effects():
    model, state = Counting(), torch.get_rng_state()
    model.norm.eval()
    assert takes(model, (3, 8, 8))
    assert not takes(model, (2, 8, 8))
    assert (model.training, model.norm.training, float(model.calls)) == (True, False, 0)
    assert model.norm.num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), state)


class Branching(nn.Module):
    def forward(self, x):
        if x.mean() > 0:  # the line that is named
            return -x
        return x


def test_control_flow_that_depends_on_data_is_named_by_its_line():
    with pytest.raises(
        UnsupportedError, match=r"depends on data \(at .*test_input_hint.py:\d+, in forward: if x.mean\(\) > 0:"
    ):
        landscape.predict(Branching(), (1, 4, 4))
