"""Enumeration is the average over every pattern of signs, written out with numpy."""

from itertools import product

import numpy as np
import pytest
import torch

from lattice import Activation, Conv, Dense, Flatten, Lattice, Norm, ResourceError
from validation import build, enumerated_squared_gradients
from validation.montecarlo import enumerate as enumeration
from validation.montecarlo.enumerate import count_weights, generic_input

TWO_CHANNELS = Lattice.chain((2, 2), [Flatten(), Dense(2), Activation("relu"), Dense(2)])


def written_out(images, first, second):
    """E over all signs of mean_j (dh_j/dx_i)^2 of Dense(2), relu, Dense(2), averaged over images and channels."""
    total = np.zeros(4)
    for signs in product([-1, 1], repeat=12):
        w, v = np.array(signs[:8]).reshape(2, 4) * first**0.5, np.array(signs[8:]).reshape(2, 2) * second**0.5
        for image in images:
            jacobian = v @ ((w @ image.ravel() > 0)[:, None] * w)
            total += np.square(jacobian).mean(axis=0)
    return total.reshape(2, 2).mean(axis=0) / (2**12 * len(images))


def test_it_is_the_average_over_every_pattern_and_over_the_images():
    images = np.random.default_rng(1).normal(size=(3, 2, 2)) + np.array([1.0, 0.2])
    variances = {"dense1": 0.7, "dense2": 3.0}
    found = enumerated_squared_gradients(lattice=TWO_CHANNELS, inputs=images, initialisation=variances)
    np.testing.assert_allclose(found, written_out(images, 0.7, 3.0), rtol=1e-12)
    single = enumerated_squared_gradients(TWO_CHANNELS, images.astype(np.float32)[:1])
    np.testing.assert_allclose(single, written_out(images[:1].astype(np.float32), 1, 1), rtol=1e-12)


def test_without_images_it_takes_one_input_without_special_values():
    net = Lattice.chain((2, 3), [Conv(1, 2), Activation("silu"), Flatten(), Dense(1)])  # its gradient depends on the input
    default = enumerated_squared_gradients(net)
    assert generic_input(net).shape == (1, 2, 3)
    assert (default == enumerated_squared_gradients(net, generic_input(net, seed=0))).all()
    assert not np.allclose(default, enumerated_squared_gradients(net, generic_input(net, seed=1)))


@pytest.mark.parametrize("chunk", [1, 3, 64, 100])
def test_no_pattern_is_lost_at_the_edge_of_a_chunk(chunk, monkeypatch):
    net = Lattice.chain((1, 2), [Flatten(), Dense(2), Activation("relu"), Dense(1)])
    expected = enumerated_squared_gradients(net)
    monkeypatch.setattr(enumeration, "CHUNK", chunk)
    np.testing.assert_allclose(enumerated_squared_gradients(net), expected, rtol=1e-14)


def test_a_linear_net_has_whole_numbers():
    net = Lattice.chain((1, 3), [Flatten(), Dense(3), Dense(2)])  # 15 weights, several chunks
    assert (enumerated_squared_gradients(net) == 3).all()


def test_what_has_more_patterns_than_can_be_enumerated_is_refused(monkeypatch):
    def dense(cells):
        return Lattice.chain((1, cells), [Flatten(), Dense(1)])

    monkeypatch.setattr(enumeration, "MOST_WEIGHTS", 5)
    assert (enumerated_squared_gradients(dense(5)) == 1).all()
    with pytest.raises(ResourceError, match="6 weights"):
        enumerated_squared_gradients(dense(6))


def test_only_the_weights_that_are_drawn_are_counted():
    net = Lattice.chain((2, 6), [Conv(3, 3), Norm(), Activation("relu"), Conv(2, 2, mode="circular", padding=(0, 1))])
    assert count_weights(net) == 3 * 2 * 3 + 2 * 3 * 2
    assert count_weights(net) == sum(weight.numel() for weight in build(net, generator=torch.Generator()).weights().values())
