"""Parameters and constants inside a graph have the value that is read."""

import numpy as np
import pytest
import torch

from lattice import UnsupportedError
from tests.landscape.tracing.models import Fixed, coefficients, read

LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


MEAN = np.array([0.1, 0.2, 0.3, 0.4])


SHARES = np.exp(np.arange(4)) / np.exp(np.arange(4)).sum()


@pytest.mark.parametrize(
    ("function", "factor"),
    [
        (lambda m, x: x / m.mean, 1 / MEAN),
        (lambda m, x: x / m.two, 0.5),
        (lambda m, x: x / -torch.tensor(2.0), -0.5),
        (lambda m, x: x * torch.tensor(2.0), 2),
        (lambda m, x: x * m.parts.softmax(0)[:, None, None], SHARES),
        (lambda m, x: m.parts.softmax(0)[1] * x, SHARES[1]),
        (lambda m, x: x / (m.parts.relu().sum() + m.two), 1 / 8),
        (lambda m, x: x * (m.parts.exp() / m.parts.exp().sum()).view(1, 4, 1, 1), SHARES),
        (lambda m, x: (x - m.mean) / m.mean, 1 / MEAN),
        (lambda m, x: x * m.parts.new_full((4, 1, 1), 3), 3),
        (lambda m, x: (x.permute(0, 2, 3, 1) / m.mean.flatten()).permute(0, 3, 1, 2), 1 / MEAN),
    ],
)
def test_what_is_computed_from_parameters_and_constants_is_a_factor(function, factor):
    found, _ = read(Fixed(function))
    np.testing.assert_allclose(coefficients(found)[-1] * np.ones(4), factor * np.ones(4), rtol=1e-6)


def test_constants_that_are_written_in_place_have_the_value_that_is_read():
    def written(m, x):
        scale = torch.ones(4, 1, 1)
        scale[1:] = 2.0
        y = x + scale
        scale[0] = 5.0
        return y.relu() * scale

    found, _ = read(Fixed(written))
    np.testing.assert_allclose(found.shifts["add"].mean, [1, 2, 2, 2])
    np.testing.assert_allclose(coefficients(found)[-1], [5, 2, 2, 2])


def test_sums_that_begin_with_zeros_are_sums():
    def gathered(x):
        total = torch.zeros_like(x)
        total += x
        total.add_(x.relu())
        return total

    _, ops = read(gathered)
    assert [type(op).__name__ for op in ops] == ["Norm", "Activation", "Add"]


def test_buffers_that_a_pass_changes_and_reads_are_refused_others_not():
    def counted(m, x):
        m.two.add_(1)
        return x * m.two

    def kept(m, x):
        m.two.mul_(0.9).add_(x.mean() * 0.1)
        return x * m.mean

    model = Fixed(kept)
    with pytest.raises(UnsupportedError, match="changes two as it runs"):
        read(Fixed(counted))
    np.testing.assert_allclose(coefficients(read(model)[0])[0], MEAN, rtol=1e-6)
    assert model.two == 2
