"""Offsets of paths as sums of independent taps: moments, cumulants and the bell with its corrections, against counts."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice import (
    Conv,
    IrregularLatticeError,
    Lattice,
    Pool,
    families,
    path_counts,
    residual,
)
from lattice.closed_forms.limits import gaussian_limit, offset_cumulant, offset_moments


@st.composite
def unpadded_chains(draw, axes=1):
    layers = [
        draw(
            st.sampled_from(
                [Conv(1, k, s, dilation=d) for k in (1, 2, 3, 4) for s in (1, 2) for d in (1, 2)] + [Pool("avg", 2)]
            )
        )
        for _ in range(draw(st.integers(1, 4)))
    ]
    size = 1
    for layer in reversed(layers):
        window = layer.windows((50,))[0]
        size = window.stride * (size - 1) + window.span
    return Lattice.chain((1, *(size + draw(st.integers(0, 2)) for _ in range(axes))), layers)


@given(unpadded_chains())
def test_moments_and_cumulants_are_those_of_the_paths(net):
    counts = path_counts(net, (0,))
    total = int(counts.sum())

    def moment(order, about=Fraction(0)):
        return sum((count * (i - about) ** order for i, count in enumerate(counts)), Fraction(0)) / total

    ((mean, variance),) = offset_moments(net)
    assert mean == moment(1)
    assert variance == moment(2, mean)
    second, fourth, sixth = (moment(order, mean) for order in (2, 4, 6))
    assert offset_cumulant(net, 3) == offset_cumulant(net, 5) == (0,)
    assert offset_cumulant(net, 4) == (fourth - 3 * second**2,)
    assert offset_cumulant(net, 6) == (sixth - 15 * fourth * second + 30 * second**3,)


@given(unpadded_chains(axes=2))
def test_axes_have_moments_of_their_own(net):
    one, other = offset_moments(net)
    assert one == other
    counts = path_counts(net, (0, 0))
    total = int(counts.sum())
    for axis, moments in enumerate((one, other)):
        along = counts.sum(axis=1 - axis)
        assert moments.mean == sum((Fraction(count * i, total) for i, count in enumerate(along)), Fraction(0))


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_each_correction_brings_the_bell_closer_at_its_rate(kernel):
    """Doubling the depth divides the distance by 2, 4 and 8: errors of order 1/L, 1/L^2, 1/L^3."""
    for order, rate in ((2, 2), (4, 4), (6, 8)):
        near, far = (
            gaussian_limit(families.plain((kernel - 1) * depth + 1, depth, kernel), (0,), order).total_variation
            for depth in (40, 80)
        )
        assert near / far == pytest.approx(rate, rel=0.1)


def test_a_dilated_bell_stands_on_every_second_cell_and_axes_multiply():
    limit = gaussian_limit(families.plain((81, 41), 20, dilation=(2, 1)), (0, 0), order=4)
    assert (limit.share[1::2] == 0).all()
    assert limit.total_variation < 1e-3
    assert limit.exact.sum() == pytest.approx(1)
    point = gaussian_limit(families.plain(5, 3, kernel=1), (2,))
    assert point.total_variation == 0


def test_a_layer_of_kernel_one_changes_no_bell():
    dilated, point = Conv(1, 3, dilation=2), Conv(1, 1)
    alone = gaussian_limit(Lattice.chain((1, 17), [dilated, dilated, dilated]), (0,))
    with_point = gaussian_limit(Lattice.chain((1, 17), [dilated, point, dilated, dilated]), (0,))
    np.testing.assert_array_equal(alone.share, with_point.share)


@pytest.mark.parametrize(("padding", "stride", "size"), [((1, 0), 1, 9), ((0, 1), 1, 9), ((1, 0), 3, 10)])
def test_a_bell_has_no_padding_on_either_side(padding, stride, size):
    with pytest.raises(IrregularLatticeError, match="read no padding, and conv1"):
        gaussian_limit(Lattice.chain((1, size), [Conv(1, 3, stride, padding=(padding,))]), (0,))


def test_strides_have_no_bell_and_the_distance_says_so():
    strided = Lattice.chain((1, 2**9), [Conv(1, 3, stride=2)] * 8)
    assert gaussian_limit(strided, (0,)).total_variation > 0.1


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv(1, 3), Conv(1, 3, padding=1)], "conv2 reads Window.*padding=0.*path_counts"),
        ([residual([Conv(1, 3, padding=1)])], "add1"),
    ],
)
def test_moments_of_padded_or_branching_nets_name_the_layer(layers, message):
    with pytest.raises(IrregularLatticeError, match=message):
        offset_moments(Lattice.chain((1, 9), layers))


def test_padding_that_no_tap_reads_is_no_padding():
    net = Lattice.chain((1, 8), [Conv(1, 3, stride=2), Conv(1, 1, stride=2, padding=(0, 1))])
    assert offset_moments(net)[0].mean == 1
