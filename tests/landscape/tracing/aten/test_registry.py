"""What is computed from parameters keeps its sign as a factor or shift along the channels, or is refused."""

import pytest
import torch
from torch.nn import functional

from lattice import Norm, UnsupportedError
from tests.landscape.tracing.models import Fixed, coefficients, read

LINE, PLANE, SOLID = (2, 11), (4, 7, 10), (2, 5, 4, 6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x - x.relu(), [-1]),
        (lambda x: torch.sub(x, x.relu(), alpha=0.5), [-0.5]),
        (lambda x: torch.subtract(x, x.relu(), alpha=-2), [2]),
        (lambda x: torch.add(x, x.relu(), alpha=3), [3]),
        (lambda x: x.add(x.relu(), alpha=-1), [-1]),
        (lambda x: torch.rsub(x, x.relu(), alpha=2), [-2]),
        (lambda x: -x.relu(), [-1]),
        (lambda x: x * -0.5, [-0.5]),
        (lambda x: x / -4, [-0.25]),
        (lambda x: 2 * x * 3 / -6 * 5, [-5]),
        (lambda x: x * 4 / 4, []),
    ],
)
def test_coefficients_keep_their_signs(function, expected):
    found, _ = read(function)
    assert coefficients(found) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("function", "factor", "shift"),
    [
        (lambda x: x - 3, 1, -3),
        (lambda x: 3 - x, -1, 3),
        (lambda x: torch.add(x, 3, alpha=2), 1, 6),
        (lambda x: torch.sub(x, 3, alpha=2), 1, -6),
        (lambda x: torch.rsub(x, 3, alpha=2), -2, 3),
        (lambda x: x - torch.tensor(2.0), 1, -2),
        (lambda x: torch.tensor(2.0) - x, -1, 2),
        (lambda x: x + torch.ones(1, 1, 1, 1), 1, 1),
        (lambda x: x - torch.full_like(x, 0.5), 1, -0.5),
    ],
)
def test_shifts_keep_their_signs(function, factor, shift):
    found, (op,) = read(function)
    assert op == Norm("scale")
    assert coefficients(found) == [factor]
    assert [moments.mean for moments in found.shifts.values()] == [shift]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda m, x: m.two / x, "divides by something that is computed from the input"),
        (lambda m, x: functional.conv2d(x, m.parts.view(1, 4, 1, 1) * 2), "computes a weight from other tensors"),
        (lambda m, x: functional.conv2d(x, m.parts.softmax(0).view(1, 4, 1, 1)), "computes a weight from other tensors"),
        (lambda m, x: functional.conv2d(x, x.mean((2, 3), keepdim=True)), "weight depends on the input"),
        (lambda m, x: x.softmax(1), "depends on the data"),
        (lambda m, x: functional.layer_norm(x, (4, 7, 10), torch.rand(4, 7, 10)), "depends on the input or on chance"),
        (lambda m, x: x.erf(), "erf"),
    ],
)
def test_what_is_computed_and_does_not_fit_is_refused_for_that_reason(function, reason):
    with pytest.raises(UnsupportedError, match=reason):
        read(Fixed(function))
