"""Modules of a factory are the same for the same seed; the mode of every part is restored."""

import pytest
import torch
from torch import nn

from landscape.tracing.modules import drawn_module, inside, mode_of
from lattice import UnsupportedError


def net():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_a_seed_is_a_module_and_the_random_state_stays():
    state = torch.get_rng_state()
    first, second, other = (drawn_module(net, seed)[0].weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_factory_makes_modules():
    with pytest.raises(UnsupportedError, match="returned a int; a factory returns"):
        drawn_module(lambda: 3, 0)


def test_what_torch_compile_made_is_looked_into():
    model = net()
    assert inside(torch.compile(model)) is model
    assert inside(model) is model


@pytest.mark.parametrize("train", [False, True])
def test_the_mode_of_every_part_is_restored(train):
    """In training mode a part that is frozen stays so."""
    model = net().train()
    model[1].eval()
    seen = []

    def failing():
        with mode_of(model, train):
            seen.extend(part.training for part in model.modules())
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert seen == [train, train, False]
    assert [part.training for part in model.modules()] == [True, True, False]
