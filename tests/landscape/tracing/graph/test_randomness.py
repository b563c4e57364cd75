"""Random numbers that an exported graph does not know are refused, and their generators left as they were."""

import random

import numpy as np
import pytest
import torch

from landscape.tracing.graph.randomness import only_torch_draws
from lattice import UnsupportedError

DRAWS = {
    "random": random.random,
    "np.random": lambda: np.random.rand(),  # noqa: NPY002 - the global generator
    "np.random.shuffle": lambda: np.random.shuffle([1, 2]),  # noqa: NPY002
}


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]  # noqa: NPY002


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_draw_from_a_global_generator_is_refused_and_undone(draw):
    before = states()
    with pytest.raises(UnsupportedError, match="draw them with torch"), only_torch_draws():
        draw()
    assert states() == before


def test_draws_of_torch_and_of_own_generators_pass():
    before = states()
    with only_torch_draws():
        torch.rand(3)
        np.random.default_rng(0).normal()
        random.Random(0).random()
    assert states() == before


def test_an_error_inside_comes_first_and_the_generators_are_put_back():
    before = states()
    with pytest.raises(KeyError), only_torch_draws():
        raise KeyError(random.random())
    assert states() == before
