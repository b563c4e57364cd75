"""Running a model for its proof: in its own type, once, with nothing left behind."""

import pytest
import torch

from landscape import trace
from tests.landscape.tracing.proof.models import Layers, Reversed, frozen_stem, passes, refused, traced

SHAPE = (2, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.double])
def test_models_of_any_type_pass(dtype):
    model = Layers(lambda m, x: m.norm(m.two(m.act(m.one(x))))).to(dtype)
    assert trace(model, SHAPE, initialisation="he").unproven == ""


def test_models_that_are_fixed_to_a_type_are_compared_in_their_own():
    passes(lambda m, x: m.two(m.act(m.one(x.float()))))
    refused(lambda m, x: m.two(Reversed.apply(m.one(x.float()))), "in torch.float32")


class Uncopied(Layers):
    def __deepcopy__(self, memo):
        raise TypeError("holds a lock")


@pytest.mark.parametrize("kind", [Layers, Uncopied])
@pytest.mark.parametrize("train", [False, True])
def test_the_model_is_left_as_it_was(kind, train):
    model = kind(lambda m, x: m.two(m.drop(m.act(m.norm(m.one(x))))))
    model.norm.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, random = [part.training for part in model.modules()], torch.get_rng_state()
    assert trace(model, SHAPE, train=train).unproven == ""
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None and p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert not any(part._forward_hooks for part in model.modules())


def test_it_works_where_gradients_are_off():
    with torch.inference_mode():
        assert traced(lambda m, x: m.two(m.act(m.one(x)))).unproven == ""
    with torch.no_grad():
        refused(frozen_stem, "the gradient at one")


@pytest.mark.parametrize(("factor", "types"), [(1.0, [torch.float32]), (1 / 3, [torch.float32, torch.float64])])
def test_one_pass_is_all_it_takes_and_another_where_bits_differ(factor, types):
    """A division, which the lattice has as a factor, is another number in its last digit."""
    calls = []
    model = Layers(lambda m, x: (calls.append(x.dtype), m.two(m.act(m.one(x) / (1 / factor))))[1])
    trace(model, SHAPE, check=False)
    exports = len(calls)
    trace(model, SHAPE)
    assert calls[2 * exports :] == types
